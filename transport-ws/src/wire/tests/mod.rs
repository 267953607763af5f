use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

/// A stream of its own peer's making: reads give `input` in chunks and then are pending, or repeat
/// `endless` for ever; writes stop at `room`.
#[derive(Default)]
struct Script {
    input: VecDeque<Vec<u8>>,
    endless: Vec<u8>,
    ends: bool,
    written: Vec<u8>,
    writes: usize,
    room: usize,
    /// Whom the stream would wake once there is room.
    writer: Option<Waker>,
    closed: bool,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(mut bytes) = self.input.pop_front() else {
            let count = buffer.len() - buffer.len() % self.endless.len().max(1);
            if !self.endless.is_empty() {
                for part in buffer[..count].chunks_mut(self.endless.len()) {
                    part.copy_from_slice(&self.endless);
                }
                return Poll::Ready(Ok(count));
            }
            return if self.ends { Poll::Ready(Ok(0)) } else { Poll::Pending };
        };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if count < bytes.len() {
            self.input.push_front(bytes.split_off(count));
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.writes += 1;
        self.room -= count;
        self.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed = true;
        Poll::Ready(Ok(()))
    }
}

struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

fn frame_header(first: u8, length: u64, mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(masked | u8::try_from(length).unwrap()),
        126..65_536 => {
            bytes.push(masked | 0x7E);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(masked | 0x7F);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    bytes
}

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_header(first, payload.len() as u64, Some([0; 4]));
    bytes.extend(payload);
    bytes
}

fn limits() -> Limits {
    Limits { message_bytes_max: 1_000, frame_bytes_max: 600, ..Limits::new() }
}

fn server(dialect: Dialect, script: Script) -> WsWire<Script> {
    wire(Role::Server, dialect, limits(), script)
}

fn wire(role: Role, dialect: Dialect, limits: Limits, script: Script) -> WsWire<Script> {
    let peer = Peer { name: "the peer".into(), host: None, identity: None };
    WsWire::new(script, &[], role, dialect, limits, peer)
}

