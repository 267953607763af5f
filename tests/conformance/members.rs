//! Members of a pool whose links are up when something happens to their certificates.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chargehand::PoolEvent;
use chargehand::tls::members::{Authority, Members, Role};
use chargehand::worker::WorkerEvent;

use crate::pair::any_port;
use crate::rig::{Rig, quick, setup, until, works};
use crate::tls::Tls;

/// A pool `m1` and a worker `w1` of one authority, which let nobody in who is on a list.
struct Pool {
    dir: PathBuf,
    pool: Members,
    worker: Members,
}

impl Pool {
    fn new<P: Tls>(test: &str, days: u32) -> Self {
        let name = format!("chargehand-{test}-{}-{}", P::NAME, std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("a directory of its own");
        let file = |name: &str| dir.join(name);
        let authority = Authority::create(file("authority.pem")).expect("a new file");
        let join = |role, name| authority.join(role, name).days(days);
        join(Role::Pool, "m1").write(file("m1.join")).expect("a new file");
        join(Role::Worker, "w1").write(file("w1.join")).expect("a new file");
        for list in ["workers", "managers"] {
            fs::write(file(list), "# nobody\n").expect("a new file");
        }
        let pool = Members::pool(file("m1.join")).expect("its file");
        let pool = pool.revoked(file("workers")).expect("a list");
        let worker = Members::worker(file("w1.join")).expect("its file");
        let worker = worker.revoked(file("managers")).expect("a list");
        Self { dir, pool, worker }
    }

    fn revoke(&self, list: &str, name: &str) {
        fs::write(self.dir.join(list), format!("{name} # lost\n")).expect("it is there");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What a worker tells.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn hear(&self, event: &WorkerEvent) {
        self.0.lock().expect("no panic with it").push(event.to_string());
    }

    fn contains(&self, text: &str) -> bool {
        self.0.lock().expect("no panic with it").iter().any(|told| told.contains(text))
    }
}

const REVOKED: &str = "no longer trusted: its certificate has been revoked";

pub(crate) async fn a_worker_that_is_revoked_while_connected_loses_its_link<P: Tls>() {
    let members = Pool::new::<P>("revoked-worker", 30);
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(setup::<P>().accept(P::door(&members.pool, door)));
    let told = Told::default();
    let hand = quick::<P>("w1").on_event({
        let told = told.clone();
        move |event| told.hear(event)
    });
    let connector = P::caller(&members.worker, &at);
    let _job = P::job(async move { hand.dial(connector).await.expect("its settings") });
    rig.watch.connected::<P>().await;
    works(&rig.pool).await;
    members.revoke("workers", "w1");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains(REVOKED), "{why}");
    until::<P>("a word to the worker", || told.contains("NotAllowed")).await;
    // Nor does it come back.
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains("revoked"), "{why}");
    rig.stop().await;
}

pub(crate) async fn a_manager_that_is_revoked_while_connected_loses_its_link<P: Tls>() {
    let members = Pool::new::<P>("revoked-manager", 30);
    let (door, at) = any_port();
    let told = Told::default();
    let hand = quick::<P>("w1").on_event({
        let told = told.clone();
        move |event| told.hear(event)
    });
    let listener = P::door(&members.worker, door);
    let _job = P::job(async move { hand.serve(listener).await.expect("its settings") });
    let mut rig = Rig::start::<P>(setup::<P>().connect(P::caller(&members.pool, &at)));
    rig.watch.connected::<P>().await;
    works(&rig.pool).await;
    members.revoke("managers", "m1");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("NotAllowed") && why.contains(REVOKED), "{why}");
    assert!(told.contains(REVOKED));
    rig.stop().await;
}

pub(crate) async fn certificates_that_expire_within_a_week_are_told_of_by_pool_and_worker<
    P: Tls,
>() {
    let members = Pool::new::<P>("expiring", 5);
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(setup::<P>().accept(P::door(&members.pool, door)));
    let told = Told::default();
    let hand = quick::<P>("w1").on_event({
        let told = told.clone();
        move |event| told.hear(event)
    });
    let connector = P::caller(&members.worker, &at);
    let _job = P::job(async move { hand.dial(connector).await.expect("its settings") });
    for name in ["m1", "w1"] {
        let begin = format!("the certificate of \"{name}\" expires on 20");
        let event =
            rig.watch.until::<P>(&begin, |event| matches!(event, PoolEvent::Expiring { .. })).await;
        let text = event.to_string();
        assert!(text.starts_with(&begin) && text.contains(", in 5 days: make a new"), "{text}");
        until::<P>(&begin, || told.contains(&begin)).await;
    }
    works(&rig.pool).await;
    rig.stop().await;
}
