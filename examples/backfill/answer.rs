//! What a worker's answer says of a block.

use std::fmt;

use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::block::{Block, Hash};

/// An answer that says that a height is done, and may hold its block.
pub(crate) trait Answer: DeserializeOwned + Send + 'static {
    fn block(self) -> Option<Block>;
}

impl Answer for Block {
    fn block(self) -> Option<Block> {
        Some(self)
    }
}

/// What workers of the Go package and native ones answer: nothing at all, or a block.
#[derive(Debug)]
pub(crate) struct PerhapsBlock(Option<Block>);

impl Answer for PerhapsBlock {
    fn block(self) -> Option<Block> {
        self.0
    }
}

impl<'de> Deserialize<'de> for PerhapsBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(4, Parts).map(Self)
    }
}

/// The parts of a block, as postcard has them: one after the other.
struct Parts;

impl<'de> Visitor<'de> for Parts {
    type Value = Option<Block>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block, or nothing")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Option<Block>, A::Error> {
        // An answer without a single byte has not even the first part.
        let Ok(Some(number)) = parts.next_element::<u64>() else { return Ok(None) };
        let missing = || A::Error::custom("a part of the block is missing");
        let hash: Hash = parts.next_element()?.ok_or_else(missing)?;
        let parent: Hash = parts.next_element()?.ok_or_else(missing)?;
        let transactions = parts.next_element()?.ok_or_else(missing)?;
        Ok(Some(Block { number, hash, parent, transactions }))
    }
}
