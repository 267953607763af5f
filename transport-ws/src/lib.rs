//! Chargehand over WebSocket, on any byte stream.
//!
//! [`WsConnector`] dials, [`WsListener`] accepts, and both give a [`WsWire`]. The byte streams come
//! from a runtime crate through [`Dial`] and [`Accept`], and need the `futures_io` traits. For
//! `wss://`, give a `Dial` that speaks TLS and a `ws://` URL.
//!
//! The native dialect is the subprotocol `chargehand.2` in binary messages. The JSON dialect of the
//! Go `worker` package is no subprotocol at all and text messages. A connector is told which one to
//! use ([`WsConnector::dialect`]); a listener sees it in the request, and serves the JSON one only
//! when it was told to ([`WsListener::json`]).
//!
//! There is no deadline here, neither for the handshake nor for a message: whoever polls has them.

mod address;
mod client;
mod error;
mod head;
mod paced;
mod server;
mod wire;

#[cfg(test)]
mod handshake_tests;

use std::task::{Context, Poll};

use chargehand_core::io::{Accept, Connect, Dial, Dialect, Listen};
use futures_io::{AsyncRead, AsyncWrite};

pub use crate::address::AddressError;
use crate::address::Target;
pub use crate::client::Connecting;
pub use crate::error::{BoxError, WsError};
pub use crate::server::Accepting;
pub use crate::wire::WsWire;

/// The WebSocket subprotocol of the native dialect.
pub const SUBPROTOCOL: &str = "chargehand.2";

/// How much one connection may make this end hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long a message may be, either way, in however many frames. A connection keeps the memory
    /// of the longest message that it received. Default 16 MiB.
    pub message_bytes_max: usize,
    /// How long a received frame's payload may be; one that announces more is refused. Default
    /// 16 MiB.
    pub frame_bytes_max: usize,
    /// From how many bytes on messages are written without waiting for a flush. While these cannot
    /// leave a sender waits, so that no more is held than this and one message. Default 16 KiB.
    pub write_buffer_bytes: usize,
    /// How many bytes one read takes at most; each connection holds a buffer of this size. Default
    /// 4 KiB, and 512 B at most in the JSON dialect, whose messages are short.
    pub read_buffer_bytes: usize,
    /// How long the peer's part of the HTTP handshake may be. Default 16 KiB.
    pub handshake_bytes_max: usize,
}

impl Limits {
    /// Makes the default limits.
    pub const fn new() -> Self {
        Self {
            message_bytes_max: 16 << 20,
            frame_bytes_max: 16 << 20,
            write_buffer_bytes: 16 << 10,
            read_buffer_bytes: 4 << 10,
            handshake_bytes_max: 16 << 10,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens wires to one URL.
#[derive(Clone, Debug)]
pub struct WsConnector<D> {
    dial: D,
    target: Target,
    dialect: Dialect,
    limits: Limits,
}

impl<D> WsConnector<D> {
    /// Makes a connector to `url`, which is `ws://host[:port][/path][?query]`; without a port, to
    /// port 80. The name is not resolved here but at every connect.
    ///
    /// # Errors
    /// Says what is wrong with the URL.
    pub fn new(dial: D, url: &str) -> Result<Self, AddressError> {
        let target = Target::parse(url)?;
        Ok(Self { dial, target, dialect: Dialect::Native, limits: Limits::new() })
    }

    /// Sets the dialect that the worker at the other end speaks: [`Dialect::Json`] for one of the
    /// Go `worker` package, which cannot be detected. Default [`Dialect::Native`].
    #[must_use]
    pub fn dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl<D> Connect for WsConnector<D>
where
    D: Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = WsWire<D::Stream>;
    type Error = WsError;
    type Connecting = Connecting<D::Dialling, D::Stream>;

    fn connect(&mut self) -> Self::Connecting {
        let dialling = self.dial.dial(&self.target.address);
        Connecting::new(dialling, self.target.clone(), self.dialect, self.limits)
    }

    fn peer(&self) -> &str {
        &self.target.url
    }
}

/// Takes in wires that others open.
#[derive(Debug)]
pub struct WsListener<A> {
    accept: A,
    json: bool,
    limits: Limits,
}

impl<A> WsListener<A> {
    /// Makes a listener over a runtime's. Whatever path a client asks for, it is accepted.
    pub fn new(accept: A) -> Self {
        Self { accept, json: false, limits: Limits::new() }
    }

    /// Sets whether a client that offers no subprotocol is taken for one of the Go `worker` package
    /// and gets the JSON dialect. Default `false`: such a client is refused.
    #[must_use]
    pub fn json(self, json: bool) -> Self {
        Self { json, ..self }
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl<A> Listen for WsListener<A>
where
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = WsWire<A::Stream>;
    type Error = WsError;
    type Accepting = Accepting<A::Stream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, WsError>> {
        self.accept.poll_accept(cx).map(|result| match result {
            Ok((stream, peer)) => {
                Ok(Accepting::new(stream, &peer.to_string(), self.json, self.limits))
            }
            Err(error) => Err(WsError::Accept { error: error.into() }),
        })
    }
}
