//! Files without a name.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::process;

/// Makes a file to write and to read again, in the temporary directory. It has no name any more, so
/// that it is gone with the last process that has it open.
pub(crate) fn nameless(purpose: &str) -> io::Result<File> {
    let name = format!("chargehand-backfill-{}.{purpose}", process::id());
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
