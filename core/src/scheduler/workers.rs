//! The rules about workers: how a link comes up, stays up and ends.

use super::grace::away_due;
use super::slot::{Duty, LinkPhase, TaskSlot, WorkerSlot};
use super::tasks::{SchedulerMut, later};
use super::times::first_in_order;
use crate::backoff::splitmix64;
use crate::config::Policy;
use crate::error::{EventError, Stale, WorkersFull};
use crate::event::{Accepted, Event, Loss, Offer, Reason, Route};
#[cfg(feature = "task-times")]
use crate::id::TaskId;
use crate::id::WorkerId;
use crate::time::Instant;

/// What a call puts in.
impl SchedulerMut<'_> {
    pub(super) fn add_worker(
        &mut self,
        now: Instant,
        route: Route,
    ) -> Result<WorkerId, WorkersFull> {
        self.set_clock(now);
        let worker = self.state.unused_workers.take(self.workers).ok_or(WorkersFull)?;
        let slot = &mut self.workers[worker as usize];
        let id = slot.id(worker);
        // Mixed twice, so that neighbouring seeds and slots give unrelated jitter.
        let mut seed = self.state.policy.seed;
        let mut random = draw(&mut seed) ^ (u64::from(worker) << 32 | u64::from(slot.generation));
        slot.reset(route, draw(&mut random));
        self.state.stats.workers += 1;
        if self.state.is_draining {
            slot.removing = true;
            self.set_phase(worker, LinkPhase::Leaving);
            return Ok(id);
        }
        self.state.members.push_back(self.workers, worker);
        match route {
            Route::Dial => self.want_connect(worker),
            Route::Await => self.miss(worker),
        }
        Ok(id)
    }

    pub(super) fn remove_worker(&mut self, now: Instant, id: WorkerId) -> Result<(), Stale> {
        self.set_clock(now);
        let worker = self.member(id).ok_or(Stale)?;
        self.close(worker, Reason::Drained);
        self.close_drained(worker);
        Ok(())
    }

    pub(super) fn accept(
        &mut self,
        now: Instant,
        id: WorkerId,
        offer: Offer,
        not_before: Instant,
    ) -> Result<Accepted, Stale> {
        self.set_clock(now);
        let worker = self.member(id).ok_or(Stale)?;
        let slot = &self.workers[worker as usize];
        if slot.route == Route::Dial || self.state.is_draining {
            return Err(Stale);
        }
        let displaced = match slot.phase {
            LinkPhase::Up(_) | LinkPhase::Closing(_) => Some(slot.link(worker)),
            _ => None,
        };
        self.take_over(worker, offer);
        let slot = &mut self.workers[worker as usize];
        slot.epoch = slot.epoch.wrapping_add(1);
        if displaced.is_none() {
            // Counted now rather than when it ends, so that none is left to delay after a link of use:
            // the first task done resets it. One that displaces another goes on with that one's count.
            slot.attempts = slot.attempts.saturating_add(1);
        }
        let link = slot.link(worker);
        let begin = core::mem::replace(&mut slot.not_before, Instant::EPOCH).max(not_before);
        self.start(worker, offer, begin);
        Ok(Accepted { link, displaced })
    }

    /// Forgets at once the worker that has been absent for longest.
    pub(super) fn evict_absent(&mut self, now: Instant) -> Option<WorkerId> {
        self.set_clock(now);
        let worker = self.state.absent.head()?;
        let id = self.workers[worker as usize].id(worker);
        self.end_grace(worker, Loss::Broken);
        self.set_phase(worker, LinkPhase::Leaving);
        self.forget(worker);
        Some(id)
    }

    /// Returns the slot of a worker that is neither being removed nor leaving.
    fn member(&self, id: WorkerId) -> Option<u32> {
        let slot = self.workers.get(id.slot() as usize)?;
        let known = slot.generation == id.generation() && slot.phase != LinkPhase::Free;
        (known && self.state.members.contains(self.workers, id.slot())).then_some(id.slot())
    }
}

