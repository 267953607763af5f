//! Bytes over TLS.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::io::Trust;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::{CommonState, Connection};

use crate::error::TlsError;
use crate::rules::Rules;

/// How often one poll reads before it lets others run.
pub(crate) const READS_MAX: u32 = 16;

/// A byte stream over TLS, past its handshake.
///
/// Closing it says so to the other end (`close_notify`) and shuts the direction to it down; what comes is
/// read on. A stream that ends without those words was cut off, by whomever, and reading it is an
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) rather than the end.
///
/// What was written leaves with a flush, or earlier; up to 72 KiB of it may wait in here.
pub struct TlsStream<S> {
    io: S,
    session: Connection,
    identity: Option<Box<str>>,
    rules: Rules,
    /// What was said of the other end's proof at the latest look.
    said: Box<str>,
    /// What the rules keep of this session.
    noted: u64,
    /// Whether this end has said that it closes.
    is_closed: bool,
    /// Why reading has failed, where something that came before that is still to be read.
    broken: Option<TlsError>,
}

impl<S> TlsStream<S> {
    pub(crate) fn new(io: S, mut session: Connection, rules: Rules) -> Self {
        session.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        let said = Box::default();
        Self { io, session, identity: None, rules, said, noted: 0, is_closed: false, broken: None }
    }

    /// Returns the stream below.
    pub const fn get_ref(&self) -> &S {
        &self.io
    }

    /// Returns what rustls knows of the session: the certificates of the other end, the version, whether
    /// it was resumed.
    pub fn session(&self) -> &CommonState {
        &self.session
    }

    /// Returns whom the other end has proven to be, by the rule that was given for it
    /// ([`TlsDial::identify`](crate::TlsDial::identify)).
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    pub(crate) const fn is_client(&self) -> bool {
        matches!(self.session, Connection::Client(_))
    }

    /// Looks whom the other end has proven to be.
    pub(crate) fn identify(&mut self) -> Result<(), TlsError> {
        let identity = self.rules.identify(&self.session);
        self.identity = identity.map_err(|error| TlsError::Refused { error })?;
        Ok(())
    }

    /// Looks whether what it has proven still holds.
    pub(crate) fn trust(&mut self) -> Trust<'_> {
        match self.rules.watch(&self.session, self.identity.as_deref(), &mut self.noted) {
            Ok(None) => Trust::Holds,
            Ok(Some(text)) => {
                self.said = text;
                Trust::Ends(&self.said)
            }
            Err(error) => {
                self.said = error.to_string().into();
                Trust::Ended(&self.said)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> TlsStream<S> {
    /// Reads once from below, and takes in what came. `false` is the end of the stream below.
    ///
    /// `first` gets the beginning of it.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        first: Option<&mut First>,
    ) -> Poll<Result<bool, TlsError>> {
        let mut below = Below { io: &mut self.io, cx, first };
        let count = match self.session.read_tls(&mut below) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(TlsError::Io { error })),
        };
        self.session.process_new_packets().map_err(TlsError::of)?;
        Poll::Ready(Ok(count > 0))
    }
}

impl<S: AsyncRead + Unpin> TlsStream<S> {
    /// Reads what is there of a stream that is done with, and forgets it: to close a socket that has bytes
    /// unread resets the connection, and the other end may then not read why.
    pub(crate) fn pass_over(&mut self, cx: &mut Context<'_>) {
        let mut buffer = [0; 4096];
        for _ in 0..LAST_READS_MAX {
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(1..)) => {}
                _ => break,
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> TlsStream<S> {
    /// Writes what rustls has to send, as far as the stream below takes it.
    pub(crate) fn poll_give(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut below = Below { io: &mut self.io, cx, first: None };
            match self.session.write_tls(&mut below) {
                // It would be asked for ever.
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flush_below(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_give(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    pub(crate) fn poll_close_below(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Returns what the other end has said before the stream broke, if that is why: whoever refuses a
    /// certificate says so and hangs up, which the next write may notice first.
    pub(crate) fn last_words(
        &mut self,
        cx: &mut Context<'_>,
        mut first: Option<&mut First>,
    ) -> Option<TlsError> {
        for _ in 0..LAST_READS_MAX {
            match self.poll_take(cx, first.as_deref_mut()) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Err(error @ (TlsError::Tls { .. } | TlsError::Plain { .. }))) => {
                    return Some(error);
                }
                _ => break,
            }
        }
        None
    }

    fn broken(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        self.last_words(cx, None).map_or(error, Into::into)
    }

    /// Has `give` hand plain bytes to rustls, which takes [`BUFFER_BYTES_MAX`] of them before some have left.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        mut give: impl FnMut(&mut Connection) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        loop {
            let taken = give(&mut self.session)?;
            match self.poll_give(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(cx, error))),
                _ if taken > 0 => return Poll::Ready(Ok(taken)),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
            }
        }
    }
}

/// How much waits to leave: a body of 64 KiB with its head and what TLS adds, so that these leave in one write.
const BUFFER_BYTES_MAX: usize = 72 << 10;
/// How often what a broken stream still holds is read.
const LAST_READS_MAX: u32 = 8;

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // As many records as there is room for: whoever reads long messages has much to do for each read.
        let mut filled = 0;
        for _ in 0..READS_MAX {
            match this.session.reader().read(&mut buffer[filled..]) {
                // Nothing is the end, after the words for it.
                Ok(0) => return Poll::Ready(Ok(filled)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It says so again.
                Err(_) if filled > 0 => return Poll::Ready(Ok(filled)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Err(TlsError::Truncated.into()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if filled == buffer.len() || (filled > 0 && this.broken.is_some()) {
                return Poll::Ready(Ok(filled));
            }
            if let Some(error) = this.broken.take() {
                return Poll::Ready(Err(error.into()));
            }
            match this.poll_take(cx, None) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    // So that the other end hears why. The error counts, whether that leaves or not.
                    let _ = this.poll_give(cx);
                    this.broken = Some(error);
                }
                Poll::Pending if filled > 0 => return Poll::Ready(Ok(filled)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if filled > 0 {
            return Poll::Ready(Ok(filled));
        }
        // Much has come and nothing of it is to be read: that may go on.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(cx, |session| session.writer().write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(cx, |session| session.writer().write_vectored(slices))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.poll_flush_below(cx));
        Poll::Ready(flushed.map_err(|error| self.broken(cx, error)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.session.send_close_notify();
        }
        if let Err(error) = ready!(self.poll_flush_below(cx)) {
            return Poll::Ready(Err(self.broken(cx, error)));
        }
        self.poll_close_below(cx)
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    // Without the session: what it has is large, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The first bytes that came, which tell another protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct First {
    bytes: [u8; 5],
    count: usize,
}

impl First {
    fn see(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.bytes.len() - self.count);
        self.bytes[self.count..][..count].copy_from_slice(&bytes[..count]);
        self.count += count;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

/// The stream below, as rustls reads and writes it: to wait is `WouldBlock`.
struct Below<'a, 'b, S> {
    io: &'a mut S,
    cx: &'a mut Context<'b>,
    first: Option<&'a mut First>,
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> Read for Below<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match or_would_block(Pin::new(&mut *self.io).poll_read(self.cx, buffer)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if let Some(first) = &mut self.first {
            first.see(&buffer[..count]);
        }
        Ok(count)
    }
}

impl<S: AsyncWrite + Unpin> Write for Below<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.io).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}

#[cfg(test)]
mod tests;
