//! What slow, hostile and excessive peers do to a wire.

use proptest::prelude::*;

use super::*;

/// As long as a greeting may be, say.
const GREETING_BYTES_MAX: usize = 1 << 10;
const HUGE: usize = 16 << 20;

#[test]
fn bytes_count_as_progress_in_the_middle_of_a_message_both_ways() {
    let bytes = framed(&[vec![1; 300_000], vec![2; 100]]);
    let mut wire = wire([]);
    let mut received = 0;
    for chunk in bytes.chunks(7_001) {
        wire.stream.reads.extend([Read::Bytes(chunk.to_vec()), Read::Pending]);
        while wire.poll_recv(&mut cx()).is_ready() {}
        received += chunk.len() as u64;
        assert_eq!(wire.progress(), BytesMoved { received, sent: 0 });
    }
    for (length, is_vectored) in [(1_000, true), (LONG_BYTES, true), (LONG_BYTES, false)] {
        (wire.stream.is_vectored, wire.stream.room) = (is_vectored, 0);
        let before = wire.progress().sent;
        assert!(wire.poll_send(&mut cx(), b"head", &vec![3; length]).is_ready());
        assert_eq!(wire.progress().sent, before, "nothing has left");
        let whole = (HEADER_BYTES + 4 + length) as u64;
        let mut sent = 0;
        while sent < whole {
            wire.stream.room = 777;
            let _ = wire.poll_flush(&mut cx());
            sent = (sent + 777).min(whole);
            assert_eq!(wire.progress(), BytesMoved { received, sent: before + sent });
        }
    }
    let before = wire.progress().sent;
    wire.stream.room = 5_000;
    assert!(wire.poll_send(&mut cx(), b"head", &vec![3; LONG_BYTES]).is_ready());
    assert_eq!(wire.progress().sent, before + 5_000, "a long body leaves at once");
}

#[test]
fn what_is_above_a_limit_for_now_is_refused_from_its_header_with_peer_limit_and_remedy() {
    for length in [GREETING_BYTES_MAX + 1, HUGE, u32::MAX as usize] {
        let header = u32::try_from(length).unwrap().to_le_bytes().to_vec();
        let mut wire = wire([Read::Bytes(header), Read::Pending]);
        wire.limit_incoming(GREETING_BYTES_MAX);
        let (_, Poll::Ready(Err(error))) = received(&mut wire) else { panic!("no error") };
        assert!(matches!(error, TcpError::Early { .. }), "{error}");
        let text = error.to_string();
        for part in ["the peer", &length.to_string(), "1024", "introduced itself", "version"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(wire.decoder.unwrap().buffer_bytes() <= KEPT_READ_BYTES);
    }
}

#[test]
fn a_limit_above_the_transports_own_changes_neither_limit_nor_error() {
    let header = u32::try_from(HUGE + 1).unwrap().to_le_bytes().to_vec();
    let mut wire = wire([Read::Bytes(header), Read::Pending]);
    wire.limit_incoming(usize::MAX);
    let (_, Poll::Ready(Err(error))) = received(&mut wire) else { panic!("no error") };
    assert!(matches!(error, TcpError::Received { .. }), "{error}");
}

#[test]
fn a_limit_is_raised_after_the_greeting_even_where_more_was_read_with_it() {
    for (greeting, next) in [(20, 100), (20, 2_000), (GREETING_BYTES_MAX, 200_000), (400, HUGE)] {
        for chunk in [1, 100, 424, 425, 511, 512, 70_000, usize::MAX] {
            let messages = vec![vec![1; greeting], vec![2; next], vec![3; 5]];
            let bytes = framed(&messages);
            if bytes.len() / chunk > 10_000 {
                continue;
            }
            let mut wire = wire(bytes.chunks(chunk).map(|bytes| Read::Bytes(bytes.to_vec())));
            wire.limit_incoming(GREETING_BYTES_MAX);
            let mut polls = 0;
            while !matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(Some(message)))
                if message == vec![1; greeting])
            {
                polls += 1;
                assert!(polls < 100, "{greeting} {chunk}");
            }
            wire.limit_incoming(usize::MAX);
            let mut rest = Vec::new();
            let end = loop {
                match received(&mut wire) {
                    (some, Poll::Pending) => rest.extend(some),
                    (some, end) => {
                        rest.extend(some);
                        break end;
                    }
                }
            };
            assert!(rest == messages[1..], "{greeting} {next} {chunk}");
            assert!(matches!(end, Poll::Ready(Ok(()))));
        }
    }
}

