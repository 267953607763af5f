//! Whether an answer is of the type that its caller asked for: known before the answer counts.

use alloc::string::String;
use core::any::Any;
use core::fmt;
use core::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::answer::Value;
use super::decode::{DecodeLimits, decode, decode_measured, plain};
use crate::unwind::caught;

/// What a value may take of memory beside its text and bytes, as a share of its encoding: so that to
/// charge the encoding's length for it is right.
const BESIDE_SHARE: usize = 16;

/// A check against one type, in the size of a pointer, since there is one for each call.
#[derive(Clone, Copy)]
pub(crate) struct Check(&'static Table);

struct Table {
    /// Whether it is plain to see that bytes are of the type. If not, `bytes` finds out.
    are_plain: fn(&[u8]) -> bool,
    bytes: fn(&[u8], &DecodeLimits) -> Result<(), String>,
    value: fn(&[u8], &DecodeLimits) -> Result<Option<Value>, String>,
    is: fn(&dyn Any) -> bool,
}

/// Makes the table of a type.
struct Of<A>(PhantomData<A>);

impl<A: DeserializeOwned + Send + 'static> Of<A> {
    const TABLE: Table = Table {
        are_plain: plain::is_read::<A>,
        bytes: |bytes, limits| caught(|| decode::<A>(bytes, limits).map(drop))?,
        value: |bytes, limits| caught(|| compact::<A>(bytes, limits))?,
        is: |value| value.is::<A>(),
    };

    const SHARED: Table = Table {
        value: |bytes, limits| caught(|| decode::<A>(bytes, limits).map(|_| None))?,
        ..Self::TABLE
    };
}

impl Check {
    /// Takes any bytes.
    pub(crate) const RAW: Self = Self(&Table {
        are_plain: |_| true,
        bytes: |_, _| Ok(()),
        value: |_, _| Ok(None),
        is: |_| false,
    });

    pub(crate) const fn of<A: DeserializeOwned + Send + 'static>() -> Self {
        Self(&Of::<A>::TABLE)
    }

    /// Makes the check of a type whose values are kept as bytes, since several callers have them.
    pub(crate) const fn of_shared<A: DeserializeOwned + Send + 'static>() -> Self {
        Self(&Of::<A>::SHARED)
    }

    /// Returns why bytes are not of the type, if they are not. A panic of the type's own code is such a
    /// reason.
    #[inline]
    pub(crate) fn bytes(self, bytes: &[u8], limits: &DecodeLimits) -> Result<(), String> {
        if (self.0.are_plain)(bytes) { Ok(()) } else { (self.0.bytes)(bytes, limits) }
    }

    /// As [`bytes`](Self::bytes), and returns the value where that is best kept in place of the bytes: it
    /// takes no more memory than they do, and need not be decoded again.
    pub(crate) fn value(
        self,
        bytes: &[u8],
        limits: &DecodeLimits,
    ) -> Result<Option<Value>, String> {
        (self.0.value)(bytes, limits)
    }

    /// Returns why a value cannot be had as the type, if it cannot.
    pub(crate) fn value_fits(self, value: &Value, limits: &DecodeLimits) -> Result<(), String> {
        if self.is(value.as_any()) {
            return Ok(());
        }
        // An encoder is the user's code.
        let body = caught(|| value.encode())?.map_err(|error| format!("{error}"))?;
        self.bytes(body.as_slice(), limits)
    }

    /// Whether a value is of the type as it is.
    fn is(self, value: &dyn Any) -> bool {
        (self.0.is)(value)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

/// Decodes a value, and returns it if it takes no more memory than its bytes.
fn compact<A: DeserializeOwned + Send + 'static>(
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<Option<Value>, String> {
    let (value, beside) = decode_measured::<A>(bytes, limits)?;
    if beside > bytes.len() / BESIDE_SHARE {
        return Ok(None);
    }
    Ok(Some(Value::decoded(value)))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use serde::{Deserialize, Deserializer};

    use super::*;

    const LIMITS: DecodeLimits = DecodeLimits::new();

    #[test]
    fn a_check_says_what_decoding_says() {
        for bytes in
            [&[][..], &[0], &[5], &[0x80], &[0x80, 1], &[2, 7, 7], &[2, 7], &[3, 7, 7, 7, 7]]
        {
            let text = |result: Result<(), String>| result.err();
            assert_eq!(
                text(Check::of::<Vec<u8>>().bytes(bytes, &LIMITS)),
                text(decode::<Vec<u8>>(bytes, &LIMITS).map(drop)),
                "{bytes:?}"
            );
            assert_eq!(
                text(Check::of::<u64>().bytes(bytes, &LIMITS)),
                text(decode::<u64>(bytes, &LIMITS).map(drop)),
                "{bytes:?}"
            );
            assert_eq!(
                text(Check::of::<u16>().bytes(bytes, &LIMITS)),
                text(decode::<u16>(bytes, &LIMITS).map(drop)),
                "{bytes:?}"
            );
            assert_eq!(text(Check::RAW.bytes(bytes, &LIMITS)), None);
        }
        assert!(Check::of::<u64>().is(&3_u64));
        assert!(!Check::of::<u64>().is(&3_u32));
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_type_whose_own_code_panics_fits_nothing() {
        #[derive(Debug)]
        struct Bomb;
        impl<'de> Deserialize<'de> for Bomb {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("on purpose")
            }
        }
        let why = Check::of::<Bomb>().bytes(&[1], &LIMITS).unwrap_err();
        assert!(why.contains("on purpose"), "{why}");
    }
}
