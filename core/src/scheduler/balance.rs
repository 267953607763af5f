//! Which worker is next: the one that holds the fewest tasks, among equals the one that has
//! waited longest for its turn.
//!
//! Workers that hold a suspect stand in an order of their own, so that one without is found at once.
//! Among workers of the same load, those without a suspect come first.
//!
//! Workers with room stand in levels, one per load in use, each first in first out; the levels form
//! a list by load. A send or an answer moves a worker to the level next door, so all moves are O(1).
//! A worker that is alone stands in no level: so it is most of the time in a pool whose windows are
//! full, where an answer makes room for the next task.
//!
//! A worker that comes in is placed from the nearer end of the list: as a rule that is at once, since
//! new workers hold nothing; for one that was full it takes at most as many steps as its window or
//! as there are different loads, whichever is less, however many workers there are.

use super::index::{NONE, Stored, narrow, wide};
use super::list::{Chain, Free, Links, List, chain};
use super::slot::WorkerSlot;

/// All workers of one load that have room. Nodes lie in the worker slots; since no level is empty,
/// there are as many as can be needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    load: u32,
    members: List<Ready>,
    links: Links,
}

impl Level {
    pub(super) const fn new() -> Self {
        Self { load: 0, members: List::new(), links: Links::OUT }
    }
}

