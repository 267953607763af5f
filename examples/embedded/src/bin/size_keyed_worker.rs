//! What a worker costs that proves a key, and with the feature `sealed` one that encrypts as well: beside
//! the key's own code, all as in `size_worker.rs`.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use chargehand_core::keyed::{Member, NONCE_BYTES, SharedKey};
use chargehand_core::message::Role;
use cortex_m_rt::entry;
use firmware::guard::Keyed;
use firmware::probe::echo;
use firmware::uart::Uart0;
use firmware::worker::{Buffers, Handler, MESSAGE_BYTES_MAX, Worker};
use static_cell::{ConstStaticCell, StaticCell};

type Guarded = Worker<'static, Uart0, Handler, Keyed<'static, fn() -> [u8; NONCE_BYTES]>>;

static BUFFERS: ConstStaticCell<(Buffers, [u8; MESSAGE_BYTES_MAX])> =
    ConstStaticCell::new((Buffers::new(), [0; MESSAGE_BYTES_MAX]));
// Not on the stack, so that it is counted.
static WORKER: StaticCell<Guarded> = StaticCell::new();

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
fn start(uart: Uart0) -> &'static mut Guarded {
    let (buffers, room) = BUFFERS.take();
    let member = Member::new(Role::Worker, "w").unwrap_or_else(|_| trap());
    #[cfg(feature = "sealed")]
    let member = member.sealed();
    // The board's own source of randomness takes the place of the second one.
    let guard =
        Keyed::new(member, SharedKey::new([7; 32]), (|| [9; NONCE_BYTES]) as fn() -> _, room);
    WORKER.init_with(|| Worker::guarded(uart, "w", echo, buffers, guard))
}

fn trap() -> ! {
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    trap()
}
