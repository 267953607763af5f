use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const MAX: usize = 40;

fn encoded(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        stream.extend(encode_header(frame.len(), MAX).unwrap());
        stream.extend(frame);
    }
    stream
}

/// Feeds the stream in chunks of the given lengths (cyclic), taking all frames between.
fn decoded<B: AsRef<[u8]> + AsMut<[u8]>>(
    decoder: &mut PrefixDecoder<B>,
    stream: &[u8],
    chunks: &[usize],
    mut make_room: impl FnMut(&mut PrefixDecoder<B>),
) -> Result<Vec<Vec<u8>>, TooLong> {
    let mut frames = Vec::new();
    let mut rest = stream;
    for chunk in chunks.iter().cycle() {
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame.to_vec());
        }
        assert!(!decoder.has_frame()?);
        if rest.is_empty() {
            break;
        }
        make_room(decoder);
        let spare = decoder.spare();
        assert!(!spare.is_empty(), "no room to read to, although no frame is left to take");
        let bytes = spare.len().min(rest.len()).min(*chunk);
        spare[..bytes].copy_from_slice(&rest[..bytes]);
        decoder.advance(bytes);
        rest = &rest[bytes..];
    }
    Ok(frames)
}

#[test]
fn a_frame_above_the_limit_is_refused_from_its_header_alone() {
    let mut decoder = PrefixDecoder::new([0; 20]);
    decoder.spare()[..4].copy_from_slice(&17u32.to_le_bytes());
    decoder.advance(3);
    assert_eq!(decoder.next_frame(), Ok(None));
    decoder.advance(1);
    let refused = TooLong { length: 17, frame_bytes_max: 16 };
    assert_eq!(decoder.has_frame(), Err(refused));
    assert_eq!(decoder.next_frame(), Err(refused));
    assert_eq!(decoder.next_frame(), Err(refused), "the error stays");
    assert!(!decoder.spare().is_empty());
    let text = refused.to_string();
    assert!(text.contains("17 bytes"), "{text}");
    assert!(text.contains("limit of 16"), "{text}");
}

#[test]
fn a_sender_learns_the_limit_before_it_sends() {
    assert_eq!(encode_header(258, 258), Ok([2, 1, 0, 0]));
    assert_eq!(encode_header(9, 8), Err(TooLong { length: 9, frame_bytes_max: 8 }));
    if let Ok(length) = usize::try_from(u64::from(u32::MAX) + 1) {
        assert!(encode_header(length, usize::MAX).is_err());
    }
}

#[test]
fn the_largest_frame_fits_and_an_empty_one_is_a_frame() {
    let frames = vec![vec![7; 16], vec![], vec![8; 16], vec![]];
    let mut decoder = PrefixDecoder::new([0; 20]);
    let got = decoded(&mut decoder, &encoded(&frames), &[usize::MAX], |_| ());
    assert_eq!(got, Ok(frames));
    assert!(!decoder.is_partial());
}

#[test]
fn a_peer_that_stops_inside_a_frame_is_seen() {
    let stream = encoded(&[vec![1; 10]]);
    for cut in 0..=stream.len() {
        let mut decoder = PrefixDecoder::new([0; 20]);
        decoded(&mut decoder, &stream[..cut], &[3], |_| ()).unwrap();
        assert_eq!(decoder.is_partial(), cut != 0 && cut != stream.len());
    }
}

#[test]
fn frames_that_share_the_buffer_are_not_moved() {
    let mut decoder = PrefixDecoder::new([0; 64]);
    let stream = encoded(&[vec![1; 4], vec![2; 4], vec![3; 4]]);
    decoder.spare()[..stream.len()].copy_from_slice(&stream);
    decoder.advance(stream.len());
    let mut places = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        places.push(frame.as_ptr() as usize);
    }
    assert_eq!(places, [places[0], places[0] + 8, places[0] + 16]);
}

#[test]
#[should_panic(expected = "more bytes were received than there was room for")]
fn a_caller_that_lies_about_what_it_read_is_stopped() {
    PrefixDecoder::new([0; 8]).advance(9);
}

#[test]
#[cfg(feature = "alloc")]
fn an_announced_length_alone_costs_no_memory() {
    let mut decoder = PrefixDecoder::growing(16, 1 << 20);
    let mut stream = (1u32 << 20).to_le_bytes().to_vec();
    stream.resize(100_004, 9);
    for (sent, byte) in stream.iter().enumerate() {
        decoder.make_room();
        decoder.spare()[0] = *byte;
        decoder.advance(1);
        assert!(decoder.buffer_bytes() <= 16.max(2 * sent));
    }
    assert!(decoder.buffer_bytes() > 100_000);
    decoder.shrink();
    assert!(decoder.buffer_bytes() > 100_000, "a part of a frame must not be lost");
}

