//! Decodes what a peer sent, with limits to what a few bytes may become.
//!
//! Postcard's bytes say nothing of their type, so a peer may send any to a type that the user chose:
//! a list of lists a hundred thousand deep, 2^64 values that take no byte at all, or a byte for each
//! element that takes hundreds of bytes in memory. Serde tells a deserializer what it asks for as it
//! goes, and the type of each value is known there: so both depth and growth are counted here, on the
//! way from serde to postcard and back.

pub use self::limits::DecodeLimits;
use alloc::string::String;
use alloc::string::ToString;
use postcard::Error;
use serde::de::DeserializeOwned;

mod guard;
mod limits;
pub(in crate::payload) mod plain;
#[cfg(test)]
mod tests;

use self::guard::{Guarded, Reader};
use self::limits::{Count, Refusal};

/// Decodes all of a body. The error says why it is of another type, or which limit it would pass.
#[inline]
pub(crate) fn decode<T: DeserializeOwned + 'static>(
    body: &[u8],
    limits: &DecodeLimits,
) -> Result<T, String> {
    plain::read(body).map_or_else(|| by_serde(body, limits).map(|(value, _)| value), Ok)
}

/// Decodes all of a body, and returns with it what its value takes of memory, but for text and bytes,
/// which take no more than their encoding.
pub(crate) fn decode_measured<T: DeserializeOwned + 'static>(
    body: &[u8],
    limits: &DecodeLimits,
) -> Result<(T, usize), String> {
    plain::read(body).map_or_else(|| by_serde(body, limits), |value| Ok((value, size_of::<T>())))
}

fn by_serde<T: DeserializeOwned>(body: &[u8], limits: &DecodeLimits) -> Result<(T, usize), String> {
    let postcard = postcard::Deserializer::from_bytes(body);
    let mut reader = Reader { postcard, count: Count::new(limits, body.len()) };
    match T::deserialize(Guarded { reader: &mut reader, place: size_of::<T>() }) {
        Ok(value) => match reader.postcard.finalize() {
            Ok([]) => Ok((value, reader.count.grown.saturating_add(size_of::<T>()))),
            rest => Err(left_over(rest.map_or(0, <[u8]>::len), body.len())),
        },
        Err(error) => Err(misfit(&error, reader.count.refusal, limits, body.len())),
    }
}

fn left_over(rest: usize, len: usize) -> String {
    format!("{rest} of its {len} bytes are left over")
}

fn misfit(error: &Error, refusal: Option<Refusal>, limits: &DecodeLimits, len: usize) -> String {
    refusal.map_or_else(|| error.to_string(), |refusal| limits.refusal(refusal, len))
}
