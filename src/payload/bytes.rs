//! The bytes of a request or an answer. Most are short, so short ones need no heap.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{fmt, mem};

use chargehand_core::copy::{self, copied};
use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::encode::{Sink, encode};
use crate::budget::{Account, Charge, SMALL_BYTES_MAX};

/// The longest bytes that are held in place: as many as there is room for beside what a longer
/// body needs anyway.
const SHORT_BYTES_MAX: usize = size_of::<Vec<u8>>() - 2;

/// The largest allocation that is kept for a later short body.
const SPARE_BYTES_MAX: usize = 64;

/// Some bytes that do not change.
pub(crate) enum Body {
    Short {
        len: u8,
        bytes: [u8; SHORT_BYTES_MAX],
    },
    Long(Box<[u8]>),
    /// Long enough to be charged to a budget.
    Charged(Box<Charged>),
    /// The same, where several have it. It is charged once.
    Shared(Arc<Charged>),
}

/// Bytes, and what they take of a budget as long as they are here.
#[derive(Debug)]
pub(crate) struct Charged {
    bytes: Box<[u8]>,
    pub(crate) charge: Charge,
}

const _: () = assert!(size_of::<Body>() == size_of::<Vec<u8>>());

impl Body {
    pub(crate) const EMPTY: Self = Self::Short { len: 0, bytes: [0; SHORT_BYTES_MAX] };

    /// Encodes a value by postcard.
    pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, postcard::Error> {
        let mut body = Self::EMPTY;
        body.write(value)?;
        Ok(body)
    }

    /// Encodes a value by postcard into an empty body, in its place: decision 0010.
    #[inline]
    pub(crate) fn write<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), postcard::Error> {
        encode(value, Writer { body: self, long: Vec::new() })
    }

    /// Makes an empty body one of these bytes, in place, if they are few. Returns whether they are.
    #[inline]
    fn fill_short(&mut self, content: &[u8]) -> bool {
        let Self::Short { len, bytes } = self else { return false };
        let (Some(place), Ok(length)) =
            (bytes.get_mut(..content.len()), u8::try_from(content.len()))
        else {
            return false;
        };
        place.copy_from_slice(content);
        *len = length;
        true
    }

    /// Makes an empty body one of these bytes, in place, and charges the account if they are many.
    #[inline]
    pub(crate) fn fill(&mut self, content: &[u8], account: &Arc<Account>) {
        if !self.fill_short(content) {
            *self = Self::Long(copied(content).into_boxed_slice());
            self.charge(account);
        }
    }

    /// Holds it against an account, if it is long.
    #[inline]
    pub(crate) fn charge(&mut self, account: &Arc<Account>) {
        if self.is_uncharged() {
            let charge = account.charge(self.as_slice().len());
            if let Self::Long(bytes) = self {
                *self = Self::Charged(Box::new(Charged { bytes: mem::take(bytes), charge }));
            }
        }
    }

    /// Returns whether it is so long that it should be held against a budget, and is not.
    #[inline]
    pub(crate) fn is_uncharged(&self) -> bool {
        matches!(self, Self::Long(bytes) if bytes.len() > SMALL_BYTES_MAX)
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
            Self::Charged(charged) => &charged.bytes,
            Self::Shared(charged) => &charged.bytes,
        }
    }

    /// Returns the same bytes for somebody else. What is charged to a budget is kept once.
    pub(crate) fn share(&mut self) -> Self {
        if let Self::Charged(_) = self {
            let Self::Charged(charged) = mem::take(self) else { unreachable!("see above") };
            *self = Self::Shared(Arc::new(*charged));
        }
        match self {
            Self::Shared(charged) => Self::Shared(Arc::clone(charged)),
            _ => Self::from(self.as_slice()),
        }
    }

    /// Makes an empty body one of these bytes, in place, and returns what they were in if that may be used
    /// again: it is no larger than one of a short body has to be.
    #[inline]
    pub(crate) fn take_in(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if !self.fill_short(&bytes) {
            *self = Self::Long(bytes.into_boxed_slice());
        } else if bytes.capacity() <= SPARE_BYTES_MAX {
            return bytes;
        }
        Vec::new()
    }

    /// Takes the bytes, in `spare` if there is room.
    #[inline]
    pub(crate) fn take_vec(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        if let Self::Short { .. } = self {
            // From where they are: decision 0010.
            spare.clear();
            spare.extend_from_slice(self.as_slice());
            return spare;
        }
        match mem::take(self) {
            Self::Short { .. } => unreachable!("see above"),
            Self::Long(bytes) => bytes.into_vec(),
            // Whoever has them now knows how many they are.
            Self::Charged(charged) => charged.bytes.into_vec(),
            Self::Shared(charged) => match Arc::try_unwrap(charged) {
                Ok(charged) => charged.bytes.into_vec(),
                Err(charged) => copied(&charged.bytes),
            },
        }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<&[u8]> for Body {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        let mut body = Self::EMPTY;
        if !body.fill_short(bytes) {
            body = Self::Long(copied(bytes).into_boxed_slice());
        }
        body
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let mut body = Self::EMPTY;
        body.take_in(bytes);
        body
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.as_slice().len())
    }
}

/// Where postcard writes: in place as long as there is room.
struct Writer<'a> {
    body: &'a mut Body,
    /// All of it, once it is longer.
    long: Vec<u8>,
}

impl Writer<'_> {
    /// Moves what was written so far to where more has room.
    fn outgrow(&mut self) {
        if self.long.is_empty() {
            self.long.extend_from_slice(self.body.as_slice());
        }
    }
}

impl Flavor for Writer<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, more: &[u8]) -> postcard::Result<()> {
        if self.long.is_empty() {
            if let Body::Short { len, bytes } = self.body {
                let (begin, end) = (usize::from(*len), usize::from(*len) + more.len());
                if let (Some(room), Ok(end)) = (bytes.get_mut(begin..end), u8::try_from(end)) {
                    room.copy_from_slice(more);
                    *len = end;
                    return Ok(());
                }
            }
            self.outgrow();
        }
        copy::append(&mut self.long, more);
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        if !self.long.is_empty() {
            *self.body = Body::Long(self.long.into_boxed_slice());
        }
        Ok(())
    }
}

impl Sink for Writer<'_> {
    fn bytes(&mut self) -> &mut Vec<u8> {
        self.outgrow();
        &mut self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_out_as_they_went_in() {
        for len in 0..100_u8 {
            let bytes: Vec<u8> = (0..len).collect();
            for mut body in [Body::from(bytes.as_slice()), Body::from(bytes.clone())] {
                assert_eq!(matches!(body, Body::Short { .. }), bytes.len() <= SHORT_BYTES_MAX);
                assert_eq!(body.as_slice(), bytes);
                assert_eq!(body.take_vec(vec![1; 30]), bytes);
            }
        }
    }

    #[test]
    fn values_are_encoded_as_postcard_does_it() {
        for len in 0..100_u8 {
            let value =
                (u64::from(len) << 56, "x".repeat(len.into()), (0..len).collect::<Vec<_>>());
            let body = Body::encode(&value).expect("plain data");
            assert_eq!(body.as_slice(), postcard::to_stdvec(&value).expect("plain data"));
            let body = Body::encode(&len).expect("plain data");
            assert_eq!(body.as_slice(), [len]);
        }
    }
}
