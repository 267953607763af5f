//! The outcomes of a range of heights: a stream at the caller's end, batches underneath.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::ops::RangeInclusive;
use core::pin::Pin;
use core::task::{Context, Poll};

use chargehand_core::heights::{Heights, Span};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::mailbox::{Mailbox, NewJob};
use crate::next::Next;
use crate::payload::Answer;
use crate::reply::TaskResult;

mod exchange;
mod reorder;
mod report;

pub(crate) use self::exchange::{Exchange, Item};
use self::reorder::Reorder;
pub use self::report::Report;

/// What is done of a range of heights: see [`Heights`].
pub type Ledger = Heights<Vec<Span>>;

/// How a range is done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Heights under way at most, where not as many as the pool says.
    pub(crate) ahead_max: Option<usize>,
    /// Retries of a failed height, where not as many as the pool says.
    pub(crate) retries_max: Option<u16>,
    /// Nothing is begun after a height that failed.
    pub(crate) stops: bool,
}

/// A stream of each height of a range with its outcome, made by
/// [`Pool::process`](crate::Pool::process).
///
/// Outcomes come as they arrive, or [in order](Outcomes::in_order). After a height that failed the
/// range goes on, or [stops](Outcomes::stop_at_failure), or tries it [again](Outcomes::retries)
/// before that.
///
/// Memory is O(heights in flight): the driver takes new heights only as outcomes are taken out
/// here. The stream ends after the last height, or early if the pool stops or its driver is
/// dropped; [`ledger`](Outcomes::ledger) and [`report`](Outcomes::report) tell. Dropping the stream
/// cancels what is in flight. Any number of ranges and single calls may be under way in a pool: they
/// take turns.
///
/// ```
/// # async fn save(height: u64, block: Vec<u8>) {}
/// # async fn f(pool: chargehand::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut blocks = pool.process::<Vec<u8>>(1..=20_000_000).in_order(4096).retries(3);
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
pub struct Outcomes<A> {
    exchange: Arc<Exchange>,
    /// What was taken from the exchange and not yet returned, in reverse.
    batch: Vec<Item>,
    /// `None` where outcomes are returned as they come.
    reorder: Option<Reorder>,
    options: Options,
    report: Report,
    mailbox: Arc<Mailbox>,
    stage: Stage,
    answer: PhantomData<fn() -> A>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not yet handed to the driver: that happens at the first poll.
    New,
    Running,
    /// Nothing more is returned.
    Over,
}

impl<A> Outcomes<A> {
    pub(crate) fn new(mut ledger: Ledger, mailbox: Arc<Mailbox>) -> Self {
        // What failed the last time is tried again.
        ledger.reopen();
        Self {
            exchange: Arc::new(Exchange::default()),
            batch: Vec::new(),
            reorder: None,
            options: Options::default(),
            report: Report::new(ledger),
            mailbox,
            stage: Stage::New,
            answer: PhantomData,
        }
    }

    /// Returns outcomes in ascending order of their heights. At most `reorder_max` heights (at
    /// least 1) are under way or wait here for a lower one, so a height that takes long holds up the
    /// others at last: choose a few times what all workers hold at once. Without this outcomes are
    /// returned as they come.
    ///
    /// Where the stream ends early, it does so before the first height without an outcome.
    ///
    /// # Panics
    /// If the stream was polled before.
    pub fn in_order(mut self, reorder_max: usize) -> Self {
        let reorder_max = reorder_max.max(1);
        self.reorder = Some(Reorder::new(&self.report.ledger, reorder_max));
        self.set(|options| options.ahead_max = Some(reorder_max))
    }

    /// Begins nothing new once a height has failed for good, and cancels those above it that are
    /// under way. Those below it still end and are returned. In order, the failure is the last thing
    /// that is returned, and so is an answer of another type in any order, since nobody but the
    /// stream sees that. Without this a range goes on.
    ///
    /// # Panics
    /// If the stream was polled before.
    pub fn stop_at_failure(self) -> Self {
        self.set(|options| options.stops = true)
    }

    /// Tries a height again up to `retries_max` times after its handler failed, each time
    /// `retry_delay` later. Without this it is what [`Config`](crate::core::Config) says:
    /// `retries_max`, 0 by default.
    ///
    /// # Panics
    /// If the stream was polled before.
    pub fn retries(self, retries_max: u16) -> Self {
        self.set(|options| options.retries_max = Some(retries_max))
    }

