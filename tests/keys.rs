//! Keys of tasks: in order, so many at a time, and at times one for all. Over wires in memory and in this
//! process.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use chargehand::testing::{Act, Script, World};
use chargehand::{Pool, QueueOptions, TaskError, TaskKey, TaskOptions};
use futures_util::StreamExt;
use futures_util::future::join_all;

const SECOND: Duration = Duration::from_secs(1);

fn keyed(pool: &Pool, key: impl Into<TaskKey>) -> Pool {
    pool.with(TaskOptions::new().key(key))
}

type Begun = Rc<RefCell<Vec<u64>>>;

/// A worker that takes a second for each task, eight at once, and notes what it begins.
fn noting(world: &World, script: Script) -> Begun {
    let begun = Begun::default();
    let note = Rc::clone(&begun);
    let script = script.concurrency(8).takes(SECOND);
    world.worker(script.on_begin(move |request| note.borrow_mut().extend(request.height())));
    begun
}

#[test]
fn calls_of_a_key_go_one_after_the_other_in_their_order_and_others_pass() {
    let world = World::new(1);
    let begun = noting(&world, Script::new());
    noting(&world, Script::new());
    let pool = world.pool(|builder| builder);
    let (account, other) = (keyed(&pool, "account 17"), keyed(&pool, 17));
    world.run(async {
        let mut tasks = Vec::new();
        for number in 1..=5 {
            tasks.push(account.submit::<u64, u64>(&number).await.unwrap());
        }
        let begin = world.elapsed();
        assert_eq!(other.call::<u64, u64>(&100).await, Ok(100));
        assert_eq!(pool.call::<u64, u64>(&200).await, Ok(200));
        let since = || world.elapsed().saturating_sub(begin);
        assert!(since() < 3 * SECOND);
        for (number, task) in (1..).zip(tasks) {
            assert_eq!(task.await, Ok(number));
            assert!(since() >= u32::try_from(number).unwrap() * SECOND);
        }
    });
    assert!(begun.borrow().is_sorted_by_key(|number| number % 100), "{begun:?}");
}

#[test]
fn so_many_of_a_key_go_at_once_as_it_says_in_ranges_and_maps_too() {
    for at_once in [1, 3] {
        let world = World::new(1);
        noting(&world, Script::new());
        let pool = world.pool(|builder| builder);
        let range = keyed(&pool, TaskKey::from(1).at_once(at_once));
        let map = keyed(&pool, TaskKey::from(2).at_once(at_once));
        let both = world.run(async {
            let range = range.process::<u64>(1..=12).count();
            futures_util::future::join(range, map.map::<u64, _>(1..=12_u64).count()).await
        });
        assert_eq!(both, (12, 12));
        let exact = 12 * SECOND / at_once;
        assert!((exact..exact + SECOND).contains(&world.elapsed()), "{:?}", world.elapsed());
        // Its keys are free again: one more is found among none.
        let one = world.pool(|builder| builder.configure(|config| config.keys_max = 0));
        let call = keyed(&one, 1).try_submit::<u64, u64>(1).unwrap();
        assert_eq!(world.run(call), Err(TaskError::TooManyKeys { most: 0 }));
    }
}

#[test]
fn a_task_that_is_tried_again_is_not_overtaken_by_others_of_its_key() {
    let world = World::new(1);
    let begun = noting(&world, Script::new().nth(1, Act::Fail("not yet".into())));
    let pool = world.pool(|builder| builder.configure(|config| config.retries_max = 1));
    let account = keyed(&pool, "account");
    let calls = (1..=3_u64).map(|number| account.try_submit::<u64, u64>(number).unwrap());
    let calls: Vec<_> = calls.collect();
    let outcomes = world.run(join_all(calls));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(*begun.borrow(), [1, 1, 2, 3]);
}

