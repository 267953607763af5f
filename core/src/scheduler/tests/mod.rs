//! Stories about the scheduler, one behaviour each. Every step ends with the invariant check.

#[cfg(all(feature = "queues", feature = "hedging"))]
mod all_states;
mod balance;
mod blame;
mod busy;
mod cancel;
#[cfg(feature = "choice")]
mod choice;
mod drain;
mod figures;
#[cfg(feature = "task-times")]
mod grace;
#[cfg(all(feature = "hedging", feature = "queues"))]
mod hedge;
#[cfg(feature = "queues")]
mod keys;
mod links;
mod looks;
#[cfg(feature = "choice")]
mod outliers;
#[cfg(all(feature = "queues", feature = "task-times"))]
mod pauses;
#[cfg(feature = "task-times")]
mod progress;
#[cfg(feature = "queues")]
mod queues;
#[cfg(feature = "queues")]
mod rates;
mod removal;
mod replies;
#[cfg(feature = "choice")]
mod retries;
mod returned;
#[cfg(feature = "queues")]
mod sets;
mod storage;
mod suspend;
mod tasks;
#[cfg(feature = "task-times")]
mod throttle;
mod time;
#[cfg(feature = "task-times")]
mod times;
mod trust;
mod turns;
#[cfg(all(feature = "queues", feature = "task-times"))]
mod waits;

use core::time::Duration;
use std::vec::Vec;

use crate::backoff::{BackoffPolicy, Jitter};
use crate::{
    Accepted, Action, Config, Event, EventError, Inline, Instant, Link, Loss, Offer, Outcome,
    Reason, Route, Scheduler, Stale, TaskId, Useless, Verdict, WorkerId, WorkerState,
};

const SECOND: Duration = Duration::from_secs(1);

/// A pool with a clock of its own. Its backoff is 1 s, 2 s, 4 s, ... up to 60 s; it sends no ping.
struct Pool {
    scheduler: Scheduler<Inline<16, 4>>,
    now: Instant,
}

/// One attempt, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    link: Link,
    task: TaskId,
    attempt: u16,
}

