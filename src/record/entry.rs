//! The lines of a record.

use std::io;
use std::string::String;
use std::vec::Vec;

use chargehand_core::{
    Accepted, Action, Config, Event, EventError, Instant, NoQueue, Offer, QueueId, QueueOptions,
    Route, Stale, SubmitError, TaskId, TaskOptions, WorkerId, WorkersFull,
};
use serde::{Deserialize, Serialize};

/// By which a record is known.
pub(super) const FORMAT: &str = "chargehand record";
/// Raised with each change to what the lines are.
pub(super) const VERSION: u32 = 3;

/// The first line, as far as it is the same in every version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Title {
    pub(super) format: String,
    pub(super) version: u32,
}

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    #[serde(flatten)]
    pub(super) title: Title,
    /// Those of second attempts included.
    pub(super) slots: u32,
    pub(super) workers_max: u32,
    /// What is special about the pool's queues, if anything is.
    pub(super) queues: Option<Vec<QueueOptions>>,
    pub(super) config: Config,
}

/// Any other line: a call, and what it gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Entry {
    Submit {
        now: Instant,
        gave: Result<TaskId, SubmitError>,
    },
    SubmitWith {
        now: Instant,
        options: TaskOptions,
        gave: Result<TaskId, SubmitError>,
    },
    Cancel {
        now: Instant,
        task: TaskId,
        gave: Result<(), Stale>,
    },
    AddWorker {
        now: Instant,
        route: Route,
        gave: Result<WorkerId, WorkersFull>,
    },
    RemoveWorker {
        now: Instant,
        worker: WorkerId,
        gave: Result<(), Stale>,
    },
    Accept {
        now: Instant,
        worker: WorkerId,
        offer: Offer,
        not_before: Instant,
        gave: Result<Accepted, Stale>,
    },
    EvictAbsent {
        now: Instant,
        gave: Option<WorkerId>,
    },
    HandleEvent {
        now: Instant,
        event: Event,
        gave: Result<(), EventError>,
    },
    HandleTimeout {
        now: Instant,
    },
    PollAction {
        gave: Option<Action>,
    },
    Pause {
        now: Instant,
        queue: QueueId,
        gave: Result<(), NoQueue>,
    },
    Resume {
        now: Instant,
        queue: QueueId,
        gave: Result<(), NoQueue>,
    },
    Drain {
        now: Instant,
        deadline: Instant,
    },
    SetBacklog {
        count: u64,
    },
    /// The last line, with the [sum](Sum) of all before it.
    End {
        sum: u64,
    },
}

impl Entry {
    /// Whether it may be one that a flight record does not tell what it gave of: any poll for actions, and any task
    /// that was taken.
    pub(super) const fn is_as_brief(&self) -> bool {
        matches!(self, Self::PollAction { .. } | Self::SubmitWith { gave: Ok(_), .. })
    }
}

/// A sum over all lines, which differs where one of them was changed by accident: FNV-1a.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum(pub(super) u64);

impl Sum {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes eight bytes at once, which are not the same to it as one after the other.
    pub(super) fn add_word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Puts a line together, with its end.
pub(super) fn line_of(line: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}
