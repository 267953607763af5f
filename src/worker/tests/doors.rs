//! Who gets in, who makes room, and who is sent away.

use core::future::ready;
use core::sync::atomic::AtomicUsize;

use chargehand_core::message::{ExtensionsWriter, SCHEMA_EXTENSION};

use super::sources::accept;
use super::told::told;
use super::*;

/// Meets a worker that may be full. Returns whether it let the manager in.
async fn knock(connector: &MemoryConnector) -> Option<Manager> {
    let mut manager = Manager::connect(connector).await;
    let first = manager.recv().await.expect("a Hello or a Goodbye");
    if let Ok(Message::Goodbye { code, .. }) = Message::decode(&first) {
        assert_eq!(code, Code::Busy);
        return None;
    }
    manager.welcome(1, 1 << 20).await;
    manager.ping().await;
    Some(manager)
}

async fn pass(timer: &ManualTimer, seconds: u64) {
    settle().await;
    timer.advance(Duration::from_secs(seconds));
    settle().await;
}

#[test]
fn a_manager_that_wants_a_long_heartbeat_is_given_up_when_twice_the_longest_has_passed() {
    let (worker, timer, connector, listener) = doubler();
    let worker = worker.heartbeat_max(Duration::from_secs(20));
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.send(&Message::hello(Role::Manager, 0, 7, "m"), &[]).await;
        let (heartbeat_millis, extensions) = (u32::MAX, Extensions::NONE);
        manager.send(&Message::Welcome { heartbeat_millis, window: 1, extensions }, &[]).await;
        for _ in 0..39 {
            pass(&timer, 1).await;
        }
        assert_eq!(smol::future::poll_once(manager.recv()).await, None, "it is not refused");
        for _ in 0..6 {
            pass(&timer, 1).await;
        }
        let (code, text) = manager.goodbye().await;
        assert_eq!(code, Code::Timeout);
        assert_eq!(text, DisconnectReason::Silent(Duration::from_secs(40)).to_string());
    });
}

#[test]
fn where_all_places_are_taken_the_link_that_was_idle_longest_makes_room() {
    let (worker, timer, connector, listener) = doubler();
    let worker = worker.links_max(3).heartbeat_max(Duration::from_secs(3600));
    let (events, hook) = log();
    beside(worker.on_event(hook).serve(listener), async {
        let mut useful = knock(&connector).await.expect("room");
        useful.ask(1, 1).await;
        useful.done().await;
        let mut oldest = knock(&connector).await.expect("room");
        pass(&timer, 4).await;
        let mut second = knock(&connector).await.expect("room");
        pass(&timer, 5).await;
        assert!(knock(&connector).await.is_none(), "nobody was idle for long enough");
        pass(&timer, 1).await;
        oldest.ping().await; // Which is no request.
        let third = knock(&connector).await.expect("the oldest makes room");
        assert_eq!(oldest.goodbye().await.0, Code::Busy);
        let last = events.lock().unwrap().iter().rev().nth(1).cloned();
        let Some(WorkerEvent::Disconnected { reason, .. }) = last else { panic!("{last:?}") };
        assert_eq!(reason, DisconnectReason::MadeRoom);
        assert!(knock(&connector).await.is_none(), "standbys do not push each other out at once");
        pass(&timer, 4).await;
        let _fourth = knock(&connector).await.expect("the second makes room");
        assert_eq!(second.goodbye().await.0, Code::Busy);
        useful.ping().await;
        drop(third);
    });
}

/// Meets a worker that has no room for one more of somebody, and returns what it says.
async fn words(connector: &MemoryConnector) -> String {
    let mut manager = Manager::connect(connector).await;
    let (code, text) = manager.goodbye().await;
    assert_eq!(code, Code::Busy);
    text
}

