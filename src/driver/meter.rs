//! What the driver measures once somebody asks for it: times of tasks, failures by their text. Until then it
//! costs a branch that is never taken; without `std` there is `unmetered.rs` in its place.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use chargehand_core::io::Timer;
use chargehand_core::message::clip;
use chargehand_core::{Instant, Link, Outcome, TaskId};

use super::Driver;
use crate::error::TaskError;
use crate::link::erased::Kind;
use crate::measure::{
    ATTEMPTS_COUNTED, FAILURE_GROUPS_MAX, FailureGroup, Histogram, Measures, WorkerTimes,
    pattern_of,
};

/// The longest text of a group of failures.
const PATTERN_BYTES_MAX: usize = 256;
/// The longest example of one.
const EXAMPLE_BYTES_MAX: usize = 1024;
/// Stands for a time that is not known, or has not come.
const NEVER: Instant = Instant::FAR_FUTURE;
/// In place of a worker's slot.
const NOBODY: u32 = u32::MAX;

/// What a driver measures; nothing until it is switched on.
#[derive(Debug, Default)]
pub(crate) struct Meter(Option<Box<Measuring>>);

#[derive(Debug)]
struct Measuring {
    since: Instant,
    /// By the slot of a task.
    times: Box<[TaskTime]>,
    /// By the slot of a task whose worker holds more than it runs, when its turn came there.
    turns: Box<[Instant]>,
    /// By the slot of a task how long its worker says that it took, in nanoseconds; 0 for no word.
    told: Box<[u64]>,
    queue_wait: Histogram,
    attempts: [u64; ATTEMPTS_COUNTED],
    /// By the slot of a worker.
    lanes: Vec<Option<Box<Lane>>>,
    /// Some worker may hold more than it runs.
    have_queues: bool,
    /// What those that are gone had measured.
    gone: Times,
    failures: Failures,
}

/// When a task was taken, and once it was sent, when that was last and to which worker.
#[derive(Clone, Copy, Debug)]
struct TaskTime {
    at: Instant,
    worker: u32,
}

/// The round trips of one worker. Whatever is of all workers is summed up when it is asked for.
#[derive(Debug)]
struct Lane {
    /// How many attempts it runs at once.
    runs: usize,
    /// It may hold more than that.
    has_queue: bool,
    times: Times,
    /// How many attempts it holds, if it may hold more than it runs.
    held: usize,
    /// The tasks that wait there behind others, the one whose turn comes next first.
    waiting: VecDeque<u32>,
}

#[derive(Debug)]
struct Times {
    /// Where all of it is service, as far as is known: nothing waits at the worker, and that does not say otherwise.
    direct: Histogram,
    /// Round trips and service where that is not so. Mostly there are none.
    queued: Option<Box<(Histogram, Histogram)>>,
}

impl Times {
    const fn new() -> Self {
        Self { direct: Histogram::new(), queued: None }
    }

    fn queued(&mut self) -> &mut (Histogram, Histogram) {
        self.queued.get_or_insert_with(|| Box::new((Histogram::new(), Histogram::new())))
    }

    /// Takes in a round trip, and how much of that is service.
    fn record(&mut self, round_trip: u64, service: u64) {
        let (round_trips, services) = self.queued();
        round_trips.record(round_trip);
        services.record(service);
    }

    fn add(&mut self, other: &Self) {
        self.direct.add(&other.direct);
        if let Some(more) = &other.queued {
            let (round_trip, service) = self.queued();
            round_trip.add(&more.0);
            service.add(&more.1);
        }
    }

    fn round_trip(&self) -> Histogram {
        let mut sum = self.direct.clone();
        if let Some(queued) = &self.queued {
            sum.add(&queued.0);
        }
        sum
    }

    fn service(&self) -> Histogram {
        let mut sum = self.direct.clone();
        if let Some(queued) = &self.queued {
            sum.add(&queued.1);
        }
        sum
    }
}

impl Meter {
    /// A task is in the scheduler.
    #[inline]
    pub(crate) fn on_taken(&mut self, task: TaskId, now: Instant) {
        if let Some(measuring) = &mut self.0 {
            measuring.times[task.slot() as usize].at = now;
        }
    }

    /// Returns whether it measures.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A task was sent to a worker.
    pub(crate) fn on_sent(&mut self, link: Link, task: TaskId, attempt: u16, now: Instant) {
        if let Some(measuring) = &mut self.0 {
            measuring.on_sent(link.worker().slot(), task.slot(), attempt, now);
        }
    }

