//! Who has taken which task, for those who ask. Nothing is kept while nobody does.

use alloc::collections::BTreeMap;

use chargehand_core::io::Timer;
use chargehand_core::{Link, TaskId};

use super::Driver;
use super::task::TaskEntry;
use super::workers::LinkState;
use crate::events::{PoolEvent, Started};
use crate::link::erased::Kind;
use crate::mailbox::StartWatch;
use crate::mailbox::calls::CallId;

/// Those that wait, by the place of their call.
pub(super) type Watches = BTreeMap<usize, StartWatch>;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Answers at once if a worker has the task, or once one takes it.
    pub(super) fn on_watch(&mut self, watch: StartWatch) {
        // What has ended may not have got there yet.
        self.settle_calls();
        if self.ends.post.has_ended(watch.call) {
            return;
        }
        let holder = self.task_of(watch.call).and_then(|task| self.scheduler.holder(task));
        if let Some((worker, attempt)) = holder {
            let peer = self.peers.get_mut(worker).label();
            let _ = watch.reply.try_send(Started { worker, peer, attempt });
        } else {
            self.watches.insert(watch.call.place(), watch);
            self.note_asides();
        }
    }

    /// Returns which task a call is now, if it is one.
    pub(super) fn task_of(&self, call: CallId) -> Option<TaskId> {
        let slot = *self.accepted.get(call.place())?;
        let TaskEntry { payload, generation, .. } = &self.tasks[slot as usize];
        (payload.call() == Some(call)).then(|| TaskId::from_parts(slot, *generation))
    }

    /// Measures, and tells those who wait that a worker has got a task: if it has, since the link may have broken.
    pub(super) fn tell_started(&mut self, link: Link, task: TaskId, attempt: u16) {
        self.meter.on_sent(link, task, attempt, self.now);
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
        if let Some(call) = self.tasks[task.slot() as usize].payload.call() {
            if let Some(watch) = self.watches.remove(&call.place()) {
                let _ = watch.reply.try_send(Started { worker, peer: peer.clone(), attempt });
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
