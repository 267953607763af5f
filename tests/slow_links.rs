//! Slow links and a slow manager: bytes received count as a sign of life, data waiting in a socket arrived in
//! time, and a request that was never sent is not judged.

#[path = "support/by_hand.rs"]
mod by_hand;

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use by_hand::{Peer, Probe, poll, probed, probed_through};
use chargehand::core::Config;
use chargehand::core::message::Message;
use chargehand::memory::{MemoryListener, pair};
use chargehand::testing::{ManualTimer, World};
use chargehand::{Pool, PoolEvent, Task, TaskError};

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A pool that dials one hand-written peer, which is up and runs eight tasks at once.
struct Rig {
    world: World,
    pool: Pool,
    events: Rc<RefCell<Vec<PoolEvent>>>,
    probe: Probe,
    peer: Peer,
    _listener: MemoryListener,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let (connector, mut listener, probe) = probed(usize::MAX);
        let world = World::new(3);
        let pool = world.pool(|builder| builder.connect(connector).configure(change));
        let events = Rc::<RefCell<Vec<_>>>::default();
        let (mut news, log) = (pool.events(), Rc::clone(&events));
        world.spawn(async move {
            while let Some(event) = news.next().await {
                log.borrow_mut().push(event);
            }
        });
        world.advance(Duration::ZERO);
        let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
        peer.hello("slow", 8, u32::MAX);
        world.advance(Duration::ZERO);
        assert_eq!(peer.hear_all(), ["Hello", "Welcome"]);
        Self { world, pool, events, probe, peer, _listener: listener }
    }

    fn submit(&self) -> Pin<Box<Task<u64>>> {
        let task = self.pool.try_submit::<u64, u64>(1).expect("there is room");
        self.world.advance(Duration::ZERO);
        Box::pin(task)
    }

    /// Delivers the given number of bytes of a message each second.
    fn receives(&self, bytes: u64, seconds: u64) {
        for _ in 0..2 * seconds {
            self.world.advance(Duration::from_millis(500));
            self.probe.receives(bytes / 2);
        }
    }

    fn is_lost(&self) -> bool {
        self.events.borrow().iter().any(|event| matches!(event, PoolEvent::Lost { .. }))
    }

    fn timed_out(&self) -> u64 {
        self.world.run(self.pool.stats()).expect("the driver lives").tasks.timed_out
    }
}

#[test]
fn an_answer_that_arrives_slowly_is_neither_silence_nor_late() {
    let mut rig = Rig::new(|_| {});
    let mut task = rig.submit();
    let request = rig.peer.request();
    // The worker must hear from the manager too: its limit for silence is 20 s.
    let mut pings = Vec::new();
    for span in 1..=25 {
        rig.receives(2048, 12);
        let heard = rig.peer.hear_all();
        assert!(!heard.is_empty(), "nothing in {span} times 12 s after {pings:?}");
        pings.extend(heard);
    }
    assert!(!rig.is_lost());
    assert!((15..=30).contains(&pings.len()), "{pings:?}");
    assert!(pings.iter().all(|kind| *kind == "Ping"));
    rig.peer.answer(request, 7);
    rig.world.advance(Duration::ZERO);
    assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(7)));
}

#[test]
fn an_answer_that_dribbles_ends_its_link_as_silence_does() {
    let rig = Rig::new(|_| {});
    let _task = rig.submit();
    rig.receives(500, 25);
    assert!(rig.is_lost());
}

#[test]
fn an_answer_that_stops_in_the_middle_ends_with_its_link_soon() {
    let rig = Rig::new(|_| {});
    let _task = rig.submit();
    rig.receives(1 << 20, 100);
    assert!(!rig.is_lost());
    rig.world.advance(secs(35));
    assert!(rig.is_lost());
}

#[test]
fn the_least_rate_is_a_setting() {
    for (rate_min, is_lost) in [(100, false), (10_000, true)] {
        let (connector, mut listener, probe) = probed(usize::MAX);
        let world = World::new(3);
        let pool = world.pool(|builder| builder.connect(connector).progress_rate_min(rate_min));
        let mut events = pool.events();
        world.advance(Duration::ZERO);
        let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
        peer.hello("slow", 8, u32::MAX);
        world.advance(Duration::ZERO);
        for _ in 0..60 {
            world.advance(Duration::from_millis(500));
            probe.receives(500);
        }
        let mut lost = false;
        while let Poll::Ready(Some(event)) = poll(pin!(events.next())) {
            lost |= matches!(event, PoolEvent::Lost { .. });
        }
        assert_eq!(lost, is_lost, "at {rate_min}");
    }
}

