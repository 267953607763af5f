//! Handshakes: what each side says first, what is refused, and for how long one may take.

use alloc::string::String;

use chargehand_core::message::{BODY_HEAD_BYTES_MAX, EXTENSIONS_BYTES_MAX};

use super::*;

#[test]
fn the_hello_names_the_worker_and_its_window() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.name("w1").concurrency(3).serve(listener), async {
        let (_manager, hello) = Manager::knock(&connector).await;
        let Ok(Message::Hello(Hello { role, window, name, .. })) = Message::decode(&hello) else {
            panic!("{hello:?}");
        };
        assert_eq!((role, window, name), (Role::Worker, 3, "w1"));
    });
}

#[test]
fn a_bad_handshake_is_refused_with_its_reason_and_others_go_on() {
    let (worker, _timer, connector, listener) = doubler();
    let hello = |role| {
        let mut head = [0; HEAD_BYTES_MAX];
        Message::hello(role, 1, 7, "x").encode(&mut head).to_vec()
    };
    let manager_hello = hello(Role::Manager);
    beside(worker.serve(listener), async {
        let mut good = Manager::meet(&connector).await;
        for (frames, code, text) in [
            (vec![b"GET / HTTP/1.1".to_vec()], Code::BadMessage, "is the peer a chargehand?"),
            (vec![b"\0chgX\x01".to_vec()], Code::WrongVersion, "is the peer a chargehand?"),
            (
                vec![b"\0chgd\x01\x00\x00\x00\x00".to_vec()],
                Code::WrongVersion,
                "speaks version 1, this side version 2",
            ),
            (vec![hello(Role::Worker)], Code::WrongRole, "both sides are workers"),
            (vec![vec![]], Code::BadMessage, "empty frame"),
            (vec![vec![5]], Code::BadMessage, "a Ping before the manager's Hello"),
            (vec![manager_hello.clone(), vec![5]], Code::BadMessage, "a Ping before the Welcome"),
            (vec![manager_hello.clone(), vec![1, 0, 1, 0]], Code::BadMessage, "a heartbeat of 0"),
            (
                vec![manager_hello.clone(), vec![1, 1, 0x81, 0x08, 0]],
                Code::BadMessage,
                "window of 1025 is above this worker's window_max, 1024",
            ),
        ] {
            let (mut bad, _) = Manager::knock(&connector).await;
            for frame in &frames {
                bad.send_bytes(frame, &[]).await;
            }
            let (got, why) = bad.goodbye().await;
            assert_eq!(got, code, "{why}");
            assert!(why.contains(text), "{why}");
        }
        good.ask(1, 1).await;
        assert_eq!(good.done().await, (1, 2));
    });
}

#[test]
fn extensions_that_the_worker_does_not_know_change_nothing() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        // One of a later version, an empty one of a user's, and the most there may be.
        let bytes = vec![0x07, 3, 1, 2, 3, 0x80, 0x80, 0x01, 0];
        let extensions = Extensions::new(&bytes).unwrap();
        let (mut manager, _) = Manager::knock(&connector).await;
        let hello = Hello { extensions, ..Hello::new(Role::Manager, 0, 7, "later") };
        manager.send(&Message::Hello(hello), &[]).await;
        let welcome = Message::Welcome { heartbeat_millis: 10_000, window: 4, extensions };
        manager.send(&welcome, &[]).await;
        let body = postcard::to_allocvec(&21_u64).unwrap();
        let request = |number, extensions| {
            let task = task(number);
            Message::Request { task, attempt: 1, extensions, body: &[] }
        };
        manager.send(&request(1, extensions), &body).await;
        assert_eq!(manager.done().await, (1, 42));
        let bytes = [&[0x07, 0xfd, 0x07][..], &[0xff; EXTENSIONS_BYTES_MAX - 3]].concat();
        manager.send(&request(2, Extensions::new(&bytes).unwrap()), &body).await;
        assert_eq!(manager.done().await, (2, 42));
        // And without, on the same link.
        manager.ask(3, 1).await;
        assert_eq!(manager.done().await, (3, 2));
    });
}

