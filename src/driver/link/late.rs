//! Requests that the wire had no room for at first: their time begins as they leave.

use alloc::vec::Vec;

use chargehand_core::{Instant, TaskId};

/// For how many their memory is kept.
const KEPT: usize = 64;

/// Those that have no answer yet, with their attempt and when they left: as many as the link holds attempts at
/// most. Mostly there is none.
#[derive(Debug, Default)]
pub(super) struct LeftLate(Vec<(TaskId, u16, Instant)>);

impl LeftLate {
    pub(super) fn note(&mut self, task: TaskId, attempt: u16, now: Instant) {
        self.0.push((task, attempt, now));
    }

    /// Returns when a task's request left. One attempt of it is under way at most.
    pub(super) fn at(&self, task: TaskId) -> Option<Instant> {
        self.0.iter().find(|late| late.0 == task).map(|late| late.2)
    }

    /// Forgets an attempt that is over.
    #[inline]
    pub(super) fn forget(&mut self, task: TaskId, attempt: u16) {
        if !self.0.is_empty() {
            self.remove(task, attempt);
        }
    }

    fn remove(&mut self, task: TaskId, attempt: u16) {
        let is_it = |late: &(TaskId, u16, Instant)| (late.0, late.1) == (task, attempt);
        let Some(at) = self.0.iter().position(is_it) else { return };
        self.0.remove(at);
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0 = Vec::new();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_an_earlier_attempt_leaves_the_time_of_a_later_one() {
        let [task, other] = [7, 8].map(|slot| TaskId::from_parts(slot, 3));
        let mut late = LeftLate::default();
        late.note(other, 1, Instant::from_millis(5));
        late.note(task, 2, Instant::from_millis(6));
        late.forget(task, 1);
        assert_eq!(late.at(task), Some(Instant::from_millis(6)));
        late.forget(task, 2);
        assert_eq!(late.at(task), None);
        assert_eq!(late.at(other), Some(Instant::from_millis(5)));
    }
}
