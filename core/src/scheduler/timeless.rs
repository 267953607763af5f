//! Without the feature `task-times` no task has times of its own: what [`times`](super) does elsewhere
//! is nothing here, and compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the feature")]

use super::poll::PollStep;
use super::slot::{TaskSlot, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState};
use crate::event::Action;
use crate::options::TaskOptions;
use crate::time::Instant;

impl TaskSlot {
    #[inline]
    pub(super) const fn is_timed(&self) -> bool {
        false
    }

    #[inline]
    pub(super) const fn is_special(&self) -> bool {
        false
    }
}

impl WorkerSlot {
    #[inline]
    pub(super) const fn timed(&self) -> u32 {
        0
    }
}

impl SchedulerState {
    pub(super) const fn first_own(&self) -> Instant {
        Instant::FAR_FUTURE
    }

    pub(super) const fn resting_own(&self) -> u32 {
        0
    }
}

#[inline]
pub(super) fn first_in_order(_: &[TaskSlot], worker: &WorkerSlot) -> Option<u32> {
    worker.held.head()
}

impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn take_times(&mut self, _: u32, _: TaskOptions) {}

    #[inline]
    pub(super) fn watch(&mut self, _: u32) {}

    #[inline]
    pub(super) fn unwatch(&mut self, _: u32) {}

    #[inline]
    pub(super) fn send_timed(&mut self, _: u32, _: u32) {}

    #[inline]
    pub(super) fn older_own(&self, _: u32, _: u32, _: Instant) -> Option<u32> {
        None
    }

    #[inline]
    pub(super) fn judge_own(&mut self, _: u32, _: Instant) -> Option<Action> {
        unreachable!("no task has times of its own")
    }

    #[inline]
    pub(super) fn has_progressed(&self, _: u32) -> bool {
        false
    }

    /// Attempts are judged in the order of their sending.
    #[inline]
    pub(super) fn may_have_begun(&self, _: u32, _: u32) -> bool {
        true
    }

    #[inline]
    pub(super) fn put_down_timed(&mut self, _: u32, _: u32) {}

    #[inline]
    pub(super) fn attempt_timeout(&self, _: u32) -> u64 {
        self.state.policy.attempt_timeout
    }

    #[inline]
    pub(super) fn deadline(&self, _: u32) -> Instant {
        Instant::FAR_FUTURE
    }

    #[inline]
    pub(super) fn rest_timed(&mut self, _: u32) -> bool {
        false
    }

    #[inline]
    pub(super) fn take_out_resting(&mut self, task: u32) {
        self.state.resting.take_out(self.tasks, task);
    }

    #[inline]
    pub(super) fn pop_resting_own(&mut self) -> Option<u32> {
        None
    }

    #[inline]
    pub(super) fn step_own(&mut self) -> Option<PollStep> {
        None
    }
}
