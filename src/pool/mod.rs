//! The handle of a pool: what a service calls.

use alloc::borrow::ToOwned;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::task::Waker;
use core::time::Duration;

use async_channel::Sender;
#[cfg(doc)]
use chargehand_core::QueueOptions;
use chargehand_core::WorkerId;
use chargehand_core::io::{Connect, Timer};
use chargehand_core::ledger::Height;
use chargehand_core::message::BODY_HEAD_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::outcomes::requests::{Mapped, check_length, encode};
use self::task::{Calling, Queueing};
#[cfg(feature = "std")]
use crate::driver::explain::Question;
use crate::error::{Closed, QueueError, TaskError, TrySubmitError, WorkerError};
use crate::events::Events;
use crate::handler::HandlerFn;
use crate::limits::Limits;
use crate::link::erased::{Connector, Holds, InProcessFn, Kind, Local, Reach, Threaded};
use crate::link::reason::BoxError;
use crate::mailbox::callback::Callback;
use crate::mailbox::range::LedgerOf;
use crate::mailbox::result::TaskResult;
use crate::mailbox::{Control, Ends, Mailbox, NotQueued, mailbox};
use crate::options::{Queue, QueueNames, TaskOptions, WorkerOptions};
use crate::payload::Body;
use crate::payload::Check;
use crate::stats::PoolStats;

pub(crate) mod builder;
pub(crate) mod outcomes;
mod task;

