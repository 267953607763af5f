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

    /// Adds a worker that the manager dials. The pool starts whether it can be reached or not.
    /// [`add`](Builder::add) does it with options, and returns the worker's id.
    pub fn connect<C>(mut self, connect: C) -> Self
    where
        C: Connect,
        C::Error: Into<BoxError>,
        K::Connector: Holds<Connector<C>>,
    {
        self.add(connect, WorkerOptions::new());
        self
    }

    /// Adds a worker that the manager dials, as [`connect`](Builder::connect) does, which is used as
    /// `options` say. Returns its id in the pool, for [`Pool::remove`] and to know it by in events.
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

    /// Adds a worker inside this process: `handler` runs within the driver's own future, for up to
    /// `window` tasks at once, with no socket between.
    ///
    /// It is under the rules of any other worker. A task that outlives its attempt's deadline, or is
    /// cancelled, has its future dropped; a panic fails its task and nothing else; a pool that stops
    /// waits for it. Call this again for further workers: events and figures name them `in-process 1`,
    /// `in-process 2` and so on. [`in_flight`](Builder::in_flight) leaves `window` alone.
    ///
    /// Nothing is encoded where types allow. A height of a range reaches a handler of `u64` as it
    /// is, and an answer reaches a caller that asks for the handler's own type as it is; another
    /// type is made of it by way of postcard. Only the request of a single call is always encoded.
    ///
    /// The load goes to whoever has room, so beside a remote worker of the same window this one, which
    /// answers at once, does most of the work.
    ///
    /// A handler that blocks, or computes for long without an await, holds up the whole pool. Hand
    /// such work to threads: by the runtime's own means in the handler (`spawn_blocking`, say), or
    /// as a `Worker::blocking` that is reached through [`memory::pair`](crate::link::memory::pair). And a
    /// handler that owns a handle of its own pool keeps that from ending by itself: stop it then.
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

    /// Adds a worker inside this process, as [`in_process`](Builder::in_process) does, which is used as
    /// `options` say. Returns its id in the pool, for [`Pool::remove`] and to know it by in events.
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

    /// Adds a listener for workers that dial in. A worker is known by its name: a newer link of the
    /// same process (by its token) takes the older one's place at once, one of another process only
    /// where the older one is silent for 2 s, or for `heartbeat_timeout` where that is less. Otherwise
    /// the newcomer is sent away.
    pub fn accept<L>(mut self, listen: L) -> Self
    where
        L: Listen,
        K::Listener: Holds<Listener<L>>,
    {
        self.setup.listeners.push(K::Listener::boxed(Listener(listen)));
        self
    }

    /// Changes the scheduler's policies: attempts, deadlines, heartbeats, backoff, retries. Each is
    /// documented at [`Config`].
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

    /// Sets the seed of the backoff's jitter, which is [`Config::seed`]; the token that tells workers one
    /// run of this manager from the next is made of it. Default: drawn at random where there is the
    /// feature `std`; without it [`build`](Builder::build) fails if none is given.
    ///
    /// So give another one at every start, from a source of random numbers or a count of the starts; the
    /// same one again in a test that is to run the same way again. A worker that goes on without a link
    /// ([`Config::grace`]) takes a manager that was started again with its last seed for the same process, and
    /// offers it answers to what that one asked: where this is noticed, the link is ended.
    pub fn seed(mut self, seed: u64) -> Self {
        self.setup.config.seed = seed;
        self.is_seeded = true;
        self
    }

    /// Sets the name that workers see. At most 64 bytes and no control character; default
    /// `manager`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.setup.limits.name = name.into().into();
        self
    }

    /// Sets what requests and answers mean: a name and a version such as `blocks/3`, or a hash of their
    /// types. Up to 64 bytes; default none.
    ///
    /// A worker that has [another one](crate::Worker::schema) is refused as it connects, and both sides are
    /// told both; so a worker that was left behind by an upgrade fails no task. One that has none is
    /// taken. Workers of the Go package have none.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.setup.limits.schema = Some(schema.into().into());
        self
    }

    /// Sets how many tasks the pool holds at once: waiting, under way and waiting to be tried
    /// again. About 120 bytes each, set aside at the start. Default 16,384.
    pub fn tasks_max(mut self, count: u32) -> Self {
        self.setup.limits.tasks_max = count;
        self
    }

    /// Adds a queue, or sets what is special about the one named `default`, which tasks wait in that name
    /// none. [`Pool::queue`] finds it by its name, and [`TaskOptions::queue`](crate::TaskOptions::queue) puts
    /// tasks into it. Up to 64 in all, and at most half of [`tasks_max`](Builder::tasks_max); a later call with
    /// the same name takes the place of an earlier one. `docs/SCHEDULING.md` has the rules, and how to set it
    /// up for some uses.
    ///
    /// Each has a line of callers of its own, of [`queue_max`](Builder::queue_max) each, and its share of the
    /// places for tasks is kept for it: half of [`tasks_max`](Builder::tasks_max) is kept so, as many for each,
    /// and the other half is for whoever comes. So one that is paused, or that more is put into than its limits
    /// let out, keeps no other one out.
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

    /// Sets how many workers the pool holds at once, reachable or not. Default 1024.
    ///
    /// Where workers dial in and the process may not open as many connections as this and
    /// [`handshakes_max`](Builder::handshakes_max) together (`ulimit -n`, less what is open and what
    /// the listener keeps for files), both are lowered. [`PoolEvent::Lowered`](crate::PoolEvent::Lowered)
    /// tells so if one of them was set, or by more than a half.
    pub fn workers_max(mut self, count: u32) -> Self {
        self.setup.limits.workers_max = count;
        self.setup.limits.is_set = true;
        self
    }

    /// Sets how many submitted tasks may wait to get into the pool, before callers wait. Default
    /// 1024.
    pub fn queue_max(mut self, count: usize) -> Self {
        self.setup.limits.queue_max = count;
        self
    }

    /// Sets how many heights of a range are under way at most, those included whose outcomes were not
    /// taken yet, in the order in which they come. Nothing that workers say makes it more, so give it
    /// twice what all of them hold at once, or they run dry. [`memory_max`](Builder::memory_max) bounds
    /// the bytes. From 32 on, an eighth is kept for what a stream has taken and not returned. At least 1;
    /// default [`tasks_max`](Builder::tasks_max), which is never too few.
    pub fn ahead_max(mut self, count: usize) -> Self {
        self.setup.limits.ahead_max = Some(count);
        self
    }

    /// Sets how many attempts each worker holds at once, instead of what it says itself (its
    /// concurrency). More than that waits at the worker: throughput for short tasks on long links,
    /// at the price of an even load. [`WorkerOptions::window`] goes before it, for one worker.
    pub fn in_flight(mut self, count: u16) -> Self {
        self.setup.limits.in_flight = Some(Window::Fixed(count));
        self
    }

    /// Sets how the worker is chosen that a task goes to. [`Choice::FirstAnswer`](chargehand_core::Choice) is worth
    /// it where workers are unlike each other or tasks take milliseconds: a range with one of eight workers ten times
    /// slower takes 1.1 times the ideal in place of 1.4 to 3. It costs some 1,000 instructions for each task, 40 %
    /// of what a task that does nothing takes, so the default is `LeastLoaded`.
    #[cfg(feature = "choice")]
    pub fn choice(mut self, choice: chargehand_core::Choice) -> Self {
        self.setup.config.choice = choice;
        self
    }

    /// Has the pool find out how many attempts each worker is to hold at once: see [`Window::Auto`].
    /// [`WorkerOptions::window`] goes before it, for one worker. A worker in the pool's own process has 1,
    /// where that does not say more.
    #[cfg(feature = "choice")]
    pub fn auto_windows(mut self) -> Self {
        self.setup.limits.in_flight = Some(Window::Auto);
        self
    }

    /// Sets the longest frame, in bytes, that is sent, and that workers are told they may send.
    /// The transports' own limits hold as well. Default 16 MiB.
    pub fn frame_bytes_max(mut self, bytes: u32) -> Self {
        self.setup.limits.frame_bytes_max = bytes;
        self
    }

    /// Sets how many bytes the pool holds at once: requests until their tasks end, answers until
    /// somebody takes them, and messages of workers that are arriving. At least five times
    /// [`frame_bytes_max`](Builder::frame_bytes_max); default 256 MiB, or that where it is more.
    ///
    /// No worker and no number of them makes it more. A message is held against what is left as soon as
    /// its length is known, and waits in the transport where there is too little: TCP and WebSocket then
    /// make the worker wait, which is not taken for silent or late meanwhile. Long ones leave room for
    /// short ones, and one at a time goes on whatever is held, so none waits for ever. A range asks for
    /// no more heights while its outcomes that nobody has taken, with those expected, are more than what
    /// it leaves to others: half of all if it is alone. Calls and other ranges go on beside it. Where
    /// answers are much longer than those before, so that there is no room for them beside what is not
    /// taken, they are dropped, and their heights asked for again once there is: a handler may see such
    /// a height twice. In the same way callers wait while requests, or outcomes of calls that nobody
    /// takes, are half of all.
    ///
    /// Not counted are what handlers in this process return, bodies of up to 1 KiB (of which
    /// [`tasks_max`](Builder::tasks_max), [`queue_max`](Builder::queue_max) and
    /// [`ahead_max`](Builder::ahead_max) say how many there are), and what a transport buffers for each
    /// link: with TCP and WebSocket 4 KiB of what comes, and what is leaving.
    /// Where a transport cannot hold a message back (the serial one, whose messages are short), it
    /// counts once it has come.
    pub fn memory_max(mut self, bytes: usize) -> Self {
        self.setup.limits.memory_max = Some(bytes);
        self
    }

    /// Sets how deep and how large answers may become as they are decoded, and requests of
    /// [in-process](Builder::in_process) workers. An answer that would pass a limit is
    /// [`TaskError::Answer`](crate::TaskError::Answer), which names it. Default
    /// [`DecodeLimits::new`](crate::DecodeLimits::new).
    pub fn decode_limits(mut self, limits: crate::DecodeLimits) -> Self {
        self.setup.limits.decode = limits;
        self
    }

    /// Sets how many bytes of a long message must come or leave in each second so that its link is only
    /// slow, neither silent nor late with its answers; one that was faster may stand still for ten
    /// seconds. Transports that do not tell their progress are judged by whole messages. 0 takes any
    /// byte for enough. A serial line has a lower rate of its own, which holds there. Default 1024, which
    /// is 1 KiB/s.
    pub fn progress_rate_min(mut self, bytes_per_second: u32) -> Self {
        self.setup.limits.progress_rate_min = bytes_per_second;
        self
    }

    /// Sets how many incoming connections may be in their handshake at once. A further one takes
    /// the place of the oldest from the host that has most, so that slow strangers cannot keep good workers
    /// out; of those that have proven an identity only where there are no others. Default 128. While there are
    /// as many, each that comes costs a look at all.
    pub fn handshakes_max(mut self, count: usize) -> Self {
        self.setup.limits.handshakes_max = count;
        self.setup.limits.is_set = true;
        self
    }

    /// Sets how many workers of one identity may be connected at once, where their transport proves one: so
    /// a member's file that leaks does not take all of [`workers_max`](Builder::workers_max). At least 1;
    /// default 64. One more is told that there is no room, and which limit says so.
    pub fn links_per_identity(mut self, count: usize) -> Self {
        self.setup.limits.links_per_identity = count;
        self
    }

    /// Sets how many workers from one host (by IP address) may be connected at once, of those that have
    /// proven no identity. At least 1; default half of [`workers_max`](Builder::workers_max), and for
    /// loopback addresses, behind which is any process of this machine, no limit unless one is set.
    ///
    /// Workers behind one router or proxy are of one host: raise it for them, or have them prove who they
    /// are. A pool that is full goes further: a newcomer from a host, or of an identity, that has fewer takes
    /// the place of a worker that has done nothing on its link, of the host that has most; and one with an
    /// identity that of any stranger.
    pub fn links_per_host(mut self, count: usize) -> Self {
        self.setup.limits.links_per_host = Some(count);
        self
    }

    /// Sets how many connections of one identity may be in their handshake at once, once it is proven. A
    /// further one takes the place of the oldest of them. At least 1; default 64.
    pub fn handshakes_per_identity(mut self, count: usize) -> Self {
        self.setup.limits.handshakes_per_identity = count;
        self
    }

    /// Sets how many connections from one host (by IP address) may be in their handshake at once, as long as
    /// they have proven no identity. A further one takes the place of the oldest of them. At least 1;
    /// default half of [`handshakes_max`](Builder::handshakes_max), and no limit of their own for loopback
    /// addresses unless one is set.
    pub fn handshakes_per_host(mut self, count: usize) -> Self {
        self.setup.limits.handshakes_per_host = Some(count);
        self
    }

    /// Takes links that leave the machine with nothing to protect them: plain TCP or WebSocket to and from
    /// other hosts, where whoever reaches a listener is a worker, and whoever is in between reads and
    /// writes what they like. For networks that are trusted themselves. Default: [`build`](Builder::build)
    /// and [`Pool::add`] fail instead, as [`Exposure`](crate::core::io::Exposure) has it.
    pub fn insecure(mut self) -> Self {
        self.setup.limits.is_insecure = true;
        self
    }

    /// Sets how long [`Pool::stop`] waits for the tasks that it has. Default 30 s.
    pub fn drain_timeout(mut self, span: Duration) -> Self {
        self.setup.limits.drain_timeout = span;
        self
    }

    /// Sets what calls that go to workers of the Go `worker` package have for a height. Default
    /// [`Unsigned`](crate::JsonHeights::Unsigned): a `u64` of at most 2^63 - 1.
    ///
    /// Such a worker answers success or the text of an error, so a call's answer is `()`. What is
    /// no such height fails there with a text that says so.
    #[cfg(feature = "json")]
    pub fn json_heights(mut self, heights: crate::JsonHeights) -> Self {
        self.setup.limits.json_heights = heights;
        self
    }

    /// Has all that the pool's scheduler is told written down, with what it does: a record for
    /// [`Replay`](crate::record::Replay). Default: nothing is written.
    ///
    /// It takes a line of some 100 bytes for each call of the scheduler, some six of them for a task that is
    /// answered at once, as the driver is polled: so give it something that does not block for long and has a
    /// buffer, such as a `BufWriter` of a file. How much there may be of it is up to `output`: where that
    /// returns an error the record breaks off, and the pool goes on. It ends, and is flushed, as the driver is
    /// dropped. For a pool that is busy or goes on for long take [`flight_recorder`](Builder::flight_recorder).
    #[cfg(feature = "record")]
    pub fn record(mut self, output: impl std::io::Write + Send + 'static) -> Self {
        let output = alloc::boxed::Box::new(output);
        self.setup.record = Some(crate::record::Output::Lines(output));
        self
    }

    /// Has the latest calls of the pool's scheduler in a file of a fixed size, with what it decided: for
    /// [`Replay`](crate::record::Replay) after something odd. Default: nothing is written. Takes the place of
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
    /// There are some six calls for a task that is answered at once, of 20 bytes or less, and never a request, an
    /// answer, a name or an address. A thread of its own writes them every 20 ms, and nothing is forced to the disk: what
    /// a process that is killed had not written is lost, and with the machine what the system had not. A disk that is
    /// slower than the pool loses calls, and one that is full ends the record, with
    /// [`PoolEvent::Unrecorded`](crate::PoolEvent); the pool goes on.
    #[cfg(feature = "record")]
    pub fn flight_recorder(mut self, recorder: crate::record::FlightRecorder) -> Self {
        self.setup.record = Some(crate::record::Output::Flight(recorder));
        self
    }

    /// Has the trace that a task belongs to go along with it, to workers that [take](crate::Worker::propagate) it: see
    /// [`traces`](crate::traces). Default: it ends here.
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

    /// Makes the pool: a handle, and the future that does all the work. Nothing happens until the
    /// [`Driver`] is polled: spawn it, select on it or block on it.
    ///
    /// # Errors
    /// Returns [`BuildError`], which names the limit that is out of its range, says that a seed is to be
    /// given, or names what leaves the machine with nothing to protect it, and what to do about it.
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
}
