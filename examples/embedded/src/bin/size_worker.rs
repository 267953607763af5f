//! What a worker costs: session, messages, serial frames and a polled UART.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m_rt::entry;
use firmware::probe::echo;
use firmware::uart::Uart0;
use firmware::worker::{Buffers, Worker};
use static_cell::{ConstStaticCell, StaticCell};

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
// Not on the stack, so that it is counted.
static WORKER: StaticCell<Worker<'static, Uart0>> = StaticCell::new();

#[entry]
fn main() -> ! {
    if let Some(uart) = Uart0::take() {
        let worker = start(uart);
        loop {
            worker.poll();
        }
    }
    loop {
        cortex_m::asm::nop();
    }
}

/// Makes the worker. Not in `main`, whose part of the stack is never given back.
#[inline(never)]
fn start(uart: Uart0) -> &'static mut Worker<'static, Uart0> {
    WORKER.init_with(|| Worker::new(uart, "w", echo, BUFFERS.take()))
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::nop();
    }
}
