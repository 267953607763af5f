//! A pool under test and what is asked of it again and again. Waits for conditions and events, and
//! gives up by itself: nothing in here sleeps for a time and hopes.

use alloc::string::ToString;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::string::String;
use std::task::Poll;
use std::time::{Duration, Instant};
use std::vec::Vec;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, abortable};

use super::{PATIENCE, Pair};
use crate::core::io::Timer;
use crate::core::{BackoffPolicy, Stats, WorkerId};
use crate::worker::Typed;
use crate::{
    Builder, Events, Outcomes, Pool, PoolEvent, PoolStats, TaskError, TaskOptions, Threaded,
    Worker, WorkerError, WorkerOptions,
};

/// How long one condition may take to come true.
pub const SOON: Duration = Duration::from_secs(20);

/// Runs a case, and fails it where it does not end, whatever it hangs on.
pub fn bounded(case: impl FnOnce() + Send + 'static) {
    bounded_by(PATIENCE, case);
}

/// Runs a case that may take that long.
pub fn bounded_by(patience: Duration, case: impl FnOnce() + Send + 'static) {
    let (sender, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _sender = sender; // Dropped at the end, by a panic too.
        case();
    });
    match ended.recv_timeout(patience) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("not over after {patience:?}"),
        _ => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A worker's answer in the making.
pub type Answer = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;
/// A worker whose handler takes a height and answers a number.
pub type Hand<P> = Worker<<P as Pair>::Timer, Typed<Box<dyn Fn(u64) -> Answer + Send>, (u64,)>>;
/// A pool before it is built.
pub type Setup<P> = Builder<<P as Pair>::Timer, Threaded>;

/// A future under way on a runtime. Dropping it ends that.
pub struct Job {
    abort: AbortHandle,
    ended: async_channel::Receiver<()>,
}

impl Job {
    /// Completes when the future has.
    pub async fn done(self) {
        self.ended.recv().await.expect("the job ended by itself");
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// What follows from a [`Pair`].
pub trait Ends: Pair {
    fn job(future: impl Future<Output = ()> + Send + 'static) -> Job {
        let (sender, ended) = async_channel::bounded(1);
        let (future, abort) = abortable(future);
        Self::spawn(async move {
            if future.await.is_ok() {
                let _ = sender.send(()).await;
            }
        });
        Job { abort, ended }
    }

    fn connect(setup: Setup<Self>, at: &Self::Connector) -> Setup<Self> {
        setup.connect(at.clone())
    }

    fn accept(setup: Setup<Self>, door: Self::Listener) -> Setup<Self> {
        setup.accept(door)
    }

    fn add(
        pool: &Pool,
        at: &Self::Connector,
    ) -> impl Future<Output = Result<WorkerId, WorkerError>> + Send {
        let (pool, at) = (pool.clone(), at.clone());
        async move { pool.add(at, WorkerOptions::new()).await }
    }

    fn serve(hand: Hand<Self>, door: Self::Listener) -> impl Future<Output = ()> + Send + 'static {
        async move { hand.serve(door).await.expect("the settings are in range") }
    }

    fn dial(hand: Hand<Self>, at: &Self::Connector) -> impl Future<Output = ()> + Send + 'static {
        let at = at.clone();
        async move { hand.dial(at).await.expect("the settings are in range") }
    }
}

impl<P: Pair> Ends for P {}

/// A pool, its events and the job of its driver.
pub struct Rig {
    pub pool: Pool,
    pub watch: Watch,
    pub driver: Job,
}

impl Rig {
    pub fn start<P: Pair>(setup: Setup<P>) -> Self {
        let (pool, driver) = setup.build().expect("the limits are in range");
        let watch = Watch::of::<P>(pool.events());
        Self { pool, watch, driver: P::job(driver) }
    }

    /// Waits until so many workers are up.
    pub async fn up<P: Pair>(&self, count: u32) {
        eventually::<P>(&self.pool, |stats| stats.tasks.workers_up == count).await;
    }

    /// Stops the pool and checks that every task had exactly one outcome.
    pub async fn stop(self) -> Stats {
        let stats = self.pool.stop().await.expect("the driver lives").tasks;
        self.driver.done().await;
        assert_settled(&stats);
        stats
    }
}

