//! Two workers of one name: who stays, who is told what, and who is back soon.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chargehand::core::message::{Code, Message, Role};
use chargehand::worker::WorkerEvent;

use crate::pair::{Hand, Socket, any_port};
use crate::raw::{Raw, script};
use crate::rig::{Rig, Tally, answer_to, hand, pause, quick, setup, until};
use crate::{millis, secs};

/// A worker that counts what it begins.
fn counted<P: Socket>(name: &str, begun: &Arc<AtomicU64>) -> Hand<P> {
    let begun = Arc::clone(begun);
    let hand = hand::<P>(name, move |height| {
        begun.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            pause::<P>(millis(2)).await;
            Ok(answer_to(height))
        })
    });
    hand.concurrency(2)
}

pub(crate) async fn of_two_live_workers_of_one_name_the_older_stays<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let begun = Arc::<AtomicU64>::default();
    let _old = P::job(P::dial(counted::<P>("twin", &begun), &at));
    rig.watch.connected::<P>().await;
    let told = Arc::<Mutex<Vec<(Instant, String)>>>::default();
    let notes = Arc::clone(&told);
    let newer = counted::<P>("twin", &begun).on_event(move |event| {
        if let WorkerEvent::SentAway { .. } = event {
            notes.lock().expect("no panic with it").push((Instant::now(), event.to_string()));
        }
    });
    let mut range = Tally::start(&rig.pool, 1..=3000);
    range.take(10).await;
    let started = Instant::now();
    let _new = P::job(P::dial(newer, &at));
    let why = rig.watch.refused::<P>().await;
    let waited = started.elapsed();
    assert!(waited < millis(3500), "it was kept waiting for {waited:?}");
    assert!(why.contains("twin") && why.contains("alive"), "{why}");
    range.all_done().await;
    until::<P>("the worker tells", || !told.lock().expect("no panic with it").is_empty()).await;
    pause::<P>(secs(3)).await;
    let told = told.lock().expect("no panic with it").clone();
    assert!(told.iter().all(|(_, text)| text.contains("NameTaken")), "{told:?}");
    for pair in told.windows(2) {
        let apart = pair[1].0.duration_since(pair[0].0);
        assert!(apart >= secs(1), "it comes back after {apart:?}");
    }
    assert_eq!(begun.load(Ordering::SeqCst), 3000, "each height began once");
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.sent, stats.lost), (3000, 3000, 0));
}

pub(crate) async fn of_one_token_the_newest_link_wins_at_once<P: Socket>() {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>().configure(|c| c.attempts_max = 1), door));
    let task = rig.pool.submit::<u64, u64>(&4).await.expect("it is queued");
    let links = script(move || {
        let mut older = Raw::client::<P>(at);
        older.greet_as_worker("moves", 1);
        assert!(older.request().is_some());
        let started = Instant::now();
        let mut newer = Raw::client::<P>(at);
        newer.greet_as_worker("moves", 1);
        let (task, attempt, height) = newer.request().expect("the task of the older");
        let span = started.elapsed();
        assert!(span < millis(1000), "it took {span:?}");
        newer.answer(task, attempt, answer_to(height));
        (older.goodbye(), newer)
    });
    let (goodbye, newer) = links.end().await;
    assert_eq!(goodbye.map(|(code, _)| code), Some(Code::Displaced));
    assert_eq!(task.await, Ok(answer_to(4)));
    drop(newer);
    rig.stop().await;
}

pub(crate) async fn a_worker_that_died_unnoticed_is_back_under_its_name_in_3_s<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>().configure(|c| c.attempts_max = 1), door));
    let task = rig.pool.submit::<u64, u64>(&4).await.expect("it is queued");
    // It takes a task and is gone, and its host says nothing of that.
    let half_open = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.greet_as_worker("phoenix", 1);
        assert!(raw.request().is_some());
        raw
    });
    let half_open = half_open.end().await;
    let started = Instant::now();
    let _again = P::job(P::dial(quick::<P>("phoenix"), &at));
    assert_eq!(task.await, Ok(answer_to(4)));
    let span = started.elapsed();
    assert!(span < secs(3), "it was back after {span:?}");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("newer"), "{why}");
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!((stats.workers.len(), stats.tasks.exhausted), (1, 0));
    drop(half_open);
    rig.stop().await;
}

pub(crate) async fn whoever_is_held_for_a_link_that_is_gone_is_held_for_the_next_one<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let moved = script(move || {
        let mut older = Raw::client::<P>(at);
        older.greet_as_worker("moves", 1);
        let mut stranger = Raw::client::<P>(at);
        stranger.say(&Message::hello(Role::Worker, 1, 2, "moves"));
        assert!(matches!(stranger.receive_message(), Some(Message::Hello(_))));
        // It is asked for the stranger's sake, who is held by now.
        assert!(matches!(older.receive_message(), Some(Message::Ping)));
        drop(older);
        let mut newer = Raw::client::<P>(at);
        newer.greet_as_worker("moves", 1);
        (newer, stranger)
    });
    let (mut newer, mut stranger) = moved.end().await;
    let lives = script(move || {
        loop {
            let kind = newer.receive_message().map(|message| message.kind());
            if kind != Some("Ping") {
                return kind;
            }
            newer.say(&Message::Pong);
        }
    });
    let goodbye = script(move || stranger.goodbye().map(|(code, _)| code)).end().await;
    assert_eq!(goodbye, Some(Code::NameTaken));
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains("alive"), "{why}");
    rig.stop().await;
    lives.end().await;
}

pub(crate) async fn whoever_is_held_for_its_name_may_give_up_or_break_the_rules<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let _old = P::job(P::dial(quick::<P>("twin"), &at));
    rig.watch.connected::<P>().await;
    let other = Message::hello(Role::Worker, 1, 2, "twin");
    let rude = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.say(&other);
        raw.say(&Message::Pong);
        let started = Instant::now();
        (raw.goodbye().map(|(code, _)| code), started.elapsed())
    });
    let (code, span) = rude.end().await;
    assert_eq!(code, Some(Code::BadMessage));
    assert!(span < secs(1), "it was told after {span:?}");
    let gone = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.say(&Message::hello(Role::Worker, 1, 2, "twin"));
        assert!(matches!(raw.receive_message(), Some(Message::Hello(_))));
    });
    gone.end().await;
    rig.watch.refused::<P>().await;
    rig.watch.refused::<P>().await;
    // A crowd of them takes no more than their handshakes.
    let crowd = script(move || {
        let mut crowd: Vec<_> = (0..100).map(|_| Raw::client::<P>(at)).collect();
        for raw in &mut crowd {
            raw.say(&Message::hello(Role::Worker, 1, 3, "twin"));
        }
        crowd.into_iter().all(|mut raw| raw.goodbye().is_some_and(|(c, _)| c == Code::NameTaken))
    });
    let mut range = Tally::start(&rig.pool, 1..=500);
    range.take(500).await;
    assert!(range.results.values().all(Result::is_ok));
    assert!(crowd.end().await, "each is told why");
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost), (500, 0));
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    {
        names:
            of_two_live_workers_of_one_name_the_older_stays
            of_one_token_the_newest_link_wins_at_once
            a_worker_that_died_unnoticed_is_back_under_its_name_in_3_s
            whoever_is_held_for_a_link_that_is_gone_is_held_for_the_next_one
            whoever_is_held_for_its_name_may_give_up_or_break_the_rules;
    }
}
