//! Outcomes that wait for those before them.

use alloc::collections::BTreeMap;
use core::mem;

use super::source::Track;
use crate::mailbox::batches::Item;
use crate::mailbox::result::TaskResult;

/// Holds outcomes back until each one before was returned. The driver bounds it: it has no more under
/// way than there is room for. Heights go by their index here.
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
    pub(super) fn new(source: &impl Track, reorder_max: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            expected: source.next_from(0),
            returned: 0,
            // Not each one by itself: that would be a wake-up for every outcome.
            returned_max: (reorder_max / 4).max(1),
        }
    }

    pub(super) fn push(&mut self, Item { height, result }: Item) {
        let twice = self.waiting.insert(height, result).is_some();
        debug_assert!(!twice, "height {height} has one outcome");
    }

    /// Returns the next outcome in order, if it is there.
    pub(super) fn pop(&mut self, source: &impl Track) -> Option<Item> {
        let height = self.expected?;
        let result = self.waiting.remove(&height)?;
        self.expected = height.checked_add(1).and_then(|from| source.next_from(from));
        self.returned += 1;
        Some(Item { height, result })
    }

    /// Returns for how many more heights there is room, once it is worth telling or `now`.
    pub(super) fn released(&mut self, now: bool) -> usize {
        if now || self.returned >= self.returned_max { mem::take(&mut self.returned) } else { 0 }
    }
}
