//! What a worker's answer does for its task, and for the worker.

use std::time::Duration;

use chargehand_core::{EventError, Instant, Jitter, Outcome, TaskId, Useless, Verdict};

use super::returned::Blame;
use super::types::Lk;
use super::{Model, TaskState};

impl Model {
    pub(super) fn on_replied(
        &mut self,
        link: Lk,
        id: TaskId,
        attempt: u16,
        verdict: Verdict,
    ) -> Result<(), EventError> {
        let worker = self.hear(link)?;
        let slot = id.slot() as usize;
        self.check_answer(worker, id, attempt)?;
        self.turn_to(worker, slot);
        let timed = self.put_down(worker, slot);
        self.workers[worker].strikes = 0;
        match verdict {
            Verdict::Done => {
                self.note_success(worker, timed);
                self.on_done(worker, slot);
                self.speed_up(worker);
                self.cut_allowance(worker);
                self.hold_against_others(worker);
            }
            Verdict::Failed => self.on_failed(worker, slot),
            Verdict::Returned => {
                self.note("a task was given back before it began");
                self.counters.returned += 1;
                self.give_back(slot, worker, Blame::Nobody);
                self.count_failure(worker);
            }
        }
        self.close_if_drained(worker);
        Ok(())
    }

    /// Says whether an answer is for a live attempt of this worker.
    pub(super) fn check_answer(
        &mut self,
        worker: usize,
        id: TaskId,
        attempt: u16,
    ) -> Result<(), EventError> {
        let Some(task) = self.tasks.get(id.slot() as usize).cloned() else {
            self.note("answer for a slot past the end");
            return Err(EventError::Foreign);
        };
        let ahead = id.generation().wrapping_sub(task.generation);
        let behind = ahead > u32::MAX / 2;
        if (ahead > 0 && !behind) || (ahead == 0 && task.state == TaskState::Free) {
            self.note("answer for a future task");
            return Err(EventError::Foreign);
        }
        if behind {
            if id.generation() > task.generation {
                self.note("answer with a wrapped generation");
            }
            self.note("answer for an older task");
            return Err(EventError::Stale);
        }
        if attempt == 0 || attempt > task.latest {
            self.note("answer for an attempt never made");
            return Err(EventError::Foreign);
        }
        match self.is_second(worker, id.slot() as usize, attempt) {
            (true, _) => return Ok(()),
            (false, true) => {
                self.note("answer for a second attempt of another worker");
                return Err(EventError::Foreign);
            }
            _ => {}
        }
        let is_live = matches!(task.state, TaskState::InFlight { .. });
        if attempt != if is_live { task.attempts } else { task.latest } {
            self.note("answer for an older attempt");
            return Err(EventError::Stale);
        }
        match task.state {
            TaskState::InFlight { worker: holder, .. } if holder == worker => Ok(()),
            TaskState::InFlight { .. } => {
                self.note("answer for another worker's task");
                Err(EventError::Foreign)
            }
            TaskState::Waiting | TaskState::Returned { .. } | TaskState::Resting { .. } => {
                self.note("answer for a task given back");
                Err(EventError::Stale)
            }
            _ => {
                self.note("answer twice or after cancel");
                Err(EventError::Stale)
            }
        }
    }

    fn on_done(&mut self, worker: usize, slot: usize) {
        let worker = &mut self.workers[worker];
        worker.done += 1;
        worker.useful = true;
        worker.backoff_attempts = 0;
        worker.streak = 0;
        worker.suspensions = 0;
        worker.allowance = worker.window.min(worker.allowance.saturating_add(1));
        if worker.suspended_until.is_some() {
            self.note("a suspended worker got something done");
        }
        self.win_twice(slot);
        self.finish(slot, Outcome::Done);
    }

