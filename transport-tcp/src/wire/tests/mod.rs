use std::collections::VecDeque;
use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use chargehand_core::io::{Accept, Connect, Dial, Exposure, Listen};
use futures_util::FutureExt;

use super::*;
use crate::{TcpConnector, TcpListener};

/// What the next read of a [`Script`] gives.
enum Read {
    Bytes(Vec<u8>),
    Pending,
    Error(io::ErrorKind),
}

/// A stream whose reads follow a list, then end, and whose writes stop at `room`.
#[derive(Default)]
struct Script {
    reads: VecDeque<Read>,
    read_calls: usize,
    written: Vec<u8>,
    writes: usize,
    room: usize,
    is_vectored: bool,
    closed: bool,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!buffer.is_empty());
        self.read_calls += 1;
        match self.reads.pop_front() {
            None => Poll::Ready(Ok(0)),
            Some(Read::Pending) => Poll::Pending,
            Some(Read::Error(kind)) => Poll::Ready(Err(kind.into())),
            Some(Read::Bytes(mut bytes)) => {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    self.reads.push_front(Read::Bytes(bytes.split_off(count)));
                }
                Poll::Ready(Ok(count))
            }
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Poll::Pending;
        }
        self.writes += 1;
        self.room -= count;
        self.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let one = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        if !self.is_vectored {
            return self.poll_write(cx, one);
        }
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.poll_write(cx, &all)
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

fn limits(frame_bytes_max: usize, write_buffer_bytes_max: usize) -> Limits {
    Limits { frame_bytes_max, write_buffer_bytes_max }
}

fn wire(reads: impl IntoIterator<Item = Read>) -> TcpWire<Script> {
    let stream = Script { reads: reads.into_iter().collect(), ..Script::default() };
    TcpWire::new(stream, "the peer", Limits::new())
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Receives until the wire is pending, ends or breaks, and returns the messages and that.
fn received(wire: &mut TcpWire<Script>) -> (Vec<Vec<u8>>, Poll<Result<(), TcpError>>) {
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

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
        bytes.extend(message);
    }
    bytes
}

fn some_messages() -> Vec<Vec<u8>> {
    vec![b"one".to_vec(), vec![], vec![7; 5_000], b"four".to_vec(), vec![9; 70_000]]
}

#[test]
fn what_one_wire_sends_another_receives_in_any_chunks() {
    for chunk in [1, 2, 3, 4, 5, 7, 1_000, 4_096, 100_000] {
        let mut sender = wire([]);
        for message in some_messages() {
            let (head, body) = message.split_at(message.len() / 3);
            assert!(matches!(sender.poll_send(&mut cx(), head, body), Poll::Ready(Ok(()))));
        }
        sender.stream.room = usize::MAX;
        assert!(matches!(sender.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
        assert_eq!(sender.stream.writes, 1, "five messages, one write");

        let bytes = sender.stream.written;
        let mut receiver = wire(
            bytes.chunks(chunk).flat_map(|bytes| [Read::Bytes(bytes.to_vec()), Read::Pending]),
        );
        let mut messages = Vec::new();
        let end = loop {
            match received(&mut receiver) {
                (some, Poll::Pending) => messages.extend(some),
                (some, Poll::Ready(end)) => {
                    messages.extend(some);
                    break end;
                }
            }
        };
        assert!(end.is_ok());
        assert_eq!(messages, some_messages(), "in chunks of {chunk}");
    }
}

#[test]
fn one_read_gives_many_messages() {
    let messages = vec![b"message".to_vec(); 40];
    let mut wire = wire([Read::Bytes(framed(&messages)), Read::Pending]);
    assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(Some(b"message")))));
    assert_eq!(wire.stream.reads.len(), 1, "one read took them all");
    let (rest, end) = received(&mut wire);
    assert_eq!(rest.len(), 39);
    assert!(end.is_pending());
}

