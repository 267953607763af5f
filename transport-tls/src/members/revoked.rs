//! The list of revoked members.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::file::MembersError;
use super::role::is_name;

/// A file that has changed so shortly ago may change again without looking so, for the system's clock has ticks; and
/// somebody may be at it, so that half of it is there.
const YOUNG: Duration = Duration::from_secs(2);
const LATELY: Duration = Duration::from_secs(1);

/// The list, as its file has it now.
#[derive(Default)]
pub(super) struct Revoked {
    /// `None` where there is none.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    list: List,
    /// When the file was looked at last.
    looked_at: Option<Instant>,
    /// What the file was when it was read, if it need not be read again until it is another.
    stamp: Option<Stamp>,
}

#[derive(Default)]
struct List {
    names: HashSet<Box<str>>,
    serials: HashSet<Box<[u8]>>,
}

/// What tells a file that has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    file: (u64, u64, i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            modified: file.modified().ok(),
            length: file.len(),
            #[cfg(unix)]
            file: (file.dev(), file.ino(), file.ctime(), file.ctime_nsec()),
        }
    }

    fn is_young(self) -> bool {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.is_none_or(|age| age < YOUNG)
    }
}

impl Revoked {
    pub(super) fn read(path: &Path) -> Result<Self, MembersError> {
        // Before the text: if it changes in between, it is read again.
        let stamp = fs::metadata(path).map_err(|error| MembersError::io(path, error))?;
        if is_open_to_all(&stamp) {
            return Err(MembersError::new(
                path,
                "anybody here may change it, and so take a name off the list: chmod o-w it",
            ));
        }
        let text = fs::read_to_string(path).map_err(|error| MembersError::io(path, error))?;
        let (list, problem) = List::of(&text);
        if let Some(problem) = problem {
            return Err(MembersError::new(path, problem));
        }
        let stamp = Some(Stamp::of(&stamp)).filter(|stamp| !stamp.is_young());
        Ok(Self {
            path: Some(path.to_owned()),
            state: Mutex::new(State { list, stamp, looked_at: None }),
        })
    }

    /// Returns whether a member is on the list, which is read again if it has changed.
    pub(super) fn has(&self, name: &str, serial: Option<&[u8]>) -> bool {
        let Some(path) = &self.path else { return false };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refresh(path);
        state.list.has(name, serial)
    }

    /// Returns the same of the list as it was within the last second: for looks at many links at once.
    pub(super) fn has_lately(&self, name: &str, serial: &[u8]) -> bool {
        let Some(path) = &self.path else { return false };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked_at.is_none_or(|at| at.elapsed() >= LATELY) {
            state.refresh(path);
        }
        state.list.has(name, Some(serial))
    }
}

impl State {
    /// Reads the file again where it has changed. A list that cannot be read, or not whole, or that anybody may
    /// change, lets nobody in who was refused before; nor does one that somebody may still be writing.
    fn refresh(&mut self, path: &Path) {
        self.looked_at = Some(Instant::now());
        let Ok(file) = fs::metadata(path) else { return };
        let stamp = Stamp::of(&file);
        if self.stamp == Some(stamp) {
            return;
        }
        let Ok(text) = fs::read_to_string(path) else { return };
        let (list, problem) = List::of(&text);
        let is_young = stamp.is_young();
        if is_young || problem.is_some() || is_open_to_all(&file) {
            self.list.names.extend(list.names);
            self.list.serials.extend(list.serials);
        } else {
            self.list = list;
        }
        self.stamp = (!is_young).then_some(stamp);
    }
}

#[cfg(unix)]
fn is_open_to_all(file: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(file) & 0o002 != 0
}

#[cfg(not(unix))]
fn is_open_to_all(_: &Metadata) -> bool {
    false
}

impl List {
    fn has(&self, name: &str, serial: Option<&[u8]>) -> bool {
        self.names.contains(name)
            || serial.is_some_and(|serial| self.serials.contains(without_zeros(serial)))
    }

    /// Reads a list, and says what is wrong with its first malformed line.
    fn of(text: &str) -> (Self, Option<String>) {
        let (mut list, mut problem) = (Self::default(), None);
        for (number, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let serial =
                entry.strip_prefix("serial").filter(|rest| rest.starts_with([' ', '\t', ':']));
            match serial.map(|digits| bytes_of(digits.trim_start_matches([' ', '\t', ':']))) {
                Some(Some(serial)) => {
                    list.serials.insert(without_zeros(&serial).into());
                }
                None if is_name(entry) => {
                    list.names.insert(entry.into());
                }
                _ => {
                    problem.get_or_insert_with(|| {
                        format!(
                            "line {}, \"{entry}\", is neither a member's name nor `serial` and hexadecimal \
                             digits",
                            number + 1
                        )
                    });
                }
            }
        }
        (list, problem)
    }
}

/// Reads hexadecimal digits, with colons between them or none.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits
        .chars()
        .filter(|digit| *digit != ':')
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let is_even = !digits.is_empty() && digits.len() % 2 == 0;
    is_even.then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// One number has one form.
fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}
