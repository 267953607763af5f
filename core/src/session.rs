//! The worker's side of one link: which attempts run here, and whether one more may.
//!
//! Storage is lent: an array, a boxed slice or a `&mut` slice of [`RunSlot`]; its length is the
//! window. Every call is O(1) on average and touches nothing outside.
//!
//! ```
//! use chargehand_core::TaskId;
//! use chargehand_core::session::{RunSlot, Session};
//!
//! let mut session = Session::new([RunSlot::EMPTY; 4]);
//! let task = TaskId::from_parts(0, 0);
//! let slot = session.request(task, 1).unwrap(); // a Request came: start the handler
//! assert_eq!(session.complete(slot), Some((task, 1))); // it ended: send the Response
//! assert_eq!(session.complete(slot), None); // late, or cancelled meanwhile: send nothing
//! ```

use core::fmt;

use crate::id::TaskId;

const NONE: u32 = u32::MAX;

/// The attempts that a worker holds for one manager.
///
/// Request, Cancel and Drain of [`message`](crate::message) map onto its calls of the same names.
#[derive(Clone, Debug)]
pub struct Session<S> {
    entries: S,
    state: SessionState,
}

/// One attempt that runs: where to keep what belongs to it, and what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RunId {
    index: u32,
    generation: u32,
}

impl RunId {
    /// Returns an index below the window, unique among the attempts that run at the same time.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Room for one attempt.
#[derive(Clone, Copy, Debug)]
pub struct RunSlot {
    task: TaskId,
    attempt: u16,
    used: bool,
    generation: u32,
    /// The next entry of the same bucket, or of the free list.
    next: u32,
    /// The first entry of the bucket with this entry's index: the table has as many as entries.
    bucket: u32,
}

impl RunSlot {
    /// Fresh room.
    pub const EMPTY: Self = Self {
        task: TaskId::from_parts(0, 0),
        attempt: 0,
        used: false,
        generation: 0,
        next: NONE,
        bucket: NONE,
    };
}

/// A request that a correct manager does not send. Refuse the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SessionError {
    /// As many attempts as the window run already.
    OverWindow,
    /// The very same attempt runs already.
    Duplicate,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OverWindow => "a request past the window that the worker named in its Hello",
            Self::Duplicate => "a request for an attempt that runs already",
        })
    }
}

impl core::error::Error for SessionError {}

#[cfg(feature = "alloc")]
impl Session<alloc::boxed::Box<[RunSlot]>> {
    /// Makes an empty session for at most `window` attempts at once, on the heap.
    pub fn with_window(window: u16) -> Self {
        Self::new(alloc::vec![RunSlot::EMPTY; usize::from(window)].into_boxed_slice())
    }
}

impl<S: AsRef<[RunSlot]> + AsMut<[RunSlot]>> Session<S> {
    /// Makes an empty session for at most as many attempts at once as there are `entries`. What
    /// they held is forgotten.
    ///
    /// # Panics
    /// Panics where there are `u32::MAX` entries or more.
    pub fn new(entries: S) -> Self {
        let mut session =
            Self { entries, state: SessionState { free: NONE, running: 0, draining: false } };
        session.lend().clear();
        session
    }

    /// Takes a request in and returns where it runs. Also while draining: it may have crossed the
    /// Drain on its way.
    ///
    /// # Errors
    /// Returns [`SessionError`] where a correct manager would not have sent it: close the link.
    /// Nothing was changed.
    #[cfg_attr(feature = "alloc", inline)]
    pub fn request(&mut self, task: TaskId, attempt: u16) -> Result<RunId, SessionError> {
        self.lend().request(task, attempt)
    }

    /// Ends an attempt whose handler ended, and returns what to answer; `None` where it was
    /// cancelled or completed before.
    #[cfg_attr(feature = "alloc", inline)]
    pub fn complete(&mut self, slot: RunId) -> Option<(TaskId, u16)> {
        self.lend().complete(slot)
    }

    /// Ends an attempt that the manager no longer wants and returns where it ran; `None` where it
    /// does not run, because the answer crossed the Cancel on its way. Answer nothing.
    pub fn cancel(&mut self, task: TaskId, attempt: u16) -> Option<RunId> {
        self.lend().cancel(task, attempt)
    }

    /// Returns whether an attempt still runs: it was neither completed nor cancelled.
    pub fn contains(&self, slot: RunId) -> bool {
        let entry = self.entries.as_ref().get(slot.index());
        entry.is_some_and(|entry| entry.used && entry.generation == slot.generation)
    }

    /// Returns the task and the attempt that run there; `None` once that was completed or cancelled.
    pub fn attempt(&self, slot: RunId) -> Option<(TaskId, u16)> {
        let entry = self.entries.as_ref().get(slot.index())?;
        self.contains(slot).then_some((entry.task, entry.attempt))
    }

