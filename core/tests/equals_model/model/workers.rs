//! The rules of workers and their links.

use chargehand_core::{
    Choice, EventError, Instant, Jitter, Loss, Offer, QueueSet, Reason, Route, Stale, WorkerState,
    WorkersFull,
};

use std::collections::VecDeque;
use std::time::Duration;

use super::choice::{Auto, Record};
use super::sets::Pace;
use super::types::{Lk, OfWorker, Wid};
use super::{LinkPhase, Model, Worker, narrow};

impl Worker {
    pub(super) fn unused(generation: u32) -> Self {
        Self {
            generation,
            epoch: 0,
            route: Route::Await,
            phase: LinkPhase::Free,
            window: 1,
            allowance: 1,
            runs: 1,
            recall: false,
            delayed_until: None,
            throttled: false,
            not_before: Instant::EPOCH,
            grace: Duration::ZERO,
            grace_until: Instant::EPOCH,
            struck_at: Instant::EPOCH,
            hold_until: Instant::EPOCH,
            looked: None,
            absent_order: 0,
            held: Vec::new(),
            withdrawn: VecDeque::new(),
            draining: false,
            busy: false,
            removing: false,
            suspended_until: None,
            notice: None,
            strikes: 0,
            streak: 0,
            suspensions: 0,
            backoff_attempts: 0,
            heard: Instant::EPOCH,
            pinged: None,
            up_since: Instant::EPOCH,
            useful: false,
            level_order: 0,
            laden_order: 0,
            record: Record::new(),
            serves: QueueSet::ALL,
            pace: Pace::new(),
            age: 0,
            done: 0,
            failed: 0,
            lost: 0,
            links_made: 0,
        }
    }

    /// May get tasks, if it has room.
    pub(super) fn is_available(&self) -> bool {
        let stops = self.draining || self.removing;
        let pauses = self.suspended_until.is_some() || self.delayed_until.is_some() || self.busy;
        self.phase == LinkPhase::Up && !pauses && !stops
    }

    fn has_line_action(&self) -> bool {
        matches!(self.phase, LinkPhase::WantConnect | LinkPhase::Closing(_) | LinkPhase::Leaving)
    }

    pub(super) fn is_eligible(&self) -> bool {
        let has_room = (self.held.len() as u64) < u64::from(self.allowance);
        self.is_available() && has_room && self.pace.until.is_none()
    }
}

impl Model {
    pub(crate) fn add_worker(&mut self, now: Instant, route: Route) -> Result<Wid, WorkersFull> {
        self.advance(now);
        let Some(slot) = self.free_workers.pop() else {
            self.note("add a worker when full");
            return Err(WorkersFull);
        };
        let age = self.next_order();
        let generation = self.workers[slot].generation;
        let until = self.clock.saturating_add(self.config.absent_max);
        self.workers[slot] = Worker { route, age, ..Worker::unused(generation) };
        if self.drain.is_some() {
            self.note("add a worker while draining");
            self.leave(slot);
        } else if route == Route::Dial {
            self.want_connect(slot);
        } else {
            self.be_absent(slot, until);
        }
        Ok(self.link(slot).worker)
    }

    pub(crate) fn remove_worker(&mut self, now: Instant, id: Wid) -> Result<(), Stale> {
        self.advance(now);
        let slot = self.worker_slot(id).ok_or(Stale)?;
        if self.workers[slot].removing || self.workers[slot].phase == LinkPhase::Leaving {
            return Err(Stale);
        }
        self.end_grace(slot, Loss::Stopped);
        self.workers[slot].removing = true;
        match self.workers[slot].phase {
            LinkPhase::Absent { .. } | LinkPhase::BackingOff { .. } | LinkPhase::WantConnect => {
                self.note("remove a worker without a link");
                self.leave(slot);
            }
            LinkPhase::Connecting { .. } => {
                self.note("remove a connecting worker");
                self.close(slot, Reason::Drained);
            }
            LinkPhase::Up => {
                if !self.workers[slot].held.is_empty() {
                    self.note("remove a busy worker");
                }
                self.stop_feeding(slot);
            }
            LinkPhase::Closing(_) => self.note("remove a closing worker"),
            LinkPhase::Free | LinkPhase::Leaving => panic!("worker {slot} is no member"),
        }
        Ok(())
    }

