//! Who gets in, and who is told why not.

use super::*;
use crate::SUBPROTOCOL;

/// Asks a listener and returns what it answered and what came of it.
fn ask(
    listener: impl Fn(Bound) -> WsListener<Bound>,
    request: &str,
) -> (Result<WsWire<Socket>, WsError>, String) {
    run(async {
        let (bound, address) = bind();
        asked(&mut listener(bound), address, request.as_bytes()).await
    })
}

fn get(lines: &[&str]) -> String {
    format!("GET /any HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"))
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const GOOD: [&str; 5] =
    ["Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY];

/// The good request with one line, known by its beginning, replaced by others.
fn with(name: &str, lines: &[&str]) -> String {
    let good = GOOD.iter().filter(|line| name.is_empty() || !line.starts_with(name));
    get(&good.chain(lines).copied().collect::<Vec<_>>())
}

#[test]
fn a_list_over_several_lines_is_one_list() {
    let offer = format!("sec-websocket-protocol:{SUBPROTOCOL}");
    for (name, lines) in [
        ("Connection", &["Connection: keep-alive", "Connection: Upgrade"][..]),
        ("Connection", &["Connection: Upgrade", "Connection: keep-alive"]),
        ("Connection", &["CONNECTION:\tkeep-alive \t,\tuPGRADE\t, te"]),
        ("Connection", &["connection:upgrade,", "Connection: ,,", "Connection:"]),
        ("Upgrade", &["Upgrade: h2c, websocket"]),
        ("Upgrade", &["Upgrade: h2c", "Upgrade: WebSocket"]),
        ("Upgrade", &["upgrade:\twebsocket\t,h2c"]),
        ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8, 13"]),
        ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8", "sec-websocket-version:13"]),
        ("", &["Sec-WebSocket-Protocol: a,b", "Sec-WebSocket-Protocol: c"]),
        ("", &["Sec-WebSocket-Protocol:\ta\t,\tb\t,"]),
        ("", &["Sec-WebSocket-Extensions: permessage-deflate", "Content-Length: 0"]),
    ] {
        let mut lines = lines.to_vec();
        lines.push(&offer);
        let request = with(name, &lines);
        let (wire, answer) = ask(WsListener::new, &request);
        assert_eq!(wire.unwrap().dialect(), Dialect::Native, "{request}");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{request}{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{request}{answer}");
    }
}

#[test]
fn what_is_there_twice_or_wrong_is_refused_with_a_status_and_a_reason() {
    for (name, lines, status, reason) in [
        ("Host", &[][..], "400", "no \"Host\""),
        ("", &["Host: y"], "400", "more than one \"host\""),
        ("", &["Host: x"], "400", "more than one \"host\""),
        ("", &[KEY], "400", "more than one \"sec-websocket-key\""),
        ("", &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="], "400", "more than one"),
        ("Sec-WebSocket-Key", &[], "400", "no \"Sec-WebSocket-Key\""),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key:"], "400", "base64"),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: c2hvcnQ="], "400", "base64"),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="], "400", "base64"),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!=="], "400", "base64"),
        ("Connection", &["Connection: keep-alive"], "400", "Connection: Upgrade"),
        ("Connection", &["Connection: upgraded, no-upgrade"], "400", "Connection: Upgrade"),
        ("Connection", &[], "400", "Connection: Upgrade"),
        ("Upgrade", &["Upgrade: h2c"], "400", "Upgrade: websocket"),
        ("Upgrade", &["Upgrade: web socket"], "400", "Upgrade: websocket"),
        ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8"], "426", "version"),
        ("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8, 130"], "426", "version"),
        ("Sec-WebSocket-Version", &[], "426", "version"),
        ("", &["Content-Length: 5"], "400", "body"),
        ("", &["Content-Length: 0, 5"], "400", "body"),
        ("", &["Transfer-Encoding: chunked"], "400", "body"),
        ("", &["Origin: http://localhost", "Origin: http://localhost"], "400", "more than one"),
        ("", &["Sec-WebSocket-Protocol: other"], "400", SUBPROTOCOL),
        ("", &["Host : y"], "400", ""),
        ("", &["X: a", " folded"], "400", ""),
        ("", &["X"], "400", ""),
    ] {
        let request = with(name, lines);
        let (wire, answer) = ask(|bound| WsListener::new(bound).json(true), &request);
        let error = wire.expect_err(&request).to_string();
        assert!(error.contains(reason), "{request}{error}");
        assert!(error.contains("127.0.0.1:"), "{request}{error}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        assert!(answer.contains(reason), "{request}{answer}");
        let tells_version = answer.contains("\r\nSec-WebSocket-Version: 13\r\n");
        assert_eq!(tells_version, status == "426", "{answer}");
    }
}