/// A pool that reconnects on a test's time scale.
pub fn setup<P: Pair>() -> Setup<P> {
    Pool::builder(P::timer()).insecure().configure(|config| {
        config.connect_timeout = Duration::from_secs(5);
        config.backoff = brief();
    })
}

/// Makes a pool tire of silence soon. Only where that is the case: a busy machine can be silent, too.
pub fn impatient<P: Pair>(setup: Setup<P>) -> Setup<P> {
    setup.configure(|config| {
        config.heartbeat_interval = millis(300);
        config.heartbeat_timeout = millis(700);
    })
}

/// A backoff that a test can wait for.
pub fn brief() -> BackoffPolicy {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(200));
    BackoffPolicy::new().base(base).cap(cap)
}

/// What every handler here answers where nothing else is said.
pub fn answer_to(height: u64) -> u64 {
    2 * height + 1
}

/// A worker that works by a function.
pub fn hand<P: Pair>(name: &str, work: impl Fn(u64) -> Answer + Send + 'static) -> Hand<P> {
    let work: Box<dyn Fn(u64) -> Answer + Send> = Box::new(work);
    Worker::new(P::timer(), work).insecure().name(name).backoff(brief())
}

/// A worker that takes that long for each task.
pub fn steady<P: Pair>(name: &str, span: Duration) -> Hand<P> {
    hand::<P>(name, move |height| {
        Box::pin(async move {
            pause::<P>(span).await;
            Ok(answer_to(height))
        })
    })
}

/// A worker that answers at once.
pub fn quick<P: Pair>(name: &str) -> Hand<P> {
    hand::<P>(name, |height| Box::pin(async move { Ok(answer_to(height)) })).concurrency(8)
}

/// A worker that never answers.
pub fn stuck<P: Pair>(name: &str) -> Hand<P> {
    hand::<P>(name, |_| Box::pin(std::future::pending()))
}

/// Waits that long.
pub async fn pause<P: Pair>(span: Duration) {
    let timer = P::timer();
    timer.sleep_until(timer.now().saturating_add(span)).await;
}

pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Waits until the pool's figures are as wanted, and returns them.
pub async fn eventually<P: Pair>(pool: &Pool, wanted: impl Fn(&PoolStats) -> bool) -> PoolStats {
    let started = Instant::now();
    loop {
        let stats = pool.stats().await.expect("the driver lives");
        if wanted(&stats) {
            return stats;
        }
        assert!(started.elapsed() < SOON, "it never came about: {stats:#?}");
        pause::<P>(millis(3)).await;
    }
}

/// Waits until something outside of a pool is as wanted.
pub async fn until<P: Pair>(what: &str, mut wanted: impl FnMut() -> bool) {
    let started = Instant::now();
    while !wanted() {
        assert!(started.elapsed() < SOON, "it never came about: {what}");
        pause::<P>(millis(3)).await;
    }
}

/// Completes with the output, or with `None` once the time is over.
pub async fn within<P: Pair, F: Future>(span: Duration, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut end = Box::pin(pause::<P>(span));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        end.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Polls a future at most that often, with a pause after each, and drops it.
pub async fn poll_and_drop<P: Pair, F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        pause::<P>(Duration::from_micros(300)).await;
    }
    None
}

/// Checks that no task is left and that the outcomes add up.
pub fn assert_settled(stats: &Stats) {
    assert_eq!((stats.waiting, stats.resting), (0, 0), "{stats:?}");
    assert_eq!((stats.in_flight, stats.finished), (0, 0), "{stats:?}");
    let ended = stats.done + stats.failed + stats.exhausted + stats.bounced;
    let ended = ended + stats.cancelled + stats.aborted;
    assert_eq!(stats.submitted, ended, "{stats:?}");
}

/// The events of a pool.
pub struct Watch {
    events: async_channel::Receiver<PoolEvent>,
    seen: Vec<PoolEvent>,
    _job: Job,
}

