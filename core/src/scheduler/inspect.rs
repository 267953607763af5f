//! What a scheduler answers about itself: nothing here changes what it does.

use core::time::Duration;

#[cfg(feature = "task-times")]
use super::grace;
#[cfg(feature = "hedging")]
use super::hedge;
use super::slot::TaskState;
#[cfg(feature = "task-times")]
use super::times;
#[cfg(feature = "choice")]
use super::track_record;
use super::{Scheduler, Stats, WorkerStats, index, invariants, stats};
#[cfg(feature = "queues")]
use super::{queues, rates, sets, waits};
use crate::config::Config;
#[cfg(feature = "queues")]
use crate::explain::{Idles, TaskStats, Waits};
use crate::id::{Link, TaskId, WorkerId};
use crate::options::Lane;
#[cfg(feature = "queues")]
use crate::queue::{QueueId, QueueStats};
use crate::storage::Storage;
use crate::time::Instant;

impl<S: Storage> Scheduler<S> {
    /// Returns how a queue stands, or `None` where there is none at that place. O(1).
    #[cfg(feature = "queues")]
    pub fn queue_stats(&self, queue: QueueId) -> Option<QueueStats> {
        self.state.queue_stats(queue, self.storage.slots().0)
    }

    /// Returns how many tasks of a lane of a queue wait for their first attempt, and for no other one of their
    /// key. O(1).
    #[cfg(feature = "queues")]
    pub fn waiting_in(&self, queue: QueueId, lane: Lane) -> u32 {
        self.state.waiting_in(queue, lane)
    }

    /// Returns how many tasks of a queue [`submit_with`](Self::submit_with) would accept now. O(queues).
    #[cfg(feature = "queues")]
    pub fn room_of(&self, queue: QueueId) -> usize {
        self.state.room_of(queue, self.storage.slots().0)
    }

    /// Returns why a task is not sent now, or `None` where a worker holds it, it has its outcome or never
    /// was. The answer is that of the rule that sends: once [`poll_action`](Self::poll_action) has returned
    /// `None`, it is never [`Waits::Turn`] or [`Waits::Stopping`]. O(1); O(workers) while none serves.
    #[cfg(feature = "queues")]
    pub fn waits(&self, task: TaskId) -> Option<Waits> {
        let (tasks, workers) = self.storage.slots();
        self.state.waits(task, (tasks, workers), &mut waits::Common::default())
    }

    /// Tells of every task that waits why it does, as [`waits`](Self::waits) says it. O(tasks + workers).
    #[cfg(feature = "queues")]
    pub fn each_waiting(&self, mut tell: impl FnMut(TaskId, Waits)) {
        let slots = self.storage.slots();
        let mut common = waits::Common::default();
        for (at, slot) in (0..).zip(slots.0) {
            let id = slot.id(at);
            if let Some(why) = self.state.waits(id, slots, &mut common) {
                tell(id, why);
            }
        }
    }

    /// Returns which task keeps another from being sent because of their key, where one does: see
    /// [`Waits::Key`]. O(slots).
    #[cfg(feature = "queues")]
    pub fn keeps_key(&self, task: TaskId) -> Option<TaskId> {
        self.state.keeps_key(task, self.storage.slots().0)
    }

    /// Returns what became of a task's attempts so far, or `None` once its outcome was polled, or where it never
    /// was. O(1).
    #[cfg(feature = "queues")]
    pub fn task_stats(&self, task: TaskId) -> Option<TaskStats> {
        stats::of_task(self.storage.slots().0, task)
    }

    /// Returns why a worker gets no task now, or `None` if it is gone or never was. O(1).
    #[cfg(feature = "queues")]
    pub fn idles(&self, worker: WorkerId) -> Option<Idles> {
        waits::idles(self.storage.slots().1, worker)
    }

