//! Handshakes, bad peers, silence, limits, and where links come from.

use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::task::{Context, Poll};

use chargehand_core::io::Listen;
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
fn what_a_correct_manager_does_not_send_ends_its_link_alone() {
    let (connector, listener) = pair(16);
    let worker = Worker::new(ManualTimer::new(), |number: u64| async move {
        if number == 0 {
            pending::<()>().await;
        }
        Ok::<_, String>(number)
    })
    .concurrency(2);
    let (events, hook) = log();
    beside(worker.on_event(hook).serve(listener), async {
        let mut good = Manager::meet(&connector).await;
        for (frames, text) in [
            (
                vec![vec![2, 1, 0, 1, 0, 0], vec![2, 2, 0, 1, 0, 0], vec![2, 3, 0, 1, 0, 0]],
                "past the window",
            ),
            (vec![vec![2, 1, 0, 1, 0, 0], vec![2, 1, 0, 1, 0, 0]], "runs already"),
            (vec![vec![3, 1, 0, 1, 0]], "a Response from a manager"),
            (vec![vec![6]], "a Pong from a manager"),
            (vec![vec![5, 5]], "bytes follow"),
            (vec![vec![5]; 300], "a flood"),
        ] {
            let mut bad = Manager::meet(&connector).await;
            for frame in &frames {
                if poll_fn(|cx| bad.wire.poll_send(cx, frame, &[])).await.is_err() {
                    break; // Refused already.
                }
                // A peer that does not read would be waited for.
                let _ = smol::future::poll_once(bad.recv()).await;
            }
            drop(bad);
            settle().await;
            let Some(WorkerEvent::Disconnected { reason, manager, .. }) =
                events.lock().unwrap().pop()
            else {
                panic!("still up after {text}");
            };
            assert!(reason.to_string().contains(text), "{reason}");
            assert_eq!(manager, "m");
            good.ask(1, 1).await;
            assert_eq!(good.done().await, (1, 1), "its room came back");
        }
    });
}

#[test]
fn a_manager_that_falls_silent_is_given_up_after_two_heartbeats() {
    let (worker, timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        for _ in 0..5 {
            settle().await;
            timer.advance(HEARTBEAT * 3 / 2);
            manager.ping().await;
        }
        settle().await;
        timer.advance(HEARTBEAT + Duration::from_millis(9_999));
        manager.ping().await;
        settle().await;
        timer.advance(HEARTBEAT * 2);
        let (code, text) = manager.goodbye().await;
        assert_eq!(code, Code::Timeout);
        assert!(text.contains("nothing heard for 20s"), "{text}");
    });
}

#[test]
fn a_worker_that_is_polled_late_reads_what_lies_in_its_wires_before_it_judges() {
    let (worker, timer, connector, listener) = doubler();
    beside(worker.links_max(100).serve(listener), async {
        let mut managers = Vec::new();
        for _ in 0..100 {
            managers.push(Manager::meet(&connector).await);
        }
        // It looks at them, and has heard nothing new since.
        for _ in 0..2 {
            settle().await;
            timer.advance(HEARTBEAT / 2);
        }
        settle().await;
        // Nothing in between lets the worker run, and it serves some links only in a poll.
        for manager in &mut managers {
            manager.send(&Message::Ping, &[]).await;
        }
        timer.advance(HEARTBEAT * 3);
        for manager in &mut managers {
            assert_eq!(manager.recv().await.as_deref(), Some(&[6][..]), "a Pong");
            manager.ping().await;
        }
    });
}

#[test]
fn silence_is_told_soon_after_two_heartbeats_however_much_came_before() {
    let step = HEARTBEAT / 100;
    // A lot, now and then, and as little as a manager that only pings.
    for (messages, pause) in [(1234, 1), (20, 30), (5, 99), (3, 130), (1, 95)] {
        let (worker, timer, connector, listener) = doubler();
        beside(worker.serve(listener), async {
            let mut manager = Manager::meet(&connector).await;
            for _ in 0..messages {
                for _ in 0..pause {
                    timer.advance(step);
                    settle().await;
                }
                manager.ping().await;
            }
            let mut silence = Duration::ZERO;
            let (code, _) = loop {
                settle().await;
                if let Some(goodbye) = smol::future::poll_once(manager.goodbye()).await {
                    break goodbye;
                }
                timer.advance(step);
                silence += step;
            };
            assert_eq!(code, Code::Timeout);
            assert!(silence >= HEARTBEAT * 2, "{silence:?} after a message each {pause} steps");
            let latest = HEARTBEAT * 9 / 4 + step;
            assert!(silence <= latest, "{silence:?} after a message each {pause} steps");
        });
    }
}

