//! Times of a task's own: its deadline, its attempts' timeout and the delay before its retries.
//!
//! What is common to all tasks needs no order but that of sending or failing, so most deadlines are
//! kept by lists at no cost (decision 0007). A task with times of its own breaks that order: it has a
//! timer in a heap of its own, O(log of such tasks), from acceptance to outcome, and is passed over
//! where lists are read as ordered (decision 0023). Its times lie in a side table, so that the slots
//! of the others stay as small as they are, and which is as long as was needed so far: a pool whose tasks
//! have no such times allocates nothing.

mod check;
mod throttled;

use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::time::Duration;

use super::blame::Blame;
use super::index::{NONE, Stored, narrow, wide};
use super::list::{Linkage, List};
use super::poll::{PollStep, go_on_without};
use super::slot::{Queue, TIMED, TaskSlot, TaskState, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState, later};
use super::timers::{TimerSlot, Timers, timer_slot};
use super::workers::draw;
use crate::backoff::BackoffPolicy;
use crate::event::{Action, Outcome};
use crate::options::TaskOptions;
use crate::time::{Instant, nanos};
pub(super) use check::{check, check_resting};

/// The times of one task.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct TaskTimes {
    /// When it is over, whatever it is doing.
    deadline: Instant,
    /// How long each attempt may take without progress, in nanoseconds: no longer than in all.
    attempt_timeout: u64,
    /// How long it rests after a failure, where not as long as any other.
    retry_delay: Option<BackoffPolicy>,
    /// How long an attempt may take in all where it makes progress, in nanoseconds; zero where that gives it
    /// no time.
    attempt_max: u64,
    /// When that is over for the latest attempt.
    longest: Instant,
    /// How far the latest attempt is, by what the worker said.
    done: u64,
    /// The caller was asked to look at the task's link before an attempt is judged.
    looked: bool,
    timer: Instant,
    place: Stored,
    heap: Stored,
}

const _: () = assert!(size_of::<TaskTimes>() <= 96);

timer_slot!(TaskTimes);

impl TaskTimes {
    const fn new() -> Self {
        Self {
            deadline: Instant::FAR_FUTURE,
            attempt_timeout: 0,
            retry_delay: None,
            attempt_max: 0,
            longest: Instant::EPOCH,
            done: 0,
            looked: false,
            timer: Instant::FAR_FUTURE,
            place: narrow(NONE),
            heap: narrow(NONE),
        }
    }
}

/// What the scheduler keeps about all tasks with times of their own.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct OwnTimes {
    /// By task slot. As long as the highest slot of such a task needs, and never shorter again.
    table: Vec<TaskTimes>,
    timers: Timers<TaskTimes>,
    /// The earliest timer, so that it is known without the table.
    first: Instant,
    /// Those that rest, in no order: their timers have it.
    resting: List<Queue>,
}

impl OwnTimes {
    pub(super) const fn new() -> Self {
        Self {
            table: Vec::new(),
            timers: Timers::new(),
            first: Instant::FAR_FUTURE,
            resting: List::new(),
        }
    }
}

#[cfg(test)]
impl OwnTimes {
    /// Returns a task's deadline, timer and the end of what progress may give its attempt, its time for an
    /// attempt and that in all in nanoseconds, how far it is, and whether it has a delay of its own and was
    /// looked at.
    pub(super) fn of(&self, task: usize) -> ([Instant; 3], [u64; 3], [bool; 2]) {
        let times = &self.table[task];
        let flags = [times.retry_delay.is_some(), times.looked];
        let numbers = [times.attempt_timeout, times.attempt_max, times.done];
        ([times.deadline, times.timer, times.longest], numbers, flags)
    }
}

impl TaskSlot {
    /// Whether it has times of its own.
    #[inline]
    pub(super) const fn is_timed(&self) -> bool {
        self.special & TIMED != 0
    }

    /// Whether something is to be done for it that is not for most.
    #[inline]
    pub(super) const fn is_special(&self) -> bool {
        self.special != 0
    }
}

impl WorkerSlot {
    /// Returns how many of those that it holds have times of their own.
    #[inline]
    pub(super) const fn timed(&self) -> u32 {
        self.timed
    }
}

impl SchedulerState {
    /// Returns the earliest timer of a task with times of its own.
    pub(super) const fn first_own(&self) -> Instant {
        self.own.first
    }

    /// Returns how many tasks rest in no order.
    pub(super) const fn resting_own(&self) -> u32 {
        self.own.resting.len()
    }
}

