//! Milliseconds since the start, counted by the core's own timer.

use core::cell::Cell;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use critical_section::Mutex;

/// The clock of QEMU's lm3s6965evb, in Hz. On a board it is what you set it to.
const CLOCK_HZ: u32 = 12_500_000;
const TICKS_EACH_SECOND: u32 = 1000;

static MILLIS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// Starts the timer. The program's `SysTick` handler must call [`tick`].
pub fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CLOCK_HZ / TICKS_EACH_SECOND - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

/// Counts one millisecond and returns which it is.
pub fn tick() -> u64 {
    critical_section::with(|section| {
        let millis = MILLIS.borrow(section);
        millis.set(millis.get() + 1);
        millis.get()
    })
}

/// Returns how many milliseconds there have been.
pub fn millis() -> u64 {
    critical_section::with(|section| MILLIS.borrow(section).get())
}
