//! Outcomes of the heights of a range.

use core::mem;
use core::ops::RangeInclusive;
use core::task::Context;

use chargehand_core::ledger::{self, Height};
use serde::de::DeserializeOwned;

use super::Report;
use super::source::{Source, Track};
use crate::error::TaskError;
use crate::mailbox::Mailbox;
use crate::mailbox::batches::{Item, Taker};
use crate::mailbox::range::{LedgerOf, Work};
use crate::payload::DecodeLimits;

/// The heights of a range, as what a stream of [`Outcomes`](super::Outcomes) is of.
#[derive(Debug)]
pub struct Heights<H = u64> {
    report: Report<H>,
}

impl<H: Height> Heights<H> {
    pub(crate) fn new(mut ledger: LedgerOf<H>) -> Self {
        // What failed the last time is tried again.
        ledger.reopen();
        Self { report: Report::new(ledger) }
    }
}

impl<H: Height> Track for Heights<H> {
    type Request = H;
    type Report = Report<H>;

    fn work(&self) -> Work {
        Work::Heights(self.report.ledger.by_index())
    }

    #[inline]
    fn feed(&mut self, _: &mut Context<'_>, _: (&Taker, &Mailbox), _: Option<usize>, _: usize) {}

    /// Above what was returned the ledger knows only what was done before the range began.
    fn next_from(&self, index: u64) -> Option<u64> {
        self.report.ledger.next_open(H::from_index(index)).map(H::to_index)
    }

    #[inline]
    fn note_done(&mut self, index: u64) -> H {
        let height = H::from_index(index);
        self.report.note_done(height);
        height
    }

    fn note_failed(&mut self, index: u64, error: &TaskError) -> H {
        let height = H::from_index(index);
        self.report.note_failed(height, error);
        height
    }

    fn report(&self) -> &Report<H> {
        &self.report
    }

    fn take_report(&mut self) -> Report<H> {
        let nothing = RangeInclusive::new(H::from_index(1), H::from_index(0));
        let empty = Report::new(ledger::Ledger::growing_of(nothing, 0));
        mem::replace(&mut self.report, empty)
    }

    fn leave(&mut self) {}
}

impl<A: DeserializeOwned + Send + 'static, H: Height> Source<A> for Heights<H> {
    #[expect(
        clippy::inline_always,
        reason = "an answer passed through memory stalls: decision 0010"
    )]
    #[inline(always)]
    fn read(item: &mut Item, limits: &DecodeLimits) -> Result<A, TaskError> {
        item.read(limits)
    }
}
