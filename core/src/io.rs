//! What a runtime and a transport must provide, in terms of `core::task` alone.
//!
//! A runtime gives [`Timer`], [`Dial`] and [`Accept`]; a transport gives [`Connect`], [`Listen`]
//! and [`Wire`] on top of them. N transports and M runtimes are N + M pieces of code. Futures are
//! named associated types, so that generic code can ask whether they are `Send`.

use core::fmt::Display;
use core::future::Future;
use core::task::{Context, Poll};

pub use crate::exposure::Exposure;
use crate::time::Instant;
pub use crate::trust::Trust;

/// A runtime's clock and sleep.
pub trait Timer {
    /// Completes at the time it was made for. Dropping it cancels it.
    type Sleep: Future<Output = ()>;

    /// Returns the time now, from a monotonic clock. All clones of a timer share one epoch.
    fn now(&self) -> Instant;

    /// Returns a future that completes once [`now`](Timer::now) has reached `at`.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;
}

/// A runtime's way to open a byte stream.
///
/// Only whoever opens a stream sees the socket, so set there what a transport counts on: send
/// without delay (`TCP_NODELAY` on TCP), since transports batch messages themselves; and let
/// closing the stream reach the peer (a `shutdown` of the sending direction), not only flush. Over
/// IP also have a silent peer probed (`SO_KEEPALIVE`); the module `net` has what is alike for all
/// runtimes.
pub trait Dial {
    /// The byte stream.
    type Stream;
    /// Why it could not be opened.
    type Error;
    /// Completes with the open stream. Dropping it gives the attempt up.
    type Dialling: Future<Output = Result<Self::Stream, Self::Error>>;

    /// Opens a stream to `address` (`host:port`), resolving a name anew at every call and trying
    /// all addresses that it has (`net::race`): the first may be dead.
    fn dial(&self, address: &str) -> Self::Dialling;

    /// Returns whom an open stream has proven the other end to be: the name that a certificate has, say.
    /// What the other end merely says of itself is none. A transport hands it on
    /// ([`Wire::identity`]).
    ///
    /// The default is `None`: a plain stream proves nothing.
    fn identity(stream: &Self::Stream) -> Option<&str> {
        let _ = stream;
        None
    }

    /// Looks whether that proof still holds. It is asked of an open stream every few seconds
    /// ([`Wire::trust`]), and may look at a clock and a file.
    ///
    /// The default is [`Trust::Holds`].
    fn trust(stream: &mut Self::Stream) -> Trust<'_> {
        let _ = stream;
        Trust::Holds
    }

    /// Declares who may be in between, or at the other end, of a stream to `address`:
    /// [`Exposure::of_address`] for plain TCP. Transports go by it where an address has a scheme: `tls://`
    /// and `wss://` are for streams that are [`Protected`](Exposure::Protected), `tcp://` and `ws://` for the
    /// others.
    fn exposure(&self, address: &str) -> Exposure;
}

/// A runtime's way to take in byte streams that others open. The streams are as [`Dial`] says.
pub trait Accept {
    /// The byte stream.
    type Stream;
    /// Names the other end in errors and events: over IP as `host:port`, which tells its host.
    type Peer: Display;
    /// Why none could be taken, or why one could not be opened.
    type Error;
    /// Completes with the open stream: [`Ready`](core::future::Ready) where there is nothing to do for
    /// it, and the stream's own handshake where there is one (TLS). Dropping it closes the stream. It
    /// has no deadline of its own: a transport awaits it in [`Listen::Accepting`], and so it has its
    /// part of the handshake deadline, and of how many may be pending. An error concerns this stream only.
    type Opening: Future<Output = Result<Self::Stream, Self::Error>>;

    /// Takes the next incoming stream, which is then still to be opened. Waits for nothing that its other
    /// end does. An error means that none could be taken now: the caller pauses, and tries again.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Self::Opening, Self::Peer), Self::Error>>;

    /// Returns whom an open stream has proven the other end to be, as [`Dial::identity`] does.
    ///
    /// The default is `None`: a plain stream proves nothing.
    fn identity(stream: &Self::Stream) -> Option<&str> {
        let _ = stream;
        None
    }

