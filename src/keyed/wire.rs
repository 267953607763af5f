//! A wire whose peer has proven its key.

use alloc::vec::Vec;
use core::fmt;
use core::task::{Context, Poll, ready};

use chargehand_core::io::{BytesMoved, Dialect, Trust, Wire};
use chargehand_core::keyed::{Channel, ChannelError, KeyId, PROOF_BYTES, SEAL_BYTES};

use super::{KeyedError, Keys};
use crate::link::reason::BoxError;

/// Buffers of this capacity are kept while nothing comes or leaves.
const KEPT_BYTES: usize = 4 << 10;
/// By how much a message becomes longer at most.
const ADDED_BYTES_MAX: usize = if PROOF_BYTES > SEAL_BYTES { PROOF_BYTES } else { SEAL_BYTES };

const REMOVED: &str =
    "the key that it has proven is not on the list here any more: give it one that is";

/// A [`Wire`] whose peer has proven its key, and which encrypts all that goes over it where both sides
/// were set up so.
///
/// It holds the message that came last and the one that leaves next once more, beside what the transport
/// below holds.
pub struct KeyedWire<W> {
    pub(super) inner: W,
    pub(super) channel: Channel,
    /// The message that `poll_recv` lent last.
    pub(super) current: Vec<u8>,
    /// A message that was taken, as it is to be sent, and for which `inner` had no room yet.
    out: Vec<u8>,
    /// By which key of this side's list the peer was let in. `None` where this side has one key alone.
    let_in_by: Option<(Keys, KeyId)>,
}

impl<W: Wire> KeyedWire<W> {
    pub(super) fn new(mut inner: W, channel: Channel, let_in_by: Option<(Keys, KeyId)>) -> Self {
        // That of the exchange is over; whoever has the wire now sets another.
        inner.limit_incoming(usize::MAX);
        Self { inner, channel, current: Vec::new(), out: Vec::new(), let_in_by }
    }
}

impl<W> KeyedWire<W>
where
    W: Wire<Error: Into<BoxError>>,
{
    /// Gives the message that waits to `inner`.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), KeyedError>> {
        if !self.out.is_empty() {
            ready!(self.inner.poll_send(cx, &self.out, &[])).map_err(transport)?;
            self.out.clear();
            self.out.shrink_to(KEPT_BYTES);
        }
        Poll::Ready(Ok(()))
    }

    /// Makes a message what is to be sent, in `out`.
    fn protect(&mut self, head: &[u8], body: &[u8]) -> Result<(), KeyedError> {
        let length = head.len() + body.len();
        self.out.reserve_exact(length + self.channel.added_bytes());
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(body);
        self.out.resize(length + self.channel.added_bytes(), 0);
        let protected = self.channel.protect(&mut self.out, length);
        protected.map(drop).map_err(|error| message(&self.inner, error))
    }
}

impl<W> Wire for KeyedWire<W>
where
    W: Wire<Error: Into<BoxError>>,
{
    type Error = KeyedError;

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn peer(&self) -> &str {
        self.inner.peer()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, KeyedError>> {
        let Self { inner, channel, current, .. } = self;
        if channel.removed_bytes() == 0 {
            return inner.poll_recv(cx).map_err(transport);
        }
        // Before there is another one: what it was goes with it.
        current.clear();
        current.shrink_to(KEPT_BYTES);
        let Some(sent) = ready!(inner.poll_recv(cx)).map_err(transport)? else {
            return Poll::Ready(Ok(None));
        };
        current.extend_from_slice(sent);
        Poll::Ready(match channel.open(current) {
            Ok(opened) => Ok(Some(opened)),
            Err(error) => Err(message(inner, error)),
        })
    }

    fn expects_next(&mut self) -> bool {
        self.inner.expects_next()
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), KeyedError>> {
        ready!(self.poll_out(cx))?;
        if self.channel.added_bytes() == 0 {
            return self.inner.poll_send(cx, head, body).map_err(transport);
        }
        self.protect(head, body)?;
        // What there is no room for now waits here: it has its number, so no other may go before it.
        match self.poll_out(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), KeyedError>> {
        ready!(self.poll_out(cx))?;
        self.inner.poll_flush(cx).map_err(transport)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), KeyedError>> {
        ready!(self.poll_out(cx))?;
        self.inner.poll_close(cx).map_err(transport)
    }

    fn progress(&self) -> BytesMoved {
        self.inner.progress()
    }

    fn least_rate_max(&self) -> u32 {
        self.inner.least_rate_max()
    }

    fn limit_incoming(&mut self, bytes_max: usize) {
        self.inner.limit_incoming(bytes_max.saturating_add(ADDED_BYTES_MAX));
    }

    fn admit(&mut self, bytes_max: usize) {
        self.inner.admit(bytes_max.saturating_add(ADDED_BYTES_MAX));
    }

    fn incoming(&self) -> usize {
        self.inner.incoming()
    }

    fn message_bytes_max(&self) -> usize {
        // Without encryption only the first message is longer; the limit is one for all.
        let added = if self.channel.is_sealed() { SEAL_BYTES } else { PROOF_BYTES };
        self.inner.message_bytes_max().saturating_sub(added)
    }

    fn host(&self) -> Option<&str> {
        self.inner.host()
    }

    /// The name that the peer has proven, with a key of that name.
    fn identity(&self) -> Option<&str> {
        Some(self.channel.peer())
    }

    /// It ends with the key: see [`Keys::remove`].
    fn trust(&mut self) -> Trust<'_> {
        match &self.let_in_by {
            Some((keys, id)) if !keys.has(self.channel.peer(), *id) => Trust::Ended(REMOVED),
            _ => self.inner.trust(),
        }
    }

    fn may_lose(&self) -> bool {
        self.inner.may_lose()
    }
}

impl<W: fmt::Debug> fmt::Debug for KeyedWire<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedWire")
            .field("inner", &self.inner)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

fn transport(error: impl Into<BoxError>) -> KeyedError {
    KeyedError::Transport(error.into())
}

fn message(inner: &impl Wire, error: ChannelError) -> KeyedError {
    KeyedError::Message { peer: inner.peer().into(), error }
}
