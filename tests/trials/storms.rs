//! Very many workers that lose their links in the same moment.

use std::time::{Duration, Instant};

use crate::chaos::number;
use crate::crowds::raise_files;
use crate::pair::{Socket, any_port};
use crate::proxy::Proxy;
use crate::rig::{Rig, Tally, eventually, millis, pause, quick, setup};
use crate::roles::{begin_peak, peak_of};

/// How many workers there are, and for how many seconds they are cut off, where `STORM_WORKERS` and `STORM_SECONDS` do
/// not say. Half of them dial, the other half is dialled.
const WORKERS: u64 = 200;
const OUTAGE: u64 = 2;
/// As the pools and workers here are set up: the longest delay between two connects, and the longest
/// that one may take.
const BACKOFF_CAP: Duration = millis(200);
const DEADLINE: Duration = Duration::from_secs(5);
const HEIGHTS: u64 = 20_000;
/// What this process may hold for each worker, with both ends of its link and of the network's, and beside that, with
/// whatever other trials run in it.
const BYTES_EACH: u64 = 128 << 10;
const PROCESS_BYTES: u64 = 192 << 20;

fn workers() -> u32 {
    let count = number("STORM_WORKERS").unwrap_or(WORKERS);
    u32::try_from(count).expect("a few thousand at most")
}

/// How long all are cut off.
pub(crate) fn span() -> Duration {
    Duration::from_secs(number("STORM_SECONDS").unwrap_or(OUTAGE))
}

pub(crate) async fn workers_that_are_cut_off_at_once_are_all_back_in_time<P: Socket>() {
    let (workers, outage) = (workers(), span());
    let before = begin_peak();
    // Each link has two ends, and the network two more.
    let files = usize::try_from(4 * workers + 200).expect("a few thousand");
    assert!(raise_files() > files, "so many open files are not allowed here");
    let (door, manager) = any_port();
    let (worker_door, worker) = any_port();
    let networks = [Proxy::to(manager), Proxy::to(worker)];
    let mut setup = P::accept(setup::<P>(), door);
    for _ in 0..workers / 2 {
        setup = P::connect(setup, &networks[1].at);
    }
    let _served = P::job(P::serve(quick::<P>("served").links_max(workers as usize), worker_door));
    let rig = Rig::start::<P>(setup);
    let _dialling: Vec<_> = (0..workers / 2)
        .map(|number| P::job(P::dial(quick::<P>(&format!("dials-{number}")), &networks[0].at)))
        .collect();
    rig.up::<P>(workers).await;
    let mut range = Tally::start(&rig.pool, 1..=HEIGHTS);
    range.take(1000).await;

    networks.iter().for_each(Proxy::cut);
    rig.up::<P>(0).await;
    pause::<P>(outage).await;
    let tries: u32 = networks.iter().map(Proxy::turned_away).sum();
    networks.iter().for_each(Proxy::mend);
    let started = Instant::now();
    rig.up::<P>(workers).await;
    let took = started.elapsed();
    let peak = peak_of("self").saturating_sub(before);
    println!(
        "{workers} workers, {tries} tries in {outage:?}; all are back {took:?} later; this process had {} MiB at most",
        peak >> 20
    );
    // A door has a queue of 128, and of a thousand at it at once most are heard only as they try again.
    let rounds = 1 + workers / 500;
    assert!(took < rounds * (BACKOFF_CAP + DEADLINE), "all are back {took:?} later");
    // Each tries again by its backoff, and not in a loop: half of the cap at least, once it has grown.
    let each = u32::try_from(outage.as_millis() / (BACKOFF_CAP.as_millis() / 2)).expect("a few");
    let most = workers * (each + 10);
    assert!((workers..most).contains(&tries), "{tries} tries of {workers} workers");
    assert!(peak < PROCESS_BYTES + u64::from(workers) * BYTES_EACH, "{peak} bytes");

    range.all_done().await;
    let stats = eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == workers).await;
    assert!(stats.tasks.lost > 0, "they held some: {:?}", stats.tasks);
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted, stats.failed), (HEIGHTS, 0, 0), "{stats:?}");
}
