//! The manager's half of the world: calls into the scheduler, and its actions carried out.

use std::time::Duration;

use chargehand_core::{
    Action, BackoffPolicy, Event, EventError, Instant, Jitter, Link, Loss, Offer, Outcome, Reason,
    Route, TaskId, TaskOptions, Useless, Verdict,
};

use super::node::Mood;
use super::{Happening, LATENCY_MILLIS, LONGEST, World};

impl World {
    pub(super) fn submit(&mut self) {
        let now = self.tick();
        let options = self.any_options();
        let options = self.queueing.options(options);
        if let Ok(task) = self.scheduler.submit_with(now, options) {
            self.audit.on_submit(task, options);
            if self.faulty && self.rng.percent(3) {
                self.poison.insert(task);
            }
        } else {
            self.note("submit refused");
        }
        self.audit.unsettle();
    }

    /// Most tasks have no times of their own.
    fn any_options(&mut self) -> TaskOptions {
        let mut options = TaskOptions::new();
        if self.rng.percent(15) {
            let millis = self.rng.pick(&[1, 20, 100, 400]);
            options = options.deadline(self.now.saturating_add(Duration::from_millis(millis)));
        }
        if self.rng.percent(15) {
            let usual = self.config.attempt_timeout;
            options = options.attempt_timeout(self.rng.pick(&[usual / 4, usual, LONGEST * usual]));
        }
        if self.rng.percent(15) {
            let policy = BackoffPolicy::new().base(self.config.retry_delay / 4);
            let policy = policy.cap(self.config.retry_delay).jitter(Jitter::None);
            options = options.retry_delay(policy);
        }
        if self.side.percent(25) {
            let usual = self.config.attempt_timeout;
            options = options.attempt_max(self.side.pick(&[usual / 2, usual, LONGEST * usual]));
        }
        options
    }

    pub(super) fn cancel(&mut self) {
        let open: Vec<_> = self.audit.open_tasks().collect();
        if open.is_empty() {
            return;
        }
        let task = self.rng.pick(&open);
        let now = self.tick();
        let result = self.scheduler.cancel(now, task);
        self.audit.on_cancel(task, result.is_ok());
        self.audit.unsettle();
    }

    pub(super) fn add_worker(&mut self, node: usize) {
        if self.nodes[node].id.is_some() {
            return;
        }
        let now = self.tick();
        let route = self.nodes[node].route;
        let id = self.scheduler.add_worker(now, route).expect("as many slots as nodes");
        self.audit.unsettle();
        assert_eq!(self.owners.insert(id, node), None, "{id:?}: a worker id given twice");
        self.nodes[node].id = Some(id);
        if route == Route::Await {
            self.after(1, Happening::DialIn(node));
        }
    }

    pub(super) fn remove_worker(&mut self, node: usize) {
        let Some(id) = self.nodes[node].id else { return };
        let now = self.tick();
        if self.scheduler.remove_worker(now, id).is_ok() {
            self.note("a worker removed");
            self.audit.end_grace(id, Loss::Stopped, self.clock);
            self.audit.on_remove(id);
        }
        self.audit.unsettle();
    }

    pub(super) fn drain(&mut self, deadline: Instant) {
        let now = self.tick();
        self.scheduler.drain(now, deadline);
        self.audit.on_drain(deadline);
        self.audit.unsettle();
    }

    pub(super) fn wake(&mut self) {
        self.clock = self.clock.max(self.now);
        self.scheduler.handle_timeout(self.now);
        self.audit.unsettle();
    }

    /// A worker dials in, whether the manager still believes in its older link or not.
    pub(super) fn dial_in(&mut self, node: usize) {
        let Some(id) = self.nodes[node].id else { return };
        let unable = matches!(self.nodes[node].mood, Mood::Refusing | Mood::BlackHole);
        if self.nodes[node].route != Route::Await || !self.nodes[node].runs || unable {
            return;
        }
        let (now, offer) = (self.tick(), self.nodes[node].offers());
        let late = Duration::from_millis(if self.faulty { self.rng.pick(&[0, 0, 4]) } else { 0 });
        // From the scheduler's time, which may not have come so far.
        let not_before = self.clock.saturating_add(late);
        let Ok(accepted) = self.scheduler.accept(now, id, offer, not_before) else {
            self.note("a dial-in refused");
            return;
        };
        self.audit.unsettle();
        if let Some(old) = accepted.displaced {
            self.note("a link displaced");
            let is_kept = offer.resumes && self.audit.keeps(old);
            let how = if is_kept { Loss::Away } else { Loss::Stopped };
            if self.audit.on_down(old, how, self.clock) > 0 {
                self.note("a link displaced that held tasks");
            }
        }
        self.audit.on_connect(accepted.link);
        if self.audit.on_up(accepted.link, offer, self.clock) {
            self.note("a worker came back with what it held");
        }
        self.begin_link(node, accepted.link, offer);
    }

