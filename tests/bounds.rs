//! The manager's limits on what a worker may send and on the length of requests, each tested with a peer whose
//! messages are written by hand.

#[path = "support/by_hand.rs"]
mod by_hand;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use by_hand::{Peer, Probe, poll, probed};
use chargehand::core::message::{BODY_HEAD_BYTES_MAX, Code, HELLO_BYTES_MAX, Message};
use chargehand::memory::{MemoryListener, pair};
use chargehand::testing::World;
use chargehand::{Pool, PoolEvent, Task, TaskError, TaskOptions};

const UNLIMITED: usize = usize::MAX;

/// A pool that dials one hand-written peer.
struct Rig {
    world: World,
    pool: Pool,
    events: Rc<RefCell<Vec<PoolEvent>>>,
    listener: MemoryListener,
    probe: Probe,
}

impl Rig {
    fn new(message_bytes_max: usize) -> Self {
        let (connector, listener, probe) = probed(message_bytes_max);
        let world = World::new(3);
        let pool = world.pool(|builder| builder.connect(connector).frame_bytes_max(1 << 20));
        let events = Rc::<RefCell<Vec<_>>>::default();
        let (mut news, log) = (pool.events(), Rc::clone(&events));
        world.spawn(async move {
            while let Some(event) = news.next().await {
                log.borrow_mut().push(event);
            }
        });
        world.advance(Duration::ZERO);
        Self { world, pool, events, listener, probe }
    }

    /// Makes one whose link is up, to a peer that accepts frames of up to the given length.
    fn up(message_bytes_max: usize, frame_bytes_max: u32) -> (Self, Peer) {
        let mut rig = Self::new(message_bytes_max);
        let mut peer = Peer::accept(&mut rig.listener).expect("it is dialled at once");
        peer.hello("by hand", 8, frame_bytes_max);
        rig.settle();
        assert_eq!(peer.hear_all(), ["Hello", "Welcome"]);
        (rig, peer)
    }

    fn settle(&self) {
        self.world.advance(Duration::ZERO);
    }

    fn submit(&self, body: &[u8]) -> Task<u64> {
        let task = self.pool.try_submit::<u64, Vec<u8>>(body.to_vec()).expect("there is room");
        self.settle();
        task
    }

    /// Returns the reason if the link was lost or refused.
    fn why(&self) -> Option<String> {
        self.events.borrow().iter().find_map(|event| match event {
            PoolEvent::Lost { reason, .. } | PoolEvent::Refused { reason, .. } => {
                Some(reason.to_string())
            }
            _ => None,
        })
    }
}

#[test]
fn a_request_says_how_long_it_has_only_where_that_differs_and_there_is_room_for_it() {
    let (rig, mut peer) = Rig::up(UNLIMITED, 2000);
    let own = TaskOptions::new().attempt_timeout(Duration::from_secs(2));
    let hasty = rig.pool.with(own);
    let same = rig.pool.with(TaskOptions::new().attempt_timeout(Duration::from_secs(60)));
    let two_seconds = [1, 4, 0xd0, 7, 0, 0];
    // The longest body has 1,985 bytes, including a two-byte length.
    for (pool, bytes, said) in [
        (&rig.pool, 10, &[][..]),
        (&hasty, 10, &two_seconds),
        (&same, 10, &[]),
        (&hasty, 1977, &two_seconds),
        (&hasty, 1978, &[]),
        (&hasty, 1983, &[]),
    ] {
        pool.try_submit::<u64, Vec<u8>>(vec![0; bytes]).expect("there is room").detach();
        rig.settle();
        let heard = peer.hear(|message| match message {
            Message::Request { extensions, body, .. } => {
                assert!(BODY_HEAD_BYTES_MAX + extensions.as_bytes().len() + body.len() <= 2000);
                extensions.as_bytes().to_vec()
            }
            other => panic!("no request but {other:?}"),
        });
        assert_eq!(heard.expect("a request"), said, "{bytes} bytes");
    }
    assert_eq!(rig.why(), None);
}

