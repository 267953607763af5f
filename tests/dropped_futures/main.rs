//! Every future of a pool and of a worker, dropped at every poll from none to its last, in worlds
//! that differ in nothing else: no room is lost, no outcome is, and nothing runs on for nobody.

mod cut;
mod stage;

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chargehand::testing::{ManualTimer, Script, World};
use chargehand::worker::Stopper;
use chargehand::{
    Driver, Outcomes, Pool, TaskError, TaskOptions, Threaded, Worker, WorkerOptions, memory,
};
use futures_util::future::{join, join_all};

use self::cut::{Dropped, at_every_poll};
use self::stage::{
    LATENCY, QUEUE, Running, STAFF, Staff, Stage, TASKS, VICTIMS, WORK, host, millis,
};

/// Whether a task may be done although its future is dropped later.
const MAY_BE_DONE: bool = true;

/// Plays with a future of a task's.
fn of_a_task<F: Future>(
    name: &str,
    may_be_done: bool,
    make: impl Fn(Pool, ManualTimer) -> F,
    check: fn(&F::Output),
) {
    for staff in STAFF {
        let (mut dropped_early, mut cancelled, mut dropped_late) = (0, 0, 0);
        at_every_poll(&format!("{name}, {staff:?}"), 40, |cut| {
            let stage = Stage::crowded(staff);
            let output = stage.cut(make(stage.pool.clone(), stage.world.timer()), cut);
            output.iter().for_each(check);
            let completes = output.is_some();
            drop(output);
            let stats = stage.clean_up();
            if !completes {
                // Those that were there before, and those that see to it that there is room.
                let others = 4 + u64::from(TASKS) + QUEUE as u64;
                dropped_early += u32::from(stats.submitted == others);
                cancelled += u32::from(stats.cancelled > 0);
                dropped_late += u32::from(stats.done > others);
            }
            completes
        });
        println!("{dropped_early} dropped in the queue, {cancelled} beyond, {dropped_late} done");
        assert!(dropped_early > 0 && cancelled > 0, "{name}, {staff:?}");
        assert_eq!(dropped_late > 0, may_be_done, "{name}, {staff:?}");
    }
}

#[test]
fn a_call_can_be_dropped_at_every_poll() {
    of_a_task(
        "call",
        MAY_BE_DONE,
        |pool, _| async move { pool.call::<u64, u64>(&(VICTIMS + 1)).await },
        |answer| assert_eq!(*answer, Ok(VICTIMS + 1)),
    );
    of_a_task(
        "call_raw",
        MAY_BE_DONE,
        |pool, _| async move {
            let request = postcard::to_stdvec(&(VICTIMS + 1)).expect("a number");
            pool.call_raw(request).await
        },
        |answer| assert_eq!(*answer, Ok(postcard::to_stdvec(&(VICTIMS + 1)).expect("a number"))),
    );
}

#[test]
fn a_task_can_be_dropped_at_every_poll() {
    of_a_task(
        "submit and its task",
        MAY_BE_DONE,
        |pool, _| async move { pool.submit::<u64, u64>(&(VICTIMS + 1)).await?.await },
        |answer| assert_eq!(*answer, Ok(VICTIMS + 1)),
    );
    of_a_task(
        "a task whose start is awaited",
        MAY_BE_DONE,
        |pool, _| async move {
            let mut task = pool.submit::<u64, u64>(&(VICTIMS + 1)).await?;
            assert_eq!(task.started().await.map(|started| started.attempt), Some(1));
            task.await
        },
        |answer| assert_eq!(*answer, Ok(VICTIMS + 1)),
    );
    of_a_task(
        "a task whose progress is awaited",
        MAY_BE_DONE,
        |pool, _| async move {
            let mut task = pool.submit::<u64, u64>(&(VICTIMS + 1)).await?;
            assert_eq!(task.progress().await, None, "the handler says nothing");
            task.await
        },
        |answer| assert_eq!(*answer, Ok(VICTIMS + 1)),
    );
    of_a_task(
        "a task that is cancelled",
        !MAY_BE_DONE,
        |pool, timer| async move {
            let task = pool.submit::<u64, u64>(&(VICTIMS + 1)).await?;
            timer.sleep(WORK).await;
            task.cancel();
            task.await
        },
        |answer| assert!(matches!(answer, Ok(_) | Err(TaskError::Cancelled)), "{answer:?}"),
    );
    of_a_task(
        "several tasks at once",
        MAY_BE_DONE,
        |pool, _| async move {
            let heights: Vec<u64> = (VICTIMS + 1..=VICTIMS + 5).collect();
            join_all(heights.iter().map(|height| pool.call::<u64, u64>(height))).await
        },
        |answers| assert!(answers.iter().all(Result::is_ok), "{answers:?}"),
    );
}

