//! `chargehand` on the command line: tasks by processes, on one machine or on many, nothing lost.
//!
//! Where to read on: `run/` is the half that hands out, `worker.rs` the half that does, `hands/` how a task
//! becomes a process or a line for one, `look/` and `top/` what looks at a pool that runs, `saved/` and
//! `lines.rs` what outlives a run, and `console.rs` what is said, for which nothing else waits.

mod address;
mod args;
mod console;
mod failure;
mod files;
mod groups;
mod hands;
mod keys;
mod lines;
mod look;
mod members;
mod pages;
mod replay;
mod run;
mod saved;
mod screen;
mod stop;
mod top;
mod worker;

#[cfg(not(unix))]
compile_error!(
    "the command `chargehand` needs a Unix system: its process groups, signals and locks are those of Unix. \
     Elsewhere use the library"
);

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
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
