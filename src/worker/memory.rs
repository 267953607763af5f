//! The worker's budget in bytes, over all of its links.

use alloc::vec::Vec;

use super::shares::Shares;
use crate::budget::{ArrivalQueue, SMALL_BYTES_MAX, set_aside_for, unasked_share};

/// What is left of [`Settings::memory_max`](super::Settings), and who waits for more.
///
/// A link is read while it holds less than what is left. So one that holds much leaves as much again
/// to the others, and two of them leave a third: no link can use up what another needs to go on. One of
/// several links of a party is read while it holds less than its part of that, so that they leave as much
/// again together. A message is held against what is left as soon as its length is known.
pub(super) struct Memory {
    /// Below zero where answers, and the last request that was read, took more than there was.
    left: isize,
    /// What answers have of it, that their managers have not taken yet.
    answers: usize,
    /// The places of the links that are not read until there is more, each once.
    paused: Vec<u32>,
    /// Whether something was given back since they were let go.
    is_freed: bool,
    /// With less than this left, every message is held against it.
    tight_below: isize,
    bytes_max: usize,
    /// What of it is kept for messages that come unasked.
    set_aside: usize,
    /// What is for the one message that goes on though there is too little: the longest has room, or
    /// half of all if that is less.
    reserve: isize,
    queue: ArrivalQueue,
    /// Whom links count for.
    pub(super) shares: Shares,
}

/// What a link that is gone still holds of it.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) bytes: usize,
    /// How many of them are answers.
    pub(super) answers: usize,
    /// What was set aside for the link.
    pub(super) share: usize,
}

impl Memory {
    pub(super) fn new(bytes_max: usize, message_max: usize) -> Self {
        let left = isize::try_from(bytes_max).unwrap_or(isize::MAX);
        let half = left / 2;
        Self {
            left,
            answers: 0,
            paused: Vec::new(),
            is_freed: false,
            tight_below: half,
            bytes_max,
            set_aside: 0,
            reserve: isize::try_from(message_max).map_or(half, |most| most.min(half)),
            queue: ArrivalQueue::default(),
            shares: Shares::default(),
        }
    }

    /// Sets something aside for the messages that come unasked on a link. Returns how long one may be.
    pub(super) fn set_aside(&mut self) -> usize {
        let share = unasked_share(self.bytes_max, self.set_aside);
        let bytes = set_aside_for(share);
        self.set_aside += bytes;
        self.left = self.left.saturating_sub_unsigned(bytes);
        // It is no message that is held.
        self.tight_below = self.tight_below.saturating_sub_unsigned(bytes);
        share
    }

    /// Returns how long a message may be that nobody asks for now, on a link with such a share.
    #[inline]
    pub(super) fn allowance(&self, share: usize) -> usize {
        if self.left < self.tight_below { SMALL_BYTES_MAX } else { share }
    }

    /// Takes so much for a message that is to arrive on a link, whose other messages have `arriving`, or
    /// has it wait.
    pub(super) fn admit(&mut self, place: u32, arriving: &mut usize, bytes: usize) -> bool {
        let more = bytes.saturating_sub(*arriving);
        let held = self.shares.arriving_with(place);
        let is_admitted = self.queue.admit(place, held, more, self.left - self.reserve, 0);
        if is_admitted {
            self.take(arriving, more);
            self.shares.add(place, more);
        }
        is_admitted
    }

    /// Notes that the message has come.
    pub(super) fn end(&mut self, place: u32, arriving: &mut usize) {
        let bytes = *arriving;
        self.give(arriving, bytes);
        self.shares.clear(place);
        // It may have been let in by an allowance that was raised while it waited.
        self.queue.forget(place);
    }

    /// Notes that no more messages are taken from a link.
    pub(super) fn end_all(&mut self, place: u32) {
        self.queue.forget(place);
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
        self.queue.note_news();
    }

    /// Notes that a link that is gone holds nothing more.
    pub(super) fn release(&mut self, held: &Held) {
        let Held { mut bytes, answers, share } = *held;
        let aside = set_aside_for(share);
        self.set_aside -= aside;
        self.left = self.left.saturating_add_unsigned(aside);
        self.tight_below = self.tight_below.saturating_add_unsigned(aside);
        let all = bytes;
        self.answers -= answers;
        self.give(&mut bytes, all);
    }

