//! One large read buffer for each thread, for transports whose links have long messages to read in turn.
//!
//! A link is polled to the end of what is there before the next one is, so two links seldom need a buffer
//! at once. Such a buffer is neither made nor filled with zeros anew for each read, and no link holds one
//! while nothing comes.
//!
//! ```
//! use chargehand_core::spare::{self, SPARE_BYTES};
//!
//! let mut buffer = spare::take();
//! assert!(buffer.len() >= SPARE_BYTES);
//! buffer[..5].copy_from_slice(b"hello"); // what a read would do
//! spare::give_back(buffer);
//! ```

use std::cell::Cell;
use std::vec::Vec;
use std::{thread_local, vec};

/// How long a new one is, in bytes: a body of 64 KiB fits in it with all that stands before it.
pub const SPARE_BYTES: usize = (64 << 10) + (4 << 10);
/// How long a buffer may have become, in bytes, and still be kept.
pub const SPARE_BYTES_MAX: usize = (1 << 20) + (4 << 10);

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns the thread's buffer, or a new one where that is in use. Its content has no meaning.
pub fn take() -> Vec<u8> {
    // On a thread that ends, there is none any more.
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    if spare.is_empty() { vec![0; SPARE_BYTES] } else { spare }
}

/// Keeps a buffer for the next [`take`], unless it is shorter than [`SPARE_BYTES`] or longer than
/// [`SPARE_BYTES_MAX`].
pub fn give_back(buffer: Vec<u8>) {
    if (SPARE_BYTES..=SPARE_BYTES_MAX).contains(&buffer.len()) {
        // Where there is one already, that is dropped.
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_given_back_is_taken_again_as_it_is() {
        for length in [SPARE_BYTES, SPARE_BYTES_MAX] {
            give_back(vec![7; length]);
            let buffer = take();
            assert_eq!((buffer[0], buffer.len()), (7, length));
            let other = take();
            assert_eq!((other[0], other.len()), (0, SPARE_BYTES), "the first is in use");
        }
    }

    #[test]
    fn small_buffers_and_huge_ones_are_not_kept() {
        for length in [0, 1, SPARE_BYTES - 1, SPARE_BYTES_MAX + 1] {
            give_back(vec![7; length]);
            assert_eq!(take(), vec![0; SPARE_BYTES]);
        }
    }
}
