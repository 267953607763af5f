//! Queues of a pool: what is sent first, how much of each, and what keeps one from sending. Calls, maps and
//! ranges alike, over wires in memory; over sockets at the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use chargehand::testing::{Script, World};
use chargehand::{Class, Hedge, Pool, PoolStats, QueueOptions, Rate, TaskOptions};
use futures_util::StreamExt;
use futures_util::future::join_all;

const SECOND: Duration = Duration::from_secs(1);
const NORMAL: QueueOptions = QueueOptions::new();

/// The handle of a queue.
fn in_queue(pool: &Pool, name: &str) -> Pool {
    pool.with(TaskOptions::new().queue(pool.queue(name).unwrap()))
}

/// What a worker began, in order: heights and numbers.
type Begun = Rc<RefCell<Vec<u64>>>;

/// Adds a worker that takes a second for each task, and notes what it begins.
fn noting(world: &World, concurrency: u16) -> Begun {
    let begun = Begun::default();
    let note = Rc::clone(&begun);
    let script = Script::new().concurrency(concurrency).takes(SECOND);
    world.worker(script.on_begin(move |request| note.borrow_mut().extend(request.height())));
    begun
}

fn stats(world: &World, pool: &Pool) -> PoolStats {
    world.run(pool.stats()).unwrap()
}