#[test]
fn who_has_not_introduced_himself_makes_a_wire_hold_no_more_than_a_greeting() {
    let flood = framed(&vec![vec![7; 100]; 10_000]);
    let mut wire = wire([Read::Bytes(flood)]);
    wire.limit_incoming(GREETING_BYTES_MAX);
    for _ in 0..5_000 {
        assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(Some(_)))));
        let held = wire.decoder.as_ref().map_or(0, PrefixDecoder::buffer_bytes);
        assert!(held <= GREETING_BYTES_MAX + HEADER_BYTES, "{held}");
    }
}

#[test]
fn a_huge_message_takes_memory_only_as_it_comes() {
    let bytes = framed(&[vec![1; HUGE]]);
    let mut wire = wire([]);
    let mut came = 0;
    for chunk in bytes[..4 << 20].chunks(100_003) {
        wire.stream.reads.extend([Read::Bytes(chunk.to_vec()), Read::Pending]);
        while !wire.stream.reads.is_empty() {
            assert!(wire.poll_recv(&mut cx()).is_pending());
        }
        came += chunk.len();
        let held = wire.decoder.as_ref().map_or(0, PrefixDecoder::buffer_bytes);
        assert!(held <= (2 * came).max(SPARE_BYTES), "{held} bytes for {came}");
    }
}

#[test]
fn a_link_with_little_of_a_message_holds_little_whatever_it_had_of_the_last_one() {
    for first in [400, 5_000, SPARE_BYTES / 2, SPARE_BYTES - 10] {
        let bytes = framed(&[vec![1; 300], vec![2; first], vec![3; first]]);
        let (most, rest) = bytes.split_at(304 + first - 5);
        let (last, _) = rest.split_at(4 + 5 + 3);
        let reads = [most, last].map(|bytes| Read::Bytes(bytes.to_vec()));
        let mut wire = wire(reads.into_iter().flat_map(|read| [read, Read::Pending]));
        while !wire.stream.reads.is_empty() {
            assert!(received(&mut wire).1.is_pending());
        }
        let decoder = wire.decoder.unwrap();
        assert_eq!(decoder.held().len(), 3);
        assert!(decoder.buffer_bytes() <= KEPT_READ_BYTES, "{first}: {}", decoder.buffer_bytes());
    }
}

#[test]
fn memory_goes_back_after_a_huge_message_though_the_link_is_never_quiet() {
    let small = vec![4; 100];
    let mut bytes = framed(&[vec![1; HUGE]]);
    bytes.extend(framed(&vec![small.clone(); 20_000]));
    let mut wire = wire([Read::Bytes(bytes)]);
    let mut polls = 0;
    while wire.poll_recv(&mut cx()).is_pending() {
        polls += 1;
        assert!(polls < 10);
    }
    for _ in 0..15_000 {
        assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(Some(m))) if m == small));
        let held = wire.decoder.as_ref().unwrap().buffer_bytes();
        assert!(held <= SPARE_BYTES_MAX, "{held}");
    }
}

