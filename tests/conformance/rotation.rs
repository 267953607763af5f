//! Certificates and authorities that take each other's place while links are up, and clocks that are wrong.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use chargehand::tls::members::{Authority, Join, Members, Role};
use chargehand::tls::rustls::ServerConfig;
use chargehand::tls::rustls::pki_types::pem::PemObject;
use chargehand::tls::rustls::pki_types::{PrivateKeyDer, UnixTime};
use chargehand::tls::rustls::server::NoServerSessionStorage;
use chargehand::tls::rustls::time_provider::TimeProvider;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType,
};

use crate::members::{Folder, Told};
use crate::pair::any_port;
use crate::rig::{Job, Rig, answer_to, eventually, quick, setup, until, works};
use crate::tls::{Tls, Trust, a_server_is_refused, both_refuse_a_stranger, issue};

/// How long a link is up at most whose proof is good no longer: 5 s, and more for a machine that is busy.
const LATE: Duration = Duration::from_secs(15);

/// Has a worker dial, and tell what happens to it.
fn at_work<P: Tls>(members: &Members, at: &std::net::SocketAddr) -> (Job, Told) {
    let told = Told::default();
    let ear = told.clone();
    let hand = quick::<P>(members.name()).on_event(move |event| ear.hear(event));
    let connector = P::caller(members, at);
    (P::job(async move { hand.dial(connector).await.expect("its settings") }), told)
}

/// A pool that does tasks without a pause, of which none may fail.
struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    job: Job,
}

impl Load {
    fn on<P: Tls>(rig: &Rig) -> Self {
        let (is_over, done): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let (pool, ends, count) = (rig.pool.clone(), Arc::clone(&is_over), Arc::clone(&done));
        let job = P::job(async move {
            while !ends.load(Ordering::Relaxed) {
                let height = count.load(Ordering::Relaxed);
                let answer = pool.call::<u64, u64>(&height).await;
                assert_eq!(answer, Ok(answer_to(height)));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { is_over, done, job }
    }

    /// Waits until it has done something since now.
    async fn goes_on<P: Tls>(&self) {
        let before = self.done.load(Ordering::Relaxed);
        until::<P>("a task", || self.done.load(Ordering::Relaxed) > before + 10).await;
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.job.done().await;
    }
}

/// Two authorities, and files of members of theirs.
struct Authorities {
    folder: Folder,
    old: Authority,
    new: Authority,
}

impl Authorities {
    fn new<P: Tls>(test: &str) -> Self {
        let folder = Folder::new::<P>(test);
        let make = |name: &str| Authority::create(folder.path(name)).expect("a new file");
        let (old, new) = (make("old.pem"), make("new.pem"));
        Self { folder, old, new }
    }

    /// Writes a file, to which the one before gives way.
    fn file(&self, join: Join<'_>) -> PathBuf {
        let path = self.folder.path("a.join");
        let _ = fs::remove_file(&path);
        join.write(&path).expect("a new file");
        path
    }

    /// One of the old authority that trusts the new one as well.
    fn old_and_new(&self, role: Role, name: &str) -> PathBuf {
        self.file(self.old.join(role, name).also_trust(self.new.certificate()))
    }

    fn new_and_old(&self, role: Role, name: &str) -> PathBuf {
        self.file(self.new.join(role, name).also_trust(self.old.certificate()))
    }
}

pub(crate) async fn an_authority_takes_anothers_place_under_load_and_no_good_worker_is_locked_out<
    P: Tls,
>() {
    let both = Authorities::new::<P>("rotated");
    let pool = Members::pool(both.file(both.old.join(Role::Pool, "m1"))).expect("its file");
    let [moves, stays] = ["w1", "w2"].map(|name| {
        Members::worker(both.file(both.old.join(Role::Worker, name))).expect("its file")
    });
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(setup::<P>().accept(P::door(&pool, door)));
    let (_moves, _) = at_work::<P>(&moves, &at);
    let (_stays, told) = at_work::<P>(&stays, &at);
    rig.up::<P>(2).await;
    let load = Load::on::<P>(&rig);

    // All trust both authorities, then some are of the new one. Links that are up stay up.
    for renew in [Authorities::old_and_new, Authorities::new_and_old] {
        pool.renew(renew(&both, Role::Pool, "m1")).expect("its file");
        moves.renew(renew(&both, Role::Worker, "w1")).expect("its file");
        load.goes_on::<P>().await;
    }
    stays.renew(both.old_and_new(Role::Worker, "w2")).expect("its file");
    let stats = rig.pool.stats().await.expect("the driver lives");
    assert_eq!(stats.tasks.workers_up, 2);

    // The old one is trusted no longer: both links are of it, and one worker has a new certificate.
    let since = Instant::now();
    pool.renew(both.file(both.new.join(Role::Pool, "m1"))).expect("its file");
    for _ in 0..2 {
        let why = rig.watch.lost::<P>().await;
        assert!(why.contains("not of an authority that this end trusts"), "{why}");
    }
    assert!(since.elapsed() < LATE, "{:?}", since.elapsed());
    eventually::<P>(&rig.pool, |stats| stats.tasks.workers_up == 1).await;
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains("not of an authority that this end trusts"), "{why}");
    until::<P>("a word to it", || told.contains("does not trust the authority")).await;
    load.goes_on::<P>().await;

    // Until it has one as well.
    stays.renew(both.file(both.new.join(Role::Worker, "w2"))).expect("its file");
    rig.up::<P>(2).await;
    load.end().await;
    rig.stop().await;
}

/// Writes a worker's join file whose certificate expires in so many seconds, as no authority of ours does.
fn brief(both: &Authorities, name: &str, seconds: u64) -> PathBuf {
    let path = both.file(both.old.join(Role::Worker, name));
    let text = fs::read_to_string(&path).expect("its file");
    let authority = fs::read_to_string(both.folder.path("old.pem")).expect("its file");
    let title = authority.lines().find_map(|line| line.strip_prefix("Authority: "));
    let key = PrivateKeyDer::from_pem_slice(authority.as_bytes()).expect("its key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, title.expect("its name"));
    let issuer = Issuer::new(params, KeyPair::try_from(&key).expect("its key"));

    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).expect("its key");
    let mut params = CertificateParams::default();
    let uri = format!("chargehand://worker/{name}");
    params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().expect("a URI")));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into();
    let key = KeyPair::try_from(&key).expect("its key");
    let certificate = params.signed_by(&key, &issuer).expect("the authority signs").pem();
    let (start, end) = (text.find("-----BEGIN CERT"), text.find("-----END CERTIFICATE-----\n"));
    let (start, end) = (start.expect("a certificate"), end.expect("a certificate") + 26);
    fs::write(&path, [&text[..start], &certificate, &text[end..]].concat()).expect("it is there");
    path
}

