//! Slow but honest: long messages, full wires, answers that are too long.

use alloc::string::String;
use core::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::meddled::{Meddle, MeddledListener};
use super::told::told;
use super::*;

/// Lets that many seconds pass, in each of which that many bytes move each way.
async fn pass(timer: &ManualTimer, talk: &told::Shared, seconds: u64, [received, sent]: [u64; 2]) {
    for _ in 0..seconds {
        timer.advance(Duration::from_secs(1));
        {
            let progress = &mut talk.lock().unwrap().progress;
            progress.received += received;
            progress.sent += sent;
        }
        settle().await;
    }
}

#[test]
fn bytes_of_a_long_message_either_way_are_life_down_to_the_least_rate() {
    for way in [[1, 0], [0, 1]] {
        let (connector, listener, talk) = told(Dialect::Native, 64);
        let timer = ManualTimer::new();
        let worker = Worker::new(timer.clone(), double).progress_rate_min(2000);
        beside(worker.serve(listener), async {
            let mut manager = Manager::meet(&connector).await;
            settle().await;
            pass(&timer, &talk, 200, way.map(|bytes| bytes * 2000)).await;
            while let Some(said) = smol::future::poll_once(manager.recv()).await {
                assert_eq!(said.as_deref(), Some(&[6][..]), "cut while bytes flow");
            }
            pass(&timer, &talk, 26, way.map(|bytes| bytes * 1900)).await;
            let end = smol::future::poll_once(manager.goodbye()).await;
            assert_eq!(end.expect("a dribble ends").0, Code::Timeout);
        });
    }
}

#[test]
fn a_manager_hears_that_its_long_message_arrives_and_of_nothing_else() {
    // What comes in each second, and how many Pongs there are after 60 s. The heartbeat is 10 s.
    for (received, pongs) in [(2000, 10..=12), (1, 0..=0), (0, 0..=0)] {
        let (connector, listener, talk) = told(Dialect::Native, 64);
        let timer = ManualTimer::new();
        let worker = Worker::new(timer.clone(), double).heartbeat_max(Duration::from_secs(10));
        beside(worker.serve(listener), async {
            let mut manager = Manager::meet(&connector).await;
            settle().await;
            pass(&timer, &talk, 19, [received, 0]).await;
            let mut count = 0;
            for _ in 0..41 {
                pass(&timer, &talk, 1, [received, 0]).await;
                // That one is quiet ends after 20 s, which is not what this is about.
                while let Some(frame) = smol::future::poll_once(manager.recv()).await.flatten() {
                    count += usize::from(frame == [6]);
                }
            }
            assert!(pongs.contains(&count), "{received}: {count}");
        });
    }
}

#[test]
fn a_handshake_that_dribbles_ends_at_its_deadline() {
    let (connector, listener, talk) = told(Dialect::Native, 8);
    let timer = ManualTimer::new();
    beside(Worker::new(timer.clone(), double).serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        pass(&timer, &talk, 10, [4000, 0]).await;
        assert_eq!(manager.goodbye().await.0, Code::Timeout);
    });
}

#[test]
fn until_a_link_is_up_no_frame_is_longer_than_a_hello_and_then_as_long_as_was_said() {
    let (connector, listener, talk) = told(Dialect::Native, 8);
    let worker = Worker::new(ManualTimer::new(), double).frame_bytes_max(5000);
    beside(worker.serve(listener), async {
        let (mut manager, hello) = Manager::knock(&connector).await;
        let Ok(Message::Hello(Hello { frame_bytes_max, .. })) = Message::decode(&hello) else {
            panic!("{hello:?}");
        };
        assert_eq!(frame_bytes_max, 5000);
        settle().await;
        assert_eq!(talk.lock().unwrap().limits, [1024]);
        manager.welcome(1, 1000).await;
        settle().await;
        assert_eq!(talk.lock().unwrap().limits, [1024, 5000]);
        talk.lock().unwrap().message_bytes_max = 4000;
        let (_manager, hello) = Manager::knock(&connector).await;
        let Ok(Message::Hello(Hello { frame_bytes_max, .. })) = Message::decode(&hello) else {
            panic!("{hello:?}");
        };
        assert_eq!(frame_bytes_max, 4000, "the transport's limit");
    });
}

