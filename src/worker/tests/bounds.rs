//! What peers can make a worker hold, and how often they may say what is no work.

use core::sync::atomic::{AtomicBool, AtomicU32};

use super::*;

const BODY: [u8; 100] = [0; 100];

/// A worker of bytes whose handlers hang until the gate opens where the request is not empty.
fn gated() -> (Worker<ManualTimer, Raw<impl Fn(Vec<u8>) -> Gated, (Vec<u8>,)>>, ManualTimer, Gate) {
    let timer = ManualTimer::new();
    let gate = Arc::new((AtomicBool::new(false), event()));
    let held = Arc::clone(&gate);
    let worker = Worker::raw(timer.clone(), move |body: Vec<u8>| {
        let gate = Arc::clone(&held);
        let gated: Gated = Box::pin(async move {
            while !body.is_empty() && !gate.0.load(Ordering::SeqCst) {
                let opened = gate.1.1.clone();
                let _ = opened.recv().await;
            }
            Ok::<_, String>(body)
        });
        gated
    });
    (worker, timer, gate)
}

type Gated = core::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;
type Event = (async_channel::Sender<()>, async_channel::Receiver<()>);
type Gate = Arc<(AtomicBool, Event)>;

fn event() -> Event {
    async_channel::bounded(1)
}

fn open(gate: &Gate) {
    gate.0.store(true, Ordering::SeqCst);
    gate.1.0.close();
}

/// Sends requests of 100 bytes until no more are taken. Returns how many were.
async fn fill(manager: &mut Manager) -> u32 {
    for number in 0.. {
        let mut buffer = [0; HEAD_BYTES_MAX];
        let head = request_head(number);
        let head = head.encode(&mut buffer);
        settle().await;
        let sent = smol::future::poll_once(poll_fn(|cx| manager.wire.poll_send(cx, head, &BODY)));
        if sent.await.is_none() {
            return number;
        }
    }
    unreachable!("the budget is not endless");
}

#[test]
fn a_link_that_holds_as_much_as_is_left_is_not_read_and_others_go_on() {
    // Whether the requests run or wait.
    for concurrency in [1000, 1] {
        let (connector, listener) = pair(2);
        let (worker, _timer, gate) = gated();
        let worker = worker.memory_max(2000).concurrency(concurrency).window_max(1000);
        beside(worker.serve(listener), async {
            let mut other = Manager::meet(&connector).await;
            let (mut hog, _) = Manager::knock(&connector).await;
            hog.welcome(1000, 1 << 20).await;
            assert_eq!(fill(&mut hog).await, 10 + 2, "a half of it, and what the wire holds");
            let (mut second, _) = Manager::knock(&connector).await;
            second.welcome(1000, 1 << 20).await;
            assert_eq!(fill(&mut second).await, 5 + 2, "a half of the rest");
            if concurrency > 1 {
                other.request(1, &[]).await;
                assert_eq!(other.answer().await, (1, Verdict::Done, vec![]));
            }
            other.ping().await;
            open(&gate);
            for manager in [&mut hog, &mut second] {
                let mut answers = 0;
                while let Some((_, verdict, _)) = {
                    settle().await;
                    smol::future::poll_once(manager.answer()).await
                } {
                    assert_eq!(verdict, Verdict::Done);
                    answers += 1;
                }
                assert!([5 + 2, 10 + 2].contains(&answers), "{answers}: all that was taken");
            }
        });
    }
}

/// However many links an identity or a host has, they leave more than a third together, and not a half of what
/// the one before has left.
#[test]
fn all_links_of_an_identity_or_a_host_leave_others_as_much_as_one_of_them_would() {
    for (who, other) in [("m1", "m2"), ("10.0.0.9", "10.0.0.8")] {
        let (connector, listener) = pair(2);
        let (worker, _timer, gate) = gated();
        let worker = worker.memory_max(10_000).concurrency(1000).window_max(1000).links_max(16);
        let of = |name: &str| {
            let connector = connector.clone();
            if name.starts_with('m') { connector.proven(name) } else { connector.on_host(name) }
        };
        beside(worker.serve(listener), async {
            let mut greedy = Vec::new();
            for _ in 0..8 {
                let (mut manager, _) = Manager::knock(&of(who)).await;
                manager.welcome(1000, 1 << 20).await;
                settle().await;
                greedy.push(manager);
            }
            let mut taken = 0;
            for manager in &mut greedy {
                taken += fill(manager).await - 2; // What its wire holds.
            }
            assert!((50..=63 + 8).contains(&taken), "{taken} of 100");
            let (mut good, _) = Manager::knock(&of(other)).await;
            good.welcome(1000, 1 << 20).await;
            let left = fill(&mut good).await - 2;
            assert!(left >= (100 - taken) / 2 && left >= 14, "{left} of {}", 100 - taken);

            // Once all but one are gone, that one has a share of its own again.
            drop(greedy.split_off(1));
            open(&gate);
            settle().await;
            assert!(fill(&mut good).await > 0);
        });
    }
}

