//! Workers and managers in processes of their own: this very program, started again with a role.

#![allow(dead_code, reason = "each test that includes it uses a part")]

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use chargehand::worker::WorkerEvent;
use chargehand::{Pool, PoolEvent};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};

use crate::pair::{Socket, TcpSmol, TcpTokio, WsSmol, WsTokio};
use crate::rig::{Rig, answer_to, hand, pause, works};

/// Holds a child's role: what it is, the pair, the address, and numbers.
pub(crate) const ROLE: &str = "CHARGEHAND_CHILD_ROLE";
/// The test that plays the roles of this module.
const ENTRY: &str = "children::a_child_plays_only_roles_that_there_are";
/// The height that takes a worker's process down.
pub(crate) const POISON: u64 = 666;
/// How many tasks a worker's process does at once, where the case does not say.
pub(crate) const CONCURRENCY: u16 = 4;

/// A process of ours. It is killed when this is dropped, or when we die.
pub(crate) struct Child {
    pub(crate) at: SocketAddr,
    process: Process,
    lines: Mutex<Receiver<String>>,
    _stdin: ChildStdin,
}

impl Child {
    /// Starts a worker on a port of its own.
    pub(crate) fn worker<P: Socket>(concurrency: u16) -> Self {
        Self::worker_at::<P>("127.0.0.1:0", concurrency)
    }

    pub(crate) fn worker_at<P: Socket>(address: &str, concurrency: u16) -> Self {
        Self::start(&format!("worker {} {address} {concurrency}", P::NAME))
    }

    /// Starts a worker that has room for few open files.
    pub(crate) fn cramped_worker<P: Socket>() -> Self {
        Self::start(&format!("cramped-worker {} 127.0.0.1:0 {CONCURRENCY}", P::NAME))
    }

    /// Starts a manager that listens, and does a range as soon as it has a worker.
    pub(crate) fn manager<P: Socket>() -> Self {
        Self::start(&format!("manager {} 127.0.0.1:0 0", P::NAME))
    }

    /// Starts the same with room for few open files.
    pub(crate) fn cramped_manager<P: Socket>() -> Self {
        Self::start(&format!("cramped-manager {} 127.0.0.1:0 0", P::NAME))
    }

    fn start(role: &str) -> Self {
        Self::start_by(ENTRY, role)
    }

