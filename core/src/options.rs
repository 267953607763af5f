//! What may be special about a task.

#[cfg(feature = "task-times")]
use core::time::Duration;

#[cfg(feature = "task-times")]
use crate::backoff::BackoffPolicy;
#[cfg(feature = "queues")]
use crate::queue::{Key, QueueId};
#[cfg(feature = "task-times")]
use crate::time::Instant;

/// Which tasks a task waits with. Those of one lane are sent in the order of submission, and lanes
/// take turns, so that a few single requests do not wait behind a million of a range. Tasks that are
/// sent again take turns with both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Lane {
    /// With single requests.
    #[default]
    Single,
    /// With those of ranges and other bulk.
    Bulk,
}

/// What is special about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TaskOptions {
    /// After how many failures of its handler it is tried again, in place of
    /// [`Config::retries_max`](crate::Config::retries_max). At most 65,535 less
    /// [`Config::attempts_max`](crate::Config::attempts_max) and
    /// [`Config::resends_max`](crate::Config::resends_max); more counts as that.
    pub retries_max: Option<u16>,
    /// Which tasks it waits with.
    pub lane: Lane,
    /// When it ends as [`TimedOut`](crate::Outcome::TimedOut) if it has no other outcome, the time that it
    /// waits included. [`Instant::FAR_FUTURE`] is never.
    #[cfg(feature = "task-times")]
    pub deadline: Instant,
    /// How long each of its attempts may take, in place of
    /// [`Config::attempt_timeout`](crate::Config::attempt_timeout): shorter or longer.
    #[cfg(feature = "task-times")]
    pub attempt_timeout: Option<Duration>,
    /// How long it rests after each failure, growing with their number, in place of
    /// [`Config::retry_delay`](crate::Config::retry_delay).
    #[cfg(feature = "task-times")]
    pub retry_delay: Option<BackoffPolicy>,
    /// Which queue it waits in.
    #[cfg(feature = "queues")]
    pub queue: QueueId,
    /// Which key it has, if it has one: tasks of the same key wait for one another.
    #[cfg(feature = "queues")]
    pub key: Option<Key>,
    /// Whether a second attempt is sent where the first takes long, and when. `None`, the default, for as its
    /// queue has it.
    #[cfg(feature = "hedging")]
    pub hedge: Option<Hedge>,
    /// How long an attempt may take in all where it makes progress: each [`Event::Progress`](crate::Event::Progress) gives it its
    /// time once more, and none beyond this. `None`, the default, and zero for no more time by progress. A longer
    /// `attempt_timeout` counts as this.
    #[cfg(feature = "task-times")]
    pub attempt_max: Option<Duration>,
}

impl TaskOptions {
    /// Makes the options of a task with nothing special.
    pub const fn new() -> Self {
        Self {
            retries_max: None,
            lane: Lane::Single,
            #[cfg(feature = "task-times")]
            deadline: Instant::FAR_FUTURE,
            #[cfg(feature = "task-times")]
            attempt_timeout: None,
            #[cfg(feature = "task-times")]
            retry_delay: None,
            #[cfg(feature = "queues")]
            queue: QueueId::DEFAULT,
            #[cfg(feature = "queues")]
            key: None,
            #[cfg(feature = "hedging")]
            hedge: None,
            #[cfg(feature = "task-times")]
            attempt_max: None,
        }
    }

    /// Sets after how many failures it is tried again.
    #[must_use]
    pub const fn retries_max(mut self, count: u16) -> Self {
        self.retries_max = Some(count);
        self
    }

    /// Sets which tasks it waits with.
    #[must_use]
    pub const fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Sets when it ends as [`TimedOut`](crate::Outcome::TimedOut). One that has passed ends it at once,
    /// though only by the next [`poll_action`](crate::Scheduler::poll_action).
    #[cfg(feature = "task-times")]
    #[must_use]
    pub const fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how long each of its attempts may take. [`Duration::MAX`] for no limit; zero counts as
    /// 1 ns.
    #[cfg(feature = "task-times")]
    #[must_use]
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        let least = Duration::from_nanos(1);
        self.attempt_timeout = Some(if timeout.is_zero() { least } else { timeout });
        self
    }

    /// Sets how long it rests after each failure. The jitter is drawn from the pool's seed, the task
    /// and the number of the failure.
    #[cfg(feature = "task-times")]
    #[must_use]
    pub const fn retry_delay(mut self, policy: BackoffPolicy) -> Self {
        self.retry_delay = Some(policy);
        self
    }

    /// Sets which queue it waits in.
    #[cfg(feature = "queues")]
    #[must_use]
    pub const fn queue(mut self, queue: QueueId) -> Self {
        self.queue = queue;
        self
    }

    /// Sets which key it has. Its queue does not matter to that: tasks of one key in several queues wait for
    /// one another as those in one do.
    #[cfg(feature = "queues")]
    #[must_use]
    pub const fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets whether a second attempt is sent where the first takes long, and when.
    #[cfg(feature = "hedging")]
    #[must_use]
    pub const fn hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Gives each of its attempts its time once more whenever it makes progress, for so long in all.
    /// [`Duration::MAX`] for as long as there is progress: then only a [`deadline`](Self::deadline) bounds
    /// how long a worker can hold the task that says it makes some, and makes none.
    #[cfg(feature = "task-times")]
    #[must_use]
    pub const fn attempt_max(mut self, longest: Duration) -> Self {
        self.attempt_max = Some(longest);
        self
    }
}

/// When a task that takes long is *hedged*: one more attempt of it is sent to another worker, the first answer
/// counts, and the other attempt is withdrawn.
///
/// Only for tasks that may run twice at the same time. A second attempt takes room that nothing else could
/// use, and is one of a few, by [`Config::hedge_budget`](crate::Config::hedge_budget) and
/// [`Config::hedges_max`](crate::Config::hedges_max). A task with a key is never hedged, nor one that may have
/// ended a link. The rules are in `docs/SCHEDULING.md`.
#[cfg(feature = "hedging")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hedge {
    /// After how many nanoseconds; zero for the quantile.
    after: u64,
}

#[cfg(feature = "hedging")]
impl Hedge {
    /// Once an attempt has been under way for longer than 95 of 100 tasks take that are hedged in its queue.
    /// Not before 20 of them are done.
    pub const fn after_p95() -> Self {
        Self { after: 0 }
    }

    /// Once an attempt has been under way for so long. Zero counts as 1 ns.
    pub const fn after(span: Duration) -> Self {
        let after = crate::time::nanos(span);
        Self { after: if after == 0 { 1 } else { after } }
    }

    /// Never, whatever its queue has.
    pub const fn never() -> Self {
        Self { after: u64::MAX }
    }

    /// Whether there is a time at all.
    pub(crate) const fn is_ever(self) -> bool {
        self.after != u64::MAX
    }

    /// Returns after how long, where that is a set time; `None` for the 95th percentile.
    pub const fn span(self) -> Option<Duration> {
        match self.after {
            0 => None,
            u64::MAX => Some(Duration::MAX),
            after => Some(Duration::from_nanos(after)),
        }
    }

    /// Returns the same in nanoseconds.
    pub(crate) const fn nanos(self) -> Option<u64> {
        if self.after == 0 { None } else { Some(self.after) }
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self::new()
    }
}
