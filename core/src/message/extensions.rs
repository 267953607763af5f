//! What a message may carry beyond its fields: numbered values that a peer skips where it does not
//! know the number.

use core::fmt;

use super::codec::{FieldReader, FieldWriter};
use super::{EXTENSIONS_BYTES_MAX, MessageError, TraceContext};

/// The lowest id that is for private use. Those below are given out by this project.
pub const PRIVATE_EXTENSION: u16 = 0x4000;
/// In a Welcome: how long the manager waits for an attempt's answer, in milliseconds: four bytes, the
/// lowest first. In a Request: the same for this attempt alone.
pub const ATTEMPT_TIMEOUT_EXTENSION: u16 = 1;
/// In a Hello: the schema of the requests and answers, a text of at most [`SCHEMA_BYTES_MAX`] bytes. Two
/// sides that both send one, and not the same, part with [`Code::WrongSchema`](super::Code::WrongSchema).
pub const SCHEMA_EXTENSION: u16 = 2;
/// In a manager's Hello: it takes [`Progress`](super::Progress). The value is empty, and whatever else it is says
/// the same.
pub const PROGRESS_EXTENSION: u16 = 4;
/// In a worker's Hello: for how long it goes on with what it holds once the link breaks, in milliseconds: four
/// bytes, the lowest first. In the Welcome of a manager that waits for it: for how long it does, likewise, and
/// eight bytes that are the same whenever this manager welcomes this worker and another one never. The worker
/// then names what it still holds under these, in a [`Holding`](super::Holding).
pub const GRACE_EXTENSION: u16 = 5;
/// In a worker's Hello: the names of the queues that it serves, as [`QueueNames`](super::QueueNames). Without it, it
/// serves all.
pub const QUEUES_EXTENSION: u16 = 6;
/// In a worker's Hello: how many tasks it takes in a time, at most: eight bytes of nanoseconds between two of them
/// and four of how many it takes at once after a time without any, the lowest first.
pub const RATE_EXTENSION: u16 = 7;
/// In a worker's Hello: it takes trace contexts; the value is empty. In a Request to such a worker: the
/// [`TraceContext`] of the attempt.
pub const TRACE_EXTENSION: u16 = 8;
/// In a manager's Hello: it takes [`Took`](super::Took). The value is empty, and whatever else it is says the same.
pub const TOOK_EXTENSION: u16 = 9;
/// The longest schema in a Hello, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 64;

/// The numbered values that a message carries beyond its fields: as many times an id as a varint of
/// 16 bits, a length as a varint of 32 bits, and so many bytes.
///
/// A peer passes over the ids that it does not know. Where an id comes twice, the first one counts.
/// Reading costs time in proportion to the bytes, of which there are at most
/// [`EXTENSIONS_BYTES_MAX`]; they are not copied.
///
/// ```
/// use chargehand_core::message::{ExtensionsWriter, PRIVATE_EXTENSION};
///
/// let mut buffer = [0; 32];
/// let mut writer = ExtensionsWriter::new(&mut buffer);
/// writer.add(PRIVATE_EXTENSION, b"blue")?;
/// let extensions = writer.finish();
/// assert_eq!(extensions.get(PRIVATE_EXTENSION), Some(b"blue".as_slice()));
/// assert_eq!(extensions.get(PRIVATE_EXTENSION + 1), None);
/// # Ok::<(), chargehand_core::message::NoRoom>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Extensions<'a> {
    /// Well formed: all of it can be read.
    pub(super) bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// None.
    pub const NONE: Self = Self { bytes: &[] };

    /// Takes the bytes of a sequence of extensions, without a length before them.
    ///
    /// # Errors
    /// Returns [`MessageError::Truncated`] where the last one has no end,
    /// [`MessageError::BadValue`] where an id or a length is no number of its size, and
    /// [`MessageError::ExtensionsTooLong`] above [`EXTENSIONS_BYTES_MAX`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, MessageError> {
        if bytes.len() > EXTENSIONS_BYTES_MAX {
            return Err(MessageError::ExtensionsTooLong);
        }
        let mut rest = FieldReader { rest: bytes };
        while !rest.rest.is_empty() {
            rest.extension()?;
        }
        Ok(Self { bytes })
    }

    /// Returns whether there is none.
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes, as [`new`](Self::new) takes them.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the first one with this id.
    pub fn get(self, id: u16) -> Option<&'a [u8]> {
        self.iter().find_map(|(other, value)| (other == id).then_some(value))
    }

    /// Returns the first one with this id as a number of milliseconds, if it is one.
    #[inline]
    pub fn millis(self, id: u16) -> Option<u32> {
        if self.bytes.is_empty() {
            return None; // The common case.
        }
        self.get(id)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Returns the schema of a Hello, if there is one. What is no plain text of at most
    /// [`SCHEMA_BYTES_MAX`] bytes is none.
    pub fn schema(self) -> Option<&'a str> {
        let schema = core::str::from_utf8(self.get(SCHEMA_EXTENSION)?).ok()?;
        check_schema(schema).is_ok().then_some(schema)
    }

    /// Returns the trace context of a Request, if it has one. What is none is passed over.
    pub fn trace(self) -> Option<TraceContext> {
        if self.bytes.is_empty() {
            return None; // The common case.
        }
        TraceContext::from_bytes(self.get(TRACE_EXTENSION)?).ok()
    }

    /// Returns all of them, as id and value, in their order.
    pub const fn iter(self) -> ExtensionsIter<'a> {
        ExtensionsIter { rest: FieldReader { rest: self.bytes } }
    }
}

