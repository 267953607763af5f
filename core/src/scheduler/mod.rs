//! The scheduler: which task goes to which worker, when, and what becomes of it.
//!
//! It knows ids only. Payloads stay with the caller, in a table by [`TaskId::slot`] say.
//!
//! What is where:
//!
//! - tasks: `tasks` has the rules, `times` those of tasks with times of their own, `blame` what counts as an
//!   attempt, `returned` what is sent again, `hedge` second attempts where the first takes long;
//! - workers: `workers` has the rules of workers and their links, `grace` what becomes of a worker's tasks while
//!   it has no link, `useless` what an answer without a result says of its worker, `rates` how fast it is sent tasks, `timers` which worker needs attention first;
//! - who gets what: `poll` finds the next action, `balance` says whose turn it is, `choice` which worker a task
//!   goes to, by its `track_record`;
//! - queues: `queues` has those of the pool, `sets` which of them a worker serves, `keys` the tasks that wait for
//!   one another, and `pauses` the keys that get nothing for a while;
//! - `inspect` is what can be asked, and `waits` says why a task is not sent and why a worker gets none;
//! - `list`, `roll` and `slot` are what all of them are made of, and `invariants` checks it all.

mod balance;
mod blame;
#[cfg(not(feature = "choice"))]
#[path = "by_load.rs"]
mod choice;
#[cfg(feature = "choice")]
mod choice;
#[cfg(not(feature = "task-times"))]
#[path = "graceless.rs"]
mod grace;
#[cfg(feature = "task-times")]
mod grace;
#[cfg(feature = "hedging")]
mod hedge;
#[cfg(not(feature = "hedging"))]
#[path = "unhedged.rs"]
mod hedge;
pub(crate) mod index;
mod inspect;
mod invariants;
#[cfg(feature = "queues")]
mod keys;
mod list;
#[cfg(any(feature = "choice", feature = "hedging"))]
mod log;
#[cfg(feature = "choice")]
mod outliers;
#[cfg(not(all(feature = "queues", feature = "task-times")))]
#[path = "pauseless.rs"]
mod pauses;
#[cfg(all(feature = "queues", feature = "task-times"))]
mod pauses;
mod poll;
#[cfg(not(feature = "queues"))]
#[path = "queueless.rs"]
mod queues;
#[cfg(feature = "queues")]
mod queues;
#[cfg(not(feature = "queues"))]
#[path = "rateless.rs"]
mod rates;
#[cfg(feature = "queues")]
mod rates;
#[cfg(feature = "choice")]
mod retries;
mod returned;
mod roll;
#[cfg(feature = "queues")]
mod sets;
#[cfg(not(feature = "queues"))]
#[path = "setless.rs"]
mod sets;
mod slot;
mod stats;
mod tasks;
mod timers;
#[cfg(not(feature = "task-times"))]
#[path = "timeless.rs"]
mod times;
#[cfg(feature = "task-times")]
mod times;
#[cfg(feature = "choice")]
mod track_record;
mod useless;
#[cfg(feature = "queues")]
mod waits;
#[cfg(feature = "choice")]
mod window;
mod workers;

#[cfg(test)]
mod tests;

use core::fmt;

use crate::config::{Config, ConfigError};
#[cfg(feature = "queues")]
use crate::error::NoQueue;
use crate::error::{EventError, Stale, SubmitError, WorkersFull};
use crate::event::{Accepted, Action, Event, Offer, Route};
use crate::id::{TaskId, WorkerId};
use crate::options::{Lane, TaskOptions};
#[cfg(feature = "queues")]
use crate::queue::{QUEUES_MAX, QueueId, QueueOptions};
use crate::storage::{Inline, Storage};
use crate::time::Instant;
use tasks::{SchedulerMut, SchedulerState};

pub use slot::{TaskSlot, WorkerSlot};
pub use stats::{Stats, WorkerState, WorkerStats};

