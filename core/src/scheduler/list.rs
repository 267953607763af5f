//! Lists, queues and free stacks of slots, linked by indices inside the slots themselves.
//!
//! Intrusive, because the scheduler may allocate nothing (`no_std`, slots lent by the caller), a
//! task moves between states for every attempt, and any task may leave from the middle of its list
//! when it is answered or cancelled: each of these is a few stores here, with no node to find or to
//! free. A task is in exactly one list at a time, so one pair of neighbours per slot is enough
//! (decision 0007); indices rather than pointers keep it to safe code and to two bytes on a
//! microcontroller (decision 0006). `invariants` walks every list after each step of every test.

use core::marker::PhantomData;

use super::index::{NONE, Stored, narrow, wide};

/// A slot's two neighbours in one list.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Neighbours {
    prev: Stored,
    next: Stored,
}

impl Neighbours {
    pub(super) const OUT: Self = Self::new(NONE, NONE);

    pub(super) const fn new(prev: u32, next: u32) -> Self {
        Self { prev: narrow(prev), next: narrow(next) }
    }

    #[inline]
    pub(super) const fn prev(self) -> u32 {
        wide(self.prev)
    }

    #[inline]
    pub(super) const fn next(self) -> u32 {
        wide(self.next)
    }

    #[inline]
    pub(super) const fn set_prev(&mut self, index: u32) {
        self.prev = narrow(index);
    }

    #[inline]
    pub(super) const fn set_next(&mut self, index: u32) {
        self.next = narrow(index);
    }
}

/// Says which field of which kind of slot a list is linked through.
pub(super) trait Linkage {
    type Slot;
    fn neighbours(slot: &Self::Slot) -> &Neighbours;
    fn neighbours_mut(slot: &mut Self::Slot) -> &mut Neighbours;
}

/// Defines a [`Linkage`] over one field, which may lie in a nested one.
macro_rules! define_linkage {
    ($(#[$doc:meta])* $name:ident: $slot:ty, $($field:ident).+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name;

        impl Linkage for $name {
            type Slot = $slot;
            #[inline]
            fn neighbours(slot: &$slot) -> &Neighbours {
                &slot.$($field).+
            }
            #[inline]
            fn neighbours_mut(slot: &mut $slot) -> &mut Neighbours {
                &mut slot.$($field).+
            }
        }
    };
}
pub(super) use define_linkage;

/// A doubly linked list; every operation is O(1). A slot may be in one list of a linkage at a time.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct List<C> {
    /// `next` is the head, `prev` the tail; the head's own `prev`, and the tail of an empty list, are
    /// unspecified. So removing the head, by far the most frequent case, writes to no slot.
    ends: Neighbours,
    len: Stored,
    linkage: PhantomData<C>,
}

impl<C: Linkage> List<C> {
    pub(super) const fn new() -> Self {
        Self { ends: Neighbours::OUT, len: 0, linkage: PhantomData }
    }

    pub(super) const fn len(&self) -> u32 {
        wide(self.len)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) const fn head(&self) -> Option<u32> {
        match self.ends.next() {
            NONE => None,
            head => Some(head),
        }
    }

    /// Returns the last.
    pub(super) const fn tail(&self) -> Option<u32> {
        if self.is_empty() { None } else { Some(self.ends.prev()) }
    }

    #[inline]
    pub(super) fn push_back(&mut self, slots: &mut [C::Slot], index: u32) {
        let tail = self.ends.prev();
        *C::neighbours_mut(&mut slots[index as usize]) = Neighbours::new(tail, NONE);
        if self.ends.next() == NONE {
            self.ends.set_next(index);
        } else {
            C::neighbours_mut(&mut slots[tail as usize]).set_next(index);
        }
        self.ends.set_prev(index);
        self.len += 1;
    }

    /// Takes out a slot that is in this list.
    #[inline]
    pub(super) fn remove(&mut self, slots: &mut [C::Slot], index: u32) {
        self.len -= 1;
        if self.ends.next() == index {
            self.ends.set_next(C::neighbours(&slots[index as usize]).next());
            return;
        }
        let links = *C::neighbours(&slots[index as usize]);
        let (prev, next) = (links.prev(), links.next());
        C::neighbours_mut(&mut slots[prev as usize]).set_next(next);
        if next == NONE {
            self.ends.set_prev(prev);
        } else {
            C::neighbours_mut(&mut slots[next as usize]).set_prev(prev);
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self, slots: &mut [C::Slot]) -> Option<u32> {
        let index = self.head()?;
        let links = *C::neighbours(&slots[index as usize]);
        self.ends.set_next(links.next());
        self.len -= 1;
        Some(index)
    }

    /// Puts a slot in the place of one in this list, whose neighbours `links` are.
    #[cfg(feature = "hedging")]
    pub(super) fn replace(
        &mut self,
        slots: &mut [C::Slot],
        (index, links): (u32, Neighbours),
        by: u32,
    ) {
        *C::neighbours_mut(&mut slots[by as usize]) = links;
        if self.ends.next() == index {
            self.ends.set_next(by);
        } else {
            C::neighbours_mut(&mut slots[links.prev() as usize]).set_next(by);
        }
        match links.next() {
            NONE => self.ends.set_prev(by),
            next => C::neighbours_mut(&mut slots[next as usize]).set_prev(by),
        }
    }

    /// As [`push_back`](Self::push_back), for cold paths: not marked to be inlined, which saves 188 bytes
    /// of flash over all three.
    pub(super) fn append(&mut self, slots: &mut [C::Slot], index: u32) {
        self.push_back(slots, index);
    }

    /// As [`remove`](Self::remove), for cold paths.
    pub(super) fn take_out(&mut self, slots: &mut [C::Slot], index: u32) {
        self.remove(slots, index);
    }

    /// As [`pop_front`](Self::pop_front), for cold paths.
    // Without: above the flash aim by 168 bytes.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(super) fn take_first(&mut self, slots: &mut [C::Slot]) -> Option<u32> {
        self.pop_front(slots)
    }