    pub(super) fn report(&mut self, event: Event) {
        let now = self.tick();
        let result = self.scheduler.handle_event(now, event);
        self.trace(result);
        match event {
            Event::Connected { link, offer } => self.after_connected(link, offer, result.is_ok()),
            Event::Lost { link, how } if result.is_ok() => {
                if how == Loss::Stopped {
                    self.note("a worker took its leave");
                }
                self.after_down(link, how);
            }
            Event::Draining { link } if result.is_ok() => self.audit.on_draining(link),
            Event::Replied { link, task, attempt, verdict } => {
                let up = self.audit.is_up(link);
                self.audit.on_reply(link, task, attempt, verdict, result, self.clock);
                if verdict == Verdict::Returned && result.is_ok() {
                    self.note("a task was given back");
                }
                match result {
                    Err(EventError::Stale) if up => self.note("an answer too late or twice"),
                    Err(EventError::Stale) => self.note("an answer after its link was over"),
                    Err(EventError::Foreign) => self.cut_off(link),
                    Ok(()) => {}
                }
            }
            Event::Useless { link, task, attempt, why } => {
                self.audit.on_useless(link, task, attempt, why, result, self.clock);
                match (why, result) {
                    (_, Err(error)) => assert_eq!(error, EventError::Stale, "{event:?}"),
                    (Useless::Permanent, Ok(())) => self.note("a failure was permanent"),
                    (Useless::KeyThrottled(_), Ok(())) => self.note("a key was paused"),
                    (_, Ok(())) => self.note("a failure said when to retry"),
                }
            }
            Event::Kept { link, task, attempt } => {
                assert_ne!(result, Err(EventError::Foreign), "{event:?}");
                if self.audit.on_kept(link, task, attempt, result) {
                    self.note("an attempt went on over another link");
                }
                if result == Err(EventError::Stale) {
                    self.note("a worker was told to drop what it still had");
                    self.after(LATENCY_MILLIS, Happening::Drop { link, task, attempt });
                }
            }
            Event::Listed { link } if result.is_ok() => {
                if self.audit.on_listed(link, self.clock) > 0 {
                    self.note("what a worker did not name was sent again");
                }
            }
            Event::Progress { link, task, attempt, done } => {
                if self.audit.on_progress(link, (task, attempt), done, result, self.clock) {
                    self.note("progress gave an attempt more time");
                }
                assert_ne!(result, Err(EventError::Foreign), "{event:?}");
            }
            Event::Refused { link } => {
                self.dialling.remove(&link);
                if result.is_ok() {
                    self.audit.end_grace(link.worker(), Loss::Broken, self.clock);
                }
                assert_ne!(result, Err(EventError::Foreign), "{event:?}");
            }
            _ => assert_ne!(result, Err(EventError::Foreign), "{event:?}"),
        }
        self.audit.unsettle();
    }

    /// Carries out what the scheduler wants, until it wants nothing more or, now and then, only in
    /// part.
    pub(super) fn manage(&mut self) {
        let lazy = self.faulty && !self.prompt && self.rng.percent(10);
        let most = if lazy { self.rng.below(3) } else { 10_000 };
        let mut settled = false;
        for _ in 0..most {
            let Some(action) = self.scheduler.poll_action() else {
                settled = true;
                break;
            };
            self.trace(action);
            self.carry_out(action);
            self.scheduler.check();
        }
        assert!(settled || lazy, "a poll without an end");
        self.audit.check(&self.scheduler, self.clock, settled && self.clock == self.now);
        if !settled || self.clock < self.now {
            self.after(1, Happening::Wake);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Connect { link } => self.connect(link),
            Action::Disconnect { link, reason } => self.disconnect(link, reason),
            Action::Send { link, task, attempt } => {
                self.audit.on_send(link, task, attempt, &self.scheduler, self.clock);
                self.note_service(link);
                self.after(LATENCY_MILLIS, Happening::ToWorker { link, task, attempt });
            }
            Action::Withdraw { link, task, attempt } => {
                self.audit.on_withdraw(link, task, attempt, self.clock);
                self.note("an attempt withdrawn");
                self.after(LATENCY_MILLIS, Happening::Drop { link, task, attempt });
            }
            Action::Look { .. } => {}
            Action::Ping { link } => self.after(LATENCY_MILLIS, Happening::Ping(link)),
            Action::Suspend { .. } => self.note("a worker suspended"),
            Action::Gone { worker } => {
                self.audit.on_gone(worker, self.clock);
                let node = self.owners[&worker];
                self.nodes[node].id = None;
                self.after(10, Happening::AddWorker(node));
            }
            Action::Finish { task, outcome, attempts } => {
                self.audit.on_finish(task, outcome, attempts, self.clock);
                self.note_outcome(task, outcome);
            }
        }
    }

