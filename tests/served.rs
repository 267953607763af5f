//! Which queues workers serve, how fast they are fed, and keys that handlers pause: said by the worker in its Hello
//! or by the pool's options, over wires in memory, in this process, and over TCP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::Rate;
use chargehand::core::queue::SETS_MAX;
use chargehand::memory::{MemoryConnector, pair};
use chargehand::testing::World;
use chargehand::{
    Pool, PoolEvent, QueueOptions, TaskError, TaskKey, TaskOptions, Throttled, Worker,
    WorkerOptions,
};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};

const SECOND: Duration = Duration::from_secs(1);
const NORMAL: QueueOptions = QueueOptions::new();

/// Who began what, in order.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<(&'static str, u64)>>>);

impl Book {
    fn note(&self, who: &'static str, number: u64) -> u64 {
        self.0.lock().unwrap().push((who, number));
        number
    }

    fn of(&self, who: &str) -> Vec<u64> {
        let book = self.0.lock().unwrap();
        book.iter().filter(|(name, _)| *name == who).map(|&(_, number)| number).collect()
    }
}

/// The handle of a queue.
fn in_queue(pool: &Pool, name: &str) -> Pool {
    pool.with(TaskOptions::new().queue(pool.queue(name).unwrap()))
}

/// Calls with each of these numbers, all at once.
async fn all_of(pool: &Pool, numbers: std::ops::Range<u64>) -> Vec<Result<u64, TaskError>> {
    join_all(numbers.map(|number| async move { pool.call::<u64, u64>(&number).await })).await
}

/// A worker that takes no time and notes what it begins, and the way to it.
fn worker(
    world: &World,
    book: &Book,
    who: &'static str,
    queues: Option<&[&str]>,
    rate: Option<Rate>,
) -> MemoryConnector {
    let (connector, listener) = pair(1024);
    let book = book.clone();
    let handler = move |number: u64| std::future::ready(Ok::<_, Throttled>(book.note(who, number)));
    let mut worker = Worker::new(world.timer(), handler).name(who).concurrency(4);
    if let Some(names) = queues {
        worker = worker.queues(names.iter().copied());
    }
    if let Some(rate) = rate {
        worker = worker.rate(rate);
    }
    world.spawn(worker.serve(listener));
    connector
}

/// Returns what a pool told of the queues that its workers serve.
fn told(events: &mut chargehand::Events) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let PoolEvent::Serves { .. } = event {
            told.push(event.to_string());
        }
    }
    told
}

#[test]
fn tasks_of_a_queue_go_only_to_workers_that_say_that_they_serve_it() {
    let (world, book) = (World::new(1), Book::default());
    let pool = world.pool(|mut builder| {
        builder.add(worker(&world, &book, "all", None, None), WorkerOptions::new());
        let archive = worker(&world, &book, "archive", Some(&["history", "elsewhere"]), None);
        builder.add(archive, WorkerOptions::new());
        let tip = worker(&world, &book, "pruned", None, None);
        builder.add(tip, WorkerOptions::new().queues(["default"]));
        builder.queue("history", NORMAL)
    });
    let mut events = pool.events();
    let history = in_queue(&pool, "history");
    let both = world.run(async {
        let range = history.process::<u64>(1..=100).count();
        futures_util::future::join(range, all_of(&pool, 1_000..1_100)).await
    });
    assert_eq!(both.0, 100);
    assert!(both.1.iter().all(Result::is_ok));
    assert!(
        book.of("archive").iter().all(|&number| number < 1_000) && book.of("archive").len() > 9
    );
    assert!(book.of("pruned").iter().all(|&number| number >= 1_000) && book.of("pruned").len() > 9);
    let mut texts = told(&mut events);
    texts.sort();
    let [pruned, archive] = &texts[..] else { panic!("{texts:?}") };
    assert!(archive.contains("serves history; this pool has no queue elsewhere"), "{archive}");
    assert!(pruned.ends_with("serves default"), "{pruned}");
    let stats = world.run(pool.stats()).unwrap();
    let queues: Vec<_> = stats.workers.iter().map(|worker| worker.queues.clone()).collect();
    let named = |name: &str| Some(vec![name.to_owned()]);
    assert_eq!(queues, [None, named("history"), named("default")]);
    assert!(stats.workers[1].to_string().ends_with("serves history"), "{}", stats.workers[1]);
}

