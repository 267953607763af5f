//! A height of a range, and its encoding.

use core::num::TryFromIntError;

use chargehand_core::ledger::Height as _;

/// The longest postcard encoding of a `u64`.
pub(crate) const HEIGHT_BYTES_MAX: usize = 10;

/// A height of a range: which handlers see as a `u64` or as an `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeHeight {
    /// One of [`Pool::process`](crate::Pool::process).
    Unsigned(u64),
    /// One of [`Pool::process_signed`](crate::Pool::process_signed).
    Signed(i64),
}

impl RangeHeight {
    /// Returns the height of that index in its type.
    #[inline]
    pub(crate) fn from_index(index: u64, is_signed: bool) -> Self {
        if is_signed { Self::Signed(i64::from_index(index)) } else { Self::Unsigned(index) }
    }

    #[inline]
    pub(crate) fn to_index(self) -> u64 {
        match self {
            Self::Unsigned(height) => height,
            Self::Signed(height) => height.to_index(),
        }
    }
}

impl From<RangeHeight> for i128 {
    fn from(height: RangeHeight) -> Self {
        match height {
            RangeHeight::Unsigned(height) => height.into(),
            RangeHeight::Signed(height) => height.into(),
        }
    }
}

impl TryFrom<RangeHeight> for i64 {
    type Error = TryFromIntError;

    fn try_from(height: RangeHeight) -> Result<Self, TryFromIntError> {
        match height {
            RangeHeight::Unsigned(height) => height.try_into(),
            RangeHeight::Signed(height) => Ok(height),
        }
    }
}

/// Encodes a height as handlers see it: a postcard `u64` or `i64`. Every height that is sent comes through
/// here, so what is below 2^56 is put together in one go and not a byte at a time.
#[inline]
pub(crate) fn encode_height(height: RangeHeight, buffer: &mut [u8; HEIGHT_BYTES_MAX]) -> &[u8] {
    let rest = match height {
        RangeHeight::Unsigned(height) => height,
        // Postcard's numbers with a sign: those next to zero are the short ones.
        RangeHeight::Signed(height) => {
            u64::from_ne_bytes(((height << 1) ^ (height >> 63)).to_ne_bytes())
        }
    };
    let bits = u64::BITS - (rest | 1).leading_zeros();
    if bits > SPREAD_BITS {
        return encode_long(rest, buffer);
    }
    let len = bits.div_ceil(7) as usize;
    let more = 0x0080_8080_8080_8080 >> (8 * (8 - len));
    let place = buffer.first_chunk_mut::<8>().expect("there is room for ten");
    *place = (spread(rest) | more).to_le_bytes();
    &buffer[..len]
}

/// How many bits go into eight bytes.
const SPREAD_BITS: u32 = 56;

/// Puts seven bits into each byte, the lowest first.
#[inline]
const fn spread(number: u64) -> u64 {
    let word = number & 0x0fff_ffff | (number & 0x00ff_ffff_f000_0000) << 4;
    let word = word & 0x0000_3fff_0000_3fff | (word & 0x0fff_c000_0fff_c000) << 2;
    word & 0x007f_007f_007f_007f | (word & 0x3f80_3f80_3f80_3f80) << 1
}

fn encode_long(mut rest: u64, buffer: &mut [u8; HEIGHT_BYTES_MAX]) -> &[u8] {
    let mut len = 0;
    for byte in buffer.iter_mut() {
        len += 1;
        *byte = rest.to_le_bytes()[0] | 0x80;
        rest >>= 7;
        if rest == 0 {
            *byte &= 0x7f;
            break;
        }
    }
    &buffer[..len]
}
