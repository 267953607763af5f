//! What a caller has done with an outcome, instead of waiting for it.

use alloc::boxed::Box;
use core::fmt;

use crate::mailbox::result::TaskResult;

/// What a caller wants done with an outcome.
pub(crate) struct Callback(Box<dyn FnOnce(TaskResult) + Send>);

/// A callback that is due, and what it is called with.
#[derive(Debug)]
pub(crate) struct Due {
    callback: Callback,
    result: TaskResult,
}

/// An outcome that nobody waits for.
#[derive(Debug)]
pub(crate) enum Unawaited {
    /// Nobody wants it. It is to be dropped without the lock.
    Unwanted(TaskResult),
    CallBack(Due),
}

impl Callback {
    pub(crate) fn new(callback: impl FnOnce(TaskResult) + Send + 'static) -> Self {
        Self(Box::new(callback))
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl Due {
    pub(crate) fn new(callback: Callback, result: TaskResult) -> Self {
        Self { callback, result }
    }

    /// Runs the user's code.
    pub(crate) fn call(self) {
        (self.callback.0)(self.result);
    }
}
