//! Long messages, floods, and bytes that no peer should send.

use super::*;

const KINDS: [(Role, Dialect); 4] = [
    (Role::Server, Dialect::Native),
    (Role::Server, Dialect::Json),
    (Role::Client, Dialect::Native),
    (Role::Client, Dialect::Json),
];

/// The opcode of a dialect's messages.
fn data(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Native => BINARY,
        Dialect::Json => TEXT,
    }
}

/// How long a long message is: as long as may be by default, and short enough for a quick test of
/// the other ends.
fn long(role: Role, dialect: Dialect) -> usize {
    if (role, dialect) == (Role::Server, Dialect::Native) { 16 << 20 } else { 1 << 20 }
}

/// A header alone, as the other end of `role` sends it.
fn header(role: Role, first: u8, length: u64) -> Vec<u8> {
    frame_header(first, length, (role == Role::Server).then_some([0; 4]))
}

fn whole(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    [header(role, first, payload.len() as u64), payload.to_vec()].concat()
}

fn fed(role: Role, dialect: Dialect, limits: Limits, input: Vec<Vec<u8>>) -> WsWire<Script> {
    let script = Script { input: input.into(), room: usize::MAX, ..Script::default() };
    wire(role, dialect, limits, script)
}

/// Receives until the input is used up or something ends, and lets the wire be paced.
fn drained(wire: &mut WsWire<Script>) -> (Vec<Vec<u8>>, Option<Result<(), WsError>>) {
    let mut all = Vec::new();
    loop {
        let before = wire.progress().received;
        let (some, end) = received(wire);
        all.extend(some);
        match end {
            Poll::Ready(end) => return (all, Some(end)),
            Poll::Pending if wire.progress().received == before => return (all, None),
            Poll::Pending => {}
        }
    }
}

/// What the wire said when it closed.
fn close_code(wire: &mut WsWire<Script>) -> Option<u16> {
    let written = std::mem::take(&mut script(wire).written);
    let at = written.windows(2).rposition(|two| two[0] == FIN | CLOSE && two[1] & 0x7F == 2)?;
    let (masked, rest) = (written[at + 1] & 0x80 != 0, &written[at + 2..]);
    Some(match (masked, rest) {
        (false, [high, low]) => u16::from_be_bytes([*high, *low]),
        (true, [key_high, key_low, _, _, high, low]) => {
            u16::from_be_bytes([key_high ^ high, key_low ^ low])
        }
        other => panic!("no close frame at the end: {other:?}"),
    })
}

fn held(wire: &WsWire<Script>) -> usize {
    wire.reader.capacity() + wire.writer.capacity()
}

fn send(wire: &mut WsWire<Script>, body: &[u8]) {
    assert!(matches!(wire.poll_send(&mut cx(), b"", body), Poll::Ready(Ok(()))));
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
}

#[test]
fn progress_tells_every_byte_and_those_inside_of_a_message() {
    for (role, dialect) in KINDS {
        let long = vec![b'x'; 50_000];
        let bytes = whole(role, FIN | data(dialect), &long);
        let mut wire = fed(role, dialect, Limits::new(), vec![]);
        for (sent, byte) in bytes[..100].iter().enumerate() {
            assert_eq!(wire.progress().received, sent as u64);
            script(&mut wire).input.push_back(vec![*byte]);
            assert!(wire.poll_recv(&mut cx()).is_pending());
        }
        script(&mut wire).input.push_back(bytes[100..].to_vec());
        assert_eq!(drained(&mut wire).0.len(), 1);
        assert_eq!(wire.progress().received, bytes.len() as u64);

        script(&mut wire).room = 1_000;
        assert!(matches!(wire.poll_send(&mut cx(), b"", &long), Poll::Ready(Ok(()))));
        assert!(wire.poll_flush(&mut cx()).is_pending());
        assert_eq!(wire.progress().sent, 1_000);
        script(&mut wire).room = 1;
        assert!(wire.poll_flush(&mut cx()).is_pending());
        assert_eq!(wire.progress().sent, 1_001);
        script(&mut wire).room = usize::MAX;
        assert!(wire.poll_flush(&mut cx()).is_ready());
        assert_eq!(wire.progress().sent, script(&mut wire).written.len() as u64);
    }
}

