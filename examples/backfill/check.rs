//! Proves that every height came out exactly once, and that the blocks are one chain.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use chargehand::{Ledger, TaskError};
use serde::{Deserialize, Serialize};

use crate::block::{Block, Hash};

/// Takes the outcomes as they come, in any order. Its memory goes with how far they are out of
/// order, not with the range's length.
#[derive(Debug)]
pub(crate) struct Check {
    range: RangeInclusive<u64>,
    /// Heights with an outcome, whatever it is, and those that were done before.
    seen: Ledger,
    /// How many were done before.
    before: u64,
    failed: u64,
    /// The first failure.
    failure: Option<String>,
    tally: Tally,
}

/// What a later run has to know of this one, to judge the range as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tally {
    done: u64,
    doubled: u64,
    mistaken: u64,
    transactions: u64,
    links_good: u64,
    /// Links of which an end is not known, since a worker said no more than that it is done.
    #[serde(default, skip_serializing_if = "is_zero")]
    links_unseen: u64,
    /// Heights that are done and whose block is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    unseen: u64,
    /// Blocks whose child did not come yet. `None` where the block is not known.
    childless: HashMap<u64, Option<Hash>>,
    /// What blocks say of a parent that did not come yet, by the parent's height.
    orphans: HashMap<u64, Option<Hash>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What came out, of all runs together.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) heights: u64,
    pub(crate) done: u64,
    /// Heights that were done before this run.
    pub(crate) before: u64,
    pub(crate) failed: u64,
    /// Heights without any outcome.
    pub(crate) lost: u64,
    /// Outcomes too many: of a height that had one already, or is not in the range.
    pub(crate) doubled: u64,
    /// Answers with the block of another height.
    pub(crate) mistaken: u64,
    pub(crate) transactions: u64,
    pub(crate) links: u64,
    pub(crate) links_good: u64,
    /// Links and blocks that cannot be judged: a worker said no more than that a height is done.
    pub(crate) links_unseen: u64,
    pub(crate) unseen: u64,
    /// The first failure.
    pub(crate) failure: Option<String>,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.done == self.heights
            && self.lost == 0
            && self.doubled == 0
            && self.mistaken == 0
            && self.links_good + self.links_unseen == self.links
    }

    /// Returns how many heights this run has done, or tried to.
    pub(crate) fn now(&self) -> u64 {
        self.heights - self.before - self.lost
    }
}

impl Check {
    pub(crate) fn new(range: RangeInclusive<u64>) -> Self {
        Self::with(range.clone(), range.into(), Tally::default())
    }

    /// Makes a check that goes on with what an earlier one knew when `heights` were done.
    pub(crate) fn resume(
        range: RangeInclusive<u64>,
        heights: &Ledger,
        tally: Tally,
    ) -> Result<Self, String> {
        if tally.done.checked_add(tally.mistaken) != Some(heights.completed_count()) {
            return Err("it contradicts itself".to_owned());
        }
        let mut seen = heights.clone();
        // What failed is tried again.
        seen.reopen();
        Ok(Self::with(range, seen, tally))
    }

    fn with(range: RangeInclusive<u64>, seen: Ledger, tally: Tally) -> Self {
        let before = seen.completed_count();
        Self { range, seen, before, failed: 0, failure: None, tally }
    }

    pub(crate) fn take(&mut self, height: u64, outcome: &Result<Option<Block>, TaskError>) {
        if !matches!(self.seen.complete(height), Ok(true)) {
            self.tally.doubled += 1;
            return;
        }
        match outcome {
            Ok(Some(block)) if block.number == height => {
                self.tally.done += 1;
                self.tally.transactions += u64::from(block.transactions);
                self.link(height, Some(block));
            }
            Ok(None) => {
                self.tally.done += 1;
                self.tally.unseen += 1;
                self.link(height, None);
            }
            Ok(Some(_)) => self.tally.mistaken += 1,
            Err(error) => {
                self.failed += 1;
                self.failure.get_or_insert_with(|| format!("height {height}: {error}"));
            }
        }
    }

    pub(crate) fn range(&self) -> &RangeInclusive<u64> {
        &self.range
    }

    /// Returns how many heights there are, saturating.
    pub(crate) fn total(&self) -> u64 {
        (self.range.end() - self.range.start()).saturating_add(1)
    }

    /// Returns how many heights have an outcome, those included that were done before.
    pub(crate) fn count(&self) -> u64 {
        self.seen.completed_count()
    }

    /// Returns how many of them were done before.
    pub(crate) fn before(&self) -> u64 {
        self.before
    }

    /// Returns the lowest height without an outcome.
    pub(crate) fn first_missing(&self) -> Option<u64> {
        self.seen.next_open(*self.range.start())
    }

    /// Returns what a later run has to know.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn finish(self) -> Verdict {
        Verdict {
            heights: self.total(),
            done: self.tally.done,
            before: self.before,
            failed: self.failed,
            lost: self.seen.missing_count(),
            doubled: self.tally.doubled,
            mistaken: self.tally.mistaken,
            transactions: self.tally.transactions,
            links: self.range.end() - self.range.start(),
            links_good: self.tally.links_good,
            links_unseen: self.tally.links_unseen,
            unseen: self.tally.unseen,
            failure: self.failure,
        }
    }

    /// Judges the links to both neighbours, or leaves this end of them for when they come.
    fn link(&mut self, height: u64, block: Option<&Block>) {
        let Tally { childless, orphans, .. } = &mut self.tally;
        let (mut above, mut below) = (None, None);
        if height > *self.range.start() {
            let (at, parent) = (height - 1, block.map(|block| block.parent));
            match childless.remove(&at) {
                Some(hash) => below = Some((hash, parent)),
                None => drop(orphans.insert(at, parent)),
            }
        }
        if height < *self.range.end() {
            let hash = block.map(|block| block.hash);
            match orphans.remove(&height) {
                Some(parent) => above = Some((hash, parent)),
                None => drop(childless.insert(height, hash)),
            }
        }
        for ends in [below, above].into_iter().flatten() {
            match ends {
                (Some(hash), Some(parent)) => self.tally.links_good += u64::from(hash == parent),
                _ => self.tally.links_unseen += 1,
            }
        }
    }
}
