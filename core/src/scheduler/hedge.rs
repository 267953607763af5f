//! Second attempts for tasks that take long (decision 0038).
//!
//! A task that is hedged has a timer while an attempt of it is under way, which fires once that takes longer
//! than most. The second attempt has a slot of its own, behind those of all tasks: so it stands in its
//! worker's list, and among the timers, as any attempt does. What concerns the task as a whole finds the
//! attempt in question in the task's own slot: where it is the second one, the two change places first.

use alloc::vec::Vec;

use super::blame::Blame;
use super::index::{NONE, Stored, narrow, wide};
use super::list::{Free, Neighbours};
use super::log::{exp2, log2};
use super::poll::{PollStep, go_on_without};
use super::slot::{HEDGED, Kept, Queue, TaskSlot, TaskState, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState, later};
use super::timers::{TimerSlot, Timers, timer_slot};
use crate::config::{Config, ConfigError};
use crate::error::EventError;
use crate::event::{Action, Verdict};
use crate::id::TaskId;
use crate::options::{Hedge, TaskOptions};
use crate::planted::planted;
use crate::time::Instant;

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

/// How long all but one in twenty tasks take, of one kind: a logarithm that goes up by 19 steps with each that
/// took longer, and down by one with each other.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Quantile {
    /// The logarithm to the base of two, in 1/4096.
    log: u32,
    /// That of the longest of the first.
    longest: u32,
    count: u16,
}

impl Quantile {
    /// Of so many the longest but one is taken.
    const FIRST: u16 = 20;
    const PER_LOG: u32 = 16;
    /// 1/372 of a factor of two.
    const STEP: u32 = 11;
    const RARE: u32 = 19;

    /// Takes in how long a task took, in nanoseconds.
    fn take(&mut self, nanos: u64) {
        let sample = u32::from(log2(nanos)) * Self::PER_LOG;
        if self.count < Self::FIRST {
            self.log = self.log.max(sample.min(self.longest));
            self.longest = self.longest.max(sample);
        } else {
            let step = match self.count {
                ..100 => Self::STEP * 8,
                100..200 => Self::STEP * 4,
                200..400 => Self::STEP * 2,
                _ => Self::STEP,
            };
            if sample > self.log {
                self.log += step * Self::RARE;
            } else {
                self.log = self.log.saturating_sub(step);
            }
        }
        self.count = self.count.saturating_add(1);
    }

