//! `chargehand` on the command line: tasks by processes, on one machine or on many, nothing lost.
//!
//! Where to read on: `run/` is the half that hands out, `worker.rs` the half that does, `processes/` how a task
//! becomes a process or a line for one, `look/` and `top/` what looks at a pool that runs, and `shared/` what the
//! main job has as well: what outlives a run, and where things are said, for which nothing else waits.

mod address;
mod args;
mod groups;
mod keys;
mod look;
mod members;
mod pages;
mod processes;
mod replay;
mod run;
mod shared;
mod top;
mod usage;
mod worker;

#[cfg(not(unix))]
compile_error!(
    "the command `chargehand` needs a Unix system: its process groups, signals and locks are those of Unix. \
     Elsewhere use the library"
);

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::shared::{console, failure, files, lines, numbers, program, saved, screen, stop};

/// The exit code where some tasks have failed, or a record differs.
const TASKS_FAILED: u8 = 1;
/// The exit code where what was begun could not be finished. `failure` has the others.
const RUN_FAILED: u8 = 4;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Status(args) => look::status(&args),
        Command::Workers(args) => look::workers(&args),
        Command::Explain(args) => look::explain(&args),
        Command::Top(args) => top::run(&args),
        Command::Queue(command) => look::queue(&command),
        Command::Drain(args) => look::drain(&args),
        Command::Completions(args) => pages::completions(args.shell),
        Command::Man(args) => pages::man(&args.folder),
    }
}
