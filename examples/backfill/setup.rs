//! The pool's workers: local ones that are started, or ones that run already.

use std::ops::RangeInclusive;
use std::time::Duration;

use chargehand::core::BackoffPolicy;
use chargehand::core::io::Dialect;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::Members;
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Builder, Pool, Threaded};

use crate::address::{DialAddress, ListenAddress, Transport};
use crate::args::ManagerArgs;
use crate::chain::{BLOCKS, TemporaryChain};
use crate::crew::{Blocks, Crew, Member};
use crate::failure::Failure;
use crate::members;
use crate::progress::Progress;
use crate::worker::cannot_listen;

/// The name by which workers know this manager.
pub(crate) const POOL_NAME: &str = "backfill";
/// How many blocks a child worker fetches at once.
const DEMO_CONCURRENCY: u16 = 32;
/// How long each block of the demo chain takes a worker, as if it came from afar.
const DEMO_DELAY: Duration = Duration::from_millis(5);
/// With a node: threads of each child worker.
const NODE_CONCURRENCY: u16 = 4;

/// A pool to be, and the child workers, if there are any.
pub(crate) struct Setup {
    pub(crate) builder: Builder<Tokio, Threaded>,
    pub(crate) crew: Option<Crew>,
    /// It stays until the workers are gone.
    pub(crate) chain: Option<TemporaryChain>,
}

/// Makes the workers known to the pool that were named, or starts local ones.
pub(crate) async fn set_up(
    args: &ManagerArgs,
    range: &RangeInclusive<u64>,
    progress: &Progress,
) -> Result<Setup, Failure> {
    let builder = configured(args);
    if args.starts_workers() {
        start_crew(builder, args, range, progress).await
    } else {
        let builder = meet(builder, args, progress).await?;
        Ok(Setup { builder, crew: None, chain: None })
    }
}

/// Starts the child workers, and a demo chain for them if there is no node, and makes them known to
/// the pool.
async fn start_crew(
    builder: Builder<Tokio, Threaded>,
    args: &ManagerArgs,
    range: &RangeInclusive<u64>,
    progress: &Progress,
) -> Result<Setup, Failure> {
    let door = ListenAddress { transport: Transport::Ws, host_and_port: "127.0.0.1:0".to_owned() };
    let (mut builder, address) = listen(builder, &door, None).await?;
    let (crew, chain) = if let Some(url) = &args.rpc {
        let blocks = Blocks::Node(url, args.retry_for());
        (Crew::start(blocks, NODE_CONCURRENCY, &address).await, None)
    } else {
        let chain = demo_chain(range, progress)?;
        let blocks = Blocks::Chain(chain.path(), DEMO_DELAY);
        (Crew::start(blocks, DEMO_CONCURRENCY, &address).await, Some(chain))
    };
    let (crew, pool) = crew?;
    for address in crew.members().iter().filter_map(Member::address) {
        builder = connect(builder, &address, Some(&pool))?;
    }
    Ok(Setup { builder, crew: Some(crew), chain })
}

/// Makes workers known to the pool that run already, here or elsewhere.
async fn meet(
    mut builder: Builder<Tokio, Threaded>,
    args: &ManagerArgs,
    progress: &Progress,
) -> Result<Builder<Tokio, Threaded>, Failure> {
    let teller = progress.clone();
    let say = move |line: &str| teller.say(line);
    let pool = members::read(args.tls.as_deref(), Members::pool, say)?;
    for address in &args.listen {
        let (with_door, at) = listen(builder, address, pool.as_ref()).await?;
        builder = with_door;
        progress.say(&format!("listening on {at} for workers that dial in"));
    }
    for address in &args.worker {
        builder = connect(builder, address, pool.as_ref())?;
    }
    Ok(builder)
}

fn demo_chain(range: &RangeInclusive<u64>, progress: &Progress) -> Result<TemporaryChain, Failure> {
    let blocks = BLOCKS.max(*range.end());
    progress.say(&format!("making a demo chain of {blocks} blocks"));
    TemporaryChain::make(blocks).map_err(|error| Failure::run(format!("the demo chain: {error}")))
}

/// Local workers are watched closely where some of them are to fail; others get the defaults.
fn configured(args: &ManagerArgs) -> Builder<Tokio, Threaded> {
    let builder = Pool::builder(Tokio::new()).name(POOL_NAME).configure(|config| {
        config.attempts_max = 20;
        if args.starts_workers() && args.strikes() {
            config.heartbeat_interval = Duration::from_millis(300);
            config.heartbeat_timeout = Duration::from_millis(300);
            config.connect_timeout = Duration::from_secs(2);
            config.backoff =
                BackoffPolicy::new().base(Duration::from_millis(50)).cap(Duration::from_secs(1));
        }
        config.attempt_timeout = args.attempt_timeout();
    });
    let builder = if args.insecure { builder.insecure() } else { builder };
    match args.in_flight {
        Some(count) => builder.in_flight(count),
        None => builder,
    }
}

fn connect(
    builder: Builder<Tokio, Threaded>,
    address: &DialAddress,
    pool: Option<&Members>,
) -> Result<Builder<Tokio, Threaded>, Failure> {
    let runtime = Tokio::new();
    Ok(match address.transport {
        Transport::Tcp => {
            builder.connect(TcpConnector::new(runtime, &address.text).map_err(Failure::input)?)
        }
        Transport::Tls => {
            let dial = members::of(pool)?.dial(runtime);
            builder.connect(TcpConnector::new(dial, &address.text).map_err(Failure::input)?)
        }
        Transport::Wss => {
            let dial = members::of(pool)?.dial(runtime);
            builder.connect(WsConnector::new(dial, &address.text).map_err(Failure::input)?)
        }
        Transport::Ws | Transport::Go => {
            let connector = WsConnector::new(runtime, &address.text).map_err(Failure::input)?;
            let is_go = address.transport == Transport::Go;
            builder.connect(connector.dialect(if is_go { Dialect::Json } else { Dialect::Native }))
        }
    })
}

/// Listens for workers, and returns where they can dial in.
async fn listen(
    builder: Builder<Tokio, Threaded>,
    address: &ListenAddress,
    pool: Option<&Members>,
) -> Result<(Builder<Tokio, Threaded>, DialAddress), Failure> {
    let listener: TokioListener =
        Tokio::bind(&address.host_and_port).await.map_err(|error| cannot_listen(address, error))?;
    let at = listener.local_addr().map_err(Failure::run)?;
    let transport = address.transport;
    let at = DialAddress { transport, text: format!("{}://{at}", transport.scheme()) };
    let builder = match transport {
        Transport::Tcp => builder.accept(TcpListener::new(listener)),
        Transport::Tls => builder.accept(TcpListener::new(members::of(pool)?.accept(listener))),
        Transport::Wss => builder.accept(WsListener::new(members::of(pool)?.accept(listener))),
        Transport::Ws | Transport::Go => builder.accept(WsListener::new(listener)),
    };
    Ok((builder, at))
}
