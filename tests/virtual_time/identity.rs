//! Peers whose transport has proven who they are, and crowds of others beside them.

use std::time::Duration;

use chargehand::core::message::{Code, Message, Role};
use chargehand::core::{Instant, WorkerId};
use chargehand::memory::{MemoryConnector, pair};
use chargehand::{DisconnectReason, PoolEvent, WorkerInfo};

use crate::by_hand::Peer;
use crate::world::{World, greet};
use crate::{millis, secs};

/// A pool that workers dial in to, and how they do.
fn world_with(
    set: impl FnOnce(crate::world::Setup) -> crate::world::Setup,
) -> (World, MemoryConnector) {
    let (connector, listener) = pair(64);
    let world = World::new(|builder| set(builder.accept(listener)), |_| {});
    (world, connector)
}

/// A peer that has said its Hello.
fn comes(world: &World, connector: &MemoryConnector, name: &str, token: u64) -> Peer {
    let mut peer = Peer::dial(&mut connector.clone());
    peer.say(&Message::hello(Role::Worker, 1, token, name), &[]);
    world.settle();
    peer
}

/// What a newcomer is told after the manager's Hello.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Welcome,
    Goodbye(Code),
    Nothing,
}

fn told(peer: &mut Peer) -> Told {
    let is_hello = peer.hear(|message| matches!(message, Message::Hello(_)));
    assert_eq!(is_hello, Some(true), "it is greeted");
    let next = peer.hear(|message| match message {
        Message::Welcome { .. } => Told::Welcome,
        Message::Goodbye { code, .. } => Told::Goodbye(code),
        other => panic!("{other:?}"),
    });
    next.unwrap_or(Told::Nothing)
}

fn join(world: &World, connector: &MemoryConnector, name: &str, token: u64) -> Peer {
    let mut peer = comes(world, connector, name, token);
    assert_eq!(told(&mut peer), Told::Welcome, "{name}");
    peer
}

