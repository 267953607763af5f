//! What one task costs the scheduler: submit, send, reply and finish, in nanoseconds.
//!
//! `cargo bench --bench scheduler`. Each figure is a median over rounds; the ratios compare what
//! was measured in the same run.

#[path = "support/pool.rs"]
mod pool;

use std::hint::black_box;
use std::time::Instant;

use pool::BusyPool;

const ROUNDS: usize = 21;
const CYCLES: u32 = 200_000;

fn main() {
    println!(
        "{:>8} {:>10} {:>8} {:>10} {:>7}",
        "workers", "queued", "window", "ns a task", "ratio"
    );
    let mut base = None;
    for (workers, queued, window) in [
        (4, 10, 64),
        (100, 10, 64),
        (1_000, 10, 64),
        (10_000, 10, 64),
        (4, 1_000_000, 64),
        (1_000, 1_000_000, 64),
        (4, 10, 1),
        (1_000, 10, 1),
    ] {
        let nanos = measure(workers, queued, window);
        let base = *base.get_or_insert(nanos);
        println!("{workers:>8} {queued:>10} {window:>8} {nanos:>10.1} {:>7.2}", nanos / base);
    }
}

fn measure(workers: u32, queued: u32, window: u32) -> f64 {
    let mut pool = BusyPool::new(workers, queued, window);
    pool.cycle(CYCLES);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            black_box(&mut pool).cycle(CYCLES);
            begun.elapsed().as_secs_f64() * 1e9 / f64::from(CYCLES)
        })
        .collect();
    pool.check();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
