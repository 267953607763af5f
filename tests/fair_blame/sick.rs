//! Workers that only fail draw a small share, and keep nothing that waits while they rest.

use std::time::Duration;

use chargehand::testing::{Act, Script, World};
use chargehand::{TaskError, TaskOptions};

use crate::pair::{Socket, any_port};
use crate::raw::{Raw, done, script};
use crate::rig::{Rig, Tally, hand, setup, steady};
use crate::{counts, millis, secs};

#[test]
fn a_fast_failer_draws_a_small_share_of_a_range() {
    for concurrency in [1, 8, 64] {
        let world = World::new(13);
        let script = Script::new().concurrency(concurrency).always(Act::Fail("no".to_owned()));
        let failer = world.worker(script);
        for _ in 0..3 {
            world.worker(Script::new().takes(millis(50)).concurrency(4));
        }
        let pool = world.pool(|builder| {
            builder.configure(|config| {
                config.retries_max = 1;
                config.retry_delay = Duration::ZERO;
            })
        });
        let report = world.run(pool.for_each::<u64>(1..=6000, |_, _| ()));
        assert_eq!((report.done, report.failed), (6000, 0), "concurrency {concurrency}");
        let share = failer.asked() * 100 / 6000;
        assert!(share <= 5, "concurrency {concurrency}: it drew {share} %");
    }
}

#[test]
fn what_a_resting_worker_has_not_begun_is_taken_back() {
    let world = World::new(13);
    // It earns a long look-ahead, and then falls ill.
    let falls_ill = world.worker(
        Script::new()
            .takes(millis(5))
            .when(|request| request.at > secs(2), Act::Fail("ill".to_owned())),
    );
    world.worker(Script::new().takes(millis(5)));
    let pool = world.pool(|builder| {
        builder.in_flight(64).configure(|config| {
            config.retries_max = 1;
            config.retry_delay = Duration::ZERO;
            config.backoff = config.backoff.base(secs(60)).cap(secs(60));
        })
    });
    let report = world.run(pool.for_each::<u64>(1..=3000, |_, _| ()));
    assert_eq!((report.done, report.failed), (3000, 0));
    let counts = counts(&world, &pool);
    assert!(counts.returned >= 40, "{counts:?}");
    // Of what waited there when it fell ill and came until it was suspended, no more than that failed.
    let trace = world.trace();
    let failed = trace.lines().iter().filter(|(_, line)| line.contains("fails task")).count();
    assert!((16..=17).contains(&failed), "{failed} failed; {} asked", falls_ill.asked());
}

#[test]
fn a_range_tries_what_failed_once_more_elsewhere_unless_told_otherwise() {
    for retries in [None, Some(0)] {
        let world = World::new(13);
        let bad = world.worker(Script::new().takes(millis(3)).always(Act::Fail("no".to_owned())));
        let good = world.worker(Script::new().takes(millis(3)));
        let pool = world.pool(|builder| builder.configure(|config| config.failures_max = u16::MAX));
        let mut options = TaskOptions::new();
        options.retries = retries;
        let report = world.run(pool.with(options).process::<u64>(1..=200).each(|_, _| ()));
        if retries.is_none() {
            assert_eq!((report.done, report.failed, good.asked()), (200, 0, 200));
        } else {
            assert_eq!(report.failed, bad.asked(), "each of them was tried once");
            assert!(report.failed > 10);
        }
    }
}

#[test]
fn a_worker_whose_answers_do_not_decode_is_suspended_and_costs_no_height() {
    // Longer than any number is.
    for bytes in [vec![], vec![0xff; 11], vec![1, 2, 3]] {
        for concurrency in [1, 8] {
            let world = World::new(13);
            let script = Script::new().concurrency(concurrency).always(Act::Bytes(bytes.clone()));
            let broken = world.worker(script.name("broken"));
            for _ in 0..3 {
                world.worker(Script::new().takes(millis(50)).concurrency(4));
            }
            let pool = world.pool(|builder| builder);
            let report = world.run(pool.for_each::<u64>(1..=6000, |height, outcome| {
                assert_eq!(outcome, Ok(height));
            }));
            assert_eq!((report.done, report.failed), (6000, 0), "{bytes:?}");
            let share = broken.asked() * 100 / 6000;
            assert!(share <= 5, "{bytes:?}, concurrency {concurrency}: it drew {share} %");
            assert!(world.trace().to_string().contains("broken: only fails, suspended"));
        }
    }
}

#[test]
fn where_all_answers_are_of_another_type_the_error_says_so_and_nobody_rests() {
    let world = World::new(13);
    for _ in 0..3 {
        world.worker(Script::new().takes(millis(1)));
    }
    let pool = world.pool(|builder| builder);
    let mut seen = 0;
    world.run(pool.for_each::<(u64, u64)>(1..=300, |height, outcome| {
        let Err(TaskError::Answer(text)) = outcome else { panic!("{height}: {outcome:?}") };
        assert!(text.contains("disagree"), "{text}");
        seen += 1;
    }));
    assert_eq!(seen, 300);
    let trace = world.trace().to_string();
    assert!(!trace.contains("only fails"), "{trace}");
    // They do what they can do, all of them.
    assert_eq!(world.run(pool.for_each::<u64>(1..=300, |_, _| ())).done, 300);
}

pub(crate) async fn answers_that_do_not_decode_cost_no_height_here<P: Socket>() {
    let (bad_door, bad) = any_port();
    let (good_door, good) = any_port();
    let broken = script(move || {
        let mut count = 0_u64;
        // It is suspended, and never sent away for that.
        let mut raw = Raw::server::<P>(&bad_door);
        raw.greet_as_worker("broken", 8);
        while let Some((task, attempt, _)) = raw.request() {
            count += 1;
            raw.say_with(&done(task, attempt), &[0xff; 20]);
        }
        count
    });
    let _good = P::job(P::serve(steady::<P>("good", millis(1)).concurrency(8), good_door));
    let setup = setup::<P>().configure(|config| {
        config.backoff = config.backoff.base(secs(1)).cap(secs(60));
    });
    let rig = Rig::start::<P>(P::connect(P::connect(setup, &bad), &good));
    rig.up::<P>(2).await;
    Tally::start(&rig.pool, 1..=4000).all_done().await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.failed, stats.exhausted), (4000, 0, 0));
    let count = broken.end().await;
    assert!((1..=200).contains(&count), "it drew {count} of 4000");
}

pub(crate) async fn a_fast_failer_draws_a_small_share_here<P: Socket>() {
    let (bad_door, bad) = any_port();
    let (good_door, good) = any_port();
    let failer = hand::<P>("bad", |_| Box::pin(async { Err("no".to_owned()) })).concurrency(8);
    let _bad = P::job(P::serve(failer, bad_door));
    let _good = P::job(P::serve(steady::<P>("good", millis(1)).concurrency(8), good_door));
    let setup = setup::<P>().configure(|config| {
        config.retries_max = 1;
        config.retry_delay = Duration::ZERO;
        config.backoff = config.backoff.base(secs(1)).cap(secs(60));
    });
    let rig = Rig::start::<P>(P::connect(P::connect(setup, &bad), &good));
    rig.up::<P>(2).await;
    Tally::start(&rig.pool, 1..=4000).all_done().await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.failed), (4000, 0));
    let share = (stats.sent - 4000) * 100 / 4000;
    assert!(share <= 5, "it drew {share} %");
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    {
        sick:
            a_fast_failer_draws_a_small_share_here
            answers_that_do_not_decode_cost_no_height_here;
    }
}
