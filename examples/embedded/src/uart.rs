//! A UART that is polled, byte by byte.

/// What the worker needs of a UART.
pub trait Uart {
    /// Returns the next byte that came, if there is one.
    fn read(&mut self) -> Option<u8>;

    /// Sends a byte, and waits for room where there is none.
    fn write(&mut self, byte: u8);
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

    /// Takes the UART and turns it on; `None` where it was taken before. The clock and the pins of a
    /// real board, and its baud rate, are still to be set: QEMU has none.
    pub fn take() -> Option<Self> {
        // The core's own peripherals are handed out once, and so is this.
        cortex_m::Peripherals::take()?;
        write(Self::LINE_CONTROL, Self::EIGHT_BITS_QUEUED);
        write(Self::CONTROL, Self::ENABLE);
        Some(Self(()))
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
        while read(Self::FLAGS) & Self::TRANSMIT_FULL != 0 {}
        write(Self::DATA, u32::from(byte));
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
