//! A worker that hashes blocks, in one loop that polls. While it hashes it does nothing else: the
//! manager's `heartbeat_timeout` must be longer than that.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m_rt::{entry, exception};
use firmware::block::hash;
use firmware::clock;
use firmware::uart::Uart0;
use firmware::worker::{Buffers, Worker};
use static_cell::ConstStaticCell;

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

#[entry]
fn main() -> ! {
    let (uart, core) = Uart0::take_with_peripherals().expect("nobody took it before");
    clock::start(core.SYST);
    let mut worker = Worker::new(uart, "polled", hash, BUFFERS.take());
    loop {
        worker.poll();
    }
}

/// Only for blocks that are to take a while: a worker needs no clock.
#[exception]
fn SysTick() {
    clock::tick();
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    // The manager takes the restart for what it is.
    cortex_m::peripheral::SCB::sys_reset();
}
