//! The sending half: frames in a buffer, and out of it.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::copy;
use futures_io::AsyncWrite;

use crate::frame::{HEADER_BYTES_MAX, Header, Kind, mask};

/// A body of this length that is not masked is written from where it lies, as far as the stream takes it
/// at once. To copy a shorter one costs less than a write of its own.
const LONG_BYTES: usize = 32 << 10;

/// Buffers frames and writes them.
pub(crate) struct Writer {
    /// What has left are the first `gone` bytes.
    bytes: Vec<u8>,
    gone: usize,
    /// How much memory is kept once everything has left.
    kept: usize,
    /// Those of a client.
    masks: Option<Masks>,
    sent: u64,
}

impl Writer {
    pub(crate) fn new(is_client: bool, kept: usize) -> Self {
        let masks = is_client.then(Masks::new);
        Self { bytes: Vec::new(), gone: 0, kept, masks, sent: 0 }
    }

    /// Returns how many bytes have left.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns how many bytes wait to leave.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.gone
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends one frame, whose payload is `head` and then `body`.
    pub(crate) fn push(&mut self, kind: Kind, head: &[u8], body: &[u8]) {
        self.make_room();
        let mask_key = self.masks.as_mut().map(Masks::next);
        let length = (head.len() + body.len()) as u64;
        self.bytes.reserve(HEADER_BYTES_MAX + head.len() + body.len());
        Header { is_final: true, kind, mask: mask_key, length }.write(&mut self.bytes);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(head);
        copy::append(&mut self.bytes, body);
        if let Some(mut key) = mask_key {
            mask(&mut self.bytes[at..], &mut key);
        }
    }

    /// As [`push`](Self::push), and writes a long body without a copy as far as the stream takes it.
    pub(crate) fn push_out<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        kind: Kind,
        head: &[u8],
        mut body: &[u8],
    ) -> io::Result<()> {
        if self.masks.is_some() || body.len() < LONG_BYTES {
            self.push(kind, head, body);
            return Ok(());
        }
        self.make_room();
        let length = (head.len() + body.len()) as u64;
        Header { is_final: true, kind, mask: None, length }.write(&mut self.bytes);
        self.bytes.extend_from_slice(head);
        while !body.is_empty() {
            let buffers = [IoSlice::new(&self.bytes[self.gone..]), IoSlice::new(body)];
            match Pin::new(&mut *stream).poll_write_vectored(cx, &buffers) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.sent += count as u64;
                    let of_bytes = count.min(self.waiting());
                    self.gone += of_bytes;
                    body = &body[count - of_bytes..];
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.make_room();
        copy::append(&mut self.bytes, body);
        Ok(())
    }

    /// Forgets what has left, where that moves no more than was forgotten.
    fn make_room(&mut self) {
        if self.gone >= self.waiting() {
            self.bytes.drain(..std::mem::take(&mut self.gone));
        }
    }

    /// Completes once everything has been written.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while self.gone < self.bytes.len() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes[self.gone..])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.gone += count;
                    self.sent += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.bytes.clear();
        self.gone = 0;
        if self.bytes.capacity() > self.kept {
            self.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Completes once everything has been written and the stream has flushed.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx, stream))?;
        Pin::new(stream).poll_flush(cx)
    }
}

/// Masks that nobody can foresee, as RFC 6455 section 10.3 asks for: a keyed hash, whose key the
/// system drew, of a counter.
struct Masks {
    hash: RandomState,
    count: u64,
}

impl Masks {
    fn new() -> Self {
        Self { hash: RandomState::new(), count: 0 }
    }

    fn next(&mut self) -> [u8; 4] {
        self.count += 1;
        let [mask @ .., _, _, _, _] = self.hash.hash_one(self.count).to_ne_bytes();
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_connections_have_the_same_masks() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut masks = Masks::new();
            assert!(seen.insert([masks.next(), masks.next(), masks.next()]));
        }
    }
}