/// Hands tasks out to workers and answers for every one of them.
///
/// A state machine without input or output of its own: tell it what happened and what time it is,
/// carry out what [`poll_action`](Self::poll_action) gives until that is `None`, then wait until
/// [`poll_timeout`](Self::poll_timeout) or until something happens. Every accepted task gets
/// exactly one [`Action::Finish`].
///
/// Calls may come in any order and number; acting late delays work and never corrupts it. `now`
/// may be any time: one that is earlier than an earlier call's counts as that. All costs are
/// independent of how many tasks and workers there are, where nothing else is said.
///
/// ```
/// use core::time::Duration;
/// use chargehand_core::{
///     Action, Config, Event, Inline, Instant, Offer, Outcome, Route, Scheduler, Verdict,
/// };
///
/// let now = Instant::from_millis(1);
/// let mut pool = Scheduler::new(Inline::<8, 2>::new(), Config::new(7))?;
/// let worker = pool.add_worker(now, Route::Await)?;
/// let link = pool.accept(now, worker, Offer::new(1), Instant::EPOCH)?.link;
/// let task = pool.submit(now)?;
///
/// assert_eq!(pool.poll_action(), Some(Action::Send { link, task, attempt: 1 }));
/// assert_eq!(pool.poll_action(), None);
///
/// pool.handle_event(now, Event::Replied { link, task, attempt: 1, verdict: Verdict::Done })?;
/// let finish = Action::Finish { task, outcome: Outcome::Done, attempts: 1 };
/// assert_eq!(pool.poll_action(), Some(finish));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Scheduler<S> {
    state: SchedulerState,
    storage: S,
}

impl<S: Storage> Scheduler<S> {
    /// Makes an empty pool. Whatever the storage held before is forgotten. O(slots), once.
    ///
    /// # Errors
    /// Names the field of `config` that is out of its range, as [`Config::checked`] does.
    pub fn new(mut storage: S, config: Config) -> Result<Self, ConfigError> {
        let config = config.checked()?;
        let mut state = SchedulerState::new(&config);
        let (tasks, workers) = storage.slots_mut();
        state.keep_seconds(tasks.len())?;
        tasks.fill(TaskSlot::new());
        workers.fill(WorkerSlot::new());
        Ok(Self { state, storage })
    }

    /// Makes an empty pool with queues: each is named by its place in `queues`, from 0 on.
    /// [`new`](Self::new) is this with one [`QueueOptions::new`]. O(slots), once.
    ///
    /// Half of the task slots are kept for the queues, as many for each, so that none can keep the others
    /// out. Each call that sends costs O(queues), and O(1) of tasks and workers as ever.
    ///
    /// # Errors
    /// As [`new`](Self::new); and where there are none, more than [`QUEUES_MAX`] or
    /// fewer than two task slots for each, or an option is out of its range.
    #[cfg(feature = "queues")]
    pub fn with_queues(
        storage: S,
        config: Config,
        queues: &[QueueOptions],
    ) -> Result<Self, ConfigError> {
        if queues.is_empty() || queues.len() > QUEUES_MAX {
            return Err(ConfigError("a pool has 1 to 64 queues"));
        }
        #[cfg(feature = "hedging")]
        let tasks_max = storage.slots().0.len().saturating_sub(config.hedges_max as usize);
        #[cfg(not(feature = "hedging"))]
        let tasks_max = storage.slots().0.len();
        if queues.len() > 1 && tasks_max < 2 * queues.len() {
            return Err(ConfigError("a pool with queues needs two task slots for each, or more"));
        }
        for options in queues {
            options.checked()?;
        }
        let mut pool = Self::new(storage, config)?;
        pool.lend().begin_lines(queues);
        Ok(pool)
    }

    /// Stops a queue: none of its tasks is sent until it is [resumed](Self::resume), whatever holds for them
    /// otherwise. Those in flight go on, and new ones are accepted. A pool that drains waits for them until
    /// its deadline.
    ///
    /// O(1); O(slots) the first time, where the pool was made without queues.
    ///
    /// # Errors
    /// [`NoQueue`] if there is none at that place.
    #[cfg(feature = "queues")]
    pub fn pause(&mut self, now: Instant, queue: QueueId) -> Result<(), NoQueue> {
        self.lend().set_clock(now);
        self.lend().set_paused(queue, true)
    }

