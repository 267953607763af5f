//! Requests, answers, failures and cancels.

use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::*;

/// Counts its drops.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_request_is_answered_with_what_the_handler_returns() {
    let (worker, _timer, connector, listener) = doubler();
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        for number in 0..500 {
            manager.ask(number, 21).await;
            assert_eq!(manager.done().await, (number, 42));
        }
    });
}

#[test]
fn raw_handlers_see_and_return_bytes() {
    let (connector, listener) = pair(4);
    let worker = Worker::raw(ManualTimer::new(), |mut body: Vec<u8>| async move {
        body.reverse();
        Ok::<_, String>(body)
    });
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        manager.request(1, b"abc").await;
        assert_eq!(manager.answer().await, (1, Verdict::Done, b"cba".to_vec()));
    });
}

#[test]
fn failures_panics_and_foreign_requests_are_answered_and_the_worker_lives() {
    let (connector, listener) = pair(4);
    let worker = Worker::new(ManualTimer::new(), |number: u64| {
        assert!(number != 1, "at once");
        async move {
            smol::future::yield_now().await;
            match number {
                2 => panic!("later, number {number}"),
                3 => Err("no such block"),
                _ => Ok(number),
            }
        }
    });
    beside(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        for (question, text) in [
            (1, "the handler panicked: at once"),
            (2, "the handler panicked: later, number 2"),
            (3, "no such block"),
        ] {
            manager.ask(5, question).await;
            assert_eq!(manager.failure().await, text);
        }
        manager.request(6, &[1, 2]).await;
        assert!(manager.failure().await.contains("not of the type that this worker takes"));
        manager.request(6, &[]).await;
        assert!(manager.failure().await.contains("not of the type that this worker takes"));
        manager.ask(7, 9).await;
        assert_eq!(manager.done().await, (7, 9));
    });
}

#[test]
fn an_answer_longer_than_the_manager_takes_fails_with_both_numbers() {
    let (connector, listener) = pair(4);
    let worker = Worker::raw(ManualTimer::new(), |body| async { Ok::<_, String>(body) });
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.welcome(1, 400).await;
        manager.request(1, &[b'x'; 385]).await;
        assert_eq!(manager.answer().await.2.len(), 385);
        manager.request(2, &[b'x'; 386]).await;
        let text = manager.failure().await;
        assert!(text.contains("386 bytes") && text.contains("at most 385"), "{text}");
    });
}

