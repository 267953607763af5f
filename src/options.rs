//! How tasks are done and workers are used, where not as the pool says.

use alloc::sync::Arc;
use core::time::Duration;

use chargehand_core::{BackoffPolicy, Hedge, Instant, Offer, QueueId, Rate};

use crate::link::schema::Wanted;

/// The names of a pool's queues, by their places.
pub(crate) type QueueNames = Arc<[Arc<str>]>;

/// A queue of a pool, found by its name with [`Pool::queue`](crate::Pool::queue). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    id: QueueId,
    /// Those of its pool, by which it is known.
    names: QueueNames,
}

impl Queue {
    /// Returns the queue of a name, if there is one.
    pub(crate) fn find(name: &str, names: &QueueNames) -> Option<Self> {
        let place = names.iter().position(|known| &**known == name)?;
        let id = QueueId::new(u8::try_from(place).ok()?);
        Some(Self { id, names: Arc::clone(names) })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.names[usize::from(self.id.place())]
    }

    pub(crate) const fn id(&self) -> QueueId {
        self.id
    }

    /// Returns whether it is a queue of the pool with these names.
    pub(crate) fn is_of(&self, names: &QueueNames) -> bool {
        Arc::ptr_eq(&self.names, names)
    }
}

impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.is_of(&other.names)
    }
}

impl Eq for Queue {}

/// A key that tasks share: tasks with the same key start in the order of their submission, and only a limited number
/// of them, 1 by default, is under way at once. So the transactions of one account do not overtake each other, and
/// one customer's file is not written by two workers.
///
/// A key is a number or a text. Tasks with another key, or without one, overtake tasks that wait for theirs. A task
/// holds its key from its first attempt to its outcome, so also while it rests before a retry. The limit holds as far
/// as the pool knows: a worker may still be running an attempt that was cancelled or timed out a moment ago.
///
/// At most [`Config::keys_max`](chargehand_core::Config::keys_max) keys, 4096 by default, can be in use at once. A
/// call with one more ends as [`TaskError::TooManyKeys`](crate::TaskError::TooManyKeys); a range or map with one more
/// waits until a key is free.
///
/// ```
/// use chargehand::{TaskKey, TaskOptions};
///
/// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
/// let account = pool.with(TaskOptions::new().key("account 17"));
/// let (first, second) = (account.submit::<u64, _>("open").await?, account.submit::<u64, _>("pay").await?);
/// assert!(first.await? < second.await?);
///
/// // Whoever asks while somebody else does has the same answer.
/// let shared = pool.with(TaskOptions::new().key(TaskKey::from(17_u64).unique()));
/// let block: Vec<u8> = shared.call(&17_u64).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskKey {
    pub(crate) name: KeyName,
    pub(crate) at_once: u32,
    pub(crate) is_unique: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyName {
    Number(u64),
    Text(Arc<str>),
}

impl TaskKey {
    const fn new(name: KeyName) -> Self {
        Self { name, at_once: 1, is_unique: false }
    }

    /// Sets how many tasks with this key may be under way at once. 0 counts as 1. The value of the task that was
    /// submitted last applies to all of them.
    #[must_use]
    pub const fn at_once(mut self, count: u32) -> Self {
        self.at_once = if count == 0 { 1 } else { count };
        self
    }

    /// Shares one call among all callers: while a call with this key is queued or under way, others with the same key
    /// are not sent but get its outcome.
    ///
    /// The request and the options of the first call are used, including its deadline, so give the same key to equal
    /// requests only. If the first caller cancels, the call goes on for the others. As many calls at once can share
    /// others' outcomes as there can be tasks ([`tasks_max`](crate::Builder::tasks_max)); more of the same queue wait
    /// in it. This has no effect on ranges and maps, whose tasks all have the same key.
    #[must_use]
    pub const fn unique(mut self) -> Self {
        self.is_unique = true;
        self
    }
}

impl From<u64> for TaskKey {
    fn from(number: u64) -> Self {
        Self::new(KeyName::Number(number))
    }
}