    pub(super) fn on_useless(
        &mut self,
        link: Lk,
        id: TaskId,
        attempt: u16,
        why: Useless,
    ) -> Result<(), EventError> {
        let worker = self.hear(link)?;
        self.check_answer(worker, id, attempt)?;
        let slot = id.slot() as usize;
        self.turn_to(worker, slot);
        let _ = self.put_down(worker, slot);
        self.workers[worker].strikes = 0;
        if let Useless::Throttled(pause) = why {
            self.on_throttled(worker, slot, pause);
            return Ok(());
        }
        if let Useless::KeyThrottled(pause) = why {
            self.on_key_throttled(worker, slot, pause);
            return Ok(());
        }
        self.workers[worker].failed += 1;
        match why {
            Useless::Unusable => {
                self.note("an answer of no use is tried elsewhere");
                self.give_back(slot, worker, Blame::Late);
                self.count_failure(worker);
            }
            Useless::Final => {
                self.note("an answer of no use ended its task");
                self.fail_task(worker, slot, None);
            }
            Useless::Permanent => {
                if self.tasks[slot].failures < self.tasks[slot].retries_max {
                    self.note("a permanent failure ended a task with retries left");
                }
                let _ = self.may_retry();
                self.finish(slot, Outcome::Failed);
            }
            Useless::RetryAfter(delay) => {
                self.fail_task(worker, slot, Some(delay));
                self.count_failure(worker);
            }
            Useless::Throttled(_) | Useless::KeyThrottled(_) => unreachable!("see above"),
        }
        self.close_if_drained(worker);
        Ok(())
    }

    /// A worker cannot do a task now, nor any for a while.
    fn on_throttled(&mut self, worker: usize, slot: usize, pause: Duration) {
        self.counters.returned += 1;
        self.give_back(slot, worker, Blame::Nobody);
        let until = self.end_of_pause(pause);
        if self.workers[worker].is_available() {
            self.slow_down(worker);
        }
        let holder = &mut self.workers[worker];
        holder.allowance = (holder.allowance / 2).max(1);
        self.note_shrunk(worker);
        let holder = &mut self.workers[worker];
        if !(holder.busy || holder.draining || holder.removing) {
            let other = holder.suspended_until.or(holder.delayed_until);
            holder.delayed_until = Some(other.map_or(until, |other| other.max(until)));
            holder.throttled = true;
            self.note(match other {
                None => "a worker said not now",
                Some(_) => "a worker said not now while it got nothing anyway",
            });
            self.end_rest(worker);
            self.tidy();
            self.never_the_last();
            self.recall(worker);
        }
        self.close_if_drained(worker);
    }

    pub(super) fn end_of_pause(&mut self, pause: Duration) -> Instant {
        let pause = pause.min(self.config.pause_max);
        let least = self.config.backoff.jitter(Jitter::None).delay(1, 0);
        if pause < least {
            self.note("a pause was too short to be one");
        }
        self.clock.saturating_add(pause.max(least))
    }

    pub(super) fn on_excused(&mut self, link: Lk) -> Result<(), EventError> {
        let worker = self.up(link)?;
        self.note("a worker was excused");
        self.workers[worker].streak = self.workers[worker].streak.saturating_sub(1);
        Ok(())
    }

    /// Counts a failure against the retries of all, each time from the start. Returns whether there may be one.
    fn may_retry(&mut self) -> bool {
        let Some(budget) = self.config.retry_budget else { return true };
        self.failures_at.push(self.counters.done);
        let most = u64::from(budget.tokens) * 1000;
        let (mut left, mut done) = (most, 0);
        for &at in &self.failures_at {
            left = most.min(left + (at - done) * u64::from(budget.per_done)).saturating_sub(1000);
            done = at;
        }
        left > most / 2
    }

    fn on_failed(&mut self, worker: usize, slot: usize) {
        self.workers[worker].failed += 1;
        self.fail_task(worker, slot, None);
        self.count_failure(worker);
    }

    /// A task's handler failed: it rests until it is tried again, as long as it says if it does, or ends.
    fn fail_task(&mut self, worker: usize, slot: usize, advised: Option<Duration>) {
        let may_retry = self.may_retry();
        if self.goes_on(slot, None) {
            return;
        }
        let task = &mut self.tasks[slot];
        task.failures += 1;
        task.suspect = false;
        let (failures, usual) = (task.failures, self.config.retries_max);
        if failures > task.retries_max || !may_retry {
            if failures <= task.retries_max {
                self.note("no retry was left of all");
            } else if failures <= usual {
                self.note("task tried again less often than the pool's tasks are");
            }
            self.finish(slot, Outcome::Failed);
        } else {
            self.note("task retried after a failure");
            if failures > usual {
                self.note("task tried again more often than the pool's tasks are");
            }
            let due = match advised {
                Some(delay) => self.put_off(slot, delay),
                None => self.retry_at(slot),
            };
            let task = &mut self.tasks[slot];
            task.state = TaskState::Resting { worker, due };
            if task.times.is_some() {
                self.resting_own.push(slot);
            } else {
                self.resting.push_back(slot);
            }
        }
    }
}
