//! How a pool is set up: its workers and its limits.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use chargehand_core::io::{Connect, Listen, Timer};
use chargehand_core::{Config, QueueOptions, WorkerId};

use super::Pool;
use super::checks::{BuildError, check};
use crate::driver::{Driver, Ring, Setup, id_at_start};
use crate::handler::HandlerFn;
use crate::limits::Limits;
use crate::link::erased::{Connector, Holds, InProcessFn, Kind, Listener, Reach};
use crate::link::reason::BoxError;
use crate::options::{Window, WorkerOptions};
use crate::seed::{drawn, mixed};

/// How many second attempts may be under way at once: far more than the budget lets be sent in a while.
const HEDGES_MAX: u32 = 64;

/// Sets up a [`Pool`]. Made by [`Pool::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T: Timer, K: Kind> {
    setup: Setup<T, K>,
    is_seeded: bool,
}

impl<T: Timer, K: Kind> Builder<T, K> {
    pub(crate) fn new(timer: T) -> Self {
        let seed = drawn();
        let mut config = Config::new(seed.unwrap_or(0));
        config.hedges_max = HEDGES_MAX;
        let (limits, workers, listeners) = (Limits::new(), Vec::new(), Vec::new());
        let setup = Setup {
            timer,
            config,
            limits,
            workers,
            listeners,
            #[cfg(feature = "record")]
            record: None,
            #[cfg(feature = "tracing")]
            propagator: None,
        };
        Self { setup, is_seeded: seed.is_some() }
    }

    /// Adds a worker that the manager dials. The pool starts whether or not the worker can be reached.
    /// To set options and get the worker's id, use [`add`](Builder::add).
    pub fn connect<C>(mut self, connect: C) -> Self
    where
        C: Connect,
        C::Error: Into<BoxError>,
        K::Connector: Holds<Connector<C>>,
    {
        self.add(connect, WorkerOptions::new());
        self
    }

    /// Adds a worker that the manager dials, with options. Returns the worker's id, which identifies it in events
    /// and in [`Pool::remove`].
    ///
    /// ```
    /// use chargehand::{Pool, WorkerOptions};
    /// # fn f<T: chargehand::core::io::Timer>(
    /// #     timer: T, large: chargehand::memory::MemoryConnector)
    /// #     -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Pool::builder(timer);
    /// let worker = builder.add(large, WorkerOptions::new().window(64));
    /// let (pool, driver) = builder.build()?;
    /// let removing = async { pool.remove(worker).await };
    /// # drop((driver, removing));
    /// # Ok(()) }
    /// ```
    pub fn add<C>(&mut self, connect: C, options: WorkerOptions) -> WorkerId
    where
        C: Connect,
        C::Error: Into<BoxError>,
        K::Connector: Holds<Connector<C>>,
    {
        self.add_by(Reach::Dial(K::Connector::boxed(Connector::new(connect))), options)
    }

    /// Adds a worker inside this process: `handler` runs within the driver's own future, for up to `window` tasks
    /// at once, without a socket in between.
    ///
    /// The same rules hold as for any other worker. If a task is cancelled or outlives its attempt's deadline, its
    /// future is dropped. A panic fails its task and nothing else. A pool that is stopped waits for it. Call this
    /// again to add more workers; events and figures name them `in-process 1`, `in-process 2` and so on.
    /// [`in_flight`](Builder::in_flight) does not change `window`.
    ///
    /// Values are not encoded where their types match: the height of a range is passed to a handler of `u64` as it
    /// is, and an answer is returned as it is to a caller that asks for the handler's own type. Other types are
    /// converted through postcard. The request of a single call is always encoded.
    ///
    /// Tasks go to the worker with the most room. An in-process worker answers at once, so beside a remote worker
    /// with the same window it does most of the work.
    ///
    /// A handler that blocks, or computes for a long time without an await, holds up the whole pool. Run such work
    /// on threads: with the runtime's own means (`spawn_blocking`, for example), or with a `Worker::blocking` that
    /// is connected through [`memory::pair`](crate::link::memory::pair). A handler that owns a handle of its own
    /// pool keeps that pool alive: call [`Pool::stop`] to end it.
    ///
    /// ```
    /// # async fn f<T: chargehand::core::io::Timer>(
    /// #     timer: T) -> Result<(), Box<dyn std::error::Error>> {
    /// use chargehand::Pool;
    ///
    /// let (pool, driver) = Pool::builder(timer)
    ///     .in_process(8, |height: u64| async move { Ok::<_, String>(format!("block {height}")) })
    ///     .build()?;
    /// let ask = async {
    ///     let block: String = pool.call(&17_u64).await?;
    ///     assert_eq!(block, "block 17");
    ///     pool.stop().await?;
    ///     Ok(())
    /// };
    /// futures_util::future::join(driver, ask).await.1
    /// # }
    /// # let timer = chargehand::testing::ManualTimer::new();
    /// # smol::block_on(f(timer)).unwrap();
    /// ```
    pub fn in_process<F, Args>(mut self, window: u16, handler: F) -> Self
    where
        F: HandlerFn<Args>, // Said for its own errors; the next line is shown in the others.
        F: InProcessFn<K, Args>, // `Send` if the pool is `Threaded`; `Pool::local_builder` takes any.
    {
        self.add_in_process(handler, WorkerOptions::new().window(window));
        self
    }

