//! Bytes are life, down to a least rate: decision 0016.
//!
//! A message that takes long to arrive, or to leave, is no silence. Each byte pays for 1 / rate seconds,
//! the same on both sides; what a pool and a worker do about a link that is not paid for is theirs.

use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::BytesMoved;

/// How far ahead bytes may pay: the longest that a fast link may stall in the middle of a message.
pub(crate) const AHEAD_MAX: Duration = Duration::from_secs(10);

/// How many bytes of a message must have come before the manager is told that it is arriving. A manager
/// accepts one such Pong for each of these many bytes that it has sent.
const PART_BYTES_MIN: u64 = 64;

/// What has moved on a link, and until when that pays.
#[derive(Debug)]
pub(crate) struct Moved {
    seen: BytesMoved,
    paid_until: Instant,
}

/// How bytes pay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Bytes in a second.
    pub(crate) min: u32,
    /// From when on they have to pay, but for what is longer ago than is ever paid ahead.
    pub(crate) from: Instant,
    /// How far ahead they may.
    pub(crate) ahead_max: Duration,
    /// Whether what is sent pays as well as what comes.
    pub(crate) counts_sent: bool,
}

impl Moved {
    pub(crate) fn new(progress: BytesMoved) -> Self {
        Self { seen: progress, paid_until: Instant::EPOCH }
    }

    /// Returns until when the bytes pay that have moved so far. Those since the last look pay for what has
    /// passed first, and then for what is to come. The ways do not add up: a dribble each way is one.
    pub(crate) fn look(&mut self, now: Instant, progress: BytesMoved, rate: Rate) -> Instant {
        let received = progress.received.wrapping_sub(self.seen.received);
        let sent = progress.sent.wrapping_sub(self.seen.sent);
        self.seen = progress;
        let bytes = if rate.counts_sent { received.max(sent) } else { received };
        if bytes > 0 {
            let start = self.paid_until.max(rate.from).max(before(now, AHEAD_MAX));
            let until = start.saturating_add(paid(bytes, rate.min));
            self.paid_until = until.min(now.saturating_add(rate.ahead_max));
        }
        self.paid_until
    }

    /// Returns what the last look has.
    pub(crate) fn paid_until(&self) -> Instant {
        self.paid_until
    }
}

/// Since when a link has been silent, as a worker sees it: messages are noted here, bytes are polled for.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Whether a message came or an answer left since somebody looked.
    pub(crate) is_broken: bool,
    /// When somebody looked and there was a sign of life.
    since: Instant,
    moved: Moved,
    /// Whether the latest sign was that parts of a message came, and nothing whole.
    pub(crate) is_arriving: bool,
}

impl Silence {
    pub(crate) fn new(now: Instant) -> Self {
        let moved = Moved::new(BytesMoved::default());
        Self { is_broken: false, since: now, moved, is_arriving: false }
    }

    /// Returns the time of the last sign of life: a message, an answer, or `rate_min` bytes a second since
    /// the one before. Bytes sent count like bytes received, because a manager that is receiving an
    /// answer has no reason to ping.
    pub(crate) fn look(&mut self, now: Instant, progress: BytesMoved, rate_min: u32) -> Instant {
        // Nothing is paid ahead: a silent peer has two heartbeats from its last sign of life.
        let (from, ahead_max) = (self.since, Duration::ZERO);
        let rate = Rate { min: rate_min, from, ahead_max, counts_sent: true };
        let received = progress.received.wrapping_sub(self.moved.seen.received);
        let paid_until = self.moved.look(now, progress, rate);
        let is_broken = core::mem::take(&mut self.is_broken);
        self.is_arriving = !is_broken && received >= PART_BYTES_MIN && paid_until >= now;
        if is_broken || paid_until >= now {
            self.since = now;
        }
        self.since
    }

    /// Takes silence until now for none: this side did not listen.
    pub(crate) fn pardon(&mut self, now: Instant) {
        self.since = now;
    }
}

/// Returns how much time these bytes pay for.
pub(crate) fn paid(bytes: u64, rate_min: u32) -> Duration {
    match (bytes, u64::from(rate_min)) {
        (0, _) => Duration::ZERO,
        (_, 0) => AHEAD_MAX,
        // Rounded up, so that what is exactly at the rate is not below it.
        (bytes, rate) => Duration::from_nanos(bytes.saturating_mul(1_000_000_000).div_ceil(rate)),
    }
}

fn before(now: Instant, span: Duration) -> Instant {
    let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn moved(received: u64, sent: u64) -> BytesMoved {
        BytesMoved { received, sent }
    }

    #[test]
    fn bytes_either_way_are_life_down_to_the_least_rate_since_the_last_sign() {
        let mut silence = Silence::new(at(0));
        assert_eq!(silence.look(at(1000), moved(1024, 0), 1024), at(1000));
        assert_eq!(silence.look(at(3000), moved(1024, 2048), 1024), at(3000));
        assert_eq!(silence.look(at(4000), moved(2047, 3071), 1024), at(3000), "a dribble each way");
        assert_eq!(silence.look(at(5000), moved(3072, 3071), 1024), at(5000), "caught up");
        assert_eq!(silence.look(at(5000), moved(3072, 3071), 1024), at(5000));
        assert_eq!(silence.look(at(9000), moved(3072, 3071), 0), at(5000), "nothing is no life");
        assert_eq!(silence.look(at(9000), moved(3073, 3071), 0), at(9000));
        silence.is_broken = true;
        assert_eq!(silence.look(at(20_000), moved(3073, 3071), 1024), at(20_000));
        assert_eq!(silence.look(at(21_000), moved(3073, 3071), 1024), at(20_000));
    }

    #[test]
    fn what_dribbles_in_between_two_looks_at_once_is_no_life() {
        let mut silence = Silence::new(at(0));
        assert_eq!(silence.look(at(5000), moved(4000, 0), 1000), at(0));
        assert_eq!(silence.look(at(5000), moved(4500, 0), 1000), at(0));
        assert_eq!(silence.look(at(5000), moved(5000, 0), 1000), at(5000));
    }

    #[test]
    fn the_counts_may_go_round() {
        let mut silence = Silence::new(at(0));
        silence.look(at(0), moved(u64::MAX, u64::MAX), 1);
        assert_eq!(silence.look(at(1), moved(u64::MAX, 0), 1), at(1));
        assert_eq!(silence.look(at(1001), moved(u64::MAX, 1023), 1024), at(1));
        assert_eq!(silence.look(at(1001), moved(u64::MAX, 1024), 1024), at(1001));
    }

    #[test]
    fn what_is_sent_counts_only_where_the_caller_says_so() {
        for (counts_sent, until) in [(true, 3000), (false, 0)] {
            let mut meter = Moved::new(BytesMoved::default());
            let rate = Rate { min: 1000, from: at(0), ahead_max: AHEAD_MAX, counts_sent };
            assert_eq!(meter.look(at(0), moved(0, 3000), rate), at(until));
        }
    }
}
