//! Keys that get nothing for a while (decision 0033), since a handler said so: [`Useless::KeyThrottled`].
//!
//! Each task that has a place of its key and is in no worker's hands rests until the pause is over, those that
//! have not been sent yet included; what stands behind them stands there anyway. So nothing is searched for when
//! a task is chosen, and a pause costs as much as its key has places.
//!
//! [`Useless::KeyThrottled`]: crate::Useless::KeyThrottled

use super::queues::Stand;
use super::slot::TaskState;
use super::tasks::{SchedulerMut, SchedulerState};
use crate::planted::planted;
use crate::time::Instant;

impl SchedulerState {
    /// Returns until when the key of a task gets nothing, if that is still to come.
    pub(super) fn key_pause(&self, task: u32) -> Option<Instant> {
        let until = self.queues.keys.paused_until(task);
        (until > self.clock && !planted("a key has no pause")).then_some(until)
    }
}

impl SchedulerMut<'_> {
    /// Has all tasks rest that have a place of the key of this one, and that no worker holds. O(those).
    pub(super) fn pause_key(&mut self, task: u32, until: Instant) {
        if !self.tasks[task as usize].is_keyed {
            return;
        }
        let mut next = self.state.queues.keys.pause(task, until);
        while let Some(task) = next {
            next = self.state.queues.keys.after(task);
            self.rest_if_paused(task);
        }
    }

    /// Has a task rest that waits for a worker and has a place of its key, where that is paused.
    pub(super) fn rest_if_paused(&mut self, task: u32) {
        let slot = &self.tasks[task as usize];
        if !slot.is_keyed {
            return;
        }
        let Some(until) = self.state.key_pause(task) else { return };
        match slot.state {
            TaskState::Waiting if slot.stand != Stand::Behind => self.leave_line(task),
            TaskState::Returned => self.take_out(task),
            _ => return,
        }
        self.rest_with_times(task, until);
    }

    /// Has a task that comes back rest where its key is paused. Returns whether it does.
    pub(super) fn rests_for_key(&mut self, task: u32) -> bool {
        if !self.tasks[task as usize].is_keyed {
            return false;
        }
        let Some(until) = self.state.key_pause(task) else { return false };
        self.rest_with_times(task, until);
        true
    }

    /// Lets a task wait for its first attempt whose rest is over. Returns whether it is such a one.
    pub(super) fn stands_again(&mut self, task: u32) -> bool {
        if self.tasks[task as usize].attempts > 0 {
            return false;
        }
        self.stand_freed(task);
        self.watch(task);
        self.rest_if_paused(task);
        true
    }
}