/// What happens on a link.
impl SchedulerMut<'_> {
    /// Takes in what happened on a link, other than that an attempt was answered.
    // Without: above the flash aim by 32 bytes.
    #[inline(never)]
    pub(super) fn on_link(&mut self, event: Event) -> Result<(), EventError> {
        let link = event.link();
        let worker = link.worker().slot();
        let slot = self.current(link).ok_or(EventError::Stale)?;
        let is_dialled = matches!(event, Event::Connected { .. } | Event::Refused { .. });
        let is_expected =
            if is_dialled { slot.phase == LinkPhase::Connecting } else { slot.phase.is_up() };
        if !is_expected {
            return Err(EventError::Stale);
        }
        if let Event::Heard { .. } | Event::Draining { .. } | Event::Useless { .. } = event {
            self.hear(worker);
        }
        match event {
            Event::Connected { offer, .. } => {
                #[cfg(feature = "task-times")]
                self.take_over(worker, offer);
                self.start(worker, offer, Instant::EPOCH);
            }
            Event::Refused { .. } => {
                self.end_grace(worker, Loss::Broken);
                self.back_off(worker);
            }
            Event::Lost { how, .. } => self.on_lost(worker, how),
            Event::Heard { .. } => {}
            Event::Moving { until, .. } => self.on_moving(worker, until),
            Event::Draining { .. } => {
                self.set_phase(worker, LinkPhase::Up(Duty::Draining));
                self.close_drained(worker);
            }
            Event::Busy { .. } => self.on_busy(worker),
            Event::Ready { .. } => self.on_ready(worker),
            Event::Useless { task, attempt, why, .. } => {
                return self.on_useless_answer(worker, (task, attempt), why);
            }
            Event::Excused { .. } => self.excuse(worker),
            #[cfg(feature = "task-times")]
            Event::Progress { task, attempt, done, .. } => {
                let task = self.attempt_of(worker, task, attempt)?;
                self.on_progress(task, done);
            }
            #[cfg(feature = "task-times")]
            Event::Kept { task, attempt, .. } => {
                self.hear(worker);
                let task = self.attempt_of(worker, task, attempt)?;
                self.on_kept(worker, task)?;
            }
            #[cfg(feature = "task-times")]
            Event::Listed { .. } => {
                self.hear(worker);
                self.give_back_unlisted(worker);
            }
            Event::Replied { .. } => unreachable!("an answer has a way of its own"),
        }
        Ok(())
    }

    /// Takes in that bytes are on their way to a worker: no attempt of it ends before `until`.
    fn on_moving(&mut self, worker: u32, until: Instant) {
        let slot = &mut self.workers[worker as usize];
        // Only ever later: a timer may be early but never late.
        if slot.hold_until < until {
            slot.hold_until = until;
            // It was for an attempt that is put off, and the link's silence may be due as well.
            slot.looked = Instant::EPOCH;
        }
    }

    /// Returns the slot of the attempt in flight that a message is about, be it a second one.
    #[cfg(feature = "task-times")]
    fn attempt_of(&self, worker: u32, id: TaskId, attempt: u16) -> Result<u32, EventError> {
        let own = self.answered(worker, id, attempt);
        own.or_else(|error| self.second_of(worker, id, attempt).ok_or(error))
    }

    fn on_lost(&mut self, worker: u32, how: Loss) {
        let slot = &self.workers[worker as usize];
        let leaves = how == Loss::Stopped && slot.route == Route::Await;
        self.part_with(worker, how);
        if leaves {
            self.set_phase(worker, LinkPhase::Leaving);
        } else {
            self.after_link(worker);
        }
    }

    fn on_busy(&mut self, worker: u32) {
        if let LinkPhase::Up(Duty::Serving | Duty::Suspended | Duty::Busy) =
            self.workers[worker as usize].phase
        {
            // A suspension ends by that, too: being busy may well take longer.
            self.set_phase(worker, LinkPhase::Up(Duty::Busy));
        }
    }

    fn on_ready(&mut self, worker: u32) {
        if self.workers[worker as usize].phase == LinkPhase::Up(Duty::Busy) {
            self.set_phase(worker, LinkPhase::Up(Duty::Serving));
        }
    }

    #[inline]
    pub(super) fn hear(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        slot.silent_since = self.state.clock;
        // The timer is left too early, and moved when it fires: that is one move per heartbeat and
        // not one per answer. Only an answered ping can bring the next deadline nearer.
        if slot.pinged {
            slot.pinged = false;
            self.lend().arm(worker);
        }
    }

    #[inline]
    pub(super) fn on_done(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        slot.done += 1;
        slot.attempts = 0;
        slot.suspensions = 0;
        slot.streak = 0;
        slot.strikes = 0;
        if slot.allowance < slot.window {
            slot.allowance += 1;
        }
    }
}

