//! Parts of a ledger as ranges.

use core::iter::FusedIterator;
use core::ops::RangeInclusive;
use core::slice;

use super::{Mark, Span};

/// Gives the heights of a ledger that are not done as ranges, ascending. Made by
/// [`Heights::gaps`](super::Heights::gaps).
#[derive(Clone, Debug)]
pub struct Gaps<'a> {
    done: Marked<'a>,
    /// What lies above the spans that were passed.
    rest: Option<(u64, u64)>,
}

impl<'a> Gaps<'a> {
    pub(super) fn new(spans: &'a [Span], range: Option<(u64, u64)>) -> Self {
        Self { done: Marked::new(spans, Mark::Done), rest: range }
    }
}

impl Iterator for Gaps<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((first, last)) = self.rest {
            let Some(done) = self.done.next() else {
                self.rest = None;
                return Some(first..=last);
            };
            self.rest = (*done.end() < last).then(|| (done.end().saturating_add(1), last));
            if first < *done.start() {
                return Some(first..=*done.start() - 1);
            }
        }
        None
    }
}

impl FusedIterator for Gaps<'_> {}

/// Gives the heights of a ledger that have the same mark as ranges, ascending, with a gap between
/// any two. Made by [`Heights::failed`](super::Heights::failed) and its like.
#[derive(Clone, Debug)]
pub struct Marked<'a> {
    spans: slice::Iter<'a, Span>,
    mark: Mark,
}

impl<'a> Marked<'a> {
    pub(super) fn new(spans: &'a [Span], mark: Mark) -> Self {
        Self { spans: spans.iter(), mark }
    }
}

impl Iterator for Marked<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.spans.find(|span| span.mark == self.mark)?;
        Some(span.first..=span.last)
    }
}

impl FusedIterator for Marked<'_> {}