impl<'a> IntoIterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);
    type IntoIter = ExtensionsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Goes over [`Extensions`].
#[derive(Clone, Debug)]
pub struct ExtensionsIter<'a> {
    rest: FieldReader<'a>,
}

impl<'a> Iterator for ExtensionsIter<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Well formed, so that nothing but the end ends it.
        self.rest.extension().ok()
    }
}

impl core::iter::FusedIterator for ExtensionsIter<'_> {}

/// Puts [`Extensions`] together in a buffer of the caller's.
#[derive(Debug)]
pub struct ExtensionsWriter<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> ExtensionsWriter<'b> {
    /// Begins at the buffer's beginning. Of a buffer longer than [`EXTENSIONS_BYTES_MAX`] the rest
    /// is left alone.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        let length = buffer.len().min(EXTENSIONS_BYTES_MAX);
        Self { buffer: &mut buffer[..length], length: 0 }
    }

    /// Adds one.
    ///
    /// # Errors
    /// Returns [`NoRoom`] where the buffer has no room for it; those before stay as they are. Send
    /// without it, or make the buffer longer, up to [`EXTENSIONS_BYTES_MAX`].
    pub fn add(&mut self, id: u16, value: &[u8]) -> Result<(), NoRoom> {
        let length = u32::try_from(value.len()).map_err(|_| NoRoom)?;
        let before = varint_bytes(id.into()) + varint_bytes(length);
        if self.buffer.len() - self.length < value.len().saturating_add(before) {
            return Err(NoRoom);
        }
        let mut writer = FieldWriter { head: &mut *self.buffer, length: self.length };
        writer.u32(u32::from(id));
        writer.u32(length);
        writer.bytes(value);
        self.length = writer.length;
        Ok(())
    }

    /// Returns what was added.
    pub fn finish(self) -> Extensions<'b> {
        let Self { buffer, length } = self;
        Extensions { bytes: &buffer[..length] }
    }
}

/// Checks a schema as a Hello carries it.
///
/// # Errors
/// Returns [`MessageError::SchemaTooLong`] or [`MessageError::NameNotPlain`]: choose another one.
pub fn check_schema(schema: &str) -> Result<(), MessageError> {
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(MessageError::SchemaTooLong);
    }
    if schema.chars().any(char::is_control) {
        return Err(MessageError::NameNotPlain);
    }
    Ok(())
}

/// Returns how many bytes a varint takes.
const fn varint_bytes(value: u32) -> usize {
    (u32::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// An extension, or a message with its extensions, is longer than its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no room for an extension in its buffer: make it longer, up to the \
             {EXTENSIONS_BYTES_MAX} bytes that a message may carry"
        )
    }
}

impl core::error::Error for NoRoom {}
