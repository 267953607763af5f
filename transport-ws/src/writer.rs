//! The sending half: frames in a buffer, and out of it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use crate::frame::{Header, Kind, mask};

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
        self.bytes.drain(..std::mem::take(&mut self.gone));
        let mask_key = self.masks.as_mut().map(Masks::next);
        let length = (head.len() + body.len()) as u64;
        Header { is_final: true, kind, mask: mask_key, length }.write(&mut self.bytes);
        let at = self.bytes.len();
        self.bytes.reserve(head.len() + body.len());
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(body);
        if let Some(mut key) = mask_key {
            mask(&mut self.bytes[at..], &mut key);
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
