//! Limits and policies of a pool, checked when the scheduler is made.

use core::fmt;
use core::time::Duration;

use crate::backoff::BackoffPolicy;
use crate::time::nanos;

/// The limits and policies of a [`Scheduler`](crate::Scheduler). Start from [`Config::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Config {
    /// How many attempts of a task may be lost, with their link or because they outlive `attempt_timeout`, before it
    /// ends as [`Exhausted`](crate::Outcome::Exhausted). At least 1; default 5.
    ///
    /// A lost attempt counts only if the task may have been the cause: the worker did not say Goodbye, and the
    /// attempt may have been running, because it was among the oldest ones of its worker, as many as that runs at
    /// once.
    pub attempts_max: u16,
    /// How many times a task may come back without an attempt being counted, because its worker stopped, was
    /// displaced or had not started it, before it ends as [`Bounced`](crate::Outcome::Bounced). At least 1; default
    /// 64.
    pub resends_max: u16,
    /// How long a task that came back waits for a worker other than its last one, as long as others serve. Meanwhile
    /// other tasks overtake it. Default 1 s. With zero it does not wait, but another worker with room is still
    /// preferred.
    pub elsewhere_wait: Duration,
    /// How many attempts a worker may hold at once, whatever window it offers. At least 1; default 1024.
    pub window_max: u32,
    /// How many attempts a new link may hold at first. Each task done raises that by one, up to the link's window; an
    /// attempt that outlives `attempt_timeout` lowers it to one. At least 1; default 16.
    pub trust_initial: u32,
    /// How long one attempt may take. Default 60 s; [`Duration::MAX`] for no limit. After that the task is sent
    /// again, to another worker if one has room within `elsewhere_wait`, and the worker gets a strike.
    ///
    /// If a worker may hold more than it runs at once, the task may have spent this time waiting there. So a pool
    /// restarts the timeout when the task becomes its worker's oldest. It does not know how long a worker is busy
    /// with tasks of other managers.
    pub attempt_timeout: Duration,
    /// How many times a task is retried after its handler failed, before it ends as
    /// [`Failed`](crate::Outcome::Failed). Default 0.
    pub retries_max: u16,
    /// How long a failed task waits before it is retried. Default 1 s.
    pub retry_delay: Duration,
    /// How long connecting may take, including the handshake. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a link may be silent before it is pinged. At least 1 ms; default 10 s.
    pub heartbeat_interval: Duration,
    /// How long a link may stay silent after a ping before it counts as lost. At least 1 ms; default 10 s.
    pub heartbeat_timeout: Duration,
    /// How many attempts in a row may outlive `attempt_timeout` before the link is closed. At least 1; default 3.
    pub strikes_max: u16,
    /// How many tasks in a row a worker may fail before it is suspended, for a time that `backoff` determines. The
    /// last worker that serves is never suspended. At least 1; default 16.
    pub failures_max: u16,
    /// The longest pause that a worker can ask for by saying [not now](crate::Useless::Throttled). Default 1 h.
    #[cfg(feature = "task-times")]
    pub pause_max: Duration,
    /// The minimum share of all sends, in percent, that each [class](crate::Class) of queues gets while it has
    /// something to send, however urgent the other classes are. At most 25; default 5. With 0 a class can starve.
    #[cfg(feature = "queues")]
    pub class_share_min: u8,
    /// How many keys can be in use: a task's key is a number below this. At most 2^28; default 4096. A key takes 40
    /// bytes once it or a higher one was used.
    #[cfg(feature = "queues")]
    pub keys_max: u32,
    /// How long the pool waits for a worker whose link broke, before it sends the worker's attempts elsewhere. If the
    /// worker comes back in time, they continue. The worker may [shorten](crate::Offer::keeps) this. The deadlines of
    /// the attempts keep running meanwhile. A worker that dials in is waited for no longer than `absent_max`, and
    /// `chargehand`'s builder refuses a longer grace then. Default zero: the tasks are sent again at once.
    #[cfg(feature = "task-times")]
    pub grace: Duration,
    /// How long a worker that dials in may be absent before it is forgotten. Default 10 min; [`Duration::MAX`] to
    /// keep it forever.
    pub absent_max: Duration,
    /// How the worker for the next task is chosen. Default [`Choice::LeastLoaded`].
    #[cfg(feature = "choice")]
    pub choice: Choice,
    /// When a worker that is much slower or fails much more often than the others is given a rest. `None`, the
    /// default, means never. Requires [`Choice::FirstAnswer`]: otherwise it is ignored, and `chargehand`'s builder refuses
    /// it.
    #[cfg(feature = "choice")]
    pub ejection: Option<Ejection>,
    /// A limit on the retries of all failed tasks together. `None`, the default, means that only their own
    /// `retries_max` limit them.
    #[cfg(feature = "choice")]
    pub retry_budget: Option<RetryBudget>,
    /// How many second attempts of [hedged](crate::Hedge) tasks may be under way at once. That many task slots are
    /// reserved for them. Default 0: no task is hedged.
    #[cfg(feature = "hedging")]
    pub hedges_max: u32,
    /// How many second attempts may be sent in proportion to other sends.
    #[cfg(feature = "hedging")]
    pub hedge_budget: HedgeBudget,
    /// The delay before a worker is dialled again, and the suspension of a worker that only fails. Base and cap at
    /// least 1 ms. It grows with each consecutive connection that was of no use. A link is of use once a task was
    /// done on it, or after `stable_after`.
    ///
    /// After a useful link a worker is dialled again after the first, jittered step. So workers that a switch cut off
    /// together do not reconnect together, and a worker that crashes after each task is not dialled without a pause.
    /// A worker that dials in chooses its own pauses: after a useful link it gets tasks at once, and after a useless
    /// one its first task is delayed by the time for which dialling would have been delayed.
    pub backoff: BackoffPolicy,
    /// How long a link must be up to reset its worker's backoff if no task was done on it. Default 30 s.
    pub stable_after: Duration,
    /// The seed of the jitter. Use a different one in every process, or their workers reconnect at the same moment.
    pub seed: u64,
}

