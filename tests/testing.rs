//! The test doubles themselves: each scripted fault does what it says, the clock jumps, and a seed
//! decides everything.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use chargehand::core::Stats;
use chargehand::testing::{Act, Script, Trace, WorkerHandle, World};
use chargehand::{Kind, Pool, TaskError, Worker};
use futures_util::StreamExt;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A world with one worker, and its pool, which tries everything twice and waits a second.
fn one(script: Script) -> (World, WorkerHandle, Pool) {
    let world = World::new(7);
    let worker = world.worker(script);
    let pool = impatient(&world);
    (world, worker, pool)
}

fn impatient(world: &World) -> Pool {
    world.pool(|builder| {
        builder.configure(|config| {
            config.attempt_timeout = secs(1);
            config.attempts_max = 2;
        })
    })
}

fn call(world: &World, pool: &Pool, height: u64) -> Result<u64, TaskError> {
    world.run(pool.call(&height))
}

fn counts(world: &World, pool: &Pool) -> Stats {
    world.run(pool.stats()).expect("the driver lives").tasks
}

/// How many lines of the trace hold `text`.
fn lines(trace: &Trace, text: &str) -> usize {
    trace.lines().iter().filter(|(_, line)| line.contains(text)).count()
}

/// What a run panics with.
fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("a text")).to_owned(),
    }
}

#[test]
fn a_worker_answers_with_the_request_or_as_its_script_says_and_takes_its_time() {
    let (world, worker, pool) = one(Script::new());
    assert_eq!(call(&world, &pool, 5), Ok(5));
    assert_eq!((world.elapsed(), worker.asked()), (Duration::ZERO, 1));

    let script = Script::new().answers(|height: u64| format!("block {height}")).takes(millis(50));
    let (world, _, pool) = one(script);
    let block: String = world.run(pool.call(&5_u64)).expect("it answers");
    assert_eq!(block, "block 5");
    assert_eq!(world.elapsed(), millis(50));
}

#[test]
fn a_delay_is_drawn_by_the_seed() {
    let took = |seed| {
        let world = World::new(seed);
        world.worker(Script::new().takes(millis(10)..=millis(90)));
        let pool = impatient(&world);
        let mut before = world.elapsed();
        let took = (0..50).map(|height| {
            call(&world, &pool, height).expect("it answers");
            let begun = std::mem::replace(&mut before, world.elapsed());
            before.saturating_sub(begun)
        });
        took.collect::<Vec<_>>()
    };
    let first = took(1);
    assert!(first.iter().all(|span| (millis(10)..=millis(90)).contains(span)), "{first:?}");
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
    assert_eq!(first, took(1));
    assert_ne!(first, took(2));
}

#[test]
fn concurrency_and_pace_limit_a_worker() {
    // A hundred heights of 50 ms each.
    for (script, expected) in [
        (Script::new().takes(millis(50)), 100 * 50),
        (Script::new().takes(millis(50)).concurrency(4), 25 * 50),
        // The first begins at once, and each next one 50 ms later.
        (Script::new().one_per(millis(50)), 99 * 50),
        (Script::new().one_per(millis(50)).concurrency(4), 99 * 50),
        (Script::new().one_per(millis(50)).takes(millis(500)).concurrency(20), 99 * 50 + 500),
    ] {
        let world = World::new(7);
        world.worker(script.clone());
        let pool = world.pool(|builder| builder);
        assert_eq!(world.run(pool.process::<u64>(1..=100).count()), 100);
        assert_eq!(world.elapsed(), millis(expected), "{script:?}");
    }
}

#[test]
fn what_waits_at_a_worker_is_not_begun() {
    let world = World::new(7);
    let worker = world.worker(Script::new().takes(millis(50)));
    let pool = world.pool(|builder| builder.in_flight(10));
    world.run(async {
        let mut heights = pool.process::<u64>(1..=10);
        assert_eq!(heights.next().await, Some((1, Ok(1))));
        assert_eq!(worker.asked(), 10, "all of them wait there");
        assert_eq!(world.elapsed(), millis(50), "and one is done");
        assert_eq!(heights.count().await, 9);
    });
    assert_eq!(world.elapsed(), millis(500));
}

