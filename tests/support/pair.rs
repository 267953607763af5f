//! Each pair of a transport and a runtime that there is, and what cases over real sockets need of one.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use chargehand::core::WorkerId;
use chargehand::core::io::{Dial, Dialect};
use chargehand::memory::{MemoryConnector, MemoryListener};
use chargehand::smol::{Smol, SmolListener, SmolUnix, SmolUnixListener};
pub(crate) use chargehand::testing::conformance::Pair;
use chargehand::testing::conformance::rig::Ends;
pub(crate) use chargehand::testing::conformance::rig::{Hand, Job, Setup};
use chargehand::tokio::{Tokio, TokioListener, TokioUnix, TokioUnixListener};
use chargehand::{Pool, WorkerError, WorkerOptions, tcp, unix, ws};

/// A pair over sockets that have a port. What it has of [`Ends`] is here by port and address, so that
/// the other end can be played by hand, and from another process.
pub(crate) trait Socket: Pair {
    /// Names the pair to a child process.
    const NAME: &'static str;
    const WEBSOCKET: bool;

    fn listener(door: TcpListener) -> Self::Listener;
    fn connector(at: &SocketAddr) -> Self::Connector;

    fn job(future: impl Future<Output = ()> + Send + 'static) -> Job {
        <Self as Ends>::job(future)
    }

    fn connect(setup: Setup<Self>, at: &SocketAddr) -> Setup<Self> {
        setup.connect(Self::connector(at))
    }

    fn accept(setup: Setup<Self>, door: TcpListener) -> Setup<Self> {
        setup.accept(Self::listener(door))
    }

    fn add(
        pool: &Pool,
        at: &SocketAddr,
    ) -> impl Future<Output = Result<WorkerId, WorkerError>> + Send {
        let (pool, connector) = (pool.clone(), Self::connector(at));
        async move { pool.add(connector, WorkerOptions::new()).await }
    }

    fn serve(hand: Hand<Self>, door: TcpListener) -> impl Future<Output = ()> + Send + 'static {
        // Within the future: it may run in another process's runtime.
        async move { <Self as Ends>::serve(hand, Self::listener(door)).await }
    }

    fn dial(hand: Hand<Self>, at: &SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let connector = Self::connector(at);
        async move { hand.dial(connector).await.expect("the settings are in range") }
    }
}

/// A pair that speaks the dialect of the Go package, too.
pub(crate) trait Go: Socket {
    fn connect_json(setup: Setup<Self>, at: SocketAddr) -> Setup<Self>;
    fn serve_json(hand: Hand<Self>, door: TcpListener)
    -> impl Future<Output = ()> + Send + 'static;
}

fn run_tokio<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime starts");
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    output
}

fn spawn_tokio(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

fn spawn_smol(future: impl Future<Output = ()> + Send + 'static) {
    smol::spawn(future).detach();
}

/// A listener on a free port.
pub(crate) fn any_port() -> (TcpListener, SocketAddr) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = door.local_addr().expect("it listens");
    (door, at)
}

/// The same for crowds. Where the system's queue is as short as the standard library makes it, a crowd fills it at once, and
/// each of its connects is dropped and comes again seconds later: a slow crowd, that harms nobody.
pub(crate) fn any_port_for_many() -> (TcpListener, SocketAddr) {
    let (door, at) = any_port();
    rustix::net::listen(&door, 4096).expect("it may be told anew");
    (door, at)
}

/// Says what a pair is.
macro_rules! pair {
    ($pair:ident, $clock:ty, $run:path, $spawn:path, $listener:ty, $connector:ty, $place:expr) => {
        pub(crate) struct $pair;

        impl Pair for $pair {
            type Timer = $clock;
            type Listener = $listener;
            type Connector = $connector;

            fn timer() -> Self::Timer {
                <$clock>::new()
            }

            fn run<F: Future>(future: F) -> F::Output {
                $run(future)
            }

            fn spawn(future: impl Future<Output = ()> + Send + 'static) {
                $spawn(future);
            }

            fn place() -> (Self::Listener, Self::Connector) {
                $place
            }
        }
    };
}

macro_rules! socket_pair {
    ($pair:ident, $name:literal, $websocket:literal, $clock:ty, $run:path, $spawn:path,
     $listener:ty, $connector:ty, |$at:ident| $connect:expr, |$door:ident| $listen:expr) => {
        pair! {
            $pair, $clock, $run, $spawn, $listener, $connector, {
                let (door, at) = any_port();
                (Self::listener(door), Self::connector(&at))
            }
        }

        impl Socket for $pair {
            const NAME: &'static str = $name;
            const WEBSOCKET: bool = $websocket;

            fn listener($door: TcpListener) -> Self::Listener {
                $listen
            }

            fn connector($at: &SocketAddr) -> Self::Connector {
                $connect
            }
        }
    };
}

