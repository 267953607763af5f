//! How tasks are done and workers are used, where not as the pool says.

use alloc::sync::Arc;
use core::time::Duration;

use chargehand_core::{BackoffPolicy, Hedge, Instant, Offer, QueueId, Rate};

use crate::link::schema::Wanted;

/// The names of a pool's queues, by their places.
pub(crate) type QueueNames = Arc<[Arc<str>]>;

/// A queue of a pool, as [`Pool::queue`](crate::Pool::queue) finds it by its name. Cheap to clone.
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

/// The key of tasks: those that have the same are begun in the order of submission, and only so many of them
/// are under way at once, one if nothing else is said. So the transactions of one account do not overtake each
/// other, and one customer's file is not written by two workers.
///
/// A number, or a text. Tasks of other keys, and of none, pass those that wait for theirs. A task has its place
/// from its turn to its outcome, so it keeps it while it rests before a retry. As far as the pool knows: of an
/// attempt that was cancelled, or outlived its time, its worker may not have heard yet.
///
/// There may be [`Config::keys_max`](chargehand_core::Config::keys_max) keys in use at once, 4096 by default: a
/// call of one more ends as [`TaskError::TooManyKeys`](crate::TaskError::TooManyKeys), and a range or map of one
/// more waits until one is free.
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

    /// Sets how many tasks of the key are under way at once. 0 counts as 1. What the task that was
    /// submitted last says counts for all.
    #[must_use]
    pub const fn at_once(mut self, count: u32) -> Self {
        self.at_once = if count == 0 { 1 } else { count };
        self
    }

    /// Has only one call of the key be queued or under way: whoever calls or submits meanwhile has the
    /// outcome of that one, and its request is not sent.
    ///
    /// The options of the first one hold, its deadline included, and its request: so give the same key to the
    /// same requests only. If its caller cancels it, it goes on for the others. Of no meaning to ranges and maps,
    /// all of whose tasks have the one key.
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

/// How a task is done, where not as the pool says: given to [`Pool::with`](crate::Pool::with), whose handle
/// uses it for calls, single tasks, maps and ranges alike.
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
    /// How long one attempt may take, before it is given up and the task sent again. `None` for
    /// [`Config::attempt_timeout`](chargehand_core::Config::attempt_timeout).
    pub attempt_timeout: Option<Duration>,
    /// How long the task may take in all: after that it ends as
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut). That of a single task counts from when it is
    /// queued, and that of a height or a request of a map from when it is put in for a worker: what
    /// waits in its range or map has not begun. `None`, the default, for no end.
    pub deadline: Option<Duration>,
    /// How many times it is tried again after its handler failed. `None` for
    /// [`Config::retries_max`](chargehand_core::Config::retries_max), and once at least in a range or map.
    pub retries: Option<u16>,
    /// How long it rests before each of these. `None` for
    /// [`Config::retry_delay`](chargehand_core::Config::retry_delay).
    pub retry_delay: Option<BackoffPolicy>,
    /// Which queue it waits in. `None` for the one named `default`.
    pub queue: Option<Queue>,
    /// How long one attempt may take in all where its handler says how far it is
    /// ([`Context::progress`](crate::Context::progress)): whenever more is done than before, it has its
    /// `attempt_timeout` once more, up to this. So a job of hours needs no timeout of hours: a worker that hangs
    /// is found as soon as any. `None`, the default, for no more time by progress.
    pub attempt_max: Option<Duration>,
    /// Which key it has. `None`, the default, for none.
    pub key: Option<TaskKey>,
    /// Whether one more attempt is sent to another worker where the first takes long, and when. `None` for as its
    /// queue has it, which is never by default.
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

    /// Sets how long the task may take in all.
    #[must_use]
    pub const fn deadline(mut self, span: Duration) -> Self {
        self.deadline = Some(span);
        self
    }

    /// Sets how many times it is tried again after its handler failed. 0 is not at all.
    #[must_use]
    pub const fn retries(mut self, count: u16) -> Self {
        self.retries = Some(count);
        self
    }

    /// Sets how long it rests before each retry.
    #[must_use]
    pub const fn retry_delay(mut self, policy: BackoffPolicy) -> Self {
        self.retry_delay = Some(policy);
        self
    }

    /// Sets which queue it waits in: one of the pool's, by [`Pool::queue`](crate::Pool::queue).
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

    /// Sets which key it has. All tasks of a range or map have the same one, so only so many of them are under
    /// way at once. An example is at [`TaskKey`].
    #[must_use]
    pub fn key(mut self, key: impl Into<TaskKey>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Has one more attempt be sent to another worker that has nothing to do, where the first takes long. The first
    /// answer counts, and the other attempt is withdrawn. So the last tasks of a range, or one call in a
    /// thousand, do not wait for a worker that happens to be slow.
    ///
    /// Only for handlers that may run twice at the same time. By
    /// [`Config::hedge_budget`](chargehand_core::Config::hedge_budget) 2 % more are sent than otherwise, at most. A
    /// task with a key is never sent twice. The rules are in `docs/SCHEDULING.md`.
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

    /// Gives an attempt its time once more whenever it makes progress, for so long in all. Of a worker that says
    /// it makes some and does not, this and the [`deadline`](Self::deadline) are the bound: where it is
    /// [`Duration::MAX`], the deadline alone.
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
    /// So many, at least 1; those beyond its concurrency wait there.
    Fixed(u16),
    /// As many as keep it busy, which the pool finds out: as many as it runs at once, and as many more as are
    /// on the way there and back. Up to [`Config::window_max`](chargehand_core::Config::window_max).
    ///
    /// Only where [`Config::choice`](chargehand_core::Config::choice) is
    /// [`FirstAnswer`](chargehand_core::Choice::FirstAnswer), as it is by default; else it has its
    /// concurrency.
    #[cfg(feature = "choice")]
    Auto,
}

