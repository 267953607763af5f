//! Second attempts for tasks that take long: calls, maps and ranges alike, over wires in memory, in the pool's own
//! process and over sockets.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::io::Timer;
use chargehand::testing::{Act, Script, World};
use chargehand::{
    Hedge, Pool, PoolEvent, PoolStats, QueueOptions, TaskOptions, Worker, WorkerOptions,
};
use futures_util::StreamExt;

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

fn hedged(pool: &Pool, hedge: Hedge) -> Pool {
    pool.with(TaskOptions::new().hedge(hedge))
}

fn stats(world: &World, pool: &Pool) -> PoolStats {
    world.run(pool.stats()).unwrap()
}

/// Adds so many workers that take 10 ms for each task, and half a minute for the first attempt at some heights.
fn stragglers(world: &World, workers: u32, is_slow: fn(u64) -> bool) {
    for _ in 0..workers {
        let slow = move |height: Option<u64>| height.is_some_and(is_slow);
        world.worker(
            Script::new()
                .takes(10 * MS)
                .when(move |it| it.attempt == 1 && slow(it.height()), Act::Late(MINUTE / 2)),
        );
    }
}

#[test]
fn a_range_does_not_end_with_its_slowest_worker() {
    for hedge in [None, Some(Hedge::after_p95())] {
        let world = World::new(7);
        stragglers(&world, 8, |height| height == 998);
        let pool = world.pool(|builder| builder);
        let range = hedge.map_or(pool.clone(), |hedge| hedged(&pool, hedge));
        let mut heights =
            world.run(range.process::<u64>(1..=1000).map(|it| it.1.unwrap()).collect::<Vec<_>>());
        heights.sort_unstable();
        assert!(heights.iter().copied().eq(1..=1000), "each height once");
        let took = world.elapsed();
        let tasks = stats(&world, &pool).tasks;
        if hedge.is_none() {
            assert!(took > MINUTE / 2 && tasks.hedged == 0, "{took:?}, {tasks}");
            continue;
        }
        assert!(took < 2000 * MS, "{took:?}, {tasks}");
        assert!(tasks.hedge_wins >= 1 && tasks.sent <= 1000 + 20, "{tasks}");
    }
}

#[test]
fn no_more_than_the_budget_is_sent_twice() {
    let world = World::new(3);
    stragglers(&world, 32, |height| height % 10 == 0);
    let pool = world.pool(|builder| builder);
    let calls = hedged(&pool, Hedge::after(20 * MS));
    for wave in 0..100 {
        let wave = (1..=20).map(|number| wave * 20 + number);
        assert_eq!(world.run(calls.map::<u64, _>(wave).count()), 20);
    }
    let tasks = stats(&world, &pool).tasks;
    let most = tasks.submitted / 50 + 10;
    assert!((30..=most).contains(&tasks.hedged), "{tasks}, and {most} at most");
}

/// Short calls by chance to eight workers that have room, of which one attempt in a hundred is held up for
/// a tenth of a second. Returns their 99.9 % quantile, and what was sent.
fn tail(hedge: Hedge) -> (Duration, PoolStats) {
    const CALLS: u64 = 6000;
    let world = Rc::new(World::new(11));
    for _ in 0..8 {
        world.worker(Script::new().takes(MS..=2 * MS).percent(1, Act::Late(100 * MS)));
    }
    let pool = world.pool(|builder| builder);
    let calls = hedged(&pool, hedge);
    let took = Rc::new(RefCell::new(Vec::new()));
    let mut due = Duration::ZERO;
    let spawned: Vec<_> = (0..CALLS)
        .map(|number| {
            due += Duration::from_micros(200 + number * 7919 % 600);
            let (calls, took) = (calls.clone(), Rc::clone(&took));
            let (wait, timer) = (world.sleep(due), world.timer());
            world.spawn(async move {
                wait.await;
                let begun = timer.now();
                assert_eq!(calls.call::<u64, u64>(&number).await, Ok(number));
                took.borrow_mut().push(timer.now().saturating_since(begun));
            })
        })
        .collect();
    for call in spawned {
        world.run(call);
    }
    let mut took = took.take();
    took.sort_unstable();
    (took[took.len() * 999 / 1000], stats(&world, &pool))
}

