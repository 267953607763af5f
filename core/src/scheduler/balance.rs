//! Which worker is next: the one that holds the fewest tasks, among equals the one that has
//! waited longest for its turn.
//!
//! Workers that hold a suspect stand in an order of their own, so that one without is found at once.
//! Among workers of the same load, those without a suspect come first.
//!
//! Workers with room stand in levels, one per load in use, each first in first out; the levels form
//! a list by load. A send or an answer moves a worker to the level next door, so all moves are O(1).
//! The only worker with room stands in no level. That is the usual case in a busy pool: all windows
//! are full, and an answer makes room for the next task (decision 0007).
//!
//! A worker that comes in is placed from the nearer end of the list. New workers hold nothing, so that
//! is usually the first step; for one that was full it takes at most as many steps as its window, or
//! as there are different loads, whichever is less, however many workers there are.

use super::index::{NONE, Stored, narrow, wide};
use super::list::{Free, Linkage, List, Neighbours, define_linkage};
use super::sets::GROUPS;
use super::slot::WorkerSlot;

/// The order of those that hold no suspect.
pub(super) const CLEAN: usize = 0;
/// How many orders there are: two for each group of workers that serve the same queues.
const ORDERS: usize = 2 * GROUPS;

/// All workers of one load that have room. The nodes lie in the worker slots; no level is empty, so
/// there are always enough.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Level {
    load: u32,
    members: List<Ready>,
    neighbours: Neighbours,
}

impl Level {
    pub(super) const fn new() -> Self {
        Self { load: 0, members: List::new(), neighbours: Neighbours::OUT }
    }
}

define_linkage! {
    /// The workers of one level.
    Ready: WorkerSlot, ready
}
define_linkage! {
    /// The unused level nodes.
    Nodes: WorkerSlot, node.neighbours
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Balance {
    /// Those that hold no suspect, then those that do; and so for each group.
    orders: [Order; ORDERS],
    free: Free<Nodes>,
    /// Where workers are chosen by their answers, they stand in these instead, in the order in which they
    /// came.
    #[cfg(feature = "choice")]
    rings: [List<Ready>; ORDERS],
}

/// Workers with room, by load.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Order {
    /// Whose turn it is, or `NONE`.
    first: Stored,
    lowest: Stored,
    highest: Stored,
}

impl Order {
    const EMPTY: Self = Self { first: narrow(NONE), lowest: narrow(NONE), highest: narrow(NONE) };

    /// Whether at most one worker is in here; then there is no level.
    const fn is_alone(&self) -> bool {
        wide(self.lowest) == NONE
    }

    /// Returns the first that is not `worker`, or `NONE`.
    fn first_but(&self, workers: &[WorkerSlot], worker: u32) -> u32 {
        let first = wide(self.first);
        if first != worker {
            return first;
        }
        if self.is_alone() {
            return NONE;
        }
        let next = workers[worker as usize].ready.next();
        if next != NONE {
            return next;
        }
        let above = workers[self.lowest as usize].node.neighbours.next();
        let level = workers.get(above as usize);
        level.and_then(|slot| slot.node.members.head()).unwrap_or(NONE)
    }

    /// Chooses whose turn it is: the one that is first in the lowest level.
    fn choose(&mut self, workers: &[WorkerSlot]) {
        let first = workers.get(self.lowest as usize).and_then(|slot| slot.node.members.head());
        self.first = narrow(first.unwrap_or(NONE));
    }

    /// Returns the highest level below `load`, or `NONE`, searching from both ends at once.
    fn below(&self, workers: &[WorkerSlot], load: u32) -> u32 {
        let (mut prev, mut up, mut down) = (NONE, wide(self.lowest), wide(self.highest));
        while up != NONE {
            let low = &workers[up as usize].node;
            if low.load >= load {
                return prev;
            }
            let high = &workers[down as usize].node;
            if high.load < load {
                return down;
            }
            (prev, up, down) = (up, low.neighbours.next(), high.neighbours.prev());
        }
        prev
    }
}

