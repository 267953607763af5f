//! The same no-op job by other systems: manager to worker and back, in the same run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::show;
use crate::cli::Options;
use crate::contest::Contest;
use crate::figures::Record;
use crate::go::Go;
use crate::manager::HEIGHT_ANSWER_BYTES;
use crate::measure::{Figures, Job, Peer, Place};
use crate::processes::{Broker, Launcher, PEERS_MANIFEST, build, free_address, until_listening};
use crate::spec::{Load, Placement, Runtimes, Spec, Transport, Watch};
use crate::table::PEERS;

pub(crate) const SECTION: &str = "peers";
pub(crate) const PEERS_OF_OURS: [Peer; 6] =
    [Peer::Zmq, Peer::Tarpc, Peer::Nats, Peer::Redis, Peer::Gearman, Peer::Beanstalk];

const PAYLOAD_BYTES: usize = HEIGHT_ANSWER_BYTES;
/// Links of the JSON dialect, whose window is always 1.
const JSON_LINKS: u32 = 16;

/// How much is in flight: what every row of a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) links: u32,
    pub(crate) window: u16,
    /// The length of a body, which comes back.
    pub(crate) bytes: usize,
    pub(crate) placement: Placement,
}

pub(crate) const WINDOWED: Shape =
    Shape { links: 4, window: 64, bytes: PAYLOAD_BYTES, placement: Placement::Free };
pub(crate) const ONE: Shape =
    Shape { links: 1, window: 1, bytes: PAYLOAD_BYTES, placement: Placement::Same };
/// Longer bodies, and less of them in flight the longer they are.
pub(crate) const LARGE: [Shape; 3] = [
    Shape { bytes: 1 << 10, ..WINDOWED },
    Shape { window: 16, bytes: 64 << 10, ..WINDOWED },
    Shape { window: 4, bytes: 1 << 20, ..WINDOWED },
];
/// Those whose users send long bodies.
const PEERS_OF_LARGE: [Peer; 3] = [Peer::Zmq, Peer::Tarpc, Peer::Nats];

pub(crate) fn run(options: &Options) -> Vec<Record> {
    let launcher = options.launcher();
    let rivals = Rivals::new(&launcher, options.seconds);
    let mut records = Vec::new();
    let large = LARGE.map(|shape| large(&rivals, shape));
    for contest in [windowed(&rivals), one(&rivals), json(&rivals)].into_iter().chain(large) {
        if options.wants(contest.name()) {
            records.extend(show(contest.name(), &contest, PEERS, options));
        }
    }
    records
}

/// 256 in flight.
pub(crate) fn windowed<'a>(rivals: &'a Rivals<'a>) -> Contest<'a> {
    let mut contest = Contest::new(SECTION, "256 in flight, 4 links or workers");
    let first = contest.add("chargehand, process", None, rivals.ours(WINDOWED, Load::Range));
    contest.add("chargehand, call", Some(first), rivals.ours(WINDOWED, Load::Calls(256)));
    for peer in PEERS_OF_OURS {
        contest.add(peer.name(), Some(first), rivals.peer(WINDOWED, peer));
    }
    contest
}

/// One in flight, all processes on one CPU.
pub(crate) fn one<'a>(rivals: &'a Rivals<'a>) -> Contest<'a> {
    let mut contest = Contest::new(SECTION, "one in flight, same core");
    let first = contest.add("chargehand, process", None, rivals.ours(ONE, Load::Range));
    contest.add("chargehand, call", Some(first), rivals.ours(ONE, Load::Calls(1)));
    for peer in PEERS_OF_OURS {
        contest.add(peer.name(), Some(first), rivals.peer(ONE, peer));
    }
    contest
}

/// Bodies of some length, there and back.
pub(crate) fn large<'a>(rivals: &'a Rivals<'a>, shape: Shape) -> Contest<'a> {
    let in_flight = shape.links * u32::from(shape.window);
    let name = format!("{} KiB both ways, {in_flight} in flight", shape.bytes >> 10);
    let mut contest = Contest::new(SECTION, name);
    let ours = rivals.ours(shape, Load::Calls(in_flight));
    let first = contest.add("chargehand, call", None, ours);
    for peer in PEERS_OF_LARGE {
        contest.add(peer.name(), Some(first), rivals.peer(shape, peer));
    }
    contest
}

/// The JSON dialect, ours and Go's.
pub(crate) fn json<'a>(rivals: &'a Rivals<'a>) -> Contest<'a> {
    let name = format!("JSON dialect, {JSON_LINKS} links, one in flight on each");
    let mut contest = Contest::new(SECTION, name);
    let ours = json_spec();
    let first = contest.add("manager ours, worker ours", None, move || {
        rivals.launcher.measure(ours, rivals.seconds)
    });
    let Rivals { go, launcher, seconds, .. } = rivals;
    contest
        .add("manager Go, worker Go", Some(first), move || go.both(launcher, JSON_LINKS, *seconds));
    contest.add("manager ours, worker Go", Some(first), move || {
        go.worker_of_ours(launcher, ours, *seconds)
    });
    contest
}

