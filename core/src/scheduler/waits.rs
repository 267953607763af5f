//! Why a task is not sent, and why a worker gets none.
//!
//! Nothing here is a rule of its own. What a queue may (`Line::barred`), whom a new task goes to (`next_for_new`),
//! whom one that came back (`next_for`) and whether it may go back (`may_go_back`) are the functions that sending
//! goes by, asked in the order in which it asks them. What they leave is `Turn`, which no test has seen once all
//! actions are polled.

use super::index::{NONE, wide};
use super::queues::Stand;
use super::slot::{Duty, LinkPhase, TaskSlot, TaskState, WorkerSlot};
use super::tasks::SchedulerState;
use crate::explain::{Idles, Waits};
use crate::id::{TaskId, WorkerId};
use crate::time::Instant;

/// What is the same for all tasks, once it was looked for.
#[derive(Debug, Default)]
pub(super) struct Common {
    of_new: Option<Waits>,
    none_serves: Option<Waits>,
}

impl SchedulerState {
    /// Returns why a task is not sent now: `None` where a worker holds it, or it has its outcome.
    pub(super) fn waits(
        &self,
        id: TaskId,
        (tasks, workers): (&[TaskSlot], &[WorkerSlot]),
        common: &mut Common,
    ) -> Option<Waits> {
        let slot = tasks.get(id.slot() as usize);
        let slot = slot.filter(|slot| slot.generation == id.generation())?;
        match slot.state {
            TaskState::Waiting | TaskState::Returned | TaskState::Resting => {}
            _ => return None,
        }
        if self.is_past_drain() {
            return Some(Waits::Stopping);
        }
        if slot.state == TaskState::Resting {
            return Some(Waits::Rests { until: slot.due });
        }
        if slot.state == TaskState::Waiting && self.is_queued() && slot.stand == Stand::Behind {
            return Some(Waits::Key);
        }
        // Which workers serve a queue is asked next, once there are such that serve some alone.
        let line = self.queues.lines.get(usize::from(slot.line));
        let barred = line.and_then(|line| line.barred(self.clock));
        Some(barred.unwrap_or_else(|| self.waits_for_worker(id.slot(), (tasks, workers), common)))
    }

    /// Returns why a task goes to no worker that nothing else keeps from being sent.
    fn waits_for_worker(
        &self,
        task: u32,
        (tasks, workers): (&[TaskSlot], &[WorkerSlot]),
        common: &mut Common,
    ) -> Waits {
        if self.serving == 0 {
            return *common.none_serves.get_or_insert_with(|| none_serves(workers));
        }
        let slot = &tasks[task as usize];
        let is_full = || self.next_for(workers, NONE, false).is_none();
        if slot.state == TaskState::Waiting {
            return *common.of_new.get_or_insert_with(|| match self.next_for_new(workers) {
                Some(_) => Waits::Turn,
                None if is_full() => Waits::NoRoom,
                None => Waits::HeldBack { until: self.patience_ends() },
            });
        }
        if self.next_for(workers, NONE, slot.is_suspect).is_none() {
            return if is_full() { Waits::NoRoom } else { Waits::Suspect };
        }
        let has_other = self.next_for(workers, wide(slot.worker), slot.is_suspect).is_some();
        if has_other || self.may_go_back(tasks, Some(task)) {
            Waits::Turn
        } else {
            Waits::Elsewhere { until: slot.due }
        }
    }

    /// Returns which task has the place that another of its key waits for.
    pub(super) fn keeps_key(&self, id: TaskId, tasks: &[TaskSlot]) -> Option<TaskId> {
        let slot = tasks.get(id.slot() as usize)?;
        let is_behind = slot.generation == id.generation()
            && slot.state == TaskState::Waiting
            && self.is_queued()
            && slot.stand == Stand::Behind;
        let other = is_behind.then(|| self.queues.keys.placed(tasks, id.slot()))??;
        Some(tasks[other as usize].id(other))
    }
}

/// Returns why no worker serves, where none does. O(workers).
fn none_serves(workers: &[WorkerSlot]) -> Waits {
    let why = |slot| match idles_of(slot)? {
        Idles::Leaving => None,
        Idles::Away { until } => Some((1, until)),
        it => Some((0, it.until().unwrap_or(Instant::FAR_FUTURE))),
    };
    match workers.iter().filter_map(why).min() {
        None => Waits::NoWorker,
        Some((0, until)) => Waits::NoneServes { until },
        Some((_, until)) => Waits::Away { until },
    }
}

/// Returns why a worker gets no task now.
pub(super) fn idles(workers: &[WorkerSlot], id: WorkerId) -> Option<Idles> {
    let slot = workers.get(id.slot() as usize)?;
    idles_of(slot).filter(|_| slot.generation == id.generation())
}

fn idles_of(slot: &WorkerSlot) -> Option<Idles> {
    let until = slot.due;
    Some(match slot.phase {
        LinkPhase::Free => return None,
        LinkPhase::BackingOff => Idles::Away { until },
        LinkPhase::Absent | LinkPhase::WantConnect | LinkPhase::Connecting => {
            Idles::Away { until: Instant::FAR_FUTURE }
        }
        LinkPhase::Up(Duty::Suspended) if is_off_others(slot) => Idles::OffOthers { until },
        LinkPhase::Up(Duty::Suspended) => Idles::Failing { until },
        LinkPhase::Up(Duty::Delayed) if slot.is_throttled => Idles::Throttled { until },
        LinkPhase::Up(Duty::Delayed) => Idles::Early { until },
        LinkPhase::Up(Duty::Busy) => Idles::Busy,
        LinkPhase::Up(Duty::Draining) | LinkPhase::Closing(_) | LinkPhase::Leaving => {
            Idles::Leaving
        }
        LinkPhase::Up(Duty::Serving) if slot.has_room() => Idles::Room,
        LinkPhase::Up(Duty::Serving) => Idles::Full,
    })
}

#[cfg(feature = "choice")]
fn is_off_others(slot: &WorkerSlot) -> bool {
    slot.record.is_ejected
}

#[cfg(not(feature = "choice"))]
fn is_off_others(_: &WorkerSlot) -> bool {
    false
}
