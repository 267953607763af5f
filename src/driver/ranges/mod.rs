//! Ranges of heights and maps of requests under way: what is next in each, and outcomes on their way out
//! in batches. A map is a range whose heights are the places of its requests, counted from 0, and whose
//! stream leaves the requests themselves as it goes.

use chargehand_core::io::Timer;
use chargehand_core::{Instant, Lane, SubmitError, TaskId, TaskOptions};

use self::jobs::Cut;
pub(super) use self::jobs::Jobs;
use self::pace::Ahead;
pub(super) use self::pace::within_stream;
use super::task::TaskEntry;
use super::{Driver, Scheduler};
use crate::link::erased::Kind;
use crate::mailbox::result::TaskResult;

mod intake;
mod job;
mod jobs;
mod pace;

/// At most this share (1/4) of what all workers hold waits in the scheduler for a worker, so that ranges
/// take turns when tasks are sent and not only when they are submitted.
const WAITING_SHARE: usize = 4;
const WAITING_MIN: usize = 2;
/// How many times a failed height is tried again, unless the caller says otherwise.
const RETRIES_MIN: u16 = 1;

/// Submits a height with times of its own.
fn submit_timed(
    scheduler: &mut Scheduler,
    now: Instant,
    options: &TaskOptions,
) -> Result<TaskId, SubmitError> {
    scheduler.submit_with(now, *options)
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Puts heights into the scheduler while it has room. Returns whether it got any.
    pub(crate) fn admit_heights(&mut self) -> bool {
        let mut any = false;
        let ahead = self.ahead();
        let retries_max = self.scheduler.config().retries_max.max(RETRIES_MIN);
        let mut room = self.room_for_heights();
        let Self { jobs, scheduler, tasks, now, ranges_first, has_own_times, .. } = self;
        while let Some(&index) = jobs.feeding.front() {
            let job = jobs.slots[index as usize].as_mut().expect("a feeding range is there");
            let ahead = ahead.with(job.options);
            let is_alone = jobs.feeding.len() == 1;
            let mut plain = TaskOptions::new().lane(Lane::Bulk);
            plain.retries_max = Some(retries_max);
            let own = job.own.as_ref().map(|own| {
                let mut options = plain;
                own.apply(&mut options, *now);
                options
            });
            *has_own_times |= own.is_some();
            loop {
                let Some(height) = job.pace.next_within(ahead) else {
                    jobs.rest(ahead);
                    break;
                };
                if room == 0 {
                    return any;
                }
                room -= 1;
                // Apart, so that the compiler sees what most of them do not have.
                let submitted = match &own {
                    None => scheduler.submit_with(*now, plain),
                    Some(own) => submit_timed(scheduler, *now, own),
                };
                let Ok(task) = submitted else { return any };
                any = true;
                *ranges_first = false;
                let entry = &mut tasks[task.slot() as usize];
                job.advance(height, index, &mut entry.payload);
                entry.generation = task.generation();
                if !is_alone {
                    jobs.feeding.rotate_left(1);
                    break;
                }
            }
        }
        any
    }

    /// Tells the scheduler how much of all ranges it does not know of yet, if that is news to it.
    #[cfg(feature = "choice")]
    pub(crate) fn tell_backlog(&mut self) {
        let backlog = if self.jobs.is_feeding() { self.jobs.backlog() } else { 0 };
        if backlog != self.backlog {
            self.backlog = backlog;
            self.scheduler.set_backlog(backlog);
        }
    }

    /// Takes the outcome of a range's height.
    pub(crate) fn on_height(&mut self, job: u32, height: u64, result: TaskResult) {
        if let Some(cut) = self.jobs.finished(job, height, result) {
            self.cancel_heights(&[cut]);
        }
    }

    /// Hands outcomes over to their streams, and cancels what belongs to a stream that is gone.
    /// Returns whether there is more for the scheduler to do now.
    pub(crate) fn deliver(&mut self) -> bool {
        self.answers.tidy();
        if self.scheduler.stats().resting > 0 {
            // More may rest than a moment ago, and then workers run dry sooner.
            self.jobs.look_again();
        }
        if self.jobs.delivering.is_empty() {
            return false;
        }
        let hungry = self.jobs.deliver(self.ahead());
        if !self.jobs.cuts.is_empty() {
            let cuts = core::mem::take(&mut self.jobs.cuts);
            self.cancel_heights(&cuts);
            return true;
        }
        hungry && !self.scheduler.is_full() && self.room_for_heights() > 0
    }

    /// Returns how many more heights may wait in the scheduler for a worker: they wait before all that
    /// comes later, of other ranges too.
    fn room_for_heights(&self) -> usize {
        let most = (self.peers.window_total() / WAITING_SHARE).max(WAITING_MIN);
        most.saturating_sub(self.scheduler.waiting(Lane::Bulk) as usize)
    }

    fn ahead(&self) -> Ahead {
        let twice = 2 * self.peers.window_total();
        let resting = self.scheduler.stats().resting as usize;
        Ahead { max: self.counted_max, plenty: twice + resting }
    }

    /// Costs a scan of the task table: a dropped stream and a range that stops are rare.
    fn cancel_heights(&mut self, cuts: &[Cut]) {
        for slot in 0..self.tasks.len() {
            let TaskEntry { payload, generation, .. } = &self.tasks[slot];
            let Some(job) = payload.job() else { continue };
            let source = self.jobs.slots[job as usize].as_ref().map(|job| &job.source);
            let height = source.expect("a range stays while it has tasks").index_of(payload);
            if cuts.iter().any(|cut| cut.job == job && cut.above.is_none_or(|at| height > at)) {
                let slot = u32::try_from(slot).expect("fewer tasks than 2^32");
                let task = TaskId::from_parts(slot, *generation);
                // Stale: it is finished, and its outcome is about to be polled.
                let _ = self.scheduler.cancel(self.now, task);
            }
        }
    }
}
