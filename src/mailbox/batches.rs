//! Where the driver leaves outcomes in batches and the stream finds them.
//!
//! A stream with one height in flight is woken for each, so both ends avoid what that repeats. The
//! driver keeps the stream's waker, and wakes it by reference. The stream waits from the moment that
//! it takes a batch: when it has returned all of it, it need not lock once more to learn that there is
//! nothing new.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, Waker};

use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::link::lock::{AtomicBool, Lock, Ordering};
use crate::mailbox::result::TaskResult;
use crate::payload::Answer;
use crate::payload::{Body, DecodeLimits};

/// A batch up to this length keeps its memory while shorter ones follow.
const KEPT_ITEMS: usize = 1024;

/// Returns how many outcomes a stream takes at once at most, where `ahead_max` heights may be under way
/// or untaken. The first is returned right away; the others are buffered in the stream, where they no
/// longer count, so the driver has to leave room for them.
pub(crate) const fn at_once(ahead_max: usize) -> usize {
    if ahead_max < 32 { 1 } else { ahead_max / 8 }
}

/// The outcome of one height, or of one request of a map.
#[derive(Debug)]
pub struct Item {
    /// By its index. Requests are counted from 0.
    pub(crate) height: u64,
    pub(crate) result: TaskResult,
}

impl Item {
    pub(crate) const EMPTY: Self = Self { height: 0, result: Ok(Answer::EMPTY) };

    /// Reads the answer, once, or takes the error.
    #[expect(
        clippy::inline_always,
        reason = "an answer passed through memory stalls: decision 0010"
    )]
    #[inline(always)]
    pub(crate) fn read<A: DeserializeOwned + Send + 'static>(
        &mut self,
        limits: &DecodeLimits,
    ) -> Result<A, TaskError> {
        match &mut self.result {
            Ok(answer) => answer.read(limits),
            Err(error) => Err(mem::replace(&mut **error, TaskError::Closed)),
        }
    }

    /// Takes the answer's bytes, once, or the error.
    pub(crate) fn take_bytes(&mut self) -> Result<Vec<u8>, TaskError> {
        match &mut self.result {
            Ok(answer) => answer.take_bytes(Vec::new()),
            Err(error) => Err(mem::replace(&mut **error, TaskError::Closed)),
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
pub struct Taker {
    shared: Arc<Shared>,
    /// Whom the giver wakes, or will once it has looked.
    waker: Waker,
    /// The giver wakes for what it gives next.
    is_waiting: bool,
    /// The driver waits to hear that this end waits.
    must_ring: bool,
    /// How many outcomes are released at once, at most, where that is done as they are taken.
    at_once: usize,
    /// How many of those that were taken are still to be released: the last ones.
    held_back: usize,
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
    /// The driver wakes the stream for what it gives next. The stream may still return what it took.
    waits: bool,
    /// The stream has returned all that it took, and waits for more. Known for sure only while the
    /// driver is short of memory, since the stream does not tell otherwise.
    is_idle: bool,
    /// Nothing more will come.
    ended: bool,
    /// The stream is gone.
    dropped: bool,
    /// The stream's waker, if it is another one than the giver has.
    waker: Option<Waker>,
    /// What goes the other way, where it is a map.
    intake: Intake,
}

/// The requests of a map on their way to the driver, in order.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Each encoded, or why it cannot be sent.
    pub(crate) requests: VecDeque<Result<Body, TaskError>>,
    pub(crate) supply: Supply,
    /// No more are wanted.
    pub(crate) closed: bool,
    /// The driver is to be told of the next ones.
    pub(crate) is_hungry: bool,
}

/// What a map's source has left to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Supply {
    /// There may be more now.
    #[default]
    Flows,
    /// None now, and it will say when there is.
    Waits,
    /// None any more.
    Ended,
}

/// What a stream learns when it leaves requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover {
    /// The driver is to be told.
    pub(crate) rings: bool,
    /// No more are wanted.
    pub(crate) closed: bool,
}

/// What the driver learns when it leaves a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// How many outcomes the stream has taken since the last time.
    pub(crate) count: usize,
    /// The stream is gone.
    pub(crate) dropped: bool,
    /// The stream has returned all that it took, and waits for more.
    pub(crate) is_idle: bool,
}

