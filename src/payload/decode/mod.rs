//! Decodes what a peer sent, with limits to what a few bytes may become.
//!
//! Postcard's bytes say nothing of their type, so a peer may send any to a type that the user chose:
//! a list of lists a hundred thousand deep, 2^64 values that take no byte at all, or a byte for each
//! element that takes hundreds of bytes in memory. Serde tells a deserializer what it asks for as it
//! goes, and the type of each value is known there: so both depth and growth are counted here, on the
//! way from serde to postcard and back.

pub(crate) use self::check::Check;
use alloc::string::String;
use alloc::string::ToString;
use postcard::Error;
use serde::de::DeserializeOwned;

mod check;
mod guard;
pub(super) mod plain;
#[cfg(test)]
mod tests;

use self::guard::{Guarded, Reader};

/// How deep values may nest: options, enums, sequences and maps in each other.
const DEPTH_MAX: usize = 128;

/// What each level counts of [`NESTED_BYTES_MAX`].
const LEVEL_BYTES: usize = 512;

/// How large the values may be together that lie in each other, each behind a pointer.
const NESTED_BYTES_MAX: usize = DEPTH_MAX * LEVEL_BYTES;

/// How much memory a value may take however short its encoding is.
const GROWTH_BYTES_MIN: usize = 256 * 1024;

/// How much more memory it may take for each encoded byte.
const GROWTH_TIMES: usize = 32;

/// How many times a map's first entry is counted: the smallest map allocates room for that many.
const FIRST_ENTRY_TIMES: usize = 4;

/// The most elements that are announced to a collection, which may make room for them at once.
const HINT_MAX: usize = 1 << 16;

/// What a value takes as it is read.
#[derive(Debug)]
struct Limits {
    /// Bytes of its encoding.
    len: usize,
    /// Bytes of memory so far.
    grown: usize,
    /// What is left of [`NESTED_BYTES_MAX`] here.
    room: usize,
    refusal: Option<Refusal>,
}

/// The limit that a value would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Depth,
    Growth,
}

/// Decodes all of a body. The error says why it is of another type, or which limit it would pass.
#[inline]
pub(crate) fn decode<T: DeserializeOwned + 'static>(body: &[u8]) -> Result<T, String> {
    plain::read(body).map_or_else(|| by_serde(body).map(|(value, _)| value), Ok)
}

/// Decodes all of a body, and returns with it what its value takes of memory, but for text and bytes,
/// which take no more than their encoding.
pub(crate) fn decode_measured<T: DeserializeOwned + 'static>(
    body: &[u8],
) -> Result<(T, usize), String> {
    plain::read(body).map_or_else(|| by_serde(body), |value| Ok((value, size_of::<T>())))
}

fn by_serde<T: DeserializeOwned>(body: &[u8]) -> Result<(T, usize), String> {
    let postcard = postcard::Deserializer::from_bytes(body);
    let mut reader = Reader { postcard, limits: Limits::new(body.len()) };
    match T::deserialize(Guarded { reader: &mut reader, place: size_of::<T>() }) {
        Ok(value) => match reader.postcard.finalize() {
            Ok([]) => Ok((value, reader.limits.grown.saturating_add(size_of::<T>()))),
            rest => Err(left_over(rest.map_or(0, <[u8]>::len), body.len())),
        },
        Err(error) => Err(misfit(&error, reader.limits.refusal, body.len())),
    }
}

#[cold]
fn left_over(rest: usize, len: usize) -> String {
    format!("{rest} of its {len} bytes are left over")
}

#[cold]
fn misfit(error: &Error, refusal: Option<Refusal>, len: usize) -> String {
    match refusal {
        None => error.to_string(),
        Some(Refusal::Depth) => format!(
            "it nests deeper than {DEPTH_MAX} levels, or its nested values are larger than \
             {NESTED_BYTES_MAX} bytes together: choose a flatter type, or take the raw bytes"
        ),
        Some(Refusal::Growth) => format!(
            "its {len} bytes would take more than {} in memory, {GROWTH_BYTES_MIN} and \
             {GROWTH_TIMES} for each of them: choose a type with smaller elements, or take the raw \
             bytes",
            growth(len)
        ),
    }
}

/// Returns the most memory that a value of `len` encoded bytes may take.
const fn growth(len: usize) -> usize {
    len.saturating_mul(GROWTH_TIMES).saturating_add(GROWTH_BYTES_MIN)
}

impl Limits {
    const fn new(len: usize) -> Self {
        Self { len, grown: 0, room: NESTED_BYTES_MAX, refusal: None }
    }

    /// Counts `bytes` of memory.
    #[inline]
    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.grown = self.grown.saturating_add(bytes);
        if self.grown > growth(self.len) { Err(self.refuse(Refusal::Growth)) } else { Ok(()) }
    }

    /// Counts a level that nests. Whoever counts sets `room` back afterwards.
    #[inline]
    fn nest_level(&mut self) -> Result<(), Error> {
        let rest = self.room.checked_sub(LEVEL_BYTES);
        self.room = rest.ok_or_else(|| self.refuse(Refusal::Depth))?;
        Ok(())
    }

    /// Counts a value of that size that lies behind a pointer. Whoever counts sets `room` back
    /// afterwards.
    ///
    /// The stack has several copies of it while it is read. One alone may be as large as it likes:
    /// its user knows that it is, and only those that hold each other can be many.
    #[inline]
    fn nest(&mut self, size: usize) -> Result<(), Error> {
        let counted = size.saturating_mul(2).min(NESTED_BYTES_MAX / 2);
        let rest = self.room.checked_sub(counted);
        self.room = rest.ok_or_else(|| self.refuse(Refusal::Depth))?;
        Ok(())
    }

    #[cold]
    fn refuse(&mut self, refusal: Refusal) -> Error {
        self.refusal = Some(refusal);
        Error::SerdeDeCustom
    }
}
