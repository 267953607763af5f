//! A manager and its workers in network namespaces of their own, with the kernel's TCP between them, and all that
//! happens to real networks: packets that are late, lost and overtake each other, a narrow line, links that are
//! down for longer than a heartbeat, addresses that change, one way that is dead, and power that is cut, of which
//! nobody is told. Nothing may be lost or doubled, and nothing given up that was not tried.
//!
//! It needs root, `ip`, `python3` and `/dev/net/tun`, and fails where it lacks them: so it is no part of `cargo test`,
//! but a stage of its own, `bash ci.sh network`.

mod manager;
mod network;
mod process;
mod worker;

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, Instant};

use network::{Drops, Network, Wire};
use process::{Child, ROLE};

/// How many attempts a task has, of those that may be its own fault.
const ATTEMPTS_MAX: u32 = 4;
const HEARTBEAT: Duration = Duration::from_millis(300);
/// How long all links are down, at most, before a peer must be given up.
const LONGER_THAN_A_HEARTBEAT: Duration = Duration::from_millis(1500);
/// How soon after the end of all faults there must be an answer: a dial that waits for its next turn, and a resend of
/// the kernel's.
const RECOVERY_MAX: Duration = Duration::from_secs(8);
/// How soon after that everything must have its outcome.
const FINISH_MAX: Duration = Duration::from_secs(40);
/// What a manager may hold, by its own account, and what is above that: code, threads, stacks.
const MEMORY_MAX: usize = 32 << 20;
const PROCESS_MAX: u64 = 32 << 20;

fn main() {
    if let Ok(role) = env::var(ROLE) {
        return play(&role);
    }
    // Whoever lists tests, such as `cargo nextest`, is to see none.
    if env::args().any(|word| word == "--list") {
        return;
    }
    network::check_means();
    let begun = Instant::now();
    trial(&mut Stage::new());
    println!("all of it took {:?}", begun.elapsed());
}

fn play(role: &str) {
    process::die_with_the_parent();
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["manager", dialled] => manager::play(dialled),
        ["worker", "serves", name, at] => worker::serve(name, at),
        ["worker", "dials", name, manager] => worker::dial(name, manager),
        _ => panic!("no role: {role}"),
    }
}

/// The manager is at 10.77.0.1, the workers at 10.77.0.2, or .3 once they have moved.
struct Stage {
    network: Network,
    manager: Child,
    workers: BTreeMap<&'static str, (String, Child)>,
}

impl Stage {
    fn new() -> Self {
        let network = Network::new();
        let mut workers = BTreeMap::new();
        for (name, role) in [
            ("one", "worker serves one 0.0.0.0:7001".to_owned()),
            ("two", "worker serves two 0.0.0.0:7002".to_owned()),
            ("three", "worker dials three 10.77.0.1:7000".to_owned()),
            ("four", "worker dials four 10.77.0.1:7000".to_owned()),
        ] {
            let child = Child::start(network.far(), &role);
            workers.insert(name, (role, child));
        }
        let manager = Child::start(network.near(), "manager 10.77.0.2:7001,10.77.0.2:7002");
        manager.wait_for("listens");
        Self { network, manager, workers }
    }

    fn kill(&mut self, name: &str) {
        self.workers.get_mut(name).expect("a worker").1.kill();
    }

    fn restart(&mut self, name: &str) {
        let (role, child) = self.workers.get_mut(name).expect("a worker");
        let mut next = Child::start(self.network.far(), role);
        // What the one before has begun counts as well.
        next.take_over(child);
        *child = next;
    }

    /// Returns how many times workers have begun with a task.
    fn begun(&self) -> BTreeMap<u64, u32> {
        let mut begun = BTreeMap::new();
        for (_, child) in self.workers.values() {
            for line in child.said() {
                let Some(number) = line.strip_prefix("began ") else { continue };
                *begun.entry(number.parse().expect("a number")).or_default() += 1;
            }
        }
        begun
    }
}

/// Lets something hold for a while, and says so.
fn suffer(what: &str, span: Duration) {
    println!("{what}, for {span:?}");
    std::thread::sleep(span);
}

