//! The one lock of the handles, the wakers and the driver.

#[cfg(feature = "std")]
use std::sync::{Mutex, PoisonError};
#[cfg(not(feature = "std"))]
use {core::cell::RefCell, critical_section::Mutex};

/// What threads share beside a lock: from here, so that `tools/loom` can put its own in the place of both.
pub(crate) use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A value that is used in turn, each time for a few instructions: by threads, or on bare metal by
/// interrupts, which are held off meanwhile. Nobody ever spins for it.
///
/// What is given to [`with`](Lock::with) must not wake anybody: a waker may run anything.
#[derive(Debug)]
pub(crate) struct Lock<T>(Inner<T>);

#[cfg(feature = "std")]
type Inner<T> = Mutex<T>;
#[cfg(not(feature = "std"))]
type Inner<T> = Mutex<RefCell<T>>;

#[cfg(feature = "std")]
impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Lends the value to `work`, and to nobody else meanwhile.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // A panic inside leaves a value that is valid at every point: so with all of ours.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(not(feature = "std"))]
impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(RefCell::new(value)))
    }

    /// Lends the value to `work`, and to nobody else meanwhile.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|section| work(&mut self.0.borrow_ref_mut(section)))
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
