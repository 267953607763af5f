//! A manager whose scheduler lies in a static: 100 simulated worlds, and the trace of each by
//! semihosting, for the host to compare with its own.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use chargehand_core::Inline;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use firmware::simulation::{TASKS, WORKERS, run};
use static_cell::ConstStaticCell;

const SEEDS: u64 = 100;

static SLOTS: ConstStaticCell<Inline<TASKS, WORKERS>> = ConstStaticCell::new(Inline::new());

#[entry]
fn main() -> ! {
    let slots = SLOTS.take();
    for seed in 0..SEEDS {
        let end = run(slots, seed);
        hprintln!("{} {:?}", seed, end);
    }
    leave(debug::EXIT_SUCCESS)
}

fn leave(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    leave(debug::EXIT_FAILURE)
}
