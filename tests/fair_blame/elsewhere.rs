//! Where a task goes that came back: to another worker first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use chargehand::testing::{Act, Script, World};
use chargehand::{PoolEvent, TaskError, TaskOptions};

use crate::pair::{Socket, any_port};
use crate::rig::{Rig, Tally, setup, steady, stuck};
use crate::{counts, millis, secs};

#[test]
fn one_hung_worker_beside_good_ones_exhausts_nothing() {
    for window in [1, 64] {
        for seed in 0..8 {
            let world = World::new(seed);
            let tries = Rc::<RefCell<BTreeMap<u64, u32>>>::default();
            let log = Rc::clone(&tries);
            let hung = world.worker(Script::new().name("hung").when(
                move |request| {
                    *log.borrow_mut().entry(request.height().expect("a height")).or_default() += 1;
                    true
                },
                Act::Hang,
            ));
            for _ in 0..3 {
                world.worker(Script::new().takes(millis(5)..=millis(50)));
            }
            let pool = world.pool(|builder| {
                builder.in_flight(window).configure(|config| {
                    config.attempt_timeout = secs(2);
                    config.strikes_max = 100;
                })
            });
            let mut heights = pool.process::<u64>(1..=640);
            world.run(async {
                while let Some((height, outcome)) = heights.next().await {
                    assert_eq!(outcome, Ok(height), "window {window}, seed {seed}");
                }
            });
            assert!(hung.asked() > 1, "it had its share");
            let tries = tries.take();
            assert!(tries.values().all(|&count| count == 1), "sent to it again: {tries:?}");
        }
    }
}

#[test]
fn what_one_worker_fails_is_tried_by_another_first() {
    for seed in 0..8 {
        let world = World::new(seed);
        let bad = world.worker(Script::new().takes(millis(3)).always(Act::Fail("no".to_owned())));
        let good = world.worker(Script::new().takes(millis(3)));
        let pool = world.pool(|builder| {
            builder.configure(|config| {
                config.retry_delay = Duration::ZERO;
                config.failures_max = u16::MAX;
            })
        });
        let once_more = pool.with(TaskOptions::new().retries(1));
        let report = world.run(once_more.process::<u64>(1..=400).each(|_, _| ()));
        assert_eq!((report.done, report.failed), (400, 0), "seed {seed}");
        assert!(bad.asked() > 10);
        assert_eq!(good.asked(), 400);
        assert_eq!(counts(&world, &pool).sent, 400 + bad.asked());
    }
}

#[test]
fn where_one_worker_is_left_it_gets_its_own_again_at_once() {
    let world = World::new(3);
    world.worker(Script::new().takes(millis(3)).nth(1, Act::Fail("once".to_owned())));
    let pool = world.pool(|builder| {
        builder.configure(|config| {
            config.retries_max = 1;
            config.retry_delay = Duration::ZERO;
        })
    });
    assert_eq!(world.run(pool.call::<u64, u64>(&5)), Ok(5));
    assert_eq!(world.elapsed(), millis(6));
}

pub(crate) async fn one_hung_worker_beside_good_ones_exhausts_nothing_here<P: Socket>() {
    for window in [1, 64] {
        let doors = [any_port(), any_port(), any_port()];
        let mut rig = setup::<P>().in_flight(window).configure(|config| {
            config.attempt_timeout = millis(300);
            config.strikes_max = 3;
        });
        for (_, at) in &doors {
            rig = P::connect(rig, at);
        }
        let hands =
            [stuck::<P>("hung"), steady::<P>("good", millis(2)), steady::<P>("better", millis(2))];
        let jobs = doors.into_iter().zip(hands);
        let _jobs: Vec<_> = jobs.map(|((door, _), hand)| P::job(P::serve(hand, door))).collect();
        let rig = Rig::start::<P>(rig);
        let mut events = rig.pool.events();
        rig.up::<P>(3).await;
        Tally::start(&rig.pool, 1..=640).all_done().await;
        let stats = rig.stop().await;
        assert_eq!((stats.done, stats.exhausted), (640, 0));
        assert!(stats.timed_out > 0, "the hung one had some: {stats:?}");
        let mut most = 0;
        while let Some(event) = events.next().await {
            if let PoolEvent::Retried { attempt, .. } = event {
                most = most.max(attempt);
            }
        }
        assert!((2..=3).contains(&most), "a height was sent {most} times");
    }
}

#[test]
fn a_task_that_every_worker_hangs_at_still_ends() {
    let world = World::new(3);
    for _ in 0..3 {
        world.worker(Script::new().height(7, Act::Hang));
    }
    let pool = world.pool(|builder| {
        builder.configure(|config| {
            config.attempt_timeout = secs(1);
            config.attempts_max = 3;
        })
    });
    let exhausted = Err(TaskError::Exhausted { attempts: 3 });
    assert_eq!(world.run(pool.call::<u64, u64>(&7)), exhausted);
    assert_eq!(world.elapsed(), secs(3));
}

cases! {
    tcp_tokio = TcpTokio, ws_smol = WsSmol;
    { elsewhere: one_hung_worker_beside_good_ones_exhausts_nothing_here; }
}