/// One of the orders, with the nodes that its levels are made of.
struct Levels<'a> {
    order: &'a mut Order,
    free: &'a mut Free<Nodes>,
    workers: &'a mut [WorkerSlot],
}

impl Balance {
    pub(super) const fn new() -> Self {
        Self {
            orders: [Order::EMPTY; ORDERS],
            free: Free::new(),
            #[cfg(feature = "choice")]
            rings: [List::new(); ORDERS],
        }
    }

    /// Whether no worker of the first group has room.
    pub(super) const fn is_empty(&self) -> bool {
        #[cfg(feature = "choice")]
        if !(self.rings[0].is_empty() && self.rings[1].is_empty()) {
            return false;
        }
        wide(self.orders[CLEAN].first) == NONE && wide(self.orders[1].first) == NONE
    }

    /// Returns the worker whose turn it is among those that hold no suspect, or `NONE`.
    #[inline]
    pub(super) const fn first_clean(&self) -> u32 {
        wide(self.orders[CLEAN].first)
    }

    /// Returns the worker whose turn it would be without `worker`, or among those only that hold no
    /// suspect.
    pub(super) fn next_but(
        &self,
        workers: &[WorkerSlot],
        worker: u32,
        clean_only: bool,
    ) -> Option<u32> {
        let clean = self.orders[CLEAN].first_but(workers, worker);
        let other = if clean_only { NONE } else { self.orders[1].first_but(workers, worker) };
        if clean == NONE || other == NONE {
            let first = if clean == NONE { other } else { clean };
            return (first != NONE).then_some(first);
        }
        let load = |worker: u32| workers[worker as usize].held.len();
        Some(if load(clean) <= load(other) { clean } else { other })
    }

    /// Returns the worker whose turn it is in an order, without one.
    #[cfg(feature = "queues")]
    pub(super) fn first_of(&self, workers: &[WorkerSlot], order: usize, but: u32) -> Option<u32> {
        Some(self.orders[order].first_but(workers, but)).filter(|&first| first != NONE)
    }

    /// Whether a worker was taken in.
    #[inline]
    pub(super) fn contains(&self, workers: &[WorkerSlot], worker: u32) -> bool {
        let slot = &workers[worker as usize];
        wide(self.orders[slot.order()].first) == worker || wide(slot.level) != NONE
    }

    /// Takes in a worker that has room for more than it holds.
    #[inline]
    pub(super) fn enter(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        if wide(self.orders[order].first) == NONE {
            self.orders[order].first = narrow(worker);
        } else {
            self.enter_level(workers, worker, order);
        }
    }

    /// Takes a worker out.
    #[inline]
    pub(super) fn leave(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        if self.orders[order].is_alone() {
            self.orders[order].first = narrow(NONE);
        } else {
            self.leave_level(workers, worker, order);
        }
    }

    /// Follows a worker in here: its load grew by one, and it still has room.
    #[inline]
    pub(super) fn raise(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        if !self.orders[order].is_alone() {
            self.follow(workers, worker, order);
        }
    }

    /// Follows a worker whose load fell by one, and takes it in if it was full.
    #[inline]
    pub(super) fn lower(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        let first = wide(self.orders[order].first);
        if first == NONE {
            self.orders[order].first = narrow(worker);
        } else if wide(workers[worker as usize].level) != NONE {
            self.follow(workers, worker, order);
        } else if first != worker {
            self.enter_level(workers, worker, order);
        }
    }

    // Each borrows its pieces itself, so that callers, which mostly have nothing to do here, keep them
    // in registers.
    fn enter_level(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        self.levels(workers, order).enter(worker);
    }

    // Without: above the flash aim by 124 bytes.
    #[inline(never)]
    fn leave_level(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        self.levels(workers, order).leave(worker);
    }

    fn follow(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        self.levels(workers, order).follow(worker);
    }

    #[inline]
    fn levels<'a>(&'a mut self, workers: &'a mut [WorkerSlot], order: usize) -> Levels<'a> {
        Levels { order: &mut self.orders[order], free: &mut self.free, workers }
    }
}

