//! Holds the codec against postcard, which the messages' encoding is taken from.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::string::String;
use std::vec::Vec;

use super::*;

/// [`Message`] as serde sees it: the same variants and fields in the same order, without bodies.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Mirror<'a> {
    Hello { magic: [u8; 4], version: u8, role: MirrorRole, window: u16, token: u64, name: &'a str },
    Welcome { heartbeat_millis: u32, frame_bytes_max: u32, window: u16 },
    Request { task: MirrorTask, attempt: u16 },
    Response { task: MirrorTask, attempt: u16, verdict: MirrorVerdict },
    Cancel { task: MirrorTask, attempt: u16 },
    Ping,
    Pong,
    Drain,
    Goodbye { code: MirrorCode, text: &'a str },
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
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum MirrorCode {
    Stopped,
    BadMessage,
    WrongVersion,
    WrongRole,
    Busy,
    Displaced,
    Timeout,
}

fn mirror_task(task: TaskId) -> MirrorTask {
    MirrorTask { slot: task.slot(), generation: task.generation() }
}

fn mirror<'a>(message: &Message<'a>) -> Mirror<'a> {
    match *message {
        Message::Hello { magic, version, role, window, token, name } => {
            let role = match role {
                Role::Manager => MirrorRole::Manager,
                Role::Worker => MirrorRole::Worker,
            };
            Mirror::Hello { magic, version, role, window, token, name }
        }
        Message::Welcome { heartbeat_millis, frame_bytes_max, window } => {
            Mirror::Welcome { heartbeat_millis, frame_bytes_max, window }
        }
        Message::Request { task, attempt, .. } => {
            Mirror::Request { task: mirror_task(task), attempt }
        }
        Message::Response { task, attempt, verdict, .. } => {
            let verdict = match verdict {
                Verdict::Done => MirrorVerdict::Done,
                Verdict::Failed => MirrorVerdict::Failed,
            };
            Mirror::Response { task: mirror_task(task), attempt, verdict }
        }
        Message::Cancel { task, attempt } => Mirror::Cancel { task: mirror_task(task), attempt },
        Message::Ping => Mirror::Ping,
        Message::Pong => Mirror::Pong,
        Message::Drain => Mirror::Drain,
        Message::Goodbye { code, text } => {
            let code = match code {
                Code::Stopped => MirrorCode::Stopped,
                Code::BadMessage => MirrorCode::BadMessage,
                Code::WrongVersion => MirrorCode::WrongVersion,
                Code::WrongRole => MirrorCode::WrongRole,
                Code::Busy => MirrorCode::Busy,
                Code::Displaced => MirrorCode::Displaced,
                Code::Timeout => MirrorCode::Timeout,
            };
            Mirror::Goodbye { code, text }
        }
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
                Some(&VERSION) => {}
                Some(&version) => return Err(MessageError::WrongVersion(version)),
            }
        }
        [0..=8, ..] => {}
        [kind, ..] => return Err(MessageError::UnknownKind(*kind)),
    }
    let (message, rest) =
        postcard::take_from_bytes::<Mirror<'_>>(frame).map_err(|error| match error {
            postcard::Error::DeserializeUnexpectedEnd => MessageError::Truncated,
            postcard::Error::DeserializeBadUtf8 => MessageError::NotUtf8,
            _ => MessageError::BadValue,
        })?;
    match message {
        Mirror::Request { .. } | Mirror::Response { .. } => return Ok((message, rest)),
        _ if !rest.is_empty() => return Err(MessageError::TrailingBytes),
        Mirror::Hello { name, .. } => check_name(name)?,
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
        let has_text = matches!(frame[0], 0 | 8);
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
fn message<'a>(kind: u8, numbers: [u64; 4], text: &'a str, body: &'a [u8]) -> Message<'a> {
    let [first, second, third, choice] = numbers;
    let (task, attempt) = (TaskId::from_parts(first as u32, second as u32), third as u16);
    match kind {
        0 => {
            let role = if choice % 2 == 0 { Role::Manager } else { Role::Worker };
            Message::hello(role, third as u16, first, clip(text, NAME_BYTES_MAX))
        }
        1 => Message::Welcome {
            heartbeat_millis: first as u32,
            frame_bytes_max: second as u32,
            window: third as u16,
        },
        2 => Message::Request { task, attempt, body },
        3 => {
            let verdict = if choice % 2 == 0 { Verdict::Done } else { Verdict::Failed };
            Message::Response { task, attempt, verdict, body }
        }
        4 => Message::Cancel { task, attempt },
        5 => Message::Ping,
        6 => Message::Pong,
        7 => Message::Drain,
        _ => {
            let codes = [
                Code::Stopped,
                Code::BadMessage,
                Code::WrongVersion,
                Code::WrongRole,
                Code::Busy,
                Code::Displaced,
                Code::Timeout,
            ];
            let code = codes[choice as usize % codes.len()];
            Message::Goodbye { code, text: clip(text, TEXT_BYTES_MAX) }
        }
    }
}

/// A random message's frame.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![any::<String>(), "\\PC{0,300}", "[a-z]{0,70}"];
    let body = prop::collection::vec(any::<u8>(), 0..20);
    (0_u8..9, prop::array::uniform4(number()), text, body).prop_map(
        |(kind, numbers, text, body)| {
            let message = message(kind, numbers, &text, &body);
            let mut head = [0xff; HEAD_BYTES_MAX];
            let head = message.encode(&mut head);
            assert_eq!(
                head,
                postcard::to_slice(&mirror(&message), &mut [0; HEAD_BYTES_MAX]).unwrap(),
                "{message:?}"
            );
            let short = !matches!(message.kind(), "Hello" | "Welcome" | "Goodbye");
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
        let opening: &[u8] = if opening { b"chgd\x01" } else { b"" };
        agree(&[&[kind], opening, &rest].concat());
    }
}

/// Every number of the messages, as its first bytes and what follows it.
const NUMBERS: [(&[u8], &[u8], u32); 9] = [
    (&[1], &[1, 1], 32),               // heartbeat
    (&[1, 1, 1], &[], 16),             // window
    (&[2], &[1, 1], 32),               // slot
    (&[2, 1], &[1], 32),               // generation
    (&[2, 1, 1], &[], 16),             // attempt
    (&[3, 1, 1, 1], &[], 32),          // verdict
    (&[8], &[0], 32),                  // code
    (b"\0chgd\x01", &[1, 1, 0], 32),   // role
    (b"\0chgd\x01\x01\x01", &[0], 64), // token
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
