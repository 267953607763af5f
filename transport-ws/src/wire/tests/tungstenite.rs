//! The same bytes, given to this wire and to tungstenite, give the same messages and the same end.

use ::tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use ::tungstenite::{Error, Message, WebSocket};

use super::*;

/// A small generator of numbers (splitmix64), for the same run by the same seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

/// Bytes of a peer that mostly keeps to the rules.
fn session(draw: &mut Draw, is_masked: bool, kind: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut in_message = false;
    for _ in 0..draw.below(12) {
        let (first, mut payload) = match draw.below(8) {
            0 => {
                let length = draw.below(126);
                (FIN | PING, draw.bytes(length))
            }
            1 => (FIN | PONG, b"pong".to_vec()),
            2 if draw.below(4) == 0 => (FIN | CLOSE, [&1000u16.to_be_bytes()[..], b"bye"].concat()),
            2 if draw.below(4) == 0 => (draw.byte(), b"any".to_vec()),
            3 if draw.below(4) == 0 => (FIN | CLOSE, draw.bytes(2)),
            _ => {
                let fin = draw.below(2) == 0;
                let first = if in_message { 0 } else { kind } | if fin { FIN } else { 0 };
                in_message = !fin;
                let length = [0, 1, 5, 125, 126, 600, 5_000, 70_000][draw.below(8)];
                // Letters of one to three bytes, so that a fragment may end within one.
                (
                    first,
                    "a\u{e4}\u{20ac}".bytes().cycle().skip(draw.below(2)).take(length).collect(),
                )
            }
        };
        let length = payload.len() as u64;
        bytes.extend(frame_header(first, length, is_masked.then_some([0; 4])));
        if is_masked {
            let (key, at) = (draw.bytes(4), bytes.len() - 4);
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            bytes[at..].copy_from_slice(&key);
        }
        bytes.extend(payload);
    }
    // And now and then, noise.
    for _ in 0..draw.below(3) {
        if !bytes.is_empty() && draw.below(3) == 0 {
            let at = draw.below(bytes.len());
            bytes[at] = draw.byte();
        }
    }
    bytes
}

/// Bytes to read, and a place to write to.
struct Pipe(io::Cursor<Vec<u8>>, Vec<u8>);

impl io::Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of it: messages, whether the end was orderly, and what it wrote but for
/// what it says at the end.
fn theirs(bytes: &[u8], role: TheirRole, limits: &Limits) -> (Vec<Vec<u8>>, bool, Vec<u8>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.message_bytes_max))
        .max_frame_size(Some(limits.frame_bytes_max));
    let pipe = Pipe(io::Cursor::new(bytes.to_vec()), Vec::new());
    let mut socket = WebSocket::from_raw_socket(pipe, role, Some(config));
    let mut messages = Vec::new();
    loop {
        let in_order = match socket.read() {
            Ok(Message::Binary(bytes)) => {
                messages.push(bytes.to_vec());
                continue;
            }
            Ok(Message::Text(text)) => {
                messages.push(text.as_bytes().to_vec());
                continue;
            }
            Ok(Message::Close(frame)) => {
                frame.is_none_or(|frame| matches!(frame.code.into(), 1000u16 | 1001))
            }
            Ok(_) => {
                socket.flush().unwrap();
                continue;
            }
            Err(Error::ConnectionClosed) => true,
            Err(_) => false,
        };
        return (messages, in_order, std::mem::take(&mut socket.get_mut().1));
    }
}

#[test]
fn the_same_bytes_give_the_same_as_tungstenite() {
    let limits = Limits {
        message_bytes_max: 100_000,
        frame_bytes_max: 80_000,
        idle_frames_burst: u32::MAX,
        ..Limits::new()
    };
    let (mut in_order, mut broken, mut long) = (0_u32, 0_u32, 0_u32);
    for seed in 0..1_500 {
        let mut draw = Draw(seed);
        let (role, their_role) =
            [(Role::Server, TheirRole::Server), (Role::Client, TheirRole::Client)][draw.below(2)];
        let (dialect, kind) = [(Dialect::Native, BINARY), (Dialect::Json, TEXT)][draw.below(2)];
        let bytes = session(&mut draw, role == Role::Server, kind);
        let chunk = 1 + draw.below(bytes.len() + 1);
        let input = bytes.chunks(chunk).map(<[u8]>::to_vec).collect();
        let script = Script { input, ends: true, room: usize::MAX, ..Script::default() };
        let mut ours = wire(role, dialect, limits, script);
        let (mut messages, mut end) = (Vec::new(), Poll::Pending);
        while end.is_pending() {
            let (some, next) = received(&mut ours);
            messages.extend(some);
            end = next;
        }
        let (their_messages, their_order, their_bytes) = theirs(&bytes, their_role, &limits);
        // Text in the native dialect is a rule of ours, and an end in JSON is no flaw.
        if matches!(&end, Poll::Ready(Err(error)) if error.to_string().contains("a text message")) {
            assert!(their_messages.starts_with(&messages), "seed {seed}");
            continue;
        }
        assert!(messages == their_messages, "seed {seed}: other messages");
        let is_ok = matches!(end, Poll::Ready(Ok(())));
        if dialect == Dialect::Native || !is_ok {
            assert_eq!(is_ok, their_order, "seed {seed}: {end:?}");
        }
        if role == Role::Server {
            let written = &ours.stream.written;
            assert!(written.starts_with(&their_bytes), "seed {seed}: other answers to pings");
        }
        in_order += u32::from(their_order);
        broken += u32::from(!their_order);
        long += u32::from(messages.iter().any(|message| message.len() > 70_000));
    }
    assert!(in_order > 50 && broken > 50 && long > 50, "{in_order}, {broken}, {long}");
}
