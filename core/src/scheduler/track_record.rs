//! What is known of each worker by its answers, and of all workers together: what [`choice`](super::choice)
//! goes by (decision 0034).
//!
//! What a worker's successes took is kept as two means of logarithms: of attempts that could begin at
//! once (`floor`), and of all, each divided by its place in the worker's queue (`pace`). A logarithm
//! makes ten times slower the same step for tasks of a millisecond and of a minute, and a sample counts
//! no more than four times away from the mean, so that one long task among short ones says little.
//! One attempt of each worker is timed at once, as TCP times one segment (RFC 6298), so that it costs no
//! memory for each task.

use super::index::{NONE, Stored, narrow, wide};
use super::list::{Linkage, List, Neighbours, define_linkage};
use super::log::{exp2, log2};
use super::outliers::Sums;
use super::sets::GROUPS;
use super::slot::{TaskSlot, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState};
use super::window::Auto;
use crate::config::{Choice, Policy};
use crate::event::Offer;
use crate::time::Instant;

/// A factor of two, as logarithms are kept.
pub(super) const TWICE: u16 = 256;
/// A worker's speed is how much of a task it does in so many nanoseconds, as a power of two.
pub(super) const SPEED_BITS: u32 = 40;
/// No worker is taken for one that does more tasks at once.
const RUNS_MAX: u32 = 1 << 12;

const FACTOR: i32 = TWICE as i32;
/// At first the longest task is taken for 256 times as long as the first one. Each task that is not halves
/// that by a 256th.
const LONGER_AT_FIRST: u16 = 8 * TWICE;
/// No logarithm is larger.
const LOG_MAX: i32 = 42 * FACTOR;

/// A mean of logarithms.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Mean {
    log: u16,
    /// How many samples it has, as far as that counts; none is known without.
    pub(super) count: u8,
}

impl Mean {
    const NONE: Self = Self { log: 0, count: 0 };

    pub(super) fn get(self) -> Option<u16> {
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

/// What is known of one worker.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::struct_excessive_bools, reason = "each is about something else")]
pub(super) struct Record {
    /// How long an attempt takes that can begin at once.
    pub(super) floor: Mean,
    /// How much longer each task takes that waits there.
    pub(super) pace: Mean,
    /// The share of answers that did nothing for their task, in 1/65536.
    pub(super) faults: u16,
    pub(super) weight: u16,
    /// The attempt that is timed, by its task, or `NONE`.
    pub(super) timed: Stored,
    /// How many it held with that one.
    place: u32,
    pub(super) timed_at: Instant,
    /// When it last answered with what counts for or against it.
    pub(super) judged_at: Instant,
    /// How many it had done when the latest end of an attempt was seen.
    done: u64,
    pub(super) auto: Auto,
    /// What the pool's speed has of it, of which phase of its link that is, and whether its rate held it back.
    pub(super) speed: u64,
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
    pub(super) fn success(&self) -> u64 {
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Choosing {
    pub(super) is_on: bool,
    pub(super) floor: Mean,
    pub(super) pace: Mean,
    /// How long a task takes on the mean of all workers, in nanoseconds, and the longest of late, as a
    /// logarithm.
    pub(super) mean: u64,
    pub(super) longest: u16,
    /// The share of answers that did nothing for their task, in 1/65536.
    pub(super) faults: u16,
    /// The speeds of all that serve, together: by group of those that serve the same queues.
    pub(super) speed: [u128; GROUPS],
    /// Of all that serve.
    pub(super) sums: Sums,
    /// How many tasks the caller has not submitted yet.
    pub(super) backlog: u64,
    /// When a new task that was held back goes to a worker with room, whoever that is.
    pub(super) patience: Instant,
    pub(super) laden: List<Laden>,
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
        // Tasks that take no time bring it down to none, and there it stays.
        self.longest = self.longest.saturating_sub(1).max(log);
    }
}

impl SchedulerState {
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

    /// Takes in that the timed attempt of a worker is in another slot.
    #[cfg(feature = "hedging")]
    pub(super) fn retime(&mut self, worker: u32, from: u32, to: u32) {
        let record = &mut self.workers[worker as usize].record;
        if wide(record.timed) == from {
            record.timed = narrow(to);
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
            let is_held = task.state.is_held() && wide(task.worker) == at;
            assert!(is_held, "an attempt is timed that a worker does not hold");
        }
    }
    assert!(speed == state.choosing.speed, "the speeds of all are not their sum");
    assert!(sums == state.choosing.sums, "what is known of all is not their sum");
    assert!(laden == listed, "a laden worker is not listed");
}
