//! Whom to send to where workers are unlike each other: the one that is expected to answer first
//! (decision 0034).
//!
//! What is known of them is in `track_record`.
//!
//! Workers with room stand in a ring. The next task goes to the best of the first few, whichever their
//! number, and a full turn comes by all. A new task waits instead where those that are busy now are
//! expected to have done it, and all that waits, before the best with room would.

use super::balance::CLEAN;
use super::index::{NONE, wide};
use super::list::{Linkage, List};
use super::log::exp2;
#[cfg(feature = "queues")]
use super::queues::Line;
use super::sets::{GROUPS, Groups};
use super::slot::WorkerSlot;
use super::tasks::{SchedulerMut, SchedulerState, later};
use super::track_record::{Choosing, Laden, SPEED_BITS, TWICE, success};
use crate::config::{Choice, Policy};
use crate::event::Action;
use crate::time::Instant;

/// How many workers of a ring are looked at for one task.
const SAMPLE: usize = 8;
/// How long a worker's past counts against it at least, where nothing was heard from it since.
const MEMORY_MIN: u64 = 5_000_000_000;
/// How many times as long as it is expected to take a worker's past counts against it.
const MEMORY: u64 = 64;
/// What a worker is taken for where no worker is known yet: one that takes a millisecond.
const UNKNOWN: u16 = 20 * TWICE;

/// After so many samples it is known what a worker is like.
const SEEN: u8 = 3;
/// Whether a task may wait though a worker has room.
pub(super) const HOLDS_BACK: bool = true;

impl Choosing {
    /// Returns how much later a task may end than it is expected to: four times as far as the longest of late
    /// is above the mean, since little is lost by not using a slow worker a little earlier.
    fn risk(&self) -> u64 {
        (exp2(self.longest) / self.mean.max(1)).clamp(1, 1 << 20) * 4
    }
}

/// Returns until when there is nothing to do at first but to send. Where workers are judged there may
/// always be more.
pub(super) const fn calm_at_first(policy: &Policy) -> Instant {
    if matches!(policy.choice, Choice::FirstAnswer) { Instant::EPOCH } else { Instant::FAR_FUTURE }
}

impl SchedulerState {
    /// Whether workers are judged by their answers.
    #[inline]
    pub(super) const fn judges(&self) -> bool {
        self.choosing.is_on
    }

    /// Returns when a task that was held back is to go, if that is still to come.
    pub(super) fn patience_ends(&self) -> Instant {
        let later = |at: Instant| if at > self.clock { at } else { Instant::FAR_FUTURE };
        #[cfg(feature = "queues")]
        if self.is_queued() {
            let lines = self.queues.lines.iter().map(|line| later(line.patience));
            return lines.min().unwrap_or(Instant::FAR_FUTURE);
        }
        later(self.choosing.patience)
    }

    /// Returns the worker that a task goes to now which came back from `worker`, or any for `NONE`; among
    /// those only that hold no suspect, for a suspect.
    pub(super) fn next_but(
        &self,
        workers: &[WorkerSlot],
        worker: u32,
        clean_only: bool,
    ) -> Option<u32> {
        if self.judges() {
            self.best_but(workers, Groups::ONLY, worker, clean_only).map(|(worker, _)| worker)
        } else {
            self.balance.next_but(workers, worker, clean_only)
        }
    }

    /// As [`next_but`](Self::next_but), of the workers of some groups.
    #[cfg(feature = "queues")]
    pub(super) fn next_among(
        &self,
        workers: &[WorkerSlot],
        groups: Groups,
        but: u32,
        clean_only: bool,
    ) -> Option<u32> {
        if self.judges() {
            self.best_but(workers, groups, but, clean_only).map(|(worker, _)| worker)
        } else {
            self.least_loaded(workers, groups, but, clean_only)
        }
    }

    /// Returns the best of those that are looked at, and how long it is expected to take.
    fn best_but(
        &self,
        workers: &[WorkerSlot],
        groups: Groups,
        but: u32,
        clean_only: bool,
    ) -> Option<(u32, u64)> {
        let rings = if clean_only { 1 } else { 2 };
        let mut best = None;
        for group in groups.iter() {
            for order in 2 * group..2 * group + rings {
                for worker in self.balance.sample(workers, order, SAMPLE).filter(|&at| at != but) {
                    let slot = &workers[worker as usize];
                    let takes = self.expected(slot, slot.held.len() + 1);
                    // Among those that are alike the one that is loaded least.
                    let load = u64::from(slot.held.len()) << 16;
                    let key = (takes, load / u64::from(slot.allowance), self.tie(slot));
                    if best.is_none_or(|(least, _)| key < least) {
                        best = Some((key, worker));
                    }
                }
            }
        }
        best.map(|((takes, _, _), worker)| (worker, takes))
    }

    /// Returns what decides between two workers that are alike: first whether one holds a suspect, then how many
    /// queues it serves.
    #[cfg(feature = "queues")]
    fn tie(&self, slot: &WorkerSlot) -> (bool, (u32, u64)) {
        (slot.has_suspect, self.served_by(slot).rank())
    }

