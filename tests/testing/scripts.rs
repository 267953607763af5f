//! What a script says, the worker does; and what the pool makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chargehand::TaskError;
use chargehand::testing::{Act, Script, World};
use futures_util::StreamExt;

use super::{call, counts, impatient, lines, millis, one, secs};

#[test]
fn a_worker_answers_with_the_request_or_as_its_script_says_and_takes_its_time() {
    let (world, worker, pool) = one(Script::new());
    assert_eq!(call(&world, &pool, 5), Ok(5));
    assert_eq!((world.elapsed(), worker.asked()), (Duration::ZERO, 1));

    let script = Script::new().answers(|height: u64| format!("block {height}")).takes(millis(50));
    let (world, _, pool) = one(script);
    let block: String = world.run(pool.call(&5_u64)).expect("it answers");
    assert_eq!(block, "block 5");
    assert_eq!(world.elapsed(), millis(50));
}

#[test]
fn a_delay_is_drawn_by_the_seed() {
    let took = |seed| {
        let world = World::new(seed);
        world.worker(Script::new().takes(millis(10)..=millis(90)));
        let pool = impatient(&world);
        let mut before = world.elapsed();
        let took = (0..50).map(|height| {
            call(&world, &pool, height).expect("it answers");
            let begun = std::mem::replace(&mut before, world.elapsed());
            before.saturating_sub(begun)
        });
        took.collect::<Vec<_>>()
    };
    let first = took(1);
    assert!(first.iter().all(|span| (millis(10)..=millis(90)).contains(span)), "{first:?}");
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
    assert_eq!(first, took(1));
    assert_ne!(first, took(2));
}

#[test]
fn concurrency_and_pace_limit_a_worker() {
    // A hundred heights of 50 ms each.
    for (script, expected) in [
        (Script::new().takes(millis(50)), 100 * 50),
        (Script::new().takes(millis(50)).concurrency(4), 25 * 50),
        // The first begins at once, and each next one 50 ms later.
        (Script::new().one_per(millis(50)), 99 * 50),
        (Script::new().one_per(millis(50)).concurrency(4), 99 * 50),
        (Script::new().one_per(millis(50)).takes(millis(500)).concurrency(20), 99 * 50 + 500),
    ] {
        let world = World::new(7);
        world.worker(script.clone());
        let pool = world.pool(|builder| builder);
        assert_eq!(world.run(pool.process::<u64>(1..=100).count()), 100);
        assert_eq!(world.elapsed(), millis(expected), "{script:?}");
    }
}

#[test]
fn what_waits_at_a_worker_is_not_begun() {
    let world = World::new(7);
    let worker = world.worker(Script::new().takes(millis(50)));
    let pool = world.pool(|builder| builder.in_flight(10));
    world.run(async {
        // A worker is trusted with more than it runs once it has done some.
        assert_eq!(pool.process::<u64>(1..=100).count().await, 100);
        let (asked, before) = (worker.asked(), world.elapsed());
        let mut heights = pool.process::<u64>(1..=10);
        assert_eq!(heights.next().await, Some((1, Ok(1))));
        assert_eq!(worker.asked() - asked, 10, "all of them wait there");
        assert_eq!(world.elapsed(), before + millis(50), "and one is done");
        assert_eq!(heights.count().await, 9);
        assert_eq!(world.elapsed(), before + millis(500));
    });
}

#[test]
fn the_first_rule_that_fits_holds_and_chances_are_about_right() {
    let script = Script::new()
        .when(|request| request.at < secs(1) && request.attempt == 1, Act::Answer)
        .nth(3, Act::Fail("third".to_owned()))
        .percent(30, Act::Fail("chance".to_owned()))
        .height(7, Act::Fail("never after the chance".to_owned()))
        .always(Act::Fail("always".to_owned()));
    let (world, _, pool) = one(script);
    for height in 1..=2 {
        assert_eq!(call(&world, &pool, height), Ok(height));
    }
    world.advance(secs(1));
    assert_eq!(call(&world, &pool, 3), Err(TaskError::Failed("third".into())));
    let mut texts = BTreeMap::<String, u32>::new();
    world.run(pool.for_each::<u64>(1000..=1999, |_, outcome| {
        let Err(TaskError::Failed(text)) = outcome else { panic!("{outcome:?}") };
        *texts.entry(text.to_string()).or_default() += 1;
    }));
    // A deviation is 14.
    assert!((230..=370).contains(&texts["chance"]), "{texts:?}");
    assert_eq!(texts["chance"] + texts["always"], 1000);
}

