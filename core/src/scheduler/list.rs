//! Lists and free stacks of slots, linked by indices inside the slots themselves.

use core::marker::PhantomData;

/// "No slot": the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// A slot's two neighbours in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) prev: u32,
    pub(super) next: u32,
}

impl Links {
    pub(super) const OUT: Self = Self { prev: NONE, next: NONE };
}

/// Says which links of which kind of slot a list runs through.
pub(super) trait Chain {
    type Slot;
    fn links(slot: &Self::Slot) -> &Links;
    fn links_mut(slot: &mut Self::Slot) -> &mut Links;
}

/// Defines a [`Chain`] over one field, which may lie in a nested one.
macro_rules! chain {
    ($(#[$doc:meta])* $name:ident: $slot:ty, $($field:ident).+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name;

        impl Chain for $name {
            type Slot = $slot;
            #[inline]
            fn links(slot: &$slot) -> &Links {
                &slot.$($field).+
            }
            #[inline]
            fn links_mut(slot: &mut $slot) -> &mut Links {
                &mut slot.$($field).+
            }
        }
    };
}
pub(super) use chain;

/// A doubly linked list; every operation is O(1). A slot may be in one list of a chain at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<C> {
    head: u32,
    tail: u32,
    len: u32,
    chain: PhantomData<C>,
}

impl<C: Chain> List<C> {
    pub(super) const fn new() -> Self {
        Self { head: NONE, tail: NONE, len: 0, chain: PhantomData }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) const fn head(&self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    /// Whether a slot is in this list, given that it is in no other list of the chain.
    #[inline]
    pub(super) fn contains(&self, slots: &[C::Slot], index: u32) -> bool {
        self.head == index || C::links(&slots[index as usize]).prev != NONE
    }

    #[inline]
    pub(super) fn push_back(&mut self, slots: &mut [C::Slot], index: u32) {
        *C::links_mut(&mut slots[index as usize]) = Links { prev: self.tail, next: NONE };
        if self.tail == NONE {
            self.head = index;
        } else {
            C::links_mut(&mut slots[self.tail as usize]).next = index;
        }
        self.tail = index;
        self.len += 1;
    }

    #[inline]
    pub(super) fn push_front(&mut self, slots: &mut [C::Slot], index: u32) {
        *C::links_mut(&mut slots[index as usize]) = Links { prev: NONE, next: self.head };
        if self.head == NONE {
            self.tail = index;
        } else {
            C::links_mut(&mut slots[self.head as usize]).prev = index;
        }
        self.head = index;
        self.len += 1;
    }

    /// Takes out a slot that is in this list.
    #[inline]
    pub(super) fn remove(&mut self, slots: &mut [C::Slot], index: u32) {
        let Links { prev, next } =
            core::mem::replace(C::links_mut(&mut slots[index as usize]), Links::OUT);
        if prev == NONE {
            assert!(self.head == index, "removed from a list that it is not in");
            self.head = next;
        } else {
            C::links_mut(&mut slots[prev as usize]).next = next;
        }
        if next == NONE {
            self.tail = prev;
        } else {
            C::links_mut(&mut slots[next as usize]).prev = prev;
        }
        self.len -= 1;
    }

    #[inline]
    pub(super) fn pop_front(&mut self, slots: &mut [C::Slot]) -> Option<u32> {
        let index = self.head()?;
        let links = core::mem::replace(C::links_mut(&mut slots[index as usize]), Links::OUT);
        self.head = links.next;
        if self.head == NONE {
            self.tail = NONE;
        } else {
            C::links_mut(&mut slots[self.head as usize]).prev = NONE;
        }
        self.len -= 1;
        Some(index)
    }

    #[inline]
    pub(super) fn pop_back(&mut self, slots: &mut [C::Slot]) -> Option<u32> {
        let index = self.tail;
        if index == NONE {
            return None;
        }
        self.remove(slots, index);
        Some(index)
    }

    /// Walks the list and calls `each` in order.
    ///
    /// # Panics
    /// If the links or the length are inconsistent.
    pub(super) fn check(&self, slots: &[C::Slot], mut each: impl FnMut(u32)) {
        let (mut prev, mut index, mut len) = (NONE, self.head, 0);
        while index != NONE {
            assert!(len < self.len, "a list is longer than it says");
            let links = C::links(&slots[index as usize]);
            assert!(links.prev == prev, "a list is linked one way only");
            each(index);
            (prev, index, len) = (index, links.next, len + 1);
        }
        assert!(self.tail == prev, "a list ends somewhere else than it says");
        assert!(len == self.len, "a list is shorter than it says");
    }
}

/// The unused slots: those given back, latest first, then those never used, in order. Making one
/// is O(1) however many slots there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free<C> {
    head: u32,
    fresh: u32,
    chain: PhantomData<C>,
}

