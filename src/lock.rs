//! The one lock of the handles, the wakers and the driver.

use std::sync::{Mutex, PoisonError};

/// A value that several threads use in turn, each for a few instructions.
///
/// What is given to [`with`](Lock::with) must not wake anybody: a waker may run anything.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Lends the value to `work`, and nobody else meanwhile.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // A panic inside leaves a value that is valid at every point: so with all of ours.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
