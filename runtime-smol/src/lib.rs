//! Chargehand on smol: clock, timers, dialling and listening.
//!
//! [`Smol`] implements both [`Timer`] and [`Dial`], and [`SmolListener`] implements [`Accept`]. They work on
//! any executor, since smol's reactor runs on its own thread or inside `smol::block_on`. On Unix, `SmolUnix`
//! and `SmolUnixListener` do the same for Unix domain sockets.
//!
//! Every socket has `TCP_NODELAY` set: transports batch their writes, so whatever they write should be sent
//! at once. It is set here because a transport only sees a byte stream. [`SocketOptions`] has the rest:
//! `SO_KEEPALIVE`, which detects that a peer's machine has vanished, and, on Linux, Android and Apple
//! platforms, how many of the process's file descriptors are kept free of connections.
//!
//! If a name has several addresses, they are dialled in parallel, started 250 ms apart, and the first
//! connection to succeed wins ([`race`]).
//!
//! [`race`]: chargehand_core::net::race
//!
//! # Example
//!
//! ```
//! use std::future::poll_fn;
//! use std::time::Duration;
//! use chargehand_core::io::{Accept, Dial, Timer};
//! use chargehand_runtime_smol::Smol;
//!
//! # smol::block_on(async {
//! let runtime = Smol::new(); // what a pool and a worker take
//! let mut listener = Smol::bind("127.0.0.1:0").await?; // what a transport's listener takes
//! let near = runtime.dial(&listener.local_addr()?.to_string()).await?;
//! let (opening, peer) = poll_fn(|cx| listener.poll_accept(cx)).await?;
//! let far = opening.await?;
//! assert_eq!(peer.to_string(), near.get_ref().local_addr()?.to_string());
//!
//! let until = runtime.now().saturating_add(Duration::from_millis(10));
//! runtime.sleep_until(until).await;
//! assert!(runtime.now() >= until);
//! # drop(far);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod dial;
mod stream;
#[cfg(unix)]
mod unix;

use std::future::{self, Ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chargehand_core::Instant;
use chargehand_core::io::{Accept, Dial, Exposure, Timer};
use chargehand_core::net::{Address, SocketOptions};
use chargehand_sockets::{poll_accepted, prepare};
use smol::Async;

pub use self::stream::SmolStream;
#[cfg(unix)]
pub use self::unix::{SmolUnix, SmolUnixListener, SmolUnixStream, UnixDialling};

/// Resolves to the connected stream.
pub type Dialling = chargehand_sockets::Dialling<SmolStream>;

/// Smol's clock, timers and dialler.
///
/// Copies share one epoch, the moment of the call to [`Smol::new`].
#[derive(Clone, Copy, Debug)]
pub struct Smol {
    epoch: std::time::Instant,
    options: SocketOptions,
}

impl Smol {
    /// Returns a clock that starts now.
    pub fn new() -> Self {
        Self { epoch: std::time::Instant::now(), options: SocketOptions::new() }
    }

    /// Sets the socket options of dialled connections. A listener has its own:
    /// [`SmolListener::socket_options`].
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Listens on `address`, which is `host:port`, optionally preceded by `tcp://` (see [`Address`]). Port 0
    /// picks a free port.
    ///
    /// # Errors
    /// The address is invalid or cannot be resolved (the text says what is wrong with it), or the system
    /// refused: if the port is in use, choose another.
    pub async fn bind(address: &str) -> io::Result<SmolListener> {
        let address = Address::to_listen(address)?;
        let addresses = dial::resolve(&address).await?;
        SmolListener::from_std(TcpListener::bind(&addresses[..])?)
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for Smol {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::EPOCH.saturating_add(self.epoch.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let span = at.saturating_since(Instant::EPOCH);
        Sleep(self.epoch.checked_add(span).map_or_else(smol::Timer::never, smol::Timer::at))
    }
}

/// Completes at the given time. Dropping it cancels it.
#[derive(Debug)]
#[must_use = "a sleep does nothing until it is polled"]
pub struct Sleep(smol::Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Dial for Smol {
    type Stream = SmolStream;
    type Error = io::Error;
    type Dialling = Dialling;

    fn dial(&self, address: &str) -> Dialling {
        let (address, options) = (Address::to_dial(address), self.options);
        Dialling::new(async move {
            let address = address?;
            let resolved = dial::resolve(&address).await?;
            dial::connect(&address, resolved, options).await
        })
    }

    fn exposure(&self, address: &str) -> Exposure {
        Exposure::of_address(address)
    }
}

/// A smol TCP listener, from [`Smol::bind`] or a listener of `std`.
#[derive(Debug)]
pub struct SmolListener {
    inner: Async<TcpListener>,
    options: SocketOptions,
}

impl SmolListener {
    /// Sets the socket options of accepted connections.
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Wraps a listener that is already bound.
    ///
    /// # Errors
    /// The system refused to make the socket non-blocking or to register it for events.
    pub fn from_std(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { inner: Async::new(listener)?, options: SocketOptions::new() })
    }

    /// Returns the address it listens on, with the actual port where 0 was asked for.
    ///
    /// # Errors
    /// The system's error. A listening socket does not cause one.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.get_ref().local_addr()
    }
}

impl Accept for SmolListener {
    type Stream = SmolStream;
    type Peer = SocketAddr;
    type Error = io::Error;
    type Opening = Ready<io::Result<SmolStream>>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Opening, SocketAddr)>> {
        let (stream, peer) = ready!(poll_accept(&self.inner, cx, TcpListener::accept))?;
        prepare(&stream, &self.options)?;
        let stream = SmolStream::new(Async::new(stream)?);
        Poll::Ready(Ok((future::ready(Ok(stream)), peer)))
    }

    fn connections_max(&self) -> Option<usize> {
        chargehand_sockets::descriptors().map(|found| found.left(self.options.descriptors_reserved))
    }

    fn exposure(&self) -> Exposure {
        Exposure::of_bound(&self.local_addr())
    }
}

/// Accepts the next connection in a listener's queue.
fn poll_accept<L, T>(
    listener: &Async<L>,
    cx: &mut Context<'_>,
    accept: impl Fn(&L) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    poll_accepted(|| {
        loop {
            match accept(listener.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(listener.poll_readable(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    })
}
