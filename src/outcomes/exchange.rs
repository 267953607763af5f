//! Where the driver leaves outcomes in batches and the stream finds them.

use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

use crate::lock::Lock;
use crate::reply::TaskResult;

/// One height's outcome.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) height: u64,
    pub(crate) result: TaskResult,
}

/// Where the driver leaves batches of outcomes and the stream finds them.
#[derive(Debug, Default)]
pub(crate) struct Exchange(Lock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ready: Vec<Item>,
    /// How many the stream has taken since the driver last looked.
    taken: usize,
    /// The driver waits for the stream to take some.
    starved: bool,
    /// Nothing more will come.
    ended: bool,
    /// The stream is gone.
    dropped: bool,
    waker: Option<Waker>,
}

/// What the driver learns when it leaves a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// How many outcomes the stream has taken since the last time.
    pub(crate) count: usize,
    /// The stream is gone.
    pub(crate) dropped: bool,
}

impl Inner {
    fn release(&mut self, count: usize) -> bool {
        self.taken += count;
        core::mem::take(&mut self.starved)
    }
}

impl Exchange {
    /// Hands over `batch`, which is left empty, and learns what the stream did. `starves` is asked
    /// whether the driver can do no more until the stream takes some: then that rings.
    #[inline]
    pub(crate) fn give(&self, batch: &mut Vec<Item>, starves: impl FnOnce(Taken) -> bool) -> Taken {
        let (taken, waker) = self.0.with(|inner| {
            let fresh = !batch.is_empty() && !inner.dropped;
            if fresh && inner.ready.is_empty() {
                core::mem::swap(&mut inner.ready, batch);
            } else if fresh {
                inner.ready.append(batch);
            }
            let taken = Taken { count: core::mem::take(&mut inner.taken), dropped: inner.dropped };
            inner.starved = starves(taken);
            (taken, if fresh { inner.waker.take() } else { None })
        });
        // Left if the stream is gone. Without the lock: the destructors are the user's.
        batch.clear();
        if let Some(waker) = waker {
            waker.wake();
        }
        taken
    }

    /// Ends the stream after what was given.
    pub(crate) fn end(&self) {
        let waker = self.0.with(|inner| {
            inner.ended = true;
            inner.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all that lies ready into `batch`, which must be empty. `Ready(None)` if there is nothing
    /// and never will be. If the stream does not hold what it takes, but `releases` it at once, the
    /// answer is that of [`release`](Self::release).
    #[inline]
    pub(super) fn take(
        &self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Item>,
        releases: bool,
    ) -> Poll<Option<bool>> {
        self.0.with(|inner| {
            if inner.ready.is_empty() {
                if inner.ended {
                    return Poll::Ready(None);
                }
                match &mut inner.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            core::mem::swap(&mut inner.ready, batch);
            Poll::Ready(Some(releases && inner.release(batch.len())))
        })
    }

    /// Notes that the stream holds `count` outcomes less. Returns whether the driver waits for that.
    pub(super) fn release(&self, count: usize) -> bool {
        self.0.with(|inner| inner.release(count))
    }

    /// Notes that the stream is gone. Returns whether the driver has to know.
    pub(super) fn leave(&self) -> bool {
        let (ended, left) = self.0.with(|inner| {
            inner.dropped = true;
            (inner.ended, core::mem::take(&mut inner.ready))
        });
        drop(left); // Without the lock, too.
        !ended
    }
}
