//! The handle of a pool: what a service calls.

use alloc::borrow::ToOwned;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::task::Waker;

use async_channel::Sender;
use chargehand_core::io::Timer;
use chargehand_core::message::BODY_HEAD_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::outcomes::requests::{check_length, encode_into};
use self::task::{Calling, Queueing};
use crate::error::{QueueError, TaskError, TrySubmitError};
use crate::events::Events;
use crate::limits::Limits;
use crate::link::erased::{Kind, Local, Threaded};
use crate::mailbox::callback::Callback;
use crate::mailbox::mail::Control;
use crate::mailbox::result::TaskResult;
use crate::mailbox::{Ends, Mailbox, NotQueued, mailbox};
use crate::options::{Queue, QueueNames, TaskOptions};
use crate::payload::Body;
use crate::payload::Check;

pub(crate) mod builder;
mod checks;
mod control;
pub(crate) mod outcomes;
mod ranges;
mod task;

pub use self::{
    builder::Builder,
    checks::BuildError,
    outcomes::{
        FromStream, Heights, IntoRequests, Ledger, MapReport, Outcomes, Pull, RawRequests, Report,
        Requests, SignedLedger, Source, from_stream,
    },
    task::Task,
};

/// How many events a stream of them holds before it drops some.
const EVENTS_MAX: usize = 1024;

/// A manager's set of workers: hands out tasks and collects their outcomes.
///
/// Made with its [`Driver`](crate::Driver) by [`Pool::builder`]. It is a cheap handle: clone it freely. When the last
/// handle, [`Task`] and [`Outcomes`] are dropped, the driver drains and ends.
pub struct Pool<K: Kind = Threaded> {
    control: Sender<Control<K>>,
    mailbox: Arc<Mailbox>,
    request_bytes_max: usize,
    queues: QueueNames,
    /// Options of tasks that differ from the pool's defaults.
    options: Option<Arc<TaskOptions>>,
}

impl Pool<Threaded> {
    /// Starts to build a pool on a runtime's clock. Its driver is `Send` if the timer is.
    pub fn builder<T: Timer>(timer: T) -> Builder<T, Threaded> {
        Builder::new(timer)
    }

    /// Starts to build a pool whose transports need not be `Send`. Its driver is not `Send` either.
    pub fn local_builder<T: Timer>(timer: T) -> Builder<T, Local> {
        Builder::new(timer)
    }
}

impl<K: Kind> Pool<K> {
    /// Returns a handle of the same pool that uses these options for its calls, tasks, maps and ranges, instead of
    /// the options of this handle. See the example at [`TaskOptions`].
    ///
    /// # Panics
    /// If the options name a queue of another pool.
    #[must_use]
    pub fn with(&self, options: TaskOptions) -> Self {
        let is_own = options.queue.as_ref().is_none_or(|queue| queue.is_of(&self.queues));
        assert!(is_own, "a queue of another pool");
        Self { options: Some(Arc::new(options)), ..self.clone() }
    }

