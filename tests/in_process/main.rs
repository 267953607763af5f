//! Workers inside the pool's own future: the rules of any worker, to the millisecond.

mod world;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use chargehand::core::Instant;
use chargehand::core::io::Timer;
use chargehand::memory::pair;
use chargehand::testing::ManualTimer;
use chargehand::{
    DisconnectReason, Driver, Local, Pool, PoolEvent, TaskError, Worker, WorkerError, WorkerOptions,
};
use serde::{Deserialize, Serialize, Serializer, ser};
use smol::future::yield_now;
use world::{Answer, Running, Setup, World, assert_settled, echo, hang, poll, secs};

#[test]
fn a_handler_beside_the_pool_does_calls_and_ranges() {
    let mut world =
        World::new(|builder| builder.in_process(3, |height: u64| echo(2 * height)), |_| {});
    let events = world.happened();
    let [PoolEvent::Connected { peer, window: 3, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(&**peer, "in-process 1");
    for height in 0..20 {
        let answer = world.get(|pool| async move { pool.call::<u64, u64>(&height).await });
        assert_eq!(answer, Ok(2 * height));
    }
    for (height, result) in world.range::<u64>(1, 5000) {
        assert_eq!(result, Ok(2 * height));
    }
    assert_eq!(world.done_by("in-process 1"), 5020);
    assert_eq!(world.stop().done, 5020);
}

#[test]
#[cfg(feature = "choice")]
fn thousands_of_answers_without_any_time_leave_a_pool_that_judges_as_it_was() {
    let judge = |builder: Setup| builder.choice(chargehand::core::Choice::FirstAnswer);
    let world = World::new(|builder| judge(builder).in_process(1, echo), |_| {});
    assert_eq!(world.range::<u64>(1, 2500).len(), 2500);
    assert_eq!(world.stop().done, 2500);
}

/// An answer that cannot leave the process.
#[derive(Debug, PartialEq, Deserialize)]
struct Sealed(u64);

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("it stays here"))
    }
}

#[test]
fn nothing_is_encoded_where_the_types_are_the_same() {
    let seal = |height: u64| async move { Ok::<_, String>(Sealed(height)) };
    let world = World::new(|builder| builder.in_process(2, seal), |_| {});
    let results = world.range::<Sealed>(1, 100);
    assert!(results.into_iter().all(|(height, result)| result == Ok(Sealed(height))));
    assert_eq!(world.get(|pool| async move { pool.call(&5_u64).await }), Ok(Sealed(5)));
    let task = world.get(|pool| async move { pool.submit::<Sealed, u64>(&6).await });
    assert_eq!(world.get(|_| task.expect("there is room")), Ok(Sealed(6)));

    let other = world.get(|pool| async move { pool.call::<u64, u64>(&5).await });
    assert!(matches!(other, Err(TaskError::Answer(_))), "{other:?}");
    let stats = world.stop();
    assert_eq!((stats.done, stats.failed), (102, 1));
}

#[test]
fn another_type_is_made_of_an_answer_where_the_encoding_allows() {
    let world = World::new(
        |builder| builder.in_process(2, |name: String| async move { Ok::<_, String>(name) }),
        |_| {},
    );
    let ask = |pool: Pool<Local>| async move { pool.call::<Vec<u8>, str>("stone").await };
    assert_eq!(world.get(ask), Ok(b"stone".to_vec()));
    let raw = |pool: Pool<Local>| async move { pool.call_raw(b"\x02ab".to_vec()).await };
    assert_eq!(world.get(raw), Ok(b"\x02ab".to_vec()));
    let wrong = |pool: Pool<Local>| async move { pool.call::<(u64, u64), str>("xyz").await };
    assert!(matches!(world.get(wrong), Err(TaskError::Answer(_))));
    let stats = world.stop();
    assert_eq!((stats.done, stats.failed), (2, 1));
}

