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
    /// How many attempts of a task may be lost (with their link, or by outliving
    /// `attempt_timeout`) before it ends [`Exhausted`](crate::Outcome::Exhausted). At least 1;
    /// default 5.
    ///
    /// An attempt counts where the task may have been the cause: it was among as many of its
    /// worker's oldest as the worker runs at once, and the worker did not take its leave.
    pub attempts_max: u16,
    /// How many times a task may come back with no attempt counted (its worker stopped, was displaced or
    /// had not begun it) before it ends [`Bounced`](crate::Outcome::Bounced). At least 1; default
    /// 64.
    pub resends_max: u16,
    /// How long a task that came back waits for another worker than its last one, while others
    /// serve. Other tasks pass it meanwhile. Default 1 s; zero to wait for nobody, though another
    /// worker that has room is still preferred.
    pub elsewhere_wait: Duration,
    /// How many attempts any worker may hold at once, whatever it offers. At least 1; default 1024.
    pub window_max: u32,
    /// How many attempts a new link is given at once, at most. Each task done lets it hold one more,
    /// up to its window; one that outlives `attempt_timeout` takes it back to one. At least 1;
    /// default 16.
    pub trust_initial: u32,
    /// How long one attempt may take. Afterwards the task is sent again, elsewhere if another worker
    /// has room within `elsewhere_wait`, and the worker gets a strike. Where a worker may hold more than
    /// it runs at once, a task may have waited there for so long: a pool gives it this time once more
    /// when it is its worker's oldest. What waits there for the tasks of other managers is not known
    /// of. Default 60 s; [`Duration::MAX`] for no limit.
    pub attempt_timeout: Duration,
    /// How many times a task whose handler failed is tried again before it ends
    /// [`Failed`](crate::Outcome::Failed). Default 0.
    pub retries_max: u16,
    /// How long a failed task waits before it is tried again. Default 1 s.
    pub retry_delay: Duration,
    /// How long a connect may take, handshake included. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a link may be silent before it is pinged. At least 1 ms; default 10 s.
    pub heartbeat_interval: Duration,
    /// How long after a ping a link may stay silent before it is lost. At least 1 ms; default 10 s.
    pub heartbeat_timeout: Duration,
    /// After how many attempts in a row that outlived `attempt_timeout` a link is closed. At least
    /// 1; default 3.
    pub strikes_max: u16,
    /// After how many failed tasks in a row (none done between) a worker is suspended, for a time by
    /// `backoff`. The last worker is never suspended. At least 1; default 16.
    pub failures_max: u16,
    /// How long a worker gets no tasks at most when it says [not now](crate::Useless::Throttled), however
    /// long it asks for. Default 1 h.
    #[cfg(feature = "task-times")]
    pub pause_max: Duration,
    /// How many of all sends each [class](crate::Class) of queues has at least, in percent, while it has
    /// something to send, whatever is more urgent. At most 25; default 5. 0 lets a class starve.
    #[cfg(feature = "queues")]
    pub class_share_min: u8,
    /// How many keys there are: a task's key is a number below that. At most 2^28; default 4096. Each takes
    /// 20 bytes once it, or a higher one, was used.
    #[cfg(feature = "queues")]
    pub keys_max: u32,
    /// How long a worker whose link broke may keep what it holds, and go on with it, until it is back: for so long
    /// its attempts are not sent elsewhere. Less where the worker says [so](crate::Offer::keeps). Their own deadlines
    /// go on meanwhile. Default zero: what it held is sent again at once.
    #[cfg(feature = "task-times")]
    pub grace: Duration,
    /// How long a worker that dials in may stay away before it is forgotten. Default 10 min;
    /// [`Duration::MAX`] to keep it for ever.
    pub absent_max: Duration,
    /// Whom the next task goes to. Default [`Choice::LeastLoaded`]; a `chargehand` pool has
    /// [`Choice::FirstAnswer`].
    #[cfg(feature = "choice")]
    pub choice: Choice,
    /// When a worker that is far off the others rests. `None`, the default, for never. Only by
    /// [`Choice::FirstAnswer`].
    #[cfg(feature = "choice")]
    pub ejection: Option<Ejection>,
    /// How many failed tasks may be tried again, of all. `None`, the default, for as many as their own
    /// `retries_max` allow.
    #[cfg(feature = "choice")]
    pub retry_budget: Option<RetryBudget>,
    /// How many second attempts may be under way at once, of tasks that are [hedged](crate::Hedge). So many of
    /// the task slots are kept for them, and tasks have the others. Default 0: no task is hedged.
    #[cfg(feature = "hedging")]
    pub hedges_max: u32,
    /// How many second attempts are sent, of all sends.
    #[cfg(feature = "hedging")]
    pub hedge_budget: HedgeBudget,
    /// The delay before a worker is dialled again, and the rest of a worker that only fails. It grows
    /// with each connect in a row that came to nothing; a link is of use once a task was done on it,
    /// or after `stable_after`. Base and cap at least 1 ms.
    ///
    /// After a link of use a worker is dialled again after the first, jittered step, so that those
    /// which a switch cut off together do not come back together, and one that crashes after each
    /// task is not dialled without a pause. One that dials in is given tasks at once then: the pauses
    /// are its own. After a link that did nothing it gets its first task as much later as it would
    /// have been dialled later.
    pub backoff: BackoffPolicy,
    /// How long a link must have been up to reset its worker's backoff, where no task was done
    /// on it. Default 30 s.
    pub stable_after: Duration,
    /// Seeds the jitter. Give every process a different one, or all their workers reconnect at the
    /// same moment.
    pub seed: u64,
}

