//! Managers and workers against real peers of the Go package `worker`: its wire format, spoken by
//! Go's own libraries. What both sides say they did must agree.

#[path = "../support/go_peer.rs"]
mod peer;
mod side;

use std::net::TcpListener;
use std::time::Duration;

use chargehand::core::io::Dialect;
use chargehand::{Events, JsonHeights, Pool, PoolEvent, TaskError, TaskOptions};
use futures_util::StreamExt;
use futures_util::future::{join, ready};

use crate::peer::Peer;
use crate::side::{Counts, OnSmol, OnTokio, Runtime, Setup, bounded, hand, outcome, setup, stop};

/// Makes each case a test on each runtime.
macro_rules! on_both {
    ($($case:ident)+) => {
        mod tokio {
            $(#[test]
            fn $case() {
                use super::Runtime;
                super::bounded(|| super::OnTokio::run(super::$case::<super::OnTokio>()));
            })+
        }
        mod smol {
            $(#[test]
            fn $case() {
                use super::Runtime;
                super::bounded(|| super::OnSmol::run(super::$case::<super::OnSmol>()));
            })+
        }
    };
}

on_both! {
    a_go_worker_does_every_height_once
    a_go_manager_has_every_height_done_once
    a_go_worker_that_is_killed_and_restarted_loses_nothing
    a_go_worker_that_hangs_is_found_by_the_deadline
    a_go_worker_that_sends_garbage_is_refused_and_loses_nothing
    go_workers_and_native_ones_share_the_heights
    what_does_not_fit_is_said_clearly
}

/// Ten thousand heights, the least and the greatest there are among them.
fn heights() -> Vec<i64> {
    let edges = [i64::MIN, i64::MIN + 1, -4, -1, 0, i64::MAX - 4, i64::MAX];
    edges.into_iter().chain(1..=9_993).collect()
}

fn start<R: Runtime>(setup: Setup<R>) -> (Pool, Events) {
    let (pool, driver) = setup.build().expect("the limits are in range");
    let events = pool.events();
    R::spawn(driver);
    (pool, events)
}

/// Has all heights done by single calls. Each must have the outcome that is its own.
async fn call_all(pool: &Pool, heights: &[i64]) {
    let calls = heights.iter().map(|height| async move {
        assert_eq!(pool.call::<(), i64>(height).await, outcome(*height), "height {height}");
    });
    let count = futures_util::stream::iter(calls).buffer_unordered(200).count().await;
    assert_eq!(count, heights.len());
}

/// Has a range done. Each height must have the outcome that is its own, once.
async fn process_all(pool: &Pool, heights: &[i64]) {
    let last = *heights.last().expect("a range");
    let last = u64::try_from(last).expect("above zero");
    let mut outcomes = pool.with(TaskOptions::new().retries(0)).process::<()>(1..=last);
    let mut seen = vec![false; heights.len()];
    while let Some((height, result)) = outcomes.next().await {
        let height = i64::try_from(height).expect("in the range");
        assert_eq!(result, outcome(height), "height {height}");
        let index = usize::try_from(height - 1).expect("in the range");
        assert!(!std::mem::replace(&mut seen[index], true), "height {height} came twice");
    }
    assert!(seen.iter().all(|seen| *seen), "a height is missing");
}

/// Returns why the links were lost. Take it after the end of the pool.
async fn losses(events: Events) -> Vec<String> {
    let why = |event| async move {
        match event {
            PoolEvent::Lost { reason, .. } => Some(reason.to_string()),
            PoolEvent::Missed(count) => panic!("{count} events were missed"),
            _ => None,
        }
    };
    events.filter_map(why).collect().await
}

fn any_port() -> (TcpListener, String) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = door.local_addr().expect("it listens").to_string();
    (door, at)
}

async fn a_go_worker_does_every_height_once<R: Runtime>() {
    let (worker, at) = Peer::worker("127.0.0.1:0", "").await;
    let mut setup = setup::<R>().json_heights(JsonHeights::Signed);
    for _ in 0..4 {
        setup = R::connect(setup, &at, Dialect::Json);
    }
    let (pool, _) = start::<R>(setup);
    call_all(&pool, &heights()).await;
    let stats = stop(&pool).await;
    assert_eq!((stats.sent, stats.lost, stats.timed_out), (10_000, 0, 0));
    let counts = Counts::default();
    counts.add_lines(&worker.end().await);
    counts.assert_cover(&heights());
    assert_eq!(counts.total(), 10_000);
}

