//! Taking connections from a listener: how many at a time, and the pause where none can be taken.

use core::time::Duration;

use chargehand_core::Instant;

/// How many connections one poll takes from a listener, so that the links have their turn meanwhile.
pub(crate) const ACCEPTS_PER_POLL: usize = 16;
/// Names a peer whose transport has not named it yet.
pub(crate) const NOT_NAMED: &str = "an incoming connection";

/// The pause after the first failure. It doubles with each further one, up to [`PAUSE_MAX`]: out of
/// file descriptors, the usual one, passes only as links end, and to try again at once would only spin.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Until when a listener, or a connector, is left alone.
#[derive(Debug, Default)]
pub(crate) struct AcceptPause {
    until: Option<Instant>,
    failures: u32,
}

impl AcceptPause {
    /// Returns when the pause is over, if there is one.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Notes that a connection was taken.
    pub(crate) fn on_success(&mut self) {
        self.failures = 0;
    }

    /// Begins the pause after a failure, and returns how long it is.
    pub(crate) fn on_failure(&mut self, now: Instant) -> Duration {
        let span = PAUSE.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.set(now.saturating_add(span));
        span
    }

    /// Begins a pause that somebody else decided on.
    pub(crate) fn set(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Ends the pause if its time has come. Returns whether it has.
    pub(crate) fn end(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_50_ms_to_a_second_and_begins_anew_after_a_success() {
        let now = Instant::from_millis(7000);
        let mut pause = AcceptPause::default();
        let mut millis = || {
            let span = pause.on_failure(now);
            assert_eq!(pause.until(), Some(now.saturating_add(span)));
            let just_before = now.saturating_add(span.saturating_sub(Duration::from_nanos(1)));
            assert!(!pause.end(just_before) && pause.until().is_some());
            assert!(pause.end(now.saturating_add(span)) && pause.until().is_none());
            span.as_millis()
        };
        assert_eq!([(); 7].map(|()| millis()), [50, 100, 200, 400, 800, 1000, 1000]);
        for _ in 0..100 {
            assert_eq!(millis(), 1000);
        }
        pause.on_success();
        assert_eq!(pause.on_failure(now), PAUSE);
    }
}
