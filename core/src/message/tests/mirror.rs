//! Holds the codec against postcard, which the messages' encoding is taken from.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::string::String;
use std::vec::Vec;

use super::*;

/// [`Message`] as serde sees it: the same variants and fields in the same order, without bodies.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Mirror<'a> {
    Hello(#[serde(borrow)] MirrorHello<'a>),
    Welcome { heartbeat_millis: u32, window: u16, extensions: &'a [u8] },
    Request { task: MirrorTask, attempt: u16, extensions: &'a [u8] },
    Response { task: MirrorTask, attempt: u16, verdict: MirrorVerdict },
    Cancel { task: MirrorTask, attempt: u16 },
    Ping,
    Pong,
    Drain,
    Goodbye { code: u8, text: &'a str },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MirrorHello<'a> {
    magic: [u8; 4],
    version: u8,
    role: MirrorRole,
    window: u16,
    frame_bytes_max: u32,
    token: u64,
    name: &'a str,
    extensions: &'a [u8],
}

/// One extension, of which a message's field has any number.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MirrorExtension<'a> {
    id: u16,
    value: &'a [u8],
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MirrorTask {
    slot: u32,
    generation: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum MirrorRole {
    Manager,
    Worker,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum MirrorVerdict {
    Done,
    Failed,
    Returned,
}

fn mirror_task(task: TaskId) -> MirrorTask {
    MirrorTask { slot: task.slot(), generation: task.generation() }
}

fn mirror<'a>(message: &Message<'a>) -> Mirror<'a> {
    match *message {
        Message::Hello(hello) => {
            let Hello { magic, version, window, frame_bytes_max, token, name, .. } = hello;
            let role = match hello.role {
                Role::Manager => MirrorRole::Manager,
                Role::Worker => MirrorRole::Worker,
            };
            let extensions = hello.extensions.as_bytes();
            Mirror::Hello(MirrorHello {
                magic,
                version,
                role,
                window,
                frame_bytes_max,
                token,
                name,
                extensions,
            })
        }
        Message::Welcome { heartbeat_millis, window, extensions } => {
            Mirror::Welcome { heartbeat_millis, window, extensions: extensions.as_bytes() }
        }
        Message::Request { task, attempt, extensions, .. } => {
            let extensions = extensions.as_bytes();
            Mirror::Request { task: mirror_task(task), attempt, extensions }
        }
        Message::Response { task, attempt, verdict, .. } => {
            let verdict = match verdict {
                Verdict::Done => MirrorVerdict::Done,
                Verdict::Failed => MirrorVerdict::Failed,
                Verdict::Returned => MirrorVerdict::Returned,
            };
            Mirror::Response { task: mirror_task(task), attempt, verdict }
        }
        Message::Cancel { task, attempt } => Mirror::Cancel { task: mirror_task(task), attempt },
        Message::Ping => Mirror::Ping,
        Message::Pong => Mirror::Pong,
        Message::Drain => Mirror::Drain,
        Message::Goodbye { code, text } => Mirror::Goodbye { code: code.to_byte(), text },
    }
}

/// What [`Extensions::new`] says, by way of postcard.
fn check_extensions(mut bytes: &[u8]) -> Result<(), MessageError> {
    if bytes.len() > EXTENSIONS_BYTES_MAX {
        return Err(MessageError::ExtensionsTooLong);
    }
    while !bytes.is_empty() {
        (_, bytes) = postcard::take_from_bytes::<MirrorExtension<'_>>(bytes).map_err(error_of)?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn error_of(error: postcard::Error) -> MessageError {
    match error {
        postcard::Error::DeserializeUnexpectedEnd => MessageError::Truncated,
        postcard::Error::DeserializeBadUtf8 => MessageError::NotUtf8,
        _ => MessageError::BadValue,
    }
}

/// What [`Message::decode`] says of a frame, by way of postcard and the limits in the documentation.
fn decode_by_postcard(frame: &[u8]) -> Result<(Mirror<'_>, &[u8]), MessageError> {
    match frame {
        [] => return Err(MessageError::Empty),
        [0, rest @ ..] => {
            let shared = rest.len().min(MAGIC.len());
            if rest[..shared] != MAGIC[..shared] {
                return Err(MessageError::WrongMagic);
            }
            match rest.get(MAGIC.len()) {
                None => return Err(MessageError::Truncated),
                Some(&VERSION) if frame.len() > HELLO_BYTES_MAX => {
                    return Err(MessageError::HelloTooLong);
                }
                Some(&VERSION) => {}
                Some(&version) => return Err(MessageError::WrongVersion(version)),
            }
        }
        [1, ..] if frame.len() > HELLO_BYTES_MAX => return Err(MessageError::HelloTooLong),
        [1..=8, ..] => {}
        [kind, ..] => return Err(MessageError::UnknownKind(*kind)),
    }
    let (message, rest) = postcard::take_from_bytes::<Mirror<'_>>(frame).map_err(error_of)?;
    match message {
        Mirror::Hello(MirrorHello { extensions, .. })
        | Mirror::Welcome { extensions, .. }
        | Mirror::Request { extensions, .. } => check_extensions(extensions)?,
        _ => {}
    }
    match message {
        Mirror::Request { .. } | Mirror::Response { .. } => return Ok((message, rest)),
        _ if !rest.is_empty() => return Err(MessageError::TrailingBytes),
        Mirror::Hello(MirrorHello { name, .. }) => check_name(name)?,
        Mirror::Goodbye { text, .. } if text.len() > TEXT_BYTES_MAX => {
            return Err(MessageError::TextTooLong);
        }
        _ => {}
    }
    Ok((message, rest))
}

fn body<'a>(message: &Message<'a>) -> &'a [u8] {
    match *message {
        Message::Request { body, .. } | Message::Response { body, .. } => body,
        _ => &[],
    }
}

/// Fails where the codec and postcard do not agree on a frame; returns whether they take it.
fn agree(frame: &[u8]) -> bool {
    let ours = Message::decode(frame);
    let theirs = decode_by_postcard(frame);
    if ours == Err(MessageError::BadValue) && theirs != Err(MessageError::BadValue) {
        // A length above `u32::MAX`, or in more than five bytes: see the last test.
        let has_text = matches!(frame[0], 0..=2 | 8);
        let is_long = frame
            .windows(5)
            .any(|bytes| bytes[..4].iter().all(|&byte| byte >= 0x80) && bytes[4] >= 0x10);
        assert!(has_text && is_long, "{theirs:?}");
        return false;
    }
    let seen = ours.as_ref().map(|message| (mirror(message), body(message)));
    assert_eq!(seen.as_ref().map_err(|error| **error), theirs.as_ref().map_err(|error| *error));
    ours.is_ok()
}

/// A number of any length in bits, so that each length of a varint is as likely.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
}

#[expect(clippy::cast_possible_truncation, reason = "any number will do")]
fn message<'a>(
    kind: u8,
    numbers: [u64; 4],
    text: &'a str,
    extensions: Extensions<'a>,
    body: &'a [u8],
) -> Message<'a> {
    let [first, second, third, choice] = numbers;
    let (task, attempt) = (TaskId::from_parts(first as u32, second as u32), third as u16);
    match kind {
        0 => {
            let role = if choice % 2 == 0 { Role::Manager } else { Role::Worker };
            let name = clip(text, NAME_BYTES_MAX);
            let frame_bytes_max = second as u32;
            let hello = Hello::new(role, third as u16, first, name);
            Message::Hello(Hello { frame_bytes_max, extensions, ..hello })
        }
        1 => Message::Welcome { heartbeat_millis: first as u32, window: third as u16, extensions },
        2 => Message::Request { task, attempt, extensions, body },
        3 => {
            let verdicts = [Verdict::Done, Verdict::Failed, Verdict::Returned];
            let verdict = verdicts[choice as usize % verdicts.len()];
            Message::Response { task, attempt, verdict, body }
        }
        4 => Message::Cancel { task, attempt },
        5 => Message::Ping,
        6 => Message::Pong,
        7 => Message::Drain,
        _ => {
            let code = Code::from_byte(choice as u8);
            Message::Goodbye { code, text: clip(text, TEXT_BYTES_MAX) }
        }
    }
}

