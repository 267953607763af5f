//! Figures about the pool and its workers.

use super::slot::{Duty, LinkPhase, WorkerSlot};
use super::tasks::SchedulerState;
use crate::event::Outcome;
use crate::id::WorkerId;
use crate::time::Instant;

/// How many of what the pool has now (gauges), and has seen so far (counters).
///
/// `submitted` is at all times the sum of `waiting`, `resting`, `in_flight`, `finished` and of the
/// tasks whose [`Action::Finish`](crate::Action::Finish) was polled. The outcome counters (`done`
/// to `expired`) count a task when its outcome is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that wait for a worker with room.
    pub waiting: u32,
    /// Tasks whose handler failed and that wait to be tried again.
    pub resting: u32,
    /// Tasks that a worker holds.
    pub in_flight: u32,
    /// Tasks whose outcome is settled but was not polled yet.
    pub finished: u32,
    /// Workers of the pool, whether connected or not.
    pub workers: u32,
    /// Workers whose link is up.
    pub workers_up: u32,
    /// Workers whose link is up and that get no task for a while, since they only failed.
    pub workers_rested: u32,
    /// Tasks accepted.
    pub submitted: u64,
    /// Tasks done.
    pub done: u64,
    /// Tasks whose handler failed, with no retry left.
    pub failed: u64,
    /// Tasks that lost as many attempts as they may.
    pub exhausted: u64,
    /// Tasks that came back as often as they may without having been tried to their end.
    pub bounced: u64,
    /// Tasks cancelled by the caller.
    pub cancelled: u64,
    /// Tasks that the drain's deadline ended.
    pub aborted: u64,
    /// Tasks that their own deadline ended.
    pub expired: u64,
    /// Attempts sent.
    pub sent: u64,
    /// Attempts sent that were not their task's first.
    pub resent: u64,
    /// Attempts lost with their link.
    pub lost: u64,
    /// Attempts that a worker gave back, or that were taken back from it, before they began.
    pub returned: u64,
    /// Attempts that outlived their deadline.
    pub timed_out: u64,
    /// Events rejected as [`Stale`](crate::EventError::Stale).
    pub stale: u64,
    /// Events rejected as [`Foreign`](crate::EventError::Foreign).
    pub foreign: u64,
}

/// The part of [`Stats`] that is not in the lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) submitted: u64,
    /// By [`Outcome`](crate::Outcome).
    pub(super) outcomes: [u64; 7],
    pub(super) sent: u64,
    pub(super) resent: u64,
    pub(super) lost: u64,
    pub(super) returned: u64,
    pub(super) timed_out: u64,
    pub(super) stale: u64,
    pub(super) foreign: u64,
    pub(super) workers: u32,
    pub(super) workers_up: u32,
}

impl Counters {
    pub(super) const fn new() -> Self {
        Self {
            submitted: 0,
            outcomes: [0; 7],
            sent: 0,
            resent: 0,
            lost: 0,
            returned: 0,
            timed_out: 0,
            stale: 0,
            foreign: 0,
            workers: 0,
            workers_up: 0,
        }
    }
}

/// How one worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct WorkerStats {
    /// What it is doing.
    pub state: WorkerState,
    /// Tasks it holds.
    pub in_flight: u32,
    /// Tasks it may hold now, from 1 to `window`: it grows with each task done.
    pub allowance: u32,
    /// Tasks it may hold at once in the end, as of its latest link.
    pub window: u32,
    /// Tasks it did.
    pub done: u64,
    /// Tasks its handler failed, each time counted.
    pub failed: u64,
    /// Attempts lost with its links, or that outlived their deadline with it.
    pub lost: u64,
    /// Links it had that were up.
    pub links: u32,
    /// Connects in a row without a useful answer or a stable link; the backoff grows with it.
    pub backoff_attempts: u32,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WorkerState {
    /// It dials in itself, and is not there.
    Absent {
        /// Until when it gets no task if it comes before. A time that has passed, where it may at
        /// once.
        not_before: Instant,
    },
    /// It is not connected and will be tried again.
    BackingOff {
        /// When it is tried again.
        until: Instant,
    },
    /// It is being connected to.
    Connecting,
    /// Its link is up and it gets tasks.
    Up,
    /// Its link is up, but it gets no task until it is [`Ready`](crate::Event::Ready).
    Busy,
    /// Its link is up, but it gets no task for a while, since it only failed.
    Rested {
        /// When it gets tasks again, at the latest.
        until: Instant,
    },
    /// Its link is up, but it gets no task for a while, since it dialled in again soon after a link
    /// that did nothing.
    Delayed {
        /// When it gets tasks.
        until: Instant,
    },
    /// It gets no task any more: it finishes what it holds, or its link is being closed.
    Draining,
}

impl SchedulerState {
    #[inline]
    pub(super) fn stats(&self) -> Stats {
        let of = |outcome: Outcome| self.stats.outcomes[outcome as usize];
        Stats {
            waiting: self.waiting(),
            resting: self.resting(),
            in_flight: self.in_flight(),
            finished: self.settled(),
            workers: self.stats.workers,
            workers_up: self.stats.workers_up,
            workers_rested: self.rested.len(),
            submitted: self.stats.submitted,
            done: of(Outcome::Done),
            failed: of(Outcome::Failed),
            exhausted: of(Outcome::Exhausted),
            bounced: of(Outcome::Bounced),
            cancelled: of(Outcome::Cancelled),
            aborted: of(Outcome::Aborted),
            expired: of(Outcome::TimedOut),
            sent: self.stats.sent,
            resent: self.stats.resent,
            lost: self.stats.lost,
            returned: self.stats.returned,
            timed_out: self.stats.timed_out,
            stale: self.stats.stale,
            foreign: self.stats.foreign,
        }
    }
}

pub(super) fn of_worker(workers: &[WorkerSlot], id: WorkerId) -> Option<WorkerStats> {
    let slot = workers.get(id.slot() as usize)?;
    if slot.generation != id.generation() {
        return None;
    }
    let state = match slot.phase {
        LinkPhase::Free => return None,
        LinkPhase::Absent => WorkerState::Absent { not_before: slot.not_before },
        LinkPhase::BackingOff => WorkerState::BackingOff { until: slot.due },
        LinkPhase::WantConnect | LinkPhase::Connecting => WorkerState::Connecting,
        LinkPhase::Up(Duty::Serving) => WorkerState::Up,
        LinkPhase::Up(Duty::Busy) => WorkerState::Busy,
        LinkPhase::Up(Duty::Rested) => WorkerState::Rested { until: slot.due },
        LinkPhase::Up(Duty::Delayed) => WorkerState::Delayed { until: slot.due },
        LinkPhase::Up(Duty::Draining) | LinkPhase::Closing(_) | LinkPhase::Leaving => {
            WorkerState::Draining
        }
    };
    Some(WorkerStats {
        state,
        in_flight: slot.held.len(),
        allowance: slot.allowance,
        window: slot.window,
        done: slot.done,
        failed: slot.failed,
        lost: slot.lost,
        links: slot.links_made,
        backoff_attempts: slot.attempts,
    })
}
