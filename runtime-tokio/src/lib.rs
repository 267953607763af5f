//! Chargehand on tokio: clock, sleep, dial and listen.
//!
//! [`Tokio`] is both the [`Timer`] and the [`Dial`]; [`TokioListener`] is the [`Accept`]. All need
//! a tokio runtime with I/O and time enabled around them, current-thread or multi-thread. On Unix
//! `TokioUnix` and `TokioUnixListener` are the same for Unix domain sockets.
//!
//! Every socket gets `TCP_NODELAY`: a transport batches its writes itself, so what it writes should
//! leave at once. It is set here, because a transport only sees a byte stream. The rest is set by
//! [`SocketOptions`]: on Linux, Android and Apple's systems a peer whose machine has vanished is
//! found out by `SO_KEEPALIVE`, and the last file descriptors of the process are left for its files.
//!
//! A name's addresses are tried beside each other, a quarter of a second apart ([`race`]).
//!
//! [`race`]: chargehand_core::net::race

mod dial;
mod sleep;
mod sockets;
#[cfg(any(target_os = "android", target_os = "linux"))]
mod system_timer;
#[cfg(unix)]
mod unix;

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::{Accept, Dial, Timer};
use chargehand_core::net::{Address, Descriptors, SocketOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

pub use self::dial::Dialling;
pub use self::sleep::Sleep;
#[cfg(unix)]
pub use self::unix::{TokioUnix, TokioUnixListener, TokioUnixStream, UnixDialling};

/// How far ahead a sleep may lie: tokio cannot add the whole range of [`Instant`] to its own.
const SLEEP_MAX: Duration = Duration::from_secs(86_400 * 365);

/// A TCP stream of tokio with the `futures_io` traits.
pub type TokioStream = Compat<TcpStream>;

/// Tokio's clock, sleep and dialler.
///
/// Copies share one epoch, the moment of [`Tokio::new`]. The clock is tokio's own, so a test that
/// pauses tokio's time pauses this one too: before its pool and its workers are polled first, for a
/// [`Sleep`] that is under way may be the system's.
#[derive(Clone, Copy, Debug)]
pub struct Tokio {
    epoch: tokio::time::Instant,
    options: SocketOptions,
}

impl Tokio {
    /// Makes a clock that starts now.
    pub fn new() -> Self {
        Self { epoch: tokio::time::Instant::now(), options: SocketOptions::new() }
    }

    /// Sets other options than the default ones for what is dialled. A listener has its own:
    /// [`TokioListener::socket_options`].
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Listens on `address`: `host:port` or the same after `tcp://`, as [`Address`] has it for both
    /// ends; port 0 takes any free one.
    ///
    /// # Errors
    /// Says what is wrong with the address, or what the system said: choose another port when it is in
    /// use.
    pub async fn bind(address: &str) -> io::Result<TokioListener> {
        let address = Address::to_listen(address).map_err(dial::invalid)?;
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
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::EPOCH.saturating_add(self.epoch.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let span = at.saturating_since(Instant::EPOCH);
        let limit = self.epoch.elapsed().saturating_add(SLEEP_MAX);
        Sleep::until(self.epoch + span.min(limit))
    }

    fn descriptors(&self) -> Option<Descriptors> {
        sockets::descriptors()
    }
}

impl Dial for Tokio {
    type Stream = TokioStream;
    type Error = io::Error;
    type Dialling = Dialling;

    fn dial(&self, address: &str) -> Dialling {
        dial::dial(address, self.options)
    }
}

/// A TCP listener of tokio, made by [`Tokio::bind`] or from one of `std`.
#[derive(Debug)]
pub struct TokioListener {
    inner: TcpListener,
    options: SocketOptions,
}

impl TokioListener {
    fn new(inner: TcpListener) -> Self {
        Self { inner, options: SocketOptions::new() }
    }

    /// Sets other options than the default ones for what is accepted.
    #[must_use]
    pub fn socket_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Takes over a listener that is bound already.
    ///
    /// # Errors
    /// Says what the system said when it refused to make the socket non-blocking, or to watch it.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::new(TcpListener::from_std(listener)?))
    }

    /// Returns the address that it listens on, with the real port.
    ///
    /// # Errors
    /// Says what the system said; it does not fail on a socket that listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Accept for TokioListener {
    type Stream = TokioStream;
    type Peer = SocketAddr;
    type Error = io::Error;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioStream, SocketAddr)>> {
        loop {
            match self.inner.poll_accept(cx) {
                Poll::Ready(Ok((stream, peer))) => {
                    let prepared = sockets::prepare(&stream, &self.options);
                    return Poll::Ready(prepared.map(|()| (stream.compat(), peer)));
                }
                // One peer left the queue: that is no reason to pause for the others.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(sockets::explained(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_dialled_stream_reaches_the_listener_and_neither_end_delays() {
        let mut listener = Tokio::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialling = Tokio::new().dial(&address.to_string());
        let (dialled, accepted) = tokio::join!(dialling, poll_fn(|cx| listener.poll_accept(cx)));
        let mut dialled = dialled.unwrap().into_inner();
        let (accepted, peer) = accepted.unwrap();
        let mut accepted = accepted.into_inner();

        assert_eq!(peer, dialled.local_addr().unwrap());
        assert!(dialled.nodelay().unwrap());
        assert!(accepted.nodelay().unwrap());
        dialled.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        accepted.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
        dialled.shutdown().await.unwrap();
        assert_eq!(accepted.read(&mut read).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_name_is_resolved() {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut listener = TokioListener::from_std(std).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialling = Tokio::new().dial(&format!("localhost:{port}"));
        let (dialled, accepted) = tokio::join!(dialling, poll_fn(|cx| listener.poll_accept(cx)));
        assert!(dialled.is_ok());
        assert!(accepted.is_ok());
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        let free = Tokio::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Tokio::new().dial(&free.to_string()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_sleep_ends_at_its_time_by_the_same_clock() {
        let timer = Tokio::new();
        let copy = timer;
        let at = timer.now().saturating_add(Duration::from_millis(30));
        copy.sleep_until(at).await;
        assert!(timer.now() >= at);
    }

    #[tokio::test]
    async fn a_sleep_to_the_far_future_is_pending_and_one_to_the_past_is_not() {
        let timer = Tokio::new();
        let never = timer.sleep_until(Instant::FAR_FUTURE);
        let soon = timer.sleep_until(Instant::EPOCH);
        tokio::select! {
            biased;
            () = never => panic!("the far future came"),
            () = soon => {}
        }
    }

    #[test]
    fn futures_and_streams_can_move_between_threads() {
        fn assert_send<T: Send>() {}
        assert_send::<Dialling>();
        assert_send::<TokioStream>();
        assert_send::<TokioListener>();
        assert_send::<<Tokio as Timer>::Sleep>();
    }
}
