//! What comes out: the next thing to do is found in the state, one at a time, in a fixed order.

use core::ops::ControlFlow;

use super::balance::CLEAN;
use super::grace::SILENT;
use super::index::{NONE, narrow, wide};
use super::slot::{Duty, LinkPhase, TaskSlot, TaskState, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState, later};
use super::times::first_in_order;
use super::workers::due;
use crate::event::{Action, Loss, Outcome, Reason, Route};
use crate::id::Link;
use crate::planted::planted;
use crate::time::Instant;

impl SchedulerMut<'_> {
    // Inlined with the hot path inside it, so that an action is matched on where it is built: passing
    // it through memory stalls (decision 0010). Without: 43 % more instructions a cycle.
    #[expect(clippy::inline_always, reason = "passing an action through memory stalls")]
    #[inline(always)]
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        loop {
            if let Some(task) = self.state.finished.pop_front(self.tasks) {
                return Some(self.report(task));
            }
            let (task, worker) = if self.state.is_calm() {
                let worker = self.state.balance.first_clean();
                if worker == NONE {
                    return None;
                }
                (self.take_fresh()?, worker)
            } else {
                match self.lend().step() {
                    ControlFlow::Break(action) => return action,
                    ControlFlow::Continue(None) => continue,
                    ControlFlow::Continue(Some(found)) => found,
                }
            };
            return Some(self.send(task, worker));
        }
    }

    /// Does the most urgent thing other than reporting a finished task: returns its action, or which
    /// task to send to which worker.
    // Without: 2.3 % more instructions a cycle.
    #[cold]
    fn step(&mut self) -> PollStep {
        if let Some(worker) = self.state.todo.head() {
            return go_on_without(self.tell(worker));
        }
        let timer = self.state.timers.first(self.workers);
        if let Some((worker, at)) = timer.filter(|&(_, at)| self.state.is_due(at)) {
            return go_on_without(self.on_timer(worker, at));
        }
        if let Some(step) = self.step_own() {
            return step;
        }
        if self.state.is_due(due(self.tasks, self.state.resting.head())) {
            let task = self.state.resting.take_first(self.tasks).expect("one is due");
            self.keep_returned(task);
            return ControlFlow::Continue(None);
        }
        // Nothing is due, so it is calm until the next deadline, unless the pool drains or something
        // came back, or has queues, whose turn is another question.
        let returned = self.state.returned + wide(self.state.suspected);
        if !self.state.is_draining
            && returned == 0
            && !self.state.is_queued()
            && !self.state.judges()
        {
            self.state.calm_until = self.state.next_due(self.tasks, self.workers);
        }
        if self.state.is_past_drain() && self.state.open() > 0 {
            return go_on_without(self.abort_one());
        }
        if let Some(found) = self.take_any() {
            return ControlFlow::Continue(Some(found));
        }
        if let Some(step) = self.step_hedge() {
            return step;
        }
        if let Some(action) = self.rebalance() {
            return ControlFlow::Break(Some(action));
        }
        // No task is finished or being withdrawn here, so if none is open there is none at all.
        if self.state.is_draining && self.state.open() == 0 {
            if let Some(worker) = self.state.members.head() {
                self.close(worker, Reason::Stopped);
                return ControlFlow::Continue(None);
            }
        }
        ControlFlow::Break(None)
    }

    /// Reports a finished task and frees its slot.
    #[inline]
    fn report(&mut self, task: u32) -> Action {
        let slot = &mut self.tasks[task as usize];
        let TaskState::Finished(outcome) = slot.state else { unreachable!("a finished task") };
        let action = Action::Finish { task: slot.id(task), outcome, attempts: slot.attempts };
        slot.state = TaskState::Free;
        if !planted("an id is used again") {
            slot.generation = slot.generation.wrapping_add(1);
        }
        self.state.unused.give(self.tasks, task);
        self.state.polled = self.state.polled.wrapping_add(1);
        action
    }

    /// Carries a worker one action further.
    fn tell(&mut self, worker: u32) -> Option<Action> {
        let slot = &mut self.workers[worker as usize];
        let (id, link) = (slot.id(worker), slot.link(worker));
        if core::mem::take(&mut slot.notice) {
            let until = slot.due;
            self.list_todo(worker);
            return Some(Action::Suspend { worker: id, until });
        }
        if let Some(task) = self.withdraw_first(worker) {
            self.list_todo(worker);
            let id = self.state.named(self.tasks, task);
            let attempt = self.tasks[task as usize].attempts;
            self.count_withdrawn(task);
            return Some(Action::Withdraw { link, task: id, attempt });
        }
        let slot = &mut self.workers[worker as usize];
        if slot.recall {
            return self.take_newest_back(worker);
        }
        Some(match slot.phase {
            LinkPhase::WantConnect => {
                slot.due = later(self.state.clock, self.state.policy.connect_timeout);
                self.set_phase(worker, LinkPhase::Connecting);
                Action::Connect { link }
            }
            LinkPhase::Closing(Reason::Drained) if slot.route == Route::Await => {
                // It said that it stops: its place is free for another.
                self.set_phase(worker, LinkPhase::Leaving);
                Action::Disconnect { link, reason: Reason::Drained }
            }
            LinkPhase::Closing(reason) => {
                self.after_link(worker);
                Action::Disconnect { link, reason }
            }
            LinkPhase::Leaving => {
                self.forget(worker);
                Action::Gone { worker: id }
            }
            _ => unreachable!("listed without anything to do"),
        })
    }

    /// Finishes the first task that was cancelled on a worker's link, if there is one.
    pub(super) fn withdraw_first(&mut self, worker: u32) -> Option<u32> {
        let task = self.workers[worker as usize].withdrawn.take_first(self.tasks)?;
        if self.withdraw_second(task) {
            return Some(task);
        }
        // Counted as cancelled already when the caller asked for it.
        self.tasks[task as usize].state = TaskState::Finished(Outcome::Cancelled);
        self.state.finished.push_back(self.tasks, task);
        Some(task)
    }

    /// Ends an attempt that outlived its deadline, and its link after too many.
    pub(super) fn time_out(&mut self, worker: u32, task: u32) -> Action {
        let (withdraw, is_out) = self.strike(worker, task);
        if is_out {
            self.give_back_all(worker, Loss::Broken);
            self.set_phase(worker, LinkPhase::Closing(Reason::Strikes));
        } else {
            self.close_drained(worker);
            self.arm(worker);
        }
        withdraw
    }

    /// Handles a worker's timer that has fired.
    fn on_timer(&mut self, worker: u32, at: Instant) -> Option<Action> {
        let slot = &self.workers[worker as usize];
        if self.state.timer(self.tasks, worker, slot) != at {
            // Early: the worker was heard from, or its oldest task was answered, in the meantime.
            self.arm(worker);
            return None;
        }
        if self.on_grace_timer(worker, at) || self.on_pace_timer(worker, at) {
            return None;
        }
        let slot = &self.workers[worker as usize];
        let link = slot.link(worker);
        let is_late = |&task: &u32| self.tasks[task as usize].due.max(slot.hold_until) == at;
        let late = first_in_order(self.tasks, slot).filter(is_late);
        match slot.phase {
            LinkPhase::Up(duty) if late.is_some() || !duty.is_for_a_time() || slot.due != at => {
                // Only the oldest of those that come due together may have begun.
                if let Some(older) = late.and_then(|late| self.older_own(worker, late, at)) {
                    return self.judge_own(older, at);
                }
                return Some(self.judge(worker, at, late));
            }
            LinkPhase::Absent => {
                self.end_grace(worker, Loss::Broken);
                self.set_phase(worker, LinkPhase::Leaving);
            }
            LinkPhase::BackingOff => self.want_connect(worker),
            LinkPhase::Connecting => {
                self.back_off(worker);
                return Some(Action::Disconnect { link, reason: Reason::ConnectTimeout });
            }
            LinkPhase::Up(Duty::Suspended) => self.release(worker),
            LinkPhase::Up(Duty::Delayed) => {
                // Nothing is taken back from one that dialled in too soon: it holds nothing.
                #[cfg(feature = "task-times")]
                {
                    self.workers[worker as usize].recall = false;
                }
                self.set_phase(worker, LinkPhase::Up(Duty::Serving));
            }
            _ => unreachable!("a timer without a reason"),
        }
        None
    }

    /// Judges a late attempt or, without one, a silent link, but only after the caller was asked to
    /// read from it once more (decision 0016).
    fn judge(&mut self, worker: u32, at: Instant, late: Option<u32>) -> Action {
        let slot = &mut self.workers[worker as usize];
        let link = slot.link(worker);
        if slot.looked != at {
            slot.looked = at;
            let overdue = late.map(|task| self.state.named(self.tasks, task));
            return Action::Look { link, overdue };
        }
        // One look is good for one verdict.
        slot.looked = Instant::EPOCH;
        match late {
            Some(task) => self.time_out(worker, task),
            None => self.on_silence(worker, link),
        }
    }

    /// Pings a silent link, or loses it if it was pinged already.
    fn on_silence(&mut self, worker: u32, link: Link) -> Action {
        let slot = &mut self.workers[worker as usize];
        if !slot.pinged {
            slot.pinged = true;
            slot.silent_since = self.state.clock;
            self.arm(worker);
            return Action::Ping { link };
        }
        self.part_with(worker, SILENT);
        self.after_link(worker);
        Action::Disconnect { link, reason: Reason::Silent }
    }

    /// Aborts one task after the drain's deadline: those that no worker holds come first.
    fn abort_one(&mut self) -> Option<Action> {
        let [first, second] = &mut self.state.waiting;
        let fresh = [first, second].into_iter().find_map(|list| list.take_first(self.tasks));
        let fresh = fresh.or_else(|| self.pop_fresh_queued());
        let waiting = fresh.or_else(|| self.pop_returned());
        let resting = waiting.or_else(|| self.state.resting.take_first(self.tasks));
        let idle = resting.or_else(|| self.pop_resting_own());
        if let Some(task) = idle {
            self.finish(task, Outcome::Aborted);
            return None;
        }
        // None is sent any more, so a worker that holds nothing stays so.
        let (worker, task) = loop {
            let worker = wide(self.state.aborting);
            match self.workers.get(worker as usize)?.held.head() {
                Some(task) => break (worker, task),
                None => self.state.aborting = narrow(worker + 1),
            }
        };
        let task = self.as_own(task);
        let withdraw = self.take_for_good(worker, task, Outcome::Aborted);
        self.close_drained(worker);
        withdraw
    }

    // Without: 23 % more instructions a cycle.
    #[expect(clippy::inline_always, reason = "as `poll_action`")]
    #[inline(always)]
    fn send(&mut self, task: u32, worker: u32) -> Action {
        let due = self.state.clock.saturating_add_nanos(self.state.policy.attempt_timeout);
        let slot = &mut self.tasks[task as usize];
        slot.attempts += 1;
        slot.state = TaskState::InFlight;
        slot.worker = narrow(worker);
        slot.due = due;
        let is_special = slot.is_special();
        let holder = &mut self.workers[worker as usize];
        holder.held.push_back(self.tasks, task);
        // Only a task that is its worker's first can be due before the timer. A timer that is early is
        // left alone: it is cheaper to fire in vain once than to move it for each send.
        let is_due_first = due < holder.timer;
        let has_room = holder.has_room();
        if !holder.is_plain || is_special {
            self.lend().follow_special(worker, task);
        } else if has_room {
            self.state.balance.raise(self.workers, worker, CLEAN);
        } else {
            self.state.balance.leave(self.workers, worker, CLEAN);
        }
        if is_due_first {
            self.lend().arm(worker);
        }
        let slot = &self.tasks[task as usize];
        self.state.stats.sent += 1;
        let link = self.workers[worker as usize].link(worker);
        Action::Send { link, task: slot.id(task), attempt: slot.attempts }
    }
}

