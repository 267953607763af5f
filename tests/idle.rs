//! What `idle` waits for and what not, and what `all_taken` adds.

use std::cell::Cell;
use std::task::Poll;
use std::time::Duration;

use chargehand::testing::{Script, World};
use chargehand::{Pool, from_stream};
use futures_util::future::{join, poll_immediate};
use futures_util::stream::poll_fn;

const SECOND: Duration = Duration::from_secs(1);

/// A world with one worker, which takes a second for each task.
fn pool(world: &World) -> Pool {
    world.worker(Script::new().concurrency(4).takes(SECOND));
    world.pool(|builder| builder)
}

#[test]
fn a_map_that_waits_for_its_source_for_ever_lets_the_pool_be_idle() {
    let world = World::new(1);
    let pool = pool(&world);
    let (sender, requests) = async_channel::unbounded();
    let mut requests = Box::pin(requests);
    let source = poll_fn(move |cx| futures_util::Stream::poll_next(requests.as_mut(), cx));
    let mapped = pool.map::<u64, _>(from_stream(source));
    let map = world.spawn(mapped.each(|request, outcome| assert_eq!(outcome, Ok(request))));
    for round in 0..3 {
        for request in 0..9_u64 {
            sender.try_send(request).unwrap();
        }
        world.advance(Duration::ZERO);
        world.run(pool.idle()).unwrap();
        assert_eq!(world.elapsed(), (round + 1) * 3 * SECOND, "nine requests, four at once");
        // Whoever asks when there is nothing is told at once, and so it stays.
        world.run(pool.idle()).unwrap();
    }
    drop(sender);
    assert_eq!(world.run(map).done, 27);
}

#[test]
fn a_pool_hears_that_a_source_has_no_more_for_now_without_another_task() {
    let world = World::new(1);
    let pool = pool(&world);
    let has_none = Cell::new(false);
    let source = poll_fn(|_| if has_none.get() { Poll::Pending } else { Poll::Ready(Some(1_u64)) });
    let mut map = pool.map::<u64, _>(from_stream(source)).ahead(1);
    world.run(async {
        // One is under way or untaken at all times, but while nobody polls.
        assert_eq!(map.next().await, Some((1, Ok(1))));
        assert!(poll_immediate(map.next()).await.is_none());
        assert_eq!(map.next().await, Some((1, Ok(1))));
        let idle = async {
            pool.idle().await.unwrap();
            assert!(has_none.get(), "there was more");
        };
        let rest = async {
            assert!(poll_immediate(map.next()).await.is_none());
            world.sleep(3 * SECOND).await;
            assert_eq!(map.next().await, Some((1, Ok(1))));
            has_none.set(true);
            assert!(poll_immediate(map.next()).await.is_none());
        };
        join(idle, rest).await;
    });
}

#[test]
fn a_map_of_an_iterator_is_under_way_until_its_end_however_slowly_it_is_taken() {
    let world = World::new(1);
    let pool = pool(&world);
    let mut map = pool.map::<u64, _>(1..=5_u64).ahead(1);
    let taken = Cell::new(0);
    let take = async {
        while let Some((request, outcome)) = map.next().await {
            assert_eq!(outcome, Ok(request));
            taken.set(request);
            world.sleep(10 * SECOND).await;
        }
    };
    let idle = async {
        world.sleep(SECOND).await;
        pool.idle().await.unwrap();
        assert_eq!(taken.get(), 5);
    };
    world.run(join(take, idle));
}

#[test]
fn all_taken_waits_for_whoever_takes_an_outcome_late() {
    let world = World::new(1);
    let pool = pool(&world);
    world.run(async {
        let tasks =
            [pool.submit::<u64, u64>(&1).await, pool.submit(&2).await, pool.submit(&3).await];
        let [first, second, third] = tasks.map(Result::unwrap);
        pool.idle().await.unwrap();
        assert_eq!(world.elapsed(), SECOND);
        let late = async {
            world.sleep(SECOND).await;
            assert_eq!(first.await, Ok(1));
            world.sleep(SECOND).await;
            second.detach();
            world.sleep(SECOND).await;
            drop(third);
        };
        let all = async {
            pool.all_taken().await.unwrap();
            assert_eq!(world.elapsed(), 4 * SECOND);
            // Nobody has any.
            pool.all_taken().await.unwrap();
        };
        join(late, all).await;
    });
}

#[test]
fn all_taken_waits_for_what_is_under_way_and_for_nobody_who_gave_up() {
    let world = World::new(1);
    let pool = pool(&world);
    world.run(async {
        let kept = pool.submit::<u64, u64>(&1).await.unwrap();
        // It would wait for ever.
        assert!(poll_immediate(Box::pin(pool.all_taken())).await.is_none());
        pool.submit::<u64, u64>(&2).await.unwrap().detach();
        world.sleep(2 * SECOND).await;
        let slow = async { assert_eq!(pool.call::<u64, u64>(&3).await, Ok(3)) };
        let all = async {
            world.sleep(SECOND / 2).await;
            drop(kept);
            pool.all_taken().await.unwrap();
            assert_eq!(world.elapsed(), 3 * SECOND);
        };
        join(slow, all).await;
    });
}
