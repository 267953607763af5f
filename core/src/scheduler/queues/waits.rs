//! Why a task is not sent now: by the conditions by which it would be.

use super::super::index::{NONE, wide};
use super::super::sets::Groups;
use super::super::slot::{TaskSlot, TaskState, WorkerSlot};
use super::super::tasks::SchedulerState;
use super::Stand;
use crate::id::TaskId;
use crate::queue::Waits;
use crate::time::Instant;

impl SchedulerState {
    /// Returns why a task rests.
    fn why_it_rests(&self, task: u32, slot: &TaskSlot) -> Waits {
        let pause =
            if slot.is_keyed { self.queues.keys.paused_until(task) } else { Instant::EPOCH };
        if pause > self.clock && pause >= slot.due {
            return Waits::KeyPaused { until: pause };
        }
        Waits::Rests { until: slot.due }
    }

    /// Returns why a task is not sent now: `None` where a worker holds it, or it has its outcome.
    pub(in crate::scheduler) fn waits(
        &self,
        id: TaskId,
        tasks: &[TaskSlot],
        workers: &[WorkerSlot],
    ) -> Option<Waits> {
        let slot = tasks.get(id.slot() as usize);
        let slot = slot.filter(|slot| slot.generation == id.generation())?;
        match slot.state {
            TaskState::Resting => return Some(self.why_it_rests(id.slot(), slot)),
            TaskState::Waiting if slot.stand == Stand::Behind => return Some(Waits::Key),
            TaskState::Waiting | TaskState::Returned => {}
            _ => return None,
        }
        let line = self.queues.lines.get(usize::from(slot.line));
        if let Some(why) = line.and_then(|line| line.barred(self.clock)) {
            return Some(why);
        }
        if self.serving == 0 {
            return Some(Waits::NoWorker);
        }
        let groups = line.map_or(Groups::ONLY, |line| line.groups);
        if self.serving_in(groups) == 0 {
            return Some(Waits::NotServed);
        }
        let is_back = slot.state == TaskState::Returned;
        if self.next_among(workers, groups, NONE, is_back && slot.is_suspect).is_none() {
            return Some(Waits::NoRoom);
        }
        let last = wide(slot.worker);
        let has_other = || self.next_among(workers, groups, last, slot.is_suspect).is_some();
        let may_go_back = self.is_due(slot.due) || self.serving_in(groups) < 2;
        if is_back && !may_go_back && !has_other() {
            return Some(Waits::Elsewhere { until: slot.due });
        }
        Some(Waits::Turn)
    }
}
