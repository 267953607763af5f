//! Handshakes of TLS that end at each byte, many at once: an error each, and never a wait.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chargehand::BoxError;
use chargehand::core::io::{Accept, Dial};
use chargehand::smol::{Smol, SmolListener, SmolUnix, SmolUnixListener};
use chargehand::testing::conformance::rig::bounded;
use chargehand::tls::members::Members;
use chargehand::tls::rustls::client::Resumption;
use chargehand::tls::rustls::{ClientConnection, Connection, ServerConnection};
use chargehand::tokio::{Tokio, TokioListener, TokioUnix, TokioUnixListener};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::StreamExt;
use futures_util::future::{Either, join, select};
use futures_util::stream::FuturesUnordered;

use crate::{Folder, members};

/// So many are cut off at the same time.
const AT_ONCE: usize = 16;
/// How long the other end of one waits for an answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);

trait Plain: Read + Write + Send + 'static {}
impl<S: Read + Write + Send + 'static> Plain for S {}

/// Says so many bytes of a handshake, and of its end all but the last byte at most. Returns how many it had.
fn say_until(session: &mut Connection, io: &mut impl Plain, cut: usize) -> usize {
    let mut sent = 0;
    loop {
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight).expect("memory");
        }
        let is_last = match session {
            Connection::Client(session) => !session.is_handshaking(),
            // What follows a server's one flight are tickets.
            Connection::Server(_) => !flight.is_empty(),
        };
        let left = cut - sent;
        if is_last || flight.len() > left {
            let most = if is_last { flight.len() - 1 } else { flight.len() };
            // The other end may have had enough.
            let _ = io.write_all(&flight[..left.min(most)]);
            return sent + flight.len();
        }
        if io.write_all(&flight).is_err() {
            return sent;
        }
        sent += flight.len();
        match session.read_tls(io) {
            Ok(1..) if session.process_new_packets().is_ok() => {}
            _ => return sent,
        }
    }
}

/// Cuts off a handshake at each byte. `opened` gives the stream of the next one.
fn cut_all<S: Plain>(
    total: usize,
    session: impl Fn() -> Connection + Send + Sync + 'static,
    opened: impl Fn() -> S + Send + Sync + 'static,
) -> Vec<JoinHandle<()>> {
    let (next, shared) = (Arc::new(AtomicUsize::new(0)), Arc::new((session, opened)));
    let cutter = || {
        let (next, shared) = (Arc::clone(&next), Arc::clone(&shared));
        thread::spawn(move || {
            loop {
                let cut = next.fetch_add(1, Ordering::Relaxed);
                if cut >= total {
                    return;
                }
                let mut io = (shared.1)();
                say_until(&mut (shared.0)(), &mut io, cut);
            }
        })
    };
    (0..AT_ONCE).map(|_| cutter()).collect()
}

fn client_of(members: &Members) -> impl Fn() -> Connection + Send + Sync + 'static {
    let mut config = members.client_config().as_ref().clone();
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    move || {
        let name = "m1".try_into().expect("a name");
        ClientConnection::new(Arc::clone(&config), name).expect("a session").into()
    }
}

fn server_of(members: &Members) -> impl Fn() -> Connection + Send + Sync + 'static {
    let config = members.server_config();
    move || ServerConnection::new(Arc::clone(&config)).expect("a session").into()
}

/// Returns the outcome, which has to come in time.
async fn soon<F: Future>(future: F) -> F::Output {
    let late = smol::Timer::after(2 * SILENCE_MAX);
    match select(std::pin::pin!(future), late).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("a handshake that was cut off is waited for"),
    }
}

/// Takes in so many connections, of which none may get through its handshake.
async fn refuse<A>(accept: &mut A, count: usize)
where
    A: Accept<Error: std::fmt::Debug>,
{
    let mut openings = FuturesUnordered::new();
    for _ in 0..count {
        let (opening, _) = soon(poll_fn(|cx| accept.poll_accept(cx))).await.expect("it listens");
        openings.push(soon(opening));
        while openings.len() >= AT_ONCE {
            let outcome = openings.next().await.expect("there are some");
            assert!(outcome.is_err(), "one that was cut off is up");
        }
    }
    while let Some(outcome) = openings.next().await {
        assert!(outcome.is_err(), "one that was cut off is up");
    }
}

