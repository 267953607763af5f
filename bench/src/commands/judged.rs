//! Each mechanism of scheduling off and on, where it matters: the same work each time, in one run.
//!
//! Times are those of sleeping handlers, so that a busy machine changes little. Second attempts have a contest of their
//! own in `mixed`, among the rows of the same table.

use std::future::pending;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener as Door, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chargehand::core::{Choice, Class, Ejection, Rate};
use chargehand::smol::Smol;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::{
    Builder, Context, Failure, Pool, QueueOptions, TaskKey, TaskOptions, Threaded, Throttled,
    Worker, WorkerOptions,
};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};

use super::mixed::{duration, waiting};
use super::show;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::manager::{sleep, until_up};
use crate::measure::{Figures, as_f64, say};
use crate::runtime::Runtime;
use crate::spec::{Mechanism, Side};
use crate::table::JUDGED;

pub(crate) const SECTION: &str = "judgement";

/// What is compared, what its time is, and its rows, the first of which is without.
const CONTESTS: [(Mechanism, &str, &[&str]); 8] = [
    (
        Mechanism::Choice,
        "choice: a range, one of 8 workers 10 times slower, window 4",
        &["least loaded", "first answer"],
    ),
    (
        Mechanism::Windows,
        "windows: a range of 20,000 tasks that take no time",
        &["as many as the worker runs", "sized by themselves"],
    ),
    (
        Mechanism::Queues,
        "queues: the longest of 50 calls beside 1,000 others of mixed durations",
        &["one queue", "a queue for each, one urgent"],
    ),
    (Mechanism::Keys, "keys: 400 callers who ask for 10 answers", &["no key", "a unique key"]),
    (
        Mechanism::Throttling,
        "limits: 100 tasks, two workers whose endpoints allow 50 a second each, 5 at once",
        &["a failure", "not now", "a rate"],
    ),
    (
        Mechanism::Ejection,
        "ejection: 8,000 short calls, one of 8 workers 20 times slower",
        &["never", "of outliers"],
    ),
    (
        Mechanism::Progress,
        "progress: 8 tasks of 0.6 s, the first attempt at one of which hangs",
        &["a timeout of 3 s", "0.3 s without progress"],
    ),
    (Mechanism::Grace, "grace: a task of 1 s, whose link breaks after 0.7 s", &["none", "5 s"]),
];

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let launcher = &options.launcher();
    let mut records = Vec::new();
    for (mechanism, name, rows) in CONTESTS {
        if !options.wants(name) {
            continue;
        }
        let mut contest = Contest::new(SECTION, name);
        for (row, label) in (0..).zip(rows) {
            contest
                .add(*label, None, move || launcher.side(&Side::Judged { mechanism, row }).told());
        }
        records.extend(show(name, &contest, JUDGED, options));
    }
    records
}

/// Measures one row, manager and workers in this process, and says what came out.
pub(crate) fn measure(mechanism: Mechanism, row: u8) {
    Smol::block_on(async {
        let runtime = Smol::start();
        let figures = match mechanism {
            Mechanism::Choice => choice(runtime, row).await,
            Mechanism::Windows => windows(runtime, row).await,
            Mechanism::Queues => queues(runtime, row).await,
            Mechanism::Keys => keys(runtime, row).await,
            Mechanism::Throttling => throttling(runtime, row).await,
            Mechanism::Ejection => ejection(runtime, row).await,
            Mechanism::Progress => progress(runtime, row).await,
            Mechanism::Grace => grace(runtime, row).await,
        };
        say(&figures);
        std::process::exit(0);
    });
}

/// How the handler of a worker is.
#[derive(Clone)]
struct Manner {
    takes: fn(u64) -> Duration,
    times: u32,
    /// What it calls on takes so many a second and at once, and how it says that those were too many.
    limit: Option<(Arc<Mutex<Bucket>>, bool)>,
    /// It says how far it is, and hangs at this task's first attempt.
    hangs_at: Option<u64>,
    /// Counts its calls.
    calls: Option<Arc<AtomicU64>>,
}

impl Manner {
    const fn new(takes: fn(u64) -> Duration) -> Self {
        Self { takes, times: 1, limit: None, hangs_at: None, calls: None }
    }

    async fn work(self, runtime: Smol, cx: Context, height: u64) -> Result<u64, Failure> {
        if let Some(calls) = &self.calls {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((bucket, is_typed)) = &self.limit
            && !bucket.lock().unwrap_or_else(PoisonError::into_inner).takes_one()
        {
            let throttled = Throttled::after(LIMIT_PAUSE);
            return Err(if *is_typed { throttled.into() } else { Failure::new("429") });
        }
        let Some(hangs_at) = self.hangs_at else {
            sleep(runtime, (self.takes)(height) * self.times).await;
            return Ok(height);
        };
        if height == hangs_at && cx.attempt() == 1 {
            pending::<()>().await;
        }
        let steps = 20;
        for step in 1..=steps {
            sleep(runtime, (self.takes)(height) / steps).await;
            cx.progress(step.into(), steps.into());
        }
        Ok(height)
    }
}

/// What an endpoint allows that counts.
struct Bucket {
    tokens: f64,
    filled: Instant,
}

const LIMIT: (u32, u32) = (50, 5);
const LIMIT_PAUSE: Duration = Duration::from_millis(100);

impl Bucket {
    fn new() -> Self {
        Self { tokens: LIMIT.1.into(), filled: Instant::now() }
    }

