//! What a state is made of, so that two which behave alike count as one.

use std::vec::Vec;

use super::search::Engine;
use crate::config::Policy;
use crate::scheduler::index::wide;
use crate::scheduler::slot::{Duty, LinkPhase, TaskSlot, TaskState, WorkerSlot};
use crate::scheduler::times;
use crate::{Instant, Route, Storage};

/// Where a span counts as none.
const OFF: u64 = u64::MAX;
/// Further back than any span of the models, in nanoseconds.
const LONG_AGO: u64 = 16_000_000;
const NEVER: u32 = u32::MAX;

/// Returns a digest of all that decides what the engine does from here on, the clock being "now".
///
/// Left out is what only counts (statistics, generations, epochs), the generator behind the jitter, of
/// which the models have none, and the places of free nodes in the structures that levels and timers
/// are made of. Two states that differ in something else are taken for one with a probability of about
/// `states^2 / 2^128`.
pub(super) fn digest(engine: &Engine) -> u128 {
    let mut canon = Canon { clock: engine.state.clock, words: Vec::with_capacity(160) };
    let (tasks, workers) = engine.storage.slots();
    canon.pool(engine, tasks, workers);
    for (slot, task) in tasks.iter().enumerate() {
        canon.task(engine, slot, task);
    }
    for worker in workers {
        canon.worker(&engine.state.policy, tasks, worker);
    }
    fnv(&canon.words)
}

/// Source: Fowler, Noll and Vo, the variant FNV-1a with 128 bits, over words in place of bytes.
fn fnv(words: &[u32]) -> u128 {
    let step = |hash: u128, &word: &u32| {
        let hash =
            (hash ^ u128::from(word)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        hash ^ (hash >> 61)
    };
    words.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step)
}

struct Canon {
    clock: Instant,
    words: Vec<u32>,
}

impl Canon {
    fn pool(&mut self, engine: &Engine, tasks: &[TaskSlot], workers: &[WorkerSlot]) {
        let state = &engine.state;
        state.unused.check(tasks, |task| self.words.push(task));
        self.end();
        for lane in &state.waiting {
            lane.check(tasks, |task| self.words.push(task));
            self.end();
        }
        state.resting.check(tasks, |task| self.words.push(task));
        self.end();
        times::check_resting(state, tasks, |task| self.words.push(task));
        self.end();
        state.finished.check(tasks, |task| self.words.push(task));
        self.end();
        state.unused_workers.check(workers, |worker| self.words.push(worker));
        self.end();
        let [first, second] = &state.holders;
        let others = [first, second, &state.todo, &state.absent, &state.members];
        for roll in others.into_iter().chain(&state.suspended) {
            roll.check(workers, |worker| self.words.push(worker));
            self.end();
        }
        // With two workers, these say who stands where.
        let next = |clean| state.balance.next_but(workers, u32::MAX, clean).unwrap_or(NEVER);
        self.words.extend([next(true), next(false), u32::from(state.turn), wide(state.aborting)]);
        for worker in workers {
            let order = worker.order();
            let first = state.balance.first_of(workers, order, u32::MAX).unwrap_or(NEVER);
            let (count, queues) = state.served_by(worker).rank();
            self.words.extend([first, count, u32::try_from(queues).unwrap_or(NEVER)]);
        }
        self.words.extend(state.queues.words(tasks, state.clock));
        self.words
            .extend(state.hedging.budget(&state.policy, state.stats.sent - state.stats.hedged));
        self.words.push(u32::from(state.is_draining));
        self.ahead(state.drain_deadline);
        self.ahead(state.calm_until);
    }

    fn task(&mut self, engine: &Engine, slot: usize, task: &TaskSlot) {
        let (kind, outcome) = match task.state {
            TaskState::Free => (0, 0),
            TaskState::Waiting => (1, 0),
            TaskState::Returned => (2, 0),
            TaskState::InFlight => (3, 0),
            TaskState::Withdrawing => (4, 0),
            TaskState::Resting => (5, 0),
            TaskState::Finished(outcome) => (6, outcome as u32),
            TaskState::Second => (7, 0),
        };
        self.words.extend([kind, outcome]);
        if matches!(kind, 0 | 4 | 6) {
            return;
        }
        if kind != 1 {
            self.words.push(wide(task.worker));
            self.since(task.due);
        }
        self.words.extend([task.attempts, task.failures, task.losses].map(u32::from));
        self.words.extend([u32::from(task.retries_max), task.lane as u32]);
        self.words.extend([u32::from(task.line), task.stand as u32, u32::from(task.is_keyed)]);
        self.words.extend([task.is_suspect, task.is_timed()].map(u32::from));
        self.words.push(task.kept as u32);
        if task.is_timed() {
            let (times, numbers, flags) = engine.state.own.of(slot);
            for at in times {
                self.ahead(at);
            }
            self.words.extend(numbers.map(|number| u32::try_from(number).unwrap_or(NEVER)));
            self.words.extend(flags.map(u32::from));
        }
        if let Some((words, [since, timer])) = engine.state.hedging.words(slot, task) {
            self.words.extend(words);
            self.since(since);
            self.ahead(timer);
        }
    }