    /// Starts this program with a role that the test `entry` plays. It says its address first.
    pub(crate) fn start_by(entry: &str, role: &str) -> Self {
        let mut process = command(entry, role).spawn().expect("this program starts");
        let stdin = process.stdin.take().expect("it is a pipe");
        let stdout = process.stdout.take().expect("it is a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The test harness writes "test name ... " in front of the first one.
                let said = line.rsplit("child: ").next().unwrap_or_default().to_owned();
                if line.contains("child: ") && sender.send(said).is_err() {
                    return;
                }
            }
        });
        let mut child = Self {
            at: SocketAddr::from(([127, 0, 0, 1], 0)),
            process,
            lines: Mutex::new(lines),
            _stdin: stdin,
        };
        let line = child.next_line();
        child.at = line.strip_prefix("at ").expect("its address").parse().expect("an address");
        child
    }

    pub(crate) fn next_line(&self) -> String {
        let lines = self.lines.lock().expect("no panic with it");
        lines.recv_timeout(Duration::from_secs(20)).expect("the child says something")
    }

    /// Waits until the child has said this. Blocks.
    pub(crate) fn wait_for(&self, wanted: &str) {
        while self.next_line() != wanted {}
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is our child");
    }

    /// Returns whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.process.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        self.process.wait().expect("it is our child");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Returns how much memory it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.expect("the field").parse::<u64>().expect("a number") << 10
    }

    /// Returns how much processor time it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = self.proc("stat");
        let fields = stat.rsplit(") ").next().expect("what is behind the name");
        let ticks = |index| -> u64 {
            fields.split(' ').nth(index).expect("the field").parse().expect("a number")
        };
        // User and system time, in hundredths of a second whatever the kernel counts in.
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    pub(crate) fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process.id());
        std::fs::read_to_string(path).expect("it lives")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(entry: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command
        .args(["--exact", entry, "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// The entry of every child, and a test by itself where no role is given.
#[test]
fn a_child_plays_only_roles_that_there_are() {
    if let Ok(role) = env::var(ROLE) {
        play(&role);
    } else {
        let output = command(ENTRY, "a clown").stderr(Stdio::null()).output().expect("it starts");
        assert!(!output.status.success());
        let worker = Child::worker::<TcpSmol>(CONCURRENCY);
        assert_ne!(worker.at.port(), 0);
    }
}

fn play(role: &str) {
    let words: Vec<&str> = role.split(' ').collect();
    let [what, pair, address, number] = words[..] else { panic!("no role: {role}") };
    let number = number.parse().expect("a number");
    die_with_the_parent();
    match pair {
        "tcp_tokio" => play_on::<TcpTokio>(what, address, number),
        "tcp_smol" => play_on::<TcpSmol>(what, address, number),
        "ws_tokio" => play_on::<WsTokio>(what, address, number),
        "ws_smol" => play_on::<WsSmol>(what, address, number),
        other => panic!("no pair: {other}"),
    }
}

/// Ends the process when its parent is gone.
pub(crate) fn die_with_the_parent() {
    // The parent's death closes this pipe.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

fn play_on<P: Socket>(what: &str, address: &str, number: u16) {
    let door = TcpListener::bind(address).expect("the port is free");
    let at = door.local_addr().expect("it listens");
    match what {
        "worker" => P::run(work::<P>(door, at, number, false)),
        "cramped-worker" => P::run(work::<P>(door, at, number, true)),
        "manager" => P::run(manage::<P>(door, at, false)),
        "cramped-manager" => P::run(manage::<P>(door, at, true)),
        other => panic!("no role: {other}"),
    }
}

/// Tells the parent.
pub(crate) fn say(text: &str) {
    println!("child: {text}");
}

async fn work<P: Socket>(door: TcpListener, at: SocketAddr, concurrency: u16, cramped: bool) {
    let hand = hand::<P>("child", |height| {
        Box::pin(async move {
            if height == POISON {
                std::process::abort();
            }
            pause::<P>(Duration::from_millis(1)).await;
            Ok(answer_to(height))
        })
    });
    let hand = hand.concurrency(concurrency).handshake_timeout(Duration::from_secs(60));
    let hand = hand.on_event(|event| {
        if let WorkerEvent::AcceptFailed { .. } = event {
            say("paused");
        }
    });
    if !cramped {
        // Before it serves: its first task may be its last.
        say(&format!("at {at}"));
    }
    let job = P::job(P::serve(hand, door));
    if cramped {
        cramp::<P>().await;
        say(&format!("at {at}"));
    }
    job.done().await;
}

async fn manage<P: Socket>(door: TcpListener, at: SocketAddr, cramped: bool) {
    let setup = Pool::builder(P::timer()).configure(|config| {
        config.connect_timeout = Duration::from_secs(60);
        config.heartbeat_interval = Duration::from_secs(60);
    });
    let mut rig = Rig::start::<P>(P::accept(setup, door));
    let mut events = rig.pool.events();
    P::spawn(async move {
        while let Some(event) = events.next().await {
            if let PoolEvent::AcceptFailed { .. } = event {
                say("paused");
            }
        }
    });
    if cramped {
        cramp::<P>().await;
    }
    say(&format!("at {at}"));
    rig.watch
        .until::<P>(
            "the good worker",
            |event| matches!(event, PoolEvent::Connected { peer, .. } if &**peer == "good"),
        )
        .await;
    works(&rig.pool).await;
    say("done");
    rig.driver.done().await;
}

/// Leaves room for a dozen more open files.
pub(crate) async fn cramp<P: Socket>() {
    // The first poll of everything is over then, so all that it needs is open.
    pause::<P>(Duration::from_millis(20)).await;
    let open = std::fs::read_dir("/proc/self/fd").expect("this is Linux").count();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(open as u64 + 12);
    setrlimit(Resource::Nofile, limit).expect("less is always allowed");
}
