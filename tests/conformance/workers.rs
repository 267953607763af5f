//! What a worker takes from managers, over sockets: slow ones, silent ones, and floods.

use std::io::Write;
use std::time::Instant;

use chargehand::core::message::{Code, Extensions, Message, Role};
use chargehand::core::{TaskId, Verdict};

use crate::pair::{Go, Socket, any_port};
use crate::raw::{Raw, encoded, script};
use crate::refusals::Notes;
use crate::rig::{Rig, brief, millis, pause, quick, setup, until, works};

/// A manager by hand, whose link is up.
fn manager<P: Socket>(at: std::net::SocketAddr, heartbeat_millis: u32) -> Raw {
    let mut raw = Raw::client::<P>(at);
    raw.greet_as_manager(heartbeat_millis, 4);
    raw
}

pub(crate) async fn a_long_request_may_take_its_time_and_a_dribble_may_not<P: Socket>() {
    let (door, at) = any_port();
    let notes = Notes::default();
    let hand = notes.watch::<P>(quick::<P>("patient")).progress_rate_min(2000);
    let _job = P::job(P::serve(hand, door));
    let request = |raw: &Raw| {
        let (task, extensions) = (TaskId::from_parts(1, 0), Extensions::NONE);
        let request = Message::Request { task, attempt: 1, extensions, body: &[] };
        raw.framed(&encoded(&request, &[0x80; 12_000]))
    };
    let slow = script(move || {
        let mut raw = manager::<P>(at, 100);
        let started = Instant::now();
        for chunk in request(&raw).chunks(300) {
            raw.stream.write_all(chunk).expect("it is not cut");
            std::thread::sleep(millis(25));
        }
        assert!(started.elapsed() > millis(900), "many times two heartbeats");
        let mut pongs = 0;
        loop {
            match raw.receive_message() {
                // It is no height.
                Some(Message::Response { verdict, .. }) => return (verdict, pongs),
                // It says that the request arrives: decision 0016.
                Some(Message::Pong) => pongs += 1,
                other => panic!("not an answer: {other:?}"),
            }
        }
    });
    let (verdict, pongs) = slow.end().await;
    assert_eq!(verdict, Verdict::Failed);
    assert!((1..=40).contains(&pongs), "one each half heartbeat: {pongs}");
    let dribble = script(move || {
        let mut raw = manager::<P>(at, 100);
        for byte in request(&raw) {
            if raw.stream.write_all(&[byte]).is_err() {
                return true;
            }
            std::thread::sleep(millis(5));
        }
        false
    });
    assert!(dribble.end().await, "it was let go on");
    until::<P>("the worker says why", || notes.contain("nothing heard")).await;
}

