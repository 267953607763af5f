//! The two attempts of one task: which slot each lies in, and what the end of one means for the other.

use super::super::blame::Blame;
use super::super::index::{NONE, narrow, wide};
use super::super::list::Neighbours;
use super::super::slot::{Kept, TaskSlot, TaskState};
use super::super::tasks::SchedulerMut;
use crate::id::TaskId;
use crate::planted::planted;

impl SchedulerMut<'_> {
    /// Returns the slot of a second attempt that a worker names.
    pub(in crate::scheduler) fn second_of(
        &self,
        worker: u32,
        id: TaskId,
        attempt: u16,
    ) -> Option<u32> {
        let slot = self.tasks.get(id.slot() as usize)?;
        let slot = Some(slot).filter(|slot| slot.generation == id.generation())?;
        let second = self.state.second(id.slot(), slot)?;
        let other = &self.tasks[second as usize];
        let is_it = other.attempts == attempt && wide(other.worker) == worker;
        is_it.then_some(second)
    }

    /// Has the second attempt of a task change places with the one in the task's own slot. Returns that slot;
    /// one that is a task's own already stays.
    pub(in crate::scheduler) fn as_own(&mut self, second: u32) -> u32 {
        if !self.state.is_second(second) {
            return second;
        }
        let task = self.state.task_of(second);
        let links = [task, second].map(|at| self.tasks[at as usize].queue);
        self.stand_in(task, second, links[0]);
        self.stand_in(second, task, links[1]);
        let (one, other) = self.pair(task, second);
        core::mem::swap(&mut one.worker, &mut other.worker);
        core::mem::swap(&mut one.due, &mut other.due);
        core::mem::swap(&mut one.attempts, &mut other.attempts);
        core::mem::swap(&mut one.kept, &mut other.kept);
        self.swap_times(task, second);
        task
    }

    /// Puts a slot in the place of another in the list of what that one's worker holds.
    fn stand_in(&mut self, at: u32, by: u32, links: Neighbours) {
        let worker = wide(self.tasks[at as usize].worker);
        self.workers[worker as usize].held.replace(self.tasks, (at, links), by);
        self.retime(worker, at, by);
    }

    pub(super) fn pair(&mut self, task: u32, second: u32) -> (&mut TaskSlot, &mut TaskSlot) {
        let (tasks, seconds) = self.tasks.split_at_mut(self.state.hedging.base as usize);
        (&mut tasks[task as usize], &mut seconds[(second - self.state.hedging.base) as usize])
    }

    /// Has the second attempt of a task be its only one: that in its own slot is over.
    fn promote(&mut self, task: u32, second: u32) {
        let links = self.tasks[second as usize].queue;
        self.stand_in(second, task, links);
        let (own, other) = self.pair(task, second);
        (own.worker, own.due, own.attempts, own.kept) =
            (other.worker, other.due, other.attempts, other.kept);
        other.kept = Kept::No;
        self.swap_times(task, second);
        self.uncount_second(task);
        self.free_second(task, second);
    }

    fn free_second(&mut self, task: u32, second: u32) {
        self.drop_second(task);
        self.tasks[second as usize].state = TaskState::Free;
        self.unwatch(second);
        self.state.hedging.unused.give(self.tasks, second);
    }

    fn drop_second(&mut self, task: u32) {
        self.state.hedging.table[task as usize].second = narrow(NONE);
        self.state.hedging.live -= 1;
    }

    /// Takes in that an attempt has ended without an answer that decides. Returns whether another one of its
    /// task goes on. What was counted of both is looked at once the last one ends.
    pub(in crate::scheduler) fn goes_on(&mut self, attempt: u32, blame: Blame) -> bool {
        let Some(task) = self.end_one(attempt) else { return false };
        let is_counted = blame != Blame::Nobody && !planted("a loss is not counted");
        let losses = if planted("a loss of one of two attempts counts twice") { 2 } else { 1 };
        self.tasks[task as usize].losses += u16::from(is_counted) * losses;
        self.state.hedging.table[task as usize].is_blamed |= blame == Blame::Suspect;
        true
    }

    /// As [`goes_on`](Self::goes_on), for one whose handler failed.
    pub(in crate::scheduler) fn fails_on(&mut self, task: u32, is_permanent: bool) -> bool {
        if !self.tasks[task as usize].is_hedged() {
            return false;
        }
        // It was answered, so it does not end links.
        self.state.hedging.table[task as usize].is_blamed = false;
        !is_permanent && self.end_one(task).is_some()
    }

    /// Ends one of two attempts, which its worker holds no more, and returns the task. `None` where it was the
    /// only one: then all sends of the task count as its own again.
    fn end_one(&mut self, attempt: u32) -> Option<u32> {
        if !self.tasks[attempt as usize].is_hedged() {
            return None;
        }
        let task = self.state.task_at(attempt);
        let second = wide(self.state.hedging.table[task as usize].second);
        if second == NONE {
            self.fold(task);
            return None;
        }
        if attempt == second {
            self.free_second(task, second);
        } else {
            self.promote(task, second);
        }
        self.look_again(task);
        Some(task)
    }

    /// Takes in all that was noted of a task's attempts besides the one in its own slot.
    fn fold(&mut self, task: u32) {
        let entry = &mut self.state.hedging.table[task as usize];
        let slot = &mut self.tasks[task as usize];
        slot.attempts = slot.attempts.max(entry.latest);
        slot.is_suspect |= core::mem::take(&mut entry.is_blamed);
    }

    /// Takes in that a task ends: what is under way of it is withdrawn.
    pub(in crate::scheduler) fn end_hedged(&mut self, task: u32) {
        if self.tasks[task as usize].is_hedged() {
            self.part_hedged(task);
            self.count_withdrawn(task);
        }
    }

    /// Withdraws the second attempt of a task that ends, if there is one.
    pub(in crate::scheduler) fn part_hedged(&mut self, task: u32) {
        let slot = &self.tasks[task as usize];
        if !slot.is_hedged() {
            return;
        }
        let second = wide(self.state.hedging.table[task as usize].second);
        if second == NONE {
            return;
        }
        let worker = wide(self.tasks[second as usize].worker);
        let is_away = self.workers[worker as usize].is_away();
        let _ = self.take_back(worker, second);
        if is_away {
            self.free_second(task, second);
            self.arm(worker);
            return;
        }
        self.drop_second(task);
        self.tasks[second as usize].state = TaskState::Withdrawing;
        self.workers[worker as usize].withdrawn.append(self.tasks, second);
        self.list_todo(worker);
        self.close_drained(worker);
    }

    /// Frees the slot of a second attempt of which its worker is told, or will not be. Returns false for a task.
    pub(in crate::scheduler) fn withdraw_second(&mut self, second: u32) -> bool {
        let is_second = self.state.is_second(second);
        if is_second {
            self.tasks[second as usize].state = TaskState::Free;
            self.unwatch(second);
            self.state.hedging.unused.give(self.tasks, second);
        }
        is_second
    }

    /// Counts all sends of a task that has its outcome, once the number of the one in its own slot is told.
    pub(in crate::scheduler) fn count_withdrawn(&mut self, task: u32) {
        let slot = &mut self.tasks[task as usize];
        if slot.is_hedged() && !self.state.is_second(task) {
            slot.attempts = slot.attempts.max(self.state.hedging.table[task as usize].latest);
        }
    }
}
