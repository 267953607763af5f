//! Workers whose address changes behind their name while the manager runs.

use crate::children::{CONCURRENCY, Child};
use crate::reach::{Known, Reach};
use crate::rig::{Rig, Tally, setup};

const NAME: &str = "indexer.test:9000";

pub(crate) async fn a_worker_that_moves_is_found_behind_its_name<P: Reach>() {
    let mut child = Child::worker::<P>(CONCURRENCY);
    let known = Known::at(child.at);
    let rig = Rig::start::<P>(P::connect_by_name(setup::<P>(), NAME, &known));
    rig.up::<P>(1).await;
    let mut range = Tally::start(&rig.pool, 1000..=4000);
    let mut asked = known.times_asked();
    assert_eq!(asked, 1);
    // To other ports, and to other hosts.
    for host in ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"] {
        range.take(300).await;
        let before = child.at;
        // It has gone from there before anybody knows where to.
        drop(child);
        rig.up::<P>(0).await;
        child = Child::worker_at::<P>(&format!("{host}:0"), CONCURRENCY);
        assert_ne!(child.at, before);
        known.moves_to(child.at);
        rig.up::<P>(1).await;
        assert!(known.times_asked() > asked, "the name is asked anew for each connect");
        asked = known.times_asked();
    }
    range.all_done().await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.workers.len(), 1, "it is one worker all the time");
    assert!(stats.workers[0].peer.contains("indexer.test:9000"), "{:?}", stats.workers);
    assert!(stats.workers[0].stats.links >= 5, "{:?}", stats.workers);
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted), (3001, 0));
}
