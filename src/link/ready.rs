//! Which of many sources were woken: one waker for each source, made once, and one list of those
//! that are ready. Ten thousand idle links cost nothing, because nobody looks at them.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;

use crate::link::lock::{AtomicBool, Lock, Ordering};

/// How many ready sources one poll of a task should serve. Tokio's cooperative budget allows a task 128
/// operations in one poll, after which nothing appears ready; a link takes two or three.
pub(crate) const SOURCES_PER_POLL: usize = 48;

/// The list of ready sources, and the waker of the task that works it off.
#[derive(Debug)]
pub(crate) struct ReadySet {
    shared: Arc<Shared>,
    /// What was taken from the list and is still to be served, the first of it last.
    turn: Vec<u32>,
}

#[derive(Debug, Default)]
struct Shared {
    ready: Lock<Ready>,
}

#[derive(Debug, Default)]
struct Ready {
    tokens: Vec<u32>,
    /// Whom to wake for the first token. `None` once that has happened.
    parent: Option<Waker>,
}

/// One source's place in a [`ReadySet`].
#[derive(Debug)]
pub(crate) struct Entry {
    flag: Arc<Flag>,
    waker: Waker,
}

#[derive(Debug)]
struct Flag {
    token: u32,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl ReadySet {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), turn: Vec::new() }
    }

    /// Makes the entry of a source; `token` names it in every snapshot.
    pub(crate) fn entry(&self, token: u32) -> Entry {
        let queued = AtomicBool::new(false);
        let flag = Arc::new(Flag { token, queued, shared: Arc::clone(&self.shared) });
        Entry { waker: Waker::from(Arc::clone(&flag)), flag }
    }

    /// Moves up to `count` ready tokens into `batch`, which must be empty: those first that got ready
    /// first. What gets ready from now on wakes `parent`, once. Returns whether others are left, of
    /// which nothing will wake: then come back in another poll. Call it once in each poll, never until
    /// nothing is left: a runtime that meters its tasks wakes us at once to make us yield, and the loop
    /// would spin on that.
    pub(crate) fn take(&mut self, parent: &Waker, count: usize, batch: &mut Vec<u32>) -> bool {
        debug_assert!(batch.is_empty());
        let Self { shared, turn } = self;
        // Dropped without the lock.
        let mut former = None;
        // What got ready since the last poll woke for this one: it is this one's, or the next one's.
        let left = shared.ready.with(|Ready { tokens, parent: known }| {
            if !known.as_ref().is_some_and(|known| known.will_wake(parent)) {
                former = known.replace(parent.clone());
            }
            if turn.is_empty() {
                if tokens.len() <= count {
                    mem::swap(batch, tokens);
                    return false;
                }
                mem::swap(tokens, turn);
                turn.reverse();
            }
            turn.len() > count || !tokens.is_empty()
        });
        drop(former);
        let rest = turn.len().saturating_sub(count);
        batch.extend(turn.drain(rest..).rev());
        left
    }

    /// Takes back the tokens of a batch that were not served: they are the first of the next one.
    /// Returns whether there were any, of which nothing will wake.
    pub(crate) fn give_back(&mut self, rest: impl DoubleEndedIterator<Item = u32>) -> bool {
        let before = self.turn.len();
        self.turn.extend(rest.rev());
        self.turn.len() > before
    }
}

impl Entry {
    /// Returns the waker to poll the source with.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Forgets that the source is ready. Call it before the source is polled, so that a wake during
    /// the poll counts.
    #[inline]
    pub(crate) fn clear(&self) {
        // A swap and not a store: whoever found the flag set has put something where the poll that
        // follows must see it, so that poll must come after what they did.
        self.flag.queued.swap(false, Ordering::AcqRel);
    }

    /// Marks the source ready for somebody who looks at it without a wake. Returns whether it was
    /// not: otherwise its token is in the list, or was taken from there and not yet cleared.
    pub(crate) fn mark(&self) -> bool {
        !self.flag.queued.swap(true, Ordering::AcqRel)
    }

    /// Wakes the parent to poll the source.
    pub(crate) fn wake(&self) {
        self.waker.wake_by_ref();
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let parent = self.shared.ready.with(|ready| {
                ready.tokens.push(self.token);
                ready.parent.take()
            });
            if let Some(parent) = parent {
                parent.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::Count;

    fn taken(set: &mut ReadySet) -> Vec<u32> {
        let mut batch = Vec::new();
        set.take(Waker::noop(), usize::MAX, &mut batch);
        batch
    }

    #[test]
    fn a_source_is_listed_once_until_it_is_cleared() {
        let mut set = ReadySet::new();
        let (a, b) = (set.entry(7), set.entry(9));
        a.wake();
        b.waker().wake_by_ref();
        a.wake();
        assert_eq!(taken(&mut set), [7, 9]);
        a.wake();
        assert!(taken(&mut set).is_empty(), "still queued: it was not cleared");
        a.clear();
        a.wake();
        assert_eq!(taken(&mut set), [7]);
    }

    #[test]
    fn many_are_taken_a_few_at_a_time_in_the_order_in_which_they_got_ready() {
        let mut set = ReadySet::new();
        let entries: Vec<_> = (0..7).map(|token| set.entry(token)).collect();
        entries.iter().take(6).for_each(Entry::wake);
        let mut batch = Vec::new();
        for (tokens, more) in [(vec![0, 1, 2], true), (vec![3, 4, 5], true), (vec![6], false)] {
            batch.clear();
            assert_eq!((set.take(Waker::noop(), 3, &mut batch), &batch), (more, &tokens));
            // Later than what is left of the others.
            entries[6].wake();
        }
        assert!(taken(&mut set).is_empty());
    }

    #[test]
    fn what_was_not_served_comes_first_the_next_time() {
        let mut set = ReadySet::new();
        let entries: Vec<_> = (0..6).map(|token| set.entry(token)).collect();
        entries.iter().for_each(Entry::wake);
        let mut batch = Vec::new();
        assert!(set.take(Waker::noop(), 4, &mut batch));
        let mut tokens = batch.drain(..);
        assert_eq!(tokens.next(), Some(0));
        entries[0].clear();
        entries[0].wake();
        assert!(set.give_back(tokens));
        assert!(set.take(Waker::noop(), 4, &mut batch));
        assert_eq!(batch, [1, 2, 3, 4]);
        assert!(!set.give_back([].into_iter()), "all were served");
        batch.clear();
        assert!(set.take(Waker::noop(), 4, &mut batch), "the first one is ready again");
        assert_eq!(batch, [5]);
        assert_eq!(taken(&mut set), [0]);
    }

    #[test]
    fn the_latest_parent_is_woken_for_the_first_that_gets_ready() {
        let mut set = ReadySet::new();
        let entries: Vec<_> = (0..3).map(|token| set.entry(token)).collect();
        let (counts, parents) = Count::two();
        let woken = || counts.each_ref().map(|count| count.woken());
        let mut take = |parent: &Waker| {
            let mut batch = Vec::new();
            set.take(parent, 9, &mut batch);
            batch
        };
        entries[0].wake();
        assert_eq!(take(&parents[0]), [0], "from before there was any parent");
        assert!(take(&parents[0]).is_empty());
        assert!(take(&parents[1]).is_empty());
        assert_eq!(woken(), [0, 0]);

        entries[1].wake();
        entries[2].wake();
        assert_eq!(woken(), [0, 1], "it will find both");
        assert_eq!(take(&parents[0]), [1, 2]);
        entries[1].clear();
        entries[1].wake();
        assert_eq!(woken(), [1, 1]);
    }
}
