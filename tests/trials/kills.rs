//! Workers' processes that are killed one after the other, and come back where they were, while work goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::chaos::{call_on, number};
use crate::children::{CONCURRENCY, Child};
use crate::pair::{Socket, any_port};
use crate::rig::{Rig, Tally, setup};
use crate::roles::{begin_peak, dialler, peak_of};

/// How many are killed where `KILLS` does not say.
const KILLS: u64 = 6;
/// Two are dialled, the third one dials.
const WORKERS: u32 = 3;
/// How many heights each range has. None of them is a worker's poison.
const HEIGHTS: u64 = 2000;
/// How soon after its process has begun a worker must be up: the longest delay between two connects, and what a busy
/// machine needs.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// What this process may hold, with whatever other trials run in it.
const BYTES_MAX: u64 = 256 << 20;

fn kills() -> u64 {
    number("KILLS").unwrap_or(KILLS)
}

/// How long that takes at most.
pub(crate) fn span() -> Duration {
    Duration::from_secs(kills())
}

pub(crate) async fn workers_that_are_killed_one_after_the_other_lose_nothing<P: Socket>() {
    let kills = kills();
    let (door, manager) = any_port();
    let mut children: Vec<Child> = (0..2).map(|_| Child::worker::<P>(CONCURRENCY)).collect();
    let setup = children.iter().fold(setup::<P>(), |setup, child| P::connect(setup, &child.at));
    let rig = Rig::start::<P>(P::accept(setup, door));
    children.push(dialler::<P>(manager, "third"));
    rig.up::<P>(WORKERS).await;

    let before = begin_peak();
    let over = Arc::new(AtomicBool::new(false));
    let (sender, counts) = async_channel::bounded(2);
    for first in [1 << 40, 1 << 41] {
        let (calls, sender) = (call_on(rig.pool.clone(), Arc::clone(&over), first), sender.clone());
        P::spawn(async move { sender.send(calls.await).await.expect("it is waited for") });
    }
    let (pool, goes_on) = (rig.pool.clone(), Arc::clone(&over));
    P::spawn(async move {
        let mut heights = 0;
        while !goes_on.load(Ordering::SeqCst) {
            Tally::start(&pool, 1000..=999 + HEIGHTS).all_done().await;
            heights += HEIGHTS;
        }
        sender.send(heights).await.expect("it is waited for");
    });
    let mut longest = Duration::ZERO;
    for kill in 0..kills {
        let victim = usize::try_from(kill % u64::from(WORKERS)).expect("a few");
        children[victim].signal(Signal::KILL);
        children[victim].wait();
        rig.up::<P>(WORKERS - 1).await;
        let at = children[victim].at;
        children[victim] = match victim {
            2 => dialler::<P>(manager, "third"),
            _ => Child::worker_at::<P>(&at.to_string(), CONCURRENCY),
        };
        let begun = Instant::now();
        rig.up::<P>(WORKERS).await;
        longest = longest.max(begun.elapsed());
    }
    over.store(true, Ordering::SeqCst);
    let mut asked = 0;
    while let Ok(count) = counts.recv().await {
        asked += count;
    }
    let stats = rig.stop().await;
    println!(
        "{kills} kills: {asked} asked for, {} done, {} lost with their link and sent again, 0 doubled, {} exhausted; \
         up again within {longest:?}; at most {} MiB in this process",
        stats.done,
        stats.lost,
        stats.exhausted,
        peak_of("self") >> 20,
    );
    assert_eq!((stats.done, stats.failed, stats.exhausted), (asked, 0, 0), "each once: {stats:?}");
    assert!(stats.lost >= kills, "they held some: {stats:?}");
    assert!(longest < RECOVERY_MAX, "{longest:?}");
    let grown = peak_of("self").saturating_sub(before);
    assert!(grown < BYTES_MAX, "{grown} bytes");
}
