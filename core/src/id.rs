//! Names for tasks, workers and links: small, `Copy`, and never mistaken for one another.

/// One accepted task: a storage slot and how many tasks have had that slot before.
///
/// Unique until the same slot has been used 2^32 times. On the wire it is opaque to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TaskId {
    slot: u32,
    generation: u32,
}

impl TaskId {
    /// Makes an id from its parts, as a decoder of foreign messages needs to.
    pub const fn from_parts(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Returns the slot: an index below the task capacity, unique among tasks that live at the
    /// same time. Use it to find the task's payload in a table of the caller's own.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// Returns how many tasks had the slot before this one.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// One worker of the pool: a storage slot and how many workers have had that slot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WorkerId {
    slot: u32,
    generation: u32,
}

impl WorkerId {
    /// Makes an id of a slot and of how many workers had it before. That it is a worker's is not
    /// checked; the n-th worker of a new pool is slot n of generation 0, counted from 0.
    pub const fn from_parts(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// Returns the slot: an index below the worker capacity, unique among the workers of a pool.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// Returns how many workers had the slot before this one.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// One connection to a worker. Every connect of the same worker gets a greater epoch, so that
/// whatever comes late from an older connection can be told apart and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Link {
    worker: WorkerId,
    epoch: u32,
}

impl Link {
    pub(crate) const fn new(worker: WorkerId, epoch: u32) -> Self {
        Self { worker, epoch }
    }

    /// Returns the worker at the other end.
    pub const fn worker(self) -> WorkerId {
        self.worker
    }

    /// Returns the number of this connection among all of its worker's, from 1 on.
    pub const fn epoch(self) -> u32 {
        self.epoch
    }
}
