//! Bearer tokens: who shows which, what that makes of the wire, and who never sees them.

use super::*;
use crate::SUBPROTOCOL;

const TOKEN: &str = "dG9rZW4tb2YtdzEtLS0tLS0tLS0tLS0=";
const OTHER: &str = "dG9rZW4tb2YtdzItLS0tLS0tLS0tLS0=";

fn guarded(bound: Bound) -> WsListener<Bound> {
    WsListener::new(bound).bearers([(TOKEN, "w1"), (OTHER, "w2")]).unwrap()
}

/// Asks a guarded listener, with these lines beside what every request has.
fn ask(lines: &str, path: &str) -> (Result<WsWire<Socket>, WsError>, String) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{lines}\r\n"
    );
    run(async {
        let (bound, address) = bind();
        asked(&mut guarded(bound), address, request.as_bytes()).await
    })
}

#[test]
fn a_token_lets_in_and_is_the_wires_identity() {
    for (token, identity) in [(TOKEN, "w1"), (OTHER, "w2")] {
        run(async {
            let (bound, address) = bind();
            let mut listener = guarded(bound);
            let connector = WsConnector::new(Smol, &address.to_string()).unwrap();
            let mut connector = connector.bearer(token).unwrap();
            let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
            assert_eq!(server.unwrap().identity(), Some(identity));
            // The client has been shown nothing.
            assert_eq!(client.unwrap().identity(), None);
        });
    }
    for line in
        [format!("authorization:bearer {TOKEN}"), format!("Authorization: BEARER  {TOKEN} ")]
    {
        let (wire, answer) = ask(&format!("{line}\r\n"), "/");
        assert_eq!(wire.unwrap().identity(), Some("w1"), "{line}: {answer}");
    }
}