    /// Returns whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.state.is_draining
    }

    /// Returns whether every task slot is taken, so that [`submit`](Self::submit) would fail.
    pub fn is_full(&self) -> bool {
        self.state.unused.is_empty(self.storage.slots().0)
    }

    /// Returns how many tasks of a lane wait for their first attempt, in all queues, and for no other one of
    /// their key. O(queues).
    pub fn waiting(&self, lane: Lane) -> u32 {
        self.state.waiting[lane as usize].len() + self.state.waiting_in_lane(lane)
    }

    /// Returns how many tasks [`submit`](Self::submit) would accept now. O(1).
    pub fn room(&self) -> usize {
        self.state.room(self.storage.slots().0)
    }

    /// Returns whether a task has its outcome, but that was not polled yet. After a reply this tells
    /// whether its answer belongs to an outcome, or the task is tried again. O(1).
    pub fn has_outcome(&self, task: TaskId) -> bool {
        let slot = self.storage.slots().0.get(task.slot() as usize);
        slot.is_some_and(|slot| {
            slot.generation == task.generation() && matches!(slot.state, TaskState::Finished(_))
        })
    }

    /// Returns which worker holds a task, and the number of that attempt, or `None` while none does. O(1).
    pub fn holder(&self, task: TaskId) -> Option<(WorkerId, u16)> {
        let (tasks, workers) = self.storage.slots();
        let slot = tasks.get(task.slot() as usize)?;
        let is_held = slot.generation == task.generation() && slot.state == TaskState::InFlight;
        let worker = is_held.then(|| index::wide(slot.worker))?;
        Some((WorkerId::from_parts(worker, workers[worker as usize].generation), slot.attempts))
    }

    /// Returns the link that the task of a slot is in flight on, its id and the number of that attempt, or `None` while
    /// no worker holds one of that slot. Of a task that is hedged it is the other attempt than
    /// [`second_holder`](Self::second_holder)'s. O(1).
    pub fn in_flight_at(&self, slot: u32) -> Option<(Link, TaskId, u16)> {
        let (tasks, workers) = self.storage.slots();
        let task = tasks.get(slot as usize).filter(|task| task.state == TaskState::InFlight)?;
        let worker = index::wide(task.worker);
        Some((workers[worker as usize].link(worker), task.id(slot), task.attempts))
    }

    /// Returns which worker holds the second attempt of a task that is hedged, and the number of that attempt, or
    /// `None` while there is none. Of its other attempt, [`holder`](Self::holder) says who. O(1).
    #[cfg(feature = "hedging")]
    pub fn second_holder(&self, task: TaskId) -> Option<(WorkerId, u16)> {
        let (tasks, workers) = self.storage.slots();
        let (worker, attempt) = self.state.second_attempt(tasks, task)?;
        Some((WorkerId::from_parts(worker, workers[worker as usize].generation), attempt))
    }

    /// Returns whether a drain is complete: no task and no worker is left, and none can come.
    pub fn is_drained(&self) -> bool {
        self.state.is_draining && self.is_idle() && self.state.stats.workers == 0
    }

    /// Returns whether there is no task at all, not even one whose outcome was not polled yet.
    pub fn is_idle(&self) -> bool {
        self.state.used() == 0
    }

    /// Returns whether no task waits beside a worker with room that it may go to now. It is so
    /// whenever [`poll_action`](Self::poll_action) has returned `None`. O(1).
    ///
    /// A task that came back may go to its last worker only after
    /// [`elsewhere_wait`](Config::elsewhere_wait), or where no other serves; a suspect, which may have
    /// ended a link, only to a worker that holds none. Where workers are chosen by their answers
    /// (`Choice::FirstAnswer`), a new task may also wait for a better one than has room.
    pub fn is_work_conserving(&self) -> bool {
        let (tasks, workers) = self.storage.slots();
        !self.state.can_send(tasks, workers)
    }

    /// Returns figures about the pool. O(1).
    // Inlined, so that a caller who wants one figure does not pay for all.
    #[inline]
    pub fn stats(&self) -> Stats {
        self.state.stats()
    }

    /// Returns how a worker stands, or `None` if it is gone or never was. O(1).
    pub fn worker_stats(&self, worker: WorkerId) -> Option<WorkerStats> {
        stats::of_worker(&self.state, self.storage.slots().1, worker)
    }

    /// Returns the configuration that the pool was made with.
    #[inline]
    pub fn config(&self) -> Config {
        self.state.policy.config()
    }

    /// Returns how long one attempt of a task may take: its own time, or else that of the
    /// [`Config`]. O(1).
    pub fn attempt_timeout(&mut self, task: TaskId) -> Duration {
        let is_slot = (task.slot() as usize) < self.storage.slots().0.len();
        let timeout = self.state.policy.config().attempt_timeout;
        if is_slot {
            Duration::from_nanos(self.lend().attempt_timeout(task.slot()))
        } else {
            timeout
        }
    }

    /// Returns when a task ends as [`Outcome::TimedOut`](crate::Outcome::TimedOut), whatever it is doing;
    /// [`Instant::FAR_FUTURE`] if it has no deadline. O(1).
    pub fn deadline(&mut self, task: TaskId) -> Instant {
        let is_slot = (task.slot() as usize) < self.storage.slots().0.len();
        if is_slot { self.lend().deadline(task.slot()) } else { Instant::FAR_FUTURE }
    }

    /// Checks every invariant of the state by counting anew. For tests and fuzzers. O(slots).
    ///
    /// # Panics
    /// If one does not hold: the scheduler itself has a bug then, whatever it was told.
    pub fn check(&self) {
        let (tasks, workers) = self.storage.slots();
        invariants::check(&self.state, tasks, workers);
        #[cfg(feature = "task-times")]
        {
            times::check(&self.state, tasks, workers);
            grace::check(tasks, workers);
        }
        #[cfg(feature = "hedging")]
        hedge::check(&self.state, tasks, workers);
        #[cfg(feature = "queues")]
        {
            queues::check(&self.state, tasks, workers);
            sets::check(&self.state, workers);
            rates::check(workers);
        }
        #[cfg(feature = "choice")]
        track_record::check(&self.state, tasks, workers);
    }
}