    /// Looks whether that proof still holds, as [`Dial::trust`] does.
    ///
    /// The default is [`Trust::Holds`].
    fn trust(stream: &mut Self::Stream) -> Trust<'_> {
        let _ = stream;
        Trust::Holds
    }

    /// Declares who may be in between, or at the other end, of the streams that come: [`Exposure::of_ip`]
    /// of the address that it listens on for plain TCP.
    fn exposure(&self) -> Exposure;

    /// Returns how many connections the process may still open, less what is kept for others, so that
    /// limits can be held against it. It may look through all that is open: ask at the start, not for
    /// each connection.
    ///
    /// The default is `None`: there is no such limit, or none that is known.
    fn connections_max(&self) -> Option<usize> {
        None
    }
}

/// A transport's way to open a [`Wire`], from dialling to the end of its own handshake.
pub trait Connect {
    /// The connection.
    type Wire: Wire;
    /// Why it could not be made.
    type Error;
    /// Completes with the open wire. Dropping it gives the attempt up. It has no deadline of its
    /// own: whoever polls it has.
    type Connecting: Future<Output = Result<Self::Wire, Self::Error>>;

    /// Starts to connect. Called once for each attempt, never while an earlier one is pending.
    fn connect(&mut self) -> Self::Connecting;

    /// Names the other end in errors and events.
    fn peer(&self) -> &str;

    /// Declares who may be in between, or at the other end, of the wires: what its [`Dial`] says, as a
    /// rule.
    fn exposure(&self) -> Exposure;
}

/// A transport's way to take in wires that others open.
pub trait Listen {
    /// The connection.
    type Wire: Wire;
    /// Why none could be taken, or why a handshake failed.
    type Error;
    /// Completes with the wire after the transport's own handshake. Dropping it closes it. It has
    /// no deadline of its own: whoever polls it has, and limits how many are pending.
    type Accepting: Future<Output = Result<Self::Wire, Self::Error>>;

    /// Takes the next incoming connection, whose handshake is then still to be done. An error
    /// means that none could be taken now (file descriptors ran out, say): pause, then try again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, Self::Error>>;

    /// Declares who may be in between, or at the other end, of the wires that come: what its [`Accept`]
    /// says, as a rule.
    fn exposure(&self) -> Exposure;

    /// Names the host of the connection that [`poll_accept`](Listen::poll_accept) took last, as
    /// [`Wire::host`] will: so its handshake counts for that host before it is over.
    ///
    /// The default is `None`: until then nothing tells it from others.
    fn accepted_host(&self) -> Option<&str> {
        None
    }

    /// Sets whether there is no room for newcomers. While there is none, a transport that has words
    /// for it (HTTP's status 503) sends them away before their own first message; go on to accept
    /// for that, and the handshakes fail. It holds for those under way as well.
    ///
    /// The default does nothing: whoever comes is to be told by the first message instead.
    fn set_full(&mut self, is_full: bool) {
        let _ = is_full;
    }

    /// Returns how many connections there may be, as [`Accept::connections_max`] says it. Links and
    /// handshakes are kept below that.
    ///
    /// The default is `None`: there is no such limit, or none that is known.
    fn connections_max(&self) -> Option<usize> {
        None
    }
}

/// A connection that carries whole messages both ways.
///
/// Any error is final: drop the wire. `poll_recv`, and the three others together, may each keep
/// the waker of the latest `cx` they saw; the caller polls both directions from one task.
pub trait Wire {
    /// Why the connection broke.
    type Error;

    /// Returns which message encoding was agreed on when the wire was made.
    fn dialect(&self) -> Dialect {
        Dialect::Native
    }

    /// Names the other end in errors and events.
    fn peer(&self) -> &str;

    /// Returns the next whole message, or `None` once the peer has closed in an orderly way. The
    /// bytes are valid until the next call on the wire. A part of a message is never returned.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, Self::Error>>;

    /// Returns whether to send what there is to send and then call [`poll_recv`](Wire::poll_recv)
    /// again at once, though nothing says that a message has come. Ask it after a message, and
    /// after a flush.
    ///
    /// A peer on the same machine may have written the next message by then, and to wait for a wake
    /// can cost more than to look. The default is `false`: take messages until there is none, then
    /// send.
    fn expects_next(&mut self) -> bool {
        false
    }

