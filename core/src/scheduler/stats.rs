//! Figures about the pool and its workers.

use core::fmt;

use super::roll::Roll;
use super::slot::{Duty, LinkPhase, WorkerSlot};
#[cfg(feature = "queues")]
use super::slot::{TaskSlot, TaskState};
use super::tasks::SchedulerState;
use crate::event::Outcome;
#[cfg(feature = "queues")]
use crate::explain::TaskStats;
#[cfg(feature = "queues")]
use crate::id::TaskId;
use crate::id::WorkerId;
#[cfg(feature = "queues")]
use crate::queue::{QueueSet, Rate};
use crate::time::Instant;

/// How many of what the pool has now (gauges), and has seen so far (counters).
///
/// `submitted` is at all times the sum of `waiting`, `resting`, `in_flight`, `finished` and of the
/// tasks whose [`Action::Finish`](crate::Action::Finish) was polled. The outcome counters (`done`
/// to `expired`) count a task when its outcome is settled. All are counts, of tasks, workers, attempts or
/// events; none is a time or a size.
///
/// Displays as one line, which leaves out what is zero: `985 of 1000 tasks done, 2 failed; 3 waiting, 10 in
/// flight; 7 of 8 workers up, 1 suspended; 4 attempts lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    pub workers_suspended: u32,
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
    /// Second attempts sent, beside a first that took long.
    #[cfg(feature = "hedging")]
    pub hedged: u64,
    /// Tasks done by a second attempt before the first.
    #[cfg(feature = "hedging")]
    pub hedge_wins: u64,
    /// Events rejected as [`Stale`](crate::EventError::Stale).
    pub stale: u64,
    /// Events rejected as [`Foreign`](crate::EventError::Foreign).
    pub foreign: u64,
}

/// The part of [`Stats`] that is not in the lists.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Counters {
    pub(super) submitted: u64,
    /// By [`Outcome`](crate::Outcome).
    pub(super) outcomes: [u64; 7],
    pub(super) sent: u64,
    pub(super) resent: u64,
    pub(super) lost: u64,
    pub(super) returned: u64,
    pub(super) timed_out: u64,
    #[cfg(feature = "hedging")]
    pub(super) hedged: u64,
    #[cfg(feature = "hedging")]
    pub(super) hedge_wins: u64,
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
            #[cfg(feature = "hedging")]
            hedged: 0,
            #[cfg(feature = "hedging")]
            hedge_wins: 0,
            stale: 0,
            foreign: 0,
            workers: 0,
            workers_up: 0,
        }
    }
}

/// How one worker stands. All but its state are counts.
///
/// Displays as one line, which leaves out what is zero: `up, 3 of 16 in flight, 1200 done, 2 failed, 2 links`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    /// Attempts in a row that outlived their time on its link: `strikes_max` of them end that.
    pub strikes: u32,
    /// Whose tasks it gets, while its link is up; all queues' before. Queues that the pool has not are left out,
    /// and what it serves by its [`Offer`](crate::Offer) is more where too many other sets are in use.
    #[cfg(feature = "queues")]
    #[cfg_attr(feature = "serde", serde(skip))]
    pub serves: QueueSet,
    /// How many tasks it is sent in a time, at most: less than its [`Offer`](crate::Offer) says for a while after
    /// it said that it cannot now.
    #[cfg(feature = "queues")]
    pub rate: Option<Rate>,
}

/// What a worker is doing. Displays, and serializes, as its [name](Self::name).
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
    Suspended {
        /// When it gets tasks again, at the latest.
        until: Instant,
    },
    /// Its link is up, but it gets no task for a while, since it dialled in again soon after a link
    /// that did nothing, or said that it cannot do any now.
    Delayed {
        /// When it gets tasks.
        until: Instant,
    },
    /// It gets no task any more: it finishes what it holds, or its link is being closed.
    Draining,
}

impl WorkerState {
    /// Returns what it is called in a log, without its time: `absent`, `backing off`, `connecting`, `up`,
    /// `busy`, `suspended`, `delayed` or `draining`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent { .. } => "absent",
            Self::BackingOff { .. } => "backing off",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Busy => "busy",
            Self::Suspended { .. } => "suspended",
            Self::Delayed { .. } => "delayed",
            Self::Draining => "draining",
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for WorkerState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for WorkerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} of {} in flight", self.state, self.in_flight, self.window)?;
        let links = (self.links.into(), if self.links == 1 { "link" } else { "links" });
        write_some(
            f,
            ", ",
            &[(self.done, "done"), (self.failed, "failed"), (self.lost, "lost"), links],
        )
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} tasks done", self.done, self.submitted)?;
        let ended = [
            (self.failed, "failed"),
            (self.exhausted, "exhausted"),
            (self.bounced, "bounced"),
            (self.cancelled, "cancelled"),
            (self.aborted, "aborted"),
            (self.expired, "expired"),
        ];
        write_some(f, ", ", &ended)?;
        let open = [
            (self.waiting.into(), "waiting"),
            (self.resting.into(), "resting"),
            (self.in_flight.into(), "in flight"),
        ];
        write_some(f, "; ", &open)?;
        write!(f, "; {} of {} workers up", self.workers_up, self.workers)?;
        write_some(f, ", ", &[(self.workers_suspended.into(), "suspended")])?;
        let attempts = [
            (self.lost, "attempts lost"),
            (self.timed_out, "timed out"),
            (self.returned, "returned"),
            #[cfg(feature = "hedging")]
            (self.hedged, "hedged"),
            (self.stale, "stale"),
            (self.foreign, "foreign"),
        ];
        write_some(f, "; ", &attempts)
    }
}

/// Writes the figures that are not zero, the first after `begin` and the others after commas.
fn write_some(f: &mut fmt::Formatter<'_>, begin: &str, figures: &[(u64, &str)]) -> fmt::Result {
    let mut before = begin;
    for (count, of) in figures.iter().filter(|(count, _)| *count > 0) {
        write!(f, "{before}{count} {of}")?;
        before = ", ";
    }
    Ok(())
}

impl SchedulerState {
    /// Returns how many workers are suspended.
    pub(super) fn resting_workers(&self) -> u32 {
        self.suspended.iter().map(Roll::len).sum()
    }

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
            workers_suspended: self.resting_workers(),
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
            #[cfg(feature = "hedging")]
            hedged: self.stats.hedged,
            #[cfg(feature = "hedging")]
            hedge_wins: self.stats.hedge_wins,
            stale: self.stats.stale,
            foreign: self.stats.foreign,
        }
    }
}

#[cfg(feature = "queues")]
pub(super) fn of_task(tasks: &[TaskSlot], id: TaskId) -> Option<TaskStats> {
    let slot = tasks.get(id.slot() as usize)?;
    let is_there = slot.generation == id.generation() && slot.state != TaskState::Free;
    is_there.then_some(TaskStats {
        attempts: slot.attempts,
        failures: slot.failures,
        losses: slot.losses,
        is_suspect: slot.is_suspect,
    })
}

pub(super) fn of_worker(
    pool: &SchedulerState,
    workers: &[WorkerSlot],
    id: WorkerId,
) -> Option<WorkerStats> {
    #[cfg(not(feature = "queues"))]
    let _ = pool;
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
        LinkPhase::Up(Duty::Suspended) => WorkerState::Suspended { until: slot.due },
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
        strikes: slot.strikes.into(),
        #[cfg(feature = "queues")]
        serves: pool.served_by(slot),
        #[cfg(feature = "queues")]
        rate: slot.pace.rate(),
    })
}
