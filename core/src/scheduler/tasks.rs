//! The rules about tasks, and the entry point of every input.
//!
//! The rules work on slices of slots that are lent for each call, so that they are compiled once and
//! not once for each type of storage.

use super::balance::{Balance, CLEAN};
use super::index::{Stored, wide};
use super::list::{Fifo, Free, List};
use super::roll::{Roll, RollKind};
use super::sets::GROUPS;
use super::slot::{LinkPhase, Queue, TaskSlot, TaskState, Unused, WorkerSlot};
use super::stats::Counters;
use super::timers::Timers;
use super::useless::Answer;
use crate::config::{Config, Policy};
use crate::error::{EventError, Stale, SubmitError};
use crate::event::{Event, Outcome, Verdict};
use crate::id::{Link, TaskId};
use crate::options::{Lane, TaskOptions};
use crate::planted::planted;
use crate::time::Instant;

/// All of a scheduler that is not in a slot.
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct SchedulerState {
    pub(super) policy: Policy,
    /// The latest time that was told; it never goes back.
    pub(super) clock: Instant,
    /// Until then there is nothing to do but to send new tasks, so one comparison replaces a look at
    /// every list. Never later than a deadline; the epoch while there is anything else to do, tasks
    /// that came back and suspects in flight included.
    pub(super) calm_until: Instant,
    pub(super) is_draining: bool,
    /// Not every task is taken at once and as it is: the pool drains or has queues.
    #[cfg(feature = "queues")]
    pub(super) is_gated: bool,
    /// Once draining: when what is left is aborted.
    pub(super) drain_deadline: Instant,
    pub(super) unused: Free<Queue>,
    /// By lane. Those that have not been sent yet.
    pub(super) waiting: [List<Queue>; 2],
    /// How many came back and wait in a worker's wards, and who has some of either class.
    pub(super) returned: u32,
    pub(super) holders: [Roll; 2],
    /// How many workers hold a suspect.
    pub(super) suspected: Stored,
    /// Which lane is next, among those of new tasks and of those that came back.
    pub(super) turn: u8,
    /// By due time: each rests as long as any other.
    pub(super) resting: List<Queue>,
    pub(super) finished: Fifo<Queue>,
    pub(super) unused_workers: Free<Unused>,
    pub(super) todo: Roll,
    /// By group of those that serve the same queues.
    pub(super) suspended: [Roll; GROUPS],
    /// Workers that should dial in and are not there, the longest absent first.
    pub(super) absent: Roll,
    pub(super) members: Roll,
    pub(super) balance: Balance,
    pub(super) timers: Timers<WorkerSlot>,
    /// About tasks with times of their own.
    #[cfg(feature = "task-times")]
    pub(super) own: super::times::OwnTimes,
    /// What is known of all workers' answers together.
    #[cfg(feature = "choice")]
    pub(super) choosing: super::track_record::Choosing,
    /// How many retries are left.
    #[cfg(feature = "choice")]
    pub(super) tokens: super::retries::Tokens,
    /// About tasks that may be sent to two workers at once.
    #[cfg(feature = "hedging")]
    pub(super) hedging: super::hedge::Hedging,
    /// About queues and keys.
    #[cfg(feature = "queues")]
    pub(super) queues: super::queues::Queues,
    /// About which of them workers serve.
    #[cfg(feature = "queues")]
    pub(super) sets: super::sets::Sets,
    /// How many workers serve.
    pub(super) serving: Stored,
    /// Once past the drain's deadline: no worker before this one holds a task.
    pub(super) aborting: Stored,
    /// How many `Finish` actions were polled, modulo 2^32.
    pub(super) polled: u32,
    /// Its counters, and the gauges of workers. The gauges of tasks follow from the lists.
    pub(super) stats: Counters,
}

