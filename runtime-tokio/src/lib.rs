//! Chargehand on tokio: clock, timers, dialling and listening.
//!
//! [`Tokio`] implements both [`Timer`] and [`Dial`], and [`TokioListener`] implements [`Accept`]. They must be
//! used within a tokio runtime, current-thread or multi-thread, that has I/O and time enabled. On Unix,
//! `TokioUnix` and `TokioUnixListener` do the same for Unix domain sockets.
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
//! use chargehand_runtime_tokio::Tokio;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let runtime = Tokio::new(); // what a pool and a worker take
//! let mut listener = Tokio::bind("127.0.0.1:0").await?; // what a transport's listener takes
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
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::{Accept, Dial, Exposure, Timer};
use chargehand_core::net::{Address, SocketOptions};
use chargehand_sockets::{poll_accepted, prepare};
use tokio::net::TcpListener;

pub use self::stream::TokioStream;
#[cfg(unix)]
pub use self::unix::{TokioUnix, TokioUnixListener, TokioUnixStream, UnixDialling};

/// The longest sleep: tokio's own `Instant` cannot represent the whole range of [`Instant`].
const SLEEP_MAX: Duration = Duration::from_secs(86_400 * 365);

/// Resolves to the connected stream.
pub type Dialling = chargehand_sockets::Dialling<TokioStream>;

/// Tokio's clock, timers and dialler.
///
/// Copies share one epoch, the moment of the call to [`Tokio::new`]. The clock is tokio's own, so pausing
/// tokio's time in a test (`tokio::time::pause`), at any moment, pauses this clock and all of its sleeps too.
#[derive(Clone, Copy, Debug)]
pub struct Tokio {
    epoch: tokio::time::Instant,
    options: SocketOptions,
}

impl Tokio {
    /// Returns a clock that starts now.
    pub fn new() -> Self {
        Self { epoch: tokio::time::Instant::now(), options: SocketOptions::new() }
    }

    /// Sets the socket options of dialled connections. A listener has its own:
    /// [`TokioListener::socket_options`].
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
    pub async fn bind(address: &str) -> io::Result<TokioListener> {
        let address = Address::to_listen(address)?;
        let addresses = dial::resolve(&address).await?;
        Ok(TokioListener::new(TcpListener::bind(&addresses[..]).await?))
    }
}

impl Default for Tokio {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for Tokio {
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        Instant::EPOCH.saturating_add(self.epoch.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let span = at.saturating_since(Instant::EPOCH);
        let limit = self.epoch.elapsed().saturating_add(SLEEP_MAX);
        tokio::time::sleep_until(self.epoch + span.min(limit))
    }
}

impl Dial for Tokio {
    type Stream = TokioStream;
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

/// A tokio TCP listener, from [`Tokio::bind`] or a listener of `std`.
#[derive(Debug)]
pub struct TokioListener {
    inner: TcpListener,
    options: SocketOptions,
}

impl TokioListener {
    fn new(inner: TcpListener) -> Self {
        Self { inner, options: SocketOptions::new() }
    }

    /// Sets the socket options of accepted connections.
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Wraps a listener that is already bound.
    ///
    /// # Errors
    /// The system refused to make the socket non-blocking or to register it for events.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::new(TcpListener::from_std(listener)?))
    }

    /// Returns the address it listens on, with the actual port where 0 was asked for.
    ///
    /// # Errors
    /// The system's error. A listening socket does not cause one.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Accept for TokioListener {
    type Stream = TokioStream;
    type Peer = SocketAddr;
    type Error = io::Error;
    type Opening = Ready<io::Result<TokioStream>>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Opening, SocketAddr)>> {
        let (stream, peer) = ready!(poll_accepted(|| self.inner.poll_accept(cx)))?;
        prepare(&stream, &self.options)?;
        Poll::Ready(Ok((future::ready(Ok(TokioStream::new(stream))), peer)))
    }

    fn connections_max(&self) -> Option<usize> {
        chargehand_sockets::descriptors().map(|found| found.left(self.options.descriptors_reserved))
    }

    fn exposure(&self) -> Exposure {
        Exposure::of_bound(&self.local_addr())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_sleep_in_progress_follows_paused_time() {
        let (timer, minute) = (Tokio::new(), Duration::from_secs(60));
        let at = timer.now().saturating_add(2 * minute);
        let mut sleep = std::pin::pin!(timer.sleep_until(at));
        let mut poll_once = async || poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await;
        assert!(poll_once().await.is_pending());
        tokio::time::pause();
        tokio::time::advance(minute).await;
        assert!(poll_once().await.is_pending());
        tokio::time::advance(2 * minute).await;
        assert!(poll_once().await.is_ready());
    }
}