chain! {
    /// The workers of one level.
    Ready: WorkerSlot, ready
}
chain! {
    /// The unused level nodes.
    Nodes: WorkerSlot, node.links
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Balance {
    /// Those that hold no suspect, then those that do.
    orders: [Order; 2],
    free: Free<Nodes>,
}

/// Workers with room, by load.
#[derive(Clone, Copy, Debug)]
struct Order {
    /// Whose turn it is, or `NONE`.
    first: Stored,
    lowest: Stored,
    highest: Stored,
}

impl Order {
    const EMPTY: Self = Self { first: narrow(NONE), lowest: narrow(NONE), highest: narrow(NONE) };

    /// Whether the only worker, or none, is in here; then there is no level.
    const fn is_alone(&self) -> bool {
        wide(self.lowest) == NONE
    }

    /// Returns the first that is not `worker`, or `NONE`.
    fn first_but(&self, workers: &[WorkerSlot], worker: u32) -> u32 {
        if wide(self.first) != worker || self.is_alone() {
            return if wide(self.first) == worker { NONE } else { wide(self.first) };
        }
        let next = workers[worker as usize].ready.next();
        if next != NONE {
            return next;
        }
        let above = workers[self.lowest as usize].node.links.next();
        let level = workers.get(above as usize);
        level.and_then(|slot| slot.node.members.head()).unwrap_or(NONE)
    }
}

/// Returns the order that a worker belongs to.
#[inline]
fn order_of(workers: &[WorkerSlot], worker: u32) -> usize {
    usize::from(workers[worker as usize].has_suspect)
}

impl Balance {
    pub(super) const fn new() -> Self {
        Self { orders: [Order::EMPTY; 2], free: Free::new() }
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        wide(self.orders[0].first) == NONE && wide(self.orders[1].first) == NONE
    }

    /// Returns the worker whose turn it is.
    #[inline]
    pub(super) fn next(&self, workers: &[WorkerSlot]) -> Option<u32> {
        let (clean, other) = (wide(self.orders[0].first), wide(self.orders[1].first));
        if other != NONE {
            return self.lesser(workers, clean, other);
        }
        if clean == NONE { None } else { Some(clean) }
    }

    /// Returns the worker whose turn it is among those that hold no suspect.
    pub(super) fn next_clean(&self) -> Option<u32> {
        let first = wide(self.orders[0].first);
        (first != NONE).then_some(first)
    }

    /// Returns the worker whose turn it would be without `worker`.
    pub(super) fn next_but(&self, workers: &[WorkerSlot], worker: u32) -> Option<u32> {
        let [clean, other] = self.orders.map(|order| order.first_but(workers, worker));
        self.lesser(workers, clean, other)
    }

    /// Returns the worker whose turn it would be among those that hold no suspect, without `worker`.
    pub(super) fn next_clean_but(&self, workers: &[WorkerSlot], worker: u32) -> Option<u32> {
        let first = self.orders[0].first_but(workers, worker);
        (first != NONE).then_some(first)
    }

    /// Returns which of two that are first in their orders goes first. Either may be `NONE`.
    #[cold]
    #[expect(clippy::unused_self, reason = "it belongs to the order of turns")]
    fn lesser(&self, workers: &[WorkerSlot], clean: u32, other: u32) -> Option<u32> {
        let load = |worker: u32| workers.get(worker as usize).map(|slot| slot.held.len());
        match (load(clean), load(other)) {
            (Some(a), Some(b)) => Some(if a <= b { clean } else { other }),
            (Some(_), None) => Some(clean),
            (None, Some(_)) => Some(other),
            (None, None) => None,
        }
    }

    /// Whether a worker was taken in.
    #[inline]
    pub(super) fn contains(&self, workers: &[WorkerSlot], worker: u32) -> bool {
        let order = &self.orders[order_of(workers, worker)];
        wide(order.first) == worker || wide(workers[worker as usize].level) != NONE
    }

    /// Takes in a worker that has room for more than it holds.
    #[inline]
    pub(super) fn enter(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let order = &mut self.orders[order_of(workers, worker)];
        if wide(order.first) == NONE {
            order.first = narrow(worker);
        } else {
            self.enter_level(workers, worker);
        }
    }

    /// Takes a worker out.
    #[inline]
    pub(super) fn leave(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        // Almost always the first, which is then at a place that needs no look.
        let is_clean = !workers[worker as usize].has_suspect;
        if is_clean && self.orders[0].is_alone() {
            self.orders[0].first = narrow(NONE);
        } else {
            self.leave_level(workers, worker);
        }
    }

    /// Follows a worker in here: its load grew by one, and it still has room.
    #[inline]
    pub(super) fn raise(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let order = order_of(workers, worker);
        if self.orders[order].is_alone() {
            return;
        }
        if wide(self.orders[order].first) == worker {
            self.raise_first(workers, order);
        } else {
            self.raise_other(workers, order, worker);
        }
    }

    /// Follows a worker whose load fell by one, and takes it in if it was full.
    #[inline]
    pub(super) fn lower(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let is_clean = !workers[worker as usize].has_suspect;
        if is_clean && wide(self.orders[0].first) == NONE {
            self.orders[0].first = narrow(worker);
        } else {
            self.lower_other(workers, worker);
        }
    }

    #[inline(never)]
    fn lower_other(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let order = order_of(workers, worker);
        if wide(self.orders[order].first) == NONE {
            self.orders[order].first = narrow(worker);
        } else if !self.contains(workers, worker) {
            self.enter_level(workers, worker);
        } else if !self.orders[order].is_alone() {
            self.lower_level(workers, worker);
        }
    }

    #[inline(never)]
    fn enter_level(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let order = order_of(workers, worker);
        if self.orders[order].is_alone() {
            self.stand(workers, order, wide(self.orders[order].first));
        }
        self.stand(workers, order, worker);
        self.choose(workers, order);
    }

    /// Puts a worker into the level of its load.
    fn stand(&mut self, workers: &mut [WorkerSlot], order: usize, worker: u32) {
        let load = workers[worker as usize].held.len();
        let below = self.below(workers, order, load);
        self.join(workers, order, worker, load, below);
    }

    #[inline(never)]
    fn leave_level(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let order = order_of(workers, worker);
        if self.orders[order].is_alone() {
            self.orders[order].first = narrow(NONE);
            return;
        }
        let level = wide(workers[worker as usize].level);
        self.part(workers, order, worker, level);
        self.choose(workers, order);
    }

    #[inline(never)]
    fn raise_first(&mut self, workers: &mut [WorkerSlot], order: usize) {
        let (level, worker) = (wide(self.orders[order].lowest), wide(self.orders[order].first));
        let Level { load, mut members, links } = workers[level as usize].node;
        let above = links.next();
        let next_door = above != NONE && workers[above as usize].node.load == load + 1;
        if members.len() == 1 && !next_door {
            workers[level as usize].node.load = load + 1;
            return;
        }
        members.pop_front(workers);
        let new =
            if next_door { above } else { self.insert(workers, order, load + 1, level, above) };
        Self::put(workers, worker, new);
        if let Some(first) = members.head() {
            workers[level as usize].node.members = members;
            self.orders[order].first = narrow(first);
        } else {
            self.orders[order].lowest = narrow(above);
            workers[above as usize].node.links.set_prev(NONE);
            self.free.give(workers, level);
            self.choose(workers, order);
        }
    }

    /// Follows a worker that got a task out of its turn.
    #[cold]
    fn raise_other(&mut self, workers: &mut [WorkerSlot], order: usize, worker: u32) {
        let level = wide(workers[worker as usize].level);
        let Level { load, members, links } = workers[level as usize].node;
        let below = if members.len() == 1 { links.prev() } else { level };
        self.part(workers, order, worker, level);
        self.join(workers, order, worker, load + 1, below);
        self.choose(workers, order);
    }

    #[inline(never)]
    fn lower_level(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let order = order_of(workers, worker);
        let level = wide(workers[worker as usize].level);
        let Level { load, members, links } = workers[level as usize].node;
        let next_door =
            links.prev() != NONE && workers[links.prev() as usize].node.load == load - 1;
        if members.len() == 1 && !next_door {
            workers[level as usize].node.load = load - 1;
            return;
        }
        let below = match links.prev() {
            prev if next_door => workers[prev as usize].node.links.prev(),
            prev => prev,
        };
        self.part(workers, order, worker, level);
        self.join(workers, order, worker, load - 1, below);
        self.choose(workers, order);
    }

    /// Chooses whose turn it is: the one that is first in the lowest level.
    fn choose(&mut self, workers: &[WorkerSlot], order: usize) {
        let order = &mut self.orders[order];
        let first = workers.get(order.lowest as usize).and_then(|slot| slot.node.members.head());
        order.first = narrow(first.unwrap_or(NONE));
    }

    /// Returns the highest level below `load`, or `NONE`, searching from both ends at once.
    fn below(&self, workers: &[WorkerSlot], order: usize, load: u32) -> u32 {
        let Order { lowest, highest, .. } = self.orders[order];
        let (mut prev, mut up, mut down) = (NONE, wide(lowest), wide(highest));
        while up != NONE {
            let low = &workers[up as usize].node;
            if low.load >= load {
                return prev;
            }
            let high = &workers[down as usize].node;
            if high.load < load {
                return down;
            }
            (prev, up, down) = (up, low.links.next(), high.links.prev());
        }
        prev
    }

    /// Adds a worker to the level of `load`, which is the one after `below`, or is made there.
    fn join(
        &mut self,
        workers: &mut [WorkerSlot],
        order: usize,
        worker: u32,
        load: u32,
        below: u32,
    ) {
        let above = if below == NONE {
            wide(self.orders[order].lowest)
        } else {
            workers[below as usize].node.links.next()
        };
        let level = if above != NONE && workers[above as usize].node.load == load {
            above
        } else {
            self.insert(workers, order, load, below, above)
        };
        Self::put(workers, worker, level);
    }

    /// Puts a worker into a level, behind those that are there.
    #[inline]
    fn put(workers: &mut [WorkerSlot], worker: u32, level: u32) {
        let mut members = workers[level as usize].node.members;
        members.push_back(workers, worker);
        workers[level as usize].node.members = members;
        workers[worker as usize].level = narrow(level);
    }

    fn insert(
        &mut self,
        workers: &mut [WorkerSlot],
        order: usize,
        load: u32,
        below: u32,
        above: u32,
    ) -> u32 {
        let level = self.free.take(workers).expect("one node per worker suffices");
        let links = Links::new(below, above);
        workers[level as usize].node = Level { load, members: List::new(), links };
        match below {
            NONE => self.orders[order].lowest = narrow(level),
            _ => workers[below as usize].node.links.set_next(level),
        }
        match above {
            NONE => self.orders[order].highest = narrow(level),
            _ => workers[above as usize].node.links.set_prev(level),
        }
        level
    }

    /// Takes a worker out of its level, and the level out of the list if nobody is left.
    fn part(&mut self, workers: &mut [WorkerSlot], order: usize, worker: u32, level: u32) {
        let mut members = workers[level as usize].node.members;
        members.remove(workers, worker);
        workers[level as usize].node.members = members;
        workers[worker as usize].level = narrow(NONE);
        if !members.is_empty() {
            return;
        }
        let links = workers[level as usize].node.links;
        let (prev, next) = (links.prev(), links.next());
        match prev {
            NONE => self.orders[order].lowest = narrow(next),
            _ => workers[prev as usize].node.links.set_next(next),
        }
        match next {
            NONE => self.orders[order].highest = narrow(prev),
            _ => workers[next as usize].node.links.set_prev(prev),
        }
        self.free.give(workers, level);
    }

    /// Checks the levels against what the workers hold, and returns how many workers they have.
    ///
    /// # Panics
    /// If a level is empty or out of order, or a worker in the wrong one.
    pub(super) fn check(&self, workers: &[WorkerSlot]) -> u32 {
        let counted = [0, 1].map(|order| self.check_order(workers, order));
        let levels: usize = counted.iter().map(|&(_, levels)| levels).sum();
        let unused = self.free.check(workers, |_| ());
        assert!(unused + levels == workers.len(), "a level node was lost");
        counted.iter().map(|&(count, _)| count).sum()
    }

    /// Returns how many workers and how many levels are in an order.
    fn check_order(&self, workers: &[WorkerSlot], number: usize) -> (u32, usize) {
        let order = &self.orders[number];
        let (mut prev, mut index) = (NONE, wide(order.lowest));
        let (mut count, mut levels) = (0, 0);
        while index != NONE {
            assert!(levels < workers.len(), "the levels run in a circle");
            let level = &workers[index as usize].node;
            assert!(level.links.prev() == prev, "the levels are linked one way only");
            assert!(!level.members.is_empty(), "a level is empty");
            if prev != NONE {
                assert!(workers[prev as usize].node.load < level.load, "levels are out of order");
            }
            level.members.check(workers, |worker| {
                let slot = &workers[worker as usize];
                assert!(wide(slot.level) == index, "a worker is not in the level that it says");
                assert!(slot.held.len() == level.load, "a worker is in another load's level");
                assert!(order_of(workers, worker) == number, "a worker is in the other order");
            });
            count += level.members.len();
            (prev, index, levels) = (index, level.links.next(), levels + 1);
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
