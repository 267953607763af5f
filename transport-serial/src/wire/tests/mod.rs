use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Waker;

use chargehand_core::io::{Connect, Dial, Exposure, Listen};
use chargehand_core::serial::{FrameDecoder, encode, wire_bytes_max};
use futures_util::FutureExt;

use super::*;
use crate::{Limits, SerialConnector, SerialLine};

/// One direction of a line: what is on its way, whether it has ended, and what it may still take.
struct Way {
    bytes: VecDeque<u8>,
    has_ended: bool,
    room: usize,
}

#[derive(Clone)]
struct Cable {
    out: Arc<Mutex<Way>>,
    back: Arc<Mutex<Way>>,
}

fn cable() -> (Cable, Cable) {
    let way =
        || Arc::new(Mutex::new(Way { bytes: VecDeque::new(), has_ended: false, room: usize::MAX }));
    let (out, back) = (way(), way());
    (Cable { out: Arc::clone(&out), back: Arc::clone(&back) }, Cable { out: back, back: out })
}

impl Cable {
    /// Puts a frame, or noise, on the line.
    fn put(&self, bytes: &[u8]) {
        self.out.lock().unwrap().bytes.extend(bytes);
    }

    fn frame(&self, kind: FrameKind, link: u16, message: &[u8]) {
        let mut out = vec![0; wire_bytes_max(message.len())];
        self.put(encode(FrameHeader { kind, link }, message, &[], &mut out).unwrap());
    }

    /// Takes what came and returns the frames in it.
    fn frames(&self) -> Vec<(FrameKind, u16, Vec<u8>)> {
        let bytes: Vec<u8> = self.back.lock().unwrap().bytes.drain(..).collect();
        let mut decoder = FrameDecoder::new(vec![0; bytes.len().max(20)]);
        decoder.spare()[..bytes.len()].copy_from_slice(&bytes);
        decoder.advance(bytes.len());
        let mut frames = Vec::new();
        while let Some((FrameHeader { kind, link }, message)) = decoder.next_frame() {
            frames.push((kind, link, message.to_vec()));
        }
        assert_eq!(decoder.damaged(), 0);
        frames
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!buffer.is_empty());
        let mut way = self.back.lock().unwrap();
        // Never more than three at a time, so that chunks fall anywhere.
        let count = way.bytes.len().min(buffer.len()).min(3);
        if count == 0 {
            return if way.has_ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
        }
        for (place, byte) in buffer.iter_mut().zip(way.bytes.drain(..count)) {
            *place = byte;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.out.lock().unwrap();
        let count = bytes.len().min(way.room);
        if count == 0 {
            return Poll::Pending;
        }
        way.room -= count;
        way.bytes.extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.lock().unwrap().has_ended = true;
        Poll::Ready(Ok(()))
    }
}

type Line = SerialLine<Cable>;
type CableWire = SerialWire<Cable>;

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn limits() -> Limits {
    Limits { frame_bytes_max: 100, write_buffer_bytes_max: 300, ..Limits::new() }
}

fn lines() -> (Line, Line) {
    let (ours, theirs) = cable();
    (SerialLine::new(ours, "ours", limits()), SerialLine::new(theirs, "theirs", limits()))
}

fn connect(line: &mut Line) -> CableWire {
    line.connect().now_or_never().expect("the line is free").expect("the line is open")
}

fn accept(line: &mut Line) -> Option<CableWire> {
    let accepted = poll_fn(|cx| line.poll_accept(cx)).now_or_never()?;
    Some(accepted.expect("the line is open").now_or_never().unwrap().unwrap())
}

fn send(wire: &mut CableWire, message: &[u8]) {
    let (head, body) = message.split_at(message.len() / 2);
    assert!(matches!(wire.poll_send(&mut cx(), head, body), Poll::Ready(Ok(()))));
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
}

/// The next message, an end as an empty error, an error as its text, or `None` for pending.
fn receive(wire: &mut CableWire) -> Option<Result<Vec<u8>, String>> {
    match wire.poll_recv(&mut cx()) {
        Poll::Pending => None,
        Poll::Ready(Ok(Some(message))) => Some(Ok(message.to_vec())),
        Poll::Ready(Ok(None)) => Some(Err(String::new())),
        Poll::Ready(Err(error)) => Some(Err(error.to_string())),
    }
}

