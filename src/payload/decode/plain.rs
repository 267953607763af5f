//! Types whose encoding needs no deserializer: numbers, which most answers of a range are, and lists of
//! bytes, which are one copy and not an element at a time.
//!
//! The compiler knows which branch is a type's, so the others pay nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::{Any, TypeId};

use chargehand_core::copy::copied;

/// Reads a value. `None` is for the deserializer to read, or to say why it cannot be read.
#[inline]
pub(super) fn read<T: 'static>(body: &[u8]) -> Option<T> {
    if is::<T, Vec<u8>>() {
        same(copied(bytes(body)?))
    } else if is::<T, Box<[u8]>>() {
        same(copied(bytes(body)?).into_boxed_slice())
    } else {
        let number = number::<T>(body)?;
        if is::<T, u64>() {
            same(number)
        } else if is::<T, i64>() {
            // The half always fits. (`cast_signed` is newer than the oldest Rust that this is built with.)
            let half = i64::from_ne_bytes((number >> 1).to_ne_bytes());
            same(if number & 1 == 0 { half } else { !half })
        } else if is::<T, u32>() {
            same(u32::try_from(number).ok()?)
        } else {
            same(u16::try_from(number).ok()?)
        }
    }
}

/// Returns whether [`read`] gives a value.
#[inline]
pub(in crate::payload) fn is_read<T: 'static>(body: &[u8]) -> bool {
    if is::<T, Vec<u8>>() || is::<T, Box<[u8]>>() {
        bytes(body).is_some()
    } else {
        is_number::<T>(body)
    }
}

#[inline]
fn is<T: 'static, U: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<U>()
}

/// Returns a value as the type that it has.
#[inline]
pub(in crate::payload) fn same<T: 'static, U: 'static>(value: T) -> Option<U> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any).downcast_mut::<Option<U>>().and_then(Option::take)
}

/// Returns the content of a list of bytes, which has its length in front.
#[inline]
fn bytes(body: &[u8]) -> Option<&[u8]> {
    match postcard::take_from_bytes::<&[u8]>(body) {
        Ok((bytes, [])) => Some(bytes),
        _ => None,
    }
}

/// Whether `T` is a type of numbers and a body one of them, and none so long that it may be too large.
#[inline]
fn is_number<T: 'static>(body: &[u8]) -> bool {
    let len_max = if is::<T, u64>() || is::<T, i64>() {
        9
    } else if is::<T, u32>() {
        4
    } else if is::<T, u16>() {
        2
    } else {
        return false;
    };
    if let Some(word) = word(body) {
        let unused = 64 - 8 * body.len();
        return body.len() <= len_max && word & (MORE >> unused) == MORE >> unused >> 8;
    }
    let Some((last, first)) = body.split_last() else { return false };
    *last < 0x80 && first.len() < len_max && first.iter().all(|byte| *byte >= 0x80)
}

/// Returns the number that a body [is](is_number): seven bits a byte, the lowest first.
#[inline]
fn number<T: 'static>(body: &[u8]) -> Option<u64> {
    is_number::<T>(body).then(|| match word(body) {
        Some(word) => joined(word),
        None => body.iter().rev().fold(0, |number, byte| number << 7 | u64::from(*byte & 0x7f)),
    })
}

/// The bit that says of each of eight bytes that another one follows.
const MORE: u64 = 0x8080_8080_8080_8080;

/// Returns a body of four to eight bytes as one number, the first byte lowest: all of it is looked at in
/// one go then. A height of a chain is that long, and a loop over its bytes was a tenth of what a task
/// takes here.
#[inline]
fn word(body: &[u8]) -> Option<u64> {
    if body.len() > 8 {
        return None;
    }
    let (first, last) = (body.first_chunk::<4>()?, body.last_chunk::<4>()?);
    let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
    // Bytes in the middle are in both.
    Some(u64::from(first) | u64::from(last) << (8 * (body.len() - 4)))
}

/// Returns the lower seven bits of each byte, side by side.
#[inline]
const fn joined(word: u64) -> u64 {
    let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
    word & 0x0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::payload::decode::{DecodeLimits, by_serde};

    fn alike<T: DeserializeOwned + Debug + PartialEq + 'static>(body: &[u8]) {
        let plain = read::<T>(body);
        assert_eq!(plain.is_some(), is_read::<T>(body), "{body:?}");
        if let Some(value) = plain {
            assert_eq!(
                Ok(value),
                by_serde(body, &DecodeLimits::new()).map(|(value, _)| value),
                "{body:?}"
            );
        }
    }

    #[test]
    fn what_is_read_is_what_the_deserializer_reads() {
        let some = [0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff];
        let mut bodies = vec![vec![]];
        for len in 1..12 {
            for first in some {
                for last in some {
                    let mut body = vec![first; len];
                    body[len - 1] = last;
                    bodies.push(body);
                }
            }
        }
        for body in bodies {
            alike::<u64>(&body);
            alike::<i64>(&body);
            alike::<Vec<u8>>(&body);
            alike::<Box<[u8]>>(&body);
            alike::<u32>(&body);
            alike::<u16>(&body);
            alike::<u8>(&body);
            assert!(!is_read::<String>(&body));
        }
    }

    #[test]
    fn what_postcard_encodes_is_read() {
        for power in 0..63 {
            for number in [(1_u64 << power) - 1, 1 << power] {
                let body = postcard::to_stdvec(&number).expect("a number");
                assert_eq!(read(&body), Some(number));
                for signed in [number.cast_signed(), -number.cast_signed()] {
                    let body = postcard::to_stdvec(&signed).expect("a number");
                    // Ten bytes are the deserializer's.
                    assert!(body.len() == 10 || read(&body) == Some(signed), "{signed}");
                }
            }
        }
        for len in [0, 1, 127, 128, 70_000] {
            let list = vec![0x80_u8; len];
            let body = postcard::to_stdvec(&list).expect("a list");
            assert!(read(&body) == Some(list.clone().into_boxed_slice()));
            assert!(read(&body) == Some(list));
        }
    }
}
