//! The engine does what a naive model does: the same calls give the same results, actions and
//! statistics, whatever the calls are.
//!
//! Every run is a function of its seed. A failing one prints the seed and the last calls; set
//! `CHARGEHAND_SEED` to that number to run nothing else, and `RUNS` to make more of them, or fewer.
//! `chargehand-sim --core` makes the same runs by the million.

mod model;
mod pair;
#[path = "../support/rng.rs"]
mod rng;
mod runs;
#[path = "../support/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::thread;

use runs::{RARE, run_seed};
use seeds::Seeds;

/// How many runs there are where `RUNS` does not say.
const RUNS: u64 = 3_000;

#[test]
fn the_engine_does_what_the_naive_model_does() {
    let (mut seen, mut events) = (BTreeMap::new(), 0);
    let seeds = Seeds::chosen("RUNS", RUNS);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let runs_of = |first: usize| seeds.range.clone().skip(first).step_by(threads).map(run_seed);
    let runs = thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || runs_of(first).collect::<Vec<_>>()))
            .collect();
        all.into_iter().flat_map(|thread| thread.join().expect("a run failed")).collect::<Vec<_>>()
    });
    for run in runs {
        events += run.events;
        for (what, times) in run.seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    println!("{events} calls and actions compared: {seen:#?}");
    let missing: Vec<_> = RARE.iter().filter(|&what| !seen.contains_key(what)).collect();
    assert!(!seeds.are_enough || missing.is_empty(), "never came by {missing:?}");
}
