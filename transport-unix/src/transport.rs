//! Messages on Unix domain sockets.
//!
//! A stream is a stream, so the wire is that of TCP. What is left to do is what a transport is there for:
//! what an address means, whom to name in errors, and what to do about these.

use std::io;
use std::task::{Context, Poll};

use chargehand_core::io::{Accept, Connect, Dial, Exposure, Listen, Proof};
use chargehand_transport_tcp::{
    Accepting, BoxError, Connecting, Limits, TcpError, TcpListener, TcpWire,
};
use futures_io::{AsyncRead, AsyncWrite};

use crate::address::{AddressError, name, path_of};
use crate::file::SocketFile;

/// A connection that carries messages over a Unix domain socket.
pub type UnixWire<S> = TcpWire<S>;

/// Why a wire broke, or could not be made. The text names the peer and, where there is one, the
/// remedy.
pub type UnixError = TcpError;

/// Opens wires to one socket.
#[derive(Clone, Debug)]
pub struct UnixConnector<D> {
    dial: D,
    path: Box<str>,
    peer: Box<str>,
    limits: Limits,
}

impl<D> UnixConnector<D> {
    /// Makes a connector to `address`, which is `unix:///path`, or a path with a slash in it. `dial` gets
    /// the path.
    ///
    /// # Errors
    /// Says what is wrong with the address.
    pub fn new(dial: D, address: &str) -> Result<Self, AddressError> {
        let path = path_of(address)?;
        Ok(Self { dial, path: path.into(), peer: name(path), limits: Limits::new() })
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl<D> Connect for UnixConnector<D>
where
    D: Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = UnixWire<D::Stream>;
    type Error = UnixError;
    type Connecting = Connecting<D::Dialling, D::Stream>;

    fn connect(&mut self) -> Self::Connecting {
        Connecting::new(self.dial.dial(&self.path), &self.peer, self.limits, Proof::of_dial::<D>())
            .explained(explained)
    }

    fn peer(&self) -> &str {
        &self.peer
    }

    fn exposure(&self) -> Exposure {
        self.dial.exposure(&self.path)
    }
}

/// Adds the remedy to what the system says of a socket that it does not connect to.
fn explained(error: BoxError) -> BoxError {
    let Some(kind) = error.downcast_ref::<io::Error>().map(io::Error::kind) else { return error };
    let remedy = match kind {
        io::ErrorKind::NotFound => "is the other end running, and does it listen on this path?",
        io::ErrorKind::ConnectionRefused => {
            "nobody listens: start the other end, which replaces a file that was left behind"
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not write to the socket, or not enter its directory: see the mode that \
             the listener sets (UnixSocket::mode)"
        }
        io::ErrorKind::WouldBlock => "as many connections as it can hold wait for the listener",
        _ => return error,
    };
    io::Error::new(kind, format!("{error}: {remedy}")).into()
}

/// Takes in wires that others open. Made by [`UnixSocket::listen`](crate::UnixSocket::listen).
///
/// Dropping it removes the socket file.
#[derive(Debug)]
pub struct UnixListener<A> {
    /// Before `inner`, and so dropped before it: while the socket is open no other file can have
    /// come by its inode's number.
    file: SocketFile,
    inner: TcpListener<A>,
}

impl<A> UnixListener<A> {
    pub(crate) fn new(accept: A, file: SocketFile) -> Self {
        Self { file, inner: TcpListener::new(accept) }
    }

    /// Sets other limits than the default ones.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { inner: self.inner.limits(limits), ..self }
    }

    /// Returns the path that it listens on, as it was given.
    pub fn path(&self) -> &str {
        self.file.path()
    }
}

impl<A> Listen for UnixListener<A>
where
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    type Wire = UnixWire<A::Stream>;
    type Error = UnixError;
    type Accepting = Accepting<A::Opening, A::Stream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, UnixError>> {
        self.inner.poll_accept(cx)
    }

    fn connections_max(&self) -> Option<usize> {
        self.inner.connections_max()
    }

    fn exposure(&self) -> Exposure {
        self.inner.exposure()
    }
}
