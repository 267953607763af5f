//! How far an attempt is: a message for managers that ask for it.

use super::codec::{FieldReader, FieldWriter};
use super::{MessageError, PROGRESS_KIND};
use crate::id::TaskId;

/// The size of the buffer for [`Progress::encode`]: none is longer.
pub const PROGRESS_BYTES_MAX: usize = 1 + 5 + 5 + 3 + 10 + 10;

/// A worker says how far an attempt is that it carries out.
///
/// No [`Message`](super::Message), since managers refuse those that they do not know: it goes to those only whose
/// Hello carries [`PROGRESS_EXTENSION`](super::PROGRESS_EXTENSION).
///
/// ```
/// use chargehand_core::TaskId;
/// use chargehand_core::message::{PROGRESS_BYTES_MAX, Progress};
///
/// let progress = Progress { task: TaskId::from_parts(7, 1), attempt: 1, done: 3, total: 10 };
/// let mut buffer = [0; PROGRESS_BYTES_MAX];
/// assert_eq!(Progress::decode(progress.encode(&mut buffer)), Some(Ok(progress)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Progress {
    /// As in the request.
    pub task: TaskId,
    /// As in the request.
    pub attempt: u16,
    /// How much is done, in whatever unit the handler counts.
    pub done: u64,
    /// How much there is to do; 0 where that is not known.
    pub total: u64,
}

impl Progress {
    /// Writes it into `frame` and returns what was written, which is the whole frame.
    pub fn encode<'f>(&self, frame: &'f mut [u8; PROGRESS_BYTES_MAX]) -> &'f [u8] {
        let Self { task, attempt, done, total } = *self;
        let mut writer = FieldWriter { head: frame, length: 0 };
        writer.bytes(&[PROGRESS_KIND]);
        for number in [task.slot(), task.generation(), attempt.into()] {
            writer.u32(number);
        }
        writer.u64(done);
        writer.u64(total);
        writer.written()
    }

    /// Returns what a frame says that [`Message::decode`](super::Message::decode) does not know. `None` where it
    /// is not of this kind.
    ///
    /// # Errors
    /// The inner error says what is wrong with one that is of this kind, as `Message::decode` would.
    pub fn decode(frame: &[u8]) -> Option<Result<Self, MessageError>> {
        let rest = frame.strip_prefix(&[PROGRESS_KIND])?;
        Some(read(FieldReader { rest }))
    }
}

fn read(mut fields: FieldReader<'_>) -> Result<Progress, MessageError> {
    let (task, attempt) = fields.attempt()?;
    let (done, total) = (fields.u64()?, fields.u64()?);
    if !fields.rest.is_empty() {
        return Err(MessageError::TrailingBytes);
    }
    Ok(Progress { task, attempt, done, total })
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
            (done, total) in any::<(u64, u64)>(),
        ) {
            let task = TaskId::from_parts(slot, generation);
            let progress = Progress { task, attempt, done, total };
            let mut buffer = [0; PROGRESS_BYTES_MAX];
            let frame = progress.encode(&mut buffer);
            let fields = (PROGRESS_KIND, slot, generation, attempt, done, total);
            let expected = postcard::to_slice(&fields, &mut [0; 64]).unwrap().to_vec();
            prop_assert_eq!(frame, expected);
            prop_assert_eq!(Progress::decode(frame), Some(Ok(progress)));
            prop_assert_eq!(Message::decode(frame), Err(MessageError::UnknownKind(PROGRESS_KIND)));
            for end in 1..frame.len() {
                prop_assert_eq!(Progress::decode(&frame[..end]), Some(Err(MessageError::Truncated)));
            }
            let longer: Vec<u8> = frame.iter().copied().chain([0]).collect();
            prop_assert_eq!(Progress::decode(&longer), Some(Err(MessageError::TrailingBytes)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut frame = std::vec![PROGRESS_KIND];
            frame.extend(bytes);
            if let Some(Ok(progress)) = Progress::decode(&frame) {
                // A number may be longer than it needs to be, but says the same.
                let written = progress.encode(&mut [0; PROGRESS_BYTES_MAX]).to_vec();
                prop_assert_eq!(Progress::decode(&written), Some(Ok(progress)));
            }
        }
    }

    #[test]
    fn another_message_is_none_of_this_kind() {
        for frame in [&[][..], &[5], &[9, 0], &[11, 0]] {
            assert_eq!(Progress::decode(frame), None);
        }
    }
}
