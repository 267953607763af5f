//! Which of many sources were woken: one waker for each source, made once, and one list of those
//! that are ready. Ten thousand idle links cost nothing, because nobody looks at them.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use futures_util::task::AtomicWaker;

use crate::lock::Lock;

/// The list of ready sources, and the waker of the task that works it off.
#[derive(Debug)]
pub(crate) struct ReadySet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parent: AtomicWaker,
    ready: Lock<Vec<u32>>,
}

/// One source's place in a [`ReadySet`].
#[derive(Debug)]
pub(crate) struct Entry {
    flag: Arc<Flag>,
    waker: Waker,
}

#[derive(Debug)]
struct Flag {
    token: u32,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl ReadySet {
    pub(crate) fn new() -> Self {
        let shared = Shared { parent: AtomicWaker::new(), ready: Lock::new(Vec::new()) };
        Self { shared: Arc::new(shared) }
    }

    /// Makes the entry of a source; `token` names it in every snapshot.
    pub(crate) fn entry(&self, token: u32) -> Entry {
        let queued = AtomicBool::new(false);
        let flag = Arc::new(Flag { token, queued, shared: Arc::clone(&self.shared) });
        Entry { waker: Waker::from(Arc::clone(&flag)), flag }
    }

    /// Sets whom to wake. Call it before [`snapshot`](Self::snapshot): what gets ready between the
    /// two is then either in the snapshot or wakes.
    pub(crate) fn register(&self, parent: &Waker) {
        self.shared.parent.register(parent);
    }

    /// Moves the ready tokens into `batch`, which must be empty. Take one snapshot for each poll,
    /// never one after the other until nothing is left: a runtime that meters its tasks wakes us
    /// at once to make us yield, and the loop would spin on that.
    pub(crate) fn snapshot(&self, batch: &mut Vec<u32>) {
        debug_assert!(batch.is_empty());
        self.shared.ready.with(|ready| core::mem::swap(batch, ready));
    }
}

impl Entry {
    /// Returns the waker to poll the source with.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Forgets that the source is ready. Call it before the source is polled, so that a wake during
    /// the poll counts.
    pub(crate) fn clear(&self) {
        // A swap and not a store: whoever found the flag set has put something where the poll that
        // follows must see it, so that poll must come after what they did.
        self.flag.queued.swap(false, Ordering::AcqRel);
    }

    /// Marks the source ready for somebody who looks at it without a wake. Returns whether it was
    /// not: otherwise its token is in the list, or was taken from there and not yet cleared.
    pub(crate) fn mark(&self) -> bool {
        !self.flag.queued.swap(true, Ordering::AcqRel)
    }

    /// Marks the source ready and wakes the parent.
    pub(crate) fn wake(&self) {
        self.waker.wake_by_ref();
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.shared.ready.with(|ready| ready.push(self.token));
            self.shared.parent.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(set: &ReadySet) -> Vec<u32> {
        let mut batch = Vec::new();
        set.snapshot(&mut batch);
        batch
    }

    #[test]
    fn a_source_is_listed_once_until_it_is_cleared() {
        let set = ReadySet::new();
        let (a, b) = (set.entry(7), set.entry(9));
        a.wake();
        b.waker().wake_by_ref();
        a.wake();
        assert_eq!(taken(&set), [7, 9]);
        a.wake();
        assert!(taken(&set).is_empty(), "still queued: it was not cleared");
        a.clear();
        a.wake();
        assert_eq!(taken(&set), [7]);
    }

    struct Count(Arc<core::sync::atomic::AtomicUsize>);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_wake_reaches_the_registered_parent() {
        let set = ReadySet::new();
        let parent = Arc::new(core::sync::atomic::AtomicUsize::new(0));
        set.register(&Waker::from(Arc::new(Count(Arc::clone(&parent)))));
        set.entry(0).wake();
        assert_eq!(parent.load(Ordering::SeqCst), 1);
    }
}
