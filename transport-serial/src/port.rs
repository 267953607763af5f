//! Frames over a byte stream, whichever link they belong to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::io::BytesMoved;
use chargehand_core::serial::{FrameDecoder, FrameHeader, encode, wire_bytes_max};
use futures_io::{AsyncRead, AsyncWrite};

use crate::Limits;
use crate::error::SerialError;

/// How often one poll reads before it lets others run.
pub(crate) const READS_MAX: usize = 64;
/// Buffers of this capacity are kept while nothing comes or leaves.
pub(crate) const KEPT_BYTES: usize = 4 << 10;

pub(crate) struct Port<S> {
    stream: S,
    pub(crate) peer: Box<str>,
    pub(crate) limits: Limits,
    decoder: FrameDecoder<Box<[u8]>>,
    /// What was taken to be sent; `..sent` of it has left.
    out: Vec<u8>,
    sent: usize,
    progress: BytesMoved,
    /// As `progress.received` was after the latest good frame.
    received_in_frames: u64,
    /// The stream has failed or ended.
    pub(crate) is_broken: bool,
}

impl<S> Port<S> {
    pub(crate) fn new(stream: S, peer: Box<str>, limits: Limits) -> Self {
        let buffer = vec![0; wire_bytes_max(limits.frame_bytes_max)].into_boxed_slice();
        let decoder = FrameDecoder::new(buffer);
        Self {
            stream,
            peer,
            limits,
            decoder,
            out: Vec::new(),
            sent: 0,
            progress: BytesMoved::default(),
            received_in_frames: 0,
            is_broken: false,
        }
    }

    /// Returns how many bytes have left, and how many have come in good frames and in what may be the
    /// beginning of one.
    ///
    /// Noise is no sign of life: however much of it comes, it counts as one frame at most, until a good
    /// one has come.
    pub(crate) fn progress(&self) -> BytesMoved {
        self.progress
    }

    /// How many frames that came in were dropped.
    pub(crate) fn damaged(&self) -> u32 {
        self.decoder.damaged()
    }

    #[cfg(test)]
    pub(crate) fn out_capacity(&self) -> usize {
        self.out.capacity()
    }

    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Whether a frame with a message of that length has room.
    pub(crate) fn has_room(&self, message_bytes: usize) -> bool {
        let room = self.limits.write_buffer_bytes_max.saturating_sub(wire_bytes_max(message_bytes));
        self.unsent() <= room
    }

    /// Forgets what has not left. The other end drops the frame that is cut short by it.
    pub(crate) fn discard_unsent(&mut self) {
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        self.sent = 0;
    }

    /// Takes a frame to be sent, whether there is room or not.
    pub(crate) fn queue(
        &mut self,
        header: FrameHeader,
        head: &[u8],
        body: &[u8],
    ) -> Result<(), SerialError> {
        let length = head.len().saturating_add(body.len());
        if length > self.limits.frame_bytes_max {
            let Limits { frame_bytes_max, .. } = self.limits;
            return Err(SerialError::Sending { peer: self.peer.clone(), length, frame_bytes_max });
        }
        // Not before half of it has left, so that no byte moves more than once on average.
        if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        let start = self.out.len();
        self.out.resize(start + wire_bytes_max(length), 0);
        let frame = encode(header, head, body, &mut self.out[start..]);
        let length = frame.expect("wire_bytes_max is enough").len();
        self.out.truncate(start + length);
        Ok(())
    }

    fn broken(&mut self, error: io::Error) -> SerialError {
        self.is_broken = true;
        SerialError::Io { peer: self.peer.clone(), error }
    }
}

impl<S: AsyncWrite + Unpin> Port<S> {
    /// Writes what was taken to the stream, as far as that takes it.
    pub(crate) fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SerialError>> {
        while self.unsent() > 0 {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]);
            match ready!(written) {
                Ok(0) => return Poll::Ready(Err(self.broken(io::ErrorKind::WriteZero.into()))),
                Ok(bytes) => {
                    self.sent += bytes;
                    self.progress.sent = self.progress.sent.wrapping_add(bytes as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
        }
        self.discard_unsent();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SerialError>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|error| self.broken(error))
    }

    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SerialError>> {
        Pin::new(&mut self.stream).poll_close(cx).map_err(|error| self.broken(error))
    }
}

impl<S: AsyncRead + Unpin> Port<S> {
    /// Reads until a whole frame is there, and copies its message. Each read is taken from
    /// `reads_left`, and once none is left this returns pending and wakes itself.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        message: &mut Vec<u8>,
        reads_left: &mut usize,
    ) -> Poll<Result<FrameHeader, SerialError>> {
        loop {
            if let Some((header, bytes)) = self.decoder.next_frame() {
                message.clear();
                message.shrink_to(KEPT_BYTES);
                message.extend_from_slice(bytes);
                self.received(wire_bytes_max(message.len()));
                self.received_in_frames = self.progress.received;
                return Poll::Ready(Ok(header));
            }
            self.received(self.decoder.held_bytes());
            let Some(fewer) = reads_left.checked_sub(1) else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            *reads_left = fewer;
            match ready!(Pin::new(&mut self.stream).poll_read(cx, self.decoder.spare())) {
                Ok(0) => {
                    self.is_broken = true;
                    return Poll::Ready(Err(SerialError::Ended { peer: self.peer.clone() }));
                }
                Ok(bytes) => self.decoder.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
        }
    }

    /// Notes how many bytes have come since the latest good frame, unless more did before.
    fn received(&mut self, bytes: usize) {
        let received = self.received_in_frames.saturating_add(bytes as u64);
        self.progress.received = self.progress.received.max(received);
    }
}
