use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// The longest message in these tests: long enough for a full COBS run of 254.
const MAX: usize = 300;

const DATA: FrameHeader = FrameHeader { kind: FrameKind::Data, link: 7 };

fn encoded(header: FrameHeader, message: &[u8]) -> Vec<u8> {
    let (head, body) = message.split_at(message.len() / 3);
    let mut out = vec![0; wire_bytes_max(message.len())];
    encode(header, head, body, &mut out).unwrap().to_vec()
}

fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| encoded(DATA, message)).collect()
}

/// Feeds bytes in chunks of the given lengths (cyclic), and returns the messages found.
fn decoded<B: AsRef<[u8]> + AsMut<[u8]>>(
    decoder: &mut FrameDecoder<B>,
    mut bytes: &[u8],
    chunks: &[usize],
) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for chunk in chunks.iter().cycle() {
        while let Some((header, message)) = decoder.next_frame() {
            assert_eq!(header, DATA);
            messages.push(message.to_vec());
        }
        if bytes.is_empty() {
            break;
        }
        let spare = decoder.spare();
        assert!(!spare.is_empty(), "no room to read to, although no frame is left to take");
        let count = spare.len().min(bytes.len()).min(*chunk);
        spare[..count].copy_from_slice(&bytes[..count]);
        decoder.advance(count);
        bytes = &bytes[count..];
    }
    messages
}

fn decoder() -> FrameDecoder<[u8; wire_bytes_max(MAX)]> {
    FrameDecoder::new([0; wire_bytes_max(MAX)])
}

#[test]
fn the_bytes_of_a_frame_are_as_documented() {
    let bytes = encoded(FrameHeader { kind: FrameKind::Open, link: 0x0102 }, b"hi");
    // The check value is independent of the crate that computes it: bitwise CRC-32C.
    let content = [1, 2, 1, b'h', b'i'];
    let sum = content.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    });
    let mut expected = vec![0, 10, 1, 2, 1, b'h', b'i'];
    expected.extend((!sum).to_le_bytes());
    expected.push(0);
    assert!(!(!sum).to_le_bytes().contains(&0), "so that COBS has one run");
    assert_eq!(bytes, expected);
}

#[test]
fn a_buffer_too_short_by_one_byte_takes_nothing() {
    for length in [0, 1, 246, 247, 248, 300] {
        let message = vec![9; length];
        let exact = encoded(DATA, &message).len();
        assert!(exact <= wire_bytes_max(length));
        for room in 0..exact {
            assert_eq!(encode(DATA, &message, &[], &mut vec![0; room]), Err(BufferTooShort));
        }
        assert!(encode(DATA, &message, &[], &mut vec![0; exact]).is_ok());
    }
}

#[test]
fn damage_in_one_place_costs_the_frame_that_it_touches_and_no_other() {
    let messages: Vec<_> = (1..=5_u8).map(|number| vec![number; 20]).collect();
    let bytes = stream(&messages);
    let frame = bytes.len() / 5;
    for at in 2 * frame..3 * frame {
        for value in 0..=u8::MAX {
            let mut bytes = bytes.clone();
            if bytes[at] == value {
                continue;
            }
            bytes[at] = value;
            let got = decoded(&mut decoder(), &bytes, &[7]);
            let at_an_end = at == 2 * frame || at == 3 * frame - 1;
            let others = [&messages[..2], &messages[3..]].concat();
            if got != others {
                assert!(at_an_end, "byte {at} as {value}: {got:?}");
                assert_eq!(got, messages, "an opening zero that is noise now joins no frame");
            }
        }
    }
}

#[test]
fn noise_between_frames_costs_none() {
    let messages = vec![vec![1; 5], vec![2; 5]];
    let bytes = stream(&messages[..1]);
    for noise in [&b"noise"[..], &[0], &[0, 0, 0], &[5, 0], &[0, 5], &[255; 1000], &[1]] {
        let line = [&bytes, noise, &stream(&messages[1..])].concat();
        assert_eq!(decoded(&mut decoder(), &line, &[3]), messages);
    }
}

#[test]
fn a_frame_longer_than_the_buffer_is_dropped_and_the_next_one_found() {
    let mut small = FrameDecoder::new([0; wire_bytes_max(10)]);
    let messages = [vec![3; 10], vec![4; 500], vec![5; 10], vec![6; 40], vec![]];
    let got = decoded(&mut small, &stream(&messages), &[usize::MAX]);
    assert_eq!(got, [vec![3; 10], vec![5; 10], vec![]]);
    assert_eq!(small.damaged(), 2);

    // Nor is its end a frame, whatever it looks like.
    let mut line = vec![7; wire_bytes_max(10)];
    line.extend(&encoded(DATA, b"inner")[1..]);
    line.extend(encoded(DATA, b"next"));
    assert_eq!(decoded(&mut small, &line, &[usize::MAX]), [b"next"]);
    assert_eq!(small.damaged(), 3);
}

