//! What a scheduler of 16 tasks and 4 workers costs, with all its calls.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use chargehand_core::{Inline, Scheduler};
use cortex_m_rt::entry;
use firmware::probe::{config, schedule};
use static_cell::{ConstStaticCell, StaticCell};

static SLOTS: ConstStaticCell<Inline<16, 4>> = ConstStaticCell::new(Inline::new());
// Not on the stack, so that it is counted.
static SCHEDULER: StaticCell<Scheduler<&'static mut Inline<16, 4>>> = StaticCell::new();

#[entry]
fn main() -> ! {
    if let Ok(scheduler) = Scheduler::new(SLOTS.take(), config()) {
        schedule(SCHEDULER.init(scheduler));
    }
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::nop();
    }
}
