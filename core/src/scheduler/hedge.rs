//! Second attempts for tasks that take long (decision 0038).
//!
//! A task that is hedged has a timer while an attempt of it is under way, which fires once that takes longer
//! than most. The second attempt has a slot of its own, behind those of all tasks: so it stands in its
//! worker's list, and among the timers, as any attempt does. What concerns the task as a whole finds the
//! attempt in question in the task's own slot: where it is the second one, the two change places first.

mod check;
mod pair;
mod quantile;
mod send;

use alloc::vec::Vec;

use super::index::{NONE, Stored, narrow, wide};
use super::list::Free;
use super::slot::{HEDGED, Queue, TaskSlot, TaskState, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState, later};
use super::timers::{TimerSlot, Timers, timer_slot};
use crate::config::{Config, ConfigError};
use crate::error::EventError;
use crate::event::Verdict;
use crate::id::TaskId;
use crate::options::{Hedge, TaskOptions};
use crate::time::Instant;
pub(super) use check::check;
use quantile::Quantile;

/// How much of a second attempt is one, where parts of it are counted.
const WHOLE: u64 = 1000;
/// So long after it was sent a task is first looked at whose kind is not known yet, and so much later each
/// time at least: 1 ms.
const LOOK_MIN: u64 = 1_000_000;

/// What is kept of one task that is hedged.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct TaskHedge {
    hedge: Hedge,
    /// When it was sent and no other attempt of it was under way.
    since: Instant,
    /// The slot of its second attempt, or `NONE`.
    second: Stored,
    /// The number of its latest attempt, which is not the one in its own slot where a second one has ended.
    latest: u16,
    /// One of two attempts may have ended its link: the task is a suspect once the other one ends.
    is_blamed: bool,
    timer: Instant,
    place: Stored,
    heap: Stored,
}

timer_slot!(TaskHedge);

impl TaskHedge {
    const fn new() -> Self {
        Self {
            hedge: Hedge::never(),
            since: Instant::EPOCH,
            second: narrow(NONE),
            latest: 0,
            is_blamed: false,
            timer: Instant::FAR_FUTURE,
            place: narrow(NONE),
            heap: narrow(NONE),
        }
    }
}

/// What the scheduler keeps about all tasks that are hedged.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Hedging {
    /// By task slot; as long as the highest slot of such a task needs.
    table: Vec<TaskHedge>,
    timers: Timers<TaskHedge>,
    /// The earliest timer, so that it is known without the table.
    first: Instant,
    /// By queue.
    kinds: Vec<Quantile>,
    /// Where the slots of second attempts begin.
    base: u32,
    unused: Free<Queue>,
    /// By slot from `base` on: which task each is of.
    of: Vec<Stored>,
    /// How many second attempts workers hold.
    live: u32,
    /// What is left of the budget, in thousandths, and how many other sends there were when that was counted.
    left: u64,
    sent: u64,
}

impl Hedging {
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            table: Vec::new(),
            timers: Timers::new(),
            first: Instant::FAR_FUTURE,
            kinds: Vec::new(),
            base: NONE,
            unused: Free::new(),
            of: Vec::new(),
            live: 0,
            left: config.hedge_budget.saved_max as u64 * WHOLE,
            sent: 0,
        }
    }
}

#[cfg(test)]
impl Hedging {
    /// Returns what is kept of a task that is hedged.
    pub(super) fn words(&self, task: usize, slot: &TaskSlot) -> Option<([u32; 3], [Instant; 2])> {
        let entry = self.table.get(task).filter(|_| slot.is_hedged())?;
        let words = [wide(entry.second), entry.latest.into(), entry.is_blamed.into()];
        Some((words, [entry.since, entry.timer]))
    }

    /// Returns what is left of the budget, and which slots are unused next.
    pub(super) fn budget(&self, policy: &crate::config::Policy, sent: u64) -> [u32; 1] {
        let budget = policy.hedge_budget;
        let given = (sent - self.sent).saturating_mul(budget.per_thousand.into());
        let left = self.left.saturating_add(given).min(u64::from(budget.saved_max) * WHOLE);
        [u32::try_from(left).expect("a few")]
    }
}

impl WorkerSlot {
    /// Returns how many of those that it holds are of tasks that are hedged.
    #[inline]
    pub(super) const fn hedged(&self) -> u32 {
        self.hedged
    }
}

impl TaskSlot {
    const fn is_hedged(&self) -> bool {
        self.special & HEDGED != 0
    }
}

