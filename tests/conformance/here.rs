//! What asks for a runtime's own means, or for a feature besides.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chargehand::Worker;
use chargehand::testing::conformance::rig::Ends;

use crate::pair::Pair;
use crate::rig::{Rig, Tally, answer_to, eventually, millis, quick, setup, until, works};

/// On a runtime that allows a task so much in each poll, that must not go to the handlers alone.
pub(crate) async fn busy_in_process_handlers_keep_no_link_from_being_served<P: Pair>() {
    const BUSY: u16 = 256;
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let rig = Rig::start::<P>(setup::<P>().in_process(BUSY, move |_: u64| {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            loop {
                tokio::task::coop::consume_budget().await; // Elsewhere it does nothing.
                smol::future::yield_now().await;
            }
            #[expect(unreachable_code, reason = "it makes the type")]
            Ok::<u64, String>(0)
        }
    }));
    let mut busy = Vec::new();
    for height in 0..u64::from(BUSY) {
        busy.push(rig.pool.submit::<u64, _>(&height).await.expect("there is room"));
    }
    until::<P>("all of them to begin", || begun.load(Ordering::SeqCst) == usize::from(BUSY)).await;
    let (door, at) = P::place();
    let remote = P::job(P::serve(quick::<P>("remote"), door));
    P::add(&rig.pool, &at).await.expect("there is room");
    works(&rig.pool).await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.tasks.in_flight, u32::from(BUSY));
    drop(busy);
    eventually::<P>(&rig.pool, |stats| stats.tasks.in_flight == 0).await;
    assert_eq!(rig.stop().await.done, 50);
    drop(remote);
}

pub(crate) async fn a_blocking_handler_does_not_silence_the_heartbeat<P: Pair>() {
    let (door, at) = P::place();
    let block = |height: u64| -> Result<u64, String> {
        std::thread::sleep(millis(2500)); // Longer than either side bears silence.
        Ok(answer_to(height))
    };
    let worker = Worker::blocking(P::timer(), 2, block).expect("threads start");
    let _job = P::job(async move { worker.serve(door).await.expect("the settings are in range") });
    let setup = P::connect(setup::<P>(), &at).configure(|config| {
        config.heartbeat_interval = millis(900);
        config.heartbeat_timeout = millis(900);
    });
    let rig = Rig::start::<P>(setup);
    Tally::start(&rig.pool, 1..=2).all_done().await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.lost), (2, 0));
}
