//! What slow, noisy and hostile lines do to a link.

use super::*;

const GREETING_BYTES_MAX: usize = 40;

fn received(wire: &CableWire) -> u64 {
    wire.progress().received
}

/// Receives a message byte by byte, and returns whether each byte was progress.
fn in_single_bytes(ours: &Cable, wire: &mut CableWire, link: u16, message: &[u8]) -> bool {
    let mut frame = vec![0; wire_bytes_max(message.len())];
    let header = FrameHeader { kind: FrameKind::Data, link };
    let frame = encode(header, message, &[], &mut frame).unwrap().to_vec();
    let mut all_counted = true;
    // The first zero is where a frame begins, and the last one may be that of the next one.
    for byte in &frame[..frame.len() - 1] {
        let before = received(wire);
        ours.put(&[*byte]);
        assert_eq!(receive(wire), None);
        all_counted &= *byte == 0 || received(wire) > before;
    }
    ours.put(&frame[frame.len() - 1..]);
    assert_eq!(receive(wire), Some(Ok(message.to_vec())));
    all_counted
}

fn accepted() -> (Cable, Line, CableWire) {
    let (ours, theirs) = cable();
    let mut line = SerialLine::new(theirs, "theirs", limits());
    ours.frame(FrameKind::Open, 7, b"hello");
    let mut wire = accept(&mut line).expect("it was opened");
    assert_eq!(receive(&mut wire), Some(Ok(b"hello".to_vec())));
    (ours, line, wire)
}

#[test]
fn bytes_count_as_progress_in_the_middle_of_a_message_both_ways() {
    let (ours, _line, mut wire) = accepted();
    assert_eq!(received(&wire), 0, "it counts from its beginning");
    for message in [&[1; 90][..], &[0; 90], b"x", &[2; 100]] {
        assert!(in_single_bytes(&ours, &mut wire, 7, message));
    }
    let before = wire.progress().sent;
    send(&mut wire, &[3; 90]);
    wire.port().poll_write_out(&mut cx()).is_ready().then_some(()).expect("there is room");
    let frame = ours.frames().pop().expect("it has left");
    assert_eq!(frame.2, [3; 90]);
    assert!(wire.progress().sent - before >= 90 + 7);
}

#[test]
fn noise_is_no_progress_and_what_follows_it_is() {
    let (ours, _line, mut wire) = accepted();
    let most = wire_bytes_max(100) as u64;
    for noise in [&[0xa5; 5_000][..], &[0; 5_000], &b"noise\0".repeat(1_000)] {
        let before = received(&wire);
        ours.put(noise);
        for _ in 0..200 {
            assert_eq!(receive(&mut wire), None);
        }
        assert!(received(&wire) <= before + most, "{} of noise", received(&wire) - before);
        // Of the frame after that, what goes past the noise counts; of all others everything.
        ours.put(&[0]);
        in_single_bytes(&ours, &mut wire, 7, b"short");
        assert!(in_single_bytes(&ours, &mut wire, 7, &[1; 90]));
    }
}

#[test]
fn what_is_above_a_limit_for_now_is_an_error_with_line_limit_and_remedy() {
    let (ours, _line, mut wire) = accepted();
    wire.limit_incoming(GREETING_BYTES_MAX);
    ours.frame(FrameKind::Data, 7, &[1; GREETING_BYTES_MAX]);
    assert_eq!(receive(&mut wire), Some(Ok(vec![1; GREETING_BYTES_MAX])));
    // What is for another link is not judged.
    ours.frame(FrameKind::Data, 8, &[1; GREETING_BYTES_MAX + 1]);
    assert_eq!(receive(&mut wire), None);
    ours.frame(FrameKind::Data, 7, &[1; GREETING_BYTES_MAX + 1]);
    let Some(Err(text)) = receive(&mut wire) else { panic!("no error") };
    for part in ["theirs", "41 bytes", "limit of 40", "introduced itself", "version"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_limit_holds_for_the_message_that_opened_the_link_and_can_be_raised() {
    let (ours, theirs) = cable();
    let mut line = SerialLine::new(theirs, "theirs", limits());
    ours.frame(FrameKind::Open, 7, &[1; GREETING_BYTES_MAX + 1]);
    let mut wire = accept(&mut line).expect("it was opened");
    wire.limit_incoming(GREETING_BYTES_MAX);
    assert!(matches!(receive(&mut wire), Some(Err(_))));
    drop(wire);

    ours.frame(FrameKind::Open, 8, &[1; GREETING_BYTES_MAX]);
    ours.frame(FrameKind::Data, 8, &[2; 100]);
    let mut wire = accept(&mut line).expect("it was opened");
    wire.limit_incoming(GREETING_BYTES_MAX);
    assert_eq!(receive(&mut wire), Some(Ok(vec![1; GREETING_BYTES_MAX])));
    wire.limit_incoming(usize::MAX);
    let message = (0..10).find_map(|_| receive(&mut wire));
    assert_eq!(message, Some(Ok(vec![2; 100])));
}

#[test]
fn frames_for_no_link_do_not_hold_up_the_others_on_the_thread() {
    let (ours, theirs) = cable();
    let mut line = SerialLine::new(theirs, "theirs", limits());
    let frames = 100_000;
    let mut frame = [0; wire_bytes_max(0)];
    let late = FrameHeader { kind: FrameKind::Data, link: 9 };
    let frame = encode(late, &[], &[], &mut frame).unwrap().to_vec();
    ours.put(&frame.repeat(frames));
    let whole = ours.out.lock().unwrap().bytes.len();
    let mut polls = 0;
    loop {
        let left = ours.out.lock().unwrap().bytes.len();
        assert!(accept(&mut line).is_none());
        let came = left - ours.out.lock().unwrap().bytes.len();
        assert!(came <= 3 * 64, "{came} bytes in one poll");
        if came == 0 {
            break;
        }
        polls += 1;
    }
    assert!(polls >= whole / (3 * 64));
    // In an open link it is the same.
    ours.frame(FrameKind::Open, 7, b"hello");
    let mut wire = (0..10).find_map(|_| accept(&mut line)).expect("it was opened");
    assert_eq!(receive(&mut wire), Some(Ok(b"hello".to_vec())));
    ours.put(&frame.repeat(frames));
    let before = ours.out.lock().unwrap().bytes.len();
    assert_eq!(receive(&mut wire), None);
    let came = before - ours.out.lock().unwrap().bytes.len();
    assert!(came <= 3 * 64, "{came} bytes in one poll");
}

#[test]
fn memory_goes_back_after_a_huge_message_either_way() {
    const HUGE: usize = 1 << 20;
    let limits = Limits { frame_bytes_max: HUGE, write_buffer_bytes_max: 300, ..Limits::new() };
    let (ours, theirs) = cable();
    let mut sending = SerialLine::new(ours, "ours", limits);
    let mut taking = SerialLine::new(theirs, "theirs", limits);
    let mut from = connect(&mut sending);
    send(&mut from, b"hello");
    let mut to = accept(&mut taking).expect("it was opened");
    assert_eq!(receive(&mut to), Some(Ok(b"hello".to_vec())));
    send(&mut from, &vec![7; HUGE]);
    assert!(from.port().out_capacity() <= crate::port::KEPT_BYTES);
    let message = (0..HUGE).find_map(|_| receive(&mut to));
    assert!(message == Some(Ok(vec![7; HUGE])));
    send(&mut from, b"next");
    let message = (0..HUGE).find_map(|_| receive(&mut to));
    assert!(message == Some(Ok(b"next".to_vec())));
    assert!(to.message.capacity() <= crate::port::KEPT_BYTES);
}
