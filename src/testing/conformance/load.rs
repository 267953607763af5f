//! Workers that come, go and fail, queues that are full and pools that stop.

use alloc::string::ToString;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use std::vec::Vec;

use super::Pair;
use super::rig::{
    Ends, Hand, Job, Rig, Tally, answer_to, eventually, hand, millis, pause, quick, setup, steady,
    stuck, until, within, works,
};
use crate::core::{WorkerId, WorkerState};
use crate::worker::Stopper;
use crate::{PoolEvent, Task, TaskError, TrySubmitError, WorkerError};

/// Starts a worker at a place of its own.
fn employ<P: Pair>(hand: Hand<P>) -> (P::Connector, Job) {
    let (door, at) = P::place();
    (at, P::job(P::serve(hand, door)))
}

pub(super) async fn every_height_of_a_range_has_its_answer<P: Pair>() {
    let (a, _a) = employ::<P>(quick::<P>("a"));
    let (b, _b) = employ::<P>(quick::<P>("b"));
    let (door, c) = P::place();
    let setup = P::accept(P::connect(P::connect(setup::<P>(), &a), &b), door);
    let _c = P::job(P::dial(quick::<P>("c"), &c));
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(3).await;
    Tally::start(&rig.pool, 1..=3000).all_done().await;
    assert_eq!(rig.pool.call::<u64, u64>(&7).await, Ok(15));
    let stats = rig.pool.stats().await.expect("the driver lives");
    for worker in &stats.workers {
        assert!(worker.stats.done > 100, "an even share would be 1000: {worker:?}");
    }
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.resent), (3001, 0));
}

pub(super) async fn a_map_of_requests_comes_back_in_order_though_a_worker_goes<P: Pair>() {
    let (a, gone) = employ::<P>(quick::<P>("a"));
    let (b, _b) = employ::<P>(quick::<P>("b"));
    let rig = Rig::start::<P>(P::connect(P::connect(setup::<P>(), &a), &b));
    rig.up::<P>(2).await;
    let mut gone = Some(gone);
    let mut expected = (0..3000_u64).map(|at| at * 3);
    let mut answers = rig.pool.map::<u64, _>((0..3000_u64).map(|at| at * 3)).in_order(100);
    while let Some((request, answer)) = answers.next().await {
        assert_eq!((Some(request), answer), (expected.next(), Ok(answer_to(request))));
        if request == 999 {
            drop(gone.take());
        }
    }
    assert!(expected.next().is_none() && answers.report().is_complete());

    let bodies = (0..200_u64).map(|at| postcard::to_stdvec(&at).expect("plain data"));
    let report = rig.pool.map_raw(bodies).each(|body, answer| {
        let [body, answer] = [body, answer.expect("it is done")]
            .map(|bytes| postcard::from_bytes::<u64>(&bytes).expect("a number"));
        assert_eq!(answer, answer_to(body));
    });
    assert_eq!(report.await.done, 200);
    rig.stop().await;
}

pub(super) async fn a_handler_that_panics_fails_its_task_and_nothing_else<P: Pair>() {
    let work = hand::<P>("nervous", |height| {
        assert!(height != 1, "one at once");
        Box::pin(async move {
            assert!(height != 2, "two later");
            Ok(answer_to(height))
        })
    });
    let (at, _job) = employ::<P>(work.concurrency(4));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let results = Tally::start(&rig.pool, 1..=100).finish().await;
    for (height, said) in [(1, "one at once"), (2, "two later")] {
        match &results[&height] {
            Err(TaskError::Failed(text)) => assert!(text.text().contains(said), "{text}"),
            other => panic!("height {height}: {other:?}"),
        }
    }
    assert!((3..=100).all(|height| results[&height] == Ok(answer_to(height))));
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.failed, stats.lost), (98, 2, 0));
}

pub(super) async fn a_failure_is_told_once_and_retried_only_on_request<P: Pair>() {
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let work = hand::<P>("moody", move |height| {
        let tried = counted.fetch_add(1, Ordering::SeqCst);
        let result = if tried == 2 { Ok(answer_to(height)) } else { Err("not now".to_owned()) };
        Box::pin(async move { result })
    });
    let (at, _job) = employ::<P>(work);
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at).configure(|config| {
        config.retries_max = 1;
        config.retry_delay = millis(10);
    }));
    let failed = Err(TaskError::Failed("not now".into()));
    assert_eq!(rig.pool.call::<u64, u64>(&1).await, failed);
    assert_eq!(tries.load(Ordering::SeqCst), 2, "once, and once more");
    assert_eq!(rig.pool.call::<u64, u64>(&2).await, Ok(5));
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.failed), (1, 1));
}

