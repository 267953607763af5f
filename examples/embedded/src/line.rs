//! A UART whose interrupt moves the bytes, so that none is lost while the program is busy.
//!
//! There is a queue for each direction. The interrupt fills the one and empties the other; the
//! program has their other ends. Neither ever waits for the other.

use core::cell::RefCell;

use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};

use crate::uart::{Uart, Uart0};
use crate::worker::{WINDOW, WIRE_BYTES_MAX};

/// What can come at once: a request for each place in the window, and pings. A byte for which there
/// is no room is lost, and its frame with it.
const RECEIVED_BYTES_MAX: usize = WIRE_BYTES_MAX * (WINDOW as usize + 1);
/// An answer, and small frames.
const TO_SEND_BYTES_MAX: usize = WIRE_BYTES_MAX + 256;

/// The memory of a [`Line`].
#[derive(Debug)]
pub struct Queues {
    // One place of a queue is never used.
    received: Queue<u8, { RECEIVED_BYTES_MAX + 1 }>,
    to_send: Queue<u8, { TO_SEND_BYTES_MAX + 1 }>,
}

impl Queues {
    /// Empty queues.
    pub const fn new() -> Self {
        Self { received: Queue::new(), to_send: Queue::new() }
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self::new()
    }
}

/// What belongs to the interrupt.
struct Inside {
    uart: Uart0,
    received: Producer<'static, u8>,
    to_send: Consumer<'static, u8>,
}

static INSIDE: Mutex<RefCell<Option<Inside>>> = Mutex::new(RefCell::new(None));

/// The program's end of the UART.
pub struct Line {
    received: Consumer<'static, u8>,
    to_send: Producer<'static, u8>,
}

impl Line {
    /// Lets the UART interrupt from now on. The program's handler of that interrupt must call
    /// [`on_interrupt`].
    pub fn start(uart: Uart0, queues: &'static mut Queues) -> Self {
        let (received_in, received) = queues.received.split();
        let (to_send, to_send_out) = queues.to_send.split();
        let mut inside = Inside { uart, received: received_in, to_send: to_send_out };
        inside.uart.set_interrupts(false);
        critical_section::with(|section| INSIDE.replace(section, Some(inside)));
        Self { received, to_send }
    }

    /// Returns whether every byte that came was read.
    pub fn is_quiet(&self) -> bool {
        self.received.is_empty()
    }

    /// Returns whether a frame of any length can be written without waiting.
    pub fn has_room(&self) -> bool {
        self.to_send.capacity() - self.to_send.len() >= WIRE_BYTES_MAX
    }
}

impl Uart for Line {
    fn read(&mut self) -> Option<u8> {
        self.received.dequeue()
    }

    fn write(&mut self, byte: u8) {
        while self.to_send.enqueue(byte).is_err() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        // As much as the UART itself holds, which is then busy; and its interrupt does the rest.
        with_inside(|inside| inside.send(Uart0::QUEUE_BYTES));
    }
}

/// Moves bytes in and out.
pub fn on_interrupt() {
    with_inside(|inside| {
        inside.receive();
        inside.send(TO_SEND_BYTES_MAX);
    });
}

fn with_inside(work: impl FnOnce(&mut Inside)) {
    critical_section::with(|section| {
        if let Some(inside) = &mut *INSIDE.borrow_ref_mut(section) {
            work(inside);
        }
    });
}

impl Inside {
    fn receive(&mut self) {
        while let Some(byte) = self.uart.read() {
            // The queue is longer than all that a manager may send: what is too much is noise.
            let _ = self.received.enqueue(byte);
        }
    }

    fn send(&mut self, bytes_max: usize) {
        for _ in 0..bytes_max {
            let Some(&byte) = self.to_send.peek() else { break };
            if self.uart.try_write(byte).is_err() {
                break;
            }
            self.to_send.dequeue();
        }
        self.uart.set_interrupts(self.to_send.ready());
    }
}
