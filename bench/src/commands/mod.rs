//! What the program can be told to do.

mod goals;
pub(crate) mod instructions;
mod judged;
mod latency;
mod mixed;
mod peers;
mod report;
mod scale;
mod schedulers;
mod throughput;
mod tls;
#[cfg(feature = "watched")]
mod watched;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Options};
use crate::contest::Contest;
use crate::figures::Record;
use crate::spec::Side;
use crate::table::{self, Column};
use crate::{crowd, loopback, manager, memory, pieces, reconnects, worker};

pub(crate) fn run(allocated: Option<fn() -> usize>) -> ExitCode {
    let Cli { command, options } = Cli::parse();
    if command.measures_time() {
        loopback::without_pacing();
    }
    match command {
        Command::Throughput => drop(throughput::run(&options)),
        Command::Latency => drop(latency::run(&options)),
        Command::Peers => drop(peers::run(&options)),
        Command::Scale => drop(scale::run(&options)),
        Command::Tls => drop(tls::run(&options)),
        #[cfg(feature = "watched")]
        Command::Watched => drop(watched::run(&options)),
        Command::Mixed => mixed::run_all(&options),
        Command::Instructions { check, record } => return instructions::run(check, record),
        Command::Goals { check } => return goals::run(&options, check),
        Command::Report { stored } => return report::run(&options, stored),
        Command::Side { side } => {
            let side = serde_json::from_str(&side).expect("what this program wrote");
            be(side, allocated);
        }
    }
    ExitCode::SUCCESS
}

fn be(side: Side, allocated: Option<fn() -> usize>) {
    match side {
        Side::Worker(spec) => worker::run(spec),
        Side::Manager { spec, address, worker, seconds } => {
            manager::run(spec, &address, worker, seconds);
        }
        Side::Crowded(crowded) => crowd::manage(&crowded, allocated),
        Side::Crowd { transport, links, address } => crowd::run(transport, links, &address),
        Side::Queue { tasks } => memory::queue(tasks, allocated),
        Side::Range { spec, address, seconds } => memory::range(spec, &address, seconds, allocated),
        Side::Sleepers { workers, slow, stragglers } => mixed::work(workers, slow, stragglers),
        Side::Mixed { addresses, window, slow, by_answers, load } => {
            mixed::manage(&addresses, window, slow, by_answers, load);
        }
        Side::Judged { mechanism, row } => judged::measure(mechanism, row),
        Side::Reconnects { transport, links } => reconnects::run(transport, links),
        Side::Piece { name, cycles } => pieces::count(&name, cycles),
    }
}

/// Measures the rows of a contest and prints them.
fn show(title: &str, contest: &Contest<'_>, columns: &[Column], options: &Options) -> Vec<Record> {
    let records = contest.run(options.rounds);
    println!("## {title}\n\n{}", table::markdown(&records, columns));
    records
}