fn close(wire: &mut CableWire) {
    assert!(matches!(wire.poll_close(&mut cx()), Poll::Ready(Ok(()))));
}

/// A link between two lines, its first message taken.
fn link(opening: &mut Line, accepting: &mut Line) -> (CableWire, CableWire) {
    let mut opener = connect(opening);
    send(&mut opener, b"hello");
    let mut acceptor = accept(accepting).expect("a link was opened");
    assert_eq!(receive(&mut acceptor), Some(Ok(b"hello".to_vec())));
    (opener, acceptor)
}

#[test]
fn messages_go_both_ways_and_keep_their_order() {
    let (mut one, mut other) = lines();
    let (mut opener, mut acceptor) = link(&mut one, &mut other);
    for length in [0, 1, 50, 100] {
        send(&mut opener, &vec![7; length]);
        send(&mut opener, &vec![0; length]);
        send(&mut acceptor, &vec![9; length]);
        assert_eq!(receive(&mut acceptor), Some(Ok(vec![7; length])));
        assert_eq!(receive(&mut acceptor), Some(Ok(vec![0; length])));
        assert_eq!(receive(&mut acceptor), None);
        assert_eq!(receive(&mut opener), Some(Ok(vec![9; length])));
    }
    close(&mut opener);
    assert_eq!(receive(&mut acceptor), Some(Err(String::new())));
    assert_eq!(receive(&mut acceptor), Some(Err(String::new())), "the end stays");
    assert!(matches!(acceptor.poll_send(&mut cx(), b"late", b""), Poll::Ready(Ok(()))));
}

#[test]
fn a_line_is_lent_to_one_link_after_another() {
    let (mut one, mut other) = lines();
    let (mut opener, acceptor) = link(&mut one, &mut other);
    let mut next = one.connect();
    assert!((&mut next).now_or_never().is_none(), "while a link uses the line");
    assert!(accept(&mut other).is_none(), "while a link uses the line");
    close(&mut opener);
    drop((opener, acceptor));
    let mut opener = next.now_or_never().unwrap().unwrap();
    send(&mut opener, b"again");
    let mut acceptor = accept(&mut other).unwrap();
    assert_eq!(receive(&mut acceptor), Some(Ok(b"again".to_vec())));
}

#[test]
fn a_newer_link_ends_the_older_one_and_loses_no_first_message() {
    let (mut one, mut other) = lines();
    let (mut opener, mut acceptor) = link(&mut one, &mut other);
    send(&mut acceptor, b"late answer");
    send(&mut opener, b"old request");
    drop(opener);
    let mut opener = connect(&mut one);
    send(&mut opener, b"new hello");
    send(&mut opener, b"new request");
    assert_eq!(receive(&mut acceptor), Some(Ok(b"old request".to_vec())));
    let text = receive(&mut acceptor).unwrap().unwrap_err();
    assert!(text.contains("newer link"), "{text}");
    drop(acceptor);
    let mut acceptor = accept(&mut other).unwrap();
    assert_eq!(receive(&mut acceptor), Some(Ok(b"new hello".to_vec())));
    assert_eq!(receive(&mut acceptor), Some(Ok(b"new request".to_vec())));
    assert_eq!(receive(&mut opener), None, "what was for the old link is dropped");
    send(&mut acceptor, b"new answer");
    assert_eq!(receive(&mut opener), Some(Ok(b"new answer".to_vec())));
}

