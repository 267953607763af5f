//! Whom to send to where workers are unlike each other: the one that is expected to answer first
//! (decision 0034).
//!
//! What a worker's successes took is kept as two means of logarithms: of attempts that could begin at
//! once (`floor`), and of all, each divided by its place in the worker's queue (`pace`). A logarithm
//! makes ten times slower the same step for tasks of a millisecond and of a minute, and a sample counts
//! no more than four times away from the mean, so that one long task among short ones says little.
//! One attempt of each worker is timed at once, as TCP times one segment (RFC 6298), so that it costs no
//! memory for each task.
//!
//! Workers with room stand in a ring. The next task goes to the best of the first few, whichever their
//! number, and a full turn comes by all. A new task waits instead where those that are busy now are
//! expected to have done it, and all that waits, before the best with room would.

use super::balance::CLEAN;
use super::index::{NONE, Stored, narrow, wide};
use super::list::{Linkage, List, Neighbours, define_linkage};
use super::outliers::Sums;
#[cfg(feature = "queues")]
use super::queues::Line;
use super::sets::{GROUPS, Groups};
use super::slot::{TaskSlot, TaskState, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState, later};
use super::window::Auto;
use crate::config::{Choice, Policy};
use crate::event::{Action, Offer};
use crate::time::Instant;

/// How many workers of a ring are looked at for one task.
const SAMPLE: usize = 8;
/// A factor of two, as logarithms are kept.
const TWICE: u16 = 256;
/// No latency counts as longer: 2^42 ns, 73 minutes.
const LONGEST: u64 = 1 << 42;
/// How long a worker's past counts against it at least, where nothing was heard from it since.
const MEMORY_MIN: u64 = 5_000_000_000;
/// How many times as long as it is expected to take a worker's past counts against it.
const MEMORY: u64 = 64;
/// What a worker is taken for where no worker is known yet: one that takes a millisecond.
const UNKNOWN: u16 = 20 * TWICE;

/// A worker's speed is how much of a task it does in so many nanoseconds, as a power of two.
const SPEED_BITS: u32 = 40;
/// After so many samples it is known what a worker is like.
const SEEN: u8 = 3;
/// No worker is taken for one that does more tasks at once.
const RUNS_MAX: u32 = 1 << 12;

/// Whether a task may wait though a worker has room.
pub(super) const HOLDS_BACK: bool = true;

/// A mean of logarithms.
#[derive(Clone, Copy, Debug)]
struct Mean {
    log: u16,
    /// How many samples it has, as far as that counts; none is known without.
    count: u8,
}

impl Mean {
    const NONE: Self = Self { log: 0, count: 0 };

    fn get(self) -> Option<u16> {
        (self.count > 0).then_some(self.log)
    }

    /// Takes a sample, which weighs as much as each of those before it, and never less than one in
    /// `most`. The first is held against what is usual, as if that were another. One that is more than four
    /// times away counts as that far.
    fn take(&mut self, sample: u16, most: u8, usual: Self) {
        let mut parts = (self.count + 1).min(most);
        if self.count == 0 {
            self.log = usual.get().unwrap_or(sample);
            parts = 2;
        }
        self.count = (self.count + 1).min(most);
        let away = (i32::from(sample) - i32::from(self.log)).clamp(-2 * FACTOR, 2 * FACTOR);
        let log = i32::from(self.log) + away / i32::from(parts);
        self.log = u16::try_from(log).expect("between two logarithms");
    }
}

const FACTOR: i32 = TWICE as i32;
/// At first the longest task is taken for 256 times as long as the first one. Each task that is not halves
/// that by a 256th.
const LONGER_AT_FIRST: u16 = 8 * TWICE;
/// No logarithm is larger.
const LOG_MAX: i32 = 42 * FACTOR;

/// What is known of one worker.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is about something else")]
pub(super) struct Record {
    /// How long an attempt takes that can begin at once.
    floor: Mean,
    /// How much longer each task takes that waits there.
    pace: Mean,
    /// The share of answers that did nothing for their task, in 1/65536.
    faults: u16,
    weight: u16,
    /// The attempt that is timed, by its task, or `NONE`.
    timed: Stored,
    /// How many it held with that one.
    place: u32,
    timed_at: Instant,
    /// When it last answered with what counts for or against it.
    judged_at: Instant,
    /// How many it had done when the latest end of an attempt was seen.
    done: u64,
    pub(super) auto: Auto,
    /// What the pool's speed has of it, of which phase of its link that is, and whether its rate held it back.
    speed: u64,
    was_serving: bool,
    was_paced: bool,
    /// More is known of it since then.
    is_news: bool,
    is_laden: bool,
    laden: Neighbours,
    /// Answers since it was held against the others, and what they have of it.
    pub(super) answers: u16,
    pub(super) sums: Sums,
    /// How many times in a row it rested since it was off the others.
    pub(super) rests: u32,
    /// It rests for that reason.
    pub(super) is_ejected: bool,
    /// It has had that rest, and its next answer says whether it is back.
    pub(super) is_on_trial: bool,
}

