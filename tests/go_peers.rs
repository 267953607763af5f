//! Peers of the Go package `worker` that misbehave as told: its workers before our pool, its managers
//! before our worker. `tests/interop` has real ones.

use std::time::Duration;

use chargehand::core::json::Response;
use chargehand::testing::wires::WorldError;
use chargehand::testing::{Act, Script, World};
use chargehand::{JsonHeights, Pool, Report, TaskError, Worker};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A pool that gives an attempt a second.
fn pool(world: &World) -> Pool {
    world.pool(|builder| builder.configure(|config| config.attempt_timeout = secs(1)))
}

fn heights(world: &World, pool: &Pool) -> Report {
    world.run(pool.for_each::<()>(1..=20, |_, _| ()))
}

#[test]
fn whatever_becomes_of_an_answer_its_height_is_done_at_last() {
    let cut = br#"{"Height":5,"Succ"#.to_vec();
    let value = br#"{"Height":"5"}"#.to_vec();
    for act in [
        Act::Hang,
        Act::Late(millis(1500)),
        Act::Lie,
        Act::Garbage,
        Act::Bytes(cut),
        Act::Bytes(value),
        Act::Bytes(Vec::new()),
        Act::Close,
        Act::Restart(millis(300)),
        Act::Die,
    ] {
        let world = World::new(5);
        let bad = world.go_worker(Script::new().nth(3, act.clone()).takes(millis(10)));
        let good = world.go_worker(Script::new().takes(millis(10)));
        let report = heights(&world, &pool(&world));
        assert!(report.is_complete(), "{act:?}: {report:?}\n{}", world.trace());
        assert_eq!(report.done, 20, "{act:?}");
        // What was asked in vain was asked again, once.
        assert_eq!(bad.asked() + good.asked(), 21, "{act:?}\n{}", world.trace());
        world.advance(secs(1));
        assert_eq!(bad.is_alive(), act != Act::Die);
    }
}

#[test]
fn a_height_that_ends_each_link_after_it_has_left_is_exhausted_and_no_other() {
    for act in [Act::Close, Act::Restart(millis(100))] {
        let world = World::new(2);
        let script = Script::new().height(7, act.clone()).takes(millis(1));
        let workers = [(); 2].map(|()| world.go_worker(script.clone()));
        let report = heights(&world, &pool(&world));
        assert_eq!((report.done, report.failed), (19, 1), "{act:?}: {}", world.trace());
        let (height, error) = report.first_failure.unwrap();
        assert_eq!((height, error), (7, TaskError::Exhausted { attempts: 5 }));
        assert_eq!(workers.map(|worker| worker.asked()).iter().sum::<u64>(), 19 + 5);
    }
}

#[test]
fn a_failure_is_an_answer_with_its_text() {
    let world = World::new(1);
    let script = Script::new().height(7, Act::Fail("no such block".to_owned()));
    let worker = world.go_worker(script);
    let report = heights(&world, &pool(&world));
    assert_eq!((report.done, report.failed, worker.asked()), (19, 1, 21));
    let (height, error) = report.first_failure.unwrap();
    assert_eq!((height, error.to_string().contains("no such block")), (7, true));
}

#[test]
fn a_failure_of_sixteen_mebibytes_is_cut() {
    let world = World::new(1);
    world.go_worker(Script::new().always(Act::Fail("é".repeat(4 << 20))));
    let report = world.run(pool(&world).for_each::<()>(1..=1, |_, _| ()));
    let text = report.first_failure.unwrap().1.to_string();
    let count = text.chars().filter(|&character| character == 'é').count();
    assert_eq!(count, 8192, "16 KiB of it");
}

#[test]
fn an_answer_that_comes_twice_ends_the_link_and_nothing_else() {
    let world = World::new(3);
    let worker = world.go_worker(Script::new().nth(3, Act::Twice).takes(millis(10)));
    let report = heights(&world, &pool(&world));
    assert!(report.is_complete());
    // The second one is an answer to nothing, or to the next height, which is then sent again.
    assert!((20..=21).contains(&worker.asked()), "{}", world.trace());
}

#[test]
fn a_slow_worker_gets_as_much_as_it_does() {
    let world = World::new(2);
    let slow = world.go_worker(Script::new().takes(millis(100)));
    let fast = world.go_worker(Script::new().takes(millis(10)));
    assert!(heights(&world, &pool(&world)).is_complete());
    assert!(slow.asked() * 5 < fast.asked(), "{} and {}", slow.asked(), fast.asked());
}

#[test]
fn a_worker_that_stops_loses_nothing() {
    let world = World::new(2);
    let script = Script::new().takes(millis(10));
    let [first, second] = [world.go_worker(script.clone()), world.go_worker(script)];
    world.at(millis(55), first.stops());
    assert!(heights(&world, &pool(&world)).is_complete());
    assert!(!first.is_alive());
    assert_eq!(first.asked() + second.asked(), 20, "it has answered what it was asked");
}

