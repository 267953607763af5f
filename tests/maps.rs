//! Maps: requests of any type, from any iterator or stream, each with its outcome.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chargehand::testing::{Act, ManualTimer, Script, World};
use chargehand::{Pool, TaskError, Worker, WorkerOptions, from_stream};
use futures_util::future::{join, join3};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize, Serializer, ser};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Fetch {
    url: String,
    depth: u8,
}

fn fetches(count: usize) -> impl Iterator<Item = Fetch> {
    (0..count).map(|at| Fetch { url: format!("http://host/{at}"), depth: 3 })
}

/// A world with a pool of workers that answer how long an url is.
fn world_of_fetchers(workers: u16, window: u16) -> (World, Pool) {
    let world = World::new(5);
    let timer = world.timer();
    for at in 0..workers {
        let timer = timer.clone();
        let _host = world.host(&format!("fetcher {at}"), move || {
            let handler = |fetch: Fetch| async move {
                if fetch.url.contains("bad") { Err("no such page") } else { Ok(fetch.url.len()) }
            };
            Worker::new(timer.clone(), handler).concurrency(window)
        });
    }
    let pool = world.pool(|builder| builder);
    (world, pool)
}

#[test]
fn every_request_comes_back_with_its_own_outcome() {
    let (world, pool) = world_of_fetchers(3, 4);
    let mut seen = BTreeSet::new();
    let report = world.run(pool.map::<usize, _>(fetches(5000)).each(|fetch, length| {
        assert_eq!(length, Ok(fetch.url.len()));
        assert!(seen.insert(fetch));
    }));
    assert_eq!(seen.len(), 5000);
    assert_eq!((report.done, report.failed, report.taken), (5000, 0, 5000));
    assert!(report.is_complete() && report.missing() == 0);
}

#[test]
fn a_map_of_nothing_ends_at_once() {
    let (world, pool) = world_of_fetchers(1, 1);
    let report = world.run(pool.map::<usize, _>(Vec::<Fetch>::new()).each(|_, _| ()));
    assert!(report.is_complete());
    assert_eq!(report.taken, 0);
}

#[test]
fn in_order_requests_come_back_as_they_were_given() {
    let world = World::new(9);
    world.latency(Duration::from_millis(1)..=Duration::from_millis(90));
    for _ in 0..3 {
        let slow =
            Script::new().concurrency(4).takes(Duration::from_millis(1)..=Duration::from_secs(1));
        let _worker = world.worker(slow.answers(|number: u64| number * 2));
    }
    let pool = world.pool(|builder| builder);
    let mut next = 0;
    let report =
        world.run(pool.map::<u64, _>((0..500_u64).rev()).in_order(40).each(|number, double| {
            assert_eq!((number, double), (499 - next, Ok(2 * (499 - next))));
            next += 1;
        }));
    assert_eq!((next, report.done), (500, 500));
}

#[test]
fn a_map_stops_at_a_failure_and_names_the_request() {
    let (world, pool) = world_of_fetchers(2, 4);
    let requests = fetches(10_000).enumerate().map(|(at, mut fetch)| {
        if at == 700 {
            fetch.url = "bad".to_owned();
        }
        fetch
    });
    let mut latest = None;
    let report = world.run(
        pool.map::<usize, _>(requests)
            .in_order(50)
            .stop_at_failure()
            .each(|fetch, outcome| latest = Some((fetch, outcome))),
    );
    let (fetch, outcome) = latest.expect("it is returned");
    assert_eq!(fetch.url, "bad");
    assert!(matches!(outcome, Err(TaskError::Failed(_))), "{outcome:?}");
    assert_eq!((report.done, report.failed), (700, 1));
    assert_eq!(report.first_failure.as_ref().map(|(at, _)| *at), Some(700));
    assert!(!report.is_complete());
    assert!(report.taken <= 760, "{}", report.taken);
}

#[test]
fn a_request_that_fails_is_tried_again_elsewhere() {
    let world = World::new(3);
    let _bad = world.worker(Script::new().height(7, Act::Fail("not here".to_owned())));
    let _good = world.worker(Script::new());
    let pool = world.pool(|builder| builder);
    let report = world.run(pool.map::<u64, _>(1..=50_u64).each(|_, _| ()));
    assert_eq!((report.done, report.failed), (50, 0));
}

