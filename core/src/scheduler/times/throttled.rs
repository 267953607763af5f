//! Handlers that say "not now": the worker, or the key, pauses and the task goes back.

use core::time::Duration;

use super::super::blame::Blame;
use super::super::slot::{Duty, LinkPhase, TaskState};
use super::super::tasks::{SchedulerMut, later};
use crate::time::{Instant, nanos};

impl SchedulerMut<'_> {
    /// Takes in that a worker cannot do a task now, nor any for some time: see [`Useless::Throttled`].
    pub(in crate::scheduler) fn on_throttled(&mut self, worker: u32, task: u32, pause: Duration) {
        let _ = self.take_back(worker, task);
        self.state.stats.returned += 1;
        self.give_back(task, Blame::Nobody);
        let until = self.end_of_pause(pause);
        let slot = &mut self.workers[worker as usize];
        slot.strikes = 0;
        slot.allowance = (slot.allowance / 2).max(1);
        self.note_shrunk(worker);
        if self.workers[worker as usize].phase.is_serving() {
            // Once, whatever was on its way when the limit was hit.
            self.slow_down(worker);
        }
        let slot = &mut self.workers[worker as usize];
        #[cfg(feature = "queues")]
        {
            slot.is_throttled = true;
        }
        match slot.phase {
            LinkPhase::Up(Duty::Serving) => slot.due = until,
            // The later end of both counts.
            LinkPhase::Up(Duty::Suspended | Duty::Delayed) => slot.due = slot.due.max(until),
            _ => return,
        }
        self.set_phase(worker, LinkPhase::Up(Duty::Delayed));
        self.recall(worker);
    }

    /// Takes in that a task cannot be done now, nor any of its key for some time: see
    /// [`Useless::KeyThrottled`](crate::Useless::KeyThrottled).
    pub(in crate::scheduler) fn on_key_throttled(
        &mut self,
        worker: u32,
        task: u32,
        pause: Duration,
    ) {
        let _ = self.take_back(worker, task);
        self.state.stats.returned += 1;
        self.workers[worker as usize].strikes = 0;
        let until = self.end_of_pause(pause);
        self.pause_key(task, until);
        self.give_back(task, Blame::Nobody);
        if self.tasks[task as usize].state == TaskState::Returned {
            // It has no key: then it rests alone.
            self.take_out(task);
            self.rest_with_times(task, until);
        }
    }

    /// Returns when a pause is over that a handler asked for.
    fn end_of_pause(&self, pause: Duration) -> Instant {
        // Never without one: a task would be sent again until it has no sends left.
        let least = self.state.policy.backoff.first_nanos();
        later(self.state.clock, nanos(pause).min(self.state.policy.pause_max).max(least))
    }
}
