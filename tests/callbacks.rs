//! Tasks whose outcome goes to a callback: it comes once, whatever ends the task, and `idle` waits for it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::testing::{Act, ManualTimer, Script, World};
use chargehand::tokio::Tokio;
use chargehand::{Pool, PoolEvent, TaskError, TaskOptions};

type Outcome = (u64, Result<u64, TaskError>);

const SECOND: Duration = Duration::from_secs(1);

/// Submits heights, whose outcomes are sent through the channel.
async fn submit(pool: &Pool, heights: impl IntoIterator<Item = u64>, outcomes: &Sender<Outcome>) {
    for height in heights {
        let outcomes = outcomes.clone();
        let then = move |outcome| outcomes.send((height, outcome)).expect("it is read");
        pool.submit_then(&height, then).await.expect("the driver lives");
    }
}

fn sorted(outcomes: &Receiver<Outcome>) -> Vec<Outcome> {
    let mut outcomes: Vec<_> = outcomes.try_iter().collect();
    outcomes.sort_by_key(|(height, _)| *height);
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_idle_every_outcome_was_handled_three_hundred_times_in_a_row() {
    let answer = |height: u64| async move { Ok::<_, String>(height) };
    let (pool, driver) = Pool::builder(Tokio::new()).in_process(3, answer).build().unwrap();
    tokio::spawn(driver);
    for round in 0..300 {
        let handled = Arc::new(AtomicUsize::new(0));
        for height in 1..=20_u64 {
            let handled = Arc::clone(&handled);
            let then = move |outcome| {
                assert_eq!(outcome, Ok(height));
                // Whoever counts as handled before this is over is caught with it.
                std::thread::yield_now();
                handled.fetch_add(1, SeqCst);
            };
            pool.submit_then(&height, then).await.unwrap();
        }
        pool.idle().await.unwrap();
        assert_eq!(handled.load(SeqCst), 20, "round {round}");
    }
    pool.stop().await.unwrap();
}

#[test]
fn a_callback_has_the_outcome_once_whatever_it_is() {
    let world = World::new(1);
    let script = Script::new().concurrency(4).height(7, Act::Fail("no such block".into()));
    let _worker = world.worker(script.height(8, Act::Hang));
    let pool = world.pool(|builder| builder);
    let (sender, outcomes) = channel();
    let hasty = pool.with(TaskOptions::new().deadline(3 * SECOND).retries(0));
    world.run(submit(&hasty, 6..=8, &sender));
    assert_eq!(sorted(&outcomes), [], "nobody has run the driver yet");
    world.run(pool.idle()).unwrap();
    assert_eq!(world.elapsed(), 3 * SECOND);
    let failed = Err(TaskError::Failed("no such block".into()));
    assert_eq!(sorted(&outcomes), [(6, Ok(6)), (7, failed), (8, Err(TaskError::TimedOut))]);
}

#[test]
fn a_callback_hears_of_a_deadline_in_the_queue_and_of_a_stop() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().always(Act::Hang));
    let pool = world.pool(|builder| builder.tasks_max(1).queue_max(4));
    let (sender, outcomes) = channel();
    world.run(submit(&pool, [1], &sender));
    world.advance(SECOND);
    world.run(submit(&pool.with(TaskOptions::new().deadline(SECOND)), [2], &sender));
    world.run(submit(&pool, [3], &sender));
    world.advance(2 * SECOND);
    assert_eq!(sorted(&outcomes), [(2, Err(TaskError::TimedOut))]);
    world.run(pool.stop_within(SECOND)).unwrap();
    let stopped = [(1, Err(TaskError::Aborted)), (3, Err(TaskError::Stopping))];
    assert_eq!(sorted(&outcomes), stopped, "before `stop` completes");
}

#[test]
fn a_driver_that_is_dropped_calls_back_what_it_had_and_what_was_queued() {
    let world = World::new(1);
    let builder = Pool::builder(ManualTimer::new()).tasks_max(1).queue_max(3);
    let (pool, driver) = builder.build().unwrap();
    let mut driver = Box::pin(driver);
    let (sender, outcomes) = channel();
    world.run(submit(&pool, [1], &sender));
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(driver.as_mut().poll(cx).is_pending());
    // One that panics then does not keep the others from theirs, nor the drop from its end.
    let panics = |_: Result<u64, TaskError>| panic!("as it was told to");
    world.run(pool.submit_then(&9_u64, panics)).unwrap();
    world.run(submit(&pool, [2, 3], &sender));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(driver))).is_ok());
    assert_eq!(sorted(&outcomes), [1, 2, 3].map(|height| (height, Err(TaskError::Closed))));
    assert_eq!(world.run(pool.submit_then(&4_u64, panics)), Err(TaskError::Closed));
}

#[test]
fn a_callback_that_panics_is_told_of_and_ends_nothing_else() {
    let world = World::new(1);
    let _worker = world.worker(Script::new());
    let pool = world.pool(|builder| builder);
    let mut events = pool.events();
    let (sender, outcomes) = channel();
    world.run(async {
        let then = |_: Result<u64, TaskError>| panic!("out of paper");
        pool.submit_then(&1_u64, then).await.unwrap();
        submit(&pool, 2..=3, &sender).await;
        pool.idle().await.unwrap();
        let told = loop {
            let event = events.next().await.expect("the driver lives");
            if let PoolEvent::CallbackPanicked { text } = event {
                break text;
            }
        };
        assert_eq!(told, "out of paper");
        assert_eq!(pool.call::<u64, u64>(&4).await, Ok(4));
    });
    assert_eq!(sorted(&outcomes), [(2, Ok(2)), (3, Ok(3))]);
}

#[test]
fn a_callback_may_hold_the_last_handle_and_submit_more() {
    let world = World::new(1);
    let _worker = world.worker(Script::new());
    let pool = world.pool(|builder| builder);
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (inner, seen) = (pool.clone(), Arc::clone(&answers));
    let then = move |outcome: Result<u64, TaskError>| {
        seen.lock().unwrap().push(outcome.clone());
        inner.try_submit::<u64, u64>(outcome.unwrap() + 1).unwrap().detach();
    };
    world.run(pool.submit_then(&1_u64, then)).unwrap();
    let mut events = pool.events();
    drop(pool);
    // They end with the driver.
    world.run(async { while events.next().await.is_some() {} });
    assert_eq!(*answers.lock().unwrap(), [Ok(1)]);
}

#[test]
fn a_request_that_cannot_be_queued_calls_nobody() {
    let world = World::new(1);
    let pool = world.pool(|builder| builder.frame_bytes_max(1024));
    let called = Arc::new(AtomicUsize::new(0));
    let then = || {
        let called = Arc::clone(&called);
        move |_: Result<u64, TaskError>| {
            called.fetch_add(1, SeqCst);
        }
    };
    let refused = world.run(pool.submit_then(&vec![0_u8; 2000], then()));
    assert!(matches!(refused, Err(TaskError::Request(_))), "{refused:?}");
    drop(pool.submit_then(&1_u64, then()));
    assert_eq!(world.run(pool.stats()).unwrap().tasks.submitted, 0);
    assert_eq!(called.load(SeqCst), 0);
    assert_eq!(Arc::strong_count(&called), 1, "nothing is kept");
}
