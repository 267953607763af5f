//! Members of a pool whose links are up when something happens to their certificates.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chargehand::PoolEvent;
use chargehand::tls::members::{Authority, Members, Role};
use chargehand::worker::WorkerEvent;

use crate::pair::{any_port, any_port_for_many};
use crate::raw::{Raw, Script, dial_plain_from, script};
use crate::rig::{Rig, eventually, quick, setup, until, works};
use crate::tls::{Tls, client_hello};

/// A folder of a test's own, which goes with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new<P: Tls>(test: &str) -> Self {
        let name = format!("chargehand-{test}-{}-{}", P::NAME, std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("a directory of its own");
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A pool `m1` and a worker `w1` of one authority, which let nobody in who is on a list.
struct Joined {
    folder: Folder,
    pool: Members,
    worker: Members,
}

impl Joined {
    fn new<P: Tls>(test: &str, days: u32) -> Self {
        let folder = Folder::new::<P>(test);
        let file = |name: &str| folder.path(name);
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
        Self { folder, pool, worker }
    }

    fn revoke(&self, list: &str, name: &str) {
        fs::write(self.folder.path(list), format!("{name} # lost\n")).expect("it is there");
    }
}

/// What a worker tells.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn hear(&self, event: &WorkerEvent) {
        self.0.lock().expect("no panic with it").push(event.to_string());
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.0.lock().expect("no panic with it").iter().any(|told| told.contains(text))
    }
}

const REVOKED: &str = "no longer trusted: its certificate has been revoked";

pub(crate) async fn a_worker_that_is_revoked_while_connected_loses_its_link<P: Tls>() {
    let members = Joined::new::<P>("revoked-worker", 30);
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

pub(crate) async fn another_members_name_is_refused_whoever_dials<P: Tls>() {
    let members = Joined::new::<P>("other-name", 30);
    let why_it_is = "the peer calls itself \"w2\" but has proven to be \"w1\"";
    let told = Told::default();
    let hand = || {
        let told = told.clone();
        quick::<P>("w2").on_event(move |event| told.hear(event))
    };
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(setup::<P>().accept(P::door(&members.pool, door)));
    let (liar, connector) = (hand(), P::caller(&members.worker, &at));
    let job = P::job(async move { liar.dial(connector).await.expect("its settings") });
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains(why_it_is), "{why}");
    until::<P>("a word to it", || told.contains("NotAllowed")).await;
    drop(job);
    rig.stop().await;

    let (door, at) = any_port();
    let (liar, listener) = (hand(), P::door(&members.worker, door));
    let _job = P::job(async move { liar.serve(listener).await.expect("its settings") });
    let mut rig = Rig::start::<P>(setup::<P>().connect(P::caller(&members.pool, &at)));
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains(why_it_is), "{why}");
    rig.stop().await;
}

