//! The worker's budget in bytes, over all of its links.

use alloc::vec::Vec;

/// What is left of [`Settings::memory_max`](super::Settings), and who waits for more.
///
/// A link is read while it holds less than what is left. So one that holds much leaves as much again
/// to the others, and two of them leave a third: no link can use up what another needs to go on.
pub(super) struct Memory {
    /// Below zero where answers, and the last request that was read, took more than there was.
    left: isize,
    /// The places of the links that are not read until there is more, each once.
    paused: Vec<u32>,
    /// Whether something was given back since they were let go.
    is_freed: bool,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        let left = isize::try_from(bytes_max).unwrap_or(isize::MAX);
        Self { left, paused: Vec::new(), is_freed: false }
    }

    /// Notes that a link, which holds `held`, holds so much more.
    #[inline]
    pub(super) fn take(&mut self, held: &mut usize, bytes: usize) {
        *held += bytes;
        self.left = self.left.saturating_sub_unsigned(bytes);
    }

    /// Notes that a link, which holds `held`, holds so much less.
    #[inline]
    pub(super) fn give(&mut self, held: &mut usize, bytes: usize) {
        *held -= bytes;
        self.left = self.left.saturating_add_unsigned(bytes);
        self.is_freed = true;
    }

    /// Returns whether a link that holds so much is to hold no more for now.
    #[inline]
    pub(super) fn is_short(&self, held: usize) -> bool {
        !usize::try_from(self.left).is_ok_and(|left| held < left)
    }

    /// Lists a place, to be polled again once there is more. It must not be listed yet.
    pub(super) fn pause(&mut self, place: u32) {
        self.paused.push(place);
        self.is_freed = false;
    }

    pub(super) fn forget(&mut self, place: u32) {
        self.paused.retain(|&paused| paused != place);
    }

    /// Returns whether there are links to be let go.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        !self.paused.is_empty() && self.is_freed
    }

    /// Returns the places of the links that were paused. Those that are still short pause again.
    pub(super) fn let_go(&mut self) -> Vec<u32> {
        core::mem::take(&mut self.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_that_holds_much_leaves_as_much_again_to_the_others() {
        let mut memory = Memory::new(1200);
        let mut held = [0; 3];
        for (hog, share) in [600, 300, 150].into_iter().enumerate() {
            while !memory.is_short(held[hog]) {
                memory.take(&mut held[hog], 1);
            }
            assert_eq!(held[hog], share);
            assert!(!memory.is_short(0), "others go on");
        }
        memory.give(&mut held[0], 600);
        assert!(!memory.is_short(held[1]));
    }

    #[test]
    fn more_than_there_is_may_be_taken_and_comes_back() {
        let mut memory = Memory::new(10);
        let mut held = 0;
        memory.take(&mut held, 1000);
        assert!(memory.is_short(0));
        memory.pause(7);
        assert!(!memory.has_news());
        memory.give(&mut held, 1000);
        assert!(memory.has_news());
        assert_eq!(memory.let_go(), [7]);
        assert!(!memory.is_short(9));
        assert!(memory.is_short(10));
    }
}
