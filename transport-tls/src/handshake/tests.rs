use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use rustls::HandshakeKind;
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;

use crate::testing::*;
use crate::{TlsAccept, TlsDial, certificate_name};

fn sides(
    client: rustls::ClientConfig,
    server: rustls::ServerConfig,
) -> (TlsDial<()>, TlsAccept<()>) {
    (TlsDial::new((), Arc::new(client)), TlsAccept::new((), Arc::new(server)))
}

/// Both ends of one authority, which ask each other.
fn mutual(issuer: &Issuer) -> (TlsDial<()>, TlsAccept<()>) {
    let client = client(issuer, Some(issuer.issue("manager.example.org", -1..30)));
    let server = server(Some(issuer), issuer.issue(NAME, -1..30));
    sides(client, server)
}

/// Returns what each end says of a handshake, or of the first bytes after it.
async fn complaints(client: &TlsDial<()>, server: &TlsAccept<()>) -> (String, String) {
    let (near, far) = shake(Memory::pair(), client, server).await;
    // The server's error is an error of this stream's, not only of the handshake's.
    let near = match near {
        Ok(mut near) => near.read(&mut [0; 1]).await.map(|_| ()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let said = |result: Result<(), String>| result.err().unwrap_or_default();
    (said(near), said(far.map(drop).map_err(|error| error.to_string())))
}

#[test]
fn bytes_go_both_ways_and_each_end_knows_the_other_by_its_certificate() {
    run(async {
        let (client, server) = mutual(&Issuer::new("one"));
        let client = client.identify(certificate_name);
        let server = server.identify(certificate_name);
        let (near, far) = shake(Memory::pair(), &client, &server).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        assert_eq!((near.identity(), far.identity()), (Some(NAME), Some("manager.example.org")));
        assert_eq!(near.session().protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));

        let long = vec![7; 1 << 20];
        let sending = async {
            near.write_all(&long).await.unwrap();
            near.close().await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"answer", "this end has closed, and reads on");
        };
        let answering = async {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.unwrap();
            assert!(read == long);
            far.write_all(b"answer").await.unwrap();
            far.close().await.unwrap();
        };
        join(sending, answering).await;
    });
}

#[test]
fn a_server_that_asks_for_no_certificate_knows_nobody_and_nobody_is_known_unasked() {
    run(async {
        let issuer = Issuer::new("one");
        let (client, server) =
            sides(client(&issuer, None), server(None, issuer.issue(NAME, -1..30)));
        let server = server.identify(certificate_name);
        let (near, far) = shake(Memory::pair(), &client, &server).await;
        assert_eq!((near.unwrap().identity(), far.unwrap().identity()), (None, None));
    });
}

#[test]
fn a_bad_certificate_is_refused_by_either_end_with_the_reason_and_the_remedy_at_both() {
    run(async {
        let (one, other) = (Issuer::new("one"), Issuer::new("other"));
        let (same_name, good) = (Issuer::new("one"), -1..30);
        let expired = "expired on 20";
        let own = "certificate of this end, which has expired";
        let unknown = "not of an authority that this end trusts";
        let unknown_own = "does not trust the authority that the certificate of this end is of";
        for (issued, said, told) in [
            (one.issue(NAME, -30..-8), expired, own),
            (one.issue(NAME, -30..-8), "8 days ago", own),
            (one.issue(NAME, 3..30), "is not valid before 20", own),
            (other.issue(NAME, good.clone()), unknown, unknown_own),
            (same_name.issue(NAME, good.clone()), unknown, unknown_own),
            (one.issue("worker-2.example.org", good.clone()), "is for ", "another name"),
            (one.issue("worker-2.example.org", good.clone()), NAME, "another name"),
        ] {
            let (client, server) = sides(client(&one, None), server(None, issued));
            let (near, far) = complaints(&client, &server).await;
            assert!(near.contains(said), "{near}");
            assert!(far.contains(told), "{far}");
        }
        for (issued, said, told) in [
            (one.issue("m", -30..-8), "expired on 20", own),
            (one.issue("m", -30..-8), "8 days ago", own),
            (one.issue("m", 3..30), "is not valid before 20", own),
            (other.issue("m", good.clone()), unknown, unknown_own),
            (same_name.issue("m", good.clone()), unknown, unknown_own),
        ] {
            let server = server(Some(&one), one.issue(NAME, good.clone()));
            let (client, server) = sides(client(&one, Some(issued)), server);
            let (near, far) = complaints(&client, &server).await;
            assert!(far.contains(said), "{far}");
            assert!(near.contains(told), "{near}");
        }
    });
}