    /// Returns it in nanoseconds, once enough is known.
    fn get(self) -> Option<u64> {
        let log = u16::try_from(self.log / Self::PER_LOG).unwrap_or(u16::MAX >> 2);
        (self.count >= Self::FIRST).then(|| exp2(log))
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

    /// Returns the slot of a second attempt that a worker names.
    pub(super) fn second_of(&self, worker: u32, id: TaskId, attempt: u16) -> Option<u32> {
        let slot = self.tasks.get(id.slot() as usize)?;
        let slot = Some(slot).filter(|slot| slot.generation == id.generation())?;
        let second = self.state.second(id.slot(), slot)?;
        let other = &self.tasks[second as usize];
        let is_it = other.attempts == attempt && wide(other.worker) == worker;
        is_it.then_some(second)
    }

    /// Has the second attempt of a task change places with the one in the task's own slot. Returns that slot;
    /// one that is a task's own already stays.
    pub(super) fn as_own(&mut self, second: u32) -> u32 {
        if !self.state.is_second(second) {
            return second;
        }
        let task = self.state.task_of(second);
        let links = [task, second].map(|at| self.tasks[at as usize].queue);
        self.stand_in(task, second, links[0]);
        self.stand_in(second, task, links[1]);
        let (one, other) = self.pair(task, second);
        core::mem::swap(&mut one.worker, &mut other.worker);
        core::mem::swap(&mut one.due, &mut other.due);
        core::mem::swap(&mut one.attempts, &mut other.attempts);
        core::mem::swap(&mut one.kept, &mut other.kept);
        self.swap_times(task, second);
        task
    }

    /// Puts a slot in the place of another in the list of what that one's worker holds.
    fn stand_in(&mut self, at: u32, by: u32, links: Neighbours) {
        let worker = wide(self.tasks[at as usize].worker);
        self.workers[worker as usize].held.replace(self.tasks, (at, links), by);
        self.retime(worker, at, by);
    }

    fn pair(&mut self, task: u32, second: u32) -> (&mut TaskSlot, &mut TaskSlot) {
        let (tasks, seconds) = self.tasks.split_at_mut(self.state.hedging.base as usize);
        (&mut tasks[task as usize], &mut seconds[(second - self.state.hedging.base) as usize])
    }

    /// Has the second attempt of a task be its only one: that in its own slot is over.
    fn promote(&mut self, task: u32, second: u32) {
        let links = self.tasks[second as usize].queue;
        self.stand_in(second, task, links);
        let (own, other) = self.pair(task, second);
        (own.worker, own.due, own.attempts, own.kept) =
            (other.worker, other.due, other.attempts, other.kept);
        other.kept = Kept::No;
        self.swap_times(task, second);
        self.uncount_second(task);
        self.free_second(task, second);
    }

    fn free_second(&mut self, task: u32, second: u32) {
        self.drop_second(task);
        self.tasks[second as usize].state = TaskState::Free;
        self.unwatch(second);
        self.state.hedging.unused.give(self.tasks, second);
    }

    fn drop_second(&mut self, task: u32) {
        self.state.hedging.table[task as usize].second = narrow(NONE);
        self.state.hedging.live -= 1;
    }

    /// Takes in that an attempt has ended without an answer that decides. Returns whether another one of its
    /// task goes on. What was counted of both is looked at once the last one ends.
    pub(super) fn goes_on(&mut self, attempt: u32, blame: Blame) -> bool {
        let Some(task) = self.end_one(attempt) else { return false };
        let is_counted = blame != Blame::Nobody && !planted("a loss is not counted");
        let losses = if planted("a loss of one of two attempts counts twice") { 2 } else { 1 };
        self.tasks[task as usize].losses += u16::from(is_counted) * losses;
        self.state.hedging.table[task as usize].is_blamed |= blame == Blame::Suspect;
        true
    }

    /// As [`goes_on`](Self::goes_on), for one whose handler failed.
    pub(super) fn fails_on(&mut self, task: u32, is_permanent: bool) -> bool {
        if !self.tasks[task as usize].is_hedged() {
            return false;
        }
        // It was answered, so it does not end links.
        self.state.hedging.table[task as usize].is_blamed = false;
        !is_permanent && self.end_one(task).is_some()
    }

    /// Ends one of two attempts, which its worker holds no more, and returns the task. `None` where it was the
    /// only one: then all sends of the task count as its own again.
    fn end_one(&mut self, attempt: u32) -> Option<u32> {
        if !self.tasks[attempt as usize].is_hedged() {
            return None;
        }
        let task = self.state.task_at(attempt);
        let second = wide(self.state.hedging.table[task as usize].second);
        if second == NONE {
            self.fold(task);
            return None;
        }
        if attempt == second {
            self.free_second(task, second);
        } else {
            self.promote(task, second);
        }
        self.look_again(task);
        Some(task)
    }

    /// Takes in all that was noted of a task's attempts besides the one in its own slot.
    fn fold(&mut self, task: u32) {
        let entry = &mut self.state.hedging.table[task as usize];
        let slot = &mut self.tasks[task as usize];
        slot.attempts = slot.attempts.max(entry.latest);
        slot.is_suspect |= core::mem::take(&mut entry.is_blamed);
    }

    /// Takes in that a task ends: what is under way of it is withdrawn.
    pub(super) fn end_hedged(&mut self, task: u32) {
        if self.tasks[task as usize].is_hedged() {
            self.part_hedged(task);
            self.count_withdrawn(task);
        }
    }

    /// Withdraws the second attempt of a task that ends, if there is one.
    pub(super) fn part_hedged(&mut self, task: u32) {
        let slot = &self.tasks[task as usize];
        if !slot.is_hedged() {
            return;
        }
        let second = wide(self.state.hedging.table[task as usize].second);
        if second == NONE {
            return;
        }
        let worker = wide(self.tasks[second as usize].worker);
        let is_away = self.workers[worker as usize].is_away();
        let _ = self.take_back(worker, second);
        if is_away {
            self.free_second(task, second);
            self.arm(worker);
            return;
        }
        self.drop_second(task);
        self.tasks[second as usize].state = TaskState::Withdrawing;
        self.workers[worker as usize].withdrawn.append(self.tasks, second);
        self.list_todo(worker);
        self.close_drained(worker);
    }

    /// Frees the slot of a second attempt of which its worker is told, or will not be. Returns false for a task.
    pub(super) fn withdraw_second(&mut self, second: u32) -> bool {
        let is_second = self.state.is_second(second);
        if is_second {
            self.tasks[second as usize].state = TaskState::Free;
            self.unwatch(second);
            self.state.hedging.unused.give(self.tasks, second);
        }
        is_second
    }

    /// Counts all sends of a task that has its outcome, once the number of the one in its own slot is told.
    pub(super) fn count_withdrawn(&mut self, task: u32) {
        let slot = &mut self.tasks[task as usize];
        if slot.is_hedged() && !self.state.is_second(task) {
            slot.attempts = slot.attempts.max(self.state.hedging.table[task as usize].latest);
        }
    }
}

/// When a second attempt is sent, and to whom.
impl SchedulerMut<'_> {
    /// Looks at the task whose attempt has been under way for longer than most, if there is one.
    pub(super) fn step_hedge(&mut self) -> Option<PollStep> {
        if !self.state.is_due(self.state.hedging.first) {
            return None;
        }
        let (task, _) = self.state.hedging.timers.first(&self.state.hedging.table)?;
        if !self.may_be_hedged(task) {
            self.set_hedge(task, Instant::FAR_FUTURE);
            return Some(go_on_without(None));
        }
        let slot = &self.tasks[task as usize];
        let since = self.state.hedging.table[task as usize].since;
        let elapsed = self.state.clock.as_nanos() - since.as_nanos();
        let after = self.state.hedges_after(task, slot);
        if let Some(after) = after.filter(|&after| elapsed < after) {
            // Others of its kind have taken longer meanwhile.
            self.set_hedge(task, later(since, after));
            return Some(go_on_without(None));
        }
        let worker = after.and_then(|after| self.second_worker(task, elapsed, after));
        let Some(worker) = worker else {
            self.look_again(task);
            return Some(go_on_without(None));
        };
        Some(go_on_without(Some(self.send_second(worker, task))))
    }

