//! The ledger of a range of heights: what is handed out, done, failed, and what is still missing.
//!
//! It remembers *spans*: neighbouring heights of which the same is known. So its memory goes with
//! the number of gaps and of heights in flight, and not with the length of the range: 24 bytes for
//! each span, in a buffer that is lent, an array, or a `Vec` that grows.
//!
//! ```
//! use chargehand_core::ledger::{Ledger, Span};
//!
//! let mut ledger = Ledger::new(100..=199, [Span::default(); 8]);
//! while let Some(height) = ledger.take_next()? {
//!     // Hand it out, and later note how it ended.
//!     if height == 151 { ledger.fail(height)? } else { ledger.complete(height)? };
//! }
//! assert_eq!(ledger.low_water(), Some(150));
//! assert_eq!(ledger.failed().collect::<Vec<_>>(), [151..=151]);
//!
//! // To resume later, keep a snapshot: it is `Serialize` and `Deserialize` (feature `serde`).
//! let kept = ledger.snapshot();
//! let mut resumed = Ledger::resume(&kept, [Span::default(); 8])?;
//! resumed.reopen();
//! assert_eq!(resumed.take_next()?, Some(151));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Heights are `u64` unless they are said to be `i64`: see [`Height`].
//!
//! # Limits
//!
//! A ledger holds as many spans as its buffer has room for. With F heights in flight, at most
//! F spans are kept free of them, so that whatever is handed out can also be noted as done, failed
//! or given back: those calls then never fail. [`Ledger::take_next`] says [`LedgerError::Saturated`]
//! where that could not be kept.

use core::fmt;
use core::ops::RangeInclusive;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

mod edit;
mod height;
mod iter;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::height::Height;
pub use self::iter::{Gaps, Marked};
pub use self::snapshot::{ResumeError, Snapshot};

/// What is known of a height. Nothing is known of one that is open: still to be handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Mark {
    /// It is handed out, and has not ended.
    #[default]
    InFlight,
    /// It is done.
    Done,
    /// It has ended without being done.
    Failed,
}

/// Neighbouring heights with the same mark, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Span<H = u64> {
    /// The lowest height.
    pub first: H,
    /// The highest height.
    pub last: H,
    /// What is known of all of them.
    pub mark: Mark,
}

const _: () = assert!(size_of::<Span>() == 24 && size_of::<Span<i64>>() == 24);

/// What became of each height of a range. See the [module](self).
#[derive(Clone)]
pub struct Ledger<B, H = u64> {
    /// The lowest and the highest height; `None` where the range is empty.
    range: Option<(H, H)>,
    /// The first `count` are in use: ascending, and no two of one mark touch.
    buffer: B,
    count: usize,
    totals: Totals,
    /// No height below is open.
    open_from: H,
    /// Lengthens a buffer that is full, up to that many spans, if it can.
    grow: fn(&mut B, usize) -> bool,
    spans_max: usize,
}

/// How many heights have which mark. A range of all `u64` has one height more than fits into `u64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    done: u128,
    failed: u128,
    in_flight: u128,
    /// How many spans those in flight take now.
    in_flight_spans: usize,
}

impl<B: AsRef<[Span]> + AsMut<[Span]>> Ledger<B> {
    /// Makes a ledger of `range` with every height open. It holds as many spans as `buffer` is
    /// long.
    pub fn new(range: RangeInclusive<u64>, buffer: B) -> Self {
        Self::of(range, buffer)
    }
}

impl<H: Height, B: AsRef<[Span<H>]> + AsMut<[Span<H>]>> Ledger<B, H> {
    /// Makes a ledger as [`new`](Ledger::new) does, of heights of any type: `i64`, say. A literal
    /// needs its type here.
    ///
    /// ```
    /// use chargehand_core::ledger::{Ledger, Span};
    ///
    /// let mut ledger = Ledger::of(-2..=2_i64, [Span::default(); 8]);
    /// assert_eq!(ledger.take_next(), Ok(Some(-2)));
    /// ```
    pub fn of(range: RangeInclusive<H>, buffer: B) -> Self {
        let spans_max = buffer.as_ref().len();
        Self::with(range, buffer, |_, _| false, spans_max)
    }

