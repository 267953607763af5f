//! The worker's clock, read only where it matters.

use chargehand_core::Instant;
use chargehand_core::io::Timer;

/// A clock that is read when somebody wants to know, at most once in a poll.
pub(super) trait Now {
    fn now(&mut self) -> Instant;
}

/// The worker's clock: to read it costs more than much of what else a message takes.
pub(super) struct Clock<T> {
    pub(super) timer: T,
    pub(super) now: Instant,
    /// It was read in this poll.
    pub(super) is_fresh: bool,
}

impl<T: Timer> Clock<T> {
    /// Returns whether a time is known to have come. The alarm's wake reads the clock.
    pub(super) fn has_come(&self, at: Instant) -> bool {
        self.is_fresh && at <= self.now
    }
}

impl<T: Timer> Now for Clock<T> {
    fn now(&mut self) -> Instant {
        if !self.is_fresh {
            self.now = self.timer.now();
            self.is_fresh = true;
        }
        self.now
    }
}
