//! The ledger of a range of heights: what is done, up to where all is done, what is missing.
//!
//! It remembers the *spans* that are done, so its memory goes with the number of gaps and not with
//! the length of the range: 16 bytes for each span, in a buffer that is lent, an array, or a `Vec`
//! that grows.
//!
//! ```
//! use chargehand_core::heights::{Heights, Span};
//!
//! let mut heights = Heights::new(100..=199, [Span::default(); 8]);
//! for height in (100..=150).chain(160..=199) {
//!     heights.done(height)?;
//! }
//! assert_eq!(heights.low_water(), Some(150));
//! assert_eq!(heights.gaps().collect::<Vec<_>>(), [151..=159]);
//!
//! // To resume later, keep the spans and put them into a new ledger.
//! let kept = heights.spans().to_vec();
//! let mut resumed = Heights::new(100..=199, [Span::default(); 8]);
//! for span in kept {
//!     resumed.done_span(span)?;
//! }
//! assert_eq!(resumed.next_missing(0), Some(151));
//! # Ok::<(), chargehand_core::heights::LedgerError>(())
//! ```

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

/// Heights that are done without a gap, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Span {
    /// The lowest height.
    pub first: u64,
    /// The highest height.
    pub last: u64,
}

/// Which heights of a range are done. See the [module](self).
#[derive(Clone)]
pub struct Heights<B> {
    /// The whole range; `None` where it is empty.
    range: Option<Span>,
    /// The first `count` are the done spans: ascending, and with a gap between any two.
    buffer: B,
    count: usize,
    /// Of the spans together. A range of all `u64` has one height more than fits into `u64`.
    done: u128,
    /// Lengthens a full buffer up to that many spans, if it can.
    grow: fn(&mut B, usize) -> bool,
    spans_max: usize,
}

impl<B: AsRef<[Span]> + AsMut<[Span]>> Heights<B> {
    /// Makes a ledger of `range` with nothing done. It holds as many spans as `buffer` is long.
    pub fn new(range: RangeInclusive<u64>, buffer: B) -> Self {
        let spans_max = buffer.as_ref().len();
        Self { range: whole(range), buffer, count: 0, done: 0, grow: |_, _| false, spans_max }
    }

    /// Notes a height as done and returns whether that is new.
    ///
    /// Costs O(log spans) to find the place; a span that starts or vanishes there moves those
    /// above it.
    ///
    /// # Errors
    /// As [`done_span`](Self::done_span).
    pub fn done(&mut self, height: u64) -> Result<bool, LedgerError> {
        self.done_span(Span { first: height, last: height }).map(|newly| newly == 1)
    }

    /// Notes all heights of a span as done and returns how many of them are new, saturating.
    ///
    /// # Errors
    /// Nothing was changed. Returns [`LedgerError::OutOfRange`] where a part of the span is not in
    /// the range (or its end before its start); [`LedgerError::Full`] where it would make a new
    /// span and there is no room for one: finish heights in the lowest gaps first, or use a longer
    /// buffer.
    pub fn done_span(&mut self, span: Span) -> Result<u64, LedgerError> {
        let range = self.range.ok_or(LedgerError::OutOfRange)?;
        if span.first > span.last || span.first < range.first || span.last > range.last {
            return Err(LedgerError::OutOfRange);
        }
        let before = |held: &Span| held.last < span.first && span.first - held.last > 1;
        let touching = |held: &Span| held.first <= span.last || held.first - span.last == 1;
        let from = self.spans().partition_point(before);
        let to = self.spans().partition_point(touching);
        let newly = if from == to {
            self.insert(from, span)?;
            length(span)
        } else {
            self.merge(from, to, span)
        };
        self.done += newly;
        Ok(saturated(newly))
    }

    /// Returns whether a height is done. Costs O(log spans).
    pub fn is_done(&self, height: u64) -> bool {
        let at = self.spans().partition_point(|held| held.last < height);
        self.spans().get(at).is_some_and(|held| held.first <= height)
    }

    /// Returns the highest height up to which all of the range is done, or `None` while the first
    /// one is missing.
    pub fn low_water(&self) -> Option<u64> {
        let lowest = self.spans().first()?;
        (lowest.first == self.range?.first).then_some(lowest.last)
    }

    /// Returns the lowest missing height at or above `from`. Costs O(log spans).
    pub fn next_missing(&self, from: u64) -> Option<u64> {
        let range = self.range?;
        let from = from.max(range.first);
        let at = self.spans().partition_point(|held| held.last < from);
        let missing = match self.spans().get(at) {
            Some(held) if held.first <= from => held.last.checked_add(1)?,
            _ => from,
        };
        (missing <= range.last).then_some(missing)
    }

