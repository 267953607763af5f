//! How tasks are done, where not as the pool says: one handle's options for calls, maps and ranges.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use chargehand::core::BackoffPolicy;
use chargehand::testing::{Act, Script, World};
use chargehand::{TaskError, TaskOptions};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_deadline_ends_a_task_that_no_worker_answers_and_spares_others() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().concurrency(8).height(7, Act::Hang));
    let pool = world.pool(|builder| builder);
    let hasty = pool.with(TaskOptions::new().deadline(3 * SECOND));
    assert_eq!(world.run(hasty.call::<u64, u64>(&7)), Err(TaskError::TimedOut));
    assert_eq!(world.elapsed(), 3 * SECOND);
    assert_eq!(world.run(hasty.call::<u64, u64>(&8)), Ok(8));

    let report = world.run(hasty.process::<u64>(1..=20).each(|_, _| ()));
    assert_eq!((report.done, report.failed), (19, 1));
    assert_eq!(report.first_failure, Some((7, TaskError::TimedOut)));
    let report = world.run(hasty.map::<u64, _>(1..=20_u64).each(|_, _| ()));
    assert_eq!((report.done, report.failed), (19, 1));
    assert_eq!(report.first_failure, Some((6, TaskError::TimedOut)));
}

#[test]
fn a_deadline_counts_the_time_in_the_queue() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().takes(10 * SECOND));
    let pool = world.pool(|builder| builder.tasks_max(1).queue_max(4));
    let hasty = pool.with(TaskOptions::new().deadline(4 * SECOND));
    let patient = hasty.with(TaskOptions::new());
    world.run(async {
        let mut first = patient.submit::<u64, u64>(&1).await.expect("there is room");
        world.sleep(SECOND).await;
        let second = hasty.submit::<u64, u64>(&2).await.expect("there is room");
        let third = patient.submit::<u64, u64>(&3).await.expect("there is room");
        assert_eq!(second.await, Err(TaskError::TimedOut));
        assert_eq!(world.elapsed(), 5 * SECOND, "it never left the queue");
        assert_eq!((&mut first).await, Ok(1));
        assert_eq!(third.await, Ok(3));
        assert_eq!(world.elapsed(), 20 * SECOND);
    });
}

#[test]
fn what_is_cancelled_or_dropped_in_the_queue_has_no_time_left() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().takes(10 * SECOND));
    let pool = world.pool(|builder| builder.tasks_max(1).queue_max(4));
    let hasty = pool.with(TaskOptions::new().deadline(4 * SECOND));
    world.run(async {
        let first = pool.submit::<u64, u64>(&1).await.expect("there is room");
        world.sleep(SECOND).await;
        let second = hasty.submit::<u64, u64>(&2).await.expect("there is room");
        let third = hasty.submit::<u64, u64>(&3).await.expect("there is room");
        let fourth = hasty.submit::<u64, u64>(&4).await.expect("there is room");
        drop(second);
        third.cancel();
        assert_eq!(third.await, Err(TaskError::Cancelled));
        fourth.detach();
        // Takes a place that one of those had.
        let fifth = pool.submit::<u64, u64>(&5).await.expect("there is room");
        assert_eq!((first.await, fifth.await), (Ok(1), Ok(5)));
        assert_eq!(world.elapsed(), 20 * SECOND, "the others were not sent");
    });
}

#[test]
fn an_attempt_is_given_up_by_the_time_of_its_own_options() {
    let world = World::new(1);
    let _stuck = world.worker(Script::new().nth(1, Act::Hang));
    let pool = world.pool(|builder| builder);
    let hasty = pool.with(TaskOptions::new().attempt_timeout(2 * SECOND));
    assert_eq!(world.run(hasty.call::<u64, u64>(&7)), Ok(7));
    let took = world.elapsed();
    assert!((2 * SECOND..3 * SECOND).contains(&took), "{took:?}");
}

#[test]
fn retries_and_their_delays_are_those_of_the_options() {
    let world = World::new(1);
    let tries = Rc::new(Cell::new(0));
    let count = Rc::clone(&tries);
    let fits = move |_: &chargehand::testing::Request<'_>| {
        count.set(count.get() + 1);
        true
    };
    let _worker = world.worker(Script::new().when(fits, Act::Fail("no".to_owned())));
    let pool = world.pool(|builder| builder);
    let doubling = BackoffPolicy::powers_of_two(60 * SECOND);
    let tough = pool.with(TaskOptions::new().retries(3).retry_delay(doubling));
    assert!(matches!(world.run(tough.call::<u64, u64>(&7)), Err(TaskError::Failed(_))));
    assert_eq!((tries.take(), world.elapsed()), (4, (2 + 4 + 8) * SECOND));

    let none = pool.with(TaskOptions::new().retries(0));
    assert_eq!(world.run(none.process::<u64>(1..=3).each(|_, _| ())).failed, 3);
    assert_eq!(tries.take(), 3, "not once more, as a range has it otherwise");
    assert_eq!(world.run(none.map::<u64, _>(1..=3_u64).each(|_, _| ())).failed, 3);
    assert_eq!(tries.take(), 3);
}