    fn takes_one(&mut self) -> bool {
        let now = Instant::now();
        let more = now.duration_since(self.filled).as_secs_f64() * f64::from(LIMIT.0);
        self.tokens = (self.tokens + more).min(LIMIT.1.into());
        self.filled = now;
        let is_there = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(is_there));
        is_there
    }
}

/// Starts workers with one task at a time, and returns their addresses.
async fn serve(runtime: Smol, manners: impl IntoIterator<Item = Manner>) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for manner in manners {
        let (listener, address) = <Smol as Runtime>::bind().await;
        addresses.push(address);
        let handler = move |cx: Context, height: u64| manner.clone().work(runtime, cx, height);
        let worker = Worker::new(runtime, handler).concurrency(1);
        let worker = worker.progress_interval(Duration::from_millis(100)).grace(GRACE);
        Smol::spawn(worker.serve(TcpListener::new(listener)).map(drop));
    }
    addresses
}

/// Starts a pool of those workers, and waits until their links are up.
async fn pool_of(
    runtime: Smol,
    addresses: &[SocketAddr],
    options: &WorkerOptions,
    set: impl FnOnce(Builder<Smol, Threaded>) -> Builder<Smol, Threaded>,
) -> Pool {
    let mut builder = Pool::builder(runtime);
    for address in addresses {
        let connector = TcpConnector::new(runtime, &address.to_string()).expect("an address");
        builder.add(connector, options.clone());
    }
    let (pool, driver) = set(builder).build().expect("limits in range");
    Smol::spawn(driver);
    until_up(runtime, &pool, u32::try_from(addresses.len()).expect("a few")).await;
    pool
}

/// Does a range, and returns how long it took, with the sends for each of its heights.
async fn range(pool: &Pool, heights: u64) -> Figures {
    let begun = Instant::now();
    let outcomes = pool.process::<u64>(1..=heights);
    let count = outcomes.fold(0, |count, (_, outcome)| async move {
        outcome.expect("all of it is done in the end");
        count + 1
    });
    assert_eq!(count.await, heights);
    told(pool, begun.elapsed(), heights).await
}

async fn told(pool: &Pool, took: Duration, asked: u64) -> Figures {
    let tasks = pool.stats().await.expect("the pool runs").tasks;
    Figures::from([
        ("seconds".to_owned(), took.as_secs_f64()),
        ("sends".to_owned(), as_f64(tasks.sent) / as_f64(asked)),
    ])
}

async fn choice(runtime: Smol, row: u8) -> Figures {
    let of = |number| Manner { times: if number == 0 { 10 } else { 1 }, ..Manner::new(duration) };
    let addresses = serve(runtime, (0..8).map(of)).await;
    let choice = if row == 0 { Choice::LeastLoaded } else { Choice::FirstAnswer };
    let set = |builder: Builder<_, _>| builder.in_flight(4).choice(choice);
    range(&pool_of(runtime, &addresses, &WorkerOptions::new(), set).await, 1000).await
}

async fn windows(runtime: Smol, row: u8) -> Figures {
    let addresses = serve(runtime, (0..8).map(|_| Manner::new(|_| Duration::ZERO))).await;
    let set = |builder: Builder<_, _>| match row {
        0 => builder.choice(Choice::FirstAnswer),
        _ => builder.choice(Choice::FirstAnswer).auto_windows(),
    };
    range(&pool_of(runtime, &addresses, &WorkerOptions::new(), set).await, 20_000).await
}

async fn queues(runtime: Smol, row: u8) -> Figures {
    let addresses = serve(runtime, (0..8).map(|_| Manner::new(duration))).await;
    let set = |builder: Builder<_, _>| {
        let builder = builder.queue_max(2000);
        if row == 0 {
            builder
        } else {
            builder.queue("tip", QueueOptions::new().class(Class::Urgent))
        }
    };
    let pool = pool_of(runtime, &addresses, &WorkerOptions::new(), set).await;
    let tip = match row {
        0 => pool.clone(),
        _ => pool.with(TaskOptions::new().queue(pool.queue("tip").expect("it was made"))),
    };
    let others = pool.clone();
    Smol::spawn(async move {
        let others = &others;
        let calls = (1..=1000_u64).map(|height| async move {
            others.call::<u64, _>(&height).await.expect("nothing fails")
        });
        join_all(calls).await;
    });
    sleep(runtime, Duration::from_millis(50)).await;
    let short = (1..=100).find(|&height| duration(height) < Duration::from_millis(10));
    let short = short.expect("most are short");
    let calls = (0..50_u32).map(|number| {
        let tip = &tip;
        async move {
            sleep(runtime, Duration::from_millis(20) * number).await;
            let begun = Instant::now();
            tip.call::<u64, _>(&short).await.expect("nothing fails");
            begun.elapsed()
        }
    });
    let longest = join_all(calls).await.into_iter().max().expect("there are some");
    Figures::from([("seconds".to_owned(), longest.as_secs_f64())])
}