#[test]
fn a_map_takes_no_more_out_of_its_source_than_it_may_be_ahead() {
    for ahead in [1, 3, 20] {
        let (world, pool) = world_of_fetchers(2, 2);
        let pulled = Rc::new(Cell::new(0));
        let count = Rc::clone(&pulled);
        let requests = fetches(200).inspect(move |_| count.set(count.get() + 1));
        let mut pages = pool.map::<usize, _>(requests).ahead(ahead);
        let mut taken = 0;
        world.run(async {
            while let Some((_, length)) = pages.next().await {
                length.expect("it is done");
                taken += 1;
                assert!(pulled.get() <= taken + ahead, "{} pulled, {taken} taken", pulled.get());
            }
        });
        assert_eq!(taken, 200);
    }
}

#[test]
fn a_range_goes_no_further_ahead_than_it_is_told() {
    let world = World::new(4);
    let handled = Rc::new(Cell::new(0));
    let (timer, count) = (world.timer(), Rc::clone(&handled));
    let _host = world.host("one", move || {
        let count = Rc::clone(&count);
        let handler = move |height: u64| {
            count.set(count.get() + 1);
            async move { Ok::<_, String>(height) }
        };
        Worker::new(timer.clone(), handler).concurrency(32)
    });
    let pool = world.pool(|builder| builder);
    let mut heights = pool.process::<u64>(1..=100).ahead(5);
    assert!(heights.poll_next_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
    world.advance(Duration::from_secs(1));
    assert_eq!(handled.get(), 5);
    assert_eq!(world.run(heights.each(|_, _| ())).done, 100);
}

/// Is not to be encoded where it is odd, and panics at 77.
#[derive(Clone, Copy, Debug)]
struct Odd(u64);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != 77, "on purpose");
        if self.0 % 2 == 1 { Err(ser::Error::custom("odd")) } else { self.0.serialize(serializer) }
    }
}

#[test]
fn a_request_that_cannot_be_encoded_or_is_too_long_fails_alone() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().concurrency(3));
    let pool = world.pool(|builder| builder.frame_bytes_max(2048));
    let mut order = Vec::new();
    let report =
        world.run(pool.map::<u64, _>((0..60).map(Odd)).in_order(7).each(|odd, outcome| {
            match outcome {
                Ok(echo) => assert_eq!(echo, odd.0),
                Err(error) => assert!(odd.0 % 2 == 1 && matches!(error, TaskError::Request(_))),
            }
            order.push(odd.0);
        }));
    assert_eq!(order, (0..60).collect::<Vec<_>>());
    assert_eq!((report.done, report.failed), (30, 30));
    assert_eq!(report.first_failure.map(|(at, _)| at), Some(1));

    let bodies = [3000, 10, 3000, 20].map(|length| vec![1_u8; length]);
    let outcomes: Vec<_> = world.run(pool.map_raw(bodies).in_order(9).collect());
    let are_done: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(are_done, [false, true, false, true]);
    let Err(TaskError::Request(text)) = &outcomes[0].1 else { panic!("{:?}", outcomes[0]) };
    assert!(text.contains("3000") && text.contains("frame_bytes_max"), "{text}");
}

#[test]
fn a_request_that_cannot_be_encoded_stops_a_map_that_stops_at_a_failure() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().concurrency(3));
    let pool = world.pool(|builder| builder);
    let evens = (0..20).map(|number| Odd(if number == 10 { 11 } else { 2 * number }));
    let report =
        world.run(pool.map::<u64, _>(evens).in_order(30).stop_at_failure().each(|_, _| ()));
    assert_eq!((report.done, report.failed), (10, 1));
}

#[test]
fn raw_requests_and_answers_are_bytes_as_they_are() {
    let world = World::new(1);
    let timer = world.timer();
    let _host = world.host("upper", move || {
        Worker::raw(timer.clone(), |body: Vec<u8>| async move {
            Ok::<_, String>(body.to_ascii_uppercase())
        })
    });
    let pool = world.pool(|builder| builder);
    let long = "x".repeat(5000);
    let mut answers = pool.map_raw(["a", "bc", long.as_str()]).in_order(2);
    let all: Vec<_> = world.run(answers.by_ref().collect());
    for (request, answer) in all {
        assert_eq!(answer, Ok(request.to_ascii_uppercase().into_bytes()));
    }
    assert!(answers.report().is_complete());
}

