//! Who has taken a task: what `Task::started` says, and what whoever watches every task is told.

use std::task::{Context, Waker};
use std::time::Duration;

use chargehand::testing::{Act, ManualTimer, Script, World};
use chargehand::{Pool, PoolEvent, Started, TaskError, TaskOptions, WorkerOptions};
use futures_util::future::{join, poll_immediate};

const SECOND: Duration = Duration::from_secs(1);

/// Whose task it was, and for the how-manieth time.
fn shown(started: Option<Started>) -> Option<(String, u16)> {
    started.map(|Started { peer, attempt, .. }| (peer.to_string(), attempt))
}

#[test]
fn a_task_says_which_worker_takes_it_and_which_has_it() {
    let world = World::new(1);
    world.worker(Script::new().name("first").takes(2 * SECOND));
    let pool = world.pool(|builder| builder);
    world.run(async {
        let mut running = pool.submit::<u64, u64>(&1).await.unwrap();
        let mut waiting = pool.submit::<u64, u64>(&2).await.unwrap();
        let started = running.started().await.unwrap();
        assert_eq!(shown(Some(started.clone())), Some(("first".into(), 1)));
        let workers = pool.stats().await.unwrap().workers;
        assert_eq!(started.worker, workers[0].id);
        // It is known already.
        assert_eq!(running.started().await, Some(started));
        assert_eq!(world.elapsed(), Duration::ZERO);
        assert_eq!(shown(waiting.started().await), Some(("first".into(), 1)));
        assert_eq!(world.elapsed(), 2 * SECOND, "once the first one was done");
        assert_eq!((running.await, waiting.await), (Ok(1), Ok(2)));
    });
}

#[test]
fn after_a_loss_a_task_says_who_has_it_next() {
    let world = World::new(1);
    let first = world.worker(Script::new().name("first").takes(5 * SECOND));
    let pool = world.pool(|builder| builder);
    world.at(SECOND, first.dies());
    world.run(async {
        let mut task = pool.submit::<u64, u64>(&1).await.unwrap();
        assert_eq!(shown(task.started().await), Some(("first".into(), 1)));
        world.sleep(2 * SECOND).await;
        let second = async {
            world.sleep(SECOND).await;
            let answer = |height: u64| async move { Ok::<_, String>(height) };
            pool.add_in_process(answer, WorkerOptions::new().window(1)).await.unwrap()
        };
        let (started, second) = join(task.started(), second).await;
        let started = started.expect("it is sent again");
        assert_eq!((started.worker, started.attempt), (second, 2));
        assert_eq!(task.await, Ok(1));
    });
}

#[test]
fn a_task_that_ends_first_says_that_nobody_took_it_or_will() {
    let world = World::new(1);
    world.worker(Script::new().height(1, Act::Hang));
    let pool = world.pool(|builder| builder);
    let hasty = pool.with(TaskOptions::new().deadline(SECOND));
    world.run(async {
        let mut done = pool.submit::<u64, u64>(&5).await.unwrap();
        pool.idle().await.unwrap();
        assert_eq!(done.started().await, None, "its outcome is there");
        assert_eq!(done.await, Ok(5));
        pool.submit::<u64, u64>(&1).await.unwrap().detach();

        let mut queued = pool.submit::<u64, u64>(&2).await.unwrap();
        assert!(poll_immediate(Box::pin(queued.started())).await.is_none());
        queued.cancel();
        assert_eq!(queued.started().await, None, "it was cancelled");
        assert_eq!(queued.await, Err(TaskError::Cancelled));

        let mut late = hasty.submit::<u64, u64>(&3).await.unwrap();
        assert_eq!(late.started().await, None, "its deadline came");
        assert_eq!(late.await, Err(TaskError::TimedOut));

        let mut left = pool.submit::<u64, u64>(&4).await.unwrap();
        let stop = pool.stop_within(SECOND);
        let (started, _) = join(left.started(), stop).await;
        assert_eq!(started, None, "the pool stops");
        assert_eq!(left.started().await, None, "its driver is gone");
    });
}

#[test]
fn a_task_that_ends_in_a_full_queue_says_so_too() {
    let world = World::new(1);
    world.worker(Script::new().always(Act::Hang));
    let pool = world.pool(|builder| builder.tasks_max(1).queue_max(4));
    let hasty = pool.with(TaskOptions::new().deadline(SECOND));
    world.run(async {
        pool.submit::<u64, u64>(&1).await.unwrap().detach();
        world.sleep(SECOND).await;
        let mut late = hasty.submit::<u64, u64>(&2).await.unwrap();
        assert_eq!(late.started().await, None);
        assert_eq!(world.elapsed(), 2 * SECOND);
        let mut cancelled = pool.submit::<u64, u64>(&3).await.unwrap();
        assert!(poll_immediate(Box::pin(cancelled.started())).await.is_none());
        cancelled.cancel();
        assert_eq!(cancelled.started().await, None);
    });
}

#[test]
fn whoever_waits_for_a_start_hears_of_a_driver_that_is_dropped() {
    let (pool, driver) = Pool::builder(ManualTimer::new()).build().unwrap();
    let mut task = pool.try_submit::<u64, u64>(1).unwrap();
    let mut driver = Box::pin(driver);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut started = Box::pin(task.started());
    assert!(started.as_mut().poll(cx).is_pending());
    assert!(driver.as_mut().poll(cx).is_pending());
    drop(driver);
    assert_eq!(started.as_mut().poll(cx), std::task::Poll::Ready(None));
}

#[test]
fn every_start_is_an_event_for_those_who_ask_for_all_and_for_no_others() {
    let world = World::new(1);
    world.worker(Script::new().name("only").concurrency(2));
    let pool = world.pool(|builder| builder);
    let (mut all, mut few) = (pool.all_events(), pool.events());
    world.run(async {
        assert_eq!(pool.call::<u64, u64>(&7).await, Ok(7));
        pool.process::<u64>(8..=10).each(|_, _| ()).await;
        pool.stop().await.unwrap();
    });
    let mut starts = Vec::new();
    world.run(async {
        while let Some(event) = all.next().await {
            if let PoolEvent::Started { height, attempt, ref peer, .. } = event {
                assert_eq!((attempt, &**peer), (1, "only"));
                starts.push((height, event.to_string()));
            }
        }
        while let Some(event) = few.next().await {
            assert!(!matches!(event, PoolEvent::Started { .. }), "{event:?}");
        }
    });
    assert_eq!(starts[0], (None, "only: takes task 0, attempt 1".into()));
    let heights: Vec<_> = starts[1..].iter().map(|(height, _)| *height).collect();
    assert_eq!(heights, [Some(8), Some(9), Some(10)]);
    assert_eq!(starts[1].1, "only: takes height 8, attempt 1");
}