    fn worker(&mut self, policy: &Policy, tasks: &[TaskSlot], worker: &WorkerSlot) {
        let phase = match worker.phase {
            LinkPhase::Free => 0,
            LinkPhase::Absent => 1,
            LinkPhase::BackingOff => 2,
            LinkPhase::WantConnect => 3,
            LinkPhase::Connecting => 4,
            LinkPhase::Up(Duty::Serving) => 5,
            LinkPhase::Up(Duty::Suspended) => 6,
            LinkPhase::Up(Duty::Delayed) => 7,
            LinkPhase::Up(Duty::Busy) => 8,
            LinkPhase::Up(Duty::Draining) => 9,
            LinkPhase::Leaving => 10,
            LinkPhase::Closing(reason) => 11 + reason as u32,
        };
        self.words.push(phase);
        // They outlive the worker.
        for ward in &worker.wards {
            ward.check(tasks, |task| self.words.push(task));
            self.end();
        }
        if phase == 0 {
            return;
        }
        let flags = [worker.removing, worker.notice, worker.has_suspect, worker.recall];
        self.words.push(worker.route as u32);
        self.words.extend(flags.map(u32::from));
        // The models' backoff is at its cap after two, and more failures than that change nothing.
        self.words.extend([worker.attempts.min(2), worker.suspensions.min(2)]);
        self.words.push(u32::from(worker.streak.min(policy.failures_max)));
        self.ahead(worker.timer);
        for word in worker.pace_words(self.clock) {
            self.words.push(u32::try_from(word).unwrap_or(NEVER));
        }
        if matches!(phase, 1 | 2 | 4 | 6 | 7) {
            self.since(worker.due);
        }
        if worker.route == Route::Await {
            self.ahead(worker.not_before);
        }
        if worker.phase.is_up() || worker.kept > 0 {
            self.link(policy, tasks, worker);
            self.words.extend([worker.kept, u32::try_from(worker.grace).unwrap_or(NEVER)]);
            self.ahead(worker.grace_end());
        }
    }

    fn link(&mut self, policy: &Policy, tasks: &[TaskSlot], worker: &WorkerSlot) {
        for list in [&worker.held, &worker.withdrawn] {
            list.check(tasks, |task| self.words.push(task));
            self.end();
        }
        self.words.extend([worker.allowance, worker.window, worker.runs, wide(worker.level)]);
        self.words.push(u32::from(worker.strikes));
        if worker.strikes > 0 {
            self.since(worker.struck_at);
        }
        if policy.stable_after != OFF {
            let age = self.clock.as_nanos() - worker.up_since.as_nanos();
            self.words.push(u32::try_from(age.min(policy.stable_after)).unwrap());
        }
        if policy.heartbeat_interval != OFF {
            self.words.push(u32::from(worker.pinged));
            self.since(worker.silent_since);
        }
        self.ahead(worker.hold_until);
        self.since(worker.looked);
    }

    fn end(&mut self) {
        self.words.push(NEVER - 1);
    }

    /// Adds a time of which only matters when it comes, if it has not yet.
    fn ahead(&mut self, at: Instant) {
        let nanos = at.as_nanos().saturating_sub(self.clock.as_nanos());
        self.words.push(u32::try_from(nanos).unwrap_or(NEVER));
    }

    /// Adds a time of which also matters how long ago it was, up to the longest span.
    fn since(&mut self, at: Instant) {
        let clock = self.clock.as_nanos();
        let ago = clock.saturating_sub(at.as_nanos()).min(LONG_AGO);
        self.words.push(u32::try_from(ago).unwrap());
        self.ahead(at);
    }
}