#[test]
fn more_keys_than_there_may_be_are_refused_to_calls_and_awaited_by_ranges() {
    let world = World::new(1);
    noting(&world, Script::new());
    let pool = world.pool(|builder| builder.configure(|config| config.keys_max = 2));
    let first: Vec<_> =
        (0..2).map(|key| keyed(&pool, key).try_submit::<u64, u64>(key).unwrap()).collect();
    world.advance(Duration::from_millis(1));
    let refused = keyed(&pool, 2).try_submit::<u64, u64>(2).unwrap();
    let error = world.run(refused).unwrap_err();
    assert_eq!(error, TaskError::TooManyKeys { most: 2 });
    assert!(error.to_string().contains("keys_max"), "{error}");
    // One that is in use already is not one more.
    let same = keyed(&pool, 1).try_submit::<u64, u64>(3).unwrap();
    let range = keyed(&pool, "a range");
    let range = world.spawn(async move { range.process::<u64>(10..=11).count().await });
    assert_eq!(world.run(join_all(first)), [Ok(0), Ok(1)]);
    assert_eq!(world.run(range), 2);
    assert_eq!(world.run(same), Ok(3));
    let again = world.run(keyed(&pool, 5).call::<u64, u64>(&5));
    assert_eq!(again, Ok(5), "numbers are free again");
}

#[test]
fn whoever_asks_while_somebody_does_has_the_same_answer() {
    let world = World::new(1);
    let begun = noting(&world, Script::new());
    let pool = world.pool(|builder| builder);
    let shared = keyed(&pool, TaskKey::from("block 7").unique());
    let calls = (0..5).map(|_| shared.call::<u64, u64>(&7));
    assert_eq!(world.run(join_all(calls)), [(); 5].map(|()| Ok(7)));
    assert_eq!((begun.borrow().len(), world.elapsed()), (1, SECOND));
    // Once it has its outcome, the next one is sent.
    assert_eq!(world.run(shared.call::<u64, u64>(&7)), Ok(7));
    assert_eq!(begun.borrow().len(), 2);
    let stats = world.run(pool.stats()).unwrap();
    assert_eq!(stats.tasks.submitted, 2);
}

#[test]
fn those_who_share_an_answer_are_bounded_as_well() {
    let world = World::new(1);
    let begun = noting(&world, Script::new());
    let pool = world.pool(|builder| builder.tasks_max(4).queue_max(2));
    let shared = keyed(&pool, TaskKey::from(7).unique());
    let mut tasks = Vec::new();
    while let Ok(task) = shared.try_submit::<u64, u64>(7) {
        tasks.push(task);
        world.advance(Duration::from_millis(1));
    }
    // The one that is sent, as many that have its answer as there may be tasks, and those in the queue.
    assert_eq!(tasks.len(), 1 + 4 + 2);
    assert!(world.run(join_all(tasks)).iter().all(|outcome| *outcome == Ok(7)));
    assert_eq!(begun.borrow().len(), 2, "those in the queue came too late for the first");
}

#[test]
fn those_who_share_an_answer_hold_up_neither_other_queues_nor_the_end() {
    let world = World::new(1);
    noting(&world, Script::new());
    let held = QueueOptions::new().paused();
    let pool = world.pool(|builder| builder.tasks_max(4).queue_max(2).queue("held", held));
    let queue = pool.queue("held").unwrap();
    let shared = pool.with(TaskOptions::new().queue(queue).key(TaskKey::from(7).unique()));
    let mut tasks = Vec::new();
    while let Ok(task) = shared.try_submit::<u64, u64>(7) {
        tasks.push(task);
        world.advance(Duration::from_millis(1));
    }
    assert_eq!(tasks.len(), 1 + 4 + 2);
    assert_eq!(world.run(pool.call::<u64, u64>(&8)), Ok(8));
    // What is still in the queue as the pool stops shares the end of the others.
    let stop = pool.stop_within(SECOND);
    let last = tasks.pop().unwrap();
    let (last, stopped) = world.run(futures_util::future::join(last, stop));
    stopped.unwrap();
    assert_eq!(last, Err(TaskError::Aborted));
}

#[test]
fn a_range_whose_key_there_is_no_room_for_holds_up_nothing_else() {
    let world = World::new(1);
    noting(&world, Script::new().height(12, Act::Fail("not yet".into())));
    let pool = world.pool(|builder| builder.configure(|config| config.keys_max = 0));
    let waits = keyed(&pool, "no room").process::<u64>(1..=3);
    let others = (0..2).map(|_| pool.process::<u64>(10..=30).count());
    // Of each a height fails, and is tried once more a second later.
    assert_eq!(world.run(join_all(others)), [21, 21]);
    assert_eq!(world.run(pool.call::<u64, u64>(&40)), Ok(40));
    drop(waits);
    world.run(pool.stop()).unwrap();
}