#[test]
fn a_queue_that_is_none_is_an_error_that_names_those_there_are() {
    let world = World::new(1);
    let pool = world.pool(|builder| builder.queue("tip", NORMAL).queue("backfill", NORMAL));
    let error = pool.queue("tpi").unwrap_err();
    assert_eq!((error.name.as_str(), error.known.len()), ("tpi", 3));
    let text = error.to_string();
    for part in ["`tpi`", "default", "tip", "backfill", "Builder::queue"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(pool.queue("tip").unwrap().name(), "tip");
    assert_eq!(pool.queue("default").unwrap().name(), "default");
}

#[test]
fn a_call_to_the_tip_does_not_wait_for_a_backfill() {
    let world = World::new(1);
    let begun = noting(&world, 1);
    let pool = world.pool(|builder| {
        let tip = NORMAL.class(Class::Urgent);
        builder.queue("tip", tip).queue("backfill", NORMAL.class(Class::Low))
    });
    let (tip, backfill) = (in_queue(&pool, "tip"), in_queue(&pool, "backfill"));
    let range = world.spawn(async move { backfill.process::<u64>(1..=60).count().await });
    world.advance(10 * SECOND + SECOND / 2);
    let before = world.elapsed();
    assert_eq!(world.run(tip.call::<u64, u64>(&1_000)), Ok(1_000));
    let waited = world.elapsed().saturating_sub(before);
    assert!(waited < 2 * SECOND, "{waited:?}: the one under way, and then it");
    // With calls without a pause the backfill still has its share.
    let calls = world.run(join_all((0..100).map(|at| {
        let tip = tip.clone();
        async move { tip.call::<u64, u64>(&(2_000 + at)).await }
    })));
    assert!(calls.iter().all(Result::is_ok));
    let begun = begun.borrow().clone();
    let first = begun.iter().position(|&height| height == 2_000).unwrap();
    let last = begun.iter().position(|&height| height == 2_099).unwrap();
    let filled = begun[first..last].iter().filter(|&&height| height < 1_000).count();
    assert!((4..=6).contains(&filled), "{filled} of 100: {begun:?}");
    assert_eq!(world.run(range), 60);
}

#[test]
fn ranges_maps_and_calls_of_tenants_share_by_weight() {
    let world = World::new(1);
    let begun = noting(&world, 4);
    let pool = world.pool(|builder| {
        builder.queue("small", NORMAL).queue("large", NORMAL.weight(3)).queue("calls", NORMAL)
    });
    let (small, large) = (in_queue(&pool, "small"), in_queue(&pool, "large"));
    let calls = in_queue(&pool, "calls");
    let range = world.spawn(async move { small.process::<u64>(1..=500).count().await });
    let map = world.spawn(async move { large.map::<u64, _>(1_001..=1_500_u64).count().await });
    let calls = world.spawn(async move {
        let call = async |number: u64| calls.call::<u64, u64>(&number).await;
        join_all((2_001..=2_500).map(call)).await.len()
    });
    world.advance(200 * SECOND);
    let count =
        |from: u64| begun.borrow().iter().filter(|&&at| (from..from + 1_000).contains(&at)).count();
    let counts = [count(0), count(1_000), count(2_000)];
    let all: usize = counts.iter().sum();
    assert!((790..=804).contains(&all), "{counts:?}: no place is left empty");
    for (count, weight) in counts.into_iter().zip([1, 3, 1]) {
        assert!(count.abs_diff(all * weight / 5) <= 8, "{counts:?}");
    }
    drop((range, map, calls));
}

#[test]
fn a_paused_queue_holds_calls_and_ranges_and_keeps_no_other_out() {
    let world = World::new(1);
    let begun = noting(&world, 2);
    let pool =
        world.pool(|builder| builder.tasks_max(16).queue_max(4).queue("held", NORMAL.paused()));
    let held = in_queue(&pool, "held");
    let range = {
        let held = held.clone();
        world.spawn(async move { held.process::<u64>(100..=130).count().await })
    };
    // More than there are places for, inside and outside.
    let calls = world.spawn(async move {
        let calls = (1_000..1_040_u64).map(|number| {
            let held = held.clone();
            async move { held.call::<u64, u64>(&number).await }
        });
        join_all(calls).await
    });
    world.advance(SECOND);
    assert_eq!(world.run(pool.call::<u64, u64>(&1)), Ok(1));
    assert_eq!(world.run(pool.process::<u64>(2..=20).count()), 19);
    assert!(begun.borrow().iter().all(|&height| height < 100), "{begun:?}");
    let queue = &stats(&world, &pool).queues[1];
    assert!(queue.stats.is_paused && queue.stats.waiting > 0, "{queue}");
    assert!(queue.oldest.is_some_and(|oldest| oldest >= SECOND), "{queue}");
    assert_eq!(queue.stats.sent, 0);

    let queue = pool.queue("held").unwrap();
    world.run(pool.resume(&queue)).unwrap();
    assert!(world.run(calls).iter().all(Result::is_ok));
    assert_eq!(world.run(range), 31);
    world.run(pool.pause(&queue)).unwrap();
    assert_eq!(world.run(pool.call::<u64, u64>(&1)), Ok(1));
}

#[test]
fn a_pool_without_other_queues_can_be_paused_as_well() {
    let world = World::new(1);
    let begun = noting(&world, 2);
    let pool = world.pool(|builder| builder);
    let range = {
        let pool = pool.clone();
        world.spawn(async move { pool.process::<u64>(1..=20).count().await })
    };
    world.advance(3 * SECOND + SECOND / 2);
    let queue = pool.queue("default").unwrap();
    world.run(pool.pause(&queue)).unwrap();
    let before = begun.borrow().len();
    world.advance(60 * SECOND);
    assert_eq!(begun.borrow().len(), before);
    world.run(pool.resume(&queue)).unwrap();
    assert_eq!(world.run(range), 20);
}

#[test]
fn a_queue_has_no_more_in_flight_than_it_may_and_others_have_the_rest() {
    let world = World::new(1);
    let begun = noting(&world, 8);
    let pool = world.pool(|builder| builder.queue("few", NORMAL.in_flight_max(2)));
    let few = in_queue(&pool, "few");
    let range = world.spawn(async move { few.process::<u64>(1_000..=1_019).count().await });
    world.advance(SECOND / 2);
    assert_eq!(begun.borrow().len(), 2);
    let other = world.run(pool.process::<u64>(1..=60).count());
    assert_eq!(other, 60);
    // Six at a time beside the two, of a second each.
    assert!(world.elapsed() <= 11 * SECOND, "{:?}", world.elapsed());
    assert_eq!(world.run(range), 20);
    assert!(world.elapsed() >= 10 * SECOND);
}

#[test]
fn a_queue_sends_no_faster_than_its_rate_retries_included() {
    let world = World::new(1);
    let script = Script::new().concurrency(64);
    world.worker(script.nth(3, chargehand::testing::Act::Fail("not yet".into())));
    let rate = Rate::per_second(5).burst(5);
    let pool = world.pool(|builder| {
        builder
            .queue("metered", NORMAL.rate(rate))
            .configure(|config| config.retry_delay = Duration::ZERO)
    });
    let metered = in_queue(&pool, "metered");
    assert_eq!(world.run(metered.process::<u64>(1..=54).count()), 54);
    // Five at once, and fifty more, of which one is a retry, at a fifth of a second each.
    let took = world.elapsed();
    assert!((10 * SECOND..10 * SECOND + SECOND / 10).contains(&took), "{took:?}");
    assert_eq!(stats(&world, &pool).queues[1].stats.sent, 55);
}

#[test]
fn queues_that_make_no_sense_are_refused_as_the_pool_is_built() {
    let timer = || chargehand::testing::ManualTimer::new();
    let many = (0..64)
        .fold(Pool::builder(timer()), |builder, at| builder.queue(&format!("queue {at}"), NORMAL));
    let error = many.build().unwrap_err().to_string();
    assert!(error.contains("65 queues") && error.contains("64"), "{error}");
    let error = Pool::builder(timer()).tasks_max(3).queue("tip", NORMAL).build().unwrap_err();
    assert!(error.to_string().contains("tasks_max is 3"), "{error}");
    let hedged = NORMAL.hedge(Hedge::after_p95());
    let none = Pool::builder(timer()).configure(|config| config.hedges_max = 0);
    let error = none.queue("tip", hedged).build().unwrap_err().to_string();
    assert!(error.contains("`tip`") && error.contains("raise it"), "{error}");
    let error = Pool::builder(timer()).queue("tip", NORMAL.weight(0)).build().unwrap_err();
    assert!(error.to_string().contains("`tip`") && error.to_string().contains("weight"), "{error}");
}

#[test]
#[should_panic(expected = "a queue of another pool")]
fn a_queue_of_another_pool_is_not_taken_for_one_of_this() {
    let world = World::new(1);
    let [one, other] = [(); 2].map(|()| world.pool(|builder| builder.queue("tip", NORMAL)));
    drop(one.with(TaskOptions::new().queue(other.queue("tip").unwrap())));
}

/// The same over TCP, with real time: what is asserted does not depend on how fast it is.
mod sockets {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use chargehand::tcp::{TcpConnector, TcpListener};
    use chargehand::tokio::Tokio;
    use chargehand::{Builder, TaskKey, Threaded, Worker};
    use tokio::task::JoinHandle;
    use tokio::time::{sleep, timeout};

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    async fn within<F: Future>(future: F) -> F::Output {
        timeout(Duration::from_secs(30), future).await.expect("it takes no half minute")
    }

    async fn until(what: impl Fn() -> bool) {
        within(async {
            while !what() {
                sleep(MILLI).await;
            }
        })
        .await;
    }

    /// What a worker began, in order, and how many it had at once.
    #[derive(Clone, Default)]
    struct Seen {
        begun: Arc<Mutex<Vec<u64>>>,
        live: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl Seen {
        async fn work(self, number: u64) -> Result<u64, String> {
            self.begun.lock().unwrap().push(number);
            let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(live, Ordering::Relaxed);
            sleep(2 * MILLI).await;
            self.live.fetch_sub(1, Ordering::Relaxed);
            Ok(number)
        }

        fn begun(&self) -> Vec<u64> {
            self.begun.lock().unwrap().clone()
        }
    }

    /// A pool with one worker, over TCP.
    async fn pool(
        seen: &Seen,
        concurrency: u16,
        set: impl FnOnce(Builder<Tokio, Threaded>) -> Builder<Tokio, Threaded>,
    ) -> (Pool, [JoinHandle<()>; 2]) {
        let listener = Tokio::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("it is bound").to_string();
        let seen = seen.clone();
        let worker = Worker::new(Tokio::new(), move |number: u64| seen.clone().work(number));
        let serving = worker.concurrency(concurrency).serve(TcpListener::new(listener));
        let serving = tokio::spawn(async { serving.await.expect("in range") });
        let connector = TcpConnector::new(Tokio::new(), &at).expect("an address");
        let builder = set(Pool::builder(Tokio::new())).connect(connector);
        let (pool, driver) = builder.build().expect("in range");
        (pool, [serving, tokio::spawn(driver)])
    }

    async fn end(pool: Pool, [serving, driver]: [JoinHandle<()>; 2]) {
        within(pool.stop()).await.expect("the driver lives");
        within(driver).await.expect("no panic");
        serving.abort();
    }

    #[tokio::test]
    async fn a_call_to_the_tip_passes_a_range_over_tcp() {
        let seen = Seen::default();
        let (pool, tasks) = pool(&seen, 1, |builder| {
            let tip = NORMAL.class(Class::Urgent);
            builder.queue("tip", tip).queue("backfill", NORMAL.class(Class::Low))
        })
        .await;
        let backfill = in_queue(&pool, "backfill");
        let range = tokio::spawn(async move { backfill.process::<u64>(1..=200).count().await });
        until(|| seen.begun().len() >= 3).await;
        let tip = in_queue(&pool, "tip");
        assert_eq!(within(tip.call::<u64, u64>(&1_000)).await, Ok(1_000));
        assert_eq!(within(range).await.expect("no panic"), 200);
        let begun = seen.begun();
        let at = begun.iter().position(|number| *number == 1_000).expect("it was begun");
        assert!(at < 190, "{at}: not behind the range");
        end(pool, tasks).await;
    }

    #[tokio::test]
    async fn limits_pauses_and_keys_hold_over_tcp() {
        let seen = Seen::default();
        let (pool, tasks) =
            pool(&seen, 8, |builder| builder.queue("few", NORMAL.in_flight_max(2).paused())).await;
        let few = in_queue(&pool, "few");
        let range = tokio::spawn(async move { few.process::<u64>(1..=40).count().await });
        let account = pool.with(TaskOptions::new().key("account 17"));
        for number in 1_000..1_010_u64 {
            let account = account.try_submit::<u64, u64>(number).expect("there is room");
            account.detach();
        }
        until(|| seen.begun().len() == 10 && seen.live.load(Ordering::Relaxed) == 0).await;
        assert_eq!(seen.begun(), (1_000..1_010).collect::<Vec<_>>(), "in order, and nothing else");
        assert_eq!(seen.most.load(Ordering::Relaxed), 1);
        within(pool.resume(&pool.queue("few").expect("it is there"))).await.expect("it lives");
        assert_eq!(within(range).await.expect("no panic"), 40);
        assert_eq!(seen.most.load(Ordering::Relaxed), 2);
        end(pool, tasks).await;
    }

    #[tokio::test]
    async fn one_request_answers_all_who_ask_meanwhile_over_tcp() {
        let seen = Seen::default();
        let (pool, tasks) = pool(&seen, 1, |builder| builder.queue("held", NORMAL.paused())).await;
        let held = pool.queue("held").expect("it is there");
        let options = TaskOptions::new().queue(held.clone()).key(TaskKey::from(7).unique());
        let shared = pool.with(options);
        let calls: Vec<_> =
            (0..20).map(|_| shared.try_submit::<u64, u64>(7).expect("there is room")).collect();
        within(pool.resume(&held)).await.expect("it lives");
        assert_eq!(within(join_all(calls)).await, [(); 20].map(|()| Ok(7)));
        assert_eq!(seen.begun(), [7]);
        end(pool, tasks).await;
    }
}