/// Random extensions, as their bytes: none, as a rule, and never too many for a Hello.
fn extensions() -> impl Strategy<Value = Vec<u8>> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let some = prop::collection::vec((any::<u16>(), 0_u32..16, value), 0..20);
    let some = some.prop_map(|some| {
        let mut buffer = [0; 900];
        let mut writer = ExtensionsWriter::new(&mut buffer);
        let mut mirrored = Vec::new();
        for (id, shift, value) in &some {
            let id = id >> shift;
            writer.add(id, value).unwrap();
            let mirror = MirrorExtension { id, value };
            mirrored.extend_from_slice(postcard::to_slice(&mirror, &mut [0; 64]).unwrap());
        }
        let extensions = writer.finish();
        let seen: Vec<(u16, &[u8])> = extensions.iter().collect();
        let expected: Vec<(u16, &[u8])> =
            some.iter().map(|(id, shift, value)| (id >> shift, &value[..])).collect();
        assert_eq!(seen, expected);
        assert_eq!(extensions.as_bytes(), mirrored);
        mirrored
    });
    prop_oneof![Just(Vec::new()), some]
}

/// A random message's frame.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![any::<String>(), "\\PC{0,300}", "[a-z]{0,70}"];
    let body = prop::collection::vec(any::<u8>(), 0..20);
    (0_u8..9, prop::array::uniform4(number()), text, extensions(), body).prop_map(
        |(kind, numbers, text, extensions, body)| {
            let extensions = Extensions::new(&extensions).unwrap();
            let message = message(kind, numbers, &text, extensions, &body);
            let mut head = [0xff; EXTENDED_HEAD_BYTES_MAX];
            let head = message.encode_extended(&mut head).unwrap();
            assert_eq!(
                head,
                postcard::to_slice(&mirror(&message), &mut [0; EXTENDED_HEAD_BYTES_MAX]).unwrap(),
                "{message:?}"
            );
            if extensions.is_empty() {
                assert_eq!(message.encode(&mut [0xff; HEAD_BYTES_MAX]), head, "{message:?}");
            }
            let short = !matches!(message.kind(), "Hello" | "Welcome" | "Goodbye")
                && (extensions.is_empty() || message.kind() != "Request");
            let mut buffer = [0xff; BODY_HEAD_BYTES_MAX];
            assert_eq!(message.encode_short(&mut buffer), short.then_some(head), "{message:?}");
            [head, &body[..self::body(&message).len()]].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_message_has_postcards_bytes_and_comes_back(frame in frame()) {
        // A name with a control character is encoded, and refused.
        let taken = agree(&frame);
        prop_assert!(taken || Message::decode(&frame) == Err(MessageError::NameNotPlain));
    }

    #[test]
    fn a_mutated_frame_is_taken_and_refused_as_by_postcard(
        mut frame in frame(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..6), 1..4),
    ) {
        for (place, byte, edit) in edits {
            if frame.is_empty() {
                break;
            }
            let place = place.index(frame.len());
            match edit {
                0 => frame[place] = byte,
                1 => frame[place] ^= 1 << (byte % 8),
                2 => frame.insert(place, byte),
                // A varint becomes longer: with this and a zero it keeps its value.
                3 => frame.insert(place, byte | 0x80),
                4 => frame.truncate(place),
                _ => drop(frame.remove(place)),
            }
        }
        agree(&frame);
    }

    #[test]
    fn random_bytes_are_taken_and_refused_as_by_postcard(
        kind in 0_u8..10,
        opening: bool,
        rest in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..4, Just(0x80), Just(0xff)], 0..24),
    ) {
        let opening: &[u8] = if opening { b"chgd\x02" } else { b"" };
        agree(&[&[kind], opening, &rest].concat());
    }
}

