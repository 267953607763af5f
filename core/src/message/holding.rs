//! What a worker still holds that is back: a message for managers that ask for it.

use core::fmt;

use super::codec::{FieldReader, FieldWriter};
use super::{HOLDING_KIND, MessageError, NoRoom};
use crate::id::TaskId;

/// How many bytes of a [`Holding`] an attempt takes at most. The whole message is longer by one.
pub const HELD_BYTES_MAX: usize = 5 + 5 + 3;

/// A worker says over a new link which attempts it still has of its last one, once and before it answers any.
///
/// It goes only to managers whose Welcome carries [`GRACE_EXTENSION`](super::GRACE_EXTENSION), and is read by
/// [`Aside::decode`](super::Aside::decode).
///
/// ```
/// use chargehand_core::TaskId;
/// use chargehand_core::message::{Aside, HELD_BYTES_MAX, Holding};
///
/// let held = [(TaskId::from_parts(7, 1), 1), (TaskId::from_parts(9, 0), 3)];
/// let mut buffer = [0; 1 + 2 * HELD_BYTES_MAX];
/// let frame = Holding::encode(held, &mut buffer)?;
/// assert!(matches!(Aside::decode(frame), Ok(Aside::Holding(holding)) if holding.iter().eq(held)));
/// # Ok::<(), chargehand_core::message::NoRoom>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Holding<'a> {
    /// Well formed: all of it can be read.
    bytes: &'a [u8],
}

impl<'a> Holding<'a> {
    /// Writes one into `frame` and returns what was written, which is the whole frame.
    ///
    /// # Errors
    /// Returns [`NoRoom`] where the buffer may be too short: make it one byte and [`HELD_BYTES_MAX`] for each attempt.
    pub fn encode(
        held: impl IntoIterator<Item = (TaskId, u16)>,
        frame: &mut [u8],
    ) -> Result<&[u8], NoRoom> {
        let mut left = frame.len().checked_sub(1).ok_or(NoRoom)?;
        let mut writer = FieldWriter { head: frame, length: 0 };
        writer.bytes(&[HOLDING_KIND]);
        for (task, attempt) in held {
            left = left.checked_sub(HELD_BYTES_MAX).ok_or(NoRoom)?;
            writer.id_of_attempt(task, attempt);
        }
        Ok(writer.written())
    }

    /// Reads what follows its kind: walks it once, and copies nothing.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = FieldReader { rest: bytes };
        while !fields.rest.is_empty() {
            fields.attempt()?;
        }
        Ok(Self { bytes })
    }

    /// Returns the attempts that it names, in its order, as often as it names them.
    pub fn iter(self) -> impl Iterator<Item = (TaskId, u16)> + use<'a> {
        let mut fields = FieldReader { rest: self.bytes };
        // Well formed, so that nothing but the end ends it.
        core::iter::from_fn(move || fields.attempt().ok())
    }
}

impl fmt::Debug for Holding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::message::{Aside, Message};

    fn decode(frame: &[u8]) -> Result<Holding<'_>, MessageError> {
        match Aside::decode(frame)? {
            Aside::Holding(holding) => Ok(holding),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_every_part_of_it_is_refused_or_shorter(
            held: Vec<(u32, u32, u16)>,
        ) {
            let held = held.into_iter().map(|(slot, generation, attempt)| {
                (TaskId::from_parts(slot, generation), attempt)
            });
            let held: Vec<_> = held.collect();
            let mut buffer = vec![0; 1 + held.len() * HELD_BYTES_MAX];
            let frame = Holding::encode(held.iter().copied(), &mut buffer).unwrap().to_vec();
            let holding = decode(&frame).unwrap();
            prop_assert!(holding.iter().eq(held.iter().copied()));
            prop_assert_eq!(Message::decode(&frame), Err(MessageError::UnknownKind(HOLDING_KIND)));
            for end in 1..frame.len() {
                if let Ok(part) = decode(&frame[..end]) {
                    prop_assert!(part.iter().eq(held.iter().copied().take(part.iter().count())));
                }
            }
        }
    }

    #[test]
    fn a_buffer_that_may_be_too_short_is_refused() {
        let held = [(TaskId::from_parts(1, 1), 1); 2];
        assert_eq!(Holding::encode(held, &mut [0; 2 * HELD_BYTES_MAX]), Err(NoRoom));
        assert_eq!(Holding::encode([], &mut []), Err(NoRoom));
        assert_eq!(Holding::encode([], &mut [0]), Ok(&[HOLDING_KIND][..]));
    }
}
