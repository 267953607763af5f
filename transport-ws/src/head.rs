//! The peer's part of the HTTP handshake, up to its empty line, and within a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::error::WsError;

/// Collects bytes until the empty line is there.
#[derive(Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// Returns what came, the empty line and perhaps more included.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether what came is a handshake or an alert of TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        matches!(self.bytes[..], [0x15 | 0x16, 0x03, ..])
    }

    /// Returns what came after the first `length` bytes.
    pub(crate) fn into_tail(mut self, length: usize) -> Vec<u8> {
        self.bytes.split_off(length)
    }

    /// Completes with the empty line. `beginning` is what a head of the right kind begins with, so
    /// that a peer which speaks something else is told at once and not at a deadline.
    pub(crate) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        beginning: &[u8],
        bytes_max: usize,
    ) -> Poll<Result<(), Flaw>> {
        // On the stack: ten thousand pending handshakes should hold no more than what came.
        let mut chunk = [0; 1024];
        loop {
            let room = bytes_max.saturating_sub(self.bytes.len()).min(chunk.len());
            if room == 0 {
                return Poll::Ready(Err(Flaw::TooLong));
            }
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk[..room])) {
                Ok(0) => return Poll::Ready(Err(Flaw::Ended)),
                Ok(count) => {
                    let before = self.bytes.len();
                    self.bytes.extend_from_slice(&chunk[..count]);
                    if before < beginning.len() && !begins_with(&self.bytes, beginning) {
                        return Poll::Ready(Err(Flaw::Foreign));
                    }
                    if has_empty_line(&self.bytes[before.saturating_sub(2)..]) {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(Flaw::Io(error))),
            }
        }
    }

    /// Turns a flaw into the error to report. `expected` says what the peer should have sent.
    pub(crate) fn error(
        &self,
        flaw: Flaw,
        peer: &str,
        expected: &str,
        bytes_max: usize,
    ) -> WsError {
        let peer = peer.into();
        let problem = match flaw {
            Flaw::Io(error) => return WsError::Io { peer, error },
            Flaw::Ended => "the peer closed the connection in the middle of it".into(),
            Flaw::TooLong => {
                format!("the peer's part is longer than handshake_bytes_max, which is {bytes_max}")
            }
            Flaw::Foreign if self.speaks_tls() => format!(
                "the peer speaks TLS instead of {expected}: have both ends speak it (wss:// to dial, TlsAccept \
                 to listen), or neither"
            ),
            Flaw::Foreign => {
                format!("the peer speaks something else than {expected}: is the port right?")
            }
        };
        WsError::Handshake { peer, problem: problem.into() }
    }
}

/// What is wrong with a head.
pub(crate) enum Flaw {
    Io(io::Error),
    Ended,
    TooLong,
    Foreign,
}

/// Bytes on their way out.
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }

    /// Completes once everything has left. May be polled again afterwards.
    pub(crate) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes[self.sent..])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(stream).poll_flush(cx)
    }
}

/// Whether the bytes, as far as they go, are those of `beginning`.
fn begins_with(bytes: &[u8], beginning: &[u8]) -> bool {
    let both = bytes.len().min(beginning.len());
    bytes[..both] == beginning[..both]
}

/// Whether a line ends and the next one is empty. A bare line feed ends a line too.
fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}
