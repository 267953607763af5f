//! Bad peers, silence, limits, and slow readers.

use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;

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

#[test]
fn a_hook_that_panics_changes_nothing() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.on_event(|_| panic!("a test's hook")).serve(listener), async {
        Manager::meet(&connector).await.ping().await;
    });
}

#[test]
fn settings_out_of_range_are_named() {
    const SHORT: Duration = Duration::from_micros(999);
    let text = |change: fn(Doubler) -> Doubler| {
        let (worker, _timer, _connector, listener) = doubler();
        bounded(change(worker).serve(listener)).unwrap_err().to_string()
    };
    assert!(text(|worker| worker.concurrency(0)).contains("concurrency"));
    assert!(text(|worker| worker.links_max(0)).contains("links_max"));
    assert!(text(|worker| worker.links_per_identity(0)).contains("links_per_identity"));
    assert!(text(|worker| worker.links_per_host(0)).contains("links_per_host"));
    assert!(text(|worker| worker.pending_handshakes_max(0)).contains("pending_handshakes_max"));
    assert!(text(|worker| worker.name("n".repeat(65))).contains("64 bytes"));
    assert!(text(|worker| worker.name("")).contains("1 to 64 bytes"));
    assert!(text(|worker| worker.name("w\u{202e}1")).contains("that turns others"));
    assert!(text(|worker| worker.memory_max(0)).contains("memory_max"));
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