/// How a worker is used, where not as the pool says: given to [`Builder::add`](crate::Builder::add),
/// [`Pool::add`](crate::Pool::add) and their twins for workers in the pool's own process.
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
    /// How many attempts it holds at once.
    ///
    /// `None`, the default, for [`Builder::in_flight`](crate::Builder::in_flight); where that is not set
    /// either, what the worker says (its [`concurrency`](crate::Worker::concurrency)), and 1 in the pool's
    /// own process. A worker of the Go package has one at a time, whatever this says.
    pub window: Option<Window>,
    /// How much of the work it gets compared to others: one of weight 2 gets a task that it is expected to
    /// take twice as long for as one of weight 1. Default 1; 0 counts as 1.
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

    /// Sets how many attempts it holds at once. At least 1.
    #[must_use]
    pub const fn window(mut self, count: u16) -> Self {
        self.window = Some(Window::Fixed(count));
        self
    }

    /// Has the pool find out how many attempts it is to hold at once: see [`Window::Auto`].
    #[cfg(feature = "choice")]
    #[must_use]
    pub const fn auto_window(mut self) -> Self {
        self.window = Some(Window::Auto);
        self
    }

    /// Sets how much of the work it gets compared to others.
    #[cfg(feature = "choice")]
    #[must_use]
    pub const fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    /// Sets which queues it serves, by their names ([`Builder::queue`](crate::Builder::queue)): it gets their tasks,
    /// and of no other queue. Where the worker says so as well ([`Worker::queues`](crate::Worker::queues)), those
    /// that both name. A name that the pool does not know counts for nothing, and
    /// [`PoolEvent::Serves`](crate::PoolEvent::Serves) tells of it; with no other name the worker gets no task.
    /// Default: all queues.
    ///
    /// Workers that serve the same are one kind, and there may be
    /// [8 kinds](chargehand_core::queue::SETS_MAX) of those that do not serve all. One more kind serves the
    /// largest of these sets that is part of its own, or nothing, until its next link.
    #[must_use]
    pub fn queues(mut self, names: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.wanted.queues = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how many tasks it is sent in a time, at most: retries and other sends of the same task included. With
    /// none left it is passed over until its time, so that others have what waits. Where the worker says so as
    /// well ([`Worker::rate`](crate::Worker::rate)), the slower of both. Default: no limit.
    ///
    /// Where its handler says [not now](crate::Throttled) the rate is halved, and grows by a 256th of the whole
    /// with each task done.
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
