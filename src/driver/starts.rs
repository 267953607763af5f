//! What happens to a task, for those who ask: who has taken it, how far it is. Nothing is kept while nobody does.

use alloc::collections::BTreeMap;

use chargehand_core::io::Timer;
use chargehand_core::{Link, TaskId};

use super::Driver;
use super::peers::LinkState;
use super::task::TaskEntry;
use crate::events::{PoolEvent, Started};
use crate::link::erased::Kind;
use crate::mailbox::calls::CallId;
use crate::mailbox::mail::{TaskWatch, Wanted};

/// Those that wait, by the place of their call.
pub(super) type Watches = BTreeMap<usize, TaskWatch>;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Answers at once if there is something to tell, or once there is.
    pub(super) fn on_watch(&mut self, watch: TaskWatch) {
        #[cfg(feature = "std")]
        if let Wanted::Explanation(reply) = watch.wanted {
            return self.questions.push(super::explain::Question::Call(watch.call, reply));
        }
        // What has ended may not have got there yet.
        self.settle_calls();
        if self.ends.post.has_ended(watch.call) {
            return;
        }
        let leader = || self.keys.leader_of(watch.call);
        let task = self.task_of(watch.call).or_else(|| Some(self.task_in(leader()?)));
        let is_told = task.is_some_and(|task| self.tell_at_once(&watch.wanted, task));
        if !is_told {
            self.watches.insert(watch.call.place(), watch);
            self.note_asides();
        }
    }

    /// Tells of a task what there is to tell already. Returns whether there is anything.
    fn tell_at_once(&mut self, wanted: &Wanted, task: TaskId) -> bool {
        match wanted {
            Wanted::Start(reply) => {
                let Some((worker, attempt)) = self.scheduler.holder(task) else { return false };
                let peer = self.peers.label_of(worker);
                let _ = reply.try_send(Started { worker, peer, attempt });
            }
            Wanted::Progress { known, reply } => {
                let Some(news) =
                    self.latest_of(task).filter(|latest| known.as_ref() != Some(latest))
                else {
                    return false;
                };
                let _ = reply.try_send(news);
            }
            #[cfg(feature = "std")]
            Wanted::Explanation(_) => unreachable!("it is a question"),
        }
        true
    }

    /// Returns which task a call is now, if it is one.
    pub(super) fn task_of(&self, call: CallId) -> Option<TaskId> {
        let slot = *self.accepted.get(call.place())?;
        let TaskEntry { payload, generation, .. } = &self.tasks[slot as usize];
        (payload.call() == Some(call)).then(|| TaskId::from_parts(slot, *generation))
    }

    /// Returns the task in a slot.
    pub(super) fn task_in(&self, slot: u32) -> TaskId {
        TaskId::from_parts(slot, self.tasks[slot as usize].generation)
    }

    /// Measures, and tells those who wait that a worker has got a task: if it has, since the link may have broken.
    pub(super) fn tell_started(&mut self, link: Link, task: TaskId, attempt: u16) {
        if self.scheduler.second_holder(task).is_none() {
            self.meter.on_sent(link, task, attempt, self.now);
        }
        if !self.wants_starts {
            return; // Nobody else wants to know.
        }
        let (worker, peer) = (link.worker(), self.peers.get_mut(link.worker()));
        let is_up = match &peer.link {
            LinkState::Up(up, _) | LinkState::InProcess(up) => *up == link,
            _ => false,
        };
        let peer = peer.label();
        if !is_up || self.unfit.iter().any(|(unfit, _)| *unfit == task) {
            return;
        }
        let call = self.tasks[task.slot() as usize].payload.call();
        for call in call.into_iter().chain(self.keys.followers_of(task)) {
            if let Some(TaskWatch { call, wanted }) = self.watches.remove(&call.place()) {
                let started = || Started { worker, peer: peer.clone(), attempt };
                if let Some(wanted) = wanted.tell_started(started) {
                    self.watches.insert(call.place(), TaskWatch { call, wanted });
                }
            }
        }
        let height = self.height_of(task);
        self.events.tell_of_task(|| PoolEvent::Started { task, height, attempt, worker, peer });
        self.note_asides();
    }

    /// Returns which height of a range a task is, or which request of a map.
    pub(super) fn height_of(&self, task: TaskId) -> Option<i128> {
        self.jobs.height_of(&self.tasks[task.slot() as usize].payload)
    }

    /// Lets go of what is kept aside for a call that has ended.
    pub(super) fn end_asides(&mut self, call: CallId) {
        self.specials.remove(&call.place());
        self.watches.remove(&call.place());
        self.note_asides();
    }

    /// Lets go of what is kept aside for calls that have ended in the queue.
    pub(super) fn tidy_asides(&mut self) {
        let post = &self.ends.post;
        self.watches.retain(|_, watch| !post.has_ended(watch.call));
        self.note_asides();
    }

    /// Notes what the hot path asks, in one flag each.
    pub(super) fn note_asides(&mut self) {
        self.has_asides = !self.specials.is_empty() || !self.watches.is_empty();
        self.wants_starts = !self.watches.is_empty() || self.events.wants_tasks();
        self.tells_starts = self.wants_starts || self.meter.is_on();
    }
}
