//! A clock that an interrupt moves on every millisecond, and that wakes whoever sleeps.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};

use chargehand::core::Instant;
use chargehand::core::io::Timer;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use critical_section::Mutex;

const HERTZ: u32 = 25_000_000;

static MILLIS: AtomicU32 = AtomicU32::new(0);
static SLEEPERS: Mutex<RefCell<Vec<Waker>>> = Mutex::new(RefCell::new(Vec::new()));

/// The time since the start.
#[derive(Clone, Copy, Debug)]
pub struct Ticks(());

impl Ticks {
    /// Starts the clock.
    pub fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(HERTZ / 1000 - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        Self(())
    }
}

#[exception]
fn SysTick() {
    MILLIS.fetch_add(1, Ordering::Relaxed);
    let sleepers = critical_section::with(|section| SLEEPERS.take(section));
    for sleeper in sleepers {
        sleeper.wake();
    }
}

impl Timer for Ticks {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_millis(MILLIS.load(Ordering::Relaxed).into())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { clock: *self, at }
    }
}

/// Completes when its time has come. Looks at every tick, which is good enough for a few.
#[derive(Debug)]
pub struct Sleep {
    clock: Ticks,
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        critical_section::with(|section| {
            SLEEPERS.borrow_ref_mut(section).push(cx.waker().clone());
        });
        Poll::Pending
    }
}
