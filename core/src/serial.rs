//! Frames for a line that can lose, add and change bytes, such as a UART: COBS with a CRC.
//!
//! A frame on the line is `00`, the COBS encoding of its content, `00`. The encoding has no zero
//! byte, so whatever noise came before, the next zero begins afresh: damage costs the frames that
//! it touches and no other. The content is
//!
//! | bytes | what |
//! |---|---|
//! | 1 | [`FrameKind`]: 0 data, 1 open, 2 close |
//! | 2 | number of the link, little-endian |
//! | 0.. | the message |
//! | 4 | CRC-32C of all before it, little-endian |
//!
//! # What the CRC finds
//!
//! CRC-32C (Castagnoli; `CRC-32/ISCSI` in the `RevEng` catalogue) finds every change of up to 5 bits
//! in contents of up to 659 bytes, its own four among them, which is messages of up to 652 bytes;
//! every change of up to 3 bits, and of any odd number of bits, in contents below 256 MiB; and
//! every change that lies within 32 bits in a row. The tests compute these limits from the
//! polynomial. Of all other changes it misses about one in 2^32.
//!
//! That holds for changed content. A change of one of COBS's own code bytes, or to or from a zero,
//! shifts what follows, which is a change of many bits; so are bytes lost or added. Of the frames
//! damaged like that, about one in 2^32 goes unseen. There is no other protection: see that the
//! line damages few.
//!
//! # Links
//!
//! A line has no connections, so frames carry the number of a link. One end *opens*: its first
//! frame is an [`Open`](FrameKind::Open) with a number that it did not use just before, and holds its
//! first message. The other end takes the newest Open as the start of a new link ([`Acceptor`]).
//! Frames of another number are late ones and are dropped. [`Close`](FrameKind::Close) ends a link;
//! with the number [`ANY_LINK`] it says that the sender has just started and knows of none.
//!
//! ```
//! use chargehand_core::serial::{FrameDecoder, FrameHeader, FrameKind, encode, wire_bytes_max};
//!
//! let header = FrameHeader { kind: FrameKind::Data, link: 7 };
//! let mut out = [0; wire_bytes_max(5)];
//! let mut line = b"noise".to_vec();
//! line.extend_from_slice(encode(header, b"he", b"llo", &mut out)?);
//!
//! let mut decoder = FrameDecoder::new([0; wire_bytes_max(5)]);
//! for chunk in line.chunks(2) {
//!     assert_eq!(decoder.next_frame(), None);
//!     decoder.spare()[..chunk.len()].copy_from_slice(chunk);
//!     decoder.advance(chunk.len());
//! }
//! assert_eq!(decoder.next_frame(), Some((header, &b"hello"[..])));
//! assert_eq!(decoder.damaged(), 1); // the noise
//! # Ok::<(), chargehand_core::serial::BufferTooShort>(())
//! ```

use core::fmt;

use cobs::CobsEncoder;
use crc::{CRC_32_ISCSI, Crc, NoTable};

/// The link number that no link has.
pub const ANY_LINK: u16 = 0;

const HEADER_BYTES: usize = 3;
const CRC_BYTES: usize = 4;
const DELIMITER: u8 = 0;

/// Without a table: at the speed of a serial line a few dozen cycles a byte do not matter, and a
/// kilobyte of flash does.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);

/// Returns how many bytes a frame with a message of `message_bytes` takes on the line at most.
///
/// A buffer of that length, for [`encode`] or for a [`FrameDecoder`], holds every such frame.
pub const fn wire_bytes_max(message_bytes: usize) -> usize {
    let content = message_bytes.saturating_add(HEADER_BYTES + CRC_BYTES);
    // COBS adds one byte, and one more for each 254 (Cheshire and Baker, 1999).
    content.saturating_add(content / 254 + 3)
}

/// What a frame is to its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FrameKind {
    /// It holds a message of a link that is open.
    Data,
    /// It opens a link and holds its first message.
    Open,
    /// It ends a link.
    Close,
}

/// What stands before the message in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FrameHeader {
    /// What the frame is.
    pub kind: FrameKind,
    /// Which link it belongs to: any number but [`ANY_LINK`], chosen by whoever opened it.
    pub link: u16,
}

impl FrameHeader {
    /// What an end says when it starts: whatever link the other end thinks there is, is over.
    pub const STARTED: Self = Self { kind: FrameKind::Close, link: ANY_LINK };

    const fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let kind = match self.kind {
            FrameKind::Data => 0,
            FrameKind::Open => 1,
            FrameKind::Close => 2,
        };
        let [low, high] = self.link.to_le_bytes();
        [kind, low, high]
    }

    const fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let [kind, low, high] = bytes;
        let kind = match kind {
            0 => FrameKind::Data,
            1 => FrameKind::Open,
            2 => FrameKind::Close,
            _ => return None,
        };
        Some(Self { kind, link: u16::from_le_bytes([low, high]) })
    }
}

