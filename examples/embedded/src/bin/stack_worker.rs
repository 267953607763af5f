//! How much stack the worker takes: it is asked everything that a manager can ask, and then the
//! part of the stack is counted that no longer holds what the start painted it with.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hprintln;
use firmware::probe::echo;
use firmware::script::{MESSAGES, Script, stack_bytes};
use firmware::worker::{Buffers, WIRE_BYTES_MAX, Worker};
use static_cell::{ConstStaticCell, StaticCell};

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
static WORKER: StaticCell<Worker<'static, Script>> = StaticCell::new();
static FRAME: ConstStaticCell<[u8; WIRE_BYTES_MAX]> = ConstStaticCell::new([0; WIRE_BYTES_MAX]);

/// How many bytes a worker that understands all of this has said at the end.
const SAID_BYTES: u32 = 552;

#[entry]
fn main() -> ! {
    let worker = start();
    worker.poll();
    let bytes = stack_bytes();
    let said = worker.uart().said();
    hprintln!("{} bytes of stack, {} bytes said", bytes, said);
    exit(if said == SAID_BYTES { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::nop();
    }
}

/// Makes the worker. Not in `main`, whose part of the stack is never given back.
#[inline(never)]
fn start() -> &'static mut Worker<'static, Script> {
    let script = Script::new(FRAME.take(), &MESSAGES);
    WORKER.init_with(|| Worker::new(script, "w", echo, BUFFERS.take()))
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    exit(EXIT_FAILURE);
    loop {
        cortex_m::asm::nop();
    }
}