#[test]
fn one_identity_and_one_host_have_no_more_links_than_their_share_and_others_have_room() {
    for (who, limit) in [("m1", "links_per_identity"), ("10.0.0.9", "links_per_host")] {
        let (worker, timer, connector, listener) = doubler();
        let worker = worker.links_max(6).heartbeat_max(Duration::from_secs(3600));
        let of = |name: &str| match limit {
            "links_per_identity" => connector.clone().proven(name),
            _ => connector.clone().on_host(name),
        };
        beside(worker.serve(listener), async {
            let greedy = of(who);
            let mut first = knock(&greedy).await.expect("room");
            pass(&timer, 1).await;
            let _more = [knock(&greedy).await, knock(&greedy).await];
            // Half of all. It says nothing of itself to one more.
            let text = words(&greedy).await;
            assert!(text.contains(limit) && text.contains(who), "{text}");
            let _others = [
                knock(&of("other")).await.expect("its own share"),
                knock(&connector).await.expect("nothing tells who it is"),
                knock(&connector.clone().on_host("127.0.0.1")).await.expect("this machine"),
            ];
            // Its own idle ones make room for it, and nobody else's.
            pass(&timer, 9).await;
            let _fourth = knock(&greedy).await.expect("the oldest of its own makes room");
            assert_eq!(first.goodbye().await.0, Code::Busy);
        });
    }
}

#[test]
fn the_shares_of_a_workers_links_are_as_set() {
    let (worker, _timer, connector, listener) = doubler();
    let worker = worker.links_max(6).links_per_identity(1).links_per_host(2);
    beside(worker.serve(listener), async {
        let (m1, here) = (connector.clone().proven("m1"), connector.clone().on_host("127.0.0.1"));
        let _m1 = knock(&m1).await.expect("room");
        assert!(words(&m1).await.contains("links_per_identity"));
        let _here = [knock(&here).await.expect("room"), knock(&here).await.expect("room")];
        assert!(words(&here).await.contains("links_per_host"), "since it was set");
    });
}

#[test]
fn a_link_that_was_of_use_keeps_its_place_for_longer_and_while_it_holds_a_request_for_ever() {
    let (gate, opened) = async_channel::bounded::<()>(1);
    let (connector, listener) = pair(8);
    let timer = ManualTimer::new();
    let worker = Worker::new(timer.clone(), move |number: u64| {
        let opened = opened.clone();
        async move { opened.recv().await.map(|()| number) }
    })
    .links_max(1)
    .heartbeat_max(Duration::from_secs(3600));
    let minute = Duration::from_secs(60);
    beside(worker.serve(listener), async {
        let mut useful = Manager::meet(&connector).await;
        useful.ask(1, 1).await;
        for _ in 0..40 {
            settle().await;
            assert!(knock(&connector).await.is_none(), "it runs something");
            useful.ping().await;
            timer.advance(HEARTBEAT);
        }
        useful.ping().await;
        gate.send(()).await.unwrap();
        useful.done().await;
        // From the first look after its last request on.
        let mut idle = Duration::ZERO;
        while knock(&connector).await.is_none() {
            useful.ping().await;
            timer.advance(HEARTBEAT);
            idle += HEARTBEAT;
        }
        assert!(idle <= 5 * minute, "{idle:?}");
        assert_eq!(useful.goodbye().await.0, Code::Busy);
    });
}

#[test]
fn managers_that_say_nothing_do_not_lock_a_worker() {
    let (worker, timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        let mut silent = Vec::new();
        for _ in 0..64 {
            let (mut manager, _) = Manager::knock(&connector).await;
            manager.send(&Message::hello(Role::Manager, 0, 7, "m"), &[]).await;
            let (heartbeat_millis, extensions) = (u32::MAX, Extensions::NONE);
            let welcome = Message::Welcome { heartbeat_millis, window: 1, extensions };
            manager.send(&welcome, &[]).await;
            settle().await;
            silent.push(manager);
        }
        assert!(knock(&connector).await.is_none());
        pass(&timer, 10).await;
        let mut good = knock(&connector).await.expect("one of them makes room");
        good.ask(1, 1).await;
        assert_eq!(good.done().await, (1, 2));
    });
}

