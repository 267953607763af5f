//! How fast a worker may be sent tasks (decision 0031): the bucket of a queue's rate, for each worker.
//!
//! A worker that has been sent as many as it may is passed over until its time: it serves, and stands in no
//! balance. Where it says that it cannot now, the rate is halved, and grows again by a 256th of the whole with
//! each task done, as its window does by one (Chiu and Jain 1989).

use super::slot::WorkerSlot;
use super::tasks::SchedulerMut;
use crate::event::Offer;
use crate::planted::planted;
use crate::queue::Rate;
use crate::time::Instant;

/// The whole of a rate.
const WHOLE: u16 = 256;
/// A rate is never lowered below this part of it.
const LEAST: u16 = WHOLE / 64;

/// What a worker has of its rate.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Pace {
    rate: Option<Rate>,
    /// How much of it, in 1/256.
    share: u16,
    /// When its bucket is full.
    full: Instant,
    /// Until then it is passed over; the epoch if it is not.
    until: Instant,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { rate: None, share: WHOLE, full: Instant::EPOCH, until: Instant::EPOCH }
    }

    /// Returns the rate that counts now.
    pub(super) fn rate(&self) -> Option<Rate> {
        Some(self.rate?.slower(WHOLE, self.share))
    }

    /// Returns until when nothing may be sent, or the epoch.
    fn end(&self, clock: Instant) -> Instant {
        // By the whole rate: one that is lowered allows no more at once, but less.
        let next = self.rate.map_or(Instant::EPOCH, |rate| rate.next(self.full));
        if next > clock && !planted("a worker is sent more than it may") {
            next
        } else {
            Instant::EPOCH
        }
    }
}

impl WorkerSlot {
    /// Whether it has a rate.
    #[inline]
    pub(super) const fn is_rated(&self) -> bool {
        self.pace.rate.is_some()
    }

    /// Whether it is passed over for its rate.
    #[inline]
    pub(super) fn is_paced(&self) -> bool {
        self.pace.until != Instant::EPOCH
    }

    /// Returns when it is not any more.
    pub(super) fn pace_end(&self) -> Instant {
        if self.is_paced() { self.pace.until } else { Instant::FAR_FUTURE }
    }
}

#[cfg(test)]
impl WorkerSlot {
    /// Returns all that decides when it may be sent the next task, now being `clock`.
    pub(super) fn pace_words(&self, clock: Instant) -> [u64; 3] {
        let ahead = |at: Instant| at.as_nanos().saturating_sub(clock.as_nanos());
        [u64::from(self.pace.share), ahead(self.pace.full), u64::from(self.is_paced())]
    }
}

impl SchedulerMut<'_> {
    /// Takes in which rate a worker has on its new link. What it was sent on its last one counts, at most as a whole
    /// burst of the new rate: it is kept as a time, in which a higher rate comes to more.
    pub(super) fn begin_pace(&mut self, worker: u32, offer: Offer) {
        let clock = self.state.clock;
        let pace = &mut self.workers[worker as usize].pace;
        if pace.rate != offer.rate {
            (pace.rate, pace.share) = (offer.rate, WHOLE);
            if let Some(rate) = offer.rate {
                pace.full = pace.full.min(rate.latest_full(clock));
            }
        }
        let until = pace.end(clock);
        if until != pace.until {
            self.leave_balance(worker);
            self.workers[worker as usize].pace.until = until;
        }
    }

    /// Counts a send for a worker's rate.
    pub(super) fn count_for_pace(&mut self, worker: u32) {
        let clock = self.state.clock;
        let pace = &mut self.workers[worker as usize].pace;
        let Some(rate) = pace.rate() else { return };
        pace.full = rate.take(pace.full, clock);
        let until = pace.end(clock);
        if until != Instant::EPOCH {
            self.leave_balance(worker);
            self.workers[worker as usize].pace.until = until;
            self.arm(worker);
        }
    }

    /// Halves a worker's rate, since it could not do what it was sent.
    #[cfg(feature = "task-times")]
    pub(super) fn slow_down(&mut self, worker: u32) {
        let pace = &mut self.workers[worker as usize].pace;
        pace.share = (pace.share / 2).max(LEAST);
    }

    /// Lets a worker's rate grow, since it has done a task.
    pub(super) fn speed_up(&mut self, worker: u32) {
        let pace = &mut self.workers[worker as usize].pace;
        pace.share = (pace.share + 1).min(WHOLE);
    }

    /// Lets a worker have tasks again if it was passed over until now.
    pub(super) fn on_pace_timer(&mut self, worker: u32, at: Instant) -> bool {
        let slot = &mut self.workers[worker as usize];
        if slot.phase.is_serving() && slot.pace_end() == at {
            slot.pace.until = Instant::EPOCH;
            let has_suspect = slot.has_suspect;
            self.set_suspect(worker, has_suspect);
            self.arm(worker);
            return true;
        }
        false
    }
}

/// Checks that only workers with a rate are passed over for one.
///
/// # Panics
/// If one is that has none.
pub(super) fn check(workers: &[WorkerSlot]) {
    for slot in workers {
        assert!(slot.is_rated() || !slot.is_paced(), "a worker without a rate is passed over");
        assert!(slot.pace.share >= LEAST && slot.pace.share <= WHOLE, "a share of a rate");
    }
}
