//! Which queues a worker serves.

use super::{QUEUES_MAX, QueueId};

/// How many sets of queues that are not all of a pool's its workers may serve at once. Workers that serve the
/// same have one; so these are kinds of workers, however many workers there are of each.
///
/// A worker with one more serves the largest of those in use that is part of its own, or nothing, until its next
/// link: [`WorkerStats::serves`](crate::WorkerStats::serves) says which.
pub const SETS_MAX: usize = 8;

/// A set of queues: those that a worker serves. Start from [`ALL`](Self::ALL) or [`NONE`](Self::NONE).
///
/// ```
/// use chargehand_core::{QueueId, QueueSet};
///
/// let archive = QueueSet::NONE.with(QueueId::new(2));
/// assert!(archive.contains(QueueId::new(2)) && !archive.contains(QueueId::DEFAULT));
/// assert!(QueueSet::ALL.contains(QueueId::DEFAULT));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueueSet(u64);

const _: () = assert!(QUEUES_MAX == u64::BITS as usize);

impl QueueSet {
    /// Every queue of a pool, whatever it has.
    pub const ALL: Self = Self(u64::MAX);
    /// None at all.
    pub const NONE: Self = Self(0);

    /// Adds a queue. One at a place that no pool has changes nothing.
    #[must_use]
    pub const fn with(self, queue: QueueId) -> Self {
        let bit = 1_u64.checked_shl(queue.place() as u32);
        Self(self.0 | if let Some(bit) = bit { bit } else { 0 })
    }

    /// Returns whether a queue is one of them.
    pub const fn contains(self, queue: QueueId) -> bool {
        let place = queue.place() as u32;
        place < u64::BITS && self.0 >> place & 1 == 1
    }

    /// Returns whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether it has every queue that a pool may have.
    pub const fn is_all(self) -> bool {
        self.0 == u64::MAX
    }

    /// Returns the queues in it, by their places.
    pub fn iter(self) -> impl Iterator<Item = QueueId> {
        let places = 0..u8::try_from(QUEUES_MAX).expect("a few");
        places.map(QueueId::new).filter(move |&queue| self.contains(queue))
    }

    /// Returns what it is to a pool of so many queues: [`ALL`](Self::ALL) if it has each of them, and none that the
    /// pool has not.
    pub(crate) const fn of(self, queues: usize) -> Self {
        let all = if queues >= QUEUES_MAX { u64::MAX } else { (1 << queues) - 1 };
        if self.0 & all == all { Self::ALL } else { Self(self.0 & all) }
    }

    /// Returns how many there are, and which, as a number: sets in this order, those with fewer first.
    pub(crate) const fn rank(self) -> (u32, u64) {
        (self.0.count_ones(), self.0)
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns those that are not in another one.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Default for QueueSet {
    /// [`ALL`](Self::ALL).
    fn default() -> Self {
        Self::ALL
    }
}

impl core::fmt::Debug for QueueSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.is_all() {
            return f.write_str("ALL");
        }
        f.debug_set().entries(self.iter().map(QueueId::place)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_what_a_pool_knows_of_it() {
        let two = QueueSet::NONE.with(QueueId::new(0)).with(QueueId::new(1));
        assert_eq!(two.of(2), QueueSet::ALL);
        assert_eq!(two.of(3), two);
        assert_eq!(two.of(1), QueueSet::ALL);
        let third = QueueSet::NONE.with(QueueId::new(2));
        assert_eq!((third.of(2), third.of(64)), (QueueSet::NONE, third));
        assert_eq!(QueueSet::ALL.of(64), QueueSet::ALL);
        assert_eq!(QueueSet::NONE.with(QueueId::new(64)), QueueSet::NONE);
        assert!(!QueueSet::ALL.contains(QueueId::new(64)));
        assert_eq!(std::format!("{:?} {:?}", two, QueueSet::ALL), "{0, 1} ALL");
    }
}