    /// Takes one message, `head` followed by `body`, into the write buffer: whole, or (`Pending`)
    /// not at all, and then wakes once it is worth trying again. What is taken leaves with
    /// [`poll_flush`](Wire::poll_flush), or earlier.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), Self::Error>>;

    /// Completes once everything that was taken has left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;

    /// Flushes, tells the peer that this is the end, and completes when that is done.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;

    /// Returns how many bytes have come and have left so far, those in the middle of a message
    /// included. A caller takes growth for a sign of life, so that a large message on a slow link
    /// is not mistaken for silence.
    ///
    /// The default says nothing, and then only whole messages count.
    fn progress(&self) -> BytesMoved {
        BytesMoved::default()
    }

    /// Returns the highest least rate, in bytes a second, that a caller may ask of what
    /// [`progress`](Wire::progress) tells before it takes this for silence: what a slow line carries when
    /// all is well, and less.
    ///
    /// The default is no limit: the caller's own setting holds.
    fn least_rate_max(&self) -> u32 {
        u32::MAX
    }

    /// Sets the longest message that is taken from now on, in bytes; the transport's own limit
    /// holds as well. A longer one is an error as soon as its length is known, before memory is set
    /// aside for it. A caller keeps it short until the peer has introduced itself.
    ///
    /// The default leaves it at the transport's own limit.
    fn limit_incoming(&mut self, bytes_max: usize) {
        let _ = bytes_max;
    }

    /// Sets the longest message that memory is taken for, in bytes. A longer one waits as soon as its
    /// length is known: [`poll_recv`](Wire::poll_recv) is pending, wakes nobody, and reads nothing
    /// more, so that the transport below holds the peer back. What was read before stays, which is
    /// one read at most. [`incoming`](Wire::incoming) says how long the message is; set at least that
    /// once there is memory for it, and poll again. What is set holds until it is set anew, also for
    /// the messages after that.
    ///
    /// The default lets every message come, and so does a wire where nothing was set.
    fn admit(&mut self, bytes_max: usize) {
        let _ = bytes_max;
    }

    /// Returns how long the message is that waits to be [admitted](Wire::admit), in bytes, or 0 where
    /// none does. A transport that is not told a message's length at once may ask for more than it
    /// turns out to have, and again for the same message.
    ///
    /// The default is 0.
    fn incoming(&self) -> usize {
        0
    }

    /// Returns the longest message that this transport takes to be sent, in bytes: one that is longer
    /// would break the wire, so a caller fails what it belongs to instead.
    ///
    /// The default is no limit.
    fn message_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Names the host at the other end, without a port, where the transport knows one that tells
    /// peers apart: an IP address, as a rule. What is bounded by host is not bounded where this is
    /// `None`, the default.
    fn host(&self) -> Option<&str> {
        None
    }

    /// Returns whom the transport has proven the other end to be, before any message: the name in a
    /// certificate that this end trusts, for one. With one, the peer's name for itself must be that, or that
    /// and an instance (`w1/3`), or it is refused. It stays the same for the life of the wire.
    ///
    /// The default is `None`: nothing is proven.
    fn identity(&self) -> Option<&str> {
        None
    }

    /// Looks whether what the other end has proven still holds, and whether this end's user is to be told
    /// anything of that: a certificate that expires in some days. Ask when the wire is open, and every
    /// few seconds from then on.
    ///
    /// The default is [`Trust::Holds`].
    fn trust(&mut self) -> Trust<'_> {
        Trust::Holds
    }

    /// Returns whether a message may be lost on its way while the wire goes on, as a damaged frame of a
    /// serial line is. Where encryption counts messages, a gap is then no attack.
    ///
    /// The default is `false`: what is sent arrives, or the wire breaks.
    fn may_lose(&self) -> bool {
        false
    }
}

/// How to ask a stream what its other end has proven: for whoever makes a [`Wire`] of it.
#[derive(Debug)]
pub struct Proof<S> {
    /// Whom it has proven to be: [`Dial::identity`].
    pub identity: fn(&S) -> Option<&str>,
    /// Whether that still holds: [`Dial::trust`].
    pub trust: fn(&mut S) -> Trust<'_>,
}

