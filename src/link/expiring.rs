//! A table of things that each have the same time to get done: O(1) to insert, remove and find the
//! oldest.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use chargehand_core::Instant;

/// Slots for at most `capacity` things, each with a deadline `span` after its insertion.
#[derive(Debug)]
pub(crate) struct Timed<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// In order of insertion, hence of deadline. What was removed since is skipped.
    order: VecDeque<(u32, u32)>,
    capacity: usize,
    span: Duration,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    serial: u32,
    due: Instant,
    value: Option<T>,
}

impl<T> Timed<T> {
    pub(crate) fn new(capacity: usize, span: Duration) -> Self {
        let order = VecDeque::new();
        Self { slots: Vec::new(), free: Vec::new(), order, capacity, span, len: 0 }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Inserts what `make` makes of its index. Make room first: more than the capacity is a bug.
    pub(crate) fn insert(&mut self, now: Instant, make: impl FnOnce(u32) -> T) -> u32 {
        assert!(!self.is_full());
        let due = now.saturating_add(self.span);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { serial: 0, due, value: None });
            u32::try_from(self.slots.len() - 1).expect("a capacity below 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.due = due;
        slot.value = Some(make(index));
        self.order.push_back((index, slot.serial));
        self.len += 1;
        index
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take()?;
        slot.serial = slot.serial.wrapping_add(1);
        self.free.push(index);
        self.len -= 1;
        self.skip_removed();
        Some(value)
    }

    /// Removes the oldest.
    pub(crate) fn remove_oldest(&mut self) -> Option<T> {
        let &(index, _) = self.order.front()?;
        self.remove(index)
    }

    /// Returns the index of the oldest of which something holds. O(all).
    pub(crate) fn oldest_where(&self, holds: impl Fn(&T) -> bool) -> Option<u32> {
        self.order.iter().find_map(|&(index, serial)| {
            let slot = &self.slots[index as usize];
            let is_it = slot.serial == serial && slot.value.as_ref().is_some_and(&holds);
            is_it.then_some(index)
        })
    }

    /// Removes the oldest if its time is over.
    pub(crate) fn remove_due(&mut self, now: Instant) -> Option<T> {
        if self.next_due()? <= now { self.remove_oldest() } else { None }
    }

    /// Returns the deadline of the oldest.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.order.front().map(|&(index, _)| self.slots[index as usize].due)
    }

    /// Upholds: the front of `order` is in the table. Amortised over the removals.
    fn skip_removed(&mut self) {
        while let Some(&(index, serial)) = self.order.front() {
            let slot = &self.slots[index as usize];
            if slot.serial == serial && slot.value.is_some() {
                break;
            }
            self.order.pop_front();
        }
        // One old thing must not let those behind it pile up.
        if self.order.len() > 2 * self.len + 16 {
            let slots = &self.slots;
            self.order.retain(|&(index, serial)| {
                let slot = &slots[index as usize];
                slot.serial == serial && slot.value.is_some()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_oldest_is_due_first_whatever_was_removed_between() {
        let mut table = Timed::new(4, Duration::from_millis(10));
        let a = table.insert(at(0), |_| 'a');
        let b = table.insert(at(1), |_| 'b');
        table.insert(at(2), |_| 'c');
        assert_eq!(table.remove(a), Some('a'));
        assert_eq!(table.remove(a), None);
        let again = table.insert(at(5), |_| 'd');
        assert_eq!(again, a, "slots are used again");
        assert_eq!(table.next_due(), Some(at(11)));
        assert_eq!(table.remove_due(at(10)), None);
        assert_eq!(table.remove_due(at(11)), Some('b'));
        assert_eq!(table.get_mut(b), None);
        assert_eq!(table.oldest_where(|value| *value == 'a' || *value == 'd'), Some(again));
        assert_eq!(table.oldest_where(|value| *value == 'b'), None);
        assert_eq!(table.remove_oldest(), Some('c'));
        assert_eq!(table.remove_oldest(), Some('d'));
        assert_eq!(table.remove_oldest(), None);
        assert!(table.is_empty());
        assert_eq!(table.next_due(), None);
    }

    #[test]
    fn one_old_thing_does_not_let_the_order_grow() {
        let mut table = Timed::new(2, Duration::from_millis(10));
        table.insert(at(0), |_| 0);
        for turn in 0..10_000 {
            let index = table.insert(at(turn), |_| 1);
            assert!(table.is_full());
            table.remove(index);
            assert!(table.order.len() <= 20);
        }
        assert_eq!(table.remove_oldest(), Some(0));
    }
}
