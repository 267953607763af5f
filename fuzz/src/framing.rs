//! What cuts a stream of bytes into messages.

use chargehand_core::prefix::{HEADER_BYTES, PrefixDecoder, TooLong};
use chargehand_core::serial::{
    Acceptor, FrameDecoder, FrameHeader, FrameKind, encode, wire_bytes_max,
};

use crate::chunks::Choices;

const FRAME_BYTES_MAX: usize = 60;

type Prefixed = (Vec<Vec<u8>>, Result<(), TooLong>);

/// Whatever the chunks, a stream has the frames that its length prefixes say, up to the first that is too
/// long; in a buffer of fixed length and in one that grows.
pub fn prefix(data: &[u8]) {
    let mut choices = Choices(data);
    let step = usize::from(choices.byte()).max(1);
    let stream = choices.0;
    let expected = by_hand(stream);
    let fixed = PrefixDecoder::new([0; FRAME_BYTES_MAX + HEADER_BYTES]);
    assert_eq!(decoded(fixed, stream, step, |_| {}), expected, "in a fixed buffer");
    for idle_bytes in [HEADER_BYTES, 16, 200] {
        let growing = PrefixDecoder::growing(idle_bytes, FRAME_BYTES_MAX);
        let got = decoded(growing, stream, step, |decoder| {
            decoder.make_room();
            assert!(decoder.buffer_bytes() <= 64 * 1024 + FRAME_BYTES_MAX, "it grows for ever");
        });
        assert_eq!(got, expected, "in a growing buffer of {idle_bytes} bytes");
    }
}

fn by_hand(mut stream: &[u8]) -> Prefixed {
    let mut frames = Vec::new();
    while let Some((header, rest)) = stream.split_first_chunk::<HEADER_BYTES>() {
        let length = u32::from_le_bytes(*header) as usize;
        if length > FRAME_BYTES_MAX {
            return (frames, Err(TooLong { length, frame_bytes_max: FRAME_BYTES_MAX }));
        }
        if rest.len() < length {
            break;
        }
        let (frame, rest) = rest.split_at(length);
        frames.push(frame.to_vec());
        stream = rest;
    }
    (frames, Ok(()))
}

fn decoded<B: AsRef<[u8]> + AsMut<[u8]>>(
    mut decoder: PrefixDecoder<B>,
    mut stream: &[u8],
    step: usize,
    mut make_room: impl FnMut(&mut PrefixDecoder<B>),
) -> Prefixed {
    let mut frames = Vec::new();
    loop {
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        if stream.is_empty() {
            return (frames, Ok(()));
        }
        make_room(&mut decoder);
        let spare = decoder.spare();
        let length = step.min(stream.len()).min(spare.len());
        assert!(length > 0, "there is nowhere to read to");
        spare[..length].copy_from_slice(&stream[..length]);
        decoder.advance(length);
        stream = &stream[length..];
    }
}

const MESSAGE_BYTES_MAX: usize = 40;
const LINE_BYTES_MAX: usize = wire_bytes_max(MESSAGE_BYTES_MAX);

/// Whatever the noise and the chunks, the same frames come out of a line, and a whole frame after the noise
/// is never missed.
pub fn serial(data: &[u8]) {
    let mut choices = Choices(data);
    let step = usize::from(choices.byte()).max(1);
    let length = usize::from(choices.byte()) % (MESSAGE_BYTES_MAX + 1);
    let header = FrameHeader {
        kind: [FrameKind::Data, FrameKind::Open, FrameKind::Close][usize::from(choices.byte()) % 3],
        link: u16::from_le_bytes([choices.byte(), choices.byte()]),
    };
    let message = choices.take(length);
    let (head, body) = message.split_at(message.len() / 2);
    let mut out = [0; LINE_BYTES_MAX];
    let frame = encode(header, head, body, &mut out).expect("it has room enough");
    let line = [choices.0, frame].concat();

    let by_chunk = heard(&line, step);
    assert_eq!(by_chunk, heard(&line, 1), "chunks make a difference");
    let expected = (header, message.to_vec());
    assert_eq!(by_chunk.last(), Some(&expected), "a whole frame was missed");
}

fn heard(line: &[u8], step: usize) -> Vec<(FrameHeader, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut decoder = FrameDecoder::new([0; LINE_BYTES_MAX]);
    let mut acceptor = Acceptor::new();
    let mut rest = line;
    loop {
        while let Some((header, message)) = decoder.next_frame() {
            assert!(message.len() <= LINE_BYTES_MAX, "longer than the buffer");
            frames.push((header, message.to_vec()));
            let _ = acceptor.hear(header);
            if header.kind == FrameKind::Close {
                let _ = acceptor.close();
            }
        }
        if rest.is_empty() {
            return frames;
        }
        let spare = decoder.spare();
        let length = step.min(rest.len()).min(spare.len());
        assert!(length > 0, "there is nowhere to read to");
        spare[..length].copy_from_slice(&rest[..length]);
        decoder.advance(length);
        rest = &rest[length..];
    }
}
