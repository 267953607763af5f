//! How much stack the worker takes: it is asked everything that a manager can ask, and then the
//! part of the stack is counted that no longer holds what the start painted it with.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use chargehand_core::serial::{FrameHeader, FrameKind, encode};
use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hprintln;
use firmware::uart::Uart;
use firmware::worker::{Buffers, WIRE_BYTES_MAX, Worker};
use static_cell::{ConstStaticCell, StaticCell};

static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
static WORKER: StaticCell<Worker<'static, Script>> = StaticCell::new();
static FRAME: ConstStaticCell<[u8; WIRE_BYTES_MAX]> = ConstStaticCell::new([0; WIRE_BYTES_MAX]);

/// What the manager says, frame by frame: the bytes are those of docs/PROTOCOL.md.
const MESSAGES: [(FrameKind, &[u8]); 10] = [
    (FrameKind::Open, b"\0chgd\x02\0\0\x80\x04\0\0\0"),
    (FrameKind::Data, b"\x01\x90\x4e\x02\0"),
    (FrameKind::Data, b"\x05"),
    (FrameKind::Data, &REQUEST),
    (
        FrameKind::Data,
        b"\x02\xff\xff\xff\xff\x0f\xff\xff\xff\xff\x0f\xff\xff\x03\x08\x80\x80\x01\x04blueask",
    ),
    (FrameKind::Data, b"\x04\x07\xac\x02\x02"),
    (FrameKind::Data, b"\x08\x06\x04slow"),
    (FrameKind::Data, b"\x05"),
    (FrameKind::Open, b"\0chgd\x02\0\0\x80\x04\0\x04name\x08\x80\x80\x01\x04blue"),
    (FrameKind::Data, b"\x08\x00\x02\xff\xff"),
];
/// How many bytes a worker that understands all of this has said at the end.
const SAID_BYTES: u32 = 552;

/// A request that is echoed in an answer as long as they get.
const REQUEST: [u8; 401] = {
    let mut request = [0x5a; 401];
    request[0] = 2;
    request[1] = 7;
    request[2] = 9;
    request[3] = 1;
    request[4] = 0;
    request
};

/// A line that brings the messages, and counts what it takes.
struct Script {
    frame: &'static mut [u8],
    next: usize,
    end: usize,
    messages: &'static [(FrameKind, &'static [u8])],
    said: u32,
}

impl Uart for Script {
    fn read(&mut self) -> Option<u8> {
        if self.next == self.end {
            let (&(kind, message), messages) = self.messages.split_first()?;
            self.messages = messages;
            self.end = encode(FrameHeader { kind, link: 1 }, message, &[], self.frame).ok()?.len();
            self.next = 0;
        }
        self.next += 1;
        self.frame.get(self.next - 1).copied()
    }

    fn write(&mut self, _: u8) {
        self.said += 1;
    }
}

#[entry]
fn main() -> ! {
    let worker = start();
    worker.poll();
    let bytes = stack_bytes();
    let said = worker.uart().said;
    hprintln!("{} bytes of stack, {} bytes said", bytes, said);
    exit(if said == SAID_BYTES { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::nop();
    }
}

/// Makes the worker. Not in `main`, whose part of the stack is never given back.
#[inline(never)]
fn start() -> &'static mut Worker<'static, Script> {
    let script = Script { frame: FRAME.take(), next: 0, end: 0, messages: &MESSAGES, said: 0 };
    WORKER.init_with(|| Worker::new(script, "w", echo, BUFFERS.take()))
}

fn echo(request: &[u8], answer: &mut [u8]) -> Result<usize, &'static str> {
    let place = answer.get_mut(..request.len()).ok_or("long")?;
    place.copy_from_slice(request);
    Ok(request.len())
}

/// Returns how far down the stack was ever written.
#[inline(never)]
#[expect(unsafe_code, reason = "the linker knows where the stack is, and nobody else")]
fn stack_bytes() -> usize {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let top = &raw const _stack_start;
    let mut word = &raw const _stack_end;
    // SAFETY: the words between the two are memory, and whatever is in them is a u32.
    while word < top && unsafe { word.read_volatile() } == cortex_m_rt::STACK_PAINT_VALUE {
        word = word.wrapping_add(1);
    }
    top.addr() - word.addr()
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    exit(EXIT_FAILURE);
    loop {
        cortex_m::asm::nop();
    }
}
