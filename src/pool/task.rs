//! One task's outcome on its way from the driver to whoever waits for it.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use chargehand_core::QueueId;
use event_listener::EventListener;
use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::events::{Started, TaskProgress};
use crate::mailbox::callback::Callback;
use crate::mailbox::calls::CallId;
use crate::mailbox::mail::{TaskWatch, Wanted};
use crate::mailbox::result::TaskResult;
use crate::mailbox::{Mailbox, NotQueued};
use crate::options::TaskOptions;
use crate::payload::Body;
use crate::payload::Check;

/// A task under way: a future of its answer.
///
/// Made by [`Pool::submit`](crate::Pool::submit). Dropping it cancels the task, also at the worker that runs it;
/// [`detach`](Task::detach) lets it go on.
#[must_use = "dropping a task cancels it; call `detach` to let it run"]
pub struct Task<A> {
    /// `None` once the answer was taken, or the task let go.
    call: Option<CallId>,
    mailbox: Arc<Mailbox>,
    /// How far it is, as it was told last.
    known: Option<TaskProgress>,
    answer: PhantomData<fn() -> A>,
}

/// A task that waits for room in the queue.
#[derive(Debug)]
pub(crate) struct Queueing<'a> {
    /// Empty once it is queued.
    pub(crate) body: Body,
    check: Check,
    options: Option<&'a Arc<TaskOptions>>,
    room: FoundRoom,
}

#[derive(Debug)]
enum FoundRoom {
    /// There may be some.
    Unknown,
    /// There was none, but there may be some since then.
    Listening(Lack, EventListener),
    /// There was none since it is listened for.
    None(Lack, EventListener),
}

/// What there is no room in. They are waited for apart: who waits for memory cannot use a place in the queue,
/// and of a place as many are told as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Queue,
    Memory,
}

impl<'a> Queueing<'a> {
    /// Makes one whose body is to be put in its place.
    pub(crate) fn new(check: Check, options: Option<&'a Arc<TaskOptions>>) -> Self {
        Self { body: Body::EMPTY, check, options, room: FoundRoom::Unknown }
    }

    /// Queues the task once there is room. If the caller `waits` for its outcome at once, it is woken
    /// for that.
    pub(crate) fn poll(
        &mut self,
        mailbox: &Mailbox,
        cx: &mut Context<'_>,
        waits: bool,
    ) -> Poll<Result<CallId, TaskError>> {
        self.poll_with(mailbox, cx, |Self { body, check, options, .. }, cx| {
            mailbox.submit(body, *check, waits.then_some(cx.waker()), *options)
        })
    }

    /// Queues the task once there is room. The driver is to call `callback` with its outcome.
    pub(crate) fn poll_then(
        &mut self,
        mailbox: &Mailbox,
        cx: &mut Context<'_>,
        callback: &mut Option<Callback>,
    ) -> Poll<Result<(), TaskError>> {
        self.poll_with(mailbox, cx, |Self { body, check, options, .. }, _| {
            mailbox.submit_then(body, *check, callback, *options)
        })
    }

    fn queue(&self) -> QueueId {
        self.options.map_or(QueueId::DEFAULT, |options| options.queue_id())
    }

    #[inline]
    fn poll_with<R>(
        &mut self,
        mailbox: &Mailbox,
        cx: &mut Context<'_>,
        mut submit: impl FnMut(&mut Self, &Context<'_>) -> Result<R, NotQueued>,
    ) -> Poll<Result<R, TaskError>> {
        let mut has_place = false;
        loop {
            if let FoundRoom::None(lack, listener) = &mut self.room {
                ready!(Pin::new(listener).poll(cx));
                has_place |= *lack == Lack::Queue;
                self.room = FoundRoom::Unknown;
            }
            match submit(self, cx) {
                Ok(queued) => return Poll::Ready(Ok(queued)),
                Err(NotQueued::Closed) => return Poll::Ready(Err(TaskError::Closed)),
                Err(NotQueued::Full) => {
                    self.room.found_none(mailbox, Lack::Queue, self.queue());
                }
                Err(NotQueued::Short) => {
                    if mem::take(&mut has_place) {
                        mailbox.pass_place_on(self.queue());
                    }
                    self.room.found_none(mailbox, Lack::Memory, self.queue());
                }
            }
        }
    }
}

impl FoundRoom {
    fn found_none(&mut self, mailbox: &Mailbox, lack: Lack, queue: QueueId) {
        *self = match mem::replace(self, Self::Unknown) {
            Self::Listening(same, listener) if same == lack => Self::None(lack, listener),
            _ => Self::Listening(
                lack,
                match lack {
                    Lack::Queue => mailbox.listen_for_place(queue),
                    Lack::Memory => mailbox.listen_for_memory(),
                },
            ),
        };
    }
}

/// A future of the outcome of a task whose caller waits for it from the beginning. Dropping it cancels
/// the task.
pub(crate) struct Calling<'a> {
    mailbox: &'a Mailbox,
    queueing: Queueing<'a>,
    /// Once it is queued, until the outcome was taken.
    call: Option<CallId>,
}

