//! Parts of a ledger as ranges.

use core::iter::FusedIterator;
use core::ops::RangeInclusive;
use core::slice;

use super::{Height, Mark, Span};

/// Gives the heights of a ledger that are not done as ranges, ascending. Made by
/// [`Ledger::gaps`](super::Ledger::gaps).
#[derive(Clone, Debug)]
pub struct Gaps<'a, H = u64> {
    done: Marked<'a, H>,
    /// What lies above the spans that were passed.
    rest: Option<(H, H)>,
}

impl<'a, H: Height> Gaps<'a, H> {
    pub(super) fn new(spans: &'a [Span<H>], range: Option<(H, H)>) -> Self {
        Self { done: Marked::new(spans, Mark::Done), rest: range }
    }
}

impl<H: Height> Iterator for Gaps<'_, H> {
    type Item = RangeInclusive<H>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((first, last)) = self.rest {
            let Some(done) = self.done.next() else {
                self.rest = None;
                return Some(first..=last);
            };
            self.rest = done.end().next().filter(|above| *above <= last).map(|above| (above, last));
            if let Some(below) = done.start().previous().filter(|below| first <= *below) {
                return Some(first..=below);
            }
        }
        None
    }
}

impl<H: Height> FusedIterator for Gaps<'_, H> {}

/// Gives the heights of a ledger that have the same mark as ranges, ascending, with a gap between
/// any two. Made by [`Ledger::failed`](super::Ledger::failed) and its like.
#[derive(Clone, Debug)]
pub struct Marked<'a, H = u64> {
    spans: slice::Iter<'a, Span<H>>,
    mark: Mark,
}

impl<'a, H: Height> Marked<'a, H> {
    pub(super) fn new(spans: &'a [Span<H>], mark: Mark) -> Self {
        Self { spans: spans.iter(), mark }
    }
}

impl<H: Height> Iterator for Marked<'_, H> {
    type Item = RangeInclusive<H>;

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.spans.find(|span| span.mark == self.mark)?;
        Some(span.first..=span.last)
    }
}

impl<H: Height> FusedIterator for Marked<'_, H> {}