pub(super) async fn without_a_worker_tasks_wait_and_the_figures_say_why<P: Pair>() {
    // A door that is closed before anybody comes.
    let (door, nowhere) = P::place();
    drop(door);
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &nowhere));
    let task = rig.pool.submit::<u64, u64>(&4).await.expect("it is queued");
    let why = rig.watch.refused::<P>().await;
    let stats = eventually::<P>(&rig.pool, |stats| stats.tasks.waiting == 1).await;
    assert_eq!((stats.tasks.workers, stats.tasks.workers_up), (1, 0));
    let last_error = stats.workers[0].last_error.as_ref().map(ToString::to_string);
    assert_eq!(last_error, Some(why));
    assert!(within::<P, _>(millis(50), rig.pool.idle()).await.is_none(), "a task waits");

    let (at, _job) = employ::<P>(quick::<P>("late"));
    P::add(&rig.pool, &at).await.expect("there is room");
    assert_eq!(task.await, Ok(9));
    rig.stop().await;
}

pub(super) async fn a_pool_without_any_worker_waits_for_one_to_be_added<P: Pair>() {
    let rig = Rig::start::<P>(setup::<P>());
    let mut range = Tally::start(&rig.pool, 1..=20);
    assert!(within::<P, _>(millis(50), range.take(1)).await.is_none(), "nobody works");
    let stats = rig.pool.stats().await.expect("the driver lives");
    // The others wait in their range, before which nothing has to wait that comes later.
    assert!((1..20).contains(&stats.tasks.waiting), "{stats:?}");
    assert_eq!(stats.tasks.workers, 0);
    let (at, _job) = employ::<P>(quick::<P>("first"));
    P::add(&rig.pool, &at).await.expect("there is room");
    range.all_done().await;
    rig.stop().await;
}

pub(super) async fn a_full_queue_hands_the_request_back_or_lets_it_wait<P: Pair>() {
    let rig = Rig::start::<P>(setup::<P>().tasks_max(4).queue_max(2));
    let mut tasks: Vec<Task<u64>> = Vec::new();
    let mut next = 0;
    // The driver takes tasks out of the queue meanwhile: full is full for good.
    let returned = loop {
        match rig.pool.try_submit::<u64, u64>(next) {
            Ok(task) => {
                tasks.push(task);
                next += 1;
            }
            Err(TrySubmitError::Full(request)) if tasks.len() >= 6 => break request,
            Err(TrySubmitError::Full(_)) => pause::<P>(millis(2)).await,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(returned, next, "the request comes back");
    assert_eq!(tasks.len(), 6, "four in the pool, two in the queue");
    pause::<P>(millis(20)).await;
    let full = rig.pool.try_submit::<u64, u64>(next);
    assert!(matches!(full, Err(TrySubmitError::Full(_))), "the driver takes no more than fit");
    let waiting = rig.pool.submit::<u64, u64>(&100);
    assert!(within::<P, _>(millis(30), waiting).await.is_none(), "there is no room");
    // What was dropped while it waited was never queued.
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.tasks.waiting, 4);
    let (at, _job) = employ::<P>(quick::<P>("late"));
    P::add(&rig.pool, &at).await.expect("there is room");
    let last = rig.pool.submit::<u64, u64>(&100).await.expect("there is room now");
    for (height, task) in (0..).zip(tasks) {
        assert_eq!(task.await, Ok(answer_to(height)));
    }
    assert_eq!(last.await, Ok(201));
    let stats = rig.stop().await;
    assert_eq!((stats.submitted, stats.done), (7, 7));
}

pub(super) async fn a_pool_with_all_its_workers_takes_no_more<P: Pair>() {
    let (at, _job) = employ::<P>(quick::<P>("only"));
    let rig = Rig::start::<P>(setup::<P>().workers_max(1));
    let worker = P::add(&rig.pool, &at).await.expect("there is room");
    assert_eq!(P::add(&rig.pool, &at).await, Err(WorkerError::Full));
    rig.pool.remove(worker).await.expect("it is known");
    assert_eq!(rig.pool.remove(worker).await, Err(WorkerError::Unknown));
    P::add(&rig.pool, &at).await.expect("there is room again");
    works(&rig.pool).await;
    rig.stop().await;
}

pub(super) async fn when_a_cancel_races_the_answer_exactly_one_wins<P: Pair>() {
    let (at, _job) = employ::<P>(steady::<P>("a", Duration::from_micros(200)).concurrency(16));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    rig.up::<P>(1).await;
    let (mut done, mut cancelled) = (0, 0);
    for round in 0..600_u64 {
        let task = rig.pool.submit::<u64, u64>(&round).await.expect("it is queued");
        match round % 3 {
            0 => {}
            1 => pause::<P>(Duration::from_micros(round % 23 * 40)).await,
            _ => pause::<P>(millis(1)).await,
        }
        task.cancel();
        task.cancel();
        match task.await {
            Ok(answer) => {
                assert_eq!(answer, answer_to(round));
                done += 1;
            }
            Err(TaskError::Cancelled) => cancelled += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(done > 0, "an answer came first at least once");
    assert!(cancelled > 0, "a cancel came first at least once");
    works(&rig.pool).await;
    let stats = rig.stop().await;
    assert_eq!(stats.done, done + 50);
    assert!(stats.cancelled <= cancelled, "some were cancelled before the pool took them");
    assert_eq!((stats.lost, stats.foreign), (0, 0));
}

pub(super) async fn what_is_cancelled_stops_at_the_worker<P: Pair>() {
    struct Running(Arc<AtomicU32>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let running = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&running);
    let work = hand::<P>("patient", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&count));
        Box::pin(async move {
            let _running = running;
            std::future::pending().await
        })
    });
    let (at, _job) = employ::<P>(work.concurrency(3));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let tasks = [
        rig.pool.submit::<u64, u64>(&1).await.expect("it is queued"),
        rig.pool.submit::<u64, u64>(&2).await.expect("it is queued"),
    ];
    let range = Tally::start(&rig.pool, 5..=5);
    let mut range = Box::pin(range.finish());
    assert!(within::<P, _>(millis(5), range.as_mut()).await.is_none());
    until::<P>("three run", || running.load(Ordering::SeqCst) == 3).await;
    let [dropped, asked] = tasks;
    drop(dropped);
    asked.cancel();
    assert_eq!(asked.await, Err(TaskError::Cancelled));
    drop(range);
    until::<P>("none runs", || running.load(Ordering::SeqCst) == 0).await;
    let stats = rig.stop().await;
    assert_eq!(stats.cancelled, 3);
}

