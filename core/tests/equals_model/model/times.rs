//! Times of a task's own: found by looking at every task.

use chargehand_core::{BackoffPolicy, EventError, Instant, Outcome, TaskId, TaskOptions};
use std::time::Duration;

use super::poll::ModelStep;
use super::returned::Blame;
use super::types::{Act, Lk};
use super::{Model, TaskState};

/// The times of one task.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnTimes {
    deadline: Instant,
    attempt_timeout: Duration,
    retry_delay: Option<BackoffPolicy>,
    /// How long an attempt may take in all that makes progress.
    attempt_max: Option<Duration>,
    /// The most that was said to be done of the latest attempt.
    done: u64,
    /// The deadline for which the caller was asked to look.
    looked: Option<Instant>,
}

impl OwnTimes {
    /// What there is of the attempt that is looked at: how much is done, and the deadline that was.
    pub(super) fn of_attempt(&mut self) -> (&mut u64, &mut Option<Instant>) {
        (&mut self.done, &mut self.looked)
    }
}

impl Model {
    /// How long each attempt of a task may take.
    pub(super) fn attempt_timeout(&self, slot: usize) -> Duration {
        self.tasks[slot].times.map_or(self.config.attempt_timeout, |times| times.attempt_timeout)
    }

    /// What a task has of its own, if anything.
    pub(super) fn own_times(&self, options: TaskOptions) -> Option<OwnTimes> {
        let TaskOptions { deadline, attempt_timeout, retry_delay, attempt_max, .. } = options;
        let any = deadline != Instant::FAR_FUTURE
            || attempt_timeout.is_some()
            || retry_delay.is_some()
            || attempt_max.is_some();
        let attempt_timeout = attempt_timeout.unwrap_or(self.config.attempt_timeout);
        let in_all = attempt_max.filter(|longest| !longest.is_zero());
        let attempt_timeout =
            in_all.map_or(attempt_timeout, |longest| longest.min(attempt_timeout));
        let (done, looked) = (0, None);
        any.then_some(OwnTimes {
            deadline,
            attempt_timeout,
            retry_delay,
            attempt_max,
            done,
            looked,
        })
    }

    /// How long an attempt of a task may take; it begins now.
    pub(super) fn begin_attempt(&mut self, slot: usize) -> Duration {
        match &mut self.tasks[slot].times {
            None => self.config.attempt_timeout,
            Some(times) => {
                times.looked = None;
                times.done = 0;
                times.attempt_timeout
            }
        }
    }

    /// A worker says how far an attempt is.
    pub(super) fn on_progress(
        &mut self,
        link: Lk,
        id: TaskId,
        attempt: u16,
        done: u64,
    ) -> Result<(), EventError> {
        let worker = self.up(link)?;
        self.check_answer(worker, id, attempt)?;
        self.turn_to(worker, id.slot() as usize);
        let (now, task) = (self.clock, &mut self.tasks[id.slot() as usize]);
        let TaskState::InFlight { sent, deadline, .. } = &mut task.state else { panic!("live") };
        let Some(times) = task.times.as_mut().filter(|times| done > times.done) else {
            self.note("nothing new of an attempt");
            return Ok(());
        };
        times.done = done;
        let Some(longest) = times.attempt_max else {
            self.note("progress that gives no time");
            return Ok(());
        };
        let renewed = now.saturating_add(times.attempt_timeout);
        let end = sent.saturating_add(longest);
        if renewed.min(end) > *deadline {
            *deadline = renewed.min(end);
            self.note("progress gave an attempt more time");
        }
        if renewed > end {
            self.note("an attempt had all the time that progress can give");
        }
        Ok(())
    }

    /// Whether something of the latest attempt of a task is done, as the worker said.
    pub(super) fn has_progressed(&self, slot: usize) -> bool {
        self.tasks[slot].times.is_some_and(|times| times.done > 0)
    }

    /// When a task that has just failed is due again.
    pub(super) fn retry_at(&mut self, slot: usize) -> Instant {
        let task = &self.tasks[slot];
        let policy = task.times.and_then(|times| times.retry_delay);
        let delay = policy.map_or(self.config.retry_delay, |policy| {
            let id = (slot as u64) << 32 | u64::from(task.generation);
            let seed = self.config.seed ^ id ^ u64::from(task.failures) << 48;
            policy.delay(task.failures.into(), mixed(seed))
        });
        if policy.is_some() {
            self.note("task rests as long as it says itself");
        }
        self.clock.saturating_add(delay)
    }

    /// When a task is due again whose handler said so. From now on it has times of its own.
    pub(super) fn put_off(&mut self, slot: usize, delay: Duration) -> Instant {
        if self.tasks[slot].times.is_none() {
            self.note("task rests as long as its handler says");
            self.tasks[slot].times = Some(OwnTimes {
                deadline: Instant::FAR_FUTURE,
                attempt_timeout: self.config.attempt_timeout,
                retry_delay: None,
                attempt_max: None,
                done: 0,
                looked: None,
            });
        } else {
            self.note("task with times of its own rests as long as its handler says");
        }
        self.clock.saturating_add(delay)
    }

