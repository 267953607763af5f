//! Large messages both ways, several at once, beside small ones on the same links.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chargehand::Pool;
use futures_util::future::join_all;

use crate::pair::any_port;
use crate::reach::{Reach, raw_hand};
use crate::rig::{Rig, millis, pause, setup};

const LARGE_BYTES: usize = 8 << 20;
/// How many large ones are under way at once, and how many times over.
const AT_ONCE: u8 = 4;
const ROUNDS: u8 = 2;
/// How long a small call may take. It waits for what is on the line before it: some of the large ones,
/// in a build without optimizations, on a machine with other things to do.
const SMALL_MAX: Duration = Duration::from_secs(8);

/// Bytes of which none is where it is by chance.
fn pattern(seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut bytes = Vec::with_capacity(LARGE_BYTES);
    while bytes.len() < LARGE_BYTES {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes
}

async fn echo_large(pool: &Pool, seed: u8) {
    let sent = pattern(seed);
    let echoed = pool.call_raw(sent.clone()).await.expect("it fits");
    // Not `assert_eq`, which would show them.
    assert!(echoed == sent, "number {seed} comes back as it was");
}

/// Echoes small ones until it is over. Returns how many, and how long the slowest took.
async fn echo_small<P: Reach>(pool: Pool, over: Arc<AtomicBool>) -> (u32, Duration) {
    let (mut count, mut slowest) = (0_u32, Duration::ZERO);
    while !over.load(Ordering::SeqCst) {
        let sent = count.to_be_bytes().to_vec();
        let started = Instant::now();
        assert_eq!(pool.call_raw(sent.clone()).await, Ok(sent));
        slowest = slowest.max(started.elapsed());
        count += 1;
        pause::<P>(millis(1)).await;
    }
    (count, slowest)
}

pub(crate) async fn eight_mebibytes_go_both_ways_and_hold_up_no_small_call<P: Reach>() {
    let mut setup = setup::<P>();
    for _ in 0..2 {
        let (door, at) = any_port();
        let hand = raw_hand::<P>(|request| Box::pin(async move { Ok(request) })).concurrency(8);
        P::spawn(P::serve_raw(hand, door));
        setup = P::connect(setup, &at);
    }
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    let over = Arc::new(AtomicBool::new(false));
    let (sender, small) = async_channel::bounded(1);
    let calls = echo_small::<P>(rig.pool.clone(), Arc::clone(&over));
    P::spawn(async move { sender.send(calls.await).await.expect("it is waited for") });
    let started = Instant::now();
    for round in 0..ROUNDS {
        let echoes = (0..AT_ONCE).map(|number| echo_large(&rig.pool, AT_ONCE * round + number));
        join_all(echoes).await;
    }
    println!("{} of 8 MiB both ways in {:?}", AT_ONCE * ROUNDS, started.elapsed());
    over.store(true, Ordering::SeqCst);
    let (count, slowest) = small.recv().await.expect("the small calls have gone on");
    println!("{count} small calls beside them, the slowest in {slowest:?}");
    assert!(count > 10, "{count} small calls went on");
    assert!(slowest < SMALL_MAX, "a small call took {slowest:?}");
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost), (u64::from(AT_ONCE * ROUNDS) + u64::from(count), 0));
}