#[test]
fn a_page_of_elsewhere_is_refused_unless_it_was_allowed() {
    let allowed = ["https://Example.org", "http://[::1]:8080"];
    for (origin, json, status) in [
        (None, false, "101"),
        (None, true, "101"),
        (Some("http://localhost"), true, "101"),
        (Some("HTTP://LOCALHOST:80"), true, "101"),
        (Some("http://localhost"), false, "403"),
        (Some("http://localhost:8080"), true, "403"),
        (Some("https://localhost"), true, "403"),
        (Some("http://localhost.example.org"), true, "403"),
        (Some("https://example.org"), false, "101"),
        (Some("HTTPS://EXAMPLE.ORG:443"), true, "101"),
        (Some("http://example.org"), true, "403"),
        (Some("https://www.example.org"), true, "403"),
        (Some("https://example.org:444"), true, "403"),
        (Some("http://[::1]:8080"), false, "101"),
        (Some("https://evil.org"), true, "403"),
        (Some("null"), true, "403"),
        (Some(""), true, "403"),
        (Some("https://example.org, https://evil.org"), true, "403"),
        (Some("https://example.org/"), true, "403"),
        (Some("\u{7f}https://example.org"), true, "400"),
    ] {
        let offer = format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}");
        let line = origin.map_or("X: none".to_owned(), |origin| format!("Origin: {origin}"));
        let listener = |bound| {
            allowed.iter().fold(WsListener::new(bound).json(json), |listener, origin| {
                listener.allow_origin(origin).unwrap()
            })
        };
        let request = with("", &[&line, &offer]);
        let (wire, answer) = ask(listener, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}, {json}: {answer}");
        assert_eq!(wire.is_ok(), status == "101", "{line}");
        if status == "403" {
            let error = wire.unwrap_err().to_string();
            assert!(error.contains("allow_origin"), "{error}");
            assert!(answer.contains("allow_origin"), "{answer}");
        }
    }
}

