//! On the virtual clock, where every span is exact.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chargehand::testing::{ManualTimer, WorkerHandle, World};
use chargehand::worker::Stopper;
use chargehand::{Context, Pool, TaskError, TaskOptions, Worker, with_state};
use futures_util::future::join;

use super::{Given, millis, names, secs};

type Nap = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

/// A handler that answers a height after as many milliseconds.
fn nap(timer: &ManualTimer, given: &Given) -> impl Fn(Context, u64) -> Nap + Clone + Send + use<> {
    let (timer, given) = (timer.clone(), given.clone());
    move |cx: Context, height: u64| -> Nap {
        given.note(&cx);
        let sleep = timer.sleep(millis(height));
        Box::pin(async move {
            sleep.await;
            Ok(height)
        })
    }
}

struct Stage {
    world: World,
    worker: WorkerHandle,
    stopper: Rc<RefCell<Option<Stopper>>>,
    given: Given,
    pool: Pool,
}

/// A pool whose attempts may take 10 s, and one worker that does one task at a time and is stopped
/// within a second.
fn stage() -> Stage {
    let world = World::new(7);
    let (timer, given) = (world.timer(), Given::default());
    let stopper = Rc::new(RefCell::new(None));
    let (told, noted) = (Rc::clone(&stopper), given.clone());
    let worker = world.host("wanda", move || {
        let worker =
            Worker::new(timer.clone(), nap(&timer, &noted)).concurrency(1).drain_timeout(secs(1));
        *told.borrow_mut() = Some(worker.stopper());
        worker
    });
    let pool = world.pool(|builder| {
        let patient = |config: &mut chargehand::core::Config| config.attempt_timeout = secs(10);
        builder.name("mary").in_flight(2).configure(patient)
    });
    Stage { world, worker, stopper, given, pool }
}

