//! What a pool says of itself in numbers: by `stats` and by `stop`, as one line and serialized.

use std::time::Duration;

use chargehand::core::WorkerState;
use chargehand::testing::{Act, Script, World};
use chargehand::{DisconnectReason, from_stream};
use futures_util::future::poll_immediate;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_pool_and_each_of_its_workers_are_one_line_of_a_log() {
    let world = World::new(1);
    world.worker(Script::new().name("good").concurrency(2).takes(SECOND));
    let bad = world.worker(Script::new().name("bad").always(Act::Fail("no such block".into())));
    world.at(5 * SECOND, bad.dies());
    let pool = world.pool(|builder| builder.configure(|config| config.retries_max = 0));
    world.advance(Duration::ZERO);
    let none = world.run(pool.stats()).unwrap();
    assert_eq!(none.to_string(), "0 of 0 tasks done; 2 of 2 workers up");
    assert_eq!(none.workers[0].to_string(), "good: up, 0 of 2 in flight, 1 link");
    world.run(async {
        let many = (0..5).map(|number| pool.try_submit::<u64, u64>(number).unwrap());
        let tasks: Vec<_> = many.collect();
        world.sleep(SECOND / 2).await;
        let stats = pool.stats().await.unwrap();
        let line = "0 of 5 tasks done, 3 failed; 2 in flight; 2 of 2 workers up";
        assert_eq!(stats.to_string(), line);
        assert_eq!(stats.workers[1].to_string(), "bad: up, 0 of 1 in flight, 3 failed, 1 link");
        drop(tasks);
        world.sleep(5 * SECOND).await;
        let bad = &pool.stats().await.unwrap().workers[1];
        let line = "bad: backing off, 0 of 1 in flight, 3 failed, 1 link; last: ";
        assert!(bad.to_string().starts_with(line), "{bad}");
        assert!(!bad.to_string().contains('\n'));
    });
}

#[test]
fn stop_returns_the_workers_as_they_ended_and_those_that_were_never_up() {
    let world = World::new(1);
    world.worker(Script::new().name("good").takes(SECOND));
    let never = world.worker(Script::new().name("never"));
    world.at(Duration::ZERO, never.dies());
    let pool = world.pool(|builder| {
        builder.in_process(1, |height: u64| async move { Ok::<_, String>(height) })
    });
    let stats = world.run(async {
        world.sleep(SECOND / 2).await;
        let tasks: Vec<_> = (0..2).map(|at| pool.try_submit::<u64, u64>(at).unwrap()).collect();
        world.sleep(SECOND / 4).await;
        // One is under way, and counts for its worker all the same.
        let stats = pool.stop().await.unwrap();
        drop(tasks);
        stats
    });
    assert_eq!((stats.tasks.done, stats.tasks.workers_up), (2, 0));
    let shown: Vec<_> =
        stats.workers.iter().map(|worker| (&*worker.peer, worker.stats.done)).collect();
    let mut sorted = shown.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [("good", 1), ("in-process 1", 1), ("never", 0)], "{shown:?}");
    let never = stats.workers.iter().find(|worker| &*worker.peer == "never").unwrap();
    assert!(matches!(never.stats.state, WorkerState::BackingOff { .. }), "{never}");
    assert!(matches!(never.last_error, Some(DisconnectReason::Unreachable(_))), "{never}");
}

#[test]
fn figures_are_serialized_as_they_are_named() {
    let world = World::new(1);
    world.worker(Script::new().name("good"));
    let never = world.worker(Script::new().name("never"));
    world.at(Duration::ZERO, never.dies());
    let pool = world.pool(|builder| builder);
    assert_eq!(world.run(pool.call::<u64, u64>(&7)), Ok(7));
    let stats = world.run(pool.stats()).unwrap();
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["tasks"]["done"], 1);
    assert_eq!(json["streams"], 0);
    let good = &json["workers"][0];
    assert_eq!((&good["peer"], &good["stats"]["state"]), (&"good".into(), &"up".into()));
    assert_eq!((&good["id"]["slot"], &good["last_error"]), (&0.into(), &serde_json::Value::Null));
    let reason = json["workers"][1]["last_error"].as_str().unwrap();
    assert_eq!(reason, stats.workers[1].last_error.as_ref().unwrap().to_string());
    assert_eq!(json["workers"][1]["stats"]["state"], "backing off");
}

#[test]
fn figures_count_the_streams_that_keep_a_pool_from_being_idle() {
    let world = World::new(1);
    world.worker(Script::new().takes(SECOND));
    let pool = world.pool(|builder| builder);
    world.run(async {
        let mut range = pool.process::<u64>(1..=100);
        let mut waits = pool.map::<u64, _>(from_stream(futures_util::stream::pending::<u64>()));
        assert!(poll_immediate(range.next()).await.is_none());
        assert!(poll_immediate(waits.next()).await.is_none());
        world.sleep(SECOND / 2).await;
        assert_eq!(pool.stats().await.unwrap().streams, 1, "the range");
        drop(range);
        world.sleep(SECOND).await;
        assert_eq!(pool.stats().await.unwrap().streams, 0);
        pool.idle().await.unwrap();
    });
}
