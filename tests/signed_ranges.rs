//! Ranges of heights of type `i64`, and ranges at the ends of both types, with every kind of worker.

use std::time::Duration;

use chargehand::core::ledger::{Snapshot, Span};
use chargehand::testing::{Act, Script, WorkerHandle, World};
use chargehand::{Pool, PoolEvent, SignedLedger, TaskError, Worker};

/// A worker whose handler takes an `i64` and answers with it, but for -7.
fn native(world: &World) -> WorkerHandle {
    let timer = world.timer();
    world.host("native", move || Worker::new(timer.clone(), answer).concurrency(4))
}

async fn answer(height: i64) -> Result<i64, &'static str> {
    if height == -7 { Err("no such block") } else { Ok(height) }
}

/// Pools that reach such a handler in each way there is.
fn pools() -> Vec<(World, Pool)> {
    let [elsewhere, here, both] = [1, 2, 3].map(World::new);
    native(&elsewhere);
    native(&both);
    let pools = [
        elsewhere.pool(|builder| builder),
        here.pool(|builder| builder.in_process(3, answer)),
        both.pool(|builder| builder.in_process(3, answer)),
    ];
    [elsewhere, here, both].into_iter().zip(pools).collect()
}

#[test]
fn heights_below_zero_come_back_with_their_answers() {
    for (world, pool) in pools() {
        let mut seen = Vec::new();
        let report = world.run(pool.process_signed::<i64>(-20..=20).each(|height, outcome| {
            match outcome {
                Ok(answer) => assert_eq!(answer, height),
                Err(error) => assert_eq!(error, TaskError::Failed("no such block".into())),
            }
            seen.push(height);
        }));
        seen.sort_unstable();
        assert_eq!(seen, (-20..=20).collect::<Vec<_>>());
        assert_eq!((report.done, report.failed, report.missing()), (40, 1, 1));
        assert_eq!(report.first_failure.unwrap().0, -7);
        assert_eq!(report.ledger.failed().collect::<Vec<_>>(), [-7..=-7]);
        assert_eq!(report.ledger.low_water(), Some(-8));
    }
}

#[test]
fn their_order_is_that_of_the_numbers() {
    for (world, pool) in pools() {
        let mut seen = Vec::new();
        world.run(
            pool.process_signed::<i64>(-5..=5).in_order(4).each(|height, _| seen.push(height)),
        );
        assert_eq!(seen, [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5]);

        let range = pool.process_signed::<i64>(-20..=20).in_order(4).stop_at_failure();
        let report = world.run(range.each(|_, _| ()));
        assert_eq!(report.done, 13, "what is above the failure is cancelled, zero included");
        assert_eq!(report.ledger.completed().collect::<Vec<_>>(), [-20..=-8]);
    }
}

#[test]
fn a_signed_range_goes_on_from_its_snapshot() {
    for (world, pool) in pools() {
        let mut first = pool.process_signed::<i64>(-30..=30).in_order(8);
        world.run(async {
            for _ in 0..25 {
                let _outcome = first.next().await.expect("there are 61");
            }
        });
        let kept = serde_json::to_string(&first.ledger().snapshot()).unwrap();
        drop(first);

        let snapshot: Snapshot<Vec<Span<i64>>, i64> = serde_json::from_str(&kept).unwrap();
        let ledger = SignedLedger::resume_growing(&snapshot, 1 << 20).unwrap();
        let mut seen = Vec::new();
        let rest = pool.process_signed::<i64>(ledger).in_order(8);
        let report = world.run(rest.each(|height, _| seen.push(height)));
        let again = [-7].into_iter().chain(-5..=30).collect::<Vec<_>>();
        assert_eq!(seen, again, "what failed is tried again");
        assert_eq!(report.missing(), 1);
    }
}

