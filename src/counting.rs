//! For tests: a waker that counts.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Waker;

/// How many times its wakers were woken.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    /// Makes two, each with a waker.
    pub(crate) fn two() -> ([Arc<Self>; 2], [Waker; 2]) {
        let counts = [(); 2].map(|()| Arc::new(Self::default()));
        let wakers = counts.each_ref().map(|count| Waker::from(Arc::clone(count)));
        (counts, wakers)
    }

    pub(crate) fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
