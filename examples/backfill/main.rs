//! Backfills a range of blocks with workers that are processes of their own.
//!
//! `cargo run --release --example backfill` makes a demo chain, starts four workers on two
//! transports and two runtimes, kills one and stops another in the middle, and then proves that no
//! height was lost and none came twice. `-- --help` tells what else it can do: real blocks from an
//! Ethereum node, workers on other machines, the outcomes as JSON Lines.
//!
//! Where to read on: `manager.rs` is the half that hands out, `worker.rs` the half that does.

mod address;
mod args;
mod block;
mod chain;
mod check;
mod crew;
mod failure;
mod faults;
mod files;
mod manager;
mod output;
mod progress;
mod report;
mod rpc;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let result = match cli.command {
        None => manager::run(&cli.manager),
        Some(Command::Worker(args)) => worker::run(&args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|failure| failure.report())
}