    /// A second attempt of a task is sent. From here on it is not measured: what is known of it by its slot is
    /// about one of them.
    pub(crate) fn on_hedged(&mut self, task: TaskId, now: Instant) {
        if let Some(measuring) = &mut self.0 {
            let TaskTime { worker, .. } = measuring.times[task.slot() as usize];
            measuring.leave(worker, task.slot(), now);
            measuring.times[task.slot() as usize] = TaskTime { at: NEVER, worker: NOBODY };
        }
    }

    /// A worker says how long an attempt took that it is about to answer.
    pub(crate) fn on_took(&mut self, task: TaskId, took: Duration) {
        if let Some(measuring) = &mut self.0 {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            measuring.told[task.slot() as usize] = nanos.max(1);
        }
    }

    /// A worker has ended an attempt with a failure, or with an answer of no use.
    pub(crate) fn on_failure(&mut self, task: TaskId, now: Instant) {
        if let Some(measuring) = &mut self.0 {
            measuring.on_answer(task.slot(), now);
        }
    }

    /// A worker does not hold a task any more, and has not answered it.
    pub(crate) fn on_withdrawn(&mut self, worker: u32, task: TaskId, now: Instant) {
        if let Some(measuring) = &mut self.0 {
            // Not of one that was sent to two workers, nor of the next task in its slot.
            if measuring.times[task.slot() as usize].worker == worker {
                measuring.leave(worker, task.slot(), now);
            }
        }
    }

    /// A task is finished, after so many sendings: the time of an answer is when it is handed on, in the same
    /// poll as it came, so that to read it costs nothing more.
    #[inline]
    pub(crate) fn on_finish(
        &mut self,
        task: TaskId,
        outcome: Outcome,
        attempts: u16,
        now: Instant,
    ) {
        if let Some(measuring) = &mut self.0 {
            measuring.on_finish(task.slot(), outcome, attempts, now);
        }
    }

    /// A worker's link is up.
    pub(crate) fn on_link(&mut self, worker: u32, runs: u32, window: u32) {
        if let Some(measuring) = &mut self.0 {
            measuring.on_link(worker, runs, window, 0);
        }
    }

    /// A worker has left the pool.
    pub(crate) fn on_gone(&mut self, worker: u32) {
        let Some(measuring) = &mut self.0 else { return };
        let lane = measuring.lanes.get_mut(worker as usize);
        if let Some(lane) = lane.and_then(Option::take) {
            measuring.gone.add(&lane.times);
        }
    }

    /// Notes a failure, if anybody wants to know: what it says, and of which task and worker it is.
    pub(crate) fn note_failure(
        &mut self,
        now: Instant,
        text: impl FnOnce() -> String,
        about: impl FnOnce() -> (Option<i128>, Option<Arc<str>>),
    ) {
        let Some(measuring) = &mut self.0 else { return };
        let (text, (height, peer)) = (text(), about());
        measuring.failures.note(&text, now, height, peer);
    }
}

impl Measuring {
    fn on_finish(&mut self, task: u32, outcome: Outcome, attempts: u16, now: Instant) {
        if let Some(before) = attempts.checked_sub(1) {
            self.attempts[usize::from(before).min(ATTEMPTS_COUNTED - 1)] += 1;
        }
        if outcome == Outcome::Done {
            self.on_answer(task, now);
        }
    }

    fn on_sent(&mut self, worker: u32, task: u32, attempt: u16, now: Instant) {
        let time = &mut self.times[task as usize];
        if attempt == 1 && time.at != NEVER {
            self.queue_wait.record(nanos_between(time.at, now));
        }
        *time = TaskTime { at: now, worker };
        self.told[task as usize] = 0;
        if self.have_queues {
            self.take_turn(worker, task, now);
        }
    }

    /// Puts a task behind those that its worker runs, if it runs as many as it can.
    fn take_turn(&mut self, worker: u32, task: u32, now: Instant) {
        let Some(Some(lane)) = self.lanes.get_mut(worker as usize) else { return };
        if lane.has_queue {
            lane.held += 1;
            self.turns[task as usize] = if lane.held > lane.runs {
                lane.waiting.push_back(task);
                NEVER
            } else {
                now
            };
        }
    }

