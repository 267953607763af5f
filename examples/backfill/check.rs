//! Proves that every height came out exactly once, and that the blocks are one chain.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use chargehand::{Ledger, TaskError};

use crate::block::{Block, Hash};

/// Takes the outcomes as they come, in any order. Its memory goes with how far they are out of
/// order, not with the range's length.
#[derive(Debug)]
pub(crate) struct Check {
    range: RangeInclusive<u64>,
    /// Heights with an outcome, whatever it is.
    seen: Ledger,
    /// Blocks whose child did not come yet.
    childless: HashMap<u64, Hash>,
    /// What blocks say of a parent that did not come yet, by the parent's height.
    orphans: HashMap<u64, Hash>,
    verdict: Verdict,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) heights: u64,
    pub(crate) done: u64,
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
}

impl Check {
    pub(crate) fn new(range: RangeInclusive<u64>) -> Self {
        let links = range.end() - range.start();
        let verdict = Verdict { links, heights: links.saturating_add(1), ..Verdict::default() };
        Self {
            seen: range.clone().into(),
            range,
            childless: HashMap::new(),
            orphans: HashMap::new(),
            verdict,
        }
    }

    pub(crate) fn take(&mut self, height: u64, outcome: &Result<Block, TaskError>) {
        if !matches!(self.seen.complete(height), Ok(true)) {
            self.verdict.doubled += 1;
            return;
        }
        match outcome {
            Ok(block) if block.number == height => {
                self.verdict.done += 1;
                self.verdict.transactions += u64::from(block.transactions);
                self.link(block);
            }
            Ok(_) => self.verdict.mistaken += 1,
            Err(error) => {
                self.verdict.failed += 1;
                self.verdict.failure.get_or_insert_with(|| format!("height {height}: {error}"));
            }
        }
    }

    /// Returns how many outcomes came.
    pub(crate) fn count(&self) -> u64 {
        self.seen.completed_count()
    }

    /// Returns the lowest height without an outcome.
    pub(crate) fn first_missing(&self) -> Option<u64> {
        self.seen.next_open(*self.range.start())
    }

    pub(crate) fn finish(self) -> Verdict {
        Verdict { lost: self.seen.missing_count(), ..self.verdict }
    }

    fn link(&mut self, block: &Block) {
        if block.number > *self.range.start() {
            let parent = block.number - 1;
            match self.childless.remove(&parent) {
                Some(hash) => self.verdict.links_good += u64::from(hash == block.parent),
                None => drop(self.orphans.insert(parent, block.parent)),
            }
        }
        if block.number < *self.range.end() {
            match self.orphans.remove(&block.number) {
                Some(hash) => self.verdict.links_good += u64::from(hash == block.hash),
                None => drop(self.childless.insert(block.number, block.hash)),
            }
        }
    }
}