#[test]
fn answers_that_leave_count_as_life_because_a_manager_that_hears_them_does_not_ping() {
    let (gate, opened) = async_channel::bounded::<()>(1);
    let (connector, listener) = pair(16);
    let timer = ManualTimer::new();
    let worker = Worker::new(timer.clone(), move |number: u64| {
        let opened = opened.clone();
        async move { opened.recv().await.map(|()| number) }
    })
    .concurrency(5);
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        for number in 0..5 {
            manager.ask(number, 1).await;
        }
        let mut done = Vec::new();
        for _ in 0..5 {
            settle().await;
            timer.advance(HEARTBEAT * 3 / 2);
            settle().await;
            gate.send(()).await.unwrap();
            done.push(manager.done().await.0);
        }
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 3, 4]);
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

#[test]
fn a_slow_reader_gets_every_answer_and_stops_being_read_meanwhile() {
    let (connector, listener) = pair(1);
    let worker = Worker::new(ManualTimer::new(), double).concurrency(100);
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        let mut asked = 0;
        loop {
            let question = [u8::try_from(asked).unwrap()];
            let head = request_head(asked);
            let mut buffer = [0; HEAD_BYTES_MAX];
            let head = head.encode(&mut buffer);
            let sent =
                smol::future::poll_once(poll_fn(|cx| manager.wire.poll_send(cx, head, &question)));
            if sent.await.is_none() {
                settle().await;
                let again = poll_fn(|cx| manager.wire.poll_send(cx, head, &question));
                if smol::future::poll_once(again).await.is_none() {
                    break;
                }
            }
            asked += 1;
        }
        assert!(asked < 10, "{asked} requests were read while no answer was taken");
        for number in 0..asked {
            assert_eq!(manager.done().await, (number, u64::from(number) * 2));
        }
    });
}

#[cfg(feature = "json")]
#[test]
fn a_json_manager_may_pipeline_and_gets_success_or_the_text() {
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let worker = Worker::new(ManualTimer::new(), |height: u64| async move {
        smol::future::yield_now().await;
        if height == 2 { Err("<none>") } else { Ok(vec![height]) }
    })
    .concurrency(4);
    let (events, hook) = log();
    beside(worker.on_event(hook).serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        for height in ["1", "2", "-1", "3"] {
            manager.send_bytes(format!("{{\"Height\":{height}}}").as_bytes(), &[]).await;
        }
        for expected in [
            r#"{"Height":1,"Success":true,"Error":""}"#,
            r#"{"Height":2,"Success":false,"Error":"\u003cnone\u003e"}"#,
            r#"{"Height":-1,"Success":false,"Error":"the height is below zero, and this worker's"#,
            r#"{"Height":3,"Success":true,"Error":""}"#,
        ] {
            let answer = String::from_utf8(manager.recv().await.unwrap()).unwrap();
            assert!(answer.starts_with(expected), "{answer}");
        }
        manager.send_bytes(b"{\"Height\":}", &[]).await;
        assert_eq!(manager.recv().await, None);
        let last = events.lock().unwrap().pop();
        let Some(WorkerEvent::Disconnected { reason, .. }) = last else { panic!("{last:?}") };
        assert!(reason.to_string().contains("not JSON"), "{reason}");
    });
}

#[cfg(feature = "json")]
#[test]
fn with_signed_heights_a_json_manager_may_ask_for_any() {
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let worker = Worker::new(ManualTimer::new(), |height: i64| async move {
        Err::<(), _>(format!("{height} & \"that\"\n"))
    });
    beside(worker.json_heights(crate::JsonHeights::Signed).serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        for height in [i64::MIN, -1, 0, i64::MAX] {
            manager.send_bytes(format!("{{\"Height\":{height}}}").as_bytes(), &[]).await;
            let expected = format!(
                "{{\"Height\":{height},\"Success\":false,\"Error\":\"{height} \\u0026 \\\"that\\\"\\n\"}}"
            );
            assert_eq!(String::from_utf8(manager.recv().await.unwrap()).unwrap(), expected);
        }
    });
}