/// Why the driver can give no more until a stream takes some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It can.
    Nothing,
    /// The range is as far ahead as it may be.
    Room,
    /// What the stream has not returned takes the memory.
    Memory,
}

impl Inner {
    fn release(&mut self, count: usize) -> bool {
        self.taken += count;
        mem::take(&mut self.starved)
    }
}

impl Giver {
    /// Hands over `batch`, which is left empty, and learns what the stream did. `need` sees that, and what
    /// the stream has left of a map, and is asked whether the driver can do no more until the stream
    /// takes some: then that rings.
    pub(crate) fn give(
        &mut self,
        batch: &mut Vec<Item>,
        need: impl FnOnce(Taken, &mut Intake) -> Need,
    ) -> Taken {
        let Shared { inner, has_news } = &*self.shared;
        let (mut wakes, mut another) = (false, None);
        let taken = inner.with(|inner| {
            if !batch.is_empty() && !inner.dropped {
                if inner.ready.is_empty() {
                    mem::swap(&mut inner.ready, batch);
                } else {
                    inner.ready.append(batch);
                }
                has_news.store(true, Ordering::Relaxed);
                wakes = mem::take(&mut inner.waits);
                inner.is_idle = false;
            }
            let Inner { dropped, is_idle, .. } = *inner;
            let taken = Taken { count: mem::take(&mut inner.taken), dropped, is_idle };
            let need = need(taken, &mut inner.intake);
            inner.starved = need != Need::Nothing;
            if need == Need::Memory && inner.waits && !is_idle {
                // It may have looked for more without saying so.
                has_news.store(true, Ordering::Relaxed);
                wakes = mem::take(&mut inner.waits);
            }
            if wakes {
                another = inner.waker.take();
            }
            taken
        });
        if !batch.is_empty() {
            // The stream is gone. Without the lock: the destructors are the user's.
            batch.clear();
        }
        self.wake(another, wakes);
        taken
    }