impl Watch {
    /// Takes the events as they come: a pool drops those that nobody takes in time, and crowds make many.
    fn of<P: Pair>(mut events: Events) -> Self {
        let (sender, taken) = async_channel::unbounded();
        let job = P::job(async move {
            while let Some(event) = events.next().await {
                let _ = sender.try_send(event);
            }
        });
        Self { events: taken, seen: Vec::new(), _job: job }
    }

    /// Waits for an event, and returns it.
    pub async fn until<P: Pair>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&PoolEvent) -> bool,
    ) -> PoolEvent {
        loop {
            let next = within::<P, _>(SOON, self.events.recv()).await;
            let seen = &self.seen;
            let event = next.unwrap_or_else(|| panic!("no {what}, but {seen:#?}"));
            let event = event.unwrap_or_else(|_| panic!("no {what} before the end, but {seen:#?}"));
            if wanted(&event) {
                return event;
            }
            self.seen.push(event);
        }
    }

    /// Waits for the end of the stream.
    pub async fn ends<P: Pair>(&mut self) {
        let end = async { while self.events.recv().await.is_ok() {} };
        within::<P, _>(SOON, end).await.expect("the events end with the driver");
    }

    pub async fn connected<P: Pair>(&mut self) {
        self.until::<P>("Connected", |event| matches!(event, PoolEvent::Connected { .. })).await;
    }

    /// Waits for a link to be lost, and returns why.
    pub async fn lost<P: Pair>(&mut self) -> String {
        let event = self.until::<P>("Lost", |event| matches!(event, PoolEvent::Lost { .. })).await;
        let PoolEvent::Lost { reason, .. } = event else { unreachable!() };
        reason.to_string()
    }

    /// Waits for a link to be closed in good order.
    pub async fn closed<P: Pair>(&mut self) {
        self.until::<P>("Closed", |event| matches!(event, PoolEvent::Closed { .. })).await;
    }

    /// Waits for a worker, or a newcomer, to be refused, and returns why.
    pub async fn refused<P: Pair>(&mut self) -> String {
        let event = self
            .until::<P>("Refused or TurnedAway", |event| {
                matches!(event, PoolEvent::Refused { .. } | PoolEvent::TurnedAway { .. })
            })
            .await;
        match event {
            PoolEvent::Refused { reason, .. } | PoolEvent::TurnedAway { reason, .. } => {
                reason.to_string()
            }
            _ => unreachable!(),
        }
    }
}

/// The outcomes of a range: each height once.
pub struct Tally {
    outcomes: Pin<Box<Outcomes<u64>>>,
    range: RangeInclusive<u64>,
    pub results: BTreeMap<u64, Result<u64, TaskError>>,
}

impl Tally {
    pub fn start(pool: &Pool, range: RangeInclusive<u64>) -> Self {
        let outcomes = Box::pin(pool.process(range.clone()));
        Self { outcomes, range, results: BTreeMap::new() }
    }

    /// Starts a range whose heights are tried once, whoever fails them.
    pub fn once(pool: &Pool, range: RangeInclusive<u64>) -> Self {
        let once = pool.with(TaskOptions::new().retries(0));
        let outcomes = Box::pin(once.process(range.clone()));
        Self { outcomes, range, results: BTreeMap::new() }
    }

    /// Takes so many more outcomes, or all that come where there are fewer.
    pub async fn take(&mut self, count: usize) {
        for _ in 0..count {
            let Some((height, result)) = self.outcomes.next().await else { return };
            assert!(self.range.contains(&height), "nobody asked for {height}");
            let before = self.results.insert(height, result);
            assert_eq!(before, None, "height {height} has two outcomes");
        }
    }

    /// Takes the rest. Each height must have its outcome then.
    pub async fn finish(mut self) -> BTreeMap<u64, Result<u64, TaskError>> {
        self.take(usize::MAX).await;
        for height in self.range {
            assert!(self.results.contains_key(&height), "height {height} has no outcome");
        }
        self.results
    }

    /// Takes the rest. Each height must have its right answer then.
    pub async fn all_done(self) {
        for (height, result) in self.finish().await {
            assert_eq!(result, Ok(answer_to(height)), "height {height}");
        }
    }
}

/// Does some heights to see that the pool is well.
pub async fn works(pool: &Pool) {
    Tally::start(pool, 1..=50).all_done().await;
}
