//! Where the driver leaves outcomes in batches and the stream finds them.
//!
//! A stream with one height in flight is woken for each, so both ends avoid what that repeats. The
//! driver keeps the stream's waker, and wakes it by reference. The stream waits from the moment that
//! it takes a batch: when it has returned all of it, it need not lock once more to learn that there is
//! nothing new.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::lock::Lock;
use crate::reply::TaskResult;

/// One height's outcome.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) height: u64,
    pub(crate) result: TaskResult,
}

impl Item {
    /// Reads the answer, once, or takes the error.
    #[inline]
    pub(super) fn read<A: DeserializeOwned + 'static>(&mut self) -> Result<A, TaskError> {
        match &mut self.result {
            Ok(answer) => answer.read(),
            Err(error) => Err(mem::replace(error, TaskError::Closed)),
        }
    }
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Giver {
    shared: Arc<Shared>,
    /// Whom to wake.
    waker: Waker,
}

/// The stream's end.
#[derive(Debug)]
pub(super) struct Taker {
    shared: Arc<Shared>,
    /// Whom the giver wakes, or will once it has looked.
    waker: Waker,
    /// The giver wakes for what it gives next.
    is_waiting: bool,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Lock<Inner>,
    /// There is something that the stream does not know. Changed with the lock only.
    has_news: AtomicBool,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is about something else")]
struct Inner {
    ready: Vec<Item>,
    /// How many the stream has taken since the driver last looked.
    taken: usize,
    /// The driver waits for the stream to take some.
    starved: bool,
    /// The stream waits for the driver to give some.
    waits: bool,
    /// Nothing more will come.
    ended: bool,
    /// The stream is gone.
    dropped: bool,
    /// The stream's waker, if it is another one than the giver has.
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
        mem::take(&mut self.starved)
    }
}

impl Giver {
    /// Hands over `batch`, which is left empty, and learns what the stream did. `starves` is asked
    /// whether the driver can do no more until the stream takes some: then that rings.
    #[inline]
    pub(crate) fn give(
        &mut self,
        batch: &mut Vec<Item>,
        starves: impl FnOnce(Taken) -> bool,
    ) -> Taken {
        let Shared { inner, has_news } = &*self.shared;
        let (taken, wakes, waker) = inner.with(|inner| {
            let fresh = !batch.is_empty() && !inner.dropped;
            if fresh {
                if inner.ready.is_empty() {
                    mem::swap(&mut inner.ready, batch);
                } else {
                    inner.ready.append(batch);
                }
                has_news.store(true, Ordering::Relaxed);
            }
            let taken = Taken { count: mem::take(&mut inner.taken), dropped: inner.dropped };
            inner.starved = starves(taken);
            (taken, fresh && mem::take(&mut inner.waits), inner.waker.take())
        });
        if !batch.is_empty() {
            // The stream is gone. Without the lock: the destructors are the user's.
            batch.clear();
        }
        self.wake(waker, wakes);
        taken
    }

    /// Ends the stream after what was given.
    pub(crate) fn end(&mut self) {
        let Shared { inner, has_news } = &*self.shared;
        let (wakes, waker) = inner.with(|inner| {
            inner.ended = true;
            has_news.store(true, Ordering::Relaxed);
            (mem::take(&mut inner.waits), inner.waker.take())
        });
        self.wake(waker, wakes);
    }

    /// Takes over another waker, and wakes.
    #[inline]
    fn wake(&mut self, another: Option<Waker>, wakes: bool) {
        if let Some(waker) = another {
            self.waker = waker;
        }
        if wakes {
            self.waker.wake_by_ref();
        }
    }
}

impl Taker {
    pub(super) fn new() -> Self {
        Self { shared: Arc::default(), waker: Waker::noop().clone(), is_waiting: false }
    }

    /// Makes the other end. There is to be one only.
    pub(super) fn giver(&self) -> Giver {
        Giver { shared: Arc::clone(&self.shared), waker: Waker::noop().clone() }
    }

    /// Takes all that lies ready into `batch`, which must be empty. `Ready(None)` if there is nothing
    /// and never will be. If the stream does not hold what it takes, but `releases` it at once, the
    /// answer is that of [`release`](Self::release).
    #[inline]
    pub(super) fn take(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Item>,
        releases: bool,
    ) -> Poll<Option<bool>> {
        let is_known = self.waker.will_wake(cx.waker());
        if is_known && self.is_waiting && !self.shared.has_news.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let another = if is_known { None } else { Some(self.change_waker(cx.waker())) };
        self.is_waiting = true;
        // Dropped without the lock.
        let mut former = None;
        let Shared { inner, has_news } = &*self.shared;
        inner.with(|inner| {
            inner.waits = true;
            has_news.store(inner.ended, Ordering::Relaxed);
            if another.is_some() {
                former = mem::replace(&mut inner.waker, another);
            }
            if inner.ready.is_empty() {
                return if inner.ended { Poll::Ready(None) } else { Poll::Pending };
            }
            mem::swap(&mut inner.ready, batch);
            Poll::Ready(Some(releases && inner.release(batch.len())))
        })
    }

    /// Returns a clone of the waker for the giver.
    #[cold]
    fn change_waker(&mut self, waker: &Waker) -> Waker {
        self.waker.clone_from(waker);
        waker.clone()
    }

    /// Notes that the stream holds `count` outcomes less. Returns whether the driver waits for that.
    pub(super) fn release(&self, count: usize) -> bool {
        self.shared.inner.with(|inner| inner.release(count))
    }

    /// Notes that the stream is gone. Returns whether the driver has to know.
    pub(super) fn leave(&self) -> bool {
        let (ended, left) = self.shared.inner.with(|inner| {
            inner.dropped = true;
            (inner.ended, mem::take(&mut inner.ready))
        });
        drop(left); // Without the lock, too.
        !ended
    }
}
