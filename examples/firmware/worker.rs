//! A manager with the firmware `worker` of `examples/embedded` in QEMU at one end of a noisy serial
//! line, and two ordinary workers over TCP, in one pool.
//!
//! Every height's block is sent along and comes back hashed; every hash is checked. In the middle of
//! it the machine is reset. CI runs it with `bash ci.sh firmware`.

mod machine;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chargehand::core::{BackoffPolicy, WorkerId};
use chargehand::keyed::{KeyedConnector, SharedKey};
use chargehand::serial::{Limits, SerialLine};
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tokio::{Tokio, TokioStream};
use chargehand::{Builder, Pool, PoolEvent, Threaded, Worker};
use clap::Parser;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::machine::{Block, MESSAGE_BYTES_MAX, splitmix64, start};

/// The one in `examples/embedded/src/bin/keyed_worker.rs`.
const KEY: [u8; 32] = *b"the key of an example, known all";

#[derive(Parser)]
struct Args {
    /// The firmware's program file.
    firmware: PathBuf,
    /// How many heights to do.
    #[arg(long, default_value_t = 1000)]
    heights: u64,
    /// Of so many bytes one is damaged on the line, each way.
    #[arg(long, default_value_t = 1000)]
    damage_one_in: u64,
    /// The firmware is `keyed-worker`: both sides prove its key, and all on the line is encrypted.
    #[arg(long)]
    keyed: bool,
    /// What the noise is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args = Args::parse();
    tokio::time::timeout(Duration::from_secs(300), run(&args)).await?
}

async fn run(args: &Args) -> Result<(), Box<dyn Error + Send + Sync>> {
    let timer = Tokio::new();
    let (mut machine, mut monitor, stream) = start(&args.firmware).await?;
    let (damaged, one_in) = (Arc::new(AtomicU64::new(0)), args.damage_one_in);
    let noisy = Noisy { inner: stream, random: args.seed, one_in, damaged: Arc::clone(&damaged) };
    let mut limits = Limits::new();
    limits.frame_bytes_max = MESSAGE_BYTES_MAX;
    let line = SerialLine::new(noisy, "firmware", limits);
    let builder = builder(line, timer, args.keyed).await?;
    let (pool, driver) = builder.build()?;
    let mut events = pool.events();
    let driver = tokio::spawn(driver);
    let firmware = loop {
        match events.next().await.ok_or("the pool has ended")? {
            PoolEvent::Connected { worker, peer, .. } if &*peer == "firmware" => break worker,
            _ => {}
        }
    };

    let mut outcomes: BTreeMap<u64, u32> = BTreeMap::new();
    let (mut done_at_reset, reset_at) = (None, args.heights / 2);
    let mut calls = futures_util::stream::iter(1..=args.heights)
        .map(|height| {
            let pool = &pool;
            async move {
                let block = Block::new(height, 0);
                let answer = pool.call::<[u8; 32], _>(&block).await;
                (height, block, answer)
            }
        })
        .buffer_unordered(8);
    while let Some((height, block, answer)) = calls.next().await {
        let answer = answer.map_err(|error| format!("height {height}: {error}"))?;
        assert_eq!(answer, block.sum(), "height {height}");
        *outcomes.entry(height).or_default() += 1;
        if outcomes.len() as u64 == reset_at {
            done_at_reset = Some(done_by(&pool, firmware).await?);
            monitor.write_all(b"system_reset\n").await?;
            monitor.flush().await?;
        }
    }
    drop(calls);

    let done = done_by(&pool, firmware).await?;
    let done_at_reset = done_at_reset.ok_or("the machine was not reset")?;
    let stats = pool.stop().await?.tasks;
    driver.await?;
    machine.kill().await?;
    let mut lost = Vec::new();
    while let Some(event) = events.next().await {
        if let PoolEvent::Lost { peer, reason, .. } = event {
            lost.push(format!("{peer}: {reason}"));
        }
    }
    println!(
        "{} heights, {done} of them by the firmware, {done_at_reset} before its reset",
        outcomes.len()
    );
    let damaged = damaged.load(Ordering::Relaxed);
    println!("bytes damaged: {damaged}; links lost: {lost:#?}");
    assert!(damaged > 10, "there was noise");
    assert_eq!(outcomes.len() as u64, args.heights, "nothing is lost");
    assert!(outcomes.values().all(|&count| count == 1), "nothing is doubled");
    assert_eq!((stats.submitted, stats.done), (args.heights, args.heights));
    assert!(done_at_reset > 0, "the firmware worked before the reset");
    assert!(done > done_at_reset + 10, "and after it");
    assert!(lost.iter().any(|line| line.contains("firmware")), "the reset was noticed");
    Ok(())
}

/// Returns a pool of the firmware and two ordinary workers.
async fn builder(
    line: SerialLine<Noisy>,
    timer: Tokio,
    keyed: bool,
) -> Result<Builder<Tokio, Threaded>, Box<dyn Error + Send + Sync>> {
    let builder = Pool::builder(timer);
    let builder = if keyed {
        builder.connect(KeyedConnector::manager(line, "firmware's manager", SharedKey::new(KEY))?)
    } else {
        builder.connect(line)
    };
    let mut builder = builder.configure(|config| {
        config.attempts_max = 50;
        config.attempt_timeout = Duration::from_millis(200);
        config.connect_timeout = Duration::from_millis(500);
        config.heartbeat_interval = Duration::from_secs(1);
        config.heartbeat_timeout = Duration::from_millis(500);
        config.backoff =
            BackoffPolicy::new().base(Duration::from_millis(20)).cap(Duration::from_millis(200));
    });
    for _ in 0..2 {
        let listener = Tokio::bind("127.0.0.1:0").await?;
        builder = builder.connect(TcpConnector::new(timer, &listener.local_addr()?.to_string())?);
        tokio::spawn(Worker::new(timer, slow_hash).serve(TcpListener::new(listener)));
    }
    Ok(builder)
}

async fn done_by(pool: &Pool, worker: WorkerId) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let workers = pool.stats().await?.workers;
    let info = workers.iter().find(|info| info.id == worker).ok_or("the firmware is not there")?;
    Ok(info.stats.done)
}

/// An ordinary worker, made about as slow as the line.
async fn slow_hash((_height, _millis, block): (u64, u32, Vec<u8>)) -> Result<[u8; 32], String> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(Sha256::digest(block).into())
}

/// A stream that damages what is read from it and what is written to it.
struct Noisy {
    inner: TokioStream,
    random: u64,
    one_in: u64,
    damaged: Arc<AtomicU64>,
}

impl Noisy {
    fn damage(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if splitmix64(&mut self.random).is_multiple_of(self.one_in) {
                *byte = splitmix64(&mut self.random).to_le_bytes()[0];
                self.damaged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl AsyncRead for Noisy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.damage(&mut buffer[..count]);
        }
        read
    }
}

impl AsyncWrite for Noisy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let mut bytes = bytes.to_vec();
        self.damage(&mut bytes);
        Pin::new(&mut self.inner).poll_write(cx, &bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
