//! What the pool's handles left for the driver.

use core::mem;
use core::time::Duration;

use async_channel::Sender;
use chargehand_core::io::Timer;
use chargehand_core::queue::QUEUES_MAX;
use chargehand_core::{QueueId, TaskId, TaskOptions};

use super::task::{TaskPayload, Whose};
use super::{ALL_QUEUES, Driver};
use crate::error::{TaskError, WorkerError};
use crate::link::erased::Kind;
use crate::link::exposure::is_taken;
use crate::mailbox::calls::{CallId, Submit};
use crate::mailbox::mail::Control;
use crate::payload::Body;
use crate::stats::PoolStats;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Takes what was left since the last ring.
    pub(crate) fn take_in(&mut self) {
        if mem::take(&mut self.rung) {
            self.take_mail();
        }
    }

    fn take_mail(&mut self) {
        self.settled = false;
        let mail = self.ends.post.take();
        self.queue_due = self.ends.post.stamp(self.now);
        for listener in mail.listeners {
            self.events.add(listener);
        }
        self.note_asides();
        while let Ok(control) = self.ends.control.try_recv() {
            self.on_control(control);
        }
        for mut job in mail.jobs {
            if self.is_stopping() {
                job.giver.end();
            } else {
                self.jobs.add(job, &self.ends.post.budget);
            }
        }
        for call in mail.cancels {
            self.on_cancel(call);
        }
        for watch in mail.watches {
            self.on_watch(watch);
        }
        self.jobs.look_again();
        if self.ends.post.is_abandoned() && !self.is_stopping() {
            self.stop(self.limits.drain_timeout);
        }
    }

    /// Puts tasks into the scheduler while it has room. Returns whether it got any.
    pub(crate) fn admit(&mut self) -> bool {
        let ranges_first = self.ranges_first;
        let before = ranges_first && self.jobs.is_feeding() && self.admit_heights();
        let submitted = self.submitted != 0 && self.admit_submitted();
        let after = !ranges_first && self.jobs.is_feeding() && self.admit_heights();
        #[cfg(feature = "choice")]
        self.tell_backlog();
        before | submitted | after
    }

    fn admit_submitted(&mut self) -> bool {
        let mut any = false;
        if !self.held_back.is_empty() {
            any |= self.admit_held_back();
        }
        let mut batch = mem::take(&mut self.batch_in);
        let count = self.limits.queues.len();
        self.submitted &= ALL_QUEUES >> (QUEUES_MAX - count);
        for place in (0..).take(count) {
            let (queue, bit) = (QueueId::new(place), 1 << place);
            while self.submitted & bit != 0 {
                let room = if self.is_stopping() { usize::MAX } else { self.room_for_calls(queue) };
                if room == 0 || self.held_back.len() >= self.tasks.len() {
                    break;
                }
                let has_more = self.ends.post.take_submits(queue, room, &mut batch, |special| {
                    self.specials.insert(special.call.place(), special);
                    self.has_asides = true;
                });
                if !has_more {
                    self.submitted &= !bit;
                }
                for submit in &mut batch {
                    any |= self.admit_one(submit);
                }
                batch.clear();
            }
        }
        self.batch_in = batch;
        any
    }

    /// Returns how many calls of a queue the scheduler would take.
    fn room_for_calls(&self, queue: QueueId) -> usize {
        let is_alone = self.limits.queues.len() == 1;
        let room = if is_alone { self.scheduler.room() } else { self.scheduler.room_of(queue) };
        // Those that have another one's outcome take no room of the scheduler's.
        room.min(self.tasks.len().saturating_sub(self.keys.following(queue)))
    }

    /// Returns whether the scheduler would take a call that was taken out of the queue.
    pub(super) fn has_room_for(&self, call: CallId) -> bool {
        let special = self.specials.get(&call.place());
        let queue = special.map_or(QueueId::DEFAULT, |special| special.options.queue_id());
        self.room_for_calls(queue) > 0
    }

    /// Takes it, in exchange for an empty one. Returns whether it is a task of the scheduler's now.
    pub(super) fn admit_one(&mut self, submit: &mut Submit) -> bool {
        // Cancelled in the queue.
        let Some(call) = submit.call() else { return false };
        if self.answers.arrivals.answers.used() > 0 && self.is_to_wait(call, 0) {
            self.hold_back(submit.take(), 0);
            return false;
        }
        // There is room, so if it is not taken the pool stops.
        let submitted = if self.specials.is_empty() {
            self.scheduler.submit(self.now).map_err(|_| TaskError::Stopping)
        } else {
            match self.submit_special(call) {
                // It has the outcome of another one.
                None => return false,
                Some(submitted) => submitted,
            }
        };
        let task = match submitted {
            Ok(task) => task,
            Err(error) => {
                self.end_call(call, Err(error.into()));
                return false;
            }
        };
        self.ranges_first = true;
        self.note_accepted(call, task);
        let entry = &mut self.tasks[task.slot() as usize];
        // The body goes straight to its place: decision 0010.
        entry.payload = TaskPayload::Request {
            body: Body::EMPTY,
            whose: Whose::Call { call, check: submit.check },
        };
        if let TaskPayload::Request { body, .. } = &mut entry.payload {
            mem::swap(body, &mut submit.body);
        }
        entry.generation = task.generation();
        self.meter.on_taken(task, self.now);
        true
    }

    /// Notes which task a call is.
    #[inline]
    pub(super) fn note_accepted(&mut self, call: CallId, task: TaskId) {
        if self.accepted.len() <= call.place() {
            self.accepted.resize(call.place() + 1, 0);
        }
        self.accepted[call.place()] = task.slot();
    }

    /// Submits a call where some have options. `None` if it is to have the outcome of another one instead.
    fn submit_special(&mut self, call: CallId) -> Option<Result<TaskId, TaskError>> {
        let mut options = TaskOptions::new();
        let mut key = None;
        let mut queue = QueueId::DEFAULT;
        if let Some(special) = self.specials.get(&call.place()) {
            special.options.apply(&mut options, special.since.unwrap_or(self.now));
            self.has_own_times = true;
            key = special.options.key.clone();
            queue = special.options.queue_id();
        }
        if let Some(key) = &key {
            if self.follow(call, key, queue) {
                return None;
            }
            let most = self.scheduler.config().keys_max;
            options.key = self.keys.take(key, most);
            if options.key.is_none() {
                return Some(Err(TaskError::TooManyKeys { most }));
            }
        }
        let submitted = self.scheduler.submit_with(self.now, options);
        match (&submitted, &key) {
            (Ok(task), Some(key)) => self.keys.note(*task, key),
            (Err(_), Some(key)) => self.keys.give_back(&key.name),
            (_, None) => {}
        }
        Some(submitted.map_err(|_| TaskError::Stopping))
    }

    fn on_cancel(&mut self, call: CallId) {
        if self.drop_held_back(call) || self.leave_shared(call) {
            return;
        }
        if let Some(task) = self.task_of(call) {
            if self.scheduler.cancel(self.now, task).is_ok() {
                self.keys.leave_alone(task);
            }
        }
        // Otherwise it is finished, which is as good. It is never in the queue: see `Calls`.
    }

    fn on_control(&mut self, control: Control<K>) {
        match control {
            Control::Add { reach, options, reply } => {
                let added = if is_taken(reach.exposure(), self.limits.is_insecure) {
                    self.add(reach, options).map_err(|_| WorkerError::Full)
                } else {
                    Err(WorkerError::Exposed)
                };
                let _ = reply.try_send(added);
            }
            Control::Remove { worker, reply } => {
                if self.scheduler.remove_worker(self.now, worker).is_ok() {
                    self.peers.await_gone(worker, reply);
                } else {
                    let _ = reply.try_send(Err(WorkerError::Unknown));
                }
            }
            Control::Idle { taken, reply } => self.idlers.push((reply, taken)),
            Control::Stop { within, reply } => {
                self.on_stop(within.unwrap_or(self.limits.drain_timeout), reply);
            }
            Control::Pause { queue, is_paused, reply } => {
                let now = self.now;
                let set = if is_paused {
                    self.scheduler.pause(now, queue)
                } else {
                    self.scheduler.resume(now, queue)
                };
                set.expect("it was found by its name");
                let _ = reply.try_send(());
            }
            Control::Stats { reply } => {
                let _ = reply.try_send(self.stats());
            }
            #[cfg(feature = "std")]
            Control::Measure { reply } => {
                let _ = reply.try_send(self.measure());
            }
            #[cfg(feature = "std")]
            Control::Explain(question) => self.questions.push(question),
        }
    }

    fn on_stop(&mut self, within: Duration, reply: Sender<PoolStats>) {
        self.stoppers.push(reply);
        self.stop(within);
    }

    fn stop(&mut self, within: Duration) {
        if !self.is_stopping() {
            self.parting = self.stats().workers;
        }
        // What was queued before has been taken on, as far as there is room.
        self.admit_submitted();
        self.scheduler.drain(self.now, self.now.saturating_add(within));
        self.jobs.stop();
        self.joining.stop();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.scheduler.is_draining()
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use core::future::Future;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    use super::*;
    use crate::Pool;
    use crate::testing::ManualTimer;

    #[test]
    fn a_cancel_that_comes_late_spares_the_call_that_has_the_place_now() {
        let (pool, mut driver) = Pool::builder(ManualTimer::new()).build().expect("by default");
        let cx = &mut Context::from_waker(Waker::noop());
        let mut task = pin!(pool.try_submit::<u64, u64>(1).expect("there is room"));
        assert!(driver.poll_once(cx).is_pending());
        let mut calls = driver.tasks.iter().filter_map(|entry| match entry.payload {
            TaskPayload::Request { whose: Whose::Call { call, .. }, .. } => Some(call),
            _ => None,
        });
        let call = calls.next().expect("the driver has taken it");
        driver.on_cancel(call.former());
        assert!(driver.poll_once(cx).is_pending());
        assert!(task.as_mut().poll(cx).is_pending(), "another one was meant");
        driver.on_cancel(call);
        assert!(driver.poll_once(cx).is_pending());
        assert_eq!(task.as_mut().poll(cx), Poll::Ready(Err(TaskError::Cancelled)));
    }
}
