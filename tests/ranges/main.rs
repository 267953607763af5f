//! Ranges in one thread, polled only when woken and with a clock that stands still: whatever is
//! forgotten, a wake-up above all, shows as a range that stops.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chargehand::core::ledger::{Ledger, Snapshot, Span};
use chargehand::memory::{MemoryConnector, pair};
use chargehand::testing::{self, Act, ManualTimer, Script};
use chargehand::{
    Builder, Outcomes, Pool, TaskError, TaskOptions, Threaded, Worker, WorkerOptions,
};
use futures_util::StreamExt;

use self::gate::Gate;

mod gate;

type Answer = Pin<Box<dyn Future<Output = Result<u64, String>>>>;

/// A pool without workers, and whoever is spawned beside it.
struct World {
    inner: testing::World,
    pool: Pool,
}

impl World {
    fn new(
        set: impl FnOnce(Builder<ManualTimer, Threaded>) -> Builder<ManualTimer, Threaded>,
    ) -> Self {
        let inner = testing::World::new(7);
        let pool = inner.pool(set);
        Self { inner, pool }
    }

    /// Runs until nobody is woken any more.
    fn settle(&self) {
        self.advance(Duration::ZERO);
    }

    fn worker(&self, window: u16, work: impl Fn(u64) -> Answer + 'static) -> MemoryConnector {
        let (connector, listener) = pair(usize::from(window));
        let worker = Worker::new(self.timer(), work).concurrency(window);
        self.spawn(worker.serve(listener));
        connector
    }

    /// Returns a handle whose ranges try each height once.
    fn without_retries(&self) -> Pool {
        self.pool.with(TaskOptions::new().retries(0))
    }

    fn add(&self, window: u16, work: impl Fn(u64) -> Answer + 'static) {
        self.run(self.pool.add(self.worker(window, work), WorkerOptions::new()))
            .expect("there is room");
        self.settle();
    }
}

impl Deref for World {
    type Target = testing::World;