#[test]
fn answers_that_nobody_reads_count_and_come_back_when_they_leave_or_their_link_ends() {
    for reads in [true, false] {
        let (connector, listener) = pair(1);
        let (worker, timer, gate) = gated();
        open(&gate);
        let worker = worker.memory_max(100).concurrency(1000);
        beside(worker.serve(listener), async {
            let mut deaf = Manager::meet(&connector).await;
            let mut other = Manager::meet(&connector).await;
            for number in 0..2 {
                deaf.request(number, &BODY).await;
                settle().await;
            }
            // The first is in the wire, the second has used up the budget.
            other.request(1, &[]).await;
            settle().await;
            assert_eq!(smol::future::poll_once(other.answer()).await, None, "not read");
            if reads {
                assert_eq!([deaf.answer().await.0, deaf.answer().await.0], [0, 1]);
            } else {
                for _ in 0..24 {
                    timer.advance(Duration::from_secs(1));
                    settle().await;
                }
            }
            while other.recv().await.expect("it lives").len() == 1 {
                // It was told so with a Pong or two.
            }
            other.request(2, &[]).await;
            assert_eq!(other.answer().await.0, 2);
        });
    }
}

#[test]
fn short_requests_with_long_answers_run_no_further_than_there_is_memory_for_them() {
    const LONG: usize = 10_000;
    let begun = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&begun);
    let gate: Gate = Arc::new((AtomicBool::new(false), event()));
    let opened = gate.1.1.clone();
    let worker = Worker::raw(ManualTimer::new(), move |_: Vec<u8>| {
        count.fetch_add(1, Ordering::SeqCst);
        let opened = opened.clone();
        async move {
            let _ = opened.recv().await;
            Ok::<_, String>(vec![7; LONG])
        }
    });
    let (connector, listener) = pair(1);
    beside(worker.memory_max(10 * LONG).window_max(1000).serve(listener), async {
        let mut deaf = Vec::new();
        for _ in 0..8 {
            let (mut manager, _) = Manager::knock(&connector).await;
            manager.welcome(1000, 1 << 20).await;
            deaf.push(manager);
        }
        // None of them reads. As many as the wires hold are on their way, too.
        for number in 0..100 {
            for manager in &mut deaf {
                let mut buffer = [0; HEAD_BYTES_MAX];
                let head = request_head(number);
                let head = head.encode(&mut buffer);
                let sent = poll_fn(|cx| manager.wire.poll_send(cx, head, &[]));
                let _ = smol::future::poll_once(sent).await;
                settle().await;
            }
        }
        open(&gate);
        settle().await;
        let most = begun.load(Ordering::SeqCst);
        assert!((8..=8 + 10 + 8).contains(&most), "{most} answers were made");
        let mut answers = 0;
        for _ in 0..1000 {
            for manager in &mut deaf {
                settle().await;
                let answer = smol::future::poll_once(manager.answer()).await;
                answers += answer.map_or(0, |(_, verdict, body)| {
                    assert_eq!((verdict, body.len()), (Verdict::Done, LONG));
                    1
                });
            }
        }
        assert!(answers > most, "{answers}: whoever reads gets all that it asked for");
        assert_eq!(answers, begun.load(Ordering::SeqCst));
    });
}