/// When a worker is given a rest because it is much slower than the others, or fails much more often. This is Envoy's
/// outlier detection; each field names its counterpart there.
///
/// A worker is compared with the others each time it has given `answers` answers. So no worker rests if all become
/// slow or fail alike, nor does the last one that serves. After its rest a worker gets one task. If that is done in
/// good time it is back; otherwise it rests again, for longer.
#[cfg(feature = "choice")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Ejection {
    /// After how many answers a worker is compared with the others (`success_rate_request_volume`). Default 100.
    pub answers: u16,
    /// How many other workers there must be to compare it with (`success_rate_minimum_hosts`, which counts the worker
    /// itself). Default 3.
    pub others_min: u32,
    /// How many standard deviations it must be worse than their mean, in thousandths (`success_rate_stdev_factor`).
    /// Default 1900.
    pub deviations: u16,
    /// How many times as long as theirs its tasks must take. Default 4; with 0 only failures count.
    pub times_slower: u16,
    /// How long it rests the first time; each further rest in a row is longer by this (`base_ejection_time`). Default
    /// 30 s.
    pub rest: Duration,
    /// The longest rest, as a multiple of `rest` (`max_ejection_time`). At least 1; default 10, which is 300 s.
    pub rests_max: u16,
    /// How many percent of the workers may rest at once (`max_ejection_percent`). Default 50.
    pub percent_max: u8,
}

#[cfg(feature = "choice")]
impl Ejection {
    /// Makes the default one.
    pub const fn new() -> Self {
        Self {
            answers: 100,
            others_min: 3,
            deviations: 1900,
            times_slower: 4,
            rest: Duration::from_secs(30),
            rests_max: 10,
            percent_max: 50,
        }
    }
}

#[cfg(feature = "choice")]
impl Default for Ejection {
    fn default() -> Self {
        Self::new()
    }
}

