//! The other end by hand: blocking sockets on threads, which can send any bytes at any pace.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use chargehand::core::message::{Code, Extensions, HEAD_BYTES_MAX, Hello, Message, Role};
use chargehand::core::{TaskId, Verdict};

use crate::pair::Socket;

/// How long a script waits for the other end to say something.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The header line by which a WebSocket peer offers our protocol, and agrees to it.
pub(crate) const OFFER: &str = "Sec-WebSocket-Protocol: chargehand.2\r\n";

/// Runs a blocking script beside the asynchronous case.
pub(crate) struct Script<T>(async_channel::Receiver<T>);

pub(crate) fn script<T: Send + 'static>(play: impl FnOnce() -> T + Send + 'static) -> Script<T> {
    let (sender, receiver) = async_channel::bounded(1);
    std::thread::spawn(move || sender.send_blocking(play()));
    Script(receiver)
}

impl<T> Script<T> {
    pub(crate) async fn end(self) -> T {
        self.0.recv().await.expect("the script panicked: see above")
    }
}

/// A connection whose every byte is ours.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    framing: Framing,
    frame: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Framing {
    /// TCP: a length before each message.
    Prefix,
    /// WebSocket, as the client: masked.
    Client,
    /// WebSocket, as the server.
    Server,
}

impl Raw {
    /// Connects, up to the end of the transport's handshake.
    pub(crate) fn client<P: Socket>(at: SocketAddr) -> Self {
        dial_plain(at).shake_hands::<P>()
    }

    /// Connects from this address of our own, as another host would.
    pub(crate) fn client_from<P: Socket>(from: Ipv4Addr, at: SocketAddr) -> Self {
        dial_plain_from(from, at).shake_hands::<P>()
    }

    fn shake_hands<P: Socket>(mut self) -> Self {
        let raw = &mut self;
        if P::WEBSOCKET {
            raw.framing = Framing::Client;
            raw.write(upgrade(OFFER).as_bytes());
            let answer = raw.read_head();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        }
        self
    }

    /// Accepts, up to the end of the transport's handshake.
    pub(crate) fn server<P: Socket>(door: &TcpListener) -> Self {
        let (stream, _) = door.accept().expect("somebody dials");
        stream.set_read_timeout(Some(SILENCE_MAX)).expect("a valid time");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut raw = Self { stream, framing: Framing::Prefix, frame: Vec::new() };
        if P::WEBSOCKET {
            raw.framing = Framing::Server;
            let request = raw.read_head();
            raw.agree(&request, OFFER);
        }
        raw
    }

    /// Connects as the Go package's client does.
    pub(crate) fn go_client(at: SocketAddr) -> Self {
        Self::try_go_client(at).unwrap_or_else(|answer| panic!("{answer}"))
    }

    /// Connects as the Go package's client does, or returns the answer that keeps it out.
    pub(crate) fn try_go_client(at: SocketAddr) -> Result<Self, String> {
        let mut raw = Self { stream: dial(at), framing: Framing::Client, frame: Vec::new() };
        raw.write(upgrade("Origin: http://localhost\r\n").as_bytes());
        let answer = raw.read_head();
        if !answer.starts_with("HTTP/1.1 101 ") {
            return Err(answer);
        }
        assert!(!answer.to_ascii_lowercase().contains("sec-websocket-protocol"), "{answer}");
        Ok(raw)
    }

    /// Accepts as the Go package's server does, which insists on an `Origin`.
    pub(crate) fn go_server(door: &TcpListener) -> Self {
        let (stream, _) = door.accept().expect("somebody dials");
        stream.set_read_timeout(Some(SILENCE_MAX)).expect("a valid time");
        let mut raw = Self { stream, framing: Framing::Server, frame: Vec::new() };
        let request = raw.read_head();
        assert!(request.contains("\r\nOrigin: http://localhost\r\n"), "{request}");
        assert!(!request.contains("Sec-WebSocket-Protocol"), "{request}");
        raw.agree(&request, "");
        raw
    }