#[test]
fn a_wire_whose_line_is_a_newer_links_neither_reads_nor_writes_any_more() {
    let (ours, theirs) = cable();
    let mut line = SerialLine::new(theirs, "theirs", limits());
    ours.frame(FrameKind::Open, 7, b"old hello");
    let mut wire = accept(&mut line).expect("it was opened");
    assert_eq!(receive(&mut wire), Some(Ok(b"old hello".to_vec())));
    ours.frames();
    ours.back.lock().unwrap().room = 0;
    assert!(matches!(wire.poll_send(&mut cx(), b"old answer", b""), Poll::Ready(Ok(()))));
    assert!(wire.poll_flush(&mut cx()).is_pending());

    ours.frame(FrameKind::Open, 8, b"new hello");
    ours.frame(FrameKind::Data, 8, b"new request");
    let text = receive(&mut wire).unwrap().unwrap_err();
    assert!(text.contains("newer link"), "{text}");
    assert_eq!(receive(&mut wire), Some(Err(String::new())), "what comes is not for this one");
    assert!(matches!(wire.poll_send(&mut cx(), b"late answer", b""), Poll::Ready(Ok(()))));
    // The newer link does not wait for what is for nobody.
    close(&mut wire);
    drop(wire);
    ours.back.lock().unwrap().room = usize::MAX;

    let mut wire = accept(&mut line).expect("it was opened");
    assert_eq!(receive(&mut wire), Some(Ok(b"new hello".to_vec())));
    assert_eq!(receive(&mut wire), Some(Ok(b"new request".to_vec())));
    send(&mut wire, b"new answer");
    assert_eq!(ours.frames(), [(FrameKind::Data, 8, b"new answer".to_vec())]);
}

#[test]
fn an_end_that_restarts_says_so() {
    let (ours, theirs) = cable();
    let mut one = SerialLine::new(ours, "ours", limits());
    let mut other = SerialLine::new(theirs.clone(), "theirs", limits());
    let (mut opener, mut acceptor) = link(&mut one, &mut other);
    assert_eq!(receive(&mut opener), None, "its first start was no restart");
    send(&mut acceptor, b"hello");
    assert_eq!(receive(&mut opener), Some(Ok(b"hello".to_vec())));
    drop((other, acceptor));
    let mut other = SerialLine::new(theirs, "theirs", limits());
    assert!(accept(&mut other).is_none());
    let text = receive(&mut opener).unwrap().unwrap_err();
    assert!(text.contains("has restarted"), "{text}");
    drop(opener);
    link(&mut one, &mut other);
}

#[test]
fn what_comes_for_no_link_is_refused_and_its_sender_learns_it() {
    let (ours, theirs) = cable();
    let mut one = SerialLine::new(ours.clone(), "ours", limits());
    let mut other = SerialLine::new(theirs, "theirs", limits());
    let (mut opener, acceptor) = link(&mut one, &mut other);
    drop(acceptor);
    send(&mut opener, b"request");
    assert!(accept(&mut other).is_none());
    assert_eq!(receive(&mut opener), Some(Err(String::new())));
    drop(opener);

    // The same while another link is there.
    let (_opener, mut acceptor) = link(&mut one, &mut other);
    ours.frames();
    ours.frame(FrameKind::Data, ANY_LINK, b"request");
    assert_eq!(receive(&mut acceptor), None);
    assert_eq!(ours.frames(), [(FrameKind::Close, ANY_LINK, vec![])]);
}

#[test]
fn two_ends_that_both_open_are_told_so() {
    let (mut one, mut other) = lines();
    let mut ours = connect(&mut one);
    let mut theirs = connect(&mut other);
    send(&mut theirs, b"hello");
    send(&mut ours, b"hello");
    for wire in [&mut ours, &mut theirs] {
        let text = receive(wire).unwrap().unwrap_err();
        assert!(text.contains("both ends"), "{text}");
    }
}

