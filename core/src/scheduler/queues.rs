//! Queues: what each has, and which may not send now.
//!
//! A pool begins without: all tasks wait as `returned` and `tasks` have it, and nothing here costs a thing.
//! With the first task that has a key, the first pause, or when it is made with queues, all tasks move into
//! *lines*, one for each queue, and every send and answer goes the way of those that are not as most are
//! (`WorkerSlot::is_plain` is false), which counts for its line. A line has what a pool has otherwise: lanes of
//! new tasks, and wards of those that came back, by the worker that they came from.

mod check;
pub(super) mod line;
mod turn;

use alloc::vec::Vec;

use super::keys::Keys;
use super::list::{Linkage, List};
use super::returned::{PLAIN, SUSPECTS, whose_turn};
#[cfg(feature = "hedging")]
use super::sets::Groups;
use super::slot::{TaskSlot, TaskState, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState};
use crate::error::{NoQueue, SubmitError};
use crate::explain::Waits;
use crate::id::TaskId;
use crate::options::{Lane, TaskOptions};
#[cfg(feature = "hedging")]
use crate::queue::Rate;
use crate::queue::{CLASSES, QueueId, QueueOptions, QueueStats};
use crate::time::Instant;
pub(super) use check::check;
use line::Holders;
pub(super) use line::Line;

/// The list of new tasks whose key is free now.
const FREED_LIST: usize = 2;

/// Where a task that has not been sent yet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Stand {
    /// In its lane.
    Lane,
    /// Among those whose key is free now.
    Freed,
    /// Behind others of its key.
    Behind,
}

/// All about queues and keys.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Queues {
    /// By queue; none as long as the pool is without.
    pub(super) lines: Vec<Line>,
    /// What each class is owed of its least share, in percent of a send.
    owed: [u16; CLASSES],
    /// How many tasks wait for their first attempt.
    waiting: u32,
    pub(super) keys: Keys,
}

impl Queues {
    pub(super) const fn new() -> Self {
        Self { lines: Vec::new(), owed: [0; CLASSES], waiting: 0, keys: Keys::new() }
    }
}

impl SchedulerState {
    /// Whether tasks wait in lines.
    #[inline]
    pub(super) fn is_queued(&self) -> bool {
        !self.queues.lines.is_empty()
    }

    /// Returns how many tasks wait in lines for their first attempt.
    #[inline]
    pub(super) const fn waiting_queued(&self) -> u32 {
        self.queues.waiting
    }

    /// Returns how many tasks of a lane wait in lines for their first attempt, and for no other of their key.
    #[inline]
    pub(super) fn waiting_in_lane(&self, lane: Lane) -> u32 {
        if self.is_queued() { self.waiting_in_lines(lane) } else { 0 }
    }

    fn waiting_in_lines(&self, lane: Lane) -> u32 {
        self.queues.lines.iter().map(|line| line.waiting[lane as usize]).sum()
    }

    /// Returns how many tasks of a lane of a queue wait for their first attempt, and for no other of their
    /// key.
    pub(super) fn waiting_in(&self, queue: QueueId, lane: Lane) -> u32 {
        match self.queues.lines.get(queue.place() as usize) {
            Some(line) => line.waiting[lane as usize],
            None if queue == QueueId::DEFAULT => self.waiting[lane as usize].len(),
            None => 0,
        }
    }

    /// Returns when the first queue may send again that only its rate keeps from it.
    #[inline]
    pub(super) fn first_rate(&self) -> Instant {
        if self.is_queued() { self.first_rate_of_lines() } else { Instant::FAR_FUTURE }
    }

