//! What must hold for a scheduler, tracked from the outside: from calls, results and actions only.

use std::collections::{BTreeMap, BTreeSet};

use chargehand_core::{
    Config, EventError, Heap, Instant, Link, Outcome, Scheduler, TaskId, Verdict, WorkerId,
    WorkerState,
};

/// An accepted task whose outcome is still to come.
#[derive(Debug, Default)]
struct Life {
    attempts: u16,
    failures: u16,
    lost: u16,
    live: Option<Link>,
    done: bool,
    cancelled: bool,
}

/// Keeps the books beside the scheduler, and panics where they disagree.
#[derive(Debug)]
pub(crate) struct Audit {
    config: Config,
    capacity: (usize, usize),
    tasks: BTreeMap<TaskId, Life>,
    /// Links that are up, with their window and since when.
    up: BTreeMap<Link, (u32, Instant)>,
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
    pub(crate) fn new(config: Config, tasks: usize, workers: usize) -> Self {
        Self {
            config,
            capacity: (tasks, workers),
            tasks: BTreeMap::new(),
            up: BTreeMap::new(),
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

    pub(crate) fn on_submit(&mut self, task: TaskId) {
        let newest = self.generations.insert(task.slot(), task.generation());
        assert!(newest.is_none_or(|old| old < task.generation()), "{task:?}: an id given twice");
        assert!(self.drain.is_none(), "accepted while draining");
        assert!(self.tasks.insert(task, Life::default()).is_none(), "{task:?} twice");
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
            life.live = None;
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

    pub(crate) fn on_up(&mut self, link: Link, window: u32, now: Instant) {
        assert!(self.epochs.get(&link.worker()) == Some(&link.epoch()), "{link:?}: not newest");
        self.up.insert(link, (window.max(1), now));
    }

    /// A link is over: whatever it held is the pool's again, all at once.
    pub(crate) fn on_down(&mut self, link: Link, now: Instant) -> usize {
        if let Some((_, since)) = self.up.remove(&link) {
            if now.saturating_since(since) >= self.config.stable_after {
                self.earned.insert(link.worker());
            }
        }
        let held = self.tasks.values_mut().filter(|life| life.live == Some(link));
        held.map(|life| {
            life.live = None;
            life.lost += 1;
        })
        .count()
    }

    pub(crate) fn on_send(&mut self, link: Link, task: TaskId, attempt: u16) {
        let held = self.tasks.values().filter(|life| life.live == Some(link)).count();
        let (window, _) =
            *self.up.get(&link).unwrap_or_else(|| panic!("{link:?}: sent while not up"));
        assert!((held as u64) < u64::from(window), "{link:?}: more than its window");
        let life = self.tasks.get_mut(&task).unwrap_or_else(|| panic!("{task:?}: sent when over"));
        assert!(life.live.is_none(), "{task:?}: two live attempts");
        assert!(!life.cancelled && !life.done, "{task:?}: sent after its outcome was decided");
        assert_eq!(attempt, life.attempts + 1, "{task:?}: attempts are counted one by one");
        let most = self.config.attempts_max + self.config.retries_max;
        assert!(attempt <= most, "{task:?}: sent more often than allowed");
        life.attempts = attempt;
        life.live = Some(link);
    }

    pub(crate) fn on_withdraw(&mut self, link: Link, task: TaskId, attempt: u16) {
        assert!(self.is_up(link), "{link:?}: withdrawn from while not up");
        let life = self.tasks.get_mut(&task).unwrap_or_else(|| panic!("{task:?}: withdrawn late"));
        assert_eq!(attempt, life.attempts, "{task:?}: an older attempt withdrawn");
        if !life.cancelled {
            assert_eq!(life.live, Some(link), "{task:?}: withdrawn from who did not hold it");
            life.live = None;
            life.lost += 1;
        }
    }

    pub(crate) fn on_reply(
        &mut self,
        link: Link,
        task: TaskId,
        attempt: u16,
        verdict: Verdict,
        result: Result<(), EventError>,
    ) {
        let live = self.is_live(link, task, attempt);
        if result.is_err() {
            assert!(!live || !self.settled, "{task:?}: a live answer refused");
            return;
        }
        assert!(live, "{task:?}: an answer of no live attempt accepted");
        assert!(self.is_up(link), "{link:?}: an answer of a link that is over accepted");
        let life = self.tasks.get_mut(&task).expect("a live task");
        life.live = None;
        life.done = verdict == Verdict::Done;
        if life.done {
            self.earned.insert(link.worker());
        }
        life.failures += u16::from(verdict == Verdict::Failed);
    }

    pub(crate) fn on_gone(&mut self, worker: WorkerId) {
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
        assert_eq!(life.cancelled, outcome == Outcome::Cancelled, "{task:?}: {outcome:?}");
        // Finished before the end of its link was polled: that attempt is lost as well.
        let lost = life.lost + u16::from(life.live.is_some());
        match outcome {
            Outcome::Failed => assert!(life.failures > self.config.retries_max, "{life:?}"),
            Outcome::Exhausted => assert_eq!(lost, self.config.attempts_max, "{life:?}"),
            Outcome::Aborted => assert!(self.drain.is_some_and(|by| by <= now), "{life:?}"),
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
        let ends = stats.done + stats.failed + stats.exhausted + stats.cancelled + stats.aborted;
        assert!(ends >= self.outcomes, "outcomes counted");
        self.check_workers(scheduler, now, settled);
        self.check_backoff(scheduler);
        if settled {
            self.check_settled(scheduler, now);
        }
    }

    fn check_workers(&self, scheduler: &Scheduler<Heap>, now: Instant, settled: bool) {
        let longest = now.saturating_add(self.config.backoff.delay(u32::MAX, u64::MAX));
        let starving = scheduler.stats().waiting > 0 && self.drain.is_none_or(|by| by > now);
        let (mut serving, mut rested) = (false, false);
        for &worker in self.epochs.keys() {
            let Some(stats) = scheduler.worker_stats(worker) else { continue };
            serving |= stats.state == WorkerState::Up;
            rested |= matches!(stats.state, WorkerState::Rested { .. });
            assert!(stats.in_flight <= stats.window, "{worker:?}: {stats:?}");
            match stats.state {
                WorkerState::Resting { until } | WorkerState::Rested { until } => {
                    assert!(until <= longest, "{worker:?}: a delay above the cap");
                    assert!(!settled || until > now, "{worker:?}: rests past its time");
                }
                WorkerState::Up => {
                    let room = stats.in_flight < stats.window;
                    assert!(!(settled && starving && room), "{worker:?}: idle beside a task");
                }
                _ => {}
            }
        }
        assert!(serving || !rested, "the last worker rests");
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
            assert!(life.live.is_none_or(|link| self.is_up(link)), "{life:?}: held by no link");
        }
        let wake = scheduler.poll_timeout();
        assert!(wake.is_none_or(|at| at > now), "due at {wake:?}, and not done at {now:?}");
    }
}