#[test]
fn the_tail_of_short_calls_is_cut_to_a_fifth_by_two_percent_more_sends() {
    let (once, _) = tail(Hedge::never());
    let (twice, stats) = tail(Hedge::after_p95());
    let tasks = stats.tasks;
    println!("p99.9 {twice:?} with second attempts, {once:?} without: {tasks}");
    assert!(twice * 5 <= once, "{twice:?} of {once:?}: {tasks}");
    assert!(tasks.sent <= tasks.submitted + tasks.submitted / 50 + 10, "{tasks}");
}

#[test]
fn whoever_watches_hears_of_second_attempts_and_the_caller_of_one_answer() {
    let world = World::new(5);
    stragglers(&world, 2, |height| height == 17);
    let pool = world.pool(|builder| builder);
    let mut events = pool.events();
    let call = hedged(&pool, Hedge::after(100 * MS));
    assert_eq!(world.run(call.call::<u64, u64>(&17)), Ok(17));
    assert_eq!(world.elapsed().as_millis(), 110);
    let event = world.run(async {
        loop {
            let event = events.next().await.expect("it lives");
            if let PoolEvent::Hedged { .. } = event {
                return event;
            }
        }
    });
    assert!(matches!(&event, PoolEvent::Hedged { attempt: 2, height: None, .. }), "{event}");
    assert!(event.to_string().contains("sent here as well, attempt 2"), "{event}");
    // What the first worker says at last is nobody's.
    world.advance(MINUTE);
    assert_eq!(world.run(pool.call::<u64, u64>(&18)), Ok(18));
    let tasks = stats(&world, &pool).tasks;
    assert_eq!((tasks.done, tasks.hedged, tasks.hedge_wins, tasks.lost), (2, 1, 1, 0), "{tasks}");
}

#[test]
fn a_queue_has_all_its_tasks_hedged() {
    let world = World::new(5);
    stragglers(&world, 2, |height| height >= 17);
    let queue = QueueOptions::new().hedge(Hedge::after(100 * MS));
    let pool = world.pool(|builder| builder.queue("quick", queue));
    let quick = pool.with(TaskOptions::new().queue(pool.queue("quick").unwrap()));
    assert_eq!(world.run(quick.call::<u64, u64>(&17)), Ok(17));
    assert_eq!(world.elapsed().as_millis(), 110);
    let slow =
        pool.with(TaskOptions::new().queue(pool.queue("quick").unwrap()).hedge(Hedge::never()));
    assert_eq!(world.run(slow.call::<u64, u64>(&18)), Ok(18));
    assert!(world.elapsed() > MINUTE / 2, "by no means, as it says itself");
}

#[test]
fn the_attempt_that_lost_is_withdrawn_from_its_worker() {
    let world = World::new(5);
    let dropped = Rc::new(RefCell::new(0));
    // A place that is not free again would keep the next task waiting.
    world.worker(Script::new().takes(10 * MS).when(|it| it.number <= 2, Act::Hang));
    world.worker(Script::new().takes(10 * MS).when(|it| it.number <= 2, Act::Late(30 * MS)));
    let pool = world.pool(|builder| builder);
    for number in 1..=20_u64 {
        let call = hedged(&pool, Hedge::after(50 * MS));
        assert_eq!(world.run(call.call::<u64, u64>(&number)), Ok(number));
        *dropped.borrow_mut() += 1;
    }
    assert!(world.elapsed() < 1000 * MS, "{:?}", world.elapsed());
    let stats = stats(&world, &pool);
    assert_eq!(stats.tasks.in_flight, 0);
    assert!(stats.workers.iter().all(|worker| worker.stats.in_flight == 0));
}

#[test]
fn a_second_worker_that_cannot_be_sent_the_request_leaves_the_first_one_to_answer() {
    let world = World::new(5);
    let timer = world.timer();
    let wide = timer.clone();
    world.host("wide", move || {
        let timer = wide.clone();
        Worker::new(wide.clone(), move |request: Vec<u8>| {
            let timer = timer.clone();
            async move {
                timer.sleep(1000 * MS).await;
                Ok::<_, String>(request.len() as u64)
            }
        })
    });
    let pool = world.pool(|builder| builder);
    let call = hedged(&pool, Hedge::after(500 * MS));
    let call = world.spawn(async move { call.call::<u64, _>(&vec![7_u8; 5000]).await });
    world.advance(10 * MS);
    let narrow = world.host("narrow", move || {
        let echo = |request: Vec<u8>| async move { Ok::<_, String>(request.len() as u64) };
        Worker::new(timer.clone(), echo).frame_bytes_max(2000)
    });
    world.run(pool.add(narrow.connector(), WorkerOptions::new())).unwrap();
    assert_eq!(world.run(call), Ok(5000));
    let tasks = stats(&world, &pool).tasks;
    assert!(tasks.hedged >= 1 && tasks.hedge_wins == 0, "{tasks}");
}

