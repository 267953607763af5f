//! How slots refer to one another, and how that is stored.
//!
//! On a microcontroller two bytes can name every slot that fits its memory, and they halve what lists
//! and heaps take (decision 0006). Ids keep their width everywhere, and arithmetic is on `u32`, so the
//! rules and the traces are the same on every platform.

/// An index as it is stored.
#[cfg(not(all(target_os = "none", target_pointer_width = "32")))]
pub(super) type Stored = u32;
/// An index as it is stored.
#[cfg(all(target_os = "none", target_pointer_width = "32"))]
pub(super) type Stored = u16;

/// "No slot": the end of a list.
pub(super) const NONE: u32 = wide(Stored::MAX);

/// How many tasks, or workers, there can be.
pub(crate) const SLOTS_MAX: u32 = NONE;

#[allow(clippy::unnecessary_cast, reason = "it is none where an index is stored in two bytes")]
#[inline]
pub(super) const fn wide(stored: Stored) -> u32 {
    stored as u32
}

/// Returns the index of a slot that is there, or [`NONE`], to be stored.
#[allow(clippy::unnecessary_cast, reason = "it is none where an index is stored in two bytes")]
#[inline]
pub(super) const fn narrow(index: u32) -> Stored {
    index as Stored
}
