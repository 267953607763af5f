//! What a peer may send that carries nothing.

use std::time::Instant;

/// How many such frames a whole message makes up for.
const EARNED: u32 = 4;

/// A token bucket: a burst, and a rate per second.
///
/// The clock is read only once the bucket is empty, so that a peer which sends messages costs no
/// reading of it.
pub(crate) struct Allowance {
    left: u32,
    burst: u32,
    per_second: u32,
    /// When the bucket was filled last.
    since: Instant,
}

impl Allowance {
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self { left: burst, burst, per_second, since: now }
    }

    /// Takes one, and returns whether there was one.
    #[must_use]
    pub(crate) fn take(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left == 0 {
            self.refill(now());
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Gives some back for a message.
    pub(crate) fn earn(&mut self) {
        self.left = self.left.saturating_add(EARNED).min(self.burst);
    }

    fn refill(&mut self, now: Instant) {
        let micros = now.saturating_duration_since(self.since).as_micros();
        let due = micros.saturating_mul(self.per_second.into()) / 1_000_000;
        if due > 0 {
            self.since = now;
            self.left = u32::try_from(due).unwrap_or(u32::MAX).min(self.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::new(256, 64, start);
        let passed = (0..1_000).filter(|_| allowance.take(|| start)).count();
        assert_eq!(passed, 256);
        let passed =
            (0..1_000).filter(|_| allowance.take(|| start + Duration::from_secs(1))).count();
        assert_eq!(passed, 64);
        let hour = start + Duration::from_secs(3_600);
        let passed = (0..1_000).filter(|_| allowance.take(|| hour)).count();
        assert_eq!(passed, 256, "no more than a burst is saved up");
    }

    #[test]
    fn a_ping_a_second_lives_for_a_day_and_so_does_one_at_the_very_rate() {
        for (count, every) in
            [(86_400, Duration::from_secs(1)), (500_000, Duration::from_micros(15_625))]
        {
            let mut now = Instant::now();
            let mut allowance = Allowance::new(256, 64, now);
            for ping in 0..count {
                now += every;
                assert!(allowance.take(|| now), "ping {ping}, one every {every:?}");
            }
        }
    }

    #[test]
    fn messages_make_up_for_what_comes_between_them() {
        let start = Instant::now();
        let mut allowance = Allowance::new(256, 64, start);
        for _ in 0..10_000 {
            assert!((0..EARNED).all(|_| allowance.take(|| start)));
            allowance.earn();
        }
        let passed = (0..1_000).filter(|_| allowance.take(|| start)).count();
        assert_eq!(passed, 256, "they earn no more than a burst");
    }

    #[test]
    fn where_none_is_allowed_none_passes() {
        let start = Instant::now();
        let mut allowance = Allowance::new(0, 0, start);
        assert!(!allowance.take(|| start + Duration::from_secs(1_000)));
    }
}
