//! A name of the other side.

use crate::message::NAME_BYTES_MAX;

/// The other side's name, kept without a heap.
#[derive(Clone)]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    length: u8,
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Self { bytes, length: u8::try_from(name.len()).expect("at most 64, it was checked") }
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.length)];
        core::str::from_utf8(bytes).expect("it was made of a text")
    }
}
