//! A clock that stands still until somebody moves it: a test, or a world when nobody is ready.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::vec::Vec;

use chargehand_core::Instant;
use chargehand_core::io::Timer;

/// A clock that stands still until it is moved. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ManualTimer(Arc<Mutex<Clock>>);

#[derive(Debug, Default)]
struct Clock {
    now: Instant,
    made: u64,
    sleepers: BTreeMap<(Instant, u64), Waker>,
}

impl ManualTimer {
    /// Makes a clock that stands at [`Instant::EPOCH`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock on by `span`, and wakes every sleep whose time that brings.
    pub fn advance(&self, span: Duration) {
        self.advance_to(self.now().saturating_add(span));
    }

    /// Moves the clock on to `now`; never back.
    pub(super) fn advance_to(&self, now: Instant) {
        let woken: Vec<Waker>;
        {
            let mut clock = self.lock();
            let now = clock.now.max(now);
            clock.now = now;
            // Everything up to now, whatever its number.
            let later = clock.sleepers.split_off(&(now, u64::MAX));
            woken = std::mem::replace(&mut clock.sleepers, later).into_values().collect();
        }
        for waker in woken {
            waker.wake();
        }
    }

    /// Returns a future that completes once the clock has been moved on by `span`.
    pub fn sleep(&self, span: Duration) -> ManualSleep {
        self.sleep_until(self.now().saturating_add(span))
    }

    /// Returns how far the clock has been moved since it was made.
    pub fn elapsed(&self) -> Duration {
        self.now().saturating_since(Instant::EPOCH)
    }

    /// Returns the time of the earliest sleep under way.
    pub fn next_sleep(&self) -> Option<Instant> {
        self.lock().sleepers.first_key_value().map(|((at, _), _)| *at)
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        // Nothing panics while it holds the lock, and the state is valid at every point.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for ManualTimer {
    type Sleep = ManualSleep;

    fn now(&self) -> Instant {
        self.lock().now
    }

    fn sleep_until(&self, at: Instant) -> ManualSleep {
        let mut clock = self.lock();
        clock.made += 1;
        ManualSleep { timer: self.clone(), key: (at, clock.made) }
    }
}

/// A sleep by a [`ManualTimer`].
#[derive(Debug)]
pub struct ManualSleep {
    timer: ManualTimer,
    key: (Instant, u64),
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut clock = self.timer.lock();
        if self.key.0 <= clock.now {
            clock.sleepers.remove(&self.key);
            return Poll::Ready(());
        }
        clock.sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        self.timer.lock().sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use super::*;

    #[test]
    fn a_sleep_ends_when_the_clock_is_moved_to_its_time() {
        let timer = ManualTimer::new();
        let mut sleep = Box::pin(timer.sleep_until(Instant::from_millis(10)));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(cx).is_pending());
        assert_eq!(timer.next_sleep(), Some(Instant::from_millis(10)));
        timer.advance(Duration::from_millis(9));
        assert!(sleep.as_mut().poll(cx).is_pending());
        timer.advance(Duration::from_millis(1));
        assert_eq!(timer.next_sleep(), None, "it was woken");
        assert!(sleep.as_mut().poll(cx).is_ready());
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind() {
        let timer = ManualTimer::new();
        let mut sleep = Box::pin(timer.sleep_until(Instant::from_millis(10)));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(sleep);
        assert_eq!(timer.next_sleep(), None);
    }
}
