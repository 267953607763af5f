//! Files without a name, and one name for each file.

use std::fmt::Write;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

/// Makes a file to write and to read again, in the temporary directory. It has no name any more, so
/// that it is gone with the last process that has it open.
pub(crate) fn nameless(purpose: &str) -> io::Result<File> {
    let name = format!("chargehand-{}.{purpose}", process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Returns the one absolute path of a file, which need not be there, but its folder must.
pub(crate) fn settled(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            Ok(folder(path).canonicalize()?.join(name))
        }
        result => result,
    }
}

/// Returns the folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes sure that what a folder holds is on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Nothing fails that writes into a string.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