impl SchedulerState {
    /// Keeps the last of all task slots for second attempts.
    pub(super) const fn keep_seconds(&mut self, slots: usize) -> Result<(), ConfigError> {
        let count = self.policy.hedges_max;
        if count > 0 && slots <= count as usize {
            return Err(ConfigError("hedges_max must be less than there are task slots"));
        }
        if count > 0 {
            #[expect(clippy::cast_possible_truncation, reason = "there are indices for all slots")]
            let base = slots as u32 - count;
            self.unused.keep(count);
            self.hedging.unused.begin_at(base);
            self.hedging.base = base;
        }
        Ok(())
    }

    /// Returns how many task slots are kept for second attempts.
    #[inline]
    pub(super) const fn seconds_max(&self) -> usize {
        self.policy.hedges_max as usize
    }

    /// Returns how many second attempts workers hold.
    pub(super) const fn seconds(&self) -> u32 {
        self.hedging.live
    }

    /// Returns when the first task is to be looked at.
    pub(super) const fn first_hedge(&self) -> Instant {
        self.hedging.first
    }

    /// Whether a slot is one of a second attempt.
    #[inline]
    pub(super) const fn is_second(&self, task: u32) -> bool {
        task >= self.hedging.base
    }

    /// Returns the task of an attempt's slot.
    pub(super) fn task_at(&self, slot: u32) -> u32 {
        if self.is_second(slot) { self.task_of(slot) } else { slot }
    }

    fn task_of(&self, second: u32) -> u32 {
        wide(self.hedging.of[(second - self.hedging.base) as usize])
    }

    fn entry(&self, task: u32, slot: &TaskSlot) -> Option<&TaskHedge> {
        if slot.is_hedged() { self.hedging.table.get(task as usize) } else { None }
    }

    /// Returns how many times a task was sent.
    pub(super) fn sends_of(&self, task: u32, slot: &TaskSlot) -> u16 {
        self.entry(task, slot).map_or(slot.attempts, |entry| entry.latest.max(slot.attempts))
    }

    /// Returns how many second attempts of a task are under way: one at most.
    pub(super) fn live_seconds_of(&self, task: u32, slot: &TaskSlot) -> u16 {
        u16::from(self.entry(task, slot).is_some_and(|entry| wide(entry.second) != NONE))
    }

    /// Returns the slot of the second attempt of a task, if one is under way.
    fn second(&self, task: u32, slot: &TaskSlot) -> Option<u32> {
        let second = wide(self.entry(task, slot)?.second);
        (second != NONE && slot.state == TaskState::InFlight).then_some(second)
    }

    /// Returns by which worker a second attempt is held, and its number.
    pub(super) fn second_attempt(&self, tasks: &[TaskSlot], task: TaskId) -> Option<(u32, u16)> {
        let slot = tasks.get(task.slot() as usize)?;
        let slot = Some(slot).filter(|slot| slot.generation == task.generation())?;
        let second = &tasks[self.second(task.slot(), slot)? as usize];
        Some((wide(second.worker), second.attempts))
    }

    /// Says what is wrong with an answer that is not about the attempt in a task's own slot, nor about its
    /// second one.
    #[cold]
    pub(super) fn objection(&self, tasks: &[TaskSlot], id: TaskId, attempt: u16) -> EventError {
        let task = id.slot();
        if self.is_second(task) {
            return EventError::Foreign;
        }
        let slot = &tasks[task as usize];
        let is_now = id.generation() == slot.generation && slot.state != TaskState::Free;
        let Some(entry) = self.entry(task, slot).filter(|_| is_now && attempt > 0) else {
            return slot.objection(id, attempt);
        };
        let is_own = slot.state == TaskState::InFlight && slot.attempts == attempt;
        let second = self.second(task, slot).map(|second| tasks[second as usize].attempts);
        if is_own || second == Some(attempt) || attempt > entry.latest.max(slot.attempts) {
            return EventError::Foreign;
        }
        EventError::Stale
    }

    /// Returns what the caller knows the task of a slot by.
    pub(super) fn named(&self, tasks: &[TaskSlot], task: u32) -> TaskId {
        let slot = &tasks[task as usize];
        if self.is_second(task) { slot.id(self.task_of(task)) } else { slot.id(task) }
    }

    /// Returns how long an attempt of a task is left alone, in nanoseconds; `None` where that is not known yet.
    fn hedges_after(&self, task: u32, slot: &TaskSlot) -> Option<u64> {
        let hedge = self.hedging.table[task as usize].hedge;
        hedge.nanos().or_else(|| {
            let kind = usize::from(self.kind_of(slot));
            self.hedging.kinds.get(kind)?.get()
        })
    }
}

