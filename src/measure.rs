//! What a pool measures of itself once it is asked to: times, failures by their text, and how far ranges are.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use chargehand_core::{Instant, WorkerId};

use crate::stats::PoolStats;

/// A pool at one moment, with what it has measured since it was first asked: what
/// [`Pool::measure`](crate::Pool::measure) returns.
///
/// Times are those of the driver's polls: what it sends and reads in one poll has one time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measures {
    /// The figures of the same moment.
    pub stats: PoolStats,
    /// That moment, by the pool's clock: what a worker's [state](crate::core::WorkerState) is until is later.
    pub at: Instant,
    /// For how long the pool has measured. What was under way before is not counted.
    pub measured: Duration,
    /// Submitted tasks that have not got into the pool yet, for want of room.
    pub queued: usize,
    /// How many bytes the pool holds, of [`memory_max`](Self::memory_max): requests, answers that nobody has
    /// taken, messages that arrive.
    pub memory_used: usize,
    /// How many bytes it may hold: [`Builder::memory_max`](crate::Builder::memory_max).
    pub memory_max: usize,
    /// The time of each task from when the driver took it to when it was first sent.
    pub queue_wait: Histogram,
    /// The time of each attempt from when it was sent to its answer, a failure included. Attempts that were
    /// lost, withdrawn or given back are not counted.
    pub round_trip: Histogram,
    /// The handler's time, as the worker says it. Where it says nothing, since that took less than 0.1 ms, never waited
    /// for anything, or is a worker that does not say so: the round trip, less the time that the attempt waited at its
    /// worker behind others, which that held beyond what it runs at once.
    pub service: Histogram,
    /// How many finished tasks were sent once, twice and so on; the last one counts those sent as often or
    /// more. Tasks that were never sent are not counted.
    pub attempts: [u64; ATTEMPTS_COUNTED],
    /// Failures by their text, those that came most often first: at most [`FAILURE_GROUPS_MAX`].
    pub failures: Vec<FailureGroup>,
    /// Failures that are in no group any more, because there are others that came more often.
    pub failures_other: u64,
    /// The ranges of heights under way. Maps are not among them: nobody knows their end.
    pub ranges: Vec<RangeFigures>,
    /// The times of each worker that has answered on a link since the pool measures, by id.
    pub workers: Vec<WorkerTimes>,
}

/// How many numbers of attempts are counted each by themselves; the last one stands for more, too.
pub const ATTEMPTS_COUNTED: usize = 8;

/// How many groups of failures are kept.
pub const FAILURE_GROUPS_MAX: usize = 64;

/// How many parts a range is shown in, at most.
pub const SEGMENTS_MAX: usize = 128;

/// The times of one worker, as far as it is in the pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerTimes {
    /// The worker.
    pub id: WorkerId,
    /// How many attempts it has answered.
    pub count: u64,
    /// Half of its round trips took no longer.
    pub p50: Duration,
    /// 99 in 100 of its round trips took no longer.
    pub p99: Duration,
    /// Its part of [`Measures::service`].
    pub service: Histogram,
}

/// Failures whose texts are alike, but for the numbers in them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureGroup {
    /// The text, with `#` for each number, cut at 256 bytes.
    pub text: String,
    /// How many there were: of handlers' failures each attempt counts, of other outcomes each task.
    pub count: u64,
    /// The latest of them, as it was, cut at 1024 bytes.
    pub example: String,
    /// Its height, if its task was one of a range; of a map its index.
    pub height: Option<i128>,
    /// The worker that it came from, if it came from one.
    pub peer: Option<Arc<str>>,
    /// When that was.
    pub at: Instant,
}

/// How far a range of heights is, as its driver sees it: a height is done once its answer is here, whether or
/// not its stream has taken that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeFigures {
    /// The lowest height.
    pub first: i128,
    /// The highest height.
    pub last: i128,
    /// How many heights have which state, together.
    pub total: Segment,
    /// Every height up to this one is done; `None` while the first one is not.
    pub low_water: Option<i128>,
    /// The same for each of up to [`SEGMENTS_MAX`] parts of about the same length, ascending.
    pub segments: Vec<Segment>,
}

/// How many heights of a part of a range have which state. Those that are in none of these are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// How many there are.
    pub heights: u64,
    /// Those whose answer is here, and those that were done before the range began.
    pub done: u64,
    /// Those that are tasks of the pool: waiting, with a worker or resting.
    pub in_flight: u64,
    /// Those that failed for good.
    pub failed: u64,
}

/// The sub-buckets of each doubling.
const SUB_BITS: u32 = 2;
/// Up to 2^10 ns there is one bucket, and beyond 2^37 ns another.
const LEAST_EXPONENT: u32 = 10;
const OCTAVES: usize = 27;
const BUCKETS: usize = 2 + (OCTAVES << SUB_BITS);

