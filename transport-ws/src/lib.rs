//! Chargehand over WebSocket, on any byte stream.
//!
//! [`WsConnector`] dials, [`WsListener`] accepts, and both give a [`WsWire`]. The byte streams come
//! from a runtime crate through [`Dial`] and [`Accept`], and need the `futures_io` traits. For
//! `wss://`, give a `Dial` that speaks TLS (`TlsDial` of `chargehand-transport-tls`).
//!
//! The native dialect is the subprotocol `chargehand.2` in binary messages. The JSON dialect of the
//! Go `worker` package is no subprotocol at all and text messages. A connector is told which one to
//! use ([`WsConnector::dialect`]); a listener sees it in the request, and serves the JSON one only
//! when it was told to ([`WsListener::json`]).
//!
//! A pool takes the connector and a worker the listener (`Builder::connect` and `Worker::serve` of
//! `chargehand`). Each end of a link is a [`Wire`](chargehand_core::io::Wire), of whole messages:
//!
//! ```
//! use std::future::poll_fn;
//! use chargehand_core::io::{Connect, Listen, Wire};
//! use chargehand_runtime_smol::Smol;
//! use chargehand_transport_ws::{WsConnector, WsListener};
//!
//! # smol::block_on(async {
//! let socket = Smol::bind("127.0.0.1:0").await?;
//! let address = format!("ws://{}", socket.local_addr()?);
//! let mut listener = WsListener::new(socket);
//! let mut connector = WsConnector::new(Smol::new(), &address)?;
//! let (near, far) = smol::future::zip(connector.connect(), async {
//!     poll_fn(|cx| listener.poll_accept(cx)).await?.await
//! })
//! .await;
//! let (mut near, mut far) = (near?, far?);
//!
//! poll_fn(|cx| near.poll_send(cx, b"head, ", b"body")).await?;
//! poll_fn(|cx| near.poll_flush(cx)).await?;
//! let message = poll_fn(|cx| far.poll_recv(cx).map_ok(|message| message.map(<[u8]>::to_vec)));
//! assert_eq!(message.await?.as_deref(), Some(&b"head, body"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Who gets in
//!
//! A listener agrees to whatever path and host a client asks for. A client that says whose page it
//! runs in (an `Origin`, as browsers do) gets status 403 unless that one was allowed
//! ([`WsListener::allow_origin`]); one that says none is no browser and always gets in. While there
//! is no room ([`Listen::set_full`]) newcomers get status 503 with `Retry-After: 1`, before any of
//! the protocol's own greetings.
//!
//! # Behind a route of another HTTP server
//!
//! Where axum, hyper or another server has the port, an [`Upgrader`] judges a route's requests by the
//! same rules, and an [`UpgradeListener`] takes the connections that come of them: see [`Upgrades`].
//!
//! On `wasm32-unknown-unknown` this crate is empty: implement `Connect` and `Wire` over the browser's own
//! `WebSocket` there.
//!
//! There are no deadlines here, for the handshake or for messages: the caller who polls sets them.
#![cfg_attr(docsrs, feature(doc_cfg))]
// It has neither a clock nor random numbers, nor streams that a handshake could be done on: the facade
// says what to do instead.
#![cfg(not(all(target_family = "wasm", target_os = "unknown")))]

mod address;
mod bearer;
mod client;
mod denial;
mod door;
mod error;
mod frame;
mod head;
mod headers;
mod idle;
mod origin;
mod reader;
mod server;
mod upgrade;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

use std::task::{Context, Poll};

use chargehand_core::io::{Accept, Connect, Dial, Dialect, Exposure, Listen, Proof};
use futures_io::{AsyncRead, AsyncWrite};

pub use crate::address::AddressError;
use crate::address::{Peer, Target};
pub use crate::bearer::TokenError;
use crate::bearer::{Bearers, Token};
pub use crate::client::Connecting;
use crate::door::Door;
pub use crate::error::{BoxError, WsError};
pub use crate::server::Accepting;
pub use crate::upgrade::{Refused, Upgrade, UpgradeListener, Upgrader, Upgrades};
pub use crate::wire::WsWire;

/// The WebSocket subprotocol of the native dialect.
pub const SUBPROTOCOL: &str = "chargehand.2";

/// How much one connection may make this end hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long a message may be, either way, in however many frames. Until the peer has introduced
    /// itself, a pool or a worker takes shorter ones only ([`Wire::limit_incoming`]). Default
    /// 16 MiB.
    ///
    /// [`Wire::limit_incoming`]: chargehand_core::io::Wire::limit_incoming
    pub message_bytes_max: usize,
    /// How long a received frame's payload may be; one that announces more is refused. Default
    /// 16 MiB.
    pub frame_bytes_max: usize,
    /// From how many bytes on messages are written without waiting for a flush. While these cannot
    /// leave a sender waits, so that no more is held than this and one message. Default 16 KiB.
    pub write_buffer_bytes: usize,
    /// How many bytes one read takes at most, but for long messages; each connection holds a buffer
    /// of this size. At least 139 B, one control frame. Default 4 KiB, and 512 B at most in the JSON
    /// dialect, whose messages are short.
    pub read_buffer_bytes: usize,
    /// How many frames that carry nothing a peer may send at once: pings, pongs, empty messages, and
    /// fragments below 16 bytes that do not end a message. A whole message makes up for four. One
    /// more ends the connection with code 1008. Default 256.
    pub idle_frames_burst: u32,
    /// How many such frames a peer may send each second after that, without any message. Default 64.
    pub idle_frames_per_second: u32,
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
            idle_frames_burst: 256,
            idle_frames_per_second: 64,
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
    token: Option<Token>,
    limits: Limits,
}

