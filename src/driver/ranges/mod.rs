//! Ranges of heights and maps of requests under way: what is next in each, and outcomes on their way out
//! in batches. A map is a range whose heights are the places of its requests, counted from 0, and whose
//! stream leaves the requests themselves as it goes.

use core::mem;

use chargehand_core::io::Timer;
use chargehand_core::{Instant, Lane, QueueId, SubmitError, TaskId, TaskOptions};

use self::job::Job;
use self::jobs::Cut;
pub(super) use self::jobs::Jobs;
use self::pace::Ahead;
pub(super) use self::pace::within_stream;
use super::keys::TaskKeys;
use super::task::TaskEntry;
use super::{Driver, Scheduler};
use crate::link::erased::Kind;
use crate::mailbox::result::TaskResult;
use crate::options::TaskKey;

mod intake;
mod job;
mod jobs;
#[cfg(feature = "std")]
mod outside;
mod pace;
#[cfg(feature = "std")]
mod strip;
#[cfg(not(feature = "std"))]
mod unstriped;

/// At most this share (1/4) of what all workers hold waits in the scheduler for a worker, so that ranges
/// take turns when tasks are sent and not only when they are submitted.
const WAITING_SHARE: usize = 4;
const WAITING_MIN: usize = 2;
/// How many times a failed height is tried again, unless the caller says otherwise.
const RETRIES_MIN: u16 = 1;

/// Returns how many more heights of a queue the scheduler may be given, of which so many may wait there.
#[inline]
fn room_in(scheduler: &Scheduler, queue: QueueId, queues: usize, most_waiting: usize) -> usize {
    if queues == 1 {
        return most_waiting.saturating_sub(scheduler.waiting(Lane::Bulk) as usize);
    }
    let waiting = scheduler.waiting_in(queue, Lane::Bulk) as usize;
    most_waiting.saturating_sub(waiting).min(scheduler.room_of(queue))
}

/// Returns how many more heights of a range the scheduler may be given, of so many queues, in each of which so
/// many may wait there.
#[inline]
fn room_for(
    job: &Job,
    scheduler: &Scheduler,
    keys: &TaskKeys,
    (queues, most): (usize, usize),
) -> usize {
    let room = room_in(scheduler, job.queue(), queues, most);
    match job.wanted_key() {
        None => room,
        Some(key) => room.min(room_with(key, job, scheduler, keys)),
    }
}

/// Returns how many more heights of a range the scheduler may be given because of their key: few wait behind it
/// there, so that others may.
fn room_with(key: &TaskKey, job: &Job, scheduler: &Scheduler, keys: &TaskKeys) -> usize {
    if job.key.is_none() && !keys.may_take(key, scheduler.config().keys_max) {
        return 0;
    }
    (key.at_once as usize).saturating_add(WAITING_MIN).saturating_sub(job.pace.in_flight)
}

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
        let most_waiting = self.most_waiting();
        let Self {
            jobs,
            scheduler,
            tasks,
            now,
            ranges_first,
            has_own_times,
            limits,
            meter,
            keys,
            ..
        } = self;
        // Of those that are next, how many are of queues that have no room.
        let mut passed = 0;
        while let Some(&index) = jobs.feeding.front() {
            let job = jobs.slots[index as usize].as_mut().expect("a feeding range is there");
            let mut room = room_for(job, scheduler, keys, (limits.queues.len(), most_waiting));
            if room == 0 {
                passed += 1;
                // In the one queue there is no room for any, unless it is this one's key that has none.
                let is_for_all = limits.queues.len() == 1 && job.wanted_key().is_none();
                if is_for_all || passed >= jobs.feeding.len() {
                    return any;
                }
                jobs.feeding.rotate_left(1);
                continue;
            }
            passed = 0;
            if let (Some(key), None) = (job.wanted_key(), job.key) {
                job.key = keys.take(key, scheduler.config().keys_max);
            }
            let ahead = ahead.with(job.options);
            let is_alone = jobs.feeding.len() == 1;
            let mut plain = TaskOptions::new().lane(Lane::Bulk);
            plain.retries_max = Some(retries_max);
            let own = job.own_options(plain, *now);
            *has_own_times |= own.is_some();
            loop {
                let Some(height) = job.pace.next_within(ahead) else {
                    jobs.rest(ahead);
                    break;
                };
                if room == 0 {
                    break;
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
                meter.on_taken(task, *now);
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
        let resting = self.scheduler.stats().resting;
        if mem::replace(&mut self.jobs.resting, resting) < resting {
            // More rest than a moment ago, and then workers run dry sooner.
            self.jobs.look_again();
        }
        if self.jobs.delivering.is_empty() {
            return false;
        }
        let hungry = self.jobs.deliver(self.ahead());
        // Another range may wait for one.
        let has_key_free = !self.jobs.left_keys.is_empty() && self.jobs.is_feeding();
        for name in self.jobs.left_keys.drain(..) {
            self.keys.give_back(&name);
        }
        if !self.jobs.cuts.is_empty() {
            let cuts = mem::take(&mut self.jobs.cuts);
            self.cancel_heights(&cuts);
            return true;
        }
        has_key_free || hungry && !self.scheduler.is_full() && self.has_room_for_heights()
    }

    /// Returns whether a range may put in more now.
    fn has_room_for_heights(&self) -> bool {
        let (count, most_waiting) = (self.limits.queues.len(), self.most_waiting());
        if count == 1 && room_in(&self.scheduler, QueueId::DEFAULT, count, most_waiting) == 0 {
            return false;
        }
        let mut feeding = self.jobs.feeding.iter();
        feeding.any(|&index| {
            let job = self.jobs.slots[index as usize].as_ref();
            job.is_some_and(|job| {
                room_for(job, &self.scheduler, &self.keys, (count, most_waiting)) > 0
            })
        })
    }

    /// Returns how many heights of a queue may wait in the scheduler for a worker: they wait before all that
    /// comes later there, of other ranges too.
    fn most_waiting(&self) -> usize {
        (self.peers.window_total() / WAITING_SHARE).max(WAITING_MIN)
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