/// A limit on all retries, so that a broken service behind the handlers does not get a multiple of its load. This is
/// gRPC's retry throttling (proposal A6); each field names its counterpart there.
///
/// Each failure of a handler takes one token, and each task done gives a fraction of one back. While half of the
/// tokens or fewer are left, a task that fails ends as [`Failed`](crate::Outcome::Failed), however many retries it
/// has left.
#[cfg(feature = "choice")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RetryBudget {
    /// How many tokens there are at most, and initially (`maxTokens`). Default 10.
    pub tokens: u16,
    /// How many thousandths of a token each task done gives back (`tokenRatio`). Default 100.
    pub per_done: u16,
}

#[cfg(feature = "choice")]
impl RetryBudget {
    /// Makes the default one.
    pub const fn new() -> Self {
        Self { tokens: 10, per_done: 100 }
    }
}

#[cfg(feature = "choice")]
impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// A limit on second attempts, so that hedging cannot add much load when all workers are slow.
///
/// Each ordinary send gives a fraction of a token, and each second attempt takes one. Up to `saved_max` unused tokens
/// are saved, and that many are available initially. The last half of them is reserved for tasks that have taken
/// twice the time after which they may be hedged, so that tasks that are only a little late leave some for those that
/// are stuck.
#[cfg(feature = "hedging")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HedgeBudget {
    /// How many second attempts are allowed per thousand other sends. Default 20, which is 2 %.
    pub per_thousand: u16,
    /// How many unused second attempts can be saved, and how many are available initially. At least 1; default 10.
    pub saved_max: u16,
}

#[cfg(feature = "hedging")]
impl HedgeBudget {
    /// Makes the default one.
    pub const fn new() -> Self {
        Self { per_thousand: 20, saved_max: 10 }
    }
}

#[cfg(feature = "hedging")]
impl Default for HedgeBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// How the worker for a task is chosen among those with room.
#[cfg(feature = "choice")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Choice {
    /// The worker that holds the fewest tasks, and among equals the one that has waited longest for its turn. It
    /// ignores how long answers took, and no task waits while a worker has room.
    #[default]
    LeastLoaded,
    /// The worker that is expected to answer first, judged by how long its earlier answers took, how many of them
    /// were useful, and how much it holds. A worker that is not known well enough yet counts as average.
    ///
    /// A new task may wait although a worker has room, if the busy workers are expected to finish everything that
    /// waits before that worker would finish the task. It waits at most [`elsewhere_wait`](Config::elsewhere_wait),
    /// or as long as that worker is expected to take, whichever is longer. If nothing waits, tasks that a worker
    /// holds and cannot have started are taken back for a worker that is expected to finish them in two thirds of the
    /// time.
    FirstAnswer,
}

const NANOS_PER_MILLI: u64 = 1_000_000;
/// How many keys there may be: few enough for an index.
#[cfg(feature = "queues")]
const KEYS_MAX: u32 = {
    let indices = crate::scheduler::index::SLOTS_MAX;
    if indices < 1 << 28 { indices } else { 1 << 28 }
};

impl Config {
    /// Makes the default configuration. `seed` should differ from process to process.
    pub const fn new(seed: u64) -> Self {
        Self {
            attempts_max: 5,
            resends_max: 64,
            elsewhere_wait: Duration::from_secs(1),
            window_max: 1024,
            trust_initial: 16,
            attempt_timeout: Duration::from_secs(60),
            retries_max: 0,
            retry_delay: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(10),
            strikes_max: 3,
            failures_max: 16,
            #[cfg(feature = "task-times")]
            pause_max: Duration::from_secs(60 * 60),
            #[cfg(feature = "queues")]
            class_share_min: 5,
            #[cfg(feature = "queues")]
            keys_max: 4096,
            #[cfg(feature = "task-times")]
            grace: Duration::ZERO,
            absent_max: Duration::from_secs(600),
            #[cfg(feature = "choice")]
            choice: Choice::LeastLoaded,
            #[cfg(feature = "choice")]
            ejection: None,
            #[cfg(feature = "choice")]
            retry_budget: None,
            #[cfg(feature = "hedging")]
            hedges_max: 0,
            #[cfg(feature = "hedging")]
            hedge_budget: HedgeBudget::new(),
            backoff: BackoffPolicy::new(),
            stable_after: Duration::from_secs(30),
            seed,
        }
    }