    fn with(
        range: RangeInclusive<H>,
        buffer: B,
        grow: fn(&mut B, usize) -> bool,
        spans_max: usize,
    ) -> Self {
        let open_from = *range.start();
        let range = (!range.is_empty()).then(|| range.into_inner());
        Self { range, buffer, count: 0, totals: Totals::default(), open_from, grow, spans_max }
    }

    /// Returns the lowest open height, which is in flight from now on, or `None` where none is
    /// open. Note later how it ended: [`complete`](Self::complete), [`fail`](Self::fail) or
    /// [`give_back`](Self::give_back).
    ///
    /// Costs O(spans) at worst, and O(log spans) where heights end about as they were handed out.
    ///
    /// # Errors
    /// Returns [`LedgerError::Saturated`] where there is not room enough to note how every height
    /// in flight ends. Wait for one to end, preferably the lowest, or use a longer buffer.
    pub fn take_next(&mut self) -> Result<Option<H>, LedgerError> {
        let Some(height) = self.next_open(self.open_from) else { return Ok(None) };
        self.open_from = height;
        self.assign(height, height, Some(Mark::InFlight))?;
        Ok(Some(height))
    }

    /// Notes a height as done, whatever was known of it, and returns whether that is new.
    ///
    /// Costs O(log spans) to find the place; a span that starts or vanishes there moves those
    /// above it.
    ///
    /// # Errors
    /// As [`complete_range`](Self::complete_range). Never for a height in flight.
    #[inline]
    pub fn complete(&mut self, height: H) -> Result<bool, LedgerError> {
        if self.extend_done(height) {
            return Ok(true);
        }
        self.complete_range(height..=height).map(|newly| newly == 1)
    }

    /// Notes all heights of a part of the range as done, and returns how many of them are new,
    /// saturating.
    ///
    /// # Errors
    /// Nothing was changed. Returns [`LedgerError::OutOfRange`] where it is empty or not all in
    /// the ledger's range; [`LedgerError::Saturated`] where it would make a new span and there is
    /// no room for one: finish heights in the lowest gaps first, or use a longer buffer.
    pub fn complete_range(&mut self, heights: RangeInclusive<H>) -> Result<u64, LedgerError> {
        let (first, last) = self.within(heights)?;
        let before = self.totals.done;
        self.assign(first, last, Some(Mark::Done))?;
        Ok(saturated(self.totals.done - before))
    }

    /// Notes a height as failed and returns whether that is new. What is done stays done.
    ///
    /// # Errors
    /// As [`complete_range`](Self::complete_range). Never for a height in flight.
    pub fn fail(&mut self, height: H) -> Result<bool, LedgerError> {
        let (height, _) = self.within(height..=height)?;
        if matches!(self.mark(height), Some(Mark::Done | Mark::Failed)) {
            return Ok(false);
        }
        self.assign(height, height, Some(Mark::Failed))?;
        Ok(true)
    }

    /// Makes a height that is in flight open again, and returns whether it was in flight.
    pub fn give_back(&mut self, height: H) -> bool {
        let is_in_flight = self.mark(height) == Some(Mark::InFlight);
        if is_in_flight {
            let given_back = self.assign(height, height, None);
            assert!(given_back.is_ok(), "room is kept for every height in flight");
            self.open_from = self.open_from.min(height);
        }
        is_in_flight
    }

    /// Makes open again whatever is in flight or failed. Costs O(spans).
    pub fn reopen(&mut self) {
        let mut kept = 0;
        for at in 0..self.count {
            let span = self.buffer.as_ref()[at];
            if span.mark == Mark::Done {
                self.buffer.as_mut()[kept] = span;
                kept += 1;
            }
        }
        self.count = kept;
        self.totals = Totals { done: self.totals.done, ..Totals::default() };
        self.open_from = self.range.map_or(self.open_from, |(first, _)| first);
    }