impl Record {
    pub(super) const fn new() -> Self {
        Self {
            floor: Mean::NONE,
            pace: Mean::NONE,
            faults: 0,
            weight: 1,
            timed: narrow(NONE),
            place: 0,
            timed_at: Instant::EPOCH,
            judged_at: Instant::EPOCH,
            done: 0,
            auto: Auto::new(),
            speed: 0,
            was_serving: false,
            was_paced: false,
            is_news: false,
            is_laden: false,
            laden: Neighbours::OUT,
            answers: 0,
            sums: Sums::NONE,
            rests: 0,
            is_ejected: false,
            is_on_trial: false,
        }
    }

    pub(super) fn pace(&self) -> Option<u16> {
        self.pace.get()
    }

    pub(super) const fn faults(&self) -> u16 {
        self.faults
    }

    /// Forgets what its answers have shown.
    pub(super) fn begin_anew(&mut self) {
        (self.floor, self.pace, self.faults) = (Mean::NONE, Mean::NONE, 0);
        (self.timed, self.answers, self.is_news) = (narrow(NONE), 0, true);
    }

    /// Returns the share of its answers that did something for their task, in 1/256; never none.
    fn success(&self) -> u64 {
        success(self.faults)
    }
}

/// Returns the share of answers that were of use, in 1/256; never none.
pub(super) fn success(faults: u16) -> u64 {
    256 - u64::from(faults >> 8)
}

define_linkage! {
    /// The workers that hold more than they run at once.
    Laden: WorkerSlot, record.laden
}

/// What is known of all workers together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choosing {
    is_on: bool,
    floor: Mean,
    pace: Mean,
    /// How long a task takes on the mean of all workers, in nanoseconds, and the longest of late, as a
    /// logarithm.
    mean: u64,
    longest: u16,
    /// The share of answers that did nothing for their task, in 1/65536.
    faults: u16,
    /// The speeds of all that serve, together: by group of those that serve the same queues.
    speed: [u128; GROUPS],
    /// Of all that serve.
    pub(super) sums: Sums,
    /// How many tasks the caller has not submitted yet.
    pub(super) backlog: u64,
    /// When a new task that was held back goes to a worker with room, whoever that is.
    pub(super) patience: Instant,
    laden: List<Laden>,
}

impl Choosing {
    pub(super) const fn new(policy: &Policy) -> Self {
        Self {
            is_on: matches!(policy.choice, Choice::FirstAnswer),
            floor: Mean::NONE,
            pace: Mean::NONE,
            mean: 0,
            longest: 0,
            faults: 0,
            speed: [0; GROUPS],
            sums: Sums::NONE,
            backlog: 0,
            patience: Instant::FAR_FUTURE,
            laden: List::new(),
        }
    }
}