#[test]
fn more_is_expected_once_all_that_came_is_given_out_unless_that_has_often_been_wrong() {
    let messages = vec![b"message".to_vec(); 2];
    let mut wire = wire([Read::Bytes(framed(&messages)), Read::Bytes(framed(&messages[..1]))]);
    for is_last in [false, true, true] {
        assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(Some(b"message")))));
        assert_eq!(wire.expects_next(), is_last);
    }
    let expected = |wire: &mut TcpWire<Script>| {
        wire.stream.reads.push_back(Read::Pending);
        let expected = wire.expects_next();
        assert!(wire.poll_recv(&mut cx()).is_pending());
        expected
    };
    assert!((0..10).all(|_| expected(&mut wire)));
    let more = (0..1000).filter(|_| expected(&mut wire)).count();
    assert!((1..50).contains(&more), "{more} of 1000");
}

#[test]
fn an_idle_wire_holds_little_buffer_whatever_came_before() {
    let mut wire = wire([Read::Bytes(framed(&some_messages())), Read::Pending]);
    wire.stream.room = usize::MAX;
    for message in some_messages() {
        assert!(matches!(wire.poll_send(&mut cx(), &message, &[]), Poll::Ready(Ok(()))));
    }
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    let (messages, end) = received(&mut wire);
    assert_eq!(messages, some_messages());
    assert!(end.is_pending());
    assert!(wire.decoder.is_none_or(|decoder| decoder.buffer_bytes() <= KEPT_READ_BYTES));
    assert!(wire.out.capacity() <= KEPT_BYTES);
}

#[test]
fn the_read_buffer_follows_what_comes_at_a_time() {
    let burst = || Read::Bytes(framed(&vec![b"message".to_vec(); 200]));
    let mut wire = wire([burst(), Read::Pending, burst(), Read::Pending]);
    let mut read_calls = Vec::new();
    for _ in 0..2 {
        let before = wire.stream.read_calls;
        assert!(received(&mut wire).1.is_pending());
        read_calls.push(wire.stream.read_calls - before);
        assert!(wire.decoder.is_none(), "not kept while nothing comes");
    }
    assert!(read_calls[0] > 2, "{read_calls:?}");
    assert_eq!(read_calls[1], 2, "one for the same again, one that finds no more");

    for _ in 0..3 {
        wire.stream.reads.extend([Read::Bytes(framed(&[b"message".to_vec()])), Read::Pending]);
        assert!(received(&mut wire).1.is_pending());
    }
    assert!(wire.decoder.is_some(), "one message at a time needs no new buffer each time");
}

#[test]
fn an_end_in_the_middle_of_a_message_is_an_error_and_delivers_nothing_of_it() {
    let bytes = framed(&[b"whole".to_vec(), b"partial".to_vec()]);
    for cut in 10..bytes.len() {
        let mut wire = wire([Read::Bytes(bytes[..cut].to_vec())]);
        let (messages, end) = received(&mut wire);
        assert_eq!(messages, [b"whole"]);
        assert!(matches!(end, Poll::Ready(Err(TcpError::Truncated { .. }))), "cut at {cut}");
    }
}

#[test]
fn an_end_between_messages_is_orderly() {
    let (messages, end) = received(&mut wire([Read::Bytes(framed(&[b"last".to_vec()]))]));
    assert_eq!(messages, [b"last"]);
    assert!(matches!(end, Poll::Ready(Ok(()))));
}