    /// Returns what is known of a height: `None` where it is open or not in the range. Costs
    /// O(log spans).
    pub fn mark(&self, height: H) -> Option<Mark> {
        let at = self.spans().partition_point(|held| held.last < height);
        self.spans().get(at).filter(|held| held.first <= height).map(|held| held.mark)
    }

    /// Returns whether a height is done. Costs O(log spans).
    pub fn is_done(&self, height: H) -> bool {
        self.mark(height) == Some(Mark::Done)
    }

    /// Returns the highest height up to which all of the range is done, or `None` while the first
    /// one is not.
    pub fn low_water(&self) -> Option<H> {
        let lowest = self.spans().first().filter(|span| span.mark == Mark::Done)?;
        (lowest.first == self.range?.0).then_some(lowest.last)
    }

    /// Returns the lowest open height at or above `from`. Costs O(log spans), and one step for
    /// each span without an open height before the next.
    pub fn next_open(&self, from: H) -> Option<H> {
        self.next_open_run(from).map(|run| *run.start())
    }

    /// Returns the lowest open height at or above `from`, with all that are open right above it. Costs as
    /// [`next_open`](Ledger::next_open).
    pub fn next_open_run(&self, from: H) -> Option<RangeInclusive<H>> {
        let (first, last) = self.range?;
        let mut open = from.max(first);
        let at = self.spans().partition_point(|held| held.last < open);
        for held in &self.spans()[at..] {
            if let Some(below) = held.first.previous().filter(|below| *below >= open) {
                return Some(open..=below);
            }
            open = held.last.next()?;
        }
        (open <= last).then_some(open..=last)
    }

    /// Returns the heights that are not done as ranges, ascending: open, in flight or failed.
    pub fn gaps(&self) -> Gaps<'_, H> {
        Gaps::new(self.spans(), self.range)
    }

    /// Returns the heights that failed as ranges, ascending.
    pub fn failed(&self) -> Marked<'_, H> {
        Marked::new(self.spans(), Mark::Failed)
    }

    /// Returns the heights in flight as ranges, ascending.
    pub fn in_flight(&self) -> Marked<'_, H> {
        Marked::new(self.spans(), Mark::InFlight)
    }

    /// Returns the heights that are done as ranges, ascending, with a gap between any two.
    pub fn completed(&self) -> Marked<'_, H> {
        Marked::new(self.spans(), Mark::Done)
    }

    /// Returns all that is known: ascending, and no two spans of one mark touch.
    pub fn spans(&self) -> &[Span<H>] {
        &self.buffer.as_ref()[..self.count]
    }

    /// Returns the whole range; `None` where it is empty.
    pub fn range(&self) -> Option<RangeInclusive<H>> {
        self.range.map(|(first, last)| first..=last)
    }

    /// Returns how many heights are done, saturating.
    pub fn completed_count(&self) -> u64 {
        saturated(self.totals.done)
    }

    /// Returns how many heights failed, saturating.
    pub fn failed_count(&self) -> u64 {
        saturated(self.totals.failed)
    }

    /// Returns how many heights are in flight, saturating.
    pub fn in_flight_count(&self) -> u64 {
        saturated(self.totals.in_flight)
    }

    /// Returns how many heights are not done, saturating.
    pub fn missing_count(&self) -> u64 {
        saturated(self.length() - self.totals.done)
    }

    /// Returns whether every height is done, which is so from the start in an empty range.
    pub fn is_complete(&self) -> bool {
        self.totals.done == self.length()
    }

    /// Returns whether every height is done or failed.
    pub fn is_settled(&self) -> bool {
        self.totals.done + self.totals.failed == self.length()
    }

    /// Returns what is done and failed, to be kept somewhere. What is in flight is open to whoever
    /// [resumes](Self::resume) from it. Costs nothing: it borrows the spans.
    pub fn snapshot(&self) -> Snapshot<&[Span<H>], H> {
        Snapshot::new(self.range, self.spans())
    }

    /// Makes a ledger that knows what a snapshot says, in a buffer of fixed length.
    ///
    /// # Errors
    /// As [`ResumeError`] says. Nothing that a snapshot holds can panic.
    pub fn resume(
        snapshot: &Snapshot<impl AsRef<[Span<H>]>, H>,
        buffer: B,
    ) -> Result<Self, ResumeError> {
        snapshot.put_into(Self::of(snapshot.range(), buffer))
    }

    fn length(&self) -> u128 {
        self.range.map_or(0, |(first, last)| length(first, last))
    }

    /// Returns both ends of a part of the range.
    fn within(&self, heights: RangeInclusive<H>) -> Result<(H, H), LedgerError> {
        let (first, last) = self.range.ok_or(LedgerError::OutOfRange)?;
        if heights.is_empty() || *heights.start() < first || *heights.end() > last {
            return Err(LedgerError::OutOfRange);
        }
        Ok(heights.into_inner())
    }
}

