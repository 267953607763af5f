//! Answers that did nothing for their task: what becomes of it, and what they say of the worker.

use super::blame::Blame;
use super::slot::{Duty, LinkPhase};
use super::tasks::SchedulerMut;
use crate::error::EventError;
use crate::event::Useless;
use crate::id::TaskId;

/// An answer that did nothing for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its handler failed.
    Failed,
    /// It was given back before it began.
    Returned,
    /// As [`Useless::Unusable`].
    Unusable,
    /// As [`Useless::Final`].
    Final,
    /// As [`Useless::Permanent`].
    Permanent,
}

impl SchedulerMut<'_> {
    /// Takes in an answer without a result, and what it says of trying again.
    #[allow(clippy::inline_always, reason = "without: above the flash aim by 52 bytes")]
    #[inline(always)]
    pub(super) fn on_useless_answer(
        &mut self,
        worker: u32,
        (task, attempt): (TaskId, u16),
        why: Useless,
    ) -> Result<(), EventError> {
        let task = match self.answered(worker, task, attempt) {
            Ok(task) => task,
            Err(error) => {
                let second = self.second_of(worker, task, attempt).ok_or(error)?;
                self.as_own(second)
            }
        };
        #[cfg(feature = "task-times")]
        if let Useless::Throttled(pause) = why {
            self.on_throttled(worker, task, pause);
            self.close_drained(worker);
            return Ok(());
        }
        #[cfg(feature = "task-times")]
        if let Useless::KeyThrottled(pause) = why {
            self.on_key_throttled(worker, task, pause);
            self.close_drained(worker);
            return Ok(());
        }
        // A match of its own, and `Answer` without a field: else above the flash aim.
        let answer = match why {
            Useless::Unusable => Answer::Unusable,
            Useless::Final => Answer::Final,
            Useless::Permanent => Answer::Permanent,
            #[cfg(feature = "task-times")]
            Useless::RetryAfter(_) | Useless::Throttled(_) | Useless::KeyThrottled(_) => {
                Answer::Failed
            }
        };
        self.on_useless(worker, task, answer);
        #[cfg(feature = "task-times")]
        if let Useless::RetryAfter(delay) = why {
            self.rest_for(task, delay);
        }
        self.close_drained(worker);
        Ok(())
    }

    /// Takes in an answer that did nothing for its task.
    pub(super) fn on_useless(&mut self, worker: u32, task: u32, answer: Answer) {
        let _ = self.take_back(worker, task);
        let slot = &mut self.workers[worker as usize];
        slot.strikes = 0;
        if answer == Answer::Returned {
            self.state.stats.returned += 1;
        } else {
            slot.failed += 1;
        }
        match answer {
            Answer::Returned => self.give_back(task, Blame::Nobody),
            Answer::Unusable => self.give_back(task, Blame::Late),
            Answer::Failed | Answer::Final | Answer::Permanent => {
                self.on_task_failed(task, answer == Answer::Permanent);
            }
        }
        if !matches!(answer, Answer::Final | Answer::Permanent) {
            self.count_failure(worker);
        }
    }

    /// Takes back what an answer of no use counted against a worker.
    pub(super) fn excuse(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        slot.streak = slot.streak.saturating_sub(1);
    }

    /// Counts an answer that did nothing against a worker, and suspends it after too many in a row.
    pub(super) fn count_failure(&mut self, worker: u32) {
        self.note_fault(worker);
        let policy = &self.state.policy;
        let slot = &mut self.workers[worker as usize];
        slot.streak = slot.streak.saturating_add(1);
        let is_kept = slot.streak < policy.failures_max || !slot.phase.is_serving();
        if is_kept || self.state.is_last(&self.workers[worker as usize]) {
            self.hold_against_others(worker);
            return;
        }
        let slot = &mut self.workers[worker as usize];
        slot.suspensions = slot.suspensions.saturating_add(1);
        let suspensions = slot.suspensions;
        let until = self.delayed(worker, suspensions);
        let slot = &mut self.workers[worker as usize];
        slot.due = until;
        slot.notice = true;
        self.set_phase(worker, LinkPhase::Up(Duty::Suspended));
        self.recall(worker);
    }
}
