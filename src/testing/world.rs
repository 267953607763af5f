//! Pools and workers in one thread, on a clock that jumps.

use std::borrow::ToOwned;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::string::String;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec::Vec;

use chargehand_core::Instant;
use chargehand_core::io::{Dialect, Timer};
use chargehand_core::message::check_name;
use futures_util::future::{Either, select};

use super::clock::{ManualSleep, ManualTimer};
use super::dice::{Delay, Dice};
use super::executor::{Executor, MAIN, Spawned};
use super::handle::{Change, WorkerHandle};
use super::player::Player;
use super::script::Script;
use super::site::{Pulse, Site};
use super::trace::Trace;
use super::watch::{Passing, Watcher};
use super::wires::{Door, Home, WorldConnector, WorldListener};
use crate::link::erased::{Connector, Holds, Kind, Listener, Local, Threaded};
use crate::link::ready::Entry;
use crate::worker::Handler;
use crate::{Builder, Pool, Worker};

/// How much virtual time a run may take, unless the test says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(3600);
/// How many polls there may be without the clock being moved: far more than work needs, and less
/// than a second of real time.
const POLLS_AT_ONCE_MAX: u64 = 1_000_000;
/// How many lines of the trace a panic shows.
const LINES_SHOWN: usize = 20;

/// Pools, workers and a test's own futures in one thread, on a virtual clock: see the
/// [module](super).
///
/// Everything in it is polled only when woken. When nobody is ready, the clock jumps to the next
/// sleep that ends; between jumps no time passes. The same seed gives the same
/// [trace](World::trace), as long as all that runs in it takes its time from
/// [`timer`](World::timer), and nothing from threads, sockets or other sources of chance.
///
/// When a test panics, the world's seed is printed.
pub struct World {
    seed: u64,
    timer: ManualTimer,
    trace: Trace,
    executor: Executor,
    dice: RefCell<Dice>,
    homes: RefCell<Vec<(Home, Route)>>,
    /// Where workers that dial in come to the first pool.
    front: Arc<Door>,
    /// `None` once a pool has it.
    front_listener: Cell<Option<WorldListener>>,
    latency: Cell<Delay>,
    /// `None` where each worker's is drawn.
    capacity: Cell<Option<usize>>,
    /// How many bytes go each way in a second.
    rate: Cell<u32>,
    proven: Cell<bool>,
    watcher: Watcher,
    time_limit: Cell<Duration>,
    running: Cell<bool>,
    /// Polls when the clock was moved last.
    polls_before: Cell<u64>,
}

/// Who opens a worker's links.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Dialled,
    DialsIn,
}

impl World {
    /// Makes an empty world at time zero. Everything that is drawn in it comes from `seed`: delays,
    /// chances, garbage, and the pools' jitter.
    pub fn new(seed: u64) -> Self {
        let timer = ManualTimer::new();
        let front = Arc::new(Door::default());
        Self {
            seed,
            trace: Trace::new(timer.clone()),
            timer,
            executor: Executor::new(),
            dice: RefCell::new(Dice::new(seed)),
            homes: RefCell::default(),
            front_listener: Cell::new(Some(WorldListener(Arc::clone(&front)))),
            front,
            latency: Cell::default(),
            capacity: Cell::default(),
            rate: Cell::default(),
            proven: Cell::default(),
            watcher: Watcher::default(),
            time_limit: Cell::new(TIME_LIMIT),
            running: Cell::new(false),
            polls_before: Cell::new(0),
        }
    }

    /// Adds a scripted worker. Pools that the world makes afterwards dial it.
    ///
    /// # Panics
    /// Panics where its name is taken or no good.
    pub fn worker(&self, script: Script) -> WorkerHandle {
        let route = if script.dials_in { Route::DialsIn } else { Route::Dialled };
        self.play(script, route, Dialect::Native)
    }

    /// Adds a scripted worker of the Go package `worker`. Pools that the world makes afterwards dial
    /// it by the JSON dialect. It takes one height at a time and answers that it is done, or what
    /// the script says. [`Script::answers`] changes nothing: such a worker has no answer to give.
    ///
    /// ```
    /// use chargehand::testing::{Act, Script, World};
    ///
    /// let world = World::new(1);
    /// world.go_worker(Script::new().height(7, Act::Fail("no such block".to_owned())));
    /// let pool = world.pool(|builder| builder);
    /// let report = world.run(pool.process::<()>(1..=10).each(|_, _| ()));
    /// assert_eq!((report.done, report.failed), (9, 1));
    /// ```
    ///
    /// # Panics
    /// Panics where its name is taken or no good, and where the script has it dial in or work on
    /// more than one at a time, which no such worker does.
    pub fn go_worker(&self, script: Script) -> WorkerHandle {
        assert!(!script.dials_in, "a Go worker does not dial in");
        assert!(script.concurrency == 1, "a Go worker takes one height at a time");
        self.play(script, Route::Dialled, Dialect::Json)
    }

