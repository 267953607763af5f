//! What every runtime gives to transports, pools and workers: sleeps, and sockets that are dialled and
//! accepted. One suite for all that there are.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

use chargehand::core::Instant;
use chargehand::core::io::{Accept, Dial, Timer};
use chargehand::core::net::{Keepalive, SocketOptions};
use chargehand::smol::{Smol, SmolListener, SmolStream};
use chargehand::tokio::{Tokio, TokioListener, TokioStream};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::join;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::io::{AsyncReadExt, AsyncWriteExt};

/// Makes each case a test of each runtime.
macro_rules! suite {
    ($($case:ident)+) => {
        suite! { @runtime on_tokio, Tokio, $($case)+ }
        suite! { @runtime on_smol, Smol, $($case)+ }
    };
    (@runtime $name:ident, $runtime:ident, $($case:ident)+) => {
        mod $name {
            $(#[test]
            fn $case() {
                <crate::$runtime as crate::Runtime>::run(crate::$case::<crate::$runtime>());
            })+
        }
    };
}

suite! {
    a_sleep_ends_at_its_time_by_the_same_clock
    a_sleep_to_the_far_future_is_pending_and_one_to_the_past_is_not
    a_dialled_stream_reaches_the_listener_and_tells_its_end
    both_ends_set_what_is_asked_for
    a_name_is_resolved
    nobody_listening_is_an_error
    a_zone_that_no_interface_has_is_told
    what_is_no_address_is_told_by_either_end_in_the_same_words
    a_scheme_and_a_slash_are_taken_by_either_end
    a_connection_that_takes_a_reserved_descriptor_is_refused_by_either_end
}

type Stream<R> = <R as Dial>::Stream;

trait Runtime:
    Timer + Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error = io::Error> + Copy + 'static
{
    /// The module of its tests.
    const NAME: &'static str;
    type Listener: Accept<Stream = Stream<Self>, Peer = SocketAddr, Error = io::Error>;

    fn run<F: Future>(future: F) -> F::Output;
    fn new(options: SocketOptions) -> Self;
    async fn bind(address: &str, options: SocketOptions) -> io::Result<Self::Listener>;
    fn take_over(listener: std::net::TcpListener) -> Self::Listener;
    fn address(listener: &Self::Listener) -> SocketAddr;
    fn socket(stream: Stream<Self>) -> TcpStream;
}

impl Runtime for Tokio {
    const NAME: &'static str = "on_tokio";
    type Listener = TokioListener;

    fn run<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime").block_on(future)
    }

    fn new(options: SocketOptions) -> Self {
        Self::new().socket_options(options)
    }

    async fn bind(address: &str, options: SocketOptions) -> io::Result<TokioListener> {
        Ok(Self::bind(address).await?.socket_options(options))
    }

    fn take_over(listener: std::net::TcpListener) -> TokioListener {
        TokioListener::from_std(listener).expect("it is bound")
    }

    fn address(listener: &TokioListener) -> SocketAddr {
        listener.local_addr().expect("it listens")
    }

    fn socket(stream: TokioStream) -> TcpStream {
        stream.into_inner().into_std().expect("a socket")
    }
}

impl Runtime for Smol {
    const NAME: &'static str = "on_smol";
    type Listener = SmolListener;

    fn run<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    fn new(options: SocketOptions) -> Self {
        Self::new().socket_options(options)
    }

    async fn bind(address: &str, options: SocketOptions) -> io::Result<SmolListener> {
        Ok(Self::bind(address).await?.socket_options(options))
    }

    fn take_over(listener: std::net::TcpListener) -> SmolListener {
        SmolListener::from_std(listener).expect("it is bound")
    }

    fn address(listener: &SmolListener) -> SocketAddr {
        listener.local_addr().expect("it listens")
    }

    fn socket(stream: SmolStream) -> TcpStream {
        stream.into_inner().into_inner().expect("a socket")
    }
}

fn timer<R: Runtime>() -> R {
    R::new(SocketOptions::new())
}

/// Returns a listener, its address, and a runtime that dials with the same options.
async fn listener<R: Runtime>(options: SocketOptions) -> (R::Listener, SocketAddr, R) {
    let listener = R::bind("127.0.0.1:0", options).await.expect("a free port");
    let address = R::address(&listener);
    (listener, address, R::new(options))
}

async fn accept<R: Runtime>(listener: &mut R::Listener) -> io::Result<(Stream<R>, SocketAddr)> {
    let (opening, peer) = poll_fn(|cx| listener.poll_accept(cx)).await?;
    Ok((opening.await?, peer))
}

/// Returns both ends of a connection, and the address of the first.
async fn meet<R: Runtime>(
    runtime: R,
    listener: &mut R::Listener,
    address: &str,
) -> io::Result<(Stream<R>, Stream<R>, SocketAddr)> {
    let (dialled, accepted) = join(runtime.dial(address), accept::<R>(listener)).await;
    let (accepted, peer) = accepted?;
    Ok((dialled?, accepted, peer))
}

async fn a_sleep_ends_at_its_time_by_the_same_clock<R: Runtime>() {
    let timer = timer::<R>();
    let copy = timer;
    let at = timer.now().saturating_add(Duration::from_millis(30));
    copy.sleep_until(at).await;
    assert!(timer.now() >= at);
}

