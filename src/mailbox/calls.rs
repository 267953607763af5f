//! The calls of a pool: those that are queued, each in the line of its queue, and the outcome of each on
//! its way to its caller.
//!
//! All are in one table, under the lock of the mailbox. So a call takes no memory of its own, and one
//! lock does for whatever is left at once: a task and its caller's waker, or a batch of outcomes. The
//! table has as many places as there ever were calls at once; `queue_max` of each queue, the pool's
//! `tasks_max` and what callers leave untaken bound it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, Waker};

use chargehand_core::{Instant, QueueId};

use crate::error::TaskError;
use crate::mailbox::callback::{Callback, Due, Unawaited};
use crate::mailbox::result::TaskResult;
use crate::options::TaskOptions;
use crate::payload::Body;
use crate::payload::Check;

/// A task on its way to the driver.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) body: Body,
    /// What the answer is held against.
    pub(crate) check: Check,
    call: CallId,
}

/// Names a call for as long as its caller or the driver has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId {
    index: u32,
    /// How many there were before it, which tells it from others that had its place.
    serial: u32,
}

/// Where the driver leaves outcomes and callers find them.
#[derive(Debug)]
pub(crate) struct Calls {
    /// By queue of the pool.
    lines: Vec<Line>,
    /// How many calls there were so far.
    serial: u32,
    places: Vec<CallSlot>,
    /// The first free place, or `NO_PLACE`.
    free: u32,
    /// Where `are_all_taken` found a call the last time.
    seen: usize,
}

/// Calls of one queue that the driver has not taken.
#[derive(Debug)]
struct Line {
    queue: VecDeque<Submit>,
    /// How many of them are nobody's: their callers have given up, or their time is over.
    empty: usize,
    /// The position of the first one in the queue, or of the next one to come: how many there were before.
    front: u32,
    /// Of those in the queue, in its order, the ones that are not done as the pool says.
    specials: VecDeque<Special>,
}

/// A call that is not done as the pool says.
#[derive(Debug)]
pub(crate) struct Special {
    pub(crate) call: CallId,
    pub(crate) options: Arc<TaskOptions>,
    position: u32,
    /// When the driver first saw it.
    pub(crate) since: Option<Instant>,
}

#[derive(Debug)]
struct CallSlot {
    serial: u32,
    /// Where it is, or was, in its line.
    position: u32,
    line: u8,
    /// The driver was told to cancel it.
    asked: bool,
    state: CallState,
}

#[derive(Debug)]
pub(crate) enum CallState {
    /// And the next free place.
    Free(u32),
    /// For the driver. Whom to wake, once somebody has asked.
    Waiting(Option<Waker>),
    /// For the driver, which calls this with the outcome.
    Then(Callback),
    /// For the driver, and nobody wants to know.
    Abandoned,
    /// For the caller.
    Ended(TaskResult),
}

/// What is left to do for a call that its caller cancels or lets go, without the lock.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The driver has the task, and is to cancel it.
    pub(crate) tell: bool,
    /// Is to be woken: the call has ended.
    pub(crate) wake: Option<Waker>,
    /// Is to be dropped: the destructors are the user's.
    pub(crate) left: (CallState, Body),
    /// Has a place more.
    pub(crate) place_in: Option<QueueId>,
}

/// A queue of such a length keeps its memory while shorter ones follow.
const KEPT_CALLS: usize = 1024;

/// No place, and the place of a task that was cancelled in the queue.
const NO_PLACE: u32 = u32::MAX;

// There is one for each outstanding call, so their size matters.
const _: () = assert!(size_of::<Submit>() <= 40);
const _: () = assert!(size_of::<CallSlot>() <= 40);

impl CallId {
    pub(crate) fn place(self) -> usize {
        self.index as usize
    }

    /// Names a call that had the same place before.
    #[cfg(all(test, feature = "testing"))]
    pub(crate) fn former(self) -> Self {
        Self { serial: self.serial.wrapping_sub(1), ..self }
    }
}

impl Submit {
    /// Nobody's.
    const EMPTY: Self = {
        let call = CallId { index: NO_PLACE, serial: 0 };
        Self { body: Body::EMPTY, check: Check::RAW, call }
    };

    /// Makes one of a task that was taken before.
    pub(crate) fn again(body: Body, call: CallId, check: Check) -> Self {
        Self { body, check, call }
    }

    /// Leaves nobody's.
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::EMPTY)
    }

    /// Returns whose task it is, if anybody's.
    pub(crate) fn call(&self) -> Option<CallId> {
        (self.call.index != NO_PLACE).then_some(self.call)
    }
}