#[cfg(feature = "json")]
#[test]
fn what_runs_for_a_json_manager_ends_with_its_link() {
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let ended = Arc::new(AtomicUsize::new(0));
    let watched = Arc::clone(&ended);
    let worker = Worker::new(ManualTimer::new(), move |height: u64| {
        let ends = Ends(Arc::clone(&watched));
        async move {
            if height == 1 {
                pending::<()>().await;
            }
            drop(ends);
            Ok::<_, String>(())
        }
    });
    beside(worker.serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        manager.send_bytes(b"{\"Height\":1}", &[]).await;
        settle().await;
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        drop(manager);
        settle().await;
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        // Its place is free for the next manager, which is the same one come back.
        let mut manager = Manager::connect(&connector).await;
        manager.send_bytes(b"{\"Height\":2}", &[]).await;
        assert_eq!(manager.recv().await.unwrap(), br#"{"Height":2,"Success":true,"Error":""}"#);
    });
}

#[test]
fn a_hook_that_panics_changes_nothing() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.on_event(|_| panic!("a test's hook")).serve(listener), async {
        Manager::meet(&connector).await.ping().await;
    });
}

#[test]
fn a_dialling_worker_comes_back_after_a_backoff_that_only_work_resets() {
    let (connector, mut listener) = pair(8);
    let timer = ManualTimer::new();
    let policy = BackoffPolicy::powers_of_two(Duration::from_secs(8));
    let worker = Worker::new(timer.clone(), double).backoff(policy);
    beside(worker.dial(connector), async {
        for (works, delay) in
            [(false, 2), (false, 4), (true, 2), (false, 4), (false, 8), (false, 8), (true, 2)]
        {
            let mut manager = accept(&mut listener).await;
            manager.recv().await.expect("a Hello");
            manager.welcome(1, 1000).await;
            if works {
                manager.ask(1, 1).await;
                manager.done().await;
            } else {
                manager.ping().await;
            }
            drop(manager);
            settle().await;
            timer.advance(Duration::from_millis(delay * 1000 - 1));
            settle().await;
            let early = smol::future::poll_once(poll_fn(|cx| listener.poll_accept(cx))).await;
            assert!(early.is_none(), "before {delay} s");
            timer.advance(Duration::from_millis(1));
        }
    });
}

pub(super) async fn accept(listener: &mut MemoryListener) -> Manager {
    let accepting = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    Manager { wire: accepting.await.unwrap() }
}

#[test]
fn a_refused_connect_and_a_handshake_that_hangs_are_tried_again() {
    let (connector, listener) = pair(8);
    let timer = ManualTimer::new();
    let policy = BackoffPolicy::powers_of_two(Duration::from_secs(4));
    let worker = Worker::new(timer.clone(), double).backoff(policy);
    let (events, hook) = log();
    beside(worker.on_event(hook).dial(connector), async {
        settle().await;
        timer.advance(Duration::from_secs(10)); // Nobody accepts: the handshake's deadline.
        settle().await;
        drop(listener);
        timer.advance(Duration::from_secs(4));
        settle().await;
        let events = events.lock().unwrap();
        let reasons: Vec<&DisconnectReason> = events
            .iter()
            .map(|event| match event {
                WorkerEvent::Refused { reason, peer } if peer == "in this process" => reason,
                other => panic!("{other:?}"),
            })
            .collect();
        let [DisconnectReason::HandshakeTimeout(limit), DisconnectReason::Unreachable(text)] =
            &reasons[..]
        else {
            panic!("{reasons:?}");
        };
        assert_eq!(*limit, Duration::from_secs(10));
        assert!(text.contains("nobody listens"), "{text}");
    });
}

/// Has no file descriptors for a while.
struct Starved {
    listener: MemoryListener,
    failures: Arc<AtomicUsize>,
}