macro_rules! go_pair {
    ($pair:ident, $clock:ty, $listener:ty) => {
        impl Go for $pair {
            fn connect_json(setup: Setup<Self>, at: SocketAddr) -> Setup<Self> {
                let connector = ws_connector(<$clock>::new(), &at);
                setup.connect(connector.dialect(Dialect::Json))
            }

            fn serve_json(
                hand: Hand<Self>,
                door: TcpListener,
            ) -> impl Future<Output = ()> + Send + 'static {
                async move {
                    let listener = <$listener>::from_std(door).expect("a socket that listens");
                    let listener = ws::WsListener::new(listener).json(true);
                    hand.serve(listener).await.expect("the settings are in range");
                }
            }
        }
    };
}

fn tcp_connector<D: Dial>(dial: D, at: &SocketAddr) -> tcp::TcpConnector<D> {
    tcp::TcpConnector::new(dial, &at.to_string()).expect("an address")
}

fn ws_connector<D: Dial>(dial: D, at: &SocketAddr) -> ws::WsConnector<D> {
    ws::WsConnector::new(dial, &format!("ws://{at}/")).expect("a URL")
}

fn tokio_listener(door: TcpListener) -> TokioListener {
    TokioListener::from_std(door).expect("a socket that listens")
}

fn smol_listener(door: TcpListener) -> SmolListener {
    SmolListener::from_std(door).expect("a socket that listens")
}

fn memory_place() -> (MemoryListener, MemoryConnector) {
    let (connector, listener) = chargehand::memory::pair(64);
    (listener, connector)
}

/// A place in a directory for files that go.
fn unix_place<A, D>(
    from_std: fn(std::os::unix::net::UnixListener) -> std::io::Result<A>,
    dial: D,
) -> (unix::UnixListener<A>, unix::UnixConnector<D>) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("chargehand-{}-{number}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let address = format!("unix://{}", path.to_str().expect("a path of text"));
    let listener = unix::UnixSocket::new(&address).listen(from_std).expect("a path of its own");
    (listener, unix::UnixConnector::new(dial, &address).expect("the same path"))
}

socket_pair! {
    TcpTokio, "tcp_tokio", false, Tokio, run_tokio, spawn_tokio,
    tcp::TcpListener<TokioListener>, tcp::TcpConnector<Tokio>,
    |at| tcp_connector(Tokio::new(), at), |door| tcp::TcpListener::new(tokio_listener(door))
}
socket_pair! {
    TcpSmol, "tcp_smol", false, Smol, smol::block_on, spawn_smol,
    tcp::TcpListener<SmolListener>, tcp::TcpConnector<Smol>,
    |at| tcp_connector(Smol::new(), at), |door| tcp::TcpListener::new(smol_listener(door))
}
socket_pair! {
    WsTokio, "ws_tokio", true, Tokio, run_tokio, spawn_tokio,
    ws::WsListener<TokioListener>, ws::WsConnector<Tokio>,
    |at| ws_connector(Tokio::new(), at), |door| ws::WsListener::new(tokio_listener(door))
}
socket_pair! {
    WsSmol, "ws_smol", true, Smol, smol::block_on, spawn_smol,
    ws::WsListener<SmolListener>, ws::WsConnector<Smol>,
    |at| ws_connector(Smol::new(), at), |door| ws::WsListener::new(smol_listener(door))
}
pair! {
    UnixTokio, Tokio, run_tokio, spawn_tokio, unix::UnixListener<TokioUnixListener>,
    unix::UnixConnector<TokioUnix>, unix_place(TokioUnixListener::from_std, TokioUnix::new())
}
pair! {
    UnixSmol, Smol, smol::block_on, spawn_smol, unix::UnixListener<SmolUnixListener>,
    unix::UnixConnector<SmolUnix>, unix_place(SmolUnixListener::from_std, SmolUnix::new())
}
pair! {
    MemoryTokio, Tokio, run_tokio, spawn_tokio, MemoryListener, MemoryConnector, memory_place()
}
pair! {
    MemorySmol, Smol, smol::block_on, spawn_smol, MemoryListener, MemoryConnector, memory_place()
}
go_pair!(WsTokio, Tokio, TokioListener);
go_pair!(WsSmol, Smol, SmolListener);