#[test]
fn requests_that_leave_slowly_keep_their_link_and_have_their_time_from_then_on() {
    let mut rig = Rig::new(|config| config.attempt_timeout = secs(30));
    rig.probe.is_stuck(true);
    let mut task = rig.submit();
    for _ in 0..100 {
        rig.world.advance(secs(1));
        rig.probe.sends(5000);
    }
    rig.probe.is_stuck(false);
    rig.probe.sends(5000);
    // The request has been sent, so its full timeout applies, but no more. The peer answers pings.
    let mut live = |seconds: u64| {
        for _ in 0..seconds {
            rig.world.advance(secs(1));
            if rig.peer.hear_all().contains(&"Ping") {
                rig.peer.say(&Message::Pong, &[]);
            }
        }
        assert!(!rig.is_lost());
        rig.timed_out()
    };
    assert_eq!(live(29), 0);
    assert_eq!(live(12), 1);
    assert!(poll(task.as_mut()).is_pending());
}

#[test]
fn a_link_that_was_busy_is_pinged_and_given_up_as_soon_as_any() {
    let mut rig = Rig::new(|_| {});
    for _ in 0..100 {
        let mut task = rig.submit();
        let request = rig.peer.request();
        rig.receives(1 << 20, 1);
        rig.peer.answer(request, 1);
        rig.world.advance(Duration::ZERO);
        assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(1)));
    }
    rig.world.advance(secs(10));
    assert_eq!(rig.peer.hear_all(), ["Ping"]);
    assert!(!rig.is_lost());
    rig.world.advance(secs(10));
    assert!(rig.is_lost());
}

#[test]
fn an_attempt_that_hangs_is_found_beside_answers_that_flow() {
    let mut rig = Rig::new(|config| {
        config.attempt_timeout = secs(5);
        config.strikes_max = 1000;
    });
    let _hangs = rig.submit();
    let _ = rig.peer.request();
    let mut found = None;
    for round in 0..60 {
        let mut task = rig.submit();
        let request = rig.peer.request();
        rig.receives(50_000, 1);
        rig.peer.answer(request, 1);
        rig.world.advance(Duration::ZERO);
        assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(1)));
        if rig.timed_out() > 0 {
            found = Some(round);
            break;
        }
    }
    assert!(found.is_some_and(|round| round < 20), "{found:?}");
}

#[test]
fn an_attempt_that_hangs_beside_short_answers_is_found_at_its_deadline() {
    let mut rig = Rig::new(|config| {
        config.attempt_timeout = secs(5);
        config.strikes_max = 1000;
    });
    let _hangs = rig.submit();
    let _ = rig.peer.request();
    for round in 1..=5 {
        assert_eq!(rig.timed_out(), 0, "round {round}");
        for _ in 0..10 {
            let mut task = rig.submit();
            let request = rig.peer.request();
            rig.peer.answer(request, 1);
            // The bytes of these complete messages.
            rig.probe.receives(1000);
            rig.world.advance(Duration::from_millis(100));
            assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(1)));
        }
    }
    assert_eq!(rig.timed_out(), 1);
}

#[test]
fn a_ping_leaves_ahead_of_requests_that_wait_for_room() {
    let (connector, mut listener) = pair(2);
    let world = World::new(3);
    let pool = world.pool(|builder| builder.connect(connector));
    world.advance(Duration::ZERO);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    peer.hello("narrow", 8, u32::MAX);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear_all(), ["Hello", "Welcome"]);
    let _tasks: Vec<_> = (0..8_u64)
        .map(|number| pool.try_submit::<u64, u64>(number).expect("there is room"))
        .collect();
    world.advance(secs(11));
    assert_eq!(peer.hear_all(), ["Request", "Request"]);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear_all(), ["Ping", "Request"]);
}

/// A driver that is polled only when the test says so.
fn by_hand(change: impl FnOnce(&mut Config)) -> (ManualTimer, Pool, Peer, impl FnMut() -> bool) {
    let (connector, mut listener) = pair(64);
    let timer = ManualTimer::new();
    let builder = Pool::builder(timer.clone()).connect(connector).configure(change);
    let (pool, driver) = builder.build().expect("the settings are in range");
    let mut driver = Box::pin(driver);
    let mut turn = move || {
        // More often than it wakes itself without time passing.
        (0..20).any(|_| driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready())
    };
    turn();
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    peer.hello("patient", 8, u32::MAX);
    turn();
    assert_eq!(peer.hear_all(), ["Hello", "Welcome"]);
    (timer, pool, peer, turn)
}

