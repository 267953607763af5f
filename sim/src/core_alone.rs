//! The core's scheduler alone, beside its naive model: the runs of the test `equals_model`, by the million.

#[path = "../../core/tests/equals_model/apart.rs"]
mod apart;
#[path = "../../core/tests/equals_model/model/mod.rs"]
mod model;
#[path = "../../core/tests/equals_model/pair/mod.rs"]
mod pair;
#[path = "../../core/tests/support/rng.rs"]
mod rng;
#[path = "../../core/tests/equals_model/runs.rs"]
mod runs;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::campaign::{FAILED, NOT_REACHED, SHOWN, Source};
use crate::panics;

/// How many runs are counted at once, so that threads do not wait for each other.
const COUNTED_AT_ONCE: u64 = 64;

/// Makes the runs that are asked for, and says what they came to and how fast that was. A run that fails
/// prints its last calls.
pub(crate) fn run_all(args: &Args) -> ExitCode {
    let source = Source::of(args, 0);
    let sum = Mutex::new(Sum::default());
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| work(&source, &sum, args.stops_at_first));
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", Shown { sum: &sum, took: begun.elapsed(), jobs: args.jobs });
    if !sum.failed.is_empty() {
        println!("failed: {:?}", sum.failed);
        return ExitCode::from(FAILED);
    }
    let missing = sum.missing();
    if !missing.is_empty() && !args.is_any && args.seed.is_none() {
        println!("never came by: {missing:?}");
        return ExitCode::from(NOT_REACHED);
    }
    ExitCode::SUCCESS
}

fn work(source: &Source, all: &Mutex<Sum>, stops_at_first: bool) {
    let mut own = Sum::default();
    while let Some(seed) = source.next() {
        match catch_unwind(|| runs::run_seed(seed)) {
            Ok(run) => own.add(run),
            Err(panic) => {
                println!("seed {seed} fails: {}", panics::text_of(&*panic));
                println!("  cargo run --release -p chargehand-sim -- --core --seed {seed}");
                own.runs += 1;
                own.failed.push(seed);
            }
        }
        if own.runs >= COUNTED_AT_ONCE || !own.failed.is_empty() {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.take(std::mem::take(&mut own));
            let enough = if stops_at_first { 1 } else { SHOWN };
            if all.failed.len() >= enough {
                source.end();
            }
        }
    }
    all.lock().unwrap_or_else(PoisonError::into_inner).take(own);
}

/// What runs came to.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    events: u64,
    failed: Vec<u64>,
    seen: BTreeMap<&'static str, u64>,
}

impl Sum {
    fn add(&mut self, run: runs::Run) {
        self.runs += 1;
        self.events += run.events;
        for (what, times) in run.seen {
            *self.seen.entry(what).or_default() += times;
        }
    }

    fn take(&mut self, other: Self) {
        self.runs += other.runs;
        self.events += other.events;
        self.failed.extend(other.failed);
        for (what, times) in other.seen {
            *self.seen.entry(what).or_default() += times;
        }
    }

    fn missing(&self) -> Vec<&'static str> {
        runs::RARE.iter().filter(|what| !self.seen.contains_key(**what)).copied().collect()
    }
}

struct Shown<'a> {
    sum: &'a Sum,
    took: Duration,
    jobs: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sum, took, jobs } = self;
        for (what, count) in &sum.seen {
            writeln!(f, "{count:>12}  {what}")?;
        }
        let core_millis = took.as_millis().max(1) * *jobs as u128;
        let per_minute = u128::from(sum.events) * 60_000 / core_millis;
        write!(
            f,
            "{} runs of the scheduler alone, {} events, each compared with the model and followed by all \
             checks: {per_minute} a minute and core; {} runs failed",
            sum.runs,
            sum.events,
            sum.failed.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_is_added_up() {
        let args = Args { count: 200, jobs: 2, is_core: true, is_any: true, ..Args::default() };
        let (source, all) = (Source::of(&args, 0), Mutex::default());
        thread::scope(|scope| {
            for _ in 0..args.jobs {
                scope.spawn(|| work(&source, &all, false));
            }
        });
        let sum = all.into_inner().unwrap();
        let alone: u64 = (0..200).map(|seed| runs::run_seed(seed).events).sum();
        assert_eq!((sum.runs, sum.events, sum.failed), (200, alone, Vec::new()));
        assert!(alone > 200 * 400, "{alone}: each step of a run is compared");
    }
}