#[test]
fn a_failure_is_an_outcome() {
    let (world, worker, pool) = one(Script::new().height(3, Act::Fail("no block".to_owned())));
    assert_eq!(call(&world, &pool, 3), Err(TaskError::Failed("no block".to_owned())));
    assert_eq!(call(&world, &pool, 4), Ok(4));
    assert_eq!(worker.asked(), 2);
    assert_eq!(lines(&world.trace(), "fails task 0.0 #1: \"no block\""), 1);
}

#[test]
fn a_worker_that_hangs_is_found_by_the_attempts_deadline_although_it_answers_pings() {
    let world = World::new(7);
    let hung = world.worker(Script::new().always(Act::Hang));
    let pool = world.pool(|builder| {
        builder.configure(|config| {
            config.attempt_timeout = secs(100);
            config.attempts_max = 2;
        })
    });
    assert_eq!(call(&world, &pool, 3), Err(TaskError::Exhausted { attempts: 2 }));
    assert_eq!(world.elapsed(), secs(200));
    assert_eq!(hung.asked(), 2, "its place was free again");
    assert_eq!(lines(&world.trace(), "is told to drop"), 2);
    assert_eq!(lines(&world.trace(), "lost"), 0, "it is heard of at every heartbeat");
}

#[test]
fn a_task_of_a_worker_that_hangs_goes_elsewhere() {
    let world = World::new(7);
    let hung = world.worker(Script::new().always(Act::Hang));
    let good = world.worker(Script::new());
    let pool = impatient(&world);
    assert_eq!(call(&world, &pool, 1), Ok(1));
    assert_eq!(world.elapsed(), secs(1));
    assert_eq!((hung.asked(), good.asked()), (1, 1));
}

#[test]
fn a_late_answer_comes_although_the_task_was_withdrawn_and_is_ignored() {
    let script = Script::new().answers(|height: u64| height).nth(1, Act::Late(secs(5)));
    let (world, worker, pool) = one(script.takes(millis(100)));
    assert_eq!(call(&world, &pool, 3), Ok(3));
    assert_eq!(world.elapsed(), millis(1100), "the second attempt had its place");
    assert_eq!(worker.asked(), 2);
    world.advance(secs(5));
    let answers = world.trace().lines();
    let answers: Vec<_> =
        answers.iter().filter(|(_, line)| line.contains("answers")).map(|(at, _)| *at).collect();
    assert_eq!(answers, [millis(1100), millis(5100)]);
    let counts = counts(&world, &pool);
    assert_eq!((counts.done, counts.stale, counts.workers_up), (1, 1, 1));
}

#[test]
fn an_answer_that_is_late_and_in_time_is_an_answer() {
    let (world, _, pool) = one(Script::new().always(Act::Late(millis(900))));
    assert_eq!(call(&world, &pool, 3), Ok(3));
    assert_eq!(world.elapsed(), millis(900));
}

#[test]
fn of_two_answers_the_second_is_ignored() {
    let (world, worker, pool) = one(Script::new().always(Act::Twice));
    for height in 0..10 {
        assert_eq!(call(&world, &pool, height), Ok(height));
    }
    world.advance(Duration::ZERO);
    assert_eq!(worker.asked(), 10);
    assert_eq!(lines(&world.trace(), "answers"), 20);
    let counts = counts(&world, &pool);
    assert_eq!((counts.done, counts.stale, counts.workers_up), (10, 10, 1));
}

#[test]
fn bytes_that_are_no_answer_are_an_error_of_their_task_alone() {
    let (world, _, pool) = one(Script::new().nth(1, Act::Bytes(vec![1, 2, 3])));
    assert!(matches!(call(&world, &pool, 3), Err(TaskError::Answer(_))));
    assert_eq!(call(&world, &pool, 3), Ok(3));
}

