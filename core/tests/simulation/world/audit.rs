//! What must hold for a scheduler, tracked from the outside: from calls, results and actions only.

mod away;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chargehand_core::{
    Config, EventError, Heap, Instant, Link, Loss, Offer, Outcome, QueueId, QueueOptions,
    Scheduler, TaskId, TaskOptions, Useless, Verdict, WorkerId, WorkerState,
};

/// An accepted task whose outcome is still to come.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(super) struct Life {
    /// How many were submitted before.
    pub(super) order: u64,
    attempts: u16,
    failures: u16,
    /// How many attempts were lost, and how many of them may count.
    lost: u16,
    blamed: u16,
    /// It was among those that had begun for certain when a link broke, or may have been.
    suspect: bool,
    maybe_suspect: bool,
    pub(super) live: Option<Link>,
    /// Where it was last, and from when on it waits for certain.
    last: Option<WorkerId>,
    pub(super) waits_since: Instant,
    pub(super) done: bool,
    pub(super) cancelled: bool,
    /// Its worker has lost its link since, and has not named it.
    kept: bool,
    /// Whether it may have begun when that link broke, and whether it had for all that the pool knows.
    begun: (bool, bool),
    was_away: bool,
    /// Its handler said that no retry is of use.
    permanent: bool,
    /// What it was submitted with, and when its latest attempt was sent.
    pub(super) options: TaskOptions,
    sent_at: Instant,
    /// When its latest attempt is late, and how far that was.
    late_at: Instant,
    progress: u64,
    /// Its handler said that its key gets nothing until then.
    pub(super) paused_until: Instant,
}

impl Life {
    /// How long an attempt of it may take without progress.
    fn timeout(&self, config: &Config) -> Duration {
        let usual = self.options.attempt_timeout.unwrap_or(config.attempt_timeout);
        self.options.attempt_max.map_or(usual, |longest| usual.min(longest))
    }

    /// The attempt is over.
    fn end(&mut self, now: Instant) {
        self.live = None;
        self.kept = false;
        self.waits_since = now;
    }
}

/// A link that is up.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) offer: Offer,
    since: Instant,
    draining: bool,
    /// How many attempts were taken from it since its last answer.
    taken: u32,
    /// Until when it is waited for what it held on its last link, or for its next one.
    waits_until: Instant,
}

/// Keeps the books beside the scheduler, and panics where they disagree.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(super) config: Config,
    pub(super) queues: Vec<QueueOptions>,
    pub(super) paused: BTreeSet<QueueId>,
    capacity: (usize, usize),
    pub(super) tasks: BTreeMap<TaskId, Life>,
    /// Links that are up.
    pub(super) up: BTreeMap<Link, Up>,
    /// The last links of workers that are waited for.
    away: BTreeMap<Link, Up>,
    /// When each worker was sent a task.
    pub(super) sends: BTreeMap<WorkerId, Vec<Instant>>,
    /// Until when a key gets nothing, at the latest.
    pub(super) pauses: BTreeMap<u32, Instant>,
    /// In which order attempts that are live were sent.
    sent: Vec<TaskId>,
    /// The backoff of each worker at the last check.
    backoff: BTreeMap<WorkerId, u32>,
    /// Workers that earned a reset of their backoff since the last check.
    earned: BTreeSet<WorkerId>,
    epochs: BTreeMap<WorkerId, u32>,
    /// The newest generation of each task slot.
    generations: BTreeMap<u32, u32>,
    drain: Option<Instant>,
    submitted: u64,
    outcomes: u64,
    /// Everything was polled since the last call.
    settled: bool,
}

impl Audit {
    #[expect(clippy::large_types_passed_by_value, reason = "as the engine takes it")]
    pub(crate) fn new(config: Config, queues: Vec<QueueOptions>, capacity: (usize, usize)) -> Self {
        Self {
            config,
            queues,
            paused: BTreeSet::new(),
            capacity,
            tasks: BTreeMap::new(),
            up: BTreeMap::new(),
            away: BTreeMap::new(),
            sends: BTreeMap::new(),
            pauses: BTreeMap::new(),
            sent: Vec::new(),
            backoff: BTreeMap::new(),
            earned: BTreeSet::new(),
            epochs: BTreeMap::new(),
            generations: BTreeMap::new(),
            drain: None,
            submitted: 0,
            outcomes: 0,
            settled: true,
        }
    }

