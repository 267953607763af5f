//! Processes that have no room for another open file, while the links they have are busy.

use crate::children::Child;
use crate::pair::Socket;
use crate::raw::{dial, script};
use crate::rig::{Rig, Tally, quick, setup};
use crate::roles::cramped_busy_manager;

/// More connections than a cramped process can have.
const CROWD: usize = 60;

pub(crate) async fn a_manager_out_of_files_goes_on_with_the_links_it_has<P: Socket>() {
    let child = cramped_busy_manager::<P>();
    let at = child.at;
    let _good = P::job(P::dial(quick::<P>("good"), &at));
    let crowded = script(move || {
        child.wait_for("up good");
        child.wait_for("range");
        let crowd: Vec<_> = (0..CROWD).map(|_| dial(at)).collect();
        child.wait_for("paused");
        // It aborts if it loses the good one.
        (0..3).for_each(|_| child.wait_for("range"));
        (child, crowd)
    });
    let (child, crowd) = crowded.end().await;
    drop(crowd);
    let _late = P::job(P::dial(quick::<P>("late"), &at));
    script(move || {
        child.wait_for("up late");
        (0..3).for_each(|_| child.wait_for("range"));
    })
    .end()
    .await;
}

pub(crate) async fn a_worker_out_of_files_goes_on_with_the_links_it_has<P: Socket>() {
    let child = Child::cramped_worker::<P>();
    let at = child.at;
    let first = Rig::start::<P>(P::connect(setup::<P>(), &at));
    first.up::<P>(1).await;
    Tally::start(&first.pool, 1000..=1200).all_done().await;
    let crowded = script(move || {
        let crowd: Vec<_> = (0..CROWD).map(|_| dial(at)).collect();
        child.wait_for("paused");
        (child, crowd)
    });
    let (_child, crowd) = crowded.end().await;
    Tally::start(&first.pool, 1000..=1600).all_done().await;
    let second = Rig::start::<P>(P::connect(setup::<P>(), &at));
    drop(crowd);
    Tally::start(&second.pool, 1000..=1200).all_done().await;
    let stats = first.stop().await;
    assert_eq!((stats.done, stats.lost), (802, 0), "its link was there all the time: {stats:?}");
    second.stop().await;
}