    fn set(mut self, change: impl FnOnce(&mut Options)) -> Self {
        assert!(self.stage == Stage::New, "a range's options are set before it is polled");
        change(&mut self.options);
        self
    }

    /// Returns what is known so far: every height that the stream has returned is done or failed
    /// here. Keep its [snapshot](Heights::snapshot) somewhere safe to resume from it with
    /// [`Pool::process`](crate::Pool::process) after a crash. A snapshot is `Serialize` and
    /// `Deserialize`, so any format will do:
    ///
    /// ```
    /// use chargehand::Ledger;
    /// use chargehand::core::heights::{Snapshot, Span};
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
    pub fn ledger(&self) -> &Ledger {
        &self.report.ledger
    }

    /// Returns what has become of the range so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn start(&mut self) {
        if self.stage == Stage::New {
            self.stage = Stage::Running;
            let heights = self.report.ledger.clone();
            let (exchange, options) = (Arc::clone(&self.exchange), self.options);
            self.mailbox.start(NewJob { heights, exchange, options });
        }
    }

    /// Returns the next outcome in the order that is asked for; `Ready(None)` when nothing more
    /// will come.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some(item) = self.ready_item() {
                return Poll::Ready(Some(item));
            }
            // Without an order they are the caller's at once.
            let releases = self.reorder.is_none();
            match self.exchange.take(cx, &mut self.batch, releases) {
                Poll::Ready(Some(rings)) => {
                    if rings {
                        self.mailbox.ring();
                    }
                    self.batch.reverse();
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn ready_item(&mut self) -> Option<Item> {
        let Some(reorder) = &mut self.reorder else { return self.batch.pop() };
        let item = loop {
            if let Some(item) = reorder.pop(&self.report.ledger) {
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
        if count > 0 && self.exchange.release(count) {
            self.mailbox.ring();
        }
    }

    /// Ends the stream, and tells the driver to cancel what is under way.
    fn leave(&mut self) {
        let stage = mem::replace(&mut self.stage, Stage::Over);
        if stage == Stage::Running && self.exchange.leave() {
            self.mailbox.ring();
        }
    }
}

impl<A: DeserializeOwned + 'static> Outcomes<A> {
    /// Returns the next height with its outcome, or `None` after the last one. As that of
    /// `StreamExt`, for callers without it. Dropping the future loses nothing: the outcome is
    /// returned by the next call.
    #[allow(clippy::should_implement_trait)] // It is awaited, as that of `StreamExt`.
    pub fn next(&mut self) -> Next<'_, Self> {
        Next(self)
    }

    /// Runs the range to its end, calls `on_outcome` for each height, and returns what became of
    /// it. Dropping the future cancels what is in flight.
    pub async fn each(mut self, mut on_outcome: impl FnMut(u64, Result<A, TaskError>)) -> Report {
        while let Some((height, outcome)) = self.next().await {
            on_outcome(height, outcome);
        }
        let empty = Report::new(Ledger::growing(RangeInclusive::new(1, 0), 0));
        mem::replace(&mut self.report, empty)
    }

    fn note(&mut self, height: u64, result: TaskResult) -> Result<A, TaskError> {
        let result = result.and_then(Answer::read);
        self.report.note(height, result.as_ref().err());
        let is_last = match &result {
            Ok(_) => false,
            // Only here is it known to be none.
            Err(TaskError::Answer(_)) => self.options.stops,
            Err(_) => self.options.stops && self.reorder.is_some(),
        };
        if is_last {
            self.leave();
        }
        result
    }
}

impl<A: DeserializeOwned + 'static> Stream for Outcomes<A> {
    type Item = (u64, Result<A, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stage == Stage::Over {
            return Poll::Ready(None);
        }
        self.start();
        match self.poll_item(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.stage = Stage::Over;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Item { height, result })) => {
                Poll::Ready(Some((height, self.note(height, result))))
            }
        }
    }
}

impl<A> Unpin for Outcomes<A> {}

impl<A> Drop for Outcomes<A> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<A> fmt::Debug for Outcomes<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").field("report", &self.report).finish_non_exhaustive()
    }
}