#[test]
fn an_answer_that_is_too_long_is_its_tasks_own_error_that_names_whose_limit_it_was() {
    let worker_max = 400;
    for (managers, transports, who) in [
        (300, 10_000, "its manager takes at most 285: raise the pool's frame_bytes_max"),
        (1000, 10_000, "this worker sends at most 385: raise the worker's frame_bytes_max"),
        (
            1000,
            250,
            "this worker's transport carries at most 235: raise the limit of its connector",
        ),
    ] {
        let (connector, listener, talk) = told(Dialect::Native, 8);
        talk.lock().unwrap().message_bytes_max = transports;
        let worker = Worker::raw(ManualTimer::new(), |body: Vec<u8>| async move {
            if body.len() == 1 { Err("e".repeat(9000)) } else { Ok(body.repeat(100)) }
        });
        beside(worker.frame_bytes_max(worker_max).serve(listener), async {
            let (mut manager, _) = Manager::knock(&connector).await;
            manager.welcome(1, managers).await;
            manager.request(1, b"1234").await;
            let text = manager.failure().await;
            assert!(text.contains("the answer has 400 bytes") && text.contains(who), "{text}");
            manager.request(2, b"1").await;
            let text = manager.failure().await;
            assert!(text.len() > 200 && text.len() < 400, "{} bytes", text.len());
            manager.request(3, b"").await;
            assert_eq!(manager.answer().await.1, Verdict::Done, "the link lives");
        });
    }
}

#[cfg(feature = "json")]
#[test]
fn a_json_failure_is_cut_to_what_the_transport_carries() {
    let (connector, listener, talk) = told(Dialect::Json, 8);
    talk.lock().unwrap().message_bytes_max = 300;
    let worker = Worker::new(ManualTimer::new(), |height: u64| async move {
        Err::<(), _>("<".repeat(usize::try_from(height).unwrap()))
    });
    beside(worker.serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        for height in [1, 30_000, 100, 2] {
            manager.send_bytes(format!("{{\"Height\":{height}}}").as_bytes(), &[]).await;
            let answer = String::from_utf8(manager.recv().await.unwrap()).unwrap();
            let signs = answer.matches("\\u003c").count();
            assert!(answer.ends_with("\"}") && answer.len() <= 300, "{answer}");
            assert!(signs >= 10 || signs as u64 == height, "{answer}");
        }
        assert_eq!(talk.lock().unwrap().limits, [64 << 10], "requests are short");
    });
}

#[test]
fn a_ping_is_answered_before_the_answers_that_the_wire_has_no_room_for() {
    let (connector, listener) = pair(1);
    let worker = Worker::new(ManualTimer::new(), double);
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.welcome(4, 1 << 20).await;
        for number in 1..3 {
            manager.ask(number, 1).await;
            settle().await;
        }
        for _ in 0..3 {
            manager.send(&Message::Ping, &[]).await;
            settle().await;
        }
        assert_eq!(manager.done().await, (1, 2), "it filled the wire");
        assert_eq!(manager.recv().await.as_deref(), Some(&[6][..]), "one Pong for all");
        assert_eq!(manager.done().await, (2, 2));
        manager.ping().await;
    });
}

#[test]
fn with_the_smallest_wires_nothing_that_waits_for_room_is_left_behind() {
    for (capacity, window) in [(1, 4), (2, 2), (4, 4)] {
        let (connector, listener) = pair(capacity);
        let worker = Worker::new(ManualTimer::new(), |number: u64| async move {
            if number == 1000 {
                pending::<()>().await;
            }
            Ok::<_, String>(number)
        });
        beside(worker.concurrency(4).serve(listener), async {
            let (mut manager, _) = Manager::knock(&connector).await;
            manager.welcome(window, 1 << 20).await;
            for turn in 0..50 {
                manager.ask(0, 1000).await;
                for number in 1..u32::from(window) {
                    manager.ask(number, turn).await;
                }
                manager.cancel(0).await;
                for number in 1..u32::from(window) {
                    assert_eq!(manager.done().await, (number, turn));
                }
                manager.ask(0, 1).await;
                assert_eq!(manager.done().await, (0, 1));
            }
        });
    }
}

/// Has room for one message until it is flushed, and wakes nobody for what a flush makes room for.
#[derive(Default)]
struct OneByOne {
    is_full: bool,
}

impl Meddle for OneByOne {
    fn poll_take(&mut self, _: usize) -> Poll<Result<(), MemoryError>> {
        if core::mem::replace(&mut self.is_full, true) {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn flush(&mut self) {
        self.is_full = false;
    }
}

#[test]
fn what_a_full_wire_did_not_take_leaves_once_it_is_flushed() {
    let (connector, listener) = pair(64);
    let worker = Worker::new(ManualTimer::new(), double).concurrency(8);
    // Polled only when it is woken.
    let worker = [worker.serve(MeddledListener::new(listener, OneByOne::default))];
    let mut worker = worker.into_iter().collect::<FuturesUnordered<_>>();
    beside(worker.select_next_some(), async {
        let mut manager = Manager::meet(&connector).await;
        for turn in 0..3 {
            for number in 0..8 {
                manager.ask(number, turn).await;
            }
            for number in 0..8 {
                assert_eq!(manager.done().await, (number, 2 * turn));
            }
            manager.ping().await;
        }
    });
}