    /// Returns whether the stream has returned all that it took, and waits for more.
    pub(crate) fn is_awaited(&self) -> bool {
        self.shared.inner.with(|inner| inner.is_idle)
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
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            at_once,
            shared: Arc::default(),
            waker: Waker::noop().clone(),
            is_waiting: false,
            must_ring: false,
            held_back: 0,
        }
    }

    /// Sets how many outcomes are released at once, at most, where that is done as they are taken.
    pub(crate) fn set_at_once(&mut self, at_once: usize) {
        self.at_once = at_once;
    }

    /// Makes the other end. There is to be one only.
    pub(crate) fn giver(&self) -> Giver {
        Giver { shared: Arc::clone(&self.shared), waker: Waker::noop().clone() }
    }

    /// Returns how many of the batch's outcomes may be returned before the next [`take`](Self::take).
    #[inline]
    pub(crate) fn at_hand(&self, batch: &[Item]) -> usize {
        batch.len() - self.held_back
    }

    /// Takes what lies ready into `batch`, which must be empty but for what is held back. `Ready(None)` if there is
    /// nothing and never will be. If the stream does not hold what it takes, but `releases` it at once, the answer is that
    /// of [`release`](Self::release), and what is more than it may release stays in the batch until the next calls.
    pub(crate) fn take(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Item>,
        releases: bool,
    ) -> Poll<Option<bool>> {
        if self.held_back > 0 {
            let released = self.held_back.min(self.at_once);
            self.held_back -= released;
            return Poll::Ready(Some(self.release(released)));
        }
        if !self.waker.will_wake(cx.waker()) {
            self.change_waker(cx.waker());
        } else if self.is_waiting && !self.shared.has_news.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.is_waiting = true;
        let Shared { inner, has_news } = &*self.shared;
        inner.with(|inner| {
            inner.is_idle = false;
            inner.waits = true;
            has_news.store(inner.ended, Ordering::Relaxed);
            if inner.ready.is_empty() {
                inner.is_idle = true;
                self.must_ring = mem::take(&mut inner.starved);
                return if inner.ended { Poll::Ready(None) } else { Poll::Pending };
            }
            mem::swap(&mut inner.ready, batch);
            // What one burst took is not kept for all the short batches after it.
            if inner.ready.capacity() > KEPT_ITEMS && batch.len() < KEPT_ITEMS {
                inner.ready = Vec::new();
            }
            if releases {
                let released = batch.len().min(self.at_once);
                self.held_back = batch.len() - released;
                return Poll::Ready(Some(inner.release(released)));
            }
            // Otherwise the driver is to hear of it once all that is looked at, and nothing came of it.
            self.is_waiting = !inner.starved;
            Poll::Ready(Some(false))
        })
    }

    /// Returns whether the driver is to be told that this end waits, once.
    #[inline]
    pub(crate) fn must_ring(&mut self) -> bool {
        mem::take(&mut self.must_ring)
    }

    /// Leaves another waker for the giver.
    fn change_waker(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
        let mut another = Some(waker.clone());
        self.shared.inner.with(|inner| mem::swap(&mut inner.waker, &mut another));
        // What it replaces, if anything, is dropped without the lock.
        drop(another);
    }

    /// Notes that the stream holds `count` outcomes less. Returns whether the driver waits for that.
    pub(crate) fn release(&self, count: usize) -> bool {
        self.shared.inner.with(|inner| inner.release(count))
    }

    /// Leaves more requests of a map, of which there may be none, and says what comes after them. If no
    /// more are wanted, they stay where they are.
    pub(crate) fn leave_requests(
        &self,
        requests: &mut VecDeque<Result<Body, TaskError>>,
        supply: Supply,
    ) -> Handover {
        self.shared.inner.with(|inner| {
            let Inner { intake, ended: is_over, .. } = inner;
            intake.supply = supply;
            let closed = intake.closed || *is_over;
            let mut rings = supply == Supply::Ended && !closed;
            if !closed && !requests.is_empty() {
                intake.requests.append(requests);
                rings |= mem::take(&mut intake.is_hungry);
            }
            Handover { rings, closed }
        })
    }

    /// Notes that the stream is gone. Returns whether the driver has to know.
    pub(crate) fn leave(&self) -> bool {
        let (ended, left) = self.shared.inner.with(|inner| {
            inner.dropped = true;
            let requests = mem::take(&mut inner.intake.requests);
            (inner.ended, (mem::take(&mut inner.ready), requests))
        });
        drop(left); // Without the lock, too.
        !ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::Count;

    /// A waker, and how often it was woken.
    fn counted() -> (Waker, impl Fn() -> usize) {
        let count = Arc::new(Count::default());
        (Waker::from(Arc::clone(&count)), move || count.woken())
    }

    fn give(giver: &mut Giver, heights: impl IntoIterator<Item = u64>) -> Taken {
        let result = |height| Item { height, result: Err(TaskError::Cancelled.into()) };
        giver.give(&mut heights.into_iter().map(result).collect(), |_, _| Need::Nothing)
    }

    /// What the stream finds.
    fn take(taker: &mut Taker, waker: &Waker) -> Poll<Option<Vec<u64>>> {
        let mut batch = Vec::new();
        let taken = taker.take(&mut Context::from_waker(waker), &mut batch, true);
        taken.map(|some| some.map(|_| batch.iter().map(|item| item.height).collect()))
    }

    #[test]
    fn a_stream_waits_from_when_it_takes_a_batch_and_is_woken_once() {
        let mut taker = Taker::new(100);
        let mut giver = taker.giver();
        let (waker, woken) = counted();
        give(&mut giver, [1, 2]);
        assert_eq!(take(&mut taker, &waker), Poll::Ready(Some(vec![1, 2])));
        // It still returns these when more come.
        assert_eq!(give(&mut giver, [3]).count, 2);
        assert_eq!(give(&mut giver, [4]).count, 0);
        assert_eq!(woken(), 1);
        assert_eq!(take(&mut taker, &waker), Poll::Ready(Some(vec![3, 4])));
        assert_eq!(take(&mut taker, &waker), Poll::Pending);
        assert_eq!(take(&mut taker, &waker), Poll::Pending);
        assert_eq!(give(&mut giver, [5]).count, 2);
        assert_eq!(woken(), 2);
        assert_eq!(give(&mut giver, []).count, 0);
        assert_eq!(woken(), 2, "nothing came");
    }

    #[test]
    fn what_is_more_than_a_stream_takes_at_once_waits_and_is_not_released() {
        let mut taker = Taker::new(2);
        let mut giver = taker.giver();
        let (waker, _) = counted();
        give(&mut giver, 1..=5);
        let mut batch = Vec::new();
        for (heights, released) in [(vec![1, 2], 2), (vec![3, 4], 2), (vec![5], 1)] {
            let is_new = batch.is_empty();
            let taken = taker.take(&mut Context::from_waker(&waker), &mut batch, true);
            assert_eq!(taken, Poll::Ready(Some(false)));
            if is_new {
                batch.reverse();
            }
            assert_eq!(taker.at_hand(&batch), heights.len());
            let kept = batch.len() - heights.len();
            let at_hand: Vec<_> = batch.drain(kept..).rev().map(|item| item.height).collect();
            assert_eq!(at_hand, heights);
            assert_eq!(give(&mut giver, []).count, released);
        }
        assert_eq!(take(&mut taker, &waker), Poll::Pending);
    }

    #[test]
    fn a_driver_that_can_do_no_more_hears_that_a_stream_waits_which_releases_nothing() {
        let mut taker = Taker::new(100);
        let mut giver = taker.giver();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut batch = Vec::new();
        assert!(taker.take(cx, &mut batch, false).is_pending());
        let item = Item { height: 1, result: Err(TaskError::Cancelled.into()) };
        assert!(!giver.give(&mut vec![item], |_, _| Need::Room).is_idle);
        assert!(taker.take(cx, &mut batch, false).is_ready());
        assert!(!taker.must_ring(), "it has something to look at");
        for rings in [true, false] {
            assert!(taker.take(cx, &mut batch, false).is_pending());
            assert_eq!(taker.must_ring(), rings);
        }
        assert!(giver.is_awaited());
    }

    #[test]
    fn a_driver_short_of_memory_is_told_when_a_stream_has_returned_all_that_it_took() {
        let mut taker = Taker::new(100);
        let mut giver = taker.giver();
        let (waker, woken) = counted();
        let short = |giver: &mut Giver| giver.give(&mut Vec::new(), |_, _| Need::Memory).is_idle;
        give(&mut giver, [1]);
        assert!(take(&mut taker, &waker).is_ready());
        assert_eq!(take(&mut taker, &waker), Poll::Pending, "without a word");
        assert!(!short(&mut giver));
        assert_eq!(woken(), 1);
        assert_eq!(take(&mut taker, &waker), Poll::Pending);
        assert!(taker.must_ring());
        assert!(short(&mut giver));
        assert_eq!(woken(), 1, "that is known now");
    }

    #[test]
    fn the_waker_of_the_latest_poll_is_woken() {
        let mut taker = Taker::new(100);
        let mut giver = taker.giver();
        let ((first, woken_first), (second, woken_second)) = (counted(), counted());
        assert_eq!(take(&mut taker, &first), Poll::Pending);
        assert_eq!(take(&mut taker, &second), Poll::Pending);
        give(&mut giver, [1]);
        assert_eq!((woken_first(), woken_second()), (0, 1));
        assert_eq!(take(&mut taker, &first), Poll::Ready(Some(vec![1])));
        give(&mut giver, [2]);
        assert_eq!((woken_first(), woken_second()), (1, 1));
        assert_eq!(take(&mut taker, &first), Poll::Ready(Some(vec![2])));
        assert_eq!(take(&mut taker, &second), Poll::Pending, "nothing came, and another waits");
        giver.end();
        assert_eq!((woken_first(), woken_second()), (1, 2));
    }

    #[test]
    fn the_end_is_seen_after_all_that_was_given() {
        let mut taker = Taker::new(100);
        let mut giver = taker.giver();
        let (waker, woken) = counted();
        assert_eq!(take(&mut taker, &waker), Poll::Pending);
        give(&mut giver, [1]);
        giver.end();
        assert_eq!(woken(), 1);
        assert_eq!(take(&mut taker, &waker), Poll::Ready(Some(vec![1])));
        assert_eq!(take(&mut taker, &waker), Poll::Ready(None));
        assert_eq!(take(&mut taker, &waker), Poll::Ready(None));
    }

    #[test]
    fn what_is_given_to_a_stream_that_is_gone_is_dropped() {
        let mut taker = Taker::new(100);
        let mut giver = taker.giver();
        let (waker, woken) = counted();
        assert_eq!(take(&mut taker, &waker), Poll::Pending);
        assert!(taker.leave(), "the driver has to know");
        assert!(give(&mut giver, [1]).dropped);
        assert_eq!(woken(), 0);
        giver.end();
        assert!(!taker.leave());
    }
}