#[test]
fn a_worker_of_queues_that_a_pool_has_not_gets_nothing_and_the_pool_says_so() {
    let (world, book) = (World::new(1), Book::default());
    let pool = world.pool(|mut builder| {
        let stranger = worker(&world, &book, "stranger", Some(&["gpu"]), None);
        builder.add(stranger, WorkerOptions::new());
        builder
    });
    let mut events = pool.events();
    let call = world.spawn(async move { pool.call::<u64, u64>(&7).await.map(|_| pool) });
    world.advance(60 * SECOND);
    assert!(book.of("stranger").is_empty());
    let [text] = &told(&mut events)[..] else { panic!("it says so once") };
    assert!(text.contains("serves no queue of this pool and gets no task"), "{text}");
    assert!(text.contains("no queue gpu"), "{text}");
    drop(call);
}

#[test]
fn what_a_worker_and_the_pool_say_of_it_counts_together() {
    let (world, book) = (World::new(1), Book::default());
    let fast = Rate::per_second(50).burst(9);
    let pool = world.pool(|mut builder| {
        let one = worker(&world, &book, "one", Some(&["a", "b"]), Some(Rate::per_second(5)));
        builder.add(one, WorkerOptions::new().queues(["b", "c"]).rate(fast));
        builder.queue("a", NORMAL).queue("b", NORMAL).queue("c", NORMAL)
    });
    let stats = world.run(async {
        let b = in_queue(&pool, "b");
        b.call::<u64, u64>(&1).await.unwrap();
        pool.stats().await.unwrap()
    });
    assert_eq!(stats.workers[0].queues, Some(vec!["b".to_owned()]));
    assert_eq!(stats.workers[0].stats.rate, Some(Rate::per_second(5)));
}

#[test]
fn of_two_rates_the_lower_one_counts_and_of_two_bursts_the_smaller_one() {
    let (world, book) = (World::new(1), Book::default());
    let limit = Rate::per_second(25).burst(5);
    let cases = [
        (Rate::per_second(24).burst(u32::MAX), Rate::per_second(24).burst(5)),
        (Rate::per_second(25).burst(1000), limit),
        (Rate::per_second(50).burst(2), Rate::per_second(25).burst(2)),
    ];
    let pool = world.pool(|mut builder| {
        for (said, _) in cases {
            let one = worker(&world, &book, "one", None, Some(said));
            builder.add(one, WorkerOptions::new().rate(limit));
        }
        builder
    });
    world.advance(SECOND);
    let stats = world.run(pool.stats()).unwrap();
    let rates: Vec<_> = stats.workers.iter().map(|worker| worker.stats.rate).collect();
    assert_eq!(rates, cases.map(|(_, both)| Some(both)));
}

#[test]
fn a_worker_in_this_process_serves_what_its_options_say() {
    let (world, book) = (World::new(1), Book::default());
    let pool = world.pool(|mut builder| {
        for (who, queue) in [("here", "gpu"), ("there", "default")] {
            let book = book.clone();
            let handler =
                move |number: u64| std::future::ready(Ok::<_, Throttled>(book.note(who, number)));
            builder.add_in_process(handler, WorkerOptions::new().queues([queue]));
        }
        builder.queue("gpu", NORMAL)
    });
    let gpu = in_queue(&pool, "gpu");
    for number in 0..10 {
        assert_eq!(world.run(gpu.call::<u64, u64>(&number)), Ok(number));
    }
    assert_eq!((book.of("here").len(), book.of("there").len()), (10, 0));
}

#[test]
fn a_worker_is_sent_no_more_in_a_second_than_it_says_and_others_have_the_rest() {
    let (world, book) = (World::new(1), Book::default());
    let pool = world.pool(|mut builder| {
        let rate = Rate::per_second(10).burst(5);
        let said = worker(&world, &book, "said", None, Some(rate));
        builder.add(said, WorkerOptions::new());
        let told = worker(&world, &book, "told", None, None);
        builder.add(told, WorkerOptions::new().rate(Rate::per_second(20)));
        builder
    });
    let range = world.spawn(async move { pool.process::<u64>(1..=10_000).count().await });
    world.advance(10 * SECOND);
    let (said, told) = (book.of("said").len(), book.of("told").len());
    assert!((100..=106).contains(&said), "{said}");
    assert!((198..=202).contains(&told), "{told}");
    drop(range);
}