    /// Notes that a link, which holds `held`, holds an answer of `bytes` now.
    pub(super) fn take_answer(&mut self, held: &mut usize, bytes: usize) {
        self.answers += bytes;
        self.take(held, bytes);
    }

    /// Notes that a link, which holds `held`, holds `bytes` less of answers.
    pub(super) fn give_answer(&mut self, held: &mut usize, bytes: usize) {
        self.answers -= bytes;
        self.give(held, bytes);
    }

    /// Returns whether a link with this many bytes of answers must not start work that would make more.
    /// It has some in that case, so memory is freed once they have left or their link ends.
    #[inline]
    pub(super) fn is_to_wait(&self, answers: usize) -> bool {
        self.answers > 0 && self.is_short(answers)
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
        !self.paused.is_empty() && self.is_freed || self.queue.has_news()
    }

    /// Returns the places of the links that were paused, and of those whose message has room now. Those
    /// that are still short pause again.
    pub(super) fn let_go(&mut self) -> Vec<u32> {
        let mut places = core::mem::take(&mut self.paused);
        let held_by = |place| self.shares.arriving_with(place);
        places.extend(self.queue.take_news(self.left - self.reserve, 0, held_by));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::party::Party;

    #[test]
    fn each_link_that_holds_much_leaves_as_much_again_to_the_others() {
        let mut memory = Memory::new(1200, 100);
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
    fn long_messages_of_a_party_that_never_end_leave_others_room_for_as_many() {
        const MIB: usize = 1 << 20;
        let mut memory = Memory::new(256 * MIB, 16 * MIB);
        let (greedy, other) = (Party::at(Some("10.0.0.1")), Party::at(Some("10.0.0.2")));
        for place in 0..32 {
            memory.shares.begin(place, &greedy);
        }
        memory.shares.begin(32, &other);
        let mut arriving = [0; 33];
        let mut admit = |memory: &mut Memory, place: u32, bytes| {
            memory.admit(place, &mut arriving[place as usize], bytes)
        };
        let begun = (0..32).filter(|&place| admit(&mut memory, place, 16 * MIB)).count();
        assert_eq!(begun, 8, "half of all but the reserve, and that");
        assert!(admit(&mut memory, 32, 16 * MIB), "without any of theirs being over");
    }

    #[test]
    fn more_than_there_is_may_be_taken_and_comes_back() {
        let mut memory = Memory::new(10, 5);
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

    #[test]
    fn what_may_come_unasked_is_set_aside_and_no_number_of_links_gets_more_than_an_eighth() {
        let mut memory = Memory::new(1 << 20, 1 << 16);
        let shares: Vec<usize> = (0..1000).map(|_| memory.set_aside()).collect();
        assert_eq!((shares[0], shares[999]), (8192, SMALL_BYTES_MAX));
        assert!(memory.set_aside <= 1 << 17, "{}", memory.set_aside);
        assert_eq!(memory.left, (1 << 20) - memory.set_aside.cast_signed());
        assert_eq!(memory.allowance(shares[0]), 8192, "it is no message that is held");
        for share in shares {
            memory.release(&Held { share, ..Held::default() });
        }
        assert_eq!((memory.left, memory.set_aside), (1 << 20, 0));
    }

    #[test]
    fn sixty_four_half_sent_messages_take_no_more_than_there_is_and_all_come() {
        const MIB: usize = 1 << 20;
        for bytes_max in [256 * MIB, 33 * MIB, 1000] {
            let mut memory = Memory::new(bytes_max, 16 * MIB);
            let mut arriving = [0; 64];
            let mut held = 0;
            for place in 0..64_u32 {
                memory.admit(place, &mut arriving[place as usize], 16 * MIB);
            }
            let most = bytes_max.max(16 * MIB);
            assert!(arriving.iter().sum::<usize>() <= most);
            let mut done = 0;
            while let Some(place) = arriving.iter().rposition(|&bytes| bytes > 0) {
                memory.end(u32::try_from(place).unwrap(), &mut arriving[place]);
                // It is a request now, and then answered.
                memory.take(&mut held, 1000);
                memory.give(&mut held, 1000);
                done += 1;
                assert!(memory.has_news() || done >= 50);
                for place in memory.let_go() {
                    assert!(memory.admit(place, &mut arriving[place as usize], 16 * MIB));
                }
                assert!(arriving.iter().sum::<usize>() <= most);
            }
            assert_eq!(done, 64);
            assert_eq!(memory.left, bytes_max.cast_signed());
        }
    }
}