    /// Adds a worker inside this process, as [`in_process`](Builder::in_process) does, with options. Returns the
    /// worker's id, which identifies it in events and in [`Pool::remove`].
    pub fn add_in_process<F, Args>(&mut self, handler: F, options: WorkerOptions) -> WorkerId
    where
        F: HandlerFn<Args>, // Said for its own errors; the next line is shown in the others.
        F: InProcessFn<K, Args>, // `Send` if the pool is `Threaded`; `Pool::local_builder` takes any.
    {
        self.add_by(Reach::InProcess(handler.boxed()), options)
    }

    fn add_by(&mut self, reach: Reach<K>, options: WorkerOptions) -> WorkerId {
        self.setup.workers.push((reach, options));
        id_at_start(self.setup.workers.len() - 1)
    }

    /// Adds a listener for workers that dial in.
    ///
    /// Workers are identified by their names. A new link with the same name and the same token, which is that of the
    /// same process, replaces the older link at once. A new link with the same name but another token replaces the
    /// older one only if that has been silent for 2 s, or for `heartbeat_timeout` if that is shorter; otherwise the
    /// newcomer is turned away.
    pub fn accept<L>(mut self, listen: L) -> Self
    where
        L: Listen,
        K::Listener: Holds<Listener<L>>,
    {
        self.setup.listeners.push(K::Listener::boxed(Listener(listen)));
        self
    }

