//! The spans of attempts under way, of tasks that belong to a trace. Nothing is kept of others.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use chargehand_core::io::Timer;
use chargehand_core::{Link, Outcome, TaskId, TaskStats};
use tracing::Span;

use super::Driver;
use super::handshake::whole_millis;
use super::peers::LinkState;
use crate::link::erased::Kind;
use crate::traces::{Propagator, Traced, attempt as attempt_span, end};

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    propagator: Option<Propagator>,
    /// By the slot of the task and the number of the attempt: of a task that is hedged two may be under way.
    open: BTreeMap<(u32, u16), Open>,
    /// That of the attempt that is handed to a worker in this process just now.
    pub(super) handing: Option<Box<Traced>>,
}

#[derive(Debug)]
struct Open {
    task: TaskId,
    link: Link,
    attempt: u16,
    span: Span,
    /// As the attempt began, or another one of the task ended.
    before: TaskStats,
    /// Its handler failed. Of one that is beside another the task's figures say nothing.
    has_failed: bool,
    /// The task's, where it has ended and it is not said yet which of its attempts is withdrawn.
    outcome: Option<Outcome>,
}

impl Open {
    /// Returns what an attempt ended by, as far as the task's figures say.
    fn cause(&self, now: TaskStats) -> Option<&'static str> {
        if self.has_failed {
            return Some("failed");
        }
        (now.losses > self.before.losses).then_some("lost")
    }
}

impl Traces {
    pub(super) fn new(propagator: Option<Propagator>) -> Self {
        Self { propagator, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in that the handler of a task's attempt failed that was sent on a link.
    pub(super) fn on_failure(&mut self, task: TaskId, link: Link) {
        if let Some((_, open)) = self.of(task).find(|(_, open)| open.link == link) {
            open.has_failed = true;
        }
    }

    /// Returns the attempts of a task whose spans are open: two at most.
    fn of(&mut self, task: TaskId) -> impl Iterator<Item = (&(u32, u16), &mut Open)> {
        let all = self.open.range_mut((task.slot(), 0)..=(task.slot(), u16::MAX));
        all.filter(move |(_, open)| open.task == task)
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Begins the span of an attempt, if its task belongs to a trace. Returns how long the attempt has where the worker
    /// is told that: with the context, if it takes it.
    pub(super) fn begin_attempt(
        &mut self,
        link: Link,
        (task, attempt): (TaskId, u16),
        millis: Option<NonZeroU32>,
    ) -> Option<NonZeroU32> {
        let Some(parent) = self.span_of(task) else { return millis };
        self.end_over(Some(task));
        let name = format!("{}.{}", task.slot(), task.generation());
        let (height, worker) = (self.height_of(task), link.worker());
        let span = attempt_span(&parent, &name, height, attempt, &self.peers.label_of(worker));
        let propagator = self.traces.propagator.as_ref();
        let context = propagator.and_then(|propagator| propagator.0.context_of(&span));
        let before = self.scheduler.task_stats(task).unwrap_or_default();
        let peer = self.peers.get_mut(worker);
        let is_told = match (&mut peer.link, context) {
            (LinkState::InProcess(_), context) => {
                self.traces.handing = Some(Box::new(Traced::local(&span, context, attempt)));
                false
            }
            (LinkState::Up(_, conn), Some(context)) if peer.takes_traces => {
                conn.trace(task, context);
                true
            }
            _ => false,
        };
        let open = Open { task, link, attempt, span, before, has_failed: false, outcome: None };
        self.traces.open.insert((task.slot(), attempt), open);
        if is_told && millis.is_none() {
            // It goes the way of those that say more than most do.
            return NonZeroU32::new(whole_millis(self.scheduler.attempt_timeout(task)).max(1));
        }
        millis
    }

    /// Returns the span of whatever a task was submitted by, if that is recorded.
    fn span_of(&self, task: TaskId) -> Option<Span> {
        let payload = &self.tasks[task.slot() as usize].payload;
        let span = match (payload.call(), payload.job()) {
            (Some(call), _) => self.specials.get(&call.place())?.options.span.clone(),
            (None, Some(job)) => self.jobs.span_of(job),
            (None, None) => None,
        };
        span.filter(|span| !span.is_disabled())
    }

    /// Ends the spans of all attempts that are over.
    pub(super) fn end_attempts(&mut self) {
        self.end_over(None);
    }

    /// Ends the spans of attempts that are over: all of them, or those in the slot of one task.
    fn end_over(&mut self, of: Option<TaskId>) {
        let slots = of.map_or(0..=u32::MAX, |task| task.slot()..=task.slot());
        let keys = (*slots.start(), 0)..=(*slots.end(), u16::MAX);
        let scheduler = &self.scheduler;
        let is_over = |open: &Open| {
            let held = Some((open.link.worker(), open.attempt));
            open.outcome.is_some()
                || (scheduler.holder(open.task) != held
                    && scheduler.second_holder(open.task) != held)
        };
        let open = self.traces.open.range(keys);
        let over: Vec<_> = open.filter(|(_, open)| is_over(open)).map(|(key, _)| *key).collect();
        for key in over {
            let Some(open) = self.traces.open.remove(&key) else { continue };
            let now = self.scheduler.task_stats(open.task).unwrap_or(open.before);
            let how = open.outcome.map(ended_by).or_else(|| open.cause(now));
            end(&open.span, how.unwrap_or("returned"));
            self.go_on_from(open.task, now);
        }
    }

    /// What has become of a task so far is not what its other attempt will have ended by.
    fn go_on_from(&mut self, task: TaskId, now: TaskStats) {
        for (_, open) in self.traces.of(task) {
            open.before = now;
        }
    }

    /// Ends the span of an attempt that its worker is to give up, where the task has another one.
    pub(super) fn end_withdrawn(&mut self, task: TaskId, attempt: u16) {
        if self.traces.of(task).count() < 2 {
            return;
        }
        let Some(open) = self.traces.open.remove(&(task.slot(), attempt)) else { return };
        let now = self.scheduler.task_stats(task).unwrap_or(open.before);
        end(&open.span, open.cause(now).unwrap_or("withdrawn"));
        self.go_on_from(task, now);
    }

    /// Ends the span of a task's last attempt, as the task ends. Of two attempts one is withdrawn, and it is not said
    /// yet which.
    pub(super) fn end_last_attempt(&mut self, task: TaskId, outcome: Outcome) {
        let is_one = self.traces.of(task).count() == 1;
        let mut last = None;
        for (key, open) in self.traces.of(task) {
            open.outcome = Some(outcome);
            last = Some(*key).filter(|_| is_one);
        }
        if let Some(open) = last.and_then(|key| self.traces.open.remove(&key)) {
            end(&open.span, ended_by(outcome));
        }
    }
}

/// Returns what an attempt ended by that was its task's last.
const fn ended_by(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
        Outcome::Exhausted => "lost",
        Outcome::Cancelled => "cancelled",
        Outcome::Aborted => "aborted",
        Outcome::TimedOut => "timed_out",
        Outcome::Bounced => "returned",
    }
}
