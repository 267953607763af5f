//! TCP and WebSocket over TLS, and who knocks at their doors.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use chargehand::core::message::{Message, Role};
use chargehand::smol::{Smol, SmolListener};
use chargehand::tls::members::{Authority, Members, Role as MemberRole};
use chargehand::tls::rustls::client::Resumption;
use chargehand::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use chargehand::tls::rustls::server::WebPkiClientVerifier;
use chargehand::tls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, crypto, version,
};
use chargehand::tls::{TlsAccept, TlsDial};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::{tcp, ws};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::pair::{Pair, Socket, any_port};
use crate::raw::{dial_plain, encoded};
use crate::refusals::{Notes, both_refuse};
use crate::rig::{Rig, quick, setup, until, works};

/// An authority, and configurations of whoever it vouches for.
pub(crate) struct Trust {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

impl Trust {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there is entropy");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).expect("an authority");
        let roots = Arc::new(roots);
        let (chain, key) = issue(&issuer);
        let client = client_builder(&roots).with_client_auth_cert(chain, key).expect("its key");
        let (chain, key) = issue(&issuer);
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .expect("ring has it")
            .with_client_cert_verifier(verifier.build().expect("there are roots"))
            .with_single_cert(chain, key)
            .expect("its key");
        Self { issuer, client: Arc::new(client), server: Arc::new(server) }
    }

    /// The one of all good peers.
    pub(crate) fn ours() -> &'static Self {
        static OURS: OnceLock<Trust> = OnceLock::new();
        OURS.get_or_init(|| Self::new("ours"))
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        Arc::new(roots)
    }
}

pub(crate) fn client_builder(
    roots: &Arc<RootCertStore>,
) -> chargehand::tls::rustls::ConfigBuilder<
    ClientConfig,
    chargehand::tls::rustls::client::WantsClientCert,
> {
    ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .expect("ring has it")
        .with_root_certificates(Arc::clone(roots))
}

pub(crate) type Issued = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) fn issue(issuer: &CertifiedIssuer<'static, KeyPair>) -> Issued {
    issue_for(issuer, "127.0.0.1", -1..30)
}

