//! The outcomes of a range of heights: a stream at the caller's end, batches underneath.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use chargehand_core::heights::{Heights, Span};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::pool::{Mailbox, NewJob};
use crate::reply::{TaskResult, decode};

/// What is done of a range of heights: see [`Heights`].
pub type Ledger = Heights<Vec<Span>>;

/// One height's outcome.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) height: u64,
    pub(crate) result: TaskResult,
}

/// Where the driver leaves batches of outcomes and the stream finds them.
#[derive(Debug, Default)]
pub(crate) struct Exchange(Mutex<Inner>);

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

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock, and the state is valid at every point.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over `batch`, which is left empty, and learns what the stream did. `starves` is asked
    /// whether the driver can do no more until the stream takes some: then that rings.
    pub(crate) fn give(&self, batch: &mut Vec<Item>, starves: impl FnOnce(Taken) -> bool) -> Taken {
        let mut inner = self.lock();
        if inner.dropped {
            batch.clear();
        }
        let fresh = !batch.is_empty();
        if inner.ready.is_empty() {
            std::mem::swap(&mut inner.ready, batch);
        } else {
            inner.ready.append(batch);
        }
        let taken = Taken { count: std::mem::take(&mut inner.taken), dropped: inner.dropped };
        inner.starved = starves(taken);
        let waker = if fresh { inner.waker.take() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        taken
    }

    /// Ends the stream after what was given.
    pub(crate) fn end(&self) {
        let waker = {
            let mut inner = self.lock();
            inner.ended = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A stream of each height of a range with its outcome, in the order in which they come, made by
/// [`Pool::process`](crate::Pool::process).
///
/// Memory is O(heights in flight): the driver takes new heights only as outcomes are taken out
/// here. The stream ends after the last height, or early if the pool stops or its driver is
/// dropped; [`ledger`](Outcomes::ledger) tells. Dropping the stream cancels what is in flight.
pub struct Outcomes<A> {
    exchange: Arc<Exchange>,
    /// What was taken from the exchange and not yet returned, in reverse.
    batch: Vec<Item>,
    ledger: Ledger,
    mailbox: Arc<Mailbox>,
    /// Not yet handed to the driver: that happens at the first poll.
    new: bool,
    answer: PhantomData<fn() -> A>,
}

impl<A> Outcomes<A> {
    pub(crate) fn new(ledger: Ledger, mailbox: Arc<Mailbox>) -> Self {
        let exchange = Arc::new(Exchange::default());
        let answer = PhantomData;
        Self { exchange, batch: Vec::new(), ledger, mailbox, new: true, answer }
    }

    /// Returns what is done: every height that the stream has returned with `Ok`. Keep it
    /// somewhere safe to resume from it with [`Pool::process`](crate::Pool::process) after a crash.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn start(&mut self) {
        if self.new {
            self.new = false;
            let heights = self.ledger.clone();
            self.mailbox.start(NewJob { heights, exchange: Arc::clone(&self.exchange) });
        }
    }

    /// Takes the next batch. `Ready(false)` when nothing more will come.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.exchange.lock();
        if inner.ready.is_empty() {
            if inner.ended {
                return Poll::Ready(false);
            }
            match &mut inner.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        std::mem::swap(&mut inner.ready, &mut self.batch);
        inner.taken += self.batch.len();
        let starved = std::mem::take(&mut inner.starved);
        drop(inner);
        self.batch.reverse();
        if starved {
            self.mailbox.ring();
        }
        Poll::Ready(true)
    }
}

impl<A: DeserializeOwned> Stream for Outcomes<A> {
    type Item = (u64, Result<A, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.start();
        if self.batch.is_empty() {
            match self.poll_batch(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Item { height, result } = self.batch.pop().expect("a batch is never empty");
        let result = result.and_then(|body| decode(&body));
        if result.is_ok() {
            // A ledger that holds no more gaps leaves the height missing: a caller that resumes
            // does it again, which it must be ready for anyway.
            let _ = self.ledger.done(height);
        }
        Poll::Ready(Some((height, result)))
    }
}

impl<A> Unpin for Outcomes<A> {}

impl<A> Drop for Outcomes<A> {
    fn drop(&mut self) {
        let mut inner = self.exchange.lock();
        inner.dropped = true;
        inner.ready.clear();
        let ended = inner.ended;
        drop(inner);
        if !self.new && !ended {
            self.mailbox.ring();
        }
    }
}

impl<A> fmt::Debug for Outcomes<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}