    /// Notes that the worker wants nothing more: see [`is_drained`](Session::is_drained).
    pub fn drain(&mut self) {
        self.state.draining = true;
    }

    /// Returns whether the worker wants nothing more.
    pub fn is_draining(&self) -> bool {
        self.state.draining
    }

    /// Returns whether the worker wants nothing more and holds nothing: it may leave.
    pub fn is_drained(&self) -> bool {
        self.state.draining && self.state.running == 0
    }

    /// Returns how many attempts run.
    pub fn running(&self) -> usize {
        self.state.running as usize
    }

    /// Returns how many may run at once.
    pub fn window(&self) -> usize {
        self.entries.as_ref().len()
    }

    fn lend(&mut self) -> SessionMut<'_> {
        SessionMut { entries: self.entries.as_mut(), state: &mut self.state }
    }
}

#[derive(Clone, Debug)]
struct SessionState {
    free: u32,
    running: u32,
    draining: bool,
}

/// The rules, once for every storage.
struct SessionMut<'a> {
    entries: &'a mut [RunSlot],
    state: &'a mut SessionState,
}

impl SessionMut<'_> {
    fn clear(&mut self) {
        let count = u32::try_from(self.entries.len()).expect("fewer than u32::MAX entries");
        assert!(count != NONE, "fewer than u32::MAX entries");
        for index in (0..count).rev() {
            let next = core::mem::replace(&mut self.state.free, index);
            self.entries[index as usize] = RunSlot { next, ..RunSlot::EMPTY };
        }
    }

    #[inline]
    fn request(&mut self, task: TaskId, attempt: u16) -> Result<RunId, SessionError> {
        let index = self.state.free;
        if index == NONE {
            return Err(SessionError::OverWindow);
        }
        let bucket = self.bucket_of(task, attempt);
        if self.find(bucket, task, attempt).is_some() {
            return Err(SessionError::Duplicate);
        }
        let first = self.entries[bucket].bucket;
        let entry = &mut self.entries[index as usize];
        assert!(!entry.used, "an entry is free or used, never both");
        self.state.free = entry.next;
        *entry = RunSlot { task, attempt, used: true, next: first, ..*entry };
        let generation = entry.generation;
        self.entries[bucket].bucket = index;
        self.state.running += 1;
        Ok(RunId { index, generation })
    }

    #[inline]
    fn complete(&mut self, slot: RunId) -> Option<(TaskId, u16)> {
        let entry = self.entries.get(slot.index())?;
        if !entry.used || entry.generation != slot.generation {
            return None; // As `contains` says.
        }
        let (task, attempt) = (entry.task, entry.attempt);
        self.release(slot.index);
        Some((task, attempt))
    }

    fn cancel(&mut self, task: TaskId, attempt: u16) -> Option<RunId> {
        if self.state.running == 0 {
            return None;
        }
        let index = self.find(self.bucket_of(task, attempt), task, attempt)?;
        let generation = self.entries[index as usize].generation;
        self.release(index);
        Some(RunId { index, generation })
    }

    /// Only where there is an entry.
    fn bucket_of(&self, task: TaskId, attempt: u16) -> usize {
        // Task slots are dense, so they spread well; the rest is mixed in for managers that differ.
        let mixed = u64::from(task.slot())
            ^ (u64::from(task.generation()) << 32)
            ^ (u64::from(attempt) << 24);
        let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        // The upper half times the length, so that no division is needed (Lemire 2016).
        ((hash * self.entries.len() as u64) >> 32) as usize
    }

    fn find(&self, bucket: usize, task: TaskId, attempt: u16) -> Option<u32> {
        let mut index = self.entries[bucket].bucket;
        while index != NONE {
            let entry = &self.entries[index as usize];
            if entry.task == task && entry.attempt == attempt {
                return Some(index);
            }
            index = entry.next;
        }
        None
    }

    #[cfg_attr(feature = "alloc", inline)]
    fn release(&mut self, index: u32) {
        let RunSlot { task, attempt, next, .. } = self.entries[index as usize];
        let bucket = self.bucket_of(task, attempt);
        let mut before = self.entries[bucket].bucket;
        if before == index {
            self.entries[bucket].bucket = next;
        } else {
            while self.entries[before as usize].next != index {
                before = self.entries[before as usize].next;
            }
            self.entries[before as usize].next = next;
        }
        let entry = &mut self.entries[index as usize];
        assert!(entry.used, "only what runs can end");
        entry.used = false;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.state.free;
        self.state.free = index;
        self.state.running -= 1;
    }
}

#[cfg(test)]
mod tests;
