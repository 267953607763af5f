//! The one way in which spans change.

use super::{Height, Ledger, LedgerError, Mark, Span, Totals, length};

impl<H: Height, B: AsRef<[Span<H>]> + AsMut<[Span<H>]>> Ledger<B, H> {
    /// Notes a height as done that lies just above a done span and alone, which is the usual case
    /// where heights are done about in their order. Returns false, and changes nothing, otherwise.
    #[inline]
    pub(super) fn extend_done(&mut self, height: H) -> bool {
        let Some(next) = height.next() else { return false };
        let at = self.spans().partition_point(|held| held.last < height);
        let is_alone = self.spans().get(at).is_none_or(|above| above.first > next);
        let Some(below) = self.buffer.as_mut()[..at].last_mut() else { return false };
        let is_next = below.mark == Mark::Done && below.last.next() == Some(height);
        let is_extended = is_next && is_alone && self.range.is_some_and(|(_, last)| height <= last);
        if is_extended {
            below.last = height;
            self.totals.done += 1;
        }
        is_extended
    }

    /// Gives all of `first..=last` the same mark, or none. Changes nothing where it fails.
    ///
    /// The sum of the spans in use and of those kept free, one for each height in flight beyond the
    /// spans that these take now, never exceeds `spans_max`. No change to a height in flight makes
    /// that sum larger, so none can fail: it takes at most two spans more, and then two fewer are
    /// to be kept free.
    pub(super) fn assign(
        &mut self,
        first: H,
        last: H,
        mark: Option<Mark>,
    ) -> Result<(), LedgerError> {
        let spans = self.spans();
        let from = spans.partition_point(|held| held.last < first);
        let to = from + spans[from..].partition_point(|held| held.first <= last);
        let change = SpanEdit::new(spans, from, to, (first, last), mark);

        let totals = change.totals(self.totals, spans);
        let count = self.count - (change.to - change.from) + change.len();
        let kept_free = totals.in_flight - totals.in_flight_spans as u128;
        if count as u128 + kept_free > self.spans_max as u128 {
            return Err(LedgerError::Saturated);
        }
        while count > self.buffer.as_ref().len() {
            if !(self.grow)(&mut self.buffer, self.spans_max) {
                return Err(LedgerError::Saturated);
            }
        }
        let buffer = self.buffer.as_mut();
        buffer.copy_within(change.to..self.count, change.from + change.len());
        for (place, span) in buffer[change.from..].iter_mut().zip(change.pieces()) {
            *place = span;
        }
        self.count = count;
        self.totals = totals;
        Ok(())
    }
}

/// The spans at `from..to` become at most three others.
struct SpanEdit<H> {
    from: usize,
    to: usize,
    left: Option<Span<H>>,
    new: Option<Span<H>>,
    right: Option<Span<H>>,
}

impl<H: Height> SpanEdit<H> {
    /// `from..to` are the spans that share a height with `first..=last`.
    fn new(
        spans: &[Span<H>],
        from: usize,
        to: usize,
        (first, last): (H, H),
        mark: Option<Mark>,
    ) -> Self {
        let overlapped = &spans[from..to];
        let left = overlapped.first().filter(|held| held.first < first);
        let right = overlapped.last().filter(|held| held.last > last);
        let mut change = Self {
            from,
            to,
            left: left.and_then(|held| Some(Span { last: first.previous()?, ..*held })),
            new: mark.map(|mark| Span { first, last, mark }),
            right: right.and_then(|held| Some(Span { first: last.next()?, ..*held })),
        };
        change.join(spans);
        change
    }

    /// Makes one span of the new one and those of its mark that touch it.
    fn join(&mut self, spans: &[Span<H>]) {
        let Some(new) = &mut self.new else { return };
        let is_same = |span: &Span<H>| span.mark == new.mark;
        let before = self.from.checked_sub(1).map(|at| spans[at]);
        let after = spans.get(self.to).copied();
        let (mut first, mut last) = (new.first, new.last);
        match (self.left, before) {
            (Some(left), _) if is_same(&left) => {
                first = left.first;
                self.left = None;
            }
            (None, Some(held)) if is_same(&held) && held.last.next() == Some(first) => {
                first = held.first;
                self.from -= 1;
            }
            _ => {}
        }
        match (self.right, after) {
            (Some(right), _) if is_same(&right) => {
                last = right.last;
                self.right = None;
            }
            (None, Some(held)) if is_same(&held) && last.next() == Some(held.first) => {
                last = held.last;
                self.to += 1;
            }
            _ => {}
        }
        (new.first, new.last) = (first, last);
    }

    fn pieces(&self) -> impl Iterator<Item = Span<H>> {
        [self.left, self.new, self.right].into_iter().flatten()
    }

    fn len(&self) -> usize {
        self.pieces().count()
    }

    /// Returns the totals after the change.
    fn totals(&self, before: Totals, spans: &[Span<H>]) -> Totals {
        let mut totals = before;
        for span in &spans[self.from..self.to] {
            let heights = length(span.first, span.last);
            match span.mark {
                Mark::Done => totals.done -= heights,
                Mark::Failed => totals.failed -= heights,
                Mark::InFlight => {
                    totals.in_flight -= heights;
                    totals.in_flight_spans -= 1;
                }
            }
        }
        for span in self.pieces() {
            let heights = length(span.first, span.last);
            match span.mark {
                Mark::Done => totals.done += heights,
                Mark::Failed => totals.failed += heights,
                Mark::InFlight => {
                    totals.in_flight += heights;
                    totals.in_flight_spans += 1;
                }
            }
        }
        totals
    }
}
