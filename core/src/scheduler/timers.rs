//! Which worker's timer is the earliest: a binary heap whose array lies in the worker slots.
//!
//! One timer per worker and not per task: a worker's tasks have deadlines in the order of sending, so
//! its timer watches the first of them along with its heartbeat (decision 0007).
//!
//! Each worker has at most one timer. Equal deadlines go by slot, so that the order is fixed.

use super::index::{NONE, Stored, narrow, wide};
use super::slot::WorkerSlot;
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    len: Stored,
}

impl Timers {
    pub(super) const fn new() -> Self {
        Self { len: 0 }
    }

    /// Returns the worker whose timer is the earliest, and its deadline. O(1).
    #[inline]
    pub(super) fn first(self, workers: &[WorkerSlot]) -> Option<(u32, Instant)> {
        if self.len == 0 {
            return None;
        }
        let worker = wide(workers[0].heap);
        Some((worker, workers[worker as usize].timer))
    }

    /// Sets a worker's timer, in place of an older one; `FAR_FUTURE` for none. O(log timers).
    pub(super) fn set(&mut self, workers: &mut [WorkerSlot], worker: u32, at: Instant) {
        let slot = &mut workers[worker as usize];
        slot.timer = at;
        if at == Instant::FAR_FUTURE {
            if wide(slot.place) != NONE {
                self.remove(workers, worker);
            }
            return;
        }
        let mut place = wide(slot.place);
        if place == NONE {
            place = wide(self.len);
            self.len += 1;
            put(workers, place, worker);
        }
        self.settle(workers, place);
    }

    fn remove(&mut self, workers: &mut [WorkerSlot], worker: u32) {
        let place = wide(workers[worker as usize].place);
        self.len -= 1;
        let last = wide(workers[self.len as usize].heap);
        workers[self.len as usize].heap = narrow(NONE);
        workers[worker as usize].place = narrow(NONE);
        if last != worker {
            put(workers, place, last);
            self.settle(workers, place);
        }
    }

    /// Moves what is at `place` up or down to where it belongs.
    fn settle(self, workers: &mut [WorkerSlot], mut place: u32) {
        while place > 0 && precedes(workers, place, (place - 1) / 2) {
            swap(workers, place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        // Halved first: doubling could exceed the range.
        while place < wide(self.len) / 2 {
            let left = 2 * place + 1;
            let right = left + 1;
            let child =
                if right < wide(self.len) && precedes(workers, right, left) { right } else { left };
            if !precedes(workers, child, place) {
                break;
            }
            swap(workers, place, child);
            place = child;
        }
    }

    /// Returns how many timers there are, after checking their order.
    ///
    /// # Panics
    /// If the heap is out of order or its places are wrong.
    pub(super) fn check(self, workers: &[WorkerSlot]) -> u32 {
        for place in 0..wide(self.len) {
            let worker = wide(workers[place as usize].heap);
            assert!(wide(workers[worker as usize].place) == place, "a timer is not where it says");
            if place > 0 {
                assert!(!precedes(workers, place, (place - 1) / 2), "the timers are out of order");
            }
        }
        wide(self.len)
    }
}

fn put(workers: &mut [WorkerSlot], place: u32, worker: u32) {
    workers[place as usize].heap = narrow(worker);
    workers[worker as usize].place = narrow(place);
}

fn swap(workers: &mut [WorkerSlot], a: u32, b: u32) {
    let (at_a, at_b) = (wide(workers[a as usize].heap), wide(workers[b as usize].heap));
    put(workers, a, at_b);
    put(workers, b, at_a);
}

fn precedes(workers: &[WorkerSlot], a: u32, b: u32) -> bool {
    let key = |place: u32| {
        let worker = wide(workers[place as usize].heap);
        (workers[worker as usize].timer, worker)
    };
    key(a) < key(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::splitmix64;

    #[test]
    fn timers_fire_in_order_of_deadline_then_slot() {
        let mut workers = [WorkerSlot::new(); 4];
        let mut timers = Timers::new();
        for (worker, nanos) in [(3, 7), (1, 7), (0, 9), (2, 1)] {
            timers.set(&mut workers, worker, Instant::from_nanos(nanos));
        }
        for expected in [(2, 1), (1, 7), (3, 7), (0, 9)] {
            let (worker, at) = timers.first(&workers).unwrap();
            assert_eq!((worker, at.as_nanos()), expected);
            timers.set(&mut workers, worker, Instant::FAR_FUTURE);
        }
        assert_eq!(timers.first(&workers), None);
    }

    #[test]
    fn random_changes_keep_the_earliest_first() {
        let seed = 0x7157;
        std::println!("seed {seed:#x}");
        let mut random = seed;
        let mut workers = [WorkerSlot::new(); 33];
        let mut model = [Instant::FAR_FUTURE; 33];
        let mut timers = Timers::new();
        for _ in 0..5_000 {
            let worker = u32::try_from(splitmix64(&mut random) % 33).unwrap();
            let at = match splitmix64(&mut random) % 20 {
                nanos @ 0..15 => Instant::from_nanos(nanos),
                _ => Instant::FAR_FUTURE,
            };
            timers.set(&mut workers, worker, at);
            model[worker as usize] = at;
            let armed = (0..).zip(model).filter(|(_, at)| *at != Instant::FAR_FUTURE);
            let first = armed.clone().min_by_key(|&(worker, at)| (at, worker));
            assert_eq!(timers.first(&workers), first);
            assert_eq!(timers.check(&workers) as usize, armed.count());
        }
    }
}