/// How often which times came: from 1 µs to 137 s in buckets that grow by a fifth on average.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self { counts: [0; BUCKETS], sum_nanos: 0 }
    }

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[index_of(nanos)] += 1;
        self.sum_nanos = self.sum_nanos.wrapping_add(nanos);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
    }

    /// Returns how many times were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns all times together, which wraps around after 584 years of them.
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// Returns each bucket's upper bound, which belongs to it, and how many times it has, ascending. The last
    /// one's is [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let bound = |index| match index {
            index if index == BUCKETS - 1 => Duration::MAX,
            index => Duration::from_nanos(upper_nanos(index)),
        };
        self.counts.iter().enumerate().map(move |(index, count)| (bound(index), *count))
    }

    /// Returns a time that `share` of all (0 to 1) do not exceed, interpolated within its bucket; `None` where
    /// there is none. Off by a tenth or so, and at least 137 s where it is more than that.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank may be off by one in 2^53"
        )]
        let rank = ((total as f64 * share.clamp(0.0, 1.0)) as u64).clamp(1, total);
        let mut below = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            if below + count < rank {
                below += count;
                continue;
            }
            let lower = index.checked_sub(1).map_or(0, upper_nanos);
            if index == BUCKETS - 1 {
                return Some(Duration::from_nanos(lower));
            }
            let width = u128::from(upper_nanos(index) - lower);
            let within = width * u128::from(rank - below) / u128::from(count);
            return Some(Duration::from_nanos(lower + u64::try_from(within).unwrap_or(u64::MAX)));
        }
        None
    }

    /// Returns what was recorded since an earlier copy of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = self.clone();
        for (count, before) in later.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        later.sum_nanos = later.sum_nanos.wrapping_sub(earlier.sum_nanos);
        later
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .finish_non_exhaustive()
    }
}

/// Returns the bucket of a time. A bucket's upper bound belongs to it, as it does in Prometheus.
#[inline]
fn index_of(nanos: u64) -> usize {
    let below = nanos.saturating_sub(1);
    if below < 1 << LEAST_EXPONENT {
        return 0;
    }
    let exponent = u64::BITS - 1 - below.leading_zeros();
    #[expect(clippy::cast_possible_truncation, reason = "three bits, of which the highest is set")]
    let sub = (below >> (exponent - SUB_BITS)) as u32 - (1 << SUB_BITS);
    let index = 1 + ((exponent - LEAST_EXPONENT) << SUB_BITS) + sub;
    (index as usize).min(BUCKETS - 1)
}

/// Returns the upper bound of a bucket that is not the last.
const fn upper_nanos(index: usize) -> u64 {
    let Some(above) = index.checked_sub(1) else { return 1 << LEAST_EXPONENT };
    let (octave, sub) = (above >> SUB_BITS, above & ((1 << SUB_BITS) - 1));
    (((1 << SUB_BITS) + sub + 1) as u64) << (LEAST_EXPONENT as usize + octave - SUB_BITS as usize)
}

/// Returns what a failure's text is grouped by: the text with `#` for each number, cut short.
pub(crate) fn pattern_of(text: &str, bytes_max: usize) -> String {
    let mut pattern = String::new();
    let mut in_number = false;
    for letter in text.chars() {
        let is_digit = letter.is_ascii_digit();
        if is_digit && in_number {
            continue;
        }
        in_number = is_digit;
        let letter = if is_digit { '#' } else { letter };
        if pattern.len() + letter.len_utf8() > bytes_max {
            break;
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_whose_bounds_are_around_it() {
        for shift in 0..63 {
            for nanos in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1, 3 << shift >> 1] {
                let index = index_of(nanos);
                if index < BUCKETS - 1 {
                    assert!(nanos <= upper_nanos(index), "{nanos}");
                }
                if let Some(before) = index.checked_sub(1) {
                    assert!(nanos > upper_nanos(before), "{nanos}");
                }
            }
        }
        assert_eq!(upper_nanos(BUCKETS - 2), 1 << 37);
        assert_eq!(index_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_off_by_less_than_a_fifth() {
        let mut times = Histogram::new();
        assert_eq!(times.quantile(0.5), None);
        for micros in 1..=10_000 {
            times.record(micros * 1000);
        }
        for (share, micros) in [(0.5, 5000.0), (0.9, 9000.0), (0.99, 9900.0), (1.0, 10_000.0)] {
            let found = times.quantile(share).unwrap().as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.2, "{share}: {found} instead of {micros}");
        }
        assert_eq!(times.count(), 10_000);
        assert_eq!(times.sum(), Duration::from_millis(50_005));
    }

    #[test]
    fn what_came_since_an_earlier_copy_is_the_difference() {
        let mut times = Histogram::new();
        times.record(5_000);
        let earlier = times.clone();
        times.record(7_000_000);
        let later = times.since(&earlier);
        assert_eq!((later.count(), later.sum()), (1, Duration::from_millis(7)));
        let mut both = earlier.clone();
        both.add(&later);
        assert_eq!(both, times);
        assert_eq!(both.buckets().map(|(_, count)| count).sum::<u64>(), 2);
    }

    #[test]
    fn texts_are_alike_where_only_their_numbers_differ() {
        assert_eq!(pattern_of("no block 17 at node 3.4", 256), "no block # at node #.#");
        assert_eq!(pattern_of("é1é2", 4), "é#");
    }
}
