//! The pool's workers: those of this machine, and others that are dialled or dial in.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use chargehand::record::FlightRecorder;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::Members;
use chargehand::tokio::{Tokio, TokioListener, TokioUnix, TokioUnixListener};
use chargehand::unix::{UnixConnector, UnixSocket};
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Builder, Pool, Threaded};

use crate::address::{Address, Transport};
use crate::args::RunArgs;
use crate::console::Console;
use crate::failure::Failure;
use crate::groups::Groups;
use crate::members;
use crate::processes::{Processes, SCHEMA};

/// The name by which workers know this manager, where no join file says another.
const POOL_NAME: &str = "chargehand run";
/// How much longer than --timeout a worker elsewhere may take to say how a task ended.
const GRACE: Duration = Duration::from_secs(2);

/// A shorter record has no room for what the scheduler is.
const RECORD_MIN: u64 = 16 << 20;

/// A pool to be, and what does tasks in this process.
pub(super) struct Crew {
    pub(super) builder: Builder<Tokio, Threaded>,
    pub(super) processes: Vec<Processes>,
    /// How many tasks they do at once.
    pub(super) local: u64,
}

/// Makes the workers known to the pool.
pub(super) async fn gather(
    args: &RunArgs,
    groups: &Groups,
    console: &Console,
) -> Result<Crew, Failure> {
    let own =
        members::read(args.links.tls.as_deref(), args.links.revoked.as_deref(), Members::pool)?;
    let mut builder = configured(args, own.as_ref())?;
    for address in &args.listen {
        let (with_door, at) = listen(builder, address, own.as_ref()).await?;
        builder = with_door;
        console.say(&format!("listening on {at} for workers that dial in"));
    }
    for address in &args.worker {
        builder = connect(builder, address, own.as_ref())?;
    }
    let mut crew = Crew { builder, processes: Vec::new(), local: 0 };
    let concurrency = args.processes.concurrency.unwrap_or(1);
    let workers = args.local.unwrap_or_else(cpus);
    if args.processes.serve.is_some() {
        for _ in 0..workers {
            crew = employ(crew, args, groups, console, concurrency)?;
        }
    } else {
        // One, which is never suspended where it is alone, however many tasks fail.
        let window = workers.saturating_mul(concurrency);
        crew = employ(crew, args, groups, console, window)?;
    }
    Ok(crew)
}

/// Returns how many CPUs there are for this process.
pub(crate) fn cpus() -> u16 {
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    count.try_into().unwrap_or(u16::MAX).min(1024)
}

/// Takes a worker in this process in, if the arguments say what it does.
fn employ(
    mut crew: Crew,
    args: &RunArgs,
    groups: &Groups,
    console: &Console,
    window: u16,
) -> Result<Crew, Failure> {
    if let Some(processes) = Processes::new(&args.processes, groups, console, window)? {
        crew.processes.push(processes.clone());
        crew.local += u64::from(window);
        let handler = move |task: Vec<u8>| processes.clone().run(task);
        crew.builder = crew.builder.in_process(window, handler);
    }
    Ok(crew)
}

fn configured(args: &RunArgs, own: Option<&Members>) -> Result<Builder<Tokio, Threaded>, Failure> {
    let name = own.map_or(POOL_NAME, Members::name);
    let mut builder = Pool::builder(Tokio::new()).name(name).schema(SCHEMA).configure(|config| {
        config.attempts_max = args.attempts;
        // A worker that is alive may take as long as it likes: only the user knows better.
        config.attempt_timeout =
            args.processes.timeout.map_or(Duration::MAX, |limit| limit + GRACE);
        if !args.is_remote() {
            // Those of this machine are all alike: none of them is to rest for what the tasks are.
            config.failures_max = u16::MAX;
        }
    });
    // A run stops its pool when nothing is under way. Where the status page has it drain, what is under way ends,
    // as at an interrupt.
    builder = builder.drain_timeout(Duration::MAX);
    if args.links.insecure {
        builder = builder.insecure();
    }
    if let Some(path) = &args.record {
        if args.record_max < RECORD_MIN {
            return Err(Failure::input("--record-max is 16M at least"));
        }
        let recorder = FlightRecorder::create(path)
            .map_err(|error| Failure::input(format!("--record {}: {error}", path.display())))?;
        builder = builder.flight_recorder(recorder.bytes_max(args.record_max));
    }
    Ok(builder)
}

fn connect(
    builder: Builder<Tokio, Threaded>,
    address: &Address,
    own: Option<&Members>,
) -> Result<Builder<Tokio, Threaded>, Failure> {
    let (runtime, text) = (Tokio::new(), address.text());
    Ok(match address.transport {
        Transport::Tcp => {
            builder.connect(TcpConnector::new(runtime, text).map_err(Failure::input)?)
        }
        Transport::Tls => {
            let dial = members::of(own)?.dial(runtime);
            builder.connect(TcpConnector::new(dial, text).map_err(Failure::input)?)
        }
        Transport::Ws => builder.connect(WsConnector::new(runtime, text).map_err(Failure::input)?),
        Transport::Wss => {
            let dial = members::of(own)?.dial(runtime);
            builder.connect(WsConnector::new(dial, text).map_err(Failure::input)?)
        }
        Transport::Unix => {
            let dial = TokioUnix::new();
            builder.connect(UnixConnector::new(dial, text).map_err(Failure::input)?)
        }
    })
}

/// Listens for workers, and returns where they can dial in.
async fn listen(
    builder: Builder<Tokio, Threaded>,
    address: &Address,
    own: Option<&Members>,
) -> Result<(Builder<Tokio, Threaded>, String), Failure> {
    if address.transport == Transport::Unix {
        let listener = UnixSocket::new(address.text()).listen(TokioUnixListener::from_std);
        let listener = listener.map_err(Failure::input)?;
        return Ok((builder.accept(listener), address.to_string()));
    }
    let (listener, at) = bind(address).await?;
    let builder = match address.transport {
        Transport::Tcp => builder.accept(TcpListener::new(listener)),
        Transport::Tls => builder.accept(TcpListener::new(members::of(own)?.accept(listener))),
        Transport::Wss => builder.accept(WsListener::new(members::of(own)?.accept(listener))),
        Transport::Ws | Transport::Unix => builder.accept(WsListener::new(listener)),
    };
    Ok((builder, at))
}

/// Binds a socket, and returns where it is.
pub(crate) async fn bind(address: &Address) -> Result<(TokioListener, String), Failure> {
    let cannot = |error| Failure::input(format!("cannot listen on {address}: {error}"));
    let listener = Tokio::bind(address.host_and_port()).await.map_err(cannot)?;
    let at = listener.local_addr().map_err(Failure::run)?;
    Ok((listener, address.at(at)))
}