    /// Returns the configuration if every field is in its range.
    ///
    /// # Errors
    /// Names the first field that is not, and its range.
    pub const fn checked(self) -> Result<Self, ConfigError> {
        if self.attempts_max == 0 {
            return Err(ConfigError("attempts_max must be at least 1"));
        }
        if self.resends_max == 0 {
            return Err(ConfigError("resends_max must be at least 1"));
        }
        let sends = self.attempts_max as u32 + self.resends_max as u32 + self.retries_max as u32;
        if sends > u16::MAX as u32 {
            return Err(ConfigError(
                "attempts_max + resends_max + retries_max must be at most 65535",
            ));
        }
        if self.window_max == 0 || self.trust_initial == 0 {
            return Err(ConfigError("window_max and trust_initial must be at least 1"));
        }
        if self.strikes_max == 0 {
            return Err(ConfigError("strikes_max must be at least 1"));
        }
        if self.failures_max == 0 {
            return Err(ConfigError("failures_max must be at least 1"));
        }
        if self.attempt_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(ConfigError("timeouts must be longer than zero"));
        }
        // It goes over the wire in milliseconds, and less than one would be none.
        if is_below_milli(self.heartbeat_interval) || is_below_milli(self.heartbeat_timeout) {
            return Err(ConfigError(
                "heartbeat_interval and heartbeat_timeout must be at least 1 ms",
            ));
        }
        // Without a delay, a worker that refuses would be dialled without a pause.
        if self.backoff.first_nanos() < NANOS_PER_MILLI {
            return Err(ConfigError("the backoff's base and cap must be at least 1 ms"));
        }
        #[cfg(feature = "hedging")]
        if self.hedge_budget.saved_max == 0 {
            return Err(ConfigError("a hedge_budget's saved_max must be at least 1"));
        }
        #[cfg(feature = "queues")]
        if self.class_share_min > 25 {
            return Err(ConfigError("class_share_min must be at most 25: there are four classes"));
        }
        #[cfg(feature = "queues")]
        if self.keys_max > KEYS_MAX {
            return Err(ConfigError("keys_max must be at most 2^28, and 65535 on bare metal"));
        }
        Ok(self)
    }
}

/// A [`Config`] as the scheduler keeps it: spans in nanoseconds, which take half the memory of a
/// `Duration`, and need no multiplication when a deadline is set.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Policy {
    pub(crate) attempt_timeout: u64,
    pub(crate) retry_delay: u64,
    pub(crate) connect_timeout: u64,
    pub(crate) heartbeat_interval: u64,
    pub(crate) heartbeat_timeout: u64,
    pub(crate) absent_max: u64,
    #[cfg(feature = "task-times")]
    pub(crate) pause_max: u64,
    #[cfg(feature = "choice")]
    pub(crate) choice: Choice,
    #[cfg(feature = "choice")]
    pub(crate) ejection: Option<Ejection>,
    #[cfg(feature = "choice")]
    pub(crate) retry_budget: Option<RetryBudget>,
    #[cfg(feature = "hedging")]
    pub(crate) hedges_max: u32,
    #[cfg(feature = "hedging")]
    pub(crate) hedge_budget: HedgeBudget,
    #[cfg(feature = "queues")]
    pub(crate) class_share_min: u8,
    #[cfg(feature = "queues")]
    pub(crate) keys_max: u32,
    #[cfg(feature = "task-times")]
    pub(crate) grace: u64,
    pub(crate) stable_after: u64,
    pub(crate) seed: u64,
    pub(crate) backoff: BackoffPolicy,
    pub(crate) elsewhere_wait: u64,
    pub(crate) window_max: u32,
    pub(crate) trust_initial: u32,
    pub(crate) attempts_max: u16,
    pub(crate) resends_max: u16,
    pub(crate) retries_max: u16,
    pub(crate) strikes_max: u16,
    pub(crate) failures_max: u16,
}

