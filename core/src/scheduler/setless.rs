//! Without the feature `queues` every worker gets every task: there is one group, and what [`sets`](super)
//! does elsewhere is nothing here, and compiles to nothing.
#![expect(clippy::unused_self, reason = "as with the feature")]

use super::index::wide;
use super::slot::WorkerSlot;
use super::tasks::{SchedulerMut, SchedulerState};
use crate::event::Offer;

/// How many groups there are.
pub(super) const GROUPS: usize = 1;

/// All of them.
#[cfg(feature = "choice")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Groups;

#[cfg(feature = "choice")]
impl Groups {
    pub(super) const ONLY: Self = Self;

    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        core::iter::once(0)
    }
}

impl WorkerSlot {
    #[inline]
    pub(super) const fn group(&self) -> usize {
        0
    }
}

impl SchedulerState {
    #[inline]
    pub(super) const fn is_last(&self, _: &WorkerSlot) -> bool {
        wide(self.serving) < 2
    }
}

impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn count_serving(&mut self, _: u32, _: bool) {}

    #[inline]
    pub(super) fn step_in(&mut self) {
        if self.state.serving == 0 {
            // A worker that only failed is better than none.
            if let Some(suspended) = self.state.suspended[0].head() {
                self.release(suspended);
            }
        }
    }

    #[inline]
    pub(super) fn join_group(&mut self, _: u32, _: Offer) {}

    #[inline]
    pub(super) fn leave_group(&mut self, _: u32) {}
}