#[test]
fn bytes_right_behind_the_handshake_are_progress_and_a_message() {
    let tail = whole(Role::Server, FIN | BINARY, &[7; 900]);
    let peer = Peer { name: "the peer".into(), host: None, identity: None };
    for read_buffer_bytes in [0, 100, 4 << 10] {
        let limits = Limits { read_buffer_bytes, ..Limits::new() };
        let script = Script::default();
        let mut wire =
            WsWire::new(script, &tail, Role::Server, Dialect::Native, limits, peer.clone());
        assert_eq!(wire.progress().received, tail.len() as u64);
        assert_eq!(received(&mut wire).0, [[7; 900]]);
    }
}

#[test]
fn until_a_link_is_up_a_long_message_is_refused_by_its_header() {
    for (role, dialect) in KINDS {
        let data = data(dialect);
        for (what, bytes) in [
            ("one frame", header(role, FIN | data, 1_025)),
            ("a huge frame", header(role, FIN | data, 1 << 62)),
            ("a fragment", header(role, data, 1_025)),
            (
                "fragments together",
                [whole(role, data, &[b'x'; 1_000]), header(role, FIN, 25)].concat(),
            ),
        ] {
            let mut wire = fed(role, dialect, Limits::new(), vec![bytes]);
            wire.limit_incoming(1_024);
            let (messages, end) = drained(&mut wire);
            assert!(messages.is_empty());
            let Some(Err(error)) = end else { panic!("{what}: {end:?}") };
            assert!(
                matches!(error, WsError::ReceivedEarly { limit: 1_024, .. }),
                "{what}: {error}"
            );
            for part in ["the peer", "1024", "introduced itself"] {
                assert!(error.to_string().contains(part), "{what}: {error}");
            }
            assert_eq!(close_code(&mut wire), Some(1009), "{what}");
            assert!(held(&wire) < 16 << 10, "{what}: {} bytes held", held(&wire));
        }
    }
}

#[test]
fn a_limit_for_the_beginning_is_raised_later_but_not_above_the_own_one() {
    for (role, dialect) in KINDS {
        let limits = Limits { message_bytes_max: 5_000, ..Limits::new() };
        let mut wire = fed(role, dialect, limits, vec![]);
        let offered = |wire: &mut WsWire<Script>, length: usize| {
            let bytes = whole(role, FIN | data(dialect), &vec![b'x'; length]);
            script(wire).input.push_back(bytes);
            drained(wire)
        };
        wire.limit_incoming(1_024);
        assert_eq!(offered(&mut wire, 1_024).0[0].len(), 1_024);
        wire.limit_incoming(3_000);
        assert_eq!(offered(&mut wire, 3_000).0[0].len(), 3_000);
        wire.limit_incoming(usize::MAX);
        assert_eq!(offered(&mut wire, 5_000).0[0].len(), 5_000);
        let Some(Err(error)) = offered(&mut wire, 5_001).1 else { panic!("no limit") };
        assert!(matches!(error, WsError::Received { limit: 5_000, .. }), "{error}");
        assert!(error.to_string().contains("message_bytes_max"), "{error}");
    }
}

#[test]
fn memory_comes_with_the_bytes_and_not_with_what_a_header_says() {
    for (role, dialect) in KINDS {
        let mut wire = fed(role, dialect, Limits::new(), vec![]);
        let part = long(role, dialect) / 16;
        script(&mut wire).input.push_back(header(role, FIN | data(dialect), 16 * part as u64));
        assert!(drained(&mut wire).1.is_none());
        assert!(held(&wire) <= 16 << 10, "{} bytes for a header", held(&wire));
        for parts in 1..=16 {
            script(&mut wire).input.push_back(vec![b'x'; part]);
            let (messages, end) = drained(&mut wire);
            assert!(end.is_none());
            assert_eq!(messages.len(), usize::from(parts == 16));
            let fair = 2 * parts * part + (128 << 10);
            assert!(held(&wire) <= fair, "{} bytes for {parts} of {part}", held(&wire));
        }
    }
}

