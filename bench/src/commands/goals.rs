//! What the project aims at, measured in one run.

use std::fmt::Write;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use super::peers::{self, Rivals};
use super::throughput::{self, Group};
use super::{instructions, scale};
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::measure::Peer;
use crate::pieces::PIECES;
use crate::processes::{counting, root};
use crate::spec::{Placement, Runtimes, Transport};
use crate::table::{grouped, micros};

/// One line of the table.
pub(crate) struct Goal {
    what: String,
    aim: String,
    found: String,
    is_met: bool,
}

pub(crate) fn run(options: &Options, check: bool) -> ExitCode {
    let goals = measure(options);
    println!("\n{}", markdown(&goals));
    let missed = goals.iter().filter(|goal| !goal.is_met).count();
    println!("{missed} of {} missed", goals.len());
    if check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Measures everything that there is a goal for. The option `only` chooses among the parts, by the
/// words below.
pub(crate) fn measure(options: &Options) -> Vec<Goal> {
    let parts: [(&str, fn(&Options) -> Vec<Goal>); 10] = [
        ("scheduler", scheduler),
        ("peers", against_peers),
        ("one in flight", one_in_flight),
        ("websocket", websocket),
        ("large", large),
        ("large peers", large_against_peers),
        ("memory", memory),
        ("crowd", crowd),
        ("json", json),
        ("build", cold_build),
    ];
    let mut goals = Vec::new();
    for (name, part) in parts {
        if options.wants(name) {
            let begun = Instant::now();
            goals.extend(part(&Options { only: String::new(), ..options.clone() }));
            eprintln!("{name}: {} s", begun.elapsed().as_secs());
        }
    }
    goals
}

/// Returns the table.
pub(crate) fn markdown(goals: &[Goal]) -> String {
    let mut text = "| what | goal | found | |\n|---|---|---|---|\n".to_owned();
    for Goal { what, aim, found, is_met } in goals {
        let verdict = if *is_met { "met" } else { "**missed**" };
        writeln!(text, "| {what} | {aim} | {found} | {verdict} |").expect("a string takes all");
    }
    text
}

fn goal(what: impl Into<String>, aim: impl Into<String>, found: String, is_met: bool) -> Goal {
    Goal { what: what.into(), aim: aim.into(), found, is_met }
}

/// A figure that should be so much at least.
fn at_least(what: impl Into<String>, least: f64, found: f64, show: fn(f64) -> String) -> Goal {
    goal(what, format!("at least {}", show(least)), show(found), found >= least)
}

/// A figure that should be so much at most.
fn at_most(what: impl Into<String>, most: f64, found: f64, show: fn(f64) -> String) -> Goal {
    goal(what, format!("at most {}", show(most)), show(found), found <= most)
}

fn scheduler(options: &Options) -> Vec<Goal> {
    let nanos = |index: usize| {
        const CYCLES: u32 = 200_000;
        let mut run = (PIECES[index].make)();
        run(CYCLES);
        let mut rounds: Vec<f64> = (0..options.rounds.max(7))
            .map(|_| {
                let begun = Instant::now();
                run(CYCLES);
                begun.elapsed().as_secs_f64() * 1e9 / f64::from(CYCLES)
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    };
    let few = instructions::count(PIECES[0].name);
    let many = instructions::count("scheduler/10000/1000000");
    vec![
        at_most("scheduler cycle, 4 workers, ns", 40.0, nanos(0), tenths),
        at_most("the same in instructions", 250.0, few, tenths),
        at_most(
            "10,000 workers and 1,000,000 queued, instructions to that",
            1.25,
            many / few,
            ratio,
        ),
    ]
}

/// Everything over TCP with 256 in flight, and with one.
fn against_peers(options: &Options) -> Vec<Goal> {
    let launcher = options.launcher();
    let rivals = Rivals::new(&launcher, options.seconds);
    let mut contest = peers::windowed(&rivals);
    let go = rivals.add_go_pair(&mut contest);
    let windowed = contest.run(options.rounds);
    let one = peers::one(&rivals).run(options.rounds);
    let [process, call] = [&windowed[0], &windowed[1]];
    // The ratio of a row is to the first, `process`.
    let ahead = |row: &Record| 1.0 / row.median("ratio");
    let call_ahead = |row: &Record| call.median("rate") / row.median("rate");
    let peer = |wanted| {
        let index = peers::PEERS_OF_OURS.iter().position(|peer| *peer == wanted);
        &windowed[2 + index.expect("it is one of them")]
    };
    let mut goals = vec![
        at_least("TCP 4x64, `process`, tasks/s", 3e6, process.median("rate"), grouped),
        at_least("... to ZeroMQ", 2.5, ahead(peer(Peer::Zmq)), ratio),
        at_least("... to the Go pair's best", 50.0, ahead(&windowed[go]), ratio),
        at_most("... manager CPU a task, us", 300.0, process.median("manager"), micros),
        at_least("TCP 4x64, 256 callers of `call`, tasks/s", 2e6, call.median("rate"), grouped),
        at_least("... to tarpc", 3.0, call_ahead(peer(Peer::Tarpc)), ratio),
    ];
    for (index, peer) in peers::PEERS_OF_OURS.iter().enumerate() {
        let (many, single) = (&windowed[2 + index], &one[2 + index]);
        let what = format!("`call` to {}, 256 in flight, tasks/s", peer.name());
        goals.push(at_least(what, 1.0, call_ahead(many), ratio));
        let what = format!("`call`'s p50 to {}'s, one in flight", peer.name());
        goals.push(at_most(what, 1.0, one[1].median("p50") / single.median("p50"), ratio));
    }
    goals
}

fn websocket(options: &Options) -> Vec<Goal> {
    let launcher = options.launcher();
    let group = group(Transport::Ws, Runtimes::Tokio, 4, 64, Placement::Free);
    let records = throughput::contest(group, &launcher, options.seconds).run(options.rounds);
    vec![at_least("WebSocket 4x64, `process` to bare", 0.6, records[1].median("ratio"), ratio)]
}

/// Long bodies, beside the bare wire.
fn large(options: &Options) -> Vec<Goal> {
    let launcher = options.launcher();
    let mut goals = Vec::new();
    for (transport, process, call) in [(Transport::Tcp, 0.75, 0.8), (Transport::Ws, 0.65, 0.65)] {
        for (window, payload) in [(16, 64 << 10), (4, 1 << 20)] {
            let group =
                Group { payload, ..group(transport, Runtimes::Tokio, 4, window, Placement::Free) };
            let records =
                throughput::contest(group, &launcher, options.seconds).run(options.rounds);
            for (row, name, least) in [(1, "process", process), (3, "call", call)] {
                let what = format!("{group}, `{name}` to bare");
                goals.push(at_least(what, least, records[row].median("ratio"), ratio));
            }
        }
    }
    goals
}

/// Long bodies, beside other systems.
fn large_against_peers(options: &Options) -> Vec<Goal> {
    let launcher = options.launcher();
    let rivals = Rivals::new(&launcher, options.seconds);
    let mut goals = Vec::new();
    for shape in peers::LARGE {
        let contest = peers::large(&rivals, shape);
        let records = contest.run(options.rounds);
        for row in &records[1..] {
            let what = format!("`call` to {}, {}", row.name, contest.name());
            goals.push(at_least(what, 1.0, 1.0 / row.median("ratio"), ratio));
        }
    }
    goals
}

fn one_in_flight(options: &Options) -> Vec<Goal> {
    let launcher = options.launcher();
    let mut goals = Vec::new();
    for transport in [Transport::Tcp, Transport::Ws] {
        for runtime in [Runtimes::Tokio, Runtimes::Smol] {
            let group = group(transport, runtime, 1, 1, Placement::Same);
            let contest: Contest<'_> = throughput::contest(group, &launcher, options.seconds);
            let records = contest.run(options.rounds);
            // Tokio sets a timer for each wait that has a time limit: decision 0009.
            let (process, call) = match (transport, runtime) {
                (Transport::Tcp, Runtimes::Tokio) => (0.88, 0.85),
                _ => (0.95, 0.9),
            };
            for (row, least) in [(1, process), (2, call)] {
                let what = format!(
                    "one in flight, same core, {transport}, {runtime}, `{}` to bare",
                    records[row].name
                );
                goals.push(at_least(what, least, records[row].median("ratio"), ratio));
            }
        }
    }
    goals
}

fn json(options: &Options) -> Vec<Goal> {
    let launcher = options.launcher();
    let rivals = Rivals::new(&launcher, options.seconds);
    let records = peers::json(&rivals).run(options.rounds);
    let go = records[1].median("ratio");
    vec![
        at_least("JSON, 16 links, ours and ours to Go and Go", 1.7, 1.0 / go, ratio),
        at_least(
            "JSON, 16 links, our manager to the Go manager, Go worker",
            1.3,
            records[2].median("ratio") / go,
            ratio,
        ),
    ]
}

fn memory(_: &Options) -> Vec<Goal> {
    let counting = counting();
    let idle = scale::idle_memory(&counting).run(1);
    let queued = scale::queue_memory(&counting).run(1);
    let range = scale::range_memory(&counting).run(1);
    let growth = range[0].median("rest") / range[0].median("first third");
    vec![
        at_most("idle TCP link, bytes", 4096.0, idle[0].median("with tables"), grouped),
        at_most("idle WebSocket link, bytes", 16_384.0, idle[1].median("with tables"), grouped),
        at_most("a queued call with 16 bytes, bytes", 160.0, queued[0].median("own"), grouped),
        at_most(
            "a range of 1,000,000,000 heights, memory then to the first third",
            1.02,
            growth,
            ratio,
        ),
    ]
}

fn crowd(options: &Options) -> Vec<Goal> {
    let launcher = options.launcher();
    let idle = scale::idle_crowd(&launcher, options.seconds).run(options.rounds);
    let busy = scale::busy_crowd(&launcher, options.seconds).run(options.rounds);
    vec![
        at_least(
            "16 busy links beside 10,000 idle ones, to none",
            0.9,
            idle[1].median("ratio"),
            ratio,
        ),
        at_least("10,000 links with work for all, to bare", 0.8, busy[1].median("ratio"), ratio),
    ]
}

/// Not a goal with a limit: what a user waits for.
fn cold_build(_: &Options) -> Vec<Goal> {
    let target = std::env::temp_dir().join(format!("chargehand-build.{}", std::process::id()));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let features = ["-p", "chargehand", "--features", "tokio,tcp"];
    let begun = Instant::now();
    let build = Command::new(&cargo)
        .arg("build")
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(root())
        .stderr(Stdio::null())
        .status();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(build.is_ok_and(|status| status.success()), "the facade does not build");
    let _ = fs::remove_dir_all(&target);
    let tree = Command::new(&cargo)
        .arg("tree")
        .args(features)
        .args(["-e", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("chargehand")).collect();
    names.sort_unstable();
    names.dedup();
    let found = format!("{} crates of others, {seconds:.1} s", names.len());
    vec![goal("cold debug build of the facade with `tokio,tcp`", "stated", found, true)]
}

fn group(
    transport: Transport,
    runtime: Runtimes,
    links: u32,
    window: u16,
    placement: Placement,
) -> Group {
    Group { transport, runtime, links, window, payload: 16, placement }
}

/// Three digits: to two, a miss by little would look like a hit.
fn ratio(value: f64) -> String {
    format!("{value:.3}")
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}
