use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use chargehand_core::io::Wire;

use super::*;

/// A stream with a script to read, which tells when it is dropped.
struct Stream {
    incoming: Vec<u8>,
    drops: Arc<AtomicUsize>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let count = buffer.len().min(self.incoming.len());
        buffer[..count].copy_from_slice(&self.incoming[..count]);
        self.incoming.drain(..count);
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn stream(incoming: &[u8]) -> (Stream, Arc<AtomicUsize>) {
    let drops = Arc::new(AtomicUsize::new(0));
    (Stream { incoming: incoming.to_vec(), drops: Arc::clone(&drops) }, drops)
}

const GOOD: [(&str, &str); 6] = [
    ("Host", "x"),
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", SUBPROTOCOL),
];

/// The good request without one header, and with another.
fn request(without: &str, with: Option<(&str, &str)>) -> Request<()> {
    let headers = GOOD.into_iter().filter(|(name, _)| *name != without).chain(with);
    headers
        .fold(Request::get("/any"), |request, (name, value)| request.header(name, value))
        .body(())
        .unwrap()
}

fn good() -> Request<()> {
    request("", None)
}

fn status<S>(upgrader: &Upgrader<S>, request: &Request<()>) -> u16 {
    match upgrader.admit(request) {
        Ok(upgrade) => upgrade.response::<()>().status().as_u16(),
        Err(refused) => refused.status().as_u16(),
    }
}

#[test]
fn a_good_request_is_agreed_to_in_the_dialect_that_it_asks_for() {
    let (upgrader, _listener) = Upgrades::new().json(true).pair::<Stream>();
    let upgrade = upgrader.admit(&good()).unwrap();
    assert_eq!(upgrade.dialect(), Dialect::Native);
    let response = upgrade.response::<String>();
    assert_eq!((response.status(), &**response.body()), (StatusCode::SWITCHING_PROTOCOLS, ""));
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
    // The example of RFC 6455 section 1.3.
    assert_eq!(header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(header("connection"), Some("Upgrade"));
    assert_eq!(header("upgrade"), Some("websocket"));
    assert_eq!(header("sec-websocket-protocol"), Some(SUBPROTOCOL));

    let of_go = request("Sec-WebSocket-Protocol", Some(("Origin", "http://localhost")));
    let upgrade = upgrader.admit(&of_go).unwrap();
    assert_eq!(upgrade.dialect(), Dialect::Json);
    let response = upgrade.response::<()>();
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
}

#[test]
fn what_is_not_agreed_to_gets_its_status_and_the_reason() {
    let (upgrader, _listener) =
        Upgrades::new().allow_origin("https://ours.org").unwrap().pair::<Stream>();
    assert_eq!(status(&upgrader, &request("", Some(("Origin", "https://ours.org:443")))), 101);
    let mut post = good();
    *post.method_mut() = Method::POST;
    let [mut http2, mut http10] = [good(), good()];
    *http2.version_mut() = Version::HTTP_2;
    *http10.version_mut() = Version::HTTP_10;
    for (request, status, reason, header) in [
        (request("", Some(("Origin", "https://theirs.org"))), 403, "allow_origin", None),
        (request("Sec-WebSocket-Protocol", None), 400, SUBPROTOCOL, None),
        (request("Sec-WebSocket-Key", None), 400, "Sec-WebSocket-Key", None),
        (request("Connection", None), 400, "ask for an upgrade", None),
        (request("Host", None), 400, "Host", None),
        (request("", Some(("Content-Length", "5"))), 400, "body", None),
        (
            request("Sec-WebSocket-Version", Some(("Sec-WebSocket-Version", "8"))),
            426,
            "version",
            Some(("sec-websocket-version", "13")),
        ),
        (post, 405, "GET", Some(("allow", "GET"))),
        (http2, 400, "HTTP/1.1", None),
        (http10, 400, "HTTP/1.1", None),
    ] {
        let refused = upgrader.admit(&request).unwrap_err();
        let response = refused.response::<String>();
        assert_eq!(response.status().as_u16(), status, "{refused}");
        assert!(response.body().contains(reason), "{refused}");
        if let Some((name, value)) = header {
            assert_eq!(response.headers()[name], value, "{refused}");
        }
        assert!(!response.headers().contains_key("sec-websocket-accept"), "{refused}");
    }
}

#[test]
fn whoever_comes_while_there_is_no_room_is_sent_away_before_the_upgrade() {
    let (upgrader, mut listener) = Upgrades::new().waiting_max(2).pair::<Stream>();
    let first = upgrader.admit(&good()).unwrap();
    let second = upgrader.clone().admit(&good()).unwrap();
    let refused = upgrader.admit(&good()).unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.response::<String>().headers()["retry-after"], "1");
    // One that comes to nothing leaves its place; one that waits for the listener keeps it.
    drop(first);
    second.enter(stream(&[]).0, "10.0.0.8:1");
    let third = upgrader.admit(&good()).unwrap();
    assert_eq!(status(&upgrader, &good()), 503);
    drop(third);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(listener.poll_accept(&mut cx).is_ready());

    listener.set_full(true);
    assert_eq!(status(&upgrader, &good()), 503);
    listener.set_full(false);
    assert_eq!(status(&upgrader, &good()), 101);
}

#[test]
fn what_the_server_read_past_the_request_comes_before_what_the_stream_gives() {
    let frame = |payload: &[u8]| {
        let mut frame = vec![0x82, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    };
    let bytes = [frame(b"first"), frame(b"second"), frame(b"third")].concat();
    smol::block_on(async {
        for at in 0..=bytes.len() {
            let (upgrader, mut listener) = Upgrades::new().pair();
            let upgrade = upgrader.admit(&good()).unwrap().read_ahead(&bytes[..at]);
            upgrade.enter(stream(&bytes[at..]).0, "10.0.0.8:4321");
            let accepting = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            let mut wire = accepting.await.unwrap();
            assert_eq!((wire.peer(), wire.host()), ("10.0.0.8:4321", Some("10.0.0.8")));
            for expected in [&b"first"[..], b"second", b"third"] {
                let message = poll_fn(|cx| wire.poll_recv(cx).map_ok(|m| m.map(<[u8]>::to_vec)));
                assert_eq!(message.await.unwrap().as_deref(), Some(expected), "split at {at}");
            }
        }
    });
}

#[test]
fn a_listener_that_waits_is_woken_by_a_connection() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (upgrader, mut listener) = Upgrades::new().pair();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    assert!(listener.poll_accept(&mut cx).is_pending());
    let upgrade = upgrader.admit(&good()).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    upgrade.enter(stream(&[]).0, "x");
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(listener.poll_accept(&mut cx).is_ready());
}

#[test]
fn once_the_listener_is_gone_streams_are_dropped_and_requests_are_told() {
    let (upgrader, mut listener) = Upgrades::new().pair();
    let waits = upgrader.admit(&good()).unwrap();
    let late = upgrader.admit(&good()).unwrap();
    let (waiting, waiting_drops) = stream(&[]);
    let (second, second_drops) = stream(&[]);
    waits.enter(waiting, "x");
    listener.set_full(true);
    drop(listener);
    assert_eq!(waiting_drops.load(Ordering::SeqCst), 1);
    late.enter(second, "y");
    assert_eq!(second_drops.load(Ordering::SeqCst), 1);
    let refused = upgrader.admit(&good()).unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.to_string().contains("has ended"), "{refused}");
}
