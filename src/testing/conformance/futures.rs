//! Every future of a pool, dropped after any number of polls.

use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec::Vec;

use super::Pair;
use super::rig::{
    Ends, Rig, Setup, answer_to, assert_settled, eventually, hand, millis, poll_and_drop, quick,
    setup, until, works,
};

/// How many tasks the pool of these cases takes.
const TASKS: u32 = 4;

fn narrow<P: Pair>() -> Setup<P> {
    setup::<P>().tasks_max(TASKS).queue_max(2).ahead_max(2)
}

pub(super) async fn futures_of_tasks_leak_nothing_wherever_they_are_dropped<P: Pair>() {
    let open = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&open);
    let work = hand::<P>("gated", move |height| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            super::rig::pause::<P>(std::time::Duration::from_micros(height % 7 * 200)).await;
            until::<P>("the gate opens", || gate.load(Ordering::SeqCst)).await;
            Ok(answer_to(height))
        })
    });
    let (door, at) = P::place();
    let _job = P::job(P::serve(work.concurrency(2), door));
    let rig = Rig::start::<P>(P::connect(narrow::<P>(), &at));
    rig.up::<P>(1).await;
    for round in 0..120_u64 {
        let polls = u32::try_from(round % 8).expect("a small number");
        // More of them than there is room for, so that some wait at each place.
        for extra in 0..3 {
            drop(rig.pool.try_submit::<u64, u64>(round + extra));
        }
        poll_and_drop::<P, _>(polls, rig.pool.call::<u64, u64>(&round)).await;
        if let Some(task) = poll_and_drop::<P, _>(polls, rig.pool.submit::<u64, u64>(&round)).await
        {
            poll_and_drop::<P, _>(polls, task.expect("the pool lives")).await;
        }
        let mut outcomes = rig.pool.process::<u64>(1..=20);
        for _ in 0..polls {
            poll_and_drop::<P, _>(polls, outcomes.next()).await;
        }
        drop(outcomes);
    }
    let stats = eventually::<P>(&rig.pool, |stats| {
        let tasks = &stats.tasks;
        (tasks.waiting, tasks.in_flight, tasks.finished) == (0, 0, 0)
    })
    .await;
    assert_settled(&stats.tasks);
    assert!(stats.tasks.cancelled > 0, "some were under way");
    assert!(stats.tasks.done > 0, "some were done first");
    assert_eq!((stats.tasks.lost, stats.tasks.foreign), (0, 0));

    // All the room is there.
    open.store(false, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for height in 0..u64::from(TASKS) {
        tasks.push(rig.pool.submit::<u64, u64>(&height).await.expect("the pool lives"));
    }
    eventually::<P>(&rig.pool, |stats| {
        stats.tasks.in_flight == 2 && stats.tasks.waiting == TASKS - 2
    })
    .await;
    open.store(true, Ordering::SeqCst);
    for (height, task) in (0..).zip(tasks) {
        assert_eq!(task.await, Ok(answer_to(height)));
    }
    works(&rig.pool).await;
    rig.stop().await;
}

pub(super) async fn futures_of_control_leak_nothing_wherever_they_are_dropped<P: Pair>() {
    let (door, at) = P::place();
    let _job = P::job(P::serve(quick::<P>("good"), door));
    let rig = Rig::start::<P>(P::connect(narrow::<P>().workers_max(64), &at));
    rig.up::<P>(1).await;
    for polls in 0..6 {
        for _ in 0..3 {
            poll_and_drop::<P, _>(polls, rig.pool.idle()).await;
            poll_and_drop::<P, _>(polls, rig.pool.stats()).await;
            if let Some(added) = poll_and_drop::<P, _>(polls, P::add(&rig.pool, &at)).await {
                let worker = added.expect("there is room");
                poll_and_drop::<P, _>(polls, rig.pool.remove(worker)).await;
            }
        }
        works(&rig.pool).await;
    }
    rig.pool.idle().await.expect("the driver lives");
    // Removal goes on without its future; adding without its future may have come to pass.
    let stats = rig.pool.stats().await.expect("the driver lives");
    for worker in stats.workers.iter().skip(1) {
        let _ = rig.pool.remove(worker.id).await;
    }
    eventually::<P>(&rig.pool, |stats| stats.tasks.workers == 1).await;
    works(&rig.pool).await;
    rig.stop().await;
}

pub(super) async fn a_stop_whose_future_is_dropped_still_ends_in_order<P: Pair>() {
    for polls in 0..5 {
        let (door, at) = P::place();
        let work = super::rig::steady::<P>("slow", millis(10)).concurrency(2);
        let _job = P::job(P::serve(work, door));
        let rig = Rig::start::<P>(P::connect(narrow::<P>(), &at));
        rig.up::<P>(1).await;
        let mut tasks = Vec::new();
        for height in 0..u64::from(TASKS) {
            tasks.push(rig.pool.submit::<u64, u64>(&height).await.expect("the pool lives"));
        }
        eventually::<P>(&rig.pool, |stats| stats.tasks.submitted == u64::from(TASKS)).await;
        poll_and_drop::<P, _>(polls, rig.pool.stop()).await;
        for (height, task) in (0..).zip(tasks) {
            assert_eq!(task.await, Ok(answer_to(height)), "after {polls} polls of stop");
        }
        // Whether the first one was asked for or not.
        let _ = rig.pool.stop().await;
        rig.driver.done().await;
    }
}
