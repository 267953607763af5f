//! Lists of workers that change seldom, linked through the worker slots as in [`list`](super::list).
//!
//! Unlike there, the kind is a field and not a type parameter: one copy of the code serves all five
//! lists, which is what a microcontroller has flash for (decision 0006).

use super::index::{NONE, Stored, narrow, wide};
use super::list::Neighbours;
use super::slot::WorkerSlot;

/// Which list of workers: each kind has a pair of neighbours of its own in every slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub(super) enum RollKind {
    /// Workers with something to tell the caller; also the unused slots.
    Todo,
    /// Workers that are suspended with their link up, or that are absent, the first to do so first.
    Suspended,
    /// Workers that are neither being removed nor leaving, in the order in which they were added.
    Member,
    /// Workers with returned tasks that are not suspects.
    Plain,
    /// Workers with returned tasks that are suspects.
    Suspects,
}

/// How many kinds there are.
pub(super) const ROLL_KINDS: usize = 5;

/// A doubly linked list of workers; every operation is O(1). A worker may be in one list of a kind at
/// a time.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Roll {
    head: Stored,
    /// Unspecified while the roll is empty.
    tail: Stored,
    len: Stored,
    kind: RollKind,
}

impl Roll {
    pub(super) const fn new(kind: RollKind) -> Self {
        Self { head: narrow(NONE), tail: narrow(NONE), len: 0, kind }
    }

    pub(super) const fn len(&self) -> u32 {
        wide(self.len)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) const fn head(&self) -> Option<u32> {
        match wide(self.head) {
            NONE => None,
            head => Some(head),
        }
    }

    /// Returns the one after a worker that is in this roll, or `NONE`.
    pub(super) const fn after(&self, workers: &[WorkerSlot], worker: u32) -> u32 {
        workers[worker as usize].rolls[self.kind as usize].next()
    }

    /// Whether a worker is in this roll, given that it is in no other one of the kind.
    pub(super) const fn contains(&self, workers: &[WorkerSlot], worker: u32) -> bool {
        wide(self.head) == worker
            || workers[worker as usize].rolls[self.kind as usize].prev() != NONE
    }

    pub(super) fn push_back(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let kind = self.kind as usize;
        let tail = if self.is_empty() { NONE } else { wide(self.tail) };
        workers[worker as usize].rolls[kind] = Neighbours::new(tail, NONE);
        match tail {
            NONE => self.head = narrow(worker),
            _ => workers[tail as usize].rolls[kind].set_next(worker),
        }
        self.tail = narrow(worker);
        self.len += 1;
    }

    /// Takes out a worker that is in this roll.
    pub(super) fn remove(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let kind = self.kind as usize;
        let links = core::mem::replace(&mut workers[worker as usize].rolls[kind], Neighbours::OUT);
        let (prev, next) = (links.prev(), links.next());
        match prev {
            NONE => self.head = narrow(next),
            _ => workers[prev as usize].rolls[kind].set_next(next),
        }
        match next {
            NONE => self.tail = narrow(prev),
            _ => workers[next as usize].rolls[kind].set_prev(prev),
        }
        self.len -= 1;
    }

    /// Walks the roll and calls `each` in order.
    ///
    /// # Panics
    /// If the links or the length are inconsistent.
    pub(super) fn check(&self, workers: &[WorkerSlot], mut each: impl FnMut(u32)) {
        let (mut prev, mut at, mut len) = (NONE, wide(self.head), 0);
        while at != NONE {
            assert!(len < self.len(), "a roll is longer than it says");
            let links = workers[at as usize].rolls[self.kind as usize];
            assert!(links.prev() == prev, "a roll is linked one way only");
            each(at);
            (prev, at, len) = (at, links.next(), len + 1);
        }
        assert!(prev == NONE || wide(self.tail) == prev, "a roll ends elsewhere than it says");
        assert!(len == self.len(), "a roll is shorter than it says");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn walk(roll: &Roll, workers: &[WorkerSlot]) -> Vec<u32> {
        let mut seen = Vec::new();
        roll.check(workers, |worker| seen.push(worker));
        seen
    }

    #[test]
    fn a_roll_keeps_its_order_and_knows_who_is_in_it() {
        let mut workers = [WorkerSlot::new(); 4];
        let mut roll = Roll::new(RollKind::Member);
        let mut other = Roll::new(RollKind::Todo);
        for worker in 0..4 {
            roll.push_back(&mut workers, worker);
        }
        other.push_back(&mut workers, 2);
        roll.remove(&mut workers, 1);
        assert!(!roll.contains(&workers, 1));
        assert_eq!(walk(&roll, &workers), [0, 2, 3]);
        assert_eq!((roll.after(&workers, 0), roll.after(&workers, 3)), (2, NONE));
        for worker in [3, 0] {
            roll.remove(&mut workers, worker);
        }
        assert!(roll.contains(&workers, 2) && !roll.contains(&workers, 0));
        assert_eq!((roll.head(), roll.len()), (Some(2), 1));
        roll.remove(&mut workers, 2);
        assert!(roll.is_empty() && walk(&roll, &workers).is_empty());
        assert_eq!(walk(&other, &workers), [2], "another kind is untouched");
    }
}