#[test]
fn a_handler_is_told_its_attempt_and_who_asks_and_who_does_it() {
    let Stage { world, worker, given, pool, .. } = stage();
    world.at(millis(300), worker.loses_link());
    assert_eq!(world.run(pool.call::<u64, u64>(&1000)), Ok(1000));
    assert_eq!(given.attempts(), [1, 2]);
    assert!(given.all().iter().all(|cx| names(cx) == ("mary", "wanda")));
    let text = format!("{:?}", given.last());
    for part in ["attempt: 2", "timeout: Some(10s)", "mary", "wanda", "is_cancelled: false"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_timeout_is_the_managers_less_what_the_request_waited_at_the_worker() {
    let Stage { world, given, pool, .. } = stage();
    // It may hold a second one once it has answered.
    assert_eq!(world.run(pool.call::<u64, u64>(&1)), Ok(1));
    let both = join(pool.call::<u64, u64>(&700), pool.call::<u64, u64>(&701));
    assert_eq!(world.run(both), (Ok(700), Ok(701)));
    assert_eq!(given.timeouts()[1..], [Some(secs(10)), Some(millis(9300))]);
}

/// What handlers are told of tasks whose times differ from the pool's, in all ways to ask for one.
fn told_of_own_times(world: &World, pool: &Pool, given: &Given) -> Vec<Option<Duration>> {
    let soon = pool.with(TaskOptions::new().attempt_timeout(secs(4)));
    let late = pool.with(TaskOptions::new().attempt_timeout(secs(90)));
    let over = late.with(TaskOptions::new().deadline(secs(3)));
    let same = pool.with(TaskOptions::new().retries(1).attempt_timeout(secs(10)));
    let before = given.timeouts().len();
    world.run(async {
        for pool in [&soon, &late, &over, &same, pool] {
            assert_eq!(pool.call::<u64, u64>(&1).await, Ok(1));
        }
        assert_eq!(soon.process::<u64>(1..=1).next().await, Some((1, Ok(1))));
        assert_eq!(late.map::<u64, _>([2_u64]).next().await, Some((2, Ok(2))));
    });
    given.timeouts().split_off(before)
}

const OWN_TIMES: [Option<Duration>; 7] = [
    Some(secs(4)),
    Some(secs(90)),
    Some(secs(3)),
    Some(secs(10)),
    Some(secs(10)),
    Some(secs(4)),
    Some(secs(90)),
];

#[test]
fn a_task_with_times_of_its_own_tells_its_handler_those() {
    let Stage { world, given, pool, .. } = stage();
    assert_eq!(told_of_own_times(&world, &pool, &given), OWN_TIMES);
    // The second one waits at the worker until the first is answered.
    let hasty = pool.with(TaskOptions::new().attempt_timeout(secs(5)));
    let both = join(pool.call::<u64, u64>(&700), hasty.call::<u64, u64>(&701));
    assert_eq!(world.run(both), (Ok(700), Ok(701)));
    assert_eq!(given.timeouts()[7..], [Some(secs(10)), Some(millis(4300))]);
}

#[test]
fn a_retry_tells_what_is_left_until_the_deadline_by_then() {
    let Stage { world, worker, given, pool, .. } = stage();
    let hasty = pool.with(TaskOptions::new().deadline(secs(6)));
    world.at(secs(2), worker.loses_link());
    let task = world.run(hasty.submit::<u64, u64>(&60_000)).expect("there is room");
    assert_eq!(world.run(task), Err(TaskError::TimedOut));
    assert_eq!(world.elapsed(), secs(6));
    let [first, second] = given.timeouts()[..] else { panic!("{given:?}") };
    assert_eq!(first, Some(secs(6)));
    let second = second.expect("the manager says it");
    assert!(second > secs(2) && second <= secs(4), "{second:?}");
}

#[test]
fn a_handler_in_the_pools_process_is_told_its_tasks_own_times() {
    let world = World::new(7);
    let (given, timer) = (Given::default(), world.timer());
    let pool = world.pool(|builder| {
        let patient = |config: &mut chargehand::core::Config| config.attempt_timeout = secs(10);
        builder.configure(patient).in_process(2, nap(&timer, &given))
    });
    assert_eq!(told_of_own_times(&world, &pool, &given), OWN_TIMES);
}

/// Whether the context of the handler that runs says that it is over, by its flag and by its future.
fn is_over(world: &World, cx: &Context) -> bool {
    let told = {
        let cx = cx.clone();
        world.spawn(async move { cx.cancelled().await })
    };
    world.advance(millis(0));
    assert_eq!(told.is_done(), cx.is_cancelled(), "flag and future are one");
    cx.is_cancelled()
}

/// Lets a handler begin, then `happen` to it what ends it, and holds it against the context: also what
/// waited for that since before.
fn ends_by(happen: impl FnOnce(&Stage, chargehand::Task<u64>)) {
    let stage = stage();
    let Stage { world, given, pool, .. } = &stage;
    let task = world.run(pool.submit::<u64, u64>(&60_000)).expect("there is room");
    world.advance(millis(500));
    let cx = given.last();
    assert!(!is_over(world, &cx), "it runs");
    let waiting = {
        let cx = cx.clone();
        world.spawn(async move { cx.cancelled().await })
    };
    happen(&stage, task);
    assert!(waiting.is_done());
    assert!(is_over(world, &cx));
}

#[test]
fn a_task_that_is_cancelled_is_over_for_its_handler() {
    ends_by(|Stage { world, .. }, task| {
        task.cancel();
        assert_eq!(world.run(task), Err(TaskError::Cancelled));
        world.advance(millis(1));
    });
}

#[test]
fn a_link_that_is_lost_is_the_end_for_its_handlers() {
    ends_by(|Stage { world, worker, .. }, task| {
        worker.loses_link().now();
        world.advance(millis(1));
        task.detach();
    });
}

#[test]
fn an_attempt_that_its_manager_gives_up_is_over_for_its_handler() {
    ends_by(|Stage { world, .. }, task| {
        world.advance(secs(10));
        task.detach();
    });
}

#[test]
fn a_worker_that_stops_tells_its_handlers_after_its_drain_timeout() {
    ends_by(|Stage { world, stopper, given, .. }, task| {
        stopper.borrow().as_ref().expect("it was made").stop();
        world.advance(millis(900));
        assert!(!given.last().is_cancelled(), "it may still answer");
        world.advance(millis(200));
        task.detach();
    });
}

#[test]
fn a_handler_that_has_answered_is_never_over() {
    let Stage { world, worker, given, pool, .. } = stage();
    assert_eq!(world.run(pool.call::<u64, u64>(&5)), Ok(5));
    worker.loses_link().now();
    world.advance(secs(60));
    assert!(!is_over(&world, &given.last()));
}

#[test]
fn a_handler_in_the_pools_process_is_told_the_same() {
    let world = World::new(7);
    let (given, timer) = (Given::default(), world.timer());
    let pool = world.pool(|builder| {
        let hurried = |config: &mut chargehand::core::Config| config.attempt_timeout = secs(2);
        builder.name("mary").configure(hurried).in_process(2, nap(&timer, &given))
    });
    assert_eq!(world.run(pool.call::<u64, u64>(&5)), Ok(5));
    let done = given.last();
    assert_eq!(names(&done), ("mary", "in-process 1"));
    assert_eq!((done.attempt(), done.timeout()), (1, Some(secs(2))));

    let task = world.run(pool.submit::<u64, u64>(&60_000)).expect("there is room");
    world.advance(secs(1));
    assert!(!is_over(&world, &given.last()));
    world.advance(millis(1500));
    assert_eq!(given.attempts()[1..], [1, 2], "the first has outlived its deadline");
    let [_, late, runs] = &given.all()[..] else { panic!("{given:?}") };
    assert!(is_over(&world, late) && !is_over(&world, runs));
    task.cancel();
    assert_eq!(world.run(task), Err(TaskError::Cancelled));
    assert!(is_over(&world, runs));
    assert!(!is_over(&world, &done));
}

#[test]
fn a_handler_in_the_pools_process_is_over_when_its_pool_stops() {
    let world = World::new(7);
    let (given, timer) = (Given::default(), world.timer());
    let pool = world.pool(|builder| builder.in_process(1, nap(&timer, &given)));
    let task = world.run(pool.submit::<u64, u64>(&9_000)).expect("there is room");
    world.advance(millis(1));
    world.run(pool.stop_within(millis(100))).expect("the driver lives");
    world.advance(millis(1));
    assert!(is_over(&world, &given.last()));
    task.detach();
}

#[test]
fn a_manager_of_the_go_package_says_neither_its_name_nor_its_time() {
    let Stage { world, worker, given, .. } = stage();
    world.run(async {
        let mut manager = worker.go_manager().await.expect("it lives");
        assert!(manager.process(12).await.expect("it answers").success);
    });
    let cx = given.last();
    assert_eq!((cx.attempt(), cx.timeout()), (1, None));
    assert_eq!(names(&cx), ("", "wanda"));
}

/// What handlers share.
type Sum = Arc<AtomicU64>;

#[test]
fn handlers_of_a_worker_share_their_state() {
    let world = World::new(7);
    let (timer, sum) = (world.timer(), Sum::default());
    let shared = Arc::clone(&sum);
    world.host("adds", move || {
        let add = |cx: Context<Sum>, height: u64| async move {
            assert_eq!((cx.attempt(), cx.worker()), (1, "adds"));
            Ok::<_, String>(height + cx.state().fetch_add(height, Ordering::Relaxed))
        };
        Worker::new(timer.clone(), with_state(Arc::clone(&shared), add))
    });
    let pool = world.pool(|builder| builder);
    for (height, total) in [(1, 1), (2, 3), (3, 6)] {
        assert_eq!(world.run(pool.call::<u64, u64>(&height)), Ok(total));
    }
    assert_eq!(sum.load(Ordering::Relaxed), 6);
}

#[test]
fn handlers_of_bytes_share_their_state() {
    let world = World::new(7);
    let (timer, sum) = (world.timer(), Sum::default());
    let shared = Arc::clone(&sum);
    world.host("counts", move || {
        let count = |cx: Context<Sum>, body: Vec<u8>| async move {
            cx.state().fetch_add(body.len() as u64, Ordering::Relaxed);
            Ok::<_, String>(body)
        };
        Worker::raw(timer.clone(), with_state(Arc::clone(&shared), count))
    });
    let pool = world.pool(|builder| builder);
    assert_eq!(world.run(pool.call_raw(b"abc".to_vec())), Ok(b"abc".to_vec()));
    assert_eq!(world.run(pool.call_raw(b"de".to_vec())), Ok(b"de".to_vec()));
    assert_eq!(sum.load(Ordering::Relaxed), 5);
}

#[test]
fn handlers_in_the_pools_process_share_their_state() {
    let world = World::new(7);
    let sum = Sum::default();
    let add = |cx: Context<Sum>, height: u64| async move {
        assert_eq!(cx.worker(), "in-process 1");
        Ok::<_, String>(height + cx.state().fetch_add(height, Ordering::Relaxed))
    };
    let handler = with_state(Arc::clone(&sum), add);
    let pool = world.pool(|builder| builder.in_process(4, handler));
    assert_eq!(world.run(pool.call::<u64, u64>(&2)), Ok(2));
    assert_eq!(world.run(pool.call::<u64, u64>(&3)), Ok(5));
    assert_eq!(sum.load(Ordering::Relaxed), 5);
}