#[test]
fn a_reset_names_the_peer() {
    let mut wire = wire([Read::Error(io::ErrorKind::ConnectionReset)]);
    let (_, Poll::Ready(Err(error))) = received(&mut wire) else { panic!("no error") };
    assert!(error.to_string().contains("the peer"), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn an_oversize_length_is_refused_from_the_header_and_names_limit_and_remedy() {
    let mut wire = wire([
        Read::Bytes(framed(&[b"hello".to_vec()])),
        Read::Bytes((16u32 << 20 | 1).to_le_bytes().to_vec()),
        Read::Pending,
    ]);
    let (messages, Poll::Ready(Err(error))) = received(&mut wire) else { panic!("no error") };
    assert_eq!(messages, [b"hello"]);
    assert!(matches!(error, TcpError::Received { .. }));
    let text = error.to_string();
    for part in ["the peer", "16777217", "16777216", "raise", "frame_bytes_max"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(wire.decoder.unwrap().buffer_bytes() <= KEPT_READ_BYTES);
}

#[test]
fn an_announced_length_takes_no_memory_before_its_bytes_come() {
    let mut wire = wire([Read::Bytes((16u32 << 20).to_le_bytes().to_vec()), Read::Pending]);
    assert!(received(&mut wire).1.is_pending());
    assert!(wire.decoder.unwrap().buffer_bytes() <= KEPT_READ_BYTES);
}

#[test]
fn a_busy_link_that_waits_for_the_rest_holds_at_most_twice_what_has_come() {
    for held in [1, 3, 100, 5_000, SPARE_BYTES / 2 - 1, SPARE_BYTES / 2, SPARE_BYTES, 200_000] {
        let bytes = framed(&[vec![3; 1_000], vec![4; 300_000]]);
        let (first, rest) = bytes.split_at(1_004 + held);
        let mut wire = wire([Read::Bytes(first.to_vec()), Read::Pending]);
        assert_eq!(received(&mut wire).0, [vec![3; 1_000]]);
        let length = wire.decoder.as_ref().map_or(0, PrefixDecoder::buffer_bytes);
        assert!(length <= (2 * held).max(KEPT_READ_BYTES), "{length} bytes for {held}");
        wire.stream.reads.extend([Read::Bytes(rest.to_vec()), Read::Pending]);
        let (messages, end) = received(&mut wire);
        assert!(messages == [vec![4; 300_000]]);
        assert!(end.is_pending());
        assert!(wire.decoder.is_none());
    }
}

#[test]
fn a_message_of_64_kib_on_a_busy_link_is_read_at_once() {
    let message = || [Read::Bytes(framed(&[vec![5; 65_550]])), Read::Pending];
    let mut wire = wire(message());
    assert_eq!(received(&mut wire).0.len(), 1);
    for _ in 0..3 {
        wire.stream.reads.extend(message());
        let before = wire.stream.read_calls;
        assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(Some(_)))));
        assert_eq!(wire.stream.read_calls, before + 1);
        assert!(wire.poll_recv(&mut cx()).is_pending());
        assert!(wire.decoder.is_none(), "given back");
    }
}

#[test]
fn http_and_tls_on_the_port_are_named() {
    for (bytes, protocol) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], "HTTP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"POST / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        // A short one, whose first bytes are no length above the limit.
        (b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03", "TLS"),
        // What a TLS port answers to plain bytes.
        (b"\x15\x03\x03\x00\x02\x02\x0a", "TLS"),
    ] {
        let (messages, end) = received(&mut wire([Read::Bytes(bytes.to_vec())]));
        assert!(messages.is_empty());
        let Poll::Ready(Err(error)) = end else { panic!("no error") };
        let text = error.to_string();
        assert!(text.contains(protocol), "{text}");
        assert!(text.contains("is the address right?"), "{text}");
    }
    // After a message it is a peer of ours that went wrong.
    let mut bytes = framed(&[b"hello".to_vec()]);
    bytes.extend(b"GET / HTTP/1.1");
    let (_, end) = received(&mut wire([Read::Bytes(bytes)]));
    assert!(matches!(end, Poll::Ready(Err(TcpError::Received { .. }))));
}

#[test]
fn a_full_write_buffer_takes_no_part_of_a_message() {
    let mut wire = TcpWire::new(Script::default(), "the peer", limits(1_000, 30));
    assert!(matches!(wire.poll_send(&mut cx(), b"0123456789", b""), Poll::Ready(Ok(()))));
    assert!(matches!(wire.poll_send(&mut cx(), b"01234", b"56789"), Poll::Ready(Ok(()))));
    assert!(wire.poll_send(&mut cx(), b"abc", b"").is_pending());
    assert!(wire.poll_flush(&mut cx()).is_pending());

    wire.stream.room = 5;
    assert!(matches!(wire.poll_send(&mut cx(), b"abc", b""), Poll::Ready(Ok(()))));
    wire.stream.room = usize::MAX;
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    let sent = [b"0123456789".to_vec(), b"0123456789".to_vec(), b"abc".to_vec()];
    assert_eq!(wire.stream.written, framed(&sent));
}

