//! What the cases need of a transport on a runtime, and each pair of the two that there is.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;

use chargehand::core::WorkerId;
use chargehand::core::io::{Dialect, Timer};
use chargehand::memory::{MemoryConnector, MemoryListener};
use chargehand::smol::{Smol, SmolListener};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::worker::{Threads, Typed};
use chargehand::{Builder, Pool, Threaded, Worker, WorkerError, tcp, ws};

/// A worker's answer in the making.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;
/// A worker whose handler takes a height and answers a number.
pub(crate) type Hand<P> =
    Worker<<P as Pair>::Timer, Typed<Box<dyn Fn(u64) -> Answer + Send>, (u64,)>>;
/// A pool before it is built.
pub(crate) type Setup<P> = Builder<<P as Pair>::Timer, Threaded>;

/// A transport on a runtime.
pub(crate) trait Pair: Sized + 'static {
    type Timer: Timer<Sleep: Send> + Copy + Send + Sync + 'static;
    /// Where connections come in.
    type Door: Send + 'static;
    /// What leads to a door.
    type Address: Clone + Send + 'static;

    fn timer() -> Self::Timer;
    fn run<F: Future>(future: F) -> F::Output;
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Job;
    /// Lets a future go on by itself until it or the case ends.
    fn spawn_detached(future: impl Future<Output = ()> + Send + 'static);
    fn place() -> (Self::Door, Self::Address);
    fn connect(setup: Setup<Self>, at: &Self::Address) -> Setup<Self>;
    fn accept(setup: Setup<Self>, door: Self::Door) -> Setup<Self>;
    fn add(
        pool: &Pool,
        at: &Self::Address,
    ) -> impl Future<Output = Result<WorkerId, WorkerError>> + Send;
    fn serve(hand: Hand<Self>, door: Self::Door) -> impl Future<Output = ()> + Send + 'static;
    fn serve_blocking(
        worker: Worker<Self::Timer, Threads>,
        door: Self::Door,
    ) -> impl Future<Output = ()> + Send + 'static;
    fn dial(hand: Hand<Self>, at: &Self::Address) -> impl Future<Output = ()> + Send + 'static;
}

/// A pair over real sockets.
pub(crate) trait Socket: Pair<Door = TcpListener, Address = SocketAddr> {
    /// Names the pair to a child process.
    const NAME: &'static str;
    const WEBSOCKET: bool;
}

/// A pair that speaks the dialect of the Go package, too.
pub(crate) trait Go: Socket {
    fn connect_json(setup: Setup<Self>, at: SocketAddr) -> Setup<Self>;
    fn serve_json(hand: Hand<Self>, door: TcpListener)
    -> impl Future<Output = ()> + Send + 'static;
}

/// A future under way on a runtime. Dropping it ends that.
pub(crate) enum Job {
    Tokio(Option<tokio::task::JoinHandle<()>>),
    Smol(Option<smol::Task<()>>),
}

impl Job {
    /// Lets the future go on without the job.
    pub(crate) fn detach(mut self) {
        match &mut self {
            Self::Tokio(handle) => *handle = None,
            Self::Smol(task) => task.take().expect("nobody took it").detach(),
        }
    }

    /// Completes when the future has.
    pub(crate) async fn done(mut self) {
        match &mut self {
            Self::Tokio(handle) => {
                let handle = handle.as_mut().expect("nobody took it");
                handle.await.expect("the job ended by itself");
            }
            Self::Smol(task) => task.take().expect("nobody took it").await,
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        match self {
            Self::Tokio(handle) => {
                if let Some(handle) = handle {
                    handle.abort();
                }
            }
            Self::Smol(task) => drop(task.take()),
        }
    }
}

fn run_tokio<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime starts");
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    output
}

fn spawn_tokio(future: impl Future<Output = ()> + Send + 'static) -> Job {
    Job::Tokio(Some(tokio::spawn(future)))
}

fn spawn_smol(future: impl Future<Output = ()> + Send + 'static) -> Job {
    Job::Smol(Some(smol::spawn(future)))
}

/// A listener on a free port.
pub(crate) fn any_port() -> (TcpListener, SocketAddr) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = door.local_addr().expect("it listens");
    (door, at)
}