#[test]
fn a_connection_gives_the_memory_of_its_longest_message_back() {
    for (role, dialect) in KINDS {
        let long = vec![b'x'; long(role, dialect)];
        let mut wire = fed(role, dialect, Limits::new(), vec![]);
        let at_first = held(&wire);
        for fragments in [1, 7] {
            let kind = data(dialect);
            let parts: Vec<&[u8]> = long.chunks(long.len().div_ceil(fragments)).collect();
            for (at, part) in parts.iter().enumerate() {
                let fin = if at + 1 == fragments { FIN } else { 0 };
                let first = fin | if at == 0 { kind } else { 0 };
                script(&mut wire).input.push_back(whole(role, first, part));
            }
            // What follows at once does not keep it either.
            script(&mut wire).input.push_back(whole(role, FIN | kind, b"short"));
            let (messages, end) = drained(&mut wire);
            assert!(end.is_none());
            assert!(messages == [&long[..], b"short"]);

            send(&mut wire, &long);
            assert!(script(&mut wire).written.len() > long.len());
            let at_rest = held(&wire);
            assert!(
                at_rest <= at_first + (40 << 10),
                "{at_rest} bytes at rest, {at_first} at first"
            );
            script(&mut wire).written = Vec::new();
        }
    }
}

/// Everything that carries nothing: what comes once, and then for ever.
fn floods(role: Role, dialect: Dialect) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let data = data(dialect);
    vec![
        ("pings", vec![], whole(role, FIN | PING, b"")),
        ("long pings", vec![], whole(role, FIN | PING, &[0; 125])),
        ("pongs", vec![], whole(role, FIN | PONG, b"xx")),
        ("empty fragments", whole(role, data, b""), whole(role, 0, b"")),
        ("empty fragments of a message", whole(role, data, b"{"), whole(role, 0, b"")),
        ("short fragments", whole(role, data, b"{"), whole(role, 0, b"x")),
        ("empty messages", vec![], whole(role, FIN | data, b"")),
        (
            "pings inside of a message",
            whole(role, data, b"{"),
            [whole(role, 0, b""), whole(role, FIN | PING, b"")].concat(),
        ),
    ]
}

#[test]
fn floods_of_what_carries_nothing_end_the_connection() {
    for (role, dialect) in KINDS {
        for (what, first, frame) in floods(role, dialect) {
            let limits =
                Limits { idle_frames_burst: 100, idle_frames_per_second: 0, ..Limits::new() };
            let input = if first.is_empty() { vec![] } else { vec![first] };
            let mut wire = fed(role, dialect, limits, input);
            script(&mut wire).endless = frame;
            let (mut polls, mut empty) = (0, 0);
            let error = loop {
                polls += 1;
                assert!(polls < 1_000, "{what}: served for ever");
                match wire.poll_recv(&mut cx()) {
                    Poll::Ready(Ok(Some(b""))) => empty += 1,
                    Poll::Ready(Err(error)) => break error,
                    Poll::Ready(other) => panic!("{what}: {other:?}"),
                    Poll::Pending => {}
                }
            };
            assert!(empty <= 100, "{what}: {empty} empty messages");
            for part in ["the peer", "flood", "idle_frames_burst, 100", "idle_frames_per_second, 0"]
            {
                assert!(error.to_string().contains(part), "{what}: {error}");
            }
            assert_eq!(close_code(&mut wire), Some(1008), "{what}");
            assert!(matches!(wire.poll_recv(&mut cx()), Poll::Ready(Ok(None))), "{what}");
        }
    }
}

