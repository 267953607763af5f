//! Messages over a byte stream.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::copy;
use chargehand_core::io::{BytesMoved, Proof, Trust, Wire};
use chargehand_core::net::host_of;
use chargehand_core::prefix::{HEADER_BYTES, PrefixDecoder, TooLong, encode_header};
use chargehand_core::spare::{self, SPARE_BYTES, SPARE_BYTES_MAX};
use futures_io::{AsyncRead, AsyncWrite};

use crate::Limits;
use crate::error::{TcpError, foreign_protocol};
use crate::guess::Guess;

/// The length of a read buffer that is kept while nothing comes.
const KEPT_READ_BYTES: usize = 512;
/// A write buffer up to this capacity is kept while nothing is sent.
const KEPT_BYTES: usize = 1 << 10;
/// How much write buffer is allocated at once for what an earlier flush had.
const BURST_BYTES_MAX: usize = 16 << 10;
/// A body of this length or more is written without a copy, as far as the stream takes it at once. Copying
/// a shorter one costs less than a write of its own.
const LONG_BYTES: usize = 32 << 10;
/// How much of such a body is copied behind what precedes it, so that a stream that writes one buffer at a
/// time does not send that alone.
const LONG_HEAD_BYTES: usize = 2 << 10;
/// How many times one `poll_recv` reads before it lets others run.
const READS_MAX: usize = 64;

/// A connection that carries messages over a byte stream.
///
/// Between messages it holds at most 512 bytes of read buffer and 1 KiB of write buffer. While a message
/// arrives it holds at most twice what has come of it; while messages leave, at most three times what is
/// still unsent, or 64 KiB.
pub struct TcpWire<S> {
    stream: S,
    peer: Box<str>,
    host: Option<Box<str>>,
    identity: Option<Box<str>>,
    trust: fn(&mut S) -> Trust<'_>,
    limits: Limits,
    /// What the caller takes at most for now.
    incoming_bytes_max: usize,
    /// The longest message that there is memory for.
    admitted: usize,
    progress: BytesMoved,
    /// `None` while nothing is there to read, unless little comes at a time.
    decoder: Option<PrefixDecoder<Vec<u8>>>,
    /// How many bytes have come since the stream was last empty.
    gathered: usize,
    /// The last read brought so much that the thread's large buffer is used for the next.
    is_busy: bool,
    /// The first bytes of all: they tell a foreign protocol, whatever length they would mean.
    opening: [u8; HEADER_BYTES],
    /// How many of these have come.
    opened: usize,
    guess: Guess,
    /// What was taken to be sent; `..sent` of it has left.
    out: Vec<u8>,
    sent: usize,
    /// How long `out` was when it was last emptied.
    burst: usize,
}

impl<S> TcpWire<S> {
    /// Makes a wire over an open stream. `peer` names the other end in errors and events, and where it
    /// has the form `host:port` it names its host, too: see [`host_of`].
    pub fn new(stream: S, peer: &str, limits: Limits) -> Self {
        Self {
            stream,
            peer: peer.into(),
            host: host_of(peer),
            identity: None,
            trust: |_| Trust::Holds,
            limits,
            incoming_bytes_max: usize::MAX,
            admitted: usize::MAX,
            progress: BytesMoved::default(),
            decoder: None,
            gathered: 0,
            is_busy: false,
            opening: [0; HEADER_BYTES],
            opened: 0,
            guess: Guess::default(),
            out: Vec::new(),
            sent: 0,
            burst: 0,
        }
    }

    /// Sets how to ask the stream what its other end has proven: for [`Wire::identity`] and [`Wire::trust`].
    #[must_use]
    pub fn proven(self, proof: Proof<S>) -> Self {
        let identity = (proof.identity)(&self.stream).map(Into::into);
        Self { identity, trust: proof.trust, ..self }
    }

    fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    fn io_error(&self, error: io::Error) -> TcpError {
        TcpError::Io { peer: self.peer.clone(), error }
    }

