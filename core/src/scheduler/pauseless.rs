//! Without keys, or without tasks that rest for times of their own, no key is paused: what
//! [`pauses`](super) does elsewhere is nothing here, and compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the features")]

use super::tasks::SchedulerMut;

impl SchedulerMut<'_> {
    #[cfg(feature = "queues")]
    #[inline]
    pub(super) fn rest_if_paused(&mut self, _: u32) {}

    #[inline]
    pub(super) fn rests_for_key(&mut self, _: u32) -> bool {
        false
    }

    #[cfg(feature = "task-times")]
    #[inline]
    pub(super) fn stands_again(&mut self, _: u32) -> bool {
        false
    }

    #[cfg(feature = "task-times")]
    #[inline]
    pub(super) fn pause_key(&mut self, _: u32, _: crate::time::Instant) {}
}