async fn keys(runtime: Smol, row: u8) -> Figures {
    let takes = |_| Duration::from_millis(20);
    let addresses = serve(runtime, (0..8).map(|_| Manner::new(takes))).await;
    let pool = pool_of(runtime, &addresses, &WorkerOptions::new(), |builder| builder).await;
    let begun = Instant::now();
    let calls = (0..400_u64).map(|number| {
        let height = number % 10;
        let options = TaskOptions::new();
        let options = if row == 0 { options } else { options.key(TaskKey::from(height).unique()) };
        let pool = pool.with(options);
        async move { pool.call::<u64, _>(&height).await.expect("nothing fails") }
    });
    join_all(calls).await;
    told(&pool, begun.elapsed(), 400).await
}

async fn throttling(runtime: Smol, row: u8) -> Figures {
    let of = |_| {
        let limit = Some((Arc::new(Mutex::new(Bucket::new())), row > 0));
        Manner { limit, ..Manner::new(|_| Duration::from_millis(1)) }
    };
    let addresses = serve(runtime, (0..2).map(of)).await;
    let mut options = WorkerOptions::new();
    if row == 2 {
        options = options.rate(Rate::per_second(LIMIT.0).burst(LIMIT.1));
    }
    let set = |builder: Builder<_, _>| {
        builder.configure(|config| {
            // As many as it takes: what is measured is how many that is.
            (config.retries_max, config.resends_max) = (1000, 1000);
            config.retry_delay = LIMIT_PAUSE;
        })
    };
    range(&pool_of(runtime, &addresses, &options, set).await, 100).await
}

async fn ejection(runtime: Smol, row: u8) -> Figures {
    let of = |number| Manner {
        times: if number == 0 { 20 } else { 1 },
        ..Manner::new(|_| Duration::from_millis(1))
    };
    let slow = Arc::new(AtomicU64::new(0));
    let manners = (0..8)
        .map(|number| Manner { calls: (number == 0).then(|| Arc::clone(&slow)), ..of(number) });
    let addresses = serve(runtime, manners).await;
    let set = |builder: Builder<_, _>| {
        builder.choice(Choice::FirstAnswer).configure(|config| {
            config.ejection = (row > 0).then(|| {
                let mut ejection = Ejection::new();
                ejection.answers = 20;
                ejection
            });
        })
    };
    let pool = pool_of(runtime, &addresses, &WorkerOptions::new(), set).await;
    let mut figures = waiting(runtime, &pool, 500.0, 16, |_| Duration::from_millis(1)).await;
    figures.insert("seconds".to_owned(), figures["p99.9"] / 1e9);
    figures.insert("to slow".to_owned(), as_f64(slow.load(Ordering::Relaxed)));
    figures
}

async fn progress(runtime: Smol, row: u8) -> Figures {
    let takes = |_| Duration::from_millis(600);
    let of = |_| Manner { hangs_at: Some(1), ..Manner::new(takes) };
    let addresses = serve(runtime, (0..8).map(of)).await;
    let pool = pool_of(runtime, &addresses, &WorkerOptions::new(), |builder| builder).await;
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(3));
    let options = TaskOptions::new();
    let options = match row {
        0 => options.attempt_timeout(long),
        _ => options.attempt_timeout(short).attempt_max(long),
    };
    range(&pool.with(options), 8).await
}

const GRACE: Duration = Duration::from_secs(5);

async fn grace(runtime: Smol, row: u8) -> Figures {
    let address = serve(runtime, [Manner::new(|_| Duration::from_secs(1))]).await[0];
    let door = break_once(address, Duration::from_millis(700));
    let set = |builder: Builder<_, _>| {
        builder.configure(|config| config.grace = if row == 0 { Duration::ZERO } else { GRACE })
    };
    range(&pool_of(runtime, &[door], &WorkerOptions::new(), set).await, 1).await
}

/// Passes on what goes between its callers and an address, and breaks the first link after so long.
fn break_once(to: SocketAddr, after: Duration) -> SocketAddr {
    let door = Door::bind("127.0.0.1:0").expect("a free port");
    let address = door.local_addr().expect("a bound listener has an address");
    thread::spawn(move || {
        let mut is_first = true;
        for caller in door.incoming().flatten() {
            let Ok(other) = TcpStream::connect(to) else { continue };
            for (from, into) in [(&caller, &other), (&other, &caller)] {
                let (mut from, mut into) = (copy_of(from), copy_of(into));
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut into);
                    let _ = into.shutdown(Shutdown::Both);
                });
            }
            if std::mem::take(&mut is_first) {
                thread::spawn(move || {
                    thread::sleep(after);
                    let _ = (caller.shutdown(Shutdown::Both), other.shutdown(Shutdown::Both));
                });
            }
        }
    });
    address
}

fn copy_of(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor")
}
