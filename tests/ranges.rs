//! Ranges in one thread, polled only when woken and with a clock that stands still: whatever is
//! forgotten, a wake-up above all, shows as a range that stops.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chargehand::local::{LocalConnector, pair};
use chargehand::testing::ManualTimer;
use chargehand::{Builder, Local, Outcomes, Pool, TaskError, Worker};
use futures_util::StreamExt;
use smol::LocalExecutor;

type Answer = Pin<Box<dyn Future<Output = Result<u64, String>>>>;

/// A pool without workers, and whoever is spawned beside it.
struct World {
    executor: LocalExecutor<'static>,
    timer: ManualTimer,
    pool: Pool<Local>,
}

impl World {
    fn new(set: impl FnOnce(Builder<ManualTimer, Local>) -> Builder<ManualTimer, Local>) -> Self {
        let (executor, timer) = (LocalExecutor::new(), ManualTimer::new());
        let builder = Pool::local_builder(timer.clone()).configure(|config| config.seed = 7);
        let (pool, driver) = set(builder).build().expect("the limits are in range");
        executor.spawn(driver).detach();
        Self { executor, timer, pool }
    }

    /// Runs until nobody is woken any more.
    fn settle(&self) {
        while self.executor.try_tick() {}
    }

    fn worker(&self, window: u16, work: impl Fn(u64) -> Answer + 'static) -> LocalConnector {
        let (connector, listener) = pair(usize::from(window));
        let worker = Worker::new(self.timer.clone(), work).concurrency(window);
        self.executor.spawn(worker.serve(listener)).detach();
        connector
    }

    fn add(&self, window: u16, work: impl Fn(u64) -> Answer + 'static) {
        let (pool, connector) = (self.pool.clone(), self.worker(window, work));
        self.executor.spawn(async move { pool.add(connector).await }).detach();
        self.settle();
    }
}

fn echo(height: u64) -> Answer {
    Box::pin(async move { Ok(height) })
}

/// Polls once, with nobody to wake.
fn next(outcomes: &mut Outcomes<u64>) -> Poll<Option<(u64, Result<u64, TaskError>)>> {
    outcomes.poll_next_unpin(&mut Context::from_waker(Waker::noop()))
}

/// Takes what is there, and returns whether the range is over.
fn take(outcomes: &mut Outcomes<u64>, at_most: usize, taken: &mut BTreeSet<u64>) -> bool {
    for _ in 0..at_most {
        match next(outcomes) {
            Poll::Ready(Some((height, result))) => {
                assert_eq!(result.expect("the worker echoes"), height);
                assert!(taken.insert(height), "{height} came twice");
            }
            Poll::Ready(None) => return true,
            Poll::Pending => return false,
        }
    }
    false
}

#[test]
fn a_range_gets_to_its_end_however_little_it_may_go_ahead_and_however_it_is_taken() {
    for ahead in [1, 2, 3, 7, 1024] {
        for window in [1, 2, 5] {
            for at_most in [1, 3, usize::MAX] {
                let world = World::new(|builder| builder.ahead_max(ahead));
                world.add(window, echo);
                let mut outcomes = world.pool.process(1..=60);
                let mut taken = BTreeSet::new();
                for _ in 0..200 {
                    if take(&mut outcomes, at_most, &mut taken) {
                        break;
                    }
                    world.settle();
                }
                let case = format!("ahead {ahead}, window {window}, {at_most} at a time");
                assert_eq!(taken.len(), 60, "{case}");
                assert!(matches!(next(&mut outcomes), Poll::Ready(None)), "{case}");
            }
        }
    }
}

#[test]
fn a_range_goes_further_ahead_as_workers_come() {
    let world = World::new(|builder| builder.ahead_max(1));
    world.add(1, |_| Box::pin(std::future::pending()));
    let mut outcomes = world.pool.process(1..=100);
    assert!(next(&mut outcomes).is_pending());
    world.settle();

    let held = Rc::new(RefCell::new(0));
    let count = Rc::clone(&held);
    world.add(8, move |_| {
        *count.borrow_mut() += 1;
        Box::pin(std::future::pending())
    });
    assert_eq!(*held.borrow(), 8, "all of it, although no outcome came");
}

#[test]
fn a_range_that_may_go_less_far_ahead_than_it_has_gone_still_ends() {
    let world = World::new(|builder| builder.ahead_max(1));
    let connector = world.worker(64, echo);
    let pool = world.pool.clone();
    let adding = world.executor.spawn(async move { pool.add(connector).await });
    world.settle();
    let wide = smol::block_on(adding).expect("there is room");

    let mut outcomes = world.pool.process(1..=300);
    assert!(next(&mut outcomes).is_pending());
    world.settle();
    // Outcomes for twice the window lie ready, and now there is no window any more.
    let pool = world.pool.clone();
    let removing = world.executor.spawn(async move { pool.remove(wide).await });
    world.settle();
    smol::block_on(removing).expect("it was there");
    let mut taken = BTreeSet::new();
    assert!(!take(&mut outcomes, usize::MAX, &mut taken));
    assert!(taken.len() >= 64, "{}", taken.len());

    world.add(1, echo);
    while !take(&mut outcomes, usize::MAX, &mut taken) {
        let before = taken.len();
        world.settle();
        take(&mut outcomes, usize::MAX, &mut taken);
        assert!(taken.len() > before, "it stopped at {before}");
    }
    assert_eq!(taken.len(), 300);
}

#[test]
fn ranges_and_single_calls_share_a_pool() {
    let world = World::new(|builder| builder.ahead_max(4));
    world.add(3, echo);
    let mut ranges = [world.pool.process(1..=50), world.pool.process(1..=50)];
    let mut taken = [BTreeSet::new(), BTreeSet::new()];
    let pool = world.pool.clone();
    let calls = world.executor.spawn(async move {
        for height in 1000..1050 {
            let answer: u64 = pool.call(&height).await.expect("the worker echoes");
            assert_eq!(answer, height);
        }
    });
    for _ in 0..200 {
        for (range, taken) in ranges.iter_mut().zip(&mut taken) {
            take(range, 2, taken);
        }
        world.settle();
    }
    assert!(calls.is_finished());
    assert_eq!(taken.each_ref().map(BTreeSet::len), [50, 50]);
}
