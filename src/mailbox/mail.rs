//! What else than tasks handles leave for the driver.

use alloc::vec::Vec;
use core::time::Duration;

use async_channel::Sender;
use chargehand_core::{QueueId, WorkerId};

use super::calls::CallId;
use super::range::NewJob;
use crate::error::WorkerError;
use crate::events::{EventFeed, Started, TaskProgress};
use crate::link::erased::{Kind, Reach};
use crate::options::WorkerOptions;
use crate::stats::PoolStats;

/// What is asked of the driver, with whom to answer.
pub(crate) enum Control<K: Kind> {
    Add {
        reach: Reach<K>,
        options: WorkerOptions,
        reply: Sender<Result<WorkerId, WorkerError>>,
    },
    Remove {
        worker: WorkerId,
        reply: Sender<Result<(), WorkerError>>,
    },
    /// Says when nothing is under way, and no outcome `untaken` if that is asked for.
    Idle {
        taken: bool,
        reply: Sender<()>,
    },
    Stop {
        within: Option<Duration>,
        reply: Sender<PoolStats>,
    },
    Stats {
        reply: Sender<PoolStats>,
    },
    /// Measures from now on, and tells what was measured.
    #[cfg(feature = "std")]
    Measure {
        reply: Sender<crate::measure::Measures>,
    },
    /// Says why tasks wait, once there is nothing left to do.
    #[cfg(feature = "std")]
    Explain(crate::driver::explain::Question),
    /// Stops a queue, or lets it go on.
    Pause {
        queue: QueueId,
        is_paused: bool,
        reply: Sender<()>,
    },
}

/// What handles leave without waiting. Each entry belongs to an object of the caller's (a task, a
/// stream), so the caller's own objects bound it.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) cancels: Vec<CallId>,
    pub(crate) jobs: Vec<NewJob>,
    pub(crate) listeners: Vec<EventFeed>,
    pub(crate) watches: Vec<TaskWatch>,
}

/// A caller that waits until something happens to its task. Dropped where the call ends first.
#[derive(Debug)]
pub(crate) struct TaskWatch {
    pub(crate) call: CallId,
    pub(crate) wanted: Wanted,
}

/// What it waits for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// That a worker takes it.
    Start(Sender<Started>),
    /// News of how far it is: other than these, if any.
    Progress { known: Option<TaskProgress>, reply: Sender<TaskProgress> },
    /// Why it does what it does now.
    #[cfg(feature = "std")]
    Explanation(Sender<crate::explain::TaskExplanation>),
}

impl Wanted {
    /// Tells it that a worker has the task, if that is what it waits for. Otherwise it is given back.
    pub(crate) fn tell_started(self, started: impl FnOnce() -> Started) -> Option<Self> {
        let Self::Start(reply) = self else { return Some(self) };
        let _ = reply.try_send(started());
        None
    }

    /// Tells it how far the task is, if that is what it waits for.
    pub(crate) fn tell_progress(self, progress: &TaskProgress) {
        if let Self::Progress { reply, .. } = self {
            let _ = reply.try_send(progress.clone());
        }
    }
}
