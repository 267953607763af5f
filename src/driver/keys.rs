//! The keys that are in use: their numbers in the scheduler, and calls that have the outcome of another.
//!
//! The scheduler knows keys by numbers, so this is where names become numbers and numbers become free again. A
//! call has its key until its outcome, and a range or map for as long as it is there.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;

use chargehand_core::io::Timer;
use chargehand_core::{Key, QueueId, TaskId};

use super::Driver;
use super::task::{TaskPayload, Whose};
use crate::error::TaskError;
use crate::link::erased::Kind;
use crate::mailbox::calls::CallId;
use crate::mailbox::result::TaskResult;
use crate::options::{KeyName, TaskKey};
use crate::planted::planted;

/// All keys of a pool.
#[derive(Debug, Default)]
pub(crate) struct TaskKeys {
    live: BTreeMap<KeyName, LiveKey>,
    /// Numbers that were in use and are not.
    free: Vec<u32>,
    /// Which key a task has that is a call, by its slot.
    of_call: BTreeMap<u32, KeyName>,
    /// Calls that have the outcome of a task, by its slot, and the queue that each came from.
    followers: BTreeMap<u32, Vec<(CallId, QueueId)>>,
    /// How many these are, by the place of their queue.
    following: BTreeMap<u8, usize>,
}

#[derive(Debug)]
struct LiveKey {
    number: u32,
    /// How many calls, ranges and maps have it.
    users: u32,
    /// The task that others with this key have the outcome of.
    only: Option<u32>,
}

impl TaskKeys {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Takes a key once more, and returns what the scheduler is to know of it. `None` where there are as many
    /// in use as there may be.
    pub(crate) fn take(&mut self, key: &TaskKey, keys_max: u32) -> Option<Key> {
        if let Some(live) = self.live.get_mut(&key.name) {
            live.users += 1;
            return Some(Key::new(live.number).at_once(key.at_once));
        }
        let count = self.count();
        if count >= keys_max {
            return None;
        }
        // Those in use and those that are free are all that there were.
        let number = self.free.pop().unwrap_or(count);
        self.live.insert(key.name.clone(), LiveKey { number, users: 1, only: None });
        Some(Key::new(number).at_once(key.at_once))
    }