#[test]
fn a_paused_link_is_not_silent_and_after_four_heartbeats_its_cancels_are_read() {
    let (connector, listener) = pair(64);
    let (worker, timer, _gate) = gated();
    let worker = worker.memory_max(400).concurrency(4).window_max(64);
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.welcome(64, 1 << 20).await;
        settle().await;
        for number in 0..6 {
            manager.request(number, &BODY).await;
        }
        // Two of them are read. Behind the others:
        for number in 0..2 {
            manager.cancel(number).await;
        }
        manager.send(&Message::Ping, &[]).await;
        let mut pongs = 0;
        for _ in 0..39 {
            settle().await;
            timer.advance(Duration::from_secs(1));
            settle().await;
            while let Some(frame) = smol::future::poll_once(manager.recv()).await {
                assert_eq!(frame.as_deref(), Some(&[6][..]), "nothing but signs of life");
                pongs += 1;
            }
        }
        assert!((3..=5).contains(&pongs), "{pongs} in four heartbeats");
        for _ in 0..6 {
            timer.advance(Duration::from_secs(1));
            settle().await;
        }
        let mut returned = Vec::new();
        while let Some(frame) = smol::future::poll_once(manager.recv()).await {
            let frame = frame.expect("the link lives");
            match Message::decode(&frame) {
                Ok(Message::Response { task, verdict: Verdict::Returned, .. }) => {
                    returned.push(task.slot());
                }
                Ok(Message::Pong) => pongs += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(returned, [2, 3, 4, 5]);
        manager.request(9, &[]).await;
        assert_eq!(manager.answer().await, (9, Verdict::Done, vec![]), "it takes requests again");
        // Those Pongs that left ahead are not said again.
        for _ in 1..pongs {
            manager.send(&Message::Ping, &[]).await;
        }
        settle().await;
        assert_eq!(smol::future::poll_once(manager.recv()).await, None);
        manager.ping().await;
    });
}

#[test]
fn a_budget_that_is_smaller_than_any_request_still_lets_one_at_a_time_through() {
    let (connector, listener) = pair(4);
    let worker = Worker::raw(ManualTimer::new(), |body| async {
        smol::future::yield_now().await;
        Ok::<_, String>(body)
    });
    beside(worker.memory_max(1).concurrency(8).serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        for _ in 0..10 {
            for number in 0..3 {
                manager.request(number, &BODY).await;
            }
            for number in 0..3 {
                assert_eq!(manager.answer().await, (number, Verdict::Done, BODY.to_vec()));
            }
        }
    });
}

#[test]
fn what_is_no_work_has_a_rate_and_a_request_makes_up_for_two() {
    const FLOOD: u32 = 256 + 2;
    let (worker, timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        for with_requests in [false, true] {
            let mut manager = Manager::meet(&connector).await;
            for _ in 0..3 {
                for number in 0..FLOOD {
                    if with_requests {
                        manager.ask(number, 1).await;
                        manager.done().await;
                        manager.cancel(number).await;
                    }
                    manager.ping().await;
                }
                timer.advance(HEARTBEAT);
                // An interval begins with a message after the last one's end.
                settle().await;
            }
            for _ in 0..FLOOD {
                manager.ping().await;
            }
            if with_requests {
                // One request for all of these is not enough.
                manager.ask(1, 1).await;
                manager.done().await;
                manager.ping().await;
                manager.ping().await;
            }
            manager.send(&Message::Ping, &[]).await;
            let (code, text) = manager.goodbye().await;
            assert_eq!(code, Code::BadMessage);
            assert!(text.contains("a flood"), "{text}");
        }
    });
}

#[test]
fn a_short_heartbeat_does_not_make_room_for_a_flood() {
    let (worker, timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.send(&Message::hello(Role::Manager, 0, 7, "m"), &[]).await;
        let extensions = Extensions::NONE;
        manager.send(&Message::Welcome { heartbeat_millis: 1, window: 1, extensions }, &[]).await;
        for _ in 0..258 {
            manager.ping().await;
            timer.advance(Duration::from_millis(1));
        }
        manager.send(&Message::Ping, &[]).await;
        let (_, text) = manager.goodbye().await;
        assert!(text.contains("a flood"), "{text}");
    });
}

#[cfg(feature = "json")]
#[test]
fn what_is_no_request_of_the_json_dialect_ends_its_link_at_the_first_one() {
    let (connector, listener) = pair_of(Dialect::Json, 8);
    let worker = Worker::new(ManualTimer::new(), double);
    beside(worker.serve(listener), async {
        for frame in ["", " ", "[]", "7", "{\"Height\":\"1\"}", "{\"Height\":1}{", "\u{5}", "\u{7}"]
        {
            let mut manager = Manager::connect(&connector).await;
            manager.send_bytes(frame.as_bytes(), &[]).await;
            assert_eq!(manager.recv().await, None, "{frame:?}");
        }
        let mut good = Manager::connect(&connector).await;
        good.send_bytes(b"{\"Height\":2}", &[]).await;
        assert_eq!(good.recv().await.unwrap(), br#"{"Height":2,"Success":true,"Error":""}"#);
    });
}