/// Every number of the messages, as its first bytes and what follows it.
const NUMBERS: [(&[u8], &[u8], u32); 11] = [
    (&[1], &[1, 0], 32),                      // heartbeat
    (&[1, 1], &[0], 16),                      // window
    (&[2], &[1, 1, 0], 32),                   // slot
    (&[2, 1], &[1, 0], 32),                   // generation
    (&[2, 1, 1], &[0], 16),                   // attempt
    (&[3, 1, 1, 1], &[], 32),                 // verdict
    (b"\0chgd\x02", &[1, 1, 1, 0, 0], 32),    // role
    (b"\0chgd\x02\x01", &[1, 1, 0, 0], 16),   // window
    (b"\0chgd\x02\x01\x01", &[1, 0, 0], 32),  // longest frame
    (b"\0chgd\x02\x01\x01\x01", &[0, 0], 64), // token
    (b"\x01\x01\x01\x04", &[0], 16),          // extension's id, in up to four bytes
];

#[test]
fn numbers_that_are_too_long_or_too_large_are_refused_as_by_postcard() {
    for (before, after, bits) in NUMBERS {
        let bytes_max = bits.div_ceil(7) as usize;
        let (mut taken, mut refused) = (0, 0);
        for more in 0..=bytes_max {
            for filler in [0x80, 0xff] {
                for last in 0..=0x7f_u8 {
                    let varint = [&std::vec![filler; more][..], &[last]].concat();
                    let agreed = agree(&[before, &varint, after].concat());
                    *(if agreed { &mut taken } else { &mut refused }) += 1;
                }
            }
        }
        assert!(taken > 0 && refused > 0, "{before:?}: {taken} taken, {refused} refused");
    }
}

#[test]
fn a_length_takes_at_most_five_bytes_on_every_machine() {
    // postcard takes as many as the machine's `usize` has, which is not the same on both ends.
    let goodbye = |length: &[u8]| [&[8, 0], length, b"ab"].concat();
    assert!(agree(&goodbye(&[0x82, 0x80, 0x80, 0x80, 0])));
    let long = goodbye(&[0x82, 0x80, 0x80, 0x80, 0x80, 0]);
    assert_eq!(Message::decode(&long), Err(MessageError::BadValue));
    #[cfg(target_pointer_width = "64")]
    assert!(decode_by_postcard(&long).is_ok());
    let large = goodbye(&[0xff, 0xff, 0xff, 0xff, 0x10]);
    assert_eq!(Message::decode(&large), Err(MessageError::BadValue));
}