#[test]
fn a_height_that_the_handler_cannot_take_fails() {
    let world = World::new(
        |builder| builder.in_process(2, |height: u32| async move { Ok::<_, String>(height) }),
        |_| {},
    );
    let last = u64::from(u32::MAX);
    let results = world.range::<u32>(last - 3, last + 3);
    for (height, result) in results {
        match u32::try_from(height) {
            Ok(height) => assert_eq!(result, Ok(height)),
            Err(_) => assert!(matches!(result, Err(TaskError::Failed(_))), "{result:?}"),
        }
    }
    assert_eq!(world.stop().failed, 3);
}

#[test]
fn failures_and_panics_fail_their_task_and_nothing_else() {
    let handler = |height: u64| {
        assert!(height != 1, "at once");
        async move {
            yield_now().await;
            match height {
                2 => panic!("later, height {height}"),
                3 => Err("no such block"),
                _ => Ok(height),
            }
        }
    };
    let mut world = World::new(|builder| builder.in_process(1, handler), |_| {});
    world.happened();
    let mut results = world.range::<u64>(1, 9);
    for (height, expected) in [
        (1, "the handler panicked: at once"),
        (2, "the handler panicked: later, height 2"),
        (3, "no such block"),
    ] {
        let result = results.remove(&height).expect("each has an outcome");
        assert_eq!(result, Err(TaskError::Failed(expected.into())));
    }
    assert!(results.into_iter().all(|(height, result)| result == Ok(height)));
    assert_eq!(world.happened(), [], "the worker lives");
    let stats = world.stop();
    assert_eq!((stats.done, stats.failed, stats.sent), (6, 3, 9));
}

#[test]
fn a_failed_task_waits_its_delay_before_it_is_tried_again() {
    let tried = Rc::new(RefCell::new(Vec::new()));
    let times = Rc::clone(&tried);
    let clock = Rc::new(RefCell::new(None::<ManualTimer>));
    let timer = Rc::clone(&clock);
    let handler = move |_: u64| {
        times.borrow_mut().push(timer.borrow().as_ref().expect("it is set").now());
        async { Err::<u64, _>("no") }
    };
    let world = World::new(
        |builder| builder.in_process(1, handler),
        |config| {
            config.retries_max = 2;
            config.retry_delay = secs(30);
        },
    );
    *clock.borrow_mut() = Some(world.timer.clone());
    let mut task = world.submit(1);
    world.advance(secs(61));
    assert_eq!(poll(&mut task), Poll::Ready(Err(TaskError::Failed("no".into()))));
    let expected = [0, 30, 60].map(|after| Instant::EPOCH.saturating_add(secs(after)));
    assert_eq!(*tried.borrow(), expected);
    assert_eq!(world.stop().failed, 1);
}

#[test]
fn an_attempt_that_outlives_its_deadline_is_dropped_and_sent_again_until_its_limit() {
    let running = Running::default();
    let world = World::new(
        |builder| builder.in_process(1, hang(&running)),
        |config| {
            config.attempt_timeout = secs(5);
            config.attempts_max = 3;
            config.strikes_max = 100;
        },
    );
    let mut task = world.submit(1);
    for attempt in 1..=3 {
        assert_eq!((running.now(), world.stats().tasks.sent), (1, attempt));
        world.advance(secs(5).saturating_sub(Duration::from_millis(1)));
        assert!(poll(&mut task).is_pending());
        assert_eq!((running.now(), world.stats().tasks.sent), (1, attempt));
        world.advance(Duration::from_millis(1));
    }
    assert_eq!(poll(&mut task), Poll::Ready(Err(TaskError::Exhausted { attempts: 3 })));
    assert_eq!((running.now(), running.most()), (0, 1), "one at a time");
    let stats = world.stop();
    assert_eq!((stats.timed_out, stats.exhausted), (3, 1));
}

