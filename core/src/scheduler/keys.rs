//! Keys: tasks of one key go in the order of submission, so many at a time.
//!
//! A task that comes when its key has a place takes it and waits in its lane as any other. It keeps the place
//! until it has its outcome, while it rests before a retry too, so that none overtakes it. One that finds none
//! waits behind the others of its key, and in no lane. So a key that is taken keeps nobody else waiting, and
//! what is next of a key is known without a search.

use alloc::vec::Vec;

use super::index::{NONE, Stored, narrow, wide};
use super::list::{Linkage, List, Neighbours, define_linkage};
use super::queues::Stand;
use super::slot::{Queue, TaskSlot, TaskState};
use super::tasks::SchedulerMut;
use crate::planted::planted;
use crate::queue::Key;
use crate::time::Instant;

/// All keys that there were so far.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Keys {
    /// By number. As long as the highest that was used needs.
    slots: Vec<KeySlot>,
    /// By task slot: what a task has of its key, where it has one. As long as was needed so far.
    of: Vec<Keyed>,
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct KeySlot {
    at_once: u32,
    /// Its tasks that have a place.
    placed: List<Placed>,
    /// Those that have none, in the order of submission.
    behind: List<Queue>,
    /// Until then it gets nothing.
    paused_until: Instant,
}

/// What a task has of its key.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Keyed {
    key: Stored,
    placed: Neighbours,
}

define_linkage! {
    /// The tasks that have a place of a key.
    Placed: Keyed, placed
}

impl KeySlot {
    const fn new() -> Self {
        Self { at_once: 1, placed: List::new(), behind: List::new(), paused_until: Instant::EPOCH }
    }

    fn has_place(&self) -> bool {
        self.placed.len() < self.at_once || planted("a key has no limit")
    }
}

impl Keys {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), of: Vec::new() }
    }

    /// Returns the number of the key of a task that has one.
    fn number(&self, task: u32) -> usize {
        wide(self.of[task as usize].key) as usize
    }

    /// Returns until when the key of a task that has one gets nothing; a time that has passed if it may.
    pub(super) fn paused_until(&self, task: u32) -> Instant {
        self.slots[self.number(task)].paused_until
    }

    /// Has the key of a task get nothing for a while, and returns the first task that has a place of it.
    #[cfg(feature = "task-times")]
    pub(super) fn pause(&mut self, task: u32, until: Instant) -> Option<u32> {
        let number = self.number(task);
        let key = &mut self.slots[number];
        key.paused_until = key.paused_until.max(until);
        key.placed.head()
    }

    /// Returns the task that has a place of the same key after another one that has.
    #[cfg(feature = "task-times")]
    pub(super) fn after(&self, task: u32) -> Option<u32> {
        let next = Placed::neighbours(&self.of[task as usize]).next();
        (next != NONE).then_some(next)
    }

    /// Returns which of the tasks of one's key has a place: the one in the lowest slot. O(slots).
    pub(super) fn placed(&self, tasks: &[TaskSlot], task: u32) -> Option<u32> {
        use TaskState::{Finished, Free, Withdrawing};
        let key = self.of.get(task as usize)?.key;
        let mut others = (0..NONE).zip(tasks.iter().zip(&self.of));
        let found = others.find(|(_, (slot, of))| {
            let is_open = !matches!(slot.state, Free | Withdrawing | Finished(_));
            let is_behind = slot.state == TaskState::Waiting && slot.stand == Stand::Behind;
            is_open && slot.is_keyed && of.key == key && !is_behind
        });
        found.map(|(other, _)| other)
    }

    /// Takes out a task that waits behind others.
    pub(super) fn leave_behind(&mut self, tasks: &mut [TaskSlot], task: u32) {
        let number = self.number(task);
        self.slots[number].behind.take_out(tasks, task);
    }

    /// Checks the keys against what the tasks say.
    ///
    /// # Panics
    /// If a task is in another's list, a place is miscounted, or one is free that somebody waits for; or if one
    /// waits for a worker whose key is paused.
    pub(super) fn check(&self, tasks: &[TaskSlot], clock: Instant) {
        let is_behind =
            |slot: &TaskSlot| slot.state == TaskState::Waiting && slot.stand == Stand::Behind;
        for (number, key) in self.slots.iter().enumerate() {
            key.behind.check(tasks, |task| {
                assert!(is_behind(&tasks[task as usize]), "a task is behind that is not");
                assert!(self.number(task) == number, "a task is behind another key");
            });
            let mine = tasks.iter().zip(&self.of).filter(|(slot, of)| {
                use TaskState::{Finished, Free, Withdrawing};
                let is_open = !matches!(slot.state, Free | Withdrawing | Finished(_));
                is_open && slot.is_keyed && wide(of.key) as usize == number && !is_behind(slot)
            });
            assert!(mine.count() == key.placed.len() as usize, "places of a key are miscounted");
            key.placed.check(&self.of, |task| {
                let slot = &tasks[task as usize];
                assert!(self.number(task) == number, "a task has a place of another key");
                let waits = matches!(slot.state, TaskState::Waiting | TaskState::Returned);
                assert!(!waits || key.paused_until <= clock, "a task of a paused key may be sent");
            });
            let is_unused = key.placed.is_empty() && key.behind.is_empty();
            assert!(!is_unused || key.paused_until == Instant::EPOCH, "an unused key is paused");
            assert!(key.behind.is_empty() || !key.has_place(), "a task waits for a free key");
        }
    }
}

