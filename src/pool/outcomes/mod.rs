//! The outcomes of a range of heights or of a map's requests: a stream at the caller's end, batches
//! underneath.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use chargehand_core::ledger::Height;
use futures_core::Stream;

use crate::error::TaskError;
use crate::mailbox::batches::{Item, Taker, at_once};
use crate::mailbox::range::{LedgerOf, Options};
use crate::mailbox::{Mailbox, NewJob};
use crate::next::Next;
use crate::options::TaskOptions;
use crate::payload::Check;

mod heights;
mod reorder;
mod report;
pub(crate) mod requests;
mod source;

use self::reorder::Reorder;
use self::source::Track;
pub use self::{
    heights::Heights,
    report::{MapReport, Report},
    requests::{FromStream, IntoRequests, Pull, RawRequests, Requests, from_stream},
    source::Source,
};
pub use crate::mailbox::range::{Ledger, SignedLedger};

/// A stream of each height of a range, or each request of a map, with its outcome. Its type parameter `S` depends on
/// how it was made:
///
/// | made by | `S` |
/// |---|---|
/// | [`Pool::process`](crate::Pool::process) | [`Heights`] |
/// | [`Pool::process_signed`](crate::Pool::process_signed) | [`Heights<i64>`](Heights) |
/// | [`Pool::map`](crate::Pool::map) | [`Requests`] |
/// | [`Pool::map_raw`](crate::Pool::map_raw) | [`RawRequests`] |
///
/// Outcomes are returned as they arrive, or [in order](Outcomes::in_order). After a height failed the range goes on,
/// or [stops](Outcomes::stop_at_failure). Retries and all other options that single tasks have too are set on the
/// handle: [`Pool::with`](crate::Pool::with). What is said here of heights also holds for the requests of a map.
///
/// Memory is O(heights in flight): the driver starts new heights only as outcomes are taken from this stream. The
/// stream ends after the last height, or early if the pool stops or its driver is dropped, which
/// [`ledger`](Outcomes::ledger) and [`report`](Outcomes::report) show. Dropping the stream cancels the tasks in
/// flight. Any number of ranges and single calls can be under way in a pool; they take turns.
///
/// ```
/// # async fn save(height: u64, block: Vec<u8>) {}
/// # async fn f(pool: chargehand::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// let pool = pool.with(chargehand::TaskOptions::new().retries(3));
/// let mut blocks = pool.process::<Vec<u8>>(1..=20_000_000).in_order(4096);
/// while let Some((height, block)) = blocks.next().await {
///     match block {
///         Ok(block) => save(height, block).await,
///         Err(error) => eprintln!("height {height}: {error}"),
///     }
/// }
/// let report = blocks.report();
/// println!("{} done, {} failed", report.done, report.failed);
/// # Ok(()) }
/// ```
#[must_use = "a range starts when its stream is first polled"]
pub struct Outcomes<A, S: Track = Heights> {
    taker: Taker,
    /// What was taken from there and not yet returned, in reverse.
    batch: Vec<Item>,
    /// `None` where outcomes are returned as they come.
    reorder: Option<Reorder>,
    options: Options,
    source: S,
    own: Option<Arc<TaskOptions>>,
    mailbox: Arc<Mailbox>,
    check: Check,
    stage: StreamStage,
    answer: PhantomData<fn() -> A>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamStage {
    /// Not yet handed to the driver: that happens at the first poll.
    New,
    Running,
    /// Nothing more is returned.
    Over,
}

impl<A, H: Height> Outcomes<A, Heights<H>> {
    pub(crate) fn of_heights(
        ledger: LedgerOf<H>,
        mailbox: Arc<Mailbox>,
        own: Option<Arc<TaskOptions>>,
        check: Check,
    ) -> Self {
        let mut outcomes = Self::new(Heights::new(ledger), mailbox, own, check);
        outcomes.options.is_signed = H::from_index(0) < H::default();
        outcomes
    }