#[test]
fn what_a_rule_sees_of_a_height() {
    let world = World::new(1);
    let script = Script::new()
        .when(|request| request.signed_height() == Some(-3), Act::Fail("below".to_owned()))
        .height(3, Act::Fail("above".to_owned()));
    world.go_worker(script);
    let pool = world.pool(|builder| builder);
    let mut failed = Vec::new();
    let each = |height, outcome: Result<(), _>| failed.extend(outcome.err().map(|_| height));
    world.run(pool.process_signed(-5..=5).each(each));
    assert_eq!(failed, [-3, 3]);
    let trace = world.trace().to_string();
    assert!(trace.contains("worker-1 is asked height -3"), "{trace}");
    assert!(trace.contains(r#"worker-1 fails height -3: "below""#), "{trace}");
}

#[test]
#[should_panic(expected = "one height at a time")]
fn a_go_worker_takes_one_height_at_a_time() {
    World::new(1).go_worker(Script::new().concurrency(2));
}

/// A worker of ours whose handler takes 10 ms for each height, and fails at 13.
fn hosted(world: &World, heights: JsonHeights) -> chargehand::testing::WorkerHandle {
    let timer = world.timer();
    world.host("ours", move || {
        let clock = timer.clone();
        let handler = move |height: i64| {
            let work = clock.sleep(millis(10));
            async move {
                work.await;
                if height == 13 { Err(format!("no block {height}")) } else { Ok(()) }
            }
        };
        Worker::new(timer.clone(), handler).json_heights(heights)
    })
}

#[test]
fn a_manager_asks_for_one_height_after_the_other() {
    let world = World::new(1);
    let worker = hosted(&world, JsonHeights::Signed);
    world.run(async {
        let mut manager = worker.go_manager().await.unwrap();
        for height in [1, -1, 12, i64::MIN, i64::MAX, 0] {
            assert_eq!(manager.process(height).await, Ok(Response::done(height)));
        }
        let failed = Response::failed(13, "no block 13");
        assert_eq!(manager.process(13).await, Ok(failed));
    });
    assert_eq!((worker.asked(), world.elapsed()), (7, millis(70)));
}

#[test]
fn what_is_no_request_ends_that_managers_link_and_no_other() {
    for frame in [&b"{\"Height\":"[..], b"{\"Height\":true}", b"", b"\xff", b"[1]"] {
        let world = World::new(1);
        let worker = hosted(&world, JsonHeights::Signed);
        world.run(async {
            let mut good = worker.go_manager().await.unwrap();
            let mut bad = worker.go_manager().await.unwrap();
            assert_eq!(bad.process(1).await, Ok(Response::done(1)));
            bad.send(frame).await.unwrap();
            assert_eq!(bad.receive().await, Ok(None), "{frame:?}");
            assert!(bad.process(2).await.is_err());
            assert_eq!(good.process(3).await, Ok(Response::done(3)), "{frame:?}");
        });
    }
}

#[test]
fn a_manager_that_goes_away_ends_the_handler_and_no_other() {
    let world = World::new(1);
    let worker = hosted(&world, JsonHeights::Signed);
    world.run(async {
        let mut gone = worker.go_manager().await.unwrap();
        let mut stays = worker.go_manager().await.unwrap();
        gone.send(br#"{"Height":1}"#).await.unwrap();
        drop(gone);
        assert_eq!(stays.process(2).await, Ok(Response::done(2)));
    });
}

#[test]
fn a_manager_that_asks_twice_at_once_is_answered_in_turn() {
    let world = World::new(1);
    let worker = hosted(&world, JsonHeights::Signed);
    world.run(async {
        let mut hasty = worker.go_manager().await.unwrap();
        hasty.send(br#"{"Height":1}"#).await.unwrap();
        hasty.send(br#"{"Height":2}"#).await.unwrap();
        for height in [1, 2] {
            let frame = hasty.receive().await.unwrap().expect("an answer");
            assert_eq!(Response::decode(&frame), Ok(Response::done(height)));
        }
    });
}

#[test]
fn a_worker_that_is_dead_refuses_a_manager_and_one_that_dies_leaves_it() {
    let world = World::new(1);
    let worker = hosted(&world, JsonHeights::Unsigned);
    world.run(async {
        let mut manager = worker.go_manager().await.unwrap();
        let failed = manager.process(-1).await.unwrap();
        assert!(failed.error.contains("below zero"), "{}", failed.error);
        worker.dies().now();
        assert!(manager.process(1).await.is_err());
        assert_eq!(worker.go_manager().await.err(), Some(WorldError::Refused));
    });
}
