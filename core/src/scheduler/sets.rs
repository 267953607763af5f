//! Which queues workers serve (decision 0040): workers that serve the same are a group, and each group has a
//! balance of its own. So whom a task goes to is found among few groups, whatever the number of workers.
//!
//! The first group serves all queues, and is the only one of a pool without queues; the second serves none. A
//! worker is in another one from its link's beginning to its end. Among workers that are loaded alike, the one
//! that serves the fewest queues comes first: it is of the least use to the others.

use super::index::wide;
use super::slot::{Duty, LinkPhase, WorkerSlot};
use super::tasks::{SchedulerMut, SchedulerState};
use crate::event::Offer;
use crate::planted::planted;
use crate::queue::{QueueOptions, QueueSet, SETS_MAX};

/// How many groups there are.
pub(super) const GROUPS: usize = SETS_MAX + 2;
/// Serves all queues.
const ALL: usize = 0;
/// Serves none.
const NOTHING: usize = 1;

/// Some of the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Groups(u16);

const _: () = assert!(GROUPS <= u16::BITS as usize);

impl Groups {
    /// Those that serve all queues.
    pub(super) const ONLY: Self = Self(1 << ALL);

    /// Returns them, one by one.
    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let rest = |left: &u16| Some(left & (left - 1)).filter(|&left| left != 0);
        let first = Some(self.0).filter(|&all| all != 0);
        core::iter::successors(first, rest).map(|left| left.trailing_zeros() as usize)
    }
}

/// What all workers serve.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Sets {
    /// By group.
    queues: [QueueSet; GROUPS],
    /// How many workers are in it. Of the first two nobody counts.
    users: [u32; GROUPS],
    /// How many of them serve.
    serving: [u32; GROUPS],
}

impl Sets {
    pub(super) const fn new() -> Self {
        let mut queues = [QueueSet::NONE; GROUPS];
        queues[ALL] = QueueSet::ALL;
        Self { queues, users: [0; GROUPS], serving: [0; GROUPS] }
    }

    /// Returns the groups that somebody may be in.
    fn used(&self) -> impl Iterator<Item = usize> {
        (0..GROUPS).filter(|&group| group <= NOTHING || self.users[group] > 0)
    }

    /// Returns the group of those that serve just these queues; of those that there is one of, the nearest.
    fn find(&self, queues: QueueSet) -> usize {
        if let Some(group) = self.used().find(|&group| self.queues[group] == queues) {
            return group;
        }
        let mut unused = (NOTHING + 1)..GROUPS;
        unused.find(|&group| self.users[group] == 0).unwrap_or_else(|| {
            let parts = self.used().filter(|&group| self.queues[group].without(queues).is_empty());
            parts.max_by_key(|&group| self.queues[group].rank()).unwrap_or(NOTHING)
        })
    }

    /// Returns which of so many queues somebody serves now.
    fn served(&self, known: usize) -> QueueSet {
        let serving = self.used().filter(|&group| self.serving[group] > 0);
        serving.fold(QueueSet::NONE, |all, group| all.union(self.queues[group])).of(known)
    }

    /// Returns the groups that serve a queue.
    fn of_queue(&self, place: usize) -> Groups {
        let place = u8::try_from(place).expect("a few queues");
        let queue = crate::queue::QueueId::new(place);
        let serve = |&group: &usize| {
            self.queues[group].contains(queue) || planted("a task goes to whom does not serve it")
        };
        Groups(self.used().filter(serve).fold(0, |all, group| all | 1 << group))
    }
}

impl WorkerSlot {
    #[inline]
    pub(super) fn group(&self) -> usize {
        usize::from(self.group)
    }
}

impl SchedulerState {
    /// Returns how many queues there are.
    fn known(&self) -> usize {
        self.queues.lines.len().max(1)
    }

    /// Returns how many workers of these groups serve.
    pub(super) fn serving_in(&self, groups: Groups) -> u32 {
        groups.iter().map(|group| self.sets.serving[group]).sum()
    }

    /// Returns which queues a worker serves.
    pub(super) fn served_by(&self, slot: &WorkerSlot) -> QueueSet {
        self.sets.queues[slot.group()]
    }

    /// Returns the worker of these groups that holds the fewest tasks, without `but`, or among those only that
    /// hold no suspect.
    pub(super) fn least_loaded(
        &self,
        workers: &[WorkerSlot],
        groups: Groups,
        but: u32,
        clean_only: bool,
    ) -> Option<u32> {
        if groups == Groups::ONLY {
            return self.balance.next_but(workers, but, clean_only);
        }
        let orders = groups.iter().flat_map(|group| [2 * group, 2 * group + 1]);
        let orders = orders.filter(|order| !clean_only || order % 2 == 0);
        let firsts = orders.filter_map(|order| self.balance.first_of(workers, order, but));
        firsts.min_by_key(|&worker| {
            let slot = &workers[worker as usize];
            (slot.held.len(), slot.has_suspect, self.served_by(slot).rank())
        })
    }

