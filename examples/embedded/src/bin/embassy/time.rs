//! Embassy's clock and its timers, at one tick a millisecond.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;
use firmware::clock;

struct Timers {
    queue: Mutex<RefCell<Queue>>,
    /// When the earliest timer is due.
    next: Mutex<Cell<u64>>,
}

impl Timers {
    fn wake_due(&self, section: CriticalSection<'_>, now: u64) {
        let next = self.queue.borrow_ref_mut(section).next_expiration(now);
        self.next.borrow(section).set(next);
    }
}

impl Driver for Timers {
    fn now(&self) -> u64 {
        clock::millis()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            if self.queue.borrow_ref_mut(section).schedule_wake(at, waker) {
                self.wake_due(section, self.now());
            }
        });
    }
}

time_driver_impl!(static TIMERS: Timers = Timers {
    queue: Mutex::new(RefCell::new(Queue::new())),
    next: Mutex::new(Cell::new(u64::MAX)),
});

/// Counts a millisecond and wakes whom it is due for.
pub fn on_tick() {
    let now = clock::tick();
    critical_section::with(|section| {
        if TIMERS.next.borrow(section).get() <= now {
            TIMERS.wake_due(section, now);
        }
    });
}
