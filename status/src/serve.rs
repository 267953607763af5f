//! The routes on an address of their own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use chargehand::core::io::Exposure;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use crate::{Status, routes};

/// A connection on which nothing has moved for so long is closed. Live views move at least every 15 s.
const QUIET_MAX: Duration = Duration::from_secs(60);

impl Status {
    /// Binds `address`, such as `127.0.0.1:9090` or `[::1]:9090`, and serves the page and all else below `/`
    /// until the future is dropped. It goes on when the pool has ended, with its last figures.
    ///
    /// # Errors
    /// Returns [`ServeError`] if the address cannot be bound, or is not loopback and
    /// [`insecure`](Status::insecure) was not called.
    pub async fn serve(self, address: impl ToSocketAddrs) -> Result<(), ServeError> {
        let listener = TcpListener::bind(address).await.map_err(ServeError::Io)?;
        self.serve_on(listener).await
    }

    /// Serves as [`serve`](Status::serve) does, on a listener that is bound already.
    ///
    /// # Errors
    /// As [`serve`](Status::serve).
    pub async fn serve_on(self, listener: TcpListener) -> Result<(), ServeError> {
        let address = listener.local_addr();
        let exposure = Exposure::of_bound(&address);
        if exposure.waived_if(self.settings.is_insecure) == Exposure::Open {
            return Err(ServeError::Exposed);
        }
        let places = Arc::new(Semaphore::new(self.settings.connections_max));
        let listener = Bounded { listener, places };
        axum::serve(listener, routes::router(self, "/")).await.map_err(ServeError::Io)
    }
}

/// Why nothing is served.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is not loopback, so whoever reaches it would see the pool. Bind a loopback address and put a
    /// server before it that asks who it is, or call [`Status::insecure`] where the network itself is trusted.
    Exposed,
    /// The system refused: the address is taken, say.
    Io(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exposed => f.write_str(
                "the status page would be open to whoever reaches this address: bind a loopback \
                 address with a server before it that asks who it is, or call insecure() where the \
                 network itself is trusted",
            ),
            Self::Io(error) => write!(f, "the status page cannot be served: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Exposed => None,
            Self::Io(error) => Some(error),
        }
    }
}

/// A listener that has so many connections at once.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Patient;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Patient, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("it is never closed");
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        let patience = Box::pin(sleep(QUIET_MAX));
        (Patient { stream, patience, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends where nothing has moved on it for too long: neither a request that does not go on, nor
/// a reader that takes nothing, has its place for ever.
struct Patient {
    stream: TcpStream,
    patience: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Patient {
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        moved: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if moved.is_pending() {
            ready!(self.patience.as_mut().poll(cx));
        }
        self.patience.as_mut().reset(Instant::now() + QUIET_MAX);
        if moved.is_pending() { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { moved }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.judge(cx, read)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
