//! Length-prefix framing over a caller's buffer: 4 bytes of length, little endian, before each
//! frame, whatever the chunks in which they come.
//!
//! The loop of a receiver: take frames while there are any, then read more.
//!
//! ```
//! use chargehand_core::prefix::{PrefixDecoder, encode_header};
//!
//! let mut stream = encode_header(5, 64)?.to_vec();
//! stream.extend(b"hello");
//!
//! let mut buffer = [0; 68];
//! let mut decoder = PrefixDecoder::new(&mut buffer[..]);
//! for chunk in stream.chunks(2) {
//!     assert!(!decoder.has_frame()?);
//!     decoder.spare()[..chunk.len()].copy_from_slice(chunk);
//!     decoder.advance(chunk.len());
//! }
//! assert_eq!(decoder.next_frame()?, Some(&b"hello"[..]));
//! assert!(!decoder.is_partial());
//! # Ok::<(), chargehand_core::prefix::TooLong>(())
//! ```

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;

/// How many bytes stand before each frame.
pub const HEADER_BYTES: usize = 4;

/// How far a busy buffer grows for the sake of fewer reads, where no single frame needs more.
#[cfg(feature = "alloc")]
const BUSY_BYTES: usize = 64 * 1024;

/// Returns the bytes to send before a frame of `length` bytes.
///
/// # Errors
/// Returns [`TooLong`] where `length` is above `frame_bytes_max` or above `u32::MAX`. Send nothing
/// of the frame: the peer would close the connection.
pub fn encode_header(length: usize, frame_bytes_max: usize) -> Result<[u8; HEADER_BYTES], TooLong> {
    let too_long = TooLong { length, frame_bytes_max };
    if length > frame_bytes_max {
        return Err(too_long);
    }
    u32::try_from(length).map(u32::to_le_bytes).map_err(|_| too_long)
}

/// Cuts a byte stream into frames inside one buffer, which is lent (`&mut [u8]`), an array, or
/// a `Vec<u8>` that grows.
///
/// Frames are not copied: they are slices of the buffer, which may hold many at once. Taking one
/// is O(1). Bytes move only in [`spare`](Self::spare), and on the whole not more of them than came
/// in.
pub struct PrefixDecoder<B> {
    buffer: B,
    /// What is not given out yet lies in `start..end`.
    start: usize,
    end: usize,
    frame_bytes_max: usize,
    /// The length of the buffer while little comes.
    #[cfg(feature = "alloc")]
    idle_bytes: usize,
    /// Whether the latest read filled the buffer, so that there is likely more.
    #[cfg(feature = "alloc")]
    filled: bool,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> PrefixDecoder<B> {
    /// Makes a decoder over a buffer of fixed length. It accepts frames up to 4 bytes less.
    ///
    /// # Panics
    /// Where the buffer cannot even hold a header of 4 bytes.
    pub fn new(buffer: B) -> Self {
        let length = buffer.as_ref().len();
        assert!(length >= HEADER_BYTES, "a receive buffer needs at least 4 bytes");
        let frame_bytes_max = length - HEADER_BYTES;
        Self {
            buffer,
            start: 0,
            end: 0,
            frame_bytes_max,
            #[cfg(feature = "alloc")]
            idle_bytes: length,
            #[cfg(feature = "alloc")]
            filled: false,
        }
    }

    /// Returns the length of the longest frame that is accepted.
    pub const fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    /// Returns where to read the next bytes to; then call [`advance`](Self::advance). Never empty
    /// once [`next_frame`](Self::next_frame) gave `None` (a growing buffer: after
    /// `make_room`). While frames are left to take it may be.
    pub fn spare(&mut self) -> &mut [u8] {
        self.compact();
        &mut self.buffer.as_mut()[self.end..]
    }

    /// Takes the first `bytes` bytes of [`spare`](Self::spare) in as received. Poll
    /// [`next_frame`](Self::next_frame) afterwards.
    ///
    /// # Panics
    /// Where `spare` was not that long.
    pub fn advance(&mut self, bytes: usize) {
        let length = self.buffer.as_ref().len();
        assert!(bytes <= length - self.end, "more bytes were received than there was room for");
        self.end += bytes;
        #[cfg(feature = "alloc")]
        {
            self.filled = bytes > 0 && self.end == length;
        }
    }

    /// Returns whether [`next_frame`](Self::next_frame) has a frame to give.
    ///
    /// # Errors
    /// As `next_frame`.
    pub fn has_frame(&self) -> Result<bool, TooLong> {
        Ok(self.frame_length()?.is_some())
    }

    /// Returns the next whole frame, or `None` until more bytes are taken in.
    ///
    /// # Errors
    /// Returns [`TooLong`] as soon as the header of such a frame is in, and again at every later
    /// call. Close the connection: the stream cannot be read any further.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let Some(length) = self.front()? else { return Ok(None) };
        let frame = self.start + HEADER_BYTES;
        if self.end - frame < length {
            return Ok(None);
        }
        self.start = frame + length;
        Ok(Some(&self.buffer.as_ref()[frame..self.start]))
    }

    /// Returns the length of the next frame once all of it is there, for
    /// [`take_frame`](Self::take_frame).
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    #[inline]
    pub fn frame_length(&self) -> Result<Option<usize>, TooLong> {
        let waiting = self.end - self.start;
        Ok(self.front()?.filter(|length| waiting >= HEADER_BYTES + length))
    }