#[test]
fn malformed_extensions_end_their_link_alone() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        let mut good = Manager::meet(&connector).await;
        let long = [&[2, 1, 0, 1, 0x81, 0x08][..], &[0; 1025]].concat();
        for (frame, text) in [
            (vec![2, 1, 0, 1], "in the middle"),
            (vec![2, 1, 0, 1, 9, 7, 0], "in the middle"),
            (vec![2, 1, 0, 1, 2, 7, 1], "in the middle"),
            (vec![2, 1, 0, 1, 4, 0xff, 0xff, 0x7f, 0], "out of its range"),
            (long, "longer than 1024 bytes"),
        ] {
            let mut bad = Manager::meet(&connector).await;
            bad.send_bytes(&frame, &[]).await;
            let (code, why) = bad.goodbye().await;
            assert_eq!(code, Code::BadMessage, "{why}");
            assert!(why.contains(text), "{why}");
        }
        good.ask(1, 1).await;
        assert_eq!(good.done().await, (1, 2));
    });
}

#[test]
fn a_goodbye_for_a_reason_of_a_later_version_is_one() {
    let (connector, listener) = pair(16);
    let (events, hook) = log();
    let worker = Worker::new(ManualTimer::new(), double).on_event(hook);
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        manager.send(&Message::Goodbye { code: Code::Other(200), text: "new" }, &[]).await;
        settle().await;
        let Some(WorkerEvent::Disconnected { reason, .. }) = events.lock().unwrap().pop() else {
            panic!("still up");
        };
        let (code, text) = (Code::Other(200), "new".into());
        assert_eq!(reason, DisconnectReason::Goodbye { code, text });
    });
}

#[test]
fn the_hello_says_what_is_taken_and_the_managers_limits_the_answers() {
    let (connector, listener) = pair(16);
    let worker = Worker::new(ManualTimer::new(), |length: usize| async move {
        Ok::<_, String>(vec![7_u8; length])
    });
    beside(worker.frame_bytes_max(5000).serve(listener), async {
        let (mut manager, hello) = Manager::knock(&connector).await;
        let Ok(Message::Hello(Hello { frame_bytes_max, .. })) = Message::decode(&hello) else {
            panic!("{hello:?}");
        };
        assert_eq!(frame_bytes_max, 5000);
        manager.welcome(1, 1000).await;
        let longest = 1000 - BODY_HEAD_BYTES_MAX - 2;
        manager.request(1, &postcard::to_allocvec(&longest).unwrap()).await;
        assert_eq!(manager.answer().await.1, Verdict::Done);
        manager.request(2, &postcard::to_allocvec(&(longest + 1)).unwrap()).await;
        let text = manager.failure().await;
        assert!(text.contains("takes at most 985"), "{text}");
    });
}

#[test]
fn an_unfinished_handshake_ends_at_its_deadline_and_too_many_push_out_the_oldest() {
    let (worker, timer, connector, listener) = doubler();
    let worker = worker.handshake_timeout(Duration::from_secs(3)).pending_handshakes_max(2);
    let (events, hook) = log();
    beside(worker.on_event(hook).serve(listener), async {
        let (mut oldest, _) = Manager::knock(&connector).await;
        let (mut second, _) = Manager::knock(&connector).await;
        let mut good = Manager::meet(&connector).await;
        assert_eq!(oldest.recv().await, None, "pushed out");
        settle().await;
        timer.advance(Duration::from_secs(3));
        let (code, text) = second.goodbye().await;
        assert_eq!(code, Code::Timeout);
        assert!(text.contains("within 3s"), "{text}");
        good.ping().await;
        let events = events.lock().unwrap();
        let pushed_out = DisconnectReason::PushedOut;
        assert!(matches!(&events[0], WorkerEvent::Refused { reason, .. } if *reason == pushed_out));
        assert!(matches!(&events[1], WorkerEvent::Connected { manager, .. } if manager == "m"));
    });
}

#[test]
fn a_manager_too_many_is_told_so() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.links_max(1).serve(listener), async {
        let (mut late, _) = Manager::knock(&connector).await;
        let good = Manager::meet(&connector).await;
        settle().await;
        late.welcome(1, 1000).await;
        assert_eq!(late.goodbye().await.0, Code::Busy, "another one was quicker");
        let mut third = Manager::connect(&connector).await;
        assert_eq!(third.goodbye().await.0, Code::Busy);
        drop(good);
        settle().await;
        Manager::meet(&connector).await.ping().await;
    });
}
