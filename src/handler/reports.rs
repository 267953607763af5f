//! When handlers may say how far they are: each so much after the first news, with what is the latest then.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use chargehand_core::Instant;

/// The rooms of runs with news, in the order of when those leave. All wait equally long, so that a queue is
/// all it takes; no longer than there are rooms.
#[derive(Debug)]
pub(crate) struct Reports {
    interval: Duration,
    queue: VecDeque<(Instant, u32)>,
    is_listed: Vec<bool>,
}

impl Reports {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, queue: VecDeque::new(), is_listed: Vec::new() }
    }

    /// Notes that the run in a room has news, unless that is known: be it of the run that had the room before.
    pub(crate) fn list(&mut self, room: u32, now: Instant) {
        let at = room as usize;
        if self.is_listed.len() <= at {
            self.is_listed.resize(at + 1, false);
        }
        if !core::mem::replace(&mut self.is_listed[at], true) {
            self.queue.push_back((now.saturating_add(self.interval), room));
        }
    }

    /// Returns whether the run in a room is to say how far it is.
    pub(crate) fn is_listed(&self, room: u32) -> bool {
        self.is_listed.get(room as usize).is_some_and(|is_listed| *is_listed)
    }

    /// Returns a room whose news leave now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<u32> {
        let &(_, room) = self.queue.front().filter(|&&(at, _)| at <= now)?;
        self.queue.pop_front();
        self.is_listed[room as usize] = false;
        Some(room)
    }

    /// Returns when the next news leave.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queue.front().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_room_is_due_once_an_interval_and_in_the_order_of_its_news() {
        let (mut reports, now) = (Reports::new(SECOND), Instant::from_millis(5));
        for room in [7, 0, 7, 7] {
            reports.list(room, now);
        }
        let later = now.saturating_add(SECOND);
        assert_eq!(reports.next_due(), Some(later));
        assert_eq!(reports.take_due(now), None);
        reports.list(3, later);
        let due: Vec<_> = core::iter::from_fn(|| reports.take_due(later)).collect();
        assert_eq!(due, [7, 0]);
        reports.list(7, later);
        let due: Vec<_> =
            core::iter::from_fn(|| reports.take_due(later.saturating_add(SECOND))).collect();
        assert_eq!(due, [3, 7]);
        assert_eq!(reports.next_due(), None);
    }

    #[test]
    fn however_many_runs_follow_one_another_in_a_room_it_is_listed_once() {
        let mut reports = Reports::new(SECOND);
        for millis in 0..900 {
            reports.list(1, Instant::from_millis(millis));
        }
        assert_eq!(reports.queue.len(), 1);
    }
}
