//! What becomes of a task.

use crate::error::TaskError;
use crate::payload::Answer;

/// How one task ended, on its way from the driver to whoever waits for it.
pub(crate) type TaskResult = Result<Answer, TaskError>;