    /// Lets a queue go on that was stopped. No news to one that was not. Poll actions afterwards. O(1).
    ///
    /// # Errors
    /// [`NoQueue`] if there is none at that place.
    #[cfg(feature = "queues")]
    pub fn resume(&mut self, now: Instant, queue: QueueId) -> Result<(), NoQueue> {
        self.lend().set_clock(now);
        self.lend().set_paused(queue, false)
    }

    /// Accepts a task; it waits at the end of the queue for a worker with room.
    ///
    /// Poll actions afterwards. O(1).
    ///
    /// # Errors
    /// [`SubmitError::Full`] while every task slot is taken: poll actions, wait for a finished
    /// task, then try again. [`SubmitError::Draining`] once [`drain`](Self::drain) was called: the
    /// task has to go elsewhere.
    // Without: 14 instructions a cycle, where there may be queues.
    #[allow(clippy::inline_always, reason = "as `handle_event`, where there may be queues")]
    #[cfg_attr(feature = "queues", inline(always))]
    #[cfg_attr(not(feature = "queues"), inline)]
    pub fn submit(&mut self, now: Instant) -> Result<TaskId, SubmitError> {
        #[cfg(feature = "queues")]
        if self.state.is_gated {
            return self.lend().submit_queued(now, TaskOptions::new());
        }
        self.lend().submit(now, None, Lane::Single)
    }

    /// Accepts a task like [`submit`](Self::submit), with options of its own.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[allow(clippy::inline_always, reason = "as `submit`")]
    #[cfg_attr(feature = "queues", inline(always))]
    #[cfg_attr(not(feature = "queues"), inline)]
    pub fn submit_with(
        &mut self,
        now: Instant,
        options: TaskOptions,
    ) -> Result<TaskId, SubmitError> {
        #[cfg(feature = "queues")]
        if self.state.is_gated || options.key.is_some() || options.queue != QueueId::DEFAULT {
            return self.lend().submit_queued(now, options);
        }
        self.lend().submit_with(now, options)
    }

    /// Gives a task up; it finishes as [`Outcome::Cancelled`](crate::Outcome::Cancelled).
    ///
    /// A worker that holds it has room for another at once and is told by [`Action::Withdraw`]; an
    /// answer that is already on its way is ignored. Poll actions afterwards. O(1).
    ///
    /// # Errors
    /// [`Stale`] if the task has its outcome already, or never was: there is nothing to do.
    #[inline]
    pub fn cancel(&mut self, now: Instant, task: TaskId) -> Result<(), Stale> {
        self.lend().cancel(now, task)
    }

    /// Adds a worker. One by [`Route::Dial`] is connected to at once; one by [`Route::Await`] is
    /// kept for `absent_max` until [`accept`](Self::accept) reports it.
    ///
    /// In a pool that drains it is announced as [`Action::Gone`] and gets no link. Poll actions
    /// afterwards. O(log workers).
    ///
    /// # Errors
    /// [`WorkersFull`] if every worker slot is taken: remove a worker and poll its
    /// [`Action::Gone`], or build the pool with more slots.
    #[inline]
    pub fn add_worker(&mut self, now: Instant, route: Route) -> Result<WorkerId, WorkersFull> {
        self.lend().add_worker(now, route)
    }

    /// Removes a worker: it gets no new task, finishes what it holds, then its link is closed and
    /// it is announced as [`Action::Gone`].
    ///
    /// Poll actions afterwards. O(log workers).
    ///
    /// # Errors
    /// [`Stale`] if it is being removed already, is gone or never was: there is nothing to do.
    #[inline]
    pub fn remove_worker(&mut self, now: Instant, worker: WorkerId) -> Result<(), Stale> {
        self.lend().remove_worker(now, worker)
    }

    /// Reports that a worker by [`Route::Await`] dialled in, and what it takes. The newest link wins:
    /// an older one is returned to be closed, and its tasks are queued again.
    ///
    /// It gets its first task at `not_before`, or later where its last link did nothing: then it is
    /// delayed as a worker is that is dialled, so that one which joins, takes and drops does no harm.
    /// [`Instant::EPOCH`] is at once.
    ///
    /// Poll actions afterwards. O(log workers) and the tasks that the older link held.
    ///
    /// # Errors
    /// [`Stale`] if the worker is being removed, is gone, never was or is one that is dialled, or if
    /// the pool drains: close the connection.
    #[inline]
    pub fn accept(
        &mut self,
        now: Instant,
        worker: WorkerId,
        offer: Offer,
        not_before: Instant,
    ) -> Result<Accepted, Stale> {
        self.lend().accept(now, worker, offer, not_before)
    }

