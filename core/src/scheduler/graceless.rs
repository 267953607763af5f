//! Without the feature `task-times` no worker is waited for with what it holds: what [`grace`](super) does
//! elsewhere is nothing here, and compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the feature")]

use super::slot::{TaskSlot, WorkerSlot};
use super::tasks::SchedulerMut;
use crate::event::{Action, Loss, Offer, Outcome};
use crate::time::Instant;

pub(super) const SILENT: Loss = Loss::Broken;

impl WorkerSlot {
    #[inline]
    pub(super) const fn kept(&self) -> u32 {
        0
    }

    #[inline]
    pub(super) const fn is_away(&self) -> bool {
        false
    }

    #[inline]
    pub(super) const fn grace_end(&self) -> Instant {
        Instant::FAR_FUTURE
    }
}

#[inline]
pub(super) fn away_due(_: &[TaskSlot], _: &WorkerSlot) -> Instant {
    Instant::FAR_FUTURE
}

impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn agree_on_grace(&mut self, _: u32, _: Offer) {}

    #[inline]
    pub(super) fn part_with(&mut self, worker: u32, how: Loss) {
        self.give_back_all(worker, how);
    }

    #[inline]
    pub(super) fn take_over(&mut self, worker: u32, _: Offer) {
        self.give_back_all(worker, Loss::Stopped);
    }

    #[inline]
    pub(super) fn end_grace(&mut self, _: u32, _: Loss) {}

    #[inline]
    pub(super) fn fit_window(&mut self, _: u32) {}

    #[inline]
    pub(super) fn put_down_kept(&mut self, _: u32, _: u32) {}

    #[inline]
    pub(super) fn had_begun(&self, _: u32, by_place: bool, _: bool) -> bool {
        by_place
    }

    #[inline]
    pub(super) fn on_grace_timer(&mut self, _: u32, _: Instant) -> bool {
        false
    }

    #[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
    #[inline]
    pub(super) fn take_for_good(
        &mut self,
        worker: u32,
        task: u32,
        outcome: Outcome,
    ) -> Option<Action> {
        let withdraw = self.end(worker, task);
        self.finish(task, outcome);
        Some(withdraw)
    }
}