impl<'a> Calling<'a> {
    pub(crate) fn new(queueing: Queueing<'a>, mailbox: &'a Mailbox) -> Self {
        Self { mailbox, queueing, call: None }
    }

    /// Where the request is to be put before it is polled.
    pub(crate) fn body(&mut self) -> &mut Body {
        &mut self.queueing.body
    }
}

impl Future for Calling<'_> {
    type Output = TaskResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskResult> {
        let Self { mailbox, queueing, call } = &mut *self;
        if let Some(queued) = *call {
            let result = mailbox.poll(queued, cx);
            if result.is_ready() {
                *call = None;
            }
            return result;
        }
        match ready!(queueing.poll(mailbox, cx, true)) {
            // With the waker of this poll: there is no need to look.
            Ok(queued) => *call = Some(queued),
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Poll::Pending
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.mailbox.leave(call, true);
        }
    }
}

impl<A> Task<A> {
    pub(crate) fn new(call: CallId, mailbox: Arc<Mailbox>) -> Self {
        Self { call: Some(call), mailbox, known: None, answer: PhantomData }
    }

    /// Waits until the task is given to a worker, and returns which one. Returns `None` if the task ends first: it
    /// was cancelled, its deadline passed, the pool or its driver stopped, or its outcome is already there.
    ///
    /// A worker has taken it when the request is on its way to that worker, where it may wait for others
    /// that came before. If that link is lost, the task goes to another worker: ask again, and the answer is
    /// who has it now, or the next one that takes it, with a higher
    /// [`attempt`](Started::attempt). Dropping the future changes nothing.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
    /// let mut task = pool.submit::<Vec<u8>, _>(&17_u64).await?;
    /// if let Some(started) = task.started().await {
    ///     println!("{} has it", started.peer);
    /// }
    /// let block = task.await?;
    /// # Ok(()) }
    /// ```
    pub async fn started(&mut self) -> Option<Started> {
        let (reply, answer) = async_channel::bounded(1);
        self.mailbox.watch(TaskWatch { call: self.call?, wanted: Wanted::Start(reply) });
        answer.recv().await.ok()
    }

    /// Waits until the task is further than this was told before, and says how far. `None` where it ends
    /// first, as for [`started`](Self::started): its outcome is there then.
    ///
    /// Handlers report progress with [`Context::progress`](crate::Context::progress). Of the reports that come while
    /// nobody waits only the latest is kept, and returned at once. Dropping the future has no effect.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
    /// let mut task = pool.submit::<Vec<u8>, _>(&17_u64).await?;
    /// while let Some(progress) = task.progress().await {
    ///     println!("{progress}"); // w1: task 3: 7 of 10 done
    /// }
    /// let block = task.await?;
    /// # Ok(()) }
    /// ```
    pub async fn progress(&mut self) -> Option<TaskProgress> {
        let (reply, answer) = async_channel::bounded(1);
        let known = self.known.clone();
        let wanted = Wanted::Progress { known, reply };
        self.mailbox.watch(TaskWatch { call: self.call?, wanted });
        self.known = answer.recv().await.ok();
        self.known.clone()
    }

    /// Returns what the task is doing now and why, as the scheduler decides it: which worker has it, or what it waits
    /// for and what would change that. Returns `None` if the driver is gone. Dropping the future has no effect.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
    /// let mut task = pool.submit::<Vec<u8>, _>(&17_u64).await?;
    /// if let Some(explanation) = task.explain().await {
    ///     println!("{explanation}"); // task 0.0 waits for a worker: none is connected. What would change it: ..
    /// }
    /// let block = task.await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "std")]
    pub async fn explain(&mut self) -> Option<crate::explain::TaskExplanation> {
        let (reply, answer) = async_channel::bounded(1);
        let wanted = Wanted::Explanation(reply);
        self.mailbox.watch(TaskWatch { call: self.call?, wanted });
        answer.recv().await.ok()
    }

    /// Asks the driver to cancel the task. Await the task afterwards to learn which came first, the answer or
    /// [`TaskError::Cancelled`].
    pub fn cancel(&self) {
        if let Some(call) = self.call {
            self.mailbox.cancel(call);
        }
    }

    /// Lets the task go on without waiting for its answer.
    pub fn detach(mut self) {
        self.leave(false);
    }

    fn leave(&mut self, cancels: bool) {
        if let Some(call) = self.call.take() {
            self.mailbox.leave(call, cancels);
        }
    }
}

impl<A: DeserializeOwned + Send + 'static> Future for Task<A> {
    type Output = Result<A, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.call.expect("polled after completion");
        let result = ready!(self.mailbox.poll(call, cx));
        self.call = None;
        Poll::Ready(match result {
            Ok(mut answer) => answer.read(self.mailbox.decode_limits()),
            Err(error) => Err(*error),
        })
    }
}

impl<A> Drop for Task<A> {
    fn drop(&mut self) {
        self.leave(true);
    }
}

impl<A> fmt::Debug for Task<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("call", &self.call).finish_non_exhaustive()
    }
}
