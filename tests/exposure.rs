//! What leaves the machine unprotected is refused, unless the user has said that it may.

use std::convert::Infallible;
use std::future::{Pending, pending};
use std::task::{Context, Poll};

use chargehand::core::io::{Connect, Dialect, Exposure, Listen};
use chargehand::memory::{self, MemoryWire};
use chargehand::smol::{Smol, SmolListener};
use chargehand::tcp::{TcpConnector, TcpListener};
use chargehand::ws::{WsConnector, WsListener};
use chargehand::{Pool, Worker, WorkerError, WorkerOptions};
use futures_util::FutureExt;

/// A transport that declares this, and gets nowhere.
struct Declares(Exposure);

impl Connect for Declares {
    type Wire = MemoryWire;
    type Error = Infallible;
    type Connecting = Pending<Result<MemoryWire, Infallible>>;

    fn connect(&mut self) -> Self::Connecting {
        pending()
    }

    fn peer(&self) -> &'static str {
        "somewhere"
    }

    fn exposure(&self) -> Exposure {
        self.0
    }
}

impl Listen for Declares {
    type Wire = MemoryWire;
    type Error = Infallible;
    type Accepting = Pending<Result<MemoryWire, Infallible>>;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Result<Self::Accepting, Infallible>> {
        Poll::Pending
    }

    fn exposure(&self) -> Exposure {
        self.0
    }
}

async fn double(height: u64) -> Result<u64, String> {
    Ok(2 * height)
}

/// The text is one line, which names all that can be done.
fn assert_shows_three_ways(text: &str) {
    assert_eq!(text.lines().count(), 1, "{text}");
    for way in ["TLS", "key", "insecure()"] {
        assert!(text.contains(way), "{text}");
    }
}

#[test]
fn a_pool_of_open_links_is_not_built_and_its_user_is_shown_the_three_ways() {
    let dialled = Pool::builder(Smol::new()).connect(Declares(Exposure::Open)).build();
    let text = dialled.expect_err("it is open").to_string();
    assert_shows_three_ways(&text);
    assert!(text.starts_with("somewhere: "), "{text}");
    let listened = Pool::builder(Smol::new()).accept(Declares(Exposure::Open)).build();
    assert_shows_three_ways(&listened.expect_err("it is open").to_string());

    for declared in [Exposure::Local, Exposure::Protected, Exposure::Waived] {
        let pool = Pool::builder(Smol::new());
        let pool = pool.connect(Declares(declared)).accept(Declares(declared));
        assert!(pool.build().is_ok(), "{declared:?}");
    }
    let pool = Pool::builder(Smol::new()).insecure();
    assert!(
        pool.connect(Declares(Exposure::Open)).accept(Declares(Exposure::Open)).build().is_ok()
    );
}

