//! Very many workers that lose their links in the same moment.

use std::time::{Duration, Instant};

use crate::crowds::raise_files;
use crate::pair::{Socket, any_port};
use crate::proxy::Proxy;
use crate::rig::{Rig, Tally, eventually, millis, pause, quick, setup};

/// Half of them dial, the other half is dialled.
const WORKERS: u32 = 200;
const OUTAGE: Duration = Duration::from_secs(2);
/// As the pools and workers here are set up: the longest delay between two connects, and the longest
/// that one may take.
const BACKOFF_CAP: Duration = millis(200);
const DEADLINE: Duration = Duration::from_secs(5);
const HEIGHTS: u64 = 20_000;

pub(crate) async fn two_hundred_workers_that_are_cut_off_at_once_are_all_back_in_time<P: Socket>() {
    // Each link has two ends, and the network two more.
    assert!(raise_files() > 4 * 200 + 200, "so many open files are not allowed here");
    let (door, manager) = any_port();
    let (worker_door, worker) = any_port();
    let networks = [Proxy::to(manager), Proxy::to(worker)];
    let mut setup = P::accept(setup::<P>(), door);
    for _ in 0..WORKERS / 2 {
        setup = P::connect(setup, &networks[1].at);
    }
    let _served = P::job(P::serve(quick::<P>("served").links_max(128), worker_door));
    let rig = Rig::start::<P>(setup);
    let _dialling: Vec<_> = (0..WORKERS / 2)
        .map(|number| P::job(P::dial(quick::<P>(&format!("dials-{number}")), &networks[0].at)))
        .collect();
    rig.up::<P>(WORKERS).await;
    let mut range = Tally::start(&rig.pool, 1..=HEIGHTS);
    range.take(1000).await;

    networks.iter().for_each(Proxy::cut);
    rig.up::<P>(0).await;
    pause::<P>(OUTAGE).await;
    let tries: u32 = networks.iter().map(Proxy::turned_away).sum();
    networks.iter().for_each(Proxy::mend);
    let started = Instant::now();
    rig.up::<P>(WORKERS).await;
    let took = started.elapsed();
    println!("{tries} tries in {OUTAGE:?}; all are back {took:?} later");
    assert!(took < BACKOFF_CAP + DEADLINE, "all are back {took:?} later");
    // Each tries again by its backoff, and not in a loop: half of the cap at least, once it has grown.
    let most = WORKERS * 30;
    assert!((WORKERS..most).contains(&tries), "{tries} tries of {WORKERS} workers");

    range.all_done().await;
    let stats = eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == WORKERS).await;
    assert!(stats.tasks.lost > 0, "they held some: {:?}", stats.tasks);
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted, stats.failed), (HEIGHTS, 0, 0), "{stats:?}");
}
