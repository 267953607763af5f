//! Queues and keys: which of the waiting tasks goes next, and which may not go yet.
//!
//! The rules, their parameters and where they come from are in `docs/SCHEDULING.md`.

mod set;

use core::time::Duration;

pub use set::{QueueSet, SETS_MAX};

use crate::config::ConfigError;
#[cfg(feature = "hedging")]
use crate::options::Hedge;
use crate::time::Instant;

/// How many queues a pool has at most.
pub const QUEUES_MAX: usize = 64;

/// Which queue: its place among those that the pool was made with, from 0 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueueId(u8);

impl QueueId {
    /// The first one: that of every task which names none.
    pub const DEFAULT: Self = Self(0);

    /// Names the queue at a place. Whether the pool has so many is looked at when it is used.
    pub const fn new(place: u8) -> Self {
        Self(place)
    }

    /// Returns its place among the queues of its pool.
    pub const fn place(self) -> u8 {
        self.0
    }
}

/// How urgent a queue is. What is more urgent is sent first, whatever waits in the others; but each class
/// with something to send has at least [`Config::class_share_min`](crate::Config::class_share_min) of all
/// sends, so that none starves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Class {
    /// Before all others: what somebody waits for, the tip of a chain.
    Urgent,
    /// Before what is normal.
    High,
    /// The default.
    #[default]
    Normal,
    /// After all others: what fills the time, a backfill.
    Low,
}

/// How many classes there are.
pub(crate) const CLASSES: usize = 4;

/// How many tasks of a queue, or to a worker, may be sent in a time: a bucket of `burst` tokens that fills at the rate, of
/// which each send takes one.
///
/// Kept as one time and no count (the generic cell rate algorithm, ITU-T I.371, which is the same as the
/// bucket): a send is allowed where it is not more than `burst - 1` intervals ahead of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Written"))]
pub struct Rate {
    /// Between two sends, in nanoseconds.
    interval: u64,
    burst: u32,
}

/// A whole burst takes no longer than so many nanoseconds to come again, 292 years. Where it could take longer, the
/// time at which the bucket is full would be past the last one there is, and say nothing of what was sent.
const WHOLE_BURST_MAX: u64 = u64::MAX / 2;

/// A rate as it is read, which may be out of its limits.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Written {
    interval: u64,
    burst: u32,
}

#[cfg(feature = "serde")]
impl From<Written> for Rate {
    fn from(written: Written) -> Self {
        Self::per(1, Duration::from_nanos(written.interval)).burst(written.burst)
    }
}

impl Rate {
    /// Makes the rate of so many sends a second, evenly spread. 0 counts as 1.
    pub const fn per_second(count: u32) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// Makes the rate of so many sends in each `span`, evenly spread. 0 counts as 1. What is not a whole
    /// number of nanoseconds is rounded so that it is never exceeded. More than 292 years between two sends count as
    /// that.
    pub const fn per(count: u32, span: Duration) -> Self {
        let count = if count == 0 { 1 } else { count as u64 };
        let interval = crate::time::nanos(span).div_ceil(count);
        let interval = if interval > WHOLE_BURST_MAX { WHOLE_BURST_MAX } else { interval };
        Self { interval, burst: 1 }
    }

    /// Sets how many may be sent at once after a time without any. 0 counts as 1, which is the default, and more than
    /// the rate comes to in 292 years as so many.
    #[must_use]
    pub const fn burst(mut self, count: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        #[expect(clippy::cast_possible_truncation, reason = "it is less than the count")]
        let burst = match WHOLE_BURST_MAX.checked_div(self.interval) {
            Some(most) if most < count as u64 => most as u32,
            _ => count,
        };
        self.burst = burst;
        self
    }