#[test]
fn only_an_origin_can_be_allowed() {
    for text in ["null", "*", "localhost", "https://example.org/", "https://example.org/page"] {
        let listener = WsListener::new(bind().0).allow_origin(text);
        let error = listener.err().unwrap().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn without_room_newcomers_get_503_until_there_is_some() {
    for dialect in [Dialect::Native, Dialect::Json] {
        run(async {
            let (bound, address) = bind();
            let mut listener = WsListener::new(bound).json(true);
            let mut connector =
                WsConnector::new(Smol, &format!("{address}")).unwrap().dialect(dialect);
            listener.set_full(true);
            let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
            let error = server.unwrap_err();
            assert!(matches!(error, WsError::Full { .. }), "{error}");
            assert!(error.to_string().contains("127.0.0.1:"), "{error}");
            let error = client.unwrap_err();
            assert!(matches!(error, WsError::Refused { status: 503, .. }), "{error}");
            assert!(error.to_string().contains("try again later"), "{error}");
            let (_, answer) = asked(&mut listener, address, GO_REQUEST).await;
            assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
            assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");

            listener.set_full(false);
            let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
            assert!(client.is_ok() && server.is_ok());
        });
    }
}

#[test]
fn a_handshake_under_way_sees_that_the_last_room_is_taken() {
    run(async {
        let (bound, address) = bind();
        let mut listener = WsListener::new(bound).json(true);
        let mut late = Socket::connect(address).await.unwrap();
        late.write_all(&GO_REQUEST[..50]).await.unwrap();
        let mut handshake = accepting(&mut listener).await;
        assert!(smol::future::poll_once(&mut handshake).await.is_none());
        listener.set_full(true);
        late.write_all(&GO_REQUEST[50..]).await.unwrap();
        assert!(matches!(handshake.await, Err(WsError::Full { .. })));
    });
}

#[test]
fn a_connector_reads_lists_over_several_lines_and_nothing_twice() {
    let accept = "Sec-WebSocket-Accept: PROOF";
    let agreed = &*format!("Sec-WebSocket-Protocol:\t{SUBPROTOCOL}\t");
    let start = ["Connection: Upgrade", "Upgrade: websocket"];
    for (lines, wanted) in [
        (&["Connection: keep-alive", "connection:\tUPGRADE", start[1], accept, agreed][..], Ok(())),
        (&["Connection: Upgrade", "Connection: keep-alive", start[1], accept, agreed], Ok(())),
        (&["Connection: , keep-alive ,upgrade", start[1], accept, agreed], Ok(())),
        (&[start[0], "Upgrade: h2c, WebSocket", accept, agreed], Ok(())),
        (&[start[0], "Upgrade: h2c", "UPGRADE: websocket", accept, agreed], Ok(())),
        (&[start[0], start[1], accept, agreed, "Sec-WebSocket-Extensions:"], Ok(())),
        (&["Connection: upgraded", start[1], accept, agreed], Err("Connection: Upgrade")),
        (&[start[0], "Upgrade: websockets", accept, agreed], Err("Upgrade: websocket")),
        (&[start[0], start[1], agreed], Err("Sec-WebSocket-Accept is wrong")),
        (&[start[0], start[1], accept, accept, agreed], Err("more than one")),
        (&[start[0], start[1], accept, "Sec-WebSocket-Accept: x", agreed], Err("more than one")),
        (&[start[0], start[1], accept, agreed, agreed], Err("does not agree")),
        (&[start[0], start[1], accept, agreed, "Sec-WebSocket-Protocol: x"], Err("not agree")),
        (
            &[
                start[0],
                start[1],
                accept,
                agreed,
                "sec-websocket-extensions:",
                "Sec-WebSocket-Extensions: x",
            ],
            Err("extension"),
        ),
    ] {
        run(async {
            let answer =
                format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n\r\n", lines.join("\r\n"));
            let (wire, ..) = answered(Dialect::Native, "", &answer, b"").await;
            match (wire, wanted) {
                (Ok(_), Ok(())) => {}
                (Err(error), Err(reason)) => {
                    assert!(error.to_string().contains(reason), "{answer}{error}");
                }
                (wire, _) => panic!("{answer}{wire:?}"),
            }
        });
    }
}

#[test]
fn an_endpoint_needs_no_scheme_and_both_ends_know_each_others_host() {
    for path in ["", "/", "/a/b/", "?c=d"] {
        run(async {
            let (bound, address) = bind();
            let mut listener = WsListener::new(bound);
            let mut connector = WsConnector::new(Smol, &format!("{address}{path}")).unwrap();
            let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
            let (mut client, mut server) = (client.unwrap(), server.unwrap());
            assert_eq!(client.host(), Some("127.0.0.1"));
            assert_eq!(server.host(), Some("127.0.0.1"));
            send(&mut client, b"", b"over").await;
            assert_eq!(recv(&mut server).await.unwrap().unwrap(), b"over");
            assert_eq!(server.progress().received, client.progress().sent);
        });
    }
}