#[cfg(test)]
impl Keys {
    /// Adds all that decides what is done next.
    pub(super) fn words(&self, tasks: &[TaskSlot], clock: Instant, words: &mut Vec<u32>) {
        for key in &self.slots {
            let ahead = key.paused_until.as_nanos().saturating_sub(clock.as_nanos());
            words.push(u32::try_from(ahead).expect("a few milliseconds"));
            words.push(key.at_once);
            key.placed.check(&self.of, |task| words.push(task));
            words.push(NONE);
            key.behind.check(tasks, |task| words.push(task));
            words.push(NONE);
        }
    }
}

impl SchedulerMut<'_> {
    /// Has a task that was just accepted take a place of its key, or wait for one.
    pub(super) fn take_key(&mut self, task: u32, key: Key) {
        let keys = &mut self.state.queues.keys;
        let (number, place) = (key.number as usize, task as usize);
        if keys.slots.len() <= number {
            keys.slots.resize(number + 1, KeySlot::new());
        }
        if keys.of.len() <= place {
            // Doubled, so that a task costs O(1) on average, and never longer than all slots.
            let length = (keys.of.len() * 2).clamp(place + 1, self.tasks.len());
            keys.of.resize(length, Keyed { key: narrow(NONE), placed: Neighbours::OUT });
        }
        keys.of[place].key = narrow(key.number);
        self.tasks[place].is_keyed = true;
        let slot = &mut keys.slots[number];
        slot.at_once = key.at_once;
        if slot.has_place() && slot.behind.is_empty() {
            slot.placed.append(&mut keys.of, task);
            self.stand_in_lane(task);
            return;
        }
        slot.behind.append(self.tasks, task);
        self.stand_behind(task);
        self.fill_key(number);
    }

    /// Gives back what a task has of its key: its place, if it has one, goes to the next.
    pub(super) fn give_key_back(&mut self, task: u32) {
        let slot = &mut self.tasks[task as usize];
        slot.is_keyed = false;
        if slot.stand == Stand::Behind {
            return;
        }
        let keys = &mut self.state.queues.keys;
        let number = keys.number(task);
        keys.slots[number].placed.take_out(&mut keys.of, task);
        self.fill_key(number);
        let key = &mut self.state.queues.keys.slots[number];
        if key.placed.is_empty() {
            // Its number may be another's next.
            key.paused_until = Instant::EPOCH;
        }
    }

    /// Gives the places of a key to those that are next.
    fn fill_key(&mut self, number: usize) {
        loop {
            let Keys { slots, of } = &mut self.state.queues.keys;
            let key = &mut slots[number];
            if !key.has_place() {
                return;
            }
            let Some(next) = key.behind.take_first(self.tasks) else { return };
            key.placed.append(of, next);
            self.set_free(next);
            self.rest_if_paused(next);
        }
    }
}
