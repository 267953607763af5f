//! What one queue has: its tasks that wait, and what it counts.

use alloc::vec::Vec;

#[cfg(not(feature = "hedging"))]
use super::super::hedge::Hedge;
use super::super::list::{Linkage, List, Neighbours, define_linkage};
use super::super::sets::Groups;
use super::super::slot::{Queue, TaskSlot};
use crate::explain::Waits;
#[cfg(feature = "hedging")]
use crate::options::Hedge;
use crate::planted::planted;
use crate::queue::QueueOptions;
use crate::time::Instant;

/// What a queue has.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::scheduler) struct Line {
    pub(super) options: QueueOptions,
    /// How far it is on, beyond the one that was next last in its class.
    pub(super) pass: u64,
    /// When its rate's bucket is full.
    pub(super) full: Instant,
    /// Which lane is next.
    pub(super) turn: u8,
    /// New tasks: by lane, and those whose key is free now.
    pub(super) fresh: [List<Queue>; 3],
    /// What came back: those that are no suspects, and those that are.
    pub(super) wards: [Wards; 2],
    pub(super) returned: u32,
    /// How many wait for their first attempt, and for no other of their key, by lane.
    pub(super) waiting: [u32; 2],
    /// How many stand behind others of their keys.
    pub(super) behind: u32,
    /// Attempts.
    pub(super) in_flight: u32,
    /// Those among them that are second ones of their tasks.
    pub(super) seconds: u32,
    /// How many have no outcome yet.
    pub(super) open: u32,
    pub(super) sent: u64,
    /// Whose workers serve it.
    pub(in crate::scheduler) groups: Groups,
    /// When a new task of it that was held back goes to a worker with room, whoever that is.
    #[cfg(feature = "choice")]
    pub(in crate::scheduler) patience: Instant,
}

/// Tasks of one line and class that came back, by worker: as the wards in worker slots are.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::scheduler) struct Wards {
    /// By worker slot; empty until something came back.
    pub(super) table: Vec<Ward>,
    /// Those that have some, in turn.
    pub(super) holders: List<Holders>,
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::scheduler) struct Ward {
    pub(super) tasks: List<Queue>,
    pub(super) holders: Neighbours,
}

define_linkage! {
    /// The wards that have tasks.
    Holders: Ward, holders
}

impl Wards {
    pub(super) const fn new() -> Self {
        Self { table: Vec::new(), holders: List::new() }
    }

    pub(super) fn head(&self, worker: u32) -> Option<u32> {
        self.table.get(worker as usize)?.tasks.head()
    }

    /// Puts a task last into a worker's ward. Returns whether it is the only one there.
    pub(super) fn put(
        &mut self,
        tasks: &mut [TaskSlot],
        worker: u32,
        task: u32,
        workers: usize,
    ) -> bool {
        if self.table.is_empty() {
            self.table.resize(workers, Ward { tasks: List::new(), holders: Neighbours::OUT });
        }
        let ward = &mut self.table[worker as usize].tasks;
        let is_first = ward.is_empty();
        ward.append(tasks, task);
        if is_first {
            self.holders.append(&mut self.table, worker);
        }
        is_first
    }

    /// Takes a task out of a worker's ward. Returns whether others are left there.
    pub(super) fn take_out(&mut self, tasks: &mut [TaskSlot], worker: u32, task: u32) -> bool {
        let ward = &mut self.table[worker as usize].tasks;
        ward.take_out(tasks, task);
        let is_empty = ward.is_empty();
        if is_empty {
            self.holders.take_out(&mut self.table, worker);
        }
        !is_empty
    }
}

impl Line {
    pub(super) const fn new(options: QueueOptions) -> Self {
        Self {
            options,
            pass: 0,
            full: Instant::EPOCH,
            turn: 0,
            fresh: [List::new(); 3],
            wards: [Wards::new(), Wards::new()],
            returned: 0,
            waiting: [0; 2],
            behind: 0,
            in_flight: 0,
            seconds: 0,
            open: 0,
            sent: 0,
            groups: Groups::ONLY,
            #[cfg(feature = "choice")]
            patience: Instant::FAR_FUTURE,
        }
    }

    /// Returns how many tasks wait for nothing but to be sent.
    pub(super) fn ready(&self) -> u32 {
        let fresh: u32 = self.fresh.iter().map(List::len).sum();
        fresh + self.returned
    }

    pub(super) fn class(&self) -> usize {
        self.options.class as usize
    }

    /// Returns when its tasks are hedged that do not say so themselves.
    #[cfg(feature = "hedging")]
    pub(in crate::scheduler) const fn hedge(&self) -> Option<Hedge> {
        self.options.hedge
    }

    #[cfg(not(feature = "hedging"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) const fn hedge(&self) -> Option<Hedge> {
        None
    }

    /// Returns why the queue as a whole may not send now, if it may not.
    pub(in crate::scheduler) fn barred(&self, clock: Instant) -> Option<Waits> {
        let QueueOptions { in_flight_max, rate, is_paused, .. } = self.options;
        if is_paused && !planted("a paused queue sends") {
            return Some(Waits::Paused);
        }
        let is_full = in_flight_max.is_some_and(|most| self.in_flight >= most);
        if is_full && !planted("a queue sends more than it may") {
            return Some(Waits::QueueInFlight);
        }
        let until = rate.map_or(Instant::EPOCH, |rate| rate.next(self.full));
        (until > clock).then_some(Waits::QueueRate { until })
    }
}
