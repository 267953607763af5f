//! Simulates whole pools (manager, workers, wires, callers) in one thread on a virtual clock, under all
//! faults that there are, and counts for itself what becomes of each task.
//!
//! `cargo run --release -p chargehand-sim -- --help` says how to use it, and docs/RELIABILITY.md what it shows.

mod args;
mod campaign;
mod cast;
mod core_alone;
mod dice;
#[cfg(test)]
mod found;
mod jobs;
mod oracle;
mod panics;
mod plan;
mod replay;
mod run;
mod served;
mod shrink;
mod stage;
mod tally;

use std::process::ExitCode;

use args::{Args, HELP};

/// Its exit codes are in [`HELP`]. Built with `--cfg chargehand_planted`, it makes the mistake that
/// `CHARGEHAND_PLANTED` names.
fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    #[cfg(chargehand_planted)]
    if let Ok(name) = std::env::var("CHARGEHAND_PLANTED") {
        chargehand::core::planted::plant(&name);
    }
    panics::keep_quiet();
    if let Some(record) = &args.replay {
        return replay::run(record, args.wants_trace);
    }
    if args.is_core {
        return core_alone::run_all(&args);
    }
    match args.seed {
        Some(seed) => campaign::run_one(seed, &args),
        None => campaign::run_all(&args),
    }
}