pub(crate) async fn a_long_first_message_is_refused_before_it_is_there<P: Socket>() {
    let (door, at) = any_port();
    let notes = Notes::default();
    let _job = P::job(P::serve(notes.watch::<P>(quick::<P>("careful")), door));
    for length in [1025, 1 << 20] {
        let refused = script(move || {
            let mut raw = Raw::client::<P>(at);
            let header = raw.header(length);
            raw.write(&header);
            raw.rest()
        });
        refused.end().await;
    }
    // Afterwards it may be long.
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let text = rig.pool.call::<u64, Vec<u8>>(&vec![7; 1 << 20]).await.expect_err("no height");
    assert!(text.to_string().contains("type"), "{text}");
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn a_flood_of_what_is_no_work_ends_and_harms_nobody<P: Socket>() {
    let (door, at) = any_port();
    let _job = P::job(P::serve(quick::<P>("busy"), door));
    let goodbye = Message::Goodbye { code: Code::Stopped, text: "" };
    let welcome = Message::Welcome { heartbeat_millis: 1, window: 1, extensions: Extensions::NONE };
    let flood = [
        encoded(&Message::Ping, &[]),
        encoded(&Message::Cancel { task: TaskId::from_parts(9, 0), attempt: 1 }, &[]),
        encoded(&Message::Pong, &[]),
        encoded(&Message::Drain, &[]),
        encoded(&Message::hello(Role::Manager, 0, 1, "again"), &[]),
        encoded(&welcome, &[]),
        encoded(&goodbye, &[]),
        Vec::new(),
    ];
    for message in flood {
        let flooder = script(move || {
            // With the longest heartbeat and the shortest.
            for heartbeat_millis in [u32::MAX, 1] {
                let mut raw = manager::<P>(at, heartbeat_millis);
                let bytes = raw.framed(&message).repeat(1000);
                let mut sent = 0;
                while raw.stream.write_all(&bytes).is_ok() {
                    sent += 1000;
                    assert!(sent < 10_000_000, "it is served for ever");
                }
            }
        });
        flooder.end().await;
        let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
        works(&rig.pool).await;
        rig.stop().await;
    }
}

pub(crate) async fn silent_managers_make_room_for_one_with_work<P: Socket>() {
    let (door, at) = any_port();
    let hand = quick::<P>("wanted").links_max(3).idle_min(millis(300));
    let _job = P::job(P::serve(hand, door));
    let silent = script(move || [(); 3].map(|()| manager::<P>(at, u32::MAX)));
    let silent = silent.end().await;
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at).configure(|config| {
        config.backoff = brief();
    }));
    works(&rig.pool).await;
    // Two of the silent ones are still there.
    drop(silent);
    rig.stop().await;
}

pub(crate) async fn what_waits_at_a_worker_that_stops_is_given_back_at_once<P: Socket>() {
    let (door, at) = any_port();
    let stuck = crate::rig::stuck::<P>("stops").concurrency(1).drain_timeout(millis(500));
    let stopper = stuck.stopper();
    let job = P::job(P::serve(stuck, door));
    let returned = script(move || {
        let mut raw = manager::<P>(at, 10_000);
        for slot in 0..4 {
            raw.ask(slot, 1);
        }
        raw.say(&Message::Ping);
        assert!(matches!(raw.receive_message(), Some(Message::Pong)));
        stopper.stop();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            match raw.receive_message() {
                Some(Message::Drain) => assert!(seen.is_empty(), "Drain comes first"),
                Some(Message::Response { task, verdict: Verdict::Returned, .. }) => {
                    seen.push(task.slot());
                }
                other => panic!("{other:?}"),
            }
        }
        seen
    });
    let started = Instant::now();
    assert_eq!(returned.end().await, [1, 2, 3]);
    assert!(started.elapsed() < millis(5000), "not after what runs");
    job.done().await;
}

pub(crate) async fn a_full_worker_sends_a_manager_of_the_go_package_away_before_it_asks<P: Go>() {
    let (door, at) = any_port();
    let hand = quick::<P>("full").links_max(1).idle_min(millis(400));
    let _job = P::job(P::serve_json(hand, door));
    let play = script(move || {
        let ask = |raw: &mut Raw| {
            raw.send_text("{\"Height\":1}");
            raw.receive().map(<[u8]>::to_vec)
        };
        let mut first = Raw::go_client(at);
        assert!(ask(&mut first).is_some());
        let answer = Raw::try_go_client(at).err().unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(ask(&mut first).is_some(), "it keeps its place");
        drop(first);
        // One that never asks makes room.
        let idle = loop {
            std::thread::sleep(millis(20));
            if let Ok(raw) = Raw::try_go_client(at) {
                break raw;
            }
        };
        let started = Instant::now();
        let mut good = loop {
            std::thread::sleep(millis(20));
            if let Ok(raw) = Raw::try_go_client(at) {
                break raw;
            }
        };
        assert!(started.elapsed() >= millis(300), "{:?}", started.elapsed());
        assert!(ask(&mut good).is_some());
        drop(idle);
    });
    play.end().await;
    pause::<P>(millis(1)).await;
}