#[test]
fn no_client_certificate_is_refused_where_one_is_asked_for() {
    run(async {
        let issuer = Issuer::new("one");
        let server = server(Some(&issuer), issuer.issue(NAME, -1..30));
        let (client, server) = sides(client(&issuer, None), server);
        let (near, far) = complaints(&client, &server).await;
        assert!(near.contains("asks for a certificate, and this end has shown none"), "{near}");
        assert!(far.contains("has shown no certificate"), "{far}");
    });
}

#[test]
fn the_rule_of_either_end_refuses_also_sessions_that_are_resumed_which_then_ends() {
    run(async {
        let (client, server) = mutual(&Issuer::new("one"));
        for _ in 0..2 {
            let (near, far) = shake(Memory::pair(), &client, &server).await;
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            far.close().await.unwrap();
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0, "the tickets have come");
        }
        let refusing = server.clone().identify(|_| Err("it is on the list".into()));
        let mut kinds = Vec::new();
        for _ in 0..8 {
            let (near, far) = shake(Memory::pair(), &client, &refusing).await;
            let text = far.unwrap_err().to_string();
            assert!(text.contains("it is on the list"), "{text}");
            let mut near = near.unwrap();
            kinds.push(near.session().handshake_kind().unwrap());
            let text = near.read(&mut [0]).await.unwrap_err().to_string();
            assert!(text.contains("cut off"), "{text}");
        }
        assert_eq!(kinds.first(), Some(&HandshakeKind::Resumed));
        assert_eq!(kinds.last(), Some(&HandshakeKind::Full), "there are no more tickets");

        let refusing = client.identify(|_| Err("another list".into()));
        let (near, far) = shake(Memory::pair(), &refusing, &server).await;
        let text = near.unwrap_err().to_string();
        assert!(text.contains("another list"), "{text}");
        assert!(far.unwrap_err().to_string().contains("in the middle of the TLS handshake"));
    });
}

#[test]
fn sessions_are_resumed_and_by_fewer_bytes_unless_the_configuration_says_otherwise() {
    run(async {
        let issuer = Issuer::new("one");
        let (client, server) = mutual(&issuer);
        let client = client.identify(certificate_name);
        let server = server.identify(certificate_name);
        let mut sent = Vec::new();
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let ends = Memory::pair();
            let meter = ends.1.meter();
            let (near, far) = shake(ends, &client, &server).await;
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            sent.push(meter());
            assert_eq!(near.session().handshake_kind(), Some(kind));
            assert_eq!(
                (near.identity(), far.identity()),
                (Some(NAME), Some("manager.example.org"))
            );
            far.close().await.unwrap();
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        }
        assert!(sent[1] < sent[0], "{sent:?}");

        let mut config = crate::testing::server(None, issuer.issue(NAME, -1..30));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let (client, server) = sides(crate::testing::client(&issuer, None), config);
        for _ in 0..2 {
            let (near, far) = shake(Memory::pair(), &client, &server).await;
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            assert_eq!(near.session().handshake_kind(), Some(HandshakeKind::Full));
            far.close().await.unwrap();
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        }
    });
}

/// Both ends, as `mutual` has them, for many handshakes each of which is a whole one.
fn unlike_any_before(issuer: &Issuer) -> (TlsDial<()>, TlsAccept<()>) {
    let mut client = client(issuer, Some(issuer.issue("manager.example.org", -1..30)));
    client.resumption = Resumption::disabled();
    sides(client, server(Some(issuer), issuer.issue(NAME, -1..30)))
}

/// Returns how many bytes leave each end in a handshake.
async fn lengths(client: &TlsDial<()>, server: &TlsAccept<()>) -> (usize, usize) {
    let ends = Memory::pair();
    let meters = (ends.0.meter(), ends.1.meter());
    let (near, far) = shake(ends, client, server).await;
    assert!(near.is_ok() && far.is_ok());
    (meters.0(), meters.1())
}