fn receiving(dialect: Dialect, input: impl IntoIterator<Item = Vec<u8>>) -> WsWire<Script> {
    let input = input.into_iter().collect();
    server(dialect, Script { input, room: usize::MAX, ..Script::default() })
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn script(wire: &mut WsWire<Script>) -> &mut Script {
    &mut wire.stream
}

/// Receives until the wire is pending, ends or breaks, and returns the messages and that.
fn received(wire: &mut WsWire<Script>) -> (Vec<Vec<u8>>, Poll<Result<(), WsError>>) {
    let mut messages = Vec::new();
    loop {
        match wire.poll_recv(&mut cx()) {
            Poll::Ready(Ok(Some(message))) => messages.push(message.to_vec()),
            Poll::Ready(Ok(None)) => return (messages, Poll::Ready(Ok(()))),
            Poll::Ready(Err(error)) => return (messages, Poll::Ready(Err(error))),
            Poll::Pending => return (messages, Poll::Pending),
        }
    }
}

mod adversity;
mod tungstenite;

#[test]
fn json_messages_around_and_above_the_length_of_a_read_come_whole() {
    let texts: Vec<Vec<u8>> = (480..600).map(|length| vec![b'x'; length]).collect();
    let bytes: Vec<u8> = texts.iter().flat_map(|text| frame(FIN | TEXT, text)).collect();
    for chunk in [1, 100, JSON_READ_BYTES - 1, JSON_READ_BYTES, JSON_READ_BYTES + 1, bytes.len()] {
        let mut wire = receiving(Dialect::Json, bytes.chunks(chunk).map(<[u8]>::to_vec));
        let mut messages = Vec::new();
        // Pending, where it lets others run.
        for _ in 0..bytes.len() {
            messages.extend(received(&mut wire).0);
        }
        assert!(messages == texts, "in chunks of {chunk}");
    }
}

#[test]
fn messages_come_whole_in_any_chunks_and_fragments() {
    let mut bytes = frame(FIN | BINARY, b"one");
    bytes.extend(frame(BINARY, b"t"));
    bytes.extend(frame(FIN | PING, b"between"));
    bytes.extend(frame(FIN, b"wo"));
    bytes.extend(frame(FIN | BINARY, &[7; 500]));
    bytes.extend(frame(FIN | BINARY, b""));
    for chunk in 1..bytes.len() {
        let mut wire = receiving(Dialect::Native, bytes.chunks(chunk).map(<[u8]>::to_vec));
        let mut messages = Vec::new();
        while !script(&mut wire).input.is_empty() {
            let (some, end) = received(&mut wire);
            assert!(end.is_pending(), "reading is only paced");
            messages.extend(some);
        }
        assert_eq!(messages, [b"one".to_vec(), b"two".to_vec(), vec![7; 500], vec![]]);
        assert_eq!(script(&mut wire).written, [&[FIN | PONG, 7], &b"between"[..]].concat());
    }
}

#[test]
fn many_messages_leave_in_one_write_at_the_flush() {
    let mut wire = receiving(Dialect::Native, []);
    for _ in 0..100 {
        assert!(matches!(wire.poll_send(&mut cx(), b"head", b" and body"), Poll::Ready(Ok(()))));
    }
    assert_eq!(script(&mut wire).writes, 0);
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    assert_eq!(script(&mut wire).writes, 1);
    let one = [&[FIN | BINARY, 13], &b"head and body"[..]].concat();
    assert_eq!(script(&mut wire).written, one.repeat(100));
}

#[test]
fn a_slow_reader_makes_the_sender_wait_and_gets_every_byte_once() {
    let mut wire = server(Dialect::Native, Script::default());
    let mut taken = 0;
    while wire.poll_send(&mut cx(), &[1; 500], &[2; 400]).is_ready() {
        taken += 1;
        assert!(taken * 900 <= limits().write_buffer_bytes + 1_000, "no limit");
    }
    assert!(wire.poll_flush(&mut cx()).is_pending());
    script(&mut wire).room = 904 * taken - 1;
    assert!(wire.poll_send(&mut cx(), b"", b"").is_pending());
    script(&mut wire).room = usize::MAX;
    assert!(matches!(wire.poll_send(&mut cx(), b"", b""), Poll::Ready(Ok(()))));
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    assert_eq!(script(&mut wire).written.len(), 904 * taken + 2);
}

#[test]
fn a_long_body_that_is_not_masked_leaves_once_in_order_and_without_a_copy() {
    let long = vec![5; 100_000];
    let whole = [&frame_header(FIN | BINARY, 100_001, None), &b"a"[..], &long].concat().repeat(2);
    for room in [0, 1, 5, 11, 50_000, 100_011, 100_020, 150_000, usize::MAX] {
        let script_of = Script { room, ..Script::default() };
        let mut wire = wire(Role::Server, Dialect::Native, Limits::new(), script_of);
        for _ in 0..2 {
            while wire.poll_send(&mut cx(), b"a", &long).is_pending() {
                script(&mut wire).room += 7_000;
            }
        }
        if room == usize::MAX {
            assert!(wire.writer.capacity() < 1_000, "nothing of a body");
        }
        script(&mut wire).room = usize::MAX;
        assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
        assert!(script(&mut wire).written == whole, "{room}");
    }
}

#[test]
fn a_message_above_the_limit_is_not_sent() {
    let mut wire = receiving(Dialect::Native, []);
    assert_eq!(wire.message_bytes_max(), 1_000);
    let Poll::Ready(Err(error)) = wire.poll_send(&mut cx(), &[0; 1_000], &[0]) else {
        panic!("no error")
    };
    for part in ["to the peer", "1001", "1000", "message_bytes_max"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_peer_that_breaks_the_rules_is_told_the_code() {
    let fragments = [frame(BINARY, &[0; 600]), frame(FIN, &[0; 600])].concat();
    for (what, bytes, dialect, code) in [
        ("unmasked", vec![FIN | BINARY, 1, 7], Dialect::Native, 1002),
        ("reserved bit", frame(0xC0 | BINARY, b"x"), Dialect::Native, 1002),
        ("reserved opcode", frame(FIN | 0x3, b"x"), Dialect::Native, 1002),
        ("long ping", frame(FIN | PING, &[0; 126]), Dialect::Native, 1002),
        ("fragmented ping", frame(PING, b""), Dialect::Native, 1002),
        ("stray continuation", frame(FIN, b"x"), Dialect::Native, 1002),
        ("text in native", frame(FIN | TEXT, b"x"), Dialect::Native, 1003),
        ("not UTF-8", frame(FIN | TEXT, &[0xFF]), Dialect::Json, 1007),
        ("long frame", frame(FIN | BINARY, &[0; 601])[..8].to_vec(), Dialect::Native, 1009),
        ("long message", fragments, Dialect::Native, 1009),
    ] {
        let mut wire = receiving(dialect, [frame(FIN | BINARY, b"fine"), bytes]);
        let (messages, end) = received(&mut wire);
        assert_eq!(messages, [b"fine"], "{what}");
        let Poll::Ready(Err(error)) = end else { panic!("{what}: no error") };
        assert!(error.to_string().contains("the peer"), "{what}: {error}");
        let [high, low] = u16::to_be_bytes(code);
        assert_eq!(script(&mut wire).written, [FIN | CLOSE, 2, high, low], "{what}");
        assert!(matches!(error, WsError::Received { .. }) == (code == 1009), "{what}: {error}");
    }
}

#[test]
fn the_json_dialect_is_text_and_takes_binary_too() {
    let input = [frame(FIN | TEXT, b"{}"), frame(FIN | BINARY, b"[]")];
    let mut wire = receiving(Dialect::Json, input);
    assert_eq!(received(&mut wire).0, [b"{}", b"[]"]);
    assert!(matches!(wire.poll_send(&mut cx(), b"{", b"}"), Poll::Ready(Ok(()))));
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    assert_eq!(script(&mut wire).written, [&[FIN | TEXT, 2], &b"{}"[..]].concat());
    assert!(matches!(wire.poll_send(&mut cx(), &[0xFF], b""), Poll::Ready(Err(_))));
}

#[test]
fn a_close_frame_is_answered_and_ends_in_an_orderly_way() {
    for payload in [&[][..], &1000u16.to_be_bytes(), &1001u16.to_be_bytes()] {
        let mut wire = receiving(Dialect::Native, [frame(FIN | CLOSE, payload)]);
        assert!(matches!(received(&mut wire).1, Poll::Ready(Ok(()))));
        assert_eq!(script(&mut wire).written[0], FIN | CLOSE);
        assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(None))));
        assert!(matches!(wire.poll_send(&mut cx(), b"x", b""), Poll::Ready(Err(_))));
        assert!(matches!(wire.poll_close(&mut cx()), Poll::Ready(Ok(()))));
        assert!(script(&mut wire).closed);
    }
}

