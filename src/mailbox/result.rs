//! What becomes of a task.

use alloc::boxed::Box;

use crate::error::TaskError;
use crate::payload::Answer;

/// How one task ended, on its way from the driver to whoever waits for it. The error is boxed, so that this
/// is an answer's three words and is moved as such: decision 0010.
pub(crate) type TaskResult = Result<Answer, Box<TaskError>>;

const _: () = assert!(size_of::<TaskResult>() == size_of::<Answer>());
