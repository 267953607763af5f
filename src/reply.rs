//! One task's outcome on its way from the driver to whoever waits for it.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::mem;
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};

use serde::de::DeserializeOwned;

use crate::calls::CallId;
use crate::error::TaskError;
use crate::mailbox::Mailbox;
use crate::payload::Answer;

pub(crate) type TaskResult = Result<Answer, TaskError>;

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
    call: Option<CallId>,
    /// Queued with the waker of this very poll, so that it need not look.
    is_fresh: bool,
    mailbox: M,
}

impl<M: Deref<Target = Mailbox>> RawTask<M> {
    pub(crate) fn new(call: CallId, mailbox: M) -> Self {
        Self { call: Some(call), is_fresh: false, mailbox }
    }

    /// One that was queued with the waker that it is to be polled with at once.
    pub(crate) fn fresh(call: CallId, mailbox: M) -> Self {
        Self { call: Some(call), is_fresh: true, mailbox }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TaskResult> {
        if mem::take(&mut self.is_fresh) {
            return Poll::Pending;
        }
        let call = self.call.expect("polled after completion");
        let result = self.mailbox.poll(call, cx);
        if result.is_ready() {
            self.call = None;
        }
        result
    }

    fn cancel(&self) {
        if let Some(call) = self.call {
            self.mailbox.cancel(call);
        }
    }

    fn leave(&mut self, cancels: bool) {
        if let Some(call) = self.call.take() {
            self.mailbox.leave(call, cancels);
        }
    }
}

impl<M: Deref<Target = Mailbox>> Drop for RawTask<M> {
    fn drop(&mut self) {
        self.leave(true);
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
        self.raw.leave(false);
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
        f.debug_struct("Task").field("call", &self.raw.call).finish_non_exhaustive()
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