#[cfg(feature = "choice")]
impl Balance {
    /// Takes a worker into a ring, at its end.
    pub(super) fn enter_ring(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        self.rings[order].append(workers, worker);
        // In a ring it is of no load, but in here.
        workers[worker as usize].level = narrow(worker);
    }

    /// Takes a worker out of its ring.
    pub(super) fn leave_ring(&mut self, workers: &mut [WorkerSlot], worker: u32, order: usize) {
        self.rings[order].take_out(workers, worker);
        workers[worker as usize].level = narrow(NONE);
    }

    /// Returns the first workers of a ring, so many at most.
    pub(super) fn sample(
        &self,
        workers: &[WorkerSlot],
        order: usize,
        most: usize,
    ) -> impl Iterator<Item = u32> {
        let first = self.rings[order].head();
        let after = |&worker: &u32| match workers[worker as usize].ready.next() {
            NONE => None,
            next => Some(next),
        };
        core::iter::successors(first, after).take(most)
    }

    /// Puts the first of a ring at its end, if it has more than so many.
    pub(super) fn turn_ring(&mut self, workers: &mut [WorkerSlot], order: usize, most: usize) {
        let ring = &mut self.rings[order];
        if ring.len() as usize > most {
            let first = ring.take_first(workers).expect("it has more than none");
            ring.append(workers, first);
        }
    }
}

impl Levels<'_> {
    #[inline]
    fn enter(mut self, worker: u32) {
        if self.order.is_alone() {
            self.stand(wide(self.order.first));
        }
        self.stand(worker);
        self.order.choose(self.workers);
    }

    /// Puts a worker into the level of its load.
    fn stand(&mut self, worker: u32) {
        let load = self.workers[worker as usize].held.len();
        let below = self.order.below(self.workers, load);
        self.join(worker, load, below);
    }

    #[inline]
    fn leave(mut self, worker: u32) {
        self.part(worker);
        self.order.choose(self.workers);
    }

    /// Follows a worker whose load grew or fell by one.
    #[inline]
    fn follow(mut self, worker: u32) {
        let slot = &self.workers[worker as usize];
        let (new, level) = (slot.held.len(), wide(slot.level));
        let Level { load, members, neighbours } = self.workers[level as usize].node;
        let beside = if new > load { neighbours.next() } else { neighbours.prev() };
        let next_door = beside != NONE && self.workers[beside as usize].node.load == new;
        let is_only = members.len() == 1;
        if is_only && !next_door {
            self.workers[level as usize].node.load = new;
            return;
        }
        let below = if new > load {
            if is_only { neighbours.prev() } else { level }
        } else if next_door {
            self.workers[beside as usize].node.neighbours.prev()
        } else {
            beside
        };
        self.part(worker);
        self.join(worker, new, below);
        self.order.choose(self.workers);
    }

    /// Adds a worker to the level of `load`, which is the one after `below`, or is made there.
    // A copy in each place saves instructions, and is too much where flash is short.
    #[allow(
        clippy::inline_always,
        reason = "6.8 % of a cycle with many workers, where flash is not short: decision 0010"
    )]
    #[cfg_attr(feature = "alloc", inline(always))]
    fn join(&mut self, worker: u32, load: u32, below: u32) {
        let above = if below == NONE {
            wide(self.order.lowest)
        } else {
            self.workers[below as usize].node.neighbours.next()
        };
        let level = if above != NONE && self.workers[above as usize].node.load == load {
            above
        } else {
            self.insert(load, below, above)
        };
        self.put(worker, level);
    }

    /// Puts a worker into a level, behind those that are there.
    #[inline]
    fn put(&mut self, worker: u32, level: u32) {
        let mut members = self.workers[level as usize].node.members;
        members.push_back(self.workers, worker);
        self.workers[level as usize].node.members = members;
        self.workers[worker as usize].level = narrow(level);
    }

    fn insert(&mut self, load: u32, below: u32, above: u32) -> u32 {
        let level = self.free.take(self.workers).expect("one node per worker suffices");
        let neighbours = Neighbours::new(below, above);
        self.workers[level as usize].node = Level { load, members: List::new(), neighbours };
        self.tie(below, level);
        match above {
            NONE => self.order.highest = narrow(level),
            _ => self.workers[above as usize].node.neighbours.set_prev(level),
        }
        level
    }

    /// Says which level comes after `below`.
    fn tie(&mut self, below: u32, level: u32) {
        match below {
            NONE => self.order.lowest = narrow(level),
            _ => self.workers[below as usize].node.neighbours.set_next(level),
        }
    }

    /// Takes a worker out of its level, and the level out of the list if nobody is left.
    #[allow(
        clippy::inline_always,
        reason = "6.8 % of a cycle with many workers, where flash is not short: decision 0010"
    )]
    #[cfg_attr(feature = "alloc", inline(always))]
    fn part(&mut self, worker: u32) {
        let level = wide(self.workers[worker as usize].level);
        let mut members = self.workers[level as usize].node.members;
        members.remove(self.workers, worker);
        self.workers[level as usize].node.members = members;
        self.workers[worker as usize].level = narrow(NONE);
        if !members.is_empty() {
            return;
        }
        let neighbours = self.workers[level as usize].node.neighbours;
        let (prev, next) = (neighbours.prev(), neighbours.next());
        self.tie(prev, next);
        match next {
            NONE => self.order.highest = narrow(prev),
            _ => self.workers[next as usize].node.neighbours.set_prev(prev),
        }
        self.free.give(self.workers, level);
    }
}