// Signatures differ by some bytes in their lengths, and so do handshakes.
const VARYING: usize = 12;

#[test]
fn a_client_that_is_cut_off_at_any_byte_of_the_handshake_is_an_error_and_never_a_wait() {
    run_for(Duration::from_secs(120), async {
        let (client, server) = unlike_any_before(&Issuer::new("one"));
        let (length, _) = lengths(&client, &server).await;
        assert!(length > 700, "{length}");
        for cut in 1..length - VARYING {
            let ends = Memory::pair();
            ends.0.cut_after(cut);
            let (_, far) = shake(ends, &client, &server).await;
            let text = far.expect_err(&format!("{cut} of {length}")).to_string();
            assert!(text.contains("it closed the connection"), "{cut}: {text}");
        }
    });
}

#[test]
fn a_server_that_is_cut_off_at_any_byte_of_the_handshake_is_an_error_and_never_a_wait() {
    run_for(Duration::from_secs(120), async {
        let (client, server) = unlike_any_before(&Issuer::new("one"));
        let (_, length) = lengths(&client, &server).await;
        let mut failed = 0;
        for cut in 1..length - VARYING {
            let ends = Memory::pair();
            ends.1.cut_after(cut);
            let (near, _) = shake(ends, &client, &server).await;
            match near {
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("it closed the connection"), "{cut}: {text}");
                    failed += 1;
                }
                // Only the tickets have not come, or a part of them.
                Ok(mut near) => {
                    let text = near.read(&mut [0]).await.unwrap_err().to_string();
                    assert!(text.contains("cut off"), "{cut}: {text}");
                }
            }
        }
        assert!(failed > 700, "{failed}");
    });
}

#[test]
fn a_handshake_gets_through_byte_by_byte_and_with_no_room_for_more() {
    run(async {
        let (client, server) = mutual(&Issuer::new("one"));
        let (mut near, mut far) = Memory::pair();
        for end in [&mut near, &mut far] {
            (end.chunk, end.room) = (1, 1);
        }
        let (near, far) = shake((near, far), &client, &server).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        let mut read = [0; 5];
        join(
            async {
                near.write_all(b"hello").await.unwrap();
                near.flush().await.unwrap();
            },
            async { far.read_exact(&mut read).await.unwrap() },
        )
        .await;
        assert_eq!(&read, b"hello");
    });
}

#[test]
fn who_speaks_no_tls_is_told_apart_at_both_ends() {
    run(async {
        let (client, server) = mutual(&Issuer::new("one"));
        for (greeting, what) in [
            (&b"\x00\x00\x00\x0a0123456789"[..], "no TLS"),
            (b"\x0a\x00\x00\x000123456789", "no TLS"),
            (b"GET / HTTP/1.1\r\n\r\n", "HTTP without TLS"),
        ] {
            let (mut plain, end) = Memory::pair();
            plain.write_all(greeting).await.unwrap();
            let mut accept = server.over(Once::new(end));
            let opening = {
                use chargehand_core::io::Accept;
                std::future::poll_fn(|cx| accept.poll_accept(cx)).await.unwrap().0
            };
            let text = opening.await.unwrap_err().to_string();
            assert!(text.contains(what) && text.contains("tls:// or wss:// to dial"), "{text}");
            let mut answer = Vec::new();
            plain.read_to_end(&mut answer).await.unwrap();
            assert!(answer.starts_with(&[0x15, 3]), "an alert: {answer:?}");
        }
        for (answer, what) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP without TLS"),
            (b"\x00\x00\x00\x0a0123456789", "no TLS"),
            (b"", "does it speak TLS at all"),
        ] {
            use chargehand_core::io::Dial;
            let (end, mut plain) = Memory::pair();
            plain.write_all(answer).await.unwrap();
            plain.close().await.unwrap();
            let text = client.over(Once::new(end)).dial("host:1").await.unwrap_err().to_string();
            assert!(text.contains(what), "{text}");
        }
    });
}

