//! The outcomes as JSON Lines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use chargehand::TaskError;
use serde_json::json;

use crate::block::Block;

#[derive(Debug)]
pub(crate) struct Output(BufWriter<File>);

impl Output {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(1 << 16, File::create(path)?)))
    }

    /// Writes one height's outcome.
    pub(crate) fn write(
        &mut self,
        height: u64,
        outcome: &Result<Block, TaskError>,
    ) -> io::Result<()> {
        let line = match outcome {
            Ok(block) => json!({
                "height": height,
                "hash": block.hash.to_string(),
                "parent": block.parent.to_string(),
                "transactions": block.transactions,
            }),
            Err(error) => json!({ "height": height, "error": error.to_string() }),
        };
        writeln!(self.0, "{line}")
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