#[test]
fn one_message_always_fits_an_empty_write_buffer() {
    let mut wire = TcpWire::new(Script::default(), "the peer", limits(1_000, 30));
    assert!(matches!(wire.poll_send(&mut cx(), &[1; 500], &[2; 500]), Poll::Ready(Ok(()))));
    assert!(wire.poll_send(&mut cx(), b"", b"").is_pending());
}

#[test]
fn a_slow_reader_gets_every_byte_once_and_the_buffer_stays_bounded() {
    let mut wire = TcpWire::new(Script::default(), "the peer", limits(1_000, 300));
    let mut sent = Vec::new();
    for number in 0..2_000u16 {
        let message = number.to_le_bytes().repeat(1 + usize::from(number) % 40);
        let mut stalls = 0;
        while wire.poll_send(&mut cx(), &message, b"").is_pending() {
            wire.stream.room += 7;
            stalls += 1;
            assert!(stalls < 100);
        }
        sent.push(message);
        assert!(wire.unsent() <= 300);
        assert!(wire.out.len() <= 700, "what has left must not pile up");
    }
    wire.stream.room = usize::MAX;
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    assert_eq!(wire.stream.written, framed(&sent));
}

#[test]
fn a_long_body_leaves_once_and_in_order_and_only_what_had_no_room_is_held() {
    let long = |byte: u8| vec![byte; LONG_BYTES + 77];
    for is_vectored in [false, true] {
        for room in [0, 1, 10, LONG_HEAD_BYTES + 20, LONG_BYTES, LONG_BYTES + 100, usize::MAX] {
            let mut wire = wire([]);
            wire.stream.is_vectored = is_vectored;
            wire.stream.room = room;
            for (head, body) in [(b"a", long(1)), (b"b", vec![2; 9])] {
                assert!(matches!(wire.poll_send(&mut cx(), head, &body), Poll::Ready(Ok(()))));
            }
            let whole = framed(&[[&b"a"[..], &long(1)].concat(), [&b"b"[..], &[2; 9]].concat()]);
            let left = wire.stream.written.len();
            // Short ones wait for the flush.
            assert_eq!(left, room.min(whole.len() - 14), "{is_vectored}");
            assert_eq!(wire.unsent(), whole.len() - left);
            if left > LONG_BYTES {
                assert!(wire.out.capacity() < 2 * LONG_HEAD_BYTES + 200, "not copied");
            }
            wire.stream.room = usize::MAX;
            assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
            assert!(wire.stream.written == whole);
        }
    }
}

#[test]
fn a_long_body_leaves_in_one_write_where_the_stream_takes_two_buffers() {
    let mut wire = wire([]);
    (wire.stream.is_vectored, wire.stream.room) = (true, usize::MAX);
    assert!(matches!(wire.poll_send(&mut cx(), b"a", &vec![1; LONG_BYTES]), Poll::Ready(Ok(()))));
    assert_eq!(wire.stream.writes, 1);
}

#[test]
fn a_message_above_the_limit_is_not_sent() {
    let mut wire = TcpWire::new(Script::default(), "the peer", limits(10, 300));
    assert_eq!(wire.message_bytes_max(), 10);
    let Poll::Ready(Err(error)) = wire.poll_send(&mut cx(), b"123456", b"78901") else {
        panic!("no error")
    };
    assert!(matches!(error, TcpError::Sending { .. }));
    assert!(error.to_string().contains("to the peer"), "{error}");
    assert_eq!(wire.unsent(), 0);
}

#[test]
fn closing_flushes_first() {
    let mut wire = wire([]);
    assert!(matches!(wire.poll_send(&mut cx(), b"bye", b""), Poll::Ready(Ok(()))));
    assert!(wire.poll_close(&mut cx()).is_pending());
    assert!(!wire.stream.closed);
    wire.stream.room = usize::MAX;
    assert!(matches!(wire.poll_close(&mut cx()), Poll::Ready(Ok(()))));
    assert!(wire.stream.closed);
    assert_eq!(wire.stream.written, framed(&[b"bye".to_vec()]));
}

