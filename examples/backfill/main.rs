//! Backfills a range of blocks with workers that are processes of their own.
//!
//! `cargo run --release --example backfill` makes a demo chain, starts four workers on two
//! transports and two runtimes, kills one and stops another in the middle, and then proves that no
//! height was lost and none came twice. The TCP links are over TLS. `-- --help` tells what else it can do: real blocks from an
//! Ethereum node, workers on other machines, the outcomes as JSON Lines.
//!
//! With `--state FILE` a run that was interrupted or killed goes on where it was: each height is in
//! the output once, and the final judgement is about all of them. That file, at most about a second
//! old, names what is done, how long the output was then, and the range, source and output that it
//! belongs to; with others it is refused. A height that failed is tried again by the next run.
//!
//! Where to read on: `manager.rs` is the half that hands out, `worker.rs` the half that does,
//! `job.rs` with `state.rs` what outlives a run, and `rpc/` a node and when to ask it again. How a state is
//! kept, and where things are said for which nothing else waits, is in `cli/src/shared/`: the command `chargehand` has
//! the same.

mod address;
mod answer;
mod args;
mod block;
mod chain;
mod check;
mod crew;
mod events;
mod faults;
mod job;
mod manager;
mod members;
mod output;
mod progress;
mod report;
mod rpc;
mod setup;
mod state;
mod usage;
mod worker;

// What the command `chargehand` has as well: where it says things, and what outlives its runs.
#[path = "../../cli/src/shared/mod.rs"]
mod shared;

#[cfg(not(feature = "members"))]
compile_error!("on this system: cargo run --release --example backfill --features members");

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::shared::{console, failure, files, lines, numbers, program, saved, screen, stop};

/// The exit code where what was begun could not be finished. `failure` has the others.
const RUN_FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    match cli.command {
        None => manager::run(&cli.manager),
        Some(Command::Worker(args)) => worker::run(&args),
        Some(Command::Members(args)) => members::run(&args),
    }
}
