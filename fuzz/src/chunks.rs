//! Choices made of bytes.

/// Reads choices off the front of the bytes. At their end every choice is the first one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `end`, which is above zero. It takes no more bytes than that needs.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let mut number = 0;
        let mut most = end.saturating_sub(1);
        while most > 0 {
            number = number << 8 | u64::from(self.byte());
            most >>= 8;
        }
        number % end
    }

    /// The next `length` bytes, or as many as there are.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
