//! The rules about tasks, and the entry of everything that goes in. There is no other copy of them.
//!
//! What the rules are about lies in slots that are lent for each call, so that this code is
//! compiled once for all storages.

use super::balance::Balance;
use super::index::{Stored, wide};
use super::list::{Fifo, Free, List};
use super::slot::{Line, Member, Queue, Rested, TaskSlot, TaskState, Todo, WorkerSlot};
use super::stats::Counters;
use super::timers::Timers;
use crate::config::{Config, Policy};
use crate::error::{EventError, Stale, SubmitError};
use crate::event::{Event, Outcome, Verdict};
use crate::id::{Link, TaskId};
use crate::time::Instant;

/// All of a scheduler that is not in a slot.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) policy: Policy,
    /// The latest time that was told; it never goes back.
    pub(super) clock: Instant,
    /// Until then there is nothing to do but to send: not later than any deadline, and the epoch
    /// while there is anything else. So it is enough to look at this.
    pub(super) calm_until: Instant,
    pub(super) is_draining: bool,
    /// Once draining: when what is left is aborted.
    pub(super) drain_deadline: Instant,
    pub(super) unused: Free<Queue>,
    pub(super) waiting: List<Queue>,
    /// By due time: each rests as long as any other.
    pub(super) resting: List<Queue>,
    pub(super) withdrawing: Fifo<Queue>,
    pub(super) finished: Fifo<Queue>,
    pub(super) unused_workers: Free<Todo>,
    pub(super) todo: List<Todo>,
    pub(super) rested: List<Rested>,
    pub(super) members: List<Member>,
    pub(super) balance: Balance,
    pub(super) timers: Timers,
    /// How many workers serve.
    pub(super) serving: Stored,
    /// Once past the drain's deadline: no worker before this one holds a task.
    pub(super) aborting: Stored,
    /// How many `Finish` actions were polled, modulo 2^32.
    pub(super) polled: u32,
    /// Its counters, and the gauges of workers. The gauges of tasks follow from the lists.
    pub(super) stats: Counters,
}

impl State {
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            policy: Policy::new(config),
            clock: Instant::EPOCH,
            calm_until: Instant::FAR_FUTURE,
            is_draining: false,
            drain_deadline: Instant::FAR_FUTURE,
            unused: Free::new(),
            waiting: List::new(),
            resting: List::new(),
            withdrawing: Fifo::new(),
            finished: Fifo::new(),
            unused_workers: Free::new(),
            todo: List::new(),
            rested: List::new(),
            members: List::new(),
            balance: Balance::new(),
            timers: Timers::new(),
            serving: 0,
            aborting: 0,
            polled: 0,
            stats: Counters::new(),
        }
    }

    /// Whether a deadline has come. One in the far future never does.
    #[inline]
    pub(super) fn is_due(&self, at: Instant) -> bool {
        at <= self.clock && at != Instant::FAR_FUTURE
    }

    #[inline]
    pub(super) fn is_past_drain(&self) -> bool {
        self.is_draining && self.is_due(self.drain_deadline)
    }

    /// Returns how many slots a task is in.
    #[expect(clippy::cast_possible_truncation, reason = "the difference is right modulo 2^32")]
    pub(super) const fn used(&self) -> u32 {
        (self.stats.submitted as u32).wrapping_sub(self.polled)
    }

    /// Returns how many tasks have an outcome that was not polled yet.
    #[expect(clippy::cast_possible_truncation, reason = "the difference is right modulo 2^32")]
    pub(super) const fn settled(&self) -> u32 {
        let Counters { done, failed, exhausted, cancelled, aborted, .. } = self.stats;
        ((done + failed + exhausted + cancelled + aborted) as u32).wrapping_sub(self.polled)
    }

    /// Returns how many tasks have no outcome yet.
    pub(super) const fn open(&self) -> u32 {
        self.used() - self.settled()
    }

    /// Returns how many tasks workers hold.
    pub(super) const fn in_flight(&self) -> u32 {
        self.open() - self.waiting.len() - self.resting.len()
    }

    /// Returns how many slots no task is in.
    pub(super) const fn room(&self, tasks: &[TaskSlot]) -> usize {
        tasks.len() - self.used() as usize
    }

    /// Says that there is something else to do than to send.
    pub(super) const fn stir(&mut self) {
        self.calm_until = Instant::EPOCH;
    }

    #[cold]
    fn reject(&mut self, error: EventError) {
        *match error {
            EventError::Stale => &mut self.stats.stale,
            EventError::Foreign => &mut self.stats.foreign,
        } += 1;
    }

    #[inline]
    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Done => &mut self.stats.done,
            Outcome::Failed => &mut self.stats.failed,
            Outcome::Exhausted => &mut self.stats.exhausted,
            Outcome::Cancelled => &mut self.stats.cancelled,
            Outcome::Aborted => &mut self.stats.aborted,
        } += 1;
    }
}