#[test]
fn what_hangs_here_goes_elsewhere() {
    let running = Running::default();
    let world = World::new(
        |builder| builder.in_process(1, hang(&running)).in_process(2, echo),
        |config| {
            config.attempt_timeout = secs(5);
            config.attempts_max = 50;
        },
    );
    let mut tasks: Vec<_> = (0..20).map(|height| world.submit(height)).collect();
    assert_eq!(running.now(), 1);
    world.advance(secs(200));
    for (height, task) in (0..).zip(&mut tasks) {
        assert_eq!(poll(task), Poll::Ready(Ok(height)));
    }
    assert_eq!((world.done_by("in-process 1"), world.done_by("in-process 2")), (0, 20));
    assert!(world.stop().timed_out >= 1);
}

#[test]
fn after_its_strikes_all_that_it_runs_is_dropped_and_it_is_back_after_a_rest() {
    let running = Running::default();
    let mut world = World::new(
        |builder| builder.in_process(4, hang(&running)),
        |config| {
            config.attempt_timeout = secs(5);
            config.strikes_max = 2;
            config.attempts_max = 50;
        },
    );
    let _tasks: Vec<_> = (0..6).map(|height| world.submit(height)).collect();
    world.happened();
    assert_eq!(running.now(), 4);
    world.timer.advance(secs(5));
    world.settle();
    let events = world.happened();
    let lost = events.iter().find_map(|event| match event {
        PoolEvent::Lost { peer, reason, .. } => Some((&**peer, reason.clone())),
        _ => None,
    });
    assert_eq!(lost, Some(("in-process 1", DisconnectReason::Strikes(2))), "{events:?}");
    assert_eq!((running.now(), world.stats().tasks.workers_up), (0, 0));
    // Not yet five seconds later, so that nothing has timed out again.
    world.advance(secs(4));
    assert_eq!((running.now(), world.stats().tasks.workers_up), (4, 1), "within its backoff");
    assert_eq!(running.most(), 4);
}

#[test]
fn a_cancelled_task_has_its_future_dropped_and_makes_room() {
    let running = Running::default();
    let (count, echoed) = (running.clone(), Rc::new(Cell::new(0)));
    let echoes = Rc::clone(&echoed);
    let handler = move |height: u64| {
        let (held, echoed) = (count.hold(), Rc::clone(&echoed));
        async move {
            let _held = held;
            if height < 10 {
                pending::<()>().await;
            }
            echoed.set(echoed.get() + 1);
            Ok::<_, String>(height)
        }
    };
    let world = World::new(|builder| builder.in_process(2, handler), |_| {});
    let (first, mut second) = (world.submit(0), world.submit(1));
    let (mut waiting, forgotten) = (world.submit(10), world.submit(11));
    assert_eq!((running.now(), echoes.get()), (2, 0));
    drop(forgotten);
    world.settle();
    assert_eq!((running.now(), echoes.get()), (2, 0));
    drop(first);
    world.settle();
    assert_eq!(poll(&mut waiting), Poll::Ready(Ok(10)));
    assert_eq!((running.now(), echoes.get()), (1, 1), "what was cancelled before never ran");
    second.cancel();
    world.settle();
    assert_eq!(poll(&mut second), Poll::Ready(Err(TaskError::Cancelled)));
    assert_eq!(running.now(), 0);
    let stats = world.stop();
    assert_eq!((stats.done, stats.cancelled), (1, 3));
}

#[test]
fn a_range_that_nobody_wants_any_more_stops_what_runs() {
    let running = Running::default();
    let world = World::new(|builder| builder.in_process(5, hang(&running)), |_| {});
    let mut outcomes = world.pool.process::<u64>(1..=100);
    assert!(poll(&mut outcomes.next()).is_pending());
    world.settle();
    assert_eq!(running.now(), 5);
    drop(outcomes);
    world.settle();
    assert_eq!(running.now(), 0);
    let stats = world.stop();
    assert_eq!(stats.cancelled, stats.submitted);
}

#[test]
fn dropping_the_driver_drops_what_runs_and_answers_everybody() {
    let running = Running::default();
    let mut world = World::new(|builder| builder.in_process(2, hang(&running)), |_| {});
    let mut tasks = [world.submit(1), world.submit(2), world.submit(3)];
    assert_eq!(running.now(), 2);
    drop(world.driver.take());
    world.settle();
    assert_eq!(running.now(), 0);
    for task in &mut tasks {
        assert_eq!(poll(task), Poll::Ready(Err(TaskError::Closed)));
    }
}

