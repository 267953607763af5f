//! The outcomes as JSON Lines.

use std::io;

use chargehand::TaskError;
use serde_json::{Value, json};

use crate::block::Block;
use crate::lines::Lines;

/// Writes one height's outcome.
pub(crate) fn write(
    output: &mut Lines,
    height: u64,
    outcome: &Result<Option<Block>, TaskError>,
) -> io::Result<()> {
    match outcome {
        Ok(block) => output.done(&line_of(height, block.as_ref()).to_string()),
        Err(error) => {
            output.failed(&json!({ "height": height, "error": error.to_string() }).to_string())
        }
    }
}

/// A worker of the Go package says that a height is done, and nothing of its block.
fn line_of(height: u64, block: Option<&Block>) -> Value {
    match block {
        None => json!({ "height": height, "done": true }),
        Some(block) => json!({
            "height": height,
            "hash": block.hash.to_string(),
            "parent": block.parent.to_string(),
            "transactions": block.transactions,
        }),
    }
}