/// Makes a certificate for a name or an address, good for so many days from now.
fn issue_for(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str, days: Range<i32>) -> Issued {
    let names = ["peer.example.org".to_owned(), name.to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let day = |days: i32| {
        let span = Duration::from_secs(86_400) * days.unsigned_abs();
        if days < 0 { SystemTime::now() - span } else { SystemTime::now() + span }
    };
    (params.not_before, params.not_after) = (day(days.start).into(), day(days.end).into());
    let key = KeyPair::generate().expect("there is entropy");
    let certificate = params.signed_by(&key, issuer).expect("the authority signs");
    (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

fn server_config((chain, key): Issued) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .expect("ring has it")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.expect("its key"))
}

// Neither end is identified: the suite names its workers as it likes, and a proven name binds.

fn dial<D>(dial: D) -> TlsDial<D> {
    TlsDial::new(dial, Arc::clone(&Trust::ours().client))
}

fn accept<A>(accept: A) -> TlsAccept<A> {
    TlsAccept::new(accept, Arc::clone(&Trust::ours().server))
}

/// Says what a pair is, and how its plain sibling reaches the same port.
macro_rules! tls_pair {
    ($pair:ident over $plain:ident, $name:literal, $clock:ident, $socket:ident,
     $transport:ident :: $listener:ident, $connector:ident, $scheme:literal) => {
        pub(crate) struct $pair;

        impl Pair for $pair {
            type Timer = $clock;
            type Listener = $transport::$listener<TlsAccept<$socket>>;
            type Connector = $transport::$connector<TlsDial<$clock>>;

            fn timer() -> Self::Timer {
                $clock::new()
            }

            fn run<F: Future>(future: F) -> F::Output {
                <crate::pair::$plain as Pair>::run(future)
            }

            fn spawn(future: impl Future<Output = ()> + Send + 'static) {
                <crate::pair::$plain as Pair>::spawn(future);
            }

            fn place() -> (Self::Listener, Self::Connector) {
                let (door, at) = any_port();
                (Self::listener(door), Self::connector(&at))
            }
        }

        impl Socket for $pair {
            const NAME: &'static str = $name;
            const WEBSOCKET: bool = crate::pair::$plain::WEBSOCKET;

            fn listener(door: TcpListener) -> Self::Listener {
                let socket = $socket::from_std(door).expect("a socket that listens");
                $transport::$listener::new(accept(socket))
            }

            fn connector(at: &SocketAddr) -> Self::Connector {
                let address = format!("{}{at}", $scheme);
                $transport::$connector::new(dial($clock::new()), &address).expect("an address")
            }
        }

        impl Tls for $pair {
            type Plain = crate::pair::$plain;

            fn host(config: Arc<ServerConfig>, door: TcpListener) -> Self::Listener {
                let socket = $socket::from_std(door).expect("a socket that listens");
                $transport::$listener::new(TlsAccept::new(socket, config))
            }

            fn stranger(config: ClientConfig, at: &SocketAddr) -> Self::Connector {
                let dial = TlsDial::new($clock::new(), Arc::new(config));
                let address = format!("{}{at}", $scheme);
                $transport::$connector::new(dial, &address).expect("an address")
            }

            fn door(members: &Members, door: TcpListener) -> Self::Listener {
                let socket = $socket::from_std(door).expect("a socket that listens");
                $transport::$listener::new(members.accept(socket))
            }

            fn caller(members: &Members, at: &SocketAddr) -> Self::Connector {
                let address = format!("{}{at}", $scheme);
                let dial = members.dial($clock::new());
                $transport::$connector::new(dial, &address).expect("an address")
            }
        }
    };
}

tls_pair!(TlsTokio over TcpTokio, "tls_tokio", Tokio, TokioListener, tcp::TcpListener, TcpConnector, "tls://");
tls_pair!(TlsSmol over TcpSmol, "tls_smol", Smol, SmolListener, tcp::TcpListener, TcpConnector, "tls://");
tls_pair!(WssTokio over WsTokio, "wss_tokio", Tokio, TokioListener, ws::WsListener, WsConnector, "wss://");
tls_pair!(WssSmol over WsSmol, "wss_smol", Smol, SmolListener, ws::WsListener, WsConnector, "wss://");

/// A pair over TLS.
pub(crate) trait Tls: Socket {
    /// The same without TLS.
    type Plain: Socket;

    /// Listens with a configuration of somebody else.
    fn host(config: Arc<ServerConfig>, door: TcpListener) -> Self::Listener;

    /// Dials with a configuration of somebody else.
    fn stranger(config: ClientConfig, at: &SocketAddr) -> Self::Connector;

    /// Listens as a member.
    fn door(members: &Members, door: TcpListener) -> Self::Listener;

    /// Dials as a member.
    fn caller(members: &Members, at: &SocketAddr) -> Self::Connector;
}

pub(crate) fn is_spoken_by<P: Socket>() -> bool {
    P::NAME.starts_with("tls_") || P::NAME.starts_with("wss_")
}

/// The first bytes of a good client.
pub(crate) fn client_hello() -> Vec<u8> {
    let name = "127.0.0.1".try_into().expect("an address");
    let mut session =
        ClientConnection::new(Arc::clone(&Trust::ours().client), name).expect("a session");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("memory");
    bytes
}

pub(crate) async fn plain_bytes_on_a_tls_port_are_refused_by_name<P: Tls>() {
    both_refuse::<P>("it speaks no TLS where this end speaks TLS", |at, _| {
        let mut raw = dial_plain(at);
        let hello = encoded(&Message::hello(Role::Worker, 1, 1, "plain"), &[]);
        raw.send(&hello);
        let answer = raw.rest();
        assert!(answer.is_empty() || answer.starts_with(&[0x15, 3]), "an alert: {answer:?}");
    })
    .await;
}

pub(crate) async fn http_on_a_tls_port_is_refused_by_name<P: Tls>() {
    both_refuse::<P>("HTTP without TLS", |at, _| {
        let mut raw = dial_plain(at);
        raw.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        raw.rest();
    })
    .await;
}

/// Has a stranger dial a pool and a worker, who say the same of it, and returns what it hears.
pub(crate) async fn both_refuse_a_stranger<P: Tls>(
    config: impl Fn() -> ClientConfig,
    why_contains: &str,
    told_contains: &str,
) {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let told = Notes::default();
    let hand = told.watch::<P>(quick::<P>("stranger"));
    let connector = P::stranger(config(), &at);
    let _job =
        P::job(async move { hand.dial(connector).await.expect("the settings are in range") });
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains(why_contains), "{why}");
    until::<P>(&format!("{told_contains:?} in {}", told.show()), || told.contain(told_contains))
        .await;
    rig.stop().await;

    let (door, at) = any_port();
    let notes = Notes::default();
    let _job = P::job(P::serve(notes.watch::<P>(quick::<P>("victim")), door));
    let mut rig = Rig::start::<P>(setup::<P>().connect(P::stranger(config(), &at)));
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains(told_contains), "{why}");
    until::<P>(&format!("{why_contains:?} in {}", notes.show()), || notes.contain(why_contains))
        .await;
    rig.stop().await;
}

pub(crate) async fn a_certificate_of_another_authority_is_refused_by_name<P: Tls>() {
    let another = Trust::new("another");
    let config = || {
        let (chain, key) = issue(&another.issuer);
        let builder = client_builder(&Trust::ours().roots());
        builder.with_client_auth_cert(chain, key).expect("its key")
    };
    let told = "does not trust the authority";
    both_refuse_a_stranger::<P>(config, "not of an authority that this end trusts", told).await;
}

