//! What the workers do: the SHA-256 of a block, and for as long as the request says.

use serde::Deserialize;
use sha2::{Digest, Sha256};

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
