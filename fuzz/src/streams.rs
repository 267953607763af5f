//! Whole ends of a link, fed with bytes by a stream in memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use chargehand::core::io::{Accept, Connect, Dial, Dialect, Exposure, Listen, Wire};
use chargehand::tls::members::{Authority, Members, Role};
use chargehand::ws::{Limits, WsConnector, WsListener};
use futures_io::{AsyncRead, AsyncWrite};
use sha1::{Digest, Sha1};

use crate::chunks::Choices;

const MESSAGE_BYTES_MAX: usize = 2048;
/// How many messages an input may have: each takes two bytes at least.
const MESSAGES_MAX: usize = 1 << 16;

/// Gives what it has, in chunks, then ends; takes whatever is written.
struct Memory {
    input: VecDeque<u8>,
    chunk: usize,
    written: Vec<u8>,
    /// Answers a WebSocket request as a server does, before the input.
    answers: bool,
}

impl Memory {
    fn new(input: impl Into<Vec<u8>>, chunk: usize) -> Self {
        let input: Vec<u8> = input.into();
        Self { input: input.into(), chunk: chunk.max(1), written: Vec::new(), answers: false }
    }

    fn answer_request(&mut self) {
        if !self.answers || !self.written.ends_with(b"\r\n\r\n") {
            return;
        }
        self.answers = false;
        for byte in agreement(&self.written).into_bytes().into_iter().rev() {
            self.input.push_front(byte);
        }
    }
}

/// Returns what a server answers to a request (RFC 6455, section 4.2.2).
fn agreement(request: &[u8]) -> String {
    let request = String::from_utf8_lossy(request);
    let header = |name: &str| {
        let of = |line: &str| {
            let (this, value) = line.split_once(": ")?;
            this.eq_ignore_ascii_case(name).then(|| value.to_owned())
        };
        request.lines().find_map(of)
    };
    let key = header("Sec-WebSocket-Key").expect("a request has a key");
    let mut hash = Sha1::new();
    hash.update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let proof = base64(&hash.finalize());
    let protocol = header("Sec-WebSocket-Protocol");
    let protocol = protocol.map(|it| format!("Sec-WebSocket-Protocol: {it}\r\n"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {proof}\r\n{}\r\n",
        protocol.unwrap_or_default()
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_usize, |word, &byte| word << 8 | usize::from(byte));
        let word = word << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[word >> (18 - 6 * at) & 63]);
            text.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.answer_request();
        let count = buffer.len().min(self.chunk).min(self.input.len());
        for (place, byte) in buffer.iter_mut().zip(self.input.drain(..count)) {
            *place = byte;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Gives one stream.
struct One(Mutex<Option<Memory>>);

impl One {
    fn new(stream: Memory) -> Self {
        Self(Mutex::new(Some(stream)))
    }

    fn take(&self) -> Memory {
        self.0.lock().expect("nobody panicked").take().expect("one stream is asked for")
    }
}

impl Dial for One {
    type Stream = Memory;
    type Error = Infallible;
    type Dialling = Ready<Result<Memory, Infallible>>;

    fn dial(&self, _address: &str) -> Self::Dialling {
        ready(Ok(self.take()))
    }

    fn exposure(&self, _address: &str) -> Exposure {
        Exposure::Local
    }
}

impl Accept for One {
    type Stream = Memory;
    type Peer = &'static str;
    type Error = Infallible;
    type Opening = Ready<Result<Memory, Infallible>>;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Result<(Self::Opening, Self::Peer), Infallible>> {
        Poll::Ready(Ok((ready(Ok(self.take())), "memory")))
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

/// How often something may let others go first: it does so after so many bytes.
const TURNS_MAX: usize = 1 << 16;

/// Whether it was woken since the last look.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Polls what never has to wait, since its stream never does: where it lets others go first, it must have
/// woken us.
fn ready_at_last<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    for _ in 0..TURNS_MAX {
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        assert!(woken.0.swap(false, Relaxed), "it waits, and nothing will wake it");
    }
    panic!("it goes on for ever");
}

fn finished<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    ready_at_last(|cx| future.as_mut().poll(cx))
}

fn limits() -> Limits {
    let mut limits = Limits::new();
    limits.message_bytes_max = MESSAGE_BYTES_MAX;
    limits.frame_bytes_max = MESSAGE_BYTES_MAX;
    limits.read_buffer_bytes = 256;
    limits
}

/// Reads all that comes and answers each message, until the link ends.
fn read_on<W: Wire>(mut wire: W) {
    for _ in 0..MESSAGES_MAX {
        let received = ready_at_last(|cx| wire.poll_recv(cx).map_ok(|it| it.map(<[u8]>::to_vec)));
        let Ok(Some(message)) = received else {
            let _ = ready_at_last(|cx| wire.poll_close(cx));
            return;
        };
        assert!(message.len() <= MESSAGE_BYTES_MAX, "longer than it may be");
        let _ = ready_at_last(|cx| wire.poll_send(cx, &message, b"!"));
        let _ = ready_at_last(|cx| wire.poll_flush(cx));
    }
    panic!("more messages than there were bytes");
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Whatever a client says, from its first byte on or after a good request, a WebSocket server hands on no
/// message beyond its limit, and ends.
pub fn ws_server(data: &[u8]) {
    let mut choices = Choices(data);
    let (kind, chunk) = (choices.byte(), usize::from(choices.byte()));
    let head = match kind % 3 {
        0 => Vec::new(),
        1 => [REQUEST, b"\r\n"].concat(),
        _ => [REQUEST, b"Sec-WebSocket-Protocol: chargehand.2\r\n\r\n"].concat(),
    };
    let stream = Memory::new([&head[..], choices.0].concat(), chunk);
    let mut listener = WsListener::new(One::new(stream)).json(true).limits(limits());
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(accepting)) = listener.poll_accept(&mut cx) else {
        panic!("there is a stream")
    };
    match finished(accepting) {
        Ok(wire) => read_on(wire),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Whatever a server says, from its first byte on or after a good answer, a WebSocket client hands on no
/// message beyond its limit, and ends.
pub fn ws_client(data: &[u8]) {
    let mut choices = Choices(data);
    let (kind, chunk) = (choices.byte(), usize::from(choices.byte()));
    let mut stream = Memory::new(choices.0, chunk);
    stream.answers = kind % 3 != 0;
    let dialect = if kind & 8 == 0 { Dialect::Native } else { Dialect::Json };
    let mut connector = WsConnector::new(One::new(stream), "ws://localhost")
        .expect("an address")
        .dialect(dialect)
        .limits(limits());
    match finished(connector.connect()) {
        Ok(wire) => read_on(wire),
        Err(error) => {
            assert!(kind % 3 == 0, "a good answer was refused: {error}");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// A pool with an authority of its own, in a folder of its own.
static MEMBERS: LazyLock<Members> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("chargehand-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let path = |name: &str| -> PathBuf { folder.join(name) };
    let authority = Authority::create(path("authority")).expect("an authority can be made");
    authority.join(Role::Pool, "pool").write(path("pool")).expect("a member can be made");
    let members = Members::pool(path("pool")).expect("its file can be read");
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
    members
});

/// Whatever a client says, a TLS server refuses what is no proof of a member, and says why.
pub fn tls_server(data: &[u8]) {
    let mut choices = Choices(data);
    let chunk = usize::from(choices.byte());
    let mut accept = MEMBERS.accept(One::new(Memory::new(choices.0, chunk)));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok((opening, _))) = accept.poll_accept(&mut cx) else {
        panic!("there is a stream")
    };
    match finished(opening) {
        Ok(_) => panic!("somebody came in without a key"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