pub(super) async fn stop_waits_for_what_is_under_way<P: Pair>() {
    let (at, _job) = employ::<P>(steady::<P>("slow", millis(60)).concurrency(4));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let mut tasks = Vec::new();
    for height in 0..10_u64 {
        tasks.push(rig.pool.submit::<u64, u64>(&height).await.expect("it is queued"));
    }
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 4).await;
    let pool = rig.pool.clone();
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.aborted), (10, 0));
    for (height, task) in (0..).zip(tasks) {
        assert_eq!(task.await, Ok(answer_to(height)));
    }
    assert_eq!(pool.call::<u64, u64>(&1).await, Err(TaskError::Closed));
}

pub(super) async fn at_the_deadline_of_a_stop_every_task_ends_aborted<P: Pair>() {
    let (at, _job) = employ::<P>(stuck::<P>("stuck"));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let held = rig.pool.submit::<u64, u64>(&1).await.expect("it is queued");
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 1).await;
    let queued = rig.pool.submit::<u64, u64>(&2).await.expect("it is queued");
    // No more than what is a task already: heights that wait in their range have no outcome then.
    let range = Tally::start(&rig.pool, 3..=4);
    let mut range = Box::pin(range.finish());
    assert!(within::<P, _>(millis(20), range.as_mut()).await.is_none());
    let pool = rig.pool.clone();
    let stopping = P::job(async move {
        pool.stop_within(millis(150)).await.expect("the driver lives");
    });
    until::<P>("the pool stops", || {
        // Refused at the latest when the driver has gone.
        rig.pool.try_submit::<u64, u64>(9).is_err()
    })
    .await;
    assert_eq!(held.await, Err(TaskError::Aborted));
    assert_eq!(queued.await, Err(TaskError::Aborted));
    let results = range.await;
    assert!(results.values().all(|result| *result == Err(TaskError::Aborted)), "{results:?}");
    stopping.done().await;
    rig.driver.done().await;
}

