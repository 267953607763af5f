//! What workers answer with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A block, as a worker answers with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    /// How many transactions it holds.
    pub(crate) transactions: u32,
}

/// A block's hash. Its text is `0x` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("\"{text}\" is not a hash");
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64).ok_or_else(bad)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(hash))
    }
}
