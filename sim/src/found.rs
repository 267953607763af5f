//! What the simulator found, as small as can be.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use chargehand::testing::{Act, Script, World};
use chargehand::{Pool, Task, TaskOptions};

use crate::plan::FRAME;

/// Its worker is gone, which the manager learns as it sends: nobody has that request, so nobody tried it.
#[test]
fn a_request_that_the_wire_refused_is_blamed_for_nothing() {
    let world = World::new(5);
    world.latency(Duration::from_millis(10));
    let worker = world.worker(Script::new());
    let pool = world.pool(|builder| {
        builder.configure(|config| (config.attempts_max, config.trust_initial) = (1, 1))
    });
    let submit = |number: u64| pool.try_submit::<u64, u64>(number).expect("there is room");
    let (first, second) = (submit(1), submit(2));
    while !world.trace().to_string().contains("answers") {
        world.advance(Duration::from_millis(1));
    }
    // Its answer still arrives, and then there is room for the next request.
    worker.dies().now();
    world.at(world.elapsed() + Duration::from_secs(1), worker.revives());
    assert_eq!(world.run(first), Ok(1));
    assert_eq!(world.run(second), Ok(2));
}

/// A manager that was held up lets its own handlers answer before it judges them.
#[test]
fn a_handler_beside_a_manager_that_is_held_up_is_not_late() {
    let world = World::new(5);
    let timer = world.timer();
    let pool = world.pool(|builder| {
        let timer = timer.clone();
        let handler = move |number: u64| {
            let pause = timer.sleep(Duration::from_millis(5));
            async move {
                pause.await;
                Ok::<u64, String>(number)
            }
        };
        builder.in_process(1, handler).configure(|config| {
            config.attempts_max = 1;
            config.attempt_timeout = Duration::from_millis(200);
        })
    });
    let task = pool.try_submit::<u64, u64>(7).expect("there is room");
    world.advance(Duration::from_millis(1));
    // The process stands still.
    timer.advance(Duration::from_secs(2));
    assert_eq!(world.run(task), Ok(7));
}

/// The worker answers all at once, and there is plenty of room for the first of them.
#[test]
fn long_answers_that_come_in_one_read_do_not_pass_the_budget() {
    let world = World::new(5);
    world.wire_capacity(64);
    let answers = |_: u64| "x".repeat(FRAME - 200);
    let worker = world.worker(Script::new().concurrency(16).answers(answers));
    let bytes = u32::try_from(FRAME).expect("a few KiB");
    let builder = Pool::builder(world.timer()).connect(worker.connector()).frame_bytes_max(bytes);
    let builder = builder.memory_max(5 * FRAME).tasks_max(32).in_flight(16);
    let builder = builder.configure(|config| config.trust_initial = 16);
    let (pool, driver) = builder.build().expect("in range");
    world.spawn(async move {
        let mut driver = pin!(driver);
        poll_fn(|cx| {
            let polled = driver.as_mut().poll(cx);
            if polled.is_pending() {
                driver.check();
            }
            polled
        })
        .await;
    });
    world.advance(Duration::from_millis(100));
    let submit = |number| pool.try_submit::<String, u64>(number).expect("there is room");
    let tasks: Vec<Task<String>> = (0..32).map(submit).collect();
    // Each is waited for, so all of them are sent, whatever there is room for.
    let all = futures_util::future::join_all(tasks);
    assert!(world.run(all).iter().all(Result::is_ok));
}

/// The wire has no room for what the worker is to be told, nor for the requests before that.
#[test]
fn a_worker_is_told_to_drop_a_task_before_it_gets_another_one() {
    let millis = Duration::from_millis;
    let world = narrow(5, millis(50));
    let worker = world.worker(Script::new().concurrency(5).takes(millis(1000)));
    let pool = Pool::builder(world.timer()).connect(worker.connector()).in_flight(5);
    let pool = pool.configure(|config| config.trust_initial = 16);
    let (pool, driver) = pool.build().expect("in range");
    world.spawn(driver);
    world.advance(millis(500));
    let hasty = pool.with(TaskOptions::new().deadline(millis(120)));
    let first = hasty.try_submit::<u64, u64>(1).expect("there is room");
    let submit = |number| pool.try_submit::<u64, u64>(number).expect("there is room");
    let tasks: Vec<Task<u64>> = (2..=5).map(submit).collect();
    assert!(world.run(first).is_err());
    assert!(world.run(futures_util::future::join_all(tasks)).iter().all(Result::is_ok));
    let trace = world.trace().to_string();
    let at = |what: &str| trace.find(what).unwrap_or_else(|| panic!("{what}: {trace}"));
    assert!(at("told to drop task 0.0") < at("asked task 4.0"), "{trace}");
}

