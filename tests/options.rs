//! How tasks are done and workers are used, where not as the pool says.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use chargehand::core::{BackoffPolicy, WorkerId};
use chargehand::memory::{MemoryConnector, pair};
use chargehand::testing::{Act, ManualTimer, Script, World};
use chargehand::{Pool, PoolEvent, TaskError, TaskOptions, Worker, WorkerError, WorkerOptions};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_deadline_ends_a_task_that_no_worker_answers_and_spares_others() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().concurrency(8).height(7, Act::Hang));
    let pool = world.pool(|builder| builder);
    let hasty = pool.with(TaskOptions::new().deadline(3 * SECOND));
    assert_eq!(world.run(hasty.call::<u64, u64>(&7)), Err(TaskError::TimedOut));
    assert_eq!(world.elapsed(), 3 * SECOND);
    assert_eq!(world.run(hasty.call::<u64, u64>(&8)), Ok(8));

    let report = world.run(hasty.process::<u64>(1..=20).each(|_, _| ()));
    assert_eq!((report.done, report.failed), (19, 1));
    assert_eq!(report.first_failure, Some((7, TaskError::TimedOut)));
    let report = world.run(hasty.map::<u64, _>(1..=20_u64).each(|_, _| ()));
    assert_eq!((report.done, report.failed), (19, 1));
    assert_eq!(report.first_failure, Some((6, TaskError::TimedOut)));
}

#[test]
fn a_deadline_counts_the_time_in_the_queue() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().takes(10 * SECOND));
    let pool = world.pool(|builder| builder.tasks_max(1).queue_max(4));
    let hasty = pool.with(TaskOptions::new().deadline(4 * SECOND));
    let patient = hasty.with(TaskOptions::new());
    world.run(async {
        let mut first = patient.submit::<u64, u64>(&1).await.expect("there is room");
        world.sleep(SECOND).await;
        let second = hasty.submit::<u64, u64>(&2).await.expect("there is room");
        let third = patient.submit::<u64, u64>(&3).await.expect("there is room");
        assert_eq!(second.await, Err(TaskError::TimedOut));
        assert_eq!(world.elapsed(), 5 * SECOND, "it never left the queue");
        assert_eq!((&mut first).await, Ok(1));
        assert_eq!(third.await, Ok(3));
        assert_eq!(world.elapsed(), 20 * SECOND);
    });
}

#[test]
fn calls_that_are_over_keep_no_place_in_the_queue() {
    let world = World::new(1);
    let pool = world.pool(|builder| builder.tasks_max(1).queue_max(4));
    let hasty = pool.with(TaskOptions::new().deadline(4 * SECOND));
    world.run(async {
        // No worker will ever take it, and nothing behind it leaves the queue.
        let _first = pool.submit::<u64, u64>(&0).await.expect("there is room");
        world.sleep(SECOND).await;
        for round in 1..=3 {
            let calls: Vec<_> =
                (0..4).map(|_| hasty.try_submit::<u64, u64>(1).expect("it has a place")).collect();
            assert!(hasty.try_submit::<u64, u64>(1).is_err(), "the queue is full");
            // It waits for the place of one that is over, and has its own time from then on.
            let late = hasty.call::<u64, u64>(&2);
            let (outcomes, late) = join(join_all(calls), late).await;
            assert!(outcomes.iter().all(|outcome| *outcome == Err(TaskError::TimedOut)));
            assert_eq!(late, Err(TaskError::TimedOut));
            assert_eq!(world.elapsed(), (1 + round * 8) * SECOND);
        }
        // The place of one that gives up is free for whoever waits for it.
        let mut calls: Vec<_> =
            (0..4).map(|_| pool.try_submit::<u64, u64>(1).expect("it has a place")).collect();
        let mut waits = pin!(pool.submit::<u64, u64>(&3));
        assert!((&mut waits).now_or_never().is_none());
        drop(calls.remove(1));
        assert!(waits.await.is_ok());
    });
}

#[test]
fn what_is_cancelled_or_dropped_in_the_queue_has_no_time_left() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().takes(10 * SECOND));
    let pool = world.pool(|builder| builder.tasks_max(1).queue_max(4));
    let hasty = pool.with(TaskOptions::new().deadline(4 * SECOND));
    world.run(async {
        let first = pool.submit::<u64, u64>(&1).await.expect("there is room");
        world.sleep(SECOND).await;
        let second = hasty.submit::<u64, u64>(&2).await.expect("there is room");
        let third = hasty.submit::<u64, u64>(&3).await.expect("there is room");
        let fourth = hasty.submit::<u64, u64>(&4).await.expect("there is room");
        drop(second);
        third.cancel();
        assert_eq!(third.await, Err(TaskError::Cancelled));
        fourth.detach();
        // Takes a place that one of those had.
        let fifth = pool.submit::<u64, u64>(&5).await.expect("there is room");
        assert_eq!((first.await, fifth.await), (Ok(1), Ok(5)));
        assert_eq!(world.elapsed(), 20 * SECOND, "the others were not sent");
    });
}