/// Cuts off clients at each byte, and then has one come that goes on.
async fn cut_clients<A, D, S>(listener: A, dial: D, at: &str, open: fn(&str) -> S)
where
    A: Accept<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
    D: Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
    S: Plain,
{
    let (pool, worker) = members();
    let mut accept = pool.accept(listener);
    let session = client_of(&worker);
    let first = {
        let (at, mut session) = (at.to_owned(), session());
        thread::spawn(move || say_until(&mut session, &mut open(&at), usize::MAX))
    };
    refuse(&mut accept, 1).await;
    let total = first.join().expect("it says all it has");
    assert!(total > 700, "a hello, a certificate and a signature, and not {total}");
    let path = at.to_owned();
    let cutters = cut_all(total, session, move || open(&path));
    refuse(&mut accept, total).await;
    for cutter in cutters {
        cutter.join().expect("no panic");
    }
    let opening = soon(poll_fn(|cx| accept.poll_accept(cx)));
    let accepted = async { opening.await.expect("it listens").0.await };
    let (dialled, accepted) = soon(join(worker.dial(dial).dial(at), accepted)).await;
    assert_eq!(accepted.expect("a good one").identity(), Some("w1"));
    assert_eq!(dialled.expect("a good one").identity(), Some("m1"));
}

/// Cuts off servers at each byte.
async fn cut_servers<D, S>(dial: D, at: &str, open: impl Fn() -> S + Send + Sync + 'static)
where
    D: Dial<Stream: AsyncRead + AsyncWrite + Unpin, Error: Into<BoxError>>,
    S: Plain,
{
    let (pool, worker) = members();
    let dial = worker.dial(dial);
    let open = Arc::new(open);
    let session = server_of(&pool);
    let first = {
        let (open, mut session) = (Arc::clone(&open), session());
        thread::spawn(move || say_until(&mut session, &mut open(), usize::MAX))
    };
    assert!(soon(dial.dial(at)).await.is_err(), "its last byte is missing");
    let total = first.join().expect("it says all it has");
    assert!(total > 700, "a hello, a certificate and a signature, and not {total}");
    let cutters = cut_all(total, session, move || open());
    let dialled = futures_util::stream::iter((0..total).map(|_| soon(dial.dial(at))));
    let mut outcomes = dialled.buffer_unordered(AT_ONCE);
    while let Some(outcome) = outcomes.next().await {
        assert!(outcome.is_err(), "one that was cut off is up");
    }
    for cutter in cutters {
        cutter.join().expect("no panic");
    }
}

fn on_tokio<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime starts").block_on(future)
}

fn tcp(at: &str) -> TcpStream {
    let stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a valid time");
    stream
}

fn unix(at: &str) -> UnixStream {
    let stream = UnixStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a valid time");
    stream
}

fn port() -> (TcpListener, String) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = door.local_addr().expect("it listens").to_string();
    (door, at)
}

fn socket(folder: &Folder) -> (UnixListener, String) {
    let path = folder.path("door");
    let door = UnixListener::bind(&path).expect("a path of its own");
    (door, path.to_str().expect("a path of text").to_owned())
}

macro_rules! cut {
    ($name:ident: $run:path, $tcp:ident / $tcp_listener:ident, $unix:ident / $unix_listener:ident) => {
        mod $name {
            use super::*;

            #[test]
            fn a_client_over_tcp_that_is_cut_off_at_any_byte_is_refused_and_keeps_nobody_out() {
                bounded(|| {
                    $run(async {
                        let (door, at) = port();
                        let listener = $tcp_listener::from_std(door).expect("it listens");
                        cut_clients(listener, $tcp::new(), &at, tcp).await;
                    });
                });
            }

            #[test]
            fn a_server_over_tcp_that_is_cut_off_at_any_byte_is_refused() {
                bounded(|| {
                    $run(async {
                        let (door, at) = port();
                        let open = move || door.accept().expect("somebody dials").0;
                        cut_servers($tcp::new(), &at, open).await;
                    });
                });
            }

            #[test]
            fn a_client_over_a_unix_socket_that_is_cut_off_at_any_byte_is_refused() {
                bounded(|| {
                    $run(async {
                        let folder = Folder::new();
                        let (door, at) = socket(&folder);
                        let listener = $unix_listener::from_std(door).expect("it listens");
                        cut_clients(listener, $unix::new(), &at, unix).await;
                    });
                });
            }

            #[test]
            fn a_server_over_a_unix_socket_that_is_cut_off_at_any_byte_is_refused() {
                bounded(|| {
                    $run(async {
                        let folder = Folder::new();
                        let (door, at) = socket(&folder);
                        let open = move || door.accept().expect("somebody dials").0;
                        cut_servers($unix::new(), &at, open).await;
                    });
                });
            }
        }
    };
}

cut!(tokio_sockets: on_tokio, Tokio / TokioListener, TokioUnix / TokioUnixListener);
cut!(smol_sockets: smol::block_on, Smol / SmolListener, SmolUnix / SmolUnixListener);