impl Pool {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(1);
        config.heartbeat_interval = Duration::MAX;
        config.backoff = BackoffPolicy::new()
            .base(SECOND)
            .factor(2)
            .cap(Duration::from_secs(60))
            .jitter(Jitter::None);
        change(&mut config);
        let scheduler = Scheduler::new(Inline::new(), config).unwrap();
        scheduler.check();
        Self { scheduler, now: Instant::from_millis(1) }
    }

    fn seconds(&self, seconds: u64) -> Instant {
        self.now.saturating_add(Duration::from_secs(seconds))
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
        self.scheduler.handle_timeout(self.now);
        self.scheduler.check();
    }

    fn submit(&mut self) -> TaskId {
        let task = self.scheduler.submit(self.now).unwrap();
        self.scheduler.check();
        task
    }

    fn cancel(&mut self, task: TaskId) -> Result<(), Stale> {
        let result = self.scheduler.cancel(self.now, task);
        self.scheduler.check();
        result
    }

    fn add(&mut self, route: Route) -> WorkerId {
        let worker = self.scheduler.add_worker(self.now, route).unwrap();
        self.scheduler.check();
        worker
    }

    fn remove(&mut self, worker: WorkerId) -> Result<(), Stale> {
        let result = self.scheduler.remove_worker(self.now, worker);
        self.scheduler.check();
        result
    }

    fn accept(&mut self, worker: WorkerId, window: u32) -> Result<Accepted, Stale> {
        let result = self.scheduler.accept(self.now, worker, Offer::new(window), Instant::EPOCH);
        self.scheduler.check();
        result
    }

    fn event(&mut self, event: Event) -> Result<(), EventError> {
        let result = self.scheduler.handle_event(self.now, event);
        self.scheduler.check();
        result
    }

    fn lose(&mut self, link: Link) {
        self.event(Event::Lost { link, how: Loss::Broken }).unwrap();
    }

    fn drain(&mut self, deadline: Instant) {
        self.scheduler.drain(self.now, deadline);
        self.scheduler.check();
    }

    fn poll(&mut self) -> Option<Action> {
        // Nothing is to be reported after a look, but where a story is about that.
        loop {
            let action = self.poll_once();
            if !matches!(action, Some(Action::Look { .. })) {
                return action;
            }
        }
    }

    fn poll_once(&mut self) -> Option<Action> {
        let action = self.scheduler.poll_action();
        self.scheduler.check();
        action
    }

    /// Polls until there is nothing more to do.
    fn polls(&mut self) -> Vec<Action> {
        let actions: Vec<_> = core::iter::from_fn(|| self.poll()).collect();
        assert!(self.scheduler.is_work_conserving());
        actions
    }

    fn expect(&mut self, action: Action) {
        assert_eq!(self.poll(), Some(action));
    }

    fn nothing(&mut self) {
        assert_eq!(self.poll(), None);
    }

    /// Adds a worker that dialled in.
    fn up(&mut self, window: u32) -> Link {
        let worker = self.add(Route::Await);
        self.accept(worker, window).unwrap().link
    }

    /// Adds a worker that dialled in, and says what it takes.
    fn offering(&mut self, runs: u32, window: u32) -> Link {
        let worker = self.add(Route::Await);
        let offer = Offer::new(runs).window(window);
        self.scheduler.accept(self.now, worker, offer, Instant::EPOCH).unwrap().link
    }

    /// Has a worker do so many tasks, one by one. Others may be up, and are asked as well.
    fn earn(&mut self, link: Link, count: u32) {
        let mut earned = 0;
        while earned < count {
            self.submit();
            let sent = self.sent();
            earned += u32::from(sent.link == link);
            self.done(sent);
        }
    }

    /// Returns the latest link of the first worker.
    fn first(&self) -> Link {
        let (_, workers) = crate::storage::Storage::slots(&self.scheduler.storage);
        workers[0].link(0)
    }

    /// Adds a worker that is dialled, and connects to it.
    fn dialled(&mut self, window: u32) -> Link {
        self.add(Route::Dial);
        let link = self.connect();
        self.event(Event::Connected { link, offer: Offer::new(window) }).unwrap();
        link
    }

    /// Polls one action, which asks for a connection.
    fn connect(&mut self) -> Link {
        match self.poll() {
            Some(Action::Connect { link }) => link,
            other => panic!("{other:?}"),
        }
    }

    /// Polls one action, which is a send.
    fn sent(&mut self) -> Sent {
        match self.poll() {
            Some(Action::Send { link, task, attempt }) => Sent { link, task, attempt },
            other => panic!("{other:?}"),
        }
    }

    /// Polls until there is nothing more to do; all of it is sends.
    fn sends(&mut self) -> Vec<Sent> {
        let actions = self.polls();
        let sent = |action| match action {
            Action::Send { link, task, attempt } => Sent { link, task, attempt },
            other => panic!("{other:?}"),
        };
        actions.into_iter().map(sent).collect()
    }

    /// Polls one action, which is a finish.
    fn finish(&mut self) -> (TaskId, Outcome, u16) {
        match self.poll() {
            Some(Action::Finish { task, outcome, attempts }) => (task, outcome, attempts),
            other => panic!("{other:?}"),
        }
    }

    fn reply(&mut self, sent: Sent, verdict: Verdict) -> Result<(), EventError> {
        let Sent { link, task, attempt } = sent;
        self.event(Event::Replied { link, task, attempt, verdict })
    }

    fn useless(&mut self, sent: Sent, why: Useless) -> Result<(), EventError> {
        let Sent { link, task, attempt } = sent;
        self.event(Event::Useless { link, task, attempt, why })
    }

    /// Answers that it is done, and polls that.
    fn done(&mut self, sent: Sent) {
        self.reply(sent, Verdict::Done).unwrap();
        assert_eq!(self.finish(), (sent.task, Outcome::Done, sent.attempt));
    }

    /// Answers that it failed for good, and polls that.
    fn failed(&mut self, sent: Sent) {
        self.reply(sent, Verdict::Failed).unwrap();
        assert_eq!(self.finish(), (sent.task, Outcome::Failed, sent.attempt));
    }

    fn state(&self, worker: WorkerId) -> WorkerState {
        self.scheduler.worker_stats(worker).unwrap().state
    }

    fn in_flight(&self, link: Link) -> u32 {
        self.scheduler.worker_stats(link.worker()).unwrap().in_flight
    }
}

fn tasks(sends: &[Sent]) -> Vec<TaskId> {
    sends.iter().map(|sent| sent.task).collect()
}

fn withdraw(sent: Sent) -> Action {
    Action::Withdraw { link: sent.link, task: sent.task, attempt: sent.attempt }
}

fn disconnect(link: Link, reason: Reason) -> Action {
    Action::Disconnect { link, reason }
}
