//! The handshake, of either end.

use std::fmt;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use rustls::Connection;

use crate::error::TlsError;
use crate::rules::Rules;
use crate::stream::{First, READS_MAX, TlsStream};

const POLLED_AGAIN: &str = "a future was polled after it had completed";

/// Makes an open stream of one below.
pub(crate) struct Handshake<S> {
    /// `None` once it has completed.
    stream: Option<TlsStream<S>>,
    first: First,
    is_judged: bool,
    /// Why it failed. What rustls has to say of that to the other end is still to leave.
    failure: Option<TlsError>,
}

impl<S> Handshake<S> {
    pub(crate) fn new(io: S, session: Connection, rules: Rules) -> Self {
        let stream = Some(TlsStream::new(io, session, rules));
        Self { stream, first: First::default(), is_judged: false, failure: None }
    }

    fn stream(&mut self) -> &mut TlsStream<S> {
        self.stream.as_mut().expect(POLLED_AGAIN)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<TlsStream<S>, TlsError>> {
        if self.failure.is_none() {
            match ready!(self.poll_agree(cx)) {
                Ok(()) => {
                    return Poll::Ready(Ok(self.stream.take().expect("it was there just now")));
                }
                Err(error) => self.failure = Some(error.beginning_with(self.first.bytes())),
            }
        }
        // The other end should hear why, and before the reset that may follow. Where it is this end's own
        // rule that refuses, rustls has no words for that, and what it has would be tickets to come back by.
        let is_mute = matches!(self.failure, Some(TlsError::Refused { .. }));
        let stream = self.stream();
        if is_mute || ready!(stream.poll_flush_below(cx)).is_ok() {
            let _ = ready!(stream.poll_close_below(cx));
            stream.pass_over(cx);
        }
        self.stream = None;
        Poll::Ready(Err(self.failure.take().expect("that is why this is done")))
    }

    fn poll_agree(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TlsError>> {
        for _ in 0..READS_MAX {
            let first = &mut self.first;
            let stream = self.stream.as_mut().expect(POLLED_AGAIN);
            let is_agreed = !stream.session().is_handshaking();
            if is_agreed {
                // Before the tickets leave: who is refused here should not come back by one.
                if !std::mem::replace(&mut self.is_judged, true) {
                    stream.identify()?;
                }
            }
            match stream.poll_flush_below(cx) {
                // What waits at a server is tickets, which leave with the next write or flush.
                Poll::Pending if is_agreed && stream.is_client() => return Poll::Pending,
                Poll::Ready(Ok(())) | Poll::Pending if is_agreed => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => {
                    let words = stream.last_words(cx, Some(first));
                    return Poll::Ready(Err(words.unwrap_or(TlsError::Io { error })));
                }
                // While it waits, the other end may have refused already.
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if !ready!(stream.poll_take(cx, Some(first)))? {
                return Poll::Ready(Err(TlsError::Ended { is_mute: false }));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S> fmt::Debug for Handshake<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