impl From<&str> for TaskKey {
    fn from(text: &str) -> Self {
        Self::new(KeyName::Text(text.into()))
    }
}

impl From<Arc<str>> for TaskKey {
    fn from(text: Arc<str>) -> Self {
        Self::new(KeyName::Text(text))
    }
}

/// Options of tasks that differ from the pool's defaults. Pass them to [`Pool::with`](crate::Pool::with), whose
/// handle uses them for calls, single tasks, maps and ranges.
///
/// ```
/// use std::time::Duration;
/// use chargehand::TaskOptions;
/// use chargehand::core::BackoffPolicy;
///
/// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
/// let patient = TaskOptions::new()
///     .attempt_timeout(Duration::from_secs(5))
///     .deadline(Duration::from_secs(60))
///     .retries(10)
///     .retry_delay(BackoffPolicy::powers_of_two(Duration::from_secs(20)));
/// let pool = pool.with(patient);
/// let block: String = pool.call(&17_u64).await?;
/// let report = pool.process::<String>(18..=1000).each(|height, block| {}).await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TaskOptions {
    /// How long one attempt may take before it is given up and the task is sent again. `None` means
    /// [`Config::attempt_timeout`](chargehand_core::Config::attempt_timeout).
    pub attempt_timeout: Option<Duration>,
    /// How long the task may take in total. After that it ends as
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut). For a single task the time starts when it is queued. For
    /// a height of a range or a request of a map it starts when the task leaves its range or map for the scheduler.
    /// `None`, the default, means no limit.
    pub deadline: Option<Duration>,
    /// How many times the task is retried after its handler failed. `None` means
    /// [`Config::retries_max`](chargehand_core::Config::retries_max), but at least once in a range or map.
    pub retries: Option<u16>,
    /// How long the task rests before each retry. `None` means
    /// [`Config::retry_delay`](chargehand_core::Config::retry_delay).
    pub retry_delay: Option<BackoffPolicy>,
    /// Which queue the task waits in. `None` means the queue `default`.
    pub queue: Option<Queue>,
    /// How long one attempt may take in total if its handler reports progress
    /// ([`Context::progress`](crate::Context::progress)). Each report of more work done restarts the
    /// `attempt_timeout`, up to this limit. So a job of several hours needs no timeout of several hours, and a worker
    /// that hangs is still found quickly. An `attempt_timeout` that is longer, the pool's included, is cut to it.
    /// `None`, the default, means that progress gives no extra time, and so does zero.
    pub attempt_max: Option<Duration>,
    /// The key of the task. `None`, the default, means that it has none.
    pub key: Option<TaskKey>,
    /// Whether, and when, a second attempt is sent to another worker because the first takes long. `None` means the
    /// setting of its queue, which is never by default.
    pub hedge: Option<Hedge>,
    /// What it was submitted by, where that is traced.
    #[cfg(feature = "tracing")]
    pub(crate) span: Option<tracing::Span>,
}

impl TaskOptions {
    /// Makes options that change nothing.
    pub const fn new() -> Self {
        Self {
            attempt_timeout: None,
            deadline: None,
            retries: None,
            retry_delay: None,
            queue: None,
            key: None,
            attempt_max: None,
            hedge: None,
            #[cfg(feature = "tracing")]
            span: None,
        }
    }

    /// Sets how long one attempt may take.
    #[must_use]
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Sets how long the task may take in total.
    #[must_use]
    pub const fn deadline(mut self, span: Duration) -> Self {
        self.deadline = Some(span);
        self
    }

    /// Sets how many times the task is retried after its handler failed. 0 means never.
    #[must_use]
    pub const fn retries(mut self, count: u16) -> Self {
        self.retries = Some(count);
        self
    }

    /// Sets how long the task rests before each retry.
    #[must_use]
    pub const fn retry_delay(mut self, policy: BackoffPolicy) -> Self {
        self.retry_delay = Some(policy);
        self
    }

