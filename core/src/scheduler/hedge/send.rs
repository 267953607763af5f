//! When a second attempt of a task is sent, and to which worker.

use super::super::index::{NONE, narrow};
use super::super::poll::{PollStep, go_on_without};
use super::super::slot::{Kept, TaskSlot, TaskState};
use super::super::tasks::{SchedulerMut, later};
use super::WHOLE;
use crate::event::Action;
use crate::time::Instant;

/// When a second attempt is sent, and to whom.
impl SchedulerMut<'_> {
    /// Looks at the task whose attempt has been under way for longer than most, if there is one.
    pub(in crate::scheduler) fn step_hedge(&mut self) -> Option<PollStep> {
        if !self.state.is_due(self.state.hedging.first) {
            return None;
        }
        let (task, _) = self.state.hedging.timers.first(&self.state.hedging.table)?;
        if !self.may_be_hedged(task) {
            self.set_hedge(task, Instant::FAR_FUTURE);
            return Some(go_on_without(None));
        }
        let slot = &self.tasks[task as usize];
        let since = self.state.hedging.table[task as usize].since;
        let elapsed = self.state.clock.as_nanos() - since.as_nanos();
        let after = self.state.hedges_after(task, slot);
        if let Some(after) = after.filter(|&after| elapsed < after) {
            // Others of its kind have taken longer meanwhile.
            self.set_hedge(task, later(since, after));
            return Some(go_on_without(None));
        }
        let worker = after.and_then(|after| self.second_worker(task, elapsed, after));
        let Some(worker) = worker else {
            self.look_again(task);
            return Some(go_on_without(None));
        };
        Some(go_on_without(Some(self.send_second(worker, task))))
    }

    /// Whether the loss of one of two attempts of a task could not end it while the other lives.
    fn may_be_hedged(&self, task: u32) -> bool {
        let (slot, policy) = (&self.tasks[task as usize], &self.state.policy);
        let sends = self.state.sends_of(task, slot);
        let uncounted = u32::from(sends - slot.failures - slot.losses);
        let is_blamed = slot.is_suspect || self.state.hedging.table[task as usize].is_blamed;
        !is_blamed
            && u32::from(slot.losses) + 2 <= policy.attempts_max.into()
            && uncounted < policy.resends_max.into()
    }

    /// Returns which worker a second attempt of a task may be sent to now, that has taken so long, and is left alone
    /// for the time `after`.
    fn second_worker(&mut self, task: u32, elapsed: u64, after: u64) -> Option<u32> {
        let slot = &self.tasks[task as usize];
        if self.state.hedging.unused.is_empty(self.tasks) || !self.state.may_send_second(slot) {
            return None;
        }
        let worker = self.state.next_for_second(self.workers, slot)?;
        if !self.state.is_done_within(self.workers, worker, elapsed) {
            return None;
        }
        self.has_budget(elapsed / 2 >= after).then_some(worker)
    }

    /// Whether one more may be sent. The last half of what is saved up is for those that have taken twice as long as
    /// they are left alone: else those that are a little late would leave nothing for those that are stuck.
    fn has_budget(&mut self, is_stuck: bool) -> bool {
        let budget = self.state.policy.hedge_budget;
        let sent = self.state.stats.sent - self.state.stats.hedged;
        let hedging = &mut self.state.hedging;
        let given = (sent - hedging.sent).saturating_mul(budget.per_thousand.into());
        hedging.sent = sent;
        hedging.left = hedging.left.saturating_add(given).min(u64::from(budget.saved_max) * WHOLE);
        let kept = if is_stuck { 0 } else { u64::from(budget.saved_max / 2) };
        hedging.left >= (kept + 1) * WHOLE
    }

    fn send_second(&mut self, worker: u32, task: u32) -> Action {
        let hedging = &mut self.state.hedging;
        let second = hedging.unused.take(self.tasks).expect("there is one");
        if hedging.of.is_empty() {
            hedging.of.resize(self.state.policy.hedges_max as usize, narrow(NONE));
        }
        hedging.of[(second - hedging.base) as usize] = narrow(task);
        hedging.live += 1;
        hedging.left = hedging.left.saturating_sub(WHOLE);
        let entry = &mut hedging.table[task as usize];
        entry.latest += 1;
        entry.second = narrow(second);
        let attempts = entry.latest;
        self.set_hedge(task, Instant::FAR_FUTURE);
        let due = later(self.state.clock, self.state.policy.attempt_timeout);
        let (own, other) = self.pair(task, second);
        *other = TaskSlot {
            state: TaskState::Second,
            worker: narrow(worker),
            failures: 0,
            losses: 0,
            attempts,
            due,
            queue: other.queue,
            kept: Kept::No,
            ..*own
        };
        self.begin_second_times(task, second);
        self.count_second(task);
        self.state.stats.sent += 1;
        self.state.stats.resent += 1;
        self.state.stats.hedged += 1;
        self.workers[worker as usize].held.append(self.tasks, second);
        self.follow_special(worker, second);
        self.arm(worker);
        let link = self.workers[worker as usize].link(worker);
        Action::Send { link, task: self.tasks[task as usize].id(task), attempt: attempts }
    }
}