    /// Returns which heights are done or failed so far: all those that the stream has returned. To resume after a
    /// crash, store its [snapshot](chargehand_core::ledger::Ledger::snapshot) and pass it to
    /// [`Pool::process`](crate::Pool::process). A snapshot is `Serialize` and `Deserialize`, so any format will do:
    ///
    /// ```
    /// use chargehand::Ledger;
    /// use chargehand::core::ledger::{Snapshot, Span};
    ///
    /// # fn f(pool: chargehand::Pool, blocks: chargehand::Outcomes<u64>)
    /// #     -> Result<(), Box<dyn std::error::Error>> {
    /// let kept: String = serde_json::to_string(&blocks.ledger().snapshot())?;
    ///
    /// let snapshot: Snapshot<Vec<Span>> = serde_json::from_str(&kept)?;
    /// let ledger = Ledger::resume_growing(&snapshot, 1 << 20)?; // spans of 24 bytes, at most
    /// let blocks = pool.process::<u64>(ledger);
    /// # Ok(()) }
    /// ```
    pub fn ledger(&self) -> &LedgerOf<H> {
        &self.source.report().ledger
    }
}

impl<A, S: Track> Outcomes<A, S> {
    pub(crate) fn new(
        source: S,
        mailbox: Arc<Mailbox>,
        own: Option<Arc<TaskOptions>>,
        check: Check,
    ) -> Self {
        Self {
            taker: Taker::new(at_once(mailbox.ahead_max())),
            batch: Vec::new(),
            reorder: None,
            options: Options::default(),
            source,
            own,
            mailbox,
            check,
            stage: StreamStage::New,
            answer: PhantomData,
        }
    }

    /// Returns outcomes in ascending order of their heights. At most `reorder_max` heights (at least 1) are under way
    /// or wait for a lower one, so a slow height eventually holds up the others: choose a few times what all workers
    /// hold at once. Without this, outcomes are returned as they come.
    ///
    /// A stream that ends early ends before the first height without an outcome.
    ///
    /// # Panics
    /// If the stream was polled before.
    pub fn in_order(mut self, reorder_max: usize) -> Self {
        let reorder_max = reorder_max.max(1);
        self.reorder = Some(Reorder::new(&self.source, reorder_max));
        self.set(|options| (options.ahead_max, options.is_ordered) = (Some(reorder_max), true))
    }

    /// Limits how many heights are under way or untaken (at least 1) if outcomes are returned as they come. Default
    /// [`Builder::ahead_max`](crate::Builder::ahead_max). [`in_order`](Outcomes::in_order) has its own limit.
    ///
    /// # Panics
    /// If the stream was polled before.
    pub fn ahead(mut self, ahead_max: usize) -> Self {
        if self.options.is_ordered {
            return self;
        }
        let ahead_max = ahead_max.max(1);
        self.taker.set_at_once(at_once(ahead_max));
        self.set(|options| options.ahead_max = Some(ahead_max))
    }

    /// Starts no more heights once one has failed for good, and cancels those above it that are under way. Those
    /// below it are still finished and returned. In order, the failure is the last outcome of the stream. An answer
    /// of another type, which only the stream itself can detect, is the last outcome in any order. Without this, a
    /// range goes on.
    ///
    /// # Panics
    /// If the stream was polled before.
    pub fn stop_at_failure(self) -> Self {
        self.set(|options| options.stops = true)
    }

    fn set(mut self, change: impl FnOnce(&mut Options)) -> Self {
        assert!(self.stage == StreamStage::New, "a range's options are set before it is polled");
        change(&mut self.options);
        self
    }

    /// Returns a report of the range so far.
    pub fn report(&self) -> &S::Report {
        self.source.report()
    }

    fn start(&mut self) {
        if self.stage == StreamStage::New {
            self.stage = StreamStage::Running;
            let work = self.source.work();
            let (giver, options) = (self.taker.giver(), self.options);
            let check = self.check;
            self.mailbox.start(NewJob { work, giver, options, own: self.own.clone(), check });
        }
    }

    /// Takes what lies ready into the batch; `Ready(false)` when nothing more will come.
    #[inline]
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // Without an order they are the caller's at once.
        let releases = self.reorder.is_none();
        let is_new = self.batch.is_empty();
        let taken = self.taker.take(cx, &mut self.batch, releases);
        if self.taker.must_ring() {
            self.mailbox.ring();
        }
        let Some(rings) = ready!(taken) else { return Poll::Ready(false) };
        if rings {
            self.mailbox.ring();
        }
        if is_new {
            self.batch.reverse();
        }
        Poll::Ready(true)
    }

    /// Returns the next outcome in order, if it is there.
    fn item_in_order(&mut self) -> Option<Item> {
        let reorder = self.reorder.as_mut()?;
        let item = loop {
            if let Some(item) = reorder.pop(&self.source) {
                break Some(item);
            }
            let Some(item) = self.batch.pop() else { break None };
            reorder.push(item);
        };
        let released = reorder.released(item.is_none());
        self.release(released);
        item
    }

    /// Makes room for as many more heights.
    fn release(&self, count: usize) {
        if count > 0 && self.taker.release(count) {
            self.mailbox.ring();
        }
    }
}