fn turned_away(world: &World) -> DisconnectReason {
    let log = world.take_log();
    match &log[..] {
        [(_, PoolEvent::TurnedAway { reason, .. })] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

fn worker(world: &World, name: &str) -> Option<WorkerInfo> {
    world.stats().workers.into_iter().find(|worker| &*worker.peer == name)
}

fn id(world: &World, name: &str) -> WorkerId {
    worker(world, name).expect("it is known").id
}

fn assert_no_time_passed(world: &World) {
    assert_eq!(world.now(), Instant::EPOCH);
}

#[test]
fn a_name_that_is_not_the_proven_one_is_refused_and_both_are_told() {
    let (world, connector) = world_with(|builder| builder);
    for name in ["w1", "w2x", "w2/", "W2"] {
        let mut liar = comes(&world, &connector.clone().proven("w2"), name, 1);
        assert_eq!(told(&mut liar), Told::Goodbye(Code::NotAllowed));
        let log = world.take_log();
        let [(_, event @ PoolEvent::TurnedAway { identity, reason, .. })] = &log[..] else {
            panic!("{log:?}")
        };
        let expected = DisconnectReason::WrongName { name: name.into(), identity: "w2".into() };
        assert_eq!(*reason, expected);
        assert_eq!(identity.as_deref(), Some("w2"));
        for part in [format!("{name:?}"), "\"w2\"".to_owned()] {
            assert!(event.to_string().contains(&part), "{event}");
        }
        assert!(world.stats().workers.is_empty());
    }
    assert_no_time_passed(&world);
}

#[test]
fn a_worker_that_is_dialled_goes_by_its_proven_name_as_well() {
    let (connector, listener) = pair(64);
    let mut listener = listener.proven("w2");
    let world = World::new(|builder| builder.connect(connector), |_| {});
    let mut liar = Peer::accept(&mut listener).expect("it is dialled");
    liar.say(&Message::hello(Role::Worker, 1, 1, "w1"), &[]);
    let task = world.submit(3);
    assert_eq!(told(&mut liar), Told::Goodbye(Code::NotAllowed));
    let log = world.take_log();
    assert!(
        matches!(&log[..], [(_, PoolEvent::Refused {
        reason: DisconnectReason::WrongName { name, identity }, .. })]
        if name == "w1" && identity == "w2"),
        "{log:?}"
    );
    drop(task);

    let again = (0..60).find_map(|_| {
        world.advance(secs(1));
        Peer::accept(&mut listener)
    });
    let mut honest = again.expect("it is dialled again");
    greet(&mut honest, &world, "w2/a", 1);
    let worker = world.stats().workers.remove(0);
    assert_eq!(worker.identity.as_deref(), Some("w2"));
}

#[test]
fn an_identity_and_its_instances_are_workers_of_their_own_and_shown() {
    let (world, connector) = world_with(|builder| builder);
    let proven = connector.clone().proven("w1");
    let _links = ["w1", "w1/2", "w1/3"].map(|name| join(&world, &proven, name, 1));
    let _stranger = join(&world, &connector, "x", 1);
    for (name, identity) in [("w1", Some("w1")), ("w1/3", Some("w1")), ("x", None)] {
        let worker = worker(&world, name).expect("it is there");
        assert_eq!(worker.identity.as_deref(), identity, "{name}");
    }
    let log = world.take_log();
    let shown = log.iter().filter(|(_, event)| event.to_string().contains("proven to be \"w1\""));
    assert_eq!(shown.count(), 3, "{log:?}");
}

#[test]
fn who_has_not_proven_a_name_neither_takes_it_nor_waits_for_it() {
    let (world, connector) = world_with(|builder| builder);
    let proven = connector.clone().proven("w1");
    let mut w1 = join(&world, &proven, "w1", 1);
    world.take_log();
    // With its very token, with another, and another member: at once, without asking the worker.
    let others = [(connector.clone(), 1), (connector.clone(), 2)];
    for (connector, token) in others {
        let mut stranger = comes(&world, &connector, "w1", token);
        assert_eq!(told(&mut stranger), Told::Goodbye(Code::NotAllowed));
        let DisconnectReason::NotTheirs { name, owner, identity: None } = turned_away(&world)
        else {
            panic!("another reason")
        };
        assert_eq!((&*name, &*owner), ("w1", "w1"));
        assert_eq!(w1.hear(|_| ()), None, "it is not asked");
    }
    // Nor once it is away.
    drop(w1);
    world.settle();
    world.take_log();
    let mut stranger = comes(&world, &connector, "w1", 1);
    assert_eq!(told(&mut stranger), Told::Goodbye(Code::NotAllowed));
    world.take_log();
    let _back = join(&world, &proven, "w1", 2);
    assert_no_time_passed(&world);
}

#[test]
fn a_name_between_two_identities_stays_with_the_first() {
    let (world, connector) = world_with(|builder| builder);
    let _first = join(&world, &connector.clone().proven("w1"), "w1/3", 1);
    world.take_log();
    let mut second = comes(&world, &connector.clone().proven("w1/3"), "w1/3", 1);
    assert_eq!(told(&mut second), Told::Goodbye(Code::NotAllowed));
    let reason = turned_away(&world);
    for part in ["w1/3", "\"w1\"", "\"w1/3\""] {
        assert!(reason.to_string().contains(part), "{reason}");
    }
}

#[test]
fn who_proves_a_name_takes_it_from_a_stranger_at_once() {
    let (world, connector) = world_with(|builder| builder);
    let mut stranger = join(&world, &connector, "w1", 1);
    let before = id(&world, "w1");
    let _w1 = join(&world, &connector.clone().proven("w1"), "w1", 2);
    assert_eq!(stranger.goodbye().0, Code::Displaced);
    let after = worker(&world, "w1").expect("it is there");
    assert_eq!((after.id, after.identity.as_deref()), (before, Some("w1")));
    assert_no_time_passed(&world);
}

#[test]
fn two_processes_of_one_identity_and_name_are_rivals_as_ever() {
    let (world, connector) = world_with(|builder| builder);
    let proven = connector.proven("w1");
    let mut first = join(&world, &proven, "w1", 1);
    let mut second = comes(&world, &proven, "w1", 2);
    assert_eq!(told(&mut second), Told::Nothing, "it is held");
    assert_eq!(first.hear(|message| matches!(message, Message::Ping)), Some(true));
    first.say(&Message::Pong, &[]);
    world.advance(secs(2));
    assert_eq!(second.goodbye().0, Code::NameTaken);
}

#[test]
fn a_crowd_that_comes_by_a_workers_name_neither_floods_it_with_pings_nor_takes_the_name() {
    // A worker takes 256 in an interval, of a second at least, and two for each place in its window.
    for (interval, most) in [(secs(10), 70), (secs(300), 70), (millis(50), 900)] {
        let (connector, listener) = pair(64);
        let world = World::new(
            |builder| builder.accept(listener),
            |config| {
                config.heartbeat_interval = interval;
                config.heartbeat_timeout = interval;
            },
        );
        let mut honest = join(&world, &connector, "w1", 1);
        world.take_log();
        let mut pings = 0;
        for token in 2..1002 {
            drop(comes(&world, &connector, "w1", token));
            while let Some(is_ping) = honest.hear(|message| matches!(message, Message::Ping)) {
                assert!(is_ping);
                pings += 1;
                honest.say(&Message::Pong, &[]);
            }
            world.advance(millis(10));
        }
        assert!((1..=most).contains(&pings), "{pings} pings in ten seconds, {interval:?}");
        // One that stays is told so, also where the answer came before it did.
        let mut late = comes(&world, &connector, "w1", 2000);
        while honest.hear(|_| ()).is_some() {
            honest.say(&Message::Pong, &[]);
        }
        assert_eq!(told(&mut late), Told::Nothing, "it is held");
        world.advance(interval.min(secs(2)));
        assert_eq!(late.goodbye().0, Code::NameTaken);
        assert!(worker(&world, "w1").is_some_and(|worker| worker.stats.links == 1));
    }
}

#[test]
fn a_worker_that_is_gone_loses_its_name_however_many_come_by_it() {
    let (world, connector) = world_with(|builder| builder);
    let silent = join(&world, &connector, "w1", 1);
    let mut first = comes(&world, &connector, "w1", 2);
    assert_eq!(told(&mut first), Told::Nothing, "it is held");
    for token in 3..13 {
        world.advance(millis(100));
        drop(comes(&world, &connector, "w1", token));
    }
    world.advance(secs(1));
    assert_eq!(first.hear(|message| message.kind()), Some("Welcome"));
    drop(silent);
}

#[test]
fn one_identity_has_no_more_links_than_its_share() {
    let (world, connector) = world_with(|builder| builder.links_per_identity(3));
    let w1 = connector.clone().proven("w1");
    let links = ["w1/1", "w1/2", "w1/3"].map(|name| join(&world, &w1, name, 1));
    world.take_log();
    let mut fourth = comes(&world, &w1, "w1/4", 1);
    assert_eq!(told(&mut fourth), Told::Goodbye(Code::Busy));
    let reason = turned_away(&world);
    for part in ["\"w1\"", "links_per_identity", "3"] {
        assert!(reason.to_string().contains(part), "{reason}");
    }
    // Another one has its own share, and one that connects anew needs no other.
    let _w2 = join(&world, &connector.clone().proven("w2"), "w2", 1);
    let _again = join(&world, &w1, "w1/3", 1);
    drop(links);
    world.settle();
    let _fourth = join(&world, &w1, "w1/4", 1);
}

#[test]
fn a_host_has_no_more_links_than_its_share_unless_it_is_this_machine() {
    let (world, connector) = world_with(|builder| builder.workers_max(6));
    let far = connector.clone().on_host("10.0.0.9");
    let _links = ["a", "b", "c"].map(|name| join(&world, &far, name, 1));
    let mut fourth = comes(&world, &far, "d", 1);
    assert_eq!(told(&mut fourth), Told::Goodbye(Code::Busy));
    assert!(world.take_log().iter().any(|(_, event)| event.to_string().contains("links_per_host")));
    let near = connector.clone().on_host("127.0.0.1");
    let _near = join(&world, &near, "e", 1);
    let _links = ["f", "g"].map(|name| join(&world, &near, name, 1));
}

#[test]
fn a_host_that_fills_the_handshakes_pushes_out_its_own_only() {
    let set = |builder: crate::world::Setup| builder.handshakes_max(16);
    let (world, connector) = world_with(set);
    let good = connector.clone().on_host("10.0.0.1");
    let mut slow = Peer::dial(&mut good.clone());
    world.settle();
    // Neither from one host nor from a dozen.
    let mut crowd = Vec::new();
    for number in 0..500 {
        let host = format!("10.0.1.{}", number % 12);
        crowd.push(Peer::dial(&mut connector.clone().on_host(&host)));
        world.settle();
    }
    for _ in 0..500 {
        crowd.push(Peer::dial(&mut connector.clone().on_host("10.0.0.9")));
        world.settle();
    }
    slow.say(&Message::hello(Role::Worker, 1, 1, "slow"), &[]);
    world.settle();
    assert_eq!(told(&mut slow), Told::Welcome);
    let _good = join(&world, &good, "good", 1);
    assert_no_time_passed(&world);
}

#[test]
fn strangers_push_nobody_out_who_has_proven_who_it_is() {
    let (world, connector) = world_with(|builder| builder.handshakes_max(4));
    let mut slow = Peer::dial(&mut connector.clone().proven("w1"));
    world.settle();
    let mut crowd = Vec::new();
    for number in 0..50 {
        let host = format!("10.0.1.{number}");
        crowd.push(Peer::dial(&mut connector.clone().on_host(&host)));
        world.settle();
    }
    slow.say(&Message::hello(Role::Worker, 1, 1, "w1"), &[]);
    world.settle();
    assert_eq!(told(&mut slow), Told::Welcome);
}

#[test]
fn one_identity_pushes_out_its_own_handshakes_only() {
    let set = |builder: crate::world::Setup| builder.handshakes_per_identity(2);
    let (world, connector) = world_with(set);
    let mut slow = Peer::dial(&mut connector.clone().proven("w2"));
    let w1 = connector.clone().proven("w1");
    let mut crowd: Vec<Peer> = (0..50)
        .map(|_| {
            let peer = Peer::dial(&mut w1.clone());
            world.settle();
            peer
        })
        .collect();
    let log = world.take_log();
    let pushed = |event: &PoolEvent| {
        matches!(event, PoolEvent::TurnedAway { identity: Some(identity), reason, .. }
            if &**identity == "w1" && *reason == DisconnectReason::PushedOut)
    };
    assert_eq!(log.iter().filter(|(_, event)| pushed(event)).count(), 48, "{log:?}");
    assert_eq!(log.len(), 48, "{log:?}");
    for (peer, name) in [(&mut slow, "w2"), (crowd.last_mut().expect("fifty"), "w1")] {
        peer.say(&Message::hello(Role::Worker, 1, 1, name), &[]);
        world.settle();
        assert_eq!(told(peer), Told::Welcome);
    }
}

#[test]
fn in_a_full_pool_idle_workers_of_the_greediest_host_make_room_for_others() {
    let set = |builder: crate::world::Setup| builder.workers_max(8).links_per_host(8);
    let (world, connector) = world_with(set);
    let greedy = connector.clone().on_host("10.0.0.9");
    let mut crowd: Vec<Peer> = (0..8)
        .map(|number| {
            let peer = join(&world, &greedy, &format!("invented {number}"), 1);
            world.advance(millis(1));
            peer
        })
        .collect();
    let started = world.now();
    // Sits on a task, and has done nothing all the same.
    let task = world.submit(3);
    let good = connector.clone().on_host("10.0.0.1");
    let _good = ["a", "b", "c", "d"].map(|name| join(&world, &good, name, 1));
    // Each has half: nobody gives way to an equal, nor to its own.
    for connector in [&good, &greedy] {
        let mut late = comes(&world, connector, "late", 1);
        assert_eq!(told(&mut late), Told::Goodbye(Code::Busy));
    }
    let names: Vec<_> = world.stats().workers.iter().map(|worker| worker.peer.clone()).collect();
    for name in ["a", "b", "c", "d", "invented 7"] {
        assert!(names.iter().any(|one| &**one == name), "{name} of {names:?}");
    }
    let gave_way = world.take_log().into_iter().filter(|(_, event)| {
        matches!(event, PoolEvent::Lost { reason: DisconnectReason::GaveWay, .. })
    });
    assert_eq!(gave_way.count(), 4);
    assert_eq!(world.now(), started, "at once");
    drop((task, crowd.pop()));
}

#[test]
fn strangers_make_room_for_members_and_members_never_for_strangers() {
    let (world, connector) = world_with(|builder| builder.workers_max(2));
    let mut strangers = ["10.0.0.8", "10.0.0.9"].map(|host| {
        let stranger = join(&world, &connector.clone().on_host(host), host, 1);
        world.advance(millis(1));
        stranger
    });
    // Even of use.
    let mut tasks = Vec::new();
    for stranger in &mut strangers {
        tasks.push(world.submit(1));
        if let Some(request) = stranger.hear(|message| match message {
            Message::Request { task, attempt, .. } => Some((task, attempt)),
            _ => None,
        }) {
            stranger.answer(request.expect("a request"), 1);
            world.settle();
        }
    }
    let _w1 = join(&world, &connector.clone().proven("w1"), "w1", 1);
    let _w2 = join(&world, &connector.clone().proven("w2"), "w2", 1);
    let mut stranger = comes(&world, &connector.clone().on_host("10.0.0.7"), "x", 1);
    assert_eq!(told(&mut stranger), Told::Goodbye(Code::Busy));
    // Among members it is as among hosts.
    let mut third = comes(&world, &connector.clone().proven("w3"), "w3", 1);
    assert_eq!(told(&mut third), Told::Goodbye(Code::Busy));
    let names: Vec<_> = world.stats().workers.iter().map(|worker| worker.peer.clone()).collect();
    assert_eq!(names.iter().filter(|name| ["w1", "w2"].contains(&&***name)).count(), 2);
}

#[test]
fn new_names_are_no_way_around_an_identitys_delay() {
    let (world, connector) = world_with(|builder| builder);
    let w1 = connector.clone().proven("w1");
    for number in 0..3 {
        let idler = join(&world, &w1, &format!("w1/{number}"), 1);
        drop(idler);
        world.settle();
    }
    let mut late = join(&world, &w1, "w1/late", 1);
    let task = world.submit(3);
    assert_eq!(late.hear(|_| ()), None, "it has to wait");
    // The other one's record is its own.
    let mut other = join(&world, &connector.clone().proven("w2"), "w2", 1);
    let request = other.request();
    other.answer(request, 4);
    world.settle();
    drop(task);
    assert!(world.now().saturating_since(Instant::EPOCH) < Duration::from_secs(1));
}
