//! A whole pool in one thread on a clock that is moved by hand: what takes hours takes no time, and
//! every deadline is exact.

#[path = "../support/by_hand.rs"]
mod by_hand;
mod identity;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chargehand::core::io::{Exposure, Listen, Timer};
use chargehand::core::message::{Code, Extensions, Hello, Message, Role};
use chargehand::core::{BackoffPolicy, Instant, Jitter, Verdict};
use chargehand::memory::{MemoryConnector, MemoryError, MemoryListener, MemoryWire, pair};
use chargehand::{DisconnectReason, PoolEvent, TaskError, Worker};

use by_hand::{Peer, poll};
use world::{World, greet, with_peer};

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The last moment that is not yet `span`.
fn just_before(span: Duration) -> Duration {
    span.saturating_sub(millis(1))
}

#[test]
fn a_workers_unknown_extensions_change_nothing() {
    let (connector, mut listener) = pair(64);
    let world = World::new(|builder| builder.connect(connector), |_| {});
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    let extensions = Extensions::new(&[0x07, 3, 1, 2, 3, 0x80, 0x80, 0x01, 0]).expect("two");
    let hello = Hello { extensions, ..Hello::new(Role::Worker, 1, 1, "later") };
    peer.say(&Message::Hello(hello), &[]);
    world.settle();
    assert_eq!(peer.hear(|message| matches!(message, Message::Hello(_))), Some(true));
    assert_eq!(peer.hear(|message| matches!(message, Message::Welcome { .. })), Some(true));
    let mut task = Box::pin(world.submit(3));
    let request = peer.request();
    peer.answer(request, 7);
    world.settle();
    assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(7)));
}

#[test]
fn the_managers_hello_says_the_longest_frame_that_it_takes() {
    let (connector, mut listener) = pair(64);
    let world = World::new(|builder| builder.connect(connector).frame_bytes_max(5000), |_| {});
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    world.settle();
    let told = peer.hear(|message| match message {
        Message::Hello(hello) => hello.frame_bytes_max,
        other => panic!("no Hello but {other:?}"),
    });
    assert_eq!(told, Some(5000));
}

#[test]
fn an_attempt_that_is_given_back_is_sent_again_and_its_text_dropped() {
    let (world, mut peer, _listener) = with_peer(1, |_| {});
    let mut task = Box::pin(world.submit(3));
    let (id, attempt) = peer.request();
    let verdict = Verdict::Returned;
    peer.say(&Message::Response { task: id, attempt, verdict, body: &[] }, b"I am about to stop");
    world.settle();
    assert_eq!(poll(task.as_mut()), Poll::Pending);
    let again = peer.request();
    assert_eq!(again, (id, attempt + 1));
    peer.answer(again, 7);
    world.settle();
    assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(7)));
}

#[test]
fn a_workers_goodbye_for_a_reason_of_a_later_version_is_one() {
    let (world, mut peer, _listener) = with_peer(1, |_| {});
    peer.say(&Message::Goodbye { code: Code::Other(200), text: "new" }, &[]);
    world.settle();
    let log = world.take_log();
    let [(_, PoolEvent::Lost { reason, .. })] = &log[..] else { panic!("{log:?}") };
    assert_eq!(*reason, DisconnectReason::Goodbye { code: Code::Other(200), text: "new".into() });
}

#[test]
fn reconnects_back_off_to_the_cap_with_jitter_and_never_stop() {
    let (connector, listener) = pair(8);
    drop(listener); // Whoever dials is refused at once.
    let cap = secs(30);
    let world = World::new(|builder| builder.connect(connector), |_| {});
    world.advance(secs(3600));
    let at: Vec<Instant> = world
        .take_log()
        .into_iter()
        .map(|(at, event)| {
            assert!(matches!(event, PoolEvent::Refused { .. }), "{event:?}");
            at
        })
        .collect();
    assert_eq!(at[0], Instant::EPOCH, "the first try is at once");
    let gaps: Vec<Duration> = at.windows(2).map(|two| two[1].saturating_since(two[0])).collect();
    let policy = BackoffPolicy::new().jitter(Jitter::None);
    for (attempts, gap) in (1..).zip(&gaps) {
        assert!(*gap <= policy.delay(attempts, 0), "after {attempts} attempts: {gap:?}");
        assert!(*gap <= cap);
    }
    // An hour of full jitter below 30 s: 240 tries are expected, with a deviation of 9.
    assert!((180..320).contains(&gaps.len()), "{} tries", gaps.len());
    let mut later = gaps[10..].to_vec();
    later.sort_unstable();
    later.dedup();
    assert!(later.len() > 150, "jitter spreads them");
}