#[test]
#[cfg(feature = "alloc")]
fn a_limit_that_is_raised_holds_for_what_is_held_and_one_that_is_lowered_too() {
    let frames = vec![vec![1; 10], vec![2; 30], vec![3; 200]];
    let mut stream = Vec::new();
    for frame in &frames {
        stream.extend(encode_header(frame.len(), 200).unwrap());
        stream.extend(frame);
    }
    let mut rest = &stream[..];
    let mut decoder = PrefixDecoder::growing(64, 10);
    assert_eq!(decoder.buffer_bytes(), 14);
    let mut read = |decoder: &mut PrefixDecoder<Vec<u8>>| {
        decoder.make_room();
        let spare = decoder.spare();
        let bytes = spare.len().min(rest.len());
        spare[..bytes].copy_from_slice(&rest[..bytes]);
        decoder.advance(bytes);
        rest = &rest[bytes..];
    };
    read(&mut decoder);
    assert_eq!(decoder.next_frame(), Ok(Some(&frames[0][..])));
    read(&mut decoder);
    assert_eq!(decoder.next_frame(), Err(TooLong { length: 30, frame_bytes_max: 10 }));
    // No room for it, and none to be had.
    decoder.make_room();
    assert!(decoder.buffer_bytes() <= 14);
    decoder.limit_frames(30);
    for frame in &frames[1..] {
        let mut reads = 0;
        while !decoder.has_frame().unwrap() {
            read(&mut decoder);
            reads += 1;
            assert!(reads < 20, "it never comes");
            decoder.limit_frames(frame.len());
        }
        assert_eq!(decoder.next_frame(), Ok(Some(&frame[..])));
        decoder.limit_frames(usize::MAX);
    }
}

#[test]
#[cfg(feature = "alloc")]
fn a_grown_buffer_stops_at_the_limit_and_shrinks_when_quiet() {
    let mut decoder = PrefixDecoder::growing(0, MAX);
    assert_eq!(decoder.buffer_bytes(), 4);
    let frames = vec![vec![5; MAX]; 100];
    let stream = encoded(&frames);
    let got = decoded(&mut decoder, &stream, &[usize::MAX], PrefixDecoder::make_room);
    assert_eq!(got, Ok(frames));
    assert_eq!(decoder.buffer_bytes(), MAX + 4);
    decoder.shrink();
    assert_eq!(decoder.buffer_bytes(), 4);
    assert_eq!(decoder.into_inner().capacity(), 4);
}

fn any_frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=MAX), 0..30)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_frames_that_were_sent(
        frames in any_frames(),
        chunks in prop::collection::vec(1..100usize, 1..20),
        buffer_bytes in MAX + 4..4 * MAX,
    ) {
        let stream = encoded(&frames);
        let mut buffer = vec![0; buffer_bytes];
        let mut fixed = PrefixDecoder::new(&mut buffer[..]);
        prop_assert_eq!(decoded(&mut fixed, &stream, &chunks, |_| ()), Ok(frames.clone()));
        prop_assert!(!fixed.is_partial());
    }

    #[test]
    #[cfg(feature = "alloc")]
    fn any_chunking_gives_the_same_through_a_growing_buffer(
        frames in any_frames(),
        chunks in prop::collection::vec(1..100usize, 1..20),
        idle_bytes in 0..2 * MAX,
    ) {
        let mut growing = PrefixDecoder::growing(idle_bytes, MAX);
        let got = decoded(&mut growing, &encoded(&frames), &chunks, |decoder| {
            decoder.shrink();
            decoder.make_room();
        });
        prop_assert_eq!(got, Ok(frames));
        prop_assert!(growing.buffer_bytes() <= MAX + 4);
    }

    #[test]
    fn any_order_of_calls_on_any_bytes_is_safe(
        steps in prop::collection::vec((0..3u8, prop::collection::vec(0..3u8, 0..30)), 0..100),
    ) {
        let mut decoder = PrefixDecoder::new([0; MAX + 4]);
        for (step, bytes) in steps {
            match step {
                0 => {
                    let _ = decoder.next_frame();
                }
                1 => {
                    let _ = decoder.has_frame();
                }
                _ => {
                    let spare = decoder.spare();
                    let count = spare.len().min(bytes.len());
                    spare[..count].copy_from_slice(&bytes[..count]);
                    decoder.advance(count);
                }
            }
        }
        prop_assert!(decoder.end <= MAX + 4);
        prop_assert!(decoder.start <= decoder.end);
    }

    #[test]
    fn random_bytes_give_frames_within_the_limit_or_an_error(
        bytes in prop::collection::vec(prop_oneof![4 => 0..2u8, 1 => any::<u8>()], 0..400),
        chunks in prop::collection::vec(1..50usize, 1..10),
    ) {
        let mut decoder = PrefixDecoder::new([0; MAX + 4]);
        match decoded(&mut decoder, &bytes, &chunks, |_| ()) {
            Ok(frames) => prop_assert!(frames.iter().all(|frame| frame.len() <= MAX)),
            Err(refused) => prop_assert!(refused.length > MAX),
        }
    }
}

#[test]
fn a_frame_whose_length_was_looked_at_is_taken_with_that() {
    let mut decoder = PrefixDecoder::growing(64, MAX);
    let stream = encoded(&[b"one".to_vec(), vec![], b"three".to_vec()]);
    let whole = stream.len() - 1;
    decoder.spare()[..whole].copy_from_slice(&stream[..whole]);
    decoder.advance(whole);
    assert_eq!(decoder.frame_length(), Ok(Some(3)));
    assert_eq!(decoder.take_frame(3), b"one");
    assert_eq!(decoder.frame_length(), Ok(Some(0)));
    assert_eq!(decoder.take_frame(0), b"");
    assert_eq!(decoder.frame_length(), Ok(None), "its last byte is still to come");
    assert!(decoder.is_partial());
}

#[test]
#[should_panic(expected = "a frame is taken that is not there")]
fn a_frame_that_is_not_there_cannot_be_taken() {
    let mut decoder = PrefixDecoder::growing(64, MAX);
    decoder.spare()[..6].copy_from_slice(&[5, 0, 0, 0, b'h', b'e']);
    decoder.advance(6);
    decoder.take_frame(5);
}
