//! What workers say they still have of their last link, as a pool takes it: true, false, and far too much.

use std::time::Duration;

use chargehand::core::TaskId;
use chargehand::core::message::{
    Code, ExtensionsWriter, GRACE_EXTENSION, HELD_BYTES_MAX, Hello, Holding, Message, Role,
};
use chargehand::memory::{MemoryListener, pair};
use chargehand::testing::World;
use chargehand::{Pool, TaskError};

use crate::by_hand::Peer;
use crate::{MINUTE, SECOND, patient, submit};

/// A pool that dials one peer by hand, and waits a minute for it.
fn by_hand() -> (World, Pool, Peer, MemoryListener) {
    let world = World::new(11);
    let (connector, mut listener) = pair(4096);
    let pool = world.pool(|builder| {
        builder.connect(connector).configure(|config| {
            patient(config);
            config.grace = MINUTE;
        })
    });
    world.advance(Duration::ZERO);
    let peer = greet(&world, &mut listener, 7, 60_000);
    (world, pool, peer, listener)
}

/// Says what a worker says that goes on for so long, and hears the Welcome.
fn greet(world: &World, listener: &mut MemoryListener, token: u64, millis: u32) -> Peer {
    let mut peer = Peer::accept(listener).expect("it is dialled");
    let mut buffer = [0; 8];
    let mut extensions = ExtensionsWriter::new(&mut buffer);
    extensions.add(GRACE_EXTENSION, &millis.to_le_bytes()).unwrap();
    let hello = Hello::new(Role::Worker, 4, token, "by hand");
    peer.say(&Message::Hello(Hello { extensions: extensions.finish(), ..hello }), &[]);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear(|message| message.kind()), Some("Hello"));
    let value = peer.hear(|message| match message {
        Message::Welcome { extensions, .. } => extensions.get(GRACE_EXTENSION).map(<[u8]>::to_vec),
        other => panic!("{other:?}"),
    });
    let value = value.flatten().expect("it is waited for");
    assert_eq!((value.len(), &value[..4]), (12, &60_000_u32.to_le_bytes()[..]));
    peer
}

fn hold(peer: &mut Peer, held: &[(TaskId, u16)]) {
    let mut frame = vec![0; 1 + held.len() * HELD_BYTES_MAX];
    let frame = Holding::encode(held.iter().copied(), &mut frame).unwrap();
    peer.send(frame, &[]);
}

#[test]
fn a_worker_that_names_what_it_never_held_or_names_it_twice_loses_its_link() {
    let (world, pool, mut peer, mut listener) = by_hand();
    let _task = submit(&world, &pool, 1);
    let (task, attempt) = peer.request();
    hold(&mut peer, &[(task, attempt + 1)]);
    world.advance(Duration::ZERO);
    assert!(peer.goodbye().1.contains("never held"));
    drop(peer);
    world.advance(5 * SECOND);
    let mut peer = greet(&world, &mut listener, 7, 60_000);
    hold(&mut peer, &[]);
    hold(&mut peer, &[]);
    world.advance(Duration::ZERO);
    let goodbye = std::iter::from_fn(|| {
        peer.hear(|message| match message {
            Message::Goodbye { code, text } => Some((code, text.to_owned())),
            _ => None,
        })
    });
    let (code, text) = goodbye.flatten().next().expect("a Goodbye");
    assert_eq!(code, Code::BadMessage);
    assert!(text.contains("twice"), "{text}");
}

#[test]
fn what_a_worker_has_of_another_process_with_the_same_token_answers_no_task_of_this_one() {
    let (world, pool, mut peer, mut listener) = by_hand();
    let task = submit(&world, &pool, 1);
    // Its number is that of the first task of any process.
    let same = peer.request();
    hold(&mut peer, &[same]);
    peer.answer(same, 666);
    world.advance(Duration::ZERO);
    assert!(peer.goodbye().1.contains("seed"));
    drop(peer);
    world.advance(5 * SECOND);
    let mut peer = greet(&world, &mut listener, 7, 60_000);
    hold(&mut peer, &[]);
    world.advance(Duration::ZERO);
    let again = peer.request();
    assert_eq!(again.1, 2);
    peer.answer(again, 9);
    world.advance(Duration::ZERO);
    assert_eq!(world.run(task), Ok(9));
}