impl Calls {
    /// Makes room for the calls of so many queues.
    pub(crate) fn new(queues: usize) -> Self {
        let line =
            || Line { queue: VecDeque::new(), empty: 0, front: 0, specials: VecDeque::new() };
        Self {
            lines: (0..queues).map(|_| line()).collect(),
            serial: 0,
            places: Vec::new(),
            free: NO_PLACE,
            seen: 0,
        }
    }

    /// Returns whether every call has ended and its caller has the outcome or has let it go. Goes on where
    /// it found one the last time, so that to ask after each end costs no more than one look at all.
    pub(crate) fn are_all_taken(&mut self) -> bool {
        for _ in 0..self.places.len() {
            match self.places.get(self.seen).map(|place| &place.state) {
                Some(CallState::Free(_)) => self.seen += 1,
                Some(_) => return false,
                None => self.seen = 0,
            }
        }
        self.places.get(self.seen).is_none_or(|place| matches!(place.state, CallState::Free(_)))
    }

    pub(crate) fn queued(&self) -> usize {
        self.lines.iter().map(Line::len).sum()
    }

    /// Returns how many wait in a queue.
    #[inline]
    pub(crate) fn queued_in(&self, queue: QueueId) -> usize {
        self.lines[usize::from(queue.place())].len()
    }

    /// Queues a task, in exchange for an empty one.
    #[inline]
    pub(crate) fn push(
        &mut self,
        body: &mut Body,
        check: Check,
        waker: Option<Waker>,
        options: Option<&Arc<TaskOptions>>,
    ) -> CallId {
        let queue = options.map_or(QueueId::DEFAULT, |options| options.queue_id()).place();
        let serial = self.serial;
        self.serial = serial.wrapping_add(1);
        let index = self.free_place();
        let line = &mut self.lines[usize::from(queue)];
        #[expect(clippy::cast_possible_truncation, reason = "positions wrap")]
        let position = line.front.wrapping_add(line.queue.len() as u32);
        let place = &mut self.places[index as usize];
        let CallState::Free(next) = place.state else { unreachable!("it is in the list of such") };
        place.state = CallState::Waiting(waker);
        place.serial = serial;
        place.position = position;
        place.line = queue;
        place.asked = false;
        self.free = next;
        let call = CallId { index, serial };
        // In its place, rather than put together on the stack and moved: decision 0010.
        line.queue.push_back(Submit::EMPTY);
        if let Some(last) = line.queue.back_mut() {
            mem::swap(&mut last.body, body);
            (last.check, last.call) = (check, call);
        }
        if let Some(options) = options {
            let options = Arc::clone(options);
            line.specials.push_back(Special { call, options, position, since: None });
        }
        call
    }

    /// Has the driver call this with the outcome of a call that was queued just now.
    pub(crate) fn call_back(&mut self, call: CallId, callback: Callback) {
        self.place(call).state = CallState::Then(callback);
    }

    #[inline]
    fn free_place(&mut self) -> u32 {
        if self.free == NO_PLACE { self.add_place() } else { self.free }
    }

    fn add_place(&mut self) -> u32 {
        let index = u32::try_from(self.places.len()).expect("fewer calls than 2^32");
        assert!(index != NO_PLACE);
        let state = CallState::Free(NO_PLACE);
        self.places.push(CallSlot { serial: 0, position: 0, line: 0, asked: false, state });
        index
    }

    /// Moves up to `count` tasks out of a queue into `batch`, which must be empty.
    #[inline]
    pub(crate) fn take(&mut self, queue: QueueId, count: usize, batch: &mut VecDeque<Submit>) {
        self.lines[usize::from(queue.place())].take(count, batch);
    }

    /// Returns the next special one that was taken out of a queue, of those in the order of that.
    pub(crate) fn take_special(&mut self, queue: QueueId) -> Option<Special> {
        let line = &mut self.lines[usize::from(queue.place())];
        let first = line.specials.front()?.position;
        let is_queued = (first.wrapping_sub(line.front) as usize) < line.queue.len();
        if is_queued { None } else { line.specials.pop_front() }
    }