impl<S> Proof<S> {
    /// Returns how to ask a stream of this dialler's.
    #[must_use]
    pub fn of_dial<D: Dial<Stream = S>>() -> Self {
        Self { identity: D::identity, trust: D::trust }
    }

    /// Returns how to ask a stream of this listener's.
    #[must_use]
    pub fn of_accept<A: Accept<Stream = S>>() -> Self {
        Self { identity: A::identity, trust: A::trust }
    }

    /// Returns how to ask a stream that proves nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { identity: |_| None, trust: |_| Trust::Holds }
    }
}

// Not derived: that would ask the same of `S`.
impl<S> Clone for Proof<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Proof<S> {}

/// How many bytes a [`Wire`] has moved each way since it was made, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BytesMoved {
    /// Bytes that came from the peer.
    pub received: u64,
    /// Bytes that were handed to the system below, on their way to the peer.
    pub sent: u64,
}

/// A message encoding, fixed when a [`Wire`] is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Dialect {
    /// [`message`](crate::message): postcard, many in flight.
    #[default]
    Native,
    /// JSON text (module `json`, by feature): that of the Go `worker` package, one in flight.
    Json,
}

#[cfg(test)]
mod tests {
    use core::future::{Ready, ready};

    use super::*;

    /// A transport and a runtime that say no more than they must.
    struct Least;

    type Never = core::convert::Infallible;

    impl Dial for Least {
        type Stream = ();
        type Error = Never;
        type Dialling = Ready<Result<(), Never>>;

        fn dial(&self, _address: &str) -> Self::Dialling {
            ready(Ok(()))
        }

        fn exposure(&self, _address: &str) -> Exposure {
            Exposure::Open
        }
    }

    impl Accept for Least {
        type Stream = ();
        type Peer = &'static str;
        type Error = Never;
        type Opening = Ready<Result<(), Never>>;

        fn poll_accept(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<Result<(Self::Opening, Self::Peer), Never>> {
            Poll::Pending
        }

        fn exposure(&self) -> Exposure {
            Exposure::Open
        }
    }

    impl Listen for Least {
        type Wire = Self;
        type Error = Never;
        type Accepting = Ready<Result<Self, Never>>;

        fn poll_accept(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, Never>> {
            Poll::Pending
        }

        fn exposure(&self) -> Exposure {
            Exposure::Open
        }
    }

    impl Wire for Least {
        type Error = Never;

        fn peer(&self) -> &'static str {
            "least"
        }

        fn poll_recv(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<&[u8]>, Never>> {
            Poll::Pending
        }

        fn poll_send(
            &mut self,
            _cx: &mut Context<'_>,
            _head: &[u8],
            _body: &[u8],
        ) -> Poll<Result<(), Never>> {
            Poll::Ready(Ok(()))
        }

        fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Never>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Never>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_wire_that_says_nothing_of_itself_limits_and_claims_nothing() {
        let mut wire = Least;
        wire.limit_incoming(10);
        wire.admit(10);
        assert_eq!((wire.dialect(), wire.progress()), (Dialect::Native, BytesMoved::default()));
        assert_eq!((wire.least_rate_max(), wire.message_bytes_max()), (u32::MAX, usize::MAX));
        assert_eq!((wire.incoming(), wire.expects_next(), wire.may_lose()), (0, false, false));
        assert_eq!((wire.host(), wire.identity()), (None, None));
        assert_eq!(wire.trust(), Trust::Holds);
    }

    #[test]
    fn sockets_that_say_nothing_of_themselves_prove_and_limit_nothing() {
        for proof in [Proof::of_dial::<Least>(), Proof::of_accept::<Least>(), Proof::none()] {
            #[expect(clippy::clone_on_copy, reason = "either is written by hand")]
            let proof = proof.clone();
            assert_eq!((proof.identity)(&()), None);
            assert_eq!((proof.trust)(&mut ()), Trust::Holds);
        }
        assert_eq!(
            (Accept::connections_max(&Least), Listen::connections_max(&Least)),
            (None, None)
        );
        Least.set_full(true);
        assert_eq!(Least.accepted_host(), None);
    }
}
