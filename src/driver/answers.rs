//! Answers on their way from the reply that brought them to the outcome that they are.

use alloc::collections::VecDeque;

use chargehand_core::{Heap, Scheduler, TaskId, Verdict};

use crate::payload::Answer;

/// The answers of tasks whose outcome is to come. The scheduler hands outcomes out in the order of
/// the replies that they come from, and so do we: a queue is all that it takes.
#[derive(Debug, Default)]
pub(crate) struct Answers(VecDeque<(TaskId, Answer)>);

impl Answers {
    /// Keeps the answer of a reply that the scheduler has just taken. A failure after which the task
    /// is tried again is nobody's.
    #[inline]
    pub(crate) fn keep(
        &mut self,
        scheduler: &Scheduler<Heap>,
        task: TaskId,
        verdict: Verdict,
        answer: Answer,
    ) {
        if verdict == Verdict::Done || scheduler.has_outcome(task) {
            self.0.push_back((task, answer));
        }
    }

    /// Returns the answer of the task whose outcome came out.
    #[inline]
    pub(crate) fn take(&mut self, task: TaskId) -> Answer {
        let (whose, answer) = self.0.pop_front().expect("a reply came before its outcome");
        assert!(whose == task, "outcomes come in the order of their replies");
        answer
    }

    /// Forgets them: their outcomes will not be polled.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
