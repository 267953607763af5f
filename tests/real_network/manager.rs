//! The manager: callers and ranges go on until the end is asked for, and then it tells what became of all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::BackoffPolicy;
use chargehand::smol::Smol;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::tls::members::Members;
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Pool, PoolEvent, TaskError};

use crate::worker::{HANGS, is_right};
use crate::{ATTEMPTS_MAX, HEARTBEAT, MEMORY_MAX, process};

const CALLERS: u64 = 12;
/// How many heights each range has.
const HEIGHTS: u64 = 200;
/// The first request of a single call.
const CALLS: u64 = 1 << 40;

/// What became of everything.
#[derive(Default)]
struct Seen {
    accepted: AtomicU64,
    ended: AtomicU64,
    doubled: AtomicU64,
    wrong: AtomicU64,
    lost_links: AtomicU64,
    exhausted: Mutex<Vec<u64>>,
    other: Mutex<Vec<String>>,
    /// Somebody wants to know of the next answer.
    is_watched: AtomicBool,
    is_over: AtomicBool,
}

impl Seen {
    fn end(&self, number: u64, outcome: &Result<u64, TaskError>) {
        add(&self.ended);
        match outcome {
            Ok(_) if is_right(number, outcome) => {
                if self.is_watched.swap(false, Ordering::SeqCst) {
                    println!("answered again");
                }
            }
            Ok(_) => add(&self.wrong),
            Err(TaskError::Exhausted { .. }) => self.exhausted.lock().unwrap().push(number),
            Err(error) => self.other.lock().unwrap().push(format!("{number}:{error:?}")),
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn report(&self) {
        let count = |number: &AtomicU64| number.load(Ordering::SeqCst);
        let exhausted: Vec<String> =
            self.exhausted.lock().unwrap().iter().map(ToString::to_string).collect();
        let other = self.other.lock().unwrap().join(",").replace(' ', "_");
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        println!(
            "report accepted={} ended={} doubled={} wrong={} lost_links={} exhausted={} other={}",
            count(&self.accepted),
            count(&self.ended),
            count(&self.doubled),
            count(&self.wrong),
            count(&self.lost_links),
            or_none(exhausted.join(",")),
            or_none(other),
        );
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::SeqCst);
}

/// Dials two workers, by TCP and WebSocket, and listens for others on as many ports as there are kinds of links.
pub(crate) fn play(one: &str, two: &str, files: &Path) {
    let seen = Arc::new(Seen::default());
    let told = Arc::clone(&seen);
    process::hear_the_parent(move |word| match word {
        "recover" => told.is_watched.store(true, Ordering::SeqCst),
        "finish" => told.is_over.store(true, Ordering::SeqCst),
        other => panic!("no word: {other}"),
    });
    smol::block_on(manage((one, two), files, &seen));
}

async fn manage((one, two): (&str, &str), files: &Path, seen: &Arc<Seen>) {
    let members = Members::pool(files.join("m1")).expect("its file");
    let [plain, tls, wss] = [7000, 7003, 7004].map(|port| async move {
        Smol::bind(&format!("0.0.0.0:{port}")).await.expect("the port is free")
    });
    let builder = Pool::builder(Smol::new())
        .accept(TcpListener::new(plain.await))
        .accept(TcpListener::new(members.accept(tls.await)))
        .accept(WsListener::new(members.accept(wss.await)))
        .connect(TcpConnector::new(Smol::new(), one).expect("an address"))
        .connect(WsConnector::new(Smol::new(), two).expect("a URL"))
        .insecure()
        .frame_bytes_max(1 << 20)
        .memory_max(MEMORY_MAX)
        .configure(|config| {
            config.attempts_max = u16::try_from(ATTEMPTS_MAX).expect("a few");
            config.resends_max = 10_000;
            config.attempt_timeout = Duration::from_secs(2);
            config.heartbeat_interval = HEARTBEAT;
            config.heartbeat_timeout = HEARTBEAT;
            config.connect_timeout = Duration::from_secs(1);
            config.backoff = BackoffPolicy::new().cap(Duration::from_millis(500));
        });
    println!("listens");
    let (pool, driver) = builder.build().expect("in range");
    let driver = smol::spawn(driver);
    let (mut events, watching) = (pool.events(), Arc::clone(seen));
    smol::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                PoolEvent::Connected { peer, .. } => println!("up {peer}"),
                PoolEvent::Lost { peer, reason, .. } => {
                    println!("lost {peer}: {reason}");
                    add(&watching.lost_links);
                }
                _ => {}
            }
        }
    })
    .detach();
    let mut jobs = vec![smol::spawn(ranges(pool.clone(), Arc::clone(seen)))];
    jobs.extend(
        (0..CALLERS).map(|caller| smol::spawn(calls(pool.clone(), caller, Arc::clone(seen)))),
    );
    let (hanging, counting) = (pool.clone(), Arc::clone(seen));
    jobs.push(smol::spawn(async move { call(&hanging, HANGS, &counting).await }));
    for job in jobs {
        job.await;
    }
    pool.stop().await.expect("the driver lives");
    driver.await;
    seen.report();
    // Until the parent has looked at it.
    std::future::pending::<()>().await;
}

async fn call(pool: &Pool, number: u64, seen: &Seen) {
    add(&seen.accepted);
    let outcome = pool.call::<u64, u64>(&number).await;
    seen.end(number, &outcome);
}

async fn calls(pool: Pool, caller: u64, seen: Arc<Seen>) {
    for turn in 0.. {
        if seen.is_over() {
            return;
        }
        let number = CALLS + turn * CALLERS + caller;
        call(&pool, number, &seen).await;
        smol::Timer::after(Duration::from_millis(5)).await;
    }
}

async fn ranges(pool: Pool, seen: Arc<Seen>) {
    let mut first = 0;
    while !seen.is_over() {
        let heights = first..=first + HEIGHTS - 1;
        first += HEIGHTS;
        seen.accepted.fetch_add(HEIGHTS, Ordering::SeqCst);
        let mut outcomes = pool.process::<u64>(heights);
        let mut times = BTreeMap::<u64, u32>::new();
        while let Some((height, outcome)) = outcomes.next().await {
            let count = times.entry(height).or_default();
            *count += 1;
            if *count > 1 {
                add(&seen.doubled);
            } else {
                seen.end(height, &outcome);
            }
        }
    }
}