    /// Judges a message that the decoder does not take: `None` if it only waits to be admitted.
    fn refusal(&self, too_long: TooLong) -> Option<TcpError> {
        let frame_bytes_max = self.limit();
        if too_long.length <= frame_bytes_max {
            return None;
        }
        let too_long = TooLong { frame_bytes_max, ..too_long };
        let peer = self.peer.clone();
        Some(if self.incoming_bytes_max < self.limits.frame_bytes_max {
            TcpError::Early { peer, too_long }
        } else {
            TcpError::Received { peer, too_long }
        })
    }

    /// Returns how long a message that comes may be.
    fn limit(&self) -> usize {
        self.limits.frame_bytes_max.min(self.incoming_bytes_max)
    }

    /// Returns how long a message may be that the decoder takes now.
    fn frame_bytes_max(&self) -> usize {
        self.limit().min(self.admitted)
    }

    fn limit_decoder(&mut self) {
        let frame_bytes_max = self.frame_bytes_max();
        if let Some(decoder) = &mut self.decoder {
            decoder.limit_frames(frame_bytes_max);
        }
    }

    fn has_sent(&mut self, bytes: usize) {
        self.progress.sent = self.progress.sent.wrapping_add(bytes as u64);
    }

    #[expect(clippy::inline_always, reason = "with its like 3.6 % of a range: decision 0010")]
    #[inline(always)]
    fn append(&mut self, header: [u8; HEADER_BYTES], head: &[u8], body: &[u8]) {
        self.make_room_out(HEADER_BYTES + head.len() + body.len());
        self.out.extend_from_slice(&header);
        self.out.extend_from_slice(head);
        copy::append(&mut self.out, body);
    }

    /// Prepares the write buffer for so many bytes more.
    #[inline]
    fn make_room_out(&mut self, bytes: usize) {
        // Not before half of it has left, so that no byte moves more than once on average.
        if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        if self.out.capacity() == 0 {
            self.out.reserve(bytes.max(self.burst));
        }
    }

    /// Gives the memory of what has left back, where that is much more than what waits: a link that is
    /// never quite quiet should not hold what one burst took.
    fn give_back_out(&mut self) {
        let needed = self.unsent().max(BURST_BYTES_MAX);
        if self.out.capacity() / 3 > needed {
            self.out.drain(..self.sent);
            self.sent = 0;
            self.out.shrink_to(needed);
        }
    }
}