async fn a_sleep_to_the_far_future_is_pending_and_one_to_the_past_is_not<R: Runtime>() {
    let timer = timer::<R>();
    let mut never = pin!(timer.sleep_until(Instant::FAR_FUTURE));
    poll_fn(|cx| {
        assert!(never.as_mut().poll(cx).is_pending(), "the far future came");
        std::task::Poll::Ready(())
    })
    .await;
    timer.sleep_until(Instant::EPOCH).await;
}

async fn a_dialled_stream_reaches_the_listener_and_tells_its_end<R: Runtime>() {
    let (mut listener, address, runtime) = listener::<R>(SocketOptions::new()).await;
    let ends = meet(runtime, &mut listener, &address.to_string()).await;
    let (mut dialled, mut accepted, peer) = ends.unwrap();
    dialled.write_all(b"hello").await.unwrap();
    let mut read = [0; 5];
    accepted.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    dialled.close().await.unwrap();
    assert_eq!(accepted.read(&mut read).await.unwrap(), 0);
    assert_eq!(peer, R::socket(dialled).local_addr().unwrap());
}

async fn both_ends_set_what_is_asked_for<R: Runtime>() {
    let mut keepalive = Keepalive::new();
    keepalive.idle = Duration::from_secs(7);
    for (asked, idle) in [(None, None), (Some(keepalive), Some(keepalive.idle))] {
        let options = SocketOptions::new().keepalive(asked);
        let (mut listener, address, runtime) = listener::<R>(options).await;
        let ends = meet(runtime, &mut listener, &address.to_string()).await;
        let (dialled, accepted, _) = ends.unwrap();
        for socket in [dialled, accepted].map(R::socket) {
            assert!(socket.nodelay().unwrap());
            let is_probed = sockopt::socket_keepalive(&socket).unwrap();
            assert_eq!(is_probed.then(|| sockopt::tcp_keepidle(&socket).unwrap()), idle);
        }
    }
}

async fn a_name_is_resolved<R: Runtime>() {
    let mut listener = R::take_over(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = format!("localhost:{}", R::address(&listener).port());
    assert!(meet(timer::<R>(), &mut listener, &address).await.is_ok());
}

async fn nobody_listening_is_an_error<R: Runtime>() {
    let (free, address, runtime) = listener::<R>(SocketOptions::new()).await;
    drop(free);
    let error = runtime.dial(&address.to_string()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

async fn a_zone_that_no_interface_has_is_told<R: Runtime>() {
    let error = timer::<R>().dial("[fe80::1%nosuch]:9000").await.err().unwrap();
    assert!(error.to_string().contains("no network interface \"nosuch\""), "{error}");
}

async fn what_is_no_address_is_told_by_either_end_in_the_same_words<R: Runtime>() {
    for text in ["host:9000/path", "ws://host:9000", "host"] {
        let dialled = timer::<R>().dial(text).await.err().unwrap();
        let bound = R::bind(text, SocketOptions::new()).await.err().unwrap();
        assert_eq!(dialled.kind(), ErrorKind::InvalidInput);
        assert_eq!(dialled.to_string(), bound.to_string());
        assert!(dialled.to_string().contains(text), "{dialled}");
    }
}

async fn a_scheme_and_a_slash_are_taken_by_either_end<R: Runtime>() {
    let mut listener = R::bind("tcp://127.0.0.1:0/", SocketOptions::new()).await.unwrap();
    let address = format!("tcp://{}/", R::address(&listener));
    assert!(meet(timer::<R>(), &mut listener, &address).await.is_ok());
}

/// Set in a process of its own, for the limit is that of a whole process.
const CHILD: &str = "CHARGEHAND_TEST_FEW_DESCRIPTORS";

async fn a_connection_that_takes_a_reserved_descriptor_is_refused_by_either_end<R: Runtime>() {
    if std::env::var_os(CHILD).is_some() {
        return with_few_descriptors::<R>().await;
    }
    let case = "a_connection_that_takes_a_reserved_descriptor_is_refused_by_either_end";
    let child = Command::new(std::env::current_exe().unwrap())
        .args([&format!("{}::{case}", R::NAME), "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{shown}{}", String::from_utf8_lossy(&child.stderr));
    assert!(shown.contains("1 passed"), "{shown}");
}

async fn with_few_descriptors<R: Runtime>() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..limit }).unwrap();
    let options = SocketOptions::new().descriptors_reserved(16);
    let (mut listener, address, runtime) = listener::<R>(options).await;
    let mut files = Vec::new();
    while files.last().is_none_or(|file: &File| file.as_raw_fd() < 128 - 16 - 1) {
        files.push(File::open("/dev/null").unwrap());
    }
    let dialled = runtime.dial(&address.to_string()).await.err().unwrap();
    assert!(dialled.to_string().contains("descriptors_reserved"), "{dialled}");
    // That one was taken by the kernel already, and is accepted here.
    let accepted = accept::<R>(&mut listener).await.err().unwrap();
    assert!(accepted.to_string().contains("descriptors_reserved"), "{accepted}");
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    for error in [
        runtime.dial(&address.to_string()).await.err().unwrap(),
        accept::<R>(&mut listener).await.err().unwrap(),
    ] {
        assert!(error.to_string().contains("ulimit -n"), "{error}");
    }
    drop(files);
    assert!(meet(runtime, &mut listener, &address.to_string()).await.is_ok());
}

#[test]
fn futures_and_streams_can_move_between_threads() {
    fn assert_send<R: Runtime<Listener: Send, Sleep: Send, Dialling: Send, Stream: Send> + Send>() {
    }
    assert_send::<Tokio>();
    assert_send::<Smol>();
}