pub(crate) async fn a_manager_that_is_revoked_while_connected_loses_its_link<P: Tls>() {
    let members = Joined::new::<P>("revoked-manager", 30);
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
    let members = Joined::new::<P>("expiring", 5);
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

/// To so many connections a byte goes for each one that is opened.
const DRIBBLED: usize = 8;

/// Opens connections from a host of its own as fast as it can, `count` at least, and keeps the latest. Each says
/// a quarter of what a handshake begins with, and dribbles on byte by byte while others are opened; one of `every` says
/// all of it, which costs the other end as much as any handshake does. Returns how many there were, and those that are
/// left.
fn dribblers(
    at: SocketAddr,
    host: u8,
    count: usize,
    every: usize,
    is_over: &Arc<AtomicBool>,
) -> Script<(usize, VecDeque<Raw>)> {
    let hello = client_hello();
    let is_over = Arc::clone(is_over);
    script(move || {
        let mut kept: VecDeque<(Raw, usize)> = VecDeque::new();
        let from = Ipv4Addr::new(127, 0, 0, host);
        let mut opened = 0;
        while opened < count || !is_over.load(Ordering::Relaxed) {
            let mut raw = dial_plain_from(from, at);
            // It may have been pushed out already.
            let said = if opened % every == 0 { hello.len() } else { hello.len() / 4 };
            let _ = raw.stream.write_all(&hello[..said]);
            kept.push_back((raw, said));
            if kept.len() > 100 {
                kept.pop_front();
            }
            for (raw, said) in kept.iter_mut().rev().take(DRIBBLED) {
                if *said + 1 < hello.len() {
                    let _ = raw.stream.write_all(&hello[*said..=*said]);
                    *said += 1;
                }
            }
            opened += 1;
        }
        (opened, kept.into_iter().map(|(raw, _)| raw).collect())
    })
}

pub(crate) async fn five_thousand_unfinished_tls_handshakes_keep_no_good_worker_out<P: Tls>() {
    let members = Joined::new::<P>("dribbled", 30);
    let (door, at) = any_port_for_many();
    let set = setup::<P>().handshakes_max(64);
    let rig = Rig::start::<P>(set.accept(P::door(&members.pool, door)));
    let is_over = Arc::new(AtomicBool::new(false));
    let crowds = [3, 4].map(|host| dribblers(at, host, 2500, 16, &is_over));
    let mut good = Vec::new();
    for number in 0..5 {
        let name = format!("w1/{number}");
        let started = Instant::now();
        let (hand, connector) = (quick::<P>(&name), P::caller(&members.worker, &at));
        good.push(P::job(async move { hand.dial(connector).await.expect("its settings") }));
        eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == number + 1).await;
        let span = started.elapsed();
        assert!(span < Duration::from_secs(2), "{name} took {span:?}");
    }
    works(&rig.pool).await;
    is_over.store(true, Ordering::Relaxed);
    for crowd in crowds {
        assert!(crowd.end().await.0 >= 2500);
    }
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.tasks.workers_up, 5, "they are all still there");
    rig.stop().await;
}

/// How many of these connections the other end has not ended yet.
fn pending(connections: &mut [Raw]) -> usize {
    let is_pending = |raw: &mut Raw| {
        raw.stream.set_nonblocking(true).expect("a socket");
        loop {
            match raw.stream.read(&mut [0; 4096]) {
                Ok(1..) => {}
                Ok(0) => return false,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    };
    connections.iter_mut().map(is_pending).filter(|it| *it).count()
}

/// Whoever says a whole `ClientHello` has the other end draw a key and sign, and answers nothing. Of such
/// handshakes no more are pending than the limit, and what is up is served between them.
pub(crate) async fn whole_client_hellos_in_a_flood_keep_nobody_out_and_nobody_from_work<P: Tls>() {
    let members = Joined::new::<P>("whole", 30);
    let (door, at) = any_port();
    // So late that nobody's time is over before the test is.
    let set = setup::<P>().handshakes_max(32).configure(|config| {
        config.connect_timeout = Duration::from_secs(100);
    });
    let rig = Rig::start::<P>(set.accept(P::door(&members.pool, door)));
    let join = |name: &str| {
        let (hand, connector) = (quick::<P>(name), P::caller(&members.worker, &at));
        P::job(async move { hand.dial(connector).await.expect("its settings") })
    };
    let _early = join("w1/early");
    rig.up::<P>(1).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let crowds = [3, 4].map(|host| dribblers(at, host, 500, 1, &is_over));
    let mut late = Vec::new();
    for number in 0..5 {
        let name = format!("w1/{number}");
        let started = Instant::now();
        late.push(join(&name));
        eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == number + 2).await;
        let span = started.elapsed();
        assert!(span < Duration::from_secs(5), "{name} took {span:?}");
        // Those that are up have their turn in every poll.
        let started = Instant::now();
        works(&rig.pool).await;
        let span = started.elapsed();
        assert!(span < Duration::from_secs(5), "fifty tasks took {span:?}");
    }
    is_over.store(true, Ordering::Relaxed);
    let mut kept = Vec::new();
    for crowd in crowds {
        let (count, left) = crowd.end().await;
        assert!(count >= 500, "{count}");
        kept.extend(left);
    }
    assert!(kept.len() > 150, "{}", kept.len());
    until::<P>("no more handshakes than the limit", || pending(&mut kept) <= 32).await;
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.tasks.workers_up, 6, "they are all still there");
    rig.stop().await;
}