async fn a_go_manager_has_every_height_done_once<R: Runtime>() {
    let (door, at) = any_port();
    let counts = Counts::default();
    let hand = hand::<R>("for both", &counts).json_heights(JsonHeights::Signed);
    R::spawn(R::serve(hand, door, true));
    let manager = Peer::manager(&at, 3, &heights());
    let mut lines = manager.end().await;
    assert_eq!(lines.pop().as_deref(), Some("over"));
    let mut told: Vec<i64> = lines.iter().map(|line| told_well(line)).collect();
    told.sort_unstable();
    let mut expected = heights();
    expected.sort_unstable();
    assert_eq!(told, expected, "each height has one answer");
    counts.assert_cover(&heights());
    assert_eq!(counts.total(), 10_000);
    // A native manager is served by the same worker.
    let (pool, _) = start::<R>(R::connect(setup::<R>(), &at, Dialect::Native));
    call_all(&pool, &[i64::MIN, 3, i64::MAX]).await;
    stop(&pool).await;
}

/// Returns the height of a Go manager's line, which must tell of the right outcome.
fn told_well(line: &str) -> i64 {
    let mut parts = line.splitn(3, ' ');
    let mut part = || parts.next().expect("three parts");
    let (what, height, text) = (part(), part().parse().expect("a height"), part());
    let text: String = serde_json::from_str(text).expect("a JSON string");
    match outcome(height) {
        Ok(()) => assert_eq!((what, &*text), ("done", ""), "{line}"),
        Err(TaskError::Failed(wanted)) => {
            assert_eq!((what, &*text), ("failed", wanted.text()), "{line}");
        }
        Err(other) => panic!("{other}"),
    }
    height
}

async fn a_go_worker_that_is_killed_and_restarted_loses_nothing<R: Runtime>() {
    let heights: Vec<i64> = (1..=10_000).collect();
    // It is killed while it is at a height: at this one, at least.
    let (mut worker, at) = Peer::worker("127.0.0.1:0", "5000=hang").await;
    let setup = R::connect(setup::<R>(), &at, Dialect::Json);
    let (pool, events) = start::<R>(R::connect(setup, &at, Dialect::Json));
    let counts = Counts::default();
    let restart = async {
        worker.until("hang 5000").await;
        counts.add_lines(&worker.kill().await);
        Peer::worker(&at, "").await.0
    };
    let ((), worker) = join(process_all(&pool, &heights), restart).await;
    let stats = stop(&pool).await;
    assert!((1..=2).contains(&stats.lost), "{stats:?}");
    assert_eq!((stats.resent, stats.timed_out), (stats.lost, 0));
    assert!(!losses(events).await.is_empty());
    counts.add_lines(&worker.end().await);
    counts.assert_cover(&heights);
    // What it had done when it was killed, and could not say.
    assert!(counts.total() < 10_000 + stats.lost, "{} and {stats:?}", counts.total());
}

async fn a_go_worker_that_hangs_is_found_by_the_deadline<R: Runtime>() {
    let heights: Vec<i64> = (1..=2_000).collect();
    let (worker, at) = Peer::worker("127.0.0.1:0", "700=hang,1500=hang").await;
    let setup = setup::<R>().configure(|config| config.attempt_timeout = Duration::from_secs(2));
    let setup = R::connect(setup, &at, Dialect::Json);
    let (pool, events) = start::<R>(R::connect(setup, &at, Dialect::Json));
    process_all(&pool, &heights).await;
    let stats = stop(&pool).await;
    let losses = losses(events).await;
    for height in [700, 1_500] {
        let why = format!("no answer for height {height} within attempt_timeout");
        assert_eq!(losses.iter().filter(|loss| **loss == why).count(), 1, "{losses:?}");
    }
    // One deadline each: the link is not asked again. More than two where the machine is slow.
    assert_eq!(stats.timed_out, losses.len() as u64);
    let counts = Counts::default();
    counts.add_lines(&worker.end().await);
    counts.assert_cover(&heights);
    assert!(counts.total() <= 2_000 + stats.timed_out - 2);
}