#[test]
fn a_worker_that_sends_garbage_or_lies_is_refused_and_its_task_sent_again() {
    for (act, complaint) in
        [(Act::Garbage, "what is no message"), (Act::Lie, "a task that it never held")]
    {
        let (world, worker, pool) = one(Script::new().nth(2, act));
        assert_eq!(call(&world, &pool, 1), Ok(1));
        assert_eq!(call(&world, &pool, 2), Ok(2));
        assert_eq!(worker.asked(), 3);
        let trace = world.trace();
        assert_eq!(lines(&trace, complaint), 2, "the pool's event, and its Goodbye:\n{trace}");
        assert_eq!(lines(&trace, "worker-1: connected"), 2);
    }
}

#[test]
fn a_message_that_is_garbled_on_its_way_is_refused() {
    let (world, worker, pool) = one(Script::new());
    assert_eq!(call(&world, &pool, 1), Ok(1));
    worker.garbles().now();
    assert_eq!(call(&world, &pool, 2), Ok(2));
    assert_eq!(lines(&world.trace(), "sends garbage"), 1);
    assert_eq!(lines(&world.trace(), "worker-1: connected"), 2);
}

#[test]
fn a_worker_that_dies_after_some_requests_stays_away_until_it_is_revived() {
    let (world, worker, pool) = one(Script::new().takes(millis(10)).nth(3, Act::Die));
    for height in 0..2 {
        assert_eq!(call(&world, &pool, height), Ok(height));
    }
    assert!(worker.is_alive());
    let last = world.run(async {
        let task = pool.submit::<u64, u64>(&2).await.expect("the driver lives");
        world.sleep(secs(60)).await;
        assert!(!worker.is_alive());
        worker.revives().now();
        task.await
    });
    assert_eq!(last, Ok(2));
    let trace = world.trace();
    assert_eq!(lines(&trace, "worker-1 dies"), 1);
    assert!(lines(&trace, "refused: the worker's process does not run") > 1, "{trace}");
    assert_eq!(worker.asked(), 4, "it counts on, so that the third request comes once");
}

#[test]
fn a_worker_that_dies_at_a_time_takes_what_it_holds_with_it() {
    let (world, worker, pool) = one(Script::new().takes(millis(500)));
    world.at(millis(200), worker.dies());
    world.at(millis(300), worker.dies());
    world.at(secs(2), worker.revives());
    assert_eq!(call(&world, &pool, 1), Ok(1));
    assert!(world.elapsed() >= millis(2500));
    assert_eq!(lines(&world.trace(), "dies"), 1, "a dead worker does not die");
    assert_eq!(lines(&world.trace(), "answers"), 1, "nothing is left of its first life");
}

#[test]
fn a_task_that_kills_its_workers_does_so_as_often_as_it_may() {
    let world = World::new(7);
    let script = Script::new().height(13, Act::Restart(millis(100)));
    let workers: Vec<_> = (0..3).map(|_| world.worker(script.clone())).collect();
    let pool = impatient(&world);
    let mut failed = Vec::new();
    world.run(async {
        let mut heights = pool.process::<u64>(1..=100);
        while let Some((height, outcome)) = heights.next().await {
            failed.extend(outcome.err().map(|error| (height, error)));
        }
    });
    assert_eq!(failed, [(13, TaskError::Exhausted { attempts: 2 })]);
    world.advance(millis(100));
    assert!(workers.iter().all(WorkerHandle::is_alive), "all are back");
    assert_eq!(lines(&world.trace(), "is back"), 2);
}

#[test]
fn a_link_that_breaks_is_noticed_at_once_and_dialled_again() {
    let (world, worker, pool) = one(Script::new().takes(millis(500)));
    world.at(millis(200), worker.loses_link());
    assert_eq!(call(&world, &pool, 1), Ok(1));
    assert_eq!(lines(&world.trace(), "lost: the link was cut"), 1);
    assert_eq!(worker.asked(), 2);
    assert!(worker.is_alive());
}

