//! Handshakes over real sockets.

use std::future::{self, Future, Ready, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chargehand_core::io::{Accept, Connect, Dial, Dialect, Exposure, Listen, Wire};
use smol::Async;
use smol::future::{FutureExt, zip};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream as Socket;

use crate::{Accepting, Connecting, Limits, WsConnector, WsError, WsListener, WsWire};

mod bearers;
mod doors;

/// Dials and accepts, without a runtime crate: those know nothing of this one.
#[derive(Debug)]
struct Smol;
struct Bound(Async<TcpListener>);

impl Dial for Smol {
    type Stream = Socket;
    type Error = io::Error;
    type Dialling = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

    fn dial(&self, address: &str) -> Self::Dialling {
        let address: SocketAddr = address.parse().unwrap();
        Box::pin(Socket::connect(address))
    }

    fn exposure(&self, _address: &str) -> Exposure {
        Exposure::Local
    }
}

impl Accept for Bound {
    type Stream = Socket;
    type Peer = SocketAddr;
    type Error = io::Error;
    type Opening = Ready<io::Result<Socket>>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Opening, SocketAddr)>> {
        ready!(self.0.poll_readable(cx))?;
        let mut accept = pin!(self.0.accept());
        accept.as_mut().poll(cx).map_ok(|(stream, peer)| (future::ready(Ok(stream.into())), peer))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

fn bind() -> (Bound, SocketAddr) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    (Bound(listener), address)
}

/// Runs a test, for 10 seconds at most.
fn run<T>(test: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(Duration::from_secs(10)).await;
        panic!("the test hangs")
    };
    smol::block_on(test.or(late))
}

async fn accepting(
    listener: &mut WsListener<Bound>,
) -> Accepting<Ready<io::Result<Socket>>, Socket> {
    poll_fn(|cx| listener.poll_accept(cx)).await.unwrap()
}

async fn accept<L>(listener: &mut L) -> Result<WsWire<Socket>, WsError>
where
    L: Listen<Wire = WsWire<Socket>, Error = WsError>,
{
    poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().await
}

async fn recv(wire: &mut WsWire<Socket>) -> Result<Option<Vec<u8>>, WsError> {
    poll_fn(|cx| wire.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec))).await
}

async fn send(wire: &mut WsWire<Socket>, head: &[u8], body: &[u8]) {
    poll_fn(|cx| wire.poll_send(cx, head, body)).await.unwrap();
    poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
}

/// Sends `request` to a listener; returns what it answers until it closes or agrees.
async fn asked(
    listener: &mut WsListener<Bound>,
    address: SocketAddr,
    request: &[u8],
) -> (Result<WsWire<Socket>, WsError>, String) {
    let client = async {
        let mut stream = Socket::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") || !answer.starts_with(b"HTTP/1.1 101") {
            match stream.read(&mut byte).await {
                Ok(1) => answer.push(byte[0]),
                _ => break,
            }
        }
        String::from_utf8(answer).unwrap()
    };
    zip(accept(listener), client).await
}

/// A browser's request, with these lines added.
fn request(lines: &str) -> Vec<u8> {
    format!(
        "GET /any/path HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
    .into_bytes()
}

/// What golang.org/x/net/websocket sends for `websocket.Dial(url, "", "http://localhost")`.
const GO_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://localhost\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn both_ends_agree_on_either_dialect_and_messages_pass() {
    for dialect in [Dialect::Native, Dialect::Json] {
        run(async {
            let (bound, address) = bind();
            let mut listener = WsListener::new(bound).json(true);
            let url = format!("ws://{address}");
            let mut connector = WsConnector::new(Smol, &url).unwrap().dialect(dialect);
            assert_eq!(connector.peer(), url);
            let (client, server) = zip(connector.connect(), accept(&mut listener)).await;
            let (mut client, mut server) = (client.unwrap(), server.unwrap());

            assert_eq!(client.dialect(), dialect);
            assert_eq!(server.dialect(), dialect);
            assert_eq!(client.peer(), url);
            assert!(server.peer().starts_with("127.0.0.1:"));
            send(&mut client, b"head", b"body").await;
            assert_eq!(recv(&mut server).await.unwrap().unwrap(), b"headbody");
            let long = vec![b'x'; 1 << 20];
            let ((), got) = zip(send(&mut server, b"", &long), recv(&mut client)).await;
            assert_eq!(got.unwrap().unwrap(), long);

            poll_fn(|cx| client.poll_close(cx)).await.unwrap();
            assert_eq!(recv(&mut server).await.unwrap(), None);
            assert_eq!(recv(&mut client).await.unwrap(), None, "the close frame is answered");
        });
    }
}

