//! Says why tasks wait and workers get none, once there is nothing left to do. Costs nothing while nobody asks.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem;
use core::time::Duration;

use async_channel::Sender;
use chargehand_core::io::Timer;
use chargehand_core::{Choice, Instant, TaskId, TaskStats, WorkerId, WorkerState};

use super::Driver;
use super::task::{TaskEntry, TaskPayload};
use crate::explain::{
    Explanation, Find, IdleWorker, Lacks, Outside, Rule, Stream, TaskExplanation, TaskName,
    TaskNow, Waiting,
};
use crate::link::erased::Kind;
use crate::mailbox::calls::CallId;

/// A question, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Question {
    Pool(Sender<Explanation>),
    Task(Find, Sender<Vec<TaskExplanation>>),
    Call(CallId, Sender<TaskExplanation>),
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Answers what was asked, unless there is more to do first.
    pub(super) fn answer_questions(&mut self) {
        for question in mem::take(&mut self.questions) {
            match question {
                Question::Pool(reply) => drop(reply.try_send(self.explain())),
                Question::Task(find, reply) => drop(reply.try_send(self.explain_found(find))),
                Question::Call(call, reply) => drop(reply.try_send(self.explain_call(call))),
            }
        }
    }

    fn explain(&self) -> Explanation {
        let stats = self.scheduler.stats();
        Explanation {
            at: self.now,
            is_stopping: self.is_stopping(),
            in_flight: stats.in_flight,
            waiting: self.all_waiting(),
            outside: self.all_outside(),
            workers: self.idle_workers(),
        }
    }

    /// Groups all tasks that wait by queue and reason.
    fn all_waiting(&self) -> Vec<Waiting> {
        let mut groups: Vec<Waiting> = Vec::new();
        self.scheduler.each_waiting(|task, why| {
            let queue = self.queue_name(&self.tasks[task.slot() as usize].payload);
            let is_like = |group: &&mut Waiting| {
                mem::discriminant(&group.why) == mem::discriminant(&why) && group.queue == queue
            };
            if let Some(group) = groups.iter_mut().find(is_like) {
                group.count += 1;
                group.why = group.why.min(why);
                return;
            }
            let example = self.name_of(task);
            let keeper = self.scheduler.keeps_key(task).map(|other| self.name_of(other));
            groups.push(Waiting { queue, why, left: None, count: 1, example, keeper });
        });
        for group in &mut groups {
            group.left = self.left(group.why.until());
        }
        groups.sort_by_key(|group| Reverse((group.why, group.count)));
        groups
    }

    fn open_tasks(&self) -> impl Iterator<Item = (TaskId, &TaskEntry)> {
        let entries = (0..).zip(&self.tasks);
        let open = entries.filter(|(_, entry)| !matches!(entry.payload, TaskPayload::None));
        open.map(|(slot, entry)| (TaskId::from_parts(slot, entry.generation), entry))
    }

    fn name_of(&self, task: TaskId) -> TaskName {
        TaskName { id: Some(task), height: self.height_of(task) }
    }

    /// Returns for how long something lasts.
    fn left(&self, until: Option<Instant>) -> Option<Duration> {
        until.map(|until| until.saturating_since(self.now))
    }

    /// Returns what a task's queue is called.
    fn queue_name(&self, payload: &TaskPayload) -> alloc::sync::Arc<str> {
        let special = payload.call().and_then(|call| self.specials.get(&call.place()));
        let queue = match (special, payload.job()) {
            (Some(special), _) => special.options.queue_id(),
            (None, Some(job)) => self.jobs.queue_of(job),
            (None, None) => chargehand_core::QueueId::DEFAULT,
        };
        self.limits.queues[usize::from(queue.place())].0.clone()
    }

    fn all_outside(&self) -> Vec<Outside> {
        let mut all = Vec::new();
        let (queued, held_back) = (self.ends.post.queued(), self.held_back.len());
        for (count, why) in [(queued, Lacks::Room), (held_back, Lacks::Memory)] {
            if count > 0 {
                all.push(Outside { of: Stream::Calls, count: Some(count as u64), why });
            }
        }
        all.extend(self.streams_outside());
        all
    }

    fn idle_workers(&self) -> Vec<IdleWorker> {
        let workers = self.peers.slots.iter().flatten().filter_map(|peer| {
            let stats = self.scheduler.worker_stats(peer.id)?;
            let why = self.scheduler.idles(peer.id)?;
            Some(IdleWorker {
                id: peer.id,
                peer: peer.label(),
                why,
                left: self.left(why.until()),
                in_flight: stats.in_flight,
                allowance: stats.allowance,
                window: stats.window,
                last_error: peer.last_error.as_ref().map(ToString::to_string),
            })
        });
        workers.collect()
    }

    fn explain_found(&self, find: Find) -> Vec<TaskExplanation> {
        let found = self.open_tasks().filter(|(task, _)| match find {
            Find::Height(height) => self.height_of(*task) == Some(height),
            Find::Id(id) => id == *task,
        });
        let mut all: Vec<_> = found.map(|(task, _)| self.explain_task(task)).collect();
        if let (Find::Height(height), true) = (find, all.is_empty()) {
            let name = TaskName { id: None, height: Some(height) };
            let outside = self.outside_at(height).into_iter();
            all.extend(outside.map(|now| not_here(name, now)));
        }
        all
    }

    fn explain_call(&self, call: CallId) -> TaskExplanation {
        let name = TaskName { id: None, height: None };
        if self.ends.post.has_ended(call) {
            return not_here(name, TaskNow::Over);
        }
        let leader = || self.keys.leader_of(call).map(|slot| self.task_in(slot));
        match self.task_of(call).or_else(leader) {
            Some(task) => self.explain_task(task),
            None if self.is_held_back(call) => not_here(name, TaskNow::Outside(Lacks::Memory)),
            None => not_here(name, TaskNow::Outside(Lacks::Room)),
        }
    }

    fn explain_task(&self, task: TaskId) -> TaskExplanation {
        let stats = self.scheduler.task_stats(task).unwrap_or_default();
        let now = match (self.scheduler.waits(task), self.scheduler.holder(task)) {
            (Some(why), _) => {
                let keeper = self.scheduler.keeps_key(task).map(|other| self.name_of(other));
                TaskNow::Waits { why, left: self.left(why.until()), keeper }
            }
            (None, Some((worker, _))) => self.is_with(worker, stats),
            (None, None) => TaskNow::Over,
        };
        let queue = self.queue_name(&self.tasks[task.slot() as usize].payload);
        TaskExplanation { name: self.name_of(task), queue: Some(queue), stats, now }
    }

    fn is_with(&self, worker: WorkerId, stats: TaskStats) -> TaskNow {
        let by = match self.scheduler.config().choice {
            // It was sent before: whoever had it is to have it again only where there is no other.
            _ if stats.attempts > 1 => Rule::Elsewhere,
            Choice::LeastLoaded => Rule::LeastLoaded,
            Choice::FirstAnswer => Rule::FirstAnswer,
        };
        let state = self.scheduler.worker_stats(worker).map(|stats| stats.state);
        let is_away = matches!(
            state,
            Some(
                WorkerState::Absent { .. }
                    | WorkerState::BackingOff { .. }
                    | WorkerState::Connecting
            )
        );
        TaskNow::With { worker, peer: self.peers.label_of(worker), by, is_away }
    }
}

fn not_here(name: TaskName, now: TaskNow) -> TaskExplanation {
    TaskExplanation { name, queue: None, stats: TaskStats::default(), now }
}