    /// Whether the loss of one of two attempts of a task could not end it while the other lives.
    fn may_be_hedged(&self, task: u32) -> bool {
        let (slot, policy) = (&self.tasks[task as usize], &self.state.policy);
        let sends = self.state.sends_of(task, slot);
        let uncounted = u32::from(sends - slot.failures - slot.losses);
        let is_blamed = slot.is_suspect || self.state.hedging.table[task as usize].is_blamed;
        !is_blamed
            && u32::from(slot.losses) + 2 <= policy.attempts_max.into()
            && uncounted < policy.resends_max.into()
    }

    /// Returns which worker a second attempt of a task may be sent to now, that has taken so long, and is left alone
    /// for the time `after`.
    fn second_worker(&mut self, task: u32, elapsed: u64, after: u64) -> Option<u32> {
        let slot = &self.tasks[task as usize];
        if self.state.hedging.unused.is_empty(self.tasks) || !self.state.may_send_second(slot) {
            return None;
        }
        let worker = self.state.next_for_second(self.workers, slot)?;
        if !self.state.is_done_within(self.workers, worker, elapsed) {
            return None;
        }
        self.has_budget(elapsed / 2 >= after).then_some(worker)
    }

    /// Whether one more may be sent. The last half of what is saved up is for those that have taken twice as long as
    /// they are left alone: else those that are a little late would leave nothing for those that are stuck.
    fn has_budget(&mut self, is_stuck: bool) -> bool {
        let budget = self.state.policy.hedge_budget;
        let sent = self.state.stats.sent - self.state.stats.hedged;
        let hedging = &mut self.state.hedging;
        let given = (sent - hedging.sent).saturating_mul(budget.per_thousand.into());
        hedging.sent = sent;
        hedging.left = hedging.left.saturating_add(given).min(u64::from(budget.saved_max) * WHOLE);
        let kept = if is_stuck { 0 } else { u64::from(budget.saved_max / 2) };
        hedging.left >= (kept + 1) * WHOLE
    }

