//! The worker of `worker.rs`, for a manager that has its key and for nobody else, with everything
//! encrypted on the line.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use chargehand_core::keyed::{Member, NONCE_BYTES, SharedKey};
use chargehand_core::message::Role;
use cortex_m_rt::{entry, exception};
use firmware::block::hash;
use firmware::clock;
use firmware::guard::Keyed;
use firmware::uart::Uart0;
use firmware::worker::{Buffers, MESSAGE_BYTES_MAX, Worker};
use static_cell::ConstStaticCell;

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
static ROOM: ConstStaticCell<[u8; MESSAGE_BYTES_MAX]> =
    ConstStaticCell::new([0; MESSAGE_BYTES_MAX]);

/// For this example only: yours is random, differs from board to board, and is written into its flash
/// when it is made a member.
const KEY: [u8; 32] = *b"the key of an example, known all";

#[entry]
fn main() -> ! {
    let (uart, core) = Uart0::take_with_peripherals().expect("nobody took it before");
    clock::start(core.SYST);
    let me = Member::new(Role::Worker, "keyed").expect("a good name").sealed();
    let guard = Keyed::new(me, SharedKey::new(KEY), counted(), ROOM.take());
    let mut worker = Worker::guarded(uart, "keyed", hash, BUFFERS.take(), guard);
    loop {
        worker.poll();
    }
}

/// Nonces of a board that has neither a source of randomness nor memory that outlives a reset: they count
/// the links since then. What that does not give is in the documentation of `chargehand_core::keyed`.
fn counted() -> impl FnMut() -> [u8; NONCE_BYTES] {
    let mut links = 0_u64;
    move || {
        links += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&links.to_le_bytes());
        nonce
    }
}

#[exception]
fn SysTick() {
    clock::tick();
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    // The manager takes the restart for what it is.
    cortex_m::peripheral::SCB::sys_reset();
}
