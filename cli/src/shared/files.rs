//! Files without a name, and one name for each file.

use std::fmt::Write;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

/// How many names are tried for a file that is to have none. Nobody can guess even the first one.
const NAMES_MAX: u32 = 8;

/// Makes a file to write and to read again, in the temporary directory. It has no name any more, so
/// that it is gone with the last process that has it open.
pub(crate) fn nameless(purpose: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut tried = 0;
    loop {
        tried += 1;
        // Everybody can make files there: with a name that can be foreseen, somebody else could be first.
        let random = RandomState::new().build_hasher().finish();
        let name = format!("chargehand-{}-{random:016x}.{purpose}", process::id());
        let path = std::env::temp_dir().join(name);
        match options.open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES_MAX => {}
            Err(error) => return Err(error),
        }
    }
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