    /// Forgets the worker by [`Route::Await`] that has been absent for longest, to make room for
    /// another, and returns which it was: its id is free from now on, and no
    /// [`Action::Gone`] follows. `None` where none is absent. O(log workers).
    pub fn evict_absent(&mut self, now: Instant) -> Option<WorkerId> {
        self.lend().evict_absent(now)
    }

    /// Takes in what happened on a link.
    ///
    /// Poll actions afterwards. O(1) for an answer and for a sign of life, O(log workers) for a
    /// change of the link, and the tasks that it held for its loss. An answer counts as a sign of
    /// life even if it is rejected.
    ///
    /// # Errors
    /// [`EventError::Stale`] for what came late or twice: ignore it. [`EventError::Foreign`] for an
    /// answer that names what this link never held: close the link and report it as
    /// [`Event::Lost`]. Neither changes anything but a counter.
    #[inline]
    pub fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), EventError> {
        self.lend().handle_event(now, event)
    }

    /// Tells what time it is. What is due by then comes out of
    /// [`poll_action`](Self::poll_action): poll actions afterwards. O(1).
    #[inline]
    pub fn handle_timeout(&mut self, now: Instant) {
        self.lend().set_clock(now);
    }

    /// Returns the next thing to do, or `None` if there is nothing before
    /// [`poll_timeout`](Self::poll_timeout).
    ///
    /// Poll it until `None` after every other call that changes the pool, or any time later. O(1),
    /// O(log workers) when a timer fires or a sent task becomes its worker's earliest deadline; O(tasks
    /// held) when a link is lost.
    #[inline]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.lend().poll_action()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) next, or `None` while nothing
    /// is pending.
    ///
    /// It may be earlier than anything happens, never later; it is a time that has passed while
    /// there are actions to poll. Ask again after every other call. O(1).
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (tasks, workers) = self.storage.slots();
        self.state.poll_timeout(tasks, workers)
    }

    /// Begins to stop: no new task is accepted, those that were go on until `deadline`, and
    /// whatever then has no outcome is aborted. When no task is left, every worker is closed and
    /// announced as [`Action::Gone`].
    ///
    /// A later call can bring the deadline nearer but not put it off. [`Instant::FAR_FUTURE`] is
    /// no deadline. Poll actions afterwards. O(1).
    #[inline]
    pub fn drain(&mut self, now: Instant, deadline: Instant) {
        self.lend().drain(now, deadline);
    }

    /// Tells how many more tasks the caller has, but has not submitted: with many, also a slow worker is of
    /// use. 0 at first. Only by [`Choice::FirstAnswer`](crate::Choice::FirstAnswer). Poll actions
    /// afterwards. O(1).
    #[cfg(feature = "choice")]
    pub fn set_backlog(&mut self, count: u64) {
        self.state.choosing.backlog = count;
    }

    #[inline]
    fn lend(&mut self) -> SchedulerMut<'_> {
        let (tasks, workers) = self.storage.slots_mut();
        SchedulerMut { state: &mut self.state, tasks, workers }
    }
}

impl<const TASKS: usize, const WORKERS: usize> Scheduler<Inline<TASKS, WORKERS>> {
    /// Makes an empty pool in a constant or a static, as [`new`](Self::new) does elsewhere.
    ///
    /// # Panics
    /// Where a field of `config` is out of its range, as [`Config::checked`] says: in a constant or a
    /// static that is an error of the compiler's, which names the field.
    pub const fn inline(config: Config) -> Self {
        match config.checked() {
            Ok(config) => {
                let mut state = SchedulerState::new(&config);
                match state.keep_seconds(TASKS) {
                    Ok(()) => Self { state, storage: Inline::new() },
                    Err(error) => panic!("{}", error.0),
                }
            }
            Err(error) => panic!("{}", error.0),
        }
    }
}

impl<S> fmt::Debug for Scheduler<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("stats", &self.state.stats()).finish_non_exhaustive()
    }
}
