//! One large buffer for each thread, which the links that have a long message to read use in turn.
//!
//! A link is polled to the end of what is there before the next one is, so they seldom need two. Such a
//! buffer is neither made nor filled with zeros anew for each read, and no link holds one while nothing
//! comes.

use std::cell::Cell;

/// How long it is: a body of 64 KiB fits in it.
pub(crate) const SPARE_BYTES: usize = (64 << 10) + (4 << 10);
/// How long one may have become for longer frames.
pub(crate) const SPARE_BYTES_MAX: usize = (1 << 20) + (4 << 10);

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns the thread's buffer, or a new one where that is in use. What is in it is of no meaning.
pub(crate) fn take() -> Vec<u8> {
    // On a thread that ends, there is none any more.
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    if spare.is_empty() { vec![0; SPARE_BYTES] } else { spare }
}

/// Keeps a buffer for the next [`take`], unless it has grown or is a small one.
pub(crate) fn give_back(buffer: Vec<u8>) {
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
