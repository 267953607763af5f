//! Workers that cannot do a task now, as behind an endpoint that answers 429: nothing is counted, and they are
//! left alone for as long as they say. On the other end of a wire and in this process.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::io::Timer;
use chargehand::core::{Config, Instant};
use chargehand::testing::{ManualTimer, World};
use chargehand::{Failure, Pool, TaskError, TaskOptions, Throttled, Worker};
use futures_util::StreamExt;

const PAUSE: Duration = Duration::from_secs(2);

/// What two workers call on: it takes so many requests, and then none until the pause is over.
#[derive(Clone)]
struct Endpoint {
    timer: ManualTimer,
    left: Arc<Mutex<(usize, Instant)>>,
    taken_max: usize,
    refused: Arc<AtomicUsize>,
}

impl Endpoint {
    fn new(timer: ManualTimer, taken_max: usize) -> Self {
        let left = Arc::new(Mutex::new((taken_max, Instant::EPOCH)));
        Self { timer, left, taken_max, refused: Arc::default() }
    }

    fn ask(&self, height: u64) -> Ready<Result<u64, Throttled>> {
        let now = self.timer.now();
        let mut left = self.left.lock().unwrap();
        if left.0 == 0 && now >= left.1 {
            left.0 = self.taken_max;
        }
        if left.0 == 0 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return ready(Err(Throttled::after(left.1.saturating_since(now))));
        }
        left.0 -= 1;
        if left.0 == 0 {
            left.1 = now.saturating_add(PAUSE);
        }
        ready(Ok(height))
    }
}

fn configure(config: &mut Config) {
    config.retries_max = 0;
    config.failures_max = 2;
}

/// Runs `each` in a pool whose two workers are remote, and in one whose two are in this process.
fn for_both(taken_max: usize, each: impl Fn(&World, &Pool, &Endpoint)) {
    let world = World::new(3);
    let endpoint = Endpoint::new(world.timer(), taken_max);
    for name in ["one", "other"] {
        let (timer, endpoint) = (world.timer(), endpoint.clone());
        world.host(name, move || {
            let endpoint = endpoint.clone();
            Worker::new(timer.clone(), move |height: u64| endpoint.ask(height)).concurrency(4)
        });
    }
    let pool = world.pool(|builder| builder.configure(configure));
    each(&world, &pool, &endpoint);

    let world = World::new(3);
    let endpoint = Endpoint::new(world.timer(), taken_max);
    let pool = world.pool(|mut builder| {
        for _ in 0..2 {
            let endpoint = endpoint.clone();
            builder = builder.in_process(4, move |height: u64| endpoint.ask(height));
        }
        builder.configure(configure)
    });
    each(&world, &pool, &endpoint);
}

#[test]
fn a_range_over_an_endpoint_with_a_limit_is_done_without_a_failure_and_with_few_refusals() {
    for_both(10, |world, pool, endpoint| {
        let range = pool.with(TaskOptions::new().retries(0)).process::<u64>(1..=100);
        let outcomes = world.run(range.collect::<Vec<_>>());
        assert_eq!(outcomes.len(), 100);
        for (height, outcome) in outcomes {
            assert_eq!(outcome, Ok(height));
        }
        let tasks = world.run(pool.stats()).unwrap().tasks;
        assert_eq!((tasks.failed, tasks.lost, tasks.workers_suspended), (0, 0, 0), "{tasks:?}");
        // Nine pauses. In each, what was on its way when it began is refused, and no more.
        let refused = endpoint.refused.load(Ordering::Relaxed);
        assert!((1..=9 * 16).contains(&refused), "{refused}");
        assert!(endpoint.timer.now() >= Instant::EPOCH.saturating_add(9 * PAUSE));
    });
}

#[test]
fn while_all_are_throttled_nothing_is_asked_and_then_calls_go_on() {
    for_both(1, |world, pool, endpoint| {
        let call = |height: u64| pool.try_submit::<u64, u64>(height).expect("there is room");
        assert_eq!(world.run(call(1)), Ok(1));
        let began = endpoint.timer.now();
        assert_eq!(world.run(call(2)), Ok(2));
        let waited = endpoint.timer.now().saturating_since(began);
        assert!(waited >= PAUSE, "{waited:?}");
        // Once by each worker, and once more at most by a worker whose pause ended a moment early.
        let refused = endpoint.refused.load(Ordering::Relaxed);
        assert!((1..=4).contains(&refused), "{refused}");
    });
}

#[test]
fn a_worker_that_can_gets_what_another_cannot() {
    let world = World::new(3);
    let asked = Arc::new(AtomicUsize::new(0));
    for (name, can) in [("full", false), ("good", true)] {
        let (timer, asked) = (world.timer(), Arc::clone(&asked));
        world.host(name, move || {
            let asked = Arc::clone(&asked);
            Worker::new(timer.clone(), move |height: u64| {
                if !can {
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                let failure = Failure::from(Throttled::after(Duration::from_secs(3600)));
                ready(if can { Ok(height) } else { Err(failure) })
            })
            .concurrency(4)
        });
    }
    let pool = world.pool(|builder| builder.configure(configure));
    let report =
        world.run(pool.process::<u64>(1..=1000).each(|_, outcome| assert!(outcome.is_ok())));
    assert_eq!((report.done, report.failed), (1000, 0));
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..=4).contains(&asked), "{asked}: as many as it runs at once");
}

#[test]
fn a_task_that_nobody_can_do_ends_and_says_why() {
    let world = World::new(3);
    let timer = world.timer();
    world.host("full", move || {
        Worker::new(timer.clone(), |_: u64| ready(Err::<u64, _>(Throttled::after(PAUSE))))
    });
    let pool = world.pool(|builder| {
        builder.configure(|config| {
            configure(config);
            config.resends_max = 5;
        })
    });
    let error = world.run(pool.try_submit::<u64, u64>(7).expect("there is room")).unwrap_err();
    assert_eq!(error, TaskError::Bounced { sends: 5 });
    assert!(error.to_string().contains("could not do it then"), "{error}");
    assert!(world.timer().now() >= Instant::EPOCH.saturating_add(4 * PAUSE));
}

#[test]
fn a_pause_is_cut_to_what_the_pool_allows() {
    let world = World::new(3);
    let (timer, calls) = (world.timer(), Arc::new(AtomicUsize::new(0)));
    world.host("shy", move || {
        let calls = Arc::clone(&calls);
        Worker::new(timer.clone(), move |height: u64| {
            let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            let long = Duration::from_secs(40 * 24 * 3600);
            ready(if is_first { Err(Throttled::after(long)) } else { Ok(height) })
        })
    });
    let pool = world.pool(|builder| builder.configure(|config| config.pause_max = PAUSE));
    assert_eq!(world.run(pool.try_submit::<u64, u64>(7).expect("there is room")), Ok(7));
    let now = world.timer().now();
    assert!(now < Instant::EPOCH.saturating_add(10 * PAUSE), "{now:?}");
}