#[test]
fn a_close_frame_with_a_complaint_is_an_error_that_quotes_it() {
    let payload = [&1009u16.to_be_bytes(), &b"too\nbig"[..]].concat();
    let mut wire = receiving(Dialect::Native, [frame(FIN | CLOSE, &payload)]);
    let Poll::Ready(Err(error)) = received(&mut wire).1 else { panic!("no error") };
    assert_eq!(error.to_string(), "the peer closed the connection with code 1009: too big");
}

#[test]
fn an_end_without_close_frame_is_an_error_but_to_the_go_package() {
    let bytes = [frame(FIN | BINARY, b"whole"), frame(FIN | BINARY, b"part")].concat();
    for cut in 11..bytes.len() {
        for dialect in [Dialect::Native, Dialect::Json] {
            let mut wire = receiving(dialect, [bytes[..cut].to_vec()]);
            script(&mut wire).ends = true;
            let (messages, end) = received(&mut wire);
            assert_eq!(messages, [b"whole"]);
            match dialect {
                Dialect::Json => assert!(matches!(end, Poll::Ready(Ok(())))),
                Dialect::Native => {
                    assert!(matches!(end, Poll::Ready(Err(WsError::Truncated { .. }))));
                }
            }
        }
    }
}

#[test]
fn closing_flushes_says_so_and_closes_the_stream() {
    let mut wire = server(Dialect::Native, Script::default());
    assert!(matches!(wire.poll_send(&mut cx(), b"last", b""), Poll::Ready(Ok(()))));
    assert!(wire.poll_close(&mut cx()).is_pending());
    assert!(!script(&mut wire).closed);
    script(&mut wire).room = usize::MAX;
    assert!(matches!(wire.poll_close(&mut cx()), Poll::Ready(Ok(()))));
    let sent = [&[FIN | BINARY, 4], &b"last"[..], &[FIN | CLOSE, 0]].concat();
    assert_eq!(script(&mut wire).written, sent);
    assert!(script(&mut wire).closed);
}

