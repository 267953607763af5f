//! Drivers and workers that are dropped under load, on real runtimes. (At every poll, in a world:
//! `dropped_futures`.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chargehand::TaskError;
use futures_util::future::join_all;

use crate::pair::{Hand, Socket, any_port};
use crate::rig::{Rig, Tally, answer_to, hand, millis, pause, quick, setup, until, works};

const ROUNDS: u64 = 20;
/// The heights of ranges are above this.
const RANGE: u64 = 1000;

/// Counts a handler while it runs.
struct Run(Arc<AtomicU32>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A worker that is busy for ever with every tenth height of a range, so that only its end ends that.
fn counted<P: Socket>(running: &Arc<AtomicU32>) -> Hand<P> {
    let running = Arc::clone(running);
    hand::<P>("counted", move |height| {
        running.fetch_add(1, Ordering::SeqCst);
        let run = Run(Arc::clone(&running));
        Box::pin(async move {
            pause::<P>(millis(2)).await;
            if height > RANGE && height.is_multiple_of(10) {
                std::future::pending::<()>().await;
            }
            drop(run);
            Ok(answer_to(height))
        })
    })
    .concurrency(8)
}

/// A span that differs from round to round.
fn span_of(round: u64) -> Duration {
    Duration::from_micros(round * 7919 % 12_000)
}

pub(crate) async fn a_driver_that_is_dropped_under_load_stops_what_runs_for_it<P: Socket>() {
    let running = Arc::new(AtomicU32::new(0));
    let (door, at) = any_port();
    let _job = P::job(P::serve(counted::<P>(&running), door));
    let mut closed = 0;
    for round in 0..ROUNDS {
        let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
        let mut range = Tally::start(&rig.pool, RANGE + 1..=RANGE + 500);
        // Some before it is connected, some while work is under way.
        if round % 4 > 0 {
            range.take(20).await;
        }
        pause::<P>(span_of(round)).await;
        let mut calls = Vec::new();
        for height in 1..=8 {
            calls.push(rig.pool.submit::<u64, u64>(&height).await.expect("there is room"));
        }
        drop(rig.driver);
        let calls = join_all(calls).await;
        // The range ends with it.
        range.take(usize::MAX).await;
        for (height, result) in &range.results {
            assert_eq!(*result, Ok(answer_to(*height)));
        }
        assert!(range.results.len() < 500, "it was in the midst");
        for (height, result) in (1..).zip(calls) {
            match result {
                Ok(answer) => assert_eq!(answer, answer_to(height)),
                Err(ref error) => assert_eq!(*error, TaskError::Closed),
            }
            closed += u64::from(result.is_err());
        }
        assert_eq!(rig.pool.call::<u64, u64>(&1).await, Err(TaskError::Closed));
        until::<P>("nothing runs for nobody", || running.load(Ordering::SeqCst) == 0).await;
    }
    assert!(closed > ROUNDS, "drivers were dropped in the midst: {closed}");
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn a_worker_that_is_dropped_under_load_stops_what_it_runs<P: Socket>() {
    let running = Arc::new(AtomicU32::new(0));
    let (door, at) = any_port();
    let (steady_door, steady) = any_port();
    let _steady = P::job(P::serve(quick::<P>("steady"), steady_door));
    let rig = Rig::start::<P>(P::connect(P::connect(setup::<P>(), &at), &steady));
    for round in 0..ROUNDS {
        let door = door.try_clone().expect("a socket can be cloned");
        let job = P::job(P::serve(counted::<P>(&running), door));
        rig.up::<P>(2).await;
        let mut range = Tally::start(&rig.pool, RANGE + 1..=RANGE + 200);
        range.take(20).await;
        pause::<P>(span_of(round) / 8).await;
        drop(job);
        until::<P>("its handlers are gone with it", || running.load(Ordering::SeqCst) == 0).await;
        range.all_done().await;
    }
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted), (ROUNDS * 200, 0));
    assert!(stats.lost > 0, "some were dropped in the midst: {stats:?}");
}
