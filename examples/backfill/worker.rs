//! The half that does the work: `backfill worker`.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chargehand::core::BackoffPolicy;
use chargehand::core::io::{Accept, Dial, Timer};
use chargehand::smol::Smol;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::Members;
use chargehand::tokio::Tokio;
use chargehand::worker::{Handler, Stopper, WorkerEvent};
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{BoxError, Worker};
use futures_io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};

use crate::address::{DialAddress, ListenAddress, Transport};
use crate::args::{Runtime, WorkerArgs};
use crate::chain::{BLOCKS, Chain};
use crate::console::Console;
use crate::events::refused;
use crate::failure::Failure;
use crate::members;
use crate::rpc::Node;

/// How long what runs may go on once the worker is asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits at the end for whoever reads what it says.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The longest delay between two dials of a manager.
const REDIAL_MAX: Duration = Duration::from_secs(2);

/// Where the blocks come from.
enum Source {
    Chain(Arc<Chain>),
    Node(Node),
}

/// Runs a worker until it is told to stop. Returns the exit code.
pub(crate) fn run(args: &WorkerArgs) -> ExitCode {
    let served = Console::open().map_err(Failure::run).and_then(|console| {
        let served = serve(args, &console);
        // Who reads it, or not, is no matter to managers.
        let _ = console.finish(Some(LAST_WORDS));
        served
    });
    served.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn serve(args: &WorkerArgs, console: &Console) -> Result<(), Failure> {
    let source = open(args)?;
    match args.runtime {
        Runtime::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Failure::run)?;
            let bind = async |address: &str| {
                let listener = Tokio::bind(address).await?;
                let at = listener.local_addr()?;
                Ok((listener, at))
            };
            runtime.block_on(work(args, console, source, Tokio::new(), bind))
        }
        Runtime::Smol => {
            let bind = async |address: &str| {
                let listener = Smol::bind(address).await?;
                let at = listener.local_addr()?;
                Ok((listener, at))
            };
            smol::block_on(work(args, console, source, Smol::new(), bind))
        }
    }
}

fn open(args: &WorkerArgs) -> Result<Source, Failure> {
    if let Some(url) = &args.source.rpc {
        let node = Node::new(url.clone(), args.concurrency.into(), args.retry_for);
        // Better to say now that the node is wrong than to fail every block. A manager has asked
        // already.
        if !args.supervised {
            node.head().map_err(Failure::input)?;
        }
        return Ok(Source::Node(node));
    }
    let path = args.source.chain.as_deref().unwrap_or(Path::new(""));
    let cannot = |error| Failure::input(format!("demo chain {}: {error}", path.display()));
    if !path.exists() {
        Chain::make(path, BLOCKS).map_err(cannot)?;
    }
    Ok(Source::Chain(Arc::new(Chain::open(path).map_err(cannot)?)))
}

/// Makes the worker of its source. From here on nothing depends on the runtime.
async fn work<R, A>(
    args: &WorkerArgs,
    console: &Console,
    source: Source,
    runtime: R,
    bind: impl AsyncFnOnce(&str) -> io::Result<(A, SocketAddr)>,
) -> Result<(), Failure>
where
    R: Timer + Copy + Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
{
    match source {
        Source::Chain(chain) => {
            let delay = args.delay;
            // Reading a block blocks the thread, but only for some microseconds.
            let worker = Worker::new(runtime, move |height: u64| {
                let chain = Arc::clone(&chain);
                async move {
                    if !delay.is_zero() {
                        runtime.sleep_until(runtime.now().saturating_add(delay)).await;
                    }
                    chain.block(height)
                }
            });
            meet(args, console, worker.concurrency(args.concurrency), runtime, bind).await
        }
        Source::Node(node) => {
            // Waiting for a node blocks the thread for milliseconds: that needs threads of its own.
            let fetch = move |height: u64| node.block(height);
            let worker =
                Worker::blocking(runtime, args.concurrency, fetch).map_err(Failure::run)?;
            meet(args, console, worker, runtime, bind).await
        }
    }
}

