use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::*;
use crate::message::{HEAD_BYTES_MAX, Message};

const NONCES: [[u8; NONCE_BYTES]; 2] = [[0x11; NONCE_BYTES], [0x22; NONCE_BYTES]];

fn key(byte: u8) -> SharedKey {
    SharedKey::new([byte; KEY_BYTES])
}

fn manager(seals: bool) -> Member<'static> {
    member(Role::Manager, "pool", seals)
}

fn worker(seals: bool) -> Member<'static> {
    member(Role::Worker, "w1", seals)
}

fn member(role: Role, name: &'static str, seals: bool) -> Member<'static> {
    Member { seals, ..Member::new(role, name).unwrap() }
}

/// With the feature, both ways.
fn modes() -> &'static [bool] {
    if cfg!(feature = "sealed") { &[false, true] } else { &[false] }
}

/// Somebody on the way, who may change each of the three messages.
type OnTheWay<'a> = &'a mut dyn FnMut(usize, &mut Vec<u8>);

/// How an exchange ended on both sides, the first side's result first.
type Ended = (Result<Channel, ExchangeError>, Option<Result<Channel, ExchangeError>>);

/// A worker that dials, and a manager that knows its key.
fn exchange(seals: bool, on_the_way: OnTheWay<'_>) -> Ended {
    let (mut ours, mut theirs) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
    let (initiator, open) = Initiator::new(worker(seals), &key(7), NONCES[0], &mut ours);
    let mut message = open.to_vec();
    on_the_way(0, &mut message);
    let find = |name: &str, id| (name == "w1" && id == key(7).id()).then(|| key(7));
    let answered = Responder::new(manager(seals), NONCES[1], &message, find, &mut theirs);
    let (responder, challenge) = match answered {
        Ok((responder, challenge)) => (responder, challenge),
        Err(error) => return (Err(ExchangeError::Refused), Some(Err(error))),
    };
    let mut message = challenge.to_vec();
    on_the_way(1, &mut message);
    match initiator.handle_challenge(&message, &mut ours) {
        Ok((channel, proof)) => {
            let mut message = proof.to_vec();
            on_the_way(2, &mut message);
            (Ok(channel), Some(responder.handle_proof(&message)))
        }
        Err(error) => (Err(error), None),
    }
}

fn channels(seals: bool) -> (Channel, Channel) {
    let (near, far) = exchange(seals, &mut |_, _| {});
    (near.unwrap(), far.unwrap().unwrap())
}

/// The three messages of an exchange that goes well.
fn recorded(seals: bool) -> Vec<Vec<u8>> {
    let mut messages = vec![];
    let (near, far) = exchange(seals, &mut |_, message| messages.push(message.clone()));
    assert!(near.is_ok() && far.unwrap().is_ok());
    messages
}

fn sent(channel: &mut Channel, message: &[u8]) -> Vec<u8> {
    let mut buffer = message.to_vec();
    buffer.resize(message.len() + channel.added_bytes(), 0);
    assert_eq!(channel.protect(&mut buffer, message.len()), Ok(buffer.len()));
    buffer
}

fn opened(channel: &mut Channel, sent: &[u8]) -> Result<Vec<u8>, ChannelError> {
    channel.open(&mut sent.to_vec()).map(<[u8]>::to_vec)
}

#[test]
fn both_sides_prove_the_key_and_learn_each_others_names() {
    for &seals in modes() {
        let (mut near, mut far) = channels(seals);
        assert_eq!((near.peer(), far.peer()), ("pool", "w1"));
        assert_eq!((near.is_sealed(), far.is_sealed()), (seals, seals));
        for text in [&b"one"[..], b"", b"three"] {
            let there = sent(&mut near, text);
            assert_eq!(opened(&mut far, &there).unwrap(), text);
            let back = sent(&mut far, text);
            assert_eq!(opened(&mut near, &back).unwrap(), text);
        }
    }
}

#[test]
fn no_message_is_longer_than_the_buffer_for_it_and_the_longest_name_has_room() {
    let name = "n".repeat(NAME_BYTES_MAX);
    let mut out = [0; EXCHANGE_BYTES_MAX];
    let me = Member::new(Role::Worker, &name).unwrap();
    let (_, open) = Initiator::new(me, &key(1), NONCES[0], &mut out);
    let me = Member::new(Role::Manager, &name).unwrap();
    let mut theirs = [0; EXCHANGE_BYTES_MAX];
    let (responder, challenge) =
        Responder::new(me, NONCES[1], open, |_, _| Some(key(1)), &mut theirs).unwrap();
    assert_eq!(challenge.len(), EXCHANGE_BYTES_MAX);
    assert_eq!(responder.claimed(), name);
    for bad in ["", "a\nb", &"n".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(Member::new(Role::Worker, bad), Err(ExchangeError::BadName), "{bad:?}");
    }
}

