use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;

mod mirror;

const TASK: TaskId = TaskId::from_parts(7, 300);
/// One for private use, with the value `blue`.
const BLUE: Extensions<'_> = Extensions { bytes: b"\x80\x80\x01\x04blue" };

/// Every message, and its bytes; docs/PROTOCOL.md shows the same.
fn golden() -> Vec<(Message<'static>, Vec<u8>)> {
    let text = |head: &[u8], text: &str| [head, text.as_bytes()].concat();
    std::vec![
        (
            Message::hello(Role::Worker, 8, 1000, "w1"),
            [
                &[0, b'c', b'h', b'g', b'd', 2, 1, 8][..],
                &[0xff, 0xff, 0xff, 0xff, 0x0f, 0xe8, 0x07, 2, b'w', b'1', 0],
            ]
            .concat(),
        ),
        (
            Message::Hello(Hello {
                frame_bytes_max: 16 << 20,
                extensions: BLUE,
                ..Hello::new(Role::Manager, 0, 0, "")
            }),
            [
                &[0, b'c', b'h', b'g', b'd', 2, 0, 0, 0x80, 0x80, 0x80, 0x08, 0, 0][..],
                &[8, 0x80, 0x80, 0x01, 4, b'b', b'l', b'u', b'e'],
            ]
            .concat(),
        ),
        (
            Message::Welcome { heartbeat_millis: 10_000, window: 8, extensions: Extensions::NONE },
            std::vec![1, 0x90, 0x4e, 8, 0],
        ),
        (
            Message::Request { task: TASK, attempt: 1, extensions: Extensions::NONE, body: b"ask" },
            text(&[2, 7, 0xac, 0x02, 1, 0], "ask"),
        ),
        (
            Message::Request { task: TASK, attempt: 1, extensions: BLUE, body: b"ask" },
            text(&[2, 7, 0xac, 0x02, 1, 8, 0x80, 0x80, 0x01, 4], "blueask"),
        ),
        (
            Message::Response { task: TASK, attempt: 1, verdict: Verdict::Done, body: b"42" },
            text(&[3, 7, 0xac, 0x02, 1, 0], "42"),
        ),
        (
            Message::Response { task: TASK, attempt: 200, verdict: Verdict::Failed, body: b"no" },
            text(&[3, 7, 0xac, 0x02, 0xc8, 0x01, 1], "no"),
        ),
        (
            Message::Response { task: TASK, attempt: 1, verdict: Verdict::Returned, body: b"" },
            std::vec![3, 7, 0xac, 0x02, 1, 2],
        ),
        (Message::Cancel { task: TASK, attempt: 2 }, std::vec![4, 7, 0xac, 0x02, 2]),
        (Message::Ping, std::vec![5]),
        (Message::Pong, std::vec![6]),
        (Message::Drain, std::vec![7]),
        (Message::Goodbye { code: Code::Timeout, text: "slow" }, text(&[8, 6, 4], "slow")),
        (Message::Goodbye { code: Code::Other(200), text: "" }, std::vec![8, 200, 0]),
    ]
}

fn frame(message: &Message<'_>) -> Vec<u8> {
    let mut head = [0xff; EXTENDED_HEAD_BYTES_MAX];
    let mut frame = message.encode_extended(&mut head).expect("it fits").to_vec();
    if let Message::Request { body, .. } | Message::Response { body, .. } = message {
        frame.extend_from_slice(body);
    }
    frame
}

#[test]
fn every_message_has_its_golden_bytes_both_ways() {
    for (message, bytes) in golden() {
        assert_eq!(frame(&message), bytes, "{message:?}");
        assert_eq!(Message::decode(&bytes), Ok(message));
    }
}

#[test]
fn a_message_that_is_cut_anywhere_in_its_head_is_refused() {
    for (message, bytes) in golden() {
        let mut head = [0; EXTENDED_HEAD_BYTES_MAX];
        for end in 0..message.encode_extended(&mut head).unwrap().len() {
            let expected = if end == 0 { MessageError::Empty } else { MessageError::Truncated };
            assert_eq!(Message::decode(&bytes[..end]), Err(expected), "{message:?} {end}");
        }
    }
}

