//! What a worker's Hello says of the tasks that it wants: from which queues, and how many in a time.

use super::extensions::{ExtensionsWriter, NoRoom};
use super::{Extensions, MessageError, QUEUES_EXTENSION, RATE_EXTENSION, check_name};

/// The most bytes that the names of queues take in a Hello, each with one more for its length.
pub const QUEUE_NAMES_BYTES_MAX: usize = 512;

/// The names of the queues that a worker serves, as its Hello has them: each with its length before it, in one
/// byte. A name is plain text, as that of a peer is, of 1 to [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX) bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueNames<'a> {
    /// Well formed.
    bytes: &'a [u8],
}

impl<'a> QueueNames<'a> {
    /// Takes the value of the extension. `None` where it is not laid out so, or longer than
    /// [`QUEUE_NAMES_BYTES_MAX`].
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = split_name(rest)?.1;
        }
        (bytes.len() <= QUEUE_NAMES_BYTES_MAX).then_some(Self { bytes })
    }

    /// Returns them, in their order. A worker that serves no queue names none.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (name, after) = split_name(rest)?;
            rest = after;
            Some(name)
        })
    }
}

/// Takes a name off the front.
fn split_name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(length.into())?;
    let name = core::str::from_utf8(name).ok().filter(|name| check_queue_name(name).is_ok())?;
    Some((name, rest))
}

/// Checks the name of a queue as a Hello carries it.
///
/// # Errors
/// Returns [`MessageError::NameTooLong`] or [`MessageError::NameNotPlain`]: choose another one. One without a
/// byte is not plain.
pub fn check_queue_name(name: &str) -> Result<(), MessageError> {
    if name.is_empty() {
        return Err(MessageError::NameNotPlain);
    }
    check_name(name)
}

impl<'a> Extensions<'a> {
    /// Returns the names of the queues that a worker's Hello says it serves; `None` where it serves all.
    pub fn queues(self) -> Option<QueueNames<'a>> {
        QueueNames::new(self.get(QUEUES_EXTENSION)?)
    }

    /// Returns how many tasks a worker's Hello says that it takes in a time, if it does: the nanoseconds
    /// between two of them, and how many it takes at once after a time without any.
    pub fn rate(self) -> Option<(u64, u32)> {
        let value = self.get(RATE_EXTENSION)?;
        let (interval, burst) = value.split_first_chunk()?;
        let burst = u32::from_le_bytes(burst.try_into().ok()?);
        Some((u64::from_le_bytes(*interval), burst.max(1)))
    }
}

impl ExtensionsWriter<'_> {
    /// Adds the names of the queues that a worker serves; without any it serves none.
    ///
    /// # Errors
    /// Returns [`NoRoom`] where the buffer has no room for them, one has no byte or more than 255, or all
    /// together have more than [`QUEUE_NAMES_BYTES_MAX`].
    pub fn add_queues<N: AsRef<str>>(
        &mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), NoRoom> {
        let mut value = [0; QUEUE_NAMES_BYTES_MAX];
        let mut length = 0;
        for name in names {
            let name = name.as_ref().as_bytes();
            let count = u8::try_from(name.len()).ok().filter(|&count| count > 0).ok_or(NoRoom)?;
            let end = length + 1 + name.len();
            let place = value.get_mut(length..end).ok_or(NoRoom)?;
            place[0] = count;
            place[1..].copy_from_slice(name);
            length = end;
        }
        self.add(QUEUES_EXTENSION, &value[..length])
    }

    /// Adds how many tasks a worker takes in a time: the nanoseconds between two of them, and how many it takes
    /// at once after a time without any.
    ///
    /// # Errors
    /// Returns [`NoRoom`] where the buffer has no room for it.
    pub fn add_rate(&mut self, interval_nanos: u64, burst: u32) -> Result<(), NoRoom> {
        let mut value = [0; 12];
        value[..8].copy_from_slice(&interval_nanos.to_le_bytes());
        value[8..].copy_from_slice(&burst.to_le_bytes());
        self.add(RATE_EXTENSION, &value)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::EXTENSIONS_BYTES_MAX;
    use super::*;

    fn names(value: &[u8]) -> Option<Vec<&str>> {
        QueueNames::new(value).map(|names| names.iter().collect())
    }

    #[test]
    fn names_of_queues_are_read_as_they_were_written() {
        let mut room = [0; EXTENSIONS_BYTES_MAX];
        let mut writer = ExtensionsWriter::new(&mut room);
        writer.add_queues(["tip", "archive"]).unwrap();
        writer.add_rate(40_000_000, 5).unwrap();
        let extensions = writer.finish();
        let value = b"\x06\x0c\x03tip\x07archive\x07\x0c\x00\x5a\x62\x02\0\0\0\0\x05\0\0\0";
        assert_eq!(extensions.as_bytes(), value);
        assert_eq!(extensions.queues().unwrap().iter().collect::<Vec<_>>(), ["tip", "archive"]);
        assert_eq!(extensions.rate(), Some((40_000_000, 5)));
        assert_eq!((Extensions::NONE.queues(), Extensions::NONE.rate()), (None, None));
    }

    #[test]
    fn none_is_none_and_what_is_not_laid_out_so_is_passed_over() {
        assert_eq!(names(b""), Some(Vec::new()));
        for value in [&b"\x00"[..], b"\x04tip", b"\x01\xff", b"\x01\n", b"\x03tip\x00"] {
            assert_eq!(names(value), None, "{value:?}");
        }
        let long = [b"\x40".as_slice(), &[b'a'; 64]].concat().repeat(8);
        assert_eq!(names(&long), None, "520 bytes");
        assert_eq!(names(&long[..455]).map(|names| names.len()), Some(7));
        let mut room = [0; EXTENSIONS_BYTES_MAX];
        let mut writer = ExtensionsWriter::new(&mut room);
        assert!(writer.add_queues([""]).is_err());
        assert!(writer.add_queues(core::iter::repeat_n("a".repeat(64), 8)).is_err());
        assert!(writer.add(RATE_EXTENSION, &[1; 11]).is_ok());
        assert_eq!(writer.finish().rate(), None);
    }
}