#[test]
fn without_jitter_the_schedule_is_that_of_the_go_package_capped() {
    let (connector, listener) = pair(8);
    drop(listener);
    let world = World::new(
        |builder| builder.connect(connector),
        |config| config.backoff = BackoffPolicy::powers_of_two(secs(60)),
    );
    world.advance(secs(310));
    let at: Vec<Instant> = world.take_log().into_iter().map(|(at, _)| at).collect();
    let expected = [0, 2, 6, 14, 30, 62, 122, 182, 242, 302];
    assert_eq!(at, expected.map(|at| Instant::from_millis(at * 1000)));
}

#[test]
fn a_useful_answer_resets_the_backoff_and_a_mere_connect_does_not() {
    let (connector, mut listener) = pair(8);
    let world = World::new(
        |builder| builder.connect(connector),
        |config| config.backoff = BackoffPolicy::powers_of_two(secs(60)),
    );
    // Up for a moment, and gone, five times.
    for delay in [2, 4, 8, 16, 32] {
        let mut peer = Peer::accept(&mut listener).expect("it is dialled");
        greet(&mut peer, &world, "flapping", 1);
        drop(peer);
        world.settle();
        world.advance(just_before(secs(delay)));
        assert!(Peer::accept(&mut listener).is_none(), "not before {delay} s");
        world.advance(millis(1));
    }
    let mut peer = Peer::accept(&mut listener).expect("it is dialled");
    greet(&mut peer, &world, "useful", 1);
    let mut task = Box::pin(world.submit(3));
    let request = peer.request();
    peer.answer(request, 7);
    world.settle();
    assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(7)));
    drop(peer);
    world.settle();
    world.advance(secs(2));
    assert!(Peer::accept(&mut listener).is_some(), "it starts over");
}

#[test]
fn an_idle_link_is_pinged_after_the_interval_and_lost_after_the_timeout() {
    let (world, mut peer, _listener) = with_peer(1, |config| {
        config.heartbeat_interval = secs(10);
        config.heartbeat_timeout = secs(3);
    });
    let is_ping = |message: Message<'_>| matches!(message, Message::Ping);
    for _ in 0..3 {
        world.advance(just_before(secs(10)));
        assert_eq!(peer.hear(is_ping), None);
        world.advance(millis(1));
        assert_eq!(peer.hear(is_ping), Some(true));
        // The last moment is good enough.
        world.advance(just_before(secs(3)));
        peer.say(&Message::Pong, &[]);
        world.settle();
    }
    world.advance(secs(10));
    assert_eq!(peer.hear(is_ping), Some(true));
    world.advance(just_before(secs(3)));
    assert_eq!(world.take_log(), []);
    world.advance(millis(1));
    assert_eq!(peer.goodbye().0, Code::Timeout);
    let log = world.take_log();
    assert!(matches!(&log[..], [(_, PoolEvent::Lost { .. })]), "{log:?}");
}

#[test]
fn a_connect_has_a_deadline_of_its_own() {
    let (connector, mut listener) = pair(8);
    let world =
        World::new(|builder| builder.connect(connector), |config| config.connect_timeout = secs(4));
    let _silent = Peer::accept(&mut listener).expect("it is dialled at once");
    world.advance(just_before(secs(4)));
    assert_eq!(world.take_log(), []);
    world.advance(millis(1));
    let log = world.take_log();
    let [(_, PoolEvent::Lost { reason, .. } | PoolEvent::Refused { reason, .. })] = &log[..] else {
        panic!("{log:?}")
    };
    assert_eq!(*reason, DisconnectReason::ConnectTimeout(secs(4)));
    assert!(reason.to_string().contains("connect_timeout (4s)"), "{reason}");
}

#[test]
fn a_handshake_that_came_in_has_the_same_deadline() {
    let (mut connector, listener) = pair(8);
    let world =
        World::new(|builder| builder.accept(listener), |config| config.connect_timeout = secs(4));
    let mut silent = Peer::dial(&mut connector);
    world.settle();
    world.advance(just_before(secs(4)));
    assert_eq!(world.take_log(), []);
    world.advance(millis(1));
    let log = world.take_log();
    let [(_, PoolEvent::TurnedAway { peer, reason, .. })] = &log[..] else { panic!("{log:?}") };
    assert_eq!(&**peer, "in this process");
    assert_eq!(*reason, DisconnectReason::HandshakeTimeout(secs(4)));
    assert_eq!(silent.hear(|message| matches!(message, Message::Hello(_))), Some(true));
    assert_eq!(silent.goodbye().0, Code::Timeout);
}

/// A listener that cannot take anybody for as long as it is told.
struct Starved(MemoryListener, Arc<AtomicBool>);

impl Listen for Starved {
    type Wire = MemoryWire;
    type Error = MemoryError;
    type Accepting = <MemoryListener as Listen>::Accepting;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, MemoryError>> {
        if self.1.load(Ordering::Relaxed) {
            return Poll::Ready(Err(MemoryError::Closed));
        }
        self.0.poll_accept(cx)
    }

