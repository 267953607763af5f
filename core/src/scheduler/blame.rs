//! What the end of an attempt counts as, and what becomes of its task.
//!
//! An attempt that cannot have begun does not count (decision 0017). A worker says how many tasks it
//! runs at once, so when its link breaks only that many of the oldest are suspects. Suspects are then
//! spread, at most one to a worker (decision 0018): a task that really breaks links shares one with
//! another suspect at most once, and only it runs out of attempts.

use super::list::List;
use super::slot::{Duty, LinkPhase, TaskState};
use super::tasks::{SchedulerMut, later};
use crate::event::{Action, Loss, Outcome};
use crate::planted::planted;

/// Why an attempt has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The task had begun when its link broke, and may be why.
    Suspect,
    /// The task had begun, and outlived its deadline.
    Late,
    /// It had not begun, or its worker took its leave.
    Nobody,
}

impl SchedulerMut<'_> {
    /// Queues a task again whose attempt has no answer, unless it was the last that it may have.
    pub(super) fn give_back(&mut self, task: u32, blame: Blame) {
        if self.goes_on(task, blame) {
            return;
        }
        let slot = &mut self.tasks[task as usize];
        slot.losses += u16::from(blame != Blame::Nobody && !planted("a loss is not counted"));
        slot.is_suspect |= blame == Blame::Suspect;
        let policy = &self.state.policy;
        let outcome = if slot.losses >= policy.attempts_max {
            Outcome::Exhausted
        } else if slot.attempts - slot.failures - slot.losses >= policy.resends_max {
            Outcome::Bounced
        } else if self.state.is_past_drain() {
            Outcome::Aborted
        } else {
            self.keep_returned(task);
            return;
        };
        self.finish(task, outcome);
    }

    /// Queues again all that a worker held, in the old order. Nothing is held against what is on a link
    /// whose worker is on its way out, however that ends. O(tasks held).
    pub(super) fn give_back_all(&mut self, worker: u32, how: Loss) {
        let slot = &mut self.workers[worker as usize];
        let drains = slot.phase == LinkPhase::Up(Duty::Draining);
        let mut held = core::mem::replace(&mut slot.held, List::new());
        slot.lost += u64::from(held.len());
        slot.recall = false;
        // Attempts that were struck may still run there, each in the place of another.
        let begun = slot.runs.saturating_sub(u32::from(slot.strikes));
        let begun = if planted("what waited is blamed") { u32::MAX } else { begun };
        let is_blamed = how == Loss::Broken && !drains || planted("a polite stop is blamed");
        let mut suspects = if is_blamed { begun } else { 0 };
        self.state.stats.lost += u64::from(held.len());
        self.forget_timed(worker);
        self.clear_suspect(worker);
        while let Some(task) = held.take_first(self.tasks) {
            self.put_down_timed(worker, task);
            self.put_down_queued(task);
            let had_begun = self.had_begun(task, suspects > 0, is_blamed);
            self.put_down_kept(worker, task);
            self.put_down_hedged(worker, task);
            let blame = if had_begun { Blame::Suspect } else { Blame::Nobody };
            suspects = suspects.saturating_sub(1);
            self.give_back(task, blame);
        }
    }

    /// Ends an attempt that outlived its deadline. Returns the action that tells the worker, and
    /// whether the link has had too many.
    pub(super) fn strike(&mut self, worker: u32, task: u32) -> (Action, bool) {
        let due = self.tasks[task as usize].due;
        let span = self.attempt_timeout(task);
        let is_old = self.may_have_begun(worker, task);
        let has_progressed = self.has_progressed(task);
        let withdraw = self.end(worker, task);
        self.state.stats.timed_out += 1;
        self.note_fault(worker);
        let slot = &mut self.workers[worker as usize];
        slot.lost += 1;
        // What was sent before the first strike waited for those that were struck. Both times are
        // compared where the attempt would end.
        let waited = due < later(slot.struck_at, span) && !has_progressed;
        let had_begun = is_old && (u32::from(slot.strikes) < slot.runs || !waited);
        if slot.strikes == 0 {
            slot.struck_at = self.state.clock;
        }
        slot.strikes = slot.strikes.saturating_add(1);
        slot.allowance = 1;
        self.note_shrunk(worker);
        let slot = &self.workers[worker as usize];
        let is_out = slot.strikes >= self.state.policy.strikes_max;
        if slot.phase.is_serving() && !slot.has_room() {
            self.leave_balance(worker);
        }
        self.give_back(task, if had_begun { Blame::Late } else { Blame::Nobody });
        self.recall(worker);
        (withdraw, is_out)
    }

    /// Begins to take back what a worker holds and has not begun.
    pub(super) fn recall(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        slot.recall = slot.phase.is_up() && slot.held.len() > slot.runs;
        self.list_todo(worker);
    }

    /// Takes back the newest task that a worker holds and cannot have begun.
    pub(super) fn take_newest_back(&mut self, worker: u32) -> Option<Action> {
        let slot = &mut self.workers[worker as usize];
        let newest = slot.held.tail().filter(|_| slot.held.len() > slot.runs);
        let Some(task) = newest else {
            slot.recall = false;
            self.list_todo(worker);
            return None;
        };
        Some(self.take_back_whole(worker, task))
    }

    /// Takes back a task that has not begun.
    pub(super) fn take_back_whole(&mut self, worker: u32, task: u32) -> Action {
        let withdraw = self.end(worker, task);
        self.state.stats.returned += 1;
        self.give_back(task, Blame::Nobody);
        withdraw
    }

    /// Takes a task in flight from its worker, and returns the action that tells the worker.
    pub(super) fn end(&mut self, worker: u32, task: u32) -> Action {
        let link = self.take_back(worker, task);
        let (id, attempt) =
            (self.state.named(self.tasks, task), self.tasks[task as usize].attempts);
        Action::Withdraw { link, task: id, attempt }
    }

    /// Goes on with a task whose handler failed: tries it again later, or ends it where no retry is left
    /// or of use.
    pub(super) fn on_task_failed(&mut self, task: u32, is_permanent: bool) {
        let may_retry = self.may_retry();
        if self.fails_on(task, is_permanent) {
            return;
        }
        let slot = &mut self.tasks[task as usize];
        slot.failures += 1;
        // It was answered, so it does not end links.
        slot.is_suspect = false;
        if is_permanent || !may_retry || slot.failures > slot.retries_max {
            self.finish(task, Outcome::Failed);
            return;
        }
        if self.rest_timed(task) {
            return;
        }
        let slot = &mut self.tasks[task as usize];
        slot.state = TaskState::Resting;
        slot.due = later(self.state.clock, self.state.policy.retry_delay);
        self.state.calm_until = self.state.calm_until.min(slot.due);
        self.state.resting.append(self.tasks, task);
    }
}
