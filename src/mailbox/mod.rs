//! What handles leave for the driver, and how it hears of that.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, Waker};

use async_channel::{Receiver, Sender};
use chargehand_core::{Instant, QueueId};
use event_listener::{Event, EventListener};

use crate::budget::{Account, Budget};
use crate::events::EventFeed;
use crate::limits::Limits;
use crate::link::erased::Kind;
use crate::link::lock::{AtomicBool, Lock, Ordering};
use crate::mailbox::callback::{Callback, Due, Unawaited};
use crate::mailbox::calls::{CallId, Calls, Rest, Special, Submit};
use crate::mailbox::mail::{Control, Mail, TaskWatch};
use crate::mailbox::result::TaskResult;
use crate::options::TaskOptions;
use crate::payload::Body;
use crate::payload::{Check, DecodeLimits};
use crate::planted::reordered;

pub(crate) mod batches;
pub(crate) mod callback;
pub(crate) mod calls;
pub(crate) mod mail;
pub(crate) mod range;
pub(crate) mod result;

pub(crate) use self::range::NewJob;

/// How many outcomes are left at once. The lock is not held for longer.
const OUTCOMES_AT_ONCE: usize = 16;

/// A handle's way to the driver. Dropping it tells the driver that nobody is left.
#[derive(Debug)]
pub struct Mailbox {
    post: Arc<Post>,
}

/// The driver's view of the [`Mailbox`].
#[derive(Debug)]
pub(crate) struct Post {
    doorbell: Waker,
    inbox: Lock<Inbox>,
    queue_max: usize,
    /// How many heights of a range may be under way or not taken.
    ahead_max: usize,
    decode_limits: DecodeLimits,
    /// Tells callers that wait with a task of places in its queue, as many as there are. By queue.
    places: Vec<Event>,
    /// What the pool holds, whose event tells those that wait for memory.
    pub(crate) budget: Arc<Budget>,
    /// Requests, from when they are queued to the end of their tasks.
    requests: Arc<Account>,
    /// The driver holds tasks back until somebody asks for their outcome.
    holds_back: AtomicBool,
    /// Somebody waits until callers have taken all outcomes.
    awaits_taken: AtomicBool,
    /// Something but tasks was left.
    rung: AtomicBool,
    /// Every handle is dropped.
    abandoned: AtomicBool,
}

#[derive(Debug)]
struct Inbox {
    /// Rings when one of its queues is no longer empty. Each holds at most `queue_max`.
    calls: Calls,
    mail: Mail,
    closed: bool,
}

/// Why a task was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotQueued {
    /// There is no place in the queue now.
    Full,
    /// There is no memory for it now.
    Short,
    /// The driver is gone.
    Closed,
}

impl Mailbox {
    /// Tells the driver of anything but a task, once it is left.
    pub(crate) fn ring(&self) {
        if reordered("it rings before it says what for") {
            self.post.doorbell.wake_by_ref();
            return self.post.rung.store(true, Ordering::Release);
        }
        self.post.rung.store(true, Ordering::Release);
        self.post.doorbell.wake_by_ref();
    }

    /// Returns what answers may become as they are decoded.
    #[inline]
    pub(crate) fn decode_limits(&self) -> &DecodeLimits {
        &self.post.decode_limits
    }

    /// Returns how many heights of a range may be under way or not taken.
    pub(crate) fn ahead_max(&self) -> usize {
        self.post.ahead_max
    }

    /// Queues a task if there is room, and leaves an empty one; otherwise it stays where it is. `waker` is woken for its end.
    #[inline]
    pub(crate) fn submit(
        &self,
        task: &mut Body,
        check: Check,
        waker: Option<&Waker>,
        options: Option<&Arc<TaskOptions>>,
    ) -> Result<CallId, NotQueued> {
        let mut waker = waker.cloned();
        self.queue(task, options, |calls, body| calls.push(body, check, waker.take(), options))
    }

    /// Queues a task as [`submit`](Self::submit) does, whose outcome the driver is to call `callback` with.
    pub(crate) fn submit_then(
        &self,
        task: &mut Body,
        check: Check,
        callback: &mut Option<Callback>,
        options: Option<&Arc<TaskOptions>>,
    ) -> Result<(), NotQueued> {
        let queued = self.queue(task, options, |calls, body| {
            let call = calls.push(body, check, None, options);
            calls.call_back(call, callback.take().expect("it is submitted once"));
            call
        });
        queued.map(drop)
    }

