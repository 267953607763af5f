//! Stopping, from both dialects, with and without work in hand.

use super::*;

#[test]
fn an_idle_worker_says_drain_gives_back_what_crosses_it_and_leaves() {
    let (worker, timer, connector, listener) = doubler();
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        settle().await;
        stopper.stop();
        stopper.clone().stop();
        manager.ask(1, 4).await; // Crosses the Drain.
        assert_eq!(manager.recv().await.as_deref(), Some(&[7][..]), "Drain");
        assert_eq!(manager.returned().await, 1);
        settle().await;
        timer.advance(Duration::from_secs(1));
        assert_eq!(manager.goodbye().await.0, Code::Stopped);
        assert!(connector.clone().connect().await.is_err(), "nobody listens any more");
    }));
    assert_eq!(ended, Ok(()));
}

#[test]
fn what_has_not_begun_is_given_back_right_after_the_drain_and_what_runs_is_answered() {
    let (gate, opened) = async_channel::bounded::<()>(1);
    let (connector, listener) = pair(16);
    let timer = ManualTimer::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let worker = Worker::new(timer.clone(), move |number: u64| {
        count.fetch_add(1, Ordering::SeqCst);
        let opened = opened.clone();
        async move { opened.recv().await.map(|()| number) }
    });
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let (mut manager, _) = Manager::knock(&connector).await;
        manager.welcome(8, 1 << 20).await;
        let mut other = Manager::meet(&connector).await;
        for number in 0..6 {
            manager.ask(number, 9).await;
        }
        other.ask(3, 9).await;
        manager.cancel(2).await;
        settle().await;
        stopper.stop();
        manager.ask(7, 9).await; // Crosses the Drain.
        assert_eq!(manager.recv().await.as_deref(), Some(&[7][..]), "Drain");
        for number in [1, 3, 4, 5, 7] {
            assert_eq!(manager.returned().await, number);
        }
        assert_eq!(other.recv().await.as_deref(), Some(&[7][..]), "Drain");
        assert_eq!(other.returned().await, 3);
        manager.ping().await;
        gate.send(()).await.unwrap();
        assert_eq!(manager.done().await, (0, 9));
        manager.ask(8, 9).await;
        assert_eq!(manager.returned().await, 8);
        settle().await;
        timer.advance(Duration::from_secs(1));
        assert_eq!(manager.goodbye().await.0, Code::Stopped);
        assert_eq!(other.goodbye().await.0, Code::Stopped);
    }));
    assert_eq!(ended, Ok(()));
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[test]
fn the_last_answers_arrive_however_late_the_manager_reads_them() {
    let (connector, listener) = pair(1);
    let timer = ManualTimer::new();
    let worker = Worker::new(timer.clone(), double);
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        for number in 0..2 {
            manager.ask(number, 4).await;
            settle().await;
        }
        stopper.stop();
        for _ in 0..8 {
            settle().await;
            timer.advance(Duration::from_secs(1));
        }
        assert_eq!(manager.done().await, (0, 8));
        assert_eq!(manager.recv().await.as_deref(), Some(&[7][..]), "Drain");
        assert_eq!(manager.done().await, (1, 8));
        settle().await;
        timer.advance(Duration::from_secs(1));
        assert_eq!(manager.goodbye().await.0, Code::Stopped);
    }));
    assert_eq!(ended, Ok(()));
}

#[test]
fn a_manager_that_closes_after_the_drain_ends_the_worker_at_once() {
    let (worker, _timer, connector, listener) = doubler();
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        settle().await;
        stopper.stop();
        assert_eq!(manager.recv().await.as_deref(), Some(&[7][..]), "Drain");
        manager.send(&Message::Goodbye { code: Code::Stopped, text: "drained" }, &[]).await;
    }));
    assert_eq!(ended, Ok(()));
}

