//! Where links come from: dialling, backoff, and a listener that fails.

use alloc::vec::Vec;
use core::task::{Context, Poll};

use chargehand_core::io::{Exposure, Listen};

use super::*;

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

    fn exposure(&self) -> Exposure {
        Exposure::Local
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
