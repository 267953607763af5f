//! What the model speaks: links and actions as plain numbers, and the two kinds of statistics with
//! every field comparable.

use chargehand_core::{
    Action, Instant, Link, Outcome, QueueSet, Rate, Reason, Stats, TaskId, WorkerId, WorkerState,
    WorkerStats,
};

/// A worker as plain numbers: slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wid {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl From<WorkerId> for Wid {
    fn from(id: WorkerId) -> Self {
        Self { slot: id.slot(), generation: id.generation() }
    }
}

/// A link as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lk {
    pub(crate) worker: Wid,
    pub(crate) epoch: u32,
}

impl From<Link> for Lk {
    fn from(link: Link) -> Self {
        Self { worker: link.worker().into(), epoch: link.epoch() }
    }
}

/// An action as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Connect(Lk),
    Disconnect(Lk, Reason),
    Send(Lk, TaskId, u16),
    Withdraw(Lk, TaskId, u16),
    Look(Lk, Option<TaskId>),
    Ping(Lk),
    Suspend(Wid, Instant),
    Gone(Wid),
    Finish(TaskId, Outcome, u16),
}

impl From<Action> for Act {
    fn from(action: Action) -> Self {
        match action {
            Action::Connect { link } => Self::Connect(link.into()),
            Action::Disconnect { link, reason } => Self::Disconnect(link.into(), reason),
            Action::Send { link, task, attempt } => Self::Send(link.into(), task, attempt),
            Action::Withdraw { link, task, attempt } => Self::Withdraw(link.into(), task, attempt),
            Action::Look { link, overdue } => Self::Look(link.into(), overdue),
            Action::Ping { link } => Self::Ping(link.into()),
            Action::Suspend { worker, until } => Self::Suspend(worker.into(), until),
            Action::Gone { worker } => Self::Gone(worker.into()),
            Action::Finish { task, outcome, attempts } => Self::Finish(task, outcome, attempts),
        }
    }
}

/// The counters of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) submitted: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) exhausted: u64,
    pub(crate) bounced: u64,
    pub(crate) cancelled: u64,
    pub(crate) aborted: u64,
    pub(crate) expired: u64,
    pub(crate) sent: u64,
    pub(crate) resent: u64,
    pub(crate) lost: u64,
    pub(crate) returned: u64,
    pub(crate) timed_out: u64,
    pub(crate) hedged: u64,
    pub(crate) hedge_wins: u64,
    pub(crate) stale: u64,
    pub(crate) foreign: u64,
}

/// The gauges of the pool, as counted by looking at everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    pub(crate) waiting: u32,
    pub(crate) resting: u32,
    pub(crate) in_flight: u32,
    pub(crate) finished: u32,
    pub(crate) workers: u32,
    pub(crate) workers_up: u32,
    pub(crate) workers_suspended: u32,
}

/// Takes the engine's statistics apart.
pub(crate) fn parts_of(stats: &Stats) -> (Gauges, Counters) {
    let gauges = Gauges {
        waiting: stats.waiting,
        resting: stats.resting,
        in_flight: stats.in_flight,
        finished: stats.finished,
        workers: stats.workers,
        workers_up: stats.workers_up,
        workers_suspended: stats.workers_suspended,
    };
    let counters = Counters {
        submitted: stats.submitted,
        done: stats.done,
        failed: stats.failed,
        exhausted: stats.exhausted,
        bounced: stats.bounced,
        cancelled: stats.cancelled,
        aborted: stats.aborted,
        expired: stats.expired,
        sent: stats.sent,
        resent: stats.resent,
        lost: stats.lost,
        returned: stats.returned,
        timed_out: stats.timed_out,
        hedged: stats.hedged,
        hedge_wins: stats.hedge_wins,
        stale: stats.stale,
        foreign: stats.foreign,
    };
    (gauges, counters)
}

/// The statistics of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OfWorker {
    pub(crate) state: WorkerState,
    pub(crate) in_flight: u32,
    pub(crate) allowance: u32,
    pub(crate) window: u32,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    pub(crate) links: u32,
    pub(crate) backoff_attempts: u32,
    pub(crate) serves: QueueSet,
    pub(crate) rate: Option<Rate>,
}

impl From<WorkerStats> for OfWorker {
    fn from(stats: WorkerStats) -> Self {
        Self {
            state: stats.state,
            in_flight: stats.in_flight,
            allowance: stats.allowance,
            window: stats.window,
            done: stats.done,
            failed: stats.failed,
            lost: stats.lost,
            links: stats.links,
            backoff_attempts: stats.backoff_attempts,
            serves: stats.serves,
            rate: stats.rate,
        }
    }
}
