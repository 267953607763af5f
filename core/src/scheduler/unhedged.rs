//! Without the feature `hedging` a task has one live attempt at most: what [`hedge`](super) does elsewhere is
//! nothing here, and compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the feature")]

use super::blame::Blame;
use super::poll::PollStep;
use super::slot::{TaskSlot, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState};
use crate::config::ConfigError;
use crate::error::EventError;
use crate::event::Verdict;
use crate::id::TaskId;
use crate::options::TaskOptions;
use crate::time::Instant;

/// No queue has any.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hedge {}

impl WorkerSlot {
    #[inline]
    pub(super) const fn hedged(&self) -> u32 {
        0
    }
}

impl SchedulerState {
    #[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
    #[inline]
    pub(super) const fn keep_seconds(&mut self, _: usize) -> Result<(), ConfigError> {
        Ok(())
    }

    #[inline]
    pub(super) const fn seconds_max(&self) -> usize {
        0
    }

    #[inline]
    pub(super) const fn seconds(&self) -> u32 {
        0
    }

    #[inline]
    pub(super) const fn first_hedge(&self) -> Instant {
        Instant::FAR_FUTURE
    }

    #[inline]
    pub(super) const fn is_second(&self, _: u32) -> bool {
        false
    }

    #[cfg(feature = "choice")]
    #[inline]
    pub(super) fn task_at(&self, task: u32) -> u32 {
        task
    }

    #[inline]
    pub(super) fn sends_of(&self, _: u32, slot: &TaskSlot) -> u16 {
        slot.attempts
    }

    #[inline]
    pub(super) const fn live_seconds_of(&self, _: u32, _: &TaskSlot) -> u16 {
        0
    }

    #[inline]
    pub(super) fn objection(&self, tasks: &[TaskSlot], id: TaskId, attempt: u16) -> EventError {
        tasks[id.slot() as usize].objection(id, attempt)
    }

    #[inline]
    pub(super) fn named(&self, tasks: &[TaskSlot], task: u32) -> TaskId {
        tasks[task as usize].id(task)
    }
}

impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn take_hedge(&mut self, _: u32, _: TaskOptions, _: Option<Hedge>) {}

    #[inline]
    pub(super) fn follow_hedged(&mut self, _: u32, _: u32) {}

    #[inline]
    pub(super) fn put_down_hedged(&mut self, _: u32, _: u32) {}

    #[inline]
    pub(super) fn win_hedged(&mut self, _: u32) {}

    #[inline]
    pub(super) fn on_second_replied(
        &mut self,
        _: u32,
        _: (TaskId, u16),
        _: Verdict,
        error: EventError,
    ) -> Result<(), EventError> {
        Err(error)
    }

    #[inline]
    pub(super) fn second_of(&self, _: u32, _: TaskId, _: u16) -> Option<u32> {
        None
    }

    #[inline]
    pub(super) fn as_own(&mut self, task: u32) -> u32 {
        task
    }

    #[inline]
    pub(super) fn goes_on(&mut self, _: u32, _: Blame) -> bool {
        false
    }

    #[inline]
    pub(super) fn fails_on(&mut self, _: u32, _: bool) -> bool {
        false
    }

    #[inline]
    pub(super) fn end_hedged(&mut self, _: u32) {}

    #[inline]
    pub(super) fn part_hedged(&mut self, _: u32) {}

    #[inline]
    pub(super) fn withdraw_second(&mut self, _: u32) -> bool {
        false
    }

    #[inline]
    pub(super) fn count_withdrawn(&mut self, _: u32) {}

    #[inline]
    pub(super) fn step_hedge(&mut self) -> Option<PollStep> {
        None
    }
}
