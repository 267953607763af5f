//! What the driver keeps of a task while the scheduler has it.

use chargehand_core::Link;
use chargehand_core::message::Progress;

use crate::mailbox::calls::CallId;
use crate::payload::{Body, Check, RangeHeight};

/// What a task asks.
#[derive(Debug, Default)]
pub(crate) struct TaskEntry {
    pub(crate) payload: TaskPayload,
    /// The generation of its slot.
    pub(crate) generation: u32,
    /// The number that a worker in this process gave the attempt.
    pub(crate) run: u32,
}

const _: () = assert!(size_of::<TaskEntry>() <= 48);

#[derive(Debug, Default)]
pub(crate) enum TaskPayload {
    #[default]
    None,
    /// One of a range. The check is the range's, at hand: an answer's way to it is short.
    Height { height: RangeHeight, job: u32, check: Check },
    /// One that somebody has encoded.
    Request { body: Body, whose: Whose },
}

/// Who has the outcome of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// A caller, who waits for it.
    Call { call: CallId, check: Check },
    /// A map, which knows it by its place.
    Item { place: u32, job: u32 },
}

impl TaskPayload {
    /// Returns which call it is of.
    pub(crate) fn call(&self) -> Option<CallId> {
        match self {
            Self::Request { whose: Whose::Call { call, .. }, .. } => Some(*call),
            _ => None,
        }
    }

    /// Returns the range or map that it is of.
    pub(crate) fn job(&self) -> Option<u32> {
        match self {
            Self::Height { job, .. } | Self::Request { whose: Whose::Item { job, .. }, .. } => {
                Some(*job)
            }
            Self::Request { .. } | Self::None => None,
        }
    }
}

/// What was said of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgressNote {
    pub(crate) link: Link,
    pub(crate) progress: Progress,
}