/// Writes a frame whose message is `head` followed by `body` into `out`, and returns what to send.
/// Takes time by the length of the message, and no other memory.
///
/// # Errors
/// Returns [`BufferTooShort`] where `out` is too short. Send nothing of it; [`wire_bytes_max`] says what is
/// enough.
pub fn encode<'o>(
    header: FrameHeader,
    head: &[u8],
    body: &[u8],
    out: &'o mut [u8],
) -> Result<&'o [u8], BufferTooShort> {
    let [opening, rest @ ..] = &mut *out else { return Err(BufferTooShort) };
    *opening = DELIMITER;
    let header = header.to_bytes();
    let mut digest = CRC.digest();
    let mut encoder = CobsEncoder::new(rest);
    for part in [&header, head, body] {
        digest.update(part);
        encoder.push(part).map_err(|_| BufferTooShort)?;
    }
    encoder.push(&digest.finalize().to_le_bytes()).map_err(|_| BufferTooShort)?;
    let end = 1 + encoder.finalize();
    *out.get_mut(end).ok_or(BufferTooShort)? = DELIMITER;
    Ok(&out[..=end])
}

/// The buffer for a frame is too short: see [`wire_bytes_max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BufferTooShort;

impl fmt::Display for BufferTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the buffer for the frame is too short: wire_bytes_max says what is enough")
    }
}

impl core::error::Error for BufferTooShort {}

/// Finds the frames in what comes over a line, inside one buffer, which is lent (`&mut [u8]`), an
/// array, or a box.
///
/// There are no errors: what is no frame is dropped and counted, and the next frame is found.
/// Frames longer than the buffer are dropped, too. Frames are decoded in place and not copied.
pub struct FrameDecoder<B> {
    buffer: B,
    /// What is not given out yet lies in `start..end`, and `start..scanned` has no delimiter.
    start: usize,
    scanned: usize,
    end: usize,
    /// The beginning of the present frame is gone already.
    skipping: bool,
    damaged: u32,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> FrameDecoder<B> {
    /// Makes a decoder for frames of which `buffer` holds one, by [`wire_bytes_max`].
    ///
    /// # Panics
    /// Where the buffer does not even hold an empty message.
    pub fn new(buffer: B) -> Self {
        assert!(buffer.as_ref().len() >= wire_bytes_max(0), "a buffer that holds no frame");
        Self { buffer, start: 0, scanned: 0, end: 0, skipping: false, damaged: 0 }
    }

    /// Returns where to put the next bytes; then call [`advance`](Self::advance). Never empty once
    /// [`next_frame`](Self::next_frame) gave `None`; while frames are left to take it may be.
    pub fn spare(&mut self) -> &mut [u8] {
        let buffer = self.buffer.as_mut();
        let waiting = self.end - self.start;
        // As in `prefix`: not more bytes are moved than were given out.
        if self.start > 0 && (waiting <= self.start || self.end == buffer.len()) {
            move_down(buffer, self.start, self.end);
            self.scanned -= self.start;
            self.start = 0;
            self.end = waiting;
        }
        &mut buffer[self.end..]
    }

    /// Takes the first `bytes` bytes of [`spare`](Self::spare) in as received. Poll
    /// [`next_frame`](Self::next_frame) afterwards.
    ///
    /// # Panics
    /// Where `spare` was not that long.
    pub fn advance(&mut self, bytes: usize) {
        let room = self.buffer.as_ref().len() - self.end;
        assert!(bytes <= room, "more bytes were received than there was room for");
        self.end += bytes;
    }

    /// Returns the next whole frame, or `None` until more bytes are taken in.
    pub fn next_frame(&mut self) -> Option<(FrameHeader, &[u8])> {
        self.next_frame_mut().map(|(header, message)| (header, &*message))
    }

    /// Returns the next whole frame as [`next_frame`](Self::next_frame) does, to be changed in place: to be
    /// decrypted, say.
    pub fn next_frame_mut(&mut self) -> Option<(FrameHeader, &mut [u8])> {
        loop {
            let encoded = self.next_encoded()?;
            if let Some((header, length)) = check(&mut self.buffer.as_mut()[encoded.0..encoded.1]) {
                let message = encoded.0 + HEADER_BYTES;
                return Some((header, &mut self.buffer.as_mut()[message..][..length]));
            }
            self.damaged = self.damaged.saturating_add(1);
        }
    }

    /// Returns how many bytes are held that were not given out. Once [`next_frame`](Self::next_frame)
    /// gave `None`, these may be a part of a frame; 0 where they would be of one that is too long.
    pub const fn held_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Returns how many frames, or pieces of noise between zeros, were dropped. Stays at
    /// `u32::MAX`.
    pub const fn damaged(&self) -> u32 {
        self.damaged
    }

    /// Returns where the next encoded frame lies, without its delimiters.
    fn next_encoded(&mut self) -> Option<(usize, usize)> {
        loop {
            let unseen = &self.buffer.as_ref()[self.scanned..self.end];
            let Some(length) = unseen.iter().position(|&byte| byte == DELIMITER) else {
                self.scanned = self.end;
                if self.start == 0 && self.end == self.buffer.as_ref().len() {
                    self.skipping = true;
                }
                if self.skipping {
                    self.start = 0;
                    self.scanned = 0;
                    self.end = 0;
                }
                return None;
            };
            let start = self.start;
            let end = self.scanned + length;
            self.start = end + 1;
            self.scanned = self.start;
            if core::mem::take(&mut self.skipping) {
                self.damaged = self.damaged.saturating_add(1);
            } else if end > start {
                return Some((start, end));
            }
        }
    }
}

impl<B> fmt::Debug for FrameDecoder<B> {
    // Without the bytes: they may be large, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameDecoder")
            .field("waiting_bytes", &(self.end - self.start))
            .field("damaged", &self.damaged)
            .finish_non_exhaustive()
    }
}