/// TLS that asks nobody who it is keeps what is sent from whoever listens in, and lets everybody in.
#[cfg(feature = "members")]
#[test]
fn a_tls_listener_that_knows_nobody_is_open_and_its_user_is_shown_what_it_lacks() {
    use chargehand::tls::members::{Authority, Members, Role};
    use chargehand::tls::{TlsAccept, certificate_name};

    let folder = std::env::temp_dir().join(format!("chargehand-exposure-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let authority = Authority::create(folder.join("authority.pem")).unwrap();
    authority.join(Role::Pool, "m1").write(folder.join("m1.join")).unwrap();
    let members = Members::pool(folder.join("m1.join")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let build = |change: fn(TlsAccept<SmolListener>) -> TlsAccept<SmolListener>| {
        let socket = smol::block_on(Smol::bind("0.0.0.0:0")).unwrap();
        let accept = change(TlsAccept::new(socket, members.server_config()));
        Pool::builder(Smol::new()).accept(TcpListener::new(accept)).build()
    };
    let text = build(|accept| accept).expect_err("it knows nobody").to_string();
    assert_shows_three_ways(&text);
    for remedy in ["`TlsAccept`", "`identify`", "`for_anyone()`"] {
        assert!(text.contains(remedy), "{text}");
    }
    assert!(build(|accept| accept.identify(certificate_name)).is_ok());
    assert!(build(TlsAccept::for_anyone).is_ok());
    let socket = smol::block_on(Smol::bind("0.0.0.0:0")).unwrap();
    let listener = TcpListener::new(members.accept(socket));
    assert!(Pool::builder(Smol::new()).accept(listener).build().is_ok());
}

#[test]
fn a_worker_does_not_serve_or_dial_over_open_links_unless_told_to() {
    let worker = || Worker::new(Smol::new(), double);
    let served = worker().serve(Declares(Exposure::Open)).now_or_never();
    assert_shows_three_ways(&served.expect("at once").expect_err("it is open").to_string());
    let dialled = worker().dial(Declares(Exposure::Open)).now_or_never();
    assert_shows_three_ways(&dialled.expect("at once").expect_err("it is open").to_string());

    for declared in [Exposure::Local, Exposure::Protected, Exposure::Waived] {
        assert!(worker().serve(Declares(declared)).now_or_never().is_none(), "it serves");
        assert!(worker().dial(Declares(declared)).now_or_never().is_none(), "it dials");
    }
    assert!(worker().insecure().serve(Declares(Exposure::Open)).now_or_never().is_none());
    assert!(worker().insecure().dial(Declares(Exposure::Open)).now_or_never().is_none());
}

#[test]
fn a_worker_that_is_added_later_is_under_the_same_rule() {
    smol::block_on(async {
        let (pool, driver) = Pool::builder(Smol::new()).build().unwrap();
        let driver = smol::spawn(driver);
        let refused =
            pool.add(Declares(Exposure::Open), WorkerOptions::new()).await.expect_err("it is open");
        assert_eq!(refused, WorkerError::Exposed);
        assert_shows_three_ways(&refused.to_string());
        pool.add(Declares(Exposure::Protected), WorkerOptions::new())
            .await
            .expect("it is protected");
        pool.stop().await.unwrap();
        driver.await;

        let (pool, driver) = Pool::builder(Smol::new()).insecure().build().unwrap();
        let driver = smol::spawn(driver);
        pool.add(Declares(Exposure::Open), WorkerOptions::new())
            .await
            .expect("the user has said so");
        pool.stop().await.unwrap();
        driver.await;
    });
}

#[test]
fn our_transports_say_what_leaves_the_machine() {
    let tcp = |address| TcpConnector::new(Smol::new(), address).unwrap().exposure();
    let ws = |address| WsConnector::new(Smol::new(), address).unwrap();
    assert_eq!(tcp("10.0.0.7:9000"), Exposure::Open);
    assert_eq!(tcp("worker.example.org:9000"), Exposure::Open);
    assert_eq!(tcp("[::1]:9000"), Exposure::Local);
    assert_eq!(tcp("tcp://localhost:9000/"), Exposure::Local);
    assert_eq!(ws("ws://10.0.0.7:9000/path").exposure(), Exposure::Open);
    assert_eq!(ws("ws://localhost/path").exposure(), Exposure::Local);
    // What the Go package speaks knows no protection, and is as its user says.
    assert_eq!(ws("ws://10.0.0.7:9000").dialect(Dialect::Json).exposure(), Exposure::Waived);
    let (connector, listener) = memory::pair(1);
    assert_eq!((connector.exposure(), listener.exposure()), (Exposure::Local, Exposure::Local));

    smol::block_on(async {
        // Bound for a moment, and nobody is let in.
        for (address, exposure) in [("127.0.0.1:0", Exposure::Local), ("0.0.0.0:0", Exposure::Open)]
        {
            let socket = Smol::bind(address).await.unwrap();
            assert_eq!(TcpListener::new(socket).exposure(), exposure);
            let socket = Smol::bind(address).await.unwrap();
            assert_eq!(WsListener::new(socket).exposure(), exposure);
            let socket = Smol::bind(address).await.unwrap();
            let listener = WsListener::new(socket).json(true);
            assert_eq!(listener.exposure(), exposure.waived_if(true));
        }
    });
    #[cfg(unix)]
    {
        let path = "unix:///run/chargehand.sock";
        let unix = chargehand::unix::UnixConnector::new(chargehand::smol::SmolUnix::new(), path);
        assert_eq!(unix.unwrap().exposure(), Exposure::Local);
    }
}

#[test]
fn listeners_of_tokio_say_what_leaves_the_machine() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use chargehand::tokio::Tokio;

        for (address, exposure) in [("127.0.0.1:0", Exposure::Local), ("0.0.0.0:0", Exposure::Open)]
        {
            let listener = TcpListener::new(Tokio::bind(address).await.unwrap());
            assert_eq!(listener.exposure(), exposure);
        }
        let connector = TcpConnector::new(Tokio::new(), "10.0.0.7:9000").unwrap();
        assert_eq!(connector.exposure(), Exposure::Open);
    });
}
