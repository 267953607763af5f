//! What a pool measures of itself, once it is asked to.

use std::future::pending;
use std::time::Duration;

use chargehand::core::ledger::Ledger;
use chargehand::measure::{Measures, RangeFigures};
use chargehand::tokio::Tokio;
use chargehand::{Failure, Pool, TaskOptions};
use tokio::time::sleep;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Asks until something holds.
async fn measured(pool: &Pool, holds: impl Fn(&Measures) -> bool) -> Measures {
    for _ in 0..1000 {
        let measures = pool.measure().await.unwrap();
        if holds(&measures) {
            return measures;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("it never held: {:?}", pool.measure().await);
}

fn check_sums(range: &RangeFigures) {
    let sum =
        |of: fn(&chargehand::measure::Segment) -> u64| range.segments.iter().map(of).sum::<u64>();
    assert_eq!(sum(|part| part.heights), range.total.heights);
    assert_eq!(sum(|part| part.done), range.total.done);
    assert_eq!(sum(|part| part.in_flight), range.total.in_flight);
    assert_eq!(sum(|part| part.failed), range.total.failed);
}

#[tokio::test(start_paused = true)]
async fn times_are_measured_from_the_first_time_that_they_are_asked_for() -> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(2, |millis: u64| async move {
            sleep(Duration::from_millis(millis)).await;
            Ok::<_, String>(())
        })
        .build()?;
    tokio::spawn(driver);
    pool.call::<(), _>(&5_u64).await?;
    let before = pool.measure().await?;
    assert_eq!((before.round_trip.count(), before.stats.tasks.done), (0, 1));

    // Four of 100 ms for two at once: the later two wait for as long.
    let report = pool.map::<(), _>(vec![100_u64; 4]).each(|_, _| {}).await;
    assert!(report.is_complete());
    let after = pool.measure().await?;
    assert_eq!(after.round_trip.count(), 4);
    assert_eq!(after.service, after.round_trip, "nothing waits at a worker of this process");
    let near = |time: Option<Duration>, millis: f64| {
        let found = time.unwrap().as_secs_f64() * 1000.0;
        assert!((found / millis - 1.0).abs() < 0.2, "{found} ms instead of {millis}");
    };
    near(after.round_trip.quantile(0.99), 100.0);
    assert_eq!(after.queue_wait.count(), 4);
    near(after.queue_wait.quantile(1.0), 100.0);
    assert!(after.queue_wait.quantile(0.5).unwrap() < Duration::from_millis(1));
    assert_eq!(after.attempts, [4, 0, 0, 0, 0, 0, 0, 0]);
    assert!(after.measured >= Duration::from_millis(200));
    let worker = &after.workers[0];
    assert_eq!((worker.id, worker.count), (after.stats.workers[0].id, 4));
    near(Some(worker.p99), 100.0);
    Ok(())
}

#[tokio::test]
async fn failures_are_grouped_by_their_text_with_the_latest_as_an_example() -> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(1, |height: u64| async move {
            match height {
                5 => Err(Failure::permanent("the disk is gone")),
                height if height % 2 == 0 => Err(Failure::new(format!("no block {height}"))),
                _ => Ok(()),
            }
        })
        .build()?;
    tokio::spawn(driver);
    pool.measure().await?;
    let pool = pool.with(TaskOptions::new().retries(1));
    let report = pool.for_each::<()>(1..=8, |_, _| {}).await;
    assert_eq!((report.done, report.failed), (3, 5));
    let measures = pool.measure().await?;
    let group = &measures.failures[0];
    assert_eq!((&*group.text, group.count), ("no block #", 8), "each of four was tried twice");
    assert_eq!(group.example, format!("no block {}", group.height.unwrap()));
    assert_eq!(group.peer.as_deref(), Some("in-process 1"));
    let other = &measures.failures[1];
    assert_eq!((&*other.text, other.count, other.height), ("the disk is gone", 1, Some(5)));
    assert_eq!((measures.failures.len(), measures.failures_other), (2, 0));
    assert_eq!(measures.attempts[..3], [4, 4, 0]);
    Ok(())
}

#[tokio::test]
async fn a_range_is_shown_in_parts_that_add_up_while_it_is_under_way() -> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(4, |height: i64| async move {
            match height {
                -980 | 10 => Err(Failure::permanent("never")),
                height if height > 500 => pending().await,
                _ => Ok(()),
            }
        })
        .build()?;
    tokio::spawn(driver);
    // The first ten were done before.
    let mut ledger = Ledger::growing_of(-1000..=999_i64, 100);
    ledger.complete_range(-1000..=-991)?;
    let range = pool.process_signed::<()>(ledger).each(|_, _| {});
    let range = tokio::spawn(range);
    let is_stuck = |measures: &Measures| {
        measures.ranges.first().is_some_and(|range| range.total.done == 1501 - 2)
    };
    let measures = measured(&pool, is_stuck).await;
    let figures = &measures.ranges[0];
    check_sums(figures);
    assert_eq!((figures.first, figures.last, figures.total.heights), (-1000, 999, 2000));
    assert_eq!((figures.total.failed, figures.low_water), (2, Some(-981)));
    let tasks = &measures.stats.tasks;
    assert_eq!(figures.total.in_flight, u64::from(tasks.in_flight + tasks.waiting));
    assert_eq!(figures.segments.len(), 128);
    // What is far ahead is open.
    assert_eq!(figures.segments[127].done + figures.segments[127].in_flight, 0);
    assert_eq!(figures.segments[0].done, figures.segments[0].heights);
    range.abort();
    measured(&pool, |measures| measures.ranges.is_empty()).await;
    Ok(())
}