    /// Notes the time for those that were not seen yet, and returns when the first one in a queue is
    /// over.
    pub(crate) fn stamp(&mut self, now: Instant) -> Instant {
        let due = |special: &mut Special| special.options.due(*special.since.get_or_insert(now));
        let specials = self.lines.iter_mut().flat_map(|line| &mut line.specials);
        specials.map(due).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Ends those in the queue that are over, and returns their bodies, to be dropped without the lock.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        wakers: &mut VecDeque<Waker>,
        callbacks: &mut VecDeque<Due>,
    ) -> Vec<Body> {
        let is_over = |special: &&Special| {
            special.since.is_some_and(|since| special.options.due(since) <= now)
        };
        let specials = self.lines.iter().flat_map(|line| &line.specials);
        let over: Vec<_> = specials.filter(is_over).map(|over| over.call).collect();
        let mut bodies = Vec::new();
        for call in over {
            bodies.extend(self.withdraw(call));
            let place = self.place(call);
            if let CallState::Waiting(waker) = &mut place.state {
                wakers.extend(waker.take());
                place.state = CallState::Ended(Err(TaskError::TimedOut.into()));
            } else {
                // Nobody waits: it was let run on.
                callbacks.extend(due(self.release(call), TaskError::TimedOut));
            }
        }
        bodies
    }

    /// Leaves the outcome of a task that was taken, and returns whom to wake. Gives it back if nobody
    /// waits for it.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        call: CallId,
        result: TaskResult,
    ) -> Result<Option<Waker>, Unawaited> {
        let place = self.place(call);
        match &mut place.state {
            CallState::Waiting(waker) => {
                let waker = waker.take();
                place.state = CallState::Ended(result);
                Ok(waker)
            }
            CallState::Abandoned | CallState::Then(_) => Err(match self.release(call) {
                CallState::Then(callback) => Unawaited::CallBack(Due::new(callback, result)),
                _ => Unawaited::Unwanted(result),
            }),
            CallState::Free(_) | CallState::Ended(_) => unreachable!("a task has one outcome"),
        }
    }

    /// Takes the outcome, if it is there. Otherwise whoever waits is woken for it; who was to be woken
    /// so far goes to `other`, and is to be dropped without the lock.
    pub(crate) fn poll(
        &mut self,
        call: CallId,
        cx: &mut Context<'_>,
        other: &mut Option<Waker>,
    ) -> Poll<TaskResult> {
        let place = self.place(call);
        match &mut place.state {
            CallState::Ended(_) => {
                let CallState::Ended(result) = self.release(call) else {
                    unreachable!("see above")
                };
                return Poll::Ready(result);
            }
            CallState::Waiting(Some(known)) if known.will_wake(cx.waker()) => {}
            CallState::Waiting(waker) => *other = waker.replace(cx.waker().clone()),
            CallState::Free(_) | CallState::Then(_) | CallState::Abandoned => {
                unreachable!("its caller is still there")
            }
        }
        Poll::Pending
    }

    /// Returns whether somebody has asked for the outcome of a call that was taken, or nobody will.
    pub(crate) fn is_awaited(&mut self, call: CallId) -> bool {
        !matches!(self.place(call).state, CallState::Waiting(None))
    }

    /// Returns whether a call has ended, whoever has its outcome now.
    pub(crate) fn has_ended(&self, call: CallId) -> bool {
        let place = &self.places[call.place()];
        let is_over = matches!(place.state, CallState::Free(_) | CallState::Ended(_));
        is_over || place.serial != call.serial
    }

    /// Cancels a call whose caller waits for its end. One that is still queued has ended with that.
    pub(crate) fn cancel(&mut self, call: CallId) -> Rest {
        let mut rest = Rest::none();
        if !matches!(self.place(call).state, CallState::Waiting(_)) {
            return rest;
        }
        if let Some(body) = self.withdraw(call) {
            let ended = CallState::Ended(Err(TaskError::Cancelled.into()));
            let CallState::Waiting(waker) = mem::replace(&mut self.place(call).state, ended) else {
                unreachable!("it was looked at just now")
            };
            rest.wake = waker;
            rest.left.1 = body;
            rest.place_in = Some(self.queue_of(call));
        } else {
            rest.tell = !mem::replace(&mut self.place(call).asked, true);
        }
        rest
    }

    /// Lets go of a call whose caller is gone, and cancels its task if that is asked for.
    pub(crate) fn leave(&mut self, call: CallId, cancels: bool) -> Rest {
        let mut rest = Rest::none();
        let is_waiting = matches!(self.place(call).state, CallState::Waiting(_));
        if is_waiting && cancels {
            if let Some(body) = self.withdraw(call) {
                rest.left = (self.release(call), body);
                rest.place_in = Some(self.queue_of(call));
                return rest;
            }
        }
        let place = self.place(call);
        if is_waiting {
            rest.tell = cancels && !mem::replace(&mut place.asked, true);
            rest.left.0 = mem::replace(&mut place.state, CallState::Abandoned);
        } else {
            rest.left.0 = self.release(call);
        }
        rest
    }

    /// Returns the queue that a call is, or was, in.
    fn queue_of(&self, call: CallId) -> QueueId {
        QueueId::new(self.places[call.place()].line)
    }

    /// Takes the body of a task out of the queue. What is left of it there is nobody's, and holds no place.
    fn withdraw(&mut self, call: CallId) -> Option<Body> {
        let CallSlot { position, line: place, .. } = self.places[call.place()];
        let line = &mut self.lines[usize::from(place)];
        let position = position.wrapping_sub(line.front) as usize;
        // A task that runs for so long that the numbers came round may have another's.
        let submit = line.queue.get_mut(position).filter(|submit| submit.call == call)?;
        submit.call.index = NO_PLACE;
        let body = mem::take(&mut submit.body);
        line.specials.retain(|special| special.call != call);
        line.empty += 1;
        // Not each at once, which would move all behind it each time.
        if line.empty > line.queue.len() / 2 {
            line.close_up(&mut self.places);
        }
        Some(body)
    }

    /// Ends every call that has no outcome yet as [`TaskError::Closed`], and puts those to wake into
    /// `wakers`, and those to call into `callbacks`. Returns what was queued.
    pub(crate) fn close(
        &mut self,
        wakers: &mut VecDeque<Waker>,
        callbacks: &mut VecDeque<Due>,
    ) -> VecDeque<Submit> {
        for place in &mut self.places {
            match &mut place.state {
                CallState::Waiting(waker) => {
                    wakers.extend(waker.take());
                    place.state = CallState::Ended(Err(TaskError::Closed.into()));
                }
                CallState::Then(_) => {
                    let state = mem::replace(&mut place.state, CallState::Abandoned);
                    callbacks.extend(due(state, TaskError::Closed));
                }
                CallState::Free(_) | CallState::Abandoned | CallState::Ended(_) => {}
            }
        }
        self.lines.iter_mut().flat_map(|line| mem::take(&mut line.queue)).collect()
    }

    fn place(&mut self, call: CallId) -> &mut CallSlot {
        let place = &mut self.places[call.index as usize];
        debug_assert!(place.serial == call.serial);
        place
    }

    /// Frees a place, and returns what was in it.
    #[inline]
    fn release(&mut self, call: CallId) -> CallState {
        let next = mem::replace(&mut self.free, call.index);
        mem::replace(&mut self.place(call).state, CallState::Free(next))
    }
}