#[test]
fn whatever_bit_is_changed_on_the_way_the_proof_fails() {
    for &seals in modes() {
        for (step, message) in recorded(seals).iter().enumerate() {
            for bit in 0..8 * message.len() {
                let (near, far) = exchange(seals, &mut |at, message| {
                    if at == step {
                        message[bit / 8] ^= 1 << (bit % 8);
                    }
                });
                // Of the last message the side that opened cannot know; the other one lets nobody in.
                assert!(step == 2 || near.is_err(), "step {step}, bit {bit}");
                assert!(!matches!(far, Some(Ok(_))), "step {step}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_message_that_is_cut_off_or_goes_on_is_refused_by_whoever_takes_it() {
    for &seals in modes() {
        for (step, message) in recorded(seals).iter().enumerate() {
            for length in (0..message.len()).chain([message.len() + 1, 1024]) {
                let (near, far) = exchange(seals, &mut |at, message| {
                    if at == step {
                        message.resize(length, 0);
                    }
                });
                let error = if step == 1 { near.unwrap_err() } else { far.unwrap().unwrap_err() };
                assert_eq!(error, ExchangeError::Malformed, "step {step}, {length} bytes");
            }
        }
    }
}

#[test]
fn a_link_that_is_played_again_proves_nothing() {
    for &seals in modes() {
        let old = recorded(seals);
        let mut out = [0; EXCHANGE_BYTES_MAX];
        // To the side that was dialled, which has another nonce by now.
        let answered =
            Responder::new(manager(seals), [3; 32], &old[0], |_, _| Some(key(7)), &mut out);
        let (responder, _) = answered.unwrap();
        assert_eq!(responder.handle_proof(&old[2]).unwrap_err(), ExchangeError::Unproven);
        // To the side that dials.
        let (initiator, _) = Initiator::new(worker(seals), &key(7), [3; 32], &mut out);
        let error = initiator.handle_challenge(&old[1], &mut out).unwrap_err();
        assert_eq!(error, ExchangeError::Unproven);
    }
}

#[test]
fn what_a_side_said_itself_is_no_answer_to_it() {
    for &seals in modes() {
        let messages = recorded(seals);
        let mut out = [0; EXCHANGE_BYTES_MAX];
        let (initiator, open) = Initiator::new(worker(seals), &key(7), NONCES[0], &mut out);
        let open = open.to_vec();
        let error = initiator.handle_challenge(&open, &mut out).unwrap_err();
        assert_eq!(error, ExchangeError::OutOfTurn);
        // Sent to another door of the same side, which has the same key.
        let error = Responder::new(worker(seals), NONCES[1], &open, |_, _| Some(key(7)), &mut out)
            .unwrap_err();
        assert_eq!(error, ExchangeError::WrongRole);
        // Its own proof, as the other side's.
        let find = |_: &str, _| Some(key(7));
        let (responder, challenge) =
            Responder::new(manager(seals), NONCES[1], &messages[0], find, &mut out).unwrap();
        let proof = &challenge[challenge.len() - PROOF_BYTES..];
        let mirrored = [&[KIND, 2], proof].concat();
        assert_eq!(responder.handle_proof(&mirrored).unwrap_err(), ExchangeError::Unproven);
    }
}

const KIND: u8 = 9;

#[test]
fn another_key_under_the_same_name_is_refused_by_both_sides() {
    let mut out = [0; EXCHANGE_BYTES_MAX];
    let (initiator, open) = Initiator::new(worker(false), &key(8), NONCES[0], &mut out);
    let find = |_: &str, id| (id == key(7).id()).then(|| key(7));
    let mut theirs = [0; EXCHANGE_BYTES_MAX];
    let error = Responder::new(manager(false), NONCES[1], open, find, &mut theirs).unwrap_err();
    assert_eq!(error, ExchangeError::UnknownKey);
    // A side that answers without the key, whatever it says that it knows.
    let find = |_: &str, _| Some(key(7));
    let (_, challenge) =
        Responder::new(manager(false), NONCES[1], open, find, &mut theirs).unwrap();
    let error = initiator.handle_challenge(challenge, &mut out).unwrap_err();
    assert_eq!(error, ExchangeError::Unproven);
}

#[test]
fn two_keys_of_a_member_are_valid_at_once_and_the_one_it_has_is_found() {
    for mine in [key(1), key(2)] {
        let mut out = [0; EXCHANGE_BYTES_MAX];
        let (initiator, open) = Initiator::new(worker(false), &mine, NONCES[0], &mut out);
        let find = |_: &str, id| [key(1), key(2)].into_iter().find(|key| key.id() == id);
        let mut theirs = [0; EXCHANGE_BYTES_MAX];
        let (responder, challenge) =
            Responder::new(manager(false), NONCES[1], open, find, &mut theirs).unwrap();
        let (_, proof) = initiator.handle_challenge(challenge, &mut out).unwrap();
        assert!(responder.handle_proof(proof).is_ok());
    }
}

#[test]
fn other_versions_and_other_roles_are_named_as_such_before_any_key_is_looked_for() {
    let cases: [(usize, u8, ExchangeError); 4] = [
        (2, 0, ExchangeError::WrongVersion { exchange: 0, messages: VERSION }),
        (3, 1, ExchangeError::WrongVersion { exchange: KEYED_VERSION, messages: 1 }),
        (4, 0, ExchangeError::WrongRole),
        (5, 1, ExchangeError::Sealed),
    ];
    for (at, value, error) in cases {
        let mut open = recorded(false).remove(0);
        open[at] = value;
        let find = |_: &str, _| panic!("no key is of use here");
        let mut out = [0; EXCHANGE_BYTES_MAX];
        let answered = Responder::new(manager(false), NONCES[1], &open, find, &mut out);
        assert_eq!(answered.unwrap_err(), error);
    }
    // However little else of it a later version has left.
    let mut out = [0; EXCHANGE_BYTES_MAX];
    let answered =
        Responder::new(manager(false), NONCES[1], &[KIND, 0, 9, 9], |_, _| None, &mut out);
    let error = ExchangeError::WrongVersion { exchange: 9, messages: 9 };
    assert_eq!(answered.unwrap_err(), error);
    assert_eq!(error.code(), Code::WrongVersion);
}

#[cfg(feature = "sealed")]
#[test]
fn nobody_on_the_way_can_talk_two_sides_out_of_encryption() {
    for (theirs, error) in [(true, ExchangeError::Sealed), (false, ExchangeError::NotSealed)] {
        let mut out = [0; EXCHANGE_BYTES_MAX];
        let (_, open) = Initiator::new(worker(theirs), &key(7), NONCES[0], &mut out);
        let mut answer = [0; EXCHANGE_BYTES_MAX];
        let find = |_: &str, _| Some(key(7));
        let answered = Responder::new(manager(!theirs), NONCES[1], open, find, &mut answer);
        assert_eq!(answered.unwrap_err(), error);
    }
    // One that says to each side what that side wants to hear.
    let (near, far) = exchange(true, &mut |step, message| {
        if step < 2 {
            message[5] ^= 1;
        }
    });
    assert!(near.is_err() && !matches!(far, Some(Ok(_))));
}

#[test]
fn a_side_without_a_key_is_told_apart_from_noise() {
    let mut head = [0; HEAD_BYTES_MAX];
    let hello = Message::hello(Role::Worker, 1, 1, "w1").encode(&mut head).to_vec();
    let goodbye = Message::Goodbye { code: Code::Busy, text: "full" };
    let goodbye = goodbye.encode(&mut head).to_vec();
    for (message, error) in [
        (hello, ExchangeError::Plain),
        (goodbye, ExchangeError::Refused),
        (b"GET / HTTP/1.1\r\n".to_vec(), ExchangeError::Malformed),
    ] {
        let mut out = [0; EXCHANGE_BYTES_MAX];
        let find = |_: &str, _| Some(key(7));
        let answered = Responder::new(manager(false), NONCES[1], &message, find, &mut out);
        assert_eq!(answered.unwrap_err(), error);
        let (initiator, _) = Initiator::new(worker(false), &key(7), NONCES[0], &mut out);
        assert_eq!(initiator.handle_challenge(&message, &mut out).unwrap_err(), error);
    }
    // And the other way round: it says so to whoever has none.
    let open = &recorded(false)[0];
    let error = Message::decode(open).unwrap_err();
    assert_eq!(error, MessageError::UnknownKind(KIND));
    assert!(format!("{error}").contains("take the key from the peer"), "{error}");
}

#[test]
fn a_nonce_that_a_board_uses_again_does_not_make_the_keys_of_a_link_the_same() {
    let mut first = vec![];
    for other in [[1; NONCE_BYTES], [2; NONCE_BYTES]] {
        let (mut ours, mut theirs) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
        let (initiator, open) = Initiator::new(manager(false), &key(7), other, &mut ours);
        let find = |_: &str, _| Some(key(7));
        let board = Responder::new(worker(false), [0; 32], open, find, &mut theirs);
        let (responder, challenge) = board.unwrap();
        let (_, proof) = initiator.handle_challenge(challenge, &mut ours).unwrap();
        let mut channel = responder.handle_proof(proof).unwrap();
        first.push(sent(&mut channel, b"hello"));
    }
    assert_ne!(first[0], first[1]);
}

#[test]
fn without_encryption_the_first_message_each_way_is_the_peers_to_the_last_bit() {
    let (mut near, _) = channels(false);
    let hello = sent(&mut near, b"hello: window 8, token 17");
    assert_eq!(hello.len(), 25 + PROOF_BYTES);
    for bit in 0..8 * hello.len() {
        let mut changed = hello.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (_, mut far) = channels(false);
        assert_eq!(opened(&mut far, &changed), Err(ChannelError::Forged), "bit {bit}");
    }
    for length in 0..hello.len() {
        let (_, mut far) = channels(false);
        assert_eq!(opened(&mut far, &hello[..length]), Err(ChannelError::Forged), "{length}");
    }
    // It is not this side's own either.
    assert_eq!(opened(&mut near, &hello), Err(ChannelError::Forged));
    // The later ones are as they are.
    assert_eq!((near.added_bytes(), near.removed_bytes()), (0, PROOF_BYTES));
    assert_eq!(sent(&mut near, b"later"), b"later");
}

#[test]
fn a_buffer_without_room_is_left_as_it_is_and_takes_no_number() {
    for &seals in modes() {
        let (mut near, mut far) = channels(seals);
        let mut short = [b'x'; 8];
        for length in [8, 7, 9, usize::MAX] {
            assert_eq!(near.protect(&mut short, length), Err(ChannelError::NoRoom));
        }
        assert_eq!(short, [b'x'; 8]);
        let first = sent(&mut near, b"first");
        assert_eq!(opened(&mut far, &first).unwrap(), b"first");
    }
}

#[cfg(feature = "sealed")]
mod sealed {
    use super::*;

    #[test]
    fn nothing_of_a_message_is_readable_and_equal_ones_differ() {
        let (mut near, mut far) = channels(true);
        let (one, two) = (sent(&mut near, b"attack"), sent(&mut near, b"attack"));
        assert_eq!(one.len(), 6 + SEAL_BYTES);
        assert_ne!(one[..6], two[..6]);
        assert!(!one.windows(3).any(|part| b"attack".windows(3).any(|text| text == part)));
        let back = sent(&mut far, b"attack");
        assert_ne!(one[..6], back[..6], "each direction has its key");
    }

    #[test]
    fn whatever_bit_is_changed_or_wherever_it_is_cut_a_message_is_refused() {
        let (mut near, _) = channels(true);
        let message = sent(&mut near, b"a request");
        let refused = |message: &[u8], what: String| {
            for losing in [false, true] {
                let (_, far) = channels(true);
                let mut far = if losing { far.losing() } else { far };
                assert_eq!(opened(&mut far, message), Err(ChannelError::Forged), "{what}");
            }
        };
        for bit in 0..8 * message.len() {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            refused(&changed, format!("bit {bit}"));
        }
        for length in 0..message.len() {
            refused(&message[..length], format!("{length} bytes"));
        }
    }

    #[test]
    fn a_message_that_comes_twice_late_or_from_here_is_refused() {
        for losing in [false, true] {
            let (mut near, far) = channels(true);
            let mut far = if losing { far.losing() } else { far };
            let messages: Vec<_> = (0..3).map(|n| sent(&mut near, &[n])).collect();
            assert_eq!(opened(&mut far, &messages[0]).unwrap(), [0]);
            assert_eq!(opened(&mut far, &messages[0]), Err(ChannelError::Forged), "twice");
            assert_eq!(opened(&mut far, &messages[1]).unwrap(), [1]);
            assert_eq!(opened(&mut far, &messages[0]), Err(ChannelError::Forged), "late");
            assert_eq!(opened(&mut near, &messages[2]), Err(ChannelError::Forged), "its own");
        }
    }

    #[test]
    fn a_missing_message_ends_a_link_that_loses_none_and_no_other() {
        let (mut near, mut strict) = channels(true);
        let lossy = channels(true).1;
        let mut lossy = lossy.losing();
        let messages: Vec<_> = (0..4).map(|n| sent(&mut near, &[n])).collect();
        assert_eq!(opened(&mut strict, &messages[1]), Err(ChannelError::Missing));
        assert_eq!(opened(&mut lossy, &messages[1]).unwrap(), [1]);
        assert_eq!(opened(&mut lossy, &messages[3]).unwrap(), [3]);
        assert_eq!(opened(&mut lossy, &messages[2]), Err(ChannelError::Forged));
        near.skip_to(4 + 65_535);
        let later = sent(&mut near, b"later");
        assert_eq!(opened(&mut lossy, &later).unwrap(), b"later", "65,535 are missing");
        near.skip_to(4 + 65_536 + 65_536);
        let lost = sent(&mut near, b"lost");
        assert_eq!(opened(&mut lossy, &lost), Err(ChannelError::Forged), "one too many");
    }

    #[test]
    fn a_number_is_used_once_and_the_last_one_ends_the_link() {
        let (mut near, far) = channels(true);
        let mut far = far.losing();
        near.skip_to(u64::MAX - 1);
        far.skip_to(u64::MAX - 1);
        let last = sent(&mut near, b"last");
        assert_eq!(opened(&mut far, &last).unwrap(), b"last");
        let mut buffer = [0; 64];
        assert_eq!(near.protect(&mut buffer, 1), Err(ChannelError::Exhausted));
        assert_eq!(opened(&mut far, &last), Err(ChannelError::Forged));
    }
}

#[test]
fn a_key_is_read_from_hexadecimal_digits_and_from_nothing_else() {
    let text = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    let key = SharedKey::from_hex(&format!(" {text}\r\n")).unwrap();
    let bytes: Vec<u8> = (0..32).map(|byte| (byte % 16) * 0x11).collect();
    assert_eq!(key.id(), SharedKey::new(bytes.try_into().unwrap()).id());
    for bad in
        ["", &text[1..], &format!("{text}0"), &text.replace('3', "g"), &text.replace("33", "é")]
    {
        let error = SharedKey::from_hex(bad).unwrap_err();
        assert!(bad.is_empty() || !format!("{error:?} {error}").contains(bad), "{bad}");
    }
}

#[test]
fn nothing_that_is_printed_holds_a_byte_of_a_key() {
    let key = key(0xd7);
    let (mut ours, mut theirs) = ([0; EXCHANGE_BYTES_MAX], [0; EXCHANGE_BYTES_MAX]);
    let (initiator, open) = Initiator::new(worker(false), &key, NONCES[0], &mut ours);
    let find = |_: &str, _| Some(key.clone());
    let (responder, challenge) =
        Responder::new(manager(false), NONCES[1], open, find, &mut theirs).unwrap();
    let mut last = [0; EXCHANGE_BYTES_MAX];
    let halves = format!("{key:?} {key:#?} {initiator:?} {responder:#?}");
    let (channel, _) = initiator.handle_challenge(challenge, &mut last).unwrap();
    let printed = format!("{halves} {channel:?} {channel:#?}");
    for trace in ["215", "d7", "D7", "[", "\\x"] {
        assert!(!printed.contains(trace), "{trace} in {printed}");
    }
    // Nor do the messages, of which the rest would follow.
    for message in [open, challenge] {
        assert!(!message.windows(4).any(|part| part == [0xd7; 4]));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_either_side_panic_or_believe(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        kind in proptest::option::of(0..3_u8),
    ) {
        let mut bytes = bytes;
        if let (Some(step), Some(head)) = (kind, bytes.first_chunk_mut::<6>()) {
            *head = [KIND, step, KEYED_VERSION, VERSION, 1, 0];
        }
        let mut out = [0; EXCHANGE_BYTES_MAX];
        let (initiator, _) = Initiator::new(worker(false), &key(7), NONCES[0], &mut out);
        prop_assert!(initiator.handle_challenge(&bytes, &mut out).is_err());
        let open = recorded(false).remove(0);
        let find = |_: &str, _| Some(key(7));
        let (responder, _) =
            Responder::new(manager(false), NONCES[1], &open, find, &mut out).unwrap();
        prop_assert!(responder.handle_proof(&bytes).is_err());
        let _ = Responder::new(manager(false), NONCES[1], &bytes, find, &mut out);
        for &seals in modes() {
            prop_assert!(opened(&mut channels(seals).1, &bytes).is_err());
        }
    }
}
