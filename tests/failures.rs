//! What a handler's failure says of trying again, and that the pool does it: with workers on the other
//! end of a wire and in this process, for calls and ranges.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chargehand::core::Config;
use chargehand::testing::{Act, Script, World};
use chargehand::{Failure, Pool, TaskError, TaskOptions, Worker};
use futures_util::StreamExt;

const RETRIES: u16 = 3;
const POLICY_DELAY: Duration = Duration::from_secs(1);

/// How often the handler was called.
type Calls = Arc<AtomicUsize>;

/// Even heights fail by `failure`, odd ones never.
#[expect(clippy::unused_async, reason = "a handler is asynchronous")]
async fn work(calls: Calls, height: u64, failure: fn() -> Failure) -> Result<u64, Failure> {
    calls.fetch_add(1, Ordering::Relaxed);
    if height % 2 == 0 { Err(failure()) } else { Ok(height) }
}

fn configure(config: &mut Config) {
    config.retries_max = RETRIES;
    config.retry_delay = POLICY_DELAY;
    config.failures_max = 2;
}

/// Runs `each` in a pool whose two workers are remote, and in one whose two are in this process.
fn for_both(failure: fn() -> Failure, each: impl Fn(&World, &Pool, &Calls)) {
    let (world, calls) = (World::new(3), Calls::default());
    for name in ["one", "other"] {
        let (timer, calls) = (world.timer(), Arc::clone(&calls));
        world.host(name, move || {
            let calls = Arc::clone(&calls);
            Worker::new(timer.clone(), move |height: u64| work(Arc::clone(&calls), height, failure))
        });
    }
    let pool = world.pool(|builder| builder.configure(configure));
    each(&world, &pool, &calls);

    let (world, calls) = (World::new(3), Calls::default());
    let pool = world.pool(|mut builder| {
        for _ in 0..2 {
            let calls = Arc::clone(&calls);
            let handler = move |height: u64| work(Arc::clone(&calls), height, failure);
            builder = builder.in_process(1, handler);
        }
        builder.configure(configure)
    });
    each(&world, &pool, &calls);
}

fn call(world: &World, pool: &Pool, height: u64) -> Result<u64, TaskError> {
    world.run(pool.try_submit::<u64, u64>(height).expect("there is room"))
}

fn suspended(world: &World, pool: &Pool) -> u32 {
    world.run(pool.stats()).expect("the driver lives").tasks.workers_suspended
}

#[test]
fn a_permanent_failure_is_not_tried_again_and_rests_no_worker() {
    let failure = || Failure::permanent("no such block").with_details(&7_u8);
    for_both(failure, |world, pool, calls| {
        for round in 1..=6 {
            assert_eq!(call(world, pool, 2), Err(TaskError::Failed(failure())));
            assert_eq!(calls.load(Ordering::Relaxed), round, "a retry");
        }
        assert_eq!(suspended(world, pool), 0);

        let range = pool
            .with(TaskOptions::new().retries(RETRIES))
            .process::<u64>(1..=20)
            .collect::<Vec<_>>();
        for (height, result) in world.run(range) {
            let failed = Err(TaskError::Failed(failure()));
            assert_eq!(result, if height % 2 == 0 { failed } else { Ok(height) });
        }
        assert_eq!(calls.load(Ordering::Relaxed), 26, "each height once");
        assert_eq!(suspended(world, pool), 0);
        assert!(world.elapsed() < POLICY_DELAY, "{:?}", world.elapsed());
    });
}

#[test]
fn a_failure_is_tried_again_when_it_says_and_as_often_as_any_other() {
    let failure = || Failure::retry_after(Duration::from_secs(40), "busy");
    for_both(failure, |world, pool, calls| {
        let begun = world.elapsed();
        assert_eq!(call(world, pool, 2), Err(TaskError::Failed(failure())));
        assert_eq!(calls.load(Ordering::Relaxed), 1 + usize::from(RETRIES));
        let took = world.elapsed().saturating_sub(begun);
        assert!((120..125).contains(&took.as_secs()), "{took:?}");

        let begun = world.elapsed();
        let range =
            pool.with(TaskOptions::new().retries(1)).process::<u64>(2..=2).collect::<Vec<_>>();
        assert_eq!(world.run(range), [(2, Err(TaskError::Failed(failure())))]);
        let took = world.elapsed().saturating_sub(begun);
        assert!((40..45).contains(&took.as_secs()), "{took:?}");
    });
    // Sooner than the policy's delay, too.
    let failure = || Failure::retry_after(Duration::from_millis(10), "busy");
    for_both(failure, |world, pool, _| {
        assert_eq!(call(world, pool, 2), Err(TaskError::Failed(failure())));
        assert!(world.elapsed() < POLICY_DELAY, "{:?}", world.elapsed());
    });
}

#[test]
fn a_failure_without_advice_keeps_the_delay_of_the_pool() {
    for_both(
        || Failure::new("no"),
        |world, pool, calls| {
            let begun = world.elapsed();
            assert_eq!(call(world, pool, 2), Err(TaskError::Failed(Failure::new("no"))));
            assert_eq!(calls.load(Ordering::Relaxed), 1 + usize::from(RETRIES));
            assert!(world.elapsed().saturating_sub(begun) >= POLICY_DELAY * RETRIES.into());
        },
    );
}

#[test]
fn a_permanent_failure_is_the_outcome_even_after_an_answer_of_no_use() {
    let world = World::new(3);
    let babbles = world.worker(Script::new().always(Act::Bytes(vec![0xff; 20])));
    let timer = world.timer();
    world.host("other", move || {
        Worker::new(timer.clone(), |height: u64| async move {
            Err::<u64, _>(Failure::permanent(format!("no block {height}")))
        })
    });
    let pool = world.pool(|builder| builder.configure(configure));
    let failed = || Failure::permanent("no block 8");
    while babbles.asked() == 0 {
        assert_eq!(call(&world, &pool, 8), Err(TaskError::Failed(failed())));
    }
}
