//! Attempts that have not started: requests queued in a worker's window, and requests that were never sent.
//! Neither may use up attempts of their tasks (decision 0025).

#[path = "support/by_hand.rs"]
mod by_hand;

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use by_hand::{Peer, poll};
use chargehand::core::message::{Code, Message};
use chargehand::core::{Config, TaskId};
use chargehand::memory::{MemoryListener, pair};
use chargehand::testing::World;
use chargehand::{DisconnectReason, Pool, PoolEvent, Task, TaskError, TaskOptions};

type Running = Pin<Box<Task<u64>>>;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A pool with one hand-written peer, over a wire that holds `room` messages.
struct Rig {
    world: World,
    pool: Pool,
    peer: Peer,
    listener: MemoryListener,
    events: chargehand::Events,
}

impl Rig {
    fn new(room: usize, runs: u16, window: u16, change: impl FnOnce(&mut Config)) -> Self {
        let (connector, mut listener) = pair(room);
        let world = World::new(5);
        let pool = world.pool(|builder| {
            builder.connect(connector).in_flight(window).configure(|config| {
                config.trust_initial = u32::from(window);
                change(config);
            })
        });
        let events = pool.events();
        world.advance(Duration::ZERO);
        let peer = greeted(&world, &mut listener, runs);
        Self { world, pool, peer, listener, events }
    }

    fn submit(&self, count: u64) -> Vec<Running> {
        let submit = |number| self.pool.try_submit::<u64, u64>(number).expect("there is room");
        let tasks = (0..count).map(submit).map(Box::pin).collect();
        self.world.advance(Duration::ZERO);
        tasks
    }

    /// Advances time while the peer answers pings. Returns the requests that arrived.
    fn live(&mut self, seconds: u64) -> Vec<(TaskId, u16)> {
        let mut requests = Vec::new();
        for _ in 0..=seconds {
            while let Some(request) = self.peer.hear(|message| match message {
                Message::Request { task, attempt, .. } => Some(Some((task, attempt))),
                Message::Ping => Some(None),
                _ => None,
            }) {
                match request {
                    Some(Some(request)) => requests.push(request),
                    Some(None) => self.peer.say(&Message::Pong, &[]),
                    None => {}
                }
            }
            self.world.advance(secs(1));
        }
        requests
    }

    /// The reasons why links were lost.
    fn losses(&mut self) -> Vec<DisconnectReason> {
        let mut losses = Vec::new();
        while let Poll::Ready(Some(event)) = poll(std::pin::pin!(self.events.next())) {
            if let PoolEvent::Lost { reason, .. } = event {
                losses.push(reason);
            }
        }
        losses
    }

    fn timed_out(&self) -> u64 {
        self.world.run(self.pool.stats()).expect("the driver lives").tasks.timed_out
    }
}

/// Accepts a link and sends Hello as a worker.
fn greeted(world: &World, listener: &mut MemoryListener, runs: u16) -> Peer {
    let mut peer = Peer::accept(listener).expect("it is dialled");
    peer.hello("by hand", runs, u32::MAX);
    let mut heard = Vec::new();
    while !heard.contains(&"Welcome") {
        world.advance(Duration::ZERO);
        heard.extend(peer.hear_all());
        assert!(heard.len() <= 2, "{heard:?}");
    }
    peer
}

#[test]
fn what_waits_in_a_window_longer_than_an_attempt_may_take_is_done_at_once_when_it_is_its_turn() {
    for (runs, window) in [(1, 16), (2, 16), (8, 64)] {
        let mut rig = Rig::new(1024, runs, window, |config| {
            config.attempt_timeout = secs(30);
            config.attempts_max = 1;
        });
        let mut tasks = rig.submit(100);
        let mut waiting = std::collections::VecDeque::new();
        // The worker takes 20 s per task and runs the oldest one it holds.
        for _ in 0..100_u64.div_ceil(u64::from(runs)) {
            waiting.extend(rig.live(19));
            for request in waiting.drain(..usize::from(runs).min(waiting.len())) {
                rig.peer.answer(request, 7);
            }
            rig.world.advance(Duration::ZERO);
        }
        for task in &mut tasks {
            assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(7)), "runs {runs}, window {window}");
        }
        assert_eq!((rig.timed_out(), rig.losses().len()), (0, 0), "runs {runs}, window {window}");
    }
}

