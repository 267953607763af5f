//! Peers that read slowly or not at all, and lines that are slow or stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chargehand::Pool;
use futures_util::future::join_all;

use crate::children::Child;
use crate::pair::{Socket, any_port};
use crate::proxy::Proxy;
use crate::raw::{Raw, script};
use crate::reach::{Reach, raw_hand};
use crate::rig::{Rig, Tally, impatient, millis, quick, setup, steady, within};
use crate::roles::{BLOB_BYTES, peak_bytes, worker_of_blobs};

/// How many managers read nothing, and how many answers of 64 KiB each of them asks for.
const STUCK: u32 = 8;
const ANSWERS: u32 = 1000;
/// How much they may make a worker hold: each a buffer of a transport, and its share of what runs at
/// once. All answers would be 500 MiB.
const BYTES_MAX: u64 = 32 << 20;

/// Asks for so many blobs, several at once.
async fn ask(pool: &Pool, count: u32) {
    let next = Arc::new(AtomicU32::new(0));
    let askers = (0..8).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= count {
                break;
            }
            let first = number.to_be_bytes()[3];
            let answer = pool.call_raw(vec![first]).await.expect("it is answered");
            assert!(answer == vec![first; BLOB_BYTES], "number {number}: not its answer");
        }
    });
    join_all(askers).await;
}

pub(crate) async fn a_manager_that_reads_nothing_takes_no_memory_and_holds_up_nobody<P: Socket>() {
    beside_managers_that_read_nothing::<P>(worker_of_blobs::<P>()).await;
}

/// Has a worker of blobs serve a manager that reads beside some that do not.
pub(crate) async fn beside_managers_that_read_nothing<P: Socket>(child: Child) {
    let at = child.at;
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    ask(&rig.pool, 50).await;
    let before = peak_bytes(&child);
    let stuck = script(move || {
        let mut all: Vec<_> = (0..STUCK).map(|_| Raw::client::<P>(at)).collect();
        for raw in &mut all {
            raw.greet_as_manager(60_000, 1024);
            (0..ANSWERS).for_each(|slot| raw.ask(slot, u64::from(slot % 100)));
        }
        all
    });
    let stuck = stuck.end().await;
    let started = Instant::now();
    let asked = within::<P, _>(Duration::from_secs(15), ask(&rig.pool, 400)).await;
    asked.expect("somebody who reads is served");
    let grown = peak_bytes(&child).saturating_sub(before);
    println!("400 answers in {:?}; the others took {} KiB", started.elapsed(), grown >> 10);
    assert!(grown < BYTES_MAX, "managers that read nothing took {grown} bytes");
    drop(stuck);
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost), (450, 0));
}

pub(crate) async fn a_slow_line_loses_nothing<P: Reach>() {
    let (door, at) = any_port();
    let hand = raw_hand::<P>(|request| Box::pin(async move { Ok(vec![request[0]; BLOB_BYTES]) }));
    let _job = P::job(P::serve_raw(hand.concurrency(8), door));
    // 2 MiB in a second, of which eight answers are a quarter.
    let line = Proxy::paced(at, millis(8));
    let setup = P::connect(impatient::<P>(setup::<P>()), &line.at);
    let rig = Rig::start::<P>(setup);
    ask(&rig.pool, 64).await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.resent, stats.lost), (64, 0, 0), "{stats:?}");
}

pub(crate) async fn a_line_that_is_stuck_towards_the_worker_is_given_up<P: Socket>() {
    stuck::<P>(Proxy::stick_to_target).await;
}

pub(crate) async fn a_line_that_is_stuck_towards_the_manager_is_given_up<P: Socket>() {
    stuck::<P>(Proxy::stick_from_target).await;
}

async fn stuck<P: Socket>(stick: fn(&Proxy, bool)) {
    let [(far_door, far), (near_door, near)] = [any_port(), any_port()];
    let line = Proxy::to(far);
    let _far = P::job(P::serve(steady::<P>("far", millis(2)).concurrency(4), far_door));
    let _near = P::job(P::serve(quick::<P>("near"), near_door));
    let setup = P::connect(P::connect(impatient::<P>(setup::<P>()), &line.at), &near);
    let mut rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    for _ in 0..2 {
        let mut range = Tally::start(&rig.pool, 1..=4000);
        range.take(100).await;
        stick(&line, true);
        let started = Instant::now();
        range.all_done().await;
        let why = rig.watch.lost::<P>().await;
        assert!(why.contains("silent") || why.contains("nothing heard"), "{why}");
        // A ping after 300 ms, 700 ms of silence, and what a busy machine needs.
        let took = started.elapsed();
        assert!(took < Duration::from_secs(8), "the range took {took:?}");
        stick(&line, false);
        rig.up::<P>(2).await;
    }
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted), (8000, 0));
    assert!(stats.lost > 0, "it held some: {stats:?}");
}
