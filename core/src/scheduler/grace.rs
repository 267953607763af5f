//! Workers whose link broke, and that go on with what they hold until they are back or their grace is over.
//!
//! Their attempts stay where they are, in the list of what the worker holds, and are only marked: of those it
//! is not known whether the worker still has them. Over its next link it lists what it has, which takes the mark
//! away, and what it does not list goes back to the queue. So an attempt is never at two workers, and it keeps its
//! number, its deadline and its place (decision 0037).

use super::blame::Blame;
use super::slot::{Duty, Kept, LinkPhase, TaskSlot, WorkerSlot};
use super::tasks::{SchedulerMut, later};
use super::times::{after, first_in_order};
use crate::error::EventError;
use crate::event::{Action, Loss, Offer, Outcome};
use crate::time::{Instant, nanos};

/// How a link ends that is silent.
pub(super) const SILENT: Loss = Loss::Away;

impl WorkerSlot {
    /// Returns how many of those that it holds are of an earlier link: it may not have them any more.
    #[inline]
    pub(super) const fn kept(&self) -> u32 {
        self.kept
    }

    /// Whether it has no link, and may come back with what it holds.
    pub(super) fn is_away(&self) -> bool {
        self.kept > 0 && !self.phase.is_up()
    }

    /// Returns when it is waited for no longer.
    pub(super) const fn grace_end(&self) -> Instant {
        if self.kept > 0 { self.grace_until } else { Instant::FAR_FUTURE }
    }
}

/// Returns when something is due of what a worker holds that is away.
pub(super) fn away_due(tasks: &[TaskSlot], slot: &WorkerSlot) -> Instant {
    let first = first_late(tasks, slot).map_or(Instant::FAR_FUTURE, |(_, at)| at);
    if slot.is_away() { first.min(slot.grace_end()) } else { Instant::FAR_FUTURE }
}

/// Returns which attempt of a worker is the first to be late, of those without times of their own, and when.
fn first_late(tasks: &[TaskSlot], slot: &WorkerSlot) -> Option<(u32, Instant)> {
    let first = first_in_order(tasks, slot)?;
    Some((first, tasks[first as usize].due.max(slot.hold_until)))
}

/// How links end, and begin again.
impl SchedulerMut<'_> {
    /// Notes how long a worker is waited for once its new link breaks.
    pub(super) fn agree_on_grace(&mut self, worker: u32, offer: Offer) {
        self.workers[worker as usize].grace = nanos(offer.keeps).min(self.state.policy.grace);
    }

    /// Takes back what a worker holds whose link is over, or lets it keep that for its grace. O(tasks held).
    pub(super) fn part_with(&mut self, worker: u32, how: Loss) {
        match how {
            Loss::Away if self.keep_all(worker) => {}
            Loss::Away => self.give_back_all(worker, Loss::Broken),
            how => self.give_back_all(worker, how),
        }
    }

    /// Takes in that a worker has a new link, whatever became of the last one.
    pub(super) fn take_over(&mut self, worker: u32, offer: Offer) {
        if self.workers[worker as usize].is_away() {
            if offer.resumes {
                // It has as long for its list.
                let slot = &mut self.workers[worker as usize];
                slot.grace_until = later(self.state.clock, slot.grace);
            } else {
                self.give_back_all(worker, Loss::Broken);
            }
        } else if !(offer.resumes && self.keep_all(worker)) {
            self.give_back_all(worker, Loss::Stopped);
        }
    }

    /// Lets a worker whose link is over keep what it holds for its grace. Returns false where it has none.
    ///
    /// What may have begun is settled here, as it would be without a grace: whatever is late or cancelled while
    /// the worker is away makes no room there for what waits.
    fn keep_all(&mut self, worker: u32) -> bool {
        let slot = &mut self.workers[worker as usize];
        let drains = slot.removing || slot.phase == LinkPhase::Up(Duty::Draining);
        if slot.grace == 0 || slot.held.is_empty() || drains {
            return false;
        }
        slot.grace_until = later(self.state.clock, slot.grace);
        slot.kept = slot.held.len();
        slot.recall = false;
        let (has_suspect, mut next) = (slot.has_suspect, slot.held.head());
        // Attempts that were struck may still run there, each in the place of another.
        let mut begun = slot.runs.saturating_sub(u32::from(slot.strikes));
        while let Some(task) = next {
            let kept = &mut self.tasks[task as usize].kept;
            if *kept == Kept::No {
                *kept = if begun > 0 { Kept::Begun } else { Kept::Waiting };
            }
            begun = begun.saturating_sub(1);
            next = after(self.tasks, task);
        }
        self.set_suspect(worker, has_suspect);
        self.list_todo(worker);
        true
    }

    /// Ends the grace of a worker that is away: what it held is lost with its last link, which ended so.
    pub(super) fn end_grace(&mut self, worker: u32, how: Loss) {
        if self.workers[worker as usize].is_away() {
            self.give_back_all(worker, how);
            self.arm(worker);
        }
    }

    /// Has a worker hold no more than its window, which may be smaller than that of its last link.
    pub(super) fn fit_window(&mut self, worker: u32) {
        loop {
            let slot = &self.workers[worker as usize];
            let newest = slot.held.tail().filter(|_| slot.held.len() > slot.window);
            let Some(task) = newest else { return };
            self.give_back_one(worker, task);
        }
    }

    /// Takes the mark of an earlier link away from a task, which its worker holds no more, or for certain.
    pub(super) fn put_down_kept(&mut self, worker: u32, task: u32) {
        if core::mem::replace(&mut self.tasks[task as usize].kept, Kept::No) != Kept::No {
            self.workers[worker as usize].kept -= 1;
        }
    }

    /// Returns whether a loss is to be held against an attempt: one of an earlier link if it may have begun when
    /// that broke, and any other by its place.
    pub(super) fn had_begun(&self, task: u32, by_place: bool, is_blamed: bool) -> bool {
        match self.tasks[task as usize].kept {
            Kept::No => by_place,
            Kept::Waiting => false,
            Kept::Begun => is_blamed,
        }
    }

    /// Queues a task again that its worker has not, as it says. Nobody is blamed: it had not begun, or what came
    /// of it was lost on the way.
    fn give_back_one(&mut self, worker: u32, task: u32) {
        let _ = self.take_back(worker, task);
        self.workers[worker as usize].lost += 1;
        self.state.stats.lost += 1;
        self.give_back(task, Blame::Nobody);
    }
}