/// When a worker rests since it is far slower than the others, or fails far more often: the outlier
/// detection of Envoy, whose names are given with each.
///
/// A worker is held against the others each time that it has given so many answers. It never is against
/// itself, so none rests where all become slow or fail alike; nor does the last one that serves. After its
/// rest it gets one task. If that is done in good time it is back, else it rests again, longer.
#[cfg(feature = "choice")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Ejection {
    /// After how many answers a worker is held against the others (`success_rate_request_volume`).
    /// Default 100.
    pub answers: u16,
    /// Against how many others at least (`success_rate_minimum_hosts`, which counts itself). Default 3.
    pub others_min: u32,
    /// How many standard deviations from their mean it is off, in thousandths
    /// (`success_rate_stdev_factor`). Default 1900.
    pub deviations: u16,
    /// How many times as long as theirs its tasks take at least. Default 4; 0 to look at failures only.
    pub times_slower: u16,
    /// How long it rests first; each time in a row so much longer (`base_ejection_time`). Default 30 s.
    pub rest: Duration,
    /// How many times as long it rests at most (`max_ejection_time`). At least 1; default 10, which are 300 s.
    pub rests_max: u16,
    /// How many of a hundred workers rest at most (`max_ejection_percent`). Default 50.
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

/// How many failed tasks are tried again, so that what all of them call on does not get a multiple of its
/// load when it breaks: the retry throttling of gRPC (proposal A6), whose names are given with each.
///
/// Each failure of a handler takes one token, each task done gives a part of one back. With half of all
/// tokens or fewer left, a task that fails ends as [`Failed`](crate::Outcome::Failed) whatever its own
/// retries are.
#[cfg(feature = "choice")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RetryBudget {
    /// How many tokens there are at first and at most (`maxTokens`). Default 10.
    pub tokens: u16,
    /// How many thousandths of a token a task gives back that is done (`tokenRatio`). Default 100.
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

/// How many second attempts are sent, so that hedging cannot add much to the load of workers that are all
/// slow, be it by too much load.
///
/// Each send that is none gives a part of a token, and each second attempt takes one. What is not used
/// is saved up to a few, as many as there are at first. The last half of those is for tasks that have taken
/// twice as long as they are left alone, so that those which are a little late leave some for those that are stuck.
#[cfg(feature = "hedging")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HedgeBudget {
    /// How many second attempts there are for a thousand other sends. Default 20, which are 2 %.
    pub per_thousand: u16,
    /// How many are saved up at most, and there are at first. At least 1; default 10.
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

/// How the worker is chosen that a task goes to, of those with room.
#[cfg(feature = "choice")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Choice {
    /// The one that holds the fewest tasks, and among equals the one that has waited longest for its
    /// turn. What workers' answers took is not looked at, and no task waits while a worker has room.
    #[default]
    LeastLoaded,
    /// The one that is expected to answer first, by what its earlier answers took, how many of them were
    /// of use, and what it holds. A worker that has not shown enough counts as an average one.
    ///
    /// A new task waits, though a worker has room, where the busy ones are expected to have done all that
    /// waits before that one would be done; for [`elsewhere_wait`](Config::elsewhere_wait) at most, or for as
    /// long as that worker is expected to take, whichever is longer. Where nothing waits, tasks that a
    /// worker holds and cannot have begun are taken back for one that would be done in two thirds
    /// of the time.
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
