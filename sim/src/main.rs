//! Simulates whole pools (manager, workers, wires, callers) in one thread on a virtual clock, under all
//! faults that there are, and counts for itself what becomes of each task.
//!
//! `cargo run --release -p chargehand-sim -- --help` says how to use it, and docs/RELIABILITY.md what it shows.

mod cast;
mod dice;
mod jobs;
mod oracle;
mod panics;
mod plan;
mod run;
mod stage;

fn main() {
    panics::keep_quiet();
    let mut events = 0;
    let begun = std::time::Instant::now();
    let from: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let to: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let mut kinds = std::collections::BTreeMap::new();
    for seed in from..to {
        let plan = plan::Plan::draw(seed, &[]);
        if to == from + 1 { println!("{plan:#?}"); }
        let report = run::run(&plan, to == from + 1);
        events += report.counts.passings + report.checks;
        for (kind, count) in report.counts.kinds {
            *kinds.entry(kind).or_insert(0) += count;
        }
        if let Some(trace) = report.trace {
            println!("{trace}");
        }
        if let Some(failure) = report.failure {
            println!("{seed}: {}", failure.chars().take(if to == from + 1 { 9000 } else { 300 }).collect::<String>());
        }
    }
    println!("{kinds:#?} {events} events in {:?}", begun.elapsed());
}