    fn deref(&self) -> &testing::World {
        &self.inner
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
fn a_range_goes_as_far_ahead_as_it_may_and_no_further_however_much_workers_ask_for() {
    for ahead in [1, 2, 5, 16, 40, 200] {
        let world = World::new(|builder| builder.ahead_max(ahead));
        let begun = Rc::new(RefCell::new(0));
        for window in [8, 64, 64] {
            let begun = Rc::clone(&begun);
            world.add(window, move |height| {
                *begun.borrow_mut() += 1;
                echo(height)
            });
        }
        let mut outcomes = world.pool.process(1..=1000);
        assert!(next(&mut outcomes).is_pending());
        world.settle();
        let (mut taken, mut furthest) = (0, 0);
        while taken < 1000 {
            let under_way = *begun.borrow() - taken;
            assert!(under_way <= ahead, "{under_way} ahead of {taken}, at most {ahead}");
            furthest = furthest.max(under_way);
            assert!(matches!(next(&mut outcomes), Poll::Ready(Some(_))), "it stopped at {taken}");
            taken += 1;
            world.settle();
        }
        assert!(furthest > ahead / 8 * 7, "{furthest} of {ahead}");
    }
}

#[test]
fn by_default_a_range_keeps_all_workers_busy() {
    let world = World::new(|builder| builder.configure(|config| config.trust_initial = 100));
    let held = Rc::new(RefCell::new(0));
    let mut outcomes = world.pool.process(1..=10_000);
    for _ in 0..20 {
        let count = Rc::clone(&held);
        world.add(100, move |_| {
            *count.borrow_mut() += 1;
            Box::pin(std::future::pending())
        });
    }
    assert!(next(&mut outcomes).is_pending());
    world.settle();
    assert_eq!(*held.borrow(), 2000, "although no outcome came");
}

#[test]
fn ranges_and_single_calls_share_a_pool() {
    let world = World::new(|builder| builder.ahead_max(4));
    world.add(3, echo);
    let mut ranges = [world.pool.process(1..=50), world.pool.process(1..=50)];
    let mut taken = [BTreeSet::new(), BTreeSet::new()];
    let pool = world.pool.clone();
    let calls = world.spawn(async move {
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
    assert!(calls.is_done());
    assert_eq!(taken.each_ref().map(BTreeSet::len), [50, 50]);
}

#[test]
fn calls_that_fill_the_pool_let_a_range_have_its_turn() {
    let world = World::new(|builder| builder.tasks_max(2).queue_max(4));
    let timer = world.timer();
    world.add(1, move |height| {
        let nap = timer.sleep(Duration::from_millis(10));
        Box::pin(async move {
            nap.await;
            Ok(height)
        })
    });
    for _ in 0..8 {
        let pool = world.pool.clone();
        world.spawn(async move { while pool.call::<u64, u64>(&7).await.is_ok() {} });
    }
    world.settle();
    world.time_limit(Duration::from_secs(10));
    let report = world.run(world.pool.for_each::<u64>(1..=20, |_, _| {}));
    assert!(report.is_complete());
}

/// Takes all outcomes that are there, in the order in which they come.
fn taken(outcomes: &mut Outcomes<u64>) -> Vec<(u64, Result<u64, TaskError>)> {
    let mut taken = Vec::new();
    while let Poll::Ready(Some(outcome)) = next(outcomes) {
        taken.push(outcome);
    }
    taken
}

fn heights(outcomes: &[(u64, Result<u64, TaskError>)]) -> Vec<u64> {
    outcomes.iter().map(|(height, _)| *height).collect()
}

fn failed(text: &str) -> Result<u64, TaskError> {
    Err(TaskError::Failed(text.into()))
}

#[test]
fn in_order_a_height_waits_for_the_lower_ones_and_no_more_are_begun_than_may_wait() {
    let (world, gate) = (World::new(|builder| builder), Gate::default());
    world.add(8, gate.work());
    let mut outcomes = world.pool.process(1..=100).in_order(4);
    assert!(next(&mut outcomes).is_pending());
    world.settle();
    assert_eq!(gate.waiting(), [1, 2, 3, 4]);
    for height in [4, 2, 3] {
        gate.answer(height, Ok(height));
        world.settle();
        assert!(next(&mut outcomes).is_pending(), "1 is missing");
        world.settle();
    }
    assert_eq!(gate.waiting(), [1], "nothing more may wait");
    gate.answer(1, Ok(1));
    world.settle();
    assert_eq!(heights(&taken(&mut outcomes)), [1, 2, 3, 4]);
    world.settle();
    assert_eq!(gate.waiting(), [5, 6, 7, 8]);
}

#[test]
fn in_order_every_height_comes_whatever_the_order_of_the_answers() {
    for (reorder_max, window) in [(1, 1), (1, 4), (2, 3), (5, 2), (16, 16), (64, 5)] {
        let (world, gate) = (World::new(|builder| builder), Gate::default());
        world.add(window, gate.work());
        // Some are done already.
        let mut ledger = Ledger::growing(1..=200, 100);
        for height in [1, 7, 8, 50, 200] {
            ledger.complete(height).expect("there is room");
        }
        let expected: Vec<u64> = ledger.gaps().flatten().collect();
        let mut outcomes = world.pool.process(ledger).in_order(reorder_max);
        let (mut seen, mut random) = (Vec::new(), 7_u64);
        while seen.len() < expected.len() {
            seen.extend(heights(&taken(&mut outcomes)));
            world.settle();
            let waiting = gate.waiting();
            assert!(waiting.len() <= reorder_max.min(usize::from(window)));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = usize::try_from(random >> 33).expect("31 bits") % waiting.len().max(1);
            if let Some(height) = waiting.get(index) {
                gate.answer(*height, Ok(*height));
                world.settle();
            }
        }
        assert_eq!(seen, expected, "{reorder_max} may wait, window {window}");
        assert!(matches!(next(&mut outcomes), Poll::Ready(None)));
        assert!(outcomes.report().is_complete());
        assert_eq!(outcomes.report().done, 195);
    }
}

#[test]
fn by_default_a_range_goes_on_after_a_failure_and_reports_it() {
    let world = World::new(|builder| builder);
    world.add(4, |height| {
        Box::pin(async move { if height % 10 == 0 { Err(height.to_string()) } else { Ok(height) } })
    });
    let mut outcomes = world.pool.process::<u64>(1..=35);
    let mut seen = 0;
    for _ in 0..100 {
        seen += taken(&mut outcomes).len();
        // What failed is tried once more, a second later.
        world.advance(Duration::from_millis(100));
    }
    assert_eq!(seen, 35);
    let report = outcomes.report();
    assert_eq!((report.done, report.failed, report.missing()), (32, 3, 3));
    assert_eq!(report.first_failure, Some((10, TaskError::Failed("10".into()))));
    assert_eq!(report.ledger.failed().flatten().collect::<Vec<_>>(), [10, 20, 30]);
    assert_eq!(report.ledger.low_water(), Some(9));
    assert!(!report.is_complete());
}

#[test]
fn a_range_that_stops_cancels_what_is_above_the_failure_and_ends_what_is_below() {
    let (world, gate) = (World::new(|builder| builder), Gate::default());
    world.add(4, gate.work());
    let mut outcomes = world.without_retries().process(1..=100).stop_at_failure();
    assert!(next(&mut outcomes).is_pending());
    world.settle();
    gate.answer(3, Err("no such block".to_owned()));
    world.settle();
    assert_eq!(gate.waiting(), [1, 2], "4 is cancelled, and nothing begins");
    gate.answer(2, Err("nor this".to_owned()));
    world.settle();
    gate.answer(1, Ok(1));
    world.settle();
    let outcomes_taken = taken(&mut outcomes);
    assert_eq!(outcomes_taken, [(3, failed("no such block")), (2, failed("nor this")), (1, Ok(1))]);
    assert!(matches!(next(&mut outcomes), Poll::Ready(None)));
    assert_eq!(gate.begun(), [1, 2, 3, 4]);
    assert_eq!(outcomes.report().missing(), 99);
    // The pool goes on.
    let pool = world.pool.clone();
    let call = world.spawn(async move { pool.call::<u64, u64>(&7).await });
    world.settle();
    gate.answer(7, Ok(7));
    world.settle();
    assert_eq!(world.run(call), Ok(7));
}

#[test]
fn in_order_the_failure_is_the_last_outcome() {
    let (world, gate) = (World::new(|builder| builder), Gate::default());
    world.add(4, gate.work());
    let mut outcomes = world.without_retries().process(1..=100).stop_at_failure().in_order(10);
    assert!(next(&mut outcomes).is_pending());
    world.settle();
    gate.answer(4, Ok(4));
    gate.answer(3, Err("no such block".to_owned()));
    world.settle();
    assert!(next(&mut outcomes).is_pending(), "1 is missing");
    gate.answer(1, Ok(1));
    gate.answer(2, Ok(2));
    world.settle();
    let expected = [(1, Ok(1)), (2, Ok(2)), (3, failed("no such block"))];
    assert_eq!(taken(&mut outcomes), expected);
    assert!(matches!(next(&mut outcomes), Poll::Ready(None)));
    assert_eq!(outcomes.report().ledger.low_water(), Some(2));
    assert_eq!(outcomes.report().missing(), 98, "4 was not returned");
    world.settle();
    assert_eq!(gate.waiting(), [0; 0]);
}

#[test]
fn an_answer_of_another_type_stops_a_range_too() {
    let world = World::new(|builder| builder);
    world.add(1, echo);
    let mut outcomes = world.without_retries().process::<(u64, u64)>(1..=100).stop_at_failure();
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(outcomes.poll_next_unpin(cx).is_pending());
    world.settle();
    let first = outcomes.poll_next_unpin(cx);
    assert!(matches!(first, Poll::Ready(Some((1, Err(TaskError::Answer(_)))))), "{first:?}");
    assert!(matches!(outcomes.poll_next_unpin(cx), Poll::Ready(None)));
    world.settle();
    let pool = world.pool.clone();
    let idle = world.spawn(async move { pool.idle().await });
    world.settle();
    assert!(idle.is_done(), "the driver has let go of the range");
}

#[test]
fn a_range_has_retries_of_its_own_or_those_of_the_pool() {
    for (of_the_pool, of_the_range, expected) in
        [(0, None, 2), (2, None, 3), (0, Some(3), 4), (5, Some(0), 1), (0, Some(u16::MAX), 20)]
    {
        let world = World::new(|builder| {
            builder.configure(|config| {
                config.retries_max = of_the_pool;
                config.retry_delay = Duration::from_secs(3);
            })
        });
        let tried = Rc::new(RefCell::new(0));
        let count = Rc::clone(&tried);
        world.add(1, move |height| {
            *count.borrow_mut() += 1;
            let is_enough = *count.borrow() == 20;
            Box::pin(async move { if is_enough { Ok(height) } else { Err("no".to_owned()) } })
        });
        let mut options = TaskOptions::new();
        options.retries = of_the_range;
        let mut outcomes = world.pool.with(options).process(1..=1);
        let mut seen = taken(&mut outcomes);
        for _ in 0..25 {
            world.settle();
            seen.extend(taken(&mut outcomes));
            world.advance(Duration::from_secs(3));
        }
        let result = if expected == 20 { Ok(1) } else { failed("no") };
        assert_eq!(seen, [(1, result)]);
        assert_eq!(*tried.borrow(), expected, "pool {of_the_pool}, range {of_the_range:?}");
    }
}

#[test]
fn heights_that_wait_to_be_tried_again_leave_no_worker_without_work() {
    let world = World::new(|builder| {
        builder.ahead_max(16).configure(|config| config.retry_delay = Duration::from_secs(60))
    });
    let begun = Rc::new(RefCell::new(BTreeSet::new()));
    let noting = Rc::clone(&begun);
    world.add(1, move |height| {
        let is_new = noting.borrow_mut().insert(height);
        let fails = is_new && height % 2 == 1;
        Box::pin(async move { if fails { Err("not yet".to_owned()) } else { Ok(height) } })
    });
    let once_more = world.pool.with(TaskOptions::new().retries(1));
    let mut outcomes = once_more.process::<u64>(1..=100);
    for _ in 0..50 {
        taken(&mut outcomes);
        world.settle();
    }
    // 16 of them rest, and that is as far ahead as it may go.
    assert_eq!(begun.borrow().last(), Some(&31));
}

#[test]
fn a_pool_that_stops_ends_a_range_in_order_before_its_first_hole() {
    let (world, gate) = (World::new(|builder| builder), Gate::default());
    world.add(4, gate.work());
    let mut outcomes = world.pool.process(1..=100).in_order(10);
    assert!(next(&mut outcomes).is_pending());
    world.settle();
    gate.answer(1, Ok(1));
    gate.answer(3, Ok(3));
    world.settle();
    let pool = world.pool.clone();
    let stopping = world.spawn(async move { pool.stop_within(Duration::ZERO).await });
    for _ in 0..10 {
        world.settle();
        world.advance(Duration::from_secs(1));
    }
    assert!(stopping.is_done());
    let outcomes_taken = taken(&mut outcomes);
    assert_eq!(outcomes_taken[0], (1, Ok(1)));
    assert_eq!(outcomes_taken[1], (2, Err(TaskError::Aborted)));
    assert_eq!(outcomes_taken[2], (3, Ok(3)));
    let report = outcomes.report();
    assert_eq!((report.done, report.failed), (2, 0), "nothing failed: there was no time");
    assert_eq!(report.ledger.failed().next(), None);
    assert_eq!(report.missing(), 98);
}

#[test]
fn a_range_resumes_from_a_snapshot_and_does_only_what_is_missing() {
    let world = World::new(|builder| builder);
    world.add(4, |height| {
        Box::pin(async move { if height == 5 { Err("not yet".to_owned()) } else { Ok(height) } })
    });
    let mut outcomes = world.pool.process::<u64>(1..=10);
    for _ in 0..20 {
        taken(&mut outcomes);
        world.settle();
    }
    let kept: Snapshot<Vec<Span>> = outcomes.ledger().snapshot().into_owned();

    let (world, gate) = (World::new(|builder| builder), Gate::default());
    world.add(4, gate.work());
    let ledger = Ledger::resume_growing(&kept, 1000).expect("it is whole");
    let mut outcomes = world.pool.process::<u64>(ledger);
    assert!(next(&mut outcomes).is_pending());
    world.settle();
    assert_eq!(gate.begun(), [5]);
    gate.answer(5, Ok(5));
    world.settle();
    assert_eq!(taken(&mut outcomes), [(5, Ok(5))]);
    assert!(outcomes.report().is_complete());
    assert_eq!(outcomes.report().done, 1);
}

#[test]
fn each_outcome_is_handed_to_a_function_and_the_report_returned() {
    let world = World::new(|builder| builder);
    world.add(4, echo);
    let pool = world.pool.clone();
    let sum = Rc::new(RefCell::new(0));
    let adding = Rc::clone(&sum);
    let report = world.spawn(async move {
        pool.for_each::<u64>(1..=100, |height, outcome| {
            assert_eq!(outcome, Ok(height));
            *adding.borrow_mut() += height;
        })
        .await
    });
    world.settle();
    let report = world.run(report);
    assert_eq!(*sum.borrow(), 5050);
    assert_eq!((report.done, report.is_complete()), (100, true));
}

#[test]
#[should_panic(expected = "options are set before it is polled")]
fn options_come_too_late_once_a_range_runs() {
    let world = World::new(|builder| builder);
    let mut outcomes = world.pool.process::<u64>(1..=10);
    assert!(next(&mut outcomes).is_pending());
    let _ = outcomes.ahead(1);
}

#[test]
fn a_range_that_nobody_polls_does_nothing() {
    let (world, gate) = (World::new(|builder| builder), Gate::default());
    world.add(1, gate.work());
    let outcomes = world.pool.process::<u64>(1..=10);
    world.settle();
    drop(outcomes);
    world.settle();
    assert_eq!(gate.begun(), [0; 0]);
}

#[test]
fn a_range_goes_no_further_ahead_than_the_workers_that_are_left_can_take() {
    let world = World::new(|builder| builder.configure(|config| config.trust_initial = 100));
    let many = world.inner.worker(Script::new().concurrency(100).always(Act::Hang));
    let few = world.inner.worker(Script::new().takes(Duration::from_millis(10)));
    for worker in [&many, &few] {
        world.run(world.pool.add(worker.connector(), WorkerOptions::new())).expect("there is room");
    }
    let pool = world.pool.clone();
    let range = pool.process::<u64>(0..=100_000);
    world.spawn(range.for_each(async |(height, outcome)| assert_eq!(outcome, Ok(height))));
    let under_way = |world: &World| {
        let stats = world.run(world.pool.stats()).expect("the driver lives").tasks;
        stats.waiting + stats.in_flight + stats.finished
    };
    world.advance(Duration::from_secs(1));
    assert!(under_way(&world) > 100, "more than both take at once");
    many.dies().now();
    world.advance(Duration::from_secs(5));
    let left = under_way(&world);
    assert!(left <= 4, "{left} are under way for one worker that takes one at a time");
}