    fn play(&self, script: Script, route: Route, dialect: Dialect) -> WorkerHandle {
        let home = self.home(script.name.as_deref(), route, dialect);
        let dice = Dice::new(self.draw());
        self.executor.spawn(Player::new(script, home.clone(), Arc::clone(&self.front), dice));
        WorkerHandle(home)
    }

    /// Adds a real worker under that name, made by `make` at the start and again whenever it
    /// [revives](WorkerHandle::revives). Pools that the world makes afterwards dial it.
    ///
    /// The world sets the worker's name and seed. Give it the world's [timer](World::timer), and
    /// its handler too, if that sleeps. Where the worker is [stopped](crate::worker::Stopper), its
    /// process ends.
    ///
    /// # Panics
    /// Panics where the name is taken or no good; in the world, where a setting of the worker is
    /// out of its range.
    pub fn host<H: Handler + 'static>(
        &self,
        name: &str,
        make: impl FnMut() -> Worker<ManualTimer, H> + 'static,
    ) -> WorkerHandle {
        let home = self.home(Some(name), Route::Dialled, Dialect::Native);
        self.executor.spawn(live(home.clone(), make, self.draw()));
        WorkerHandle(home)
    }

    /// Sets how long each message is on its way to and from the workers that are added from now
    /// on: a span, or a range to draw one from. They never overtake each other. Default zero.
    pub fn latency(&self, delay: impl Into<Delay>) {
        self.latency.set(delay.into());
    }

    /// Sets how many messages a wire holds each way, of the workers that are added from now on; 0
    /// counts as 1. Whoever sends more waits until the other end has read. Without it each worker's
    /// wires have 1, 2, 8 or 1024, drawn by the world's seed.
    pub fn wire_capacity(&self, messages: usize) {
        self.capacity.set(Some(messages.max(1)));
    }

    /// Sets how many bytes a second go each way on each wire, of the workers that are added from now on:
    /// a message arrives once the line has taken all of it, and what was sent before. Default 0, which
    /// is no limit.
    pub fn throttle(&self, bytes_per_second: u32) {
        self.rate.set(bytes_per_second);
    }

    /// Sets whether the transport proves to managers that the workers which are added from now on have
    /// their names, as TLS does with a certificate. Default no.
    pub fn proven(&self, proven: bool) {
        self.proven.set(proven);
    }

    /// Calls `watching` with each message that is put on a wire of this world or read from it, and with
    /// each end of a wire, in the order in which they happen: what a test needs that counts for
    /// itself what the pool does. It takes the place of an earlier one. It must not use the world, or
    /// what is in it.
    pub fn watch(&self, watching: impl FnMut(&Passing<'_>) + Send + 'static) {
        self.watcher.set(watching);
    }

    /// Returns where workers that dial in come to, for pools that the world does not make. The world's
    /// own first pool has one. Where several wait for them at once, the latest gets them.
    pub fn listener(&self) -> WorldListener {
        WorldListener(Arc::clone(&self.front))
    }

    /// Makes a pool that dials all workers that the world has so far. `set` may change its limits
    /// and add other workers; its jitter's seed comes from the world's. The world drives it. Where
    /// there are several, [name](Builder::name) them: the trace tells them by that.
    ///
    /// # Panics
    /// Panics where a limit is out of its range.
    pub fn pool(
        &self,
        set: impl FnOnce(Builder<ManualTimer, Threaded>) -> Builder<ManualTimer, Threaded>,
    ) -> Pool<Threaded> {
        self.pool_of(Pool::builder(self.timer()), set)
    }

    /// Makes a pool as [`pool`](World::pool) does, of the other kind: its transports need not be
    /// `Send`.
    ///
    /// # Panics
    /// As [`pool`](World::pool).
    pub fn local_pool(
        &self,
        set: impl FnOnce(Builder<ManualTimer, Local>) -> Builder<ManualTimer, Local>,
    ) -> Pool<Local> {
        self.pool_of(Pool::local_builder(self.timer()), set)
    }

    /// Lets something happen to a worker, `when` after the world began.
    ///
    /// # Panics
    /// Panics where that is over.
    pub fn at(&self, when: Duration, change: Change) {
        let now = self.elapsed();
        assert!(now <= when, "something is to happen at {when:?}, and it is {now:?} already");
        self.executor.spawn(change.happen_at(Instant::EPOCH.saturating_add(when)));
    }

    /// Runs a future beside the others, whenever the world runs.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Spawned<F::Output> {
        self.executor.spawn_joined(future)
    }

    /// Runs the world until `future` completes, and returns what it returns. The world may be run
    /// again: everything else goes on from there.
    ///
    /// # Panics
    /// Panics, with the last lines of the trace, where the future can never complete because
    /// nobody is ready and nothing is due, where it takes more virtual time than the
    /// [limit](World::time_limit), where something wakes itself for ever while the clock stands
    /// still, and inside of another run.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let _run = self.begin();
        let mut future = pin!(future);
        let entry = self.executor.main();
        let end = self.timer.now().saturating_add(self.time_limit.get());
        loop {
            while let Some(token) = self.executor.next() {
                if token == MAIN {
                    if let Poll::Ready(output) = self.poll_main(&entry, future.as_mut()) {
                        return output;
                    }
                } else {
                    self.executor.poll(token);
                }
                self.check_busy();
            }
            match self.next_sleep() {
                Some(at) if at <= end => self.jump(at),
                Some(_) => self.give_up(format_args!(
                    "the future of `World::run` is not done after {:?} of virtual time: does it \
                     wait for something that never comes? (`World::time_limit` allows more)",
                    self.time_limit.get()
                )),
                None => self.give_up(format_args!(
                    "the future of `World::run` can never complete: nobody is ready, and nothing \
                     is due"
                )),
            }
        }
    }

    /// Runs the world for that long, and until nobody is ready then. With a span of zero it lets
    /// happen what needs no time.
    ///
    /// # Panics
    /// Panics where something wakes itself for ever while the clock stands still, and inside of
    /// another run.
    pub fn advance(&self, span: Duration) {
        let _run = self.begin();
        let end = self.timer.now().saturating_add(span);
        loop {
            while let Some(token) = self.executor.next() {
                self.executor.poll(token);
                self.check_busy();
            }
            match self.next_sleep() {
                Some(at) if at <= end => self.jump(at),
                _ => break,
            }
        }
        self.jump(end);
    }

    /// Sets how much virtual time one [`run`](World::run) may take. Default one hour.
    pub fn time_limit(&self, span: Duration) {
        self.time_limit.set(span);
    }

    /// Returns a future that completes after that long on the virtual clock.
    pub fn sleep(&self, span: Duration) -> ManualSleep {
        self.timer.sleep(span)
    }

    /// Returns the time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.timer.elapsed()
    }

    /// Returns the virtual clock, for whatever takes a timer: a worker, a handler, a pool that the
    /// world does not make. Set such a pool's seed, or its jitter differs from run to run, and
    /// [spawn](World::spawn) its driver.
    pub fn timer(&self) -> ManualTimer {
        self.timer.clone()
    }

    /// Returns what happened so far, and from now on.
    pub fn trace(&self) -> Trace {
        self.trace.clone()
    }

    /// Returns how many times futures of the world have been polled so far: the cost of a run, the same on
    /// every machine.
    pub fn polls(&self) -> u64 {
        self.executor.polls()
    }

    fn draw(&self) -> u64 {
        self.dice.borrow_mut().draw()
    }

    fn home(&self, name: Option<&str>, route: Route, dialect: Dialect) -> Home {
        let mut homes = self.homes.borrow_mut();
        let name = match name {
            Some(name) => name.to_owned(),
            None => format!("worker-{}", homes.len() + 1),
        };
        if let Err(error) = check_name(&name) {
            panic!("{name:?} is no name for a worker: {error}");
        }
        assert!(!name.is_empty(), "a worker's name is empty");
        let taken = homes.iter().any(|(home, _)| *home.site.name == *name);
        assert!(!taken, "two workers are named {name:?}");
        let dice = Dice::new(self.draw());
        let name: Arc<str> = name.into();
        let identity = self.proven.get().then(|| Arc::clone(&name));
        let site = Site::new(name, identity, self.trace(), self.timer(), dice);
        let site = site.watched_by(self.watcher.clone());
        site.set_rate(self.rate.get());
        site.set_latency(self.latency.get());
        if let Some(capacity) = self.capacity.get() {
            site.set_capacity(capacity);
        }
        let home = Home { site: Arc::new(site), door: Arc::default(), dialect };
        homes.push((home.clone(), route));
        home
    }

    fn pool_of<K: Kind>(
        &self,
        builder: Builder<ManualTimer, K>,
        set: impl FnOnce(Builder<ManualTimer, K>) -> Builder<ManualTimer, K>,
    ) -> Pool<K>
    where
        K::Connector: Holds<Connector<WorldConnector>>,
        K::Listener: Holds<Listener<WorldListener>>,
    {
        let seed = self.draw();
        let mut builder = builder.seed(seed);
        for (home, route) in &*self.homes.borrow() {
            if *route == Route::Dialled {
                builder = builder.connect(WorldConnector(home.clone()));
            }
        }
        if let Some(listener) = self.front_listener.take() {
            builder = builder.accept(listener);
        }
        let builder = set(builder);
        let name = builder.given_name().to_owned();
        let (pool, driver) = builder.build().unwrap_or_else(|error| {
            panic!("the settings of the pool {name:?} are out of range: {error}")
        });
        let (mut events, trace) = (pool.events(), self.trace());
        self.executor.spawn(driver);
        self.executor.spawn(async move {
            while let Some(event) = events.next().await {
                trace.note(format!("{name}: {event}"));
            }
        });
        pool
    }

    fn begin(&self) -> Run<'_> {
        assert!(
            !self.running.replace(true),
            "the world runs already: inside of a run, await the future or spawn it"
        );
        self.polls_before.set(self.executor.polls());
        Run(self)
    }

    fn poll_main<F: Future>(
        &self,
        entry: &Entry,
        future: std::pin::Pin<&mut F>,
    ) -> Poll<F::Output> {
        entry.clear();
        self.executor.count();
        future.poll(&mut Context::from_waker(entry.waker()))
    }

    fn check_busy(&self) {
        if self.executor.polls() - self.polls_before.get() > POLLS_AT_ONCE_MAX {
            self.give_up(format_args!(
                "the world does not come to rest: {POLLS_AT_ONCE_MAX} polls while the clock stood \
                 still; does a future wake itself for ever?"
            ));
        }
    }

    /// Returns when the next sleep ends, if one ever does.
    fn next_sleep(&self) -> Option<Instant> {
        self.timer.next_sleep().filter(|at| *at < Instant::FAR_FUTURE)
    }

    fn jump(&self, at: Instant) {
        self.polls_before.set(self.executor.polls());
        self.timer.advance_to(at);
    }

    fn give_up(&self, why: fmt::Arguments<'_>) -> ! {
        let homes = self.homes.borrow();
        let sites = homes.iter().map(|(home, _)| &home.site);
        let alone = sites.filter(|site| site.is_alive() && !site.is_known());
        let alone: Vec<&str> = alone.map(|site| &*site.name).collect();
        let hint = match &*alone.join(", ") {
            "" => String::new(),
            names => {
                format!("\nnobody ever dialled {names}: a pool dials the workers made before it")
            }
        };
        panic!("{why}{hint}\nthe last lines of the trace:\n{}", self.trace.tail(LINES_SHOWN));
    }
}