#[test]
fn what_runs_longer_than_the_drain_timeout_is_dropped() {
    let (connector, listener) = pair(4);
    let timer = ManualTimer::new();
    let worker = Worker::raw(timer.clone(), |_| pending::<Result<Vec<u8>, String>>())
        .drain_timeout(Duration::from_secs(5));
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let mut manager = Manager::meet(&connector).await;
        manager.request(1, &[]).await;
        let other = Manager::connect(&connector).await; // Stays in its handshake,
        let deaf = Manager::meet(&connector).await; // and this one reads nothing.
        settle().await;
        stopper.stop();
        assert_eq!(manager.recv().await.as_deref(), Some(&[7][..]), "Drain");
        settle().await;
        timer.advance(Duration::from_secs(5));
        let (code, text) = manager.goodbye().await;
        assert_eq!(
            (code, text),
            (Code::Stopped, DisconnectReason::DrainTimeout(Duration::from_secs(5)).to_string())
        );
        drop((other, deaf));
    }));
    assert_eq!(ended, Ok(()));
}

#[test]
fn a_goodbye_that_nobody_takes_does_not_hold_the_worker_up() {
    let (connector, listener) = pair(1);
    let timer = ManualTimer::new();
    let worker = Worker::new(timer.clone(), double).drain_timeout(Duration::from_secs(5));
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let mut deaf = Manager::meet(&connector).await;
        deaf.ask(1, 1).await; // Its answer fills the wire.
        settle().await;
        stopper.stop();
        settle().await;
        for _ in 0..8 {
            timer.advance(Duration::from_secs(1));
            settle().await;
        }
        drop(deaf);
    }));
    assert_eq!(ended, Ok(()));
}

#[test]
fn stopping_before_the_first_poll_works() {
    let (worker, _timer, _connector, listener) = doubler();
    worker.stopper().stop();
    assert_eq!(bounded(worker.serve(listener)), Ok(()));
}

/// A worker that gives a height back each time that the gate is told to.
#[cfg(feature = "json")]
fn gated() -> (Worker<ManualTimer, impl Handler>, async_channel::Sender<()>) {
    let (gate, opened) = async_channel::bounded::<()>(2);
    let worker = Worker::new(ManualTimer::new(), move |height: u64| {
        let opened = opened.clone();
        async move { opened.recv().await.map(|()| height) }
    });
    (worker, gate)
}

#[cfg(feature = "json")]
#[test]
fn a_json_link_gets_the_answer_it_waits_for_and_then_the_end() {
    let (worker, gate) = gated();
    let (connector, listener) = pair_of(Dialect::Json, 4);
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let mut manager = Manager::connect(&connector).await;
        let mut idle = Manager::connect(&connector).await;
        manager.send_bytes(br#"{"Height":3}"#, &[]).await;
        settle().await;
        stopper.stop();
        assert_eq!(idle.recv().await, None);
        gate.send(()).await.unwrap();
        let answer = manager.recv().await.unwrap();
        assert_eq!(answer, br#"{"Height":3,"Success":true,"Error":""}"#);
        assert_eq!(manager.recv().await, None);
    }));
    assert_eq!(ended, Ok(()));
}

#[cfg(feature = "json")]
#[test]
fn a_json_request_that_waits_for_room_is_answered_for_the_dialect_cannot_give_it_back() {
    let (worker, gate) = gated();
    let (connector, listener) = pair_of(Dialect::Json, 4);
    let stopper = worker.stopper();
    let (ended, ()) = bounded(zip(worker.serve(listener), async {
        let mut managers = Vec::new();
        for height in 1..3 {
            let mut manager = Manager::connect(&connector).await;
            manager.send_bytes(format!("{{\"Height\":{height}}}").as_bytes(), &[]).await;
            settle().await;
            managers.push((manager, height));
        }
        stopper.stop();
        settle().await;
        for (mut manager, height) in managers {
            gate.send(()).await.unwrap();
            let expected = format!("{{\"Height\":{height},\"Success\":true,\"Error\":\"\"}}");
            assert_eq!(manager.recv().await.unwrap(), expected.as_bytes());
            assert_eq!(manager.recv().await, None);
        }
    }));
    assert_eq!(ended, Ok(()));
}
