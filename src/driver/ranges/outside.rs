//! Why the rest of a range or a map has not got as far as the scheduler.

use alloc::vec::Vec;

use chargehand_core::QueueId;
use chargehand_core::io::Timer;

use super::job::{Job, Supply};
use super::{Jobs, room_for};
use crate::driver::Driver;
use crate::explain::{Lacks, Outside, Stream, TaskNow};
use crate::link::erased::Kind;
use crate::payload::RangeHeight;

impl Jobs {
    /// Returns which queue the tasks of a range or a map wait in.
    pub(in crate::driver) fn queue_of(&self, job: u32) -> QueueId {
        self.slots[job as usize].as_ref().map_or(QueueId::DEFAULT, Job::queue)
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Returns what is left of every range and map, and what it waits for.
    pub(in crate::driver) fn streams_outside(&self) -> Vec<Outside> {
        let jobs = self.jobs.slots.iter().flatten();
        jobs.filter_map(|job| {
            Some(Outside { of: stream(job), count: left(job), why: self.lacks(job)? })
        })
        .collect()
    }

    /// Returns what the next of a range or map waits for, if there is a next one to come.
    fn lacks(&self, job: &Job) -> Option<Lacks> {
        if job.pace.next().is_none() {
            let Supply::Requests(requests) = &job.source else { return None };
            return (!requests.is_ended).then_some(Lacks::Source);
        }
        let ahead = self.ahead().with(job.options);
        let queues = (self.limits.queues.len(), self.most_waiting());
        Some(if job.pace.is_short() {
            Lacks::Memory
        } else if job.pace.is_far(ahead) {
            Lacks::Taking
        } else if room_for(job, &self.scheduler, &self.keys, queues) > 0 {
            Lacks::Nothing
        } else if self.scheduler.room_of(job.queue()) == 0 {
            Lacks::Room
        } else if job.wanted_key().is_some() {
            Lacks::Key
        } else {
            Lacks::Nothing
        })
    }

    /// Returns what becomes of a height that is no task now, of each range that has it.
    pub(in crate::driver) fn outside_at(&self, height: i128) -> Vec<TaskNow> {
        let jobs = self.jobs.slots.iter().flatten();
        let found = jobs.filter_map(|job| {
            let Supply::Heights(ledger) = &job.source else { return None };
            let range = ledger.range()?;
            let of = |index| i128::from(RangeHeight::from_index(index, job.options.is_signed));
            if height < of(*range.start()) || height > of(*range.end()) {
                return None;
            }
            let is_to_come = job.pace.next().is_some_and(|next| height >= of(next));
            let is_done = ledger
                .spans()
                .iter()
                .any(|span| (of(span.first)..=of(span.last)).contains(&height));
            Some(match self.lacks(job) {
                Some(why) if is_to_come && !is_done => TaskNow::Outside(why),
                None if job.pace.is_stopped && !is_done => TaskNow::Outside(Lacks::Stopped),
                _ => TaskNow::Over,
            })
        });
        found.collect()
    }
}

fn stream(job: &Job) -> Stream {
    let Supply::Heights(ledger) = &job.source else { return Stream::Map };
    let of = |index| i128::from(RangeHeight::from_index(index, job.options.is_signed));
    ledger.range().map_or(Stream::Map, |range| Stream::Range(of(*range.start()), of(*range.end())))
}

/// Returns how many are left, where that is known.
fn left(job: &Job) -> Option<u64> {
    match &job.source {
        Supply::Heights(_) => Some(job.left() + job.pace.again.len() as u64),
        Supply::Requests(_) => None,
    }
}
