//! The scheduler's cycle for an instruction counter: `instructions WORKERS QUEUED CYCLES`.
//!
//! `benches/instructions.sh` runs it under callgrind with two numbers of cycles; the difference is
//! what the cycles cost, whatever the set-up did.

#[path = "support/pool.rs"]
mod pool;

use pool::BusyPool;

fn main() {
    // Cargo's own arguments begin with a dash.
    let numbers: Vec<u32> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .map(|argument| argument.parse().expect("a number"))
        .collect();
    let [workers, queued, cycles] = numbers[..] else {
        println!("usage: instructions WORKERS QUEUED CYCLES; see benches/instructions.sh");
        return;
    };
    let mut pool = BusyPool::new(workers, queued, 64);
    // Every worker's turn comes in the first round.
    pool.cycle(20_000);
    pool.cycle(cycles);
    pool.check();
}
