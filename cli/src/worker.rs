//! The half that does the work: `chargehand worker`.

use std::cell::RefCell;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use chargehand::core::{BackoffPolicy, Rate};
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::Members;
use chargehand::tokio::{Tokio, TokioUnix, TokioUnixListener};
use chargehand::unix::{UnixConnector, UnixSocket};
use chargehand::worker::{Handler, WorkerEvent};
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{DisconnectReason, Worker};

use crate::address::{Address, Transport};
use crate::args::WorkerArgs;
use crate::console::Console;
use crate::failure::Failure;
use crate::groups::Groups;
use crate::members;
use crate::processes::{Processes, SCHEMA};
use crate::program::open;
use crate::run::{bind, cpus, threads};
use crate::stop::Stops;

/// How long it waits at the end for whoever reads what it says.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The longest delay between two dials of a manager.
const REDIAL_MAX: Duration = Duration::from_secs(2);
/// What runs may go on as long as it likes once the worker is to stop: only the user knows better, and says so by
/// a second signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1 << 30);
/// What a supervisor reads to learn the port.
const ANNOUNCEMENT: &str = "listening on ";

/// How a worker and its managers meet.
enum Meeting {
    Listen(Address),
    Dial(Address),
}

/// Runs a worker until it is told to stop. Returns the exit code.
pub(crate) fn run(args: &WorkerArgs) -> ExitCode {
    let (console, runtime) = match open(threads()) {
        Ok(opened) => opened,
        Err(error) => return Failure::run(error).report(),
    };
    let served = runtime.block_on(serve(args, &console));
    // Who reads it, or not, is no matter to managers.
    let _ = console.finish(Some(LAST_WORDS));
    runtime.shutdown_background();
    served.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

async fn serve(args: &WorkerArgs, console: &Console) -> Result<(), Failure> {
    let groups = Groups::default();
    let served = serve_with(args, &groups, console).await;
    // What a manager that is gone has left is dropped some time, and this process does not wait for that.
    groups.kill_all();
    served
}

async fn serve_with(args: &WorkerArgs, groups: &Groups, console: &Console) -> Result<(), Failure> {
    let links = &args.links;
    let own = members::read(links.tls.as_deref(), links.revoked.as_deref(), Members::worker)?;
    let meeting = meeting(args, own.as_ref())?;
    let concurrency = args.processes.concurrency.unwrap_or_else(|| match args.processes.exec {
        Some(_) => cpus(),
        None => 1,
    });
    // Before anything is started that a signal has to end.
    let to_kill = groups.clone();
    let mut stops =
        Stops::listen(console.clone(), false, move || to_kill.kill_all()).map_err(Failure::run)?;
    let processes = Processes::new(&args.processes, groups, console, concurrency)?;
    let processes =
        processes.ok_or_else(|| Failure::input("it needs --exec CMD or --serve CMD"))?;
    let doing = processes.clone();
    let mut worker = Worker::new(Tokio::new(), move |task: Vec<u8>| doing.clone().run(task))
        .concurrency(concurrency)
        .schema(SCHEMA)
        .drain_timeout(DRAIN_TIMEOUT)
        .backoff(BackoffPolicy::new().cap(REDIAL_MAX))
        .on_event(teller(console.clone(), matches!(meeting, Meeting::Dial(_))));
    if let Some(name) = args.name.as_deref().or(own.as_ref().map(Members::name)) {
        worker = worker.name(name);
    }
    if let Some(queues) = &args.queues {
        worker = worker.queues(queues);
    }
    if let Some(rate) = args.rate {
        worker = worker.rate(Rate::per_second(rate));
    }
    if links.insecure {
        worker = worker.insecure();
    }
    let stopper = worker.stopper();
    tokio::spawn(async move {
        stops.first().await;
        stopper.stop();
    });
    let served = match &meeting {
        Meeting::Listen(address) => listen(worker, own.as_ref(), address, console).await,
        Meeting::Dial(address) => dial(worker, own.as_ref(), address).await,
    };
    processes.stop().await;
    served
}

/// Returns what the arguments say of it, or the join file.
fn meeting(args: &WorkerArgs, own: Option<&Members>) -> Result<Meeting, Failure> {
    if let Some(address) = &args.door.listen {
        return Ok(Meeting::Listen(address.clone()));
    }
    if let Some(address) = &args.door.connect {
        return Ok(Meeting::Dial(address.clone()));
    }
    let Some(manager) = own.and_then(Members::manager) else {
        return Err(Failure::input(
            "it needs --connect ADDR or --listen ADDR (the join file does not say where the run is)",
        ));
    };
    let address = manager.parse::<Address>();
    let wrong =
        |why| Failure::input(format!("the join file says that the run is at {manager}: {why}"));
    address.map(Meeting::Dial).map_err(wrong)
}

/// Serves the managers that come.
async fn listen<H: Handler>(
    worker: Worker<Tokio, H>,
    own: Option<&Members>,
    address: &Address,
    console: &Console,
) -> Result<(), Failure> {
    // Nobody may be reading, which is no reason not to serve.
    let announce = |at: &dyn Display| console.print(&format!("{ANNOUNCEMENT}{at}"));
    if address.transport == Transport::Unix {
        let socket = UnixSocket::new(address.text()).listen(TokioUnixListener::from_std);
        let socket = socket.map_err(Failure::input)?;
        announce(address);
        return worker.serve(socket).await.map_err(members::explained);
    }
    let (listener, at) = bind(address).await?;
    announce(&at);
    match address.transport {
        Transport::Tcp => worker.serve(TcpListener::new(listener)).await,
        Transport::Tls => worker.serve(TcpListener::new(members::of(own)?.accept(listener))).await,
        Transport::Wss => worker.serve(WsListener::new(members::of(own)?.accept(listener))).await,
        Transport::Ws | Transport::Unix => worker.serve(WsListener::new(listener)).await,
    }
    .map_err(members::explained)
}

/// Dials a manager, again and again.
async fn dial<H: Handler>(
    worker: Worker<Tokio, H>,
    own: Option<&Members>,
    address: &Address,
) -> Result<(), Failure> {
    let (runtime, text) = (Tokio::new(), address.text());
    match address.transport {
        Transport::Tcp => worker.dial(made(TcpConnector::new(runtime, text))?).await,
        Transport::Tls => {
            let dial = members::of(own)?.dial(runtime);
            worker.dial(made(TcpConnector::new(dial, text))?).await
        }
        Transport::Ws => worker.dial(made(WsConnector::new(runtime, text))?).await,
        Transport::Wss => {
            let dial = members::of(own)?.dial(runtime);
            worker.dial(made(WsConnector::new(dial, text))?).await
        }
        Transport::Unix => worker.dial(made(UnixConnector::new(TokioUnix::new(), text))?).await,
    }
    .map_err(members::explained)
}

fn made<C, E: Display>(made: Result<C, E>) -> Result<C, Failure> {
    made.map_err(Failure::input)
}

/// Tells what happens. Where it dials a manager, each new reason why there is none is told once, however often
/// it is tried.
fn teller(console: Console, dials: bool) -> impl Fn(&WorkerEvent) + Send + 'static {
    let said = RefCell::new(None::<DisconnectReason>);
    move |event| match event {
        WorkerEvent::Refused { reason, .. } if dials => {
            if said.replace(Some(reason.clone())).as_ref() != Some(reason) {
                console.say(&format!("{event}; keeps trying"));
            }
        }
        event => {
            said.replace(None);
            console.say(&event.to_string());
        }
    }
}
