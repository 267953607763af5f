//! How long an attempt took at its worker: a message for managers that ask for it.

use core::time::Duration;

use super::codec::{FieldReader, FieldWriter};
use super::{MessageError, TOOK_KIND};
use crate::id::TaskId;

/// The size of the buffer for [`Took::encode`]: none is longer.
pub const TOOK_BYTES_MAX: usize = 1 + 5 + 5 + 3 + 10;

/// A worker says how long the handler of an attempt took, just before it answers that.
///
/// It goes only to managers whose Hello carries [`TOOK_EXTENSION`](super::TOOK_EXTENSION), and is read by
/// [`Aside::decode`](super::Aside::decode).
///
/// ```
/// use std::time::Duration;
/// use chargehand_core::TaskId;
/// use chargehand_core::message::{Aside, TOOK_BYTES_MAX, Took};
///
/// let took = Took::new(TaskId::from_parts(7, 1), 1, Duration::from_millis(30));
/// let mut buffer = [0; TOOK_BYTES_MAX];
/// assert_eq!(Aside::decode(took.encode(&mut buffer)), Ok(Aside::Took(took)));
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
        writer.of_attempt(TOOK_KIND, task, attempt);
        writer.u64(micros);
        writer.written()
    }

    /// Reads what follows its kind.
    pub(super) fn read(fields: &mut FieldReader<'_>) -> Result<Self, MessageError> {
        let (task, attempt) = fields.attempt()?;
        Ok(Self { task, attempt, micros: fields.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_span_saturates() {
        let took = Took::new(TaskId::from_parts(0, 0), 1, Duration::MAX);
        assert_eq!(took.span(), Duration::from_micros(u64::MAX));
    }
}
