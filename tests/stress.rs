//! Hundreds of callers on several threads await, cancel, drop and detach tasks while workers join and leave
//! and pools are stopped under them. Every awaited future resolves, every callback is called once, and what
//! callers saw adds up to what the pool counted.
//!
//! `STRESS_SECONDS` (default 3) sets the duration.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use chargehand::core::{BackoffPolicy, Stats};
use chargehand::tokio::Tokio;
use chargehand::{Outcomes, Pool, Task, TaskError, TaskOptions, Worker, WorkerOptions, memory};
use tokio::task::JoinSet;
use tokio::time::timeout;

const CALLERS: u64 = 200;
const KEEPERS: u64 = 3;
/// How long a pool runs before it is stopped under its callers.
const ROUND: Duration = Duration::from_millis(500);
/// The timeout for anything that is awaited. On an idle machine nothing takes longer than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// What callers saw.
#[derive(Debug, Default)]
struct Seen {
    done: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
    others: AtomicU64,
    callbacks_wanted: AtomicU64,
    callbacks: AtomicU64,
    dropped: AtomicU64,
    workers: AtomicU64,
    links_cut: AtomicU64,
}

impl Seen {
    fn note(&self, result: &Result<u64, TaskError>) {
        let count = match result {
            Ok(_) => &self.done,
            Err(TaskError::Failed(_)) => &self.failed,
            Err(TaskError::Cancelled) => &self.cancelled,
            Err(TaskError::Stopping | TaskError::Closed) => &self.refused,
            Err(_) => &self.others,
        };
        count.fetch_add(1, Relaxed);
    }
}

/// Random numbers for one caller. No seed to repeat a run by: thread scheduling differs each time anyway.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Awaits a future that must resolve.
async fn resolved<F: Future>(what: &str, future: F) -> F::Output {
    let output = timeout(PATIENCE, future).await;
    output.unwrap_or_else(|_| panic!("{what} did not resolve within {PATIENCE:?}"))
}

/// Polls a future at most `times` times, then drops it. Returns its output if it completed.
async fn polled<F: Future>(future: F, times: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Answers immediately, later, with a failure, or never.
async fn work(number: u64) -> Result<u64, String> {
    match number % 64 {
        0 => Err("it is zero".to_owned()),
        1 => panic!("it is one"),
        2 => std::future::pending().await,
        3..12 => {
            tokio::time::sleep(Duration::from_millis(number % 4)).await;
            Ok(number)
        }
        12..24 => {
            tokio::task::yield_now().await;
            Ok(number)
        }
        _ => Ok(number),
    }
}

/// One caller: submits tasks and does something random to each until its pool accepts no more.
async fn call_on(pool: Pool, seen: Arc<Seen>, mut dice: Dice) {
    loop {
        let number = dice.below(1 << 20);
        let what = dice.below(10);
        let result = match what {
            0 | 1 => resolved("a call", pool.call::<u64, _>(&number)).await,
            2 => {
                let call = polled(pool.call::<u64, _>(&number), dice.below(5)).await;
                let Some(result) = call else {
                    seen.dropped.fetch_add(1, Relaxed);
                    continue;
                };
                result
            }
            3 => match submit_then(&pool, &seen, number).await {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            4 => match a_range(&pool, &seen, &mut dice).await {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            _ => match resolved("a submit", pool.submit::<u64, _>(&number)).await {
                Ok(task) => match treat(task, what, &mut dice).await {
                    Some(result) => result,
                    None => continue,
                },
                Err(error) => Err(error),
            },
        };
        if let Ok(answer) = &result {
            assert_eq!(*answer, number, "another task's answer");
        }
        seen.note(&result);
        if matches!(result, Err(TaskError::Stopping | TaskError::Closed)) {
            return;
        }
    }
}

/// Awaits, cancels, drops or detaches a task. Returns its outcome if it was awaited.
async fn treat(mut task: Task<u64>, what: u64, dice: &mut Dice) -> Option<Result<u64, TaskError>> {
    match what {
        5 => task.cancel(),
        6 => {
            task.detach();
            return None;
        }
        7 => return polled(task, dice.below(4)).await,
        8 => {
            let _ = resolved("a start", task.started()).await;
            task.cancel();
        }
        _ => {}
    }
    Some(resolved("a task", task).await)
}

async fn submit_then(pool: &Pool, seen: &Arc<Seen>, number: u64) -> Result<(), TaskError> {
    let counts = Arc::clone(seen);
    let then = move |_: Result<u64, TaskError>| {
        counts.callbacks.fetch_add(1, Relaxed);
    };
    resolved("a submit", pool.submit_then(&number, then)).await?;
    seen.callbacks_wanted.fetch_add(1, Relaxed);
    Ok(())
}

/// Processes a short range and takes some of its outcomes.
async fn a_range(pool: &Pool, seen: &Seen, dice: &mut Dice) -> Result<(), TaskError> {
    let first = dice.below(1000);
    let mut range: Outcomes<u64> = pool.process(first..=first + dice.below(20));
    for _ in 0..dice.below(24) {
        match resolved("a range", range.next()).await {
            Some((_, Err(TaskError::Stopping))) => return Err(TaskError::Stopping),
            Some((height, Ok(answer))) => assert_eq!(answer, height, "another height's answer"),
            Some(_) => {}
            None => return Ok(()),
        }
    }
    seen.dropped.fetch_add(1, Relaxed);
    Ok(())
}

/// Adds workers, cuts their links and removes them until the pool stops.
async fn keep(pool: Pool, seen: Arc<Seen>, over: Arc<AtomicBool>, mut dice: Dice) {
    while !over.load(Relaxed) {
        let options = WorkerOptions::new().window(1 + u16::try_from(dice.below(8)).unwrap());
        let is_near = dice.below(3) == 0;
        let (added, far) = if is_near {
            (pool.add_in_process(work, options).await, None)
        } else {
            let (connector, listener) = memory::pair(16);
            let worker = Worker::new(Tokio::new(), work).concurrency(4);
            let far = tokio::spawn(async move { worker.serve(listener).await.unwrap() });
            (pool.add(connector, options).await, Some(far))
        };
        seen.workers.fetch_add(u64::from(added.is_ok()), Relaxed);
        tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
        if let Some(far) = far {
            far.abort();
            seen.links_cut.fetch_add(1, Relaxed);
        }
        let Ok(worker) = added else { continue };
        let _ = resolved("a removal", pool.remove(worker)).await;
    }
}

/// Runs one pool with its callers and workers from its first task until it has stopped.
async fn round(seed: u64, seen: &Arc<Seen>) -> Stats {
    let builder =
        Pool::builder(Tokio::new()).tasks_max(64).queue_max(16).workers_max(16).seed(seed);
    let builder = builder.in_process(4, work).configure(|config| {
        config.attempts_max = 3;
        config.attempt_timeout = Duration::from_millis(40);
        config.elsewhere_wait = Duration::from_millis(5);
        config.backoff = BackoffPolicy::new().base(Duration::from_millis(1));
    });
    let (pool, driver) = builder.build().unwrap();
    let driver = tokio::spawn(driver);
    let over = Arc::new(AtomicBool::new(false));
    let dice = |number: u64| Dice((seed + 1) * 1_000_003 + number + 1);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let options = TaskOptions::new().retries(u16::from(number % 3 == 0));
        callers.spawn(call_on(pool.with(options), Arc::clone(seen), dice(number)));
    }
    let mut keepers = JoinSet::new();
    for number in 0..KEEPERS {
        let (pool, over) = (pool.clone(), Arc::clone(&over));
        keepers.spawn(keep(pool, Arc::clone(seen), over, dice(CALLERS + number)));
    }
    tokio::time::sleep(ROUND).await;
    let stops = (0..3).map(|number| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.stop_within(Duration::from_millis(20 * number)).await })
    });
    let mut last = None;
    for stop in stops {
        last = resolved("a stop", stop).await.unwrap().ok().or(last);
    }
    over.store(true, Relaxed);
    while let Some(caller) = resolved("a caller", callers.join_next()).await {
        caller.unwrap();
    }
    while let Some(keeper) = resolved("a keeper", keepers.join_next()).await {
        keeper.unwrap();
    }
    drop(pool);
    resolved("the driver", driver).await.unwrap();
    last.expect("one of the stops was told").tasks
}

