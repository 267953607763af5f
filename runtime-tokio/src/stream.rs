//! Streams of tokio as transports take them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// A stream of tokio with the `futures_io` traits: a TCP stream, if nothing else is said.
///
/// Unlike that of `tokio-util`, it writes several buffers at once: so a long body leaves from where it
/// lies, with what stands before it.
#[derive(Debug)]
pub struct TokioStream<S = TcpStream>(S);

impl<S> TokioStream<S> {
    /// Makes one of a stream of tokio.
    pub const fn new(stream: S) -> Self {
        Self(stream)
    }

    /// Returns the stream of tokio, to look at.
    pub const fn get_ref(&self) -> &S {
        &self.0
    }

    /// Returns the stream of tokio, to change its options or to use it as such for a while.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.0
    }

    /// Returns the stream of tokio, for good.
    pub fn into_inner(self) -> S {
        self.0
    }
}

impl<S: tokio::io::AsyncRead + Unpin> AsyncRead for TokioStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        Pin::new(&mut self.0).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> AsyncWrite for TokioStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
