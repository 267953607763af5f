//! What a driver sends on a link once it is up.

use chargehand_core::TaskId;

/// A message that waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Request { task: TaskId, attempt: u16 },
    Cancel { task: TaskId, attempt: u16 },
    Ping,
}
