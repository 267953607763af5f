//! How far an attempt is: a message for managers that ask for it.

use super::codec::{FieldReader, FieldWriter};
use super::{MessageError, PROGRESS_KIND};
use crate::id::TaskId;

/// The size of the buffer for [`Progress::encode`]: none is longer.
pub const PROGRESS_BYTES_MAX: usize = 1 + 5 + 5 + 3 + 10 + 10;

/// A worker says how far an attempt is that it carries out.
///
/// It goes only to managers whose Hello carries [`PROGRESS_EXTENSION`](super::PROGRESS_EXTENSION), and is read by
/// [`Aside::decode`](super::Aside::decode).
///
/// ```
/// use chargehand_core::TaskId;
/// use chargehand_core::message::{Aside, PROGRESS_BYTES_MAX, Progress};
///
/// let progress = Progress { task: TaskId::from_parts(7, 1), attempt: 1, done: 3, total: 10 };
/// let mut buffer = [0; PROGRESS_BYTES_MAX];
/// assert_eq!(Aside::decode(progress.encode(&mut buffer)), Ok(Aside::Progress(progress)));
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
        writer.of_attempt(PROGRESS_KIND, task, attempt);
        writer.u64(done);
        writer.u64(total);
        writer.written()
    }

    /// Reads what follows its kind.
    pub(super) fn read(fields: &mut FieldReader<'_>) -> Result<Self, MessageError> {
        let (task, attempt) = fields.attempt()?;
        Ok(Self { task, attempt, done: fields.u64()?, total: fields.u64()? })
    }
}