#[test]
fn a_peer_that_pings_around_its_messages_lives() {
    for (role, dialect) in KINDS {
        let limits = Limits { idle_frames_per_second: 0, ..Limits::new() };
        let message = whole(role, FIN | data(dialect), b"{}");
        let pinged = [whole(role, FIN | PING, b"a"), message, whole(role, FIN | PONG, b"b")];
        let fragments = [
            whole(role, data(dialect), b""),
            whole(role, 0, b"{"),
            whole(role, FIN | PING, b""),
            whole(role, 0, b""),
            whole(role, FIN, b"}"),
        ];
        let input = [pinged.concat(), fragments.concat()].concat().repeat(500);
        let mut wire = fed(role, dialect, limits, vec![input]);
        let (messages, end) = drained(&mut wire);
        assert!(end.is_none(), "{end:?}");
        assert_eq!(messages, vec![b"{}"; 1_000]);
    }
}

#[test]
fn what_no_peer_may_send_ends_the_connection_with_its_code() {
    for (role, dialect) in KINDS {
        let kind = data(dialect);
        let wrongly_masked = match role {
            Role::Server => vec![FIN | kind, 1],
            Role::Client => vec![FIN | kind, 0x81],
        };
        let wrongly_masked = [wrongly_masked, vec![0; 4]].concat();
        let close = |payload: &[u8]| whole(role, FIN | CLOSE, payload);
        let nested = [whole(role, kind, b"{"), whole(role, FIN | kind, b"}")].concat();
        let endless = [whole(role, kind, &[b'x'; 600]), whole(role, 0, &[b'x'; 600])].concat();
        let mut cases = vec![
            ("mask", wrongly_masked, 1002),
            ("reserved bit 1", header(role, 0xC0 | kind, 1 << 20), 1002),
            ("reserved bit 2", header(role, 0xA0 | kind, 1 << 20), 1002),
            ("reserved bit 3", header(role, 0x90 | kind, 1 << 20), 1002),
            ("reserved data opcode", header(role, FIN | 0x7, 1 << 20), 1002),
            ("reserved control opcode", header(role, FIN | 0xB, 5), 1002),
            ("long ping", header(role, FIN | PING, 126), 1002),
            ("huge pong", header(role, FIN | PONG, 1 << 40), 1002),
            ("long close", header(role, FIN | CLOSE, 126), 1002),
            ("close in fragments", whole(role, CLOSE, b""), 1002),
            ("pong in fragments", whole(role, PONG, b""), 1002),
            ("a message in a message", nested, 1002),
            ("a continuation of nothing", header(role, FIN, 1 << 20), 1002),
            ("a length of 64 bits", header(role, FIN | kind, u64::MAX), 1002),
            ("half a close code", close(&[3]), 1002),
            ("close code 0", close(&[0, 0]), 1002),
            ("close code 1005", close(&1005u16.to_be_bytes()), 1002),
            ("close code 1006", close(&1006u16.to_be_bytes()), 1002),
            ("close code 5000", close(&5000u16.to_be_bytes()), 1002),
            ("close text not UTF-8", close(&[0x03, 0xE8, 0xFF]), 1007),
            ("too long a frame", header(role, FIN | kind, 701), 1009),
            ("fragments with data for ever", endless, 1009),
        ];
        match dialect {
            Dialect::Native => {
                cases.push(("text", header(role, FIN | TEXT, 100), 1003));
                cases.push(("text in fragments", header(role, TEXT, 100), 1003));
            }
            Dialect::Json => {
                let torn =
                    [whole(role, TEXT, "\u{20ac}".as_bytes()), whole(role, FIN, &[0xE2, 0x82])];
                cases.push(("half a character", torn.concat(), 1007));
                cases.push(("a surrogate", whole(role, FIN | TEXT, &[0xED, 0xA0, 0x80]), 1007));
            }
        }
        for (what, bytes, code) in cases {
            let limits = Limits { message_bytes_max: 1_000, frame_bytes_max: 700, ..Limits::new() };
            let fine = whole(role, FIN | kind, b"{}");
            let mut wire = fed(role, dialect, limits, vec![fine, bytes]);
            let (messages, end) = drained(&mut wire);
            assert_eq!(messages, [b"{}"], "{what}");
            let Some(Err(error)) = end else { panic!("{what}: {end:?}") };
            assert!(error.to_string().contains("the peer"), "{what}: {error}");
            assert_eq!(close_code(&mut wire), Some(code), "{what}");
            assert!(matches!(wire.poll_send(&mut cx(), b"x", b""), Poll::Ready(Err(_))), "{what}");
        }
    }
}