pub(super) async fn a_pool_that_everybody_has_let_go_of_drains_and_ends<P: Pair>() {
    let answered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&answered);
    let work = hand::<P>("busy", move |height| {
        let count = Arc::clone(&count);
        Box::pin(async move {
            pause::<P>(millis(20)).await;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(height)
        })
    });
    let (at, _job) = employ::<P>(work);
    let Rig { pool, watch, driver } = Rig::start::<P>(P::connect(setup::<P>(), &at));
    for height in 0..5_u64 {
        pool.submit::<u64, u64>(&height).await.expect("it is queued").detach();
    }
    drop((pool, watch));
    driver.done().await;
    assert_eq!(answered.load(Ordering::SeqCst), 5);
}

pub(super) async fn dropping_the_driver_answers_everybody_who_waits<P: Pair>() {
    let (at, _job) = employ::<P>(stuck::<P>("stuck"));
    let rig = Rig::start::<P>(P::connect(setup::<P>().tasks_max(2).queue_max(1), &at));
    let mut waiters = Vec::new();
    for height in 0..6_u64 {
        let pool = rig.pool.clone();
        let (sender, ended) = async_channel::bounded(1);
        waiters.push(ended);
        P::spawn(async move {
            let _ = sender.send(pool.call::<u64, u64>(&height).await).await;
        });
    }
    let (sender, idle) = async_channel::bounded(1);
    let pool = rig.pool.clone();
    P::spawn(async move {
        let _ = sender.send(pool.idle().await).await;
    });
    let range = Tally::start(&rig.pool, 1..=9);
    let mut range = Box::pin(range);
    assert!(within::<P, _>(millis(20), range.take(1)).await.is_none());
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 1).await;
    let Rig { pool, mut watch, driver } = rig;
    drop(driver);
    for waiter in waiters {
        assert_eq!(waiter.recv().await, Ok(Err(TaskError::Closed)));
    }
    assert!(idle.recv().await.expect("it is answered").is_err());
    range.take(9).await;
    assert!(range.results.values().all(Result::is_err), "{:?}", range.results);
    assert!(pool.stop().await.is_err());
    assert!(pool.stats().await.is_err());
    assert_eq!(P::add(&pool, &at).await, Err(WorkerError::Closed));
    assert!(matches!(
        pool.try_submit::<u64, u64>(1),
        Err(TrySubmitError::Refused(TaskError::Closed))
    ));
    assert_eq!(pool.process::<u64>(1..=3).next().await.map(|(height, _)| height), None);
    watch.ends::<P>().await;
}

pub(super) async fn workers_come_and_go_under_load_and_nothing_is_lost<P: Pair>() {
    let (home, _home) = employ::<P>(steady::<P>("home", millis(1)).concurrency(2));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &home));
    let mut range = Tally::start(&rig.pool, 1..=3000);
    let mut hands: Vec<(WorkerId, Job)> = Vec::new();
    for round in 0..20 {
        range.take(60).await;
        if round % 3 == 2 {
            let (worker, _job) = hands.remove(0);
            rig.pool.remove(worker).await.expect("it is known");
        } else {
            let (at, job) = employ::<P>(steady::<P>("guest", millis(1)).concurrency(2));
            hands.push((P::add(&rig.pool, &at).await.expect("there is room"), job));
        }
    }
    range.all_done().await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost, stats.resent), (3000, 0, 0), "removal drains first");
}

pub(super) async fn a_removed_worker_finishes_what_it_holds<P: Pair>() {
    let (at, _job) = employ::<P>(steady::<P>("slow", millis(80)).concurrency(2));
    let rig = Rig::start::<P>(setup::<P>());
    let worker = P::add(&rig.pool, &at).await.expect("there is room");
    let held = [
        rig.pool.submit::<u64, u64>(&1).await.expect("it is queued"),
        rig.pool.submit::<u64, u64>(&2).await.expect("it is queued"),
    ];
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 2).await;
    let queued = rig.pool.submit::<u64, u64>(&3).await.expect("it is queued");
    rig.pool.remove(worker).await.expect("it is known");
    let [one, two] = held;
    assert_eq!((one.await, two.await), (Ok(3), Ok(5)));
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!((stats.tasks.waiting, stats.tasks.workers), (1, 0));
    P::add(&rig.pool, &at).await.expect("there is room");
    assert_eq!(queued.await, Ok(7));
    let stats = rig.stop().await;
    assert_eq!(stats.resent, 0);
}