#[test]
fn a_cancel_drops_the_future_and_makes_room_for_what_waits() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (connector, listener) = pair(16);
    let count = Arc::clone(&dropped);
    let worker = Worker::new(ManualTimer::new(), move |number: u64| {
        let guard = Guard(Arc::clone(&count));
        async move {
            let _guard = guard;
            if number == 0 {
                pending::<()>().await;
            }
            Ok::<_, String>(number)
        }
    });
    beside(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.welcome(4, 1 << 20).await;
        manager.ask(0, 0).await;
        manager.ask(1, 1).await; // Waits for room,
        manager.ask(2, 2).await; // as this does,
        manager.send(&Message::Cancel { task: task(1), attempt: 1 }, &[]).await; // but not for long.
        manager.ping().await;
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
        manager.send(&Message::Cancel { task: task(0), attempt: 2 }, &[]).await;
        manager.ping().await;
        assert_eq!(dropped.load(Ordering::SeqCst), 0, "another attempt");
        manager.send(&Message::Cancel { task: task(0), attempt: 1 }, &[]).await;
        assert_eq!(manager.done().await, (2, 2));
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn what_waits_starts_when_a_message_that_came_on_the_heels_of_another_makes_room() {
    type End = fn(u32) -> Message<'static>;
    let cancel: End = |number| Message::Cancel { task: task(number), attempt: 1 };
    let goodbye: End = |_| Message::Goodbye { code: Code::Stopped, text: "" };
    for end in [cancel, goodbye] {
        let (connector, listener) = pair(8);
        let worker = Worker::new(ManualTimer::new(), |number: u64| async move {
            if number == 1 {
                pending::<()>().await;
            }
            Ok::<_, String>(number)
        });
        // Polled only when it is woken.
        let worker = [worker.concurrency(1).window_max(2).serve(listener)];
        let mut worker = worker.into_iter().collect::<FuturesUnordered<_>>();
        beside(worker.select_next_some(), async {
            let mut first = Manager::meet(&connector).await;
            let mut second = Manager::meet(&connector).await;
            first.ask(1, 1).await;
            settle().await;
            second.ask(2, 2).await;
            settle().await;
            // One poll of the worker reads both.
            first.send(&Message::Ping, &[]).await;
            first.send(&end(1), &[]).await;
            settle().await;
            let answer = smol::future::poll_once(second.done()).await;
            assert_eq!(answer, Some((2, 2)), "the worker sleeps");
        });
    }
}

#[test]
fn managers_take_turns_and_no_more_than_the_concurrency_runs() {
    let (gate, opened) = async_channel::bounded::<()>(16);
    let (connector, listener) = pair(16);
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let worker = Worker::new(ManualTimer::new(), move |number: u64| {
        let (opened, count) = (opened.clone(), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            opened.recv().await.map_err(|error| error.to_string())?;
            count.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, String>(number)
        }
    })
    .concurrency(2);
    beside(worker.serve(listener), async {
        let mut first = Manager::meet(&connector).await;
        let mut second = Manager::meet(&connector).await;
        first.ask(0, 10).await;
        first.ask(1, 11).await;
        first.ping().await;
        second.ask(0, 20).await;
        second.ask(1, 21).await;
        second.ping().await;
        assert_eq!(running.load(Ordering::SeqCst), 2);
        for _ in 0..2 {
            gate.send(()).await.unwrap();
        }
        assert_eq!([first.done().await.1, first.done().await.1], [10, 11]);
        first.ask(2, 12).await;
        first.ping().await;
        assert_eq!(running.load(Ordering::SeqCst), 2, "the second manager's turn");
        for _ in 0..3 {
            gate.send(()).await.unwrap();
        }
        assert_eq!([second.done().await.1, second.done().await.1], [20, 21]);
        assert_eq!(first.done().await, (2, 12));
    });
}

#[cfg(feature = "blocking")]
mod blocking {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_blocks_silences_no_heartbeat_and_its_answer_comes() {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let (connector, listener) = pair(16);
        let worker = Worker::blocking(ManualTimer::new(), 1, move |number: u64| {
            assert!(number != 0, "in a thread");
            wait.lock().unwrap().recv().map_err(|error| error.to_string())?;
            Ok::<_, String>(number)
        })
        .unwrap();
        beside(worker.serve(listener), async {
            let mut manager = Manager::meet(&connector).await;
            manager.ask(0, 0).await;
            assert_eq!(manager.failure().await, "the handler panicked: in a thread");
            manager.ask(1, 5).await;
            for _ in 0..10 {
                manager.ping().await;
            }
            go.send(()).unwrap();
            assert_eq!(manager.done().await, (1, 5));
        });
    }

    #[test]
    fn a_cancelled_thread_keeps_its_room_until_it_is_done() {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let (connector, listener) = pair(16);
        let worker = Worker::blocking(ManualTimer::new(), 2, move |number: u64| {
            count.fetch_add(1, Ordering::SeqCst);
            wait.lock().unwrap().recv().map_err(|error| error.to_string())?;
            Ok::<_, String>(number)
        })
        .unwrap()
        .concurrency(1);
        beside(worker.serve(listener), async {
            let mut manager = Manager::meet(&connector).await;
            manager.ask(0, 1).await;
            manager.send(&Message::Cancel { task: task(0), attempt: 1 }, &[]).await;
            manager.ask(1, 2).await;
            manager.ping().await;
            // The other thread is free: it would have begun by then.
            smol::Timer::after(Duration::from_millis(50)).await;
            assert_eq!(started.load(Ordering::SeqCst), 1);
            go.send(()).unwrap();
            go.send(()).unwrap();
            assert_eq!(manager.done().await, (1, 2), "and no answer to the cancelled one");
            assert_eq!(started.load(Ordering::SeqCst), 2);
        });
    }

    #[test]
    fn no_thread_is_an_error() {
        let none = Worker::blocking(ManualTimer::new(), 0, |n: u64| Ok::<_, String>(n));
        assert!(none.unwrap_err().to_string().contains("at least one thread"));
    }
}