#[test]
fn a_byte_too_many_is_refused_unless_it_belongs_to_a_body() {
    for (message, mut bytes) in golden() {
        bytes.push(0);
        let decoded = Message::decode(&bytes);
        match message {
            Message::Request { .. } | Message::Response { .. } => assert!(decoded.is_ok()),
            _ => assert_eq!(decoded, Err(MessageError::TrailingBytes), "{message:?}"),
        }
    }
}

#[test]
fn magic_and_version_are_judged_before_the_rest_is_read() {
    assert_eq!(Message::decode(b"\0chgx\x02"), Err(MessageError::WrongMagic));
    assert_eq!(Message::decode(b"\0x"), Err(MessageError::WrongMagic));
    assert_eq!(Message::decode(b"\0chgd\x03\xff\xff"), Err(MessageError::WrongVersion(3)));
    assert_eq!(MessageError::WrongVersion(3).code(), Code::WrongVersion);
    // However long it is.
    let long = [b"\0chgd\x03", &[0xff; 2 * HELLO_BYTES_MAX][..]].concat();
    assert_eq!(Message::decode(&long), Err(MessageError::WrongVersion(3)));
    // The variant number in two bytes would go around that check.
    assert_eq!(Message::decode(b"\x80\0chgx\x01"), Err(MessageError::UnknownKind(0x80)));
}

#[test]
fn another_protocol_is_named_as_such() {
    let text = Message::decode(b"GET / HTTP/1.1\r\n").unwrap_err();
    assert_eq!(text, MessageError::UnknownKind(b'G'));
    assert!(format!("{text}").contains("is the peer a chargehand?"));
}

#[test]
fn forged_lengths_are_bounded_by_the_frame_and_by_the_limits() {
    let hello = |length: &[u8], rest: usize| {
        let mut bytes = b"\0chgd\x02\x01\x08\x00\x00".to_vec();
        bytes.extend_from_slice(length);
        bytes.resize(bytes.len() + rest, b'n');
        bytes.push(0);
        bytes
    };
    let forged = hello(&[0xff, 0xff, 0xff, 0xff, 0x0f], 3);
    assert_eq!(Message::decode(&forged), Err(MessageError::Truncated));
    assert_eq!(Message::decode(&hello(&[65], 65)), Err(MessageError::NameTooLong));
    assert!(Message::decode(&hello(&[64], 64)).is_ok());
    let mut goodbye = std::vec![8, 0, 0x81, 0x02];
    goodbye.resize(4 + 257, b't');
    assert_eq!(Message::decode(&goodbye), Err(MessageError::TextTooLong));
    assert_eq!(Message::decode(&[8, 0, 1, 0xff]), Err(MessageError::NotUtf8));
}

#[test]
fn values_out_of_range_are_refused() {
    assert_eq!(Message::decode(&[3, 1, 1, 1, 3]), Err(MessageError::BadValue), "verdict");
    assert_eq!(Message::decode(b"\0chgd\x02\x02\0\0\0\0\0"), Err(MessageError::BadValue), "role");
    let attempt = [4, 1, 1, 0xff, 0xff, 0x7f];
    assert_eq!(Message::decode(&attempt), Err(MessageError::BadValue), "attempt");
}

#[test]
fn a_long_goodbye_is_cut_between_characters() {
    let text: String = "\u{e9}".repeat(200);
    let bytes = frame(&Message::Goodbye { code: Code::Busy, text: &text[..399 - 1] });
    let Ok(Message::Goodbye { text: cut, .. }) = Message::decode(&bytes) else { panic!() };
    assert_eq!(cut.len(), TEXT_BYTES_MAX);
    assert_eq!(clip("\u{e9}\u{e9}", 3), "\u{e9}");
    assert_eq!(clip("\u{e9}", 1), "");
}

#[test]
#[should_panic(expected = "at most 64 bytes")]
fn a_name_that_is_too_long_is_our_own_bug() {
    let name = "n".repeat(NAME_BYTES_MAX + 1);
    let _ = frame(&Message::hello(Role::Worker, 1, 0, &name));
}

