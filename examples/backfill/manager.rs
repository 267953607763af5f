//! The half that hands out: a pool of workers, and what becomes of each height.

use std::collections::HashMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chargehand::core::BackoffPolicy;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Builder, Events, Pool, PoolEvent, Threaded};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::address::{DialAddress, ListenAddress, Transport};
use crate::args::ManagerArgs;
use crate::block::Block;
use crate::chain::{BLOCKS, BLOCKS_MAX, TemporaryChain};
use crate::check::Check;
use crate::crew::{Blocks, Crew, Member};
use crate::failure::Failure;
use crate::faults;
use crate::output::Output;
use crate::progress::Progress;
use crate::report::{Report, Resent};
use crate::rpc::Node;
use crate::worker::cannot_listen;

/// How many blocks a local worker fetches at once.
const DEMO_CONCURRENCY: u16 = 32;
/// How long each block of the demo chain takes a worker, as if it came from afar.
const DEMO_DELAY: Duration = Duration::from_millis(5);
/// With a node: threads of each local worker.
const NODE_CONCURRENCY: u16 = 4;
const INTERRUPTED: u8 = 130;

/// Backfills, reports, and returns the exit code.
pub(crate) fn run(args: &ManagerArgs) -> Result<ExitCode, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::run)?;
    runtime.block_on(backfill(args))
}