pub(crate) async fn an_expired_or_early_certificate_is_refused_with_the_day<P: Tls>() {
    let own = "which has expired or is not valid yet";
    for (days, why) in [(-30..-8, "8 days ago"), (3..30, "is not valid before 20")] {
        let config = || {
            let (chain, key) = issue_for(&Trust::ours().issuer, "127.0.0.1", days.clone());
            let builder = client_builder(&Trust::ours().roots());
            builder.with_client_auth_cert(chain, key).expect("its key")
        };
        both_refuse_a_stranger::<P>(config, why, own).await;
        let server = server_config(issue_for(&Trust::ours().issuer, "127.0.0.1", days.clone()));
        a_server_is_refused::<P>(server, why, own).await;
    }
}

pub(crate) async fn a_certificate_of_another_name_is_refused_by_name<P: Tls>() {
    let server = server_config(issue_for(&Trust::ours().issuer, "127.0.0.2", -1..30));
    let why = "and not for 127.0.0.1, which was dialled";
    a_server_is_refused::<P>(server, why, "another name").await;
}

/// Has a good pool dial a server that it does not take.
pub(crate) async fn a_server_is_refused<P: Tls>(
    server: Arc<ServerConfig>,
    why_contains: &str,
    told: &str,
) {
    let (door, at) = any_port();
    let notes = Notes::default();
    let hand = notes.watch::<P>(quick::<P>("odd"));
    let listener = P::host(server, door);
    let _job =
        P::job(async move { hand.serve(listener).await.expect("the settings are in range") });
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains(why_contains), "{why}");
    until::<P>(&format!("{told:?} in {}", notes.show()), || notes.contain(told)).await;
    rig.stop().await;
}

pub(crate) async fn a_member_that_is_revoked_is_refused_from_the_next_handshake_on<P: Tls>() {
    let dir = std::env::temp_dir().join(format!("chargehand-{}-{}", P::NAME, std::process::id()));
    std::fs::create_dir(&dir).expect("a directory of its own");
    let authority = Authority::create(dir.join("authority.pem")).expect("a new file");
    authority.join(MemberRole::Pool, "m1").write(dir.join("m1.join")).expect("a new file");
    authority.join(MemberRole::Worker, "w1").write(dir.join("w1.join")).expect("a new file");
    let list = dir.join("revoked");
    std::fs::write(&list, "").expect("a new file");
    let pool = Members::pool(dir.join("m1.join")).expect("its file");
    let pool = pool.revoked(&list).expect("a list");
    let worker = Members::worker(dir.join("w1.join")).expect("its file");

    let config = || worker.client_config().as_ref().clone();
    for is_revoked in [false, true] {
        let (door, at) = any_port();
        let mut rig = Rig::start::<P>(setup::<P>().accept(P::host(pool.server_config(), door)));
        let told = Notes::default();
        let hand = told.watch::<P>(quick::<P>("w1"));
        let mut config = config();
        config.resumption = Resumption::disabled();
        let connector = P::stranger(config, &at);
        let _job = P::job(async move { hand.dial(connector).await.expect("its settings") });
        if is_revoked {
            let why = rig.watch.refused::<P>().await;
            assert!(why.contains("its certificate has been revoked"), "{why}");
            let what = "which has been revoked";
            until::<P>(&format!("{what} in {}", told.show()), || told.contain(what)).await;
        } else {
            works(&rig.pool).await;
            std::fs::write(&list, "w1 # lost\n").expect("it is there");
            assert!(pool.is_revoked("w1"));
        }
        rig.stop().await;
    }
    std::fs::remove_dir_all(dir).expect("it is there");
}

pub(crate) async fn no_certificate_is_refused_by_name<P: Tls>() {
    let config = || client_builder(&Trust::ours().roots()).with_no_client_auth();
    let told = "it asks for a certificate";
    both_refuse_a_stranger::<P>(config, "it has shown no certificate", told).await;
}

pub(crate) async fn a_plain_port_is_told_from_a_tls_one_at_both_ends<P: Tls>() {
    // TLS to a plain port.
    let (door, at) = any_port();
    let notes = Notes::default();
    let hand = notes.watch::<P::Plain>(quick::<P::Plain>("plain"));
    let _job = <P::Plain as Socket>::job(<P::Plain as Socket>::serve(hand, door));
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let why = rig.watch.refused::<P>().await;
    let is_told = why.contains("where this end speaks TLS") || why.contains("speak TLS at all");
    assert!(is_told, "{why}");
    until::<P>(&format!("TLS in {}", notes.show()), || notes.contain("speaks TLS")).await;
    rig.stop().await;

    // Plain bytes to a TLS port.
    let (door, at) = any_port();
    let notes = Notes::default();
    let _job = P::job(P::serve(notes.watch::<P>(quick::<P>("tls")), door));
    let setup = <P::Plain as Socket>::connect(setup::<P::Plain>(), &at);
    let mut rig = Rig::start::<P::Plain>(setup);
    let why = rig.watch.refused::<P::Plain>().await;
    assert!(why.contains("speaks TLS"), "{why}");
    let plain = "where this end speaks TLS";
    until::<P>(&format!("{plain} in {}", notes.show()), || notes.contain(plain)).await;
    rig.stop().await;
}