#[test]
fn a_listener_accepts_by_subprotocol_and_refuses_with_a_reason() {
    let protocol = |names: &str| request(&format!("Sec-WebSocket-Protocol: {names}\r\n"));
    let two = request("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: chargehand.2\r\n");
    let post = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let plain = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let old = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n".to_vec();
    let chargehand_over_tcp = b"\x05\x00\x00\x00hello".to_vec();
    let expected = [
        ("native", protocol("chargehand.2"), false, Ok(Dialect::Native)),
        ("native among others", protocol("a, chargehand.2 ,b"), true, Ok(Dialect::Native)),
        ("native in a second line", two, false, Ok(Dialect::Native)),
        ("none, json on", request(""), true, Ok(Dialect::Json)),
        ("the Go client", GO_REQUEST.to_vec(), true, Ok(Dialect::Json)),
        ("none, json off", request(""), false, Err("offer chargehand.2")),
        ("others only", protocol("chargehand.1, x"), true, Err("offer chargehand.2")),
        ("a plain GET", plain, true, Err("upgrade")),
        ("HTTP 1.0", old, true, Err("version")),
        ("a POST", post, true, Err("is the port right?")),
        ("plain TCP", chargehand_over_tcp, true, Err("is the port right?")),
        ("nonsense", b"GET \0\r\n\r\n".to_vec(), true, Err("")),
    ];
    for (what, request, json, wanted) in expected {
        run(async {
            let (bound, address) = bind();
            let mut listener = WsListener::new(bound).json(json);
            let (wire, answer) = asked(&mut listener, address, &request).await;
            match (wire, wanted) {
                (Ok(wire), Ok(dialect)) => {
                    assert_eq!(wire.dialect(), dialect, "{what}");
                    assert!(answer.starts_with("HTTP/1.1 101 "), "{what}: {answer}");
                    // RFC 6455 section 1.3 has this very key.
                    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{what}: {answer}");
                    let agreed = answer.to_lowercase().contains("protocol: chargehand.2\r\n");
                    assert_eq!(agreed, dialect == Dialect::Native, "{what}: {answer}");
                }
                (Err(error), Err(reason)) => {
                    assert!(error.to_string().contains(reason), "{what}: {error}");
                    assert!(error.to_string().contains("127.0.0.1"), "{what}: {error}");
                    assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
                    assert!(answer.contains(reason), "{what}: {answer}");
                }
                (wire, _) => panic!("{what}: {wire:?}"),
            }
        });
    }
}

#[test]
fn tls_on_the_port_is_named() {
    run(async {
        let (bound, address) = bind();
        let mut listener = WsListener::new(bound);
        let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        let (wire, answer) = asked(&mut listener, address, hello).await;
        assert!(wire.unwrap_err().to_string().contains("speaks TLS"));
        assert_eq!(answer, "");
    });
}

#[test]
fn a_huge_handshake_ends_at_the_limit() {
    run(async {
        let (bound, address) = bind();
        let limits = Limits { handshake_bytes_max: 2_000, ..Limits::new() };
        let mut listener = WsListener::new(bound).limits(limits);
        let request = request(&"X-Padding: 0123456789\r\n".repeat(200));
        let (wire, _) = asked(&mut listener, address, &request).await;
        let text = wire.unwrap_err().to_string();
        assert!(text.contains("handshake_bytes_max"), "{text}");
        assert!(text.contains("2000"), "{text}");
    });
}