#[test]
fn a_frame_with_a_good_sum_and_a_bad_kind_is_dropped() {
    let content = [3, 0, 1];
    let mut frame = content.to_vec();
    frame.extend(CRC.checksum(&content).to_le_bytes());
    let mut out = [0; 20];
    let length = cobs::encode(&frame, &mut out[1..]);
    let mut decoder = decoder();
    assert!(decoded(&mut decoder, &out[..length + 2], &[100]).is_empty());
    assert_eq!(decoder.damaged(), 1);
}

#[test]
#[should_panic(expected = "more bytes were received than there was room for")]
fn a_caller_that_lies_about_what_it_read_is_stopped() {
    FrameDecoder::new([0; 20]).advance(21);
}

#[test]
fn the_newest_open_is_the_link() {
    let header = |kind, link| FrameHeader { kind, link };
    let mut end = Acceptor::new();
    let refused = FrameMeaning::Refuse(header(FrameKind::Close, 4));
    assert_eq!(end.hear(header(FrameKind::Data, 4)), refused);
    assert_eq!(end.hear(header(FrameKind::Open, ANY_LINK)), FrameMeaning::Nothing);
    assert_eq!(end.hear(header(FrameKind::Open, 4)), FrameMeaning::Opened);
    assert_eq!(end.hear(header(FrameKind::Data, 4)), FrameMeaning::Message);
    assert_eq!(end.hear(header(FrameKind::Open, 5)), FrameMeaning::Opened);
    assert_eq!(end.hear(header(FrameKind::Data, 4)), refused, "late");
    assert_eq!(end.hear(header(FrameKind::Close, 4)), FrameMeaning::Nothing, "late");
    assert_eq!(end.link(), Some(5));
    assert_eq!(end.hear(header(FrameKind::Close, 5)), FrameMeaning::Closed);
    assert_eq!(
        end.hear(header(FrameKind::Data, 5)),
        FrameMeaning::Refuse(header(FrameKind::Close, 5))
    );
    assert_eq!(end.hear(FrameHeader::STARTED), FrameMeaning::Nothing, "never an answer to a Close");
    assert_eq!(end.close(), None);

    assert_eq!(end.hear(header(FrameKind::Open, 6)), FrameMeaning::Opened);
    assert_eq!(end.hear(FrameHeader::STARTED), FrameMeaning::Closed);
    assert_eq!(end.hear(header(FrameKind::Open, 7)), FrameMeaning::Opened);
    assert_eq!(end.close(), Some(header(FrameKind::Close, 7)));
    assert_eq!(end.link(), None);
}

fn any_messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // Many zeros, many bytes that are none, and lengths around a COBS run.
    let byte = prop_oneof![1 => Just(0_u8), 3 => any::<u8>()];
    let full = 1..=u8::MAX;
    prop::collection::vec(
        prop_oneof![
            4 => prop::collection::vec(byte, 0..40),
            1 => prop::collection::vec(full, 240..=MAX),
        ],
        1..12,
    )
}

/// What a line does to a stream.
#[derive(Clone, Debug)]
enum Damage {
    Change { at: prop::sample::Index, with: u8 },
    Lose { at: prop::sample::Index, bytes: usize },
    Add { at: prop::sample::Index, bytes: Vec<u8> },
    Repeat { at: prop::sample::Index, bytes: usize },
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let noise = prop::collection::vec(prop_oneof![1 => Just(0_u8), 3 => any::<u8>()], 1..30);
    prop_oneof![
        3 => (at(), 1..=u8::MAX).prop_map(|(at, with)| Damage::Change { at, with }),
        1 => (at(), 1..50usize).prop_map(|(at, bytes)| Damage::Lose { at, bytes }),
        1 => (at(), noise).prop_map(|(at, bytes)| Damage::Add { at, bytes }),
        1 => (at(), 1..50usize).prop_map(|(at, bytes)| Damage::Repeat { at, bytes }),
    ]
}

fn damage(line: &mut Vec<u8>, how: &Damage) {
    if line.is_empty() {
        return;
    }
    match how {
        Damage::Change { at, with } => {
            let at = at.index(line.len());
            line[at] ^= with;
        }
        Damage::Lose { at, bytes } => {
            let at = at.index(line.len());
            line.drain(at..(at + bytes).min(line.len()));
        }
        Damage::Add { at, bytes } => {
            let at = at.index(line.len());
            line.splice(at..at, bytes.iter().copied());
        }
        Damage::Repeat { at, bytes } => {
            let at = at.index(line.len());
            let again = line[at..(at + bytes).min(line.len())].to_vec();
            line.splice(at..at, again);
        }
    }
}

/// Whether `some` is `all` with elements left out.
fn is_subsequence(some: &[Vec<u8>], all: &[Vec<u8>]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|one| rest.any(|other| other == one))
}