#[test]
fn memory_goes_back_after_a_huge_message_was_sent_though_something_always_waits() {
    let mut wire = wire([]);
    assert!(wire.poll_send(&mut cx(), b"", &vec![1; HUGE]).is_ready());
    assert!(wire.out.capacity() >= HUGE);
    let mut sent = framed(&[vec![1; HUGE]]);
    // A reader that is slow and steady.
    while wire.unsent() > 100_000 {
        wire.stream.room = 50_000;
        assert!(wire.poll_flush(&mut cx()).is_pending());
        let most = (3 * wire.unsent() + 3).max(4 * BURST_BYTES_MAX);
        assert!(wire.out.capacity() <= most, "{} of {}", wire.out.capacity(), wire.unsent());
    }
    for round in 0..2_000u32 {
        let message = round.to_le_bytes().repeat(10);
        assert!(wire.poll_send(&mut cx(), &message, b"").is_ready());
        sent.extend(framed(&[message]));
        wire.stream.room = 100;
        let _ = wire.poll_flush(&mut cx());
        assert!(wire.out.capacity() <= 4 * 100_000);
    }
    assert!(wire.out.capacity() <= 4 * BURST_BYTES_MAX);
    wire.stream.room = usize::MAX;
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    assert!(wire.out.capacity() <= KEPT_BYTES);
    assert!(wire.stream.written == sent);
}

#[test]
fn empty_messages_are_messages_and_none_is_swallowed() {
    let mut wire = wire([Read::Bytes(vec![0; 40_000]), Read::Pending]);
    for _ in 0..10_000 {
        assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(Some(b"")))));
    }
    assert!(wire.poll_recv(&mut cx()).is_pending());
}

#[test]
fn a_host_is_told_without_its_port_where_the_other_end_has_one() {
    for (peer, host) in [
        ("10.0.0.8:9000", Some("10.0.0.8")),
        ("[::1]:9000", Some("::1")),
        ("[::ffff:127.0.0.1]:9000", Some("127.0.0.1")),
        ("[2001:db8::1]:9000", Some("2001:db8::/64")),
        ("[fe80::1%eth0]:9000", Some("fe80::/64")),
        ("host:9000", Some("host")),
        ("the peer", None),
    ] {
        let wire = TcpWire::new(Script::default(), peer, Limits::new());
        assert_eq!(wire.host(), host, "{peer}");
    }
}

#[test]
fn a_connector_takes_a_slash_and_a_zone_and_refuses_a_path_as_listeners_do() {
    for (given, peer) in
        [("tcp://host:9000/", "host:9000"), ("tcp://[fe80::1%25eth0]:9000", "[fe80::1%eth0]:9000")]
    {
        assert_eq!(TcpConnector::new(Scripted(None), given).unwrap().peer(), peer);
    }
    let error = TcpConnector::new(Scripted(None), "tcp://host:9000/path").err().unwrap();
    assert!(error.to_string().contains("nothing comes after the port"), "{error}");
}

