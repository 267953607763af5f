//! Outcomes that wait for those of lower heights.

use alloc::collections::BTreeMap;
use core::mem;

use chargehand_core::ledger::Height;

use crate::mailbox::batches::Item;
use crate::mailbox::range::LedgerOf;
use crate::mailbox::result::TaskResult;

/// Holds outcomes back until that of every lower height was returned. The driver bounds it: it has
/// no more heights under way than there is room for. Heights go by their index here.
#[derive(Debug)]
pub(super) struct Reorder {
    waiting: BTreeMap<u64, TaskResult>,
    /// The next one to return; `None` after the last.
    expected: Option<u64>,
    /// How many were returned since the driver was last told.
    returned: usize,
    /// How many may be before it is.
    returned_max: usize,
}

impl Reorder {
    pub(super) fn new<H: Height>(ledger: &LedgerOf<H>, reorder_max: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            expected: ledger.next_open(H::from_index(0)).map(H::to_index),
            returned: 0,
            // Not each one by itself: that would be a wake-up for every outcome.
            returned_max: (reorder_max / 4).max(1),
        }
    }

    pub(super) fn push(&mut self, Item { height, result }: Item) {
        let twice = self.waiting.insert(height, result).is_some();
        debug_assert!(!twice, "height {height} has one outcome");
    }

    /// Returns the next outcome in order, if it is there. `ledger` is the range's: above the
    /// expected height it knows only what was done before the range began.
    pub(super) fn pop<H: Height>(&mut self, ledger: &LedgerOf<H>) -> Option<Item> {
        let height = self.expected?;
        let result = self.waiting.remove(&height)?;
        let above = H::from_index(height).next();
        self.expected = above.and_then(|from| ledger.next_open(from)).map(H::to_index);
        self.returned += 1;
        Some(Item { height, result })
    }

    /// Returns for how many more heights there is room, once it is worth telling or `now`.
    pub(super) fn released(&mut self, now: bool) -> usize {
        if now || self.returned >= self.returned_max { mem::take(&mut self.returned) } else { 0 }
    }
}