impl Policy {
    pub(crate) const fn new(config: &Config) -> Self {
        Self {
            attempt_timeout: short(config.attempt_timeout),
            retry_delay: short(config.retry_delay),
            connect_timeout: short(config.connect_timeout),
            heartbeat_interval: short(config.heartbeat_interval),
            heartbeat_timeout: short(config.heartbeat_timeout),
            absent_max: short(config.absent_max),
            #[cfg(feature = "task-times")]
            pause_max: short(config.pause_max),
            #[cfg(feature = "choice")]
            choice: config.choice,
            #[cfg(feature = "choice")]
            ejection: config.ejection,
            #[cfg(feature = "choice")]
            retry_budget: config.retry_budget,
            #[cfg(feature = "hedging")]
            hedges_max: config.hedges_max,
            #[cfg(feature = "hedging")]
            hedge_budget: config.hedge_budget,
            #[cfg(feature = "queues")]
            class_share_min: config.class_share_min,
            #[cfg(feature = "queues")]
            keys_max: config.keys_max,
            #[cfg(feature = "task-times")]
            grace: short(config.grace),
            stable_after: short(config.stable_after),
            seed: config.seed,
            backoff: config.backoff,
            elsewhere_wait: short(config.elsewhere_wait),
            window_max: config.window_max,
            trust_initial: config.trust_initial,
            attempts_max: config.attempts_max,
            resends_max: config.resends_max,
            retries_max: config.retries_max,
            strikes_max: config.strikes_max,
            failures_max: config.failures_max,
        }
    }

    /// Callers want one field, and the others are not worth their divisions.
    #[inline]
    pub(crate) const fn config(&self) -> Config {
        Config {
            attempts_max: self.attempts_max,
            resends_max: self.resends_max,
            elsewhere_wait: span(self.elsewhere_wait),
            window_max: self.window_max,
            trust_initial: self.trust_initial,
            attempt_timeout: span(self.attempt_timeout),
            retries_max: self.retries_max,
            retry_delay: span(self.retry_delay),
            connect_timeout: span(self.connect_timeout),
            heartbeat_interval: span(self.heartbeat_interval),
            heartbeat_timeout: span(self.heartbeat_timeout),
            strikes_max: self.strikes_max,
            failures_max: self.failures_max,
            absent_max: span(self.absent_max),
            #[cfg(feature = "task-times")]
            pause_max: span(self.pause_max),
            #[cfg(feature = "choice")]
            choice: self.choice,
            #[cfg(feature = "choice")]
            ejection: self.ejection,
            #[cfg(feature = "choice")]
            retry_budget: self.retry_budget,
            #[cfg(feature = "hedging")]
            hedges_max: self.hedges_max,
            #[cfg(feature = "hedging")]
            hedge_budget: self.hedge_budget,
            #[cfg(feature = "queues")]
            class_share_min: self.class_share_min,
            #[cfg(feature = "queues")]
            keys_max: self.keys_max,
            #[cfg(feature = "task-times")]
            grace: span(self.grace),
            backoff: self.backoff,
            stable_after: span(self.stable_after),
            seed: self.seed,
        }
    }
}

/// Whether a span is shorter than a millisecond. Without a multiplication of 64 bits.
const fn is_below_milli(span: Duration) -> bool {
    span.as_secs() == 0 && span.subsec_millis() == 0
}

/// Returns a span in nanoseconds. One copy for all fields, to save flash.
// Without: above the flash aim by 496 bytes.
#[inline(never)]
const fn short(span: Duration) -> u64 {
    nanos(span)
}

/// Returns the span of so many nanoseconds; the longest means no limit.
const fn span(nanos: u64) -> Duration {
    if nanos == u64::MAX { Duration::MAX } else { Duration::from_nanos(nanos) }
}

/// A configuration field out of its range; the text names the field and the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigError(pub(crate) &'static str);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for ConfigError {}
