//! What a manager says in the measurements of stack, over a line that is none.

use chargehand_core::serial::{FrameHeader, FrameKind, encode};

use crate::uart::Uart;
use crate::worker::WIRE_BYTES_MAX;

/// A frame of the manager's: its kind and its message.
pub type Said = (FrameKind, &'static [u8]);

/// What the manager says, frame by frame: the bytes are those of docs/PROTOCOL.md.
pub const MESSAGES: [Said; 10] = [
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
#[derive(Debug)]
pub struct Script {
    frame: &'static mut [u8],
    next: usize,
    end: usize,
    messages: &'static [Said],
    said: u32,
}

impl Script {
    /// Makes a line that brings these.
    pub fn new(frame: &'static mut [u8; WIRE_BYTES_MAX], messages: &'static [Said]) -> Self {
        Self { frame, next: 0, end: 0, messages, said: 0 }
    }

    /// Returns how many bytes the worker has said.
    pub fn said(&self) -> u32 {
        self.said
    }
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

#[expect(unsafe_code, reason = "the linker knows where the stack is, and nobody else")]
mod stack {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }

    /// Returns how far down the stack was ever written.
    #[inline(never)]
    pub fn stack_bytes() -> usize {
        let top = &raw const _stack_start;
        let mut word = &raw const _stack_end;
        // SAFETY: the words between the two are memory, and whatever is in them is a u32.
        while word < top && unsafe { word.read_volatile() } == cortex_m_rt::STACK_PAINT_VALUE {
            word = word.wrapping_add(1);
        }
        top.addr() - word.addr()
    }

    /// Paints what the caller does not use of the stack, so that what was called before does not count.
    #[inline(never)]
    pub fn repaint() {
        let here = 0_u32;
        // Enough for this function, which calls none.
        let top = (&raw const here).addr() - 64;
        let mut word = (&raw const _stack_end).cast_mut();
        while word.addr() < top {
            // SAFETY: it is a word of the stack, and below all that is in use.
            unsafe { word.write_volatile(cortex_m_rt::STACK_PAINT_VALUE) };
            word = word.wrapping_add(1);
        }
    }
}

pub use self::stack::{repaint, stack_bytes};
