//! Processes that may have little memory (`ulimit -v`): what would take more is kept from them by their own bounds,
//! or they would be gone.

use std::time::{Duration, Instant};

use crate::raw::script;
use crate::reach::{Reach, raw_hand};
use crate::roles::{BLOB_BYTES, blobs_in_little_memory, hoarder, peak_bytes};
use crate::slow::beside_managers_that_read_nothing;

pub(crate) async fn a_worker_with_little_memory_outlives_managers_that_read_nothing<P: Reach>() {
    beside_managers_that_read_nothing::<P>(blobs_in_little_memory::<P>()).await;
}

pub(crate) async fn a_manager_with_little_memory_outlives_outcomes_that_nobody_takes<P: Reach>() {
    let manager = hoarder::<P>();
    let at = manager.at;
    let _workers: Vec<_> = (0..2)
        .map(|number| {
            let hand =
                raw_hand::<P>(|request| Box::pin(async move { Ok(vec![request[0]; BLOB_BYTES]) }));
            P::job(P::dial_raw(hand.name(format!("blobs-{number}")).concurrency(8), &at))
        })
        .collect();
    let begun = Instant::now();
    let watched = script(move || {
        manager.wait_for("all taken");
        println!("its memory was at most {} MiB", peak_bytes(&manager) >> 20);
    });
    watched.end().await;
    println!("all taken after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30));
}
