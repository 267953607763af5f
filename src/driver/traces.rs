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
pub(super) struct Traces {
    propagator: Option<Propagator>,
    /// By the slot of the task.
    open: BTreeMap<u32, Open>,
    /// That of the attempt that is handed to a worker in this process just now.
    pub(super) handing: Option<Box<Traced>>,
}

#[derive(Debug)]
struct Open {
    task: TaskId,
    link: Link,
    attempt: u16,
    span: Span,
    /// As the attempt began.
    before: TaskStats,
}

impl Traces {
    pub(super) fn new(propagator: Option<Propagator>) -> Self {
        Self { propagator, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
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
        self.end_ended(task);
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
        let open = Open { task, link, attempt, span, before };
        self.traces.open.insert(task.slot(), open);
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

    /// Ends the spans of attempts that are over, whose tasks are not.
    pub(super) fn end_attempts(&mut self) {
        let is_over = |open: &&Open| {
            self.scheduler.holder(open.task) != Some((open.link.worker(), open.attempt))
        };
        let over: Vec<_> =
            self.traces.open.values().filter(is_over).map(|open| open.task).collect();
        for task in over {
            self.end_ended(task);
        }
    }

    /// Ends the span of a task's last attempt by what became of that, if it is open.
    fn end_ended(&mut self, task: TaskId) {
        let Some(Open { span, before, .. }) = self.traces.open.remove(&task.slot()) else { return };
        let now = self.scheduler.task_stats(task).unwrap_or(before);
        end(
            &span,
            match now {
                TaskStats { failures, .. } if failures > before.failures => "failed",
                TaskStats { losses, .. } if losses > before.losses => "lost",
                _ => "returned",
            },
        );
    }

    /// Ends the span of a task's last attempt, as the task ends.
    pub(super) fn end_last_attempt(&mut self, task: TaskId, outcome: Outcome) {
        let open = self.traces.open.remove(&task.slot());
        let Some(Open { span, .. }) = open.filter(|open| open.task == task) else { return };
        end(
            &span,
            match outcome {
                Outcome::Done => "done",
                Outcome::Failed => "failed",
                Outcome::Exhausted => "lost",
                Outcome::Cancelled => "cancelled",
                Outcome::Aborted => "aborted",
                Outcome::TimedOut => "timed_out",
                Outcome::Bounced => "returned",
            },
        );
    }
}