impl Choosing {
    /// Takes in how long a task took, or would have on a worker like most.
    fn take_length(&mut self, log: u16) {
        let length = exp2(log);
        if self.mean == 0 {
            (self.mean, self.longest) = (length, log + LONGER_AT_FIRST);
        }
        self.mean = self.mean - self.mean / 64 + length / 64;
        self.longest = (self.longest - 1).max(log);
    }

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

/// Returns the logarithm to the base of two, in 1/256: exact for powers of two, and in between on
/// straight lines, as [`exp2`] is.
pub(super) fn log2(value: u64) -> u16 {
    let value = value.clamp(1, LONGEST);
    let whole = value.ilog2();
    let rest = if whole >= 8 { value >> (whole - 8) } else { value << (8 - whole) };
    let log = u64::from(whole) << 8 | rest & 255;
    u16::try_from(log).expect("at most 42 * 256")
}

/// Returns what a logarithm is of.
fn exp2(log: u16) -> u64 {
    let (whole, rest) = (log >> 8, 256 + u64::from(log & 255));
    if whole >= 8 { rest << (whole - 8) } else { rest >> (8 - whole) }
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
        let held = u64::from(self.in_flight() - slot.held.len());
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

    /// Returns how much of a task a worker does in 2^40 ns.
    fn speed_of(slot: &WorkerSlot) -> u64 {
        let may = slot.phase.is_serving() && !slot.is_paced();
        let Some(pace) = slot.record.pace.get().filter(|_| may) else {
            return 0;
        };
        let pace = exp2(pace) * 256 / slot.record.success();
        u64::from(slot.runs.min(RUNS_MAX)) * ((1 << SPEED_BITS) / pace.max(1))
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

    /// Begins with a new link of a worker.
    pub(super) fn begin_record(&mut self, worker: u32, offer: Offer) {
        let slot = &mut self.workers[worker as usize];
        slot.record.weight = offer.weight.max(1);
        slot.record.is_news = true;
        (slot.record.is_ejected, slot.record.is_on_trial, slot.record.answers) = (false, false, 0);
        slot.record.timed = narrow(NONE);
        slot.record.done = slot.done;
        slot.record.auto.begin(offer.is_auto && self.state.judges(), slot.allowance);
    }

    /// Follows a worker that was just given a task.
    pub(super) fn note_sent(&mut self, worker: u32, task: u32) {
        if !self.state.judges() {
            return;
        }
        self.end_patience(task);
        let slot = &mut self.workers[worker as usize];
        // Of those that are sent at once the last one, since answers may come all at once as well.
        let is_next = slot.record.timed_at == self.state.clock && !slot.record.auto.is_pinned();
        if wide(slot.record.timed) == NONE || is_next {
            slot.record.timed = narrow(task);
            slot.record.place = slot.held.len();
            slot.record.timed_at = self.state.clock;
            slot.begin_look();
        }
    }

    /// Something was sent, so that what is held back is so anew.
    fn end_patience(&mut self, task: u32) {
        #[cfg(feature = "queues")]
        if let Some(line) =
            self.state.queues.lines.get_mut(usize::from(self.tasks[task as usize].line))
        {
            line.patience = Instant::FAR_FUTURE;
            return;
        }
        let _ = task;
        self.state.choosing.patience = Instant::FAR_FUTURE;
    }

    /// Follows a worker that all tasks were just taken from.
    pub(super) fn forget_timed(&mut self, worker: u32) {
        self.workers[worker as usize].record.timed = narrow(NONE);
    }

    /// Lets the next workers of the ring come to their turn.
    pub(super) fn turn_ring(&mut self) {
        if self.state.judges() {
            for group in 0..GROUPS {
                self.state.balance.turn_ring(self.workers, 2 * group + CLEAN, SAMPLE);
            }
        }
    }

    /// Follows a worker that a task was just taken from, and returns whether it was done.
    pub(super) fn note_end(&mut self, worker: u32, task: u32) -> bool {
        if !self.state.judges() {
            return false;
        }
        let slot = &mut self.workers[worker as usize];
        let record = &mut slot.record;
        let is_done = slot.done != record.done;
        record.done = slot.done;
        let was_timed = wide(record.timed) == task;
        if was_timed {
            record.timed = narrow(NONE);
        }
        if is_done {
            if record.faults > 0 {
                record.faults -= record.faults.div_ceil(8);
                record.is_news = true;
            }
            record.judged_at = self.state.clock;
            let faults = &mut self.state.choosing.faults;
            *faults -= faults.div_ceil(64);
            if was_timed {
                self.take_sample(worker);
            }
            self.workers[worker as usize].cut_allowance();
        }
        is_done
    }

    /// Takes in that a worker holds fewer from now on, since it was throttled or late.
    pub(super) fn note_shrunk(&mut self, worker: u32) {
        self.workers[worker as usize].shrink_window();
    }

    fn take_sample(&mut self, worker: u32) {
        let (slot, choosing) = (&mut self.workers[worker as usize], &mut self.state.choosing);
        let record = &mut slot.record;
        let took = log2(self.state.clock.as_nanos() - record.timed_at.as_nanos());
        let behind = log2(u64::from(record.place.max(slot.runs))) - log2(slot.runs.into());
        let sample = took.saturating_sub(behind);
        // On trial it is not given the benefit of the doubt.
        let usual = if record.is_on_trial { Mean::NONE } else { choosing.pace };
        record.pace.take(sample, 8, usual);
        record.is_news = true;
        choosing.pace.take(sample, 16, Mean::NONE);
        let usual = i32::from(sample) - i32::from(record.pace.log) + i32::from(choosing.pace.log);
        choosing.take_length(u16::try_from(usual.clamp(0, LOG_MAX)).expect("it is clamped"));
        if record.place <= slot.runs {
            record.floor.take(took, 8, choosing.floor);
            choosing.floor.take(took, 16, Mean::NONE);
        }
        if let (Some(floor), Some(pace)) = (record.floor.get(), record.pace.get()) {
            let place = record.place;
            slot.fit_window(place, took, floor, pace);
        }
    }

    /// Notes an answer that did nothing for its task, or none that came in time.
    pub(super) fn note_fault(&mut self, worker: u32) {
        if self.state.judges() {
            let record = &mut self.workers[worker as usize].record;
            record.faults += (u16::MAX - record.faults) / 8;
            record.judged_at = self.state.clock;
            let faults = &mut self.state.choosing.faults;
            *faults += (u16::MAX - *faults) / 64;
            self.follow_speed(worker);
        }
    }

    /// Sees to it that all that follows from what a worker holds, and whether it serves, is as it is.
    pub(super) fn follow_record(&mut self, worker: u32) {
        if !self.state.judges() {
            return;
        }
        let slot = &mut self.workers[worker as usize];
        let is_serving = slot.phase.is_serving();
        if slot.held.is_empty() {
            slot.record.timed = narrow(NONE);
        }
        let was = (slot.record.was_serving, slot.record.was_paced);
        if slot.record.is_news || was != (is_serving, slot.is_paced()) {
            self.follow_speed(worker);
        }
        let slot = &mut self.workers[worker as usize];
        let is_laden = is_serving && slot.held.len() > slot.runs;
        let was_laden = core::mem::replace(&mut slot.record.is_laden, is_laden);
        let laden = &mut self.state.choosing.laden;
        if was_laden {
            laden.take_out(self.workers, worker);
        }
        if is_laden {
            laden.append(self.workers, worker);
        }
    }

    /// Sees to it that the pool's speed has what a worker's is now.
    fn follow_speed(&mut self, worker: u32) {
        let speed = SchedulerState::speed_of(&self.workers[worker as usize]);
        let slot = &mut self.workers[worker as usize];
        (slot.record.is_news, slot.record.was_serving) = (false, slot.phase.is_serving());
        slot.record.was_paced = slot.is_paced();
        let before = core::mem::replace(&mut slot.record.speed, speed);
        let group = slot.group();
        self.state.choosing.speed[group] += u128::from(speed);
        self.state.choosing.speed[group] -= u128::from(before);
        let sums = Sums::of(slot);
        let before = core::mem::replace(&mut slot.record.sums, sums);
        self.state.choosing.sums.add(&sums);
        self.state.choosing.sums.subtract(&before);
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
            let slot = &self.tasks[task as usize];
            let uncounted = slot.attempts - slot.failures - slot.losses;
            u32::from(uncounted) * 2 < u32::from(self.state.policy.resends_max)
        })
    }
}