    fn on_answer(&mut self, task: u32, now: Instant) {
        let TaskTime { at: sent, worker } = self.times[task as usize];
        let Some(Some(lane)) = self.lanes.get_mut(worker as usize) else { return };
        let told = self.told[task as usize];
        if told > 0 && sent != NEVER {
            let took = nanos_between(sent, now);
            lane.times.record(took, told.min(took));
            return self.leave(worker, task, now);
        }
        if !lane.has_queue {
            if sent != NEVER {
                lane.times.direct.record(nanos_between(sent, now));
            }
            return;
        }
        if sent != NEVER {
            // One that did not wait for its turn has a worker that does not keep the order.
            let turn = Some(self.turns[task as usize]).filter(|turn| *turn != NEVER);
            let service = nanos_between(turn.unwrap_or(sent), now);
            lane.times.record(nanos_between(sent, now), service);
        }
        self.leave(worker, task, now);
    }

    /// Makes room for the next one that waits at a worker.
    fn leave(&mut self, worker: u32, task: u32, now: Instant) {
        let Some(Some(lane)) = self.lanes.get_mut(worker as usize) else { return };
        if !lane.has_queue {
            return;
        }
        lane.held = lane.held.saturating_sub(1);
        if self.turns[task as usize] == NEVER {
            // It has not begun: those behind it move up.
            if let Some(place) = lane.waiting.iter().position(|waiting| *waiting == task) {
                lane.waiting.remove(place);
                return;
            }
        }
        if let Some(next) = lane.waiting.pop_front() {
            self.turns[next as usize] = now;
        }
    }

    fn on_link(&mut self, worker: u32, runs: u32, window: u32, held: u32) {
        let place = worker as usize;
        if self.lanes.len() <= place {
            self.lanes.resize_with(place + 1, || None);
        }
        let times = self.lanes[place].take().map_or(Times::new(), |lane| lane.times);
        let (runs, held) = (runs.max(1) as usize, held as usize);
        let has_queue = window as usize > runs;
        self.have_queues |= has_queue;
        let lane = Lane { runs, has_queue, times, held, waiting: VecDeque::new() };
        self.lanes[place] = Some(Box::new(lane));
    }
}

fn nanos_between(earlier: Instant, later: Instant) -> u64 {
    later.as_nanos().saturating_sub(earlier.as_nanos())
}

/// Failures by their text: those that came most often.
#[derive(Debug, Default)]
struct Failures {
    groups: Vec<FailureGroup>,
    /// Failures whose group had to make room for another.
    other: u64,
}