#[test]
fn not_now_of_a_key_holds_back_that_key_and_leaves_the_worker_alone() {
    let (world, book) = (World::new(1), Book::default());
    let (timer, noted) = (world.timer(), book.clone());
    let refused = Arc::new(Mutex::new(false));
    world.host("one", move || {
        let (book, refused) = (noted.clone(), Arc::clone(&refused));
        let handler = move |number: u64| {
            let is_first = number < 100 && !std::mem::replace(&mut *refused.lock().unwrap(), true);
            std::future::ready(if is_first {
                Err(Throttled::after(30 * SECOND).for_key())
            } else {
                Ok(book.note("one", number))
            })
        };
        Worker::new(timer.clone(), handler).concurrency(4)
    });
    let pool = world.pool(|builder| builder);
    let account = pool.with(TaskOptions::new().key(TaskKey::from("account 17")));
    let keyed = world.spawn(async move { all_of(&account, 1..4).await });
    let started = world.elapsed();
    let others = world.run(all_of(&pool, 100..200));
    assert!(others.iter().all(Result::is_ok));
    assert!(world.elapsed().saturating_sub(started) < SECOND, "the worker goes on");
    world.advance(29 * SECOND);
    assert_eq!(book.of("one").iter().filter(|&&number| number < 100).count(), 0);
    assert_eq!(world.run(keyed), [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(book.of("one")[100..], [1, 2, 3], "in their order");
    let stats = world.run(pool.stats()).unwrap();
    assert_eq!(stats.workers[0].stats.failed, 0);
}

#[test]
fn more_kinds_of_workers_than_may_be_are_cut_to_what_is_known() {
    let (world, book) = (World::new(1), Book::default());
    let names: Vec<String> = (0..=SETS_MAX).map(|queue| format!("q{queue}")).collect();
    let pool = world.pool(|mut builder| {
        for name in &names {
            builder = builder.queue(name, NORMAL);
            let one = worker(&world, &book, "one", None, None);
            builder.add(one, WorkerOptions::new().queues([name.as_str()]));
        }
        builder
    });
    let mut events = pool.events();
    world.advance(SECOND);
    let idle = told(&mut events).into_iter().filter(|text| text.contains("serves no queue"));
    assert_eq!(idle.count(), 1, "the ninth kind, and told of");
}

mod sockets {
    use chargehand::tcp::{TcpConnector, TcpListener};
    use chargehand::tokio::Tokio;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    async fn within<F: Future>(future: F) -> F::Output {
        timeout(Duration::from_secs(30), future).await.expect("it takes no half minute")
    }

    async fn serving(
        book: &Book,
        who: &'static str,
        queues: &[&str],
        rate: Rate,
    ) -> (TcpConnector<Tokio>, JoinHandle<()>) {
        let listener = Tokio::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("it is bound").to_string();
        let book = book.clone();
        let handler =
            move |number: u64| std::future::ready(Ok::<_, Throttled>(book.note(who, number)));
        let worker = Worker::new(Tokio::new(), handler).concurrency(4);
        let worker = worker.queues(queues.iter().copied()).rate(rate);
        let serving = worker.serve(TcpListener::new(listener));
        let serving = tokio::spawn(async { serving.await.expect("in range") });
        (TcpConnector::new(Tokio::new(), &at).expect("an address"), serving)
    }

    #[tokio::test]
    async fn queues_and_rates_of_workers_hold_over_tcp() {
        let book = Book::default();
        let quick = Rate::per_second(10_000).burst(100);
        let (tip, first) = serving(&book, "tip", &["default"], quick).await;
        let slow = Rate::per_second(100).burst(10);
        let (archive, second) = serving(&book, "archive", &["history"], slow).await;
        let builder = Pool::builder(Tokio::new()).queue("history", NORMAL);
        let (pool, driver) = builder.connect(tip).connect(archive).build().expect("in range");
        let driver = tokio::spawn(driver);
        let history = in_queue(&pool, "history");
        let began = std::time::Instant::now();
        let range = history.process::<u64>(1..=60).count();
        let both = futures_util::future::join(range, all_of(&pool, 1_000..1_200));
        let (count, calls) = within(both).await;
        assert_eq!(count, 60);
        assert!(calls.iter().all(Result::is_ok));
        assert!(began.elapsed() >= Duration::from_millis(490), "50 of 60 wait 10 ms each");
        assert_eq!((book.of("archive").len(), book.of("tip").len()), (60, 200));
        assert!(book.of("archive").iter().all(|&number| number < 1_000));
        within(pool.stop()).await.expect("the driver lives");
        within(driver).await.expect("no panic");
        first.abort();
        second.abort();
    }
}
