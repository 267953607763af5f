//! What both ends of a measurement must agree on.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::measure::Place;

/// The role of a process that this program starts, with all that it needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Side {
    /// A worker that does nothing, or a bare echo. It says its address.
    Worker(Spec),
    /// The process that is measured.
    Manager { spec: Spec, address: String, worker: u32, seconds: f64 },
    /// A manager that others dial. It says its address, and then what it found.
    Crowded(Crowded),
    /// Links that do nothing but stay.
    Crowd { transport: Transport, links: u32, address: String },
    /// A manager without workers that takes tasks.
    Queue { tasks: u32 },
    /// A manager that goes through a long range.
    Range { spec: Spec, address: String, seconds: f64 },
    /// Workers whose tasks take time. They say their addresses.
    Sleepers { workers: u32, slow: bool, stragglers: bool },
    /// The manager of those.
    Mixed { addresses: Vec<String>, window: u16, slow: bool, by_answers: bool, load: MixedLoad },
    /// A mechanism of scheduling, as one row of its contest has it. Manager and workers are one process.
    Judged { mechanism: Mechanism, row: u8 },
    /// A pool and a worker in one, whose links come up, go and come back. It says how fast.
    Reconnects { transport: Transport, links: u32 },
    /// A piece, to be counted under callgrind.
    Piece { name: String, cycles: u32 },
}

/// A manager with a crowd of links beside the busy ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Crowded {
    pub(crate) transport: Transport,
    pub(crate) links: u32,
    /// The busy worker and its process, or none: then memory is what is measured.
    pub(crate) busy: Option<(String, u32)>,
    pub(crate) busy_links: u32,
    pub(crate) seconds: f64,
}

/// One load between one manager and one worker process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) transport: Transport,
    pub(crate) runtime: Runtimes,
    pub(crate) load: Load,
    pub(crate) links: u32,
    /// Tasks in flight on each link.
    pub(crate) window: u16,
    /// The length of a request's and of an answer's body; for a bare load, of whole messages.
    pub(crate) request_bytes: usize,
    pub(crate) answer_bytes: usize,
    pub(crate) placement: Placement,
    /// Whether latencies are kept.
    pub(crate) timed: bool,
    pub(crate) watch: Watch,
}

/// What watches the pool meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Watch {
    #[default]
    Nobody,
    /// It measures, and is asked for its figures each second, as by a status page.
    Figures,
    /// A flight recorder.
    Record,
    /// Each call is a trace, which is recorded and goes nowhere.
    Traces,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Transport {
    Tcp,
    /// TCP over TLS, both ends members of one pool.
    Tls,
    Ws,
    /// The dialect of the Go package: JSON over WebSocket.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Runtimes {
    Tokio,
    Smol,
}

/// What the manager does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Load {
    /// No manager and no worker: messages that are sent back.
    Bare,
    /// `Pool::process` over a range.
    Range,
    /// This many callers of `Pool::call_raw`.
    Calls(u32),
    /// So many tasks a second, which `Pool::submit_then` has called back.
    Paced(u32),
}

/// What the manager of tasks that take time does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum MixedLoad {
    /// A range of so many heights.
    Range(u32),
    /// Calls as they come by chance, so many a second, for so many seconds.
    Arrivals { rate: f64, seconds: u32 },
    /// The same, all of them short, to workers that are at times far slower; with second attempts or without.
    Hedged { rate: f64, seconds: u32, hedge: bool },
}

/// What `judged` compares.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Mechanism {
    Choice,
    Windows,
    Queues,
    Keys,
    Throttling,
    Ejection,
    Progress,
    Grace,
}

/// Where the two processes may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Placement {
    /// Both on any CPU.
    Free,
    /// Both on the first CPU.
    Same,
    /// The manager on the first CPU, the worker on the last.
    Each,
}

impl Placement {
    pub(crate) const fn manager(self) -> Place {
        match self {
            Self::Free => Place::Free,
            Self::Same | Self::Each => Place::First,
        }
    }

    pub(crate) const fn worker(self) -> Place {
        match self {
            Self::Free => Place::Free,
            Self::Same => Place::First,
            Self::Each => Place::Last,
        }
    }
}

impl Spec {
    pub(crate) fn in_flight(&self) -> u32 {
        self.links * u32::from(self.window)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Json => "json",
        })
    }
}

impl fmt::Display for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Free => "free",
            Self::Same => "same core",
            Self::Each => "one core each",
        })
    }
}
