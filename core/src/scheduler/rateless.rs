//! Without the feature `queues` no worker has a rate: what [`rates`](super) does elsewhere is nothing here, and
//! compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the feature")]

use super::slot::WorkerSlot;
use super::tasks::SchedulerMut;
use crate::event::Offer;
use crate::time::Instant;

impl WorkerSlot {
    #[inline]
    pub(super) const fn is_rated(&self) -> bool {
        false
    }

    #[inline]
    pub(super) const fn is_paced(&self) -> bool {
        false
    }

    #[inline]
    pub(super) const fn pace_end(&self) -> Instant {
        Instant::FAR_FUTURE
    }
}

impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn begin_pace(&mut self, _: u32, _: Offer) {}

    #[inline]
    pub(super) fn count_for_pace(&mut self, _: u32) {}

    #[cfg(feature = "task-times")]
    #[inline]
    pub(super) fn slow_down(&mut self, _: u32) {}

    #[inline]
    pub(super) fn speed_up(&mut self, _: u32) {}

    #[inline]
    pub(super) fn on_pace_timer(&mut self, _: u32, _: Instant) -> bool {
        false
    }
}