impl Shape {
    /// Reading the clock twice a task would slow the fast ones down, and a range's latencies are known
    /// with one task in flight only.
    fn is_timed(self) -> bool {
        self == ONE
    }
}

/// Everybody who takes part.
pub(crate) struct Rivals<'a> {
    launcher: &'a Launcher,
    program: PathBuf,
    go: Go,
    seconds: f64,
}

impl<'a> Rivals<'a> {
    /// Builds the programs. Ends this one, with what is missing, if a peer cannot be had.
    pub(crate) fn new(launcher: &'a Launcher, seconds: f64) -> Self {
        for peer in PEERS_OF_OURS {
            if let Some(broker) = broker(peer, "127.0.0.1:1") {
                assert!(
                    on_path(&broker.program),
                    "{} is not installed: run bench/install.sh",
                    broker.program
                );
            }
        }
        let name = "chargehand-bench-peers";
        let program = build(&["--manifest-path", PEERS_MANIFEST], name);
        Self { launcher, program, go: Go::build(), seconds }
    }

    pub(crate) fn ours(&self, shape: Shape, load: Load) -> impl Fn() -> Figures + 'a + use<'a> {
        let spec = Spec {
            transport: Transport::Tcp,
            runtime: Runtimes::Tokio,
            load,
            links: shape.links,
            window: shape.window,
            request_bytes: shape.bytes,
            answer_bytes: shape.bytes,
            placement: shape.placement,
            timed: shape.is_timed(),
            watch: Watch::Nobody,
        };
        let (launcher, seconds) = (self.launcher, self.seconds);
        move || launcher.measure(spec, seconds)
    }

    pub(crate) fn peer(&'a self, shape: Shape, peer: Peer) -> impl Fn() -> Figures + 'a {
        move || self.measure(shape, peer)
    }

    /// Adds a Go manager with a Go worker, and returns its row.
    pub(crate) fn add_go_pair(&'a self, contest: &mut Contest<'a>) -> usize {
        contest.add("manager Go, worker Go", Some(0), || {
            self.go.both(self.launcher, JSON_LINKS, self.seconds)
        })
    }

    /// Measures one load through new processes, those of the broker included.
    fn measure(&self, shape: Shape, peer: Peer) -> Figures {
        let address = free_address();
        let place = match shape.placement {
            Placement::Same => Place::First,
            Placement::Free | Placement::Each => Place::Free,
        };
        let broker = broker(peer, &address).map(|command| {
            let broker = Broker::start(&command.program, &command.arguments, self.launcher, place);
            until_listening(&address);
            broker
        });
        let mut job = Job {
            peer,
            address,
            links: shape.links as usize,
            window: shape.window.into(),
            bytes: shape.bytes,
            timed: shape.is_timed(),
            place,
            processes: Vec::new(),
            seconds: self.seconds,
        };
        let start = |role: &str, job: &Job| {
            let job = serde_json::to_string(job).expect("plain data");
            self.launcher.start(&self.program, [role, &job])
        };
        let worker = start("worker", &job);
        job.processes.push(("worker".to_owned(), worker.id()));
        job.processes.extend(broker.iter().map(|broker| ("broker".to_owned(), broker.id())));
        start("manager", &job).told()
    }
}

fn json_spec() -> Spec {
    Spec {
        transport: Transport::Json,
        runtime: Runtimes::Tokio,
        load: Load::Range,
        links: JSON_LINKS,
        window: 1,
        request_bytes: PAYLOAD_BYTES,
        answer_bytes: PAYLOAD_BYTES,
        placement: Placement::Free,
        timed: false,
        watch: Watch::Nobody,
    }
}

struct BrokerCommand {
    program: String,
    arguments: Vec<String>,
}

/// Returns how a peer's broker is started, if it has one.
fn broker(peer: Peer, address: &str) -> Option<BrokerCommand> {
    let (host, port) = address.split_once(':').expect("an address and a port");
    let (program, arguments) = match peer {
        Peer::Nats => ("nats-server", vec!["-a", host, "-p", port]),
        Peer::Gearman => ("gearmand", vec!["-L", host, "-p", port, "-l", "none"]),
        Peer::Beanstalk => ("beanstalkd", vec!["-l", host, "-p", port]),
        Peer::Redis => (
            "redis-server",
            vec!["--bind", host, "--port", port, "--save", "", "--appendonly", "no"],
        ),
        Peer::Tarpc | Peer::Zmq => return None,
    };
    let arguments = arguments.into_iter().map(str::to_owned).collect();
    Some(BrokerCommand { program: program.to_owned(), arguments })
}

fn on_path(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "PATH=$PATH:/usr/sbin command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success()) || Path::new(program).is_file()
}

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nats => "NATS, request and reply",
            Self::Gearman => "gearmand",
            Self::Beanstalk => "beanstalkd",
            Self::Redis => "Redis, lists in batches",
            Self::Tarpc => "tarpc, bincode over TCP",
            Self::Zmq => "ZeroMQ, ROUTER and DEALER",
        }
    }
}
