//! Requests of a map that are here and not tasks yet.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;

use crate::error::TaskError;
use crate::mailbox::batches::{Intake, Supply};
use crate::payload::Body;

/// What a map has left to do. Its stream bounds how much that is.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Those that the stream has left just now. Empty but for the moment.
    pub(super) arriving: VecDeque<Result<Body, TaskError>>,
    /// Each with its index.
    pub(super) queue: VecDeque<(u64, Body)>,
    /// Those whose answers were dropped for want of memory.
    pub(super) again: BTreeMap<u64, Body>,
    /// Those that are tasks.
    pub(super) places: Places,
    /// How many have come in all.
    pub(super) count: u64,
    /// No more will come.
    pub(super) is_ended: bool,
    /// The source has none now.
    pub(super) waits: bool,
    /// No more are wanted.
    pub(super) is_closed: bool,
}

/// Which request a task is, by a number that is small enough to lie beside it.
#[derive(Debug, Default)]
pub(super) struct Places {
    indices: Vec<u64>,
    free: Vec<u32>,
}

impl Places {
    pub(super) fn take(&mut self, index: u64) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.indices.push(0);
            u32::try_from(self.indices.len() - 1).expect("fewer tasks than 2^32")
        });
        self.indices[place as usize] = index;
        place
    }

    pub(super) fn get(&self, place: u32) -> u64 {
        self.indices[place as usize]
    }

    pub(super) fn leave(&mut self, place: u32) -> u64 {
        self.free.push(place);
        self.get(place)
    }
}

impl Requests {
    /// Returns which one is next, if any is here.
    #[inline]
    pub(super) fn next(&self) -> Option<u64> {
        self.queue.front().map(|(index, _)| *index)
    }

    /// Takes no more.
    pub(super) fn close(&mut self) {
        self.queue = VecDeque::new();
        (self.is_ended, self.is_closed) = (true, true);
    }

    /// Takes what the stream has left, and returns whether that is anything. It runs under the lock.
    /// `is_hungry` says whether workers may run dry with so many requests here.
    pub(super) fn take(
        &mut self,
        intake: &mut Intake,
        is_hungry: impl FnOnce(usize) -> bool,
    ) -> bool {
        mem::swap(&mut self.arriving, &mut intake.requests);
        self.is_ended |= intake.supply == Supply::Ended;
        self.waits = intake.supply == Supply::Waits;
        intake.closed |= self.is_closed;
        intake.is_hungry = is_hungry(self.queue.len() + self.arriving.len());
        !self.arriving.is_empty()
    }
}
