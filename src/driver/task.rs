//! What the driver keeps of a task while the scheduler has it.

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
    /// One of a range.
    Height { height: RangeHeight, job: u32 },
    /// One that somebody waits for.
    Request { body: Body, call: CallId, check: Check },
}