    fn send_second(&mut self, worker: u32, task: u32) -> Action {
        let hedging = &mut self.state.hedging;
        let second = hedging.unused.take(self.tasks).expect("there is one");
        if hedging.of.is_empty() {
            hedging.of.resize(self.state.policy.hedges_max as usize, narrow(NONE));
        }
        hedging.of[(second - hedging.base) as usize] = narrow(task);
        hedging.live += 1;
        hedging.left = hedging.left.saturating_sub(WHOLE);
        let entry = &mut hedging.table[task as usize];
        entry.latest += 1;
        entry.second = narrow(second);
        let attempts = entry.latest;
        self.set_hedge(task, Instant::FAR_FUTURE);
        let due = later(self.state.clock, self.state.policy.attempt_timeout);
        let (own, other) = self.pair(task, second);
        *other = TaskSlot {
            state: TaskState::Second,
            worker: narrow(worker),
            failures: 0,
            losses: 0,
            attempts,
            due,
            queue: other.queue,
            kept: Kept::No,
            ..*own
        };
        self.begin_second_times(task, second);
        self.count_second(task);
        self.state.stats.sent += 1;
        self.state.stats.resent += 1;
        self.state.stats.hedged += 1;
        self.workers[worker as usize].held.append(self.tasks, second);
        self.follow_special(worker, second);
        self.arm(worker);
        let link = self.workers[worker as usize].link(worker);
        Action::Send { link, task: self.tasks[task as usize].id(task), attempt: attempts }
    }
}

/// Checks the timers of tasks that are hedged, and their second attempts.
///
/// # Panics
/// If one is wrong or miscounted.
pub(super) fn check(state: &SchedulerState, tasks: &[TaskSlot], workers: &[WorkerSlot]) {
    let hedging = &state.hedging;
    let base = tasks.len() - state.seconds_max();
    let (mut armed, mut live) = (0, 0);
    for (task, (entry, slot)) in (0..).zip(hedging.table.iter().zip(tasks)) {
        let is_in_flight = slot.is_hedged() && slot.state == TaskState::InFlight;
        let second = state.second(task, slot);
        if entry.place() == NONE {
            assert!(entry.timer == Instant::FAR_FUTURE, "a hedge's timer is missing");
        } else {
            armed += 1;
            assert!(is_in_flight && second.is_none(), "a task is hedged that must not be");
        }
        let Some(second) = second else { continue };
        live += 1;
        let other = &tasks[second as usize];
        assert!(second as usize >= base && state.task_of(second) == task, "another's attempt");
        assert!(other.state == TaskState::Second, "a second attempt is not under way");
        assert!(slot.worker != other.worker, "both attempts are at the same worker");
        assert!(slot.attempts != other.attempts, "both attempts have the same number");
        assert!(slot.attempts.max(other.attempts) <= entry.latest, "an attempt is later than all");
        assert!(!slot.is_suspect && !other.is_suspect, "a suspect is hedged");
        assert!(slot.is_timed() == other.is_timed(), "one attempt has times of its own");
    }
    let held = tasks[base..].iter().filter(|slot| slot.state == TaskState::Second).count();
    assert!((live, held) == (hedging.live, live as usize), "second attempts are miscounted");
    assert!(hedging.timers.check(&hedging.table) == armed, "a hedge's timer is not in the heap");
    let first = hedging.timers.first(&hedging.table).map_or(Instant::FAR_FUTURE, |(_, at)| at);
    assert!(hedging.first == first, "another hedge's timer is the first");
    let told = tasks[base..].iter().filter(|slot| slot.state == TaskState::Withdrawing).count();
    if state.seconds_max() > 0 {
        let unused = hedging.unused.check(tasks, |task| {
            assert!(tasks[task as usize].state == TaskState::Free, "a second attempt is unused");
        });
        let all = unused + held + told;
        assert!(all == state.seconds_max(), "a slot of a second attempt is lost");
    }
    for worker in workers {
        let mut hedged = 0;
        worker.held.check(tasks, |task| hedged += u32::from(tasks[task as usize].is_hedged()));
        assert!(worker.hedged == hedged, "tasks that are hedged are miscounted");
    }
}
