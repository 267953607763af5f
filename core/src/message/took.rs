//! How long an attempt took at its worker: a message for managers that ask for it.

use core::time::Duration;

use super::codec::{FieldReader, FieldWriter};
use super::{MessageError, TOOK_KIND};
use crate::id::TaskId;

/// The size of the buffer for [`Took::encode`]: none is longer.
pub const TOOK_BYTES_MAX: usize = 1 + 5 + 5 + 3 + 10;

/// A worker says how long the handler of an attempt took, just before it answers that.
///
/// No [`Message`](super::Message), since managers refuse those that they do not know: it goes to those only whose Hello
/// carries [`TOOK_EXTENSION`](super::TOOK_EXTENSION).
///
/// ```
/// use std::time::Duration;
/// use chargehand_core::TaskId;
/// use chargehand_core::message::{TOOK_BYTES_MAX, Took};
///
/// let took = Took::new(TaskId::from_parts(7, 1), 1, Duration::from_millis(30));
/// let mut buffer = [0; TOOK_BYTES_MAX];
/// assert_eq!(Took::decode(took.encode(&mut buffer)), Some(Ok(took)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Took {
    /// As in the request.
    pub task: TaskId,
    /// As in the request.
    pub attempt: u16,
    micros: u64,
}

impl Took {
    /// Makes that of an attempt.
    pub fn new(task: TaskId, attempt: u16, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self { task, attempt, micros }
    }

    /// Returns how long it took, in whole microseconds.
    pub const fn span(&self) -> Duration {
        Duration::from_micros(self.micros)
    }

    /// Writes it into `frame` and returns what was written, which is the whole frame.
    pub fn encode<'f>(&self, frame: &'f mut [u8; TOOK_BYTES_MAX]) -> &'f [u8] {
        let Self { task, attempt, micros } = *self;
        let mut writer = FieldWriter { head: frame, length: 0 };
        writer.bytes(&[TOOK_KIND]);
        for number in [task.slot(), task.generation(), attempt.into()] {
            writer.u32(number);
        }
        writer.u64(micros);
        writer.written()
    }

    /// Returns what a frame says that [`Message::decode`](super::Message::decode) does not know. `None` where it
    /// is not of this kind.
    ///
    /// # Errors
    /// The inner error says what is wrong with one that is of this kind, as `Message::decode` would.
    pub fn decode(frame: &[u8]) -> Option<Result<Self, MessageError>> {
        let rest = frame.strip_prefix(&[TOOK_KIND])?;
        Some(read(FieldReader { rest }))
    }
}

fn read(mut fields: FieldReader<'_>) -> Result<Took, MessageError> {
    let (task, attempt) = fields.attempt()?;
    let micros = fields.u64()?;
    if !fields.rest.is_empty() {
        return Err(MessageError::TrailingBytes);
    }
    Ok(Took { task, attempt, micros })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::message::Message;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_is_what_postcard_would_write(
            (slot, generation, attempt) in any::<(u32, u32, u16)>(),
            micros in any::<u64>(),
        ) {
            let task = TaskId::from_parts(slot, generation);
            let took = Took { task, attempt, micros };
            let mut buffer = [0; TOOK_BYTES_MAX];
            let frame = took.encode(&mut buffer);
            let fields = (TOOK_KIND, slot, generation, attempt, micros);
            let expected = postcard::to_slice(&fields, &mut [0; 64]).unwrap().to_vec();
            prop_assert_eq!(frame, expected);
            prop_assert_eq!(Took::decode(frame), Some(Ok(took)));
            prop_assert_eq!(Message::decode(frame), Err(MessageError::UnknownKind(TOOK_KIND)));
            for end in 1..frame.len() {
                prop_assert_eq!(Took::decode(&frame[..end]), Some(Err(MessageError::Truncated)));
            }
            let longer: Vec<u8> = frame.iter().copied().chain([0]).collect();
            prop_assert_eq!(Took::decode(&longer), Some(Err(MessageError::TrailingBytes)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut frame = std::vec![TOOK_KIND];
            frame.extend(bytes);
            if let Some(Ok(took)) = Took::decode(&frame) {
                let written = took.encode(&mut [0; TOOK_BYTES_MAX]).to_vec();
                prop_assert_eq!(Took::decode(&written), Some(Ok(took)));
            }
        }
    }

    #[test]
    fn another_message_is_none_of_this_kind_and_a_long_span_saturates() {
        for frame in [&[][..], &[5], &[10, 0], &[11, 0]] {
            assert_eq!(Took::decode(frame), None);
        }
        let took = Took::new(TaskId::from_parts(0, 0), 1, Duration::MAX);
        assert_eq!(took.span(), Duration::from_micros(u64::MAX));
    }
}