    pub(crate) fn accept(
        &mut self,
        now: Instant,
        id: Wid,
        offer: Offer,
        not_before: Instant,
    ) -> Result<(Lk, Option<Lk>), Stale> {
        self.advance(now);
        let slot = self.worker_slot(id).ok_or(Stale)?;
        let worker = &self.workers[slot];
        let refused = worker.route == Route::Dial
            || worker.removing
            || worker.phase == LinkPhase::Leaving
            || self.drain.is_some();
        if refused {
            self.note("accept refused");
            return Err(Stale);
        }
        let old = self.link(slot);
        let displaced = match self.workers[slot].phase {
            LinkPhase::Up => {
                if !self.workers[slot].held.is_empty() {
                    self.note("displaced a link that held tasks");
                }
                // Not as `lose` does: it is up again at once, so nobody needs to step in.
                self.take_over(slot, offer);
                self.withdraw_nothing(slot);
                self.end_rest(slot);
                Some(old)
            }
            LinkPhase::Closing(_) => {
                self.note("displaced a closing link");
                Some(old)
            }
            _ => {
                self.take_over(slot, offer);
                None
            }
        };
        let was_useful = displaced.is_some() && self.workers[slot].useful;
        if was_useful {
            self.note("displaced a link of use");
        }
        if displaced.is_none() {
            let attempts = self.workers[slot].backoff_attempts;
            self.workers[slot].backoff_attempts = attempts.saturating_add(1);
        }
        self.workers[slot].epoch += 1;
        let begin = std::mem::replace(&mut self.workers[slot].not_before, Instant::EPOCH);
        self.come_up(slot, offer, begin.max(not_before));
        self.workers[slot].useful = was_useful;
        // Delayed, it is as good as away to the others.
        self.never_the_last();
        Ok((self.link(slot), displaced))
    }

    /// Forgets the worker that has been absent for longest.
    pub(crate) fn evict_absent(&mut self, now: Instant) -> Option<Wid> {
        self.advance(now);
        let absent = |&slot: &usize| matches!(self.workers[slot].phase, LinkPhase::Absent { .. });
        let all = (0..self.workers.len()).filter(absent);
        let slot = all.min_by_key(|&slot| self.workers[slot].absent_order)?;
        self.note("an absent worker made room");
        let id = self.link(slot).worker;
        self.end_grace(slot, Loss::Broken);
        self.workers[slot] = Worker::unused(id.generation + 1);
        self.free_workers.push(slot);
        Some(id)
    }

    pub(crate) fn worker_stats(&self, id: Wid) -> Option<OfWorker> {
        let worker = &self.workers[self.worker_slot(id)?];
        let state = match (worker.phase, worker.suspended_until) {
            (LinkPhase::Absent { .. }, _) => WorkerState::Absent { not_before: worker.not_before },
            (LinkPhase::BackingOff { until }, _) => WorkerState::BackingOff { until },
            (LinkPhase::WantConnect | LinkPhase::Connecting { .. }, _) => WorkerState::Connecting,
            (LinkPhase::Up, _) if worker.draining || worker.removing => WorkerState::Draining,
            (LinkPhase::Up, Some(until)) => WorkerState::Suspended { until },
            (LinkPhase::Up, None) if worker.delayed_until.is_some() => {
                WorkerState::Delayed { until: worker.delayed_until.expect("just seen") }
            }
            (LinkPhase::Up, None) if worker.busy => WorkerState::Busy,
            (LinkPhase::Up, None) => WorkerState::Up,
            (LinkPhase::Closing(_) | LinkPhase::Leaving | LinkPhase::Free, _) => {
                WorkerState::Draining
            }
        };
        Some(OfWorker {
            state,
            in_flight: narrow(worker.held.len()),
            allowance: worker.allowance,
            window: worker.window,
            done: worker.done,
            failed: worker.failed,
            lost: worker.lost,
            links: worker.links_made,
            backoff_attempts: worker.backoff_attempts,
            serves: worker.set(),
            rate: worker.pace.rate(),
        })
    }