pub(super) async fn a_worker_that_stops_cleanly_under_load_loses_nothing<P: Pair>() {
    let (door, at) = P::place();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let (stay, _stay) = employ::<P>(steady::<P>("stays", millis(2)).concurrency(2));
    P::add(&rig.pool, &stay).await.expect("there is room");
    let leaver = |name: &str| -> (Stopper, Job) {
        let hand = steady::<P>(name, millis(2)).concurrency(4);
        (hand.stopper(), P::job(P::dial(hand, &at)))
    };
    let (stopper, job) = leaver("leaves");
    rig.up::<P>(2).await;
    let mut range = Tally::start(&rig.pool, 1..=600);
    range.take(150).await;
    stopper.stop();
    job.done().await;
    rig.watch.closed::<P>().await;
    range.take(100).await;
    let (_stopper, _job) = leaver("leaves");
    rig.up::<P>(2).await;
    range.all_done().await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost), (600, 0));
    // What crossed the Drain was given back: a window's worth for each answer that it crossed.
    assert!(stats.resent <= 8, "{stats:?}");
}

pub(super) async fn of_two_live_workers_of_one_name_the_older_one_stays<P: Pair>() {
    let (door, at) = P::place();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let old = P::job(P::dial(steady::<P>("twin", millis(2)).concurrency(3), &at));
    rig.watch.connected::<P>().await;
    let mut range = Tally::start(&rig.pool, 1..=30);
    range.take(3).await;
    let _new = P::job(P::dial(stuck::<P>("twin"), &at));
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains("twin") && why.contains("alive"), "{why}");
    range.all_done().await;
    // Its name is free as soon as it is gone.
    drop(old);
    rig.watch.lost::<P>().await;
    rig.watch.connected::<P>().await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.workers.len(), 1, "{stats:?}");
    assert_eq!((stats.tasks.done, stats.tasks.lost), (30, 0));
    rig.stop().await;
}

pub(super) async fn a_worker_that_hangs_but_lives_loses_its_task_to_another<P: Pair>() {
    let (bad, _bad) = employ::<P>(stuck::<P>("hangs").concurrency(2));
    let setup = P::connect(setup::<P>(), &bad).configure(|config| {
        config.attempt_timeout = millis(100);
        config.strikes_max = 2;
        config.attempts_max = 50;
    });
    let mut rig = Rig::start::<P>(setup);
    let mut range = Tally::start(&rig.pool, 1..=40);
    assert!(within::<P, _>(millis(10), range.take(1)).await.is_none());
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("attempt_timeout"), "{why}");
    let (good, _good) = employ::<P>(quick::<P>("works"));
    P::add(&rig.pool, &good).await.expect("there is room");
    range.all_done().await;
    let stats = rig.stop().await;
    assert!(stats.timed_out >= 2, "{stats:?}");
}

pub(super) async fn a_worker_that_only_fails_is_suspended_but_never_the_last_one<P: Pair>() {
    let work = |name: &'static str| hand::<P>(name, |_| Box::pin(async { Err("no".to_owned()) }));
    let (bad, _bad) = employ::<P>(work("bad"));
    let setup = P::connect(setup::<P>(), &bad).configure(|config| {
        config.failures_max = 3;
        config.backoff = config.backoff.base(millis(2000)).cap(millis(2000));
    });
    let mut rig = Rig::start::<P>(setup);
    let results = Tally::start(&rig.pool, 1..=20).finish().await;
    assert!(results.values().all(Result::is_err));
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.workers[0].stats.state, WorkerState::Up, "the last one goes on");
    let (good, _good) = employ::<P>(steady::<P>("good", millis(1)));
    P::add(&rig.pool, &good).await.expect("there is room");
    rig.up::<P>(2).await;
    Tally::start(&rig.pool, 1..=100).finish().await;
    rig.watch.until::<P>("Suspended", |event| matches!(event, PoolEvent::Suspended { .. })).await;
    rig.stop().await;
}

pub(super) async fn a_worker_is_never_sent_more_than_its_window<P: Pair>() {
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let work = hand::<P>("three", move |height| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let now = Arc::clone(&now);
        Box::pin(async move {
            pause::<P>(millis(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(answer_to(height))
        })
    });
    let (at, _job) = employ::<P>(work.concurrency(3));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let mut range = Tally::start(&rig.pool, 1..=300);
    for _ in 0..10 {
        range.take(20).await;
        let stats = rig.pool.stats().await.expect("the driver lives");
        assert!(stats.tasks.in_flight <= 3, "{stats:?}");
        assert_eq!(stats.workers[0].stats.window, 3);
    }
    range.all_done().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    rig.stop().await;
}
