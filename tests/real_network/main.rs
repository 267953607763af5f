//! A manager and its workers in network namespaces of their own, with the kernel's TCP between them, and all that
//! happens to real networks: packets that are late, lost and overtake each other, a narrow line, links that are
//! down for longer than a heartbeat, addresses that change behind their name, one way that is dead, and power that is cut,
//! of which nobody is told. Links are plain TCP, WebSocket, TLS and WebSocket over TLS. Nothing may be lost or doubled, and nothing given up that was not tried.
//!
//! It needs root, `ip`, `python3` and `/dev/net/tun`, and fails where it lacks them: so it is no part of `cargo test`,
//! but a stage of its own, `bash ci.sh network`.

mod manager;
mod network;
mod process;
mod worker;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chargehand::tls::members::{Authority, Role};

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

/// How soon after that all workers are up again.
const REJOIN_MAX: Duration = Duration::from_secs(8);
/// Whom the manager dials: one by an address, and one by a name.
const ONE: &str = "tcp://10.77.0.2:7001";
const TWO: &str = "ws://workers.chargehand.test:7002";
/// Whose power is cut: one for each kind of link.
const CUT_OFF: [&str; 4] = ["one", "two", "four", "five"];

/// What the manager says of a worker: of one that it dials, by its address.
fn label(what: &str, name: &str) -> String {
    let label = match name {
        "one" => "10.77.0.2:7001",
        "two" => TWO,
        other => other,
    };
    format!("{what} {label}")
}

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
        ["manager", one, two, files] => manager::play(one, two, Path::new(files)),
        ["worker", "serves", name, at, _] => worker::serve(name, at),
        ["worker", "dials", name, at, files] => {
            worker::dial(name, at, &Path::new(files).join(name))
        }
        _ => panic!("no role: {role}"),
    }
}

/// The manager is at 10.77.0.1, the workers at 10.77.0.2, or .3 once they have moved.
struct Stage {
    network: Network,
    _files: Files,
    manager: Child,
    workers: BTreeMap<&'static str, (String, Child)>,
}

impl Stage {
    fn new() -> Self {
        let (network, files) = (Network::new(), Files::new());
        let folder = files.0.display();
        let mut workers = BTreeMap::new();
        for (name, role) in [
            ("one", "worker serves one tcp://0.0.0.0:7001 -".to_owned()),
            ("two", "worker serves two ws://0.0.0.0:7002 -".to_owned()),
            ("three", "worker dials three tcp://10.77.0.1:7000 -".to_owned()),
            ("four", format!("worker dials four tls://10.77.0.1:7003 {folder}")),
            ("five", format!("worker dials five wss://10.77.0.1:7004 {folder}")),
        ] {
            let child = Child::start(network.far(), &role);
            workers.insert(name, (role, child));
        }
        let manager = Child::start(network.near(), &format!("manager {ONE} {TWO} {folder}"));
        manager.wait_for("listens");
        Self { network, _files: files, manager, workers }
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

/// The join files of those who speak TLS, which go with it.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("chargehand-network-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder of its own");
        let files = Self(folder);
        let path = |name: &str| files.0.join(name);
        let authority = Authority::create(path("authority")).expect("a new file");
        for (role, name) in [(Role::Pool, "m1"), (Role::Worker, "four"), (Role::Worker, "five")] {
            authority.join(role, name).write(path(name)).expect("a new file");
        }
        files
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
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
    let before = stage.manager.count_said();
    stage.network.moves("10.77.0.2", "10.77.0.3");
    suffer("the workers have another address", secs(3));
    // The one that is dialled by its name, and those that dial.
    stage.manager.has_said(
        before,
        &["two", "three", "four", "five"].map(|name| label("up", name)),
        REJOIN_MAX,
    );
    stage.network.moves("10.77.0.3", "10.77.0.2");
    suffer("they have their first one again", secs(2));
    // Power is cut: no FIN, no RST, and other processes later.
    stage.network.set(Wire { drops: Drops::Both, ..Wire::GOOD });
    let before = stage.manager.count_said();
    for name in CUT_OFF {
        stage.kill(name);
    }
    suffer("four workers' power is cut, and the line is", LONGER_THAN_A_HEARTBEAT);
    // Half open, whatever is between TCP and them: each is found out by its silence.
    stage.manager.has_said(before, &CUT_OFF.map(|name| label("lost", name)), HEARTBEAT);
    for name in CUT_OFF {
        stage.restart(name);
    }
    let before = stage.manager.count_said();
    stage.network.set(Wire::GOOD);
    recover(stage);
    let healed = Instant::now();
    stage.manager.has_said(before, &CUT_OFF.map(|name| label("up", name)), REJOIN_MAX);
    println!("all of them are back {:?} later", healed.elapsed());
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