/// Implements what all pairs of a runtime have in common, whatever the transport.
macro_rules! pair {
    ($pair:ident, $clock:ty, $run:path, $spawn:path, $door:ty, $address:ty, $place:expr,
     |$at:ident| $connector:expr, |$listen:ident| $listener:expr) => {
        pub(crate) struct $pair;

        impl Pair for $pair {
            type Timer = $clock;
            type Door = $door;
            type Address = $address;

            fn timer() -> Self::Timer {
                <$clock>::new()
            }

            fn run<F: Future>(future: F) -> F::Output {
                $run(future)
            }

            fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Job {
                $spawn(future)
            }

            fn spawn_detached(future: impl Future<Output = ()> + Send + 'static) {
                $spawn(future).detach();
            }

            fn place() -> (Self::Door, Self::Address) {
                $place
            }

            fn connect(setup: Setup<Self>, $at: &Self::Address) -> Setup<Self> {
                setup.connect($connector)
            }

            fn accept(setup: Setup<Self>, $listen: Self::Door) -> Setup<Self> {
                setup.accept($listener)
            }

            async fn add(pool: &Pool, $at: &Self::Address) -> Result<WorkerId, WorkerError> {
                pool.add($connector).await
            }

            fn serve(
                hand: Hand<Self>,
                $listen: Self::Door,
            ) -> impl Future<Output = ()> + Send + 'static {
                async move { hand.serve($listener).await.expect("the settings are in range") }
            }

            fn serve_blocking(
                worker: Worker<Self::Timer, Threads>,
                $listen: Self::Door,
            ) -> impl Future<Output = ()> + Send + 'static {
                async move { worker.serve($listener).await.expect("the settings are in range") }
            }

            fn dial(
                hand: Hand<Self>,
                $at: &Self::Address,
            ) -> impl Future<Output = ()> + Send + 'static {
                let connector = $connector;
                async move { hand.dial(connector).await.expect("the settings are in range") }
            }
        }
    };
}

macro_rules! socket_pair {
    ($pair:ident, $name:literal, $websocket:literal, $clock:ty, $run:path, $spawn:path,
     |$at:ident| $connector:expr, |$listen:ident| $listener:expr) => {
        pair! {
            $pair, $clock, $run, $spawn, TcpListener, SocketAddr, any_port(),
            |$at| $connector, |$listen| $listener
        }

        impl Socket for $pair {
            const NAME: &'static str = $name;
            const WEBSOCKET: bool = $websocket;
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

fn tcp_connector<D>(dial: D, at: &SocketAddr) -> tcp::TcpConnector<D> {
    tcp::TcpConnector::new(dial, &at.to_string()).expect("an address")
}

fn ws_connector<D>(dial: D, at: &SocketAddr) -> ws::WsConnector<D> {
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

socket_pair! {
    TcpTokio, "tcp_tokio", false, Tokio, run_tokio, spawn_tokio,
    |at| tcp_connector(Tokio::new(), at), |door| tcp::TcpListener::new(tokio_listener(door))
}
socket_pair! {
    TcpSmol, "tcp_smol", false, Smol, smol::block_on, spawn_smol,
    |at| tcp_connector(Smol::new(), at), |door| tcp::TcpListener::new(smol_listener(door))
}
socket_pair! {
    WsTokio, "ws_tokio", true, Tokio, run_tokio, spawn_tokio,
    |at| ws_connector(Tokio::new(), at), |door| ws::WsListener::new(tokio_listener(door))
}
socket_pair! {
    WsSmol, "ws_smol", true, Smol, smol::block_on, spawn_smol,
    |at| ws_connector(Smol::new(), at), |door| ws::WsListener::new(smol_listener(door))
}
pair! {
    MemoryTokio, Tokio, run_tokio, spawn_tokio, MemoryListener, MemoryConnector, memory_place(),
    |at| at.clone(), |door| door
}
pair! {
    MemorySmol, Smol, smol::block_on, spawn_smol, MemoryListener, MemoryConnector, memory_place(),
    |at| at.clone(), |door| door
}
go_pair!(WsTokio, Tokio, TokioListener);
go_pair!(WsSmol, Smol, SmolListener);