#[test]
fn a_network_that_is_away_is_noticed_by_the_silence_alone() {
    let (world, worker, pool) = one(Script::new());
    world.at(secs(5), worker.loses_network());
    world.advance(secs(10));
    assert_eq!(lines(&world.trace(), "lost"), 0, "it is not pinged before ten seconds");
    world.advance(millis(9_999));
    assert_eq!(lines(&world.trace(), "lost"), 0, "it may take another ten to answer");
    world.advance(millis(1));
    assert_eq!(lines(&world.trace(), "lost: silent for heartbeat_interval"), 1);
    world.advance(secs(30));
    assert!(lines(&world.trace(), "cannot connect: connecting took longer") > 0);
    worker.regains_network().now();
    assert_eq!(call(&world, &pool, 1), Ok(1));
}

#[test]
fn a_short_loss_of_the_network_delays_what_was_under_way_and_loses_nothing() {
    let (world, worker, pool) = one(Script::new().takes(millis(100)));
    world.at(millis(50), worker.loses_network());
    world.at(millis(900), worker.regains_network());
    assert_eq!(call(&world, &pool, 1), Ok(1));
    assert_eq!(world.elapsed(), millis(900));
    assert_eq!(worker.asked(), 1);
}

#[test]
fn messages_take_the_latency_of_their_world_each_way() {
    let world = World::new(7);
    world.latency(millis(5));
    world.worker(Script::new().takes(millis(20)));
    let pool = impatient(&world);
    world.advance(millis(100));
    assert_eq!(call(&world, &pool, 1), Ok(1));
    assert_eq!(world.elapsed(), millis(130));

    // However the delays are drawn, nothing is overtaken.
    let world = World::new(7);
    world.latency(millis(1)..=millis(50));
    world.worker(Script::new().concurrency(8));
    let pool = impatient(&world);
    assert_eq!(world.run(pool.process::<u64>(1..=500).count()), 500);
    assert_eq!(counts(&world, &pool).resent, 0);
}

#[test]
fn a_worker_that_dials_in_does_so_again_after_each_loss() {
    let world = World::new(7);
    let worker = world.worker(Script::new().name("rover").dials_in());
    let pool = impatient(&world);
    assert_eq!(call(&world, &pool, 1), Ok(1));
    worker.loses_link().now();
    assert_eq!(call(&world, &pool, 2), Ok(2));
    assert_eq!(world.elapsed(), secs(1));
    worker.dies().now();
    world.at(secs(4), worker.revives());
    assert_eq!(call(&world, &pool, 3), Ok(3));
    assert_eq!(world.elapsed(), secs(4));
    let stats = world.run(pool.stats()).expect("the driver lives");
    assert_eq!((stats.workers.len(), &*stats.workers[0].peer), (1, "rover"));
    assert_eq!(stats.workers[0].stats.links, 3);
}

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
    let outcomes: Vec<_> = world.run(pool.process::<u64>(10..=13).collect());
    assert_eq!(world.elapsed(), millis(600));
    assert_eq!(outcomes[0], (10, Ok(20)));
    assert_eq!(outcomes[3], (13, Err(TaskError::Failed("unlucky".to_owned()))));

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
        threaded.add(late.connector()).await.expect("there is room");
        let sums = futures_util::future::join(sum(&threaded, 1..=100), sum(&local, 1..=10)).await;
        assert_eq!(sums, (5050, 55));
    });
    assert_eq!(early.asked() + late.asked(), 110);
    assert!(late.asked() > 10);
    assert_eq!(lines(&world.trace(), "threaded: worker-1: connected"), 1);
    assert_eq!(lines(&world.trace(), "local: worker-1: connected"), 1);
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
    let stats = world.run(pool.stop()).expect("the driver lives");
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