/// What is done with a wire, in any order.
#[derive(Clone, Debug)]
enum Step {
    /// So many bytes come, and then none for now.
    Come(usize),
    /// So many more may leave.
    Room(usize),
    Send(Vec<u8>, usize),
    Flush,
    Limit(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![4 => 0..40usize, 2 => 0..3_000usize, 1 => 0..200_000usize];
    prop_oneof![
        4 => length().prop_map(Step::Come),
        3 => length().prop_map(Step::Room),
        3 => (length(), 0..10usize).prop_map(|(length, head)| {
            Step::Send((0..=250).cycle().take(length).collect(), head.min(length))
        }),
        2 => Just(Step::Flush),
        1 => (300_000..400_000usize).prop_map(Step::Limit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_any_order_of_steps_messages_come_whole_and_leave_whole(
        incoming in prop::collection::vec(
            prop_oneof![3 => 0..50usize, 1 => 400..600usize, 1 => 60_000..200_000usize], 0..20),
        steps in prop::collection::vec(any_step(), 0..60),
        is_vectored in any::<bool>(),
    ) {
        let incoming: Vec<Vec<u8>> =
            (0..=255).zip(incoming).map(|(byte, length)| vec![byte; length]).collect();
        let stream = framed(&incoming);
        let mut rest = &stream[..];
        let mut wire = wire([]);
        wire.stream.is_vectored = is_vectored;
        let (mut got, mut sent) = (Vec::new(), Vec::new());
        let all = [Step::Come(usize::MAX), Step::Room(usize::MAX), Step::Flush];
        for step in steps.into_iter().chain(all) {
            match step {
                Step::Come(bytes) => {
                    let (chunk, later) = rest.split_at(bytes.min(rest.len()));
                    rest = later;
                    if !chunk.is_empty() {
                        wire.stream.reads.push_back(Read::Bytes(chunk.to_vec()));
                    }
                    wire.stream.reads.push_back(Read::Pending);
                    while !wire.stream.reads.is_empty() {
                        let (some, end) = received(&mut wire);
                        prop_assert!(end.is_pending());
                        got.extend(some);
                    }
                    let came = (stream.len() - rest.len()) as u64;
                    prop_assert_eq!(wire.progress().received, came);
                    let held = wire.decoder.as_ref().map_or(0, PrefixDecoder::buffer_bytes);
                    let partial = wire.decoder.as_ref().map_or(0, |decoder| decoder.held().len());
                    prop_assert!(held <= (2 * partial).max(KEPT_READ_BYTES), "{} {}", held, partial);
                }
                Step::Room(bytes) => wire.stream.room = bytes,
                Step::Send(message, head) => {
                    let (head, body) = message.split_at(head);
                    if wire.poll_send(&mut cx(), head, body).is_ready() {
                        sent.push(message);
                    }
                }
                Step::Flush => {
                    let _ = wire.poll_flush(&mut cx());
                }
                Step::Limit(bytes) => wire.limit_incoming(bytes),
            }
            prop_assert_eq!(wire.progress().sent, wire.stream.written.len() as u64);
        }
        prop_assert!(got == incoming);
        prop_assert!(wire.stream.written == framed(&sent));
    }
}

#[test]
fn what_waits_to_be_admitted_is_not_read_takes_next_to_nothing_and_then_comes_whole() {
    for length in [1_025, 60_000, 200_000, HUGE] {
        for first in [4, 100, 30_000, 68 << 10] {
            let messages = vec![vec![1; 9], vec![2; length], vec![3; 1_024]];
            let bytes = framed(&messages);
            let mut wire = wire(bytes.chunks(first).map(|bytes| Read::Bytes(bytes.to_vec())));
            wire.stream.reads.push_back(Read::Pending);
            wire.admit(1_024);
            let (before, end) = received(&mut wire);
            assert!(matches!(end, Poll::Pending), "held back, {length} in {first}");
            assert_eq!((before, wire.incoming()), (vec![messages[0].clone()], length));
            let left = wire.stream.reads.len();
            assert!(received(&mut wire).1.is_pending());
            assert_eq!(wire.stream.reads.len(), left, "nothing more is read");
            assert!(wire.decoder.as_ref().unwrap().buffer_bytes() <= SPARE_BYTES);
            wire.admit(length);
            let mut after = Vec::new();
            while after.len() < 2 {
                after.extend(received(&mut wire).0);
            }
            assert!(after == messages[1..]);
            assert_eq!(wire.incoming(), 0);
        }
    }
}

#[test]
fn what_is_above_the_limit_is_an_error_whatever_is_admitted() {
    for admitted in [0, 1_024, usize::MAX] {
        let header = u32::try_from(HUGE + 1).unwrap().to_le_bytes().to_vec();
        let mut wire = wire([Read::Bytes(header), Read::Pending]);
        wire.admit(admitted);
        let (_, Poll::Ready(Err(error))) = received(&mut wire) else { panic!("no error") };
        assert!(error.to_string().contains(&HUGE.to_string()), "{error}");
        assert_eq!(wire.incoming(), 0);
    }
}