#[test]
fn a_task_that_is_detached_runs_to_its_end() {
    at_every_poll("submit, detached", 10, |cut| {
        let stage = Stage::crowded(Staff::Remote);
        let pool = stage.pool.clone();
        let submit = async move { pool.submit::<u64, u64>(&(VICTIMS + 1)).await };
        let submitted = stage.cut(submit, cut);
        let completes = submitted.is_some();
        if let Some(task) = submitted {
            task.expect("there is room at last").detach();
        }
        stage.world.run(stage.pool.idle()).expect("the driver lives");
        let stats = stage.world.run(stage.pool.stats()).expect("the driver lives");
        assert_eq!(stats.tasks.done, 4 + u64::from(completes), "where it was queued, it is done");
        stage.clean_up();
        completes
    });
}

#[test]
fn a_callback_is_called_where_its_task_was_queued_and_never_otherwise() {
    at_every_poll("submit_then", 10, |cut| {
        let stage = Stage::crowded(Staff::Remote);
        let (pool, called) = (stage.pool.clone(), Arc::new(AtomicU64::new(0)));
        let then = Arc::clone(&called);
        let submit = async move {
            let then = move |outcome: Result<u64, _>| {
                then.fetch_add(outcome.expect("it is done"), Relaxed);
            };
            pool.submit_then(&(VICTIMS + 1), then).await
        };
        let completes = stage.cut(submit, cut).is_some();
        stage.world.run(stage.pool.idle()).expect("the driver lives");
        assert_eq!(called.load(Relaxed), if completes { VICTIMS + 1 } else { 0 });
        assert_eq!(Arc::strong_count(&called), 1, "it is dropped with that");
        stage.clean_up();
        completes
    });
}

type Begin = fn(&Pool) -> Outcomes<u64>;

const RANGES: [(&str, Begin); 4] = [
    ("a range", |pool| pool.process(HEIGHTS)),
    ("a range in order", |pool| pool.process(HEIGHTS).in_order(2)),
    ("a range that stops at a failure", |pool| pool.process(HEIGHTS).stop_at_failure()),
    ("a range with retries", |pool| pool.with(TaskOptions::new().retries(2)).process(HEIGHTS)),
];

const HEIGHTS: RangeInclusive<u64> = VICTIMS + 1..=VICTIMS + 7;

#[test]
fn a_range_can_be_dropped_at_every_poll() {
    for (name, begin) in RANGES {
        of_a_task(
            name,
            MAY_BE_DONE,
            |pool, _| async move {
                let mut range = begin(&pool);
                let mut seen = Vec::new();
                while let Some((height, outcome)) = range.next().await {
                    assert_eq!(outcome, Ok(height));
                    seen.push(height);
                }
                seen
            },
            |seen| assert_eq!(seen.len(), 7),
        );
    }
    of_a_task(
        "for_each",
        MAY_BE_DONE,
        |pool, _| async move { pool.for_each::<u64>(VICTIMS + 1..=VICTIMS + 7, |_, _| {}).await },
        |report| assert!(report.is_complete()),
    );
}

