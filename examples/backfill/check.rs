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
    /// Blocks whose child did not come yet.
    childless: HashMap<u64, Hash>,
    /// What blocks say of a parent that did not come yet, by the parent's height.
    orphans: HashMap<u64, Hash>,
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
    /// The first failure.
    pub(crate) failure: Option<String>,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.done == self.heights
            && self.lost == 0
            && self.doubled == 0
            && self.mistaken == 0
            && self.links_good == self.links
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

    pub(crate) fn take(&mut self, height: u64, outcome: &Result<Block, TaskError>) {
        if !matches!(self.seen.complete(height), Ok(true)) {
            self.tally.doubled += 1;
            return;
        }
        match outcome {
            Ok(block) if block.number == height => {
                self.tally.done += 1;
                self.tally.transactions += u64::from(block.transactions);
                self.link(block);
            }
            Ok(_) => self.tally.mistaken += 1,
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
            failure: self.failure,
        }
    }

    fn link(&mut self, block: &Block) {
        let Tally { links_good, childless, orphans, .. } = &mut self.tally;
        if block.number > *self.range.start() {
            let parent = block.number - 1;
            match childless.remove(&parent) {
                Some(hash) => *links_good += u64::from(hash == block.parent),
                None => drop(orphans.insert(parent, block.parent)),
            }
        }
        if block.number < *self.range.end() {
            match orphans.remove(&block.number) {
                Some(hash) => *links_good += u64::from(hash == block.hash),
                None => drop(childless.insert(block.number, block.hash)),
            }
        }
    }
}