#[test]
fn a_message_above_the_limit_is_not_sent() {
    let (ours, theirs) = cable();
    let mut wire = connect(&mut SerialLine::new(ours, "ours", limits()));
    assert_eq!(wire.message_bytes_max(), 100);
    let Poll::Ready(Err(error)) = wire.poll_send(&mut cx(), &[1; 60], &[2; 41]) else {
        panic!("no error")
    };
    for part in ["101", "100", "frame_bytes_max", "ours"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    assert!(theirs.frames().is_empty());
}

#[test]
fn a_slow_line_makes_the_sender_wait_and_takes_whole_messages() {
    let (ours, theirs) = cable();
    theirs.back.lock().unwrap().room = 0;
    let mut wire = connect(&mut SerialLine::new(ours, "ours", limits()));
    let mut sent = 0;
    while let Poll::Ready(result) = wire.poll_send(&mut cx(), &[sent; 100], b"") {
        result.unwrap();
        sent += 1;
        assert!(wire.port().unsent() <= 300);
    }
    assert_eq!(sent, 2);
    assert!(wire.poll_flush(&mut cx()).is_pending());
    theirs.back.lock().unwrap().room = 150;
    assert!(matches!(wire.poll_send(&mut cx(), &[sent; 100], b""), Poll::Ready(Ok(()))));
    theirs.back.lock().unwrap().room = usize::MAX;
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    let frames: Vec<_> =
        theirs.frames().into_iter().map(|(kind, _, bytes)| (kind, bytes)).collect();
    let data = |value| (FrameKind::Data, vec![value; 100]);
    assert_eq!(frames, [(FrameKind::Open, vec![0; 100]), data(1), data(2)]);
}

#[test]
fn a_message_longer_than_the_write_buffer_is_sent_alone() {
    let tight = Limits { frame_bytes_max: 100, write_buffer_bytes_max: 10, ..Limits::new() };
    let (ours, theirs) = cable();
    theirs.back.lock().unwrap().room = 0;
    let mut wire = connect(&mut SerialLine::new(ours, "ours", tight));
    assert!(matches!(wire.poll_send(&mut cx(), &[1; 100], b""), Poll::Ready(Ok(()))));
    assert!(wire.poll_send(&mut cx(), b"", b"").is_pending());
    theirs.back.lock().unwrap().room = usize::MAX;
    assert!(matches!(wire.poll_send(&mut cx(), b"", b""), Poll::Ready(Ok(()))));
}

#[test]
fn a_line_that_has_ended_is_an_error_for_every_further_link() {
    let (ours, theirs) = cable();
    let mut line = SerialLine::new(ours, "ours", limits());
    let mut wire = connect(&mut line);
    theirs.put(b"\0half a frame");
    theirs.out.lock().unwrap().has_ended = true;
    let text = receive(&mut wire).unwrap().unwrap_err();
    assert!(text.contains("ours has ended"), "{text}");
    drop(wire);
    let error = line.connect().now_or_never().unwrap().unwrap_err();
    assert!(matches!(error, SerialError::Ended { .. }));
    let error = poll_fn(|cx| line.poll_accept(cx)).now_or_never().unwrap().unwrap_err();
    assert!(matches!(error, SerialError::Ended { .. }));
}

#[test]
fn noise_for_ever_does_not_hold_up_the_others_on_the_thread() {
    let (ours, theirs) = cable();
    let mut wire = connect(&mut SerialLine::new(ours, "ours", limits()));
    theirs.put(&[0xa5; 10_000]);
    assert_eq!(receive(&mut wire), None);
    assert!(theirs.out.lock().unwrap().bytes.len() > 9_000, "it stopped on the way");
}

struct Dialled(Mutex<Option<Cable>>);

impl Dial for Dialled {
    type Stream = Cable;
    type Error = &'static str;
    type Dialling = std::future::Ready<Result<Cable, &'static str>>;

    fn dial(&self, address: &str) -> Self::Dialling {
        assert_eq!(address, "/dev/ttyS0");
        std::future::ready(self.0.lock().unwrap().take().ok_or("no such device"))
    }

    fn exposure(&self, _address: &str) -> Exposure {
        Exposure::Local
    }
}

#[test]
fn a_connector_dials_a_stream_for_each_link_and_closes_it() {
    let (ours, theirs) = cable();
    let dial = Dialled(Mutex::new(Some(ours)));
    let mut connector = SerialConnector::new(dial, "/dev/ttyS0").limits(limits());
    assert_eq!(connector.peer(), "/dev/ttyS0");
    let mut wire = connector.connect().now_or_never().unwrap().unwrap();
    assert_eq!(wire.peer(), "/dev/ttyS0");
    send(&mut wire, b"hello");
    close(&mut wire);
    let kinds: Vec<_> = theirs.frames().into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(kinds, [FrameKind::Open, FrameKind::Close]);
    assert!(theirs.back.lock().unwrap().has_ended);
    let error = connector.connect().now_or_never().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cannot open /dev/ttyS0: no such device");
}

#[test]
fn link_numbers_differ_and_are_never_the_one_that_no_link_has() {
    assert_eq!(crate::next_link(7), 8);
    assert_eq!(crate::next_link(u16::MAX), 1);
}

mod faults;