impl SchedulerState {
    pub(super) const fn new(config: &Config) -> Self {
        let policy = Policy::new(config);
        Self {
            #[cfg(feature = "choice")]
            choosing: super::track_record::Choosing::new(&policy),
            #[cfg(feature = "choice")]
            tokens: super::retries::Tokens::new(&policy),
            calm_until: super::choice::calm_at_first(&policy),
            policy,
            clock: Instant::EPOCH,
            is_draining: false,
            #[cfg(feature = "queues")]
            is_gated: false,
            drain_deadline: Instant::FAR_FUTURE,
            unused: Free::new(),
            waiting: [List::new(); 2],
            returned: 0,
            holders: [Roll::new(RollKind::Plain), Roll::new(RollKind::Suspects)],
            suspected: 0,
            turn: 0,
            resting: List::new(),
            finished: Fifo::new(),
            unused_workers: Free::new(),
            todo: Roll::new(RollKind::Todo),
            suspended: [Roll::new(RollKind::Suspended); GROUPS],
            absent: Roll::new(RollKind::Suspended),
            members: Roll::new(RollKind::Member),
            balance: Balance::new(),
            timers: Timers::new(),
            #[cfg(feature = "task-times")]
            own: super::times::OwnTimes::new(),
            #[cfg(feature = "hedging")]
            hedging: super::hedge::Hedging::new(config),
            #[cfg(feature = "queues")]
            queues: super::queues::Queues::new(),
            #[cfg(feature = "queues")]
            sets: super::sets::Sets::new(),
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
    pub(super) fn settled(&self) -> u32 {
        // Added up in 32 bits, which is enough for a difference and half the code on a microcontroller.
        let low = |&count: &u64| count as u32;
        let settled = self.stats.outcomes.iter().map(low).fold(0, u32::wrapping_add);
        settled.wrapping_sub(self.polled)
    }

    /// Returns how many tasks have no outcome yet.
    pub(super) fn open(&self) -> u32 {
        self.used() - self.settled()
    }

    /// Returns how many tasks wait for a worker.
    pub(super) const fn waiting(&self) -> u32 {
        self.waiting[0].len() + self.waiting[1].len() + self.returned + self.waiting_queued()
    }

    /// Returns how many tasks wait to be tried again.
    pub(super) const fn resting(&self) -> u32 {
        self.resting.len() + self.resting_own()
    }

    /// Returns how many tasks workers hold.
    pub(super) fn in_flight(&self) -> u32 {
        self.open() - self.waiting() - self.resting()
    }

    /// Returns how many slots no task is in.
    pub(super) const fn room(&self, tasks: &[TaskSlot]) -> usize {
        tasks.len() - self.seconds_max() - self.used() as usize
    }

    /// Says that there is something else to do than to send.
    pub(super) const fn stir(&mut self) {
        self.calm_until = Instant::EPOCH;
    }

    fn reject(&mut self, error: EventError) {
        *match error {
            EventError::Stale => &mut self.stats.stale,
            EventError::Foreign => &mut self.stats.foreign,
        } += 1;
    }

    #[inline]
    fn count(&mut self, outcome: Outcome) {
        self.stats.outcomes[outcome as usize] += 1;
    }
}

/// Returns a time so much later, saturating. One copy for all cold paths, to save flash.
// Without: above the flash aim by 96 bytes.
#[inline(never)]
pub(super) fn later(at: Instant, nanos: u64) -> Instant {
    at.saturating_add_nanos(nanos)
}

/// The state together with the lent slots.
pub(super) struct SchedulerMut<'a> {
    pub(super) state: &'a mut SchedulerState,
    pub(super) tasks: &'a mut [TaskSlot],
    pub(super) workers: &'a mut [WorkerSlot],
}

impl SchedulerMut<'_> {
    /// Returns a copy to call functions that are not inlined on. A hot path that passes a copy, and not
    /// itself, keeps its references in registers and checks an index once (decision 0007).
    #[inline]
    pub(super) fn lend(&mut self) -> SchedulerMut<'_> {
        SchedulerMut { state: self.state, tasks: self.tasks, workers: self.workers }
    }
}

