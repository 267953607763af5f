//! What a driver sends on a link once it is up.

use core::num::NonZeroU32;

use chargehand_core::TaskId;

/// A message that waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// With how many milliseconds the attempt has, where not as many as any other.
    Request {
        task: TaskId,
        attempt: u16,
        millis: Option<NonZeroU32>,
    },
    Cancel {
        task: TaskId,
        attempt: u16,
    },
    Ping,
}

// They are passed in registers.
const _: () = assert!(size_of::<Outgoing>() <= 16);

impl Outgoing {
    /// Whether it is the request of this attempt.
    pub(crate) fn asks(&self, attempt: (TaskId, u16)) -> bool {
        matches!(*self, Self::Request { task, attempt: number, .. } if (task, number) == attempt)
    }
}