#[test]
fn a_manager_that_was_away_takes_the_answers_that_lie_in_its_sockets() {
    let (timer, pool, mut peer, mut turn) = by_hand(|_| {});
    let submit = |number: u64| pool.try_submit::<u64, u64>(number).expect("there is room");
    let mut tasks: Vec<_> = (0..8).map(submit).map(Box::pin).collect();
    turn();
    for number in 0..8 {
        let request = peer.request();
        timer.advance(secs(1));
        peer.answer(request, number);
    }
    // Twice the attempt's timeout, and longer than any silence may last.
    timer.advance(secs(120));
    turn();
    for (task, number) in tasks.iter_mut().zip(0..) {
        assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(number)));
    }
    assert_eq!(peer.hear_all().len(), 0, "nothing is taken back");
}

#[test]
fn a_manager_that_was_away_judges_no_link_before_its_runtime_had_a_turn() {
    let (timer, pool, mut peer, mut turn) = by_hand(|_| {});
    let mut task = Box::pin(pool.try_submit::<u64, u64>(1).expect("there is room"));
    turn();
    let request = peer.request();
    timer.advance(secs(120));
    // The worker sent this long ago; the driver sees it only now.
    turn();
    assert_eq!(peer.hear_all(), ["Ping"], "neither a Cancel nor a Goodbye");
    peer.answer(request, 3);
    timer.advance(Duration::from_millis(10));
    turn();
    assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(3)));
}

#[test]
fn a_manager_that_is_always_late_judges_all_the_same() {
    let (timer, pool, mut peer, mut turn) = by_hand(|config| config.strikes_max = 100);
    let _task = pool.try_submit::<u64, u64>(1).expect("there is room");
    turn();
    let _ = peer.request();
    let mut heard = Vec::new();
    for _ in 0..10 {
        timer.advance(secs(40));
        turn();
        heard.extend(peer.hear_all());
    }
    assert!(heard.contains(&"Cancel") || heard.contains(&"Goodbye"), "{heard:?}");
}

#[test]
fn what_never_left_does_not_count_when_its_link_ends() {
    let (connector, mut listener) = pair(1);
    let world = World::new(3);
    let pool = world
        .pool(|builder| builder.connect(connector).configure(|config| config.attempts_max = 1));
    world.advance(Duration::ZERO);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    peer.hello("gone soon", 8, u32::MAX);
    for _ in 0..2 {
        world.advance(Duration::ZERO);
        assert_eq!(peer.hear_all().len(), 1);
    }
    let mut tasks: Vec<_> = (0..4_u64)
        .map(|number| Box::pin(pool.try_submit::<u64, u64>(number).expect("there is room")))
        .collect();
    world.advance(Duration::ZERO);
    drop(peer);
    world.advance(Duration::ZERO);
    let left = poll(tasks[0].as_mut());
    assert_eq!(left, Poll::Ready(Err(TaskError::Exhausted { attempts: 1 })));
    for task in &mut tasks[1..] {
        assert!(poll(task.as_mut()).is_pending(), "it waits for another link");
    }
}

/// Bytes move all the time, so the link is not silent; but an attempt that hangs ends it.
#[test]
fn what_never_left_does_not_count_where_an_attempt_ends_a_link_that_moves() {
    let (connector, mut listener, probe) = probed_through(1, usize::MAX);
    let world = World::new(3);
    let pool = world.pool(|builder| {
        builder.connect(connector).in_flight(4).configure(|config| {
            (config.trust_initial, config.attempts_max, config.strikes_max) = (4, 1, 1);
            config.attempt_timeout = secs(20);
            (config.heartbeat_interval, config.heartbeat_timeout) = (secs(10), secs(30));
        })
    });
    world.advance(Duration::ZERO);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    peer.hello("slow", 4, u32::MAX);
    for _ in 0..2 {
        world.advance(Duration::ZERO);
        assert_eq!(peer.hear_all().len(), 1);
    }
    let mut tasks: Vec<_> = (0..60_u64)
        .map(|number| Box::pin(pool.try_submit::<u64, u64>(number).expect("there is room")))
        .collect();
    world.advance(Duration::ZERO);
    let _hangs = peer.request();
    for second in 0..60 {
        world.advance(secs(1));
        probe.sends(4096);
        let asked = (second < 35).then(|| {
            peer.hear(|message| match message {
                Message::Request { task, attempt, .. } => Some((task, attempt)),
                _ => None,
            })
        });
        if let Some(Some(Some(request))) = asked {
            peer.answer(request, 1);
        }
    }
    let exhausted = TaskError::Exhausted { attempts: 1 };
    let ended: Vec<_> = tasks.iter_mut().map(|task| poll(task.as_mut())).collect();
    let lost = ended.iter().filter(|ended| **ended == Poll::Ready(Err(exhausted.clone()))).count();
    let done = ended.iter().filter(|ended| **ended == Poll::Ready(Ok(1))).count();
    assert_eq!(lost, 2, "what hangs, and what left behind it");
    assert_eq!(ended.iter().filter(|ended| ended.is_pending()).count(), 58 - done, "{ended:?}");
    assert!(done > 20, "{done}");
}