    /// Walks the list and calls `each` in order.
    ///
    /// # Panics
    /// If the links or the length are inconsistent.
    pub(super) fn check(&self, slots: &[C::Slot], mut each: impl FnMut(u32)) {
        let (mut prev, mut index, mut len) = (NONE, self.ends.next(), 0);
        while index != NONE {
            assert!(len < self.len(), "a list is longer than it says");
            let links = C::neighbours(&slots[index as usize]);
            assert!(prev == NONE || links.prev() == prev, "a list is linked one way only");
            each(index);
            (prev, index, len) = (index, links.next(), len + 1);
        }
        assert!(
            prev == NONE || self.ends.prev() == prev,
            "a list ends somewhere else than it says"
        );
        assert!(len == self.len(), "a list is shorter than it says");
    }
}

/// First in, first out, linked one way; a slot in it is in no [`List`] of the linkage.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Fifo<C> {
    head: Stored,
    /// Unspecified while the queue is empty.
    tail: Stored,
    linkage: PhantomData<C>,
}

impl<C: Linkage> Fifo<C> {
    pub(super) const fn new() -> Self {
        Self { head: narrow(NONE), tail: narrow(NONE), linkage: PhantomData }
    }

    pub(super) const fn is_empty(&self) -> bool {
        wide(self.head) == NONE
    }

    #[inline]
    pub(super) fn push_back(&mut self, slots: &mut [C::Slot], index: u32) {
        C::neighbours_mut(&mut slots[index as usize]).set_next(NONE);
        if self.is_empty() {
            self.head = narrow(index);
        } else {
            C::neighbours_mut(&mut slots[self.tail as usize]).set_next(index);
        }
        self.tail = narrow(index);
    }

    #[inline]
    pub(super) fn pop_front(&mut self, slots: &[C::Slot]) -> Option<u32> {
        let index = wide(self.head);
        if index == NONE {
            return None;
        }
        self.head = narrow(C::neighbours(&slots[index as usize]).next());
        Some(index)
    }

    /// Walks the queue, calls `each` in order, and returns how many there are.
    ///
    /// # Panics
    /// If it runs in a circle, or ends somewhere else than it says.
    pub(super) fn check(&self, slots: &[C::Slot], mut each: impl FnMut(u32)) -> usize {
        let (mut last, mut index, mut len) = (NONE, wide(self.head), 0);
        while index != NONE {
            assert!(len < slots.len(), "a queue runs in a circle");
            each(index);
            (last, index, len) = (index, C::neighbours(&slots[index as usize]).next(), len + 1);
        }
        assert!(
            last == NONE || wide(self.tail) == last,
            "a queue ends somewhere else than it says"
        );
        len
    }
}

/// The unused slots: those given back, latest first, then those never used, in order. O(1) to make,
/// however many slots there are, since those never used are not linked.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Free<C> {
    head: Stored,
    fresh: Stored,
    /// How many at the end are not among them.
    #[cfg(feature = "hedging")]
    kept: Stored,
    linkage: PhantomData<C>,
}

impl<C: Linkage> Free<C> {
    pub(super) const fn new() -> Self {
        Self {
            head: narrow(NONE),
            fresh: 0,
            #[cfg(feature = "hedging")]
            kept: 0,
            linkage: PhantomData,
        }
    }

    /// Leaves so many at the end to others.
    #[cfg(feature = "hedging")]
    pub(super) const fn keep(&mut self, count: u32) {
        self.kept = narrow(count);
    }

    /// Leaves so many at the beginning to others.
    #[cfg(feature = "hedging")]
    pub(super) const fn begin_at(&mut self, first: u32) {
        self.fresh = narrow(first);
    }