impl<D> WsConnector<D> {
    /// Makes a connector to `url`, which is `[ws://]host[:port][/path][?query]`; without a port, to
    /// port 80, and without a path, to `/`. Over a `dial` that speaks TLS it is `wss://`, and the usual
    /// port 443: neither takes the other, so that nothing goes in plain that should not. The name is not
    /// resolved here but at every connect.
    ///
    /// # Errors
    /// Says what is wrong with the URL.
    pub fn new(dial: D, url: &str) -> Result<Self, AddressError>
    where
        D: Dial,
    {
        let target = Target::parse(url, dial.exposure(url) == Exposure::Protected)?;
        let dialect = Dialect::Native;
        Ok(Self { dial, target, dialect, token: None, limits: Limits::new() })
    }

    /// Sets the dialect that the worker at the other end speaks: [`Dialect::Json`] for one of the
    /// Go `worker` package, which cannot be detected. Default [`Dialect::Native`].
    #[must_use]
    pub fn dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Sets the token that shows the other end who this is ([`WsListener::bearers`] there), in the header
    /// `Authorization: Bearer`, and never in the URL. For what is behind an ingress that ends TLS; with none
    /// in between, a member's certificate or key proves more, to both ends. Whoever reads the request has
    /// the token, so send it over TLS only.
    ///
    /// # Errors
    /// Returns [`TokenError`] for what is no token of RFC 6750 with 22 to 4096 bytes.
    pub fn bearer(self, token: &str) -> Result<Self, TokenError> {
        Ok(Self { token: Some(Token::new(token)?), ..self })
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
        let (target, token) = (self.target.clone(), self.token.clone());
        Connecting::new(dialling, Proof::of_dial::<D>(), target, self.dialect, token, self.limits)
    }

    fn peer(&self) -> &str {
        &self.target.url
    }

    /// As the [`Dial`] says; what is open is waived for workers of the Go package, which know no protection.
    fn exposure(&self) -> Exposure {
        self.dial.exposure(&self.target.address).waived_if(self.dialect == Dialect::Json)
    }
}

/// Takes in wires that others open.
#[derive(Debug)]
pub struct WsListener<A> {
    accept: A,
    door: Door,
    /// The host of the latest stream.
    host: Option<Box<str>>,
}

impl<A> WsListener<A> {
    /// Makes a listener over a runtime's. Whatever path a client asks for, it is accepted.
    pub fn new(accept: A) -> Self {
        Self { accept, door: Door::new(), host: None }
    }

    /// Sets whether a client that offers no subprotocol is taken for one of the Go `worker` package
    /// and gets the JSON dialect. Default `false`: such a client is refused.
    ///
    /// Clients of the Go package say that they were of the origin `http://localhost`, which is
    /// allowed with this, and without it refused as any other.
    #[must_use]
    pub fn json(mut self, json: bool) -> Self {
        self.door.json = json;
        self
    }

    /// Allows pages of this origin, `scheme://host[:port]`, to connect, besides those that were
    /// allowed before. Default none: a browser that opens a connection gets status 403, whoever
    /// wrote the page that it shows.
    ///
    /// Upper and lower case are one, and so are no port and the scheme's usual one. `null`, which
    /// browsers say of pages without an origin, cannot be allowed. Clients that are no browsers say
    /// no origin, or whatever they like: this keeps strangers' pages out, and nobody else.
    ///
    /// # Errors
    /// Says what is wrong with the origin.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, AddressError> {
        self.door.allow_origin(origin)?;
        Ok(self)
    }

    /// Sets the bearer tokens that let clients in, each with the identity that it stands for, which becomes
    /// that of the wire ([`Wire::identity`](chargehand_core::io::Wire::identity)). A client without one gets
    /// status 401, unless its stream has proven who it is (a certificate, say), and so does one whose token
    /// stands for nobody; tokens are compared in a time that does not tell how much of one is right. They
    /// count in the header `Authorization` only, never in a URL.
    ///
    /// Other headers say nothing of a client: `Forwarded`, `X-Forwarded-For` and the like, which anybody can
    /// write, are not read, and behind a proxy all clients are of its host.
    ///
    /// # Errors
    /// Returns [`TokenError`] for what is no token of RFC 6750 with 22 to 4096 bytes, and for an empty identity.
    pub fn bearers<T, I>(
        mut self,
        tokens: impl IntoIterator<Item = (T, I)>,
    ) -> Result<Self, TokenError>
    where
        T: AsRef<str>,
        I: Into<String>,
    {
        self.door.set_bearers(Bearers::new(tokens)?);
        Ok(self)
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.door.limits = limits;
        self
    }
}

impl<A> Listen for WsListener<A>
where
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = WsWire<A::Stream>;
    type Error = WsError;
    type Accepting = Accepting<A::Opening, A::Stream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, WsError>> {
        self.accept.poll_accept(cx).map(|result| match result {
            Ok((opening, peer)) => {
                let peer = Peer::of(&peer);
                self.host.clone_from(&peer.host);
                Ok(Accepting::new(opening, Proof::of_accept::<A>(), peer, self.door.clone()))
            }
            Err(error) => Err(WsError::Accept { error: error.into() }),
        })
    }

    fn set_full(&mut self, is_full: bool) {
        self.door.set_full(is_full);
    }

    fn connections_max(&self) -> Option<usize> {
        self.accept.connections_max()
    }

    fn accepted_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// As the [`Accept`] says; what is open is waived where the JSON dialect is on.
    fn exposure(&self) -> Exposure {
        self.accept.exposure().waived_if(self.door.json)
    }
}