#[test]
fn a_stream_gives_requests_as_they_turn_up() {
    let (world, pool) = world_of_fetchers(1, 2);
    let timer = world.timer();
    let slow = stream::unfold(0_usize, move |at| {
        let timer = timer.clone();
        async move {
            timer.sleep(Duration::from_secs(10)).await;
            (at < 12).then(|| (Fetch { url: "u".repeat(at), depth: 0 }, at + 1))
        }
    });
    let began = world.elapsed();
    let report = world.run(pool.map::<usize, _>(from_stream(slow)).each(|fetch, length| {
        assert_eq!(length, Ok(fetch.url.len()));
    }));
    assert!(report.is_complete());
    assert_eq!(report.done, 12);
    let took = world.elapsed().saturating_sub(began);
    assert!((Duration::from_secs(130)..Duration::from_secs(131)).contains(&took), "{took:?}");
}

/// Panics at its third item.
struct Bomb(u64);

impl Iterator for Bomb {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 += 1;
        assert!(self.0 != 3, "on purpose");
        Some(self.0)
    }
}

#[test]
fn a_source_or_an_encoder_that_panics_wedges_nothing() {
    let world = World::new(1);
    let _worker = world.worker(Script::new());
    let pool = world.pool(|builder| builder);
    let cx = &mut Context::from_waker(Waker::noop());

    let mut bomb = pool.map::<u64, _>(Bomb(0));
    assert!(catch_unwind(AssertUnwindSafe(|| bomb.poll_next_unpin(cx))).is_err());
    let report = world.run(bomb.each(|number, echo| assert_eq!(echo, Ok(number))));
    assert_eq!((report.done, report.taken, report.is_complete()), (2, 2, false));

    let report = world.run(pool.map::<u64, _>([Odd(2), Odd(77), Odd(4)]).each(|_, _| ()));
    assert_eq!((report.done, report.failed), (2, 1));
    let Some((1, TaskError::Request(text))) = report.first_failure else { panic!("{report:?}") };
    assert!(text.contains("on purpose"), "{text}");

    assert_eq!(world.run(pool.call(&5_u64)), Ok(5_u64));
    world.run(pool.idle()).expect("nothing is left");
    world.run(pool.stop()).expect("it stops");
}

#[test]
fn dropping_a_map_cancels_what_is_under_way_and_lets_the_source_go() {
    let world = World::new(1);
    let _worker = world.worker(Script::new().concurrency(4).always(Act::Hang));
    let pool = world.pool(|builder| builder);
    let token = Rc::new(());
    let kept = Rc::clone(&token);
    let mut map = pool.map::<u64, _>((0..u64::MAX).inspect(move |_| drop(Rc::clone(&kept))));
    assert!(map.poll_next_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
    world.advance(Duration::from_secs(1));
    assert!(world.run(pool.stats()).expect("it runs").tasks.in_flight > 0);
    drop(map);
    assert_eq!(Rc::strong_count(&token), 1);
    world.run(pool.idle()).expect("all are cancelled");
    assert_eq!(world.run(pool.stats()).expect("it runs").tasks.in_flight, 0);
}

#[test]
fn a_pool_that_stops_ends_its_maps() {
    let world = World::new(5);
    let _worker = world.worker(Script::new().takes(Duration::from_millis(1)));
    let pool = world.pool(|builder| builder);
    let mut map = pool.map::<u64, _>(0..u64::MAX);
    let handle = pool.clone();
    let (report, _) = world.run(async {
        let watch = async {
            while let Some((_, outcome)) = map.next().await {
                outcome.expect("what was begun is done");
            }
            map.report().clone()
        };
        let stop = async {
            world.sleep(Duration::from_millis(5)).await;
            handle.stop().await.expect("it stops")
        };
        join(watch, stop).await
    });
    assert!(!report.is_complete() && report.failed == 0);
}

#[test]
fn maps_ranges_and_calls_take_turns() {
    let world = World::new(2);
    let _worker = world.worker(Script::new().concurrency(2).takes(Duration::from_millis(10)));
    let pool = world.pool(|builder| builder);
    let log = Rc::new(RefCell::new(Vec::new()));
    let note = |what: &'static str| {
        let log = Rc::clone(&log);
        move || log.borrow_mut().push(what)
    };
    let (map, range, call) = (note("map"), note("range"), note("call"));
    world.run(async {
        let mapped = pool.map::<u64, _>(0..100_u64).each(|_, _| map());
        let ranged = pool.process::<u64>(0..=99).each(|_, _| range());
        let calls = async {
            for number in 0..20_u64 {
                assert_eq!(pool.call(&number).await, Ok(number));
                call();
            }
        };
        join3(mapped, ranged, calls).await
    });
    let log = log.borrow();
    let early = &log[..60];
    for what in ["map", "range", "call"] {
        let count = early.iter().filter(|&&other| other == what).count();
        assert!(count >= 10, "{count} of {what} among the first 60");
    }
}

