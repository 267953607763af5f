//! Whether the other end of a link lives, and whether the link is of use.

use chargehand_core::Instant;
use chargehand_core::io::Progress;

/// The signs of life on a link.
pub(super) struct Life {
    /// Whether a message came or an answer left since somebody looked.
    pub(super) heard: bool,
    /// When somebody looked and there was a sign of life.
    alive: Instant,
    /// What had moved by then.
    moved: Progress,
}

impl Life {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: false, alive: now, moved: Progress::default() }
    }

    /// Returns when there was the last sign of life: a message, an answer, or so many bytes in each
    /// second since the one before. Bytes that leave count as those that come, because a manager that
    /// gets an answer has no reason to ping.
    pub(super) fn look(&mut self, now: Instant, moved: Progress, rate_min: u32) -> Instant {
        let received = moved.received.wrapping_sub(self.moved.received);
        let sent = moved.sent.wrapping_sub(self.moved.sent);
        let millis = now.saturating_since(self.alive).as_millis();
        let least = u64::from(rate_min).saturating_mul(u64::try_from(millis).unwrap_or(u64::MAX));
        let is_fast = |bytes: u64| bytes > 0 && bytes.saturating_mul(1000) >= least;
        if core::mem::take(&mut self.heard) || is_fast(received) || is_fast(sent) {
            self.pardon(now, moved);
        }
        self.alive
    }

    /// Takes silence until now for none: this side did not listen.
    pub(super) fn pardon(&mut self, now: Instant, moved: Progress) {
        self.alive = now;
        self.moved = moved;
    }
}

/// When a link was of use.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) opened: Instant,
    /// Whether a request came since somebody looked.
    pub(super) asked: bool,
    /// Whether one came before.
    pub(super) has_asked: bool,
    /// When somebody looked and one had come.
    asked_at: Instant,
    /// Whether that look is still to come.
    is_new: bool,
}

impl Work {
    pub(super) fn new(now: Instant) -> Self {
        Self { opened: now, asked: false, has_asked: false, asked_at: now, is_new: false }
    }

    /// Asks anew whether a request has come. Returns whether one ever did.
    pub(super) fn forget_asked(&mut self) -> bool {
        let asked = core::mem::take(&mut self.asked);
        self.is_new |= asked;
        self.has_asked |= asked;
        self.has_asked
    }

    /// Returns when a request came, as far as somebody has looked; where none did, when the link began.
    pub(super) fn look(&mut self, now: Instant) -> Instant {
        self.forget_asked();
        if core::mem::take(&mut self.is_new) {
            self.asked_at = now;
        }
        self.asked_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn moved(received: u64, sent: u64) -> Progress {
        Progress { received, sent }
    }

    #[test]
    fn bytes_either_way_are_life_down_to_the_least_rate_since_the_last_sign() {
        let mut life = Life::new(at(0));
        assert_eq!(life.look(at(1000), moved(1024, 0), 1024), at(1000));
        assert_eq!(life.look(at(3000), moved(1024, 2048), 1024), at(3000));
        assert_eq!(life.look(at(4000), moved(2047, 3071), 1024), at(3000), "a dribble each way");
        assert_eq!(life.look(at(5000), moved(3072, 3071), 1024), at(5000), "caught up");
        assert_eq!(life.look(at(5000), moved(3072, 3071), 1024), at(5000));
        assert_eq!(life.look(at(9000), moved(3072, 3071), 0), at(5000), "nothing is no life");
        assert_eq!(life.look(at(9000), moved(3073, 3071), 0), at(9000));
        life.heard = true;
        assert_eq!(life.look(at(20_000), moved(3073, 3071), 1024), at(20_000));
        assert_eq!(life.look(at(21_000), moved(3073, 3071), 1024), at(20_000));
    }

    #[test]
    fn the_counts_may_go_round() {
        let mut life = Life::new(at(0));
        life.pardon(at(0), moved(u64::MAX, u64::MAX));
        assert_eq!(life.look(at(1), moved(u64::MAX, 0), u32::MAX), at(0));
        assert_eq!(life.look(at(1000), moved(u64::MAX, 1023), 1024), at(1000));
    }
}