    /// Whether a worker that serves is the only one to serve some queue.
    pub(super) fn is_last(&self, slot: &WorkerSlot) -> bool {
        if !self.is_queued() {
            return wide(self.serving) < 2;
        }
        let mut others = self.sets;
        others.serving[slot.group()] -= u32::from(slot.phase.is_serving());
        !self.served_by(slot).without(others.served(self.known())).is_empty()
    }

    /// Returns the first worker that is suspended of those that serve a queue which nobody serves now.
    fn next_to_step_in(&self) -> Option<u32> {
        let served = self.sets.served(self.known());
        let is_needed = |group: &usize| {
            let queues = self.sets.queues[*group];
            !self.suspended[*group].is_empty() && !queues.without(served).is_empty()
        };
        let group = self.sets.used().filter(is_needed);
        let group = group.max_by_key(|&group| self.sets.queues[group].rank())?;
        self.suspended[group].head()
    }
}

impl SchedulerMut<'_> {
    /// Counts a worker that serves from now on, or did so.
    pub(super) fn count_serving(&mut self, worker: u32, is_serving: bool) {
        let count = &mut self.state.sets.serving[self.workers[worker as usize].group()];
        if is_serving {
            *count += 1;
        } else {
            *count -= 1;
        }
    }

    /// Has workers that are suspended serve again where they are the only ones for some queue: one that only
    /// failed is better than none.
    pub(super) fn step_in(&mut self) {
        while let Some(suspended) = self.state.next_to_step_in() {
            self.release(suspended);
        }
    }

    /// Puts a worker whose link begins into the group of those that serve the same.
    pub(super) fn join_group(&mut self, worker: u32, offer: Offer) {
        let wanted = offer.serves.of(self.state.known());
        let slot = &self.workers[worker as usize];
        if wanted == self.state.served_by(slot) {
            return;
        }
        if !self.state.is_queued() {
            self.begin_lines(&[QueueOptions::new()]);
        }
        if self.workers[worker as usize].phase.is_up() {
            // A link that displaces another, and serves something else: as if that one had ended.
            self.set_phase(worker, LinkPhase::Up(Duty::Busy));
        }
        self.leave_group(worker);
        let sets = &mut self.state.sets;
        let group = sets.find(wanted);
        if group > NOTHING {
            sets.users[group] += 1;
            if sets.users[group] == 1 {
                sets.queues[group] = wanted;
                self.follow_sets();
            }
        }
        self.workers[worker as usize].group = u8::try_from(group).expect("a few groups");
    }

    /// Takes a worker that neither serves nor rests out of its group.
    pub(super) fn leave_group(&mut self, worker: u32) {
        let group = core::mem::take(&mut self.workers[worker as usize].group);
        let group = usize::from(group);
        if group > NOTHING {
            let sets = &mut self.state.sets;
            sets.users[group] -= 1;
            if sets.users[group] == 0 {
                sets.queues[group] = QueueSet::NONE;
                self.follow_sets();
            }
        }
    }

    /// Sees to it that each queue knows which groups serve it. O(queues).
    pub(super) fn follow_sets(&mut self) {
        let SchedulerState { sets, queues, .. } = &mut *self.state;
        for (place, line) in queues.lines.iter_mut().enumerate() {
            line.groups = sets.of_queue(place);
        }
    }
}

/// Checks the groups against what the workers say.
///
/// # Panics
/// If a worker is in none, or one is miscounted.
pub(super) fn check(state: &SchedulerState, workers: &[WorkerSlot]) {
    let sets = &state.sets;
    for group in 0..GROUPS {
        let mine = || workers.iter().filter(|slot| slot.group() == group);
        let users = if group > NOTHING { mine().count() } else { 0 };
        assert!(sets.users[group] as usize == users, "workers of a set are miscounted");
        let serving = mine().filter(|slot| slot.phase.is_serving()).count();
        assert!(sets.serving[group] as usize == serving, "workers of a set that serve");
        assert!(group == ALL || mine().all(|slot| slot.phase.is_up()), "a set of no link");
        assert!(group <= NOTHING || users == 0 || !sets.queues[group].is_empty(), "a set of none");
        let twins = sets.used().filter(|&other| sets.queues[other] == sets.queues[group]);
        assert!(users == 0 || twins.count() == 1, "a set has two groups");
    }
    assert!(state.is_queued() || workers.iter().all(|slot| slot.group == 0), "a set of no queue");
    for (place, line) in state.queues.lines.iter().enumerate() {
        assert!(line.groups == sets.of_queue(place), "a queue does not know who serves it");
    }
    assert!(state.next_to_step_in().is_none(), "the last worker of a queue rests");
}