#[test]
fn a_request_that_the_worker_takes_not_fails_alone_and_names_the_limit() {
    let (rig, mut peer) = Rig::up(UNLIMITED, 2000);
    let mut before = Box::pin(rig.submit(&[0; 10]));
    let mut long = Box::pin(rig.submit(&[0; 3000]));
    let mut after = Box::pin(rig.submit(&[0; 1900]));
    let Poll::Ready(Err(TaskError::Request(text))) = poll(long.as_mut()) else {
        panic!("it has its outcome at once")
    };
    for part in ["the worker at by hand", "3002 bytes", "2000 bytes", "raise frame_bytes_max"] {
        assert!(text.contains(part), "{text}");
    }
    // Nothing was sent about it.
    for task in [&mut before, &mut after] {
        let request = peer.request();
        peer.answer(request, 5);
        rig.settle();
        assert_eq!(poll(task.as_mut()), Poll::Ready(Ok(5)));
    }
    assert_eq!((peer.hear_all().len(), rig.why()), (0, None));
    let stats = rig.world.run(rig.pool.stats()).expect("the driver lives");
    assert_eq!((stats.tasks.workers_up, stats.tasks.lost), (1, 0));
}

#[test]
fn a_request_that_the_transport_sends_not_fails_alone_and_names_the_limit() {
    let (rig, mut peer) = Rig::up(2000, u32::MAX);
    let mut long = Box::pin(rig.submit(&[0; 3000]));
    let mut after = Box::pin(rig.submit(&[0; 10]));
    let Poll::Ready(Err(TaskError::Request(text))) = poll(long.as_mut()) else {
        panic!("it has its outcome at once")
    };
    for part in ["the transport to by hand", "2000 bytes", "connector or listener"] {
        assert!(text.contains(part), "{text}");
    }
    let request = peer.request();
    peer.answer(request, 5);
    rig.settle();
    assert_eq!((poll(after.as_mut()), rig.why()), (Poll::Ready(Ok(5)), None));
}

#[test]
fn a_request_that_is_too_long_fails_alone_also_where_it_waited_for_room() {
    let (connector, mut listener) = pair(1);
    let world = World::new(3);
    let pool = world.pool(|builder| builder.connect(connector));
    world.advance(Duration::ZERO);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    peer.hello("narrow", 8, 2000);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear(|message| message.kind()), Some("Hello"));
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear(|message| message.kind()), Some("Welcome"));
    let mut tasks: Vec<_> = [10, 3000, 3000, 10, 3000]
        .map(|length| pool.try_submit::<u64, Vec<u8>>(vec![0; length]).expect("there is room"))
        .into_iter()
        .map(Box::pin)
        .collect();
    for expected in [true, false, false, true, false] {
        world.advance(Duration::ZERO);
        let outcome = if expected {
            let request = peer.request();
            peer.answer(request, 1);
            world.advance(Duration::ZERO);
            poll(tasks[0].as_mut())
        } else {
            poll(tasks[0].as_mut())
        };
        match outcome {
            Poll::Ready(Ok(1)) if expected => {}
            Poll::Ready(Err(TaskError::Request(_))) if !expected => {}
            other => panic!("{other:?}"),
        }
        drop(tasks.remove(0));
    }
    assert_eq!(peer.hear_all().len(), 0);
}

#[test]
fn a_worker_that_takes_no_height_is_refused() {
    let mut rig = Rig::new(UNLIMITED);
    let mut peer = Peer::accept(&mut rig.listener).expect("it is dialled at once");
    peer.hello("tiny", 1, 20);
    rig.settle();
    assert_eq!(peer.hear(|message| message.kind()), Some("Hello"));
    let (code, text) = peer.goodbye();
    assert_eq!(code, Code::BadMessage);
    assert!(text.contains("20 bytes") && text.contains("frame_bytes_max"), "{text}");
}