#[test]
fn a_ranges_next_loses_no_outcome_at_whichever_poll_it_is_dropped() {
    for ((name, begin), staff) in RANGES.into_iter().zip([STAFF, STAFF].concat()) {
        at_every_poll(&format!("next of {name}, {staff:?}"), 20, |cut| {
            let stage = Stage::crowded(staff);
            let mut range = begin(&stage.pool);
            let mut seen = Vec::new();
            let mut completes = false;
            // The first one, and one in its midst.
            for index in [0, 3] {
                while seen.len() < index {
                    seen.extend(stage.world.run(range.next()));
                }
                let next = stage.cut(range.next(), cut);
                completes = next.is_some();
                seen.extend(next.flatten());
            }
            stage.world.run(async {
                while let Some(outcome) = range.next().await {
                    seen.push(outcome);
                }
            });
            seen.sort_unstable_by_key(|(height, _)| *height);
            let all: Vec<_> =
                (VICTIMS + 1..=VICTIMS + 7).map(|height| (height, Ok(height))).collect();
            assert_eq!(seen, all, "each once");
            assert!(range.report().is_complete());
            stage.clean_up();
            completes
        });
    }
}

/// Plays with a future of control, beside tasks that must not suffer.
fn of_control<F: Future>(name: &str, least: usize, make: impl Fn(Pool) -> F, check: fn(F::Output)) {
    at_every_poll(name, least, |cut| {
        let stage = Stage::crowded(Staff::Remote);
        let range =
            stage.world.spawn({
                let pool = stage.pool.clone();
                async move {
                    pool.for_each::<u64>(1..=6, |height, got| assert_eq!(got, Ok(height))).await
                }
            });
        let output = stage.cut(make(stage.pool.clone()), cut);
        let completes = output.is_some();
        output.into_iter().for_each(check);
        assert!(stage.world.run(range).is_complete(), "others' tasks are done all the same");
        stage.clean_up();
        completes
    });
}

#[test]
fn what_asks_a_pool_can_be_dropped_at_every_poll() {
    of_control(
        "idle",
        40,
        |pool| async move { pool.idle().await },
        |idle| {
            idle.expect("the driver lives");
        },
    );
    of_control(
        "all_taken",
        40,
        |pool| async move { pool.all_taken().await },
        |idle| {
            idle.expect("the driver lives");
        },
    );
    of_control(
        "stats",
        2,
        |pool| async move { pool.stats().await },
        |stats| {
            assert_eq!(stats.expect("the driver lives").workers.len(), 1);
        },
    );
}

#[test]
fn an_event_is_not_lost_with_the_future_that_waits_for_it() {
    at_every_poll("events.next", 5, |cut| {
        let stage = Stage::set(Staff::Remote);
        let mut events = stage.pool.events();
        let first = stage.cut(events.next(), cut);
        let completes = first.is_some();
        let first = first.unwrap_or_else(|| stage.world.run(events.next()));
        let text = first.expect("the driver lives").to_string();
        assert!(text.contains("connected"), "{text}");
        stage.clean_up();
        completes
    });
}

#[test]
fn a_worker_is_added_wholly_or_not_at_all_at_whichever_poll_that_is_dropped() {
    at_every_poll("add", 2, |cut| {
        let stage = Stage::set(Staff::Remote);
        let late = host(&stage.world, "late", &stage.running, 2);
        let added = stage.cut(stage.pool.add(late.connector(), WorkerOptions::new()), cut);
        stays_or_goes(&stage, added.map(|id| id.expect("there is room")).is_some())
            .then(|| stage.clean_up())
            .is_some()
    });
    at_every_poll("add_in_process", 2, |cut| {
        let stage = Stage::set(Staff::Remote);
        let handler = stage.running.handler(stage.world.timer());
        let added =
            stage.cut(stage.pool.add_in_process(handler, WorkerOptions::new().window(2)), cut);
        let completes = added.map(|id| id.expect("there is room")).is_some();
        stays_or_goes(&stage, completes).then(|| stage.clean_up()).is_some()
    });
}