    #[inline]
    fn queue(
        &self,
        task: &mut Body,
        options: Option<&Arc<TaskOptions>>,
        push: impl FnOnce(&mut Calls, &mut Body) -> CallId,
    ) -> Result<CallId, NotQueued> {
        let queue = options.map_or(QueueId::DEFAULT, |options| options.queue_id());
        let (call, is_first) = self.post.inbox.with(|inbox| {
            if inbox.closed {
                return Err(NotQueued::Closed);
            }
            if inbox.calls.queued_in(queue) >= self.post.queue_max {
                return Err(NotQueued::Full);
            }
            if !self.charge(task) {
                return Err(NotQueued::Short);
            }
            let is_first = inbox.calls.queued_in(queue) == 0;
            Ok((push(&mut inbox.calls, task), is_first))
        })?;
        if options.is_some_and(|options| options.deadline.is_some()) {
            // Its time counts from now on.
            self.ring();
        } else if is_first {
            self.post.doorbell.wake_by_ref();
        }
        Ok(call)
    }

    /// Takes the outcome of a call, or has the waker woken for it.
    pub(crate) fn poll(&self, call: CallId, cx: &mut Context<'_>) -> Poll<TaskResult> {
        // Dropped after the lock is held: the end of a task may be the end of its driver, which wants
        // the lock.
        let mut other = None;
        let early = reordered("whether to ring is read before the lock is held")
            .then(|| self.post.holds_back.load(Ordering::Relaxed));
        let polled = self.post.inbox.with(|inbox| inbox.calls.poll(call, cx, &mut other));
        // Both are set before the lock is held for what is looked at then.
        let is_told =
            if polled.is_pending() { &self.post.holds_back } else { &self.post.awaits_taken };
        if early.unwrap_or_else(|| is_told.load(Ordering::Relaxed)) {
            self.post.doorbell.wake_by_ref();
        }
        polled
    }

    /// Cancels a call whose caller goes on waiting.
    pub(crate) fn cancel(&self, call: CallId) {
        self.give_up(call, |calls| calls.cancel(call));
    }

    /// Ends a call that nobody waits for any more, or lets its task run on.
    pub(crate) fn leave(&self, call: CallId, cancels: bool) {
        self.give_up(call, |calls| calls.leave(call, cancels));
    }

    fn give_up(&self, call: CallId, end: impl FnOnce(&mut Calls) -> Rest) {
        let (rest, queued) = self.post.inbox.with(|inbox| {
            let rest = end(&mut inbox.calls);
            if rest.tell {
                inbox.mail.cancels.push(call);
            }
            let queued = rest.place_in.map(|queue| (queue, inbox.calls.queued_in(queue)));
            (rest, queued)
        });
        drop(rest.left);
        if let Some((queue, count)) = queued {
            self.post.tell_of_places(queue, count);
        }
        if rest.tell || self.post.awaits_taken.load(Ordering::Relaxed) {
            self.ring();
        }
        if let Some(waker) = rest.wake {
            waker.wake();
        }
    }

    /// Holds a body against the budget if it is long. Returns whether there was room; if not, whoever
    /// listens for room is told once something comes back.
    #[inline]
    pub(crate) fn charge(&self, body: &mut Body) -> bool {
        !body.is_uncharged() || self.post.charge(body)
    }

    /// Listens for memory, or for the pool's end. Try again before waiting: there may be some already.
    pub(crate) fn listen_for_memory(&self) -> EventListener {
        self.post.budget.room.listen()
    }

    /// Listens for a place in the queue, or for the pool's end. Try again before waiting: there may be one
    /// already. Whoever is told and makes no use of it [passes it on](Self::pass_place_on).
    pub(crate) fn listen_for_place(&self, queue: QueueId) -> EventListener {
        self.post.places[usize::from(queue.place())].listen()
    }

    /// Tells the next one in line of a place in the queue that the caller was told of.
    pub(crate) fn pass_place_on(&self, queue: QueueId) {
        self.post.places[usize::from(queue.place())].notify_additional(1);
    }

    /// Returns how many tasks are queued.
    pub(crate) fn queued(&self) -> usize {
        self.post.queued()
    }

    /// Hands a range over, or ends its stream at once if the driver is gone.
    pub(crate) fn start(&self, job: NewJob) {
        let mut job = Some(job);
        self.put(|mail| mail.jobs.extend(job.take()));
        if let Some(mut job) = job {
            job.giver.end();
        }
    }

    pub(crate) fn listen(&self, listener: EventFeed) {
        self.put(|mail| mail.listeners.push(listener));
    }

    /// Has the driver say what happens to a task. If there is no driver, `watch` is dropped.
    pub(crate) fn watch(&self, watch: TaskWatch) {
        self.put(|mail| mail.watches.push(watch));
    }

