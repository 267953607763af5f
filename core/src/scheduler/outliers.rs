//! Workers that are far off the others rest (decision 0035): slower by their `pace`, or with fewer answers of
//! use. What is needed of the others are four sums, kept up to date as workers change, so that it costs the same
//! whatever their number.

use super::index::wide;
use super::log::log2;
use super::slot::{Duty, LinkPhase, WorkerSlot};
use super::tasks::{SchedulerMut, later};
use super::track_record::success;
use crate::time::nanos;

/// Sums over workers, of what each of them is by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Sums {
    count: u64,
    pace: u64,
    pace_squares: u64,
    success: u64,
    success_squares: u64,
}

impl Sums {
    pub(super) const NONE: Self =
        Self { count: 0, pace: 0, pace_squares: 0, success: 0, success_squares: 0 };

    /// What one worker adds: nothing while it does not serve, or nothing is known of it.
    pub(super) fn of(slot: &WorkerSlot) -> Self {
        let Some(pace) = slot.record.pace().filter(|_| slot.phase.is_serving()) else {
            return Self::NONE;
        };
        let (pace, success) = (u64::from(pace), success(slot.record.faults()));
        let (pace_squares, success_squares) = (pace * pace, success * success);
        Self { count: 1, pace, pace_squares, success, success_squares }
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.pace += other.pace;
        self.pace_squares += other.pace_squares;
        self.success += other.success;
        self.success_squares += other.success_squares;
    }

    pub(super) const fn subtract(&mut self, other: &Self) {
        self.count -= other.count;
        self.pace -= other.pace;
        self.pace_squares -= other.pace_squares;
        self.success -= other.success;
        self.success_squares -= other.success_squares;
    }
}

/// Returns the mean of so many values, and so many thousandths of their standard deviation.
fn spread(count: u64, sum: u64, squares: u64, thousandths: u16) -> (u64, u64) {
    let mean = sum / count;
    let variance = (squares / count).saturating_sub(mean * mean);
    (mean, variance.isqrt() * u64::from(thousandths) / 1000)
}

impl SchedulerMut<'_> {
    /// Counts an answer of a worker, and has it rest if it is far off the others.
    pub(super) fn hold_against_others(&mut self, worker: u32) {
        let Some(ejection) = self.state.policy.ejection.filter(|_| self.state.judges()) else {
            return;
        };
        let slot = &mut self.workers[worker as usize];
        slot.record.answers = slot.record.answers.saturating_add(1);
        let is_due = slot.record.is_on_trial || slot.record.answers >= ejection.answers;
        if !slot.phase.is_serving() || !is_due {
            return;
        }
        slot.record.answers = 0;
        let was_on_trial = core::mem::take(&mut slot.record.is_on_trial);
        if self.is_outlier(worker) {
            self.eject(worker);
        } else if was_on_trial {
            self.workers[worker as usize].record.rests = 0;
        }
    }

    fn is_outlier(&self, worker: u32) -> bool {
        let Some(ejection) = self.state.policy.ejection else { return false };
        let slot = &self.workers[worker as usize];
        let mut others = self.state.choosing.sums;
        others.subtract(&slot.record.sums);
        if others.count == 0 || others.count < u64::from(ejection.others_min) {
            return false;
        }
        let (count, deviations) = (others.count, ejection.deviations);
        let (mean, off) = spread(count, others.pace, others.pace_squares, deviations);
        let least = u64::from(log2(ejection.times_slower.into()));
        let most = mean + off.max(least);
        // One that has done nothing yet has no pace.
        let is_slow = slot.record.pace().is_some_and(|pace| u64::from(pace) > most);
        let is_slow = is_slow && ejection.times_slower > 0;
        let (mean, off) = spread(count, others.success, others.success_squares, deviations);
        // And by a quarter at least, where the others differ little.
        let is_failing = success(slot.record.faults()) + off.max(mean / 4) < mean;
        is_slow || is_failing
    }

    fn eject(&mut self, worker: u32) {
        let Some(ejection) = self.state.policy.ejection else { return };
        let (resting, serving) = (self.state.resting_workers(), wide(self.state.serving));
        let share = u64::from(resting + 1) * 100;
        let is_last = self.state.is_last(&self.workers[worker as usize]);
        if is_last || share > u64::from(resting + serving) * u64::from(ejection.percent_max) {
            return;
        }
        let slot = &mut self.workers[worker as usize];
        slot.record.rests = slot.record.rests.saturating_add(1);
        let times = slot.record.rests.min(ejection.rests_max.into()).max(1);
        let rest = nanos(ejection.rest).saturating_mul(times.into());
        slot.due = later(self.state.clock, rest.max(1));
        slot.notice = true;
        slot.record.is_ejected = true;
        self.set_phase(worker, LinkPhase::Up(Duty::Suspended));
        self.recall(worker);
    }

    /// A rest is over: one that was far off the others gets one task, and is held against them again.
    pub(super) fn begin_trial(&mut self, worker: u32) {
        let slot = &mut self.workers[worker as usize];
        if core::mem::take(&mut slot.record.is_ejected) {
            slot.record.begin_anew();
            slot.record.is_on_trial = true;
            slot.allowance = 1;
        }
    }
}
