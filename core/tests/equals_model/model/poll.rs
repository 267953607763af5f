//! What is due next: one action per call, in a fixed order of urgency.

use std::collections::VecDeque;

use chargehand_core::{Instant, Loss, Outcome, Reason, Route};

use super::hedge::Told;
use super::returned::Blame;
use super::types::Act;
use super::{LinkPhase, Model, TaskState, Worker};

/// What one internal step came to.
pub(super) enum ModelStep {
    Nothing,
    Again,
    Emit(Act),
}

impl Model {
    pub(crate) fn poll_action(&mut self) -> Option<Act> {
        const STEPS: [fn(&mut Model) -> ModelStep; 10] = [
            Model::finished_head,
            Model::todo_head,
            Model::due_worker,
            Model::due_own,
            Model::due_task,
            Model::abort_one,
            Model::send_one,
            Model::hedge_one,
            Model::rebalance,
            Model::close_one,
        ];
        'again: loop {
            self.tidy();
            for step in STEPS {
                match step(self) {
                    ModelStep::Nothing => {}
                    ModelStep::Again => continue 'again,
                    ModelStep::Emit(act) => return Some(act),
                }
            }
            return None;
        }
    }

    /// The exact next deadline.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let workers = (0..self.workers.len()).filter_map(|slot| self.worker_deadline(slot));
        let tasks = self.resting.iter().map(|&slot| self.resting_due(slot));
        let open = self.drain.filter(|_| !self.past_drain_deadline() && !self.is_idle());
        let own = self.all_own().map(|(at, _, _)| at);
        let hedges = self.tasks.iter().filter_map(|task| task.twice?.at);
        let rates = (0..self.queues.all.len()).filter_map(|queue| self.rate_due(queue));
        let all = workers
            .chain(tasks)
            .chain(own)
            .chain(hedges)
            .chain(open)
            .chain(rates)
            .chain(self.patience_ends());
        all.filter(|&at| at != Instant::FAR_FUTURE).min()
    }

    fn finished_head(&mut self) -> ModelStep {
        let Some(slot) = self.finished.pop_front() else { return ModelStep::Nothing };
        let TaskState::Finished(outcome) = self.tasks[slot].state else { panic!("not finished") };
        let finish = Act::Finish(self.id(slot), outcome, self.tasks[slot].latest);
        self.tasks[slot].state = TaskState::Free;
        self.tasks[slot].generation = self.tasks[slot].generation.wrapping_add(1);
        self.free_tasks.push(slot);
        ModelStep::Emit(finish)
    }

    fn todo_head(&mut self) -> ModelStep {
        let Some(&slot) = self.todo.front() else { return ModelStep::Nothing };
        let link = self.link(slot);
        let act = if let Some(until) = self.workers[slot].notice.take() {
            Act::Suspend(link.worker, until)
        } else if let Some(task) = self.withdraw_first(slot) {
            match task {
                Told::Task(task) => Act::Withdraw(link, self.id(task), self.tasks[task].attempts),
                Told::Second(id, number, _) => Act::Withdraw(link, id, number),
            }
        } else if self.workers[slot].recall {
            return self.take_newest_back(slot);
        } else {
            self.line_action(slot)
        };
        ModelStep::Emit(act)
    }

    fn take_newest_back(&mut self, worker: usize) -> ModelStep {
        let held = self.workers[worker].held.clone();
        if held.len() as u64 <= self.workers[worker].runs.into() {
            self.workers[worker].recall = false;
            return ModelStep::Again;
        }
        self.note("taken back before it could begin");
        let slot = *held.last().expect("more than it runs");
        self.turn_to(worker, slot);
        let act = Act::Withdraw(self.link(worker), self.id(slot), self.tasks[slot].attempts);
        let _ = self.put_down(worker, slot);
        self.counters.returned += 1;
        self.give_back(slot, worker, Blame::Nobody);
        ModelStep::Emit(act)
    }

    fn line_action(&mut self, slot: usize) -> Act {
        let link = self.link(slot);
        match self.workers[slot].phase {
            LinkPhase::WantConnect => {
                let until = self.clock.saturating_add(self.config.connect_timeout);
                self.workers[slot].phase = LinkPhase::Connecting { until };
                Act::Connect(link)
            }
            LinkPhase::Closing(reason) => {
                match reason {
                    Reason::Strikes => self.note("closed for strikes"),
                    Reason::Drained => self.note("closed as drained"),
                    Reason::Stopped => self.note("closed at the end of a drain"),
                    Reason::ConnectTimeout | Reason::Silent => panic!("these come at once"),
                }
                if reason == Reason::Drained && self.workers[slot].route == Route::Await {
                    self.leave(slot);
                } else {
                    self.after_link(slot);
                }
                Act::Disconnect(link, reason)
            }
            LinkPhase::Leaving => {
                self.workers[slot] = Worker::unused(self.workers[slot].generation + 1);
                self.free_workers.push(slot);
                Act::Gone(link.worker)
            }
            _ => panic!("worker {slot} has nothing to do"),
        }
    }

    /// Finishes the first task that was cancelled on a worker's link.
    pub(super) fn withdraw_first(&mut self, worker: usize) -> Option<Told> {
        let told = self.workers[worker].withdrawn.pop_front()?;
        let slot = match told {
            Told::Task(slot) => slot,
            Told::Second(_, _, place) => {
                self.places.push(place);
                return Some(told);
            }
        };
        // Counted when it was cancelled.
        self.tasks[slot].state = TaskState::Finished(Outcome::Cancelled);
        self.finished.push_back(slot);
        Some(told)
    }

    /// A link is over: whatever was cancelled on it is told to nobody.
    pub(super) fn withdraw_nothing(&mut self, worker: usize) {
        while self.withdraw_first(worker).is_some() {
            self.note("withdrawn after its link was over");
        }
    }

    pub(super) fn attempt_timed_out(&mut self, worker: usize, slot: usize) -> ModelStep {
        self.note("attempt timed out");
        self.turn_to(worker, slot);
        let act = Act::Withdraw(self.link(worker), self.id(slot), self.tasks[slot].attempts);
        let TaskState::InFlight { sent, .. } = self.tasks[slot].state else { panic!("in flight") };
        let is_old = self.may_have_begun(worker, slot);
        let _ = self.put_down(worker, slot);
        let is_under_way = self.has_progressed(slot);
        let (now, holder) = (self.clock, &mut self.workers[worker]);
        // One that waited behind others which were struck has not begun for all that is known.
        let has_place = u32::from(holder.strikes) < holder.runs || sent >= holder.struck_at;
        let had_begun = is_old && (has_place || is_under_way);
        if had_begun && !has_place {
            self.note("one that made progress had begun, whatever was struck");
        }
        let holder = &mut self.workers[worker];
        if holder.strikes == 0 {
            holder.struck_at = now;
        }
        holder.strikes = holder.strikes.saturating_add(1);
        holder.lost += 1;
        holder.allowance = 1;
        self.note_shrunk(worker);
        self.note_fault(worker);
        self.counters.timed_out += 1;
        if !had_begun {
            self.note("timed out before it could begin");
        }
        self.give_back(slot, worker, if had_begun { Blame::Late } else { Blame::Nobody });
        self.recall(worker);
        if self.workers[worker].strikes >= self.config.strikes_max {
            self.lose(worker, Loss::Broken);
            self.close(worker, Reason::Strikes);
        } else {
            self.close_if_drained(worker);
        }
        ModelStep::Emit(act)
    }

    fn due_worker(&mut self) -> ModelStep {
        let deadlines = (0..self.workers.len())
            .filter_map(|slot| self.worker_deadline(slot).map(|deadline| (deadline, slot)));
        let Some((deadline, slot)) = deadlines.min() else { return ModelStep::Nothing };
        if !self.is_due(deadline) {
            return ModelStep::Nothing;
        }
        if self.due_grace(deadline, slot) || self.due_pace(deadline, slot) {
            return ModelStep::Again;
        }
        match self.workers[slot].phase {
            LinkPhase::Absent { .. } => {
                self.note("an absent worker was forgotten");
                self.end_grace(slot, Loss::Broken);
                self.leave(slot);
                ModelStep::Again
            }
            LinkPhase::BackingOff { .. } => {
                self.want_connect(slot);
                ModelStep::Again
            }
            LinkPhase::Connecting { .. } => {
                self.note("connect timed out");
                let link = self.link(slot);
                self.back_off(slot);
                ModelStep::Emit(Act::Disconnect(link, Reason::ConnectTimeout))
            }
            _ => self.due_up(slot),
        }
    }

    fn due_up(&mut self, slot: usize) -> ModelStep {
        // The earliest of the three; among equals an attempt, then the rest.
        let at = self.worker_deadline(slot);
        let late = self
            .oldest_attempt(slot, false)
            .filter(|&(_, deadline)| at == Some(deadline.max(self.workers[slot].hold_until)));
        if late.is_none() && self.workers[slot].suspended_until == at {
            self.note("rest ended by itself");
            self.release(slot);
            return ModelStep::Again;
        }
        if late.is_none() && self.workers[slot].delayed_until == at {
            self.note("a delayed worker got its first task");
            self.workers[slot].delayed_until = None;
            self.workers[slot].recall = false;
            self.touch(slot);
            return ModelStep::Again;
        }
        if let (Some(at), Some((task, _))) = (at, late) {
            if let Some(older) = self.older_own(at, slot, task) {
                self.note("an older attempt with times of its own was judged first");
                return self.judge_own(at, slot, older);
            }
        }
        let link = self.link(slot);
        if self.workers[slot].looked != at {
            self.workers[slot].looked = at;
            let overdue = late.map(|(task, _)| self.id(task));
            return ModelStep::Emit(Act::Look(link, overdue));
        }
        self.workers[slot].looked = None;
        if let Some((task, deadline)) = late {
            if at > Some(deadline) {
                self.note("an attempt that was put off timed out");
            }
            return self.attempt_timed_out(slot, task);
        }
        if self.workers[slot].pinged.is_none() {
            self.workers[slot].pinged = Some(self.clock);
            return ModelStep::Emit(Act::Ping(link));
        }
        self.note("a silent link was closed");
        self.lose(slot, Loss::Away);
        self.after_link(slot);
        ModelStep::Emit(Act::Disconnect(link, Reason::Silent))
    }

    fn due_task(&mut self) -> ModelStep {
        let Some(&slot) = self.resting.front() else { return ModelStep::Nothing };
        if !self.is_due(self.resting_due(slot)) {
            return ModelStep::Nothing;
        }
        self.resting.pop_front();
        let TaskState::Resting { worker, .. } = self.tasks[slot].state else { panic!("resting") };
        self.keep_returned(slot, worker);
        ModelStep::Again
    }

    fn abort_one(&mut self) -> ModelStep {
        if !self.past_drain_deadline() {
            return ModelStep::Nothing;
        }
        let mut waiting = self.queues.all.iter().flat_map(|queue| &queue.fresh);
        let waiting = waiting.find_map(VecDeque::front).copied();
        let queued = waiting.or_else(|| self.first_returned());
        let resting = self.resting.front().or(self.resting_own.first()).copied();
        if let Some(slot) = queued.or(resting) {
            self.note("drain aborted a queued task");
            self.finish(slot, Outcome::Aborted);
            return ModelStep::Again;
        }
        let held = (0..self.workers.len())
            .find_map(|worker| self.oldest_attempt(worker, true).map(|(slot, _)| (worker, slot)));
        let Some((worker, slot)) = held else { return ModelStep::Nothing };
        self.note("drain aborted an attempt");
        self.turn_to(worker, slot);
        self.take_for_good(worker, slot, Outcome::Aborted)
    }

    fn send_one(&mut self) -> ModelStep {
        let Some((slot, worker)) = self.take_next() else { return ModelStep::Nothing };
        if self.tasks[slot].suspect {
            assert!(!self.holds_suspect(worker), "a second suspect");
            self.note("a suspect was sent");
        }
        let order = self.next_order();
        let deadline = self.clock.saturating_add(self.begin_attempt(slot));
        let task = &mut self.tasks[slot];
        task.attempts += 1;
        task.latest = task.attempts;
        task.state = TaskState::InFlight { worker, sent: self.clock, deadline, order };
        self.counters.sent += 1;
        self.counters.resent += u64::from(task.attempts > 1);
        self.workers[worker].held.push(slot);
        self.begin_twice(slot);
        self.touch(worker);
        self.note_sent(worker, slot);
        self.count_for_pace(worker);
        ModelStep::Emit(Act::Send(self.link(worker), self.id(slot), self.tasks[slot].attempts))
    }

    fn close_one(&mut self) -> ModelStep {
        if self.drain.is_none() || !self.is_idle() {
            return ModelStep::Nothing;
        }
        let used =
            (0..self.workers.len()).filter(|&slot| self.workers[slot].phase != LinkPhase::Free);
        let Some(slot) = used.min_by_key(|&slot| self.workers[slot].age) else {
            return ModelStep::Nothing;
        };
        self.workers[slot].removing = true;
        match self.workers[slot].phase {
            LinkPhase::Up | LinkPhase::Connecting { .. } => self.close(slot, Reason::Stopped),
            _ => self.leave(slot),
        }
        ModelStep::Again
    }

    /// The attempt that a worker was sent first, and its deadline: of all, or of those whose tasks have
    /// no times of their own.
    pub(super) fn oldest_attempt(&self, worker: usize, of_all: bool) -> Option<(usize, Instant)> {
        let of =
            |slot: usize| self.live_of(slot).into_iter().map(move |(_, state, _)| (slot, state));
        let all = (0..self.tasks.len()).flat_map(of);
        let attempts = all.filter_map(|(slot, state)| match state {
            TaskState::InFlight { worker: holder, deadline, order, .. }
                if holder == worker && (of_all || self.tasks[slot].times.is_none()) =>
            {
                Some((order, slot, deadline))
            }
            _ => None,
        });
        attempts.min().map(|(_, slot, deadline)| (slot, deadline))
    }

    fn resting_due(&self, slot: usize) -> Instant {
        match self.tasks[slot].state {
            TaskState::Resting { due, .. } => due,
            other => panic!("task {slot} in the resting list is {other:?}"),
        }
    }

    fn worker_deadline(&self, slot: usize) -> Option<Instant> {
        let worker = &self.workers[slot];
        let at = match worker.phase {
            LinkPhase::Absent { until }
            | LinkPhase::BackingOff { until }
            | LinkPhase::Connecting { until } => {
                self.grace_deadline(slot).map_or(until, |at| at.min(until))
            }
            LinkPhase::WantConnect => self.grace_deadline(slot)?,
            LinkPhase::Up => {
                let life = match worker.pinged {
                    None => worker.heard.saturating_add(self.config.heartbeat_interval),
                    Some(pinged) => pinged.saturating_add(self.config.heartbeat_timeout),
                };
                let attempt = self.oldest_attempt(slot, false);
                let attempt = attempt.map(|(_, deadline)| deadline.max(worker.hold_until));
                let own = self.may_return_at(slot).filter(|_| worker.is_available());
                let grace = self.grace_deadline(slot);
                let pace = worker.pace.until.filter(|_| worker.is_available());
                let all = [worker.suspended_until, worker.delayed_until, attempt, own, grace, pace];
                all.into_iter().flatten().fold(life, Instant::min)
            }
            LinkPhase::Free | LinkPhase::Closing(_) | LinkPhase::Leaving => return None,
        };
        (at != Instant::FAR_FUTURE).then_some(at)
    }
}
