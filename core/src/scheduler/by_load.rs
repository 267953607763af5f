//! Without the feature `choice` a task goes to the worker that holds the fewest: what
//! [`choice`](super) does elsewhere is nothing here, and compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the feature")]

use super::index::NONE;
#[cfg(feature = "queues")]
use super::queues::Line;
#[cfg(feature = "queues")]
use super::sets::Groups;
use super::slot::WorkerSlot;
use super::tasks::{SchedulerMut, SchedulerState};
use crate::config::Policy;
use crate::event::{Action, Offer};
use crate::time::Instant;

/// Whether a task may wait though a worker has room.
pub(super) const HOLDS_BACK: bool = false;

#[inline]
pub(super) const fn calm_at_first(_: &Policy) -> Instant {
    Instant::FAR_FUTURE
}

impl SchedulerState {
    #[inline]
    pub(super) const fn judges(&self) -> bool {
        false
    }

    #[inline]
    pub(super) const fn patience_ends(&self) -> Instant {
        Instant::FAR_FUTURE
    }

    #[inline]
    pub(super) fn next_but(
        &self,
        workers: &[WorkerSlot],
        worker: u32,
        clean_only: bool,
    ) -> Option<u32> {
        self.balance.next_but(workers, worker, clean_only)
    }

    #[cfg(feature = "queues")]
    #[inline]
    pub(super) fn next_among(
        &self,
        workers: &[WorkerSlot],
        groups: Groups,
        but: u32,
        clean_only: bool,
    ) -> Option<u32> {
        self.least_loaded(workers, groups, but, clean_only)
    }

    #[cfg(feature = "queues")]
    #[inline]
    pub(super) fn next_for_new(&self, line: &Line, workers: &[WorkerSlot]) -> Option<u32> {
        self.least_loaded(workers, line.groups, NONE, false)
    }

    #[cfg(feature = "hedging")]
    #[inline]
    pub(super) const fn is_done_within(&self, _: &[WorkerSlot], _: u32, _: u64) -> bool {
        true
    }

    #[inline]
    pub(super) const fn may_send_new(&self, _: &[WorkerSlot]) -> bool {
        true
    }
}

impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn take_next_for_new(&mut self) -> Option<u32> {
        self.state.balance.next_but(self.workers, NONE, false)
    }

    #[cfg(feature = "queues")]
    #[inline]
    pub(super) fn bound_patience(&mut self) {}

    #[inline]
    pub(super) fn enter_balance(&mut self, worker: u32) {
        let order = self.workers[worker as usize].order();
        self.state.balance.enter(self.workers, worker, order);
    }

    /// Takes a worker out of the balance, if it is there.
    pub(super) fn leave_balance(&mut self, worker: u32) {
        if self.state.balance.contains(self.workers, worker) {
            let order = self.workers[worker as usize].order();
            self.state.balance.leave(self.workers, worker, order);
        }
    }

    #[inline]
    pub(super) fn begin_record(&mut self, _: u32, _: Offer) {}

    #[inline]
    pub(super) fn note_sent(&mut self, _: u32, _: u32) {}

    #[cfg(feature = "hedging")]
    #[inline]
    pub(super) fn retime(&mut self, _: u32, _: u32, _: u32) {}

    #[inline]
    pub(super) fn turn_ring(&mut self) {}

    #[inline]
    pub(super) fn note_end(&mut self, _: u32, _: u32) -> bool {
        false
    }

    #[inline]
    pub(super) fn may_retry(&mut self) -> bool {
        true
    }

    #[inline]
    pub(super) fn hold_against_others(&mut self, _: u32) {}

    #[inline]
    pub(super) fn begin_trial(&mut self, _: u32) {}

    #[inline]
    pub(super) fn forget_timed(&mut self, _: u32) {}

    #[inline]
    pub(super) fn note_shrunk(&mut self, _: u32) {}

    #[inline]
    pub(super) fn note_fault(&mut self, _: u32) {}

    #[inline]
    pub(super) fn follow_record(&mut self, _: u32) {}

    #[inline]
    pub(super) fn rebalance(&mut self) -> Option<Action> {
        None
    }
}
