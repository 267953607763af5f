//! Without the feature `queues` all tasks wait in the pool's own lanes, and none has a key: what
//! [`queues`](super) does elsewhere is nothing here, and compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the feature")]

use super::slot::{TaskSlot, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState};
use crate::options::Lane;
use crate::time::Instant;

impl SchedulerState {
    #[inline]
    pub(super) const fn is_queued(&self) -> bool {
        false
    }

    #[inline]
    pub(super) const fn waiting_queued(&self) -> u32 {
        0
    }

    #[inline]
    pub(super) const fn waiting_in_lane(&self, _: Lane) -> u32 {
        0
    }

    #[inline]
    pub(super) const fn first_rate(&self) -> Instant {
        Instant::FAR_FUTURE
    }

    #[inline]
    pub(super) const fn can_send_queued(&self, _: &[TaskSlot], _: &[WorkerSlot]) -> bool {
        false
    }

    #[cfg(feature = "hedging")]
    #[inline]
    pub(super) const fn kind_of(&self, _: &TaskSlot) -> u8 {
        0
    }

    #[cfg(feature = "hedging")]
    #[inline]
    pub(super) const fn may_send_second(&self, _: &TaskSlot) -> bool {
        true
    }

    #[cfg(feature = "hedging")]
    #[inline]
    pub(super) fn next_for_second(&self, workers: &[WorkerSlot], slot: &TaskSlot) -> Option<u32> {
        self.next_but(workers, super::index::wide(slot.worker), true)
    }

    #[inline]
    pub(super) const fn may_return_queued_at(&self, _: &[TaskSlot], _: u32) -> Instant {
        Instant::FAR_FUTURE
    }
}

impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn leave_line(&mut self, _: u32) {
        unreachable!("tasks wait in lanes")
    }

    #[cfg(feature = "hedging")]
    #[inline]
    pub(super) fn count_second(&mut self, _: u32) {}

    #[cfg(feature = "hedging")]
    #[inline]
    pub(super) fn uncount_second(&mut self, _: u32) {}

    #[inline]
    pub(super) fn pick_up_queued(&mut self, _: u32) {}

    #[inline]
    pub(super) fn put_down_queued(&mut self, _: u32) {}

    #[inline]
    pub(super) fn end_queued(&mut self, _: u32) {}

    #[inline]
    pub(super) fn keep_in_line(&mut self, _: u32, _: u32, _: usize) -> bool {
        unreachable!("tasks come back to wards")
    }

    #[inline]
    pub(super) fn take_out_of_line(&mut self, _: u32, _: u32, _: usize) -> bool {
        unreachable!("tasks come back to wards")
    }

    #[inline]
    pub(super) fn take_queued(&mut self) -> Option<(u32, u32)> {
        None
    }

    #[inline]
    pub(super) fn pop_fresh_queued(&mut self) -> Option<u32> {
        None
    }

    #[inline]
    pub(super) fn pop_returned_queued(&mut self) -> Option<u32> {
        None
    }
}
