//! What a task costs from end to end: manager and worker in two processes on loopback, and next to
//! it what the same transport on the same runtime can do at best.
//!
//! `cargo bench --bench end_to_end`, with `-- --help` for its options. See docs/BENCHMARKS.md.

mod bare;
mod cli;
mod cpu;
mod manager;
mod runtime;
mod worker;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use clap::Parser;

use cli::{Cli, Load, Role, Runtimes, Side, Transport};

/// Rows that are measured in turn and compared with the first of them.
struct Group {
    transport: Transport,
    runtime: Runtimes,
    shape: Shape,
}

/// How much is under way, and where.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// 4 links with 64 tasks each, on any CPU.
    Windowed,
    /// 1 link with 1 task, both processes on one CPU.
    One,
}

/// Tasks a second, and nanoseconds of CPU a task at the manager and at the worker.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    cpu: [f64; 2],
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.role {
        Some(Role::Worker(side)) => worker::run(*side),
        Some(Role::Manager(measured)) => manager::run(measured),
        None => return compare(&cli),
    }
    ExitCode::SUCCESS
}

fn compare(cli: &Cli) -> ExitCode {
    println!(
        "{:<26} {:>12} {:>9} {:>9} {:>8}  target",
        "links/transport/runtime", "tasks/s", "manager", "worker", "to bare"
    );
    println!("{:<26} {:>12} {:>9} {:>9}", "", "", "us CPU", "us CPU");
    let mut all_met = true;
    for shape in [Shape::Windowed, Shape::One] {
        for transport in [Transport::Tcp, Transport::Ws] {
            for runtime in [Runtimes::Tokio, Runtimes::Smol] {
                let group = Group { transport, runtime, shape };
                if group.name().contains(&cli.only) {
                    all_met &= group.compare(cli);
                }
            }
        }
    }
    if cli.check && !all_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Group {
    fn name(&self) -> String {
        let shape = match self.shape {
            Shape::Windowed => "4x64",
            Shape::One => "one",
        };
        format!("{shape}/{}/{}", self.transport, self.runtime)
    }

    fn loads(&self) -> &'static [Load] {
        match self.shape {
            Shape::Windowed => &[Load::Bare, Load::Range, Load::Calls(256), Load::Calls(1)],
            Shape::One => &[Load::Bare, Load::Range, Load::Calls(1)],
        }
    }

    /// Measures and prints all rows. Returns whether they met their targets.
    fn compare(&self, cli: &Cli) -> bool {
        let loads = self.loads();
        let mut rounds = vec![Vec::new(); loads.len()];
        for _ in 0..cli.rounds.max(1) {
            for (&load, figures) in loads.iter().zip(&mut rounds) {
                figures.push(self.measure(load, cli));
            }
        }
        let rows: Vec<Figures> = rounds.iter().map(|figures| Figures::median(figures)).collect();
        let mut all_met = true;
        for (&load, row) in loads.iter().zip(&rows) {
            let ratio = row.rate / rows[0].rate;
            let verdict = match self.target(load) {
                None => String::new(),
                Some((what, is_met)) => {
                    let is_met = is_met(row.rate, ratio);
                    all_met &= is_met;
                    format!("{what}{}", if is_met { "" } else { ": MISSED" })
                }
            };
            let [manager, worker] = row.cpu.map(|nanos| nanos / 1000.0);
            println!(
                "{:<26} {:>12.0} {manager:>9.2} {worker:>9.2} {ratio:>8.2}  {verdict}",
                format!("{}/{load}", self.name()),
                row.rate,
            );
        }
        all_met
    }

    fn target(&self, load: Load) -> Option<(&'static str, fn(f64, f64) -> bool)> {
        match (self.shape, self.transport, load) {
            (Shape::Windowed, Transport::Tcp, Load::Range) => {
                Some(("1,000,000 a second", |rate, _| rate >= 1e6))
            }
            (Shape::Windowed, Transport::Ws, Load::Range) => {
                Some(("500,000 a second", |rate, _| rate >= 5e5))
            }
            (Shape::One, _, Load::Range | Load::Calls(_)) => {
                Some(("0.80 of bare", |_, ratio| ratio >= 0.8))
            }
            _ => None,
        }
    }

    /// Starts the two processes and returns what the manager found.
    fn measure(&self, load: Load, cli: &Cli) -> Figures {
        let Self { transport, runtime, shape } = *self;
        let one_cpu = shape == Shape::One;
        let (links, window) = if one_cpu { (1, 1) } else { (4, 64) };
        let side = Side { transport, runtime, load, one_cpu };

        let mut worker = start("worker", side, cli, &[]);
        let address = line(&mut worker);
        let mut manager = start(
            "manager",
            side,
            cli,
            &[
                ("--address", address),
                ("--worker", worker.id().to_string()),
                ("--links", links.to_string()),
                ("--window", window.to_string()),
                ("--seconds", cli.seconds.to_string()),
            ],
        );
        let found = line(&mut manager);
        manager.wait().expect("our own child");
        // The end of its standard input ends it.
        drop(worker.stdin.take());
        worker.wait().expect("our own child");

        let figures: Vec<f64> = found.split(' ').flat_map(str::parse).collect();
        let [rate, manager, worker] = figures[..] else { panic!("the manager said: {found}") };
        Figures { rate, cpu: [manager, worker] }
    }
}

/// Runs this program again in another role.
fn start(role: &str, side: Side, cli: &Cli, options: &[(&str, String)]) -> Child {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = if cli.rr { Command::new("chrt") } else { Command::new(&program) };
    if cli.rr {
        command.args(["-r", "1"]).arg(&program);
    }
    command.arg(role).arg(side.transport.to_string()).arg(side.runtime.to_string());
    command.arg(side.load.to_string());
    if side.one_cpu {
        command.arg("--one-cpu");
    }
    for (name, value) in options {
        command.args([name, value.as_str()]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("a process (with --rr: is there a `chrt`?)")
}

/// Returns the only line that a child prints.
fn line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("the child's output");
    assert!(!line.is_empty(), "the child ended without a word");
    line.trim_end().to_owned()
}

impl Figures {
    /// Returns the round in the middle, by its rate.
    fn median(rounds: &[Self]) -> Self {
        let mut rounds = rounds.to_vec();
        rounds.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        rounds[rounds.len() / 2]
    }
}
