//! The file of a state: read once, replaced often, and used by one manager at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{State, format};
use crate::shared::failure::Failure;
use crate::shared::files::{folder, settled};

/// A state's file. No other manager opens it while this is there.
#[derive(Debug)]
pub(crate) struct StateFile<S> {
    path: PathBuf,
    /// The folder that it is in.
    folder: File,
    /// A descriptor that is given up for a save where there is no other: links may have the rest.
    reserve: Option<File>,
    _lock: Lock,
    state: PhantomData<fn(S)>,
}

impl<S: State> StateFile<S> {
    /// Opens a state's file and reads what is in it: nothing, where there is no such file.
    pub(crate) fn open(path: &Path) -> Result<(Self, Option<S>), Failure> {
        let refused = |why: String| Failure::input(format!("--state {}: {why}", path.display()));
        let this = Self::lock(path).map_err(refused)?;
        let state = this.read().map_err(refused)?;
        Ok((this, state))
    }

    /// Returns the file's one absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the state in one step. It is on the disk when this returns. Where that fails, the
    /// one before is still there.
    pub(crate) fn replace(&mut self, state: &S) -> io::Result<()> {
        let bytes = format::encode(state)?;
        // Always the same name, so that one killed run after another leaves only one behind.
        let part = beside::<S>(&self.path, "part");
        let file = self.create(&part)?;
        let written = write(file, &bytes).and_then(|()| fs::rename(&part, &self.path));
        if self.reserve.is_none() {
            // The place of the file that was closed just now.
            self.reserve = self.folder.try_clone().ok();
        }
        written.inspect_err(|_| {
            // What it failed with is what counts; a full disk should not have to hold this as well.
            let _ = fs::remove_file(&part);
        })?;
        self.folder.sync_all()
    }

    fn create(&mut self, part: &Path) -> io::Result<File> {
        match File::create(part) {
            Err(error) if is_out_of_files(&error) && self.reserve.take().is_some() => {
                File::create(part)
            }
            result => result,
        }
    }

    fn lock(path: &Path) -> Result<Self, String> {
        let path = settled(path).map_err(|error| error.to_string())?;
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err("it is not a file".to_owned());
        }
        let lock = Lock::take(beside::<S>(&path, "lock"))?;
        let opened = File::open(folder(&path)).and_then(|folder| Ok((folder.try_clone()?, folder)));
        let (reserve, folder) = opened.map_err(|error| error.to_string())?;
        Ok(Self { path, folder, reserve: Some(reserve), _lock: lock, state: PhantomData })
    }

    fn read(&self) -> Result<Option<S>, String> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|error| error.to_string())?,
        };
        // What is none may be very long.
        let mut bytes = Vec::new();
        let name = Read::by_ref(&mut file).take(S::NAME.len() as u64).read_to_end(&mut bytes);
        if name.is_ok() && bytes == S::NAME.as_bytes() {
            file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        }
        name.map_err(|error| error.to_string())?;
        format::decode(&bytes).map(Some)
    }
}

/// Returns whether this process, or the whole system, has as many files open as it may.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .map(Errno::raw_os_error)
        .contains(&error.raw_os_error().unwrap_or(0))
}

fn write(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// What one manager at a time has. It is a file of its own, since the state's is replaced, and goes
/// away with this. That of a manager that was killed stays, free for the next one.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: PathBuf) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        loop {
            let options = OpenOptions::new().write(true).create(true).truncate(false).clone();
            let file = options.open(&path).map_err(text)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Err("another manager uses it now".to_owned()),
                result => result.map_err(|error| format!("it cannot be locked: {error}"))?,
            }
            // A manager that ended meanwhile has removed the file that was opened here.
            let held = file.metadata().map_err(text)?;
            if fs::metadata(&path).is_ok_and(|there| identity(&there) == identity(&held)) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It is locked until after this. One that stays behind does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Returns the path of a file that belongs to a state's.
fn beside<S: State>(path: &Path, purpose: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(format!(".{}-{purpose}", S::SUFFIX));
    path.into()
}
