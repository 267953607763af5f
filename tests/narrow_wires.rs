//! Wires that hold less than is to be sent: what waits for room leaves as soon as there is some,
//! whether the wire had anything to flush or not.

use std::time::Duration;

use chargehand::memory::pair;
use chargehand::testing::{Act, Script, World};
use chargehand::{Pool, Worker};
use futures_util::future::join_all;

const CAPACITIES: [usize; 4] = [1, 2, 8, 64];

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A pool with one real worker at the other end of a wire of that capacity.
fn pool_of(world: &World, capacity: usize, concurrency: u16) -> Pool {
    let (connector, listener) = pair(capacity);
    let timer = world.timer();
    let worker = Worker::new(world.timer(), move |span: u64| {
        let nap = timer.sleep(Duration::from_secs(span));
        async move {
            nap.await;
            Ok::<_, String>(span)
        }
    });
    world.spawn(async move {
        worker.concurrency(concurrency).serve(listener).await.expect("it serves");
    });
    world.pool(|builder| builder.connect(connector))
}

/// Asks for `count` sleeps of so many seconds at once.
async fn call_all(pool: &Pool, count: usize, span: u64) {
    let calls = (0..count).map(|_| pool.call::<u64, u64>(&span));
    for answer in join_all(calls).await {
        assert_eq!(answer, Ok(span));
    }
}

#[test]
fn calls_and_ranges_go_through_a_wire_of_any_capacity_without_a_pause() {
    for capacity in CAPACITIES {
        let world = World::new(1);
        let pool = pool_of(&world, capacity, 16);
        let heights = pool.clone();
        let range = world.spawn(async move {
            let zeroes = heights.for_each::<u64>(0..=0, |_, outcome| assert_eq!(outcome, Ok(0)));
            zeroes.await
        });
        for _ in 0..100 {
            world.run(call_all(&pool, 40, 0));
        }
        assert!(world.run(range).is_complete());
        assert_eq!(world.elapsed(), Duration::ZERO, "capacity {capacity}");
    }
}

#[test]
fn what_finds_a_wire_full_that_has_nothing_to_flush_leaves_once_there_is_room() {
    for capacity in CAPACITIES {
        let world = World::new(1);
        world.wire_capacity(capacity);
        let window = u16::try_from(capacity).expect("it is small");
        let worker = world.worker(Script::new().concurrency(window).height(7, Act::Hang));
        let pool = world.pool(|builder| builder.configure(|config| config.trust_initial = 64));
        let hanging: Vec<_> =
            (0..capacity).map(|_| pool.try_submit::<u64, u64>(7).expect("there is room")).collect();
        world.advance(Duration::ZERO);
        assert_eq!(worker.asked(), capacity as u64);
        // The worker takes nothing for a moment: what is taken back fills the wire, and leaves it
        // flushed, before the call comes.
        worker.loses_network().now();
        drop(hanging);
        world.advance(millis(10));
        let call = {
            let pool = pool.clone();
            world.spawn(async move { pool.call::<u64, u64>(&1).await })
        };
        world.advance(millis(10));
        worker.regains_network().now();
        assert_eq!(world.run(call), Ok(1));
        assert_eq!(world.elapsed(), millis(20), "capacity {capacity}");
    }
}