#[test]
fn the_longest_heads_fit() {
    let task = TaskId::from_parts(u32::MAX, u32::MAX);
    let name = "n".repeat(NAME_BYTES_MAX);
    let text = "t".repeat(TEXT_BYTES_MAX);
    let longest =
        Message::Response { task, attempt: u16::MAX, verdict: Verdict::Failed, body: &[] };
    assert_eq!(frame(&longest).len(), BODY_HEAD_BYTES_MAX);
    for message in [
        Message::hello(Role::Worker, u16::MAX, u64::MAX, &name),
        Message::Goodbye { code: Code::Timeout, text: &text },
    ] {
        assert_eq!(Message::decode(&frame(&message)), Ok(message));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_what_decodes_encodes_again(
        kind in 0_u8..12,
        rest in prop::collection::vec(any::<u8>(), 0..80),
        opening: bool,
    ) {
        let mut bytes = std::vec![kind];
        if opening {
            bytes.extend_from_slice(b"chgd\x02");
        }
        bytes.extend_from_slice(&rest);
        if let Ok(message) = Message::decode(&bytes) {
            // Not always the same bytes: a number may be written longer than need be.
            let again = frame(&message);
            prop_assert_eq!(Message::decode(&again), Ok(message));
        }
    }
}

#[test]
fn a_name_that_would_write_to_a_log_or_terminal_is_refused() {
    for name in ["two\nlines", "\u{1b}[2J", "nul\0", "\u{9b}31m", "\u{7f}"] {
        let frame =
            Message::hello(Role::Worker, 1, 7, name).encode(&mut [0; HEAD_BYTES_MAX]).to_vec();
        assert_eq!(Message::decode(&frame), Err(MessageError::NameNotPlain), "{name:?}");
    }
    assert_eq!(check_name("Zürich 7 · 北"), Ok(()));
    assert_eq!(check_name(""), Ok(()));
}

#[test]
fn a_hello_or_welcome_fills_its_limit_and_no_more() {
    let bytes = |length: usize| {
        let value = std::vec![7; length - 4];
        let mut buffer = std::vec![0; length];
        let mut writer = ExtensionsWriter::new(&mut buffer);
        writer.add(PRIVATE_EXTENSION, &value[..length - 5]).expect("it fits");
        writer.finish().as_bytes().to_vec()
    };
    let hello = Message::hello(Role::Worker, 1, 0, "");
    // Where the block's length takes one byte more than that of none.
    let bare = hello.encode(&mut [0; HEAD_BYTES_MAX]).len() + 1;
    let fits = bytes(HELLO_BYTES_MAX - bare);
    let extensions = Extensions::new(&fits).unwrap();
    let longest = Message::Hello(Hello { extensions, ..Hello::new(Role::Worker, 1, 0, "") });
    let mut frame = frame(&longest);
    assert_eq!(frame.len(), HELLO_BYTES_MAX);
    assert_eq!(Message::decode(&frame), Ok(longest));
    frame.push(0);
    assert_eq!(Message::decode(&frame), Err(MessageError::HelloTooLong));
    let welcome = [&[1, 1, 1, 0][..], &[0; HELLO_BYTES_MAX]].concat();
    assert_eq!(Message::decode(&welcome), Err(MessageError::HelloTooLong));
    assert_eq!(Message::decode(&welcome[..HELLO_BYTES_MAX]), Err(MessageError::TrailingBytes));

    let fits = bytes(HELLO_BYTES_MAX - bare + 1);
    let extensions = Extensions::new(&fits).unwrap();
    let longer = Message::Hello(Hello { extensions, ..Hello::new(Role::Worker, 1, 0, "") });
    assert_eq!(longer.encode_extended(&mut [0; EXTENDED_HEAD_BYTES_MAX]), Err(NoRoom));
    let request = Message::Request { task: TASK, attempt: 1, extensions, body: b"" };
    assert!(request.encode_extended(&mut [0; EXTENDED_HEAD_BYTES_MAX]).is_ok());
    assert_eq!(request.encode_extended(&mut [0; HEAD_BYTES_MAX]), Err(NoRoom));
    assert_eq!(request.encode_short(&mut [0; BODY_HEAD_BYTES_MAX]), None);
}

#[test]
#[should_panic(expected = "use encode_extended")]
fn extensions_are_not_dropped_by_a_buffer_without_room_for_them() {
    let request = Message::Request { task: TASK, attempt: 1, extensions: BLUE, body: b"" };
    let _ = request.encode(&mut [0; HEAD_BYTES_MAX]);
}

#[test]
fn the_first_of_two_extensions_with_one_id_counts() {
    let extensions = Extensions::new(&[7, 1, b'a', 7, 1, b'b', 8, 0]).unwrap();
    assert_eq!(extensions.get(7), Some(&b"a"[..]));
    assert_eq!(extensions.get(8), Some(&b""[..]));
    assert_eq!(extensions.get(9), None);
    let all: Vec<(u16, &[u8])> = extensions.into_iter().collect();
    assert_eq!(all, [(7, &b"a"[..]), (7, b"b"), (8, b"")]);
    assert!(!extensions.is_empty() && Extensions::NONE.is_empty());
}

#[test]
fn a_span_in_milliseconds_is_four_bytes_the_lowest_first_and_nothing_else() {
    let millis = |bytes: &[u8]| Extensions::new(bytes).unwrap().millis(ATTEMPT_TIMEOUT_EXTENSION);
    assert_eq!(ATTEMPT_TIMEOUT_EXTENSION, 1);
    assert_eq!(millis(&[1, 4, 0x10, 0x27, 0, 0]), Some(10_000));
    assert_eq!(millis(&[1, 4, 0xff, 0xff, 0xff, 0xff]), Some(u32::MAX));
    assert_eq!(millis(&[2, 1, b'a', 1, 4, 1, 0, 0, 0]), Some(1));
    assert_eq!(millis(&[1, 4, 1, 0, 0, 0, 1, 4, 2, 0, 0, 0]), Some(1), "the first one counts");
    for none in [&[][..], &[1, 0], &[1, 3, 1, 0, 0], &[1, 5, 1, 0, 0, 0, 0], &[3, 4, 1, 0, 0, 0]] {
        assert_eq!(millis(none), None, "{none:?}");
    }
    let mut buffer = [0; 6];
    let mut writer = ExtensionsWriter::new(&mut buffer);
    writer.add(ATTEMPT_TIMEOUT_EXTENSION, &10_000_u32.to_le_bytes()).unwrap();
    assert_eq!(writer.finish().as_bytes(), [1, 4, 0x10, 0x27, 0, 0]);
}

#[test]
fn a_schema_is_a_plain_text_within_its_limit_and_nothing_else() {
    assert_eq!(SCHEMA_EXTENSION, 2);
    let schema = |text: &[u8]| {
        let mut buffer = [0; 2 + SCHEMA_BYTES_MAX + 1];
        let mut writer = ExtensionsWriter::new(&mut buffer);
        writer.add(SCHEMA_EXTENSION, text).unwrap();
        writer.finish().schema().map(String::from)
    };
    let longest = "x".repeat(SCHEMA_BYTES_MAX);
    for text in ["blocks 2", "", "größe·北", &longest] {
        assert_eq!(schema(text.as_bytes()).as_deref(), Some(text));
        assert_eq!(check_schema(text), Ok(()));
    }
    let longer = "x".repeat(SCHEMA_BYTES_MAX + 1);
    assert_eq!(check_schema(&longer), Err(MessageError::SchemaTooLong));
    assert_eq!(schema(longer.as_bytes()), None);
    for text in ["two\nlines", "\u{1b}[2J", "a\0", "\u{85}"] {
        assert_eq!(check_schema(text), Err(MessageError::NameNotPlain), "{text:?}");
        assert_eq!(schema(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(schema(&[0xff]), None, "no UTF-8");
    assert_eq!(Extensions::NONE.schema(), None);
    assert_eq!(BLUE.schema(), None);
}

#[test]
fn malformed_extensions_are_refused_wherever_they_are_and_too_many_too() {
    let long = [0; EXTENSIONS_BYTES_MAX + 2];
    for (bytes, error) in [
        (&[7][..], MessageError::Truncated),
        (&[7, 2, 0], MessageError::Truncated),
        (&[7, 0, 7], MessageError::Truncated),
        (&[0xff, 0xff, 0x04, 0], MessageError::BadValue),
        (&[7, 0xff, 0xff, 0xff, 0xff, 0x10], MessageError::BadValue),
        (&[7, 0xff, 0xff, 0xff, 0xff, 0x0f, 0], MessageError::Truncated),
    ] {
        assert_eq!(Extensions::new(bytes), Err(error), "{bytes:?}");
        let length = [u8::try_from(bytes.len()).unwrap()];
        for head in [&b"\0chgd\x02\x01\x01\x01\x01\0"[..], &[1, 1, 1], &[2, 1, 1, 1]] {
            let frame = [head, &length, bytes].concat();
            assert_eq!(Message::decode(&frame), Err(error), "{frame:?}");
        }
    }
    assert!(Extensions::new(&long[..EXTENSIONS_BYTES_MAX]).is_ok());
    assert_eq!(Extensions::new(&long), Err(MessageError::ExtensionsTooLong));
    let request = [&[2, 1, 1, 1, 0x82, 0x08][..], &long].concat();
    assert_eq!(Message::decode(&request), Err(MessageError::ExtensionsTooLong));
}

#[test]
fn a_writer_without_room_says_so_and_keeps_what_it_has() {
    let mut buffer = [0; 8];
    let mut writer = ExtensionsWriter::new(&mut buffer);
    assert_eq!(writer.add(1, b"abc"), Ok(()));
    assert_eq!(writer.add(PRIVATE_EXTENSION, b""), Err(NoRoom));
    assert_eq!(writer.add(2, b"de"), Err(NoRoom));
    assert_eq!(writer.add(2, b"d"), Ok(()));
    assert_eq!(writer.add(3, b""), Err(NoRoom));
    assert_eq!(writer.finish().as_bytes(), [1, 3, b'a', b'b', b'c', 2, 1, b'd']);

    let mut buffer = [0; 2 * EXTENSIONS_BYTES_MAX];
    let mut writer = ExtensionsWriter::new(&mut buffer);
    assert_eq!(writer.add(1, &[0; EXTENSIONS_BYTES_MAX - 2]), Err(NoRoom));
    assert_eq!(writer.add(1, &[0; EXTENSIONS_BYTES_MAX - 3]), Ok(()));
    assert_eq!(writer.finish().as_bytes().len(), EXTENSIONS_BYTES_MAX);
}

#[test]
fn every_byte_is_a_goodbyes_code_and_comes_back() {
    for byte in 0..=u8::MAX {
        let code = Code::from_byte(byte);
        assert_eq!(code.to_byte(), byte);
        assert_eq!(matches!(code, Code::Other(_)), byte > 11);
        let message = Message::Goodbye { code, text: "" };
        assert_eq!(Message::decode(&frame(&message)), Ok(message));
    }
}

proptest! {
    #[test]
    fn any_bytes_as_extensions_are_taken_whole_or_refused_and_never_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..4, Just(0x80)], 0..1100),
        before in 0_usize..3,
    ) {
        let mut length = [0; 5];
        let length = postcard::to_slice(&u32::try_from(bytes.len()).unwrap(), &mut length).unwrap();
        let head = [&b"\0chgd\x02\x01\x01\x01\x01\0"[..], &[1, 1, 1], &[2, 1, 1, 1]][before];
        let frame = [head, length, &bytes[..]].concat();
        let decoded = Message::decode(&frame);
        match Extensions::new(&bytes) {
            Err(error) if frame.len() <= HELLO_BYTES_MAX || before == 2 => {
                prop_assert_eq!(decoded, Err(error));
            }
            Ok(extensions) => {
                // All of it is in what the iterator gives, with each id and length at least a byte.
                let seen: usize = extensions.iter().map(|(_, value)| 2 + value.len()).sum();
                prop_assert!(seen <= bytes.len());
                prop_assert_eq!(seen == 0, bytes.is_empty());
                for (id, _) in extensions {
                    prop_assert!(extensions.get(id).is_some());
                }
                if frame.len() <= HELLO_BYTES_MAX || before == 2 {
                    prop_assert!(decoded.is_ok());
                }
            }
            Err(_) => prop_assert_eq!(decoded, Err(MessageError::HelloTooLong)),
        }
    }
}