/// Returns the oldest attempt of a worker that is due by the order of sending. O(1), and the tasks with
/// times of their own that were sent before it.
pub(super) fn first_in_order(tasks: &[TaskSlot], worker: &WorkerSlot) -> Option<u32> {
    let mut first = worker.held.head();
    if worker.timed == 0 {
        return first;
    }
    while let Some(task) = first.filter(|&task| tasks[task as usize].is_timed()) {
        first = after(tasks, task);
    }
    first
}

impl SchedulerMut<'_> {
    /// Takes in the times of a task that was just accepted, if it has any of its own.
    #[inline]
    pub(super) fn take_times(&mut self, task: u32, options: TaskOptions) {
        let has_deadline = options.deadline != Instant::FAR_FUTURE;
        let has_timeout = options.attempt_timeout.is_some() || options.attempt_max.is_some();
        if has_deadline || has_timeout || options.retry_delay.is_some() {
            self.lend().take_own_times(task, options);
        }
    }

    fn take_own_times(&mut self, task: u32, options: TaskOptions) {
        let times = self.give_times(task);
        times.deadline = options.deadline;
        if let Some(timeout) = options.attempt_timeout {
            times.attempt_timeout = nanos(timeout);
        }
        times.retry_delay = options.retry_delay;
        times.attempt_max = options.attempt_max.map_or(0, nanos);
        if times.attempt_max > 0 {
            times.attempt_timeout = times.attempt_timeout.min(times.attempt_max);
        }
        self.watch(task);
    }

    /// Makes a task one with times of its own, which are at first those of any other.
    fn give_times(&mut self, task: u32) -> &mut TaskTimes {
        self.tasks[task as usize].special |= TIMED;
        let table = &mut self.state.own.table;
        if table.len() <= task as usize {
            // Doubled, so that a task costs O(1) on average, and never longer than all slots.
            let length = (table.len() * 2).clamp(task as usize + 1, self.tasks.len());
            table.resize(length, TaskTimes::new());
        }
        let times = &mut table[task as usize];
        times.deadline = Instant::FAR_FUTURE;
        times.attempt_timeout = self.state.policy.attempt_timeout;
        times.retry_delay = None;
        times.attempt_max = 0;
        times
    }

    /// Sets the timer of a task with times of its own, by the state that it is in.
    pub(super) fn watch(&mut self, task: u32) {
        let slot = &self.tasks[task as usize];
        if slot.is_timed() {
            let at = due_by_itself(self.tasks, self.workers, &self.state.own.table, task);
            self.set_timer(task, at);
        }
    }

    /// Takes the timer of a task away, if it has one.
    pub(super) fn unwatch(&mut self, task: u32) {
        if self.tasks[task as usize].is_timed() {
            self.set_timer(task, Instant::FAR_FUTURE);
        }
    }

    fn set_timer(&mut self, task: u32, at: Instant) {
        let own = &mut self.state.own;
        own.timers.set(&mut own.table, task, at);
        own.first = own.timers.first(&own.table).map_or(Instant::FAR_FUTURE, |(_, at)| at);
        self.state.calm_until = self.state.calm_until.min(at);
    }

    /// Begins an attempt of a task with times of its own, which the worker holds already.
    pub(super) fn send_timed(&mut self, worker: u32, task: u32) {
        let slot = &mut self.tasks[task as usize];
        if slot.is_timed() {
            let times = &mut self.state.own.table[task as usize];
            times.looked = false;
            times.done = 0;
            times.longest = later(self.state.clock, times.attempt_max);
            slot.due = later(self.state.clock, times.attempt_timeout);
            self.workers[worker as usize].timed += 1;
            self.watch(task);
        }
    }

    /// Ends an attempt of a task with times of its own, which the worker holds no more.
    pub(super) fn put_down_timed(&mut self, worker: u32, task: u32) {
        if self.tasks[task as usize].is_timed() {
            self.workers[worker as usize].timed -= 1;
            self.unwatch(task);
        }
    }

    /// Returns how long an attempt of a task may take, in nanoseconds.
    pub(super) fn attempt_timeout(&self, task: u32) -> u64 {
        if self.tasks[task as usize].is_timed() {
            self.state.own.table[task as usize].attempt_timeout
        } else {
            self.state.policy.attempt_timeout
        }
    }

    /// Returns when a task is over, whatever it is doing.
    pub(super) fn deadline(&self, task: u32) -> Instant {
        if self.tasks[task as usize].is_timed() {
            self.state.own.table[task as usize].deadline
        } else {
            Instant::FAR_FUTURE
        }
    }

    /// Has a task with times of its own rest after a failure. Returns false for any other.
    pub(super) fn rest_timed(&mut self, task: u32) -> bool {
        let slot = &mut self.tasks[task as usize];
        if !slot.is_timed() {
            return false;
        }
        let delay = match self.state.own.table[task as usize].retry_delay {
            None => self.state.policy.retry_delay,
            Some(policy) => {
                // By what it is for and not by what was drawn before, so that no state is kept.
                let mut seed = self.state.policy.seed
                    ^ (u64::from(task) << 32 | u64::from(slot.generation))
                    ^ u64::from(slot.failures) << 48;
                policy.delay_nanos(slot.failures.into(), draw(&mut seed))
            }
        };
        self.rest_until(task, later(self.state.clock, delay));
        true
    }

    fn rest_until(&mut self, task: u32, due: Instant) {
        let slot = &mut self.tasks[task as usize];
        slot.state = TaskState::Resting;
        slot.due = due;
        self.state.own.resting.append(self.tasks, task);
        self.watch(task);
    }

    /// Has a task that has just failed rest for so long instead, if it is to be tried again. If it had no
    /// times of its own, it has from now on: it would break the order of those that rest.
    pub(super) fn rest_for(&mut self, task: u32, delay: Duration) {
        let slot = &self.tasks[task as usize];
        if slot.state != TaskState::Resting {
            return;
        }
        self.take_out_resting(task);
        self.rest_with_times(task, later(self.state.clock, nanos(delay)));
    }

    /// Has a task rest that is in no list. If it had no times of its own, it has from now on.
    pub(super) fn rest_with_times(&mut self, task: u32, due: Instant) {
        if !self.tasks[task as usize].is_timed() {
            self.give_times(task);
        }
        self.rest_until(task, due);
    }

    /// Takes a resting task out of the list that it is in.
    pub(super) fn take_out_resting(&mut self, task: u32) {
        let is_timed = self.tasks[task as usize].is_timed();
        let own = &mut self.state.own.resting;
        let list = if is_timed { own } else { &mut self.state.resting };
        list.take_out(self.tasks, task);
    }

    /// Takes any task with times of its own that rests.
    pub(super) fn pop_resting_own(&mut self) -> Option<u32> {
        self.state.own.resting.take_first(self.tasks)
    }

    /// Does what the earliest timer of a task is for, if that has come.
    pub(super) fn step_own(&mut self) -> Option<PollStep> {
        let (task, at) = self.state.own.timers.first(&self.state.own.table)?;
        if !self.state.is_due(at) {
            return None;
        }
        let is_over = self.state.is_due(self.state.own.table[task as usize].deadline);
        match self.tasks[task as usize].state {
            state if state.is_held() => return Some(go_on_without(self.judge_own(task, at))),
            TaskState::Waiting => self.leave_waiting(task),
            TaskState::Returned => self.take_out(task),
            TaskState::Resting => self.take_out_resting(task),
            _ => {
                unreachable!("a task without an attempt to come has a timer")
            }
        }
        if is_over {
            self.finish(task, Outcome::TimedOut);
        } else if !self.stands_again(task) {
            self.keep_returned(task);
        }
        Some(ControlFlow::Continue(None))
    }

    /// Returns which attempt of a worker is judged first of those that are due at the same time as this
    /// one. Those that were put off together are, and only the oldest of them may have begun.
    fn oldest_due(&self, worker: u32, task: u32, at: Instant) -> u32 {
        let table = &self.state.own.table;
        let is_over = |task: u32| self.state.is_due(self.deadline(task));
        let mut next = self.workers[worker as usize].held.head().filter(|_| !is_over(task));
        while let Some(older) = next.filter(|&older| older != task) {
            let is_timed = self.tasks[older as usize].is_timed();
            let due = || due_by_itself(self.tasks, self.workers, table, older);
            if is_timed && due() == at && !is_over(older) {
                return older;
            }
            next = after(self.tasks, older);
        }
        task
    }

    /// Returns an attempt with times of its own that is older than this one, and due at the same time.
    #[inline]
    pub(super) fn older_own(&self, worker: u32, task: u32, at: Instant) -> Option<u32> {
        if self.workers[worker as usize].timed == 0 {
            return None;
        }
        Some(self.oldest_due(worker, task, at)).filter(|&older| older != task)
    }

    /// Ends an attempt that is late by its task's own times, after the caller was asked to look.
    pub(super) fn judge_own(&mut self, task: u32, at: Instant) -> Option<Action> {
        let due = due_by_itself(self.tasks, self.workers, &self.state.own.table, task);
        let times = &mut self.state.own.table[task as usize];
        if due != at {
            // It was put off in the meantime.
            times.looked = false;
            self.set_timer(task, due);
            return None;
        }
        let worker = wide(self.tasks[task as usize].worker);
        let task = self.oldest_due(worker, task, at);
        let is_away = self.workers[worker as usize].is_away();
        let times = &mut self.state.own.table[task as usize];
        if !times.looked && !is_away {
            times.looked = true;
            let link = self.workers[worker as usize].link(worker);
            let overdue = Some(self.state.named(self.tasks, task));
            return Some(Action::Look { link, overdue });
        }
        let (deadline, timeout) = (times.deadline, times.attempt_timeout);
        if !self.state.is_due(deadline) {
            if is_away {
                self.time_out_away(worker, task);
                return None;
            }
            // The worker is judged by the pool's time, and not by a shorter one of the caller's.
            let is_early = timeout < self.state.policy.attempt_timeout;
            let end = if is_early { Self::end_early } else { Self::time_out };
            return Some(end(self, worker, task));
        }
        // The caller's time is up, which is nobody's fault: no strike.
        let withdraw = self.take_for_good(worker, task, Outcome::TimedOut);
        self.close_drained(worker);
        withdraw
    }
}