    /// Returns the next frame, of the length that [`frame_length`](Self::frame_length) gave: so its
    /// header is read once by whoever looks first and takes it afterwards.
    ///
    /// # Panics
    /// Where there are not so many bytes.
    #[inline]
    pub fn take_frame(&mut self, length: usize) -> &[u8] {
        let frame = self.start + HEADER_BYTES;
        let is_there = self.end.checked_sub(frame).is_some_and(|there| length <= there);
        assert!(is_there, "a frame is taken that is not there");
        self.start = frame + length;
        &self.buffer.as_ref()[frame..self.start]
    }

    /// Returns whether bytes are held that were not given out. Once
    /// [`next_frame`](Self::next_frame) gave `None`, these are a part of a frame: a peer that
    /// closes now has not closed in an orderly way.
    pub const fn is_partial(&self) -> bool {
        self.end > self.start
    }

    /// Returns the bytes that were not given out, as they came.
    pub fn held(&self) -> &[u8] {
        &self.buffer.as_ref()[self.start..self.end]
    }

    /// Returns the buffer.
    pub fn into_inner(self) -> B {
        self.buffer
    }

    /// Returns the length of the first frame once its header is in.
    #[inline]
    fn front(&self) -> Result<Option<usize>, TooLong> {
        let waiting = &self.buffer.as_ref()[self.start..self.end];
        let Some(header) = waiting.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > self.frame_bytes_max {
            return Err(TooLong { length, frame_bytes_max: self.frame_bytes_max });
        }
        Ok(Some(length))
    }

    /// Moves what is held to the front of the buffer where that costs no more than was given out
    /// since, or where the first frame would not fit otherwise. A frame is so moved once at most.
    fn compact(&mut self) {
        if self.start == self.end {
            // The usual case.
            (self.start, self.end) = (0, 0);
            return;
        }
        let waiting = self.end - self.start;
        let whole = HEADER_BYTES + self.front().ok().flatten().unwrap_or(0);
        let buffer = self.buffer.as_mut();
        if waiting <= self.start || whole > buffer.len() - self.start {
            buffer.copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = waiting;
        }
    }
}

#[cfg(feature = "alloc")]
impl PrefixDecoder<Vec<u8>> {
    /// Makes a decoder whose buffer has `idle_bytes` (at least 4) bytes while little comes, and
    /// grows with what comes.
    ///
    /// A read that fills the buffer doubles it, up to 64 KiB or what the frame at the front needs:
    /// `frame_bytes_max` + 4 at most. So a peer makes us hold at most twice what it has really
    /// sent, whatever length it announces.
    pub fn growing(idle_bytes: usize, frame_bytes_max: usize) -> Self {
        // The sum with the header must not overflow.
        let frame_bytes_max = frame_bytes_max.min(usize::MAX - HEADER_BYTES);
        let idle_bytes = idle_bytes.clamp(HEADER_BYTES, frame_bytes_max + HEADER_BYTES);
        Self::growing_over(alloc::vec![0; idle_bytes], frame_bytes_max)
    }

    /// Makes a decoder as [`growing`](Self::growing) does, over a buffer that is there already.
    ///
    /// # Panics
    /// Where the buffer cannot even hold a header of 4 bytes.
    pub fn growing_over(buffer: Vec<u8>, frame_bytes_max: usize) -> Self {
        let frame_bytes_max = frame_bytes_max.min(usize::MAX - HEADER_BYTES);
        Self { frame_bytes_max, ..Self::new(buffer) }
    }

    /// Sets the longest frame that is accepted from now on, also of what is held already. Nothing
    /// else changes: the buffer grows when its turn comes.
    pub fn limit_frames(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max.min(usize::MAX - HEADER_BYTES);
        // Room may have been refused for a frame that is accepted now.
        self.filled |= self.end == self.buffer.len();
    }

    /// Returns whether the latest read filled the buffer, so that there is likely more.
    pub const fn is_filled(&self) -> bool {
        self.filled
    }

    /// Grows the buffer where the latest read filled it. Call it before [`spare`](Self::spare).
    pub fn make_room(&mut self) {
        if !self.filled {
            return;
        }
        self.filled = false;
        self.compact();
        let needed = HEADER_BYTES + self.front().ok().flatten().unwrap_or(0);
        let busy = BUSY_BYTES.min(self.frame_bytes_max + HEADER_BYTES);
        let length = self.buffer.len().saturating_mul(2).min(needed.max(busy));
        if length > self.buffer.len() {
            self.buffer.reserve_exact(length - self.buffer.len());
            self.buffer.resize(length, 0);
        }
    }

    /// Gives the memory of a grown buffer back, unless it holds a part of a frame. Call it once
    /// the connection is quiet, which is when a read would block.
    pub fn shrink(&mut self) {
        if self.is_partial() || self.buffer.len() == self.idle_bytes {
            return;
        }
        self.start = 0;
        self.end = 0;
        self.filled = false;
        self.buffer.truncate(self.idle_bytes);
        self.buffer.shrink_to_fit();
    }

    /// Returns the length of the buffer now, in bytes.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }
}

impl<B> fmt::Debug for PrefixDecoder<B> {
    // Without the bytes: they may be large, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixDecoder")
            .field("waiting_bytes", &(self.end - self.start))
            .field("frame_bytes_max", &self.frame_bytes_max)
            .finish_non_exhaustive()
    }
}

/// A frame is longer than the limit. A receiver closes the connection; a sender sends nothing of
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooLong {
    /// How long the frame is, in bytes, as far as a `usize` can tell.
    pub length: usize,
    /// The limit, in bytes.
    pub frame_bytes_max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length, frame_bytes_max } = self;
        write!(
            f,
            "a frame of {length} bytes is above the limit of {frame_bytes_max} (frame_bytes_max): \
             raise the limit at both ends or send smaller messages"
        )
    }
}

impl core::error::Error for TooLong {}

#[cfg(test)]
mod tests;
