//! How tasks are done and workers are used, where not as the pool says.

use alloc::sync::Arc;
use core::time::Duration;

use chargehand_core::{BackoffPolicy, Instant, QueueId};

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
}

impl TaskOptions {
    /// Makes options that change nothing.
    pub const fn new() -> Self {
        let (attempt_timeout, deadline, retries, retry_delay) = (None, None, None, None);
        Self { attempt_timeout, deadline, retries, retry_delay, queue: None }
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
        if let Some(timeout) = self.attempt_timeout {
            *to = to.attempt_timeout(timeout);
        }
    }
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// How many attempts it holds at once; those beyond its concurrency wait there. At least 1.
    ///
    /// `None`, the default, for [`Builder::in_flight`](crate::Builder::in_flight); where that is not set
    /// either, what the worker says (its [`concurrency`](crate::Worker::concurrency)), and 1 in the pool's
    /// own process. A worker of the Go package has one at a time, whatever this says.
    pub window: Option<u16>,
}

impl WorkerOptions {
    /// Makes options that change nothing.
    pub const fn new() -> Self {
        Self { window: None }
    }

    /// Sets how many attempts it holds at once.
    #[must_use]
    pub const fn window(mut self, count: u16) -> Self {
        self.window = Some(count);
        self
    }

    /// Returns whether it would never get a task.
    pub(crate) fn is_idle(&self) -> bool {
        self.window == Some(0)
    }
}
