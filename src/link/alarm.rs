//! The one sleep of a driver or a worker: re-made only when it fired, or when a nearer deadline came up.

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use chargehand_core::Instant;
use chargehand_core::io::Timer;

use crate::link::ready::Entry;

pub(crate) struct Alarm<T: Timer> {
    entry: Entry,
    armed: Option<(Instant, Pin<Box<T::Sleep>>)>,
}

impl<T: Timer> Alarm<T> {
    pub(crate) fn new(entry: Entry) -> Self {
        Self { entry, armed: None }
    }

    /// Makes sure that the entry is woken at `due`, or somewhat earlier.
    pub(crate) fn set(&mut self, timer: &T, due: Instant) {
        if due == Instant::FAR_FUTURE || self.armed.as_ref().is_some_and(|(at, _)| *at <= due) {
            return;
        }
        self.armed = Some((due, Box::pin(timer.sleep_until(due))));
        self.poll();
    }

    /// Polls the sleep after a wake.
    pub(crate) fn on_wake(&mut self) {
        self.entry.clear();
        self.poll();
    }

    fn poll(&mut self) {
        let Some((_, sleep)) = &mut self.armed else { return };
        if sleep.as_mut().poll(&mut Context::from_waker(self.entry.waker())).is_ready() {
            self.armed = None;
            self.entry.wake();
        }
    }
}