/// What a call puts in.
impl SchedulerMut<'_> {
    #[inline]
    pub(super) fn tick(&mut self, now: Instant) {
        self.state.clock = self.state.clock.max(now);
    }

    /// As [`tick`](Self::tick), for cold paths.
    // Without: above the flash aim by 52 bytes.
    #[inline(never)]
    pub(super) fn set_clock(&mut self, now: Instant) {
        self.tick(now);
    }

    #[inline]
    pub(super) fn submit(
        &mut self,
        now: Instant,
        retries_max: Option<u16>,
        lane: Lane,
    ) -> Result<TaskId, SubmitError> {
        let task = self.take_slot(now)?;
        Ok(self.put_in_line(task, retries_max, lane))
    }

    /// Takes a slot for a task. By itself, as is what follows, since a slot or an id comes back in a register and one
    /// of them or an error together through memory: decision 0010.
    #[inline]
    fn take_slot(&mut self, now: Instant) -> Result<u32, SubmitError> {
        self.tick(now);
        // With queues, whoever calls this has looked at the gate.
        if cfg!(not(feature = "queues")) && self.state.is_draining {
            return Err(SubmitError::Draining);
        }
        self.state.unused.take(self.tasks).ok_or(SubmitError::Full)
    }

    /// Has a new task wait in a slot that was taken for it.
    #[inline]
    fn put_in_line(&mut self, task: u32, retries_max: Option<u16>, lane: Lane) -> TaskId {
        let id = self.begin(task, retries_max, lane);
        self.state.waiting[lane as usize].push_back(self.tasks, task);
        id
    }

    /// Makes a slot a new task's, which waits.
    #[inline]
    pub(super) fn begin(&mut self, task: u32, retries_max: Option<u16>, lane: Lane) -> TaskId {
        let policy = &self.state.policy;
        let slot = &mut self.tasks[task as usize];
        slot.attempts = 0;
        slot.failures = 0;
        slot.losses = 0;
        slot.is_suspect = false;
        // All attempts together must fit the attempt's number on the wire.
        slot.retries_max = retries_max.map_or(policy.retries_max, |retries| {
            retries.min(u16::MAX - policy.attempts_max - policy.resends_max)
        });
        slot.lane = lane;
        #[cfg(feature = "task-times")]
        {
            slot.special = 0;
        }
        slot.state = TaskState::Waiting;
        let id = slot.id(task);
        self.state.stats.submitted += 1;
        id
    }

    // Mostly the options are what every task has, and the compiler then sees that.
    #[expect(clippy::inline_always, reason = "as `handle_event`")]
    #[inline(always)]
    pub(super) fn submit_with(
        &mut self,
        now: Instant,
        options: TaskOptions,
    ) -> Result<TaskId, SubmitError> {
        let task = self.take_slot(now)?;
        let id = self.put_in_line(task, options.retries_max, options.lane);
        self.take_times(id.slot(), options);
        self.take_hedge(id.slot(), options, None);
        Ok(id)
    }

    pub(super) fn cancel(&mut self, now: Instant, id: TaskId) -> Result<(), Stale> {
        self.set_clock(now);
        let task = id.slot();
        let slot = self.tasks.get(task as usize).filter(|slot| slot.generation == id.generation());
        match slot.ok_or(Stale)?.state {
            TaskState::Free | TaskState::Finished(_) | TaskState::Withdrawing => return Err(Stale),
            #[cfg(feature = "hedging")]
            TaskState::Second => return Err(Stale),
            TaskState::Returned => self.take_out(task),
            TaskState::Resting => self.take_out_resting(task),
            TaskState::Waiting => self.leave_waiting(task),
            TaskState::InFlight => {
                let worker = wide(self.tasks[task as usize].worker);
                if self.workers[worker as usize].is_away() {
                    let _ = self.take_for_good(worker, task, Outcome::Cancelled);
                    return Ok(());
                }
                let _ = self.take_back(worker, task);
                self.part_hedged(task);
                self.end_queued(task);
                self.state.count(Outcome::Cancelled);
                self.tasks[task as usize].state = TaskState::Withdrawing;
                self.workers[worker as usize].withdrawn.append(self.tasks, task);
                self.list_todo(worker);
                self.close_drained(worker);
                return Ok(());
            }
        }
        self.finish(task, Outcome::Cancelled);
        Ok(())
    }

    pub(super) fn drain(&mut self, now: Instant, deadline: Instant) {
        self.set_clock(now);
        self.state.is_draining = true;
        #[cfg(feature = "queues")]
        {
            self.state.is_gated = true;
        }
        self.state.stir();
        if !planted("a drain has no deadline") {
            self.state.drain_deadline = self.state.drain_deadline.min(deadline);
        }
    }

    // Inlined with the hot path inside it, so that a caller's event is never written to memory to be
    // matched on (decision 0010). Without: 18 % more instructions a cycle.
    #[expect(clippy::inline_always, reason = "passing an event through memory stalls")]
    #[inline(always)]
    pub(super) fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), EventError> {
        self.tick(now);
        let result = match event {
            Event::Replied { link, task, attempt, verdict } => {
                self.on_replied(link, task, attempt, verdict)
            }
            event => self.lend().on_link(event),
        };
        if let Err(error) = result {
            self.state.reject(error);
        }
        result
    }
}

