//! Whose timer is the earliest: a binary heap whose array lies in the slots themselves.
//!
//! Workers have one timer each, and most tasks none: a worker's tasks have deadlines in the order of sending, so
//! its timer watches the first of them along with its heartbeat (decision 0007).
//!
//! Tasks that have times of their own have a heap of the same kind (decision 0023). Equal deadlines go by slot, so that the order is fixed.

use core::marker::PhantomData;

use super::index::{NONE, Stored, wide};
use crate::time::Instant;

/// A slot that may have a timer, and that lends one place of the heap's array.
pub(super) trait TimerSlot {
    /// When the timer fires; `FAR_FUTURE` without one.
    fn at(&self) -> Instant;
    fn set_at(&mut self, at: Instant);
    /// The timer's place in the heap, or `NONE`.
    fn place(&self) -> u32;
    fn set_place(&mut self, place: u32);
    /// Which slot's timer is at this slot's place of the heap: not about this slot.
    fn heap(&self) -> u32;
    fn set_heap(&mut self, index: u32);
}

/// Implements [`TimerSlot`] by the fields `timer`, `place` and `heap`.
macro_rules! timer_slot {
    ($slot:ty) => {
        impl TimerSlot for $slot {
            #[inline]
            fn at(&self) -> Instant {
                self.timer
            }
            #[inline]
            fn set_at(&mut self, at: Instant) {
                self.timer = at;
            }
            #[inline]
            fn place(&self) -> u32 {
                wide(self.place)
            }
            #[inline]
            fn set_place(&mut self, place: u32) {
                self.place = narrow(place);
            }
            #[inline]
            fn heap(&self) -> u32 {
                wide(self.heap)
            }
            #[inline]
            fn set_heap(&mut self, index: u32) {
                self.heap = narrow(index);
            }
        }
    };
}
pub(super) use timer_slot;

#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Timers<S> {
    len: Stored,
    slots: PhantomData<fn(S)>,
}

impl<S> Clone for Timers<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Timers<S> {}

impl<S: TimerSlot> Timers<S> {
    pub(super) const fn new() -> Self {
        Self { len: 0, slots: PhantomData }
    }

    /// Returns the worker whose timer is the earliest, and its deadline. O(1).
    #[inline]
    pub(super) fn first(self, slots: &[S]) -> Option<(u32, Instant)> {
        if self.len == 0 {
            return None;
        }
        let first = slots[0].heap();
        Some((first, slots[first as usize].at()))
    }

    /// Sets a slot's timer, in place of an older one; `FAR_FUTURE` for none. O(log timers).
    pub(super) fn set(&mut self, slots: &mut [S], index: u32, at: Instant) {
        let slot = &mut slots[index as usize];
        slot.set_at(at);
        if at == Instant::FAR_FUTURE {
            if slot.place() != NONE {
                self.remove(slots, index);
            }
            return;
        }
        let mut place = slot.place();
        if place == NONE {
            place = wide(self.len);
            self.len += 1;
            put(slots, place, index);
        }
        self.settle(slots, place);
    }

    fn remove(&mut self, slots: &mut [S], index: u32) {
        let place = slots[index as usize].place();
        self.len -= 1;
        let last = slots[self.len as usize].heap();
        slots[self.len as usize].set_heap(NONE);
        slots[index as usize].set_place(NONE);
        if last != index {
            put(slots, place, last);
            self.settle(slots, place);
        }
    }

    /// Moves what is at `place` up or down to where it belongs.
    fn settle(self, slots: &mut [S], mut place: u32) {
        while place > 0 && precedes(slots, place, (place - 1) / 2) {
            swap(slots, place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        // Halved first: doubling could exceed the range.
        while place < wide(self.len) / 2 {
            let left = 2 * place + 1;
            let right = left + 1;
            let child =
                if right < wide(self.len) && precedes(slots, right, left) { right } else { left };
            if !precedes(slots, child, place) {
                break;
            }
            swap(slots, place, child);
            place = child;
        }
    }

    /// Returns how many timers there are, after checking their order.
    ///
    /// # Panics
    /// If the heap is out of order or its places are wrong.
    pub(super) fn check(self, slots: &[S]) -> u32 {
        for place in 0..wide(self.len) {
            let index = slots[place as usize].heap();
            assert!(slots[index as usize].place() == place, "a timer is not where it says");
            if place > 0 {
                assert!(!precedes(slots, place, (place - 1) / 2), "the timers are out of order");
            }
        }
        wide(self.len)
    }
}

fn put<S: TimerSlot>(slots: &mut [S], place: u32, index: u32) {
    slots[place as usize].set_heap(index);
    slots[index as usize].set_place(place);
}

fn swap<S: TimerSlot>(slots: &mut [S], a: u32, b: u32) {
    let (at_a, at_b) = (slots[a as usize].heap(), slots[b as usize].heap());
    put(slots, a, at_b);
    put(slots, b, at_a);
}

fn precedes<S: TimerSlot>(slots: &[S], a: u32, b: u32) -> bool {
    let key = |place: u32| {
        let index = slots[place as usize].heap();
        (slots[index as usize].at(), index)
    };
    key(a) < key(b)
}

#[cfg(test)]
mod tests {
    use super::super::slot::WorkerSlot;
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