    fn agree(&mut self, request: &str, extra: &str) {
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = derive_accept_key(key.expect("a key").as_bytes());
        self.write(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
            )
            .as_bytes(),
        );
    }

    /// Writes bytes as they are. The other end may have hung up by now.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Returns what a message is on this wire.
    pub(crate) fn framed(&self, payload: &[u8]) -> Vec<u8> {
        self.framed_as(2, payload)
    }

    fn framed_as(&self, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = self.header_as(opcode, payload.len());
        bytes.extend_from_slice(payload); // A mask of zeros changes nothing.
        bytes
    }

    /// Returns what announces a message of that length on this wire.
    pub(crate) fn header(&self, length: usize) -> Vec<u8> {
        self.header_as(2, length)
    }

    fn header_as(&self, opcode: u8, length: usize) -> Vec<u8> {
        let mask = match self.framing {
            Framing::Prefix => {
                return u32::try_from(length).expect("a short message").to_le_bytes().to_vec();
            }
            Framing::Client => 0x80,
            Framing::Server => 0,
        };
        let mut bytes = vec![0x80 | opcode];
        if let Ok(short @ ..126) = u8::try_from(length) {
            bytes.push(mask | short);
        } else {
            bytes.push(mask | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
        if mask != 0 {
            bytes.extend_from_slice(&[0; 4]);
        }
        bytes
    }

    /// Sends a payload as one message.
    pub(crate) fn send(&mut self, payload: &[u8]) {
        let bytes = self.framed(payload);
        self.write(&bytes);
    }

    pub(crate) fn say(&mut self, message: &Message<'_>) {
        self.say_with(message, &[]);
    }

    pub(crate) fn say_with(&mut self, message: &Message<'_>, body: &[u8]) {
        self.send(&encoded(message, body));
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        let bytes = self.framed_as(1, text.as_bytes());
        self.write(&bytes);
    }

    /// Returns the next message's bytes, or `None` at the end.
    pub(crate) fn receive(&mut self) -> Option<&[u8]> {
        match self.framing {
            Framing::Prefix => {
                let length = u32::from_le_bytes(self.exactly(4)?.try_into().expect("four bytes"));
                self.frame = self.exactly(length as usize)?;
            }
            Framing::Client | Framing::Server => loop {
                let head = self.exactly(2)?;
                let length = match head[1] & 0x7f {
                    126 => {
                        let bytes = self.exactly(2)?.try_into().expect("two bytes");
                        usize::from(u16::from_be_bytes(bytes))
                    }
                    127 => {
                        let bytes = self.exactly(8)?.try_into().expect("eight bytes");
                        usize::try_from(u64::from_be_bytes(bytes)).expect("it fits")
                    }
                    short => usize::from(short),
                };
                let masked = head[1] & 0x80 != 0;
                assert_eq!(masked, matches!(self.framing, Framing::Server), "only clients mask");
                let mask = if masked { self.exactly(4)? } else { vec![0; 4] };
                self.frame = self.exactly(length)?;
                for (index, byte) in self.frame.iter_mut().enumerate() {
                    *byte ^= mask[index % 4];
                }
                match head[0] & 0x0f {
                    1 | 2 => break,
                    8 => return None,
                    _ => {}
                }
            },
        }
        Some(&self.frame)
    }

    pub(crate) fn receive_message(&mut self) -> Option<Message<'_>> {
        self.receive().map(|frame| Message::decode(frame).expect("only messages are sent to us"))
    }

    /// Reads until the end of the connection, and returns the Goodbye, if there is one.
    pub(crate) fn goodbye(&mut self) -> Option<(Code, String)> {
        let mut last = None;
        while let Some(message) = self.receive_message() {
            if let Message::Goodbye { code, text } = message {
                last = Some((code, text.to_owned()));
            }
        }
        last
    }

    /// Reads bytes of any kind until the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) if is_end(&error) => return bytes,
                Err(error) => panic!("the connection was not closed: {error}"),
            }
        }
    }

    /// Makes the end of this connection a reset.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
            .expect("a TCP socket");
    }

    /// Says that nothing more will come, and still listens.
    pub(crate) fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) if is_end(&error) => None,
            Err(error) => panic!("the other end says nothing: {error}"),
        }
    }

    fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.exactly(1).expect("an HTTP head"));
        }
        String::from_utf8(head).expect("HTTP is text")
    }
}