    pub(crate) fn open_tasks(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.keys().copied()
    }

    pub(crate) fn is_up(&self, link: Link) -> bool {
        self.up.contains_key(&link)
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Whether everything was polled since the last call, so that nothing is only decided and not
    /// told yet.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether an answer is for what that link really holds, as far as can be seen.
    pub(crate) fn is_live(&self, link: Link, task: TaskId, attempt: u16) -> bool {
        self.tasks
            .get(&task)
            .is_some_and(|life| life.live == Some(link) && life.attempts == attempt)
    }

    pub(crate) fn unsettle(&mut self) {
        self.settled = false;
    }

    pub(crate) fn on_submit(&mut self, task: TaskId, options: TaskOptions) {
        let newest = self.generations.insert(task.slot(), task.generation());
        assert!(newest.is_none_or(|old| old < task.generation()), "{task:?}: an id given twice");
        assert!(self.drain.is_none(), "accepted while draining");
        let life = Life { options, order: self.submitted, ..Life::default() };
        assert!(self.tasks.insert(task, life).is_none(), "{task:?} twice");
        self.submitted += 1;
    }

    pub(crate) fn on_cancel(&mut self, task: TaskId, accepted: bool) {
        let settled = self.settled;
        let Some(life) = self.tasks.get_mut(&task) else {
            assert!(!accepted, "{task:?}: cancelled after its outcome");
            return;
        };
        let over = life.cancelled || life.done;
        assert!(!(over && accepted), "{task:?}: cancelled after it was over");
        assert!(accepted || over || !settled, "{task:?}: open, and not cancelled");
        if accepted {
            life.cancelled = true;
            (life.live, life.kept) = (None, false);
        }
    }

    pub(crate) fn on_drain(&mut self, deadline: Instant) {
        self.drain = Some(self.drain.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    pub(crate) fn on_connect(&mut self, link: Link) {
        let epoch = self.epochs.entry(link.worker()).or_default();
        assert!(*epoch < link.epoch(), "{link:?}: epochs grow");
        *epoch = link.epoch();
        assert!(self.up.keys().all(|up| up.worker() != link.worker()), "{link:?}: a second link");
    }

    /// Returns whether it has what it held on its last link, for all that is known.
    pub(crate) fn on_up(&mut self, link: Link, offer: Offer, since: Instant) -> bool {
        assert!(self.epochs.get(&link.worker()) == Some(&link.epoch()), "{link:?}: not newest");
        let last = self.away.keys().find(|last| last.worker() == link.worker()).copied();
        if !offer.resumes {
            self.end_grace(link.worker(), Loss::Broken, since);
        }
        let grace = last.map_or(Duration::ZERO, |last| self.grace_of(last));
        let waits_until = since.saturating_add(grace);
        self.up.insert(link, Up { offer, since, draining: false, taken: 0, waits_until });
        let Some(last) = last.filter(|_| offer.resumes) else { return false };
        self.away.remove(&last);
        let its = self.tasks.values_mut().filter(|life| life.live == Some(last));
        its.map(|life| life.live = Some(link)).count() > 0
    }

    pub(crate) fn on_draining(&mut self, link: Link) {
        self.up.get_mut(&link).expect("a link that is up").draining = true;
    }

    pub(crate) fn on_remove(&mut self, worker: WorkerId) {
        let links = self.up.iter_mut().filter(|(link, _)| link.worker() == worker);
        links.for_each(|(_, up)| up.draining = true);
    }

    /// A link is over: whatever it held is the pool's again, all at once.
    pub(crate) fn on_down(&mut self, link: Link, how: Loss, now: Instant) -> usize {
        let (keeps, grace) = (how == Loss::Away && self.keeps(link), self.grace_of(link));
        let Some(mut up) = self.up.remove(&link) else { return 0 };
        if keeps {
            let most = up.offer.runs.max(1);
            let least = most.saturating_sub(up.taken);
            let mut held = 0;
            for task in &self.sent {
                let Some(life) = self.tasks.get_mut(task).filter(|life| life.live == Some(link))
                else {
                    continue;
                };
                if life.kept && up.waits_until <= now {
                    // Its grace over the last link ends at the same time.
                    life.end(now);
                    life.lost += 1;
                    continue;
                }
                if !life.kept {
                    life.begun = (held < most, held < least);
                }
                (life.kept, life.was_away) = (true, true);
                held += 1;
            }
            up.waits_until = now.saturating_add(grace);
            if now.saturating_since(up.since) >= self.config.stable_after {
                self.earned.insert(link.worker());
            }
            self.away.insert(link, up);
            return held as usize;
        }
        if now.saturating_since(up.since) >= self.config.stable_after {
            self.earned.insert(link.worker());
        }
        // What it runs at once had begun, but for the places of those that outlived their deadline.
        let is_blamed = how != Loss::Stopped && !up.draining;
        let most = if is_blamed { up.offer.runs.max(1) } else { 0 };
        let least = most.saturating_sub(up.taken);
        let mut held = 0;
        for task in &self.sent {
            let Some(life) = self.tasks.get_mut(task) else { continue };
            if life.live != Some(link) {
                continue;
            }
            let begun = if life.kept { life.begun } else { (held < most, held < least) };
            life.end(now);
            life.lost += 1;
            if is_blamed && begun.0 {
                life.blamed += 1;
                life.maybe_suspect = true;
            }
            life.suspect |= is_blamed && begun.1;
            held += 1;
        }
        held as usize
    }

    pub(crate) fn on_send(
        &mut self,
        link: Link,
        task: TaskId,
        attempt: u16,
        scheduler: &Scheduler<Heap>,
        now: Instant,
    ) {
        self.settle_away(now);
        let held = self.tasks.values().filter(|life| life.live == Some(link)).count() as u64;
        let other = self.tasks.values().find(|life| life.live == Some(link) && life.suspect);
        let up = self.up.get(&link).unwrap_or_else(|| panic!("{link:?}: sent while not up"));
        let window = up.offer.window.max(1).min(self.config.window_max);
        assert!(held < u64::from(window), "{link:?}: more than its window");
        let life = &self.tasks.get(&task).unwrap_or_else(|| panic!("{task:?}: sent when over"));
        let barred = self.barred(task, life, now);
        assert!(barred.is_none(), "{task:?}: sent though {barred:?}");
        assert!(!life.suspect || other.is_none(), "{link:?}: two suspects, {life:?}, {other:?}");
        let elsewhere = self.epochs.keys().any(|&worker| {
            let stats = scheduler.worker_stats(worker);
            let is_up = stats.is_some_and(|stats| stats.state == WorkerState::Up);
            worker != link.worker() && is_up && self.is_for(worker, life)
        });
        let waited = now.saturating_since(life.waits_since) >= self.config.elsewhere_wait;
        let goes_back = life.last == Some(link.worker());
        assert!(!(goes_back && elsewhere) || waited, "{task:?}: back at once, {life:?}");
        self.audit_service(link, task, now);
        let life = self.tasks.get_mut(&task).expect("just seen");
        assert!(life.live.is_none(), "{task:?}: two live attempts");
        assert!(!life.cancelled && !life.done, "{task:?}: sent after its outcome was decided");
        assert_eq!(attempt, life.attempts + 1, "{task:?}: attempts are counted one by one");
        let Config { attempts_max, retries_max, resends_max, .. } = self.config;
        let most = attempts_max + retries_max + resends_max;
        assert!(attempt <= most, "{task:?}: sent more often than allowed");
        assert!(life.options.deadline > now, "{task:?}: sent past its deadline");
        life.attempts = attempt;
        life.sent_at = now;
        let timeout = life.timeout(&self.config);
        (life.late_at, life.progress, life.was_away) = (now.saturating_add(timeout), 0, false);
        life.live = Some(link);
        life.last = Some(link.worker());
        self.sent.retain(|&other| other != task);
        self.sent.push(task);
    }

    pub(crate) fn on_withdraw(&mut self, link: Link, task: TaskId, attempt: u16, now: Instant) {
        assert!(self.is_up(link), "{link:?}: withdrawn from while not up");
        let life = self.tasks.get(&task).unwrap_or_else(|| panic!("{task:?}: withdrawn late"));
        assert_eq!(attempt, life.attempts, "{task:?}: an older attempt withdrawn");
        if !life.cancelled {
            self.check_withdrawal(&self.tasks[&task], now);
        }
        let up = self.up.get_mut(&link).expect("just seen");
        let life = self.tasks.get_mut(&task).expect("just seen");
        if !life.cancelled {
            assert_eq!(life.live, Some(link), "{task:?}: withdrawn from who did not hold it");
            life.end(now);
            life.lost += 1;
            life.blamed += 1;
            up.taken += 1;
        }
    }

    /// An attempt ends early by a drain, by its task's deadline, by its own time, which is the task's
    /// where it has one, or because it cannot have begun.
    fn check_withdrawal(&self, life: &Life, now: Instant) {
        if life.options.attempt_timeout.or(life.options.attempt_max).is_none() {
            return;
        }
        let is_late = now >= life.late_at;
        let is_over = life.options.deadline <= now;
        let drained = self.drain.is_some_and(|by| by <= now);
        let link = life.live.expect("an attempt that is withdrawn is live");
        let older = |other: &&Life| other.live == Some(link) && other.sent_at <= life.sent_at;
        let held = self.tasks.values().filter(older).count() as u64;
        let waits = held > u64::from(self.up[&link].offer.runs.max(1));
        assert!(is_late || is_over || drained || waits, "withdrawn too soon: {life:?}");
    }

    pub(crate) fn on_reply(
        &mut self,
        link: Link,
        task: TaskId,
        attempt: u16,
        verdict: Verdict,
        result: Result<(), EventError>,
        now: Instant,
    ) {
        let live = self.is_live(link, task, attempt);
        if result.is_err() {
            let is_fair = !live || !self.settled || !self.is_up(link);
            assert!(is_fair, "{task:?}: a live answer refused");
            return;
        }
        assert!(live, "{task:?}: an answer of no live attempt accepted");
        assert!(self.is_up(link), "{link:?}: an answer of a link that is over accepted");
        let life = self.tasks.get_mut(&task).expect("a live task");
        life.end(now);
        life.done = verdict == Verdict::Done;
        if life.done {
            self.earned.insert(link.worker());
        }
        if verdict == Verdict::Failed {
            life.failures += 1;
            let own = life.options.retry_delay;
            let own = own.map(|policy| policy.delay(life.failures.into(), 0));
            life.waits_since = now.saturating_add(own.unwrap_or(self.config.retry_delay));
            (life.suspect, life.maybe_suspect) = (false, false);
        }
        life.lost += u16::from(verdict == Verdict::Returned);
        self.up.get_mut(&link).expect("just seen").taken = 0;
    }

    /// Returns whether that gave the attempt more time.
    pub(crate) fn on_progress(
        &mut self,
        link: Link,
        (task, attempt): (TaskId, u16),
        done: u64,
        result: Result<(), EventError>,
        now: Instant,
    ) -> bool {
        let is_live = self.is_live(link, task, attempt) && self.is_up(link);
        assert!(is_live || result.is_err(), "{task:?}: progress of no live attempt");
        assert!(result.is_ok() || !is_live || !self.settled, "{task:?}: live progress refused");
        let Some(life) = self.tasks.get_mut(&task).filter(|_| result.is_ok()) else { return false };
        if done <= life.progress {
            return false;
        }
        life.progress = done;
        let Some(longest) = life.options.attempt_max else { return false };
        let timeout = life.timeout(&self.config);
        let renewed = now.saturating_add(timeout).min(life.sent_at.saturating_add(longest));
        let is_later = renewed > life.late_at;
        life.late_at = life.late_at.max(renewed);
        is_later
    }

    pub(crate) fn on_useless(
        &mut self,
        link: Link,
        task: TaskId,
        attempt: u16,
        why: Useless,
        result: Result<(), EventError>,
        now: Instant,
    ) {
        if let Useless::KeyThrottled(pause) = why {
            self.on_reply(link, task, attempt, Verdict::Returned, result, now);
            if result.is_ok() {
                self.on_key_throttled(task, pause, now);
            }
            return;
        }
        if let Useless::Throttled(_) = why {
            // It does not count as a failure, and the task may go elsewhere at once.
            return self.on_reply(link, task, attempt, Verdict::Returned, result, now);
        }
        self.on_reply(link, task, attempt, Verdict::Failed, result, now);
        let Some(life) = self.tasks.get_mut(&task).filter(|_| result.is_ok()) else { return };
        match why {
            Useless::Permanent => life.permanent = true,
            Useless::RetryAfter(delay) => life.waits_since = now.saturating_add(delay),
            _ => unreachable!("the world's workers say no other"),
        }
    }

    pub(crate) fn on_gone(&mut self, worker: WorkerId, now: Instant) {
        self.end_grace(worker, Loss::Broken, now);
        assert!(self.up.keys().all(|link| link.worker() != worker), "{worker:?}: gone while up");
    }

    pub(crate) fn on_finish(
        &mut self,
        task: TaskId,
        outcome: Outcome,
        attempts: u16,
        now: Instant,
    ) {
        let life = self.tasks.remove(&task).unwrap_or_else(|| panic!("{task:?}: a second outcome"));
        self.outcomes += 1;
        assert_eq!(attempts, life.attempts, "{task:?}: attempts reported");
        assert_eq!(life.done, outcome == Outcome::Done, "{task:?} done, but {outcome:?}");
        assert!(!life.permanent || outcome == Outcome::Failed, "{task:?}: {outcome:?}");
        assert_eq!(life.cancelled, outcome == Outcome::Cancelled, "{task:?}: {outcome:?}");
        // Finished before the end of its link was polled: that attempt is lost as well, and was one of
        // those that had begun.
        let more = u16::from(life.live.is_some());
        if let Some(up) = life.live.and_then(|link| self.up.get_mut(&link)) {
            up.taken += 1;
        }
        let Config { attempts_max, resends_max, .. } = self.config;
        match outcome {
            Outcome::Failed => {
                assert!(life.permanent || life.failures > self.config.retries_max, "{life:?}");
            }
            Outcome::Exhausted => assert!(life.blamed + more >= attempts_max, "{life:?}"),
            Outcome::Bounced => {
                assert!(life.lost + more >= resends_max, "{life:?}");
                assert!(life.lost + more < resends_max + attempts_max, "{life:?}");
            }
            Outcome::Aborted => assert!(self.drain.is_some_and(|by| by <= now), "{life:?}"),
            Outcome::TimedOut => assert!(life.options.deadline <= now, "{life:?}"),
            Outcome::Done | Outcome::Cancelled => assert!(life.live.is_none(), "{life:?}"),
        }
    }

    /// Compares the books with what the scheduler says of itself. `settled` says that it was just
    /// polled until it had nothing more.
    pub(crate) fn check(&mut self, scheduler: &Scheduler<Heap>, now: Instant, settled: bool) {
        scheduler.check();
        self.settled = settled;
        let stats = scheduler.stats();
        let inside = u64::from(stats.waiting + stats.resting + stats.in_flight + stats.finished);
        assert_eq!(stats.submitted, self.submitted, "submitted");
        assert_eq!(stats.submitted, inside + self.outcomes, "conservation");
        assert_eq!(inside, self.tasks.len() as u64, "open tasks");
        assert!(inside <= self.capacity.0 as u64, "more tasks than slots");
        assert!(stats.workers as usize <= self.capacity.1, "more workers than slots");
        let given_up = stats.exhausted + stats.bounced + stats.cancelled + stats.aborted;
        let given_up = given_up + stats.expired;
        let ends = stats.done + stats.failed + given_up;
        assert!(ends >= self.outcomes, "outcomes counted");
        if settled {
            self.settle_away(now);
        }
        self.check_workers(scheduler, now, settled);
        self.check_backoff(scheduler);
        if settled {
            self.check_settled(scheduler, now);
        }
    }

    fn check_workers(&self, scheduler: &Scheduler<Heap>, now: Instant, settled: bool) {
        let longest = now.saturating_add(self.config.backoff.delay(u32::MAX, u64::MAX));
        let starving = self.drain.is_none_or(|by| by > now);
        assert!(!settled || scheduler.is_work_conserving(), "something could be sent");
        let (mut serving, mut suspended) = (false, false);
        for &worker in self.epochs.keys() {
            let Some(stats) = scheduler.worker_stats(worker) else { continue };
            serving |= stats.state == WorkerState::Up;
            suspended |= matches!(stats.state, WorkerState::Suspended { .. });
            assert!(stats.in_flight <= stats.window, "{worker:?}: {stats:?}");
            match stats.state {
                WorkerState::BackingOff { until }
                | WorkerState::Suspended { until }
                | WorkerState::Delayed { until } => {
                    let longest = longest.max(now.saturating_add(self.config.pause_max));
                    assert!(until <= longest, "{worker:?}: a delay above the cap");
                    assert!(!settled || until > now, "{worker:?}: rests past its time");
                }
                WorkerState::Up if settled && starving && stats.in_flight < stats.allowance => {
                    let may_go = |(task, life): &(&TaskId, &Life)| {
                        let is_barred = self.barred(**task, life, now).is_some();
                        let is_barred = is_barred || self.may_be_paused(life, now);
                        self.may_go(life, worker, now) && !is_barred && self.is_for(worker, life)
                    };
                    let mut idle = self.tasks.iter().find(may_go);
                    if self.may_be_at_rate(worker, now) {
                        idle = None;
                    }
                    assert!(idle.is_none(), "{worker:?}: idle beside {idle:?}");
                }
                _ => {}
            }
        }
        assert!(serving || !suspended, "the last worker rests");
    }

    /// Whether a task waits for certain, and may go to a worker with room for certain.
    fn may_go(&self, life: &Life, worker: WorkerId, now: Instant) -> bool {
        if life.live.is_some() || life.done || life.cancelled || life.waits_since > now {
            return false;
        }
        // What rested for its key came back once that was over.
        let paused = life.options.key.and_then(|key| self.pauses.get(&key.number()));
        let since = paused.map_or(life.waits_since, |&paused| paused.max(life.waits_since));
        let waited = now.saturating_since(since);
        // Whoever has the slot of its last worker counts as that one: its list is the slot's.
        let is_last = life.last.is_some_and(|last| last.slot() == worker.slot());
        life.attempts == 0
            || !life.maybe_suspect && (!is_last || waited >= self.config.elsewhere_wait)
    }

    /// Connecting alone proves nothing: only a done task or a stable link resets a backoff.
    fn check_backoff(&mut self, scheduler: &Scheduler<Heap>) {
        for &worker in self.epochs.keys() {
            let Some(stats) = scheduler.worker_stats(worker) else { continue };
            let before = self.backoff.insert(worker, stats.backoff_attempts).unwrap_or(0);
            let fell = stats.backoff_attempts < before;
            assert!(
                !fell || self.earned.contains(&worker),
                "{worker:?}: backoff reset for nothing"
            );
        }
        self.earned.clear();
    }

    fn check_settled(&self, scheduler: &Scheduler<Heap>, now: Instant) {
        let stats = scheduler.stats();
        let live = self.tasks.values().filter(|life| life.live.is_some()).count();
        assert_eq!(stats.in_flight as usize, live, "in flight");
        assert_eq!(stats.finished, 0, "finished tasks are polled");
        assert_eq!(stats.workers_up as usize, self.up.len(), "links that are up");
        for life in self.tasks.values() {
            assert!(life.options.deadline > now, "{life:?}: open past its deadline");
            let is_held =
                |link: Link| self.is_up(link) || life.kept && self.away.contains_key(&link);
            assert!(life.live.is_none_or(is_held), "{life:?}: held by no link");
            assert!(life.live.is_none() || life.late_at > now, "{life:?}: held past its time");
        }
        let wake = scheduler.poll_timeout();
        assert!(wake.is_none_or(|at| at > now), "due at {wake:?}, and not done at {now:?}");
    }
}
