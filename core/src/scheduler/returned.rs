//! Tasks that came back: each goes to another worker than its last one if it can, and no worker gets
//! two suspects at once (decision 0018).
//!
//! They wait in lists of the worker that they came back from, in order. So which tasks may go to a
//! given worker needs no search: all but those in its own lists. Suspects, which may have ended a
//! link, wait in a list of their own, since fewer workers may take them.

use super::choice::HOLDS_BACK;
use super::index::{NONE, wide};
use super::slot::{TaskSlot, TaskState, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState, later};
use crate::time::Instant;

/// How many lanes take turns: those of new tasks, what came back, and suspects.
const LANES: u8 = 4;
const RETURNED: u8 = 2;

/// A class of tasks that came back: those that are no suspects, or those that are.
type Class = usize;
pub(super) const PLAIN: Class = 0;
pub(super) const SUSPECTS: Class = 1;

impl SchedulerState {
    /// Whether something may be sent now.
    pub(super) fn can_send(&self, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> bool {
        if self.is_past_drain() {
            return false;
        }
        if self.is_queued() {
            return self.can_send_queued(tasks, workers);
        }
        if self.balance.is_empty() {
            return false;
        }
        self.waiting.iter().any(|lane| !lane.is_empty()) && self.may_send_new(workers)
            || self.find(PLAIN, tasks, workers).is_some()
            || self.find(SUSPECTS, tasks, workers).is_some()
    }

    /// Finds a task of a class that may go somewhere now: from whose ward, and to whom. The wards
    /// take turns.
    fn find(&self, class: Class, tasks: &[TaskSlot], workers: &[WorkerSlot]) -> Option<(u32, u32)> {
        let holders = &self.holders[class];
        let first = holders.head()?;
        whose_turn(
            first,
            |but| self.next_but(workers, but, class == SUSPECTS),
            || self.may_go_back(tasks, workers[first as usize].wards[class].head()),
            || holders.after(workers, first),
        )
    }

    /// Whether a task may go to its last worker again.
    pub(super) fn may_go_back(&self, tasks: &[TaskSlot], task: Option<u32>) -> bool {
        self.serving < 2 || task.is_some_and(|task| self.is_due(tasks[task as usize].due))
    }

    /// Returns when a task may first go back to its last worker, if that is still to come.
    pub(super) fn may_return_at(
        &self,
        tasks: &[TaskSlot],
        worker: u32,
        slot: &WorkerSlot,
    ) -> Instant {
        let mut at = self.may_return_queued_at(tasks, worker);
        for ward in &slot.wards {
            let due = super::workers::due(tasks, ward.head());
            if due > self.clock {
                at = at.min(due);
            }
        }
        at
    }
}

/// Says from whose ward a task goes now, of those that have some, and to whom.
#[inline]
pub(super) fn whose_turn(
    first: u32,
    next_but: impl Fn(u32) -> Option<u32>,
    may_go_back: impl FnOnce() -> bool,
    second: impl FnOnce() -> u32,
) -> Option<(u32, u32)> {
    let next = next_but(NONE)?;
    if first != next {
        return Some((first, next));
    }
    if let Some(other) = next_but(first) {
        return Some((first, other));
    }
    if may_go_back() {
        return Some((first, next));
    }
    let second = second();
    (second != NONE).then_some((second, next))
}

impl SchedulerMut<'_> {
    /// Takes the task whose turn it is, where only new ones wait.
    #[allow(
        clippy::inline_always,
        reason = "3 % of a range, where flash is not short: decision 0010"
    )]
    #[cfg_attr(feature = "alloc", inline(always))]
    #[cfg_attr(not(feature = "alloc"), inline)]
    pub(super) fn take_fresh(&mut self) -> Option<u32> {
        if !self.state.waiting[1].is_empty() {
            return self.lend().take_fresh_bulk();
        }
        let task = self.state.waiting[0].pop_front(self.tasks)?;
        self.state.turn = 1;
        Some(task)
    }

    /// Takes the task whose turn it is, where new ones of the second lane wait, or of both.
    #[allow(
        clippy::inline_always,
        reason = "3 % of a range, where flash is not short: decision 0010"
    )]
    #[cfg_attr(feature = "alloc", inline(always))]
    fn take_fresh_bulk(&mut self) -> Option<u32> {
        let [single, bulk] = &mut self.state.waiting;
        if self.state.turn == 1 || single.is_empty() {
            self.state.turn = 2;
            return bulk.take_first(self.tasks);
        }
        self.state.turn = 1;
        single.take_first(self.tasks)
    }

    /// Takes the task whose turn it is of all that may go now, and says to which worker.
    pub(super) fn take_any(&mut self) -> Option<(u32, u32)> {
        if self.state.is_queued() {
            return self.take_queued();
        }
        let worker = self.take_next_for_new()?;
        let turn = self.state.turn;
        for _ in 0..LANES {
            let lane = self.state.turn % LANES;
            self.state.turn = lane + 1;
            let taken = if lane < RETURNED {
                if HOLDS_BACK && worker == NONE {
                    continue;
                }
                let task = self.state.waiting[usize::from(lane)].take_first(self.tasks);
                task.map(|task| (task, worker))
            } else {
                self.take_returned(usize::from(lane - RETURNED))
            };
            if taken.is_some() {
                return taken;
            }
        }
        if cfg!(feature = "queues") {
            // Queues that there are later on go on where it stands.
            self.state.turn = turn;
        }
        None
    }

    fn take_returned(&mut self, class: Class) -> Option<(u32, u32)> {
        if HOLDS_BACK && self.state.returned == 0 {
            return None;
        }
        let (holder, worker) = self.state.find(class, self.tasks, self.workers)?;
        let ward = &self.workers[holder as usize].wards[class];
        let (task, has_more) = (ward.head()?, ward.len() > 1);
        self.take_out(task);
        if has_more {
            let holders = &mut self.state.holders[class];
            holders.remove(self.workers, holder);
            holders.push_back(self.workers, holder);
        }
        self.send_again(worker, class);
        Some((task, worker))
    }

    /// Takes in that a worker is about to be sent a task that came back.
    #[inline]
    pub(super) fn send_again(&mut self, worker: u32, class: Class) {
        self.state.stats.resent += 1;
        if class == SUSPECTS {
            // It counts as its worker's before it is sent.
            self.state.suspected += 1;
            self.set_suspect(worker, true);
        }
    }

    /// Keeps a task that came back until it may go to a worker again.
    pub(super) fn keep_returned(&mut self, task: u32) {
        if self.rests_for_key(task) {
            return;
        }
        let slot = &mut self.tasks[task as usize];
        slot.state = TaskState::Returned;
        slot.due = later(self.state.clock, self.state.policy.elsewhere_wait);
        let (holder, class) = (wide(slot.worker), Class::from(slot.is_suspect));
        self.state.returned += 1;
        self.state.stir();
        let is_first = if self.state.is_queued() {
            self.keep_in_line(task, holder, class)
        } else {
            let ward = &mut self.workers[holder as usize].wards[class];
            let is_first = ward.is_empty();
            ward.append(self.tasks, task);
            if is_first {
                self.state.holders[class].push_back(self.workers, holder);
            }
            is_first
        };
        if is_first {
            self.arm_return(holder);
        }
        self.watch(task);
    }

    /// Sees to it that a worker's timer fires when it may be given its own tasks again.
    fn arm_return(&mut self, holder: u32) {
        if self.workers[holder as usize].phase.is_serving() {
            self.arm(holder);
        }
    }

    /// Takes out a task that came back.
    pub(super) fn take_out(&mut self, task: u32) {
        let slot = &self.tasks[task as usize];
        let (holder, class) = (wide(slot.worker), Class::from(slot.is_suspect));
        self.state.returned -= 1;
        let has_more = if self.state.is_queued() {
            self.take_out_of_line(task, holder, class)
        } else {
            let ward = &mut self.workers[holder as usize].wards[class];
            ward.take_out(self.tasks, task);
            let is_empty = ward.is_empty();
            if is_empty {
                self.state.holders[class].remove(self.workers, holder);
            }
            !is_empty
        };
        if has_more {
            // The next of its tasks may have longer to wait.
            self.arm_return(holder);
        }
    }

    /// Takes out any task that came back.
    pub(super) fn pop_returned(&mut self) -> Option<u32> {
        if self.state.is_queued() {
            return self.pop_returned_queued();
        }
        for class in [PLAIN, SUSPECTS] {
            if let Some(holder) = self.state.holders[class].head() {
                let task = self.workers[holder as usize].wards[class].head()?;
                self.take_out(task);
                return Some(task);
            }
        }
        None
    }
}