/// The state together with the lent slots.
pub(super) struct Engine<'a> {
    pub(super) state: &'a mut State,
    pub(super) tasks: &'a mut [TaskSlot],
    pub(super) workers: &'a mut [WorkerSlot],
}

impl Engine<'_> {
    /// Returns another of its kind to call what is not inlined. Where that is done on what is hot, the
    /// references need not be in memory, and an index is checked once.
    #[inline]
    pub(super) fn lend(&mut self) -> Engine<'_> {
        Engine { state: self.state, tasks: self.tasks, workers: self.workers }
    }
}

/// What a call puts in.
impl Engine<'_> {
    #[inline]
    pub(super) fn tick(&mut self, now: Instant) {
        self.state.clock = self.state.clock.max(now);
    }

    #[inline]
    pub(super) fn submit(
        &mut self,
        now: Instant,
        retries_max: Option<u16>,
    ) -> Result<TaskId, SubmitError> {
        self.tick(now);
        if self.state.is_draining {
            return Err(SubmitError::Draining);
        }
        let task = self.state.unused.take(self.tasks).ok_or(SubmitError::Full)?;
        let policy = &self.state.policy;
        let slot = &mut self.tasks[task as usize];
        slot.attempts = 0;
        slot.failures = 0;
        // Together with the attempts that may be lost, these must fit the attempt's number.
        slot.retries_max = retries_max
            .map_or(policy.retries_max, |retries| retries.min(u16::MAX - policy.attempts_max));
        slot.state = TaskState::Waiting;
        let id = slot.id(task);
        self.state.waiting.push_back(self.tasks, task);
        self.state.stats.submitted += 1;
        Ok(id)
    }

    pub(super) fn cancel(&mut self, now: Instant, id: TaskId) -> Result<(), Stale> {
        self.tick(now);
        let task = id.slot();
        let slot = self.tasks.get(task as usize).filter(|slot| slot.generation == id.generation());
        match slot.ok_or(Stale)?.state {
            TaskState::Free | TaskState::Finished(_) | TaskState::Withdrawing => return Err(Stale),
            TaskState::Waiting => self.state.waiting.remove(self.tasks, task),
            TaskState::Resting => self.state.resting.remove(self.tasks, task),
            TaskState::InFlight => {
                let worker = wide(self.tasks[task as usize].worker);
                let link = self.take_back(worker, task);
                self.close_if_idle(worker);
                self.tasks[task as usize].withdraw(link);
                self.state.withdrawing.push_back(self.tasks, task);
                self.state.stir();
                self.state.count(Outcome::Cancelled);
                return Ok(());
            }
        }
        self.finish(task, Outcome::Cancelled);
        Ok(())
    }

    pub(super) fn drain(&mut self, now: Instant, deadline: Instant) {
        self.tick(now);
        self.state.is_draining = true;
        self.state.stir();
        self.state.drain_deadline = self.state.drain_deadline.min(deadline);
    }

    // Inlined, with what is hot in it, so that who says what happened does not put it into memory to be
    // taken apart again.
    #[expect(clippy::inline_always, reason = "an event by way of memory is dear")]
    #[inline(always)]
    pub(super) fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), EventError> {
        self.tick(now);
        let result = match event {
            Event::Replied { link, task, attempt, verdict } => {
                self.on_replied(link, task, attempt, verdict)
            }
            Event::Connected { link, window } => self.lend().on_connected(link, window),
            Event::Refused { link } => self.lend().on_refused(link),
            Event::Lost { link } => self.lend().on_lost(link),
            Event::Heard { link } => self.lend().on_heard(link),
            Event::Draining { link } => self.lend().on_draining(link),
            Event::Busy { link } => self.lend().on_busy(link),
            Event::Ready { link } => self.lend().on_ready(link),
        };
        if let Err(error) = result {
            self.state.reject(error);
        }
        result
    }
}