#[test]
fn a_worker_is_told_to_drop_what_it_still_holds_and_nobody_waits_for() {
    let (world, pool, mut peer, mut listener) = by_hand();
    let tasks = [1, 2].map(|number| submit(&world, &pool, number));
    let held = [peer.request(), peer.request()];
    drop(peer);
    world.advance(Duration::ZERO);
    let [first, second] = tasks;
    first.cancel();
    assert_eq!(world.run(first), Err(TaskError::Cancelled));
    world.advance(5 * SECOND);
    let mut peer = greet(&world, &mut listener, 7, 60_000);
    hold(&mut peer, &held);
    world.advance(Duration::ZERO);
    let told = peer.hear(|message| match message {
        Message::Cancel { task, attempt } => (task, attempt),
        other => panic!("{other:?}"),
    });
    assert_eq!(told, Some(held[0]));
    peer.answer(held[1], 9);
    world.advance(Duration::ZERO);
    assert_eq!(world.run(second), Ok(9));
}

#[test]
fn a_manager_that_waits_for_nobody_says_nothing_of_it_and_takes_no_list() {
    let world = World::new(11);
    let (connector, mut listener) = pair(64);
    let _pool = world.pool(|builder| builder.connect(connector));
    world.advance(Duration::ZERO);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled");
    let mut buffer = [0; 8];
    let mut extensions = ExtensionsWriter::new(&mut buffer);
    extensions.add(GRACE_EXTENSION, &60_000_u32.to_le_bytes()).unwrap();
    let hello = Hello::new(Role::Worker, 4, 7, "by hand");
    peer.say(&Message::Hello(Hello { extensions: extensions.finish(), ..hello }), &[]);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear(|message| message.kind()), Some("Hello"));
    let says = peer.hear(|message| match message {
        Message::Welcome { extensions, .. } => extensions.get(GRACE_EXTENSION).is_some(),
        other => panic!("{other:?}"),
    });
    assert_eq!(says, Some(false));
    hold(&mut peer, &[]);
    world.advance(Duration::ZERO);
    assert_eq!(peer.goodbye().0, Code::BadMessage);
}

/// A pool whose one worker is back after it gave a task that nobody waits for any more.
fn back_with_one_that_is_over() -> (World, Pool, Peer, (TaskId, u16)) {
    let (world, pool, mut peer, mut listener) = by_hand();
    let task = submit(&world, &pool, 1);
    let over = peer.request();
    peer.answer(over, 1);
    assert_eq!(world.run(task), Ok(1));
    drop(peer);
    world.advance(5 * SECOND);
    let peer = greet(&world, &mut listener, 7, 60_000);
    (world, pool, peer, over)
}

#[test]
fn what_a_worker_names_again_and_again_it_is_told_once_to_drop() {
    let (world, pool, mut peer, over) = back_with_one_that_is_over();
    hold(&mut peer, &vec![over; 4096]);
    world.advance(Duration::ZERO);
    assert_eq!(peer.hear_all(), ["Cancel"]);
    let task = submit(&world, &pool, 2);
    let asked = peer.request();
    peer.answer(asked, 2);
    assert_eq!(world.run(task), Ok(2), "its link is none the worse for it");
}

#[test]
fn a_worker_that_names_more_than_it_can_have_loses_its_link_and_is_told_the_limit() {
    let (world, _pool, mut peer, over) = back_with_one_that_is_over();
    hold(&mut peer, &vec![over; 4097]);
    world.advance(Duration::ZERO);
    let (code, text) = peer.goodbye();
    assert_eq!(code, Code::BadMessage);
    assert!(text.contains("4096") && text.contains("window_max"), "{text}");
}