async fn backfill(args: &ManagerArgs) -> Result<ExitCode, Failure> {
    let range = range(args).await?;
    let total = (range.end() - range.start()).saturating_add(1);
    let mut output = args.out.as_deref().map(create).transpose()?;
    let progress = Progress::new(total);

    let is_local = args.worker.is_empty() && args.listen.is_empty();
    let builder = configured(args, is_local);
    let (builder, local) = if is_local {
        let (builder, local) = start_crew(builder, args, &range, &progress).await?;
        (builder, Some(local))
    } else {
        (meet(builder, args, &progress).await?, None)
    };
    // The chain's file stays until the workers are gone.
    let (crew, _chain) = local.unzip();

    let (pool, driver) = builder.build().map_err(Failure::input)?;
    let driver = tokio::spawn(driver);
    let resent = Resent::default();
    let watching = tokio::spawn(watch_events(pool.events(), progress.clone(), resent.clone()));
    let ticking = tokio::spawn(tick(pool.clone(), progress.clone()));
    let (done, done_seen) = watch::channel(0);
    let with_faults = args.rpc.is_none() || args.faults;
    let crew =
        crew.map(|crew| tokio::spawn(tend(crew, with_faults, done_seen, total, progress.clone())));

    let started = Instant::now();
    let mut check = Check::new(range.clone());
    let finished = take_all(&pool, range, &mut check, &mut output, &progress, &done).await?;
    let elapsed = started.elapsed();
    drop(done);
    let crew = end_faults(crew).await?;
    let stats = pool.stats().await.map_err(Failure::run)?;
    ticking.abort();
    pool.stop().await.map_err(Failure::run)?;
    driver.await.map_err(Failure::run)?;
    // It ends with the pool; what it says last belongs above the table.
    watching.await.map_err(Failure::run)?;
    if let Some(output) = output {
        output.finish().map_err(Failure::run)?;
    }
    progress.finish();
    let labels = crew.as_ref().map(Crew::labels).unwrap_or_default();
    if let Some(crew) = crew {
        crew.stop().await;
    }
    if !finished {
        let missing = check.first_missing().map_or("none".to_owned(), |height| height.to_string());
        eprintln!("interrupted: {} of {total} done; the first missing is {missing}", check.count());
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let verdict = check.finish();
    Report { verdict: &verdict, stats: &stats, labels: &labels, resent: &resent, elapsed }.print();
    Ok(if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the local workers, and a demo chain for them if there is no node, and makes them known to
/// the pool.
async fn start_crew(
    builder: Builder<Tokio, Threaded>,
    args: &ManagerArgs,
    range: &RangeInclusive<u64>,
    progress: &Progress,
) -> Result<(Builder<Tokio, Threaded>, (Crew, Option<TemporaryChain>)), Failure> {
    let door = ListenAddress { transport: Transport::Ws, host_and_port: "127.0.0.1:0".to_owned() };
    let (mut builder, address) = listen(builder, &door).await?;
    let (crew, chain) = if let Some(url) = &args.rpc {
        (Crew::start(Blocks::Node(url), NODE_CONCURRENCY, &address).await, None)
    } else {
        let chain = demo_chain(range, progress)?;
        let blocks = Blocks::Chain(chain.path(), DEMO_DELAY);
        (Crew::start(blocks, DEMO_CONCURRENCY, &address).await, Some(chain))
    };
    let crew = crew.map_err(Failure::run)?;
    for address in crew.members().iter().filter_map(Member::address) {
        builder = connect(builder, &address)?;
    }
    Ok((builder, (crew, chain)))
}

/// Makes workers known to the pool that run already, here or elsewhere.
async fn meet(
    mut builder: Builder<Tokio, Threaded>,
    args: &ManagerArgs,
    progress: &Progress,
) -> Result<Builder<Tokio, Threaded>, Failure> {
    for address in &args.listen {
        let (with_door, at) = listen(builder, address).await?;
        builder = with_door;
        progress.say(&format!("listening on {at} for workers that dial in"));
    }
    for address in &args.worker {
        builder = connect(builder, address)?;
    }
    Ok(builder)
}

/// Strikes the local workers with faults, if it is wanted, and gives them back.
async fn tend(
    crew: Crew,
    with_faults: bool,
    done: watch::Receiver<u64>,
    total: u64,
    progress: Progress,
) -> (Crew, io::Result<()>) {
    if with_faults {
        faults::run(crew, done, total, |text| progress.say(&text)).await
    } else {
        (crew, Ok(()))
    }
}

/// Takes every outcome. Returns false if it was interrupted.
async fn take_all(
    pool: &Pool,
    range: RangeInclusive<u64>,
    check: &mut Check,
    output: &mut Option<Output>,
    progress: &Progress,
    done: &watch::Sender<u64>,
) -> Result<bool, Failure> {
    let mut outcomes = pool.process::<Block>(range);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::run)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::run)?;
    loop {
        let next = tokio::select! {
            biased;
            next = outcomes.next() => next,
            _ = interrupt.recv() => return Ok(false),
            _ = terminate.recv() => return Ok(false),
        };
        let Some((height, outcome)) = next else { return Ok(true) };
        check.take(height, &outcome);
        if let Some(output) = output {
            output.write(height, &outcome).map_err(Failure::run)?;
        }
        let count = check.count();
        if count.is_multiple_of(64) {
            progress.set(count);
            done.send_replace(count);
        }
    }
}

async fn end_faults(
    crew: Option<JoinHandle<(Crew, io::Result<()>)>>,
) -> Result<Option<Crew>, Failure> {
    let Some(crew) = crew else { return Ok(None) };
    let (crew, result) = crew.await.map_err(Failure::run)?;
    result.map_err(|error| Failure::run(format!("the faults went wrong: {error}")))?;
    Ok(Some(crew))
}

fn create(path: &Path) -> Result<Output, Failure> {
    Output::create(path)
        .map_err(|error| Failure::input(format!("--out {}: {error}", path.display())))
}

/// Returns the heights that were asked for, if there are such.
async fn range(args: &ManagerArgs) -> Result<RangeInclusive<u64>, Failure> {
    let Some(url) = args.rpc.clone() else {
        return Ok(args.range.clone().unwrap_or(1..=BLOCKS));
    };
    let named = url.to_string();
    let head = tokio::task::spawn_blocking(move || Node::new(url, 1).head())
        .await
        .map_err(Failure::run)?
        .map_err(Failure::input)?;
    let range = args.range.clone().unwrap_or(1..=head.min(BLOCKS));
    if *range.end() > head || range.is_empty() {
        return Err(Failure::input(format!(
            "node {named}: its chain ends at block {head}, so {}..={} is not in it",
            range.start(),
            range.end()
        )));
    }
    Ok(range)
}

fn demo_chain(range: &RangeInclusive<u64>, progress: &Progress) -> Result<TemporaryChain, Failure> {
    if *range.start() == 0 || *range.end() > BLOCKS_MAX {
        return Err(Failure::input(format!(
            "the demo chain has blocks 1..={BLOCKS_MAX} at most; \
             --rpc or --worker backfills other ones"
        )));
    }
    let blocks = BLOCKS.max(*range.end());
    progress.say(&format!("making a demo chain of {blocks} blocks"));
    TemporaryChain::make(blocks).map_err(|error| Failure::run(format!("the demo chain: {error}")))
}

/// Local workers are watched closely, since some of them are to fail; others get the defaults.
fn configured(args: &ManagerArgs, is_local: bool) -> Builder<Tokio, Threaded> {
    let builder = Pool::builder(Tokio::new()).name("backfill").configure(|config| {
        config.attempts_max = 20;
        if is_local {
            config.heartbeat_interval = Duration::from_millis(300);
            config.heartbeat_timeout = Duration::from_millis(300);
            config.connect_timeout = Duration::from_secs(2);
            config.backoff =
                BackoffPolicy::new().base(Duration::from_millis(50)).cap(Duration::from_secs(1));
        }
        config.attempt_timeout = Duration::from_secs(if args.rpc.is_some() { 15 } else { 2 });
    });
    match args.in_flight {
        Some(count) => builder.in_flight(count),
        None => builder,
    }
}

fn connect(
    builder: Builder<Tokio, Threaded>,
    address: &DialAddress,
) -> Result<Builder<Tokio, Threaded>, Failure> {
    let runtime = Tokio::new();
    Ok(match address.transport {
        Transport::Tcp => {
            builder.connect(TcpConnector::new(runtime, &address.text).map_err(Failure::input)?)
        }
        Transport::Ws => {
            builder.connect(WsConnector::new(runtime, &address.text).map_err(Failure::input)?)
        }
    })
}

/// Listens for workers, and returns where they can dial in.
async fn listen(
    builder: Builder<Tokio, Threaded>,
    address: &ListenAddress,
) -> Result<(Builder<Tokio, Threaded>, DialAddress), Failure> {
    let listener: TokioListener =
        Tokio::bind(&address.host_and_port).await.map_err(|error| cannot_listen(address, error))?;
    let at = listener.local_addr().map_err(Failure::run)?;
    let transport = address.transport;
    let at = DialAddress { transport, text: format!("{}://{at}", transport.scheme()) };
    let builder = match transport {
        Transport::Tcp => builder.accept(TcpListener::new(listener)),
        Transport::Ws => builder.accept(WsListener::new(listener)),
    };
    Ok((builder, at))
}

/// Says what happens, and counts what is sent again.
async fn watch_events(mut events: Events, progress: Progress, resent: Resent) {
    let mut said = HashMap::new();
    while let Some(event) = events.next().await {
        match &event {
            PoolEvent::Retried { peer, .. } => resent.count(peer),
            PoolEvent::Gone { .. } | PoolEvent::Closed { .. } => {}
            PoolEvent::Refused { peer, why, .. } => {
                // Each new reason once, however often it is tried.
                if said.insert(peer.clone(), why.clone()).as_ref() != Some(why) {
                    progress.say(&format!("{event}; keeps trying"));
                }
            }
            PoolEvent::Connected { peer, .. } => {
                said.remove(peer);
                progress.say(&event.to_string());
            }
            _ => progress.say(&event.to_string()),
        }
    }
}

async fn tick(pool: Pool, progress: Progress) {
    let mut ticks = tokio::time::interval(progress.interval());
    loop {
        ticks.tick().await;
        let Ok(stats) = pool.stats().await else { return };
        progress.show(&stats);
    }
}