impl Listen for Starved {
    type Wire = MemoryWire;
    type Error = MemoryError;
    type Accepting = <MemoryListener as Listen>::Accepting;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Accepting, MemoryError>> {
        if self.failures.load(Ordering::SeqCst) < 3 {
            self.failures.fetch_add(1, Ordering::SeqCst);
            return Poll::Ready(Err(MemoryError::Backlog)); // As good as any.
        }
        self.listener.poll_accept(cx)
    }
}

#[test]
fn a_failing_accept_pauses_and_is_tried_again() {
    let (worker, timer, connector, listener) = doubler();
    let failures = Arc::new(AtomicUsize::new(0));
    let starved = Starved { listener, failures: Arc::clone(&failures) };
    beside(worker.serve(starved), async {
        for (count, pause) in [(1, 50), (2, 100), (3, 200)] {
            settle().await;
            assert_eq!(failures.load(Ordering::SeqCst), count, "no busy loop");
            timer.advance(Duration::from_millis(pause));
        }
        Manager::meet(&connector).await.ping().await;
    });
}

#[test]
fn settings_out_of_range_are_named() {
    let text = |change: fn(Doubler) -> Doubler| {
        let (worker, _timer, _connector, listener) = doubler();
        bounded(change(worker).serve(listener)).unwrap_err().to_string()
    };
    assert!(text(|worker| worker.concurrency(0)).contains("concurrency"));
    assert!(text(|worker| worker.links_max(0)).contains("links_max"));
    assert!(text(|worker| worker.pending_handshakes_max(0)).contains("pending_handshakes_max"));
    assert!(text(|worker| worker.name("n".repeat(65))).contains("64 bytes"));
    assert!(text(|worker| worker.name("")).contains("1 to 64 bytes"));
    assert!(text(|worker| worker.memory_max(0)).contains("memory_max"));
    const SHORT: Duration = Duration::from_micros(999);
    assert!(text(|worker| worker.heartbeat_max(SHORT)).contains("heartbeat_max"));
    for backoff in [
        BackoffPolicy::new().base(Duration::ZERO),
        BackoffPolicy::new().cap(Duration::ZERO),
        BackoffPolicy::new().base(SHORT),
    ] {
        let (worker, _timer, connector, _listener) = doubler();
        let error = bounded(worker.backoff(backoff).dial(connector)).unwrap_err();
        assert!(error.to_string().contains("backoff"), "{error}");
    }
    let least = BackoffPolicy::new().base(Duration::from_millis(1));
    let (worker, _timer, _connector, listener) = doubler();
    let stopper = worker.stopper();
    stopper.stop();
    assert_eq!(bounded(worker.backoff(least).serve(listener)), Ok(()));
}

#[test]
fn the_future_is_send_when_its_parts_are() {
    fn assert_send<T: Send>(_: T) {}
    let (worker, _timer, _connector, listener) = doubler();
    assert_send(worker.stopper());
    assert_send(worker.serve(listener));
    let (worker, _timer, connector, _listener) = doubler();
    assert_send(worker.dial(connector));
}

#[test]
fn a_link_that_is_alone_then_one_of_two_and_alone_again_is_served_throughout() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        let mut stays = Manager::meet(&connector).await;
        for turn in 0..3 {
            stays.ask(1, turn).await;
            assert_eq!(stays.done().await, (1, 2 * turn), "alone");
            let mut comes = Manager::meet(&connector).await;
            // It waits for the first wake of either.
            settle().await;
            stays.ask(2, turn).await;
            assert_eq!(stays.done().await, (2, 2 * turn), "one of two");
            comes.ask(3, turn).await;
            assert_eq!(comes.done().await, (3, 2 * turn), "the other");
            drop(comes);
            settle().await;
        }
        // The place of a link that was alone serves the next one beside another.
        drop(stays);
        settle().await;
        let mut links = Vec::new();
        for _ in 0..3 {
            links.push(Manager::meet(&connector).await);
            settle().await;
        }
        for (link, number) in links.iter_mut().zip(0..) {
            link.ask(1, number).await;
            assert_eq!(link.done().await, (1, 2 * number));
        }
    });
}