    /// Returns the time between two sends.
    pub const fn interval(self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// Returns how many may be sent at once after a time without any.
    pub const fn burst_max(self) -> u32 {
        self.burst
    }

    /// Returns the rate of which this many make `whole`.
    pub(crate) fn slower(self, whole: u16, part: u16) -> Self {
        if part == whole {
            return self;
        }
        let interval = u128::from(self.interval) * u128::from(whole) / u128::from(part.max(1));
        Self { interval: u64::try_from(interval).unwrap_or(u64::MAX), ..self }
    }

    /// Returns when the next one may be sent, where `full` is when the bucket is full again.
    pub(crate) const fn next(self, full: Instant) -> Instant {
        let ahead = self.interval.saturating_mul((self.burst - 1) as u64);
        Instant::from_nanos(full.as_nanos().saturating_sub(ahead))
    }

    /// Returns when the bucket is full again at the latest, if nothing more is sent.
    pub(crate) const fn latest_full(self, now: Instant) -> Instant {
        now.saturating_add_nanos(self.interval.saturating_mul(self.burst as u64))
    }

    /// Returns when the bucket is full again once one is sent at `now`.
    pub(crate) fn take(self, full: Instant, now: Instant) -> Instant {
        full.max(now).saturating_add_nanos(self.interval)
    }
}

/// What is special about a queue. Start from [`QueueOptions::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct QueueOptions {
    /// How urgent it is. Default [`Class::Normal`].
    pub class: Class,
    /// Its share of what its class sends, beside the other queues of that class with something to send:
    /// one of weight 3 sends three times as many as one of weight 1. From 1 to 1000; default 1.
    pub weight: u16,
    /// How many of its tasks workers hold at once, at most; one that two workers hold counts twice. At least 1;
    /// `None`, the default, for no limit but that of the workers.
    pub in_flight_max: Option<u32>,
    /// How many are sent in a time, at most: retries and other sends of the same task included. `None`,
    /// the default, for no limit.
    pub rate: Option<Rate>,
    /// Whether it sends nothing until it is resumed. Default false.
    pub is_paused: bool,
    /// Whether a second attempt of its tasks is sent where the first takes long, and when, for those that do
    /// not say so themselves. `None`, the default, for never.
    #[cfg(feature = "hedging")]
    pub hedge: Option<Hedge>,
}

/// The greatest weight.
const WEIGHT_MAX: u16 = 1000;
/// What a queue of weight 1 is moved on by with each send. The others' strides are so exact to a tenth of a
/// permille.
const STRIDE: u32 = 1 << 24;

impl QueueOptions {
    /// Makes the options of a queue with nothing special.
    pub const fn new() -> Self {
        let class = Class::Normal;
        Self {
            class,
            weight: 1,
            in_flight_max: None,
            rate: None,
            is_paused: false,
            #[cfg(feature = "hedging")]
            hedge: None,
        }
    }

    /// Sets whether a second attempt of its tasks is sent where the first takes long, and when.
    #[cfg(feature = "hedging")]
    #[must_use]
    pub const fn hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sets how urgent it is.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Sets its share within its class.
    #[must_use]
    pub const fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    /// Sets how many of its tasks workers hold at once, at most.
    #[must_use]
    pub const fn in_flight_max(mut self, count: u32) -> Self {
        self.in_flight_max = Some(count);
        self
    }

    /// Sets how many are sent in a time, at most.
    #[must_use]
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Has it send nothing until it is resumed.
    #[must_use]
    pub const fn paused(mut self) -> Self {
        self.is_paused = true;
        self
    }

    /// Returns the options if each is in its range.
    ///
    /// # Errors
    /// Names the first one that is not, and its range.
    pub const fn checked(self) -> Result<Self, ConfigError> {
        if self.weight == 0 || self.weight > WEIGHT_MAX {
            return Err(ConfigError("a queue's weight must be 1 to 1000"));
        }
        if let Some(0) = self.in_flight_max {
            return Err(ConfigError(
                "a queue's in_flight_max must be at least 1: pause it instead",
            ));
        }
        Ok(self)
    }

    /// Returns by how much each send moves it on.
    pub(crate) const fn stride(&self) -> u32 {
        STRIDE / self.weight as u32
    }
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Which key a task has: tasks of one key are begun in the order of submission, and only so many of them are
/// under way at once.
///
/// A key is a number that its caller gives out, from 0 to
/// [`Config::keys_max`](crate::Config::keys_max): so whoever has names for keys keeps a table of those that
/// are in use. A number is free for another key once every task that had it has its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key {
    pub(crate) number: u32,
    pub(crate) at_once: u32,
}

impl Key {
    /// Makes the key of a number, of which one task is under way at a time.
    pub const fn new(number: u32) -> Self {
        Self { number, at_once: 1 }
    }

    /// Sets how many of its tasks are under way at once, at most. 0 counts as 1. What the task that was
    /// submitted last says counts for all.
    #[must_use]
    pub const fn at_once(mut self, count: u32) -> Self {
        self.at_once = if count == 0 { 1 } else { count };
        self
    }

    /// Returns its number.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Returns how many of its tasks are under way at once, at most.
    pub const fn at_once_max(self) -> u32 {
        self.at_once
    }
}

/// How one queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QueueStats {
    /// Its tasks that wait to be sent, for the first time or again.
    pub waiting: u32,
    /// Those among them that wait for another one of their key.
    pub waiting_for_key: u32,
    /// Its tasks whose handler failed and that wait to be tried again, and those whose key is paused.
    pub resting: u32,
    /// Its tasks that workers hold.
    pub in_flight: u32,
    /// Attempts of it that were sent so far.
    pub sent: u64,
    /// When the first one in line was submitted, of those that wait for their first attempt and for no
    /// other of their key: of the one in front of each lane the earliest.
    pub waits_since: Option<Instant>,
    /// Whether it is paused.
    pub is_paused: bool,
}