fn trial(stage: &mut Stage) {
    let secs = Duration::from_secs;
    suffer("a good line", secs(2));
    stage.network.set(Wire { delay: 20, jitter: 30, loss: 5, ..Wire::GOOD });
    suffer("packets late, lost and out of order", secs(5));
    stage.network.set(Wire { rate: 20_000, ..Wire::GOOD });
    suffer("20 kB a second", secs(4));
    for drops in [Drops::ToWorkers, Drops::ToManager] {
        stage.network.set(Wire { drops, ..Wire::GOOD });
        suffer("one way is dead", LONGER_THAN_A_HEARTBEAT);
        stage.network.set(Wire::GOOD);
        suffer("a good line", secs(2));
    }
    for _ in 0..3 {
        stage.network.down();
        suffer("the interface is down", LONGER_THAN_A_HEARTBEAT);
        stage.network.up();
        suffer("it is up again", secs(1));
    }
    stage.network.moves("10.77.0.2", "10.77.0.3");
    suffer("the workers have another address", secs(3));
    stage.network.moves("10.77.0.3", "10.77.0.2");
    suffer("they have their first one again", secs(2));
    // Power is cut: no FIN, no RST, and other processes later.
    stage.network.set(Wire { drops: Drops::Both, ..Wire::GOOD });
    for name in ["one", "three"] {
        stage.kill(name);
    }
    suffer("two workers' power is cut, and the line is", LONGER_THAN_A_HEARTBEAT);
    for name in ["one", "three"] {
        stage.restart(name);
    }
    stage.network.set(Wire::GOOD);
    recover(stage);
    let report = finish(stage);
    judge(stage, &report);
}

/// Everything is in order again: somebody must be answered soon.
fn recover(stage: &Stage) {
    stage.manager.say("recover");
    let healed = Instant::now();
    stage.manager.wait_within("answered again", RECOVERY_MAX);
    println!("recovered in {:?}", healed.elapsed());
}

fn finish(stage: &Stage) -> BTreeMap<String, String> {
    stage.manager.say("finish");
    let healed = Instant::now();
    let line = stage.manager.wait_within("report ", FINISH_MAX);
    println!("finished in {:?}: {line}", healed.elapsed());
    let fields = line.split(' ').skip(1).filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn judge(stage: &Stage, report: &BTreeMap<String, String>) {
    let count = |name: &str| -> u64 { report[name].parse().expect("a number") };
    assert!(count("accepted") > 1000, "too few to say anything: {report:?}");
    assert_eq!(count("accepted"), count("ended"), "lost");
    assert_eq!(count("doubled"), 0, "doubled");
    assert_eq!(count("wrong"), 0, "wrong answers");
    assert_eq!(report["other"], "-", "outcomes that no fault explains");
    assert!(count("lost_links") >= 10, "faults that broke next to nothing: {report:?}");
    let begun = stage.begun();
    let exhausted: Vec<u64> = report["exhausted"]
        .split(',')
        .filter(|number| *number != "-")
        .map(|number| number.parse().expect("a number"))
        .collect();
    let wrongly: Vec<_> = exhausted
        .iter()
        .map(|number| (number, begun.get(number).copied().unwrap_or(0)))
        .filter(|(_, times)| *times < ATTEMPTS_MAX)
        .collect();
    let peak = stage.manager.peak_bytes();
    println!(
        "accepted {}, lost 0, doubled 0, exhausted {}, wrongly exhausted {}, links lost {}, begun {} times, \
         manager's memory at most {} MiB",
        report["accepted"],
        exhausted.len(),
        wrongly.len(),
        report["lost_links"],
        begun.values().map(|&times| u64::from(times)).sum::<u64>(),
        peak >> 20,
    );
    assert!(exhausted.contains(&worker::HANGS), "what always hangs was given up");
    assert!(wrongly.is_empty(), "given up, and how often it was begun: {wrongly:?}");
    assert!(peak <= MEMORY_MAX as u64 + PROCESS_MAX, "{peak} bytes");
}