#[test]
fn a_task_that_hangs_before_others_that_wait_is_found_within_twice_its_time() {
    for (runs, window) in [(1, 16), (2, 16)] {
        let mut rig = Rig::new(1024, runs, window, |config| {
            config.attempt_timeout = secs(30);
            config.attempts_max = 1;
        });
        let mut tasks = rig.submit(40);
        let mut waiting = rig.live(0);
        rig.peer.answer(waiting.remove(0), 7);
        waiting.extend(rig.live(0));
        // All but the oldest finish in time, once they have started.
        for _ in 0..7 {
            waiting.extend(rig.live(9));
            if runs > 1 && waiting.len() > 1 {
                rig.peer.answer(waiting.remove(1), 7);
            }
        }
        let stats = rig.world.run(rig.pool.stats()).expect("the driver lives").tasks;
        assert_eq!(stats.exhausted, 1, "runs {runs}: {stats:?}");
        let ended = poll(tasks[1].as_mut());
        assert_eq!(ended, Poll::Ready(Err(TaskError::Exhausted { attempts: 1 })), "runs {runs}");
    }
}

#[test]
fn a_task_that_did_not_wait_has_no_longer_than_its_time() {
    // Before the first answer no more is sent than the worker runs.
    let mut rig = Rig::new(1024, 2, 16, |config| config.attempt_timeout = secs(30));
    let _tasks = rig.submit(16);
    assert_eq!(rig.live(28).len(), 2);
    assert_eq!(rig.timed_out(), 0);
    rig.live(1);
    assert_eq!(rig.timed_out(), 2);
}

#[test]
fn a_hole_that_answers_pings_ends_by_its_strikes_and_costs_only_what_may_have_begun() {
    let mut rig = Rig::new(1024, 2, 16, |config| {
        config.attempt_timeout = secs(30);
        config.attempts_max = 1;
    });
    let mut tasks = rig.submit(40);
    for _ in 0..12 {
        for request in rig.live(0).into_iter().take(2) {
            rig.peer.answer(request, 7);
        }
    }
    rig.live(0);
    tasks.retain_mut(|task| poll(task.as_mut()).is_pending());
    let held = rig.world.run(rig.pool.stats()).expect("the driver lives").tasks.in_flight;
    assert!(held > 10, "{held}");
    rig.live(150);
    let losses = rig.losses();
    assert!(matches!(losses[..], [DisconnectReason::Strikes(_)]), "{losses:?}");
    assert_eq!(is_exhausted(&mut tasks).iter().filter(|is_exhausted| **is_exhausted).count(), 2);
}

/// Submits requests of which only the first are sent: then the peer reads no more.
fn stuck(runs: u16, count: u64, change: impl FnOnce(&mut Config)) -> (Rig, Vec<Running>) {
    let rig = Rig::new(2, runs, runs, |config| {
        config.attempts_max = 1;
        change(config);
    });
    let tasks = rig.submit(count);
    (rig, tasks)
}

/// Tells for each task whether it is exhausted. The others are still waiting.
fn is_exhausted(tasks: &mut [Running]) -> Vec<bool> {
    let exhausted = |task: &mut Running| match poll(task.as_mut()) {
        Poll::Pending => false,
        Poll::Ready(Err(TaskError::Exhausted { attempts: 1 })) => true,
        Poll::Ready(other) => panic!("{other:?}"),
    };
    tasks.iter_mut().map(exhausted).collect()
}

#[test]
fn what_never_left_a_link_that_fell_silent_counts_nothing() {
    let (mut rig, mut tasks) = stuck(8, 6, |_| {});
    for _ in 0..25 {
        rig.world.advance(secs(1));
    }
    let losses = rig.losses();
    assert!(matches!(losses[..], [DisconnectReason::Silent(_)]), "{losses:?}");
    assert_eq!(is_exhausted(&mut tasks), [true, true, false, false, false, false]);
}

#[test]
fn what_never_left_a_link_that_struck_out_counts_nothing() {
    for strikes_max in [1, 2] {
        let (mut rig, mut tasks) = stuck(8, 6, |config| {
            config.attempt_timeout = secs(5);
            config.strikes_max = strikes_max;
        });
        for _ in 0..8 {
            rig.world.advance(secs(1));
        }
        let losses = rig.losses();
        assert_eq!(losses, [DisconnectReason::Strikes(strikes_max)]);
        assert_eq!(is_exhausted(&mut tasks), [true, true, false, false, false, false]);
        // They are done on the next link, which is not blamed either.
        rig.world.advance(secs(1));
        let mut peer = greeted(&rig.world, &mut rig.listener, 8);
        for _ in 0..4 {
            rig.world.advance(Duration::ZERO);
            let request = peer.request();
            peer.answer(request, 1);
        }
        rig.world.advance(Duration::ZERO);
        for task in &mut tasks[2..] {
            assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(1)));
        }
    }
}

#[test]
fn a_link_that_takes_no_request_at_all_costs_nobody_an_attempt() {
    let (mut rig, tasks) = stuck(8, 2, |config| config.attempt_timeout = secs(5));
    drop(tasks);
    // Their cancels fill the wire, which is never read again.
    let mut tasks = rig.submit(5);
    for _ in 0..8 {
        rig.world.advance(secs(1));
    }
    let losses = rig.losses();
    assert_eq!(losses, [DisconnectReason::Stuck]);
    assert_eq!(is_exhausted(&mut tasks), [false; 5]);
}

