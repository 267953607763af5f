//! Time as an argument: nothing in this crate reads a clock.

use core::time::Duration;

/// A point in time: nanoseconds since an epoch of the caller's own choice.
///
/// The caller feeds a monotonic clock; the scheduler clamps one that steps back. Arithmetic
/// saturates, so [`Instant::FAR_FUTURE`] means "never" everywhere. The range is 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The caller's epoch.
    pub const EPOCH: Self = Self(0);
    /// Later than everything: a deadline that never comes.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// Makes the instant that lies `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Makes the instant that lies `millis` milliseconds after the epoch, saturating.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns the nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the instant `span` later, or [`Instant::FAR_FUTURE`] past the end of the range.
    #[must_use]
    pub const fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    pub(crate) const fn saturating_add_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the time from `earlier` to `self`, or zero where `earlier` is the later one.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Returns a span in nanoseconds, saturating at `u64::MAX` (584 years).
pub(crate) const fn nanos(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000_000_000).saturating_add(span.subsec_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::EPOCH.saturating_add(Duration::MAX), Instant::FAR_FUTURE);
        assert_eq!(Instant::FAR_FUTURE.saturating_add(Duration::MAX), Instant::FAR_FUTURE);
        assert_eq!(Instant::EPOCH.saturating_since(Instant::FAR_FUTURE), Duration::ZERO);
        assert_eq!(Instant::from_millis(u64::MAX), Instant::FAR_FUTURE);
        assert_eq!(Instant::from_millis(5), Instant::from_nanos(5_000_000));
    }
}