#[tokio::test]
async fn what_a_range_leaves_out_as_it_stops_is_open_and_not_done() -> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(4, |height: u64| async move {
            match height {
                50 => pending().await,
                52 => Err(Failure::permanent("never")),
                _ => Ok(()),
            }
        })
        .build()?;
    tokio::spawn(driver);
    let range = pool.process::<()>(1..=100_000).stop_at_failure().each(|_, _| {});
    let range = tokio::spawn(range);
    let has_failed = |measures: &Measures| {
        measures
            .ranges
            .first()
            .is_some_and(|range| range.total.failed == 1 && range.total.in_flight == 1)
    };
    let measures = measured(&pool, has_failed).await;
    let figures = &measures.ranges[0];
    check_sums(figures);
    assert_eq!(figures.low_water, Some(49));
    // Those above it that were under way had their answer, or were given up.
    assert!((50..60).contains(&figures.total.done), "{figures:?}");
    range.abort();
    Ok(())
}

#[tokio::test]
async fn a_range_of_every_height_that_there_is_has_parts_too() -> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(2, |_: u64| async { pending::<Result<(), String>>().await })
        .build()?;
    tokio::spawn(driver);
    let range = tokio::spawn(pool.process::<()>(0..=u64::MAX).each(|_, _| {}));
    let measures = measured(&pool, |measures| measures.stats.tasks.in_flight == 2).await;
    let figures = &measures.ranges[0];
    assert_eq!((figures.first, figures.last), (0, i128::from(u64::MAX)));
    assert_eq!((figures.total.heights, figures.total.done), (u64::MAX, 0));
    assert_eq!(figures.low_water, None);
    range.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_outlives_its_time_is_a_failure_of_its_task_and_has_no_round_trip()
-> Outcome {
    let (pool, driver) = Pool::builder(Tokio::new())
        .in_process(2, |_: u64| async { pending::<Result<(), String>>().await })
        .configure(|config| {
            config.attempt_timeout = Duration::from_secs(1);
            config.attempts_max = 2;
        })
        .build()?;
    tokio::spawn(driver);
    pool.measure().await?;
    pool.call::<(), _>(&1_u64).await.unwrap_err();
    let measures = pool.measure().await?;
    assert_eq!(measures.round_trip.count(), 0);
    assert_eq!(measures.attempts[..3], [0, 1, 0]);
    let group = &measures.failures[0];
    assert_eq!((group.count, &group.peer), (1, &None));
    assert!(group.text.starts_with("sent # times"), "{}", group.text);
    Ok(())
}

#[test]
fn a_worker_says_how_long_its_handlers_took_so_that_the_way_there_is_no_part_of_it() {
    use chargehand::Worker;
    use chargehand::testing::World;
    let (world, millis) = (World::new(1), Duration::from_millis);
    world.latency(millis(40));
    let timer = world.timer();
    world.host("far", move || {
        let clock = timer.clone();
        Worker::new(timer.clone(), move |span: u64| {
            let sleep = chargehand::core::io::Timer::sleep_until(
                &clock,
                chargehand::core::io::Timer::now(&clock)
                    .saturating_add(Duration::from_millis(span)),
            );
            async move {
                sleep.await;
                Ok::<_, String>(())
            }
        })
        .concurrency(2)
    });
    let pool = world.pool(|builder| builder.in_flight(6));
    world.run(pool.measure()).unwrap();
    let report = world.run(pool.map::<(), _>(vec![5_u64; 40]).each(|_, _| {}));
    assert!(report.is_complete());
    let measures = world.run(pool.measure()).unwrap();
    let near = |found: Option<Duration>, wanted: f64| {
        let found = found.unwrap().as_secs_f64() * 1000.0;
        assert!((found / wanted - 1.0).abs() < 0.25, "{found} ms instead of {wanted}");
    };
    near(measures.service.quantile(0.5), 5.0);
    near(measures.service.quantile(0.99), 5.0);
    assert!(measures.round_trip.quantile(0.5).unwrap() >= millis(80), "there and back");
    let worker = &measures.workers[0];
    assert_eq!((worker.count, worker.service.count()), (40, 40));
    near(worker.service.quantile(0.9), 5.0);
    assert!(worker.p50 >= millis(80));
}