    fn exposure(&self) -> Exposure {
        Exposure::Local
    }
}

#[test]
fn a_listener_that_can_take_nobody_is_tried_less_and_less_often_and_never_given_up() {
    let (mut connector, listener) = pair(8);
    let is_starved = Arc::new(AtomicBool::new(true));
    let starved = Starved(listener, Arc::clone(&is_starved));
    let world = World::new(|builder| builder.accept(starved), |_| {});
    let mut worker = Peer::dial(&mut connector);
    // The first failure was before anybody listened to events.
    world.advance(millis(50));
    for pause in [100, 200, 400, 800, 1000, 1000] {
        let log = world.take_log();
        let [(_, PoolEvent::AcceptFailed { pause: told, .. })] = &log[..] else {
            panic!("{log:?}")
        };
        assert_eq!(*told, millis(pause));
        world.advance(just_before(millis(pause)));
        assert_eq!(world.take_log(), []);
        world.advance(millis(1));
    }
    is_starved.store(false, Ordering::Relaxed);
    worker.say(&Message::Hello(Hello::new(Role::Worker, 1, 1, "late")), &[]);
    world.advance(secs(1));
    assert_eq!(world.stats().tasks.workers_up, 1);
}

#[test]
fn an_attempt_that_outlives_its_deadline_is_sent_again_until_its_limit() {
    let (world, mut peer, _listener) = with_peer(1, |config| {
        config.attempt_timeout = secs(5);
        config.attempts_max = 3;
        config.strikes_max = 100;
        config.heartbeat_interval = secs(3600);
    });
    let mut task = Box::pin(world.submit(3));
    for attempt in 1..=3 {
        let (id, number) = peer.request();
        assert_eq!(number, attempt);
        world.advance(just_before(secs(5)));
        assert!(peer.hear(|_| ()).is_none());
        assert!(poll(task.as_mut()).is_pending());
        world.advance(millis(1));
        let cancel = peer.hear(|message| message == Message::Cancel { task: id, attempt });
        assert_eq!(cancel, Some(true), "it is taken back");
    }
    assert_eq!(poll(task.as_mut()), Poll::Ready(Err(TaskError::Exhausted { attempts: 3 })));
    let stats = world.stats().tasks;
    assert_eq!((stats.timed_out, stats.exhausted, stats.workers_up), (3, 1, 1));
}

#[test]
fn as_many_strikes_in_a_row_close_the_link() {
    let (world, mut peer, _listener) = with_peer(1, |config| {
        config.attempt_timeout = secs(5);
        config.strikes_max = 2;
    });
    let _task = world.submit(3);
    let _ = peer.request();
    world.advance(secs(5));
    let is_cancel = |message: Message<'_>| matches!(message, Message::Cancel { .. });
    assert_eq!(peer.hear(is_cancel), Some(true));
    let _ = peer.request();
    world.take_log();
    world.advance(secs(5));
    let lost: Vec<_> = world.take_log();
    let [(_, PoolEvent::Lost { reason, .. }), ..] = &lost[..] else { panic!("{lost:?}") };
    assert_eq!(*reason, DisconnectReason::Strikes(2));
    assert!(reason.to_string().contains("attempt_timeout"), "{reason}");
}

#[test]
fn a_drain_ends_at_its_deadline_to_the_millisecond() {
    let (world, mut peer, _listener) = with_peer(1, |_| {});
    let mut held = Box::pin(world.submit(1));
    let mut queued = Box::pin(world.submit(2));
    let _ = peer.request();
    let pool = world.pool.clone();
    let mut stop = Box::pin(async move { pool.stop_within(secs(7)).await });
    assert!(poll(stop.as_mut()).is_pending());
    world.settle();
    world.advance(just_before(secs(7)));
    assert!(poll(held.as_mut()).is_pending());
    assert!(poll(queued.as_mut()).is_pending());
    assert!(poll(stop.as_mut()).is_pending());
    world.advance(millis(1));
    assert_eq!(poll(held.as_mut()), Poll::Ready(Err(TaskError::Aborted)));
    assert_eq!(poll(queued.as_mut()), Poll::Ready(Err(TaskError::Aborted)));
    // The Goodbye may take its time, but not for ever.
    world.advance(secs(5));
    let Poll::Ready(stats) = poll(stop.as_mut()) else { panic!("the pool does not end") };
    assert_eq!(stats.expect("the driver lived").tasks.aborted, 2);
    assert!(world.over.get(), "the driver has ended");
}