#[test]
fn a_failure_is_had_by_all_and_long_answers_are_held_once() {
    let world = World::new(1);
    let script = Script::new().takes(SECOND).height(3, Act::Fail("no such block".into()));
    world.worker(script.answers(|_: u64| vec![7_u8; 20_000]));
    let pool = world.pool(|builder| builder.frame_bytes_max(30_000).memory_max(150_000));
    let shared = |key: u64| keyed(&pool, TaskKey::from(key).unique());
    let failed = world.run(join_all((0..4).map(|_| {
        let pool = shared(3);
        async move { pool.call::<Vec<u8>, u64>(&3).await }
    })));
    assert!(failed.iter().all(|outcome| matches!(outcome, Err(TaskError::Failed(_)))));
    // Forty of them would take five times what there is.
    let calls: Vec<_> = (0..40).map(|_| shared(4).try_submit::<Vec<u8>, u64>(4).unwrap()).collect();
    for outcome in world.run(join_all(calls)) {
        assert_eq!(outcome.unwrap(), vec![7; 20_000]);
    }
}

#[test]
fn one_who_cancels_leaves_the_others_their_answer() {
    let world = World::new(1);
    let begun = noting(&world, Script::new());
    let pool = world.pool(|builder| builder);
    let shared = keyed(&pool, TaskKey::from(7).unique());
    world.run(async {
        let mut tasks: Vec<_> = (0..4).map(|_| shared.try_submit::<u64, u64>(7).unwrap()).collect();
        world.sleep(SECOND / 2).await;
        let mut last = tasks.pop().unwrap();
        let started = last.started().await.expect("a worker has it");
        assert_eq!(started.attempt, 1);
        // The one that was sent, and one that waits for it.
        drop(tasks.remove(0));
        tasks[1].cancel();
        assert_eq!(tasks.pop().unwrap().await, Err(TaskError::Cancelled));
        assert_eq!((tasks.pop().unwrap().await, last.await), (Ok(7), Ok(7)));
        // Where all go, it is withdrawn.
        let tasks: Vec<_> = (0..2).map(|_| shared.try_submit::<u64, u64>(8).unwrap()).collect();
        world.sleep(SECOND / 2).await;
        drop(tasks);
        world.sleep(SECOND / 10).await;
        let stats = pool.stats().await.unwrap();
        assert_eq!((stats.tasks.done, stats.tasks.cancelled, stats.tasks.in_flight), (1, 1, 0));
    });
    assert_eq!(begun.borrow().len(), 2);
}

#[test]
fn whoever_asks_as_the_last_one_gives_up_is_not_cancelled_with_that() {
    let world = World::new(1);
    let begun = noting(&world, Script::new());
    let pool = world.pool(|builder| builder);
    let shared = keyed(&pool, TaskKey::from(7).unique());
    let first = shared.try_submit::<u64, u64>(7).unwrap();
    world.advance(SECOND / 2);
    drop(first);
    // The pool hears of both at once.
    let second = shared.try_submit::<u64, u64>(7).unwrap();
    let third = shared.try_submit::<u64, u64>(7).unwrap();
    assert_eq!(world.run(join_all([second, third])), [Ok(7), Ok(7)]);
    assert_eq!(begun.borrow().len(), 2, "what was asked anew is one call again");
}

#[test]
fn answers_of_this_process_are_shared_as_well() {
    let world = World::new(1);
    let timer = world.timer();
    let pool = world.pool(|builder| {
        builder.in_process(4, move |number: u64| {
            let pause = timer.sleep(SECOND);
            async move {
                pause.await;
                Ok::<_, String>(format!("block {number}"))
            }
        })
    });
    let shared = keyed(&pool, TaskKey::from(7).unique());
    let outcomes = world.run(join_all((0..3).map(|_| shared.call::<String, u64>(&7))));
    assert_eq!(outcomes, [(); 3].map(|()| Ok("block 7".to_owned())));
    assert_eq!(world.elapsed(), SECOND);
}

#[test]
fn a_pool_that_stops_ends_those_who_wait_for_another_too() {
    let world = World::new(1);
    noting(&world, Script::new().always(Act::Hang));
    let pool = world.pool(|builder| builder);
    let shared = keyed(&pool, TaskKey::from(7).unique());
    let tasks: Vec<_> = (0..3).map(|_| shared.try_submit::<u64, u64>(7).unwrap()).collect();
    world.advance(SECOND);
    world.run(pool.stop_within(SECOND)).unwrap();
    assert_eq!(world.run(join_all(tasks)), [(); 3].map(|()| Err(TaskError::Aborted)));
}
