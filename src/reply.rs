//! One task's outcome on its way from the driver to whoever waits for it.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use chargehand_core::TaskId;
use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::lock::Lock;
use crate::payload::Answer;
use crate::pool::Mailbox;

pub(crate) type TaskResult = Result<Answer, TaskError>;

/// Where the driver leaves the outcome and the caller finds it.
#[derive(Debug, Default)]
pub(crate) struct Cell(Lock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Set once the scheduler has accepted the task.
    task: Option<TaskId>,
    cancelled: bool,
    result: Option<TaskResult>,
    waker: Option<Waker>,
}

impl Cell {
    /// Returns the task, if the scheduler has accepted it.
    pub(crate) fn task(&self) -> Option<TaskId> {
        self.0.with(|inner| inner.task)
    }
}

/// The driver's end. Dropping it answers [`TaskError::Closed`], so that nobody waits for ever.
#[derive(Debug)]
pub(crate) struct Promise(Option<Arc<Cell>>);

impl Promise {
    pub(crate) fn new() -> (Self, Arc<Cell>) {
        let cell = Arc::new(Cell::default());
        (Self(Some(Arc::clone(&cell))), cell)
    }

    /// Notes the task's id. Returns false if the caller has cancelled before.
    pub(crate) fn accepted(&self, task: TaskId) -> bool {
        let Some(cell) = &self.0 else { return true };
        cell.0.with(|inner| {
            inner.task = Some(task);
            !inner.cancelled
        })
    }

    /// Returns whether the caller cancelled before the task was accepted.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|cell| cell.0.with(|inner| inner.cancelled))
    }

    pub(crate) fn fulfil(mut self, result: TaskResult) {
        self.settle(result);
    }

    fn settle(&mut self, result: TaskResult) {
        let Some(cell) = self.0.take() else { return };
        let waker = cell.0.with(|inner| {
            inner.result = Some(result);
            inner.waker.take()
        });
        if let Some(waker) = waker {
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

/// A task whose answer is of no type yet.
pub(crate) struct RawTask {
    /// `None` once the answer was taken, or the task let go.
    cell: Option<Arc<Cell>>,
    mailbox: Arc<Mailbox>,
}

impl RawTask {
    pub(crate) fn new(cell: Arc<Cell>, mailbox: Arc<Mailbox>) -> Self {
        Self { cell: Some(cell), mailbox }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TaskResult> {
        let cell = self.cell.as_ref().expect("polled after completion");
        let result = cell.0.with(|inner| {
            let result = inner.result.take();
            if result.is_none() {
                match &mut inner.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
            }
            result
        });
        let Some(result) = result else { return Poll::Pending };
        self.cell = None;
        Poll::Ready(result)
    }

    fn cancel(&self) {
        let Some(cell) = &self.cell else { return };
        let in_time = cell.0.with(|inner| {
            let in_time = !inner.cancelled && inner.result.is_none();
            inner.cancelled |= in_time;
            in_time
        });
        if in_time {
            self.mailbox.cancel(Arc::clone(cell));
        }
    }
}

impl Drop for RawTask {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Future for RawTask {
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
