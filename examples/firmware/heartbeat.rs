//! Long blocks against a short heartbeat: the firmware that answers pings meanwhile keeps its link,
//! the one that polls loses it. CI runs it with `bash ci.sh firmware`.
//!
//! `interrupts` and `embassy` of `examples/embedded`, each in QEMU, are in one pool. A block takes
//! them far longer than the manager's deadlines for a sign of life.

mod machine;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chargehand::core::message::{Code, Extensions, HEAD_BYTES_MAX, Hello, Message, Role};
use chargehand::core::serial::{FrameDecoder, FrameHeader, FrameKind, encode, wire_bytes_max};
use chargehand::core::{TaskId, Verdict};
use chargehand::serial::{Limits, SerialLine};
use chargehand::tokio::{Tokio, TokioStream};
use chargehand::{DisconnectReason, Events, Pool, PoolEvent, Task};
use clap::Parser;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::machine::{Block, MESSAGE_BYTES_MAX, start};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(200);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a long block takes, in ms: more than twice the above.
const LONG_MILLIS: u32 = 3000;
/// As good as for ever.
const ENDLESS_MILLIS: u32 = 600_000;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Args {
    /// The program file of `worker`, which polls.
    polled: PathBuf,
    /// Those that keep their links.
    #[arg(required = true)]
    steady: Vec<PathBuf>,
    /// The one of them that notices that its manager is gone.
    #[arg(long)]
    watchful: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    tokio::time::timeout(Duration::from_secs(120), run(&args)).await?
}

async fn run(args: &Args) -> Result<(), Failure> {
    steady_workers_keep_their_links(&args.steady).await?;
    a_polled_worker_loses_its_link(&args.polled).await?;
    a_watchful_worker_leaves_a_manager_that_is_gone(&args.watchful).await
}

async fn steady_workers_keep_their_links(firmware: &[PathBuf]) -> Result<(), Failure> {
    let mut rig = Rig::start(firmware).await?;
    let machines = firmware.len() as u64;
    let long = async {
        let begun = Instant::now();
        let heights = 1001..=1000 + machines;
        check(&rig.pool, heights, LONG_MILLIS).await?;
        Ok::<_, Failure>(begun.elapsed())
    };
    check(&rig.pool, 1..=200, 0).await?;
    let (took, ()) = tokio::try_join!(long, check(&rig.pool, 201..=250, 0))?;
    assert!(took > (HEARTBEAT_INTERVAL + HEARTBEAT_TIMEOUT) * 2, "a long block took {took:?}");
    cancelled_blocks_make_room(&rig.pool, machines).await?;

    let workers = rig.pool.stats().await?.workers;
    let stats = rig.pool.stop().await?.tasks;
    while let Some(event) = rig.events.next().await {
        match event {
            PoolEvent::Lost { .. } | PoolEvent::Retried { .. } | PoolEvent::Missed(_) => {
                return Err(format!("with a heartbeat, {event}").into());
            }
            _ => println!("{event}"),
        }
    }
    for worker in &workers {
        assert_eq!(worker.stats.links, 1, "{} has had one link", worker.peer);
        assert_eq!(worker.stats.lost, 0, "{} has lost no attempt", worker.peer);
        assert!(worker.stats.done > 10, "{} has done its share", worker.peer);
    }
    assert_eq!(workers.iter().map(|worker| worker.stats.done).sum::<u64>(), 270 + machines);
    assert_eq!((stats.done, stats.cancelled), (270 + machines, machines));
    assert_eq!(stats.submitted, stats.done + stats.cancelled);
    println!("{} machines kept their links through blocks of {took:?}", workers.len());
    Ok(())
}