#[test]
fn a_stop_waits_for_what_runs() {
    let (gate, opened) = async_channel::unbounded::<()>();
    let handler = move |height: u64| {
        let opened = opened.clone();
        async move { opened.recv().await.map(|()| height) }
    };
    let world = World::new(|builder| builder.in_process(2, handler), |_| {});
    let mut tasks = [world.submit(1), world.submit(2), world.submit(3)];
    let pool = world.pool.clone();
    let mut stop = Box::pin(async move { pool.stop_within(secs(10)).await });
    assert!(poll(&mut stop).is_pending());
    world.advance(secs(9));
    assert!(poll(&mut stop).is_pending());
    for _ in 0..3 {
        gate.try_send(()).expect("handlers wait");
    }
    world.settle();
    let Poll::Ready(Ok(stats)) = poll(&mut stop) else { panic!("the pool does not end") };
    assert_settled(&stats.tasks);
    assert_eq!(stats.tasks.done, 3);
    for (height, task) in (1..).zip(&mut tasks) {
        assert_eq!(poll(task), Poll::Ready(Ok(height)));
    }
}

#[test]
fn at_the_deadline_of_a_stop_what_runs_is_dropped_and_ends_aborted() {
    let running = Running::default();
    let world = World::new(|builder| builder.in_process(2, hang(&running)), |_| {});
    let mut tasks = [world.submit(1), world.submit(2), world.submit(3)];
    let pool = world.pool.clone();
    let mut stop = Box::pin(async move { pool.stop_within(secs(7)).await });
    assert!(poll(&mut stop).is_pending());
    world.settle();
    world.advance(secs(7).saturating_sub(Duration::from_millis(1)));
    assert_eq!(running.now(), 2);
    world.advance(Duration::from_millis(1));
    assert_eq!(running.now(), 0);
    for task in &mut tasks {
        assert_eq!(poll(task), Poll::Ready(Err(TaskError::Aborted)));
    }
    let Poll::Ready(Ok(stats)) = poll(&mut stop) else { panic!("the pool does not end") };
    assert_settled(&stats.tasks);
    assert_eq!(stats.tasks.aborted, 3);
}

#[test]
fn local_and_remote_workers_share_a_pool() {
    let (connector, listener) = pair(8);
    let (running, yielding) = (Running::default(), Running::default());
    let handler = |running: &Running| {
        let running = running.clone();
        move |height: u64| {
            let held = running.hold();
            async move {
                let _held = held;
                for _ in 0..height % 5 {
                    yield_now().await;
                }
                if height.is_multiple_of(7) { Err("seven") } else { Ok(3 * height) }
            }
        }
    };
    let world = World::new(
        |builder| {
            builder
                .in_process(3, handler(&running))
                .connect(connector)
                .in_process(1, |height: u64| echo(3 * height + u64::from(height.is_multiple_of(7))))
        },
        |_| {},
    );
    let worker = Worker::new(world.timer.clone(), handler(&yielding)).concurrency(4);
    world.executor.spawn(async move { worker.serve(listener).await }).detach();
    world.settle();
    let results = world.range::<u64>(1, 3000);
    assert_eq!(results.len(), 3000);
    for (height, result) in results {
        match result {
            Ok(answer) => assert_eq!(answer, 3 * height + u64::from(height.is_multiple_of(7))),
            Err(error) => {
                assert_eq!(error, TaskError::Failed("seven".into()));
                assert!(height.is_multiple_of(7));
            }
        }
    }
    let workers = world.stats().workers;
    let done: Vec<u64> = workers.iter().map(|worker| worker.stats.done).collect();
    assert!(done.iter().all(|done| *done > 100), "everybody took part: {done:?}");
    assert_eq!((running.most(), yielding.most()), (3, 4), "all of each window, and no more");
    let stats = world.stop();
    assert_eq!(stats.done + stats.failed, 3000);
}