async fn a_go_worker_that_sends_garbage_is_refused_and_loses_nothing<R: Runtime>() {
    let heights: Vec<i64> = (1..=2_000).collect();
    let faults = [
        ("cut", "in the middle of its JSON"),
        ("text", "is not JSON"),
        ("types", "\"Height\" (an integer of 64 bits)"),
        ("array", "is not an object"),
        ("utf8", "not UTF-8"),
        ("other", "when asked for"),
        ("twice", "answered height 800"),
    ];
    let mut list = vec!["1900=binary".to_owned()];
    list.extend((2..).zip(faults).map(|(place, (kind, _))| format!("{}={kind}", place * 100)));
    let (worker, at) = Peer::worker("127.0.0.1:0", &list.join(",")).await;
    let (pool, events) = start::<R>(R::connect(setup::<R>(), &at, Dialect::Json));
    process_all(&pool, &heights).await;
    let stats = stop(&pool).await;
    let losses = losses(events).await;
    assert_eq!(losses.len(), faults.len(), "one link each, and binary is no fault: {losses:?}");
    for (loss, (kind, why)) in losses.iter().zip(faults) {
        assert!(loss.contains(why), "{kind}: {loss}");
    }
    // The second answer came with nothing asked, or when the next height was.
    assert!((6..=7).contains(&stats.lost), "{stats:?}");
    let lines = worker.end().await;
    for fault in &list {
        let (height, kind) = fault.split_once('=').expect("a fault");
        assert!(lines.contains(&format!("{kind} {height}")), "{fault} never happened");
    }
    let counts = Counts::default();
    counts.add_lines(&lines);
    // Those were answered well in the end, if not in the usual way.
    for answered in [800, 1_900] {
        counts.add(answered);
    }
    counts.assert_cover(&heights);
    assert!(counts.total() <= 2_001, "{}", counts.total());
}

async fn go_workers_and_native_ones_share_the_heights<R: Runtime>() {
    let (worker, at) = Peer::worker("127.0.0.1:0", "").await;
    let setup = setup::<R>().json_heights(JsonHeights::Signed);
    let setup = R::connect(setup, &at, Dialect::Json);
    let setup = R::connect(setup, &at, Dialect::Json);
    let (door, at) = any_port();
    let native = Counts::default();
    R::spawn(R::serve(hand::<R>("native", &native), door, false));
    let (pool, events) = start::<R>(R::connect(setup, &at, Dialect::Native));
    // All three are up before the first height, so that none does everything.
    let connected = |event: &PoolEvent| ready(matches!(event, PoolEvent::Connected { .. }));
    assert_eq!(events.filter(connected).take(3).count().await, 3);
    call_all(&pool, &heights()).await;
    let stats = stop(&pool).await;
    assert_eq!((stats.sent, stats.lost, stats.timed_out), (10_000, 0, 0));
    let by_go = Counts::default();
    by_go.add_lines(&worker.end().await);
    for (who, counts) in [("Go", &by_go), ("native", &native)] {
        assert!(counts.total() > 100, "{who}: {}", counts.total());
    }
    assert_eq!(by_go.total() + native.total(), 10_000);
    by_go.join(&native).assert_cover(&heights());
}

async fn what_does_not_fit_is_said_clearly<R: Runtime>() {
    let (worker, at) = Peer::worker("127.0.0.1:0", "").await;
    // A pool that was not told that the worker is one of the Go package.
    let (pool, mut events) = start::<R>(R::connect(setup::<R>(), &at, Dialect::Native));
    let why = loop {
        match events.next().await.expect("the pool goes on trying") {
            PoolEvent::Refused { reason, .. } => break reason.to_string(),
            other => drop(other),
        }
    };
    assert!(why.contains("403"), "{why}");
    assert!(why.contains("choose Dialect::Json"), "{why}");
    stop(&pool).await;
    // One that was, but calls with what is no height to it.
    let (pool, _) = start::<R>(R::connect(setup::<R>(), &at, Dialect::Json));
    for failed in [
        pool.call::<(), u64>(&u64::MAX).await,
        pool.call::<(), str>("a text").await,
        pool.process::<()>(u64::MAX..=u64::MAX).next().await.expect("one height").1,
    ] {
        let Err(TaskError::Failed(why)) = failed else { panic!("{failed:?}") };
        assert!(why.text().contains("heights") && why.text().contains("2^63 - 1"), "{why}");
    }
    assert_eq!(pool.call::<(), u64>(&1).await, Ok(()));
    stop(&pool).await;
    assert_eq!(worker.end().await, ["did 1"]);
    // A worker whose handler has heights from zero on, and one that serves native managers only.
    let (counts, (door, at)) = (Counts::default(), any_port());
    R::spawn(R::serve(hand::<R>("unsigned", &counts), door, true));
    let lines = Peer::manager(&at, 1, &[-1]).end().await;
    assert!(lines[0].contains("Worker::json_heights(JsonHeights::Signed)"), "{lines:?}");
    assert_eq!(counts.total(), 0);
    let (door, at) = any_port();
    R::spawn(R::serve(hand::<R>("native only", &counts), door, false));
    let lines = Peer::manager(&at, 1, &[1]).end().await;
    assert!(lines.is_empty(), "it cannot connect: {lines:?}");
}
