//! A range of heights, or a map of requests, on its way to the driver.

use alloc::sync::Arc;
use alloc::vec::Vec;

use chargehand_core::ledger::{self, Span};

use super::batches::Giver;
use crate::options::TaskOptions;
use crate::payload::Check;

/// What is done of a range of heights: see [`ledger::Ledger`].
pub type Ledger = ledger::Ledger<Vec<Span>>;

/// What is done of a range of heights of type `i64`: see [`ledger::Ledger`].
pub type SignedLedger = LedgerOf<i64>;

pub(crate) type LedgerOf<H> = ledger::Ledger<Vec<Span<H>>, H>;

/// How a range or a map is done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Heights under way at most, where not as many as the pool says.
    pub(crate) ahead_max: Option<usize>,
    /// The stream returns them in order.
    pub(crate) is_ordered: bool,
    /// Nothing is begun after a height that failed.
    pub(crate) stops: bool,
    /// Handlers have the heights as `i64`.
    pub(crate) is_signed: bool,
}

/// What is to be done.
#[derive(Debug)]
pub enum Work {
    /// The heights that are open.
    Heights(Ledger),
    /// Requests, which the stream leaves as it goes.
    Requests,
}

/// A range or a map on its way to the driver.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) work: Work,
    pub(crate) giver: Giver,
    pub(crate) options: Options,
    /// How its tasks are done, where not as the pool says.
    pub(crate) own: Option<Arc<TaskOptions>>,
    /// What answers are held against.
    pub(crate) check: Check,
}