#[test]
fn characters_may_be_split_between_fragments() {
    let text = "\u{20ac}uro".as_bytes();
    for at in 0..text.len() {
        let input = [frame(TEXT, &text[..at]), frame(FIN, &text[at..])].concat();
        let mut wire = receiving(Dialect::Json, [input]);
        assert_eq!(received(&mut wire).0, [text]);
    }
}

#[test]
fn after_a_close_frame_nothing_is_read_and_pings_are_not_answered() {
    let close = frame(FIN | CLOSE, &[]);
    let rest = [frame(FIN | PING, b"x"), frame(FIN | BINARY, b"late"), vec![0xFF; 100]].concat();
    let mut wire = receiving(Dialect::Native, [[close, rest].concat()]);
    assert!(matches!(received(&mut wire), (none, Poll::Ready(Ok(()))) if none.is_empty()));
    assert_eq!(script(&mut wire).written, [FIN | CLOSE, 0]);

    // Nor after our own, but messages still come.
    let input = [frame(FIN | PING, b"x"), frame(FIN | BINARY, b"late"), frame(FIN | CLOSE, &[])];
    let mut wire = receiving(Dialect::Native, input);
    assert!(matches!(wire.poll_close(&mut cx()), Poll::Ready(Ok(()))));
    assert!(matches!(received(&mut wire), (late, Poll::Ready(Ok(()))) if late == [b"late"]));
    assert_eq!(script(&mut wire).written, [FIN | CLOSE, 0]);
}

#[test]
fn whoever_waits_to_send_is_woken_though_the_receiver_wrote_last() {
    let [sender, receiver] = [(); 2].map(|()| Arc::new(WakeCount(AtomicUsize::new(0))));
    let count = |wakes: &Arc<WakeCount>| wakes.0.load(Ordering::Relaxed);
    let wakers = [&sender, &receiver].map(|wakes| Waker::from(wakes.clone()));
    let [send, recv] = &mut wakers.each_ref().map(Context::from_waker);
    let mut wire = receiving(Dialect::Native, []);
    script(&mut wire).room = 0;
    assert!(matches!(wire.poll_send(send, b"message", b""), Poll::Ready(Ok(()))));
    assert!(wire.poll_flush(send).is_pending());

    script(&mut wire).input.push_back(frame(FIN | PING, b"?"));
    assert!(wire.poll_recv(recv).is_pending());
    script(&mut wire).writer.take().unwrap().wake();
    assert_eq!((count(&sender), count(&receiver)), (1, 0), "the stream knows the sender");

    script(&mut wire).room = usize::MAX;
    script(&mut wire).input.push_back(frame(FIN | PING, b"!"));
    assert!(wire.poll_recv(recv).is_pending());
    assert_eq!(count(&sender), 2, "it is told that everything has left");
    assert_eq!(script(&mut wire).written.len(), 9 + 3 + 3);
}

#[test]
fn an_answer_to_a_ping_leaves_later_where_nobody_sends() {
    let mut wire = receiving(Dialect::Native, [frame(FIN | PING, b"?")]);
    script(&mut wire).room = 0;
    assert!(wire.poll_recv(&mut cx()).is_pending());
    assert!(script(&mut wire).writer.is_some(), "the receiver is woken once there is room");
    script(&mut wire).room = usize::MAX;
    assert!(wire.poll_recv(&mut cx()).is_pending());
    assert_eq!(script(&mut wire).written, [FIN | PONG, 1, b'?']);
}

/// Returns what is in the answers to pings that a server has written between its messages.
fn answers(mut written: &[u8]) -> Vec<u8> {
    let mut answers = Vec::new();
    while let [first, length, rest @ ..] = written {
        let (payload, rest) = rest.split_at(usize::from(*length));
        if *first == FIN | PONG {
            answers.extend(payload);
        }
        written = rest;
    }
    answers
}

