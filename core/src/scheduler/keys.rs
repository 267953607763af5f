//! Keys: tasks of one key go in the order of submission, so many at a time.
//!
//! A task that comes when its key has a place takes it and waits in its lane as any other. It keeps the place
//! until it has its outcome, while it rests before a retry too, so that none overtakes it. One that finds none
//! waits behind the others of its key, and in no lane. So a key that is taken keeps nobody else waiting, and
//! what is next of a key is known without a search.

use alloc::vec::Vec;

use super::index::{NONE, Stored, narrow, wide};
use super::list::List;
use super::queues::Stand;
use super::slot::{Queue, TaskSlot, TaskState};
use super::tasks::SchedulerMut;
use crate::planted::planted;
use crate::queue::Key;

/// All keys that there were so far.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Keys {
    /// By number. As long as the highest that was used needs.
    slots: Vec<KeySlot>,
    /// By task slot: which key it has, where it has one. As long as was needed so far.
    of: Vec<Stored>,
}

#[derive(Clone, Copy, Debug)]
struct KeySlot {
    /// How many of its tasks have a place.
    taken: u32,
    at_once: u32,
    /// Those that have none, in the order of submission.
    behind: List<Queue>,
}

impl KeySlot {
    const fn new() -> Self {
        Self { taken: 0, at_once: 1, behind: List::new() }
    }

    fn has_place(&self) -> bool {
        self.taken < self.at_once || planted("a key has no limit")
    }
}

impl Keys {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), of: Vec::new() }
    }

    fn of(&mut self, task: u32) -> &mut KeySlot {
        let key = wide(self.of[task as usize]) as usize;
        &mut self.slots[key]
    }

    /// Returns which of the tasks of one's key has a place: the one in the lowest slot. O(slots).
    pub(super) fn placed(&self, tasks: &[TaskSlot], task: u32) -> Option<u32> {
        use TaskState::{Finished, Free, Withdrawing};
        let key = *self.of.get(task as usize)?;
        let mut others = (0..NONE).zip(tasks.iter().zip(&self.of));
        let found = others.find(|(_, (slot, of))| {
            let is_open = !matches!(slot.state, Free | Withdrawing | Finished(_));
            let is_behind = slot.state == TaskState::Waiting && slot.stand == Stand::Behind;
            is_open && slot.is_keyed && **of == key && !is_behind
        });
        found.map(|(other, _)| other)
    }

    /// Takes out a task that waits behind others.
    pub(super) fn leave_behind(&mut self, tasks: &mut [TaskSlot], task: u32) {
        self.of(task).behind.take_out(tasks, task);
    }

    /// Checks the keys against what the tasks say.
    ///
    /// # Panics
    /// If a task is in another's list, a place is miscounted, or one is free that somebody waits for.
    pub(super) fn check(&self, tasks: &[TaskSlot]) {
        let is_behind =
            |slot: &TaskSlot| slot.state == TaskState::Waiting && slot.stand == Stand::Behind;
        for (number, key) in (0..NONE).zip(&self.slots) {
            key.behind.check(tasks, |task| {
                assert!(is_behind(&tasks[task as usize]), "a task is behind that is not");
                assert!(wide(self.of[task as usize]) == number, "a task is behind another key");
            });
            let mine = tasks.iter().zip(&self.of).filter(|(slot, of)| {
                use TaskState::{Finished, Free, Withdrawing};
                let is_open = !matches!(slot.state, Free | Withdrawing | Finished(_));
                is_open && slot.is_keyed && wide(**of) == number && !is_behind(slot)
            });
            assert!(mine.count() == key.taken as usize, "places of a key are miscounted");
            assert!(key.behind.is_empty() || !key.has_place(), "a task waits for a free key");
        }
    }
}

#[cfg(test)]
impl Keys {
    /// Adds all that decides what is done next.
    pub(super) fn words(&self, tasks: &[TaskSlot], words: &mut Vec<u32>) {
        for key in &self.slots {
            words.extend([key.taken, key.at_once]);
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
            keys.of.resize(length, 0);
        }
        keys.of[place] = narrow(key.number);
        self.tasks[place].is_keyed = true;
        let slot = &mut keys.slots[number];
        slot.at_once = key.at_once;
        if slot.has_place() && slot.behind.is_empty() {
            slot.taken += 1;
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
        keys.of(task).taken -= 1;
        let number = wide(keys.of[task as usize]) as usize;
        self.fill_key(number);
    }

    /// Gives the places of a key to those that are next.
    fn fill_key(&mut self, number: usize) {
        loop {
            let key = &mut self.state.queues.keys.slots[number];
            if !key.has_place() {
                return;
            }
            let Some(next) = key.behind.take_first(self.tasks) else { return };
            key.taken += 1;
            self.set_free(next);
        }
    }
}