#[test]
fn long_requests_and_answers_are_held_to_the_budget() {
    let world = World::new(6);
    let timer = world.timer();
    let _host = world.host("long", move || {
        let handler = |body: Vec<u8>| async move { Ok::<_, String>(body) };
        Worker::raw(timer.clone(), handler).concurrency(8)
    });
    let pool = world.pool(|builder| builder.frame_bytes_max(100_000).memory_max(500_000));
    let bodies = (0..80_u8).map(|at| vec![at; 60_000]);
    for reorder in [None, Some(16)] {
        let mut map = pool.map_raw(bodies.clone());
        if let Some(reorder_max) = reorder {
            map = map.in_order(reorder_max);
        }
        // Nobody takes anything for a while.
        assert!(map.poll_next_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
        world.advance(Duration::from_secs(5));
        let taken = map.report().taken;
        assert!(taken < 10, "{taken} of 60 KB were taken out of the source");
        assert_eq!(
            world.run(pool.call_raw(vec![7; 10])),
            Ok(vec![7; 10]),
            "there is room beside it"
        );
        let report = world.run(map.each(|request, answer| assert_eq!(answer, Ok(request))));
        assert_eq!((report.done, report.is_complete()), (80, true));
    }
}

#[test]
fn a_map_in_this_process_and_one_of_a_world_without_workers() {
    let world = World::new(1);
    let pool: Pool = world.pool(|builder| {
        builder.in_process(3, |fetch: Fetch| async move { Ok::<_, String>(fetch.url.len()) })
    });
    let report = world.run(pool.map::<usize, _>(fetches(300)).each(|fetch, length| {
        assert_eq!(length, Ok(fetch.url.len()));
    }));
    assert_eq!(report.done, 300);

    let lonely = world.pool(|builder| builder.name("lonely"));
    let mut map = lonely.map::<usize, _>(fetches(3000));
    assert!(map.poll_next_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
    world.advance(Duration::from_secs(1));
    let (connector, listener) = chargehand::memory::pair(4);
    let handler = |fetch: Fetch| async move { Ok::<_, String>(fetch.url.len()) };
    world.spawn(Worker::new(world.timer(), handler).concurrency(8).serve(listener));
    world.run(lonely.add(connector, WorkerOptions::new())).expect("there is room");
    assert_eq!(world.run(map.each(|_, _| ())).done, 3000);
}

/// A stream that must not be moved, which the compiler holds us to.
struct Pinned(u64, std::marker::PhantomPinned);

impl Stream for Pinned {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u64>> {
        Poll::Ready((self.0 > 0).then_some(self.0))
    }
}

#[test]
fn a_map_of_a_stream_that_is_pinned_may_be_moved() {
    fn is_unpin<T: Unpin>(_: &T) {}
    let world = World::new(1);
    let pool = world.pool(|builder: chargehand::Builder<ManualTimer, _>| builder);
    is_unpin(&pool.map::<u64, _>(from_stream(Pinned(0, std::marker::PhantomPinned))));
}