    pub(super) fn worker_slot(&self, id: Wid) -> Option<usize> {
        let worker = self.workers.get(id.slot as usize)?;
        (worker.phase != LinkPhase::Free && worker.generation == id.generation)
            .then_some(id.slot as usize)
    }

    pub(crate) fn link(&self, slot: usize) -> Lk {
        let worker = &self.workers[slot];
        let id = Wid { slot: narrow(slot), generation: worker.generation };
        Lk { worker: id, epoch: worker.epoch }
    }

    /// The worker whose newest link this is.
    fn newest(&self, link: Lk) -> Option<usize> {
        self.worker_slot(link.worker).filter(|&slot| self.workers[slot].epoch == link.epoch)
    }

    pub(super) fn on_connected(&mut self, link: Lk, offer: Offer) -> Result<(), EventError> {
        let slot = self.connecting(link)?;
        self.take_over(slot, offer);
        self.come_up(slot, offer, Instant::EPOCH);
        Ok(())
    }

    pub(super) fn on_refused(&mut self, link: Lk) -> Result<(), EventError> {
        let slot = self.connecting(link)?;
        self.end_grace(slot, Loss::Broken);
        self.back_off(slot);
        Ok(())
    }

    pub(super) fn on_lost(&mut self, link: Lk, how: Loss) -> Result<(), EventError> {
        let slot = self.up(link)?;
        let worker = &self.workers[slot];
        let leaves = how == Loss::Stopped && worker.route == Route::Await;
        self.lose(slot, how);
        if leaves {
            self.note("a worker took its leave");
            self.leave(slot);
        } else {
            self.after_link(slot);
        }
        Ok(())
    }

    pub(super) fn on_moving(&mut self, link: Lk, until: Instant) -> Result<(), EventError> {
        let slot = self.up(link)?;
        if !self.workers[slot].held.is_empty() {
            self.note("attempts were put off");
        }
        if self.workers[slot].hold_until < until {
            self.workers[slot].hold_until = until;
            self.workers[slot].looked = None;
        }
        Ok(())
    }

    pub(super) fn on_draining(&mut self, link: Lk) -> Result<(), EventError> {
        let slot = self.hear(link)?;
        if !self.workers[slot].held.is_empty() {
            self.note("a busy worker asked to drain");
        }
        self.workers[slot].draining = true;
        // Its notice is void, and if it has to close at once that is a new thing to tell.
        self.end_rest(slot);
        self.tidy();
        self.stop_feeding(slot);
        Ok(())
    }

    pub(super) fn on_busy(&mut self, link: Lk) -> Result<(), EventError> {
        let slot = self.up(link)?;
        if self.workers[slot].draining || self.workers[slot].removing {
            self.note("a draining worker is busy");
            return Ok(());
        }
        if self.workers[slot].delayed_until.is_some() {
            self.note("a delayed worker is busy");
            return Ok(());
        }
        self.note(match self.workers[slot].suspended_until {
            Some(_) => "a suspended worker is busy",
            None => "a worker is busy",
        });
        self.workers[slot].busy = true;
        self.end_rest(slot);
        self.tidy();
        self.never_the_last();
        Ok(())
    }

    pub(super) fn on_ready(&mut self, link: Lk) -> Result<(), EventError> {
        let slot = self.up(link)?;
        if self.workers[slot].busy {
            self.note("a busy worker is ready again");
            self.workers[slot].busy = false;
            self.touch(slot);
        }
        Ok(())
    }

    /// A sign of life on a link.
    pub(super) fn hear(&mut self, link: Lk) -> Result<usize, EventError> {
        let slot = self.up(link)?;
        if self.workers[slot].pinged.take().is_some() {
            self.note("a ping was answered");
        }
        self.workers[slot].heard = self.clock;
        Ok(slot)
    }

    fn connecting(&mut self, link: Lk) -> Result<usize, EventError> {
        match self.newest(link) {
            Some(slot) if matches!(self.workers[slot].phase, LinkPhase::Connecting { .. }) => {
                Ok(slot)
            }
            _ => Err(EventError::Stale),
        }
    }