/// Cancels a block at each machine that would take minutes, and has others done.
async fn cancelled_blocks_make_room(pool: &Pool, machines: u64) -> Result<(), Failure> {
    let mut endless: Vec<Task<[u8; 32]>> = Vec::new();
    for height in 0..machines {
        endless.push(pool.submit(&Block::new(height, ENDLESS_MILLIS)).await?);
    }
    while pool.stats().await?.workers.iter().any(|worker| worker.stats.in_flight == 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Those that were sent are about to be begun. They would be cancelled in the queue as well.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(endless);
    tokio::time::timeout(Duration::from_secs(30), check(pool, 251..=270, 0)).await?
}

/// That the test above finds it when nobody answers pings.
async fn a_polled_worker_loses_its_link(firmware: &Path) -> Result<(), Failure> {
    let mut rig = Rig::start(&[firmware.to_owned()]).await?;
    check(&rig.pool, 1..=20, 0).await?;
    let long: Task<[u8; 32]> = rig.pool.submit(&Block::new(21, LONG_MILLIS)).await?;
    let lost = async {
        loop {
            match rig.events.next().await {
                Some(PoolEvent::Lost { reason, .. }) => return Some(reason),
                Some(_) => {}
                None => return None,
            }
        }
    };
    tokio::select! {
        reason = lost => {
            let is_silent = matches!(reason, Some(DisconnectReason::Silent(_)));
            assert!(is_silent, "it was lost otherwise: {reason:?}");
            println!("the worker that polls lost its link: {reason:?}");
            Ok(())
        }
        _ = long => Err("the worker that polls kept its link: the test shows nothing".into()),
    }
}

/// Has blocks hashed and checks every answer.
async fn check(
    pool: &Pool,
    heights: impl IntoIterator<Item = u64>,
    millis: u32,
) -> Result<(), Failure> {
    let mut calls = futures_util::stream::iter(heights)
        .map(|height| async move {
            let block = Block::new(height, millis);
            let answer = pool.call::<[u8; 32], _>(&block).await;
            (block, answer)
        })
        .buffer_unordered(8);
    while let Some((block, answer)) = calls.next().await {
        let answer = answer.map_err(|error| format!("height {}: {error}", block.height))?;
        assert_eq!(answer, block.sum(), "height {}", block.height);
    }
    Ok(())
}

/// A pool whose only workers are machines, all connected.
struct Rig {
    pool: Pool,
    events: Events,
    _machines: Vec<Child>,
}

impl Rig {
    async fn start(firmware: &[PathBuf]) -> Result<Self, Failure> {
        let mut limits = Limits::new();
        limits.frame_bytes_max = MESSAGE_BYTES_MAX;
        let mut builder = Pool::builder(Tokio::new()).configure(|config| {
            config.heartbeat_interval = HEARTBEAT_INTERVAL;
            config.heartbeat_timeout = HEARTBEAT_TIMEOUT;
        });
        let mut machines = Vec::new();
        for path in firmware {
            let (machine, _, stream) = start(path).await?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            builder = builder.connect(SerialLine::new(stream, &name, limits));
            machines.push(machine);
        }
        let (pool, driver) = builder.build()?;
        let mut events = pool.events();
        tokio::spawn(driver);
        let mut connected = 0;
        while connected < machines.len() {
            let event = events.next().await.ok_or("the pool has ended")?;
            connected += usize::from(matches!(event, PoolEvent::Connected { .. }));
        }
        Ok(Self { pool, events, _machines: machines })
    }
}

/// A manager that opens a link, asks for a block, and then says nothing. The worker leaves, stops
/// what it was doing, and serves the next link.
async fn a_watchful_worker_leaves_a_manager_that_is_gone(firmware: &Path) -> Result<(), Failure> {
    let (_machine, _monitor, stream) = start(firmware).await?;
    let mut peer = Peer { stream, decoder: FrameDecoder::new(vec![0; 2048]) };
    let begun = Instant::now();
    peer.open(1, &Block::new(1, ENDLESS_MILLIS)).await?;
    peer.expect_message(1, |message| {
        matches!(message, Message::Goodbye { code: Code::Timeout, .. })
    })
    .await?;
    let silent = begun.elapsed();
    assert!(silent > HEARTBEAT_INTERVAL, "it left too early: {silent:?}");
    let block = Block::new(2, 0);
    peer.open(2, &block).await?;
    let sum = postcard::to_allocvec(&block.sum())?;
    peer.expect_message(2, |message| {
        matches!(message, Message::Response { verdict: Verdict::Done, body, .. } if *body == sum)
    })
    .await?;
    println!("a manager that was gone was left after {silent:?}");
    Ok(())
}

/// The bytes of a manager, without one.
struct Peer {
    stream: TokioStream,
    decoder: FrameDecoder<Vec<u8>>,
}

impl Peer {
    /// Opens a link and asks for a block.
    async fn open(&mut self, link: u16, block: &Block) -> Result<(), Failure> {
        let heartbeat_millis = u32::try_from(HEARTBEAT_INTERVAL.as_millis())?;
        let extensions = Extensions::NONE;
        let hello = Hello { frame_bytes_max: 512, ..Hello::new(Role::Manager, 0, 0, "") };
        let welcome = Message::Welcome { heartbeat_millis, window: 1, extensions };
        let task = TaskId::from_parts(0, u32::from(link));
        let body = postcard::to_allocvec(block)?;
        let request = Message::Request { task, attempt: 1, extensions, body: &[] };
        self.send(FrameKind::Open, link, &Message::Hello(hello), &[]).await?;
        self.send(FrameKind::Data, link, &welcome, &[]).await?;
        self.send(FrameKind::Data, link, &request, &body).await
    }

    async fn send(
        &mut self,
        kind: FrameKind,
        link: u16,
        message: &Message<'_>,
        body: &[u8],
    ) -> Result<(), Failure> {
        let mut head = [0; HEAD_BYTES_MAX];
        let mut frame = [0; wire_bytes_max(MESSAGE_BYTES_MAX)];
        let frame =
            encode(FrameHeader { kind, link }, message.encode(&mut head), body, &mut frame)?;
        self.stream.get_mut().write_all(frame).await?;
        Ok(())
    }

    /// Waits for a message of that link for which `is_it` holds; what comes before is let go.
    async fn expect_message(
        &mut self,
        link: u16,
        is_it: impl Fn(&Message<'_>) -> bool,
    ) -> Result<(), Failure> {
        loop {
            while let Some((header, bytes)) = self.decoder.next_frame() {
                if header == (FrameHeader { kind: FrameKind::Data, link })
                    && is_it(&Message::decode(bytes)?)
                {
                    return Ok(());
                }
            }
            let count = self.stream.get_mut().read(self.decoder.spare()).await?;
            if count == 0 {
                return Err("the machine has ended".into());
            }
            self.decoder.advance(count);
        }
    }
}
