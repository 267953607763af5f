//! What a task costs, measured beside the bare machine and beside other job systems.
//!
//! `cargo run --release -p chargehand-bench -- --help` says how. docs/PERFORMANCE.md has the results.
//! [`measure`] is what the program shares with `bench/peers`, [`pieces`] what it shares with
//! `cargo bench`.

mod bare;
mod cli;
mod commands;
mod contest;
mod crowd;
mod figures;
mod go;
mod loopback;
mod manager;
pub mod measure;
mod members;
mod memory;
mod one_thread;
pub mod pieces;
mod plots;
mod processes;
mod reconnects;
mod runtime;
mod spec;
mod table;
mod worker;

use std::process::ExitCode;

/// Compiles the examples of the guide to scheduling, which is in no package.
#[cfg(doctest)]
#[doc = include_str!("../../docs/SCHEDULING.md")]
struct SchedulingGuide;

/// Runs the program. `allocated` tells how many bytes this process has allocated, where it counts
/// them.
pub fn main(allocated: Option<fn() -> usize>) -> ExitCode {
    commands::run(allocated)
}