    pub(super) fn up(&mut self, link: Lk) -> Result<usize, EventError> {
        match self.newest(link) {
            Some(slot) if self.workers[slot].phase == LinkPhase::Up => Ok(slot),
            _ => {
                self.note("event of a link that is over");
                Err(EventError::Stale)
            }
        }
    }

    pub(super) fn come_up(&mut self, slot: usize, offer: Offer, begin: Instant) {
        let now = self.clock;
        self.join(slot, offer);
        self.begin_pace(slot, offer);
        self.touch(slot);
        let worker = &mut self.workers[slot];
        worker.phase = LinkPhase::Up;
        worker.runs = offer.runs.max(1);
        worker.window = offer.window.clamp(1, self.config.window_max);
        let trust = worker.runs.min(self.config.trust_initial);
        worker.allowance = if offer.is_trusted { worker.window } else { worker.window.min(trust) };
        worker.recall = false;
        worker.delayed_until = (begin > now).then_some(begin);
        worker.throttled = false;
        worker.strikes = 0;
        if worker.held.is_empty() {
            worker.hold_until = Instant::EPOCH;
        }
        worker.looked = None;
        worker.heard = now;
        worker.pinged = None;
        worker.up_since = now;
        worker.useful = false;
        worker.draining = false;
        worker.busy = false;
        worker.links_made += 1;
        worker.record.weight = u64::from(offer.weight.max(1));
        worker.record.timed = None;
        (worker.record.ejected, worker.record.on_trial, worker.record.answers) = (false, false, 0);
        let is_auto = offer.is_auto && self.config.choice == Choice::FirstAnswer;
        worker.record.auto = is_auto.then(|| Auto::new(worker.allowance));
        if worker.delayed_until.is_some() {
            self.note("a worker dialled in too soon");
        }
        self.begin_with_kept(slot, offer);
    }

    /// Takes a link down: everything that it held is given back. One that was to end anyway costs it
    /// nothing.
    pub(super) fn lose(&mut self, slot: usize, how: Loss) {
        let worker = &self.workers[slot];
        let stops = worker.draining || worker.removing;
        if stops && how != Loss::Stopped {
            self.note("a link broke whose worker was on its way out");
        }
        let how = if how == Loss::Away && !self.keep_all(slot) { Loss::Broken } else { how };
        if how != Loss::Away {
            self.give_back_all(slot, if stops { Loss::Stopped } else { how });
        }
        self.withdraw_nothing(slot);
        // Not up from here on; whoever calls says what it is instead.
        self.workers[slot].phase = LinkPhase::Leaving;
        self.end_rest(slot);
        self.never_the_last();
    }

    /// What comes after a link of the worker is over.
    pub(super) fn after_link(&mut self, slot: usize) {
        self.workers[slot].delayed_until = None;
        let stable = self.clock.saturating_since(self.workers[slot].up_since);
        if self.workers[slot].removing {
            self.leave(slot);
            return;
        }
        let good = self.workers[slot].useful || stable >= self.config.stable_after;
        if good {
            self.note("backoff reset by a good link");
            self.workers[slot].backoff_attempts = 0;
        } else {
            self.note("backoff grows past a link that did nothing");
        }
        if self.workers[slot].route == Route::Await {
            let until = self.clock.saturating_add(self.config.absent_max);
            let attempts = self.workers[slot].backoff_attempts;
            self.workers[slot].not_before =
                if good { self.clock } else { self.end_of_delay(slot, attempts) };
            self.be_absent(slot, until);
        } else {
            self.back_off(slot);
        }
    }

    pub(super) fn be_absent(&mut self, slot: usize, until: Instant) {
        self.workers[slot].absent_order = self.next_order();
        self.workers[slot].phase = LinkPhase::Absent { until };
    }

    pub(super) fn back_off(&mut self, slot: usize) {
        let until = self.next_delay(slot);
        self.workers[slot].phase = LinkPhase::BackingOff { until };
    }