    /// Sets which queue the task waits in: see [`Pool::queue`](crate::Pool::queue).
    ///
    /// ```
    /// use chargehand::TaskOptions;
    ///
    /// # async fn f(pool: chargehand::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// let tip = pool.with(TaskOptions::new().queue(pool.queue("tip")?));
    /// let block: String = tip.call(&17_u64).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn queue(mut self, queue: Queue) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Sets the key. All tasks of a range or map then share it, so only as many of them run at once as the key
    /// allows. See the example at [`TaskKey`].
    #[must_use]
    pub fn key(mut self, key: impl Into<TaskKey>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sends a second attempt to another, idle worker if the first takes long. The first answer counts, and the other
    /// attempt is withdrawn. So the last tasks of a range, or one call in a thousand, do not have to wait for a
    /// worker that happens to be slow.
    ///
    /// Use it only for handlers that may run twice at the same time.
    /// [`Config::hedge_budget`](chargehand_core::Config::hedge_budget) limits second attempts, by default to 2 % of
    /// all sends. A task with a key never gets a second attempt. The rules are in `docs/SCHEDULING.md`.
    ///
    /// ```
    /// use chargehand::{Hedge, TaskOptions};
    ///
    /// # async fn f(pool: chargehand::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = pool.with(TaskOptions::new().hedge(Hedge::after_p95()));
    /// let report = pool.process::<String>(1..=1000_u64).each(|height, block| {}).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Returns whether others may have its outcome.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_unique)
    }

    /// Returns which queue it waits in.
    #[inline]
    pub(crate) fn queue_id(&self) -> QueueId {
        self.queue.as_ref().map_or(QueueId::DEFAULT, Queue::id)
    }

    /// Makes options of a queue whose pool is of no matter.
    #[cfg(test)]
    pub(crate) fn in_queue(id: QueueId) -> Self {
        Self { queue: Some(Queue { id, names: Arc::new([]) }), ..Self::new() }
    }

    /// Restarts an attempt's timeout whenever it makes progress, up to `longest` in total. A worker that reports
    /// progress without making any is bounded by this and by the [`deadline`](Self::deadline); with
    /// [`Duration::MAX`], by the deadline alone.
    #[must_use]
    pub const fn attempt_max(mut self, longest: Duration) -> Self {
        self.attempt_max = Some(longest);
        self
    }

    /// Returns when a task that counts from `since` is over.
    pub(crate) fn due(&self, since: Instant) -> Instant {
        self.deadline.map_or(Instant::FAR_FUTURE, |span| since.saturating_add(span))
    }

    /// Changes what the scheduler is told of a task that counts from `since`.
    pub(crate) fn apply(&self, to: &mut chargehand_core::TaskOptions, since: Instant) {
        to.retries_max = self.retries.or(to.retries_max);
        to.retry_delay = self.retry_delay.or(to.retry_delay);
        to.deadline = self.due(since);
        to.queue = self.queue_id();
        to.attempt_max = self.attempt_max.or(to.attempt_max);
        to.hedge = self.hedge.or(to.hedge);
        if let Some(timeout) = self.attempt_timeout {
            *to = to.attempt_timeout(timeout);
        }
    }
}

/// How many attempts a worker holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Window {
    /// A fixed number, at least 1. Attempts beyond the worker's concurrency wait at the worker.
    Fixed(u16),
    /// As many as keep the worker busy, which the pool measures: those that it runs at once, and those that are on
    /// the way to it and back. At most [`Config::window_max`](chargehand_core::Config::window_max).
    ///
    /// It requires [`Config::choice`](chargehand_core::Config::choice) to be
    /// [`FirstAnswer`](chargehand_core::Choice::FirstAnswer). Otherwise the window is the worker's concurrency.
    #[cfg(feature = "choice")]
    Auto,
}