    fn first_rate_of_lines(&self) -> Instant {
        let waiting = self.queues.lines.iter().filter(|line| line.ready() > 0);
        let until = waiting.filter_map(|line| match line.barred(self.clock)? {
            Waits::QueueRate { until } => Some(until),
            _ => None,
        });
        until.min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Returns the worker whose turn it is to get a task of a line.
    fn next_for(
        &self,
        line: &Line,
        workers: &[WorkerSlot],
        but: u32,
        clean_only: bool,
    ) -> Option<u32> {
        self.next_among(workers, line.groups, but, clean_only)
    }

    /// Whether a task of a line may go to its last worker again.
    fn may_go_back_in(&self, line: &Line, tasks: &[TaskSlot], task: Option<u32>) -> bool {
        let is_due = task.is_some_and(|task| self.is_due(tasks[task as usize].due));
        is_due || self.serving_in(line.groups) < 2
    }

    /// Whether a line has a new task that nothing but workers keeps from being sent.
    pub(super) fn has_new(&self, line: &Line) -> bool {
        let may = line.ready() > 0 && line.barred(self.clock).is_none();
        may && line.fresh.iter().any(|list| !list.is_empty())
    }

    /// Finds a task of a line that came back and may go somewhere now: from whose ward, and to whom.
    fn find_queued(
        &self,
        line: &Line,
        class: usize,
        tasks: &[TaskSlot],
        workers: &[WorkerSlot],
    ) -> Option<(u32, u32)> {
        let wards = &line.wards[class];
        let first = wards.holders.head()?;
        whose_turn(
            first,
            |but| self.next_for(line, workers, but, class == SUSPECTS),
            || self.may_go_back_in(line, tasks, wards.head(first)),
            || Holders::neighbours(&wards.table[first as usize]).next(),
        )
    }

    /// Returns when a task may first go back to the worker that it came back from, if that is still to
    /// come. O(queues).
    #[inline]
    pub(super) fn may_return_queued_at(&self, tasks: &[TaskSlot], worker: u32) -> Instant {
        if self.is_queued() { self.may_return_to(tasks, worker) } else { Instant::FAR_FUTURE }
    }

    fn may_return_to(&self, tasks: &[TaskSlot], worker: u32) -> Instant {
        let wards = self.queues.lines.iter().flat_map(|line| &line.wards);
        let dues = wards.map(|wards| super::workers::due(tasks, wards.head(worker)));
        dues.filter(|&due| due > self.clock).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Returns how many tasks of a queue would be accepted now.
    pub(super) fn room_of(&self, queue: QueueId, tasks: &[TaskSlot]) -> usize {
        let free = self.room(tasks);
        let Some(line) = self.queues.lines.get(queue.place() as usize) else {
            return if self.is_queued() || queue != QueueId::DEFAULT { 0 } else { free };
        };
        // Half of the slots are kept for the queues, as many for each; the other half is for whoever comes.
        // So none can keep the others out, be it that it is paused.
        let all = tasks.len() - self.seconds_max();
        let kept = all / (2 * self.queues.lines.len());
        let shared = all - kept * self.queues.lines.len();
        let over = |line: &Line| (line.open as usize).saturating_sub(kept);
        let used: usize = self.queues.lines.iter().map(over).sum();
        let own = kept.saturating_sub(line.open as usize);
        (own + shared.saturating_sub(used)).min(free)
    }

    /// Returns which kind of tasks one is of: its queue.
    #[cfg(feature = "hedging")]
    pub(super) fn kind_of(&self, slot: &TaskSlot) -> u8 {
        if self.is_queued() { slot.line } else { 0 }
    }

    /// Whether the queue of a task may send a second attempt of it now.
    #[cfg(feature = "hedging")]
    pub(super) fn may_send_second(&self, slot: &TaskSlot) -> bool {
        let line = self.queues.lines.get(usize::from(slot.line));
        line.is_none_or(|line| line.barred(self.clock).is_none())
    }

    /// Returns the worker that a second attempt of a task goes to now: another one than has the first.
    #[cfg(feature = "hedging")]
    pub(super) fn next_for_second(&self, workers: &[WorkerSlot], slot: &TaskSlot) -> Option<u32> {
        let line = self.queues.lines.get(usize::from(slot.line));
        let groups = line.map_or(Groups::ONLY, |line| line.groups);
        self.next_among(workers, groups, super::index::wide(slot.worker), true)
    }

    /// Returns how a queue stands.
    pub(super) fn queue_stats(&self, queue: QueueId, tasks: &[TaskSlot]) -> Option<QueueStats> {
        let Some(line) = self.queues.lines.get(queue.place() as usize) else {
            let is_only = !self.is_queued() && queue == QueueId::DEFAULT;
            return is_only.then(|| QueueStats {
                waiting: self.waiting(),
                resting: self.resting(),
                in_flight: self.in_flight(),
                sent: self.stats.sent,
                ..QueueStats::default()
            });
        };
        let waiting = line.ready() + line.behind;
        let heads = line.fresh.iter().filter_map(List::head);
        Some(QueueStats {
            waiting,
            waiting_for_key: line.behind,
            resting: line.open - waiting - (line.in_flight - line.seconds),
            in_flight: line.in_flight - line.seconds,
            sent: line.sent,
            waits_since: heads.map(|task| tasks[task as usize].due).min(),
            is_paused: line.options.is_paused,
        })
    }
}

/// What a call puts in.
impl SchedulerMut<'_> {
    /// Accepts a task where not all is as most are: the pool has queues or drains, or the task has a key.
    #[cold]
    pub(super) fn submit_queued(
        &mut self,
        now: Instant,
        options: TaskOptions,
    ) -> Result<TaskId, SubmitError> {
        self.set_clock(now);
        let TaskOptions { queue, key, lane, .. } = options;
        if self.state.is_draining {
            return Err(SubmitError::Draining);
        }
        let place = queue.place() as usize;
        if place >= self.state.queues.lines.len().max(1) {
            return Err(SubmitError::NoQueue);
        }
        if key.is_some_and(|key| key.number >= self.state.policy.keys_max) {
            return Err(SubmitError::NoKey);
        }
        if self.state.room_of(queue, self.tasks) == 0 {
            return Err(SubmitError::Full);
        }
        self.begin_lines(&[QueueOptions::new()]);
        let task = self.state.unused.take(self.tasks).ok_or(SubmitError::Full)?;
        let id = self.begin(task, options.retries_max, lane);
        let slot = &mut self.tasks[task as usize];
        slot.line = queue.place();
        slot.stand = Stand::Lane;
        slot.is_keyed = false;
        // While it waits for its first attempt: since when.
        slot.due = self.state.clock;
        let queues = &mut self.state.queues;
        queues.waiting += 1;
        queues.lines[place].open += 1;
        match key {
            Some(key) => self.take_key(task, key),
            None => self.stand_in_lane(task),
        }
        self.take_times(task, options);
        self.take_hedge(task, options, self.state.queues.lines[place].hedge());
        self.rest_if_paused(task);
        Ok(id)
    }

    /// Stops or lets go on a queue.
    pub(super) fn set_paused(&mut self, queue: QueueId, is_paused: bool) -> Result<(), NoQueue> {
        if queue.place() as usize >= self.state.queues.lines.len().max(1) {
            return Err(NoQueue);
        }
        self.begin_lines(&[QueueOptions::new()]);
        self.state.queues.lines[queue.place() as usize].options.is_paused = is_paused;
        Ok(())
    }

    /// Moves all tasks into lines, of which these are the queues' options, if they are not there already.
    /// O(slots), once.
    pub(super) fn begin_lines(&mut self, options: &[QueueOptions]) {
        if self.state.is_queued() {
            return;
        }
        let mut first = Line::new(options[0]);
        first.turn = self.state.turn;
        first.open = self.state.open();
        first.in_flight = self.state.in_flight() + self.state.seconds();
        first.seconds = self.state.seconds();
        first.returned = self.state.returned;
        first.sent = self.state.stats.sent;
        #[cfg(feature = "choice")]
        {
            first.patience = self.state.choosing.patience;
        }
        for (lane, waiting) in self.state.waiting.iter_mut().enumerate() {
            self.state.queues.waiting += waiting.len();
            first.waiting[lane] = waiting.len();
            first.fresh[lane] = core::mem::replace(waiting, List::new());
        }
        for slot in self.tasks.iter_mut().filter(|slot| slot.state == TaskState::Waiting) {
            slot.due = self.state.clock;
        }
        for (class, wards) in first.wards.iter_mut().enumerate() {
            let holders = &mut self.state.holders[class];
            while let Some(worker) = holders.head() {
                holders.remove(self.workers, worker);
                let count = self.workers.len();
                let ward = &mut self.workers[worker as usize].wards[class];
                while let Some(task) = ward.take_first(self.tasks) {
                    wards.put(self.tasks, worker, task, count);
                }
            }
        }
        for worker in self.workers.iter_mut() {
            worker.is_plain = false;
        }
        let others = options[1..].iter().map(|&options| Line::new(options));
        self.state.queues.lines.extend(core::iter::once(first).chain(others));
        self.state.is_gated = true;
        self.state.stir();
        self.follow_sets();
    }
}

/// What becomes of a task in a line. Nothing, where there are none.
impl SchedulerMut<'_> {
    /// Takes out a task that waits for its first attempt.
    pub(super) fn leave_line(&mut self, task: u32) {
        let Self { state, tasks, .. } = self;
        let slot = &tasks[task as usize];
        let (line, lane, stand) = (usize::from(slot.line), slot.lane as usize, slot.stand);
        state.queues.waiting -= 1;
        let list = match stand {
            Stand::Lane => lane,
            Stand::Freed => FREED_LIST,
            Stand::Behind => {
                state.queues.lines[line].behind -= 1;
                return state.queues.keys.leave_behind(tasks, task);
            }
        };
        state.queues.lines[line].waiting[lane] -= 1;
        state.queues.lines[line].fresh[list].take_out(tasks, task);
    }