    /// When something is to be done about an attempt or a task by the task's own times. Its deadline is looked at
    /// with the attempt that the engine has in the task's slot.
    fn due_of(&self, slot: usize, key: usize, state: TaskState) -> Option<Instant> {
        let deadline = self.tasks[slot].times?.deadline;
        let next = match state {
            TaskState::InFlight { worker, deadline, .. } => {
                deadline.max(self.workers[worker].hold_until)
            }
            TaskState::Resting { due, .. } => due,
            TaskState::Waiting | TaskState::Returned { .. } => Instant::FAR_FUTURE,
            TaskState::Free | TaskState::Withdrawing | TaskState::Finished(_) => return None,
        };
        Some(if key == slot { next.min(deadline) } else { next })
    }

    /// All of these: with the engine's slot, and the task.
    pub(super) fn all_own(&self) -> impl Iterator<Item = (Instant, usize, usize)> {
        (0..self.tasks.len()).flat_map(move |slot| {
            let of = move |(key, state, _)| Some((self.due_of(slot, key, state)?, key, slot));
            self.live_of(slot).into_iter().filter_map(of)
        })
    }

    /// Whether a task's time is up, as is seen by one of its attempts.
    fn is_over(&self, slot: usize, key: usize) -> bool {
        key == slot && self.tasks[slot].times.is_some_and(|times| self.is_due(times.deadline))
    }

    /// Of the attempts of a worker that are due at the same time, the oldest is judged first.
    fn oldest_due(&mut self, at: Instant, worker: usize, slot: usize) -> usize {
        if self.is_over(slot, self.live_at(worker, slot).0) {
            return slot;
        }
        let mut held = self.workers[worker].held.iter().copied();
        let oldest = held
            .find(|&older| {
                let (key, state, _) = self.live_at(worker, older);
                let is_due = self.due_of(older, key, state) == Some(at);
                older == slot || is_due && !self.is_over(older, key)
            })
            .expect("it is held itself");
        if oldest != slot {
            self.note("an older attempt was judged first");
        }
        oldest
    }

    /// Does what the task is due for whose own times come first.
    pub(super) fn due_own(&mut self) -> ModelStep {
        let Some((at, key, slot)) = self.all_own().min().filter(|&(at, ..)| self.is_due(at)) else {
            return ModelStep::Nothing;
        };
        let live = self.live_of(slot).into_iter().find(|live| live.0 == key);
        let TaskState::InFlight { worker, .. } = live.expect("it is due").1 else {
            return self.end_unsent(slot);
        };
        self.judge_own(at, worker, slot)
    }

    /// Of the attempts of a worker that come due at the same time, some have times of their own and others
    /// have not: the oldest of all is judged first.
    pub(super) fn older_own(&mut self, at: Instant, worker: usize, slot: usize) -> Option<usize> {
        let oldest = self.oldest_due(at, worker, slot);
        (oldest != slot).then_some(oldest)
    }

    fn end_unsent(&mut self, slot: usize) -> ModelStep {
        if self.is_over(slot, slot) {
            self.note("timed out without an attempt under way");
            self.finish(slot, Outcome::TimedOut);
        } else {
            let TaskState::Resting { worker, .. } = self.tasks[slot].state else { panic!() };
            self.resting_own.retain(|&other| other != slot);
            self.wait_again(slot, worker);
        }
        ModelStep::Again
    }

    pub(super) fn judge_own(&mut self, at: Instant, worker: usize, slot: usize) -> ModelStep {
        let slot = self.oldest_due(at, worker, slot);
        self.turn_to(worker, slot);
        let is_over = self.is_over(slot, self.live_at(worker, slot).0);
        let mut times = self.tasks[slot].times.expect("times of its own");
        let is_away = self.is_away(worker);
        if times.looked != Some(at) && !is_away {
            times.looked = Some(at);
            self.tasks[slot].times = Some(times);
            return ModelStep::Emit(Act::Look(self.link(worker), Some(self.id(slot))));
        }
        if !is_over && is_away {
            self.note("an attempt with times of its own was late while its worker was away");
            self.timed_out_away(worker, slot);
            return ModelStep::Again;
        }
        if !is_over && times.attempt_timeout < self.config.attempt_timeout {
            return self.attempt_ended_early(worker, slot);
        }
        if !is_over {
            self.note("an attempt timed out by its task's own time");
            return self.attempt_timed_out(worker, slot);
        }
        self.note("timed out with an attempt under way");
        self.take_for_good(worker, slot, Outcome::TimedOut)
    }
}

impl Model {
    /// An attempt outlived its task's own time, which is shorter than the others'.
    fn attempt_ended_early(&mut self, worker: usize, slot: usize) -> ModelStep {
        self.note("an attempt ended by its task's own shorter time");
        self.turn_to(worker, slot);
        let act = Act::Withdraw(self.link(worker), self.id(slot), self.tasks[slot].attempts);
        let begun = self.may_have_begun(worker, slot);
        if !begun {
            self.note("ended by its task's own time before it could begin");
        }
        self.workers[worker].lost += 1;
        let _ = self.put_down(worker, slot);
        self.counters.timed_out += 1;
        self.give_back(slot, worker, if begun { Blame::Late } else { Blame::Nobody });
        self.count_failure(worker);
        self.close_if_drained(worker);
        ModelStep::Emit(act)
    }
}

/// One step of `SplitMix64` (Steele, Lea and Flood, 2014).
fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