/// What a worker that is back says it has.
impl SchedulerMut<'_> {
    /// Takes in that a worker still has an attempt. One that it was only sent on this link it cannot have of an
    /// earlier one: it means that of another process, and what it will answer is the answer to something else.
    pub(super) fn on_kept(&mut self, worker: u32, task: u32) -> Result<(), EventError> {
        if self.tasks[task as usize].kept == Kept::No {
            return Err(EventError::Foreign);
        }
        self.put_down_kept(worker, task);
        self.set_suspect(worker, self.workers[worker as usize].has_suspect);
        Ok(())
    }

    /// Queues again what a worker has not named. O(tasks held).
    pub(super) fn give_back_unlisted(&mut self, worker: u32) {
        let mut next = self.workers[worker as usize].held.head();
        while let Some(task) = next {
            next = after(self.tasks, task);
            if self.tasks[task as usize].kept != Kept::No {
                self.give_back_one(worker, task);
            }
        }
        self.close_drained(worker);
    }
}

/// What is due meanwhile.
impl SchedulerMut<'_> {
    /// Does what is due at this time by a worker's grace, or of what it holds while it is away. Returns whether
    /// anything was.
    pub(super) fn on_grace_timer(&mut self, worker: u32, at: Instant) -> bool {
        let slot = &self.workers[worker as usize];
        if slot.is_away() {
            let late = first_late(self.tasks, slot).filter(|&(_, due)| due == at);
            if let Some((task, _)) = late {
                self.time_out_away(worker, task);
                return true;
            }
        }
        let slot = &self.workers[worker as usize];
        if slot.grace_end() != at {
            return false;
        }
        if slot.phase.is_up() {
            // It is back, and has not said in time what it has.
            self.give_back_unlisted(worker);
            self.arm(worker);
        } else {
            self.end_grace(worker, Loss::Broken);
        }
        true
    }

    /// Ends an attempt that outlived its deadline at a worker that is away. There is nobody to be told, and no
    /// link to strike.
    pub(super) fn time_out_away(&mut self, worker: u32, task: u32) {
        let had_begun = self.may_have_begun(worker, task);
        let _ = self.take_back(worker, task);
        self.state.stats.timed_out += 1;
        self.workers[worker as usize].lost += 1;
        self.give_back(task, if had_begun { Blame::Late } else { Blame::Nobody });
        self.arm(worker);
    }

    /// Finishes a task that a worker holds. Returns the action that tells the worker, unless it is away.
    pub(super) fn take_for_good(
        &mut self,
        worker: u32,
        task: u32,
        outcome: Outcome,
    ) -> Option<Action> {
        let is_away = self.workers[worker as usize].is_away();
        let withdraw = self.end(worker, task);
        self.finish(task, outcome);
        if is_away {
            self.arm(worker);
        }
        (!is_away).then_some(withdraw)
    }
}

/// Checks which attempts are marked.
///
/// # Panics
/// If a worker without a link holds one that is not, or they are miscounted.
pub(super) fn check(tasks: &[TaskSlot], workers: &[WorkerSlot]) {
    let mut held = 0;
    for worker in workers {
        let mut kept = 0;
        worker.held.check(tasks, |task| kept += u32::from(tasks[task as usize].kept != Kept::No));
        assert!(worker.kept == kept, "attempts of earlier links are miscounted");
        let is_up = worker.phase.is_up();
        assert!(is_up || worker.held.len() == kept, "an attempt on no link has no grace");
        let ends =
            matches!(worker.phase, LinkPhase::Free | LinkPhase::Leaving | LinkPhase::Closing(_));
        assert!(!ends || kept == 0, "a worker on its way out holds attempts");
        held += kept as usize;
    }
    let marked = tasks.iter().filter(|task| task.kept != Kept::No).count();
    assert!(marked == held, "an attempt is marked that no worker holds");
}
