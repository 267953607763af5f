//! Where a scheduler keeps its tasks and workers: memory that the caller chooses.

use core::fmt;

use crate::scheduler::index::SLOTS_MAX;
pub use crate::scheduler::{TaskSlot, WorkerSlot};

/// Memory for a fixed number of tasks and workers. Nothing else is ever needed.
///
/// Implemented by [`Inline`], by `Heap` (feature `alloc`) and by `&mut` to either, for a storage
/// that lies elsewhere, in a static say. It cannot be implemented outside of this crate.
pub trait Storage: sealed::Sealed {
    /// Lends the slots for reading.
    fn slots(&self) -> (&[TaskSlot], &[WorkerSlot]);

    /// Lends the slots for writing.
    fn slots_mut(&mut self) -> (&mut [TaskSlot], &mut [WorkerSlot]);
}

mod sealed {
    pub trait Sealed {}
    impl<const TASKS: usize, const WORKERS: usize> Sealed for super::Inline<TASKS, WORKERS> {}
    #[cfg(feature = "alloc")]
    impl Sealed for super::Heap {}
    impl<S: Sealed> Sealed for &mut S {}
}

impl<S: Storage> Storage for &mut S {
    #[inline]
    fn slots(&self) -> (&[TaskSlot], &[WorkerSlot]) {
        (**self).slots()
    }

    #[inline]
    fn slots_mut(&mut self) -> (&mut [TaskSlot], &mut [WorkerSlot]) {
        (**self).slots_mut()
    }
}

/// Slots in the value itself, for places without an allocator. [`Inline::new`] is `const`.
#[cfg_attr(test, derive(Clone))]
pub struct Inline<const TASKS: usize, const WORKERS: usize> {
    tasks: [TaskSlot; TASKS],
    workers: [WorkerSlot; WORKERS],
}

impl<const TASKS: usize, const WORKERS: usize> Inline<TASKS, WORKERS> {
    const FITS: () = {
        assert!(TASKS as u64 <= SLOTS_MAX as u64, "more tasks than indices");
        assert!(WORKERS as u64 <= SLOTS_MAX as u64, "more workers than indices");
    };

    /// Makes an empty storage. A count above [`u32::MAX`] does not compile; nor does one above 65,535
    /// on 32-bit bare metal (`target_os = "none"`), where indices are shorter.
    pub const fn new() -> Self {
        let () = Self::FITS;
        Self { tasks: [TaskSlot::new(); TASKS], workers: [WorkerSlot::new(); WORKERS] }
    }
}

impl<const TASKS: usize, const WORKERS: usize> Default for Inline<TASKS, WORKERS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const TASKS: usize, const WORKERS: usize> fmt::Debug for Inline<TASKS, WORKERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inline<{TASKS}, {WORKERS}>")
    }
}

impl<const TASKS: usize, const WORKERS: usize> Storage for Inline<TASKS, WORKERS> {
    #[inline]
    fn slots(&self) -> (&[TaskSlot], &[WorkerSlot]) {
        (&self.tasks, &self.workers)
    }

    #[inline]
    fn slots_mut(&mut self) -> (&mut [TaskSlot], &mut [WorkerSlot]) {
        (&mut self.tasks, &mut self.workers)
    }
}

/// Slots in two boxes, allocated once.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg(feature = "alloc")]
pub struct Heap {
    tasks: alloc::boxed::Box<[TaskSlot]>,
    workers: alloc::boxed::Box<[WorkerSlot]>,
}

#[cfg(feature = "alloc")]
impl Heap {
    /// Allocates room for `tasks` tasks (40 bytes each) and `workers` workers (a few
    /// hundred bytes each).
    ///
    /// # Panics
    /// If either is more than 65,535 on 32-bit bare metal (`target_os = "none"`), where indices are
    /// shorter.
    pub fn with_capacity(tasks: u32, workers: u32) -> Self {
        let most = u64::from(tasks.max(workers));
        assert!(most <= u64::from(SLOTS_MAX), "at most {SLOTS_MAX} tasks, and workers, here");
        Self {
            tasks: alloc::vec![TaskSlot::new(); tasks as usize].into_boxed_slice(),
            workers: alloc::vec![WorkerSlot::new(); workers as usize].into_boxed_slice(),
        }
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heap({}, {})", self.tasks.len(), self.workers.len())
    }
}

#[cfg(feature = "alloc")]
impl Storage for Heap {
    #[inline]
    fn slots(&self) -> (&[TaskSlot], &[WorkerSlot]) {
        (&self.tasks, &self.workers)
    }

    #[inline]
    fn slots_mut(&mut self) -> (&mut [TaskSlot], &mut [WorkerSlot]) {
        (&mut self.tasks, &mut self.workers)
    }
}
