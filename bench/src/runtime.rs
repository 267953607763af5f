//! The two runtimes, each on one thread, behind one trait.

use std::future::Future;
use std::net::SocketAddr;

use chargehand::BoxError;
use chargehand::core::io::{Accept, Dial, Timer};
use chargehand::smol::{Smol, SmolListener};
use chargehand::tokio::{Tokio, TokioListener};
use futures_io::{AsyncRead, AsyncWrite};

/// A runtime that runs everything on the thread that calls [`block_on`](Self::block_on).
pub(crate) trait Runtime:
    Timer<Sleep: Send>
    + Dial<
        Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Error: Into<BoxError>,
        Dialling: Send,
    > + Send
    + Sized
    + Copy
    + 'static
{
    type Listener: Accept<Stream = Self::Stream, Peer: Send, Error: Into<BoxError>, Opening: Send>
        + Send
        + 'static;

    /// The runtime's own stream, for the bare wire: nothing of ours is in it.
    type Bare: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn bare(stream: Self::Stream) -> Self::Bare;

    fn block_on(main: impl Future<Output = ()>);

    /// Makes the clock and the dialler. Call it inside `block_on`.
    fn start() -> Self;

    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    fn bind() -> impl Future<Output = (Self::Listener, SocketAddr)>;
}

const ANY_PORT: &str = "127.0.0.1:0";

impl Runtime for Tokio {
    type Listener = TokioListener;
    type Bare = Self::Stream;

    fn bare(stream: Self::Stream) -> Self::Bare {
        // It is tokio's own, behind the traits of futures.
        stream
    }

    fn block_on(main: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a current-thread runtime").block_on(main);
    }

    fn start() -> Self {
        Self::new()
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }

    async fn bind() -> (TokioListener, SocketAddr) {
        let listener = Self::bind(ANY_PORT).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        (listener, address)
    }
}

/// Not smol's global executor, which runs on a thread of its own.
static EXECUTOR: smol::Executor<'static> = smol::Executor::new();

impl Runtime for Smol {
    type Listener = SmolListener;
    type Bare = smol::Async<std::net::TcpStream>;

    fn bare(stream: Self::Stream) -> Self::Bare {
        stream.into_inner()
    }

    fn block_on(main: impl Future<Output = ()>) {
        smol::block_on(EXECUTOR.run(main));
    }

    fn start() -> Self {
        Self::new()
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        EXECUTOR.spawn(task).detach();
    }

    async fn bind() -> (SmolListener, SocketAddr) {
        let listener = Self::bind(ANY_PORT).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        (listener, address)
    }
}
