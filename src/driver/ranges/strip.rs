//! How far ranges are, part by part. Nothing is counted for a height that is done: those are the ones that were
//! put in and are not anything else.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use chargehand_core::io::Timer;

use super::job::{Job, Supply};
use crate::driver::Driver;
use crate::link::erased::Kind;
use crate::mailbox::range::Ledger;
use crate::measure::{RangeFigures, SEGMENTS_MAX, Segment};
use crate::payload::RangeHeight;

/// What a range has to note as it happens, since nothing tells it later. Mostly there is nothing.
#[derive(Debug, Default)]
pub(crate) struct RangeNotes {
    /// By part, how many heights failed.
    failed: BTreeMap<usize, u64>,
    lowest_failed: Option<u64>,
    /// By part, how many heights were put in and given up.
    dropped: BTreeMap<usize, u64>,
    lowest_dropped: Option<u64>,
    /// The next height as it was when the range stopped.
    stopped_at: Option<u64>,
}

impl RangeNotes {
    pub(super) fn note_failed(&mut self, source: &Supply, height: u64) {
        if let Some(parts) = Segments::of(source) {
            *self.failed.entry(parts.part_of(height)).or_default() += 1;
            self.lowest_failed = Some(self.lowest_failed.map_or(height, |low| low.min(height)));
        }
    }

    pub(super) fn note_dropped(&mut self, source: &Supply, height: u64) {
        if let Some(parts) = Segments::of(source) {
            *self.dropped.entry(parts.part_of(height)).or_default() += 1;
            self.lowest_dropped = Some(self.lowest_dropped.map_or(height, |low| low.min(height)));
        }
    }

    pub(super) fn note_stop(&mut self, next: Option<u64>) {
        self.stopped_at = self.stopped_at.or(next);
    }
}

/// A range in parts of about the same length.
#[derive(Clone, Copy, Debug)]
struct Segments {
    first: u64,
    last: u64,
    count: u64,
}

impl Segments {
    fn of(source: &Supply) -> Option<Self> {
        let Supply::Heights(ledger) = source else { return None };
        let (first, last) = ledger.range()?.into_inner();
        // One more than fits into a `u64` is all of them.
        let count = (last - first).saturating_add(1).min(SEGMENTS_MAX as u64);
        Some(Self { first, last, count })
    }

    fn len(self) -> u128 {
        u128::from(self.last - self.first) + 1
    }

    fn part_of(self, height: u64) -> usize {
        let offset = u128::from(height - self.first);
        usize::try_from(offset * u128::from(self.count) / self.len()).expect("one of the parts")
    }

    /// Returns the lowest and the highest height of a part.
    fn bounds(self, part: u64) -> (u64, u64) {
        let begin = |part: u64| (u128::from(part) * self.len()).div_ceil(u128::from(self.count));
        let at = |offset: u128| self.first + u64::try_from(offset).expect("within the range");
        (at(begin(part)), at(begin(part + 1) - 1))
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Returns how far each range is. Costs a scan of the task table, and of what the ranges had done before
    /// they began.
    pub(crate) fn range_figures(&self) -> Vec<RangeFigures> {
        let mut in_flight: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for entry in &self.tasks {
            let Some(index) = entry.payload.job() else { continue };
            let Some(job) = &self.jobs.slots[index as usize] else { continue };
            if let Supply::Heights(_) = job.source {
                in_flight.entry(index).or_default().push(job.source.index_of(&entry.payload));
            }
        }
        let jobs = self.jobs.slots.iter().enumerate();
        jobs.filter_map(|(index, job)| {
            let index = u32::try_from(index).expect("fewer ranges than 2^32");
            figures_of(job.as_ref()?, in_flight.get(&index).map_or(&[], Vec::as_slice))
        })
        .collect()
    }
}

fn figures_of(job: &Job, in_flight: &[u64]) -> Option<RangeFigures> {
    let Supply::Heights(ledger) = &job.source else { return None };
    let parts = Segments::of(&job.source)?;
    let next = job.pace.next.or(job.tally.stopped_at);
    let mut segments: Vec<_> = (0..parts.count)
        .map(|part| {
            let (first, last) = parts.bounds(part);
            let heights = (last - first).saturating_add(1);
            let done = heights - open_from(ledger, first, last, next);
            Segment { heights, done, in_flight: 0, failed: 0 }
        })
        .collect();
    // What was put in is done, but for these.
    for height in in_flight {
        let segment = &mut segments[parts.part_of(*height)];
        segment.in_flight += 1;
        segment.done = segment.done.saturating_sub(1);
    }
    for Reverse(height) in &job.pace.again {
        let segment = &mut segments[parts.part_of(*height)];
        segment.done = segment.done.saturating_sub(1);
    }
    for (part, count) in &job.tally.failed {
        segments[*part].failed = *count;
        segments[*part].done = segments[*part].done.saturating_sub(*count);
    }
    for (part, count) in &job.tally.dropped {
        segments[*part].done = segments[*part].done.saturating_sub(*count);
    }
    let mut total = Segment::default();
    for segment in &segments {
        total.heights = total.heights.saturating_add(segment.heights);
        total.done = total.done.saturating_add(segment.done);
        total.in_flight += segment.in_flight;
        total.failed += segment.failed;
    }
    let height_of = |index| RangeHeight::from_index(index, job.options.is_signed).into();
    let lowest_missing = [
        next,
        in_flight.iter().min().copied(),
        job.pace.again.peek().map(|Reverse(height)| *height),
        job.tally.lowest_failed,
        job.tally.lowest_dropped,
    ];
    let low_water = match lowest_missing.into_iter().flatten().min() {
        Some(missing) => (missing > parts.first).then(|| missing - 1),
        None => Some(parts.last),
    };
    Some(RangeFigures {
        first: height_of(parts.first),
        last: height_of(parts.last),
        total,
        low_water: low_water.map(height_of),
        segments,
    })
}

/// Returns how many heights from `first` to `last` were not done before, and are at `next` or above it.
fn open_from(ledger: &Ledger, first: u64, last: u64, next: Option<u64>) -> u64 {
    let Some(from) = next.map(|next| next.max(first)).filter(|from| *from <= last) else {
        return 0;
    };
    let mut open = (last - from).saturating_add(1);
    let spans = ledger.spans();
    let at = spans.partition_point(|span| span.last < from);
    for span in spans[at..].iter().take_while(|span| span.first <= last) {
        let (first, last) = (span.first.max(from), span.last.min(last));
        open = open.saturating_sub((last - first).saturating_add(1));
    }
    open
}