/// Removes whatever worker is not the first one. Returns `completes`.
fn stays_or_goes(stage: &Stage, completes: bool) -> bool {
    stage.world.advance(millis(10));
    let stats = stage.world.run(stage.pool.stats()).expect("the driver lives");
    assert!(!completes || stats.workers.len() == 2);
    for worker in stats.workers.iter().skip(1) {
        assert_eq!(stage.world.run(stage.pool.remove(worker.id)), Ok(()));
    }
    let stats = stage.world.run(stage.pool.stats()).expect("the driver lives");
    assert_eq!((stats.workers.len(), stats.tasks.workers_up), (1, 1));
    completes
}

#[test]
fn a_removal_goes_on_without_its_future() {
    at_every_poll("remove", 10, |cut| {
        let stage = Stage::set(Staff::Remote);
        let late = host(&stage.world, "late", &stage.running, 2);
        let id = stage
            .world
            .run(stage.pool.add(late.connector(), WorkerOptions::new()))
            .expect("there is room");
        stage.world.advance(millis(10));
        let range =
            stage.world.spawn({
                let pool = stage.pool.clone();
                async move {
                    pool.for_each::<u64>(1..=9, |height, got| assert_eq!(got, Ok(height))).await
                }
            });
        stage.world.advance(LATENCY);
        let removed = stage.cut(stage.pool.remove(id), cut);
        let asked = cut.polls > 0;
        assert!(removed.is_none_or(|removed| removed.is_ok()));
        assert!(stage.world.run(range).is_complete(), "what it held is done, by it or another");
        stage.world.advance(millis(20));
        let stats = stage.world.run(stage.pool.stats()).expect("the driver lives");
        assert_eq!(stats.workers.len(), if asked { 1 } else { 2 }, "{cut:?}");
        if !asked {
            stage.world.run(stage.pool.remove(id)).expect("it is there");
        }
        stage.clean_up();
        removed.is_some()
    });
}

#[test]
fn a_stop_goes_on_without_its_future() {
    for (name, least, within) in [("stop", 20, None), ("stop_within", 10, Some(millis(5)))] {
        at_every_poll(name, least, |cut| {
            let stage = Stage::set(Staff::Remote);
            let heights: Vec<u64> = (1..=u64::from(TASKS)).collect();
            let submits = heights.iter().map(|height| stage.pool.submit::<u64, u64>(height));
            let tasks: Vec<_> = stage
                .world
                .run(join_all(submits))
                .into_iter()
                .map(|task| task.expect("there is room"))
                .collect();
            stage.world.advance(2 * LATENCY + millis(1));
            let pool = stage.pool.clone();
            let stop = async move {
                match within {
                    None => pool.stop().await,
                    Some(within) => pool.stop_within(within).await,
                }
            };
            let stopped = stage.cut(stop, cut);
            let asked = cut.polls > 0;
            for (height, result) in (1..).zip(stage.world.run(join_all(tasks))) {
                let aborted = within.is_some() && result == Err(TaskError::Aborted);
                assert!(result == Ok(height) || (asked && aborted), "{height}: {result:?}");
            }
            stage.world.advance(millis(50));
            let again = stage.world.run(stage.pool.call::<u64, u64>(&1));
            assert_eq!(again.is_err(), asked, "it has stopped, or was never asked to: {again:?}");
            assert_eq!(stage.running.heights(), [0_u64; 0]);
            stopped.is_some()
        });
    }
}

/// What callers of a pool saw that lost its driver somewhere.
async fn use_all(pool: Pool) -> Vec<Result<u64, TaskError>> {
    let heights: Vec<u64> = (1..=5).collect();
    let calls = join_all(heights.iter().map(|height| pool.call::<u64, u64>(height)));
    let range = async {
        let mut range = pool.process::<u64>(11..=16);
        let mut seen = Vec::new();
        while let Some((height, outcome)) = range.next().await {
            assert!((11..=16).contains(&height));
            seen.push(outcome);
        }
        seen
    };
    let rest = async { (pool.idle().await, pool.stats().await.map(|_| ())) };
    let ((mut answers, seen), _) = join(join(calls, range), rest).await;
    answers.extend(seen);
    let _ = pool.stop().await;
    answers
}

