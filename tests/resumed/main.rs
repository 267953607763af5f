//! Links that come back: what a worker runs goes on without one, and over the next one as if nothing had happened;
//! and what ends that.

#[path = "../support/by_hand.rs"]
mod by_hand;
mod lists;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chargehand::core::message::{ExtensionsWriter, GRACE_EXTENSION, Hello, Message, Role};
use chargehand::core::{Config, TaskId};
use chargehand::memory::{MemoryListener, pair};
use chargehand::testing::{WorkerHandle, World};
use chargehand::{Context, Pool, Task, TaskError, TaskOptions, Worker};

use by_hand::{Peer, probed, probed_by};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// How often handlers began, and how often one was told that nobody waits.
#[derive(Clone, Default)]
struct Seen {
    begun: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

impl Seen {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// A worker that takes as many seconds as it is told, and goes on without a link for so long.
fn host(world: &World, name: &str, grace: Duration, seen: &Seen) -> WorkerHandle {
    host_keeping(world, name, (grace, 1 << 20), seen)
}

/// As that, and keeps so many bytes of answers.
fn host_keeping(
    world: &World,
    name: &str,
    (grace, bytes): (Duration, usize),
    seen: &Seen,
) -> WorkerHandle {
    let (timer, seen) = (world.timer(), seen.clone());
    world.host(name, move || {
        let (own, seen) = (timer.clone(), seen.clone());
        let handler = move |cx: Context, seconds: u64| {
            let (timer, seen) = (own.clone(), seen.clone());
            seen.begun.fetch_add(1, Ordering::Relaxed);
            let watch = Watch(cx.clone(), seen);
            async move {
                for done in 1..=seconds {
                    timer.sleep(SECOND).await;
                    cx.progress(done, seconds);
                }
                drop(watch);
                Ok::<_, String>(seconds)
            }
        };
        Worker::new(timer.clone(), handler).concurrency(4).grace(grace).answers_kept_max(bytes)
    })
}

/// Counts a handler that was ended.
struct Watch(Context, Seen);

impl Drop for Watch {
    fn drop(&mut self) {
        if self.0.is_cancelled() {
            self.1.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn patient(config: &mut Config) {
    config.grace = 5 * MINUTE;
    config.attempt_timeout = 60 * MINUTE;
}

/// A pool that waits five minutes for its one worker, which goes on for as long.
fn pool_of_one() -> (World, WorkerHandle, Pool, Seen) {
    let (world, seen) = (World::new(11), Seen::default());
    world.time_limit(100 * MINUTE);
    let worker = host(&world, "one", 5 * MINUTE, &seen);
    let pool = world.pool(|builder| builder.configure(patient));
    (world, worker, pool, seen)
}

fn submit(world: &World, pool: &Pool, seconds: u64) -> Task<u64> {
    let task = pool.try_submit::<u64, u64>(seconds).expect("there is room");
    world.advance(Duration::ZERO);
    task
}

#[test]
fn a_task_of_ten_minutes_on_a_link_that_breaks_every_minute_is_done_once() {
    let (world, worker, pool, seen) = pool_of_one();
    for minute in 1..=12 {
        world.at(minute * MINUTE + SECOND / 2, worker.loses_link());
    }
    assert_eq!(world.run(async { pool.call::<u64, u64>(&600).await }), Ok(600));
    assert_eq!((seen.begun(), seen.cancelled()), (1, 0));
    let stats = world.run(pool.stats()).unwrap();
    assert_eq!((stats.tasks.sent, stats.tasks.lost), (1, 0), "{stats:?}");
    assert!(stats.workers[0].stats.links >= 9, "{stats:?}");
    assert!(world.elapsed() < 611 * SECOND, "{:?}", world.elapsed());
}

#[test]
fn so_it_is_with_attempts_of_ten_seconds_where_it_makes_progress() {
    let (world, seen) = (World::new(11), Seen::default());
    world.time_limit(100 * MINUTE);
    let worker = host(&world, "one", MINUTE, &seen);
    let pool = world.pool(|builder| {
        builder.configure(|config| {
            (config.grace, config.attempt_timeout) = (MINUTE, 10 * SECOND);
        })
    });
    for minute in 1..=12 {
        world.at(minute * MINUTE + SECOND / 2, worker.loses_link());
    }
    let long = pool.with(TaskOptions::new().attempt_max(60 * MINUTE));
    assert_eq!(world.run(async { long.call::<u64, u64>(&600).await }), Ok(600));
    assert_eq!((seen.begun(), seen.cancelled()), (1, 0));
}

#[test]
fn without_a_grace_on_either_side_it_begins_anew_each_time() {
    for (ours, theirs) in [(Duration::ZERO, 5 * MINUTE), (5 * MINUTE, Duration::ZERO)] {
        let (world, seen) = (World::new(11), Seen::default());
        world.time_limit(100 * MINUTE);
        let worker = host(&world, "one", theirs, &seen);
        let pool = world.pool(|builder| {
            builder.configure(|config| {
                patient(config);
                config.grace = ours;
            })
        });
        world.at(10 * SECOND, worker.loses_link());
        assert_eq!(world.run(async { pool.call::<u64, u64>(&60).await }), Ok(60));
        assert_eq!((seen.begun(), seen.cancelled()), (2, 1));
    }
}

#[test]
fn what_is_answered_meanwhile_is_told_over_the_next_link() {
    let (world, worker, pool, seen) = pool_of_one();
    let tasks = [5, 20, 100].map(|seconds| submit(&world, &pool, seconds));
    world.at(2 * SECOND, worker.loses_network());
    world.at(3 * SECOND, worker.loses_link());
    world.at(60 * SECOND, worker.regains_network());
    for (task, seconds) in tasks.into_iter().zip([5, 20, 100]) {
        assert_eq!(world.run(task), Ok(seconds));
    }
    assert!(world.elapsed() < 101 * SECOND, "{:?}", world.elapsed());
    assert_eq!((seen.begun(), seen.cancelled()), (3, 0));
}

#[test]
fn a_half_open_link_that_only_the_manager_gives_up_is_taken_over() {
    let (world, worker, pool, seen) = pool_of_one();
    let mut task = submit(&world, &pool, 200);
    // The manager gives it up after 20 s, the worker somewhat later.
    world.at(10 * SECOND, worker.loses_network());
    world.at(32 * SECOND, worker.regains_network());
    world.run(async {
        assert_eq!(task.started().await.map(|started| started.attempt), Some(1));
        assert_eq!(task.await, Ok(200));
    });
    assert_eq!((seen.begun(), seen.cancelled()), (1, 0));
}

#[test]
fn an_answer_that_was_on_its_way_when_the_link_broke_is_said_again_where_it_is_kept() {
    for (bytes, times) in [(1 << 20, 1), (0, 2)] {
        let (world, seen) = (World::new(11), Seen::default());
        world.time_limit(100 * MINUTE);
        let worker = host_keeping(&world, "one", (5 * MINUTE, bytes), &seen);
        let pool = world.pool(|builder| builder.configure(patient));
        // Some of these are named again as well, and are nothing to the manager.
        for _ in 0..20 {
            assert_eq!(world.run(async { pool.call::<u64, u64>(&0).await }), Ok(0));
        }
        seen.begun.store(0, Ordering::Relaxed);
        let tasks = [15, 16].map(|seconds| submit(&world, &pool, seconds));
        world.at(world.elapsed() + 10 * SECOND, worker.loses_network());
        world.at(world.elapsed() + 100 * SECOND, worker.regains_network());
        for (task, seconds) in tasks.into_iter().zip([15, 16]) {
            assert_eq!(world.run(task), Ok(seconds));
        }
        assert_eq!(seen.begun(), 2 * times, "{bytes} bytes of answers are kept");
        // What it said again is nothing to hold against it.
        assert_eq!(world.run(async { pool.call::<u64, u64>(&0).await }), Ok(0));
        let stats = world.run(pool.stats()).unwrap();
        assert_eq!(stats.workers[0].stats.links, 2, "{stats:?}");
    }
}

#[test]
fn a_worker_that_was_started_anew_has_its_tasks_sent_again_at_once() {
    let (world, worker, pool, seen) = pool_of_one();
    world.at(10 * SECOND, worker.dies());
    world.at(12 * SECOND, worker.revives());
    let task = submit(&world, &pool, 20);
    assert_eq!(world.run(task), Ok(20));
    assert_eq!(seen.begun(), 2);
    assert!(world.elapsed() < 40 * SECOND, "{:?}", world.elapsed());
}

#[test]
fn a_worker_that_stops_politely_is_not_waited_for() {
    let (world, seen) = (World::new(11), Seen::default());
    world.time_limit(100 * MINUTE);
    let leaves = host(&world, "one", 5 * MINUTE, &seen);
    let pool = world.pool(|builder| builder.configure(patient));
    let task = submit(&world, &pool, 50);
    world.at(10 * SECOND, leaves.stops());
    world.advance(11 * SECOND);
    let other = host(&world, "other", MINUTE, &seen);
    world.run(pool.add(other.connector(), chargehand::WorkerOptions::new())).unwrap();
    assert_eq!(world.run(task), Ok(50));
    // It has its drain timeout of 30 s, and then the other one begins.
    assert!(world.elapsed() < 100 * SECOND, "{:?}", world.elapsed());
}

#[test]
fn what_was_cancelled_meanwhile_is_dropped_by_the_worker_once_it_is_back() {
    let (world, worker, pool, seen) = pool_of_one();
    let tasks = [50, 90].map(|seconds| submit(&world, &pool, seconds));
    world.at(10 * SECOND, worker.loses_network());
    world.at(10 * SECOND, worker.loses_link());
    world.at(20 * SECOND, worker.regains_network());
    world.advance(15 * SECOND);
    let [cancelled, other] = tasks;
    cancelled.cancel();
    assert_eq!(world.run(cancelled), Err(TaskError::Cancelled));
    assert!(world.elapsed() < 16 * SECOND, "at once");
    assert_eq!(world.run(other), Ok(90));
    assert_eq!((seen.begun(), seen.cancelled()), (2, 1));
}

#[test]
fn what_runs_ends_with_the_workers_grace_and_is_sent_again_with_the_pools() {
    let (world, seen) = (World::new(11), Seen::default());
    world.time_limit(100 * MINUTE);
    let worker = host(&world, "one", 30 * SECOND, &seen);
    let pool = world.pool(|builder| builder.configure(patient));
    let task = submit(&world, &pool, 100);
    world.at(10 * SECOND, worker.loses_network());
    world.at(10 * SECOND, worker.loses_link());
    world.advance(39 * SECOND);
    assert_eq!(seen.cancelled(), 0);
    world.advance(2 * SECOND);
    assert_eq!(seen.cancelled(), 1, "its own is the shorter one");
    assert_eq!(world.run(pool.stats()).unwrap().tasks.in_flight, 0);
    world.at(60 * SECOND, worker.regains_network());
    assert_eq!(world.run(task), Ok(100));
    assert_eq!(seen.begun(), 2);
}

#[test]
fn a_pool_that_stops_while_a_worker_is_away_waits_for_it_until_its_time_is_up() {
    let (world, worker, pool, seen) = pool_of_one();
    let task = submit(&world, &pool, 600);
    world.at(10 * SECOND, worker.loses_network());
    world.at(10 * SECOND, worker.loses_link());
    world.advance(15 * SECOND);
    let stats = world.run(pool.stop_within(30 * SECOND)).unwrap();
    assert_eq!(world.run(task), Err(TaskError::Aborted));
    assert!(world.elapsed() >= 45 * SECOND && world.elapsed() < 50 * SECOND);
    assert_eq!((stats.tasks.aborted, stats.tasks.in_flight), (1, 0));
    assert_eq!(stats.workers[0].stats.in_flight, 0, "{stats:?}");
    assert_eq!(seen.begun(), 1);
}

#[test]
fn a_worker_that_dials_in_again_keeps_what_it_held() {
    let world = World::new(11);
    let (connector, listener, probe) = probed(1 << 20);
    let pool = world.pool(|builder| builder.configure(patient).accept(listener));
    let (timer, own) = (world.timer(), world.timer());
    let begun = Rc::new(Cell::new(0));
    let count = Rc::clone(&begun);
    let worker = Worker::new(timer, move |seconds: u64| {
        count.set(count.get() + 1);
        let sleep = own.sleep(Duration::from_secs(seconds));
        async move {
            sleep.await;
            Ok::<_, String>(seconds)
        }
    });
    world.spawn(worker.name("w").grace(MINUTE).dial(connector));
    let task = submit(&world, &pool, 60);
    world.advance(10 * SECOND);
    probe.cut();
    assert_eq!(world.run(task), Ok(60));
    assert_eq!(begun.get(), 1);
}

/// Says what a manager of that token says that waits a minute, to a worker that has dialled it.
fn manage(world: &World, listener: &mut MemoryListener, token: u64) -> Peer {
    let mut peer = Peer::accept(listener).expect("the worker dials");
    welcome(world, &mut peer, token);
    peer
}

fn welcome(world: &World, peer: &mut Peer, token: u64) {
    peer.say(&Message::Hello(Hello::new(Role::Manager, 0, token, "boss")), &[]);
    let mut value = [0; 12];
    value[..4].copy_from_slice(&60_000_u32.to_le_bytes());
    let mut buffer = [0; 16];
    let mut extensions = ExtensionsWriter::new(&mut buffer);
    extensions.add(GRACE_EXTENSION, &value).unwrap();
    let extensions = extensions.finish();
    peer.say(&Message::Welcome { heartbeat_millis: 60_000, window: 4, extensions }, &[]);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear(|message| message.kind()), Some("Hello"));
}

#[test]
fn a_proven_manager_that_was_started_anew_ends_what_ran_for_its_last_process() {
    for (token, is_ended) in [(7, false), (8, true)] {
        let (world, seen) = (World::new(11), Seen::default());
        let (connector, mut listener, probe) = probed_by(1 << 20, "boss");
        let (timer, own, watched) = (world.timer(), world.timer(), seen.clone());
        let handler = move |cx: Context, seconds: u64| {
            let (sleep, watch) =
                (own.sleep(Duration::from_secs(seconds)), Watch(cx, watched.clone()));
            async move {
                sleep.await;
                drop(watch);
                Ok::<_, String>(seconds)
            }
        };
        world.spawn(Worker::new(timer, handler).name("w").grace(MINUTE).dial(connector));
        world.advance(Duration::ZERO);
        let mut peer = manage(&world, &mut listener, 7);
        assert_eq!(peer.held(), Some(vec![]));
        let asked = (TaskId::from_parts(3, 0), 1);
        let body = postcard::to_stdvec(&30_u64).unwrap();
        let (task, attempt) = asked;
        let extensions = chargehand::core::message::Extensions::NONE;
        peer.say(&Message::Request { task, attempt, extensions, body: &[] }, &body);
        world.advance(SECOND);
        probe.cut();
        world.advance(5 * SECOND);
        assert_eq!(seen.cancelled(), 0);
        let mut peer = manage(&world, &mut listener, token);
        world.advance(Duration::ZERO);
        assert_eq!(seen.cancelled(), usize::from(is_ended));
        assert_eq!(peer.held(), Some(if is_ended { vec![] } else { vec![asked] }));
    }
}

#[test]
fn a_manager_that_has_not_proven_the_same_takes_nobodys_work_over_by_its_token() {
    let (world, seen) = (World::new(11), Seen::default());
    // Both reach the one worker, which listens.
    let (owner, listener) = pair(64);
    let (mut owner, mut thief) = (owner.clone().proven("boss"), owner.proven("thief"));
    let (timer, own, watched) = (world.timer(), world.timer(), seen.clone());
    let handler = move |cx: Context, seconds: u64| {
        let (sleep, watch) = (own.sleep(Duration::from_secs(seconds)), Watch(cx, watched.clone()));
        async move {
            sleep.await;
            drop(watch);
            Ok::<_, String>(seconds)
        }
    };
    world.spawn(Worker::new(timer, handler).name("w").grace(MINUTE).serve(listener));
    let mut peer = Peer::dial(&mut owner);
    welcome(&world, &mut peer, 7);
    assert_eq!(peer.held(), Some(vec![]));
    let (task, attempt) = (TaskId::from_parts(3, 0), 1);
    let body = postcard::to_stdvec(&30_u64).unwrap();
    let extensions = chargehand::core::message::Extensions::NONE;
    peer.say(&Message::Request { task, attempt, extensions, body: &[] }, &body);
    world.advance(SECOND);
    // Neither while its link is up, nor once that is gone.
    let mut strangers = [Peer::dial(&mut thief), Peer::dial(&mut thief)];
    welcome(&world, &mut strangers[0], 7);
    assert_eq!(strangers[0].held(), Some(vec![]));
    drop(peer);
    world.advance(SECOND);
    welcome(&world, &mut strangers[1], 7);
    assert_eq!(strangers[1].held(), Some(vec![]));
    let mut peer = Peer::dial(&mut owner);
    welcome(&world, &mut peer, 7);
    assert_eq!(peer.held(), Some(vec![(task, attempt)]));
    assert_eq!(seen.cancelled(), 0);
}

/// Carries bytes between the two ends of a connection until it is aborted.
async fn carry(near: tokio::net::TcpStream, to: std::net::SocketAddr) {
    let (mut near, far) = (near, tokio::net::TcpStream::connect(to).await);
    let Ok(mut far) = far else { return };
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

/// Over TCP through a relay that cuts the connection, and with a handler on a thread that blocks.
#[tokio::test]
async fn a_connection_that_is_cut_on_its_way_costs_a_task_nothing() {
    use chargehand::tcp::{TcpConnector, TcpListener};
    use chargehand::tokio::Tokio;

    let listener = Tokio::bind("127.0.0.1:0").await.expect("a port of loopback");
    let behind = listener.local_addr().expect("it is bound");
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let worker = Worker::blocking(Tokio::new(), 1, move |millis: u64| {
        count.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(millis));
        Ok::<_, String>(millis)
    });
    let worker = worker.expect("a thread").grace(MINUTE);
    let serving = tokio::spawn(async { worker.serve(TcpListener::new(listener)).await });

    let front = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
    let address = front.local_addr().expect("it is bound").to_string();
    let (cut, relayed) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (cuts, links) = (Arc::clone(&cut), Arc::clone(&relayed));
    let relay = tokio::spawn(async move {
        while let Ok((near, _)) = front.accept().await {
            links.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = carry(near, behind) => {}
                () = cuts.notified() => {}
            }
        }
    });

    let connector = TcpConnector::new(Tokio::new(), &address).expect("an address");
    let (pool, driver) = Pool::builder(Tokio::new())
        .connect(connector)
        .configure(|config| config.grace = MINUTE)
        .build()
        .expect("limits in range");
    let driver = tokio::spawn(driver);
    let mut task = pool.submit::<u64, u64>(&3000).await.expect("it is taken");
    task.started().await.expect("a worker takes it");
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(800)).await;
        cut.notify_one();
    }
    assert_eq!(task.await, Ok(3000));
    assert_eq!(begun.load(Ordering::Relaxed), 1, "once");
    assert!(relayed.load(Ordering::Relaxed) >= 2, "though its link broke");
    let stats = pool.stop().await.expect("the driver lives");
    assert_eq!((stats.tasks.sent, stats.tasks.lost), (1, 0), "{stats:?}");
    driver.await.expect("no panic");
    serving.abort();
    relay.abort();
}

#[test]
fn a_worker_with_many_kept_answers_says_them_again_and_keeps_its_link() {
    let (world, seen) = (World::new(11), Seen::default());
    let worker = host(&world, "one", 5 * MINUTE, &seen);
    let pool = world.pool(|builder| builder.in_flight(200).configure(patient));
    for _ in 0..600 {
        assert_eq!(world.run(pool.call::<u64, u64>(&0)), Ok(0));
    }
    let task = submit(&world, &pool, 30);
    world.at(world.elapsed() + 10 * SECOND, worker.loses_link());
    assert_eq!(world.run(task), Ok(30));
    assert_eq!(seen.begun(), 601);
    let stats = world.run(pool.stats()).unwrap();
    assert_eq!((stats.tasks.sent, stats.tasks.lost), (601, 0));
}