/// From one phase of a link to the next.
impl SchedulerMut<'_> {
    pub(super) fn want_connect(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        slot.epoch = slot.epoch.wrapping_add(1);
        self.set_phase(worker, LinkPhase::WantConnect);
    }

    /// Waits for a worker to dial in.
    fn miss(&mut self, worker: u32) {
        self.workers[worker as usize].due = later(self.state.clock, self.state.policy.absent_max);
        self.set_phase(worker, LinkPhase::Absent);
    }

    /// Waits before the next connect, longer each time.
    pub(super) fn back_off(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        slot.attempts = slot.attempts.saturating_add(1);
        let attempts = slot.attempts;
        self.workers[worker as usize].due = self.delayed(worker, attempts);
        self.set_phase(worker, LinkPhase::BackingOff);
    }

    /// Returns the time after the delay that follows so many attempts.
    pub(super) fn delayed(&mut self, worker: u32, attempts: u32) -> Instant {
        let random = draw(&mut self.workers[worker as usize].random);
        later(self.state.clock, self.state.policy.backoff.delay_nanos(attempts, random))
    }

    /// Begins with a new link.
    fn start(&mut self, worker: u32, offer: Offer, begin: Instant) {
        // Only a link that was displaced can have left any.
        self.withdraw_nothing(worker);
        self.join_group(worker, offer);
        let policy = &self.state.policy;
        let slot = &mut self.workers[worker as usize];
        slot.runs = offer.runs.max(1);
        slot.window = offer.window.clamp(1, policy.window_max);
        let trust = if slot.runs < policy.trust_initial { slot.runs } else { policy.trust_initial };
        slot.allowance = if offer.is_trusted { slot.window } else { slot.window.min(trust) };
        slot.strikes = 0;
        slot.silent_since = self.state.clock;
        slot.pinged = false;
        if slot.kept() == 0 {
            slot.hold_until = Instant::EPOCH;
        }
        slot.looked = Instant::EPOCH;
        slot.up_since = self.state.clock;
        slot.links_made = slot.links_made.wrapping_add(1);
        let duty = if begin > self.state.clock { Duty::Delayed } else { Duty::Serving };
        slot.due = begin;
        #[cfg(feature = "queues")]
        {
            slot.is_throttled = false;
        }
        self.begin_record(worker, offer);
        self.begin_pace(worker, offer);
        self.agree_on_grace(worker, offer);
        self.set_phase(worker, LinkPhase::Up(duty));
        self.fit_window(worker);
    }

    /// Goes on once a link is gone and its tasks are given back.
    pub(super) fn after_link(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        if slot.removing {
            self.set_phase(worker, LinkPhase::Leaving);
            return;
        }
        // A sum, since a difference as `Duration` would be a division, in software on a microcontroller.
        let stable = later(slot.up_since, self.state.policy.stable_after);
        // A done task has reset it already.
        if self.state.clock >= stable {
            slot.attempts = 0;
        }
        if slot.route == Route::Await {
            // None after a link of use: it was the worker that dialled, after a delay of its own.
            let attempts = slot.attempts;
            let until = self.delayed(worker, attempts);
            self.workers[worker as usize].not_before = until;
            self.miss(worker);
        } else {
            self.back_off(worker);
        }
    }

    /// Begins to remove a worker. One that is up and not told to stop at once finishes what it holds.
    pub(super) fn close(&mut self, worker: u32, reason: Reason) {
        self.end_grace(worker, Loss::Stopped);
        let slot = &mut self.workers[worker as usize];
        slot.removing = true;
        let phase = match slot.phase {
            LinkPhase::Up(_) if slot.held.is_empty() => LinkPhase::Closing(reason),
            LinkPhase::Up(_) => LinkPhase::Up(Duty::Draining),
            LinkPhase::Connecting => LinkPhase::Closing(reason),
            LinkPhase::Closing(reason) => LinkPhase::Closing(reason),
            LinkPhase::Absent | LinkPhase::BackingOff | LinkPhase::WantConnect => {
                LinkPhase::Leaving
            }
            LinkPhase::Leaving | LinkPhase::Free => unreachable!("not a member"),
        };
        self.state.members.remove(self.workers, worker);
        self.set_phase(worker, phase);
    }

    /// As [`close_if_idle`](Self::close_if_idle), for cold paths.
    pub(super) fn close_drained(&mut self, worker: u32) {
        self.close_if_idle(worker);
    }

    /// Closes the link of a worker that drains, once it holds nothing.
    #[inline]
    pub(super) fn close_if_idle(&mut self, worker: u32) {
        let slot = &self.workers[worker as usize];
        if slot.held.is_empty() && slot.phase == LinkPhase::Up(Duty::Draining) {
            self.lend().set_phase(worker, LinkPhase::Closing(Reason::Drained));
        }
    }

    /// Ends a suspension.
    pub(super) fn release(&mut self, worker: u32) {
        // One more failure in a row, and it is suspended again.
        let slot = &mut self.workers[worker as usize];
        slot.streak = self.state.policy.failures_max - 1;
        slot.recall = false;
        self.begin_trial(worker);
        self.set_phase(worker, LinkPhase::Up(Duty::Serving));
    }

    /// Frees the slot of a worker that is gone.
    pub(super) fn forget(&mut self, worker: u32) {
        self.set_phase(worker, LinkPhase::Free);
        let slot = &mut self.workers[worker as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.state.unused_workers.give(self.workers, worker);
        self.state.stats.workers -= 1;
    }

    /// Changes the phase of a worker's link and all that follows: the balance, the lists, the timer.
    pub(super) fn set_phase(&mut self, worker: u32, phase: LinkPhase) {
        let slot = &mut self.workers[worker as usize];
        let old = core::mem::replace(&mut slot.phase, phase);
        if phase != LinkPhase::Up(Duty::Suspended) {
            slot.notice = false;
        }
        match (old.is_up(), phase.is_up()) {
            (false, true) => self.state.stats.workers_up += 1,
            (true, false) => self.state.stats.workers_up -= 1,
            _ => {}
        }
        let (has_suspect, group) = (slot.has_suspect, slot.group());
        if !phase.is_up() {
            slot.recall = false;
            self.withdraw_nothing(worker);
        }
        match old {
            LinkPhase::Up(Duty::Serving) => {
                self.state.serving -= 1;
                self.count_serving(worker, false);
            }
            LinkPhase::Up(Duty::Suspended) => {
                self.state.suspended[group].remove(self.workers, worker);
            }
            LinkPhase::Absent => self.state.absent.remove(self.workers, worker),
            _ => {}
        }
        match phase {
            LinkPhase::Up(Duty::Serving) => {
                self.state.serving += 1;
                self.count_serving(worker, true);
            }
            LinkPhase::Up(Duty::Suspended) => {
                self.state.suspended[group].push_back(self.workers, worker);
            }
            LinkPhase::Absent => self.state.absent.push_back(self.workers, worker),
            LinkPhase::Leaving if self.state.members.contains(self.workers, worker) => {
                self.state.members.remove(self.workers, worker);
            }
            _ => {}
        }
        self.set_suspect(worker, has_suspect);
        self.list_todo(worker);
        self.arm(worker);
        if !phase.is_up() {
            self.leave_group(worker);
        }
        if old.is_serving() {
            self.step_in();
        }
    }

    /// Finishes what was cancelled on a link that is over: there is nobody to be told.
    fn withdraw_nothing(&mut self, worker: u32) {
        while let Some(task) = self.withdraw_first(worker) {
            self.count_withdrawn(task);
        }
    }

    /// Puts a worker on the list of those with something to tell the caller, or takes it off.
    pub(super) fn list_todo(&mut self, worker: u32) {
        let slot = &self.workers[worker as usize];
        let wanted = slot.wants_action();
        let listed = self.state.todo.contains(self.workers, worker);
        if wanted && !listed {
            self.state.todo.push_back(self.workers, worker);
            self.state.stir();
        } else if listed && !wanted {
            self.state.todo.remove(self.workers, worker);
        }
    }

    pub(super) fn arm(&mut self, worker: u32) {
        let at = self.state.timer(self.tasks, worker, &self.workers[worker as usize]);
        self.state.calm_until = self.state.calm_until.min(at);
        self.state.timers.set(self.workers, worker, at);
    }
}

