//! One task's outcome on its way from the driver to whoever waits for it.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::mem;
use core::ops::Deref;
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};

use chargehand_core::TaskId;
use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::lock::Lock;
use crate::mailbox::Mailbox;
use crate::payload::Answer;

pub(crate) type TaskResult = Result<Answer, TaskError>;

/// Where the driver leaves the outcome and the caller finds it.
#[derive(Debug)]
pub(crate) struct Cell {
    /// The task, once the scheduler has accepted it: its slot and its generation, which only the
    /// driver looks at. With the slot goes whether the caller has cancelled it.
    slot: AtomicU32,
    generation: AtomicU32,
    state: Lock<State>,
}

#[derive(Debug)]
enum State {
    /// For the driver. Whom to wake, once somebody has asked.
    Waiting(Option<Waker>),
    /// For the caller.
    Ended(TaskResult),
}

// As many of them lie about as there are tasks.
const _: () = assert!(size_of::<Cell>() <= 48);

/// Set in the slot of a task that its caller has cancelled. A pool has at most 2^28 slots.
const CANCELLED: u32 = 1 << 31;
/// The slot of no task.
const NOT_ACCEPTED: u32 = CANCELLED - 1;

impl Cell {
    const fn new() -> Self {
        Self {
            slot: AtomicU32::new(NOT_ACCEPTED),
            generation: AtomicU32::new(0),
            state: Lock::new(State::Waiting(None)),
        }
    }

    /// Returns the task, if the scheduler has accepted it. For the driver.
    pub(crate) fn task(&self) -> Option<TaskId> {
        let slot = self.slot.load(Ordering::Relaxed) & !CANCELLED;
        let generation = self.generation.load(Ordering::Relaxed);
        (slot != NOT_ACCEPTED).then(|| TaskId::from_parts(slot, generation))
    }

    fn accept(&self, task: TaskId) {
        self.generation.store(task.generation(), Ordering::Relaxed);
        // Where the caller cancels it meanwhile, that may be forgotten here. The driver hears of it in
        // the mailbox, and looks for the task then.
        let cancelled = self.slot.load(Ordering::Relaxed) & CANCELLED;
        self.slot.store(task.slot() | cancelled, Ordering::Relaxed);
    }

    /// Notes that the caller wants no answer. Returns whether the driver has to know.
    fn cancel(&self) -> bool {
        self.slot.fetch_or(CANCELLED, Ordering::AcqRel) & CANCELLED == 0
            && self.state.with(|state| matches!(state, State::Waiting(_)))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<TaskResult> {
        // Dropped after the lock is held: the end of a task may be the end of its driver, which wants
        // the lock.
        let mut other = None;
        self.state.with(|state| match mem::replace(state, State::Waiting(None)) {
            State::Ended(result) => Poll::Ready(result),
            State::Waiting(Some(known)) if known.will_wake(cx.waker()) => {
                *state = State::Waiting(Some(known));
                Poll::Pending
            }
            State::Waiting(known) => {
                other = known;
                *state = State::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
    }
}

/// The driver's end. Dropping it answers [`TaskError::Closed`], so that nobody waits for ever.
#[derive(Debug)]
pub(crate) struct Promise(Option<Arc<Cell>>);

impl Promise {
    pub(crate) fn new() -> (Self, Arc<Cell>) {
        let cell = Arc::new(Cell::new());
        (Self(Some(Arc::clone(&cell))), cell)
    }

    /// Notes the task's id, for when it is cancelled later.
    pub(crate) fn accepted(&self, task: TaskId) {
        if let Some(cell) = &self.0 {
            cell.accept(task);
        }
    }

    /// Returns whether the caller has cancelled it.
    pub(crate) fn is_cancelled(&self) -> bool {
        let is_cancelled = |cell: &Arc<Cell>| cell.slot.load(Ordering::Acquire) & CANCELLED != 0;
        self.0.as_ref().is_some_and(is_cancelled)
    }

    pub(crate) fn fulfil(mut self, result: TaskResult) {
        self.settle(result);
    }

    fn settle(&mut self, result: TaskResult) {
        let Some(cell) = self.0.take() else { return };
        let before = cell.state.with(|state| mem::replace(state, State::Ended(result)));
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.settle(Err(TaskError::Closed));
    }
}

/// A task under way: a future of its answer.
///
/// Made by [`Pool::submit`](crate::Pool::submit). Dropping it cancels the task, and a worker that
/// runs it is told so; [`detach`](Task::detach) lets it run on.
#[must_use = "dropping a task cancels it; call `detach` to let it run"]
pub struct Task<A> {
    raw: RawTask,
    answer: PhantomData<fn() -> A>,
}

/// A task whose answer is of no type yet, with a way to the driver. Dropping it cancels the task.
pub(crate) struct RawTask<M: Deref<Target = Mailbox> = Arc<Mailbox>> {
    /// `None` once the answer was taken, or the task let go.
    cell: Option<Arc<Cell>>,
    mailbox: M,
}

impl<M: Deref<Target = Mailbox>> RawTask<M> {
    pub(crate) fn new(cell: Arc<Cell>, mailbox: M) -> Self {
        Self { cell: Some(cell), mailbox }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TaskResult> {
        let cell = self.cell.as_ref().expect("polled after completion");
        let result = cell.poll(cx);
        if result.is_ready() {
            self.cell = None;
        }
        result
    }

    fn cancel(&self) {
        if let Some(cell) = &self.cell {
            if cell.cancel() {
                self.mailbox.cancel(Arc::clone(cell));
            }
        }
    }
}

impl<M: Deref<Target = Mailbox>> Drop for RawTask<M> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<M: Deref<Target = Mailbox> + Unpin> Future for RawTask<M> {
    type Output = TaskResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskResult> {
        (*self).poll(cx)
    }
}

impl<A> Task<A> {
    pub(crate) fn new(raw: RawTask) -> Self {
        Self { raw, answer: PhantomData }
    }

    /// Asks the driver to cancel the task. Await it afterwards to learn which came first: the
    /// answer, or [`TaskError::Cancelled`].
    pub fn cancel(&self) {
        self.raw.cancel();
    }

    /// Lets the task run on with nobody waiting for its answer.
    pub fn detach(mut self) {
        self.raw.cell = None;
    }
}

impl<A: DeserializeOwned + 'static> Future for Task<A> {
    type Output = Result<A, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.raw.poll(cx).map(|result| result.and_then(Answer::read))
    }
}

impl<A> fmt::Debug for Task<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("cell", &self.raw.cell).finish_non_exhaustive()
    }
}

/// Decodes an answer, all of it.
pub(crate) fn decode<A: DeserializeOwned>(body: &[u8]) -> Result<A, TaskError> {
    match postcard::take_from_bytes(body) {
        Ok((answer, [])) => Ok(answer),
        Ok((_, rest)) => {
            let text = format!("{} of its {} bytes are left over", rest.len(), body.len());
            Err(TaskError::Answer(text))
        }
        Err(error) => Err(TaskError::Answer(error.to_string())),
    }
}
