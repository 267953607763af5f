//! What happens to workers and their links.

use std::time::Duration;

use chargehand::testing::{Act, ManualTimer, Script, WorkerHandle, World};
use chargehand::{Builder, TaskError, Threaded, Worker};
use futures_util::StreamExt;

use super::{call, counts, impatient, lines, millis, one, secs};

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
fn workers_that_are_stopped_and_started_in_turn_lose_nothing() {
    let world = World::new(7);
    let script = Script::new().takes(millis(50)).concurrency(2);
    let timer = world.timer();
    let workers = [
        world.worker(script.clone()),
        world.worker(script.dials_in()),
        world.host("real", move || {
            let clock = timer.clone();
            let handler = move |height: u64| {
                let nap = clock.sleep(millis(50));
                async move {
                    nap.await;
                    Ok::<_, String>(height)
                }
            };
            Worker::new(timer.clone(), handler).concurrency(2)
        }),
    ];
    for (worker, at) in workers.iter().zip([1, 4, 7]) {
        world.at(secs(at), worker.stops());
        world.at(secs(at + 2), worker.revives());
    }
    let pool = world.pool(|builder| builder.configure(|config| config.attempts_max = 1));
    let report = world.run(pool.for_each::<u64>(1..=1200, |height, outcome| {
        assert_eq!(outcome, Ok(height));
    }));
    assert!(report.is_complete());
    // What crosses the real worker's Drain is given back, one for each answer that it crosses.
    assert!(counts(&world, &pool).resent <= 2);
    assert_eq!(lines(&world.trace(), "is asked to stop"), 3);
    assert_eq!(lines(&world.trace(), "ends"), 3);
    assert_eq!(lines(&world.trace(), "is back"), 3);
    assert!(world.elapsed() > secs(10), "all were back by then");
    for worker in &workers {
        assert!(worker.asked() > 300, "{} was asked {}", worker.name(), worker.asked());
    }
}

#[test]
fn a_worker_that_stops_takes_no_new_manager() {
    let (world, worker, pool) = one(Script::new().takes(millis(500)));
    let held = world.spawn(async move { pool.call::<u64, u64>(&1).await });
    world.at(millis(100), worker.stops());
    world.at(secs(3), worker.revives());
    world.advance(millis(200));
    let other = world.pool(|builder| builder.name("other"));
    assert_eq!(call(&world, &other, 2), Ok(2));
    assert!(world.elapsed() >= millis(3500), "only its next life knows the other");
    assert_eq!(world.run(held), Ok(1));
    assert_eq!(lines(&world.trace(), "ends"), 1);
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
    assert_eq!(lines(&world.trace(), "lost: silent: nothing heard for 20s"), 1);
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
fn what_a_worker_sent_before_it_died_arrives_and_what_was_on_a_broken_link_does_not() {
    for (breaks, asked) in [(false, 1), (true, 2)] {
        let world = World::new(7);
        world.latency(millis(10));
        let worker = world.worker(Script::new());
        let pool = impatient(&world);
        // Asked at 100 ms, it answers at 110, and the answer arrives at 120.
        world.advance(millis(100));
        world.at(millis(115), if breaks { worker.loses_link() } else { worker.dies() });
        assert_eq!(call(&world, &pool, 1), Ok(1));
        assert_eq!(worker.asked(), asked);
        assert_eq!(world.elapsed() == millis(120), !breaks);
    }
}

#[test]
fn a_death_behind_a_network_that_is_away_leaves_a_half_open_link() {
    let (world, worker, pool) = one(Script::new());
    assert_eq!(call(&world, &pool, 1), Ok(1));
    worker.loses_network().now();
    worker.dies().now();
    world.advance(secs(5));
    assert_eq!(counts(&world, &pool).workers_up, 1, "nobody told the manager");
    worker.regains_network().now();
    world.advance(Duration::ZERO);
    assert_eq!(counts(&world, &pool).workers_up, 0);
    assert_eq!(lines(&world.trace(), "lost: the peer closed the connection"), 1);
}

/// Lets a pool have up to 2000 attempts under way at a worker that runs so many, from the start.
fn at_once(builder: Builder<ManualTimer, Threaded>) -> Builder<ManualTimer, Threaded> {
    builder.queue_max(2000).configure(|config| {
        config.window_max = 2000;
        config.trust_initial = 2000;
    })
}

#[test]
fn a_wire_that_is_full_makes_its_sender_wait_and_go_on() {
    for capacity in [1, 2, 8, 1024] {
        let world = World::new(7);
        world.wire_capacity(capacity);
        let worker = world.worker(Script::new().concurrency(2000));
        let pool = world.pool(at_once);
        world.advance(Duration::ZERO);
        worker.loses_network().now();
        let outcomes = world.spawn(async move { pool.process::<u64>(1..=2000).count().await });
        world.advance(secs(1));
        assert_eq!(worker.asked(), capacity as u64, "no more is on its way");
        worker.regains_network().now();
        assert_eq!(world.run(outcomes), 2000);
        assert_eq!((world.elapsed(), worker.asked()), (secs(1), 2000));
    }
}

#[test]
fn every_capacity_of_a_wire_is_drawn() {
    let mut drawn: Vec<u64> = (0..40)
        .map(|seed| {
            let world = World::new(seed);
            let worker = world.worker(Script::new().concurrency(2000));
            let pool = world.pool(at_once);
            world.advance(Duration::ZERO);
            worker.loses_network().now();
            let _outcomes = world.spawn(async move { pool.process::<u64>(1..=2000).count().await });
            world.advance(secs(1));
            worker.asked()
        })
        .collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn, [1, 2, 8, 1024]);
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
fn a_worker_that_dials_in_waits_for_its_network() {
    let world = World::new(7);
    let worker = world.worker(Script::new().dials_in());
    worker.loses_network().now();
    world.at(secs(5), worker.regains_network());
    let pool = impatient(&world);
    assert_eq!(call(&world, &pool, 1), Ok(1));
    assert_eq!(world.elapsed(), secs(5));
}