#[test]
fn a_stream_that_cannot_be_opened_and_a_host_without_a_name_are_said() {
    use chargehand_core::io::Dial;
    run(async {
        let (client, _) = mutual(&Issuer::new("one"));
        let (end, _) = Memory::pair();
        let once = Once::new(end);
        drop(once.dial(""));
        let dial = client.over(once);
        assert!(dial.dial("host:1").await.unwrap_err().to_string().contains("not found"));
        let text = dial.dial("/run/a.sock").await.unwrap_err().to_string();
        assert!(text.contains("\"/run/a.sock\" has none"), "{text}");
        let named = dial.server_name("host".try_into().unwrap());
        assert!(named.dial("/run/a.sock").await.unwrap_err().to_string().contains("not found"));
    });
}

#[test]
fn what_leaves_the_machine_is_protected_once_it_is_known_who_comes() {
    use chargehand_core::io::{Accept, Dial, Exposure};
    let (client, server) = mutual(&Issuer::new("one"));
    let client = client.over(Once::new(Memory::pair().0));
    assert_eq!(client.exposure("localhost:1"), Exposure::Protected);
    assert_eq!(client.exposure("example.org:1"), Exposure::Protected);
    let exposure = |server: TlsAccept<()>| server.over(Once::new(Memory::pair().1)).exposure();
    assert_eq!(exposure(server.clone()), Exposure::Open);
    assert_eq!(exposure(server.clone().for_anyone()), Exposure::Waived);
    assert_eq!(exposure(server.identify(certificate_name)), Exposure::Protected);
}

#[test]
fn no_key_is_in_what_debug_shows() {
    run(async {
        let issuer = Issuer::new("one");
        let own = issuer.issue(NAME, -1..30);
        let key = format!("{:?}", &own.key.secret_der()[40..48]);
        let key = key.trim_matches(['[', ']']).to_owned();
        let (client, server) = sides(client(&issuer, None), server(None, own));
        let shown = format!("{client:?} {server:?}");
        let (near, far) = shake(Memory::pair(), &client, &server).await;
        let shown = format!("{shown} {:?} {:?}", near.unwrap(), far.unwrap());
        assert!(shown.contains("TlsDial") && shown.contains("TlsStream"), "{shown}");
        assert!(!shown.contains(&key), "{shown}");
        assert!(!shown.to_lowercase().contains("key") && !shown.contains("Config"), "{shown}");
    });
}

/// Certificates that are each signed by one of their name, so that there are ways without number through them.
#[test]
fn a_chain_as_long_as_tls_allows_is_refused_soon() {
    run(async {
        let issuer = Issuer::new("one");
        let server =
            TlsAccept::new((), Arc::new(server(Some(&issuer), issuer.issue(NAME, -1..30))));
        // Names as the authority's, and keys that are not.
        let others: Vec<_> = (0..120).map(|_| Issuer::new("one")).collect();
        let mut own = others[0].issue("m", -1..30);
        own.chain.extend(others.iter().map(Issuer::certificate));
        let bytes: usize = own.chain.iter().map(|certificate| certificate.len()).sum();
        assert!((40_000..65_000).contains(&bytes), "{bytes}");
        let client = TlsDial::new((), Arc::new(client(&issuer, Some(own))));
        let started = std::time::Instant::now();
        let (near, far) = complaints(&client, &server).await;
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        // What webpki does at most for one chain.
        assert!(far.contains("MaximumSignatureChecksExceeded"), "{far}");
        assert!(!near.is_empty());
    });
}

#[test]
fn thousands_of_names_make_no_long_error_and_the_first_is_who_it_is() {
    run(async {
        let issuer = Issuer::new("one");
        let names: Vec<_> = (0..1_000).map(|number| format!("n{number}.example.org")).collect();
        let (client, server) = sides(
            client(&issuer, Some(issuer.issue_all(&names, -1..30))),
            server(Some(&issuer), issuer.issue_all(&names, -1..30)),
        );
        let (near, _) = complaints(&client, &server).await;
        assert!(near.contains("n3.example.org") && near.contains(" and 996 more,"), "{near}");
        assert!(near.len() < 500, "{near}");
        let client = client.server_name("n999.example.org".try_into().unwrap());
        let (near, far) = shake(Memory::pair(), &client, &server.identify(certificate_name)).await;
        assert!(near.is_ok());
        assert_eq!(far.unwrap().identity(), Some("n0.example.org"));
    });
}
