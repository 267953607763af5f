//! The types that a height may have.

use core::fmt::{Debug, Display};

/// The type of a height: `u64`, or `i64` where heights may be below zero.
///
/// Sealed: there are no others.
pub trait Height:
    Copy + Ord + Debug + Default + Display + Send + Sync + Unpin + 'static + sealed::Sealed
{
    /// Returns how many heights the type has below this one: 0 for the least, 2^64 - 1 for the
    /// greatest.
    ///
    /// ```
    /// use chargehand_core::ledger::Height;
    ///
    /// assert_eq!(42_u64.to_index(), 42);
    /// assert_eq!([i64::MIN, -1, 0].map(Height::to_index), [0, (1 << 63) - 1, 1 << 63]);
    /// ```
    fn to_index(self) -> u64;

    /// Returns the height that has that many below it.
    fn from_index(index: u64) -> Self;

    /// Returns the height above, or `None` for the greatest.
    #[inline]
    fn next(self) -> Option<Self> {
        self.to_index().checked_add(1).map(Self::from_index)
    }

    /// Returns the height below, or `None` for the least.
    #[inline]
    fn previous(self) -> Option<Self> {
        self.to_index().checked_sub(1).map(Self::from_index)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u64 {}
    impl Sealed for i64 {}
}

impl Height for u64 {
    #[inline]
    fn to_index(self) -> u64 {
        self
    }

    #[inline]
    fn from_index(index: u64) -> Self {
        index
    }
}

/// What stands between the order of signed numbers and that of unsigned ones.
const SIGN: u64 = 1 << 63;

impl Height for i64 {
    #[inline]
    fn to_index(self) -> u64 {
        u64::from_ne_bytes(self.to_ne_bytes()) ^ SIGN
    }

    #[inline]
    fn from_index(index: u64) -> Self {
        Self::from_ne_bytes((index ^ SIGN).to_ne_bytes())
    }
}