proptest! {
    #[test]
    fn any_chunking_gives_the_messages_that_were_sent(
        messages in any_messages(),
        chunks in prop::collection::vec(1..400usize, 1..20),
        extra in 0..500usize,
    ) {
        let mut buffer = vec![0; wire_bytes_max(MAX) + extra];
        let mut decoder = FrameDecoder::new(&mut buffer[..]);
        prop_assert_eq!(decoded(&mut decoder, &stream(&messages), &chunks), messages);
        prop_assert_eq!(decoder.damaged(), 0);
    }

    #[test]
    fn damage_loses_frames_at_most_and_the_next_good_one_gets_through(
        messages in any_messages(),
        chunks in prop::collection::vec(1..400usize, 1..20),
        damages in prop::collection::vec(any_damage(), 1..6),
        last in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        // Numbered, so that one that came twice is seen to.
        let messages: Vec<_> = (0..).zip(messages).map(|(number, mut message)| {
            message.truncate(MAX - 1);
            message.push(number);
            message
        }).collect();
        let mut line = stream(&messages);
        let repeats = damages.iter().any(|how| matches!(how, Damage::Repeat { .. }));
        for how in &damages {
            damage(&mut line, how);
        }
        line.extend(encoded(DATA, &last));
        let mut got = decoded(&mut decoder(), &line, &chunks);
        prop_assert_eq!(got.pop(), Some(last), "the frame after the damage");
        for message in &got {
            prop_assert!(messages.contains(message), "a wrong one: {message:?}");
        }
        // A line that says whole frames twice is beyond what a frame can tell.
        prop_assert!(repeats || is_subsequence(&got, &messages), "{got:?} of {messages:?}");
    }

    #[test]
    fn any_order_of_calls_on_any_bytes_is_safe(
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0..4u8, 0..30)), 0..200),
    ) {
        let mut decoder = FrameDecoder::new([0; wire_bytes_max(8)]);
        for (take, bytes) in steps {
            if take {
                let _ = decoder.next_frame();
                continue;
            }
            let spare = decoder.spare();
            let count = spare.len().min(bytes.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            decoder.advance(count);
        }
        while decoder.next_frame().is_some() {}
        prop_assert!(!decoder.spare().is_empty());
        prop_assert!(decoder.start <= decoder.scanned);
        prop_assert!(decoder.scanned <= decoder.end);
    }

    #[test]
    fn random_bytes_are_no_frame(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(decoded(&mut decoder(), &bytes, &[64]).is_empty());
    }
}

/// The polynomial of CRC-32C without its highest term, the highest of the others first.
const POLYNOMIAL: u32 = 0x1edc_6f41;
/// Contents in which each change of up to 5 bits is found, with the CRC itself, as documented.
const FIVE_BITS_CONTENT_BYTES_MAX: usize = 659;

/// Multiplies by x, modulo the polynomial.
fn times_x(remainder: u32) -> u32 {
    (remainder << 1) ^ if remainder >> 31 == 1 { POLYNOMIAL } else { 0 }
}

fn times(left: u32, right: u32) -> u32 {
    (0..32)
        .rev()
        .fold(0, |product, bit| times_x(product) ^ if right >> bit & 1 == 1 { left } else { 0 })
}

/// Whether some change of four bits in so many is a multiple of the polynomial.
///
/// A change goes on being one wherever it is moved to, so one of the bits may be the lowest.
fn four_bits_go_unseen(bits: usize) -> bool {
    let powers: Vec<u32> =
        core::iter::successors(Some(1), |&power| Some(times_x(power))).take(bits).collect();
    // By the middle bits, which are as good as random: most sums are in no bucket.
    let mut buckets = vec![Vec::new(); 1 << 20];
    for (place, &power) in powers.iter().enumerate().skip(1) {
        buckets[power as usize >> 6 & 0xf_ffff].push((power, place));
    }
    (1..bits).any(|first| {
        (1..first).any(|second| {
            let sum = powers[first] ^ powers[second] ^ powers[0];
            let same = |&(power, place)| power == sum && place != first && place != second;
            buckets[sum as usize >> 6 & 0xf_ffff].iter().any(same)
        })
    })
}

#[test]
fn the_crc_finds_the_changes_that_the_documentation_says() {
    assert_eq!(CRC_32_ISCSI.poly, POLYNOMIAL);
    // An even number of terms: it is a multiple of x + 1, as no change of an odd number of bits is.
    assert_eq!((POLYNOMIAL.count_ones() + 1) % 2, 0);
    // It has the term 1, and so no multiple that is shorter than itself: bursts of 32 bits.
    assert_eq!(POLYNOMIAL & 1, 1);
    // x has the order 2^31 - 1, which is prime: no change of two bits below that is a multiple.
    let mut order = (1, 2);
    for _ in 0..31 {
        order = (times(order.0, order.1), times(order.1, order.1));
    }
    assert_eq!(order.0, 1);
    assert!(!four_bits_go_unseen(8 * FIVE_BITS_CONTENT_BYTES_MAX));
    assert!(four_bits_go_unseen(8 * FIVE_BITS_CONTENT_BYTES_MAX + 8), "the limit is above that");
}