impl Failures {
    fn note(&mut self, text: &str, now: Instant, height: Option<i128>, peer: Option<Arc<str>>) {
        let pattern = pattern_of(text, PATTERN_BYTES_MAX);
        let example = clip(text, EXAMPLE_BYTES_MAX).into();
        if let Some(group) = self.groups.iter_mut().find(|group| group.text == pattern) {
            group.count += 1;
            (group.example, group.height, group.peer, group.at) = (example, height, peer, now);
            return;
        }
        if self.groups.len() == FAILURE_GROUPS_MAX {
            // The one that came least often, and of those the one that has not come for longest: texts
            // that never come again cannot keep out those that do.
            let key = |(_, group): &(usize, &FailureGroup)| (group.count, group.at);
            if let Some((place, _)) = self.groups.iter().enumerate().min_by_key(key) {
                self.other += self.groups.swap_remove(place).count;
            }
        }
        let group = FailureGroup { text: pattern, count: 1, example, height, peer, at: now };
        self.groups.push(group);
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Returns what was measured, and measures from now on.
    pub(super) fn measure(&mut self) -> Measures {
        if self.meter.0.is_none() {
            self.begin_to_measure();
        }
        let measuring = self.meter.0.as_ref().expect("it was begun just now");
        let mut all = Times::new();
        all.add(&measuring.gone);
        let mut workers = Vec::new();
        for (peer, lane) in self.peers.slots.iter().zip(&measuring.lanes) {
            let (Some(peer), Some(lane)) = (peer, lane) else { continue };
            all.add(&lane.times);
            let times = lane.times.round_trip();
            if let (Some(p50), Some(p99)) = (times.quantile(0.5), times.quantile(0.99)) {
                let (id, count, service) = (peer.id, times.count(), lane.times.service());
                workers.push(WorkerTimes { id, count, p50, p99, service });
            }
        }
        let mut failures = measuring.failures.groups.clone();
        failures.sort_by_key(|group| Reverse(group.count));
        Measures {
            stats: self.stats(),
            at: self.now,
            measured: self.now.saturating_since(measuring.since),
            queued: self.ends.post.queued() + self.held_back.len(),
            memory_used: self.ends.post.budget.used(),
            memory_max: self.ends.post.budget.bytes_max(),
            queue_wait: measuring.queue_wait.clone(),
            round_trip: all.round_trip(),
            service: all.service(),
            attempts: measuring.attempts,
            failures,
            failures_other: measuring.failures.other,
            ranges: self.range_figures(),
            workers,
        }
    }

    fn begin_to_measure(&mut self) {
        let tasks = self.tasks.len();
        let mut measuring = Box::new(Measuring {
            since: self.now,
            times: alloc::vec![TaskTime { at: NEVER, worker: 0 }; tasks].into(),
            turns: alloc::vec![NEVER; tasks].into(),
            told: alloc::vec![0; tasks].into(),
            queue_wait: Histogram::new(),
            attempts: [0; ATTEMPTS_COUNTED],
            lanes: Vec::new(),
            have_queues: false,
            gone: Times::new(),
            failures: Failures::default(),
        });
        for peer in self.peers.slots.iter().flatten() {
            let Some(stats) = self.scheduler.worker_stats(peer.id) else { continue };
            let Some(runs) = peer.runs_of(stats.window) else { continue };
            measuring.on_link(peer.id.slot(), runs, stats.window, stats.in_flight);
        }
        self.meter.0 = Some(measuring);
        self.note_asides();
    }

    /// Notes that a task ended without an answer, if it is something that went wrong. What a handler said is
    /// noted as it comes.
    pub(super) fn note_end(&mut self, height: Option<i128>, error: &TaskError) {
        let is_failure = !matches!(
            error,
            TaskError::Failed(_) | TaskError::Cancelled | TaskError::Stopping | TaskError::Closed
        );
        if is_failure {
            self.meter.note_failure(self.now, || alloc::format!("{error}"), || (height, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn groups_that_come_again_stay_and_those_that_do_not_make_room() {
        let mut failures = Failures::default();
        for second in 0..1000_usize {
            let then = at(second as u64);
            failures.note("disk 7 is full", then, Some(1), None);
            let once: String =
                ('a'..='z').cycle().skip(second % 26).take(5 + second / 26).collect();
            failures.note(&once, then, None, None);
        }
        assert_eq!(failures.groups.len(), FAILURE_GROUPS_MAX);
        let disk = failures.groups.iter().find(|group| group.text == "disk # is full").unwrap();
        assert_eq!((disk.count, &*disk.example), (1000, "disk 7 is full"));
        let counted: u64 = failures.groups.iter().map(|group| group.count).sum();
        assert_eq!(counted + failures.other, 2000);
    }

    #[test]
    fn what_waits_at_its_worker_is_served_from_when_its_turn_comes() {
        let mut measuring = Measuring {
            told: alloc::vec![0; 8].into(),
            since: at(0),
            times: alloc::vec![TaskTime { at: NEVER, worker: 0 }; 4].into(),
            turns: alloc::vec![NEVER; 4].into(),
            queue_wait: Histogram::new(),
            attempts: [0; ATTEMPTS_COUNTED],
            lanes: Vec::new(),
            have_queues: false,
            gone: Times::new(),
            failures: Failures::default(),
        };
        measuring.on_link(0, 1, 4, 0);
        for task in 0..4 {
            measuring.times[task as usize].at = at(0);
            measuring.on_sent(0, task, 1, at(10));
        }
        // The third is withdrawn before it begins.
        measuring.leave(0, 2, at(15));
        measuring.on_answer(0, at(20));
        measuring.on_answer(1, at(50));
        measuring.on_answer(3, at(60));
        let times = &measuring.lanes[0].as_ref().unwrap().times;
        let (round_trip, service) = (times.round_trip(), times.service());
        assert_eq!((round_trip.count(), service.count()), (3, 3));
        assert_eq!(round_trip.sum(), Duration::from_millis(10 + 40 + 50));
        assert_eq!(service.sum(), Duration::from_millis(10 + 30 + 10));
        assert_eq!(measuring.queue_wait.sum(), Duration::from_millis(40));
    }
}
