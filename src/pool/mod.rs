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

/// A manager's set of workers: gives tasks out and gets their outcomes.
///
/// Made with its [`Driver`](crate::Driver) by [`Pool::builder`]. A cheap handle: clone it freely.
/// When the last handle, [`Task`] and [`Outcomes`] are dropped, the driver drains and ends.
pub struct Pool<K: Kind = Threaded> {
    control: Sender<Control<K>>,
    mailbox: Arc<Mailbox>,
    request_bytes_max: usize,
    queues: QueueNames,
    /// How tasks are done, where not as the pool says.
    options: Option<Arc<TaskOptions>>,
}

impl Pool<Threaded> {
    /// Starts a pool on a runtime's clock. Its driver is `Send` if the timer is.
    pub fn builder<T: Timer>(timer: T) -> Builder<T, Threaded> {
        Builder::new(timer)
    }

    /// Starts a pool whose transports need not be `Send`; nor is its driver.
    pub fn local_builder<T: Timer>(timer: T) -> Builder<T, Local> {
        Builder::new(timer)
    }
}

impl<K: Kind> Pool<K> {
    /// Returns a handle of the same pool whose calls, tasks, maps and ranges are done as these options say,
    /// instead of as this one's. An example is at [`TaskOptions`].
    ///
    /// # Panics
    /// If the options name a queue of another pool.
    #[must_use]
    pub fn with(&self, options: TaskOptions) -> Self {
        let is_own = options.queue.as_ref().is_none_or(|queue| queue.is_of(&self.queues));
        assert!(is_own, "a queue of another pool");
        Self { options: Some(Arc::new(options)), ..self.clone() }
    }

    /// Returns a handle of the same pool whose calls, tasks, maps and ranges belong to a new span, `submit`, within the
    /// one that is current: each of their attempts is a span in it, and so is the handler that runs, also at a worker
    /// elsewhere. See [`traces`](crate::traces). The span ends once the handle is dropped and its tasks are over, so
    /// make one for each request of yours:
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::TaskError> {
    /// let block: Vec<u8> = pool.traced().call(&17_u64).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A task that is done so costs some microseconds, others nothing.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn traced(&self) -> Self {
        let mut options = self.options.as_deref().cloned().unwrap_or_default();
        options.span = Some(crate::traces::submit());
        self.with(options)
    }

    /// Returns a queue by its name: one that [`Builder::queue`] was told of, or `default`.
    ///
    /// # Errors
    /// Returns [`QueueError`], which names the queues there are, if there is none of that name.
    pub fn queue(&self, name: &str) -> Result<Queue, QueueError> {
        Queue::find(name, &self.queues).ok_or_else(|| QueueError {
            name: name.to_owned(),
            known: self.queues.iter().map(|known| (**known).to_owned()).collect(),
        })
    }

    /// Returns a worker's answer to `request`, both encoded by postcard. Only the answer of a
    /// [in-process](Builder::in_process) worker is not, where it is of the type asked for.
    ///
    /// Waits for room in the queue, then for the outcome. Dropping the future cancels the task. A task
    /// waits for as long as no worker has room, for ever in a pool that nobody joins: bound the wait
    /// with a timeout of your runtime's where that matters.
    ///
    /// Postcard's encoding does not say of which type it is, so give numbers their type:
    /// `call(&300_u64)`. A bare `call(&300)` sends an `i32`, which a handler of `u64` reads as 600. Where
    /// the bytes are not of the handler's type at all, its worker says so: [`TaskError::Failed`].
    ///
    /// Where the types are given, the answer's comes first, here and in [`submit`](Pool::submit),
    /// [`try_submit`](Pool::try_submit) and [`map`](Pool::map), and the request's may be left out:
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
    /// What a peer sends cannot take more of this process than its bytes warrant, whatever the type.
    /// An answer, and a request at its worker, is refused as the task's own error where
    ///
    /// - it nests deeper than 128 options, enums, sequences and maps in each other. Each level counts
    ///   512 bytes and each value in a `Box` or a collection twice its size (32 KiB at most) of 64 KiB in
    ///   all, so large ones nest less deep. That is safe on a stack of 512 KiB in a debug build;
    /// - it would take more than 256 KiB and 32 bytes for each of its bytes in memory, reckoned from the
    ///   sizes of its elements. So a `Vec<Option<T>>` with a `T` of some hundred bytes, most of which are
    ///   `None`, is good for a thousand elements and not for millions. A `Vec<()>` counts one byte for
    ///   each.
    ///
    /// These are the defaults: [`Builder::decode_limits`] sets others, and
    /// [`Worker::decode_limits`](crate::Worker::decode_limits) for requests. Or choose a flatter type, smaller
    /// elements (a `Box` in an option, pairs in place of it), or take bytes, [`call_raw`](Pool::call_raw) or a `Vec<u8>` for an answer, and decode them as you
    /// see fit. Not counted is what no type shows: the spare room of collections (up to twice their
    /// elements, and up to eleven entries for each `BTreeSet` or `BTreeMap`), what an allocator adds to
    /// small boxes, and what a `Deserialize` written by hand takes by itself.
    ///
    /// Bytes as a request or an answer cost a copy: a `Vec<u8>`, a `Box<[u8]>`, a slice, a `String`. In
    /// a struct they are encoded and decoded an element at a time, 64 KiB in a tenth of a millisecond,
    /// unless the field has `#[serde(with = "serde_bytes")]` of the crate `serde_bytes`. The encoding is
    /// the same either way, so one end may have it alone.
    ///
    /// The driver holds each answer against `A` before it counts, in its own time, so a `Deserialize`
    /// of yours should not block. One that is of another type is tried on another worker, whose
    /// answer shows whether the first is broken, and then suspended, or whether manager and workers
    /// disagree on the type: [`TaskError::Answer`].
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

    /// Returns a worker's answer to `request`, both as they are.
    ///
    /// # Errors
    /// As [`call`](Pool::call), without the encoding.
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

    /// Queues `request`, waiting for room, and has `then` called with the outcome, whatever it is.
    ///
    /// The callback runs within the [`Driver`](crate::Driver), at the end of the poll in which the
    /// outcome came, when all links have been served. Until it returns its task is not over:
    /// [`idle`](Pool::idle) and [`stop`](Pool::stop) wait for it, so after them every outcome was
    /// *handled*. No two run at the same time, and the driver does nothing else meanwhile: let it count,
    /// keep, send to a channel or spawn, and where it has to compute or block, [`submit`](Pool::submit)
    /// and await the task in one of your own instead. With `std`, a panic in it ends nothing else, and is
    /// told as [`PoolEvent::CallbackPanicked`](crate::PoolEvent::CallbackPanicked).
    ///
    /// Where the driver is dropped, its drop calls with [`TaskError::Closed`]. Dropping this future before
    /// it completes queues nothing, and calls nothing.
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
    /// As [`submit`](Pool::submit). Nothing was queued then, and nothing is called.
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

    /// Returns a stream of what happens from now on. It holds at most 1024 events; if they are not
    /// taken in time, later ones are dropped and counted as [`PoolEvent::Missed`](crate::PoolEvent::Missed).
    pub fn events(&self) -> Events {
        self.listen(false)
    }

    /// Returns a stream as [`events`](Pool::events) does, which also has
    /// [`PoolEvent::Started`](crate::PoolEvent::Started) for each task that a worker takes from now on. So it
    /// has to be read as fast as tasks are sent. Costs an event for each task as long as it is there.
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