/// Options of a worker that differ from the pool's defaults. Pass them to [`Builder::add`](crate::Builder::add),
/// [`Pool::add`](crate::Pool::add) or their counterparts for workers in the pool's own process.
///
/// ```
/// use chargehand::{Pool, WorkerOptions};
/// use chargehand::memory::MemoryConnector;
///
/// # async fn f(pool: Pool, large: MemoryConnector) -> Result<(), chargehand::WorkerError> {
/// let worker = pool.add(large, WorkerOptions::new().window(64)).await?;
/// pool.remove(worker).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// How many attempts the worker holds at once.
    ///
    /// `None`, the default, means [`Builder::in_flight`](crate::Builder::in_flight). If that is not set either, it is
    /// the worker's own [`concurrency`](crate::Worker::concurrency), and 1 in the pool's own process. A worker of the
    /// Go package always holds 1.
    pub window: Option<Window>,
    /// How much work the worker gets compared to others: with weight 2 it is still chosen when it is expected to take
    /// twice as long as a worker of weight 1. Default 1; 0 counts as 1.
    #[cfg(feature = "choice")]
    pub weight: u16,
    /// Which tasks it gets, and how many in a time.
    pub(crate) wanted: Wanted,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerOptions {
    /// Makes options that change nothing.
    pub const fn new() -> Self {
        Self {
            window: None,
            #[cfg(feature = "choice")]
            weight: 1,
            wanted: Wanted { queues: None, rate: None },
        }
    }

    /// Sets how many attempts the worker holds at once. At least 1.
    #[must_use]
    pub const fn window(mut self, count: u16) -> Self {
        self.window = Some(Window::Fixed(count));
        self
    }

    /// Lets the pool find out how many attempts the worker should hold at once: see [`Window::Auto`].
    #[cfg(feature = "choice")]
    #[must_use]
    pub const fn auto_window(mut self) -> Self {
        self.window = Some(Window::Auto);
        self
    }

    /// Sets how much work the worker gets compared to others: see [`weight`](Self::weight).
    #[cfg(feature = "choice")]
    #[must_use]
    pub const fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    /// Sets which queues the worker serves, by the names given to [`Builder::queue`](crate::Builder::queue). It gets
    /// no task of other queues. Default: all queues.
    ///
    /// If the worker names queues itself ([`Worker::queues`](crate::Worker::queues)), it serves those that both sides
    /// name. Names that the pool does not know are ignored and reported by
    /// [`PoolEvent::Serves`](crate::PoolEvent::Serves); a worker that has no other name gets no task.
    ///
    /// There can be at most [8 different sets](chargehand_core::queue::SETS_MAX) of queues, besides the set of all. A
    /// worker with a ninth set serves, until its next link, the largest of the 8 that its own contains, or nothing if
    /// there is none.
    #[must_use]
    pub fn queues(mut self, names: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.wanted.queues = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Limits how many tasks the worker is sent per unit of time, including retries and other repeated sends. While
    /// the limit is reached, tasks go to other workers. If the worker has a rate of its own
    /// ([`Worker::rate`](crate::Worker::rate)), the lower one applies, with the smaller of the two bursts. Default: no
    /// limit.
    ///
    /// When its handler returns [`Throttled`](crate::Throttled), the rate is halved. It then grows back by 1/256 of
    /// the full rate with each task done.
    ///
    /// ```
    /// use chargehand::WorkerOptions;
    /// use chargehand::core::Rate;
    ///
    /// // An archive node that allows 25 requests a second, and 5 at once.
    /// let archive = WorkerOptions::new().queues(["history"]).rate(Rate::per_second(25).burst(5));
    /// ```
    #[must_use]
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.wanted.rate = Some(rate);
        self
    }

    /// Adds to what a worker offers what the pool says of it.
    #[cfg_attr(
        not(feature = "choice"),
        allow(clippy::unused_self, reason = "there is nothing to say")
    )]
    pub(crate) fn apply(&self, offer: Offer) -> Offer {
        #[cfg(feature = "choice")]
        let offer = offer.weight(self.weight);
        offer
    }

    /// Returns whether it would never get a task.
    pub(crate) fn is_idle(&self) -> bool {
        self.window == Some(Window::Fixed(0))
    }
}
