//! Whose keys are known here.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use chargehand_core::keyed::{KeyId, SharedKey};
use chargehand_core::message::check_name;

use crate::link::lock::Lock;

/// The keys of those who may come in, by their names: of workers, or of managers.
///
/// It is a handle, and its clones are the same list: what is changed holds for all links that begin from
/// then on. To look a key up takes time by the logarithm of how many names there are.
#[derive(Clone, Default)]
pub struct Keys(Arc<Lock<List>>);

#[derive(Default)]
struct List {
    named: BTreeMap<Box<str>, Vec<SharedKey>>,
    /// Those that prove any name.
    shared: Vec<SharedKey>,
}

impl List {
    fn find(&self, name: &str, id: KeyId) -> Option<&SharedKey> {
        let named = self.named.get(name).into_iter().flatten();
        named.chain(&self.shared).find(|key| key.id() == id)
    }
}

impl Keys {
    /// Makes an empty list: nobody comes in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a list with one key that proves any name: whoever has it can claim any name. For a
    /// worker with a single manager, or for a few members that trust each other.
    pub fn shared(key: SharedKey) -> Self {
        let keys = Self::new();
        keys.0.with(|list| list.shared.push(key));
        keys
    }

    /// Adds a key of a member: see [`insert`](Self::insert).
    ///
    /// # Errors
    /// As `insert`.
    pub fn with(self, name: &str, key: SharedKey) -> Result<Self, KeysError> {
        self.insert(name, key)?;
        Ok(self)
    }

    /// Adds a key of a member, beside others that it has: each of them is valid.
    ///
    /// # Errors
    /// Returns [`KeysError`] for a name that is not of 1 to 64 bytes or has a control character.
    pub fn insert(&self, name: &str, key: SharedKey) -> Result<(), KeysError> {
        if name.is_empty() || check_name(name).is_err() {
            return Err(KeysError { place: String::new(), what: What::Name });
        }
        self.0.with(|list| {
            let keys = list.named.entry(name.into()).or_default();
            if keys.iter().all(|known| known.id() != key.id()) {
                keys.push(key);
            }
        });
        Ok(())
    }

    /// Removes one key of a member, which comes in with its others only. Returns whether it was there. Links
    /// that are up by it end within some five seconds, and others stay.
    pub fn remove(&self, name: &str, id: KeyId) -> bool {
        self.0.with(|list| {
            let Some(keys) = list.named.get_mut(name) else { return false };
            let before = keys.len();
            keys.retain(|key| key.id() != id);
            let is_removed = keys.len() < before;
            if keys.is_empty() {
                list.named.remove(name);
            }
            is_removed
        })
    }

    /// Removes a member with all its keys: it is refused from then on. Returns whether it was there. Its links
    /// that are up end within some five seconds.
    pub fn remove_member(&self, name: &str) -> bool {
        self.0.with(|list| list.named.remove(name)).is_some()
    }

    /// Reads a list from a text: a name and a key of 64 hexadecimal digits in each line, with white space
    /// between, where the key is the last word. A name that is there twice has both keys. What is empty or
    /// begins with `#` is passed over.
    ///
    /// # Errors
    /// Returns [`KeysError`] with the line's number, and nothing of what is in it.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let keys = Self::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what| KeysError { place: format!("line {number}: "), what };
            let (name, key) =
                line.rsplit_once(char::is_whitespace).ok_or_else(|| wrong(What::Line))?;
            let key = SharedKey::from_hex(key).map_err(|_| wrong(What::Key))?;
            keys.insert(name.trim_end(), key).map_err(|error| wrong(error.what))?;
        }
        Ok(keys)
    }

    /// Reads a list from a file, as [`parse`](Self::parse) says.
    ///
    /// # Errors
    /// Returns [`KeysError`] with the path and the line's number, and nothing of what is in it; also where others
    /// than its owner may read or change the file (on Unix: any right of others or of the group, but for
    /// reading by the group where the file is of user 0), with what to do.
    #[cfg(feature = "std")]
    pub fn read(path: impl AsRef<std::path::Path>) -> Result<Self, KeysError> {
        let path = path.as_ref();
        let text = String::from_utf8(read_secret(path)?);
        let text = text.map_err(|_| KeysError::unreadable(path, &"it is no text in UTF-8"))?;
        Self::parse(&text).map_err(|error| error.of_file(path))
    }

    /// Returns the key of that name and id.
    pub(super) fn find(&self, name: &str, id: KeyId) -> Option<SharedKey> {
        self.0.with(|list| list.find(name, id).cloned())
    }

    /// Returns whether there is a key of that name and id.
    pub(super) fn has(&self, name: &str, id: KeyId) -> bool {
        self.0.with(|list| list.find(name, id).is_some())
    }
}