    /// Changes the scheduler's policies: attempts, deadlines, heartbeats, backoff, retries. Each is documented at
    /// [`Config`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn f<T: chargehand::core::io::Timer, K: chargehand::Kind>(
    /// #     builder: chargehand::Builder<T, K>) -> chargehand::Builder<T, K> {
    /// builder.configure(|config| {
    ///     config.attempts_max = 3;
    ///     config.attempt_timeout = Duration::from_secs(5);
    /// })
    /// # }
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let config = &mut self.setup.config;
        let drawn = config.seed;
        change(config);
        self.is_seeded |= config.seed != drawn;
        self
    }

    /// Sets [`Config::seed`], which the jitter of the backoff is drawn from. The token that tells workers one run
    /// of this manager from the next is derived from it. Default: random with the feature `std`; without it,
    /// [`build`](Builder::build) fails if no seed is set.
    ///
    /// Use a different seed at every start, from a random source or a boot counter. Use the same seed in a test that
    /// is to repeat a run. After a restart with the same seed, workers that keep running without a link
    /// ([`Config::grace`]) take the new manager for the old one and offer it answers to the old one's requests; if
    /// that is detected, the link is ended.
    pub fn seed(mut self, seed: u64) -> Self {
        self.setup.config.seed = seed;
        self.is_seeded = true;
        self
    }

    /// Sets the name that workers see. At most 64 bytes without control characters; default `manager`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.setup.limits.name = name.into().into();
        self
    }

    /// Sets a tag for the types of requests and answers: a name and version such as `blocks/3`, or a hash of the
    /// types. At most 64 bytes; default none.
    ///
    /// A worker with a [different tag](crate::Worker::schema) is refused when it connects, and both sides are told
    /// both tags, so a worker that missed an upgrade does not fail tasks. A worker without a tag is accepted, and so
    /// are workers of the Go package, which have none.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.setup.limits.schema = Some(schema.into().into());
        self
    }

    /// Sets how many tasks the pool holds at once: those that wait, are under way or rest before a retry. Each
    /// takes about 120 bytes, which are allocated at the start. Default 16,384.
    pub fn tasks_max(mut self, count: u32) -> Self {
        self.setup.limits.tasks_max = count;
        self
    }

    /// Adds a queue, or sets the options of the queue `default`, in which tasks wait that name none.
    ///
    /// Find it with [`Pool::queue`] and put tasks into it with [`TaskOptions::queue`](crate::TaskOptions::queue). A
    /// pool can have 64 queues, and at most half as many as [`tasks_max`](Builder::tasks_max). Calling this again with
    /// the same name replaces the options. `docs/SCHEDULING.md` has the rules and examples of setups.
    ///
    /// Each queue has its own line of waiting callers, of [`queue_max`](Builder::queue_max) each. Half of
    /// [`tasks_max`](Builder::tasks_max) is divided evenly among the queues and reserved for them; the other half is
    /// shared. So a queue that is paused or overloaded cannot block the others.
    ///
    /// ```
    /// use chargehand::{Class, Pool, QueueOptions, Rate};
    /// # fn f<T: chargehand::core::io::Timer>(
    /// #     timer: T) -> Result<(), chargehand::BuildError> {
    /// let (pool, driver) = Pool::builder(timer)
    ///     .queue("tip", QueueOptions::new().class(Class::Urgent))
    ///     .queue("backfill", QueueOptions::new().class(Class::Low).in_flight_max(64))
    ///     .queue("export", QueueOptions::new().rate(Rate::per_second(25).burst(5)))
    ///     .build()?;
    /// # drop((pool, driver));
    /// # Ok(()) }
    /// ```
    pub fn queue(mut self, name: &str, options: QueueOptions) -> Self {
        self.setup.limits.set_queue(name, options);
        self
    }

    /// Sets how many workers the pool holds at once, whether reachable or not. Default 1024.
    ///
    /// If workers dial in and the process may not open as many connections as this and
    /// [`handshakes_max`](Builder::handshakes_max) together (`ulimit -n`, less the files that are open and those that
    /// the listener keeps free), both are lowered. [`PoolEvent::Lowered`](crate::PoolEvent::Lowered) reports it if one
    /// of them was set, or if they were lowered by more than half.
    pub fn workers_max(mut self, count: u32) -> Self {
        self.setup.limits.workers_max = count;
        self.setup.limits.is_set = true;
        self
    }

    /// Sets how many submitted tasks may wait to enter the pool before callers have to wait. Default 1024.
    pub fn queue_max(mut self, count: usize) -> Self {
        self.setup.limits.queue_max = count;
        self
    }

    /// Sets how far a range may run ahead: how many of its heights may be under way or have outcomes that were not
    /// taken yet, in the order in which they come. At least 1; default [`tasks_max`](Builder::tasks_max), which is
    /// never too few.
    ///
    /// Workers cannot raise it, so set it to at least twice what all workers hold at once, or they run out of work.
    /// From 32 on, an eighth of it is reserved for outcomes that a stream has taken and not returned yet.
    /// [`memory_max`](Builder::memory_max) bounds the bytes.
    pub fn ahead_max(mut self, count: usize) -> Self {
        self.setup.limits.ahead_max = Some(count);
        self
    }

    /// Sets how many attempts each worker holds at once, instead of the worker's own concurrency. Attempts beyond
    /// the concurrency wait at the worker: that raises the throughput of short tasks on long links, but spreads the
    /// load less evenly. [`WorkerOptions::window`] overrides it for one worker.
    pub fn in_flight(mut self, count: u16) -> Self {
        self.setup.limits.in_flight = Some(Window::Fixed(count));
        self
    }

    /// Sets how the worker for a task is chosen. Default `LeastLoaded`.
    ///
    /// [`Choice::FirstAnswer`](chargehand_core::Choice) pays off where workers differ in speed or tasks take
    /// milliseconds: with one of eight workers ten times slower, a range takes 1.1 times the ideal instead of 1.4 to 3
    /// times. It costs about 1,000 instructions per task, 40 % of what a task that does nothing takes.
    #[cfg(feature = "choice")]
    pub fn choice(mut self, choice: chargehand_core::Choice) -> Self {
        self.setup.config.choice = choice;
        self
    }

    /// Lets the pool find out how many attempts each worker should hold at once: see [`Window::Auto`].
    /// [`WorkerOptions::window`] overrides it for one worker. Workers in the pool's own process hold 1 unless that
    /// sets more. Requires [`choice(Choice::FirstAnswer)`](Self::choice).
    #[cfg(feature = "choice")]
    pub fn auto_windows(mut self) -> Self {
        self.setup.limits.in_flight = Some(Window::Auto);
        self
    }

    /// Sets the longest frame to send, in bytes, which is also the longest that workers are told they may send. The
    /// limits of the transports hold as well. Default 16 MiB.
    pub fn frame_bytes_max(mut self, bytes: u32) -> Self {
        self.setup.limits.frame_bytes_max = bytes;
        self
    }

    /// Sets how many bytes the pool holds at once: requests until their tasks end, answers until they are taken, and
    /// incoming messages of workers. At least five times [`frame_bytes_max`](Builder::frame_bytes_max); default
    /// 256 MiB, or that minimum if it is more.
    ///
    /// No number of workers can exceed it:
    ///
    /// - **Incoming messages.** As soon as its length is known, a message is checked against what is left. If it does
    ///   not fit it waits in the transport: TCP and WebSocket then slow the worker down, which is not taken for
    ///   silence or lateness. Long messages leave room for short ones, and one at a time always proceeds, so none
    ///   waits forever. A transport that cannot hold a message back (the serial one, whose messages are short) counts
    ///   it once it has arrived.
    /// - **Ranges.** A range asks for no more heights while its untaken outcomes, and those expected, exceed its
    ///   share: half of everything if it is alone. Calls and other ranges go on. If answers turn out to be much longer
    ///   than earlier ones and do not fit, they are dropped and their heights are done again once there is room, so a
    ///   handler may see such a height twice.
    /// - **Calls.** Callers wait while requests, or untaken outcomes of calls, fill half of it.
    ///
    /// Not counted are the return values of handlers in this process; bodies of up to 1 KiB, whose number
    /// [`tasks_max`](Builder::tasks_max), [`queue_max`](Builder::queue_max) and [`ahead_max`](Builder::ahead_max)
    /// bound; and the buffers of the transports: with TCP and WebSocket 4 KiB of input per link, and what is being
    /// sent.
    pub fn memory_max(mut self, bytes: usize) -> Self {
        self.setup.limits.memory_max = Some(bytes);
        self
    }

    /// Sets how deep and how large decoded answers may become, and decoded requests of
    /// [in-process](Builder::in_process) workers. An answer that would exceed a limit is
    /// [`TaskError::Answer`](crate::TaskError::Answer), whose text names the limit. Default
    /// [`DecodeLimits::new`](crate::DecodeLimits::new).
    pub fn decode_limits(mut self, limits: crate::DecodeLimits) -> Self {
        self.setup.limits.decode = limits;
        self
    }

    /// Sets how fast a long message must be transferred, in bytes per second, for its link to count as slow rather
    /// than dead: then it is neither silent nor late with its answers. Default 1024 (1 KiB/s); with 0, any byte is
    /// enough.
    ///
    /// A link that was faster than this may pause for ten seconds. Transports that do not report their progress are
    /// judged by whole messages. A serial line has a lower minimum of its own.
    pub fn progress_rate_min(mut self, bytes_per_second: u32) -> Self {
        self.setup.limits.progress_rate_min = bytes_per_second;
        self
    }

    /// Sets how many incoming connections may be in their handshake at once. Default 128.
    ///
    /// A further connection replaces the oldest one of the host that has the most, so slow strangers cannot keep good
    /// workers out. Connections with a proven identity are replaced only if there are no others. While the limit is
    /// reached, each new connection costs time proportional to it.
    pub fn handshakes_max(mut self, count: usize) -> Self {
        self.setup.limits.handshakes_max = count;
        self.setup.limits.is_set = true;
        self
    }

    /// Sets how many workers with the same identity may be connected at once, on transports that prove one. So a
    /// leaked member file cannot take all of [`workers_max`](Builder::workers_max). At least 1; default 64. A further
    /// worker is turned away, and told which limit was reached.
    pub fn links_per_identity(mut self, count: usize) -> Self {
        self.setup.limits.links_per_identity = count;
        self
    }

    /// Sets how many workers without a proven identity may be connected at once from one host (IP address). At
    /// least 1; default half of [`workers_max`](Builder::workers_max), and no limit for loopback addresses unless one is
    /// set, since any process of this machine may be behind those.
    ///
    /// Workers behind one router or proxy count as one host: raise the limit for them, or have them prove their
    /// identities. When the pool is full, a newcomer from a host or identity with fewer links replaces a worker of the
    /// host with the most that has done nothing on its link; and a newcomer with an identity replaces any such worker
    /// without one.
    pub fn links_per_host(mut self, count: usize) -> Self {
        self.setup.limits.links_per_host = Some(count);
        self
    }

    /// Sets how many connections with the same proven identity may be in their handshake at once. A further one
    /// replaces the oldest of them. At least 1; default 64.
    pub fn handshakes_per_identity(mut self, count: usize) -> Self {
        self.setup.limits.handshakes_per_identity = count;
        self
    }

    /// Sets how many connections without a proven identity may be in their handshake at once from one host (IP
    /// address). A further one replaces the oldest of them. At least 1; default half of
    /// [`handshakes_max`](Builder::handshakes_max), and no limit for loopback addresses unless one is set.
    pub fn handshakes_per_host(mut self, count: usize) -> Self {
        self.setup.limits.handshakes_per_host = Some(count);
        self
    }

    /// Allows unprotected links to other hosts: plain TCP and WebSocket. Anyone who reaches a listener can then be a
    /// worker, and anyone on the path can read and change everything. For networks that are trusted as a whole.
    /// Default: [`build`](Builder::build) and [`Pool::add`] fail instead; [`Exposure`](crate::core::io::Exposure)
    /// defines which links count as unprotected.
    pub fn insecure(mut self) -> Self {
        self.setup.limits.is_insecure = true;
        self
    }

    /// Sets how long [`Pool::stop`] waits for tasks to end. Default 30 s.
    pub fn drain_timeout(mut self, span: Duration) -> Self {
        self.setup.limits.drain_timeout = span;
        self
    }

    /// Sets the type that calls to workers of the Go package `worker` use for a height. Default
    /// [`Unsigned`](crate::JsonHeights::Unsigned): a `u64` of at most 2^63 - 1.
    ///
    /// Such workers answer with success or the text of an error, so the answer of a call is `()`. A request that is
    /// not such a height fails with a text that says so.
    #[cfg(feature = "json")]
    pub fn json_heights(mut self, heights: crate::JsonHeights) -> Self {
        self.setup.limits.json_heights = heights;
        self
    }

    /// Writes a record of all calls to the pool's scheduler, and of what it does, for [`Replay`](crate::record::Replay).
    /// Default: nothing is written.
    ///
    /// The driver writes about 100 bytes per call to the scheduler, and makes about six such calls for a task that is
    /// answered at once. It writes while it is polled, so use a buffered writer that does not block for long, such as a
    /// `BufWriter` of a file. `output` decides how much it accepts: once it returns an error the record ends there, and
    /// the pool goes on. The record is flushed when the driver is dropped. It is replayed for pools of up to 4,194,304
    /// tasks and 131,072 workers. For a pool that is busy or runs for long, use
    /// [`flight_recorder`](Builder::flight_recorder).
    #[cfg(feature = "record")]
    pub fn record(mut self, output: impl std::io::Write + Send + 'static) -> Self {
        let output = alloc::boxed::Box::new(output);
        self.setup.record = Some(crate::record::Output::Lines(output));
        self
    }

    /// Keeps the latest calls to the pool's scheduler, and its decisions, in a file of a fixed size, for
    /// [`Replay`](crate::record::Replay) after something odd happened. Default: nothing is written. Replaces
    /// [`record`](Builder::record).
    ///
    /// ```no_run
    /// # use chargehand::tokio::Tokio;
    /// use chargehand::Pool;
    /// use chargehand::record::FlightRecorder;
    ///
    /// let recorder = FlightRecorder::create("manager.flight")?.bytes_max(256 << 20);
    /// let (pool, driver) = Pool::builder(Tokio::new()).flight_recorder(recorder).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A task that is answered at once takes some 20 bytes. Requests, answers, names and
    /// addresses are never written. A separate thread writes every 20 ms and does not sync to the disk: if the process
    /// is killed, the last calls are missing; if the machine fails, also those that the system had not written yet. A
    /// disk that is slower than the pool loses calls; a full one ends the record with
    /// [`PoolEvent::Unrecorded`](crate::PoolEvent), and the pool goes on.
    #[cfg(feature = "record")]
    pub fn flight_recorder(mut self, recorder: crate::record::FlightRecorder) -> Self {
        self.setup.record = Some(crate::record::Output::Flight(recorder));
        self
    }

    /// Sends the trace context of each task along with its request, to workers that
    /// [accept](crate::Worker::propagate) it: see [`traces`](crate::traces). Default: traces end at the pool.
    #[cfg(feature = "tracing")]
    pub fn propagate(mut self, propagate: impl crate::traces::Propagate + 'static) -> Self {
        let propagator = crate::traces::Propagator(alloc::sync::Arc::new(propagate));
        self.setup.propagator = Some(propagator);
        self
    }

    /// The name that the pool was given, or its default.
    #[cfg(feature = "testing")]
    pub(crate) fn given_name(&self) -> &str {
        &self.setup.limits.name
    }

    /// Makes the pool: a handle, and the future that does all the work. Nothing happens until the [`Driver`] is
    /// polled: spawn it, select on it or block on it.
    ///
    /// # Errors
    /// Returns [`BuildError`], which says what to do, if a limit is out of its range, no seed is set where one is
    /// needed, a setting would have no effect, or a link to another host is unprotected.
    pub fn build(mut self) -> Result<(Pool<K>, Driver<T, K>), BuildError> {
        if !self.is_seeded {
            return Err(BuildError::no_seed());
        }
        self.setup.limits.token = mixed(self.setup.config.seed);
        check(&self.setup)?;
        let ring = Ring::new();
        let (pool, ends) = super::handle(ring.waker(), &self.setup.limits);
        Ok((pool, Driver::new(self.setup, ring, ends)?))
    }
}