/// What handlers in the pool's own process have begun and not ended, and have ended.
#[derive(Clone, Default)]
struct Running(Arc<AtomicUsize>, Arc<AtomicUsize>);

/// One of them.
struct Run(Running);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn in_this_process_the_right_one_of_two_runs_is_dropped() {
    let world = World::new(5);
    let running = Running::default();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let timer = world.timer();
    let pool = world.pool(|builder| {
        (0..3).fold(builder, |builder, worker| {
            let (timer, running, begun) = (timer.clone(), running.clone(), Arc::clone(&begun));
            builder.in_process(1, move |number: u64| {
                let (timer, running) = (timer.clone(), running.clone());
                let is_first = {
                    let mut begun = begun.lock().unwrap();
                    let is_first = !begun.iter().any(|&(_, other)| other == number);
                    begun.push((worker, number));
                    is_first
                };
                async move {
                    running.0.fetch_add(1, Ordering::Relaxed);
                    let _run = Run(running.clone());
                    let span = if is_first && number % 3 == 0 { MINUTE } else { 10 * MS };
                    timer.sleep(span).await;
                    running.1.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, String>(number)
                }
            })
        })
    });
    let calls = hedged(&pool, Hedge::after(50 * MS));
    for number in 1..=60_u64 {
        assert_eq!(world.run(calls.call::<u64, u64>(&number)), Ok(number));
        world.advance(MS);
        assert_eq!(running.0.load(Ordering::Relaxed), 0, "{number}: one still runs");
    }
    let tasks = stats(&world, &pool).tasks;
    assert!((10..=11).contains(&tasks.hedge_wins) || tasks.hedge_wins == 20, "{tasks}");
    assert_eq!(running.1.load(Ordering::Relaxed), 60, "none ended twice");
}

mod over_sockets {
    use chargehand::tcp::{TcpConnector, TcpListener};
    use chargehand::tokio::Tokio;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const WORKERS: u32 = 8;

    /// A range over TCP, at the end of which one worker stops for half a minute.
    #[tokio::test]
    async fn a_range_over_tcp_does_not_wait_for_a_worker_that_has_stopped() {
        let stuck = Arc::new(AtomicUsize::new(0));
        let mut builder = Pool::builder(Tokio::new());
        let mut serving = Vec::new();
        for _ in 0..WORKERS {
            let listener = Tokio::bind("127.0.0.1:0").await.expect("a free port");
            let at = listener.local_addr().expect("it is bound").to_string();
            let stuck = Arc::clone(&stuck);
            let worker = Worker::new(Tokio::new(), move |height: u64| {
                let stuck = Arc::clone(&stuck);
                async move {
                    let is_first = height == 1_990 && stuck.fetch_add(1, Ordering::Relaxed) == 0;
                    sleep(if is_first { MINUTE } else { MS }).await;
                    Ok::<_, String>(height)
                }
            });
            let serve = worker.concurrency(1).serve(TcpListener::new(listener));
            serving.push(tokio::spawn(async { serve.await.expect("in range") }));
            builder = builder.connect(TcpConnector::new(Tokio::new(), &at).expect("an address"));
        }
        let (pool, driver) = builder.build().expect("in range");
        let driver = tokio::spawn(driver);
        let range = hedged(&pool, Hedge::after_p95());
        let begun = Instant::now();
        let heights = range.process::<u64>(1..=2000).map(|it| it.1.expect("none fails"));
        let mut heights = timeout(MINUTE / 2, heights.collect::<Vec<_>>()).await.expect("no wait");
        heights.sort_unstable();
        assert!(heights.iter().copied().eq(1..=2000), "each height once");
        assert!(begun.elapsed() < MINUTE / 2, "{:?}", begun.elapsed());
        let tasks = timeout(MINUTE / 2, pool.stats()).await.expect("it lives").unwrap().tasks;
        assert!(tasks.hedge_wins >= 1, "{tasks}");
        assert!(tasks.sent <= 2000 + 2000 / 50 + 10, "2 % more, and what was saved up: {tasks}");
        timeout(MINUTE / 2, pool.stop()).await.expect("in time").expect("the driver lives");
        timeout(MINUTE / 2, driver).await.expect("in time").expect("no panic");
        serving.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
