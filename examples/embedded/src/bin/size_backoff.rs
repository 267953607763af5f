//! What the backoff costs.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use chargehand_core::{Backoff, BackoffPolicy};
use cortex_m_rt::entry;

#[entry]
fn main() -> ! {
    let mut backoff = Backoff::new(black_box(BackoffPolicy::new()), black_box(7));
    loop {
        if black_box(false) {
            backoff.reset();
        }
        backoff.attempt();
        black_box(backoff.delay());
    }
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::nop();
    }
}
