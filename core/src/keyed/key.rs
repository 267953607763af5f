//! Keys, and the one function that everything is made of.

use core::fmt;

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 8;

pub(super) type HmacSha256 = Hmac<Sha256>;

/// A secret that a member and the other side of its links share.
///
/// It must be random: `openssl rand -hex 32` makes one. Nothing prints it, and its memory is
/// overwritten when it is dropped.
#[derive(Clone)]
pub struct SharedKey([u8; KEY_BYTES]);

impl SharedKey {
    /// Takes 32 random bytes.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads a key from 64 hexadecimal digits, with white space around them or none.
    ///
    /// # Errors
    /// Returns [`KeyError`] for anything else, and says nothing of what it was.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let digits = text.trim_ascii().as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return Err(KeyError);
        }
        let mut key = Self([0; KEY_BYTES]);
        for (byte, pair) in key.0.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = char::from(digit).to_digit(16).ok_or(KeyError)?;
                *byte = *byte << 4 | u8::try_from(value).map_err(|_| KeyError)?;
            }
        }
        Ok(key)
    }

    /// Returns what tells this key from another one of the same member. It is no secret, and the key does
    /// not follow from it.
    pub fn id(&self) -> KeyId {
        let code = mac(&self.0, &[b"chargehand key id"]);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&code[..KEY_ID_BYTES]);
        KeyId(id)
    }

    pub(super) fn begin(&self) -> HmacSha256 {
        begin(&self.0)
    }
}

impl Drop for SharedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

/// Tells keys of one member apart while one takes another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeyId(pub(super) [u8; KEY_ID_BYTES]);

/// A text that is no key: 64 hexadecimal digits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is 64 hexadecimal digits: `openssl rand -hex 32` makes one")
    }
}

impl core::error::Error for KeyError {}

/// Begins a code under a key of any kind.
pub(super) fn begin(key: &[u8; KEY_BYTES]) -> HmacSha256 {
    // Of HMAC's two ways to begin the one that cannot fail: a key is shorter than a block.
    let mut block = hmac::digest::Key::<HmacSha256>::default();
    block[..KEY_BYTES].copy_from_slice(key);
    let begun = HmacSha256::new(&block);
    block.zeroize();
    begun
}

/// Returns HMAC-SHA-256 of all parts, one after the other.
pub(super) fn mac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; 32] {
    finish(begin(key), parts)
}

pub(super) fn finish(mut begun: HmacSha256, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        begun.update(part);
    }
    begun.finalize().into_bytes().into()
}

/// Returns whether a code is right, in a time that does not depend on where it is wrong.
pub(super) fn is_right(key: &[u8; KEY_BYTES], message: &[u8], code: &[u8; 32]) -> bool {
    type Code = CtOutput<HmacSha256>;
    Code::new(mac(key, &[message]).into()) == Code::new((*code).into())
}