/// Lets a real worker live, die and live again.
async fn live<H: Handler>(home: Home, mut make: impl FnMut() -> Worker<ManualTimer, H>, seed: u64) {
    let site = &home.site;
    loop {
        let life = poll_fn(|cx| match site.register(cx) {
            Pulse { alive: true, life, .. } => Poll::Ready(life),
            _ => Poll::Pending,
        })
        .await;
        // Another life is another process.
        let worker = make().name(&*site.name).seed(seed.wrapping_add(life));
        // Used once: it wakes the worker, and with it whoever looks here again.
        let mut stopper = Some(worker.stopper());
        let death = pin!(poll_fn(|cx| match site.register(cx) {
            Pulse { alive: true, life: now, stopping } if now == life => {
                if let Some(stopper) = stopper.take_if(|_| stopping) {
                    stopper.stop();
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }));
        let serving = pin!(worker.serve(WorldListener(Arc::clone(&home.door))));
        // Death first: a dead process does nothing more.
        if let Either::Right((served, _)) = select(death, serving).await {
            if let Err(error) = served {
                panic!("the worker {} cannot serve: {error}", site.name);
            }
            home.end();
        }
    }
}

/// A run under way.
struct Run<'a>(&'a World);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!(
                "this was World::new({}), {:?} after its beginning",
                self.seed,
                self.elapsed()
            );
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("elapsed", &self.elapsed())
            .field("workers", &self.homes.borrow().len())
            .finish_non_exhaustive()
    }
}