#[test]
fn a_dribbled_handshake_holds_nobody_up_and_can_be_dropped() {
    run(async {
        let (bound, address) = bind();
        let mut listener = WsListener::new(bound).json(true);
        let mut dribbler = Socket::connect(address).await.unwrap();
        let mut slow = accepting(&mut listener).await;
        for byte in &GO_REQUEST[..100] {
            dribbler.write_all(&[*byte]).await.unwrap();
            assert!(smol::future::poll_once(&mut slow).await.is_none());
        }

        let (wire, _) = asked(&mut listener, address, GO_REQUEST).await;
        assert!(wire.is_ok(), "another one gets in meanwhile");
        drop(slow);
        assert!(!matches!(dribbler.read(&mut [0]).await, Ok(1..)), "it is closed");

        // One that is slow but completes is served.
        let mut dribbler = Socket::connect(address).await.unwrap();
        let dribble = async {
            for byte in GO_REQUEST {
                dribbler.write_all(&[*byte]).await.unwrap();
                smol::future::yield_now().await;
            }
        };
        let (wire, ()) = zip(accept(&mut listener), dribble).await;
        assert_eq!(wire.unwrap().dialect(), Dialect::Json);
    });
}

/// Connects to a server that gives `answer` and `tail` and says no more; returns what came of it and
/// the request. `PROOF` in the answer stands for the right `Sec-WebSocket-Accept`.
async fn answered(
    dialect: Dialect,
    path: &str,
    answer: &str,
    tail: &[u8],
) -> (Result<WsWire<Socket>, WsError>, String, SocketAddr) {
    let (mut bound, address) = bind();
    let server = async {
        let (opening, _) = poll_fn(|cx| bound.poll_accept(cx)).await.unwrap();
        let mut stream = opening.await.unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).await.unwrap();
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().lines().next().unwrap();
        let proof = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = [answer.replace("PROOF", &proof).as_bytes(), tail].concat();
        stream.write_all(&answer).await.unwrap();
        stream.close().await.unwrap();
        (request, stream)
    };
    let mut connector =
        WsConnector::new(Smol, &format!("ws://{address}{path}")).unwrap().dialect(dialect);
    let (wire, (request, _stream)) = zip(connector.connect(), server).await;
    (wire, request, address)
}

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
    Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: PROOF\r\n";

#[test]
fn a_connector_keeps_path_and_host_and_offers_what_its_dialect_says() {
    for dialect in [Dialect::Native, Dialect::Json] {
        run(async {
            let (_, request, address) = answered(dialect, "/a/b?c=d", AGREED, b"").await;
            assert!(request.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("\r\nHost: {address}\r\n")), "{request}");
            let native = dialect == Dialect::Native;
            let offer = "\r\nSec-WebSocket-Protocol: chargehand.2\r\n";
            assert_eq!(request.contains(offer), native, "{request}");
            assert_eq!(request.contains("\r\nOrigin: http://localhost\r\n"), !native, "{request}");
        });
    }
}

#[test]
fn a_connector_takes_the_right_answer_only() {
    let native = format!("{AGREED}Sec-WebSocket-Protocol: chargehand.2\r\n\r\n");
    let silent = format!("{AGREED}\r\n");
    let cases = [
        (Dialect::Native, native.clone(), Ok(())),
        (Dialect::Json, silent.clone(), Ok(())),
        (Dialect::Native, silent, Err("Dialect::Json")),
        (Dialect::Json, native.clone(), Err("none was offered")),
        (Dialect::Native, native.replace("chargehand.2", "x"), Err("does not agree")),
        (Dialect::Native, native.replace("PROOF", "PROOFx"), Err("Sec-WebSocket-Accept")),
        (Dialect::Native, native.replace("Upgrade: W", "Downgrade: W"), Err("Upgrade")),
        (Dialect::Native, native.replace("alive, upgrade", "alive"), Err("Connection")),
        (
            Dialect::Native,
            native.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
            Err("extension"),
        ),
        (
            Dialect::Native,
            "HTTP/1.1 503 Busy\r\n\r\ncome\tback later".to_owned(),
            Err("status 503: come back later"),
        ),
        (Dialect::Native, "HTTP/1.1 403 Forbidden\r\n\r\n".to_owned(), Err("Dialect::Json")),
        (Dialect::Native, "HTTP/1.1 101\r\n".to_owned(), Err("closed the connection")),
        (Dialect::Native, "SSH-2.0-OpenSSH\r\n".to_owned(), Err("is the port right?")),
        (Dialect::Native, format!("HTTP/1.1 101 {}", "x".repeat(20_000)), Err("bytes_max")),
    ];
    for (dialect, answer, wanted) in cases {
        run(async {
            match (answered(dialect, "", &answer, b"").await.0, wanted) {
                (Ok(_), Ok(())) => {}
                (Err(error), Err(reason)) => {
                    let text = error.to_string();
                    assert!(text.contains(reason), "{answer}: {text}");
                    assert!(text.contains("ws://127.0.0.1:"), "{answer}: {text}");
                }
                (wire, _) => panic!("{answer}: {wire:?}"),
            }
        });
    }
}