#[cfg(feature = "json")]
#[test]
fn idle_json_managers_do_not_lock_a_worker() {
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let timer = ManualTimer::new();
    beside(Worker::new(timer.clone(), double).links_max(2).serve(listener), async {
        let mut idle = Manager::connect(&connector).await;
        settle().await;
        let mut other = Manager::connect(&connector).await;
        settle().await;
        assert_eq!(Manager::connect(&connector).await.recv().await, None);
        pass(&timer, 10).await;
        let mut good = Manager::connect(&connector).await;
        assert_eq!(idle.recv().await, None);
        for manager in [&mut good, &mut other] {
            manager.send_bytes(b"{\"Height\":2}", &[]).await;
            assert_eq!(manager.recv().await.unwrap(), br#"{"Height":2,"Success":true,"Error":""}"#);
        }
    });
}

#[test]
fn a_listener_is_told_when_there_is_no_room_and_when_there_is_again() {
    let (connector, listener, talk) = told(Dialect::Native, 8);
    let timer = ManualTimer::new();
    let heard = || core::mem::take(&mut talk.lock().unwrap().is_full);
    beside(Worker::new(timer.clone(), double).links_max(2).serve(listener), async {
        let mut first = Manager::meet(&connector).await;
        settle().await;
        assert_eq!(heard(), [false; 0]);
        pass(&timer, 3).await;
        let second = Manager::meet(&connector).await;
        settle().await;
        assert_eq!(heard(), [true]);
        pass(&timer, 6).await;
        assert_eq!(heard(), [false; 0]);
        pass(&timer, 1).await;
        assert_eq!(heard(), [false], "the first would make room");
        let third = Manager::meet(&connector).await;
        assert_eq!(first.goodbye().await.0, Code::Busy);
        settle().await;
        assert_eq!(heard(), [true]);
        drop(second);
        settle().await;
        assert_eq!(heard(), [false]);
        drop(third);
        settle().await;
        assert_eq!(heard(), [false; 0]);
    });
}

#[test]
fn a_worker_that_was_sent_away_backs_off_whatever_it_did_and_says_so() {
    for (code, advice) in [
        (Code::NameTaken, "another live worker has this one's name there: give each its own name"),
        (Code::Displaced, "a newer link has this worker's name"),
        (Code::TooSoon, "came back too soon"),
        (Code::Busy, "no room for it"),
    ] {
        let (connector, mut listener) = pair(8);
        let timer = ManualTimer::new();
        let policy = BackoffPolicy::powers_of_two(Duration::from_secs(8));
        let (events, hook) = log();
        let worker = Worker::new(timer.clone(), double).backoff(policy).name("w").on_event(hook);
        beside(worker.dial(connector), async {
            for (is_up, delay) in [(true, 2), (false, 4), (true, 8), (true, 8)] {
                let mut manager = accept(&mut listener).await;
                manager.recv().await.expect("a Hello");
                if is_up {
                    manager.welcome(1, 1000).await;
                    manager.ask(1, 1).await;
                    manager.done().await;
                }
                manager.send(&Message::Goodbye { code, text: "so it is" }, &[]).await;
                settle().await;
                let last = events.lock().unwrap().pop();
                let text = last.as_ref().map(ToString::to_string).expect("an event");
                let Some(WorkerEvent::SentAway { peer, reason, pause }) = last else {
                    panic!("{last:?}")
                };
                assert_eq!(
                    (peer.as_str(), pause),
                    ("in this process", Some(Duration::from_secs(delay)))
                );
                assert_eq!(reason, DisconnectReason::Goodbye { code, text: "so it is".into() });
                assert!(text.contains("so it is") && text.contains(advice), "{text}");
                timer.advance(Duration::from_millis(delay * 1000 - 1));
                settle().await;
                let early = smol::future::poll_once(accept(&mut listener)).await;
                assert!(early.is_none(), "before {delay} s");
                timer.advance(Duration::from_millis(1));
            }
            // A polite end after work is none of these.
            let mut manager = accept(&mut listener).await;
            manager.recv().await.expect("a Hello");
            manager.welcome(1, 1000).await;
            manager.ask(1, 1).await;
            manager.done().await;
            manager.send(&Message::Goodbye { code: Code::Stopped, text: "" }, &[]).await;
            settle().await;
            timer.advance(Duration::from_secs(2));
            accept(&mut listener).await;
        });
    }
}

#[test]
fn a_worker_that_was_sent_away_waits_a_second_however_short_its_backoff() {
    let (connector, mut listener) = pair(8);
    let timer = ManualTimer::new();
    let policy = BackoffPolicy::new().base(Duration::from_millis(1)).factor(1);
    beside(Worker::new(timer.clone(), double).backoff(policy).dial(connector), async {
        let mut manager = accept(&mut listener).await;
        manager.send(&Message::Goodbye { code: Code::NameTaken, text: "" }, &[]).await;
        settle().await;
        timer.advance(Duration::from_millis(999));
        settle().await;
        assert!(smol::future::poll_once(accept(&mut listener)).await.is_none());
        timer.advance(Duration::from_millis(1));
        accept(&mut listener).await;
    });
}

#[test]
fn each_worker_that_is_made_has_a_token_of_its_own_which_all_its_links_carry() {
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let count = AtomicUsize::new(0);
    for _ in 0..2 {
        let (worker, _timer, connector, listener) = doubler();
        beside(worker.name("w").serve(listener), async {
            for _ in 0..2 {
                let (_manager, hello) = Manager::knock(&connector).await;
                let Ok(Message::Hello(Hello { token, name: "w", .. })) = Message::decode(&hello)
                else {
                    panic!("{hello:?}");
                };
                tokens.lock().unwrap().push(token);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let tokens = tokens.lock().unwrap();
    assert_eq!((tokens[0], tokens[2]), (tokens[1], tokens[3]));
    assert_ne!(tokens[0], tokens[2]);
}

#[test]
fn a_manager_of_another_schema_is_told_both_and_gets_nothing_done_however_it_insists() {
    let (connector, listener) = pair(16);
    let (events, hook) = log();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let handler = move |_: u64| {
        count.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, String>(()))
    };
    let worker = Worker::new(ManualTimer::new(), handler).schema("blocks 1").on_event(hook);
    beside(worker.serve(listener), async {
        let (mut manager, hello) = Manager::knock(&connector).await;
        let Ok(Message::Hello(ours)) = Message::decode(&hello) else {
            panic!("a Hello: {hello:?}")
        };
        assert_eq!(ours.extensions.schema(), Some("blocks 1"));
        let mut room = [0; 16];
        let mut writer = ExtensionsWriter::new(&mut room);
        writer.add(SCHEMA_EXTENSION, b"blocks 2").expect("there is room");
        let extensions = writer.finish();
        let hello = Hello { extensions, ..Hello::new(Role::Manager, 0, 7, "mary") };
        manager.send(&Message::Hello(hello), &[]).await;
        let welcome = Message::Welcome { heartbeat_millis: 10_000, window: 1, extensions };
        manager.send(&welcome, &[]).await;
        manager.ask(1, 1).await;
        let (code, text) = manager.goodbye().await;
        assert_eq!(code, Code::WrongSchema);
        assert!(text.contains("blocks 1") && text.contains("blocks 2"), "{text}");
        settle().await;
        let Some(WorkerEvent::Refused { reason, .. }) = events.lock().unwrap().pop() else {
            panic!("it is no end of a link that was up");
        };
        let (ours, theirs, peer) = ("blocks 1".into(), "blocks 2".into(), "mary".into());
        assert_eq!(reason, DisconnectReason::WrongSchema { ours, theirs, peer });
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    });
}