    #[cfg(not(feature = "queues"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn tie(&self, slot: &WorkerSlot) -> bool {
        slot.has_suspect
    }

    /// Returns how long a worker is expected to take, in nanoseconds, for a task at a place of its queue,
    /// from 1 on: until an answer of use, failures included, and less by its weight.
    fn expected(&self, slot: &WorkerSlot, place: u32) -> u64 {
        let record = &slot.record;
        let usual = self.choosing.floor.get().unwrap_or(UNKNOWN);
        let own = record.floor.get().or(record.pace.get());
        let known = exp2(own.unwrap_or(usual));
        // Nothing is known of it any more, so that one which was slow or failed is tried again.
        let is_forgotten = slot.held.is_empty() && {
            let memory = (known * 256 / record.success()).saturating_mul(MEMORY).max(MEMORY_MIN);
            self.clock > later(record.judged_at, memory)
        };
        let floor = if is_forgotten { exp2(usual) } else { known };
        let mut takes = floor;
        if place > slot.runs {
            let pace = exp2(record.pace.get().or(self.choosing.pace.get()).unwrap_or(UNKNOWN));
            let all = pace.saturating_mul(place.into());
            takes = takes.max(if slot.runs > 1 { all / u64::from(slot.runs) } else { all });
        }
        if wide(record.timed) != NONE {
            let waits = self.clock.as_nanos() - record.timed_at.as_nanos();
            takes = takes.max(waits);
        }
        if !is_forgotten && record.success() < 256 {
            takes = takes.saturating_mul(256) / record.success();
        }
        if record.weight > 1 {
            takes /= u64::from(record.weight);
        }
        takes
    }

    /// Whether a worker that is sent a task now is expected to have done it within so many nanoseconds.
    #[cfg(feature = "hedging")]
    pub(super) fn is_done_within(&self, workers: &[WorkerSlot], worker: u32, span: u64) -> bool {
        let slot = &workers[worker as usize];
        !self.judges() || self.expected(slot, slot.held.len() + 1) <= span
    }

    /// Returns the worker that a new task of a line goes to now: none where it does better to wait.
    #[cfg(feature = "queues")]
    pub(super) fn next_for_new(&self, line: &Line, workers: &[WorkerSlot]) -> Option<u32> {
        if !self.judges() {
            return self.least_loaded(workers, line.groups, NONE, false);
        }
        self.best_for_new(workers, line.groups, line.patience)
    }

    /// Returns the worker that a new task goes to now, which has been held back until `patience` at most.
    fn best_for_new(
        &self,
        workers: &[WorkerSlot],
        groups: Groups,
        patience: Instant,
    ) -> Option<u32> {
        let (worker, takes) = self.best_but(workers, groups, NONE, false)?;
        let is_held_back =
            !self.is_due(patience) && self.is_better_busy(workers, groups, worker, takes);
        (!is_held_back).then_some(worker)
    }

    /// Whether a new task may be sent now, where there are no queues.
    pub(super) fn may_send_new(&self, workers: &[WorkerSlot]) -> bool {
        let patience = self.choosing.patience;
        !self.judges() || self.best_for_new(workers, Groups::ONLY, patience).is_some()
    }

    /// Whether those of some groups that are busy are expected to have done all that waits before a worker would
    /// have done a single task.
    fn is_better_busy(
        &self,
        workers: &[WorkerSlot],
        groups: Groups,
        worker: u32,
        takes: u64,
    ) -> bool {
        let slot = &workers[worker as usize];
        let held = u64::from(self.in_flight() + self.seconds() - slot.held.len());
        let speed: u128 = groups.iter().map(|group| self.choosing.speed[group]).sum();
        let speed = speed - u128::from(slot.record.speed);
        let usual = exp2(self.choosing.floor.get().unwrap_or(UNKNOWN));
        if self.policy.elsewhere_wait == 0 || held == 0 || speed == 0 || takes <= usual {
            return false;
        }
        // One that fails far more often than all together is no help, however much is left.
        if slot.record.success() * 2 < success(self.choosing.faults) {
            return true;
        }
        let open = u128::from(held + u64::from(self.waiting())) + u128::from(self.choosing.backlog);
        // One that is far slower, or may be, could get a task of the longest kind, and that last.
        let is_new = slot.record.pace.count < SEEN && slot.held.len() >= slot.runs;
        let is_risky = is_new || takes > usual.saturating_mul(2);
        let risk = if is_risky { self.choosing.risk() } else { 1 };
        u128::from(takes - usual) * speed * u128::from(risk) > open << SPEED_BITS
    }

    /// Returns when a new task that is held back from now on goes to whoever has room.
    fn latest_start(&self, workers: &[WorkerSlot], groups: Groups) -> Instant {
        let best = self.best_but(workers, groups, NONE, false);
        let takes = best.map_or(0, |(_, takes)| takes);
        later(self.clock, self.policy.elsewhere_wait.max(takes))
    }
}

