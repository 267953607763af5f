//! Workers that keep what they hold while they have no link.

use chargehand_core::{EventError, Instant, Loss, Offer, Outcome, TaskId};

use super::poll::ModelStep;
use super::returned::Blame;
use super::types::{Act, Lk};
use super::{LinkPhase, Model, TaskState};

impl Model {
    /// Whether a worker has no link and may come back with what it holds.
    pub(super) fn is_away(&self, slot: usize) -> bool {
        let worker = &self.workers[slot];
        worker.phase != LinkPhase::Up && !worker.held.is_empty()
    }

    /// Lets a worker keep what it holds, if it has a grace and is not on its way out.
    pub(super) fn keep_all(&mut self, slot: usize) -> bool {
        let worker = &mut self.workers[slot];
        let stops = worker.draining || worker.removing;
        if worker.grace.is_zero() || worker.held.is_empty() || stops {
            return false;
        }
        worker.grace_until = self.clock.saturating_add(worker.grace);
        worker.recall = false;
        let begun = worker.runs.saturating_sub(u32::from(worker.strikes)) as usize;
        let held = worker.held.clone();
        for (position, task) in held.into_iter().enumerate() {
            self.turn_to(slot, task);
            let task = &mut self.tasks[task];
            if !std::mem::replace(&mut task.kept, true) {
                task.had_begun = position < begun;
            }
        }
        self.note("a worker kept what it held");
        self.tidy();
        true
    }

    /// Whether a task that a worker holds may have begun there, or before its link broke.
    pub(super) fn may_have_begun(&self, worker: usize, slot: usize) -> bool {
        let (holder, task) = (&self.workers[worker], &self.tasks[slot]);
        let is_old = holder.held.iter().take(holder.runs as usize).any(|&other| other == slot);
        if task.kept { task.had_begun } else { is_old }
    }

    /// A worker has a new link.
    pub(super) fn take_over(&mut self, slot: usize, offer: Offer) {
        if self.is_away(slot) && !offer.resumes {
            self.note("a worker that was away is another one");
            self.give_back_all(slot, Loss::Broken);
        } else if self.is_away(slot) {
            self.note("a worker that was away is back");
            self.workers[slot].grace_until = self.clock.saturating_add(self.workers[slot].grace);
        } else if offer.resumes && self.keep_all(slot) {
            self.note("a worker displaced its own link and kept what that held");
        } else {
            self.give_back_all(slot, Loss::Stopped);
        }
    }

    /// What a worker held that is away is lost.
    pub(super) fn end_grace(&mut self, slot: usize, how: Loss) {
        if self.is_away(slot) {
            self.note("a grace ended");
            self.give_back_all(slot, how);
        }
    }

    /// A worker on a new link agrees on its grace, and holds no more than its window.
    pub(super) fn begin_with_kept(&mut self, slot: usize, offer: Offer) {
        self.workers[slot].grace = offer.keeps.min(self.config.grace);
        while self.workers[slot].held.len() as u64 > self.workers[slot].window.into() {
            self.note("a worker came back with a smaller window");
            let task = *self.workers[slot].held.last().expect("more than its window");
            self.give_back_one(slot, task);
        }
    }

    fn give_back_one(&mut self, slot: usize, task: usize) {
        self.turn_to(slot, task);
        self.put_down(slot, task);
        self.workers[slot].lost += 1;
        self.counters.lost += 1;
        self.give_back(task, slot, Blame::Nobody);
    }

    pub(super) fn on_kept(&mut self, link: Lk, id: TaskId, attempt: u16) -> Result<(), EventError> {
        let worker = self.hear(link)?;
        self.check_answer(worker, id, attempt)?;
        self.turn_to(worker, id.slot() as usize);
        let task = &mut self.tasks[id.slot() as usize];
        if std::mem::take(&mut task.kept) {
            self.note("an attempt went on over another link");
            self.touch(worker);
        } else {
            self.note("an attempt of this very link was named");
            return Err(EventError::Foreign);
        }
        Ok(())
    }

    pub(super) fn on_listed(&mut self, link: Lk) -> Result<(), EventError> {
        let worker = self.hear(link)?;
        self.give_back_unlisted(worker);
        Ok(())
    }

    fn give_back_unlisted(&mut self, worker: usize) {
        for task in self.workers[worker].held.clone() {
            if self.held_at(worker, task).1 {
                self.note("what a worker that is back did not name was sent again");
                self.give_back_one(worker, task);
            }
        }
        self.close_if_drained(worker);
    }

    /// When something is due by a worker's grace, or of what it holds while it is away.
    pub(super) fn grace_deadline(&self, slot: usize) -> Option<Instant> {
        let worker = &self.workers[slot];
        let is_kept = worker.held.iter().any(|&task| self.held_at(slot, task).1);
        let until = is_kept.then_some(worker.grace_until);
        let late = self.late_away(slot).map(|(_, at)| at);
        let first = until.into_iter().chain(late).min();
        first.filter(|&at| at != Instant::FAR_FUTURE)
    }

    /// The attempt of a worker that is away which is late first, of those without times of their own.
    fn late_away(&self, slot: usize) -> Option<(usize, Instant)> {
        if !self.is_away(slot) {
            return None;
        }
        let (task, deadline) = self.oldest_attempt(slot, false)?;
        Some((task, deadline.max(self.workers[slot].hold_until)))
    }

    /// Does what is due at this time by a worker's grace, if anything is.
    pub(super) fn due_grace(&mut self, at: Instant, slot: usize) -> bool {
        if let Some((task, _)) = self.late_away(slot).filter(|&(_, due)| due == at) {
            self.note("an attempt was late while its worker was away");
            self.timed_out_away(slot, task);
            return true;
        }
        let is_kept = self.workers[slot].held.iter().any(|&task| self.held_at(slot, task).1);
        if !is_kept || self.workers[slot].grace_until != at {
            return false;
        }
        if self.workers[slot].phase == LinkPhase::Up {
            self.note("a worker that was back did not say what it has");
            self.give_back_unlisted(slot);
        } else {
            self.end_grace(slot, Loss::Broken);
        }
        true
    }

    pub(super) fn timed_out_away(&mut self, worker: usize, slot: usize) {
        self.turn_to(worker, slot);
        let begun = self.may_have_begun(worker, slot);
        self.put_down(worker, slot);
        self.counters.timed_out += 1;
        self.workers[worker].lost += 1;
        self.give_back(slot, worker, if begun { Blame::Late } else { Blame::Nobody });
    }

    /// Finishes a task that a worker holds, and tells that if it is there.
    pub(super) fn take_for_good(
        &mut self,
        worker: usize,
        slot: usize,
        outcome: Outcome,
    ) -> ModelStep {
        let is_away = self.is_away(worker);
        let act = Act::Withdraw(self.link(worker), self.id(slot), self.tasks[slot].attempts);
        assert!(matches!(self.tasks[slot].state, TaskState::InFlight { .. }));
        self.put_down(worker, slot);
        self.finish(slot, outcome);
        self.close_if_drained(worker);
        if is_away {
            self.note("ended with nobody to be told");
            ModelStep::Again
        } else {
            ModelStep::Emit(act)
        }
    }
}