#[test]
fn a_drain_that_is_done_early_does_not_wait() {
    let (world, mut peer, _listener) = with_peer(1, |_| {});
    let mut held = Box::pin(world.submit(1));
    let request = peer.request();
    let pool = world.pool.clone();
    let mut stop = Box::pin(async move { pool.stop_within(secs(7)).await });
    assert!(poll(stop.as_mut()).is_pending());
    world.settle();
    peer.answer(request, 3);
    world.settle();
    assert_eq!(poll(held.as_mut()), Poll::Ready(Ok(3)));
    assert_eq!(peer.goodbye().0, Code::Stopped);
    drop(peer);
    world.settle();
    assert!(poll(stop.as_mut()).is_ready());
    assert_eq!(world.now(), Instant::EPOCH);
}

#[test]
fn a_worker_that_dials_in_is_forgotten_after_its_absence_and_not_before() {
    let (mut connector, listener) = pair(8);
    let world =
        World::new(|builder| builder.accept(listener), |config| config.absent_max = secs(600));
    let come = |world: &World, connector: &mut MemoryConnector| {
        let mut peer = Peer::dial(connector);
        world.settle();
        greet(&mut peer, world, "rover", 1);
        peer
    };
    drop(come(&world, &mut connector));
    world.settle();
    world.advance(secs(599));
    // Back in time: the same worker.
    drop(come(&world, &mut connector));
    world.settle();
    assert_eq!(world.stats().workers[0].stats.links, 2);
    world.take_log();
    world.advance(just_before(secs(600)));
    assert_eq!(world.stats().workers.len(), 1);
    world.advance(millis(1));
    assert_eq!(world.stats().workers.len(), 0);
    let log = world.take_log();
    assert!(matches!(&log[..], [(_, PoolEvent::Gone { .. })]), "{log:?}");
    // Too late: a new one.
    let _peer = come(&world, &mut connector);
    assert_eq!(world.stats().workers[0].stats.links, 1);
}

#[test]
fn a_failed_task_waits_its_delay_before_it_is_tried_again() {
    let (connector, listener) = pair(8);
    let world = World::new(
        |builder| builder.connect(connector),
        |config| {
            config.retries_max = 2;
            config.retry_delay = secs(30);
        },
    );
    let tried = Rc::new(RefCell::new(Vec::new()));
    let (times, clock) = (Rc::clone(&tried), world.timer());
    let work = move |_: u64| {
        times.borrow_mut().push(clock.now());
        async { Err::<u64, _>("no") }
    };
    let worker = Worker::new(world.timer(), work).name("moody");
    world.spawn(async move {
        worker.serve(listener).await.expect("the settings are in range");
    });
    world.settle();
    let mut task = Box::pin(world.submit(1));
    let begun = world.now();
    world.advance(secs(61));
    assert_eq!(poll(task.as_mut()), Poll::Ready(Err(TaskError::Failed("no".into()))));
    let expected = [0, 30, 60].map(|after| begun.saturating_add(secs(after)));
    assert_eq!(*tried.borrow(), expected);
}

#[test]
fn a_pool_and_its_worker_idle_for_a_day_keep_their_link() {
    let (connector, listener) = pair(8);
    let world = World::new(|builder| builder.connect(connector), |_| {});
    let worker = Worker::new(world.timer(), |height: u64| async move { Ok::<_, String>(height) });
    world.spawn(async move {
        worker.serve(listener).await.expect("the settings are in range");
    });
    world.settle();
    world.advance(secs(24 * 3600));
    let mut task = Box::pin(world.submit(5));
    world.settle();
    assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(5)));
    let stats = world.stats();
    assert_eq!((stats.workers[0].stats.links, stats.tasks.workers_up), (1, 1));
}

#[test]
fn many_workers_that_fall_together_come_back_spread_out() {
    let mut listeners = Vec::new();
    let world = World::new(
        |mut builder| {
            for _ in 0..100 {
                let (connector, listener) = pair(8);
                builder = builder.connect(connector);
                listeners.push(listener);
            }
            builder
        },
        |config| {
            config.backoff = config.backoff.base(secs(10));
            config.connect_timeout = secs(60);
        },
    );
    let mut peers: Vec<Peer> = Vec::new();
    for listener in &mut listeners {
        let mut peer = Peer::accept(listener).expect("it is dialled at once");
        greet(&mut peer, &world, "one of many", 1);
        peers.push(peer);
    }
    peers.clear();
    world.settle();
    assert_eq!(world.stats().tasks.workers_up, 0);
    // The first try is jittered already.
    let mut back = Vec::new();
    for _ in 0..10 {
        world.advance(secs(1));
        let before = peers.len();
        peers.extend(listeners.iter_mut().filter_map(Peer::accept));
        back.push(peers.len() - before);
    }
    assert_eq!(back.iter().sum::<usize>(), 100);
    assert!(back.iter().all(|count| *count < 30), "{back:?}");
}