impl<C: Chain> Free<C> {
    pub(super) const fn new() -> Self {
        Self { head: NONE, fresh: 0, chain: PhantomData }
    }

    #[inline]
    pub(super) fn take(&mut self, slots: &mut [C::Slot]) -> Option<u32> {
        let index = self.head;
        if index != NONE {
            let links = C::links_mut(&mut slots[index as usize]);
            self.head = links.next;
            *links = Links::OUT;
            Some(index)
        } else if (self.fresh as usize) < slots.len() {
            self.fresh += 1;
            Some(self.fresh - 1)
        } else {
            None
        }
    }

    /// Returns whether none of `slots` is unused.
    pub(super) const fn is_empty(&self, slots: &[C::Slot]) -> bool {
        self.head == NONE && self.fresh as usize >= slots.len()
    }

    #[inline]
    pub(super) fn give(&mut self, slots: &mut [C::Slot], index: u32) {
        C::links_mut(&mut slots[index as usize]).next = self.head;
        self.head = index;
    }

    /// Walks the unused slots, calls `each`, and returns how many there are.
    ///
    /// # Panics
    /// If the stack runs in a circle.
    pub(super) fn check(&self, slots: &[C::Slot], mut each: impl FnMut(u32)) -> usize {
        let (mut index, mut len) = (self.head, 0);
        while index != NONE {
            assert!(len < slots.len(), "the free stack runs in a circle");
            each(index);
            (index, len) = (C::links(&slots[index as usize]).next, len + 1);
        }
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
        links: Links,
    }

    chain! {
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
        let mut slots = [Slot { links: Links::OUT }; 5];
        let mut list = List::<Only>::new();
        for index in [1, 2, 3] {
            list.push_back(&mut slots, index);
        }
        list.push_front(&mut slots, 0);
        assert_eq!(walk(&list, &slots), [0, 1, 2, 3]);
        list.remove(&mut slots, 2);
        assert!(!list.contains(&slots, 2));
        assert_eq!(walk(&list, &slots), [0, 1, 3]);
        assert_eq!(list.pop_back(&mut slots), Some(3));
        assert_eq!(list.pop_front(&mut slots), Some(0));
        assert!(list.contains(&slots, 1));
        assert_eq!(list.pop_front(&mut slots), Some(1));
        assert_eq!(list.pop_front(&mut slots), None);
        assert_eq!(list.pop_back(&mut slots), None);
        assert!(walk(&list, &slots).is_empty());
    }

    #[test]
    #[should_panic(expected = "not in")]
    fn removing_what_is_not_in_a_list_panics() {
        let mut slots = [Slot { links: Links::OUT }; 2];
        let mut list = List::<Only>::new();
        list.push_back(&mut slots, 0);
        list.remove(&mut slots, 1);
    }

    #[test]
    fn the_free_stack_gives_the_latest_first_then_fresh_ones() {
        let mut slots = [Slot { links: Links::OUT }; 3];
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