/// Prints the names, and how many keys each has.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<(String, usize)> = self.0.with(|list| {
            let named = list.named.iter();
            named.map(|(name, keys)| ((**name).to_owned(), keys.len())).collect()
        });
        let shared = self.0.with(|list| list.shared.len());
        f.debug_struct("Keys").field("named", &names).field("shared", &shared).finish()
    }
}

/// Reads a key from a file that holds 64 hexadecimal digits, or just 32 bytes.
///
/// # Errors
/// Returns [`KeysError`] with the path, and nothing of what is in it; also where others than its owner may read
/// or change the file, as [`Keys::read`] says.
#[cfg(feature = "std")]
pub fn read_key(path: impl AsRef<std::path::Path>) -> Result<SharedKey, KeysError> {
    let path = path.as_ref();
    let bytes = read_secret(path)?;
    if let Ok(key) = <[u8; chargehand_core::keyed::KEY_BYTES]>::try_from(&*bytes) {
        return Ok(SharedKey::new(key));
    }
    let text = core::str::from_utf8(&bytes).unwrap_or_default();
    let wrong = |_| KeysError { place: String::new(), what: What::Key }.of_file(path);
    SharedKey::from_hex(text).map_err(wrong)
}

/// Reads a file that has keys, unless others can as well.
#[cfg(feature = "std")]
fn read_secret(path: &std::path::Path) -> Result<Vec<u8>, KeysError> {
    use std::io::Read;

    let failed = |error: std::io::Error| KeysError::unreadable(path, &error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    if let Some(mode) = open_to_others(&file.metadata().map_err(failed)?) {
        let problem = format!(
            "it has a key, and others than its owner may read or change it (mode {mode:03o}): chmod 600 it. If \
             somebody may have read it, change the keys"
        );
        return Err(KeysError::unreadable(path, &problem));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Returns a file's mode where others than its owner can use it: the rule of join files (decision 0029).
#[cfg(all(feature = "std", unix))]
fn open_to_others(file: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let mode = file.mode() & 0o777;
    let others = if file.uid() == 0 { 0o037 } else { 0o077 };
    (file.is_file() && mode & others != 0).then_some(mode)
}

#[cfg(all(feature = "std", not(unix)))]
fn open_to_others(_: &std::fs::Metadata) -> Option<u32> {
    None
}

/// A list of keys, or a key, that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysError {
    /// The path and the line, as far as there is one.
    place: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// The file is not there, no text, or open to others.
    #[cfg(feature = "std")]
    File(String),
    Line,
    Name,
    Key,
}

#[cfg(feature = "std")]
impl KeysError {
    fn unreadable(path: &std::path::Path, error: &impl fmt::Display) -> Self {
        use alloc::string::ToString;

        Self { place: String::new(), what: What::File(error.to_string()) }.of_file(path)
    }

    fn of_file(self, path: &std::path::Path) -> Self {
        Self { place: format!("{}: {}", path.display(), self.place), ..self }
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        match &self.what {
            #[cfg(feature = "std")]
            What::File(error) => f.write_str(error),
            What::Line => f.write_str("a line has a name and a key, with white space between"),
            What::Name => {
                f.write_str("a name has 1 to 64 bytes and no control character: choose another")
            }
            What::Key => {
                f.write_str("a key is 64 hexadecimal digits: `openssl rand -hex 32` makes one")
            }
        }
    }
}

impl Error for KeysError {}
