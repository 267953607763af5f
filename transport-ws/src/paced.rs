//! A stream that stops reading for a while, so that a peer which is never out of bytes does not
//! keep the thread: one poll of a WebSocket reads until it has a message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

pub(crate) struct Paced<S> {
    stream: S,
    reads_left: u32,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, reads_left: 0 }
    }

    /// Allows so many reads from now on. Past these a read is pending and wakes at once.
    pub(crate) fn allow(&mut self, reads: u32) {
        self.reads_left = reads;
    }

    #[cfg(test)]
    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.reads_left.checked_sub(1) {
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(left) => {
                self.reads_left = left;
                Pin::new(&mut self.stream).poll_read(cx, buffer)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