#[cfg(feature = "hedging")]
impl SchedulerMut<'_> {
    /// Gives the second attempt of a task the times that each of its attempts has.
    pub(super) fn begin_second_times(&mut self, task: u32, second: u32) {
        if self.tasks[task as usize].is_timed() {
            let TaskTimes { attempt_timeout, attempt_max, .. } =
                self.state.own.table[task as usize];
            let times = self.give_times(second);
            (times.attempt_timeout, times.attempt_max) = (attempt_timeout, attempt_max);
        }
    }

    /// Has two attempts of a task change what is kept of them, once they have changed places.
    pub(super) fn swap_times(&mut self, task: u32, second: u32) {
        if !self.tasks[task as usize].is_timed() {
            return;
        }
        let table = &mut self.state.own.table;
        let [one, other] = [table[task as usize], table[second as usize]];
        for (at, from) in [(task, other), (second, one)] {
            let times = &mut table[at as usize];
            (times.longest, times.done, times.looked) = (from.longest, from.done, from.looked);
        }
        self.watch(task);
        self.watch(second);
    }
}

impl SchedulerMut<'_> {
    /// Takes in how far an attempt is: see [`Event::Progress`](crate::Event::Progress).
    pub(super) fn on_progress(&mut self, task: u32, done: u64) {
        let slot = &mut self.tasks[task as usize];
        if !slot.is_timed() {
            return;
        }
        let times = &mut self.state.own.table[task as usize];
        if done > times.done {
            times.done = done;
            let renewed = later(self.state.clock, times.attempt_timeout).min(times.longest);
            // Only ever later: a timer may be early but never late.
            slot.due = slot.due.max(renewed);
        }
    }

    /// Whether a worker has said of the latest attempt of a task that something of it is done: then it has
    /// begun.
    pub(super) fn has_progressed(&self, task: u32) -> bool {
        self.tasks[task as usize].is_timed() && self.state.own.table[task as usize].done > 0
    }

    /// Ends an attempt that is late by its task's own time, which is shorter than the others'. It is no
    /// strike, but counts against the worker as a failure does: after some in a row, it is suspended.
    fn end_early(&mut self, worker: u32, task: u32) -> Action {
        let had_begun = self.may_have_begun(worker, task);
        let withdraw = self.end(worker, task);
        self.state.stats.timed_out += 1;
        self.workers[worker as usize].lost += 1;
        self.give_back(task, if had_begun { Blame::Late } else { Blame::Nobody });
        self.count_failure(worker);
        self.close_drained(worker);
        withdraw
    }

    /// Whether a task is among as many of its worker's oldest as that runs at once, or was when its link broke.
    /// O(those).
    pub(super) fn may_have_begun(&self, worker: u32, task: u32) -> bool {
        let holder = &self.workers[worker as usize];
        let mut older = holder.held.head();
        let mut is_old = false;
        for _ in 0..holder.runs {
            match older {
                Some(at) if at == task => {
                    is_old = true;
                    break;
                }
                Some(at) => older = after(self.tasks, at),
                None => break,
            }
        }
        self.had_begun(task, is_old, true)
    }
}

/// Returns the task after another in the list of those that the same worker holds.
pub(super) fn after(tasks: &[TaskSlot], task: u32) -> Option<u32> {
    let next = Queue::neighbours(&tasks[task as usize]).next();
    (next != NONE).then_some(next)
}

/// Returns when something is to be done about a task by its own times.
fn due_by_itself(
    tasks: &[TaskSlot],
    workers: &[WorkerSlot],
    times: &[TaskTimes],
    task: u32,
) -> Instant {
    let slot = &tasks[task as usize];
    let next = match slot.state {
        state if state.is_held() => slot.due.max(workers[slot.worker as usize].hold_until),
        TaskState::Resting => slot.due,
        TaskState::Waiting | TaskState::Returned => Instant::FAR_FUTURE,
        _ => return Instant::FAR_FUTURE,
    };
    next.min(times[task as usize].deadline)
}
