//! Whose turn it is: retries, ranges and single calls side by side. In virtual time, so that a wait is
//! exact.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use chargehand::testing::{Act, Script, WorkerHandle, World};
use chargehand::{Pool, TaskError, TaskOptions};
use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::{millis, secs};

/// What a single call asks for here. Heights are below.
const CALL: u64 = 1 << 40;

/// A worker that takes that long for each, and fails what is asked of `bad` heights.
fn one(script: Script) -> (World, WorkerHandle, Pool) {
    let world = World::new(11);
    world.wire_capacity(1024);
    let worker = world.worker(script);
    let pool = world.pool(|builder| {
        builder.queue_max(8192).configure(|config| config.retry_delay = Duration::ZERO)
    });
    (world, worker, pool)
}

/// How long a call takes in a world where other things go on.
fn wait_of_a_call(world: &World, pool: &Pool) -> Duration {
    let begun = world.elapsed();
    assert_eq!(world.run(pool.call::<u64, u64>(&CALL)), Ok(CALL));
    world.elapsed().saturating_sub(begun)
}

#[test]
fn heights_that_are_tried_for_ever_delay_a_call_by_one_turn() {
    for bad in [1, 20] {
        let fails = |height: Option<u64>| height.is_some_and(|height| height < CALL);
        let script = Script::new()
            .takes(millis(1))
            .when(move |request| fails(request.height()), Act::Fail("never".to_owned()));
        let (world, worker, pool) = one(script);
        let range = pool.with(TaskOptions::new().retries(1000)).process::<u64>(1..=bad);
        let failed = world.spawn(range.count());
        world.advance(millis(50));
        for _ in 0..20 {
            let wait = wait_of_a_call(&world, &pool);
            assert!(wait <= millis(3), "{bad} bad heights keep a call waiting for {wait:?}");
            world.advance(millis(7));
        }
        assert_eq!(world.run(failed), usize::try_from(bad).expect("a few"));
        assert_eq!(worker.asked(), bad * 1001 + 20);
    }
}

#[test]
fn tasks_that_are_tried_again_take_turns_in_order() {
    let asked = Rc::<RefCell<Vec<u64>>>::default();
    let log = Rc::clone(&asked);
    let script = Script::new().takes(millis(1)).when(
        move |request| {
            log.borrow_mut().extend(request.height());
            true
        },
        Act::Fail("never".to_owned()),
    );
    let (world, _, pool) = one(script);
    world.run(pool.with(TaskOptions::new().retries(20)).process::<u64>(1..=8).count());
    let asked = asked.take();
    assert_eq!(asked.len(), 8 * 21);
    // New ones and old ones alternate, so that none waits for all tries of another.
    let first_of = |height| asked.iter().position(|&at| at == height).expect("it was asked");
    assert!((1..=8).all(|height| first_of(height) < 16), "{asked:?}");
    // Then all are tried again in the order in which they failed, each as often as any other.
    for round in asked[16..120].windows(8) {
        let different: BTreeSet<u64> = round.iter().copied().collect();
        assert_eq!(different.len(), 8, "{asked:?}");
    }
}

#[test]
fn a_call_beside_an_endless_range_waits_for_a_few_tasks_only() {
    // What a worker holds was sent before: in its window, and then a turn or two.
    for (concurrency, window) in [(1, 1), (1, 8), (8, 8)] {
        let world = World::new(11);
        world.wire_capacity(1024);
        world.worker(Script::new().takes(millis(10)).concurrency(concurrency));
        let pool = world.pool(|builder| builder.in_flight(window).ahead_max(1024));
        let _range = world.spawn(pool.process::<u64>(0..=u64::from(u32::MAX)).count());
        world.advance(secs(1));
        for _ in 0..20 {
            let wait = wait_of_a_call(&world, &pool);
            let rounds = u32::from(window / concurrency) + 2;
            assert!(wait <= rounds * millis(10), "window {window}: a call waited {wait:?}");
            world.advance(millis(73));
        }
    }
}

#[test]
fn ranges_and_a_flood_of_calls_share() {
    let (world, _, pool) = one(Script::new().takes(millis(1)));
    let flood = join_all((0..4000).map(|number| {
        let pool = pool.clone();
        async move { pool.call::<u64, u64>(&(CALL + number)).await }
    }));
    let flood = world.spawn(flood);
    world.advance(millis(20));
    let begun = world.elapsed();
    assert_eq!(world.run(pool.process::<u64>(1..=300).count()), 300);
    let span = world.elapsed().saturating_sub(begun);
    assert!((millis(500)..=millis(700)).contains(&span), "300 heights took {span:?}");
    let answers: Vec<Result<u64, TaskError>> = world.run(flood);
    assert!(answers.iter().all(Result::is_ok));
}
#[test]
fn two_ranges_share_though_one_began_long_before() {
    let (world, _, pool) = one(Script::new().takes(millis(10)));
    let _long = world.spawn(pool.process::<u64>(0..=u64::from(u32::MAX)).count());
    world.advance(secs(5));
    let begun = world.elapsed();
    let mut short = pool.process::<u64>(CALL..=CALL + 99);
    assert!(world.run(short.next()).is_some());
    let first = world.elapsed().saturating_sub(begun);
    assert!(first <= millis(100), "its first height waited {first:?}, behind a whole look-ahead");
    assert_eq!(world.run(short.count()), 99);
    let all = world.elapsed().saturating_sub(begun);
    // A hundred of its own, and as many of the other.
    assert!(all <= millis(2300), "it took {all:?}");
}
