//! Tokio's streams with the traits that transports require.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// A tokio stream, TCP by default, with the `futures_io` traits.
///
/// Unlike `tokio_util::compat`, it supports vectored writes, so a long body is written together with its
/// header without being copied first.
#[derive(Debug)]
pub struct TokioStream<S = TcpStream>(S);

impl<S> TokioStream<S> {
    /// Wraps a tokio stream.
    pub const fn new(stream: S) -> Self {
        Self(stream)
    }

    /// Returns a reference to the tokio stream.
    pub const fn get_ref(&self) -> &S {
        &self.0
    }

    /// Returns a mutable reference to the tokio stream, to change its options or use it directly.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.0
    }

    /// Returns the tokio stream.
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