#[test]
fn workers_come_and_go_while_the_pool_runs() {
    let mut world = World::new(|builder| builder.workers_max(2), |_| {});
    let none = world
        .get(|pool| async move { pool.add_in_process(echo, WorkerOptions::new().window(0)).await });
    assert_eq!(none, Err(WorkerError::NoWindow));
    let mut task = world.submit(1);
    assert!(poll(&mut task).is_pending());
    let running = Running::default();
    let handler = hang(&running);
    let first =
        world
            .get(|pool| async move {
                pool.add_in_process(handler, WorkerOptions::new().window(1)).await
            })
            .expect("room");
    world.settle();
    assert_eq!(running.now(), 1);
    world
        .get(|pool| async move { pool.add_in_process(echo, WorkerOptions::new().window(9)).await })
        .expect("room");
    let full = world
        .get(|pool| async move { pool.add_in_process(echo, WorkerOptions::new().window(1)).await });
    assert_eq!(full, Err(WorkerError::Full));

    let pool = world.pool.clone();
    let mut removing = Box::pin(async move { pool.remove(first).await });
    assert!(poll(&mut removing).is_pending());
    world.settle();
    assert!(poll(&mut removing).is_pending(), "it finishes what it holds");
    world.range::<u64>(1, 50);
    assert_eq!((world.done_by("in-process 1"), world.done_by("in-process 2")), (0, 50));
    drop(task);
    world.settle();
    assert_eq!(poll(&mut removing), Poll::Ready(Ok(())));
    assert_eq!(running.now(), 0);
    let is_gone = |event: &PoolEvent| matches!(event, PoolEvent::Gone { peer, .. } if &**peer == "in-process 1");
    assert!(world.happened().iter().any(is_gone));
    assert_eq!(world.stats().workers.len(), 1);
    world.stop();
}

#[test]
fn a_window_of_0_is_refused_and_each_worker_counts() {
    let refusal = |set: fn(Setup) -> Setup| {
        set(Pool::local_builder(ManualTimer::new())).build().map(drop).unwrap_err().to_string()
    };
    let text = refusal(|builder| builder.in_process(1, echo).in_process(0, echo));
    assert!(text.contains("window of 0") && text.contains("1 or more"), "{text}");
    let text = refusal(|builder| builder.workers_max(1).in_process(1, echo).in_process(1, echo));
    assert!(text.contains("workers_max is 1"), "{text}");
}

#[test]
fn a_worker_that_idles_for_a_day_stays_up() {
    let mut world = World::new(|builder| builder.in_process(1, echo), |_| {});
    world.happened();
    world.advance(secs(24 * 3600));
    assert_eq!(world.happened(), []);
    let mut task = world.submit(5);
    assert_eq!(poll(&mut task), Poll::Ready(Ok(5)));
    assert_eq!(world.stats().workers[0].stats.links, 1);
    world.stop();
}

#[test]
fn one_poll_of_the_driver_polls_a_bounded_number_of_handlers() {
    let polled = Rc::new(Cell::new(0));
    let count = Rc::clone(&polled);
    let handler = move |height: u64| {
        count.set(count.get() + 1);
        std::future::ready(Ok::<_, String>(height))
    };
    let (pool, driver) = Pool::local_builder(ManualTimer::new())
        .in_process(10_000, handler)
        .ahead_max(20_000)
        .build()
        .expect("the limits are in range");
    let mut driver: Pin<Box<Driver<ManualTimer, Local>>> = Box::pin(driver);
    let mut outcomes = pool.process::<u64>(1..=10_000);
    assert!(poll(&mut outcomes.next()).is_pending());
    let mut polls = 0;
    while polled.get() < 10_000 {
        let before = polled.get();
        assert!(poll(&mut driver).is_pending());
        assert!(polled.get() - before <= 256, "{}", polled.get() - before);
        polls += 1;
        assert!(polls < 100, "they are not forgotten: {}", polled.get());
    }
}

