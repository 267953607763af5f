//! Chargehand over TCP, or any other byte stream: 4 bytes of length before each message.
//!
//! [`TcpConnector`] dials, [`TcpListener`] accepts, and both give a [`TcpWire`]. The byte streams
//! come from a runtime crate through [`Dial`] and [`Accept`], and need the `futures_io` traits; a
//! `Dial` that speaks TLS composes below as well as plain TCP does. The stream should send without
//! delay (`TCP_NODELAY`), which whoever opens it has to set: this crate batches messages itself.
//!
//! There is no deadline here, nor any handshake but the stream's own, where it has one: whoever drives a wire has both, and is helped by
//! `progress`, which counts bytes within a message as well, and `limit_incoming`, which holds a peer to the length
//! of a greeting until it has sent one. `host` is what [`host_of`] makes of the peer's address.
//!
//! [`host_of`]: chargehand_core::net::host_of
//!
//! # Example
//!
//! A pool takes the connector and a worker the listener (`Builder::connect` and `Worker::serve` of
//! `chargehand`). Each end of a link is a [`Wire`](chargehand_core::io::Wire), of whole messages:
//!
//! ```
//! use std::future::poll_fn;
//! use chargehand_core::io::{Connect, Listen, Wire};
//! use chargehand_runtime_smol::Smol;
//! use chargehand_transport_tcp::{TcpConnector, TcpListener};
//!
//! # smol::block_on(async {
//! let socket = Smol::bind("127.0.0.1:0").await?;
//! let address = format!("{}", socket.local_addr()?);
//! let mut listener = TcpListener::new(socket);
//! let mut connector = TcpConnector::new(Smol::new(), &address)?;
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
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod guess;
mod opening;
mod wire;

use std::task::{Context, Poll};

use chargehand_core::io::{Accept, Connect, Dial, Exposure, Listen, Proof};
use chargehand_core::net::Address;
use chargehand_core::net::host_of;
use futures_io::{AsyncRead, AsyncWrite};

pub use chargehand_core::net::AddressError;

pub use crate::error::{BoxError, TcpError};
pub use crate::opening::{Accepting, Connecting};
pub use crate::wire::TcpWire;

/// How much one connection may make this end hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long a message may be, either way. One that announces more is refused before anything
    /// is allocated; one within the limit takes memory only as it arrives. Default 16 MiB.
    pub frame_bytes_max: usize,
    /// How many bytes may wait for the peer to read. Past it a sender waits; one message always
    /// fits, however long. Default 256 KiB.
    pub write_buffer_bytes_max: usize,
}

impl Limits {
    /// Makes the default limits.
    pub const fn new() -> Self {
        Self { frame_bytes_max: 16 << 20, write_buffer_bytes_max: 256 << 10 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens wires to one address.
#[derive(Clone, Debug)]
pub struct TcpConnector<D> {
    dial: D,
    address: Box<str>,
    limits: Limits,
}

impl<D> TcpConnector<D> {
    /// Makes a connector to `address`: `host:port`, or the same after `tcp://`, as [`Address`] has
    /// it for both ends. Over a `dial` that speaks TLS it is `tls://`: neither takes the other, so that
    /// nothing goes in plain that should not. The name is not resolved here but at every connect.
    ///
    /// # Errors
    /// Says what is wrong with the address.
    pub fn new(dial: D, address: &str) -> Result<Self, AddressError>
    where
        D: Dial,
    {
        let address = if dial.exposure(address) == Exposure::Protected {
            Address::to_dial_over_tls(address)?
        } else {
            Address::to_dial(address)?
        };
        Ok(Self { dial, address: address.to_string().into(), limits: Limits::new() })
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl<D> Connect for TcpConnector<D>
where
    D: Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = TcpWire<D::Stream>;
    type Error = TcpError;
    type Connecting = Connecting<D::Dialling, D::Stream>;

    fn connect(&mut self) -> Self::Connecting {
        Connecting::new(
            self.dial.dial(&self.address),
            &self.address,
            self.limits,
            Proof::of_dial::<D>(),
        )
    }

    fn peer(&self) -> &str {
        &self.address
    }

    fn exposure(&self) -> Exposure {
        self.dial.exposure(&self.address)
    }
}

/// Takes in wires that others open.
#[derive(Debug)]
pub struct TcpListener<A> {
    accept: A,
    limits: Limits,
    /// The host of the latest stream.
    host: Option<Box<str>>,
}

impl<A> TcpListener<A> {
    /// Makes a listener over a runtime's.
    pub fn new(accept: A) -> Self {
        Self { accept, limits: Limits::new(), host: None }
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl<A> Listen for TcpListener<A>
where
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = TcpWire<A::Stream>;
    type Error = TcpError;
    type Accepting = Accepting<A::Opening, A::Stream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, TcpError>> {
        self.accept.poll_accept(cx).map(|result| match result {
            Ok((opening, peer)) => {
                let peer = peer.to_string();
                self.host = host_of(&peer);
                Ok(Accepting::new(opening, &peer, self.limits, Proof::of_accept::<A>()))
            }
            Err(error) => Err(TcpError::Accept { error: error.into() }),
        })
    }

    fn connections_max(&self) -> Option<usize> {
        self.accept.connections_max()
    }

    fn accepted_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn exposure(&self) -> Exposure {
        self.accept.exposure()
    }
}