#[test]
fn ranges_reach_to_the_ends_of_both_types() {
    let signed = [i64::MIN..=i64::MIN + 40, -20..=20, i64::MAX - 40..=i64::MAX];
    for (world, pool) in pools() {
        for range in signed.clone() {
            let mut next = *range.start();
            let outcomes = pool.process_signed::<i64>(range.clone()).in_order(5);
            let report = world.run(outcomes.each(|height, _| {
                assert_eq!(height, next);
                next = next.wrapping_add(1);
            }));
            assert_eq!(report.done + report.failed, 41);
            assert_eq!(next, range.end().wrapping_add(1));
        }
        for in_order in [true, false] {
            for range in [0..=40_u64, u64::MAX - 40..=u64::MAX] {
                let echo = pool.process::<u64>(range.clone());
                let outcomes = if in_order { echo.in_order(5) } else { echo };
                let mut seen = Vec::new();
                // As postcard has them: to a handler of i64 each is another number.
                let report = world.run(outcomes.each(|height, answer| {
                    if let Ok(answer) = answer {
                        assert_eq!(answer, height);
                    }
                    seen.push(height);
                }));
                seen.sort_unstable();
                assert_eq!(seen, range.clone().collect::<Vec<_>>());
                assert_eq!(report.missing(), report.failed);
            }
        }
    }
}

#[test]
fn a_whole_type_may_be_a_range() {
    let (world, pool) = pools().remove(0);
    let mut all = pool.process_signed::<i64>(i64::MIN..=i64::MAX).in_order(50);
    world.run(async {
        for height in (i64::MIN..).take(1000) {
            assert_eq!(all.next().await, Some((height, Ok(height))));
        }
    });
    assert_eq!(all.report().missing(), u64::MAX - 999);
    drop(all);
    let mut all = pool.process::<u64>(0..=u64::MAX);
    world.run(async {
        for _ in 0..1000 {
            let _outcome = all.next().await.expect("there are more");
        }
    });
}

#[test]
fn go_workers_take_any_height_that_there_is_in_go() {
    for range in [i64::MIN..=i64::MIN + 20, -10..=10, i64::MAX - 20..=i64::MAX] {
        let world = World::new(1);
        let worker = world.go_worker(Script::new());
        let pool = world.pool(|builder| builder);
        let report = world.run(pool.process_signed::<()>(range.clone()).each(|_, _| ()));
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(worker.asked(), 21);
        let trace = world.trace().to_string();
        assert!(trace.contains(&format!("answers height {}\n", range.start())), "{trace}");
    }
}

#[test]
fn an_unsigned_height_that_go_has_not_fails_and_the_others_do_not() {
    let world = World::new(1);
    let worker = world.go_worker(Script::new());
    let pool = world.pool(|builder| builder);
    let last = u64::try_from(i64::MAX).unwrap();
    let mut failed = Vec::new();
    let report = world.run(pool.process::<()>(last - 2..=last + 2).each(|height, outcome| {
        if let Err(error) = outcome {
            assert!(error.to_string().contains("at most 2^63 - 1"), "{error}");
            failed.push(height);
        }
    }));
    assert_eq!((report.done, failed), (3, vec![last + 1, last + 2]));
    assert_eq!(worker.asked(), 3);
}

#[test]
fn an_event_names_the_height_as_it_is() {
    let world = World::new(1);
    world.worker(Script::new().nth(1, Act::Hang));
    let pool = world.pool(|builder| {
        builder.configure(|config| config.attempt_timeout = Duration::from_secs(1))
    });
    let mut events = pool.events();
    world.run(pool.process_signed::<i64>(-9..=-9).each(|_, outcome| {
        assert_eq!(outcome, Ok(-9), "the script answers with the request");
    }));
    let retried = world.run(async {
        loop {
            if let Some(PoolEvent::Retried { height, .. }) = events.next().await {
                return height;
            }
        }
    });
    assert_eq!(retried, Some(-9));
}

#[test]
fn a_literal_range_is_of_the_type_that_the_method_says() {
    let (world, pool) = pools().remove(1);
    let unsigned = world.run(pool.process::<u64>(1..=3).each(|_: u64, _| ()));
    let signed = world.run(pool.process_signed::<i64>(1..=3).each(|_: i64, _| ()));
    assert_eq!((unsigned.done, signed.done), (3, 3));
}