#[test]
fn a_message_right_behind_the_answer_is_not_lost() {
    run(async {
        let answer = format!("{AGREED}\r\n");
        let (wire, ..) = answered(Dialect::Json, "", &answer, b"\x81\x03abc").await;
        assert_eq!(recv(&mut wire.unwrap()).await.unwrap().unwrap(), b"abc");
    });
}

#[test]
fn nobody_listening_names_the_url() {
    run(async {
        let (bound, address) = bind();
        drop(bound);
        let mut connector = WsConnector::new(Smol, &format!("ws://{address}/x")).unwrap();
        let error = connector.connect().await.unwrap_err();
        assert!(matches!(error, WsError::Dial { .. }));
        assert!(error.to_string().contains(&format!("ws://{address}/x")), "{error}");
    });
}

#[test]
fn everything_can_move_between_threads_where_the_stream_can() {
    fn assert_send<T: Send>() {}
    assert_send::<WsWire<Socket>>();
    assert_send::<Accepting<Ready<io::Result<Socket>>, Socket>>();
    assert_send::<Connecting<<Smol as Dial>::Dialling, Socket>>();
    assert_send::<WsError>();
}

/// A door whose streams have a handshake of their own: they wait for a first byte, which has to be `!`.
struct Guarded(Bound);
/// Says it.
#[derive(Clone)]
struct Greeter(u8);

impl Dial for Greeter {
    type Stream = Socket;
    type Error = io::Error;
    type Dialling = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

    fn dial(&self, address: &str) -> Self::Dialling {
        let (dialling, greeting) = (Smol.dial(address), self.0);
        Box::pin(async move {
            let mut stream = dialling.await?;
            stream.write_all(&[greeting]).await?;
            Ok(stream)
        })
    }

    fn identity(_: &Socket) -> Option<&str> {
        Some("the worker")
    }

    fn exposure(&self, _address: &str) -> Exposure {
        Exposure::Local
    }
}

impl Accept for Guarded {
    type Stream = Socket;
    type Peer = SocketAddr;
    type Error = io::Error;
    type Opening = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Opening, SocketAddr)>> {
        self.0.poll_accept(cx).map_ok(|(opening, peer)| {
            let guarded = async move {
                let mut stream = opening.await?;
                let mut byte = [0];
                stream.read_exact(&mut byte).await?;
                if byte == *b"!" { Ok(stream) } else { Err(io::Error::other("no greeting")) }
            };
            (Box::pin(guarded) as Self::Opening, peer)
        })
    }

    fn identity(_: &Socket) -> Option<&str> {
        Some("the manager")
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

#[test]
fn a_streams_own_handshake_comes_first_and_says_who_the_other_end_is() {
    run(async {
        let (bound, address) = bind();
        let url = format!("ws://{address}/path");
        let mut listener = WsListener::new(Guarded(bound));
        let mut connector = WsConnector::new(Greeter(b'!'), &url).unwrap();
        let accepting = async { poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().await };
        let (near, far) = zip(connector.connect(), accepting).await;
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!((near.identity(), far.identity()), (Some("the worker"), Some("the manager")));

        let mut rude = WsConnector::new(Greeter(b'?'), &url).unwrap();
        let accepting = async { poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().await };
        let (near, far) = zip(rude.connect(), accepting).await;
        assert!(near.is_err());
        let text = far.unwrap_err().to_string();
        assert!(text.contains("cannot open the connection from 127.0.0.1:"), "{text}");
        assert!(text.contains("no greeting"), "{text}");
    });
}