impl<T: Timer, K: Kind> fmt::Debug for Builder<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.setup.config)
            .field("limits", &self.setup.limits)
            .field("workers", &self.setup.workers.len())
            .field("listeners", &self.setup.listeners.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::testing::ManualTimer;

    /// As one is where no seed can be drawn.
    fn unseeded() -> Builder<ManualTimer, crate::Threaded> {
        Builder { is_seeded: false, ..Builder::new(ManualTimer::new()) }
    }

    #[test]
    fn a_pool_that_has_no_seed_is_not_built_and_says_how_to_give_one() {
        let error = unseeded().build().unwrap_err().to_string();
        assert!(error.contains(".seed(..)"), "{error}");
        assert!(unseeded().seed(7).build().is_ok());
        assert!(unseeded().configure(|config| config.seed += 1).build().is_ok());
    }

    #[test]
    fn the_seed_is_that_of_the_jitter_and_the_token_is_made_of_it() {
        let (_, driver) = unseeded().seed(7).build().expect("in range");
        let (_, same) = unseeded().configure(|config| config.seed = 7).build().expect("in range");
        let (_, other) = unseeded().seed(8).build().expect("in range");
        assert_eq!(driver.config().seed, 7);
        assert_eq!(driver.token(), same.token());
        assert_ne!(driver.token(), other.token());
    }

    #[test]
    fn a_pool_has_no_name_that_shows_as_another() {
        for (name, is_good) in [("w1\u{200b}", false), ("\u{202e}1w", false), ("עובד", true)] {
            let built = unseeded().seed(7).name(name).build();
            let text = built.err().map_or_else(String::new, |error| error.to_string());
            assert_eq!(text.contains("that turns others"), !is_good, "{text}");
        }
    }
    #[cfg(feature = "choice")]
    #[test]
    fn what_does_nothing_without_the_first_answer_is_refused_without_it() {
        use chargehand_core::{Choice, Ejection};

        use crate::options::WorkerOptions;

        type Set =
            fn(Builder<ManualTimer, crate::Threaded>) -> Builder<ManualTimer, crate::Threaded>;
        let all: [(&str, Set); 3] = [
            ("Config::ejection", |builder| {
                builder.configure(|config| config.ejection = Some(Ejection::new()))
            }),
            ("Builder::auto_windows", Builder::auto_windows),
            ("WorkerOptions::auto_window", |mut builder| {
                let worker =
                    crate::testing::World::new(1).worker(crate::testing::Script::new()).connector();
                builder.add(worker, WorkerOptions::new().auto_window());
                builder
            }),
        ];
        for (what, set) in all {
            let error = set(unseeded().seed(7)).build().unwrap_err().to_string();
            assert!(error.starts_with(what) && error.contains("FirstAnswer"), "{error}");
            let judged = set(unseeded().seed(7)).choice(Choice::FirstAnswer);
            assert!(judged.build().is_ok(), "{what}");
        }
    }
}