impl SchedulerMut<'_> {
    /// Follows a worker that was just given a task, where that or the worker is not as most are.
    // Without: 3 % more instructions a cycle.
    #[cold]
    pub(super) fn follow_special(&mut self, worker: u32, task: u32) {
        self.pick_up_queued(task);
        self.send_timed(worker, task);
        self.follow_hedged(worker, task);
        self.note_sent(worker, task);
        self.count_for_pace(worker);
        self.set_suspect(worker, self.workers[worker as usize].has_suspect);
        self.turn_ring();
    }
}

/// What a step came to: `Break` with an action or with nothing left to do, or `Continue` with a task
/// to send and its worker, or with `None` for another step.
pub(super) type PollStep = ControlFlow<Option<Action>, Option<(u32, u32)>>;

/// Goes on with the next step where one had no action.
pub(super) fn go_on_without(action: Option<Action>) -> PollStep {
    action.map_or(ControlFlow::Continue(None), |action| ControlFlow::Break(Some(action)))
}

impl SchedulerState {
    /// Returns when there is something to do next; the clock's time if that is now.
    pub(super) fn poll_timeout(
        &self,
        tasks: &[TaskSlot],
        workers: &[WorkerSlot],
    ) -> Option<Instant> {
        if self.has_work(tasks, workers) {
            return Some(self.clock);
        }
        let mut next = self.next_due(tasks, workers);
        if self.is_draining && self.open() > 0 {
            next = next.min(self.drain_deadline);
        }
        (next != Instant::FAR_FUTURE).then_some(next)
    }

    /// Returns the earliest deadline of a worker, the tasks that it holds included, of a resting task,
    /// or of one with times of its own; or when a queue's rate lets the next one go.
    pub(super) fn next_due(&self, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> Instant {
        let timer = self.timers.first(workers).map_or(Instant::FAR_FUTURE, |(_, at)| at);
        let patience = self.patience_ends().min(self.first_rate());
        let own = self.first_own().min(self.first_hedge());
        due(tasks, self.resting.head()).min(timer).min(own).min(patience)
    }

    /// Whether there can be nothing to do but to send.
    #[inline]
    fn is_calm(&self) -> bool {
        self.clock < self.calm_until
    }

    /// Whether there is an action now, whatever the time.
    fn has_work(&self, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> bool {
        !self.finished.is_empty()
            || !self.todo.is_empty()
            || self.can_send(tasks, workers)
            || (self.is_draining && self.open() == 0 && !self.members.is_empty())
    }
}