    fn put(&self, put: impl FnOnce(&mut Mail)) {
        let left = self.post.inbox.with(|inbox| {
            if !inbox.closed {
                put(&mut inbox.mail);
            }
            !inbox.closed
        });
        if left {
            self.ring();
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.post.abandoned.store(true, Ordering::Release);
        self.ring();
    }
}

impl Post {
    /// Holds a long request against the budget, if that has room for it. Otherwise whoever listens for
    /// room is told once something comes back.
    fn charge(&self, body: &mut Body) -> bool {
        let bytes = body.as_slice().len();
        let has_room = || self.requests.has_room_for(bytes) || self.requests.may_begin_with(bytes);
        if !has_room() {
            self.budget.await_more();
            // Some may have come back just before.
            if !has_room() {
                return false;
            }
        }
        body.charge(&self.requests);
        true
    }

    /// Returns whether anything but tasks was left since the last time. Ask once the doorbell is
    /// cleared: whoever leaves something later rings it again.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    /// Takes all that was left, but for tasks.
    pub(crate) fn take(&self) -> Mail {
        self.inbox.with(|inbox| mem::take(&mut inbox.mail))
    }

    /// Moves up to `count` tasks from a queue into `batch`, which must be empty, and tells those
    /// who wait of the room. Returns whether more are queued: otherwise the next one rings.
    pub(crate) fn take_submits(
        &self,
        queue: QueueId,
        count: usize,
        batch: &mut VecDeque<Submit>,
        mut special: impl FnMut(Special),
    ) -> bool {
        debug_assert!(batch.is_empty());
        let left = self.inbox.with(|inbox| {
            inbox.calls.take(queue, count, batch);
            while let Some(taken) = inbox.calls.take_special(queue) {
                special(taken);
            }
            inbox.calls.queued_in(queue)
        });
        if !batch.is_empty() {
            self.tell_of_places(queue, left);
        }
        left > 0
    }

    /// Tells those who wait for a place in a queue, which has so many calls now.
    fn tell_of_places(&self, queue: QueueId, count: usize) {
        self.places[usize::from(queue.place())].notify(self.queue_max - count);
    }

    /// Notes the time for calls with times of their own, and returns when the first one that is queued is
    /// over.
    pub(crate) fn stamp(&self, now: Instant) -> Instant {
        self.inbox.with(|inbox| inbox.calls.stamp(now))
    }

    /// Ends the queued calls that are over. Returns when the next one is.
    pub(crate) fn expire(
        &self,
        now: Instant,
        wakers: &mut VecDeque<Waker>,
        callbacks: &mut VecDeque<Due>,
    ) -> Instant {
        let (bodies, queued, due) = self.inbox.with(|inbox| {
            let bodies = inbox.calls.expire(now, wakers, callbacks);
            let queues = (0..).map(QueueId::new).take(self.places.len());
            let queued: Vec<_> = if bodies.is_empty() {
                Vec::new()
            } else {
                queues.map(|queue| (queue, inbox.calls.queued_in(queue))).collect()
            };
            (bodies, queued, inbox.calls.stamp(now))
        });
        drop(bodies);
        wake_all(wakers);
        for (queue, count) in queued {
            self.tell_of_places(queue, count);
        }
        due
    }

    /// Sets whether the doorbell is to ring where somebody asks for an outcome. Then look who has.
    pub(crate) fn hold_back(&self, holds: bool) {
        self.holds_back.store(holds, Ordering::Relaxed);
    }

    /// Sets whether the doorbell is to ring where an outcome is taken. Then look whether all are.
    pub(crate) fn await_taken(&self, awaits: bool) {
        self.awaits_taken.store(awaits, Ordering::Relaxed);
    }

    /// Returns whether every call has ended and its caller has the outcome or has let it go.
    pub(crate) fn are_all_taken(&self) -> bool {
        self.inbox.with(|inbox| inbox.calls.are_all_taken())
    }

    /// Returns whether a call has ended, whoever has its outcome now.
    pub(crate) fn has_ended(&self, call: CallId) -> bool {
        self.inbox.with(|inbox| inbox.calls.has_ended(call))
    }

    /// Returns whether somebody has asked for the outcome of a call that was taken, or nobody will.
    pub(crate) fn is_awaited(&self, call: CallId) -> bool {
        self.inbox.with(|inbox| inbox.calls.is_awaited(call))
    }

    /// Leaves outcomes for their callers, and wakes those that wait, through `wakers`. Whom to call with
    /// one is left in `callbacks`.
    pub(crate) fn settle(
        &self,
        outcomes: &mut Vec<(CallId, TaskResult)>,
        wakers: &mut VecDeque<Waker>,
        callbacks: &mut VecDeque<Due>,
    ) {
        let mut unwanted = Vec::new();
        let mut outcomes = outcomes.drain(..);
        while outcomes.len() > 0 {
            self.inbox.with(|inbox| {
                for (call, result) in outcomes.by_ref().take(OUTCOMES_AT_ONCE) {
                    match inbox.calls.settle(call, result) {
                        Ok(Some(waker)) => wakers.push_back(waker),
                        Ok(None) => {}
                        Err(Unawaited::Unwanted(result)) => unwanted.push(result),
                        Err(Unawaited::CallBack(due)) => callbacks.push_back(due),
                    }
                }
            });
            unwanted.clear();
            wake_all(wakers);
        }
    }

