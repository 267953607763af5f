//! How long to go on asking a node, and when to ask it again.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use chargehand::core::{Backoff, BackoffPolicy, Jitter};

use super::error::{Advice, RpcError};

/// Half of each delay is left to chance, so that many threads do not come back as one.
const DELAYS: BackoffPolicy = BackoffPolicy::new()
    .base(Duration::from_millis(200))
    .cap(Duration::from_secs(5))
    .jitter(Jitter::Equal);

/// What all threads that ask one node share: until when it wants to be left alone.
#[derive(Debug)]
pub(super) struct Patience {
    total: Duration,
    closed_until: Mutex<Option<Instant>>,
}

impl Patience {
    /// Makes one that goes on for `total` with each question, the first one included.
    pub(super) fn new(total: Duration) -> Self {
        Self { total, closed_until: Mutex::default() }
    }

    /// Asks until there is an answer, an error that would come again, or no time left. `again` says
    /// whether an error passes, beside [`Advice::Later`]. Blocks the thread meanwhile.
    pub(super) fn ask<R>(
        &self,
        mut ask: impl FnMut() -> Result<R, RpcError>,
        again: impl Fn(Advice) -> bool,
    ) -> Result<R, Tired> {
        let begun = Instant::now();
        let deadline = begun + self.total;
        let mut backoff = Backoff::new(DELAYS, RandomState::new().hash_one(begun));
        if self.closed_until().is_some_and(|until| until > begun) {
            // It waits with others, and comes back at another moment than they.
            backoff.attempt();
        }
        let mut last = None;
        let mut tries = 0;
        loop {
            if !self.wait_until_open(deadline, backoff.delay()) {
                return Err(Tired { last, tries, after: begun.elapsed() });
            }
            tries += 1;
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let advice = error.advice();
            if let RpcError::Busy { after: Some(after), .. } = &error {
                self.close(*after);
            }
            let goes_on = advice == Advice::Later || again(advice);
            last = Some(error);
            if !goes_on {
                return Err(Tired { last, tries, after: begun.elapsed() });
            }
            backoff.attempt();
        }
    }

    fn close(&self, span: Duration) {
        let until = Instant::now() + span;
        let mut closed = self.closed_until.lock().expect("nothing panics with it");
        *closed = Some(closed.map_or(until, |closed| closed.max(until)));
    }

    /// Waits until the node may be asked, and `delay` from then on. Returns false where there is no
    /// time left. It has waited to the deadline then: a node that asks for a day is not to fail one
    /// height after the other meanwhile.
    fn wait_until_open(&self, deadline: Instant, delay: Duration) -> bool {
        let begun = Instant::now();
        if begun >= deadline && !delay.is_zero() {
            return false;
        }
        loop {
            let now = Instant::now();
            let open = self.closed_until().map_or(begun, |closed| closed.max(begun));
            if open > deadline {
                thread::sleep(deadline.saturating_duration_since(now));
                return false;
            }
            // One last time at the deadline itself.
            let until = (open + delay).min(deadline.max(begun));
            if until <= now {
                return true;
            }
            thread::sleep(until - now);
            // Another thread may have heard meanwhile that it takes longer.
        }
    }

    fn closed_until(&self) -> Option<Instant> {
        *self.closed_until.lock().expect("nothing panics with it")
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Tired {
    /// What the node said last. Nothing, where it asked for time before it was asked this.
    pub(super) last: Option<RpcError>,
    pub(super) tries: u32,
    pub(super) after: Duration,
}