    /// Returns whether a key would be there to be taken.
    pub(crate) fn may_take(&self, key: &TaskKey, keys_max: u32) -> bool {
        self.count() < keys_max || self.live.contains_key(&key.name)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.live.len()).unwrap_or(u32::MAX)
    }

    /// Gives a key back that was taken once.
    pub(crate) fn give_back(&mut self, name: &KeyName) {
        let live = self.live.get_mut(name).expect("it was taken");
        live.users -= 1;
        if live.users == 0 {
            self.free.push(live.number);
            self.live.remove(name);
        }
    }

    /// Notes that a task has a key that was taken for it, and whether others are to have its outcome.
    pub(super) fn note(&mut self, task: TaskId, key: &TaskKey) {
        self.of_call.insert(task.slot(), key.name.clone());
        if key.is_unique {
            let live = self.live.get_mut(&key.name).expect("it was taken");
            live.only = Some(task.slot());
        }
    }

    /// Returns the slot of the task whose outcome is that of all with this key.
    fn only(&self, key: &TaskKey) -> Option<u32> {
        if key.is_unique { self.live.get(&key.name)?.only } else { None }
    }

    /// Takes in that a task is cancelled: its outcome, which is still to come, is nobody else's.
    pub(super) fn leave_alone(&mut self, task: TaskId) {
        let name = self.of_call.get(&task.slot());
        let live = name.and_then(|name| self.live.get_mut(name));
        if let Some(live) = live.filter(|live| live.only == Some(task.slot())) {
            live.only = None;
        }
    }

    /// Takes in that a task has its outcome, and returns who is to have it as well.
    pub(super) fn end(&mut self, task: TaskId) -> Vec<CallId> {
        if let Some(name) = self.of_call.remove(&task.slot()) {
            let live = self.live.get_mut(&name).expect("it has a user");
            let stays = planted("a key's only call stays when it is over");
            if live.only == Some(task.slot()) && !stays {
                live.only = None;
            }
            self.give_back(&name);
        }
        let followers = self.followers.remove(&task.slot()).unwrap_or_default();
        let ended = followers.into_iter().map(|(call, queue)| {
            self.count_off(queue);
            call
        });
        ended.collect()
    }

    /// Returns how many calls of a queue have the outcome of another one's task. They have no slot of the scheduler's.
    pub(super) fn following(&self, queue: QueueId) -> usize {
        self.following.get(&queue.place()).copied().unwrap_or(0)
    }

    fn count_off(&mut self, queue: QueueId) {
        let count = self.following.get_mut(&queue.place()).expect("it was counted");
        *count -= 1;
    }

    /// Returns whether others are to have the outcome of a task.
    pub(super) fn has_followers(&self, task: TaskId) -> bool {
        self.followers.contains_key(&task.slot())
    }

    /// Returns who is to have the outcome of a task as well.
    pub(super) fn followers_of(&self, task: TaskId) -> impl Iterator<Item = CallId> + use<'_> {
        self.followers.get(&task.slot()).into_iter().flatten().map(|(call, _)| *call)
    }

    /// Takes out a call that was to have the outcome of another. Returns whether it was.
    fn leave(&mut self, call: CallId) -> bool {
        let mut found = None;
        self.followers.retain(|_, calls| {
            if let Some(at) = calls.iter().position(|(other, _)| *other == call) {
                found = Some(calls.remove(at).1);
            }
            !calls.is_empty()
        });
        let Some(queue) = found else { return false };
        self.count_off(queue);
        true
    }

    /// Returns the slot of the task whose outcome a call is to have.
    pub(super) fn leader_of(&self, call: CallId) -> Option<u32> {
        self.followers.iter().find_map(|(slot, calls)| {
            calls.iter().any(|(other, _)| *other == call).then_some(*slot)
        })
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Checks what is known of keys.
    ///
    /// # Panics
    /// If a number is lost or has two keys, or a call is waited for that is no more.
    #[cfg(feature = "testing")]
    pub(super) fn check(&self, is_call: impl Fn(u32) -> bool) {
        let mut numbers: Vec<_> = self.live.values().map(|live| live.number).collect();
        numbers.extend(&self.free);
        numbers.sort_unstable();
        assert!((0..).zip(&numbers).all(|(at, number)| at == *number), "a key's number is lost");
        for (slot, name) in &self.of_call {
            assert!(is_call(*slot) && self.live.contains_key(name), "a key of no call");
        }
        for (name, live) in &self.live {
            let is_there = live.only.is_none_or(|slot| self.of_call.get(&slot) == Some(name));
            assert!(is_there, "others would wait for a call that is over");
        }
        for slot in self.followers.keys() {
            assert!(self.of_call.contains_key(slot), "the outcome of no task is waited for");
        }
        let mut following = BTreeMap::new();
        for (_, queue) in self.followers.values().flatten() {
            *following.entry(queue.place()).or_insert(0) += 1;
        }
        let counted = self.following.iter().filter(|(_, count)| **count > 0);
        assert!(counted.eq(&following), "calls that follow are counted");
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Has a call wait for the outcome of another task, if there is one of its key that all have that of.
    /// Returns whether it does.
    pub(super) fn follow(&mut self, call: CallId, key: &TaskKey, queue: QueueId) -> bool {
        let only = self.keys.only(key).filter(|_| !planted("a unique key is not"));
        let Some(slot) = only else { return false };
        self.keys.followers.entry(slot).or_default().push((call, queue));
        *self.keys.following.entry(queue.place()).or_insert(0) += 1;
        true
    }

    /// Ends the calls that have the outcome of another one.
    pub(super) fn end_followers(&mut self, followers: &[CallId], result: &mut TaskResult) {
        if planted("one call has an outcome that is for many") {
            return;
        }
        for &call in followers {
            let result = match result {
                Ok(answer) => answer.share().map_err(Into::into),
                Err(error) => Err(error.clone()),
            };
            self.end_call(call, result);
        }
    }

    /// Ends a call that is cancelled and whose task goes on for others, or that had the outcome of another
    /// one. Returns whether it was.
    pub(super) fn leave_shared(&mut self, call: CallId) -> bool {
        if self.keys.is_empty() {
            return false;
        }
        if self.keys.leave(call) {
            self.end_call(call, Err(TaskError::Cancelled.into()));
            return true;
        }
        let Some(task) = self.task_of(call) else { return false };
        let Some(calls) = self.keys.followers.get_mut(&task.slot()) else { return false };
        let (next, queue) = calls.remove(0);
        if calls.is_empty() {
            self.keys.followers.remove(&task.slot());
        }
        self.keys.count_off(queue);
        let payload = &mut self.tasks[task.slot() as usize].payload;
        if let TaskPayload::Request { whose: Whose::Call { call, .. }, .. } = payload {
            let left = mem::replace(call, next);
            self.note_accepted(next, task);
            self.end_call(left, Err(TaskError::Cancelled.into()));
        }
        true
    }
}
