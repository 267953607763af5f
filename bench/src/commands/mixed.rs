//! Tasks of unlike durations: how far from the ideal a range ends, and how long short tasks wait.
//!
//! Workers do one task at a time, so whatever else is in a worker's window waits there. That is what
//! a large window costs.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chargehand::core::Choice;
use chargehand::smol::Smol;
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::{Hedge, Pool, TaskOptions, Worker};
use futures_util::{FutureExt, StreamExt};

use super::{judged, schedulers, show};
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::manager::{sleep, until_up};
use crate::measure::{Figures, Meter, as_f64, end_with_standard_input, say};
use crate::runtime::Runtime;
use crate::spec::{MixedLoad, Side};
use crate::table::{JUDGED, MIXED};

pub(crate) const SECTION: &str = "mixed";

pub(super) const WORKERS: u32 = 8;
const WINDOWS: [u16; 3] = [1, 4, 64];
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(200);
const LONG_PERCENT: u32 = 5;
/// How much longer the slow worker takes.
const SLOWNESS: u32 = 10;
/// A range takes about 1.4 seconds at best, of which the last long task may be a seventh.
const HEIGHTS: u32 = 1000;
const SHORT_SECONDS: f64 = 0.2;
/// How much of what the workers can do comes as single calls.
const UTILISATION: f64 = 0.7;
const ARRIVALS_SECONDS: u32 = 4;
/// One attempt in so many, whatever it is of, takes so many times as long, where there are stragglers.
const STRAGGLER_IN: u64 = 200;
const STRAGGLES: u32 = 100;
/// How much of what the workers can do comes as calls where some are hedged: there is room for that.
const HEDGED_UTILISATION: f64 = 0.3;
const HEDGED_SECONDS: u32 = 8;

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let launcher = options.launcher();
    let mut records = Vec::new();
    for slow in [false, true] {
        let workers = if slow { "one of 8 workers 10 times slower" } else { "8 equal workers" };
        for (what, load) in [
            ("a range", MixedLoad::Range(heights(options))),
            (
                "single calls",
                MixedLoad::Arrivals { rate: arrivals(slow), seconds: ARRIVALS_SECONDS },
            ),
        ] {
            let name = format!("{what}, {workers}");
            if !options.wants(&name) {
                continue;
            }
            let mut contest = Contest::new(SECTION, &name);
            for window in WINDOWS {
                let launcher = &launcher;
                contest.add(format!("window {window}"), None, move || {
                    let sleepers = Side::Sleepers { workers: WORKERS, slow, stragglers: false };
                    let mut sleepers = launcher.side(&sleepers);
                    let addresses = sleepers.told();
                    let by_answers = false;
                    let manager = Side::Mixed { addresses, window, slow, by_answers, load };
                    launcher.side(&manager).told()
                });
            }
            records.extend(show(&name, &contest, MIXED, options));
        }
    }
    records
}

/// Returns how long ranges are: with less time for each measurement it is whether all of it runs that counts.
pub(super) fn heights(options: &Options) -> u32 {
    if options.seconds < SHORT_SECONDS { HEIGHTS / 10 } else { HEIGHTS }
}

/// All of it: windows, each mechanism off and on, and what others make of the same work.
pub(crate) fn run_all(options: &Options) {
    run(options);
    run_judged(options);
    schedulers::run(options);
}

/// Each mechanism off and on.
pub(crate) fn run_judged(options: &Options) -> Vec<Record> {
    let mut records = judged::run(options);
    records.extend(run_hedged(options));
    records
}

/// Short calls, of which some meet a worker that is held up at that moment: with second attempts and without.
fn run_hedged(options: &Options) -> Vec<Record> {
    let name = "hedging: p99.9 of short calls, one attempt in 200 takes 100 times as long";
    if !options.wants(name) {
        return Vec::new();
    }
    let launcher = &options.launcher();
    let mut contest = Contest::new(judged::SECTION, name);
    for (label, hedge) in [("never", false), ("after p95", true)] {
        contest.add(label.to_owned(), None, move || {
            let sleepers = Side::Sleepers { workers: WORKERS, slow: false, stragglers: true };
            let mut sleepers = launcher.side(&sleepers);
            let addresses = sleepers.told();
            let load =
                MixedLoad::Hedged { rate: hedged_arrivals(), seconds: HEDGED_SECONDS, hedge };
            let (slow, by_answers) = (false, false);
            let manager = Side::Mixed { addresses, window: 1, slow, by_answers, load };
            launcher.side(&manager).told()
        });
    }
    show(name, &contest, JUDGED, options)
}

/// Serves as so many workers, each with one task at a time.
pub(crate) fn work(workers: u32, slow: bool, stragglers: bool) {
    end_with_standard_input();
    // Its timers are finer than a millisecond.
    Smol::block_on(async {
        let runtime = Smol::start();
        let mut addresses = Vec::new();
        for number in 0..workers {
            let (listener, address) = <Smol as Runtime>::bind().await;
            addresses.push(address);
            let factor = if slow && number == 0 { SLOWNESS } else { 1 };
            // Each attempt has its own luck: a second one of the same task is as likely to take long.
            let luck = Arc::new(AtomicU64::new(u64::from(number) << 32));
            let handler = move |height: u64| {
                let luck = luck.fetch_add(1, Ordering::Relaxed);
                async move {
                    let span = if stragglers { straggling(luck) } else { duration(height) };
                    sleep(runtime, span * factor).await;
                    Ok::<_, Infallible>(height)
                }
            };
            let worker = Worker::new(runtime, handler).concurrency(1);
            Smol::spawn(worker.serve(TcpListener::new(listener)).map(drop));
        }
        say(&addresses);
        pending::<()>().await;
    });
}