pub use self::{
    builder::{BuildError, Builder},
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

    /// Stops a queue: none of its tasks is sent until it is [resumed](Pool::resume), be they new or tried
    /// again. Those that workers hold go on, and new ones are queued as far as there is room.
    ///
    /// [`idle`](Pool::idle) waits for what waits in it, and [`stop`](Pool::stop) up to its deadline.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    ///
    /// # Panics
    /// If it is a queue of another pool.
    pub async fn pause(&self, queue: &Queue) -> Result<(), Closed> {
        self.set_paused(queue, true).await
    }

    /// Lets a queue go on that was [stopped](Pool::pause), or that began [so](QueueOptions::paused).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    ///
    /// # Panics
    /// If it is a queue of another pool.
    pub async fn resume(&self, queue: &Queue) -> Result<(), Closed> {
        self.set_paused(queue, false).await
    }

    async fn set_paused(&self, queue: &Queue, is_paused: bool) -> Result<(), Closed> {
        assert!(queue.is_of(&self.queues), "a queue of another pool");
        let queue = queue.id();
        self.ask(|reply| Control::Pause { queue, is_paused, reply }).await
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
        let mut answer =
            self.calling(self.encode(request)?, self.check::<A>()).await.map_err(|error| *error)?;
        answer.read(self.mailbox.decode_limits())
    }

    /// Returns a worker's answer to `request`, both as they are.
    ///
    /// # Errors
    /// As [`call`](Pool::call), without the encoding.
    pub async fn call_raw(&self, request: Vec<u8>) -> Result<Vec<u8>, TaskError> {
        // The answer may have the request's memory, if both are short.
        let (body, spare) = Body::reusing(request);
        check_length(&body, self.request_bytes_max)?;
        self.calling(body, Check::RAW).await.map_err(|error| *error)?.into_bytes(spare)
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
        let body = self.encode(request)?;
        let mut queueing = Queueing::new(body, self.check::<A>(), self.options.as_ref());
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
        let body = self.encode(&request).map_err(TrySubmitError::Refused)?;
        match self.mailbox.submit(&mut Some(body), self.check::<A>(), None, self.options.as_ref()) {
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
        let body = self.encode(request)?;
        let mut queueing = Queueing::new(body, self.check::<A>(), self.options.as_ref());
        let limits = *self.mailbox.decode_limits();
        let read = move |result: TaskResult| result.map_err(|error| *error)?.read(&limits);
        let mut callback = Some(Callback::new(move |result| then(read(result))));
        poll_fn(|cx| queueing.poll_then(&self.mailbox, cx, &mut callback)).await
    }

    /// Returns a stream of every height of a range with its outcome. The request is the height as a
    /// postcard `u64`. [`Outcomes`] has the options: in order, stop at a failure.
    ///
    /// A height whose handler failed is tried once more, elsewhere if another worker serves:
    /// [`TaskOptions::retries`] changes that. Answers are bounded as those of [`call`](Pool::call).
    ///
    /// Takes a range such as `1..=20_000_000`, or a ledger of which some is done already: what is
    /// not done is, what failed the last time included. The range starts when the stream is first
    /// polled.
    pub fn process<A>(&self, heights: impl Into<Ledger>) -> Outcomes<A>
    where
        A: DeserializeOwned + Send + 'static,
    {
        self.ranged(heights.into(), Check::of::<A>())
    }

    /// Returns a stream as [`process`](Pool::process) does, of heights of type `i64`, as peers of the
    /// Go package `worker` have them. The request is the height as a postcard `i64`, so handlers
    /// take that type.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) {
    /// let report = pool
    ///     .process_signed::<()>(-10..=10)
    ///     .each(|height, outcome| println!("{height}: {outcome:?}"))
    ///     .await;
    /// assert!(report.is_complete());
    /// # }
    /// ```
    pub fn process_signed<A>(&self, heights: impl Into<SignedLedger>) -> Outcomes<A, Heights<i64>>
    where
        A: DeserializeOwned + Send + 'static,
    {
        self.ranged(heights.into(), Check::of::<A>())
    }

    /// Returns a stream of every request with its outcome: of whatever can be iterated over, or of a stream
    /// by way of [`from_stream`]. It has the options of a range, and is a range otherwise:
    /// [`process`](Pool::process) is the case of heights.
    ///
    /// Requests are taken out of their source while fewer than [`ahead`](Outcomes::ahead) says are under
    /// way or untaken, and whenever the stream is polled. One whose encoder fails or panics, or
    /// that is too long, has [`TaskError::Request`] for its outcome, and the map goes on. Each is kept until its outcome is
    /// returned with it.
    ///
    /// If the source panics, so does the poll; after that the map goes on with the requests that it has,
    /// and ends.
    ///
    /// ```
    /// # #[derive(Debug, serde::Deserialize)]
    /// # struct Page;
    /// #[derive(serde::Serialize)]
    /// struct Fetch { url: String, depth: u8 }
    ///
    /// # async fn f(pool: chargehand::Pool, urls: Vec<String>) {
    /// let requests = urls.into_iter().map(|url| Fetch { url, depth: 1 });
    /// let mut pages = pool.map::<Page, _>(requests).in_order(64);
    /// while let Some((fetch, page)) = pages.next().await {
    ///     match page {
    ///         Ok(page) => println!("{}: {page:?}", fetch.url),
    ///         Err(error) => eprintln!("{} at depth {}: {error}", fetch.url, fetch.depth),
    ///     }
    /// }
    /// assert!(pages.report().is_complete());
    /// # }
    /// ```
    pub fn map<A, R>(&self, requests: R) -> Outcomes<A, Requests<R::Pull>>
    where
        A: DeserializeOwned + Send + 'static,
        R: IntoRequests<Request: Serialize>,
    {
        self.mapped(requests, encode, Check::of::<A>())
    }

    /// Returns a stream as [`map`](Pool::map) does, of requests that are bytes, with answers as they are.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool, files: Vec<Vec<u8>>) {
    /// let mut packed = pool.map_raw(files);
    /// while let Some((file, outcome)) = packed.next().await {
    ///     println!("{} bytes became {:?}", file.len(), outcome.map(|bytes| bytes.len()));
    /// }
    /// # }
    /// ```
    pub fn map_raw<R>(&self, requests: R) -> Outcomes<Vec<u8>, RawRequests<R::Pull>>
    where
        R: IntoRequests<Request: AsRef<[u8]>>,
    {
        self.mapped(requests, |request| Ok(Body::from(request.as_ref())), Check::RAW)
    }

    fn mapped<A, R: IntoRequests, E>(
        &self,
        requests: R,
        encode: fn(&R::Request) -> Result<Body, TaskError>,
        check: Check,
    ) -> Outcomes<A, Mapped<R::Pull, E>> {
        let pull = requests.into_pull();
        let source = Mapped::new(pull, encode, self.request_bytes_max, self.mailbox.ahead_max());
        Outcomes::new(source, Arc::clone(&self.mailbox), self.options.clone(), check)
    }

    fn ranged<A, H: Height>(&self, heights: LedgerOf<H>, check: Check) -> Outcomes<A, Heights<H>> {
        Outcomes::of_heights(heights, Arc::clone(&self.mailbox), self.options.clone(), check)
    }

    /// Does a range of heights as [`process`](Pool::process) does, calls `on_outcome` for each
    /// height in the order in which outcomes come, and returns what became of the range.
    ///
    /// Outcomes are not taken faster than `on_outcome` returns, so it holds the workers up if it is
    /// slow. Dropping the future cancels what is in flight; if `on_outcome` panics, so does that.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) {
    /// let report = pool
    ///     .for_each::<Vec<u8>>(1..=1000, |height, outcome| match outcome {
    ///         Ok(block) => println!("{height}: {} bytes", block.len()),
    ///         Err(error) => println!("{height}: {error}"),
    ///     })
    ///     .await;
    /// assert!(report.is_complete());
    /// # }
    /// ```
    pub async fn for_each<A: DeserializeOwned + Send + 'static>(
        &self,
        heights: impl Into<Ledger>,
        on_outcome: impl FnMut(u64, Result<A, TaskError>),
    ) -> Report {
        self.process(heights).each(on_outcome).await
    }

    /// Adds a worker that the manager dials, at once, and returns its id. It is used as `options` say, of
    /// which [`WorkerOptions::new`] says nothing.
    ///
    /// # Errors
    /// Returns [`WorkerError::Full`] if the pool has `workers_max` workers, and
    /// [`WorkerError::NoWindow`] if it is given a window of 0.
    pub async fn add<C>(&self, connect: C, options: WorkerOptions) -> Result<WorkerId, WorkerError>
    where
        C: Connect,
        C::Error: Into<BoxError>,
        K::Connector: Holds<Connector<C>>,
    {
        self.add_by(Reach::Dial(K::Connector::boxed(Connector::new(connect))), options).await
    }

    /// Adds a worker inside this process, as [`Builder::in_process`] does, and returns its id.
    ///
    /// # Errors
    /// As [`add`](Pool::add).
    pub async fn add_in_process<F, Args>(
        &self,
        handler: F,
        options: WorkerOptions,
    ) -> Result<WorkerId, WorkerError>
    where
        F: HandlerFn<Args>, // Said for its own errors; the next line is shown in the others.
        F: InProcessFn<K, Args>, // `Send` if the pool is `Threaded`; `Pool::local_builder` takes any.
    {
        self.add_by(Reach::InProcess(handler.boxed()), options).await
    }

    async fn add_by(
        &self,
        reach: Reach<K>,
        options: WorkerOptions,
    ) -> Result<WorkerId, WorkerError> {
        if options.is_idle() {
            return Err(WorkerError::NoWindow);
        }
        let answer = self.ask(|reply| Control::Add { reach, options, reply }).await;
        answer.unwrap_or(Err(WorkerError::Closed))
    }

    /// Removes a worker: it gets nothing more, finishes what it holds, and is gone when this
    /// completes. Dropping the future does not stop that.
    ///
    /// # Errors
    /// Returns [`WorkerError::Unknown`] if there is no such worker, or it is being removed already.
    pub async fn remove(&self, worker: WorkerId) -> Result<(), WorkerError> {
        let answer = self.ask(|reply| Control::Remove { worker, reply }).await;
        answer.unwrap_or(Err(WorkerError::Closed))
    }

    /// Completes once no task is queued or under way, and every callback of
    /// [`submit_then`](Pool::submit_then) has returned.
    ///
    /// A range is under way until its last outcome, and so is a map of an iterator: one without an end
    /// never lets its pool be idle, and neither does one whose stream nobody polls any more. A map of a
    /// stream ([`from_stream`]) is not under way while that has nothing for it and every request had its
    /// outcome, so this completes beside one that waits for ever.
    ///
    /// Whoever awaits an outcome may not have run by then. [`all_taken`](Pool::all_taken) waits for
    /// that, and callbacks are over.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver ends first.
    pub async fn idle(&self) -> Result<(), Closed> {
        self.ask(|reply| Control::Idle { taken: false, reply }).await
    }

    /// Completes once the pool is [idle](Pool::idle) and the outcome of every call and [`Task`] was
    /// taken: its future has returned it, or was dropped or detached.
    ///
    /// So it waits for ever for a task that is kept and never awaited: do not await this where one is held
    /// that is awaited later. What was taken may not be handled yet; where that matters use
    /// [`submit_then`](Pool::submit_then). Of a range or a map the end of its stream tells the same.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool, requests: Vec<String>) -> Result<(), chargehand::Closed> {
    /// # fn spawn(future: impl Future) {}
    /// for request in requests {
    ///     let pool = pool.clone();
    ///     spawn(async move { pool.call::<u64, _>(&request).await });
    /// }
    /// // ...
    /// pool.all_taken().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver ends first.
    pub async fn all_taken(&self) -> Result<(), Closed> {
        self.ask(|reply| Control::Idle { taken: true, reply }).await
    }

    /// Stops the pool: takes no new task, waits for those it has up to `drain_timeout`, ends the
    /// rest as [`TaskError::Aborted`], closes all links, and returns the final figures, with the
    /// workers that were in the pool when it was stopped. Tasks that
    /// still wait to get into the pool, because it holds `tasks_max` already, end as
    /// [`TaskError::Stopping`]; where they were detached, nobody hears of that. To have them all
    /// done, await [`idle`](Pool::idle) first.
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is dropped first, or had ended before.
    pub async fn stop(&self) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stop { within: None, reply }).await
    }

    /// Stops the pool like [`stop`](Pool::stop), with `within` instead of `drain_timeout`.
    ///
    /// # Errors
    /// As [`stop`](Pool::stop).
    pub async fn stop_within(&self, within: Duration) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stop { within: Some(within), reply }).await
    }

    /// Returns the pool's tasks and workers, counted. Costs O(workers).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    pub async fn stats(&self) -> Result<PoolStats, Closed> {
        self.ask(|reply| Control::Stats { reply }).await
    }

    /// Returns the pool's figures with what it measures: times of tasks, failures by their text, how far ranges
    /// are. The first call has it measure from then on, which costs some percent of the highest throughput;
    /// each one costs O(workers + [`tasks_max`](Builder::tasks_max)) of the driver's time, a millisecond or so
    /// with a thousand workers.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::Closed> {
    /// let measures = pool.measure().await?;
    /// println!("half of all attempts take no longer than {:?}", measures.round_trip.quantile(0.5));
    /// for group in &measures.failures {
    ///     println!("{} times: {}", group.count, group.example);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    #[cfg(feature = "std")]
    pub async fn measure(&self) -> Result<crate::measure::Measures, Closed> {
        self.ask(|reply| Control::Measure { reply }).await
    }

    /// Returns why tasks wait and workers get none, from the scheduler itself, once that has nothing left to do.
    /// Costs O(workers + [`tasks_max`](Builder::tasks_max)) of the driver's time: a millisecond or so.
    ///
    /// ```
    /// # async fn f(pool: chargehand::Pool) -> Result<(), chargehand::Closed> {
    /// // 3 tasks of queue tip, 17 among them: each waits for its queue's rate, for 0.4 s at most. What would ..
    /// println!("{}", pool.explain().await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    #[cfg(feature = "std")]
    pub async fn explain(&self) -> Result<crate::explain::Explanation, Closed> {
        self.ask(|reply| Control::Explain(Question::Pool(reply))).await
    }

    /// Returns what a task does now and why, for each task that is found: several, where several ranges have a
    /// height; none, where none has it. Costs as much as [`explain`](Self::explain).
    ///
    /// # Errors
    /// Returns [`Closed`] if the driver is gone.
    #[cfg(feature = "std")]
    pub async fn explain_task(
        &self,
        task: crate::explain::Find,
    ) -> Result<Vec<crate::explain::TaskExplanation>, Closed> {
        self.ask(|reply| Control::Explain(Question::Task(task, reply))).await
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
    fn calling(&self, body: Body, check: Check) -> Calling<'_> {
        Calling::new(Queueing::new(body, check, self.options.as_ref()), &self.mailbox)
    }

    #[inline]
    fn encode<Q: Serialize + ?Sized>(&self, request: &Q) -> Result<Body, TaskError> {
        let body = encode(request)?;
        check_length(&body, self.request_bytes_max)?;
        Ok(body)
    }

    async fn ask<R>(&self, question: impl FnOnce(Sender<R>) -> Control<K>) -> Result<R, Closed> {
        let (reply, answer) = async_channel::bounded(1);
        self.control.send(question(reply)).await.map_err(|_| Closed)?;
        self.mailbox.ring();
        answer.recv().await.map_err(|_| Closed)
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