/// Moves `start..end` to the front. In steps that do not overlap, because a `memmove` takes 700
/// bytes of a Cortex-M3's flash and nothing else needs one; nearly always one step is enough.
fn move_down(buffer: &mut [u8], start: usize, end: usize) {
    let mut rest = buffer.get_mut(..end).unwrap_or_default();
    while let Some((to, from)) = rest.split_at_mut_checked(start) {
        let bytes = to.len().min(from.len());
        if bytes == 0 {
            break;
        }
        to[..bytes].copy_from_slice(&from[..bytes]);
        rest = rest.get_mut(bytes..).unwrap_or_default();
    }
}

/// Decodes a frame in place; returns its header and the length of its message.
fn check(frame: &mut [u8]) -> Option<(FrameHeader, usize)> {
    let length = cobs::decode_in_place(frame).ok()?;
    let (content, sum) = frame.get(..length)?.split_last_chunk::<CRC_BYTES>()?;
    let (header, message) = content.split_first_chunk::<HEADER_BYTES>()?;
    if CRC.checksum(content) != u32::from_le_bytes(*sum) {
        return None;
    }
    Some((FrameHeader::from_bytes(*header)?, message.len()))
}

/// The end of a line that others open links to: which link is the present one.
///
/// When it starts it sends a frame with the header [`FrameHeader::STARTED`], so that the other end need
/// not find out by its deadlines; and it answers what [`hear`](Self::hear) says is to be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acceptor {
    link: Option<u16>,
}

/// What a frame means to an [`Acceptor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameMeaning {
    /// A link begins with the frame's message. What was before is over, without a Close.
    Opened,
    /// The frame holds a message of the present link.
    Message,
    /// The present link is over.
    Closed,
    /// The frame is for a link that is not there: send an empty frame with this header.
    Refuse(FrameHeader),
    /// Nothing is to be done.
    Nothing,
}

impl Acceptor {
    /// Makes an end without a link.
    pub const fn new() -> Self {
        Self { link: None }
    }

    /// Returns the present link.
    pub const fn link(&self) -> Option<u16> {
        self.link
    }

    /// Judges the frame that came next.
    pub fn hear(&mut self, header: FrameHeader) -> FrameMeaning {
        let FrameHeader { kind, link } = header;
        let is_present = self.link == Some(link);
        match kind {
            FrameKind::Open if link == ANY_LINK => FrameMeaning::Nothing,
            FrameKind::Open => {
                self.link = Some(link);
                FrameMeaning::Opened
            }
            FrameKind::Data if is_present => FrameMeaning::Message,
            FrameKind::Data => FrameMeaning::Refuse(FrameHeader { kind: FrameKind::Close, link }),
            FrameKind::Close if is_present || (link == ANY_LINK && self.link.is_some()) => {
                self.link = None;
                FrameMeaning::Closed
            }
            FrameKind::Close => FrameMeaning::Nothing,
        }
    }

    /// Ends the present link from this side; returns the header of the empty frame that says so.
    pub fn close(&mut self) -> Option<FrameHeader> {
        self.link.take().map(|link| FrameHeader { kind: FrameKind::Close, link })
    }
}

#[cfg(test)]
mod tests;
