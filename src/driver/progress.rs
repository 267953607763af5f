//! How far attempts are, for those who want to know. Nothing is kept of those that do not say so.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;

use chargehand_core::io::Timer;
use chargehand_core::message::Progress;
use chargehand_core::{Instant, TaskId};

use super::Driver;
use super::peers::LinkState;
use super::task::ProgressNote;
use crate::events::{PoolEvent, TaskProgress};
use crate::handler::in_process::AnyHands;
use crate::link::erased::{Kind, Reach};
use crate::mailbox::mail::{TaskWatch, Wanted};

/// How many are kept before it is looked which of them are over.
const KEPT: usize = 64;

/// What was said of all of them.
#[derive(Debug)]
pub(super) struct Told {
    /// What came just now. Empty but for the moment.
    pub(super) said: Vec<ProgressNote>,
    /// The latest by the slot of the task. Those that are over since are passed over, and thrown out once
    /// they are many.
    latest: BTreeMap<u32, ProgressNote>,
    /// How many there may be before that is looked at.
    kept_max: usize,
    /// When handlers in this process have something to say.
    pub(super) due: Instant,
}

impl Told {
    pub(super) const fn new() -> Self {
        Self { said: Vec::new(), latest: BTreeMap::new(), kept_max: KEPT, due: Instant::FAR_FUTURE }
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Keeps what came, and tells it to those who wait for it or listen.
    pub(super) fn tell_progress(&mut self) {
        let mut came = mem::take(&mut self.progress.said);
        for said in came.drain(..) {
            self.progress.latest.insert(said.progress.task.slot(), said);
            let Some(progress) = self.progress_of(said) else { continue };
            if !self.watches.is_empty() {
                self.tell_watchers(&progress);
            }
            self.events.tell_of_task(|| PoolEvent::Progress(progress));
        }
        self.progress.said = came;
        if self.progress.latest.len() > self.progress.kept_max {
            self.throw_out();
        }
    }

    /// Tells those who wait for news of a task: its caller, and those who were given its outcome by their key.
    fn tell_watchers(&mut self, progress: &TaskProgress) {
        let call = self.tasks[progress.task.slot() as usize].payload.call();
        for call in call.into_iter().chain(self.keys.followers_of(progress.task)) {
            let waits = |watch: &TaskWatch| matches!(watch.wanted, Wanted::Progress { .. });
            if self.watches.get(&call.place()).is_some_and(waits) {
                if let Some(watch) = self.watches.remove(&call.place()) {
                    watch.wanted.tell_progress(progress);
                }
            }
        }
        self.note_asides();
    }

    /// Throws out what is over. Half of what is kept is live then, or more comes before this is done again.
    fn throw_out(&mut self) {
        let scheduler = &self.scheduler;
        self.progress.latest.retain(|_, said| is_live(scheduler, said));
        self.progress.kept_max = KEPT.max(2 * self.progress.latest.len());
    }

    /// Returns what is said of a task's attempt, while that is under way.
    fn progress_of(&self, said: ProgressNote) -> Option<TaskProgress> {
        let Progress { task, attempt, done, total } = said.progress;
        if !is_live(&self.scheduler, &said) {
            return None;
        }
        let worker = said.link.worker();
        let (peer, height) = (self.peers.label_of(worker), self.height_of(task));
        Some(TaskProgress { task, height, attempt, worker, peer, done, total })
    }

    /// Returns the latest that was said of a task, if that is under way.
    pub(super) fn latest_of(&self, task: TaskId) -> Option<TaskProgress> {
        self.progress_of(*self.progress.latest.get(&task.slot())?).filter(|told| told.task == task)
    }

    /// Returns how far all attempts under way are that have said so.
    pub(super) fn all_progress(&self) -> Vec<TaskProgress> {
        self.progress.latest.values().filter_map(|&said| self.progress_of(said)).collect()
    }

    /// Hears of the handlers in this process that have something to say by now.
    pub(super) fn hear_in_process(&mut self) {
        let mut due = Instant::FAR_FUTURE;
        for peer in self.peers.slots.iter_mut().flatten() {
            let (LinkState::InProcess(link), Reach::InProcess(hands)) =
                (&peer.link, &mut peer.reach)
            else {
                continue;
            };
            while let Some((attempt, (done, total))) = hands.take_said(self.now) {
                let (task, attempt) = (attempt.task, attempt.attempt);
                let progress = Progress { task, attempt, done, total };
                let event = chargehand_core::Event::Progress { link: *link, task, attempt, done };
                // Stale: it was given up, and the action that says so is to come.
                if self.scheduler.handle_event(self.now, event).is_ok() {
                    self.progress.said.push(ProgressNote { link: *link, progress });
                }
            }
            due = due.min(hands.said_at().unwrap_or(due));
        }
        self.progress.due = due;
        if !self.progress.said.is_empty() {
            self.tell_progress();
        }
    }
}

fn is_live(scheduler: &super::Scheduler, said: &ProgressNote) -> bool {
    let Progress { task, attempt, .. } = said.progress;
    let holder = Some((said.link.worker(), attempt));
    scheduler.holder(task) == holder || scheduler.second_holder(task) == holder
}