/// What becomes of tasks.
impl SchedulerMut<'_> {
    // Without: 16 % more instructions a cycle, as for `detach`.
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
        let task = match self.answered(worker, id, attempt) {
            Ok(task) => task,
            // Not back into what follows, which knows that the task of an answer is one of the slots.
            Err(error) => {
                return self.lend().on_second_replied(worker, (id, attempt), verdict, error);
            }
        };
        self.take_verdict(worker, task, verdict);
        Ok(())
    }

    /// Takes in what a worker says of an attempt that it holds.
    #[expect(clippy::inline_always, reason = "as `handle_event`")]
    #[inline(always)]
    pub(super) fn take_verdict(&mut self, worker: u32, task: u32, verdict: Verdict) {
        match verdict {
            Verdict::Done => {
                self.on_done(worker);
                self.detach(worker, task, true);
                self.settle(task, Outcome::Done);
            }
            Verdict::Failed => self.lend().on_useless(worker, task, Answer::Failed),
            Verdict::Returned => self.lend().on_useless(worker, task, Answer::Returned),
        }
        self.close_if_idle(worker);
    }

    /// Returns the task in flight that an answer on a worker's link is about.
    // Without: above the flash aim by 52 bytes, since size would call it from two places.
    #[expect(clippy::inline_always, reason = "as `handle_event`")]
    #[inline(always)]
    pub(super) fn answered(
        &self,
        worker: u32,
        id: TaskId,
        attempt: u16,
    ) -> Result<u32, EventError> {
        let slot = self.tasks.get(id.slot() as usize).ok_or(EventError::Foreign)?;
        let is_expected = slot.state == TaskState::InFlight
            && slot.generation == id.generation()
            && (slot.attempts == attempt || planted("an older attempt's answer is taken"))
            && (wide(slot.worker) == worker || planted("another worker's answer is taken"));
        if is_expected { Ok(id.slot()) } else { Err(self.state.objection(self.tasks, id, attempt)) }
    }

    /// Takes out a task that waits for its first attempt.
    pub(super) fn leave_waiting(&mut self, task: u32) {
        if self.state.is_queued() {
            return self.leave_line(task);
        }
        let lane = self.tasks[task as usize].lane as usize;
        self.state.waiting[lane].take_out(self.tasks, task);
    }

    /// Settles the outcome of a task that is in no list.
    pub(super) fn finish(&mut self, task: u32, outcome: Outcome) {
        self.end_hedged(task);
        self.unwatch(task);
        self.end_queued(task);
        self.settle(task, outcome);
    }

    /// As [`finish`](Self::finish), inlined for the hot path.
    #[inline]
    fn settle(&mut self, task: u32, outcome: Outcome) {
        self.tasks[task as usize].state = TaskState::Finished(outcome);
        self.state.finished.push_back(self.tasks, task);
        self.state.count(outcome);
    }

    /// Takes a task in flight from its worker, which has room at once. Where it `is_over`, it is done.
    // Without: 16 % more instructions a cycle of the bench, where others call it as well.
    #[expect(clippy::inline_always, reason = "as `handle_event`")]
    #[inline(always)]
    fn detach(&mut self, worker: u32, task: u32, is_over: bool) {
        let holder = &mut self.workers[worker as usize];
        holder.held.remove(self.tasks, task);
        if !holder.is_plain {
            self.lend().detach_other(worker, task, is_over);
        } else if holder.has_room() {
            self.state.balance.lower(self.workers, worker, CLEAN);
        }
    }

    /// Follows a worker that holds a suspect or a task with times of its own, does not serve or is in a pool
    /// with queues: a task was taken from it.
    // Without: 3 instructions a cycle, which is above its aim where tasks may have times of their own.
    #[cold]
    fn detach_other(&mut self, worker: u32, task: u32, is_over: bool) {
        self.put_down_timed(worker, task);
        self.put_down_queued(task);
        if is_over {
            self.end_queued(task);
            self.speed_up(worker);
        }
        self.put_down_kept(worker, task);
        self.put_down_hedged(worker, task);
        let is_done = self.note_end(worker, task);
        let has_suspect = self.workers[worker as usize].has_suspect;
        if self.tasks[task as usize].is_suspect {
            self.clear_suspect(worker);
        } else {
            self.set_suspect(worker, has_suspect);
        }
        if is_over {
            self.win_hedged(task);
        }
        if is_done {
            self.hold_against_others(worker);
        }
    }

    /// Says that a worker holds no suspect any more.
    pub(super) fn clear_suspect(&mut self, worker: u32) {
        if self.workers[worker as usize].has_suspect {
            self.state.suspected -= 1;
            self.set_suspect(worker, false);
        }
    }

    /// Notes whether a worker holds a suspect, and moves it to its place in the balance or out of it.
    pub(super) fn set_suspect(&mut self, worker: u32, has_suspect: bool) {
        self.leave_balance(worker);
        let slot = &mut self.workers[worker as usize];
        slot.has_suspect = has_suspect;
        let has_special = has_suspect || slot.timed() > 0 || slot.kept() > 0 || slot.hedged() > 0;
        slot.is_plain = slot.phase.is_serving() && !has_special && !self.state.is_queued();
        slot.is_plain &= !self.state.judges() && !slot.is_rated();
        if slot.phase.is_serving() && slot.has_room() && !slot.is_paced() {
            self.enter_balance(worker);
        }
        self.follow_record(worker);
    }

    /// Takes a task in flight from its worker, and returns the link that it was on.
    pub(super) fn take_back(&mut self, worker: u32, task: u32) -> Link {
        self.detach(worker, task, false);
        self.workers[worker as usize].link(worker)
    }

    /// Returns the worker of a link that is up.
    #[inline]
    pub(super) fn up(&self, link: Link) -> Result<u32, EventError> {
        self.current(link).filter(|slot| slot.phase.is_up()).ok_or(EventError::Stale)?;
        Ok(link.worker().slot())
    }

    /// Returns the slot of the worker whose latest link this is.
    #[inline]
    pub(super) fn current(&self, link: Link) -> Option<&WorkerSlot> {
        let slot = self.workers.get(link.worker().slot() as usize)?;
        let current = slot.link(link.worker().slot()) == link && slot.phase != LinkPhase::Free;
        current.then_some(slot)
    }
}
