//! Futures that are dropped at any await leave nothing behind.

use crate::pair::Pair;
use crate::rig::{Rig, Tally, assert_settled, eventually, millis, poll_and_drop, setup, steady};

pub(crate) async fn dropped_futures_leak_no_slot_and_lose_no_outcome<P: Pair>() {
    let (door, at) = P::place();
    let _worker = P::spawn(P::serve(steady::<P>("steady", millis(1)).concurrency(4), door));
    let setup = P::connect(setup::<P>().tasks_max(16).queue_max(4), &at);
    let rig = Rig::start::<P>(setup);
    let pool = &rig.pool;
    for polls in 0..40 {
        let _ = poll_and_drop::<P, _>(polls % 8, pool.call::<u64, u64>(&1)).await;
        let _ = poll_and_drop::<P, _>(polls % 4, pool.submit::<u64, u64>(&2)).await;
        let _ = poll_and_drop::<P, _>(polls % 8, take_some(pool)).await;
        let _ = poll_and_drop::<P, _>(polls % 3, pool.idle()).await;
        let _ = poll_and_drop::<P, _>(polls % 3, pool.stats()).await;
    }
    let stats = eventually::<P>(pool, |stats| {
        stats.tasks.waiting + stats.tasks.in_flight + stats.tasks.finished == 0
    })
    .await;
    assert_settled(&stats.tasks);
    // All of the capacity is there.
    Tally::start(pool, 1..=200).all_done().await;
    rig.stop().await;
}

pub(crate) async fn a_stop_that_is_dropped_stops_all_the_same<P: Pair>() {
    let (door, at) = P::place();
    let _worker = P::spawn(P::serve(steady::<P>("steady", millis(1)), door));
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    rig.watch.connected::<P>().await;
    let _ = poll_and_drop::<P, _>(1, rig.pool.stop()).await;
    rig.driver.done().await;
    assert!(rig.pool.stats().await.is_err(), "the driver has ended");
}

/// Begins a range and leaves it in the middle.
async fn take_some(pool: &chargehand::Pool) {
    Tally::start(pool, 1..=30).take(5).await;
}