/// What becomes of tasks.
impl Engine<'_> {
    #[expect(clippy::inline_always, reason = "as `handle_event`")]
    #[inline(always)]
    fn on_replied(
        &mut self,
        link: Link,
        id: TaskId,
        attempt: u16,
        verdict: Verdict,
    ) -> Result<(), EventError> {
        let worker = self.up(link)?;
        self.hear(worker);
        let task = self.answered(worker, id, attempt)?;
        self.detach(worker, task);
        match verdict {
            Verdict::Done => {
                self.finish(task, Outcome::Done);
                self.on_done(worker);
            }
            Verdict::Failed => {
                self.lend().on_task_failed(task);
                self.lend().on_failed(worker);
            }
            Verdict::Returned => self.lend().give_back(task),
        }
        self.close_if_idle(worker);
        Ok(())
    }

    /// Returns the task in flight that an answer on a worker's link is about.
    #[expect(clippy::inline_always, reason = "as `handle_event`")]
    #[inline(always)]
    fn answered(&self, worker: u32, id: TaskId, attempt: u16) -> Result<u32, EventError> {
        let slot = self.tasks.get(id.slot() as usize).ok_or(EventError::Foreign)?;
        let is_expected = slot.state == TaskState::InFlight
            && slot.generation == id.generation()
            && slot.attempts == attempt
            && wide(slot.worker) == worker;
        if is_expected { Ok(id.slot()) } else { Err(slot.objection(id, attempt)) }
    }

    fn on_task_failed(&mut self, task: u32) {
        let slot = &mut self.tasks[task as usize];
        slot.failures += 1;
        if slot.failures > slot.retries_max {
            self.finish(task, Outcome::Failed);
            return;
        }
        slot.state = TaskState::Resting;
        slot.due = self.state.clock.saturating_add_nanos(self.state.policy.retry_delay);
        self.state.calm_until = self.state.calm_until.min(slot.due);
        self.state.resting.push_back(self.tasks, task);
    }

    /// Settles the outcome of a task that is in no list.
    #[inline]
    pub(super) fn finish(&mut self, task: u32, outcome: Outcome) {
        self.tasks[task as usize].state = TaskState::Finished(outcome);
        self.state.finished.push_back(self.tasks, task);
        self.state.count(outcome);
    }

    /// Takes a task in flight from its worker, which has room at once.
    #[expect(clippy::inline_always, reason = "as `handle_event`")]
    #[inline(always)]
    fn detach(&mut self, worker: u32, task: u32) {
        let holder = &mut self.workers[worker as usize];
        holder.held.remove(self.tasks, task);
        if holder.line.is_serving() {
            self.state.balance.lower(self.workers, worker);
        }
    }

    /// Takes a task in flight from its worker, and returns the link that it was on.
    #[inline(never)]
    pub(super) fn take_back(&mut self, worker: u32, task: u32) -> Link {
        self.detach(worker, task);
        self.workers[worker as usize].link(worker)
    }

    /// Queues a task again whose attempt was lost, unless it was the last.
    pub(super) fn give_back(&mut self, task: u32) {
        let slot = &mut self.tasks[task as usize];
        let outcome = if slot.attempts - slot.failures >= self.state.policy.attempts_max {
            Outcome::Exhausted
        } else if self.state.is_past_drain() {
            Outcome::Aborted
        } else {
            slot.state = TaskState::Waiting;
            // Front, not back: it has already waited its turn.
            self.state.waiting.push_front(self.tasks, task);
            return;
        };
        self.finish(task, outcome);
    }

    /// Queues again all that a worker holds, in the old order. O(tasks held).
    pub(super) fn give_back_all(&mut self, worker: u32) {
        let holder = &mut self.workers[worker as usize];
        let mut held = core::mem::replace(&mut holder.held, List::new());
        holder.lost += u64::from(held.len());
        self.state.stats.lost += u64::from(held.len());
        // The last first, since each goes to the front.
        while let Some(task) = held.pop_back(self.tasks) {
            self.give_back(task);
        }
    }

    /// Returns the worker of a link that is up.
    #[inline]
    pub(super) fn up(&self, link: Link) -> Result<u32, EventError> {
        self.current(link).filter(|slot| slot.line.is_up()).ok_or(EventError::Stale)?;
        Ok(link.worker().slot())
    }

    /// Returns the slot of the worker whose latest link this is.
    #[inline]
    pub(super) fn current(&self, link: Link) -> Option<&WorkerSlot> {
        let slot = self.workers.get(link.worker().slot() as usize)?;
        let current = slot.link(link.worker().slot()) == link && slot.line != Line::Free;
        current.then_some(slot)
    }
}