impl super::tasks::SchedulerState {
    /// Returns when a worker needs attention by itself.
    pub(super) fn timer(&self, tasks: &[TaskSlot], worker: u32, slot: &WorkerSlot) -> Instant {
        match slot.phase {
            LinkPhase::Absent | LinkPhase::BackingOff | LinkPhase::Connecting => {
                slot.due.min(away_due(tasks, slot))
            }
            LinkPhase::WantConnect => away_due(tasks, slot),
            LinkPhase::Up(duty) => {
                let oldest = due(tasks, first_in_order(tasks, slot)).max(slot.hold_until);
                let next = match duty {
                    Duty::Suspended | Duty::Delayed => slot.due,
                    Duty::Serving => self.may_return_at(tasks, worker, slot).min(slot.pace_end()),
                    Duty::Busy | Duty::Draining => Instant::FAR_FUTURE,
                };
                self.beat(slot).min(oldest).min(next).min(slot.grace_end())
            }
            LinkPhase::Free | LinkPhase::Closing(_) | LinkPhase::Leaving => Instant::FAR_FUTURE,
        }
    }

    /// Returns when a silent link is to be pinged, or after the ping is lost.
    pub(super) fn beat(&self, slot: &WorkerSlot) -> Instant {
        let Policy { heartbeat_interval, heartbeat_timeout, .. } = self.policy;
        let wait = if slot.pinged { heartbeat_timeout } else { heartbeat_interval };
        later(slot.silent_since, wait)
    }
}

/// Steps a generator of random bits. One copy for all callers, to save flash.
// Without: above the flash aim by 200 bytes.
#[inline(never)]
pub(super) fn draw(state: &mut u64) -> u64 {
    splitmix64(state)
}

/// Returns when the first task of a list is due, `FAR_FUTURE` if there is none.
pub(super) fn due(tasks: &[TaskSlot], head: Option<u32>) -> Instant {
    head.map_or(Instant::FAR_FUTURE, |task| tasks[task as usize].due)
}
