//! What a worker says beside its answers, to managers that ask for it.

use super::codec::FieldReader;
use super::{HOLDING_KIND, Holding, MessageError, PROGRESS_KIND, Progress, TOOK_KIND, Took};

/// A message that a worker sends only to managers that have asked for it.
///
/// Managers refuse every [`Message`](super::Message) that they do not know, so none of these is one. Each goes only to
/// managers that carry its extension: see the messages themselves.
///
/// ```
/// use chargehand_core::TaskId;
/// use chargehand_core::message::{Aside, Message, MessageError, PROGRESS_BYTES_MAX, Progress};
///
/// let progress = Progress { task: TaskId::from_parts(7, 1), attempt: 1, done: 3, total: 10 };
/// let mut buffer = [0; PROGRESS_BYTES_MAX];
/// let frame = progress.encode(&mut buffer);
/// assert_eq!(Message::decode(frame), Err(MessageError::UnknownKind(10)));
/// assert_eq!(Aside::decode(frame), Ok(Aside::Progress(progress)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside<'a> {
    /// How far an attempt is.
    Progress(Progress),
    /// Which attempts the worker still holds of its last link.
    Holding(Holding<'a>),
    /// How long the handler of an attempt took.
    Took(Took),
}

impl<'a> Aside<'a> {
    /// Returns what a frame says that [`Message::decode`](super::Message::decode) does not know. Copies nothing.
    ///
    /// # Errors
    /// As `Message::decode`: [`MessageError::UnknownKind`] for a frame that is none of these messages either.
    pub fn decode(frame: &'a [u8]) -> Result<Self, MessageError> {
        let (&kind, rest) = frame.split_first().ok_or(MessageError::Empty)?;
        let fields = FieldReader { rest };
        match kind {
            PROGRESS_KIND => fields.whole(Progress::read).map(Self::Progress),
            HOLDING_KIND => Holding::of(rest).map(Self::Holding),
            TOOK_KIND => fields.whole(Took::read).map(Self::Took),
            _ => Err(MessageError::UnknownKind(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::{HELD_BYTES_MAX, Message, PROGRESS_BYTES_MAX, TOOK_BYTES_MAX};
    use super::*;
    use crate::id::TaskId;

    /// Checks that a frame is what postcard would write of `fields`, is read as `aside` and not as a message, and that
    /// no part of it and nothing longer is read.
    fn check(
        frame: &[u8],
        fields: &impl serde::Serialize,
        aside: Aside<'_>,
    ) -> Result<(), TestCaseError> {
        let expected = postcard::to_slice(fields, &mut [0; 64]).unwrap().to_vec();
        prop_assert_eq!(frame, expected);
        prop_assert_eq!(Aside::decode(frame), Ok(aside));
        prop_assert_eq!(Message::decode(frame), Err(MessageError::UnknownKind(frame[0])));
        for end in 1..frame.len() {
            prop_assert_eq!(Aside::decode(&frame[..end]), Err(MessageError::Truncated));
        }
        let longer: Vec<u8> = frame.iter().copied().chain([0]).collect();
        prop_assert_eq!(Aside::decode(&longer), Err(MessageError::TrailingBytes));
        Ok(())
    }

    proptest! {
        #[test]
        fn progress_is_read_as_it_was_written(
            (slot, generation, attempt) in any::<(u32, u32, u16)>(),
            (done, total) in any::<(u64, u64)>(),
        ) {
            let task = TaskId::from_parts(slot, generation);
            let progress = Progress { task, attempt, done, total };
            let fields = (PROGRESS_KIND, slot, generation, attempt, done, total);
            let mut buffer = [0; PROGRESS_BYTES_MAX];
            check(progress.encode(&mut buffer), &fields, Aside::Progress(progress))?;
        }

        #[test]
        fn a_time_is_read_as_it_was_written(
            (slot, generation, attempt) in any::<(u32, u32, u16)>(),
            micros in any::<u64>(),
        ) {
            let task = TaskId::from_parts(slot, generation);
            let took = Took::new(task, attempt, core::time::Duration::from_micros(micros));
            let fields = (TOOK_KIND, slot, generation, attempt, micros);
            let mut buffer = [0; TOOK_BYTES_MAX];
            check(took.encode(&mut buffer), &fields, Aside::Took(took))?;
        }

        #[test]
        fn any_bytes_are_refused_or_read_and_say_the_same_when_written_again(
            kind in PROGRESS_KIND..=TOOK_KIND,
            bytes: Vec<u8>,
        ) {
            let frame: Vec<u8> = [kind].into_iter().chain(bytes).collect();
            let Ok(aside) = Aside::decode(&frame) else { return Ok(()) };
            // A number may be longer than it needs to be, but says the same.
            let written = match aside {
                Aside::Progress(progress) => progress.encode(&mut [0; PROGRESS_BYTES_MAX]).to_vec(),
                Aside::Took(took) => took.encode(&mut [0; TOOK_BYTES_MAX]).to_vec(),
                Aside::Holding(holding) => {
                    prop_assert!(holding.iter().count() <= frame.len() / 3);
                    let mut buffer = std::vec![0; 1 + holding.iter().count() * HELD_BYTES_MAX];
                    Holding::encode(holding.iter(), &mut buffer).unwrap().to_vec()
                }
            };
            match (Aside::decode(&written), aside) {
                (Ok(Aside::Holding(again)), Aside::Holding(first)) => {
                    prop_assert!(again.iter().eq(first.iter()));
                }
                (again, aside) => prop_assert_eq!(again, Ok(aside)),
            }
        }
    }

    #[test]
    fn every_other_frame_is_none_of_these() {
        assert_eq!(Aside::decode(&[]), Err(MessageError::Empty));
        for kind in (0..PROGRESS_KIND).chain(TOOK_KIND + 1..=u8::MAX) {
            assert_eq!(Aside::decode(&[kind, 0, 0, 0]), Err(MessageError::UnknownKind(kind)));
        }
    }
}