impl<S: AsyncWrite + Unpin> TcpWire<S> {
    /// Writes what was taken to the stream, as far as that takes it.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TcpError>> {
        while self.unsent() > 0 {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(self.io_error(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(bytes)) => {
                    self.sent += bytes;
                    self.has_sent(bytes);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.io_error(error))),
                Poll::Pending => {
                    self.give_back_out();
                    return Poll::Pending;
                }
            }
        }
        if self.sent > 0 {
            self.burst = self.out.len().min(BURST_BYTES_MAX);
            self.sent = 0;
            if self.out.capacity() > KEPT_BYTES {
                self.out = Vec::new();
            } else {
                self.out.clear();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `body` after what was taken before it, and takes what the stream has no room for.
    fn write_long(&mut self, cx: &mut Context<'_>, mut body: &[u8]) -> Result<(), TcpError> {
        while !body.is_empty() {
            let slices = [IoSlice::new(&self.out[self.sent..]), IoSlice::new(body)];
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(0)) => return Err(self.io_error(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => {
                    self.has_sent(bytes);
                    let of_out = bytes.min(self.unsent());
                    self.sent += of_out;
                    body = &body[bytes - of_out..];
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(self.io_error(error)),
                Poll::Pending => break,
            }
        }
        self.make_room_out(body.len());
        copy::append(&mut self.out, body);
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> TcpWire<S> {
    /// Chooses the read buffer for the next time, with nothing more to read now. Ten thousand idle
    /// links should not hold ten thousand large ones, and a link with little to say should not take
    /// another one for every message.
    fn rest(&mut self) {
        let Some(decoder) = &self.decoder else { return };
        let held = decoder.held();
        if held.is_empty() {
            let gathered = std::mem::take(&mut self.gathered);
            self.is_busy = gathered > KEPT_READ_BYTES / 2;
            if self.is_busy || decoder.buffer_bytes() > KEPT_READ_BYTES {
                self.change_decoder(None);
            }
        } else if decoder.buffer_bytes() > KEPT_READ_BYTES
            && held.len() < decoder.buffer_bytes() / 2
        {
            // No more than twice what the peer has really sent.
            let length = (2 * held.len()).max(KEPT_READ_BYTES);
            let other = PrefixDecoder::growing(length, self.limit());
            self.change_decoder(Some(other));
            self.limit_decoder();
        }
    }

    /// Goes on with another decoder, which takes what the present one holds.
    fn change_decoder(&mut self, mut other: Option<PrefixDecoder<Vec<u8>>>) {
        if let Some(decoder) = self.decoder.take() {
            if let Some(other) = &mut other {
                let held = decoder.held();
                other.spare()[..held.len()].copy_from_slice(held);
                other.advance(held.len());
            }
            spare::give_back(decoder.into_inner());
        }
        self.decoder = other;
    }

    /// Sees to it that there is room to read to, where there is no buffer or a read has filled it.
    fn make_room(&mut self) {
        let frame_bytes_max = self.frame_bytes_max();
        // Whoever takes only short messages for now should not hold what may follow them.
        let may_be_large = self.incoming_bytes_max >= SPARE_BYTES;
        match &mut self.decoder {
            None if self.is_busy && may_be_large => {
                self.decoder = Some(PrefixDecoder::growing_over(spare::take(), frame_bytes_max));
            }
            None => self.decoder = Some(PrefixDecoder::growing(KEPT_READ_BYTES, frame_bytes_max)),
            Some(decoder) if may_be_large && is_unfit(decoder) => {
                let other = PrefixDecoder::growing_over(spare::take(), frame_bytes_max);
                self.change_decoder(Some(other));
            }
            Some(decoder) => decoder.make_room(),
        }
    }

    /// Reads until a whole message is there, and returns its length, or until the stream ends between two.
    #[expect(clippy::inline_always, reason = "with its like 3.6 % of a range: decision 0010")]
    #[inline(always)]
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<usize>, TcpError>> {
        for _ in 0..READS_MAX {
            match self.decoder.as_ref().map(PrefixDecoder::frame_length) {
                Some(Ok(Some(length))) => return Poll::Ready(Ok(Some(length))),
                // Without a read: so the peer is held back.
                Some(Err(too_long)) => {
                    if let Some(error) = self.refusal(too_long) {
                        return Poll::Ready(Err(error));
                    }
                    self.rest();
                    return Poll::Pending;
                }
                None | Some(Ok(None)) => {}
            }
            if self.decoder.as_ref().is_none_or(PrefixDecoder::is_filled) {
                self.make_room();
            }
            let decoder = self.decoder.as_mut().expect("that is where the room is");
            match Pin::new(&mut self.stream).poll_read(cx, decoder.spare()) {
                Poll::Ready(Ok(0)) if decoder.is_partial() => {
                    return Poll::Ready(Err(TcpError::Truncated { peer: self.peer.clone() }));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(bytes)) => {
                    let first = bytes.min(HEADER_BYTES - self.opened);
                    if first > 0 {
                        let chunk = &decoder.spare()[..first];
                        self.opening[self.opened..][..first].copy_from_slice(chunk);
                        self.opened += first;
                        if let Some(protocol) = foreign_protocol(self.opening) {
                            let peer = self.peer.clone();
                            return Poll::Ready(Err(TcpError::Foreign { peer, protocol }));
                        }
                    }
                    decoder.advance(bytes);
                    self.gathered = self.gathered.saturating_add(bytes);
                    self.progress.received = self.progress.received.wrapping_add(bytes as u64);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.io_error(error))),
                Poll::Pending => {
                    let is_small = decoder.buffer_bytes() <= KEPT_READ_BYTES;
                    if is_small && self.gathered <= KEPT_READ_BYTES / 2 && !decoder.is_partial() {
                        // As `rest` does for a link with little to say, which are most.
                        (self.gathered, self.is_busy) = (0, false);
                    } else {
                        self.rest();
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Returns whether to go on with the thread's buffer: in place of a small one, and in place of one that
/// a message made huge which is given out now.
fn is_unfit(decoder: &PrefixDecoder<Vec<u8>>) -> bool {
    let length = decoder.buffer_bytes();
    length < SPARE_BYTES || (length > SPARE_BYTES_MAX && decoder.held().len() < SPARE_BYTES)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for TcpWire<S> {
    type Error = TcpError;

    fn peer(&self) -> &str {
        &self.peer
    }

    #[expect(clippy::inline_always, reason = "a frame passed through memory stalls: decision 0010")]
    #[inline(always)]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, TcpError>> {
        let filled = self.poll_fill(cx);
        self.guess.came_true(filled.is_ready());
        let Some(length) = ready!(filled)? else { return Poll::Ready(Ok(None)) };
        let decoder = self.decoder.as_mut().expect("poll_fill found a whole frame");
        Poll::Ready(Ok(Some(decoder.take_frame(length))))
    }

    fn expects_next(&mut self) -> bool {
        // A read that filled the buffer has likely left something, and the next one is no guess.
        let is_drained = self
            .decoder
            .as_ref()
            .is_none_or(|decoder| !decoder.is_filled() && matches!(decoder.has_frame(), Ok(false)));
        is_drained && self.guess.is_worth_it()
    }

    #[expect(clippy::inline_always, reason = "with its like 3.6 % of a range: decision 0010")]
    #[inline(always)]
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), TcpError>> {
        let length = head.len().saturating_add(body.len());
        let header = match encode_header(length, self.limits.frame_bytes_max) {
            Ok(header) => header,
            Err(too_long) => {
                let peer = self.peer.clone();
                return Poll::Ready(Err(TcpError::Sending { peer, too_long }));
            }
        };
        let room = self.limits.write_buffer_bytes_max.saturating_sub(HEADER_BYTES + length);
        if self.unsent() > room {
            // Pending may have made room all the same.
            if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
                return Poll::Ready(Err(error));
            }
            if self.unsent() > room {
                return Poll::Pending;
            }
        }
        let (first, rest) = match body.split_at_checked(LONG_HEAD_BYTES) {
            Some(parts) if body.len() >= LONG_BYTES => parts,
            _ => (body, &[][..]),
        };
        self.append(header, head, first);
        if rest.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.write_long(cx, rest))
    }

    fn message_bytes_max(&self) -> usize {
        self.limits.frame_bytes_max
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TcpError>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|error| self.io_error(error))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TcpError>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_close(cx).map_err(|error| self.io_error(error))
    }

    fn progress(&self) -> BytesMoved {
        self.progress
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.incoming_bytes_max = bytes_max;
        self.limit_decoder();
    }

    fn admit(&mut self, bytes_max: usize) {
        self.admitted = bytes_max;
        self.limit_decoder();
    }

    fn incoming(&self) -> usize {
        match self.decoder.as_ref().map(PrefixDecoder::has_frame) {
            Some(Err(TooLong { length, .. })) if length <= self.limit() => length,
            _ => 0,
        }
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    fn trust(&mut self) -> Trust<'_> {
        (self.trust)(&mut self.stream)
    }
}

impl<S> fmt::Debug for TcpWire<S> {
    // Without the bytes: they may be large, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpWire")
            .field("peer", &self.peer)
            .field("identity", &self.identity)
            .field("limits", &self.limits)
            .field("unsent_bytes", &self.unsent())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