/// Serves the managers that come, or dials the one that was named.
async fn meet<R, A, H>(
    args: &WorkerArgs,
    console: &Console,
    mut worker: Worker<R, H>,
    runtime: R,
    bind: impl AsyncFnOnce(&str) -> io::Result<(A, SocketAddr)>,
) -> Result<(), Failure>
where
    R: Timer + Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
    H: Handler,
{
    let ear = console.clone();
    let say = move |line: &str| ear.say(line);
    let own = members::read(args.tls.as_deref(), Members::worker, say)?;
    let own = own.as_ref();
    if let Some(name) = args.name.as_deref().or(own.map(Members::name)) {
        worker = worker.name(name);
    }
    if args.insecure {
        worker = worker.insecure();
    }
    if !args.supervised {
        worker = worker.on_event(teller(console.clone(), args.door.dial.is_some()));
    }
    worker = worker.drain_timeout(DRAIN_TIMEOUT).backoff(BackoffPolicy::new().cap(REDIAL_MAX));
    stop_when_told(&worker.stopper(), args.supervised).map_err(Failure::run)?;
    if let Some(address) = &args.door.listen {
        if args.go && address.transport != Transport::Ws {
            return Err(Failure::input("managers of the Go package come by ws:// alone"));
        }
        let (listener, at) =
            bind(&address.host_and_port).await.map_err(|error| cannot_listen(address, error))?;
        announce(address.transport, at);
        return match address.transport {
            Transport::Tcp => worker.serve(TcpListener::new(listener)).await,
            Transport::Tls => {
                worker.serve(TcpListener::new(members::of(own)?.accept(listener))).await
            }
            Transport::Wss => {
                worker.serve(WsListener::new(members::of(own)?.accept(listener))).await
            }
            Transport::Ws | Transport::Go => {
                worker.serve(WsListener::new(listener).json(args.go)).await
            }
        }
        .map_err(Failure::input);
    }
    match &args.door.dial {
        Some(address) => dial(worker, runtime, own, address).await,
        None => Err(Failure::input("a worker needs --listen or --dial")),
    }
}

/// Dials a manager, again and again.
async fn dial<R, H>(
    worker: Worker<R, H>,
    runtime: R,
    own: Option<&Members>,
    address: &DialAddress,
) -> Result<(), Failure>
where
    R: Timer + Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
    H: Handler,
{
    let text = &address.text;
    match address.transport {
        Transport::Tcp => worker.dial(connector(TcpConnector::new(runtime, text))?).await,
        Transport::Tls => {
            let dial = members::of(own)?.dial(runtime);
            worker.dial(connector(TcpConnector::new(dial, text))?).await
        }
        Transport::Ws => worker.dial(connector(WsConnector::new(runtime, text))?).await,
        Transport::Wss => {
            let dial = members::of(own)?.dial(runtime);
            worker.dial(connector(WsConnector::new(dial, text))?).await
        }
        Transport::Go => {
            let why = format!("{address}: no manager of the Go package listens");
            return Err(Failure::input(why));
        }
    }
    .map_err(Failure::input)
}

fn connector<C, E: Display>(made: Result<C, E>) -> Result<C, Failure> {
    made.map_err(Failure::input)
}

pub(crate) fn cannot_listen(address: &ListenAddress, error: impl Display) -> Failure {
    Failure::input(format!("cannot listen on {address}: {error}"))
}

/// What a supervisor reads to learn the port.
pub(crate) const ANNOUNCEMENT: &str = "listening on ";

fn announce(transport: Transport, at: SocketAddr) {
    let mut out = io::stdout();
    // Nobody may be reading, which is no reason not to serve.
    let _ = writeln!(out, "{ANNOUNCEMENT}{}://{at}", transport.scheme());
    let _ = out.flush();
}

/// Tells what happens. Where it dials a manager, each new reason why there is none is told once,
/// however often it is tried.
fn teller(console: Console, dials: bool) -> impl Fn(&WorkerEvent) + Send + 'static {
    let said = RefCell::new(None);
    move |event| match event {
        WorkerEvent::Refused { peer, reason } if dials => {
            if said.replace(Some(reason.clone())).as_ref() != Some(reason) {
                console.say(&format!("{}; keeps trying", refused(peer, reason)));
            }
        }
        event => {
            said.replace(None);
            tell(&console, event);
        }
    }
}

fn tell(console: &Console, event: &WorkerEvent) {
    match event {
        WorkerEvent::Connected { peer, manager, .. } => {
            console.say(&format!("{peer}: {manager} connected"));
        }
        WorkerEvent::Disconnected { peer, reason, .. } => {
            console.say(&format!("{peer}: gone: {reason}"));
        }
        WorkerEvent::Refused { peer, reason } => console.say(&format!("{peer}: {reason}")),
        WorkerEvent::AcceptFailed { error: text, .. }
        | WorkerEvent::Lowered { reason: text }
        | WorkerEvent::Expiring { reason: text } => {
            console.say(text);
        }
        WorkerEvent::Draining => console.say("stopping"),
        _ => {}
    }
}

/// Stops the worker at SIGINT and SIGTERM, and a supervised one when its supervisor is gone.
///
/// Threads of their own do that, so that it is the same on every runtime.
fn stop_when_told(stopper: &Stopper, supervised: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let on_signal = stopper.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        on_signal.stop();
    })?;
    if supervised {
        let at_end = stopper.clone();
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            // However it ends: there is nobody at the other end any more.
            let _ = io::stdin().read_to_end(&mut Vec::new());
            at_end.stop();
        })?;
    }
    Ok(())
}