    /// Returns a handle of the same pool that traces its calls, tasks, maps and ranges: they belong to a new span
    /// `submit` within the current span. Each attempt is a span in it, and so is the handler, also at a worker
    /// elsewhere. See [`traces`](crate::traces). The span ends when the handle is dropped and its tasks are over, so
    /// make one for each of your requests:
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
    /// let block: Vec<u8> = pool.traced().call(&17_u64).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Tracing costs a few microseconds per traced task, and nothing for others.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn traced(&self) -> Self {
        let mut options = self.options.as_deref().cloned().unwrap_or_default();
        options.span = Some(crate::traces::submit());
        self.with(options)
    }

    /// Returns a queue by its name: one that was added with [`Builder::queue`], or `default`.
    ///
    /// # Errors
    /// Returns [`QueueError`], which lists the existing queues, if there is no queue of that name.
    pub fn queue(&self, name: &str) -> Result<Queue, QueueError> {
        Queue::find(name, &self.queues).ok_or_else(|| QueueError {
            name: name.to_owned(),
            known: self.queues.iter().map(|known| (**known).to_owned()).collect(),
        })
    }

    /// Returns a worker's answer to `request`. Both are encoded with postcard, except the answer of an
    /// [in-process](Builder::in_process) worker that already has the type asked for.
    ///
    /// Waits for room in the queue, then for the outcome. Dropping the future cancels the task. A task waits as long
    /// as no worker has room, in a pool without workers forever. To bound the wait, use a timeout of your runtime, or
    /// a [deadline](crate::TaskOptions::deadline), which counts from when the task is queued.
    ///
    /// Postcard does not record types, so give numbers their type: `call(&300_u64)`. A bare `call(&300)` sends an
    /// `i32`, which a handler of `u64` reads as 600. If the bytes cannot be decoded as the handler's type at all, the
    /// call ends as [`TaskError::Failed`].
    ///
    /// If you name the types, the answer comes first, here and in [`submit`](Pool::submit),
    /// [`try_submit`](Pool::try_submit) and [`map`](Pool::map). The type of the request can be inferred:
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
    /// let block = pool.call::<String, _>(&17_u64).await?;
    /// let same = pool.submit::<String, u64>(&17).await?;
    /// assert_eq!(same.await?, block);
    /// # Ok(()) }
    /// ```
    ///
    /// # Types
    ///
    /// Decoding is bounded for every type, so that a peer cannot make this process allocate far more than it sends.
    /// An answer, and a request at its worker, is refused with an error of the task if
    ///
    /// - it nests deeper than 128 options, enums, sequences and maps. Each level counts 512 bytes, and each value in
    ///   a `Box` or a collection twice its size (at most 32 KiB), of 64 KiB in total, so large values nest less
    ///   deeply. That is safe on a stack of 512 KiB in a debug build;
    /// - it would take more than 256 KiB plus 32 bytes of memory for each of its encoded bytes, computed from the
    ///   sizes of its elements. So a `Vec<Option<T>>` whose `T` has a few hundred bytes, with mostly `None`, can
    ///   have a thousand elements but not millions. A `Vec<()>` counts one byte per element.
    ///
    /// [`Builder::decode_limits`] changes these defaults, and [`Worker::decode_limits`](crate::Worker::decode_limits)
    /// those for requests. Alternatively choose a flatter type or smaller elements (a `Box` inside the option, or
    /// pairs), or ask for bytes ([`call_raw`](Pool::call_raw), or `Vec<u8>` as the answer) and decode them yourself.
    /// The types do not show, so the limits do not count, the spare capacity of collections (up to twice their
    /// elements, and up to eleven entries per `BTreeSet` or `BTreeMap`), the allocator's overhead for small boxes, and
    /// what a hand-written `Deserialize` allocates.
    ///
    /// A request or an answer that is bytes (`Vec<u8>`, `Box<[u8]>`, a slice, `String`) costs one copy. Byte fields of
    /// a struct are encoded and decoded element by element, 64 KiB in a tenth of a millisecond, unless they are marked
    /// `#[serde(with = "serde_bytes")]` (crate `serde_bytes`). The encoding is the same, so one side may do this alone.
    ///
    /// The driver decodes each answer as `A` before it counts, within its own future, so a `Deserialize` of yours
    /// should not block. If an answer is of another type, the task is tried on another worker. That shows whether the
    /// first worker is broken, which is then suspended, or whether manager and workers disagree on the type, which is
    /// [`TaskError::Answer`].
    ///
    /// # Errors
    /// Returns the [`TaskError`] that says why there is no answer.
    pub async fn call<A, Q>(&self, request: &Q) -> Result<A, TaskError>
    where
        A: DeserializeOwned + Send + 'static,
        Q: Serialize + ?Sized,
    {
        // Encoded where it stays until it is queued: decision 0010.
        let mut calling = self.calling(self.check::<A>());
        self.encode(request, calling.body())?;
        match (&mut calling).await {
            // Read where it is.
            Ok(ref mut answer) => answer.read(self.mailbox.decode_limits()),
            Err(error) => Err(*error),
        }
    }

    /// Returns a worker's answer to `request`, without encoding either.
    ///
    /// # Errors
    /// As [`call`](Pool::call), except for those of the encoding.
    pub async fn call_raw(&self, request: Vec<u8>) -> Result<Vec<u8>, TaskError> {
        // The answer may have the request's memory, if both are short.
        let mut calling = self.calling(Check::RAW);
        let spare = calling.body().take_in(request);
        check_length(calling.body(), self.request_bytes_max)?;
        match (&mut calling).await {
            Ok(ref mut answer) => answer.take_bytes(spare),
            Err(error) => Err(*error),
        }
    }

    /// Queues `request`, waiting for room, and returns the task under way: a future of its answer.
    ///
    /// Dropping this future before it completes queues nothing.
    ///
    /// # Errors
    /// Returns [`TaskError::Request`] if the request cannot be encoded or is too long, and
    /// [`TaskError::Closed`] if the driver is gone.
    pub async fn submit<A, Q>(&self, request: &Q) -> Result<Task<A>, TaskError>
    where
        A: DeserializeOwned + Send + 'static,
        Q: Serialize + ?Sized,
    {
        let mut queueing = Queueing::new(self.check::<A>(), self.options.as_ref());
        self.encode(request, &mut queueing.body)?;
        let call = poll_fn(|cx| queueing.poll(&self.mailbox, cx, false)).await?;
        Ok(Task::new(call, Arc::clone(&self.mailbox)))
    }

    /// Queues `request` if there is room now.
    ///
    /// # Errors
    /// Returns [`TrySubmitError::Full`], with the request, if there is no room.
    pub fn try_submit<A, Q>(&self, request: Q) -> Result<Task<A>, TrySubmitError<Q>>
    where
        A: DeserializeOwned + Send + 'static,
        Q: Serialize,
    {
        let mut body = Body::EMPTY;
        self.encode(&request, &mut body).map_err(TrySubmitError::Refused)?;
        match self.mailbox.submit(&mut body, self.check::<A>(), None, self.options.as_ref()) {
            Ok(call) => Ok(Task::new(call, Arc::clone(&self.mailbox))),
            Err(NotQueued::Full | NotQueued::Short) => Err(TrySubmitError::Full(request)),
            Err(NotQueued::Closed) => Err(TrySubmitError::Refused(TaskError::Closed)),
        }
    }

    /// Queues `request`, waiting for room, and calls `then` with the outcome, whatever it is.
    ///
    /// The callback runs within the [`Driver`](crate::Driver), at the end of the poll in which the outcome came, after
    /// all links were served. A task is not over until its callback has returned: [`idle`](Pool::idle) and
    /// [`stop`](Pool::stop) wait for it, so after them every outcome was *handled*. Callbacks run one at a time, and
    /// the driver does nothing else meanwhile. Let them count, store, send to a channel or spawn; if the outcome needs
    /// computing or blocking, [`submit`](Pool::submit) the task and await it in a task of your own. With `std`, a panic
    /// in a callback is contained and reported as
    /// [`PoolEvent::CallbackPanicked`](crate::PoolEvent::CallbackPanicked).
    ///
    /// If the driver is dropped, the callback is called with [`TaskError::Closed`]. Dropping this future before it
    /// completes queues nothing, and the callback is not called.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    ///
    /// static FAILED: AtomicU64 = AtomicU64::new(0);
    ///
    /// # async fn f(pool: chargehand::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// for height in 1..=1000_u64 {
    ///     pool.submit_then(&height, move |block: Result<Vec<u8>, _>| match block {
    ///         Ok(block) => println!("{height}: {} bytes", block.len()),
    ///         Err(_) => drop(FAILED.fetch_add(1, Relaxed)),
    ///     })
    ///     .await?;
    /// }
    /// pool.idle().await?;
    /// println!("all handled, {} failed", FAILED.load(Relaxed));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`submit`](Pool::submit). The request was not queued then, and the callback is not called.
    pub async fn submit_then<A, Q>(
        &self,
        request: &Q,
        then: impl FnOnce(Result<A, TaskError>) + Send + 'static,
    ) -> Result<(), TaskError>
    where
        A: DeserializeOwned + Send + 'static,
        Q: Serialize + ?Sized,
    {
        let mut queueing = Queueing::new(self.check::<A>(), self.options.as_ref());
        self.encode(request, &mut queueing.body)?;
        let limits = *self.mailbox.decode_limits();
        let read = move |result: TaskResult| result.map_err(|error| *error)?.read(&limits);
        let mut callback = Some(Callback::new(move |result| then(read(result))));
        poll_fn(|cx| queueing.poll_then(&self.mailbox, cx, &mut callback)).await
    }

    /// Returns a stream of the pool's events from now on. It buffers at most 1024 of them; if they are not read in
    /// time, later ones are dropped and counted in [`PoolEvent::Missed`](crate::PoolEvent::Missed).
    pub fn events(&self) -> Events {
        self.listen(false)
    }

    /// Returns a stream like [`events`](Pool::events) that also has [`PoolEvent::Started`](crate::PoolEvent::Started)
    /// for each task that is given to a worker, and [`PoolEvent::Progress`](crate::PoolEvent::Progress). It must be
    /// read as fast as tasks are sent, and costs an event per task as long as it exists.
    pub fn all_events(&self) -> Events {
        self.listen(true)
    }

    fn listen(&self, wants_tasks: bool) -> Events {
        let (listener, events) = Events::new(EVENTS_MAX, wants_tasks);
        self.mailbox.listen(listener);
        events
    }

    /// Returns what the answer of a call is held against.
    #[inline]
    fn check<A: DeserializeOwned + Send + 'static>(&self) -> Check {
        match &self.options {
            Some(options) if options.is_unique() => Check::of_shared::<A>(),
            _ => Check::of::<A>(),
        }
    }

    #[inline]
    fn calling(&self, check: Check) -> Calling<'_> {
        Calling::new(Queueing::new(check, self.options.as_ref()), &self.mailbox)
    }

    /// Encodes a request into an empty body.
    #[inline]
    fn encode<Q: Serialize + ?Sized>(&self, request: &Q, body: &mut Body) -> Result<(), TaskError> {
        encode_into(request, body)?;
        check_length(body, self.request_bytes_max)
    }
}

impl<K: Kind> Clone for Pool<K> {
    fn clone(&self) -> Self {
        Self {
            control: self.control.clone(),
            mailbox: Arc::clone(&self.mailbox),
            request_bytes_max: self.request_bytes_max,
            queues: Arc::clone(&self.queues),
            options: self.options.clone(),
        }
    }
}

impl<K: Kind> fmt::Debug for Pool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("queued", &self.mailbox.queued()).finish_non_exhaustive()
    }
}

/// Makes a handle and the driver's ends of it.
pub(crate) fn handle<K: Kind>(doorbell: Waker, limits: &Limits) -> (Pool<K>, Ends<K>) {
    let request_bytes_max = limits.frame_bytes_max as usize - BODY_HEAD_BYTES_MAX;
    let queues = limits.queues.iter().map(|(name, _)| Arc::clone(name)).collect();
    let (control, mailbox, ends) = mailbox(doorbell, limits);
    (Pool { control, mailbox, request_bytes_max, queues, options: None }, ends)
}
