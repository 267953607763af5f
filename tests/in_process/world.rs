//! A pool in one thread, polled only when woken and on a clock that is moved by hand.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chargehand::core::io::Timer;
use chargehand::core::{Config, Stats};
use chargehand::testing::ManualTimer;
use chargehand::{
    Builder, Events, Local, Pool, PoolEvent, PoolStats, Task, TaskError, TaskOptions,
};
use serde::Deserialize;
use smol::LocalExecutor;

pub(crate) type Setup = Builder<ManualTimer, Local>;
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<u64, String>>>>;

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A pool, and whoever is spawned beside it.
pub(crate) struct World {
    pub(crate) executor: LocalExecutor<'static>,
    pub(crate) timer: ManualTimer,
    pub(crate) pool: Pool<Local>,
    pub(crate) driver: Option<smol::Task<()>>,
    events: Events,
}

impl World {
    pub(crate) fn new(set: impl FnOnce(Setup) -> Setup, change: impl FnOnce(&mut Config)) -> Self {
        let (executor, timer) = (LocalExecutor::new(), ManualTimer::new());
        let builder = Pool::local_builder(timer.clone()).configure(|config| {
            config.seed = 7;
            change(config);
        });
        let (pool, driver) = set(builder).build().expect("the limits are in range");
        let events = pool.events();
        let driver = Some(executor.spawn(driver));
        let world = Self { executor, timer, pool, driver, events };
        world.settle();
        world
    }

    /// Runs until nobody is woken any more.
    pub(crate) fn settle(&self) {
        for _ in 0..100_000 {
            if !self.executor.try_tick() {
                return;
            }
        }
        panic!("somebody is woken for ever");
    }

    /// Moves the clock on, from deadline to deadline.
    pub(crate) fn advance(&self, span: Duration) {
        let end = self.timer.now().saturating_add(span);
        while let Some(next) = self.timer.next_sleep().filter(|next| *next <= end) {
            self.timer.advance(next.saturating_since(self.timer.now()));
            self.settle();
        }
        self.timer.advance(end.saturating_since(self.timer.now()));
        self.settle();
    }

    /// Completes a future that needs no time.
    pub(crate) fn get<F: Future>(&self, future: impl FnOnce(Pool<Local>) -> F) -> F::Output {
        let mut future = Box::pin(future(self.pool.clone()));
        for _ in 0..1000 {
            if let Poll::Ready(output) = poll(&mut future) {
                return output;
            }
            self.settle();
        }
        panic!("it takes time");
    }

    pub(crate) fn stats(&self) -> PoolStats {
        self.get(|pool| async move { pool.stats().await.expect("the driver lives") })
    }

    /// Returns how many tasks the worker of that name has done.
    pub(crate) fn done_by(&self, peer: &str) -> u64 {
        let workers = self.stats().workers;
        let worker = workers.iter().find(|worker| &*worker.peer == peer);
        worker.unwrap_or_else(|| panic!("no {peer} in {workers:?}")).stats.done
    }

    pub(crate) fn submit(&self, height: u64) -> Pin<Box<Task<u64>>> {
        let task = self.pool.try_submit::<u64, u64>(height).expect("there is room");
        self.settle();
        Box::pin(task)
    }

    /// Does a range, and returns each height's outcome.
    pub(crate) fn range<A>(&self, first: u64, last: u64) -> BTreeMap<u64, Result<A, TaskError>>
    where
        A: for<'a> Deserialize<'a> + Debug + Send + 'static,
    {
        let mut outcomes = self.pool.with(TaskOptions::new().retries(0)).process::<A>(first..=last);
        let mut seen = BTreeMap::new();
        loop {
            match poll(&mut Box::pin(outcomes.next())) {
                Poll::Ready(Some((height, result))) => {
                    assert!(seen.insert(height, result).is_none(), "{height} came twice");
                }
                Poll::Ready(None) => return seen,
                Poll::Pending => {
                    let before = seen.len();
                    self.settle();
                    let next = poll(&mut Box::pin(outcomes.next()));
                    let Poll::Ready(next) = next else { panic!("it stopped at {before}") };
                    let Some((height, result)) = next else { return seen };
                    assert!(seen.insert(height, result).is_none(), "{height} came twice");
                }
            }
        }
    }

    pub(crate) fn happened(&mut self) -> Vec<PoolEvent> {
        let mut events = Vec::new();
        while let Poll::Ready(Some(event)) = poll(&mut Box::pin(self.events.next())) {
            events.push(event);
        }
        events
    }

    /// Stops the pool. Every task must have had its outcome then.
    pub(crate) fn stop(mut self) -> Stats {
        let stats =
            self.get(|pool| async move { pool.stop().await.expect("the driver lives").tasks });
        assert_settled(&stats);
        let driver = self.driver.take().expect("nobody took it");
        assert!(driver.is_finished());
        stats
    }
}

pub(crate) fn assert_settled(stats: &Stats) {
    assert_eq!((stats.waiting, stats.resting, stats.in_flight, stats.finished), (0, 0, 0, 0));
    let ended = stats.done + stats.failed + stats.exhausted + stats.cancelled + stats.aborted;
    assert_eq!(stats.submitted, ended, "{stats:?}");
}

/// Polls once, with nobody to wake.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn echo(height: u64) -> Answer {
    Box::pin(async move { Ok(height) })
}

/// Counts the handlers that hold one.
#[derive(Clone, Default)]
pub(crate) struct Running(Rc<Cell<usize>>, Rc<Cell<usize>>);

pub(crate) struct Held(Running);

impl Running {
    pub(crate) fn hold(&self) -> Held {
        self.0.set(self.0.get() + 1);
        self.1.set(self.1.get().max(self.0.get()));
        Held(self.clone())
    }

    pub(crate) fn now(&self) -> usize {
        self.0.get()
    }

    pub(crate) fn most(&self) -> usize {
        self.1.get()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.set(self.0.now() - 1);
    }
}

/// A handler that never answers.
pub(crate) fn hang(running: &Running) -> impl Fn(u64) -> Answer + use<> {
    let running = running.clone();
    move |_| {
        let held = running.hold();
        Box::pin(async move {
            let _held = held;
            pending().await
        })
    }
}