#[test]
fn a_peer_that_is_never_out_of_single_bytes_does_not_keep_the_thread() {
    let bytes = framed(&[vec![5; 1_000]]);
    let mut wire = wire(bytes.iter().map(|byte| Read::Bytes(vec![*byte])));
    let wakes = Arc::new(WakeCount(AtomicUsize::new(0)));
    let waker = Waker::from(wakes.clone());
    let mut polls = 1;
    while wire.poll_recv(&mut Context::from_waker(&waker)).is_pending() {
        assert_eq!(wakes.0.load(Ordering::Relaxed), polls, "pending without a wake");
        polls += 1;
    }
    assert_eq!(polls, 1_004_usize.div_ceil(READS_MAX));
}

/// Opens scripted streams, or refuses.
struct Scripted(Option<Script>);

impl Dial for Scripted {
    type Stream = Script;
    type Error = &'static str;
    type Dialling = std::future::Ready<Result<Script, &'static str>>;

    fn dial(&self, address: &str) -> Self::Dialling {
        assert_eq!(address, "host:9000");
        std::future::ready(self.0.is_some().then(Script::default).ok_or("refused"))
    }

    fn exposure(&self, _address: &str) -> Exposure {
        Exposure::Local
    }

    fn identity(_: &Script) -> Option<&str> {
        Some("whom it dials")
    }
}

/// Opens at the second poll, unless the stream says nothing more.
struct Opening(Option<Script>);

impl Future for Opening {
    type Output = Result<Script, &'static str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let script = self.0.as_mut().expect("not polled again");
        if script.closed {
            return Poll::Ready(Err("no handshake"));
        }
        if script.room == 0 {
            script.room = 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.0.take().expect("it is there")))
    }
}

impl Accept for Scripted {
    type Stream = Script;
    type Peer = u32;
    type Error = &'static str;
    type Opening = Opening;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Result<(Opening, u32), &'static str>> {
        Poll::Ready(self.0.take().map(|script| (Opening(Some(script)), 17)).ok_or("none left"))
    }

    fn identity(_: &Script) -> Option<&str> {
        Some("whom it accepts")
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

#[test]
fn a_connector_names_its_peer_in_wires_and_errors() {
    let mut good = TcpConnector::new(Scripted(Some(Script::default())), "tcp://host:9000").unwrap();
    assert_eq!(good.peer(), "host:9000");
    let wire = good.connect().now_or_never().unwrap().unwrap();
    assert_eq!((wire.peer(), wire.identity()), ("host:9000", Some("whom it dials")));

    let mut bad = TcpConnector::new(Scripted(None), "host:9000").unwrap();
    let error = bad.connect().now_or_never().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to host:9000: refused");
}

#[test]
fn a_listener_hands_on_its_limits_and_its_errors() {
    let open = Script { room: 1, ..Script::default() };
    let mut listener = TcpListener::new(Scripted(Some(open))).limits(limits(10, 20));
    let wire = poll_fn(|cx| listener.poll_accept(cx)).now_or_never().unwrap().unwrap();
    let wire = wire.now_or_never().unwrap().unwrap();
    assert_eq!((wire.peer(), wire.identity()), ("17", Some("whom it accepts")));
    assert_eq!(wire.limits, limits(10, 20));
    let error = poll_fn(|cx| listener.poll_accept(cx)).now_or_never().unwrap().unwrap_err();
    assert!(error.to_string().contains("none left"), "{error}");
}

#[test]
fn a_streams_own_handshake_is_awaited_beside_the_next_accept_and_its_error_names_the_peer() {
    let mut listener = TcpListener::new(Scripted(Some(Script { room: 0, ..Script::default() })));
    let mut slow = poll_fn(|cx| listener.poll_accept(cx)).now_or_never().unwrap().unwrap();
    assert!(Pin::new(&mut slow).poll(&mut cx()).is_pending(), "its handshake takes a while");
    assert!(poll_fn(|cx| listener.poll_accept(cx)).now_or_never().unwrap().is_err());
    assert!(slow.now_or_never().unwrap().is_ok());

    let mut listener =
        TcpListener::new(Scripted(Some(Script { closed: true, ..Script::default() })));
    let failing = poll_fn(|cx| listener.poll_accept(cx)).now_or_never().unwrap().unwrap();
    let error = failing.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cannot open the connection from 17: no handshake");
}

mod faults;