/// Checks the wards of all workers, and how many tasks there are in them.
///
/// # Panics
/// If a ward is not listed, or a task is in the wrong one.
pub(super) fn check(state: &SchedulerState, tasks: &[TaskSlot], workers: &[WorkerSlot]) {
    let mut count = 0;
    for class in [PLAIN, SUSPECTS] {
        let mut listed = 0;
        state.holders[class].check(workers, |worker| {
            assert!(!workers[worker as usize].wards[class].is_empty(), "an empty ward is listed");
            listed += 1;
        });
        for (at, slot) in (0..NONE).zip(workers) {
            let ward = &slot.wards[class];
            ward.check(tasks, |task| {
                let task = &tasks[task as usize];
                assert!(task.state == TaskState::Returned, "a task that did not come back is kept");
                assert!(wide(task.worker) == at, "a task came back from another worker");
                let own = Class::from(task.is_suspect);
                assert!(own == class, "a task is in the other class's ward");
            });
            count += ward.len();
            listed -= usize::from(!ward.is_empty());
        }
        assert!(listed == 0, "a ward is not listed");
    }
    let is_counted = count == state.returned || state.is_queued();
    assert!(is_counted, "tasks that came back are miscounted");
    let suspected = workers.iter().filter(|slot| slot.has_suspect).count();
    assert!(suspected == state.suspected as usize, "workers with a suspect are miscounted");
}