#[test]
fn of_pings_that_come_while_a_message_leaves_the_first_and_the_latest_are_answered() {
    let mut wire = receiving(Dialect::Native, []);
    script(&mut wire).room = 0;
    assert!(matches!(wire.poll_send(&mut cx(), &[7; 125], b""), Poll::Ready(Ok(()))));
    for ping in 0..100 {
        script(&mut wire).input.push_back(frame(FIN | PING, &[ping]));
        let end = wire.poll_recv(&mut cx()).map_ok(|_| ());
        assert!(end.is_pending(), "ping {ping}: {end:?}");
        script(&mut wire).room = 1;
        assert!(wire.poll_flush(&mut cx()).is_pending());
    }
    assert_eq!(wire.writer.waiting(), 27 + 3);
    script(&mut wire).room = usize::MAX;
    assert!(matches!(wire.poll_flush(&mut cx()), Poll::Ready(Ok(()))));
    assert_eq!(answers(&script(&mut wire).written), [0, 99]);
}

#[test]
fn pings_are_answered_on_a_line_that_never_rests() {
    let mut wire = receiving(Dialect::Native, []);
    script(&mut wire).room = 0;
    assert!(matches!(wire.poll_send(&mut cx(), &[7; 60], b""), Poll::Ready(Ok(()))));
    for ping in 0..100 {
        script(&mut wire).input.push_back(frame(FIN | PING, &[ping]));
        let end = wire.poll_recv(&mut cx()).map_ok(|_| ());
        assert!(end.is_pending(), "ping {ping}: {end:?}");
        assert!(matches!(wire.poll_send(&mut cx(), &[7; 60], b""), Poll::Ready(Ok(()))));
        script(&mut wire).room = 62 + 3;
        assert!(wire.poll_flush(&mut cx()).is_pending());
    }
    assert_eq!(answers(&script(&mut wire).written), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_clients_frames_are_masked_each_with_another_mask() {
    let mut wire = fed(Role::Client, Dialect::Native, Limits::new(), vec![]);
    (0..50).for_each(|_| send(&mut wire, &[0; 100]));
    let written = &script(&mut wire).written;
    let masks: std::collections::HashSet<&[u8]> = written
        .chunks(106)
        .map(|frame| {
            assert_eq!(frame[..2], [FIN | BINARY, 0x80 | 0x64]);
            assert!(frame[6..].chunks(4).all(|four| four == &frame[2..6]), "zeros show the mask");
            &frame[2..6]
        })
        .collect();
    assert!(masks.len() >= 49, "{} masks of 50 frames", masks.len());
}

#[test]
fn what_waits_to_be_admitted_is_not_read_takes_next_to_nothing_and_then_comes_whole() {
    for (role, dialect) in KINDS {
        let long = vec![b'x'; long(role, dialect)];
        for fragments in [1, 3, 40] {
            let mut wire = fed(role, dialect, Limits::new(), vec![]);
            wire.admit(1_024);
            let kind = data(dialect);
            let parts: Vec<&[u8]> = long.chunks(long.len().div_ceil(fragments)).collect();
            for (at, part) in parts.iter().enumerate() {
                let fin = if at + 1 == parts.len() { FIN } else { 0 };
                let first = fin | if at == 0 { kind } else { 0 };
                script(&mut wire).input.push_back(whole(role, first, part));
            }
            let (mut asked, mut got) = (0, Vec::new());
            loop {
                let (messages, end) = drained(&mut wire);
                assert!(end.is_none());
                got.extend(messages);
                let wanted = wire.incoming();
                if wanted == 0 {
                    break;
                }
                let left = script(&mut wire).input.len();
                assert!(drained(&mut wire).0.is_empty());
                assert_eq!(script(&mut wire).input.len(), left, "nothing more is read");
                assert!(asked > 0 || held(&wire) <= 80 << 10, "{} bytes", held(&wire));
                asked += 1;
                wire.admit(wanted);
            }
            assert!(got == [&long[..]]);
            assert!((1..=8).contains(&asked), "asked {asked} times");
        }
    }
}