/// Puts the load on, and says what came out.
pub(crate) fn manage(
    addresses: &[String],
    window: u16,
    slow: bool,
    by_answers: bool,
    load: MixedLoad,
) {
    Smol::block_on(async {
        let runtime = Smol::start();
        let mut builder = Pool::builder(runtime).in_flight(window);
        if by_answers {
            builder = builder.choice(Choice::FirstAnswer);
        }
        for address in addresses {
            builder = builder.connect(TcpConnector::new(runtime, address).expect("an address"));
        }
        let (pool, driver) = builder.build().expect("limits in range");
        Smol::spawn(driver);
        until_up(runtime, &pool, WORKERS).await;
        let figures = match load {
            MixedLoad::Range(heights) => makespan(&pool, heights, slow).await,
            MixedLoad::Arrivals { rate, seconds } => {
                waiting(runtime, &pool, rate, seconds, duration).await
            }
            MixedLoad::Hedged { rate, seconds, hedge } => {
                hedged(runtime, &pool, rate, seconds, hedge).await
            }
        };
        say(&figures);
        std::process::exit(0);
    });
}

async fn makespan(pool: &Pool, heights: u32, slow: bool) -> Figures {
    let begun = Instant::now();
    let outcomes = pool.process::<u64>(1..=u64::from(heights));
    let count = outcomes.fold(0, |count, (_, outcome)| async move {
        outcome.expect("nothing fails");
        count + 1
    });
    assert_eq!(count.await, heights);
    let took = begun.elapsed().as_secs_f64();
    let work: Duration = (1..=u64::from(heights)).map(duration).sum();
    let ideal = work.as_secs_f64() / speed(slow);
    Figures::from([("makespan".to_owned(), took), ("to ideal".to_owned(), took / ideal)])
}

/// Calls by chance, and returns how long the short ones waited.
pub(super) async fn waiting(
    runtime: Smol,
    pool: &Pool,
    rate: f64,
    seconds: u32,
    duration: fn(u64) -> Duration,
) -> Figures {
    let meter = Arc::new(Meter::new(true));
    let (begun, end) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut random = Random(1);
    let mut due = Duration::ZERO;
    let mut height = 0;
    while due < end {
        sleep(runtime, due.saturating_sub(begun.elapsed())).await;
        height += 1;
        let (pool, meter) = (pool.clone(), Arc::clone(&meter));
        Smol::spawn(async move {
            let start = Instant::now();
            pool.call::<u64, _>(&height).await.expect("nothing fails");
            if duration(height) == SHORT {
                meter.record(start.elapsed().saturating_sub(SHORT));
            }
            meter.add(1);
        });
        due += Duration::from_secs_f64(-random.unit().ln() / rate);
    }
    while meter.count() < height {
        sleep(runtime, Duration::from_millis(5)).await;
    }
    meter.quantiles()
}

/// Short calls by chance, with second attempts or without.
async fn hedged(runtime: Smol, pool: &Pool, rate: f64, seconds: u32, hedge: bool) -> Figures {
    let hedge = if hedge { Hedge::after_p95() } else { Hedge::never() };
    let calls = pool.with(TaskOptions::new().hedge(hedge));
    let mut figures = waiting(runtime, &calls, rate, seconds, |_| SHORT).await;
    let tasks = pool.stats().await.expect("it lives").tasks;
    let more = as_f64(tasks.sent - tasks.submitted) * 100.0 / as_f64(tasks.submitted);
    figures.insert("more".to_owned(), more);
    figures.insert("seconds".to_owned(), figures["p99.9"] / 1e9);
    figures
}

/// Returns how long an attempt takes that has this luck.
fn straggling(luck: u64) -> Duration {
    let is_straggler = Random(luck).next() % STRAGGLER_IN == 0;
    if is_straggler { SHORT * STRAGGLES } else { SHORT }
}

/// Returns the short calls of one second, where some attempts take long.
fn hedged_arrivals() -> f64 {
    let mean = SHORT.as_secs_f64() * (1.0 + f64::from(STRAGGLES) / as_f64(STRAGGLER_IN));
    HEDGED_UTILISATION * speed(false) / mean
}

/// Returns how long a height takes: always the same.
pub(super) fn duration(height: u64) -> Duration {
    let is_long = Random(height).next() % 100 < u64::from(LONG_PERCENT);
    if is_long { LONG } else { SHORT }
}

/// Returns how many usual workers all of them are worth.
fn speed(slow: bool) -> f64 {
    let workers = f64::from(WORKERS);
    if slow { workers - 1.0 + 1.0 / f64::from(SLOWNESS) } else { workers }
}

/// Returns the single calls of one second.
fn arrivals(slow: bool) -> f64 {
    let share = f64::from(LONG_PERCENT) / 100.0;
    let mean = LONG.as_secs_f64() * share + SHORT.as_secs_f64() * (1.0 - share);
    UTILISATION * speed(slow) / mean
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number above 0, up to 1.
    fn unit(&mut self) -> f64 {
        as_f64((self.next() >> 11) + 1) / as_f64(1 << 53)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_in_twenty_is_long() {
        let long = (1..=100_000).filter(|height| duration(*height) == LONG).count();
        assert!((4_800..5_200).contains(&long), "{long}");
    }

    #[test]
    fn one_attempt_in_two_hundred_straggles_at_every_worker() {
        for worker in 0..u64::from(WORKERS) {
            let luck = worker << 32..(worker << 32) + 100_000;
            let long = luck.filter(|&luck| straggling(luck) > SHORT).count();
            assert!((430..570).contains(&long), "{long} at worker {worker}");
        }
    }

    #[test]
    fn a_slow_worker_takes_fewer_calls() {
        assert!((arrivals(false) - 511.4).abs() < 0.1);
        assert!(arrivals(true) < arrivals(false));
    }
}