    /// Returns the missing heights as ranges, ascending.
    pub fn gaps(&self) -> Gaps<'_> {
        Gaps { spans: self.spans().iter(), rest: self.range }
    }

    /// Returns the done heights as spans: ascending, with a gap between any two. Keep them to
    /// resume.
    pub fn spans(&self) -> &[Span] {
        &self.buffer.as_ref()[..self.count]
    }

    /// Returns how many heights are done, saturating.
    pub fn done_count(&self) -> u64 {
        saturated(self.done)
    }

    /// Returns how many heights are missing, saturating.
    pub fn missing_count(&self) -> u64 {
        saturated(self.range.map_or(0, length) - self.done)
    }

    /// Returns whether nothing is missing, which is so from the start in an empty range.
    pub fn is_complete(&self) -> bool {
        self.missing_count() == 0
    }

    /// Puts a span that touches no other at `at`.
    fn insert(&mut self, at: usize, span: Span) -> Result<(), LedgerError> {
        let full = self.count == self.buffer.as_ref().len();
        if full && !(self.grow)(&mut self.buffer, self.spans_max) {
            return Err(LedgerError::Full);
        }
        let spans = &mut self.buffer.as_mut()[..=self.count];
        spans.copy_within(at..self.count, at + 1);
        spans[at] = span;
        self.count += 1;
        Ok(())
    }

    /// Makes one span of those at `from..to` and `span`, and returns by how many heights there
    /// are more.
    fn merge(&mut self, from: usize, to: usize, span: Span) -> u128 {
        let spans = &mut self.buffer.as_mut()[..self.count];
        let before: u128 = spans[from..to].iter().copied().map(length).sum();
        let merged = Span {
            first: span.first.min(spans[from].first),
            last: span.last.max(spans[to - 1].last),
        };
        spans[from] = merged;
        spans.copy_within(to.., from + 1);
        self.count -= to - from - 1;
        length(merged) - before
    }
}

#[cfg(feature = "alloc")]
impl Heights<Vec<Span>> {
    /// Makes a ledger of `range` with nothing done, whose buffer grows as needed, up to
    /// `spans_max` spans of 16 bytes.
    pub fn growing(range: RangeInclusive<u64>, spans_max: usize) -> Self {
        let grow = |spans: &mut Vec<Span>, spans_max: usize| {
            let length = spans.len().saturating_mul(2).max(8).min(spans_max);
            let grows = length > spans.len();
            spans.resize(length.max(spans.len()), Span::default());
            grows
        };
        Self { range: whole(range), buffer: Vec::new(), count: 0, done: 0, grow, spans_max }
    }
}

#[cfg(feature = "alloc")]
impl From<RangeInclusive<u64>> for Heights<Vec<Span>> {
    /// Makes a ledger of `range` with nothing done, of at most 2^20 spans (16 MiB).
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::growing(range, 1 << 20)
    }
}

impl<B: AsRef<[Span]>> fmt::Debug for Heights<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heights")
            .field("range", &self.range)
            .field("spans", &&self.buffer.as_ref()[..self.count])
            .finish_non_exhaustive()
    }
}

/// Gives the missing heights of a ledger as ranges, ascending. Made by [`Heights::gaps`].
#[derive(Clone, Debug)]
pub struct Gaps<'a> {
    spans: core::slice::Iter<'a, Span>,
    /// What lies above the spans that were passed.
    rest: Option<Span>,
}

impl Iterator for Gaps<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest {
            let Some(span) = self.spans.next() else {
                self.rest = None;
                return Some(rest.first..=rest.last);
            };
            self.rest = (span.last < rest.last)
                .then(|| Span { first: span.last.saturating_add(1), last: rest.last });
            if rest.first < span.first {
                return Some(rest.first..=span.first - 1);
            }
        }
        None
    }
}

impl core::iter::FusedIterator for Gaps<'_> {}

/// A height was not noted as done. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LedgerError {
    /// It is not in the ledger's range.
    OutOfRange,
    /// It would make a new span, and there is no room for one. Finish heights in the lowest gaps
    /// first, or use a longer buffer.
    Full,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "not in the ledger's range",
            Self::Full => {
                "no room for another span of done heights: finish the lowest gaps first or use a \
                 longer buffer"
            }
        })
    }
}

impl core::error::Error for LedgerError {}

/// Returns the range as a span, or `None` where it is empty.
fn whole(range: RangeInclusive<u64>) -> Option<Span> {
    (!range.is_empty()).then(|| Span { first: *range.start(), last: *range.end() })
}

/// Returns the number of heights in a span.
fn length(span: Span) -> u128 {
    u128::from(span.last - span.first) + 1
}

fn saturated(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "heights_tests.rs"]
mod tests;