#[test]
fn floods_do_not_keep_the_thread() {
    let fragments = |first: &[u8]| (frame(BINARY, first), frame(0, first));
    let (empty, next_empty) = fragments(b"");
    let (short, next_short) = fragments(b"x");
    let (long, next_long) = fragments(&[7; 20]);
    for (what, first, endless) in [
        ("pongs", vec![], frame(FIN | PONG, b"xx")),
        ("pings", vec![], frame(FIN | PING, b"xx")),
        ("empty fragments", empty, next_empty),
        ("short fragments", short, next_short),
        ("fragments", long, next_long),
        ("a long message", frame_header(FIN | BINARY, 1 << 40, Some([0; 4])), vec![7]),
    ] {
        let next_is_data = what == "fragments" || what == "a long message";
        // However many a user allows.
        let limits = Limits {
            idle_frames_burst: u32::MAX,
            message_bytes_max: usize::MAX,
            frame_bytes_max: usize::MAX,
            ..Limits::new()
        };
        let input = if first.is_empty() { VecDeque::new() } else { [first].into() };
        let script = Script { input, endless, room: usize::MAX, ..Script::default() };
        let mut wire = wire(Role::Server, Dialect::Native, limits, script);
        let wakes = Arc::new(WakeCount(AtomicUsize::new(0)));
        let waker = Waker::from(wakes.clone());
        for polls in 1..10 {
            let before = wire.progress().received;
            let end = wire.poll_recv(&mut Context::from_waker(&waker)).map_ok(|_| ());
            assert!(end.is_pending(), "{what}: {end:?}");
            assert!(wakes.0.load(Ordering::Relaxed) >= polls, "{what}: pending without a wake");
            let read = wire.progress().received - before;
            let most: u64 = if next_is_data { 320 << 10 } else { 8 << 10 };
            assert!(read <= most, "{what}: {read} bytes");
        }
    }
}

#[test]
fn a_peer_that_floods_with_pings_and_reads_no_answer_is_refused() {
    let endless = frame(FIN | PING, b"1234567890");
    let mut wire = server(Dialect::Native, Script { endless, ..Script::default() });
    let error = (0..100).find_map(|_| match wire.poll_recv(&mut cx()) {
        Poll::Ready(Err(error)) => Some(error),
        Poll::Ready(Ok(_)) => panic!("a message out of pings"),
        Poll::Pending => None,
    });
    assert!(error.unwrap().to_string().contains("a flood of frames that carry nothing (pings"));
    assert!(wire.writer.waiting() <= 12 + 4, "one answer, and why it ends");
}