#[test]
fn without_a_token_that_counts_nobody_gets_in_and_a_url_is_no_place_for_one() {
    let cut = &TOKEN[..TOKEN.len() - 1];
    for (lines, path, challenge) in [
        (String::new(), "/".to_owned(), "Bearer\r\n"),
        (String::new(), format!("/?access_token={TOKEN}"), "Bearer\r\n"),
        (format!("X-Authorization: Bearer {TOKEN}\r\n"), "/".to_owned(), "Bearer\r\n"),
        (format!("Cookie: token={TOKEN}\r\n"), "/".to_owned(), "Bearer\r\n"),
        ("Authorization:\r\n".to_owned(), "/".to_owned(), "invalid_token"),
        ("Authorization: Bearer\r\n".to_owned(), "/".to_owned(), "invalid_token"),
        ("Authorization: Bearer \r\n".to_owned(), "/".to_owned(), "invalid_token"),
        (format!("Authorization: Bearer {cut}\r\n"), "/".to_owned(), "invalid_token"),
        (format!("Authorization: Bearer {TOKEN}=\r\n"), "/".to_owned(), "invalid_token"),
        (format!("Authorization: Bearer {}\r\n", TOKEN.to_lowercase()), "/".to_owned(), "invalid"),
        (format!("Authorization: Bearer{TOKEN}\r\n"), "/".to_owned(), "invalid_token"),
        (format!("Authorization: Basic {TOKEN}\r\n"), "/".to_owned(), "invalid_token"),
        (format!("Authorization: {TOKEN}\r\n"), "/".to_owned(), "invalid_token"),
    ] {
        let (wire, answer) = ask(&lines, &path);
        let error = wire.expect_err(&lines).to_string();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{lines}{answer}");
        assert!(answer.contains("WWW-Authenticate: Bearer"), "{lines}{answer}");
        assert!(answer.contains(challenge), "{lines}{answer}");
        for text in [&error, &answer] {
            assert!(!text.contains(cut), "{text}");
            assert!(text.contains("`bearer"), "it says what to do: {text}");
        }
    }
    let twice = format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {OTHER}\r\n");
    let (wire, answer) = ask(&twice, "/");
    assert!(wire.is_err() && answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_client_without_its_token_hears_what_is_missing() {
    run(async {
        let (bound, address) = bind();
        let mut listener = guarded(bound);
        let mut connector = WsConnector::new(Smol, &address.to_string()).unwrap();
        let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
        let error = client.unwrap_err();
        assert!(matches!(error, WsError::Refused { status: 401, .. }), "{error}");
        assert!(error.to_string().contains("bearer"), "{error}");
        assert!(server.is_err());
    });
}

#[test]
fn who_has_proven_who_it_is_needs_no_token_and_one_goes_before_what_is_in_front_of_it() {
    for (token, identity) in [(None, "the manager"), (Some(TOKEN), "w1")] {
        run(async {
            let (bound, address) = bind();
            let listener = WsListener::new(Guarded(bound));
            let mut listener = listener.bearers([(TOKEN, "w1")]).unwrap();
            let mut connector = WsConnector::new(Greeter(b'!'), &address.to_string()).unwrap();
            if let Some(token) = token {
                connector = connector.bearer(token).unwrap();
            }
            let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
            client.unwrap();
            assert_eq!(server.unwrap().identity(), Some(identity));
        });
    }
    // A wrong one lets nobody in, whatever else it has.
    run(async {
        let (bound, address) = bind();
        let mut listener = WsListener::new(Guarded(bound)).bearers([(TOKEN, "w1")]).unwrap();
        let connector = WsConnector::new(Greeter(b'!'), &address.to_string()).unwrap();
        let mut connector = connector.bearer(OTHER).unwrap();
        let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
        assert!(client.is_err() && server.is_err());
    });
}

#[test]
fn what_a_proxy_or_anybody_says_of_the_client_is_not_believed() {
    let lines = format!(
        "Authorization: Bearer {TOKEN}\r\nForwarded: for=10.9.9.9;host=good\r\n\
         X-Forwarded-For: 10.9.9.9\r\nX-Real-IP: 10.9.9.9\r\nX-Forwarded-User: root\r\n\
         X-SSL-Client-S-DN: CN=root\r\n"
    );
    let (wire, _) = ask(&lines, "/");
    let wire = wire.unwrap();
    assert_eq!((wire.host(), wire.identity()), (Some("127.0.0.1"), Some("w1")));
    assert!(wire.peer().starts_with("127.0.0.1:"), "{}", wire.peer());
}

#[test]
fn tokens_are_in_no_debug_output_and_what_is_none_is_not_repeated() {
    let connector = WsConnector::new(Smol, "host:1").unwrap().bearer(TOKEN).unwrap();
    let listener = guarded(bind().0);
    let (upgrader, upgraded) =
        crate::Upgrades::new().bearers([(TOKEN, "w1")]).unwrap().pair::<Socket>();
    let all = format!("{connector:?}{:?}{upgrader:?}{upgraded:?}", listener.door);
    assert!(!all.contains(&TOKEN[..8]), "{all}");
    for bad in [
        "",
        "=",
        "short",
        "with a blank in the middle of it",
        "with\r\nInjected: line-of-a-request",
        "tokens-are-not-text-\u{e9}\u{e9}\u{e9}\u{e9}",
        "=dG9rZW4tb2YtdzEtLS0tLS0tLS0tLS0",
        &"x".repeat(4097),
    ] {
        let error = WsConnector::new(Smol, "host:1").unwrap().bearer(bad).unwrap_err();
        assert!(bad.is_empty() || bad == "=" || !error.to_string().contains(bad), "{error}");
        assert!(WsListener::new(bind().0).bearers([(bad, "w1")]).is_err(), "{bad}");
    }
    assert!(WsListener::new(bind().0).bearers([(TOKEN, "")]).is_err(), "nobody has no name");
    assert!(WsConnector::new(Smol, "host:1").unwrap().bearer(&"x".repeat(4096)).is_ok());
}

#[test]
fn a_request_on_a_servers_route_shows_its_token_too() {
    let (upgrader, mut listener) =
        crate::Upgrades::new().bearers([(TOKEN, "w1")]).unwrap().pair::<Socket>();
    let request = |token: Option<&str>| {
        let mut request = http::Request::get("/join")
            .header("Host", "x")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", SUBPROTOCOL);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.body(()).unwrap()
    };
    for wrong in [None, Some(OTHER)] {
        let refused = upgrader.admit(&request(wrong)).expect_err("it has no token that counts");
        assert_eq!(refused.status(), 401);
        let response = refused.response::<String>();
        assert!(response.headers()["WWW-Authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    run(async {
        let (bound, address) = bind();
        let stream = Socket::connect(address).await.unwrap();
        upgrader.admit(&request(Some(TOKEN))).unwrap().enter(stream, "10.0.0.8:1");
        let wire = accept(&mut listener).await.unwrap();
        assert_eq!((wire.identity(), wire.host()), (Some("w1"), Some("10.0.0.8")));
        drop(bound);
    });
}