#[test]
fn until_a_peer_has_said_hello_no_more_than_that_is_taken() {
    let mut rig = Rig::new(UNLIMITED);
    assert_eq!(rig.probe.limits(), [HELLO_BYTES_MAX]);
    let mut stranger = Peer::accept(&mut rig.listener).expect("it is dialled at once");
    stranger.send(&[0; HELLO_BYTES_MAX + 1], &[]);
    rig.settle();
    let why = rig.why().expect("it is refused");
    assert!(why.contains("1025 bytes") && why.contains("1024"), "{why}");

    let (rig, mut peer) = Rig::up(UNLIMITED, u32::MAX);
    assert_eq!(rig.probe.limits(), [HELLO_BYTES_MAX, 1 << 20]);
    let mut task = Box::pin(rig.submit(&[0]));
    let (task_id, attempt) = peer.request();
    peer.fail((task_id, attempt), &vec![b'x'; 1 << 19]);
    rig.settle();
    let Poll::Ready(Err(TaskError::Failed(text))) = poll(task.as_mut()) else {
        panic!("it is taken")
    };
    assert_eq!(text.text().len(), 16 << 10, "the text is cut where it comes in");
}

#[test]
fn whoever_dials_in_is_held_to_the_same() {
    let (mut connector, listener) = pair(8);
    let world = World::new(3);
    let pool = world.pool(|builder| builder.accept(listener));
    let mut events = pool.events();
    world.advance(Duration::ZERO);
    let mut stranger = Peer::dial(&mut connector);
    stranger.send(&[0; HELLO_BYTES_MAX + 1], &[]);
    world.advance(Duration::ZERO);
    let event = world.run(events.next()).expect("the driver lives");
    let PoolEvent::TurnedAway { reason, .. } = event else { panic!("{event:?}") };
    assert!(reason.to_string().contains("1025 bytes"), "{reason}");
}

#[test]
fn a_failure_without_a_text_ends_the_link_that_it_came_on() {
    let (rig, mut peer) = Rig::up(UNLIMITED, u32::MAX);
    let mut task = Box::pin(rig.submit(&[0]));
    let request = peer.request();
    peer.fail(request, b"caf\xe9");
    rig.settle();
    assert!(poll(task.as_mut()).is_pending(), "it goes elsewhere");
    let (code, text) = peer.goodbye();
    assert_eq!(code, Code::BadMessage);
    assert!(text.contains("UTF-8"), "{text}");
}

#[test]
fn a_text_is_cut_between_two_characters() {
    let (rig, mut peer) = Rig::up(UNLIMITED, u32::MAX);
    let mut task = Box::pin(rig.submit(&[0]));
    let request = peer.request();
    peer.fail(request, &[b"x", "é".repeat(10_000).as_bytes()].concat());
    rig.settle();
    let Poll::Ready(Err(TaskError::Failed(text))) = poll(task.as_mut()) else {
        panic!("it is taken")
    };
    assert_eq!(text.text().len(), (16 << 10) - 1);
}

#[test]
fn a_worker_says_once_that_it_wants_nothing_more() {
    let (rig, mut peer) = Rig::up(UNLIMITED, u32::MAX);
    let mut task = Box::pin(rig.submit(&[0]));
    let request = peer.request();
    peer.say(&Message::Drain, &[]);
    rig.settle();
    assert_eq!(rig.why(), None);
    peer.say(&Message::Drain, &[]);
    peer.answer(request, 1);
    rig.settle();
    let (code, text) = peer.goodbye();
    assert_eq!((code, &*text), (Code::BadMessage, "sent Drain twice"));
    assert!(poll(task.as_mut()).is_pending());
}

#[test]
fn what_is_no_work_is_taken_a_few_times_and_then_refused() {
    for (message, most) in [(Message::Pong, 64), (Message::Drain, 1)] {
        let (rig, mut peer) = Rig::up(UNLIMITED, u32::MAX);
        let _held = rig.submit(&[0]);
        for count in 1.. {
            peer.say(&message, &[]);
            rig.settle();
            if rig.why().is_some() {
                assert_eq!(count, most + 1);
                break;
            }
        }
    }
}