/// What becomes of a task that is hedged. Nothing, for others.
impl SchedulerMut<'_> {
    /// Takes in whether a task that was just accepted is hedged: as it says itself, or else its queue.
    #[inline]
    pub(super) fn take_hedge(&mut self, task: u32, options: TaskOptions, usual: Option<Hedge>) {
        let hedge = options.hedge.or(usual);
        #[cfg(feature = "queues")]
        let hedge = hedge.filter(|_| options.key.is_none());
        if let Some(hedge) = hedge.filter(|hedge| hedge.is_ever()) {
            self.lend().begin_hedge(task, hedge);
        }
    }

    #[cold]
    fn begin_hedge(&mut self, task: u32, hedge: Hedge) {
        if self.state.policy.hedges_max == 0 {
            return;
        }
        self.tasks[task as usize].special |= HEDGED;
        let hedging = &mut self.state.hedging;
        let table = &mut hedging.table;
        if table.len() <= task as usize {
            // Doubled, so that a task costs O(1) on average, and never longer than all tasks.
            let most = (hedging.base as usize).max(task as usize + 1);
            let length = (table.len() * 2).clamp(task as usize + 1, most);
            table.resize(length, TaskHedge::new());
        }
        let entry = &mut table[task as usize];
        entry.hedge = hedge;
        (entry.latest, entry.second, entry.is_blamed) = (0, narrow(NONE), false);
    }

    /// Follows an attempt that a worker was just sent.
    pub(super) fn follow_hedged(&mut self, worker: u32, task: u32) {
        let slot = &self.tasks[task as usize];
        if !slot.is_hedged() {
            return;
        }
        let is_suspect = slot.is_suspect;
        self.workers[worker as usize].hedged += 1;
        if self.state.is_second(task) {
            return;
        }
        let entry = &mut self.state.hedging.table[task as usize];
        entry.since = self.state.clock;
        entry.latest = slot.attempts;
        if !is_suspect {
            let after = self.state.hedges_after(task, &self.tasks[task as usize]);
            self.set_hedge(task, later(self.state.clock, after.unwrap_or(LOOK_MIN)));
        }
    }

    fn set_hedge(&mut self, task: u32, at: Instant) {
        let hedging = &mut self.state.hedging;
        hedging.timers.set(&mut hedging.table, task, at);
        let first = hedging.timers.first(&hedging.table);
        hedging.first = first.map_or(Instant::FAR_FUTURE, |(_, at)| at);
        self.state.calm_until = self.state.calm_until.min(at);
    }

    /// Looks at a task again once it has been under way for a quarter longer.
    fn look_again(&mut self, task: u32) {
        let since = self.state.hedging.table[task as usize].since;
        let elapsed = self.state.clock.as_nanos() - since.as_nanos();
        self.set_hedge(task, later(self.state.clock, (elapsed / 4).max(LOOK_MIN)));
    }

    /// Follows an attempt that its worker holds no more.
    pub(super) fn put_down_hedged(&mut self, worker: u32, task: u32) {
        if self.tasks[task as usize].is_hedged() {
            self.workers[worker as usize].hedged -= 1;
            if !self.state.is_second(task) {
                self.set_hedge(task, Instant::FAR_FUTURE);
            }
        }
    }

    /// Takes in that a task is done, whose attempt its worker holds no more.
    pub(super) fn win_hedged(&mut self, task: u32) {
        let slot = &self.tasks[task as usize];
        if !slot.is_hedged() {
            return;
        }
        let kind = usize::from(self.state.kind_of(slot));
        let took =
            self.state.clock.as_nanos() - self.state.hedging.table[task as usize].since.as_nanos();
        let kinds = &mut self.state.hedging.kinds;
        if kinds.len() <= kind {
            kinds.resize(kind + 1, Quantile::default());
        }
        // Where a second one was first, what the first would have taken is not known, but that it is longer.
        kinds[kind].take(took);
        if let Some(second) = self.state.second(task, slot) {
            let is_win = slot.attempts > self.tasks[second as usize].attempts;
            self.state.stats.hedge_wins += u64::from(is_win);
        }
        self.end_hedged(task);
    }

    /// Takes in an answer that is not to the attempt in a task's own slot, if it is to the second one.
    #[cold]
    pub(super) fn on_second_replied(
        &mut self,
        worker: u32,
        (id, attempt): (TaskId, u16),
        verdict: Verdict,
        error: EventError,
    ) -> Result<(), EventError> {
        let second = self.second_of(worker, id, attempt).ok_or(error)?;
        let task = self.as_own(second);
        self.take_verdict(worker, task, verdict);
        Ok(())
    }
}