    /// Takes all that was left, for the last time. Whoever waits learns that there is no driver.
    pub(crate) fn close(
        &self,
        wakers: &mut VecDeque<Waker>,
        callbacks: &mut VecDeque<Due>,
    ) -> (Mail, VecDeque<Submit>) {
        let left = self.inbox.with(|inbox| {
            inbox.closed = true;
            (mem::take(&mut inbox.mail), inbox.calls.close(wakers, callbacks))
        });
        wake_all(wakers);
        self.budget.room.notify(usize::MAX);
        for places in &self.places {
            places.notify(usize::MAX);
        }
        left
    }

    pub(crate) fn queued(&self) -> usize {
        self.inbox.with(|inbox| inbox.calls.queued())
    }

    /// Returns how many bytes of requests are held.
    #[cfg(feature = "testing")]
    pub(crate) fn requests_used(&self) -> usize {
        self.requests.used()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

/// Wakes one after the other. If one panics, the rest are left, for the driver's end to wake.
pub(crate) fn wake_all(wakers: &mut VecDeque<Waker>) {
    while let Some(waker) = wakers.pop_front() {
        waker.wake();
    }
}

/// The driver's ends of all that handles hold.
pub(crate) struct Ends<K: Kind> {
    pub(crate) control: Receiver<Control<K>>,
    pub(crate) post: Arc<Post>,
}

/// Makes a handle's ends and the driver's.
pub(crate) fn mailbox<K: Kind>(
    doorbell: Waker,
    limits: &Limits,
) -> (Sender<Control<K>>, Arc<Mailbox>, Ends<K>) {
    // Control calls wait for their answers; a handful in the channel is plenty.
    let (control_in, control) = async_channel::bounded(16);
    let frame_bytes_max = limits.frame_bytes_max as usize;
    let budget = Budget::new(limits.memory_max(), frame_bytes_max, doorbell.clone());
    let post = Arc::new(Post {
        doorbell,
        inbox: Lock::new(Inbox {
            calls: Calls::new(limits.queues.len()),
            mail: Mail::default(),
            closed: false,
        }),
        queue_max: limits.queue_max,
        places: limits.queues.iter().map(|_| Event::new()).collect(),
        ahead_max: limits.ahead_max(),
        decode_limits: limits.decode,
        requests: Account::new(&budget),
        holds_back: AtomicBool::new(false),
        awaits_taken: AtomicBool::new(false),
        budget,
        rung: AtomicBool::new(true),
        abandoned: AtomicBool::new(false),
    });
    let mailbox = Arc::new(Mailbox { post: Arc::clone(&post) });
    (control_in, mailbox, Ends { control, post })
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::task::Wake;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::counting::Count;
    use crate::link::erased::Threaded;
    use crate::payload::{Answer, Check};

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as it was told to");
        }
    }

    #[test]
    fn a_waker_that_panics_leaves_nobody_else_waiting_for_ever() {
        let (_, mailbox, ends) = mailbox::<Threaded>(Waker::noop().clone(), &Limits::new());
        let count = Arc::new(Count::default());
        let waker = |at| match at {
            0 => Waker::from(Arc::new(Panics)),
            _ => Waker::from(Arc::clone(&count)),
        };
        let queue = |at| mailbox.submit(&mut Body::default(), Check::RAW, Some(&waker(at)), None);
        // Of the last, the outcome has not come. Another is queued still.
        let calls: Vec<_> = (0..OUTCOMES_AT_ONCE + 9).map(queue).map(Result::unwrap).collect();
        let queue = QueueId::DEFAULT;
        assert!(ends.post.take_submits(queue, calls.len() - 1, &mut VecDeque::new(), drop));
        let known = &calls[..calls.len() - 2];
        let mut outcomes =
            known.iter().map(|call| (*call, Ok(Answer::Bytes(Body::EMPTY)))).collect();

        let mut wakers = VecDeque::new();
        let settle = || ends.post.settle(&mut outcomes, &mut wakers, &mut VecDeque::new());
        assert!(catch_unwind(AssertUnwindSafe(settle)).is_err());
        ends.post.close(&mut wakers, &mut VecDeque::new());
        assert_eq!(count.woken(), calls.len() - 1, "all but that one");
        for call in calls {
            assert!(mailbox.poll(call, &mut Context::from_waker(Waker::noop())).is_ready());
        }
    }
}