impl Line {
    /// Returns how many calls it has. It is empty where these are none.
    #[inline]
    fn len(&self) -> usize {
        self.queue.len() - self.empty
    }

    /// Takes what is nobody's out of it.
    fn close_up(&mut self, places: &mut [CallSlot]) {
        self.queue.retain(|submit| submit.call().is_some());
        self.empty = 0;
        let mut position = self.front;
        for submit in &self.queue {
            places[submit.call.place()].position = position;
            position = position.wrapping_add(1);
        }
        for special in &mut self.specials {
            special.position = places[special.call.place()].position;
        }
    }

    #[inline]
    fn take(&mut self, count: usize, batch: &mut VecDeque<Submit>) {
        if self.queue.len() <= count {
            mem::swap(&mut self.queue, batch);
            self.empty = 0;
            // What one burst took is not kept for all the short ones after it.
            if self.queue.capacity() > KEPT_CALLS && batch.len() < KEPT_CALLS {
                self.queue = VecDeque::new();
            }
        } else {
            batch.extend(self.queue.drain(..count));
            if self.empty > 0 {
                self.empty -= batch.iter().filter(|submit| submit.call().is_none()).count();
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "positions wrap")]
        let taken = batch.len() as u32;
        self.front = self.front.wrapping_add(taken);
    }
}

/// Returns the callback of a call that ends without an answer, if it has one.
fn due(state: CallState, error: TaskError) -> Option<Due> {
    match state {
        CallState::Then(callback) => Some(Due::new(callback, Err(error.into()))),
        _ => None,
    }
}

impl Rest {
    const fn none() -> Self {
        let left = (CallState::Abandoned, Body::EMPTY);
        Self { tell: false, wake: None, left, place_in: None }
    }
}

#[cfg(test)]
mod tests;