/// The oldest attempt has its time again, since it may have waited; and the link falls silent in that very moment.
#[test]
fn what_never_left_counts_nothing_where_an_attempt_and_its_link_come_due_together() {
    let mut rig = Rig::new(1, 2, 6, |config| {
        config.attempts_max = 1;
        config.attempt_timeout = secs(20);
        (config.heartbeat_interval, config.heartbeat_timeout) = (secs(10), secs(10));
    });
    let mut tasks = rig.submit(6);
    let first = [rig.live(0), rig.live(0)].concat();
    assert_eq!(first.len(), 2, "as many as it runs, one after the other");
    for request in first {
        rig.peer.answer(request, 7);
        rig.world.advance(Duration::ZERO);
    }
    // It is heard, and sent to, in one moment, and reads nothing from then on.
    for _ in 0..=20 {
        rig.world.advance(secs(1));
    }
    let losses = rig.losses();
    assert!(matches!(losses[..], [DisconnectReason::Silent(_)]), "{losses:?}");
    assert_eq!(is_exhausted(&mut tasks[2..]), [true, false, false, false]);
}

#[test]
fn a_task_whose_own_deadline_passes_before_it_could_leave_costs_its_link_nothing() {
    let (mut rig, mut tasks) = stuck(8, 2, |_| {});
    let hasty = rig.pool.with(TaskOptions::new().deadline(secs(3)));
    let mut hasty = Box::pin(hasty.try_submit::<u64, u64>(7).expect("there is room"));
    for _ in 0..5 {
        rig.world.advance(secs(1));
    }
    assert_eq!(poll(hasty.as_mut()), Poll::Ready(Err(TaskError::TimedOut)));
    assert_eq!(rig.losses(), []);
    assert_eq!(is_exhausted(&mut tasks), [false, false]);
}

#[test]
fn what_waited_behind_one_that_ended_by_its_own_time_has_all_of_its_time_from_then() {
    // It has its own time twice, since it may have waited itself.
    let [deadline, timeout] =
        [TaskOptions::new().deadline(secs(30)), TaskOptions::new().attempt_timeout(secs(10))];
    for (options, ends, answered) in [(deadline, 30, 45), (timeout, 20, 35)] {
        let mut rig = Rig::new(1024, 1, 4, |config| {
            config.attempts_max = 1;
            config.attempt_timeout = secs(20);
        });
        let mut tasks = rig.submit(1);
        let first = rig.live(0);
        rig.peer.answer(first[0], 7);
        rig.world.advance(Duration::ZERO);
        // It hangs until the worker is told to drop it, and the next one begins then.
        let hasty = rig.pool.with(options).try_submit::<u64, u64>(7).expect("there is room");
        tasks.extend(rig.submit(1));
        let asked = rig.live(answered);
        assert_eq!(asked.len(), 2);
        rig.peer.answer(asked[1], 7);
        rig.world.advance(Duration::ZERO);
        assert!(matches!(poll(Box::pin(hasty).as_mut()), Poll::Ready(Err(_))));
        for task in &mut tasks {
            assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(7)), "one that ended after {ends} s");
        }
        assert_eq!(rig.losses(), [], "one that ended after {ends} s");
    }
}

/// A poll reads a part of what has come, and what it sends then finds the link over.
#[test]
fn what_came_before_the_end_of_a_link_counts_though_nothing_can_be_sent_on_it_any_more() {
    const WINDOW: u16 = 300;
    for is_polite in [false, true] {
        let mut rig = Rig::new(1024, WINDOW, WINDOW, |config| config.attempts_max = 1);
        let mut tasks = rig.submit(2 * u64::from(WINDOW));
        let held: Vec<_> = (0..WINDOW).map(|_| rig.peer.request()).collect();
        for request in held {
            rig.peer.answer(request, 5);
        }
        if is_polite {
            rig.peer.say(&Message::Goodbye { code: Code::Stopped, text: "done" }, &[]);
        }
        let Rig { world, pool, peer, mut events, .. } = rig;
        drop(peer);
        world.advance(Duration::ZERO);
        let stats = world.run(pool.stats()).expect("the driver lives").tasks;
        assert_eq!((stats.done, stats.lost, stats.exhausted), (u64::from(WINDOW), 0, 0));
        let answers = tasks.iter_mut().map(|task| poll(task.as_mut()));
        let done = answers.filter(|answer| *answer == Poll::Ready(Ok(5)));
        assert_eq!(done.count(), usize::from(WINDOW));
        let mut why = Vec::new();
        while let Poll::Ready(Some(event)) = poll(std::pin::pin!(events.next())) {
            if let PoolEvent::Lost { reason, .. } = event {
                why.push(reason.to_string());
            }
        }
        assert!(why.len() == 1 && why[0].contains("done") == is_polite, "{why:?}");
    }
}