#[test]
fn a_driver_that_is_dropped_answers_everybody_and_stops_what_runs() {
    at_every_poll("a driver", 60, |cut| {
        let world = World::new(7);
        world.latency(LATENCY);
        let running = Running::default();
        let remote = host(&world, "remote", &running, 2);
        let builder = Pool::builder(world.timer())
            .seed(3)
            .connect(remote.connector())
            .in_process(1, running.handler(world.timer()))
            .tasks_max(TASKS)
            .queue_max(QUEUE);
        let (pool, driver): (Pool, Driver<ManualTimer, Threaded>) =
            builder.build().expect("the limits are in range");
        let over = world.spawn(Dropped::new(driver, cut, &world));
        let used = world.spawn(use_all(pool.clone()));
        let completes = world.run(over).is_some();
        let ended = world.elapsed();
        let answers = world.run(used);
        assert_eq!(world.elapsed(), ended, "nobody waits for what never comes");
        assert!(!completes || answers.iter().filter(|answer| answer.is_ok()).count() == 11);
        for answer in &answers {
            let is_right = matches!(answer, Ok(1..=5 | 11..=16) | Err(TaskError::Closed));
            assert!(is_right, "{answers:?}");
        }
        assert_eq!(world.run(pool.call::<u64, u64>(&1)), Err(TaskError::Closed));
        assert!(world.run(pool.stats()).is_err());
        world.advance(2 * LATENCY);
        assert_eq!(running.heights(), [0_u64; 0], "the worker knows");
        // Which is there for others.
        let pool = world.pool(|builder| builder);
        assert_eq!(world.run(pool.call::<u64, u64>(&1)), Ok(1));
        completes
    });
}

/// Plays with a worker's whole life, beside one that stays. `stopper` ends it in good order.
fn of_a_worker<F>(name: &str, make: impl Fn(&World, &Running) -> (Pool, F, Stopper))
where
    F: Future<Output = ()> + 'static,
{
    at_every_poll(name, 60, |cut| {
        let world = World::new(7);
        world.latency(LATENCY);
        world.worker(Script::new().takes(WORK));
        let running = Running::default();
        let (pool, life, stopper) = make(&world, &running);
        let over = world.spawn(Dropped::new(life, cut, &world));
        let range =
            world.spawn({
                let pool = pool.clone();
                async move {
                    pool.for_each::<u64>(1..=20, |height, got| assert_eq!(got, Ok(height))).await
                }
            });
        let later = world.sleep(millis(15));
        world.spawn(async move {
            later.await;
            stopper.stop();
        });
        let completes = world.run(over).is_some();
        assert_eq!(running.heights(), [0_u64; 0], "its handlers are dropped with it");
        assert!(world.run(range).is_complete(), "the other one did the rest");
        let stats = world.run(pool.stop()).expect("the driver lives").tasks;
        assert_eq!((stats.done, stats.submitted), (20, 20), "{stats:?}");
        assert!(!completes || stats.lost == 0, "it has stopped in good order: {stats:?}");
        completes
    });
}

#[test]
fn a_worker_that_is_dropped_at_any_poll_loses_no_task() {
    of_a_worker("serve", |world, running| {
        let (connector, listener) = memory::pair(16);
        let worker =
            Worker::new(world.timer(), running.handler(world.timer())).seed(5).concurrency(2);
        let stopper = worker.stopper();
        let pool = world.pool(|builder| builder.connect(connector));
        let life = async move { worker.serve(listener).await.expect("the settings are in range") };
        (pool, life, stopper)
    });
    of_a_worker("dial", |world, running| {
        let (connector, listener) = memory::pair(16);
        let worker =
            Worker::new(world.timer(), running.handler(world.timer())).seed(5).concurrency(2);
        let stopper = worker.stopper();
        let pool = world.pool(|builder| builder.accept(listener));
        let life = async move { worker.dial(connector).await.expect("the settings are in range") };
        (pool, life, stopper)
    });
}
