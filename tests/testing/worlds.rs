//! Real workers, all kinds of pools, runs that cannot end, and what a seed decides.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use chargehand::testing::{Act, Script, Trace, World};
use chargehand::{Kind, Pool, TaskError, TaskOptions, Worker, WorkerOptions};
use futures_util::StreamExt;

use super::{call, impatient, lines, millis, one, panic_of, secs};

#[test]
fn a_real_worker_runs_the_users_own_handler_on_the_virtual_clock() {
    let world = World::new(7);
    let (timer, begun) = (world.timer(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&begun);
    let worker = world.host("indexer", move || {
        let (timer, count) = (timer.clone(), Rc::clone(&count));
        let handler = {
            let timer = timer.clone();
            move |height: u64| {
                count.set(count.get() + 1);
                let nap = timer.sleep(millis(300));
                async move {
                    nap.await;
                    if height == 13 { Err("unlucky") } else { Ok(height * 2) }
                }
            }
        };
        Worker::new(timer, handler).concurrency(2)
    });
    let pool = impatient(&world);
    let outcomes: Vec<_> =
        world.run(pool.with(TaskOptions::new().retries(0)).process::<u64>(10..=13).collect());
    assert_eq!(world.elapsed(), millis(600));
    assert_eq!(outcomes[0], (10, Ok(20)));
    assert_eq!(outcomes[3], (13, Err(TaskError::Failed("unlucky".into()))));

    // Killed in the middle of a request, and started again.
    world.at(millis(700), worker.dies());
    world.at(secs(2), worker.revives());
    assert_eq!(call(&world, &pool, 1), Ok(2));
    assert!(world.elapsed() >= millis(2300));
    assert_eq!(begun.get(), 6);
    assert_eq!(lines(&world.trace(), "answers task"), 4);
}

#[test]
fn a_worker_that_is_stopped_ends_its_process() {
    let world = World::new(7);
    let timer = world.timer();
    let stopper = Rc::new(Cell::new(None));
    let given = Rc::clone(&stopper);
    let worker = world.host("stopped", move || {
        let worker =
            Worker::new(timer.clone(), |height: u64| async move { Ok::<_, String>(height) });
        given.set(Some(worker.stopper()));
        worker
    });
    let pool = impatient(&world);
    assert_eq!(call(&world, &pool, 1), Ok(1));
    stopper.take().expect("the worker was made").stop();
    world.advance(secs(5));
    assert!(!worker.is_alive());
    worker.revives().now();
    assert_eq!(call(&world, &pool, 2), Ok(2));
}

/// Code of a user's, for any kind of pool.
async fn sum<K: Kind>(pool: &Pool<K>, heights: std::ops::RangeInclusive<u64>) -> u64 {
    pool.process::<u64>(heights).fold(0, |sum, (_, one)| async move { sum + one.unwrap() }).await
}

#[test]
fn both_kinds_of_pool_work_several_at_once_and_so_do_workers_added_later() {
    let world = World::new(7);
    let early = world.worker(Script::new().takes(millis(1)));
    let threaded = world.pool(|builder| builder.name("threaded"));
    let local = world.local_pool(|builder| builder.name("local"));
    let late = world.worker(Script::new().takes(millis(1)));
    world.run(async {
        threaded.add(late.connector(), WorkerOptions::new()).await.expect("there is room");
        let sums = futures_util::future::join(sum(&threaded, 1..=100), sum(&local, 1..=10)).await;
        assert_eq!(sums, (5050, 55));
    });
    assert_eq!(early.asked() + late.asked(), 110);
    assert!(late.asked() > 10);
    assert_eq!(lines(&world.trace(), "threaded: worker-1: connected"), 1);
    assert_eq!(lines(&world.trace(), "local: worker-1: connected"), 1);
}

#[test]
fn a_worker_that_is_alone_then_one_of_two_and_alone_again_is_used_throughout() {
    let world = World::new(7);
    let first = world.worker(Script::new().takes(millis(1)));
    let pool = world.pool(|builder| builder);
    let second = world.worker(Script::new().takes(millis(1)));
    world.run(async {
        for _ in 0..3 {
            assert_eq!(sum(&pool, 1..=100).await, 5050, "alone");
            let before = second.asked();
            let id =
                pool.add(second.connector(), WorkerOptions::new()).await.expect("there is room");
            assert_eq!(sum(&pool, 1..=100).await, 5050, "one of two");
            assert!(second.asked() > before + 10);
            pool.remove(id).await.expect("it is there");
        }
        // The other one is the only one from now on, in a slot of its own.
        let id = pool.add(second.connector(), WorkerOptions::new()).await.expect("there is room");
        let stats = pool.stats().await.expect("the driver lives");
        let other = stats.workers.iter().find(|worker| worker.id != id).expect("there are two");
        pool.remove(other.id).await.expect("it is there");
        let before = first.asked();
        assert_eq!(sum(&pool, 1..=100).await, 5050);
        assert_eq!(first.asked(), before);
        // It dies and comes back while it is the only one.
        second.dies().now();
        world.sleep(millis(500)).await;
        second.revives().now();
        assert_eq!(sum(&pool, 1..=100).await, 5050);
    });
}

#[test]
fn a_handler_in_the_pools_own_process_sleeps_on_the_virtual_clock_too() {
    let world = World::new(7);
    world.worker(Script::new().takes(millis(50)).always(Act::Hang));
    let timer = world.timer();
    let handler = move |height: u64| {
        let nap = timer.sleep(millis(200));
        async move {
            nap.await;
            Ok::<_, String>(height)
        }
    };
    let pool = world.pool(|builder| {
        builder.in_process(2, handler).configure(|config| config.attempt_timeout = secs(1))
    });
    let report = world.run(pool.for_each::<u64>(1..=20, |height, outcome| {
        assert_eq!(outcome, Ok(height));
    }));
    assert!(report.is_complete());
    assert!(world.elapsed() >= secs(2), "two at once, and five turns a second");
}

#[test]
fn futures_run_beside_the_test_and_the_clock_jumps_over_idle_hours() {
    let world = World::new(7);
    let ticks = Rc::new(Cell::new(0));
    let (timer, count) = (world.timer(), Rc::clone(&ticks));
    world.spawn(async move {
        loop {
            timer.sleep(secs(600)).await;
            count.set(count.get() + 1);
        }
    });
    world.run(world.sleep(secs(3600)));
    assert!((5..=6).contains(&ticks.get()), "both are due at the same moment");
    world.advance(Duration::ZERO);
    assert_eq!((ticks.get(), world.elapsed()), (6, secs(3600)));
    world.advance(secs(24 * 3600));
    assert_eq!(ticks.get(), 6 * 25);
    assert!(world.polls() < 200);
}

#[test]
fn a_run_that_can_never_end_panics_with_the_last_lines_of_the_trace() {
    let world = World::new(7);
    world.trace().note("the last line");
    let text = panic_of(|| world.run(pending()));
    assert!(text.contains("can never complete: nobody is ready"), "{text}");
    assert!(text.contains("0.000000 s  the last line"), "{text}");
    // The world is still good.
    world.run(world.sleep(secs(1)));
}

#[test]
fn a_worker_that_nobody_dials_is_named_when_a_run_cannot_end() {
    let world = World::new(7);
    let pool = impatient(&world);
    world.worker(Script::new().name("latecomer"));
    let text = panic_of(|| drop(call(&world, &pool, 1)));
    assert!(text.contains("nobody ever dialled latecomer"), "{text}");
}

#[test]
fn the_output_of_a_spawned_future_can_be_awaited() {
    let world = World::new(7);
    let timer = world.timer();
    let spawned = world.spawn(async move {
        timer.sleep(secs(3)).await;
        5
    });
    world.advance(secs(2));
    assert!(!spawned.is_done());
    assert_eq!(world.run(spawned), 5);
    assert_eq!(world.elapsed(), secs(3));
}

#[test]
fn a_run_that_takes_too_long_panics() {
    // An idle pool has heartbeats for ever, so that there is always something due.
    let (world, worker, pool) = one(Script::new());
    world.run(world.sleep(secs(3600)));
    worker.dies().now();
    world.time_limit(secs(300));
    let text = panic_of(|| {
        let _ = call(&world, &pool, 1);
    });
    assert!(text.contains("not done after 300s of virtual time"), "{text}");
    assert!(text.contains("cannot connect"), "{text}");
    assert!(world.elapsed() <= secs(3900), "counted from its beginning, and never passed");
    assert!(world.elapsed() > secs(3800));
}

#[test]
fn a_busy_loop_panics_instead_of_standing_still() {
    let world = World::new(7);
    world.spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    let text = panic_of(|| world.run(world.sleep(secs(1))));
    assert!(text.contains("does not come to rest"), "{text}");
}

#[test]
fn misuse_says_what_is_wrong() {
    let world = World::new(7);
    let worker = world.worker(Script::new().name("twin"));
    let text = panic_of(|| drop(world.worker(Script::new().name("twin"))));
    assert!(text.contains("two workers are named \"twin\""), "{text}");
    let text = panic_of(|| drop(world.worker(Script::new().name("two\nlines"))));
    assert!(text.contains("is no name for a worker"), "{text}");
    world.advance(secs(2));
    let text = panic_of(|| world.at(secs(1), worker.dies()));
    assert!(text.contains("is to happen at 1s, and it is 2s already"), "{text}");
    let inner = world.sleep(secs(1));
    let nested = panic_of(|| world.run(async { panic!("{}", panic_of(|| world.run(inner))) }));
    assert!(nested.contains("the world runs already"), "{nested}");
    let (world, _, pool) = one(Script::new().answers(|text: String| text));
    let text = panic_of(|| drop(call(&world, &pool, 7)));
    assert!(text.contains("a scripted worker answers alloc::string::String"), "{text}");
}

#[test]
fn ten_thousand_heights_cost_a_few_polls_each() {
    let world = World::new(7);
    let script = Script::new().one_per(millis(50));
    let workers: Vec<_> = (0..8).map(|_| world.worker(script.clone())).collect();
    world.at(secs(2), workers[2].dies());
    let pool = impatient(&world);
    let report = world.run(pool.for_each::<u64>(1..=10_000, |height, outcome| {
        assert_eq!(outcome, Ok(height));
    }));
    assert!(report.is_complete());
    assert_eq!(world.elapsed(), millis(71_100));
    assert_eq!(lines(&world.trace(), "answers"), 10_000);
    // One of a worker for each, and one of the pool for all workers that answer together.
    assert!(world.polls() < 3 * 10_000, "{} polls", world.polls());
}

/// Ten thousand heights with every kind of trouble. Returns the trace, and the cost in polls.
fn troubled(seed: u64) -> (Trace, u64) {
    let world = World::new(seed);
    world.latency(millis(1)..=millis(4));
    let script = Script::new()
        .takes(millis(20)..=millis(80))
        .concurrency(4)
        .percent(1, Act::Fail("busy".to_owned()))
        .percent(1, Act::Hang)
        .percent(1, Act::Late(secs(3)))
        .percent(1, Act::Twice);
    let rough = script.clone().percent(1, Act::Restart(millis(700))).percent(1, Act::Garbage);
    let workers: Vec<_> =
        (0..8).map(|n| world.worker(if n < 4 { script.clone() } else { rough.clone() })).collect();
    world.at(secs(2), workers[2].dies());
    world.at(secs(4), workers[3].loses_network());
    world.at(secs(30), workers[3].regains_network());
    world.at(secs(6), workers[0].loses_link());
    let pool = world.pool(|builder| {
        builder.configure(|config| {
            config.attempt_timeout = secs(1);
            config.attempts_max = 100;
            config.retries_max = 100;
            config.retry_delay = millis(100);
        })
    });
    let mut done = BTreeSet::new();
    world.run(async {
        let mut heights = pool.process::<u64>(1..=10_000);
        while let Some((height, outcome)) = heights.next().await {
            assert_eq!(outcome, Ok(height));
            assert!(done.insert(height), "{height} came twice");
        }
    });
    assert_eq!(done.len(), 10_000);
    let stats = world.run(pool.stop()).expect("the driver lives").tasks;
    for (what, count) in [
        ("stale", stats.stale),
        ("lost", stats.lost),
        ("timed out", stats.timed_out),
        ("resent", stats.resent),
    ] {
        assert!(count > 10, "{what}: {count}");
    }
    world.trace().note(format!("{stats:?}"));
    (world.trace(), world.polls())
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_another() {
    let (first, polls) = troubled(1);
    let (second, again) = troubled(1);
    assert_eq!(first.difference(&second), None);
    assert_eq!((&first, polls), (&second, again));
    let (other, _) = troubled(2);
    assert_ne!(first, other);
    assert!(first.difference(&other).is_some());
    assert!(first.lines().len() > 20_000, "each height is asked for and answered");
    // A request and an answer wake a worker and a driver, and some deadline each.
    assert!(polls < 10 * 10_000, "{polls} polls for 10,000 heights");
}