#[test]
fn an_attempt_is_given_up_by_the_time_of_its_own_options() {
    let world = World::new(1);
    let _stuck = world.worker(Script::new().nth(1, Act::Hang));
    let pool = world.pool(|builder| builder);
    let hasty = pool.with(TaskOptions::new().attempt_timeout(2 * SECOND));
    assert_eq!(world.run(hasty.call::<u64, u64>(&7)), Ok(7));
    let took = world.elapsed();
    assert!((2 * SECOND..3 * SECOND).contains(&took), "{took:?}");
}

#[test]
fn retries_and_their_delays_are_those_of_the_options() {
    let world = World::new(1);
    let tries = Rc::new(Cell::new(0));
    let count = Rc::clone(&tries);
    let fits = move |_: &chargehand::testing::Request<'_>| {
        count.set(count.get() + 1);
        true
    };
    let _worker = world.worker(Script::new().when(fits, Act::Fail("no".to_owned())));
    let pool = world.pool(|builder| builder);
    let doubling = BackoffPolicy::powers_of_two(60 * SECOND);
    let tough = pool.with(TaskOptions::new().retries(3).retry_delay(doubling));
    assert!(matches!(world.run(tough.call::<u64, u64>(&7)), Err(TaskError::Failed(_))));
    assert_eq!((tries.take(), world.elapsed()), (4, (2 + 4 + 8) * SECOND));

    let none = pool.with(TaskOptions::new().retries(0));
    assert_eq!(world.run(none.process::<u64>(1..=3).each(|_, _| ())).failed, 3);
    assert_eq!(tries.take(), 3, "not once more, as a range has it otherwise");
    assert_eq!(world.run(none.map::<u64, _>(1..=3_u64).each(|_, _| ())).failed, 3);
    assert_eq!(tries.take(), 3);
}

async fn echo(number: u64) -> Result<u64, String> {
    Ok(number)
}

/// The end to dial of a worker that runs 4 at once.
fn worker(world: &World, name: &str) -> MemoryConnector {
    let (connector, listener) = pair(1024);
    world.spawn(Worker::new(world.timer(), echo).name(name).concurrency(4).serve(listener));
    connector
}

/// Returns who is in the pool, by id, with the peer's name.
fn workers(world: &World, pool: &Pool) -> Vec<(WorkerId, String)> {
    let stats = world.run(pool.stats()).expect("the driver lives");
    stats.workers.iter().map(|worker| (worker.id, worker.peer.to_string())).collect()
}

#[test]
fn a_builder_returns_the_ids_that_its_workers_have_in_the_pool() {
    let world = World::new(1);
    let _before = world.worker(Script::new());
    let mut ids = Vec::new();
    let pool = world.pool(|mut builder| {
        ids.push(builder.add(worker(&world, "a"), WorkerOptions::new()));
        ids.push(builder.add_in_process(echo, WorkerOptions::new()));
        builder = builder.connect(worker(&world, "b")).in_process(2, echo);
        ids.push(builder.add_in_process(echo, WorkerOptions::new()));
        ids.push(builder.add(worker(&world, "c"), WorkerOptions::new()));
        builder
    });
    let there = workers(&world, &pool);
    let slots: Vec<_> = there.iter().map(|(id, _)| (id.slot(), id.generation())).collect();
    assert_eq!(slots, (0..7).map(|slot| (slot, 0)).collect::<Vec<_>>(), "in their order");
    assert_eq!(ids, [1, 2, 5, 6].map(|index: usize| there[index].0));
    assert_eq!(
        [2, 4, 5].map(|index: usize| &*there[index].1),
        ["in-process 1", "in-process 2", "in-process 3"]
    );

    // What is added later goes on from there, and takes the place of what is gone.
    let next = world.run(pool.add(worker(&world, "d"), WorkerOptions::new())).expect("room");
    assert_eq!((next.slot(), next.generation()), (7, 0));
    for id in [ids[0], ids[2]] {
        assert_eq!(world.run(pool.remove(id)), Ok(()));
        assert_eq!(world.run(pool.remove(id)), Err(WorkerError::Unknown));
    }
    let left: Vec<_> = workers(&world, &pool).into_iter().map(|(id, _)| id.slot()).collect();
    assert_eq!(left, [0, 2, 3, 4, 6, 7]);
    let again = world.run(pool.add_in_process(echo, WorkerOptions::new())).expect("room");
    assert_eq!(again.generation(), 1);
    assert!([1, 5].contains(&again.slot()));
}

