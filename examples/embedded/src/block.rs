//! What the workers do: the SHA-256 of a block, and for as long as the request says.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::clock;

/// A request: a block, in postcard.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Block<'a> {
    /// Its height.
    pub height: u64,
    /// How long the work is to take at least. The sum is computed again and again until then, and
    /// once in any case.
    pub millis: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// Says what is wrong with it: answer that.
    pub fn from_request(request: &'a [u8]) -> Result<Self, &'static str> {
        postcard::from_bytes(request).map_err(|_| "the request is no block")
    }

    /// Returns the SHA-256 of the bytes.
    pub fn sum(&self) -> [u8; 32] {
        Sha256::digest(self.bytes).into()
    }
}

/// Answers with the SHA-256 of a block, after as long as it is to take: the handler of workers that do nothing
/// else meanwhile.
///
/// # Errors
/// The request is no block, or the answer has no room for a sum.
pub fn hash(request: &[u8], answer: &mut [u8]) -> Result<usize, &'static str> {
    let block = Block::from_request(request)?;
    let end = clock::millis() + u64::from(block.millis);
    let mut sum = block.sum();
    while clock::millis() < end {
        sum = block.sum();
    }
    let place = answer.get_mut(..sum.len()).ok_or("no room for the answer")?;
    place.copy_from_slice(&sum);
    Ok(sum.len())
}
