//! Whether a driver's state is in order, counted anew: for tests and simulations.

use chargehand_core::Instant;
use chargehand_core::io::Timer;

use super::Driver;
use super::peers::LinkState;
use super::task::TaskPayload;
use crate::link::erased::Kind;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Checks every invariant of the pool's state by counting anew, those of its
    /// [scheduler](chargehand_core::Scheduler::check) included. Call it after any poll, until the driver
    /// has completed. Costs O(tasks and workers).
    ///
    /// # Panics
    /// If one does not hold: the pool has a bug then, whatever workers and callers did.
    pub fn check(&self) {
        assert!(!self.finished, "the driver has completed");
        self.scheduler.check();
        self.check_tasks();
        self.check_windows();
        self.check_holders();
        self.check_budget();
        self.check_alarm();
    }

    /// Every task of the scheduler has its request here, and no other slot has one.
    fn check_tasks(&self) {
        let stats = self.scheduler.stats();
        let known = stats.waiting + stats.resting + stats.in_flight + stats.finished;
        let filled = self.tasks.iter().filter(|task| !matches!(task.payload, TaskPayload::None));
        assert!(filled.count() == known as usize, "a task without a request, or the reverse");
        self.keys.check(|slot| self.tasks[slot as usize].payload.call().is_some());
    }

    /// What all links take together is the sum of what each takes, and those that are not up take none.
    fn check_windows(&self) {
        let mut total = 0;
        for peer in self.peers.all() {
            let (_, window) = peer.place();
            let is_up = matches!(peer.link, LinkState::Up(..) | LinkState::InProcess(_));
            assert!(is_up || window == 0, "a link that is not up has a window");
            total += window as usize;
        }
        assert!(total == self.peers.window_total(), "the windows of all links are miscounted");
    }

    /// Only workers whose links are up hold attempts, and those that are waited for; and none more than its
    /// window.
    fn check_holders(&self) {
        if !self.settled {
            return; // An action that ends a link may be to come.
        }
        for peer in self.peers.all() {
            let (id, window) = peer.place();
            let Some(stats) = self.scheduler.worker_stats(id) else { continue };
            let is_up = matches!(peer.link, LinkState::Up(..) | LinkState::InProcess(_));
            if is_up {
                assert!(stats.in_flight <= window, "a worker holds more than its window");
                continue;
            }
            let is_waited_for = !self.scheduler.config().grace.is_zero();
            assert!(is_waited_for || stats.in_flight == 0, "who is not up holds attempts");
        }
    }

    /// No more is held than there may be, and nothing where there is nothing to hold.
    fn check_budget(&self) {
        let budget = &self.ends.post.budget;
        let used = budget.used() + budget.set_aside();
        assert!(used <= budget.bytes_max(), "{used} bytes are held of {}", budget.bytes_max());
        let is_idle = self.scheduler.is_idle() && self.jobs.is_over() && self.held_back.is_empty();
        if is_idle && self.ends.post.queued() == 0 && self.ends.post.are_all_taken() {
            assert!(self.answers.arrivals.answers.used() == 0, "bytes of answers are leaked");
            // Once the pool stops, a map's stream may still have what was not taken in.
            let requests = self.ends.post.requests_used();
            assert!(requests == 0 || self.is_stopping(), "bytes of requests are leaked");
        }
    }

    /// The driver wakes in time for whatever is due next.
    fn check_alarm(&self) {
        let due = self.scheduler.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        assert!(self.due_by <= due.max(self.now), "the alarm is set too late");
    }
}