pub(crate) async fn a_link_ends_when_its_certificate_does_and_comes_back_by_a_new_file<P: Tls>() {
    let both = Authorities::new::<P>("expires");
    let pool = Members::pool(both.file(both.old.join(Role::Pool, "m1"))).expect("its file");
    let worker = Members::worker(brief(&both, "w1", 8)).expect("its file");
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(setup::<P>().accept(P::door(&pool, door)));
    let (_job, told) = at_work::<P>(&worker, &at);
    rig.watch.connected::<P>().await;
    works(&rig.pool).await;
    let why = rig.watch.lost::<P>().await;
    let late = SystemTime::now().duration_since(worker.expires()).expect("it has expired");
    assert!(late < LATE, "{late:?}");
    assert!(why.contains("no longer trusted: its certificate expired on 20"), "{why}");
    // It does not ask again, and says why.
    let own = "this end's own certificate expired on 20";
    until::<P>(own, || told.contains(own)).await;
    worker.renew(both.file(both.old.join(Role::Worker, "w1"))).expect("its file");
    rig.watch.connected::<P>().await;
    works(&rig.pool).await;
    rig.stop().await;
}

/// A clock that many days ahead.
#[derive(Debug)]
struct Ahead(i64);

impl Ahead {
    fn now(&self) -> u64 {
        UnixTime::now().as_secs().saturating_add_signed(self.0 * 86_400)
    }
}

impl TimeProvider for Ahead {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.now())))
    }
}

pub(crate) async fn a_clock_that_is_a_year_off_at_either_end_is_told_with_the_day<P: Tls>() {
    // The certificates are good from yesterday to thirty days from now.
    for (days, said) in [(365, "335 days ago"), (-365, "by the clock here it is 20")] {
        let told = "has expired or is not valid yet by the clock there";
        let config = || {
            let (chain, key) = issue(&Trust::ours().issuer);
            let builder = crate::tls::client_builder(&Trust::ours().roots());
            let mut config = builder.with_client_auth_cert(chain, key).expect("its key");
            config.time_provider = Arc::new(Ahead(days));
            config
        };
        both_refuse_a_stranger::<P>(config, told, said).await;
        let mut config = ServerConfig::clone(&Trust::ours().server);
        config.time_provider = Arc::new(Ahead(days));
        // A session that is resumed shows no certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        a_server_is_refused::<P>(Arc::new(config), told, said).await;
    }
}
