//! Why a task is not sent, and why a worker gets none.
//!
//! Nothing here is a rule of its own. What a queue may (`Line::barred`), who serves it (`serving_in`), whom a new task
//! goes to (`next_for_new`) and whom one that came back (`next_among`) are the functions that sending goes by, asked in the order in which it asks them. What they leave is `Turn`, which no test has seen once all
//! actions are polled.

use alloc::vec::Vec;

use super::index::{NONE, wide};
use super::queues::{Line, Stand};
use super::sets::Groups;
use super::slot::{Duty, LinkPhase, TaskSlot, TaskState, WorkerSlot};
use super::tasks::SchedulerState;
use crate::explain::{Idles, Waits};
use crate::id::{TaskId, WorkerId};
use crate::time::Instant;

/// What is the same for many tasks, once it was looked for.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// By queue, of new tasks.
    of_new: Vec<Option<Waits>>,
    none_serves: Option<Waits>,
}

/// All slots of a scheduler.
type Slots<'a> = (&'a [TaskSlot], &'a [WorkerSlot]);

impl SchedulerState {
    /// Returns why a task is not sent now: `None` where a worker holds it, or it has its outcome.
    pub(super) fn waits(&self, id: TaskId, slots: Slots<'_>, common: &mut Common) -> Option<Waits> {
        let slot = slots.0.get(id.slot() as usize);
        let slot = slot.filter(|slot| slot.generation == id.generation())?;
        match slot.state {
            TaskState::Waiting | TaskState::Returned | TaskState::Resting => {}
            _ => return None,
        }
        if self.is_past_drain() {
            return Some(Waits::Stopping);
        }
        if slot.state == TaskState::Resting {
            return Some(self.why_it_rests(id.slot(), slot));
        }
        if slot.state == TaskState::Waiting && self.is_queued() && slot.stand == Stand::Behind {
            return Some(Waits::Key);
        }
        let line = self.queues.lines.get(usize::from(slot.line));
        let barred = line.and_then(|line| line.barred(self.clock));
        Some(barred.unwrap_or_else(|| self.waits_for_worker(id.slot(), line, slots, common)))
    }

    /// Returns why a task rests.
    fn why_it_rests(&self, task: u32, slot: &TaskSlot) -> Waits {
        let pause =
            if slot.is_keyed { self.queues.keys.paused_until(task) } else { Instant::EPOCH };
        if pause > self.clock && pause >= slot.due {
            return Waits::KeyPaused { until: pause };
        }
        Waits::Rests { until: slot.due }
    }

    /// Returns why a task goes to no worker that nothing else keeps from being sent.
    fn waits_for_worker(
        &self,
        task: u32,
        line: Option<&Line>,
        (tasks, workers): Slots<'_>,
        common: &mut Common,
    ) -> Waits {
        if self.serving == 0 {
            return *common.none_serves.get_or_insert_with(|| none_serves(workers));
        }
        let groups = line.map_or(Groups::ONLY, |line| line.groups);
        let serving = self.serving_in(groups);
        if serving == 0 {
            return Waits::NotServed;
        }
        let slot = &tasks[task as usize];
        let next = |but, clean_only| self.next_among(workers, groups, but, clean_only);
        if slot.state == TaskState::Waiting {
            let place = usize::from(slot.line);
            if common.of_new.len() <= place {
                common.of_new.resize(place + 1, None);
            }
            return *common.of_new[place].get_or_insert_with(|| {
                let may = match line {
                    Some(line) => self.next_for_new(line, workers).is_some(),
                    None => self.may_send_new(workers),
                };
                match next(NONE, false) {
                    None => Waits::NoRoom,
                    Some(_) if may => Waits::Turn,
                    Some(_) => Waits::HeldBack { until: self.patience_of(line) },
                }
            });
        }
        if next(NONE, slot.is_suspect).is_none() {
            return if next(NONE, false).is_none() { Waits::NoRoom } else { Waits::Suspect };
        }
        let may_go_back = self.is_due(slot.due) || serving < 2;
        if may_go_back || next(wide(slot.worker), slot.is_suspect).is_some() {
            Waits::Turn
        } else {
            Waits::Elsewhere { until: slot.due }
        }
    }

    /// Returns until when a new task is held back.
    #[cfg(feature = "choice")]
    fn patience_of(&self, line: Option<&Line>) -> Instant {
        let at = line.map_or(self.choosing.patience, |line| line.patience);
        if at > self.clock { at } else { Instant::FAR_FUTURE }
    }

    /// Without the feature `choice` none is held back.
    #[cfg(not(feature = "choice"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn patience_of(&self, _: Option<&Line>) -> Instant {
        Instant::FAR_FUTURE
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
        LinkPhase::Up(Duty::Serving) if slot.is_paced() => Idles::Rate { until: slot.pace_end() },
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