#[test]
fn a_handler_that_is_always_ready_holds_up_nobody() {
    let spin = |_: u64| async {
        loop {
            yield_now().await;
        }
        #[expect(unreachable_code, reason = "it makes the type")]
        Ok::<u64, String>(0)
    };
    let world = World::new(|builder| builder, |config| config.attempt_timeout = secs(5));
    world
        .get(|pool| async move { pool.add_in_process(spin, WorkerOptions::new().window(1)).await })
        .expect("room");
    let ticks = |count| {
        for _ in 0..count {
            world.executor.try_tick();
        }
    };
    let mut spinning = Box::pin(world.pool.try_submit::<u64, u64>(1).expect("there is room"));
    ticks(10);
    let pool = world.pool.clone();
    let adding = world
        .executor
        .spawn(async move { pool.add_in_process(echo, WorkerOptions::new().window(1)).await });
    ticks(10);
    assert!(adding.is_finished());
    let mut task = Box::pin(world.pool.try_submit::<u64, u64>(2).expect("there is room"));
    ticks(10);
    assert_eq!(poll(&mut task), Poll::Ready(Ok(2)));
    spinning.cancel();
    world.settle();
    assert_eq!(poll(&mut spinning), Poll::Ready(Err(TaskError::Cancelled)));
    world.stop();
}

#[test]
fn links_are_served_before_handlers_although_those_were_woken_first() {
    let (connector, listener) = pair(8);
    let timer = ManualTimer::new();
    let builder = Pool::local_builder(timer.clone()).connect(connector);
    let (pool, driver) = builder.build().expect("the limits are in range");
    let mut driver = Box::pin(driver);
    let (gate, opened) = async_channel::unbounded::<()>();
    let remote = Worker::new(timer, move |height: u64| {
        let opened = opened.clone();
        async move { opened.recv().await.map(|()| height) }
    });
    let mut remote = Box::pin(remote.serve(listener));
    let mut settle = |driver: &mut Pin<Box<Driver<ManualTimer, Local>>>| {
        for _ in 0..20 {
            assert!(poll(driver).is_pending());
            assert!(poll(&mut remote).is_pending());
        }
    };
    let answered = Box::pin(pool.try_submit::<u64, u64>(7).expect("there is room"));
    settle(&mut driver);

    let seen = Rc::new(RefCell::new((answered, None, None)));
    let see = Rc::clone(&seen);
    let handler = move |_: u64| {
        let see = Rc::clone(&see);
        poll_fn(move |cx| {
            let (answered, done, waker) = &mut *see.borrow_mut();
            *done = Some(poll(answered));
            *waker = Some(cx.waker().clone());
            Poll::<Result<u64, String>>::Pending
        })
    };
    let mut adding = Box::pin(pool.add_in_process(handler, WorkerOptions::new().window(1)));
    assert!(poll(&mut adding).is_pending());
    let _held = pool.try_submit::<u64, u64>(8).expect("there is room");
    settle(&mut driver);
    assert_eq!(seen.borrow().1, Some(Poll::Pending));

    seen.borrow_mut().2.take().expect("it was polled").wake();
    gate.try_send(()).expect("the handler waits");
    assert!(poll(&mut remote).is_pending());
    assert!(poll(&mut driver).is_pending());
    assert_eq!(seen.borrow().1, Some(Poll::Ready(Ok(7))));
}

#[test]
fn a_handler_may_use_its_own_pool() {
    let slot = Rc::new(RefCell::new(None::<Pool<Local>>));
    let own = Rc::clone(&slot);
    let handler = move |height: u64| {
        let pool = own.borrow().clone().expect("it is set");
        let sum: Answer = Box::pin(async move {
            if height == 0 {
                return Ok(0);
            }
            let below: u64 = pool.call(&(height - 1)).await.map_err(|error| error.to_string())?;
            Ok(below + height)
        });
        sum
    };
    let world = World::new(|builder| builder.in_process(10, handler), |_| {});
    *slot.borrow_mut() = Some(world.pool.clone());
    let mut task = world.submit(9);
    assert_eq!(poll(&mut task), Poll::Ready(Ok(45)));
    assert_eq!(world.stop().done, 10);
}