impl<A, S: Track> Outcomes<A, S> {
    /// Ends the stream, and tells the driver to cancel what is under way.
    fn leave(&mut self) {
        let stage = mem::replace(&mut self.stage, StreamStage::Over);
        self.source.leave();
        if stage == StreamStage::Running && self.taker.leave() {
            self.mailbox.ring();
        }
    }
}

impl<A, S: Source<A>> Outcomes<A, S> {
    /// Returns the next height with its outcome, or `None` after the last one, like `StreamExt::next` for callers
    /// that do not import that trait. Dropping the future loses nothing: the next call returns the outcome.
    #[allow(clippy::should_implement_trait)] // It is awaited, as that of `StreamExt`.
    pub fn next(&mut self) -> Next<'_, Self> {
        Next(self)
    }

    /// Runs the range to its end, calls `on_outcome` for each height, and returns a report. Dropping the future
    /// cancels the tasks in flight.
    pub async fn each(
        mut self,
        mut on_outcome: impl FnMut(S::Request, Result<A, TaskError>),
    ) -> S::Report {
        while let Some((height, outcome)) = self.next().await {
            on_outcome(height, outcome);
        }
        self.source.take_report()
    }

    /// Returns the next height with its outcome, as far as the batch goes.
    fn next_ready(&mut self) -> Poll<Option<(S::Request, Result<A, TaskError>)>> {
        if self.reorder.is_none() {
            let is_at_hand = self.taker.at_hand(&self.batch) > 0;
            return if is_at_hand { self.next_of_batch() } else { Poll::Pending };
        }
        let Some(mut item) = self.item_in_order() else { return Poll::Pending };
        let result = S::read(&mut item, self.mailbox.decode_limits());
        self.noted(item.height, result)
    }

    /// As [`next_ready`](Self::next_ready), where they come in any order. As the stream returns it, which is not
    /// moved then: decision 0010.
    #[inline]
    fn next_of_batch(&mut self) -> Poll<Option<(S::Request, Result<A, TaskError>)>> {
        // It is read where it lies: to move it first costs more than to read it.
        let Some(item) = self.batch.last_mut() else { return Poll::Pending };
        let (height, result) = (item.height, S::read(item, self.mailbox.decode_limits()));
        self.batch.truncate(self.batch.len() - 1);
        self.noted(height, result)
    }

    #[inline]
    fn noted(
        &mut self,
        index: u64,
        result: Result<A, TaskError>,
    ) -> Poll<Option<(S::Request, Result<A, TaskError>)>> {
        Poll::Ready(Some(match result {
            Ok(answer) => (self.source.note_done(index), Ok(answer)),
            Err(error) => (self.note_failed(index, &error), Err(error)),
        }))
    }

    /// Notes a failure, and ends the stream if this was the last outcome.
    fn note_failed(&mut self, index: u64, error: &TaskError) -> S::Request {
        let request = self.source.note_failed(index, error);
        // Only here is an answer known to be of another type.
        let is_last = matches!(error, TaskError::Answer(_)) || self.reorder.is_some();
        if self.options.stops && is_last {
            self.leave();
        }
        request
    }
}

impl<A, S: Source<A>> Stream for Outcomes<A, S> {
    type Item = (S::Request, Result<A, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stage == StreamStage::Over {
            return Poll::Ready(None);
        }
        let Self { source, taker, mailbox, options, batch, .. } = &mut *self;
        let at_hand = taker.at_hand(batch);
        source.feed(cx, (taker, mailbox), options.ahead_max, at_hand);
        self.start();
        // Either returns it straight to whoever asks.
        let is_at_hand = self.reorder.is_none() && at_hand > 0;
        if is_at_hand { self.next_of_batch() } else { self.poll_more(cx) }
    }
}

impl<A, S: Source<A>> Outcomes<A, S> {
    /// As [`poll_next`](Stream::poll_next), where nothing is at hand. By itself, since that saves what it needs of
    /// the stack for every outcome.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Option<<Self as Stream>::Item>> {
        loop {
            let next = self.next_ready();
            if next.is_ready() {
                return next;
            }
            if !ready!(self.poll_batch(cx)) {
                self.stage = StreamStage::Over;
                return Poll::Ready(None);
            }
        }
    }
}

impl<A, S: Track> Unpin for Outcomes<A, S> {}

impl<A, S: Track> Drop for Outcomes<A, S> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<A, S: Track<Report: fmt::Debug>> fmt::Debug for Outcomes<A, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").field("report", self.source.report()).finish_non_exhaustive()
    }
}