    fn connect(&mut self, link: Link) {
        self.audit.on_connect(link);
        let node = self.node_of(link).expect("a worker that was added");
        let offer = self.nodes[node].offers();
        self.dialling.insert(link, offer);
        let event = match self.nodes[node].mood {
            _ if !self.nodes[node].runs => Event::Refused { link },
            Mood::Refusing => Event::Refused { link },
            Mood::BlackHole => return,
            _ => Event::Connected { link, offer },
        };
        self.after(2 * LATENCY_MILLIS, Happening::ToManager(event));
    }

    fn disconnect(&mut self, link: Link, reason: Reason) {
        self.note(match reason {
            Reason::ConnectTimeout => "closed: connect timed out",
            Reason::Silent => "closed: silent",
            Reason::Strikes => "closed: strikes",
            Reason::Drained => "closed: drained",
            Reason::Stopped => "closed: stopped",
        });
        self.dialling.remove(&link);
        let how = if reason == Reason::Silent { Loss::Away } else { Loss::Broken };
        self.after_down(link, how);
    }

    fn after_connected(&mut self, link: Link, offer: Offer, accepted: bool) {
        let wanted = self.dialling.remove(&link).is_some();
        assert!(wanted || !accepted, "{link:?}: taken, and nobody wanted it");
        let given_up = !self.audit.is_settled();
        assert!(accepted || !wanted || given_up, "{link:?}: wanted, and not taken");
        if accepted {
            if self.audit.on_up(link, offer, self.clock) {
                self.note("a worker came back with what it held");
            }
            let node = self.node_of(link).expect("a worker that was added");
            if self.nodes[node].runs {
                self.begin_link(node, link, offer);
            } else {
                let how = Loss::Away;
                self.after(LATENCY_MILLIS, Happening::ToManager(Event::Lost { link, how }));
            }
        }
    }

    /// The manager closed a link or lost it; the worker finds out, and dials again if it dials.
    fn after_down(&mut self, link: Link, how: Loss) {
        if self.audit.on_down(link, how, self.clock) > 1 {
            self.note("several attempts lost at once");
        }
        let Some(node) = self.node_of(link) else { return };
        if self.nodes[node].link == Some(link) {
            self.nodes[node].link = None;
            let millis = LATENCY_MILLIS + 1;
            self.after(millis, Happening::DialIn(node));
        }
    }

    /// A peer that lies loses its link.
    fn cut_off(&mut self, link: Link) {
        self.note("a liar cut off");
        let now = self.tick();
        let how = Loss::Broken;
        assert_eq!(self.scheduler.handle_event(now, Event::Lost { link, how }), Ok(()), "{link:?}");
        self.after_down(link, how);
    }

    fn note_outcome(&mut self, task: TaskId, outcome: Outcome) {
        self.note(match outcome {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Exhausted if self.poison.contains(&task) => "a poison task exhausted",
            Outcome::Exhausted => "exhausted",
            Outcome::Bounced => "bounced",
            Outcome::Cancelled => "cancelled",
            Outcome::Aborted => "aborted",
            Outcome::TimedOut => "timed out",
        });
    }

    /// The time to tell the scheduler: now and then it steps back.
    pub(super) fn tick(&mut self) -> Instant {
        if self.faulty && self.rng.percent(1) {
            self.note("the clock stepped back");
            return Instant::from_nanos(self.now.as_nanos().saturating_sub(30_000_000));
        }
        self.clock = self.clock.max(self.now);
        self.now
    }
}