    /// Puts a task behind others of its key, which it waits for.
    pub(super) fn stand_behind(&mut self, task: u32) {
        let slot = &mut self.tasks[task as usize];
        slot.stand = Stand::Behind;
        self.state.queues.lines[usize::from(slot.line)].behind += 1;
    }

    /// Lets a task be sent that was behind others of its key.
    pub(super) fn set_free(&mut self, task: u32) {
        let Self { state, tasks, .. } = self;
        let slot = &mut tasks[task as usize];
        slot.stand = Stand::Freed;
        let lane = slot.lane as usize;
        let line = &mut state.queues.lines[usize::from(slot.line)];
        line.behind -= 1;
        line.waiting[lane] += 1;
        line.fresh[FREED_LIST].append(tasks, task);
    }

    /// Has a task wait among those whose key is free now, for its first attempt.
    #[cfg(feature = "task-times")]
    pub(super) fn stand_freed(&mut self, task: u32) {
        let Self { state, tasks, .. } = self;
        let slot = &mut tasks[task as usize];
        (slot.state, slot.stand, slot.due) = (TaskState::Waiting, Stand::Freed, state.clock);
        let lane = slot.lane as usize;
        let line = &mut state.queues.lines[usize::from(slot.line)];
        state.queues.waiting += 1;
        line.waiting[lane] += 1;
        line.fresh[FREED_LIST].append(tasks, task);
    }