/// Returns the window that each worker has, by its id.
fn windows(world: &World, pool: &Pool, add: impl AsyncFnOnce(&Pool)) -> Vec<(u32, u32)> {
    let mut events = pool.events();
    world.run(add(pool));
    world.advance(SECOND);
    let mut windows = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let PoolEvent::Connected { worker, window, .. } = event {
            windows.push((worker.slot(), window));
        }
    }
    windows.sort_unstable();
    windows
}

#[test]
fn a_window_of_one_workers_own_goes_before_that_of_all_and_what_it_says() {
    let two = WorkerOptions::new().window(2);
    let nine = WorkerOptions::new().window(9);
    for (of_all, dialled, in_process) in [(None, 4, 1), (Some(6), 6, 6)] {
        let world = World::new(1);
        let mut added = Vec::new();
        let pool = world.pool(|mut builder| {
            if let Some(count) = of_all {
                builder = builder.in_flight(count);
            }
            added.push(builder.add(worker(&world, "0"), WorkerOptions::new()));
            added.push(builder.add(worker(&world, "1"), two.clone()));
            added.push(builder.add_in_process(echo, WorkerOptions::new()));
            added.push(builder.add_in_process(echo, nine.clone()));
            builder
        });
        let later = windows(&world, &pool, async |pool: &Pool| {
            for options in [WorkerOptions::new(), nine.clone()] {
                pool.add(worker(&world, "later"), options.clone()).await.expect("room");
                pool.add_in_process(echo, options).await.expect("room");
            }
        });
        let expected = [dialled, 2, in_process, 9, dialled, in_process, 9, 9];
        assert_eq!(later, (0..).zip(expected).collect::<Vec<_>>(), "of all: {of_all:?}");
        assert_eq!(world.run(pool.process::<u64>(1..=500).each(|_, _| ())).done, 500);
    }
}

#[test]
fn a_worker_holds_no_more_than_its_own_window() {
    let world = World::new(1);
    let (connector, listener) = pair(1024);
    let hang = |_: u64| std::future::pending::<Result<u64, String>>();
    world.spawn(Worker::new(world.timer(), hang).concurrency(8).serve(listener));
    let pool = world.pool(|builder| builder);
    world.run(pool.add(connector, WorkerOptions::new().window(3))).expect("there is room");
    let tasks = [(); 9].map(|()| pool.try_submit::<u64, u64>(1).expect("there is room"));
    world.advance(SECOND);
    let stats = world.run(pool.stats()).expect("the driver lives");
    assert_eq!((stats.tasks.in_flight, stats.tasks.waiting), (3, 6));
    drop(tasks);
}

#[test]
fn a_window_of_0_is_refused_wherever_a_worker_is_added() {
    let none = WorkerOptions::new().window(0);
    let mut dialled = Pool::builder(ManualTimer::new());
    dialled.add(pair(1).0, none.clone());
    let mut here = Pool::builder(ManualTimer::new());
    here.add_in_process(echo, none.clone());
    for builder in [dialled, here, Pool::builder(ManualTimer::new()).in_process(0, echo)] {
        let text = builder.build().map(drop).unwrap_err().to_string();
        assert!(text.contains("window of 0") && text.contains("1 or more"), "{text}");
    }
    let world = World::new(1);
    let pool = world.pool(|builder| builder);
    let refused = Err(WorkerError::NoWindow);
    assert_eq!(world.run(pool.add(worker(&world, "a"), none.clone())), refused);
    assert_eq!(world.run(pool.add_in_process(echo, none)), refused);
}

#[test]
fn a_grace_longer_than_workers_may_be_absent_is_refused_where_they_dial_in() {
    const HOUR: Duration = Duration::from_secs(3600);
    let builder = |absent_max| {
        Pool::builder(ManualTimer::new()).configure(|config| {
            (config.seed, config.grace, config.absent_max) = (1, HOUR, absent_max);
        })
    };
    let text = builder(HOUR / 6).accept(pair(1).1).build().map(drop).unwrap_err().to_string();
    for part in ["grace is 3600s", "absent_max, 600s", "raise absent_max", "lower the grace"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(builder(HOUR).accept(pair(1).1).build().is_ok());
    assert!(builder(HOUR / 6).connect(pair(1).0).build().is_ok(), "what is dialled stays");
}