    /// Counts one more attempt at a good link, and says when the next may begin.
    fn next_delay(&mut self, slot: usize) -> Instant {
        self.workers[slot].backoff_attempts = self.workers[slot].backoff_attempts.saturating_add(1);
        self.end_of_delay(slot, self.workers[slot].backoff_attempts)
    }

    /// When a delay that starts now ends, after that many attempts.
    fn end_of_delay(&self, slot: usize, attempts: u32) -> Instant {
        let policy = self.config.backoff;
        let shortest = self.clock.saturating_add(policy.delay(attempts, 0));
        let longest = self.clock.saturating_add(policy.delay(attempts, u64::MAX));
        if policy == policy.jitter(Jitter::None) {
            return longest;
        }
        // One that nobody could see any more was over at once.
        let until = self.drawn.get(&slot).copied().unwrap_or(self.clock);
        assert!(until >= shortest, "worker {slot}: a delay of {attempts} attempts is too short");
        assert!(until <= longest, "worker {slot}: a delay of {attempts} attempts is too long");
        until
    }

    pub(super) fn want_connect(&mut self, slot: usize) {
        self.workers[slot].epoch += 1;
        self.workers[slot].phase = LinkPhase::WantConnect;
        self.put_on_list(slot);
    }

    pub(super) fn leave(&mut self, slot: usize) {
        self.workers[slot].removing = true;
        self.workers[slot].phase = LinkPhase::Leaving;
        self.put_on_list(slot);
    }

    pub(super) fn close(&mut self, slot: usize, reason: Reason) {
        self.withdraw_nothing(slot);
        self.workers[slot].phase = LinkPhase::Closing(reason);
        self.put_on_list(slot);
        self.end_rest(slot);
        self.never_the_last();
    }

    /// A worker that drains or is removed gets nothing more.
    pub(super) fn stop_feeding(&mut self, slot: usize) {
        self.end_rest(slot);
        self.workers[slot].delayed_until = None;
        self.never_the_last();
        self.close_if_drained(slot);
    }

    pub(super) fn close_if_drained(&mut self, slot: usize) {
        let worker = &self.workers[slot];
        let over = worker.draining || worker.removing;
        if worker.phase == LinkPhase::Up && over && worker.held.is_empty() {
            self.close(slot, Reason::Drained);
        }
    }

    /// Counts a handler's failure against a worker, and suspends it if it only fails.
    pub(super) fn count_failure(&mut self, slot: usize) {
        self.note_fault(slot);
        self.workers[slot].streak = self.workers[slot].streak.saturating_add(1);
        if self.workers[slot].streak < self.config.failures_max
            || !self.workers[slot].is_available()
        {
            self.hold_against_others(slot);
            return;
        }
        if self.is_last(slot) {
            self.note("the last worker is not suspended");
            self.hold_against_others(slot);
            return;
        }
        self.note("suspended");
        self.workers[slot].suspensions = self.workers[slot].suspensions.saturating_add(1);
        let until = self.end_of_delay(slot, self.workers[slot].suspensions);
        self.workers[slot].suspended_until = Some(until);
        self.workers[slot].notice = Some(until);
        self.suspended.push_back(slot);
        self.put_on_list(slot);
        self.recall(slot);
    }

    /// Ends a rest: the worker gets tasks again.
    pub(super) fn release(&mut self, slot: usize) {
        self.end_rest(slot);
        self.workers[slot].recall = false;
        self.workers[slot].streak = self.config.failures_max - 1;
        self.begin_trial(slot);
        self.touch(slot);
    }

    pub(super) fn end_rest(&mut self, slot: usize) {
        self.suspended.retain(|&other| other != slot);
        self.workers[slot].suspended_until = None;
        self.workers[slot].notice = None;
    }

    /// Forgets about workers that had something to say and have it no more.
    pub(super) fn tidy(&mut self) {
        let workers = &self.workers;
        self.todo.retain(|&slot| {
            let worker = &workers[slot];
            let told = worker.notice.is_some() || !worker.withdrawn.is_empty();
            told || worker.recall || worker.has_line_action()
        });
    }

    pub(super) fn put_on_list(&mut self, slot: usize) {
        if !self.todo.contains(&slot) {
            self.todo.push_back(slot);
        }
    }
}