/// What a worker does by hand.
impl Raw {
    /// Opens the link as a worker, up to the Welcome.
    pub(crate) fn greet_as_worker(&mut self, name: &str, window: u16) {
        self.say(&Message::hello(Role::Worker, window, 1, name));
        match self.receive_message() {
            Some(Message::Hello(Hello { role: Role::Manager, .. })) => {}
            other => panic!("no manager's Hello but {other:?}"),
        }
        match self.receive_message() {
            Some(Message::Welcome { .. }) => {}
            other => panic!("no Welcome but {other:?}"),
        }
    }

    /// Returns the next request. Pings are answered on the way.
    pub(crate) fn request(&mut self) -> Option<(TaskId, u16, u64)> {
        loop {
            match self.receive_message()? {
                Message::Request { task, attempt, body, .. } => {
                    let height = postcard::from_bytes(body).expect("a height");
                    return Some((task, attempt, height));
                }
                Message::Ping => self.say(&Message::Pong),
                _ => {}
            }
        }
    }

    pub(crate) fn answer(&mut self, task: TaskId, attempt: u16, value: u64) {
        let body = postcard::to_stdvec(&value).expect("a number");
        self.say_with(&done(task, attempt), &body);
    }

    /// Answers requests until the end.
    pub(crate) fn work_on(&mut self) {
        while let Some((task, attempt, height)) = self.request() {
            self.answer(task, attempt, crate::rig::answer_to(height));
        }
    }
}

/// What a manager does by hand.
impl Raw {
    /// Opens the link as a manager, up to the worker's Hello, which is checked.
    pub(crate) fn greet_as_manager(&mut self, heartbeat_millis: u32, window: u16) {
        self.say(&Message::hello(Role::Manager, 0, 1, "by hand"));
        self.say(&Message::Welcome { heartbeat_millis, window, extensions: Extensions::NONE });
        match self.receive_message() {
            Some(Message::Hello(Hello { role: Role::Worker, .. })) => {}
            other => panic!("no worker's Hello but {other:?}"),
        }
    }

    pub(crate) fn ask(&mut self, slot: u32, height: u64) {
        let body = postcard::to_stdvec(&height).expect("a number");
        let task = TaskId::from_parts(slot, 0);
        self.say_with(
            &Message::Request { task, attempt: 1, extensions: Extensions::NONE, body: &[] },
            &body,
        );
    }
}

/// The head of an answer.
pub(crate) fn done(task: TaskId, attempt: u16) -> Message<'static> {
    Message::Response { task, attempt, verdict: Verdict::Done, body: &[] }
}

/// A message as its frame's payload.
pub(crate) fn encoded(message: &Message<'_>, body: &[u8]) -> Vec<u8> {
    let mut payload = message.encode(&mut [0; HEAD_BYTES_MAX]).to_vec();
    payload.extend_from_slice(body);
    payload
}

pub(crate) fn dial(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("somebody listens");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a valid time");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// Connects without any handshake.
pub(crate) fn dial_plain(at: SocketAddr) -> Raw {
    Raw { stream: dial(at), framing: Framing::Prefix, frame: Vec::new() }
}

/// Connects from this address of our own, without any handshake.
pub(crate) fn dial_plain_from(from: Ipv4Addr, at: SocketAddr) -> Raw {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

    let from = SocketAddr::from((from, 0));
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &from).expect("all of 127.0.0.0/8 is ours");
    connect(&socket, &at).expect("somebody listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a valid time");
    stream.set_nodelay(true).expect("a TCP socket");
    Raw { stream, framing: Framing::Prefix, frame: Vec::new() }
}

/// Accepts without any handshake.
pub(crate) fn accept_plain(door: &TcpListener) -> Raw {
    let (stream, _) = door.accept().expect("somebody dials");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a valid time");
    Raw { stream, framing: Framing::Prefix, frame: Vec::new() }
}

/// A WebSocket client's request, with further header lines.
pub(crate) fn upgrade(extra: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

fn is_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}