impl Balance {
    /// Checks the levels against what the workers hold, and returns how many workers they have.
    ///
    /// # Panics
    /// If a level is empty or out of order, or a worker in the wrong one.
    pub(super) fn check(&self, workers: &[WorkerSlot]) -> u32 {
        let (mut count, mut levels) = (0, 0);
        for order in 0..ORDERS {
            let (members, used) = self.check_order(workers, order);
            (count, levels) = (count + members, levels + used);
        }
        let unused = self.free.check(workers, |_| ());
        assert!(unused + levels == workers.len(), "a level node was lost");
        #[cfg(feature = "choice")]
        let count = count + self.check_rings(workers);
        count
    }

    /// Returns how many workers are in the rings.
    #[cfg(feature = "choice")]
    fn check_rings(&self, workers: &[WorkerSlot]) -> u32 {
        for (order, ring) in self.rings.iter().enumerate() {
            ring.check(workers, |worker| {
                let slot = &workers[worker as usize];
                assert!(wide(slot.level) == worker, "a worker does not know that it is in a ring");
                assert!(slot.order() == order, "a worker is in the other ring");
            });
        }
        self.rings.iter().map(List::len).sum()
    }

    /// Returns how many workers and how many levels are in an order.
    fn check_order(&self, workers: &[WorkerSlot], number: usize) -> (u32, usize) {
        let order = &self.orders[number];
        let (mut prev, mut index) = (NONE, wide(order.lowest));
        let (mut count, mut levels) = (0, 0);
        while index != NONE {
            assert!(levels < workers.len(), "the levels run in a circle");
            let level = &workers[index as usize].node;
            assert!(level.neighbours.prev() == prev, "the levels are linked one way only");
            assert!(!level.members.is_empty(), "a level is empty");
            if prev != NONE {
                assert!(workers[prev as usize].node.load < level.load, "levels are out of order");
            }
            level.members.check(workers, |worker| {
                let slot = &workers[worker as usize];
                assert!(wide(slot.level) == index, "a worker is not in the level that it says");
                assert!(slot.held.len() == level.load, "a worker is in another load's level");
                assert!(slot.order() == number, "a worker is in the other order");
            });
            count += level.members.len();
            (prev, index, levels) = (index, level.neighbours.next(), levels + 1);
        }
        assert!(wide(order.highest) == prev, "the levels end somewhere else than they say");
        if order.is_alone() {
            return (u32::from(wide(order.first) != NONE), levels);
        }
        let lowest = &workers[order.lowest as usize].node;
        let first = lowest.members.head().unwrap_or(NONE);
        assert!(first == wide(order.first), "another worker's turn has come");
        (count, levels)
    }
}