impl SchedulerMut<'_> {
    /// Returns the worker that new tasks go to now, or `NONE` where they are held back. `None` where no
    /// worker has room.
    pub(super) fn take_next_for_new(&mut self) -> Option<u32> {
        if !self.state.judges() {
            return self.state.balance.next_but(self.workers, NONE, false);
        }
        if self.state.balance.is_empty() {
            return None;
        }
        if self.state.waiting.iter().all(List::is_empty) {
            return Some(NONE);
        }
        let patience = self.state.choosing.patience;
        let next = self.state.best_for_new(self.workers, Groups::ONLY, patience);
        if next.is_none() && patience == Instant::FAR_FUTURE {
            self.state.choosing.patience = self.state.latest_start(self.workers, Groups::ONLY);
        }
        Some(next.unwrap_or(NONE))
    }

    /// Sees to it that no queue's new task is held back for ever. O(queues).
    #[cfg(feature = "queues")]
    pub(super) fn bound_patience(&mut self) {
        if !self.state.judges() {
            return;
        }
        for at in 0..self.state.queues.lines.len() {
            let line = &self.state.queues.lines[at];
            let (groups, patience) = (line.groups, line.patience);
            if patience == Instant::FAR_FUTURE
                && self.state.has_new(line)
                && self.state.best_but(self.workers, groups, NONE, false).is_some()
                && self.state.best_for_new(self.workers, groups, patience).is_none()
            {
                let until = self.state.latest_start(self.workers, groups);
                self.state.queues.lines[at].patience = until;
            }
        }
    }

    /// Takes a worker into the balance.
    pub(super) fn enter_balance(&mut self, worker: u32) {
        let order = self.workers[worker as usize].order();
        if self.state.judges() {
            self.state.balance.enter_ring(self.workers, worker, order);
        } else {
            self.state.balance.enter(self.workers, worker, order);
        }
    }

    /// Takes a worker out of the balance, if it is there.
    pub(super) fn leave_balance(&mut self, worker: u32) {
        if !self.state.balance.contains(self.workers, worker) {
            return;
        }
        let order = self.workers[worker as usize].order();
        if self.state.judges() {
            self.state.balance.leave_ring(self.workers, worker, order);
        } else {
            self.state.balance.leave(self.workers, worker, order);
        }
    }

    /// Lets the next workers of the ring come to their turn.
    pub(super) fn turn_ring(&mut self) {
        if self.state.judges() {
            for group in 0..GROUPS {
                self.state.balance.turn_ring(self.workers, 2 * group + CLEAN, SAMPLE);
            }
        }
    }

    /// Takes a task back that has not begun, where another worker would have done it long before. Only where
    /// nothing waits.
    pub(super) fn rebalance(&mut self) -> Option<Action> {
        if !self.state.judges() || self.state.choosing.laden.is_empty() || self.state.waiting() > 0
        {
            return None;
        }
        let (mut longest, mut from) = (0, None);
        let (mut last, mut best) = (None, None);
        let mut next = self.state.choosing.laden.head();
        for _ in 0..SAMPLE {
            let Some(worker) = next else { break };
            let slot = &self.workers[worker as usize];
            let groups = self.groups_of_newest(slot);
            if last.replace(groups) != Some(groups) {
                best = self.state.best_but(self.workers, groups, NONE, false);
            }
            let left = self.state.expected(slot, slot.held.len());
            let is_late = best
                .is_some_and(|(best, takes)| worker != best && left > takes.saturating_mul(3) / 2);
            if left > longest && is_late && self.may_come_back(slot) {
                (longest, from) = (left, Some(worker));
            }
            let after = Laden::neighbours(slot).next();
            next = (after != NONE).then_some(after);
        }
        let worker = from?;
        let task = self.workers[worker as usize].held.tail()?;
        Some(self.take_back_whole(worker, task))
    }

    /// Returns who serves the newest task of a worker.
    #[cfg_attr(not(feature = "queues"), expect(clippy::unused_self, reason = "as with it"))]
    fn groups_of_newest(&self, slot: &WorkerSlot) -> Groups {
        #[cfg(feature = "queues")]
        if let Some(task) = slot.held.tail() {
            let line = self.state.queues.lines.get(usize::from(self.tasks[task as usize].line));
            return line.map_or(Groups::ONLY, |line| line.groups);
        }
        let _ = slot;
        Groups::ONLY
    }

    /// Whether the newest task of a worker may be sent once more without coming near its last time.
    fn may_come_back(&self, slot: &WorkerSlot) -> bool {
        slot.held.tail().is_some_and(|task| {
            let task = self.state.task_at(task);
            let slot = &self.tasks[task as usize];
            let uncounted = self.state.sends_of(task, slot) - slot.failures - slot.losses;
            u32::from(uncounted) * 2 < u32::from(self.state.policy.resends_max)
        })
    }
}