#[test]
fn a_failure_is_an_outcome() {
    let (world, worker, pool) = one(Script::new().height(3, Act::Fail("no block".to_owned())));
    assert_eq!(call(&world, &pool, 3), Err(TaskError::Failed("no block".into())));
    assert_eq!(call(&world, &pool, 4), Ok(4));
    assert_eq!(worker.asked(), 2);
    assert_eq!(lines(&world.trace(), "fails task 0.0 #1: \"no block\""), 1);
}

#[test]
fn a_worker_that_hangs_is_found_by_the_attempts_deadline_although_it_answers_pings() {
    let world = World::new(7);
    let hung = world.worker(Script::new().always(Act::Hang));
    let pool = world.pool(|builder| {
        builder.configure(|config| {
            config.attempt_timeout = secs(100);
            config.attempts_max = 2;
        })
    });
    assert_eq!(call(&world, &pool, 3), Err(TaskError::Exhausted { attempts: 2 }));
    assert_eq!(world.elapsed(), secs(200));
    assert_eq!(hung.asked(), 2, "its place was free again");
    assert_eq!(lines(&world.trace(), "is told to drop"), 2);
    assert_eq!(lines(&world.trace(), "lost"), 0, "it is heard of at every heartbeat");
}

#[test]
fn a_task_of_a_worker_that_hangs_goes_elsewhere() {
    let world = World::new(7);
    let hung = world.worker(Script::new().always(Act::Hang));
    let good = world.worker(Script::new());
    let pool = impatient(&world);
    assert_eq!(call(&world, &pool, 1), Ok(1));
    assert_eq!(world.elapsed(), secs(1));
    assert_eq!((hung.asked(), good.asked()), (1, 1));
}

#[test]
fn a_late_answer_comes_although_the_task_was_withdrawn_and_is_ignored() {
    let script = Script::new().answers(|height: u64| height).nth(1, Act::Late(secs(5)));
    let (world, worker, pool) = one(script.takes(millis(100)));
    assert_eq!(call(&world, &pool, 3), Ok(3));
    assert_eq!(world.elapsed(), millis(1100), "the second attempt had its place");
    assert_eq!(worker.asked(), 2);
    world.advance(secs(5));
    let answers = world.trace().lines();
    let answers: Vec<_> =
        answers.iter().filter(|(_, line)| line.contains("answers")).map(|(at, _)| *at).collect();
    assert_eq!(answers, [millis(1100), millis(5100)]);
    let counts = counts(&world, &pool);
    assert_eq!((counts.done, counts.stale, counts.workers_up), (1, 1, 1));
}

#[test]
fn a_late_answer_to_an_older_attempt_is_not_taken_for_the_newer_one() {
    let (world, _, pool) = one(Script::new().takes(millis(900)).nth(1, Act::Late(millis(600))));
    assert_eq!(call(&world, &pool, 3), Ok(3));
    assert_eq!(lines(&world.trace(), "answers"), 2, "the first at 1.5 s");
    assert_eq!(world.elapsed(), millis(1900));
    assert_eq!(counts(&world, &pool).stale, 1);
}

#[test]
fn an_answer_that_is_late_and_in_time_is_an_answer() {
    let (world, _, pool) = one(Script::new().always(Act::Late(millis(900))));
    assert_eq!(call(&world, &pool, 3), Ok(3));
    assert_eq!(world.elapsed(), millis(900));
}

#[test]
fn of_two_answers_the_second_is_ignored() {
    let (world, worker, pool) = one(Script::new().always(Act::Twice));
    for height in 0..10 {
        assert_eq!(call(&world, &pool, height), Ok(height));
    }
    world.advance(Duration::ZERO);
    assert_eq!(worker.asked(), 10);
    assert_eq!(lines(&world.trace(), "answers"), 20);
    let counts = counts(&world, &pool);
    assert_eq!((counts.done, counts.stale, counts.workers_up), (10, 10, 1));
}

#[test]
fn bytes_that_are_no_answer_are_an_error_of_their_task_alone() {
    let (world, _, pool) = one(Script::new().nth(1, Act::Bytes(vec![1, 2, 3])));
    assert!(matches!(call(&world, &pool, 3), Err(TaskError::Answer(_))));
    assert_eq!(call(&world, &pool, 3), Ok(3));
}

#[test]
fn a_worker_that_sends_garbage_or_lies_is_refused_and_its_task_sent_again() {
    for (act, complaint) in
        [(Act::Garbage, "an invalid message"), (Act::Lie, "a task that it never held")]
    {
        let (world, worker, pool) = one(Script::new().nth(2, act));
        assert_eq!(call(&world, &pool, 1), Ok(1));
        assert_eq!(call(&world, &pool, 2), Ok(2));
        assert_eq!(worker.asked(), 3);
        let trace = world.trace();
        assert_eq!(lines(&trace, complaint), 2, "the pool's event, and its Goodbye:\n{trace}");
        assert_eq!(lines(&trace, "worker-1: connected"), 2);
    }
}
