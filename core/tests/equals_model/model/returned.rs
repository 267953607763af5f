//! What counts as an attempt, and where what came back goes next.

use std::collections::VecDeque;

use chargehand_core::{Instant, Loss, Outcome};

use super::sets::rank;
use super::{LinkPhase, Model, TaskState};

/// Why an attempt has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    Suspect,
    Late,
    Nobody,
}

impl Model {
    /// An attempt has no answer: the task waits for another, or that is the end of it.
    pub(super) fn give_back(&mut self, slot: usize, worker: usize, blame: Blame) {
        if self.goes_on(slot, Some(blame)) {
            return;
        }
        let task = &mut self.tasks[slot];
        if blame != Blame::Nobody {
            task.losses += 1;
        }
        task.suspect |= blame == Blame::Suspect;
        let uncounted = task.attempts - task.failures - task.losses;
        if task.losses >= self.config.attempts_max {
            self.note("exhausted");
            self.finish(slot, Outcome::Exhausted);
        } else if uncounted >= self.config.resends_max {
            self.note("bounced");
            self.finish(slot, Outcome::Bounced);
        } else if self.past_drain_deadline() {
            self.note("lost after the drain's deadline");
            self.finish(slot, Outcome::Aborted);
        } else {
            self.keep_returned(slot, worker);
        }
    }

    /// Queues again all that a worker held, oldest first.
    pub(super) fn give_back_all(&mut self, slot: usize, how: Loss) {
        let held = std::mem::take(&mut self.workers[slot].held);
        self.workers[slot].record.timed = None;
        self.workers[slot].lost += held.len() as u64;
        self.workers[slot].recall = false;
        self.counters.lost += held.len() as u64;
        if held.len() > 1 {
            self.note("lost several attempts at once");
        }
        let worker = &self.workers[slot];
        let begun = worker.runs.saturating_sub(u32::from(worker.strikes)) as usize;
        for (position, task) in held.into_iter().enumerate() {
            self.turn_to(slot, task);
            if let Some(twice) = &mut self.tasks[task].twice {
                twice.at = None;
            }
            let was_kept = std::mem::take(&mut self.tasks[task].kept);
            let had_begun = if was_kept { self.tasks[task].had_begun } else { position < begun };
            let blame = match how {
                Loss::Broken if had_begun => Blame::Suspect,
                Loss::Broken => {
                    self.note("lost with its link before it could begin");
                    Blame::Nobody
                }
                Loss::Away => panic!("it is broken or kept"),
                Loss::Stopped => {
                    self.note("lost with a link that nobody is blamed for");
                    Blame::Nobody
                }
            };
            self.give_back(task, slot, blame);
        }
    }

    pub(super) fn keep_returned(&mut self, slot: usize, worker: usize) {
        if let Some(until) = self.key_pause(slot) {
            self.note("a task that came back rests for its key");
            return self.rest(slot, worker, until);
        }
        let due = self.clock.saturating_add(self.config.elsewhere_wait);
        self.tasks[slot].state = TaskState::Returned { worker, due };
        let class = usize::from(self.tasks[slot].suspect);
        let queue = &mut self.queues.all[self.tasks[slot].queue];
        queue.wards[class].entry(worker).or_default().push_back(slot);
        if !queue.holders[class].contains(&worker) {
            queue.holders[class].push_back(worker);
        }
    }

    /// Takes a task out of the ward that it is in, if it is in one.
    pub(super) fn leave_ward(&mut self, slot: usize) {
        let TaskState::Returned { worker, .. } = self.tasks[slot].state else { return };
        let class = usize::from(self.tasks[slot].suspect);
        let queue = &mut self.queues.all[self.tasks[slot].queue];
        let ward = queue.wards[class].entry(worker).or_default();
        ward.retain(|&other| other != slot);
        if ward.is_empty() {
            queue.holders[class].retain(|&other| other != worker);
        }
    }

    /// Says which task of a queue and class may go where now.
    pub(super) fn find_returned(&mut self, queue: usize, class: usize) -> Option<(usize, usize)> {
        for holder in self.queues.all[queue].holders[class].clone() {
            let slot = self.queues.all[queue].wards[class][&holder][0];
            let TaskState::Returned { due, .. } = self.tasks[slot].state else { panic!("{slot}") };
            if let Some(worker) = self.next_worker(queue, class == 1, Some(holder)) {
                return Some((slot, worker));
            }
            let serving = self.serving(queue);
            if serving < 2 || self.is_due(due) {
                if let Some(worker) = self.next_worker(queue, class == 1, None) {
                    self.note(match serving {
                        0 | 1 => "went back to its last worker, the only one",
                        _ => "went back to its last worker after a wait",
                    });
                    return Some((slot, worker));
                }
            }
            if self.workers[holder].is_eligible() {
                self.note("waits for another worker than its last");
            }
        }
        None
    }

    /// The worker whose turn it is to get a task of a queue, without one, and without those that hold a suspect.
    pub(super) fn next_worker(
        &self,
        queue: usize,
        clean: bool,
        but: Option<usize>,
    ) -> Option<usize> {
        if self.judges() {
            return self.best(queue, clean, but).map(|(worker, _)| worker);
        }
        let all = (0..self.workers.len()).filter(|&slot| Some(slot) != but);
        let able = all.filter(|&slot| self.workers[slot].is_eligible());
        let able = able.filter(|&slot| self.workers[slot].has_queue(queue));
        let able = able.filter(|&slot| !(clean && self.holds_suspect(slot)));
        able.min_by_key(|&slot| {
            let worker = &self.workers[slot];
            let load = (worker.held.len(), self.holds_suspect(slot));
            (load, rank(worker.set()), worker.level_order)
        })
    }

    pub(super) fn holds_suspect(&self, worker: usize) -> bool {
        self.workers[worker].held.iter().any(|&task| self.tasks[task].suspect)
    }

    pub(super) fn take_returned(&mut self, slot: usize, class: usize) {
        let TaskState::Returned { worker: holder, .. } = self.tasks[slot].state else { panic!() };
        self.leave_ward(slot);
        let holders = &mut self.queues.all[self.tasks[slot].queue].holders[class];
        if holders.contains(&holder) {
            holders.retain(|&other| other != holder);
            holders.push_back(holder);
            self.note("wards take turns");
        }
    }

    /// Any task that came back, in the order that a drain aborts them in.
    pub(super) fn first_returned(&self) -> Option<usize> {
        let first = |class: usize| {
            self.queues.all.iter().find_map(|queue| {
                let holder = queue.holders[class].front()?;
                queue.wards[class].get(holder).and_then(VecDeque::front).copied()
            })
        };
        first(0).or_else(|| first(1))
    }

    /// When the next of a worker's own tasks may go back to it, if that is still to come.
    pub(super) fn may_return_at(&self, worker: usize) -> Option<Instant> {
        let wards = self.queues.all.iter().flat_map(|queue| &queue.wards);
        let heads = wards.filter_map(|wards| wards.get(&worker)?.front().copied());
        let dues = heads.map(|slot| match self.tasks[slot].state {
            TaskState::Returned { due, .. } => due,
            other => panic!("task {slot} in a ward is {other:?}"),
        });
        dues.filter(|&due| due > self.clock).min()
    }

    /// What a worker holds beyond what it runs is taken back, the newest first.
    pub(super) fn recall(&mut self, worker: usize) {
        let holder = &mut self.workers[worker];
        holder.recall =
            holder.phase == LinkPhase::Up && holder.held.len() as u64 > holder.runs.into();
        if holder.recall {
            self.put_on_list(worker);
        }
        self.tidy();
    }
}