/// A wire that takes one message at a time.
fn narrow(seed: u64, latency: Duration) -> World {
    let world = World::new(seed);
    world.wire_capacity(1);
    world.latency(latency..=latency);
    world
}

#[test]
fn a_request_that_waited_for_its_wire_has_all_of_its_time_from_when_it_left() {
    let millis = Duration::from_millis;
    let world = narrow(5, millis(60));
    let worker = world.worker(Script::new().concurrency(4).takes(millis(50)));
    let pool = Pool::builder(world.timer()).connect(worker.connector()).in_flight(4);
    let pool = pool.configure(|config| {
        config.trust_initial = 16;
        config.attempts_max = 1;
        config.attempt_timeout = millis(200);
    });
    let (pool, driver) = pool.build().expect("in range");
    world.spawn(driver);
    world.advance(millis(500));
    let submit = |number| pool.try_submit::<u64, u64>(number).expect("there is room");
    let tasks: Vec<Task<u64>> = (1..=4).map(submit).collect();
    let outcomes = world.run(futures_util::future::join_all(tasks));
    assert_eq!(outcomes, [1, 2, 3, 4].map(Ok));
}

/// A late answer is none of the two that end the link, and no reason to count them anew.
#[test]
fn what_has_not_left_is_blamed_for_no_strikes() {
    let millis = Duration::from_millis;
    let world = narrow(5, millis(30));
    let mut script = Script::new().concurrency(12).nth(1, Act::Late(millis(110)));
    for number in 2..=7 {
        script = script.nth(number, Act::Hang);
    }
    let worker = world.worker(script);
    let pool = Pool::builder(world.timer()).connect(worker.connector()).in_flight(12);
    let pool = pool.configure(|config| {
        config.trust_initial = 16;
        (config.attempts_max, config.strikes_max) = (1, 2);
        config.attempt_timeout = millis(150);
    });
    let (pool, driver) = pool.build().expect("in range");
    world.spawn(driver);
    world.advance(millis(500));
    let submit = |number| pool.try_submit::<u64, u64>(number).expect("there is room");
    let tasks: Vec<Task<u64>> = (1..=12).map(submit).collect();
    let outcomes = world.run(futures_util::future::join_all(tasks));
    assert!(outcomes[0].is_err() && outcomes[1].is_err());
    assert_eq!(outcomes[8..], [9, 10, 11, 12].map(Ok), "{}", world.trace());
}

/// Before it, another one waits for the wire that has more time.
#[test]
fn what_has_not_left_in_its_own_shorter_time_was_never_tried() {
    let millis = Duration::from_millis;
    // What is sent waits for so long that more than one request is held back.
    let world = narrow(5, millis(400));
    let worker = world.worker(Script::new().concurrency(8).takes(millis(1)));
    let pool = Pool::builder(world.timer()).connect(worker.connector()).in_flight(8);
    let pool = pool.configure(|config| {
        (config.trust_initial, config.attempts_max) = (16, 1);
        config.attempt_timeout = millis(5000);
    });
    let (pool, driver) = pool.build().expect("in range");
    world.spawn(driver);
    world.advance(millis(3000));
    let hasty = pool.with(TaskOptions::new().attempt_timeout(millis(900)));
    let submit = |pool: &Pool, number| pool.try_submit::<u64, u64>(number).expect("there is room");
    let first: Vec<Task<u64>> = (1..=6).map(|number| submit(&pool, number)).collect();
    let last = submit(&hasty, 7);
    assert_eq!(world.run(last), Ok(7), "{}", world.trace());
    drop(first);
}

/// How far an attempt is says nothing of the link, so the ping is still without an answer.
#[test]
fn what_has_not_left_a_silent_link_is_blamed_for_nothing_however_much_progress_comes() {
    let millis = Duration::from_millis;
    let world = narrow(5, millis(60));
    // Its Pong waits behind all that it says of the first request.
    let worker = world.worker(Script::new().concurrency(24).nth(1, Act::Flood(200)));
    let pool = Pool::builder(world.timer()).connect(worker.connector()).in_flight(24);
    let pool = pool.configure(|config| {
        (config.trust_initial, config.attempts_max) = (24, 1);
        (config.heartbeat_interval, config.heartbeat_timeout) = (millis(200), millis(400));
    });
    let (pool, driver) = pool.build().expect("in range");
    world.spawn(driver);
    world.advance(millis(300));
    let submit = |number| pool.try_submit::<u64, u64>(number).expect("there is room");
    let tasks: Vec<Task<u64>> = (1..=24).map(submit).collect();
    let outcomes = world.run(futures_util::future::join_all(tasks));
    let trace = world.trace().to_string();
    assert!(trace.contains("silent"), "{trace}");
    assert!(outcomes[0].is_err(), "it had begun: {trace}");
    assert_eq!(outcomes[20..], [21, 22, 23, 24].map(Ok), "{trace}");
}
