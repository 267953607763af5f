//! How tasks are done and workers are used, where not as the pool says.

use core::time::Duration;

use chargehand_core::{BackoffPolicy, Instant, Offer};

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
}

impl TaskOptions {
    /// Makes options that change nothing.
    pub const fn new() -> Self {
        Self { attempt_timeout: None, deadline: None, retries: None, retry_delay: None }
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

    /// Returns when a task that counts from `since` is over.
    pub(crate) fn due(&self, since: Instant) -> Instant {
        self.deadline.map_or(Instant::FAR_FUTURE, |span| since.saturating_add(span))
    }

    /// Changes what the scheduler is told of a task that counts from `since`.
    pub(crate) fn apply(&self, to: &mut chargehand_core::TaskOptions, since: Instant) {
        to.retries_max = self.retries.or(to.retries_max);
        to.retry_delay = self.retry_delay.or(to.retry_delay);
        to.deadline = self.due(since);
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

    /// Adds to what a worker offers what the pool says of it.
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