fn outcomes(stats: &Stats) -> u64 {
    let ended = stats.done + stats.failed + stats.exhausted + stats.bounced;
    ended + stats.cancelled + stats.aborted + stats.expired
}

#[test]
fn every_future_resolves_and_counters_add_up_whatever_callers_and_workers_do() {
    let seconds = std::env::var("STRESS_SECONDS").map_or(3, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    // Panicking handlers are part of the test: do not print their messages.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&"it is one") {
            tell(panic);
        }
    }));
    let began = Instant::now();
    let (mut rounds, mut tasks) = (0, 0);
    let seen = Arc::new(Seen::default());
    while rounds == 0 || began.elapsed() < Duration::from_secs(seconds) {
        let before = [&seen.done, &seen.failed].map(|count| count.load(Relaxed));
        let stats = runtime.block_on(round(rounds, &seen));
        rounds += 1;
        tasks += stats.submitted;
        assert_eq!(stats.submitted, outcomes(&stats), "one outcome each: {stats:?}");
        let left = (stats.waiting, stats.resting, stats.in_flight, stats.finished);
        assert_eq!(left, (0, 0, 0, 0), "nothing is left");
        let done = seen.done.load(Relaxed) - before[0];
        let failed = seen.failed.load(Relaxed) - before[1];
        // The pool also counts tasks whose callers did not wait for the outcome.
        assert!(done <= stats.done && failed <= stats.failed, "{done}, {failed}: {stats:?}");
        println!("round {rounds}: {done} done and {failed} failed for those who waited; {stats}");
    }
    println!("{tasks} tasks, {seen:?}");
    let (wanted, called) = (seen.callbacks_wanted.load(Relaxed), seen.callbacks.load(Relaxed));
    assert_eq!(wanted, called, "every callback is called once");
    for (what, count) in [
        ("done", &seen.done),
        ("failed", &seen.failed),
        ("cancelled", &seen.cancelled),
        ("refused", &seen.refused),
        ("lost for good", &seen.others),
        ("callbacks", &seen.callbacks),
        ("dropped", &seen.dropped),
        ("workers", &seen.workers),
        ("links cut", &seen.links_cut),
    ] {
        assert!(count.load(Relaxed) > 0, "there was none {what}");
    }
}