/// Checks what is kept about all workers against each one's.
///
/// # Panics
/// If it is not their sum, or what is timed is not held.
pub(super) fn check(state: &SchedulerState, tasks: &[TaskSlot], workers: &[WorkerSlot]) {
    let mut laden = 0;
    state.choosing.laden.check(workers, |worker| {
        assert!(workers[worker as usize].record.is_laden, "a worker is listed as laden");
        laden += 1;
    });
    let (mut speed, mut listed, mut sums) = ([0; GROUPS], 0, Sums::NONE);
    for (at, slot) in (0..NONE).zip(workers) {
        let record = &slot.record;
        speed[slot.group()] += u128::from(record.speed);
        sums.add(&record.sums);
        let is_laden = state.judges() && slot.phase.is_serving() && slot.held.len() > slot.runs;
        assert!(record.is_laden == is_laden, "a worker is laden, or is not, wrongly");
        listed += u32::from(is_laden);
        assert!(record.speed == 0 || slot.phase.is_serving(), "one that is away has a speed");
        if wide(record.timed) != NONE {
            let task = &tasks[record.timed as usize];
            let is_held = task.state == TaskState::InFlight && wide(task.worker) == at;
            assert!(is_held, "an attempt is timed that a worker does not hold");
        }
    }
    assert!(speed == state.choosing.speed, "the speeds of all are not their sum");
    assert!(sums == state.choosing.sums, "what is known of all is not their sum");
    assert!(laden == listed, "a laden worker is not listed");
}