#[cfg(feature = "alloc")]
impl Ledger<Vec<Span>> {
    /// Makes a ledger of `range` with every height open, whose buffer grows as needed, up to
    /// `spans_max` spans of 24 bytes.
    pub fn growing(range: RangeInclusive<u64>, spans_max: usize) -> Self {
        Self::growing_of(range, spans_max)
    }
}

#[cfg(feature = "alloc")]
impl<H: Height> Ledger<Vec<Span<H>>, H> {
    /// Makes a ledger as [`growing`](Ledger::growing) does, of heights of any type.
    pub fn growing_of(range: RangeInclusive<H>, spans_max: usize) -> Self {
        let grow = |spans: &mut Vec<Span<H>>, spans_max: usize| {
            let length = spans.len().saturating_mul(2).max(8).min(spans_max);
            let grows = length > spans.len();
            spans.resize(length.max(spans.len()), Span::default());
            grows
        };
        Self::with(range, Vec::new(), grow, spans_max)
    }

    /// Makes a ledger that knows what a snapshot says, whose buffer grows as needed, up to
    /// `spans_max` spans of 24 bytes.
    ///
    /// # Errors
    /// As [`ResumeError`] says.
    pub fn resume_growing(
        snapshot: &Snapshot<impl AsRef<[Span<H>]>, H>,
        spans_max: usize,
    ) -> Result<Self, ResumeError> {
        snapshot.put_into(Self::growing_of(snapshot.range(), spans_max))
    }

    /// Returns the same ledger with each height as its [index](Height::to_index).
    pub fn by_index(&self) -> Ledger<Vec<Span>> {
        let by_index = |&Span { first, last, mark }: &Span<H>| Span {
            first: first.to_index(),
            last: last.to_index(),
            mark,
        };
        let range = match self.range {
            Some((first, last)) => first.to_index()..=last.to_index(),
            None => RangeInclusive::new(1, 0),
        };
        let mut ledger = Ledger::growing(range, self.spans_max);
        ledger.buffer = self.spans().iter().map(by_index).collect();
        ledger.count = self.count;
        ledger.totals = self.totals;
        ledger.open_from = self.open_from.to_index();
        ledger
    }
}

#[cfg(feature = "alloc")]
impl<H: Height> From<RangeInclusive<H>> for Ledger<Vec<Span<H>>, H> {
    /// Makes a ledger of `range` with every height open, of at most 2^20 spans (24 MiB).
    fn from(range: RangeInclusive<H>) -> Self {
        Self::growing_of(range, 1 << 20)
    }
}

impl<H: fmt::Debug, B: AsRef<[Span<H>]>> fmt::Debug for Ledger<B, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("range", &self.range)
            .field("spans", &&self.buffer.as_ref()[..self.count])
            .finish_non_exhaustive()
    }
}

/// Nothing was noted, and nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LedgerError {
    /// It is not in the ledger's range.
    OutOfRange,
    /// There is no room for the spans that it could make. Finish heights in the lowest gaps first,
    /// or use a longer buffer.
    Saturated,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "not in the ledger's range",
            Self::Saturated => {
                "no room for another span of heights: finish the lowest gaps first or use a \
                 longer buffer"
            }
        })
    }
}

impl core::error::Error for LedgerError {}

/// Returns the number of heights from `first` to `last`.
fn length<H: Height>(first: H, last: H) -> u128 {
    u128::from(last.to_index() - first.to_index()) + 1
}

fn saturated(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
