//! What outlives a run: a state in a file, which one process at a time uses.
//!
//! It is replaced as a whole, so that there is an old or a new one at any time, and what it names is on
//! the disk before it is.

mod file;
mod format;
mod saver;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::file::StateFile;
pub(crate) use self::saver::Saver;

/// What is saved.
pub(crate) trait State: Serialize + DeserializeOwned + Send + 'static {
    /// What every state of any version begins with.
    const NAME: &'static str;
    /// The newest version of its format.
    const VERSION: u64;
    /// What it is a state of, in words.
    const OF: &'static str;
    /// What is in the names of the files beside it: the next one while it is written, and the lock.
    const SUFFIX: &'static str;
}
