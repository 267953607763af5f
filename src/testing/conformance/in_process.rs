//! Workers inside the pool's process, beside others behind each transport, on each runtime.

use std::borrow::ToOwned;
use std::boxed::Box;
use std::string::String;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::vec::Vec;

use super::Pair;
use super::rig::{
    Answer, Ends, Rig, Setup, Tally, answer_to, millis, pause, quick, setup, steady, until,
};
use crate::TaskError;

/// A handler in this process that takes that long for each task.
fn in_process<P: Pair>(setup: Setup<P>, window: u16, span: Duration) -> Setup<P> {
    setup.in_process(window, move |height: u64| async move {
        pause::<P>(span).await;
        Ok::<_, String>(answer_to(height))
    })
}

pub(super) async fn in_process_and_remote_workers_share_a_range<P: Pair>() {
    let (door, at) = P::place();
    let remote = P::job(P::serve(steady::<P>("remote", millis(2)).concurrency(4), door));
    let rig = Rig::start::<P>(in_process::<P>(P::connect(setup::<P>(), &at), 4, millis(2)));
    rig.up::<P>(2).await;
    Tally::start(&rig.pool, 1..=1000).all_done().await;
    let workers = rig.pool.stats().await.expect("the driver lives").workers;
    for worker in &workers {
        assert!(worker.stats.done > 100, "both take part: {workers:#?}");
    }
    assert_eq!(&*workers[1].peer, "in-process 1");
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.sent), (1000, 1000));
    drop(remote);
}

pub(super) async fn what_an_in_process_worker_fails_or_hangs_at_is_told_or_done_elsewhere<
    P: Pair,
>() {
    let work = |height: u64| -> Answer {
        Box::pin(async move {
            pause::<P>(millis(1)).await;
            match height % 10 {
                3 => panic!("trouble here"),
                4 => Err("failure here".to_owned()),
                5 => std::future::pending().await,
                _ => Ok(answer_to(height)),
            }
        })
    };
    let (door, at) = P::place();
    let remote = P::job(P::serve(quick::<P>("remote"), door));
    let setup = P::connect(setup::<P>(), &at).in_process(8, work).configure(|config| {
        config.attempt_timeout = millis(300);
        config.attempts_max = 1000;
        config.strikes_max = 1000;
    });
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    let results = Tally::once(&rig.pool, 1..=400).finish().await;
    let mut failures = 0;
    for (height, result) in results {
        match result {
            Ok(answer) => assert_eq!(answer, answer_to(height)),
            Err(TaskError::Failed(text)) => {
                let expected = match height % 10 {
                    3 => "the handler panicked: trouble here",
                    4 => "failure here",
                    _ => panic!("height {height} does not fail, but: {text}"),
                };
                assert_eq!(text.text(), expected);
                failures += 1;
            }
            Err(error) => panic!("height {height}: {error}"),
        }
    }
    assert!(failures > 0, "the in-process worker had none of those that fail");
    let stats = rig.stop().await;
    assert!(stats.timed_out > 0, "the in-process worker had none of those that hang: {stats:?}");
    assert_eq!((stats.lost, stats.failed), (0, failures));
    drop(remote);
}

pub(super) async fn what_is_cancelled_or_let_go_of_stops_in_this_process<P: Pair>() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let rig = Rig::start::<P>(setup::<P>().in_process(4, move |_: u64| {
        count.fetch_add(1, Ordering::SeqCst);
        let held = Held(Arc::clone(&count));
        async move {
            let _held = held;
            pause::<P>(Duration::from_secs(3600)).await;
            Ok::<_, String>(0_u64)
        }
    }));
    let mut tasks = Vec::new();
    for height in 0..4_u64 {
        tasks.push(rig.pool.submit::<u64, _>(&height).await.expect("there is room"));
    }
    until::<P>("all of them to run", || running.load(Ordering::SeqCst) == 4).await;
    tasks[0].cancel();
    assert_eq!(tasks.remove(0).await, Err(TaskError::Cancelled));
    drop(tasks.remove(0));
    until::<P>("two of them to be dropped", || running.load(Ordering::SeqCst) == 2).await;
    drop(rig.driver);
    for task in tasks {
        assert_eq!(task.await, Err(TaskError::Closed));
    }
    until::<P>("the others to be dropped", || running.load(Ordering::SeqCst) == 0).await;
}