    /// Returns how many of `slots` there are for it and for what it gave.
    #[inline]
    #[cfg_attr(not(feature = "hedging"), expect(clippy::unused_self, reason = "as with it"))]
    const fn end(&self, slots: &[C::Slot]) -> usize {
        #[cfg(feature = "hedging")]
        return slots.len() - wide(self.kept) as usize;
        #[cfg(not(feature = "hedging"))]
        return slots.len();
    }

    #[inline]
    pub(super) fn take(&mut self, slots: &mut [C::Slot]) -> Option<u32> {
        let (index, fresh) = (wide(self.head), wide(self.fresh));
        if index != NONE {
            self.head = narrow(C::neighbours(&slots[index as usize]).next());
            Some(index)
        } else if (fresh as usize) < self.end(slots) {
            self.fresh = narrow(fresh + 1);
            Some(fresh)
        } else {
            None
        }
    }

    /// Returns whether none of `slots` is unused.
    pub(super) const fn is_empty(&self, slots: &[C::Slot]) -> bool {
        wide(self.head) == NONE && self.fresh as usize >= self.end(slots)
    }

    #[inline]
    pub(super) fn give(&mut self, slots: &mut [C::Slot], index: u32) {
        C::neighbours_mut(&mut slots[index as usize]).set_next(wide(self.head));
        self.head = narrow(index);
    }

    /// Walks the unused slots, calls `each`, and returns how many there are.
    ///
    /// # Panics
    /// If the stack runs in a circle.
    pub(super) fn check(&self, slots: &[C::Slot], mut each: impl FnMut(u32)) -> usize {
        let (mut index, mut len) = (wide(self.head), 0);
        while index != NONE {
            assert!(len < slots.len(), "the free stack runs in a circle");
            each(index);
            (index, len) = (C::neighbours(&slots[index as usize]).next(), len + 1);
        }
        let slots = &slots[..self.end(slots)];
        for (index, _) in (0..NONE).zip(slots).skip(self.fresh as usize) {
            each(index);
            len += 1;
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[derive(Clone, Copy)]
    pub(super) struct Slot {
        links: Neighbours,
    }

    define_linkage! {
        /// The only links of a test slot.
        Only: Slot, links
    }

    fn walk(list: &List<Only>, slots: &[Slot]) -> Vec<u32> {
        let mut seen = Vec::new();
        list.check(slots, |index| seen.push(index));
        seen
    }

    #[test]
    fn a_list_keeps_its_order_through_removal_anywhere() {
        let mut slots = [Slot { links: Neighbours::OUT }; 5];
        let mut list = List::<Only>::new();
        assert_eq!(list.tail(), None);
        for index in [0, 1, 2, 3] {
            list.push_back(&mut slots, index);
        }
        assert_eq!(walk(&list, &slots), [0, 1, 2, 3]);
        list.remove(&mut slots, 2);
        assert_eq!(walk(&list, &slots), [0, 1, 3]);
        assert_eq!(list.tail(), Some(3));
        list.remove(&mut slots, 3);
        assert_eq!(list.tail(), Some(1));
        assert_eq!(list.pop_front(&mut slots), Some(0));
        assert_eq!(list.pop_front(&mut slots), Some(1));
        assert_eq!(list.pop_front(&mut slots), None);
        assert_eq!(list.tail(), None);
        assert!(walk(&list, &slots).is_empty());
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn removing_what_is_not_in_a_list_panics() {
        let mut slots = [Slot { links: Neighbours::OUT }; 2];
        let mut list = List::<Only>::new();
        list.push_back(&mut slots, 0);
        list.remove(&mut slots, 1);
    }

    #[test]
    fn a_queue_gives_what_came_first() {
        let mut slots = [Slot { links: Neighbours::OUT }; 3];
        let mut queue = Fifo::<Only>::new();
        assert_eq!(queue.pop_front(&slots), None);
        for _ in 0..2 {
            queue.push_back(&mut slots, 2);
            queue.push_back(&mut slots, 0);
            assert_eq!(queue.pop_front(&slots), Some(2));
            queue.push_back(&mut slots, 1);
            let mut seen = Vec::new();
            assert_eq!(queue.check(&slots, |index| seen.push(index)), 2);
            assert_eq!(seen, [0, 1]);
            assert_eq!(queue.pop_front(&slots), Some(0));
            assert_eq!(queue.pop_front(&slots), Some(1));
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn the_free_stack_gives_the_latest_first_then_fresh_ones() {
        let mut slots = [Slot { links: Neighbours::OUT }; 3];
        let mut free = Free::<Only>::new();
        assert_eq!(free.take(&mut slots), Some(0));
        assert_eq!(free.take(&mut slots), Some(1));
        free.give(&mut slots, 0);
        free.give(&mut slots, 1);
        assert_eq!(free.check(&slots, |_| ()), 3);
        assert_eq!(free.take(&mut slots), Some(1));
        assert_eq!(free.take(&mut slots), Some(0));
        assert_eq!(free.take(&mut slots), Some(2));
        assert_eq!(free.take(&mut slots), None);
        assert_eq!(free.check(&slots, |_| ()), 0);
    }
}
