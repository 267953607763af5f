//! A file of outcomes, a line each, which a run that resumes goes on with.
//!
//! Lines of what is done are written as they come. Those of what failed come last, at the end of a run: a
//! run that resumes tries it again, and cuts these lines off before.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::files::{folder, nameless, settled, sync_folder};

const BUFFER_BYTES: usize = 1 << 16;
/// How much of the last line a mark has, from its end: enough to tell one file from another.
const TAIL_BYTES_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Lines {
    /// As it was named.
    path: PathBuf,
    file: BufWriter<Arc<File>>,
    /// Lines of what failed. There may be more of them than memory holds. It is open from the
    /// beginning: later there may be no descriptor left.
    failed: Option<BufWriter<File>>,
    mark: Mark,
    rest: Rest,
}

/// What the file still has behind the mark of this run. It may be refused yet, and then nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// The whole of a file that is overwritten. It goes as the run begins.
    Overwritten,
    /// What a run before this one wrote last. It goes once there is a line in its place, and a line that breaks off
    /// goes in the end.
    Earlier,
}

/// How far an output was written: what to know to go on with it later.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    /// Absolute. Empty where it is not known, and then there is nothing to resume.
    pub(crate) path: String,
    /// Of all lines of what is done, in bytes.
    length: u64,
    /// The last of these lines, or the end of a long one, without its newline: it tells whether the file is
    /// still the same.
    last_line: String,
}

impl Lines {
    /// Begins an output: one that can be resumed, where there is a state.
    pub(crate) fn begin(
        path: &Path,
        overwrites: bool,
        state: Option<&Path>,
    ) -> Result<Self, Failure> {
        let created = match state {
            None => Self::create(path, overwrites),
            Some(state) => Self::create_resumable(path, overwrites, state),
        };
        created.map_err(|error| cannot_write(path, &error))
    }

    /// Opens an output again. Whatever came behind the mark is cut off with the first new line.
    pub(crate) fn resume(mark: Mark) -> Result<Self, Failure> {
        let path = mark.path.clone();
        Self::reopen(mark).map_err(|error| cannot_write(Path::new(&path), &error))
    }

    /// Returns that a line cannot be written.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        Failure::run(format!("--out {}: it cannot be written: {error}", self.path.display()))
    }

    /// Creates an output. A file that is there already is overwritten only if `overwrites`.
    fn create(path: &Path, overwrites: bool) -> io::Result<Self> {
        let mark = Mark { path: String::new(), length: 0, last_line: String::new() };
        // An empty one is what a run leaves that was killed before its first line.
        let holds = |metadata: fs::Metadata| metadata.is_file() && metadata.len() > 0;
        let is_there = fs::metadata(path).is_ok_and(holds);
        if !overwrites && is_there {
            return Err(io::Error::other(
                "it is there already and is not overwritten without --force \
                 (the --state that it was begun with goes on with it)",
            ));
        }
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        Self::new(path, file, mark, if is_there { Rest::Overwritten } else { Rest::Nothing })
    }

    /// Creates an output that can be resumed, beside its state: it must be a file that can be cut
    /// off.
    fn create_resumable(path: &Path, overwrites: bool, state: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("it is not a file, so nothing can resume it"));
        }
        let settled = name(path)?;
        if Path::new(&settled) == state {
            return Err(io::Error::other("it is the same file as the state"));
        }
        let mut this = Self::create(path, overwrites)?;
        sync_folder(folder(Path::new(&settled)))?;
        this.mark.path = settled;
        Ok(this)
    }

    fn reopen(mark: Mark) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(&mark.path)?;
        let length = file.metadata()?.len();
        if length < mark.length {
            return Err(io::Error::other(format!(
                "it has {length} bytes, but {} were written",
                mark.length
            )));
        }
        let line = format!("{}\n", mark.last_line);
        let mut found = vec![0; line.len()];
        let is_same = mark.length == 0
            || mark.length.checked_sub(line.len() as u64).is_some_and(|at| {
                file.read_exact_at(&mut found, at).is_ok() && found == line.as_bytes()
            });
        if !is_same {
            return Err(io::Error::other("it is another file than the one that was written"));
        }
        (&file).seek(SeekFrom::Start(mark.length))?;
        Self::new(Path::new(&mark.path.clone()), file, mark, Rest::Earlier)
    }

    fn new(path: &Path, file: File, mark: Mark, rest: Rest) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, Arc::new(file));
        let failed = Some(BufWriter::new(nameless("failed")?));
        Ok(Self { path: path.to_owned(), file, failed, mark, rest })
    }

    /// Cuts off what is behind the mark of a run before this one. Nothing was written yet.
    fn cut(&mut self) -> io::Result<()> {
        if self.rest != Rest::Nothing {
            self.file.get_ref().set_len(self.mark.length)?;
            self.rest = Rest::Nothing;
        }
        Ok(())
    }

    /// Returns whether the file breaks off in the midst of a line.
    fn is_torn(&self) -> io::Result<bool> {
        let file = self.file.get_ref();
        let length = file.metadata()?.len();
        let mut last = *b"\n";
        if length > self.mark.length {
            file.read_exact_at(&mut last, length - 1)?;
        }
        Ok(last != *b"\n")
    }

    /// Writes a line of what is done.
    pub(crate) fn done(&mut self, line: &str) -> io::Result<()> {
        self.cut()?;
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        // Not before: a line that is there in part alone is behind the mark, where it is cut off.
        let from = line.len().saturating_sub(TAIL_BYTES_MAX);
        let tail = (from..line.len()).find(|&at| line.is_char_boundary(at));
        self.mark.last_line.clear();
        self.mark.last_line.push_str(&line[tail.unwrap_or(0)..]);
        self.mark.length += line.len() as u64 + 1;
        Ok(())
    }

    /// Writes a line of what failed.
    pub(crate) fn failed(&mut self, line: &str) -> io::Result<()> {
        self.cut()?;
        let failed = self.failed.as_mut().expect("nothing is written after the end");
        failed.write_all(line.as_bytes())?;
        failed.write_all(b"\n")
    }

    /// Hands all lines of what is done to the system. Returns how far that is, and the file: once its data
    /// is on the disk, so is everything up to the mark. Nothing refuses the run any more: what it overwrites is
    /// gone.
    pub(crate) fn flush(&mut self) -> io::Result<(Mark, Arc<File>)> {
        if self.rest == Rest::Overwritten {
            self.cut()?;
        }
        self.file.flush()?;
        Ok((self.mark.clone(), Arc::clone(self.file.get_ref())))
    }

    /// Writes the lines of what failed. Nothing is to be written after that.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.rest == Rest::Earlier && self.is_torn()? {
            self.cut()?;
        }
        if let Some(failed) = self.failed.take() {
            let mut failed = failed.into_inner().map_err(io::IntoInnerError::into_error)?;
            failed.rewind()?;
            io::copy(&mut failed, &mut self.file)?;
        }
        self.flush().map(drop)
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::input(format!("--out {}: {error}", path.display()))
}

/// Returns the one name of an output.
pub(crate) fn name(path: &Path) -> io::Result<String> {
    let settled = settled(path)?.into_os_string();
    settled.into_string().map_err(|_| io::Error::other("its path is not UTF-8"))
}