    /// Puts a task that may be sent into its lane.
    pub(super) fn stand_in_lane(&mut self, task: u32) {
        let Self { state, tasks, .. } = self;
        let slot = &tasks[task as usize];
        let (line, lane) = (usize::from(slot.line), slot.lane as usize);
        state.queues.lines[line].waiting[lane] += 1;
        state.queues.lines[line].fresh[lane].append(tasks, task);
    }

    /// Counts a second attempt of a task for its queue's rate. It takes no share from others: nothing else may be
    /// sent now.
    #[cfg(feature = "hedging")]
    pub(super) fn count_second(&mut self, task: u32) {
        let clock = self.state.clock;
        let line = usize::from(self.tasks[task as usize].line);
        if let Some(line) = self.state.queues.lines.get_mut(line) {
            if let Some(rate) = line.options.rate {
                line.full = Rate::take(rate, line.full, clock);
            }
            line.sent += 1;
            line.seconds += 1;
        }
    }

    /// Takes in that what was the second attempt of a task is its only one now.
    #[cfg(feature = "hedging")]
    pub(super) fn uncount_second(&mut self, task: u32) {
        let line = usize::from(self.tasks[task as usize].line);
        if let Some(line) = self.state.queues.lines.get_mut(line) {
            line.seconds -= 1;
        }
    }

    /// Takes in that a worker was sent a task.
    pub(super) fn pick_up_queued(&mut self, task: u32) {
        if self.state.is_queued() {
            let line = usize::from(self.tasks[task as usize].line);
            self.state.queues.lines[line].in_flight += 1;
        }
    }

    /// Takes in that a worker holds a task no more.
    pub(super) fn put_down_queued(&mut self, task: u32) {
        if self.state.is_queued() {
            let line = usize::from(self.tasks[task as usize].line);
            self.state.queues.lines[line].in_flight -= 1;
            self.state.queues.lines[line].seconds -= u32::from(self.state.is_second(task));
        }
    }

    /// Takes in that the outcome of a task is settled: another of its key may be sent.
    pub(super) fn end_queued(&mut self, task: u32) {
        if self.state.is_queued() {
            let slot = &self.tasks[task as usize];
            self.state.queues.lines[usize::from(slot.line)].open -= 1;
            if slot.is_keyed {
                self.give_key_back(task);
            }
        }
    }

    /// Keeps a task that came back in its line. Returns whether it is the first from that worker.
    pub(super) fn keep_in_line(&mut self, task: u32, holder: u32, class: usize) -> bool {
        let Self { state, tasks, workers } = self;
        let line = &mut state.queues.lines[usize::from(tasks[task as usize].line)];
        line.returned += 1;
        line.wards[class].put(tasks, holder, task, workers.len())
    }

    /// Takes out a task that came back. Returns whether others from that worker are left.
    pub(super) fn take_out_of_line(&mut self, task: u32, holder: u32, class: usize) -> bool {
        let Self { state, tasks, .. } = self;
        let line = &mut state.queues.lines[usize::from(tasks[task as usize].line)];
        line.returned -= 1;
        line.wards[class].take_out(tasks, holder, task)
    }

    /// Takes out any task that waits for its first attempt, and for no other one of its key. Those that do
    /// are there once that has its outcome.
    pub(super) fn pop_fresh_queued(&mut self) -> Option<u32> {
        let mut lists = self.state.queues.lines.iter().flat_map(|line| &line.fresh);
        let task = lists.find_map(List::head)?;
        self.leave_line(task);
        Some(task)
    }

    /// Takes out any task that came back.
    pub(super) fn pop_returned_queued(&mut self) -> Option<u32> {
        for class in [PLAIN, SUSPECTS] {
            for line in &self.state.queues.lines {
                let wards = &line.wards[class];
                if let Some(task) = wards.holders.head().and_then(|holder| wards.head(holder)) {
                    self.take_out(task);
                    return Some(task);
                }
            }
        }
        None
    }
}
