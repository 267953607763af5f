//! The UART: what a worker needs of one, and the one of this chip, polled byte by byte.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

/// What the worker needs of a UART.
pub trait Uart {
    /// Returns the next byte that came, if there is one.
    fn read(&mut self) -> Option<u8>;

    /// Sends a byte, and waits for room where there is none.
    fn write(&mut self, byte: u8);

    /// Sees that what was written leaves by itself. Nothing to do where it has left already.
    fn flush(&mut self) {}
}

/// The first UART of the LM3S6965, a PL011.
#[derive(Debug)]
pub struct Uart0(());

impl Uart0 {
    const BASE: usize = 0x4000_c000;
    const DATA: usize = Self::BASE;
    const FLAGS: usize = Self::BASE + 0x18;
    const LINE_CONTROL: usize = Self::BASE + 0x2c;
    const CONTROL: usize = Self::BASE + 0x30;
    const RECEIVE_EMPTY: u32 = 1 << 4;
    const TRANSMIT_FULL: u32 = 1 << 5;
    /// Eight bits, and the queues of 16 bytes on.
    const EIGHT_BITS_QUEUED: u32 = 0b111 << 4;
    const ENABLE: u32 = 0x301;
    const INTERRUPTS: usize = Self::BASE + 0x38;
    /// Bytes have come: so many, or none for a while.
    const RECEIVED: u32 = 1 << 4 | 1 << 6;
    /// There is room for more to send.
    const SENT: u32 = 1 << 5;
    /// How many bytes the UART's own queue holds.
    pub const QUEUE_BYTES: usize = 16;

    /// Takes the UART and turns it on; `None` where it was taken before. The clock and the pins of a
    /// real board, and its baud rate, are still to be set: QEMU has none.
    pub fn take() -> Option<Self> {
        Self::take_with_peripherals().map(|(uart, _)| uart)
    }

    /// Takes the UART with the peripherals of the core; `None` where either was taken before.
    pub fn take_with_peripherals() -> Option<(Self, cortex_m::Peripherals)> {
        // The core's own peripherals are handed out once, and so is this.
        let peripherals = cortex_m::Peripherals::take()?;
        write(Self::LINE_CONTROL, Self::EIGHT_BITS_QUEUED);
        write(Self::CONTROL, Self::ENABLE);
        Some((Self(()), peripherals))
    }

    /// Has the UART interrupt for bytes that came and, if asked to, for room to send more.
    pub fn set_interrupts(&mut self, for_room: bool) {
        write(
            Self::INTERRUPTS,
            if for_room { Self::RECEIVED | Self::SENT } else { Self::RECEIVED },
        );
        Interrupt.unmask();
    }

    /// Sends a byte.
    ///
    /// # Errors
    /// Gives the byte back where there is no room for it: try again, or wait for the interrupt.
    pub fn try_write(&mut self, byte: u8) -> Result<(), u8> {
        if read(Self::FLAGS) & Self::TRANSMIT_FULL != 0 {
            return Err(byte);
        }
        write(Self::DATA, u32::from(byte));
        Ok(())
    }
}

impl Uart for Uart0 {
    fn read(&mut self) -> Option<u8> {
        if read(Self::FLAGS) & Self::RECEIVE_EMPTY != 0 {
            return None;
        }
        // The upper bits say what the UART noticed of errors; the CRC notices them all.
        let [byte, ..] = read(Self::DATA).to_le_bytes();
        Some(byte)
    }

    fn write(&mut self, byte: u8) {
        while self.try_write(byte).is_err() {}
    }
}

/// The number of the UART's interrupt.
pub const INTERRUPT: u16 = 5;

#[derive(Clone, Copy)]
struct Interrupt;

impl Interrupt {
    #[expect(unsafe_code, reason = "it could break a critical section of another kind than ours")]
    fn unmask(self) {
        // SAFETY: what must not be interrupted masks all interrupts here, never only this one.
        unsafe { NVIC::unmask(self) }
    }
}

#[expect(unsafe_code, reason = "that the number is right is up to the chip")]
// SAFETY: the LM3S6965's data sheet has this number for its first UART.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        INTERRUPT
    }
}

#[expect(unsafe_code, reason = "a register has no other way in")]
fn read(register: usize) -> u32 {
    let register = core::ptr::with_exposed_provenance::<u32>(register);
    // SAFETY: only this module calls it, with the address of an aligned register of this UART that
    // may be read at any time.
    unsafe { register.read_volatile() }
}

#[expect(unsafe_code, reason = "a register has no other way in")]
fn write(register: usize, value: u32) {
    let register = core::ptr::with_exposed_provenance_mut::<u32>(register);
    // SAFETY: as above; and what is written changes nothing but the UART, whose only owner calls.
    unsafe { register.write_volatile(value) }
}
