//! A worker that hashes blocks: a request is a postcard `(u64, &[u8])`, the answer its SHA-256.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m_rt::entry;
use firmware::uart::Uart0;
use firmware::worker::{Buffers, Worker};
use sha2::{Digest, Sha256};
use static_cell::ConstStaticCell;

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

#[entry]
fn main() -> ! {
    let uart = Uart0::take().expect("nobody took it before");
    let mut worker = Worker::new(uart, "cortex-m3", hash, BUFFERS.take());
    loop {
        worker.poll();
    }
}

fn hash(request: &[u8], answer: &mut [u8]) -> Result<usize, &'static str> {
    let (_height, bytes): (u64, &[u8]) =
        postcard::from_bytes(request).map_err(|_| "the request is no block")?;
    let sum = Sha256::digest(bytes);
    let place = answer.get_mut(..sum.len()).ok_or("no room for the answer")?;
    place.copy_from_slice(&sum);
    Ok(sum.len())
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    // The manager takes the restart for what it is.
    cortex_m::peripheral::SCB::sys_reset();
}
