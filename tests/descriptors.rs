//! A process with a low limit on open files: its limits on connections are lowered accordingly, so that
//! strangers who stay silent do not keep genuine peers out, and files can still be opened.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use chargehand::smol::{Smol, SmolListener};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::worker::WorkerEvent;
use chargehand::{DisconnectReason, Pool, PoolEvent, Worker, tcp, ws};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Set in a child process, because the limit applies to a whole process.
const CHILD: &str = "CHARGEHAND_TEST_FEW_FILES";
const FILES_MAX: u64 = 160;
/// Both ends are in this process, so twice this number, plus what is open anyway, exceeds the limit.
const STRANGERS: usize = 60;

/// Runs a test in a child process with a low limit on open files.
fn with_few_files(name: &str, test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(FILES_MAX), ..limit }).expect("lower");
        return test();
    }
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("it starts");
    let shown = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{shown}{}", String::from_utf8_lossy(&child.stderr));
    assert!(shown.contains("1 passed"), "{shown}");
}

/// Runs both until the second has completed.
async fn beside<R>(other: impl Future, future: impl Future<Output = R>) -> R {
    let (mut other, mut future, mut is_over) = (pin!(other), pin!(future), false);
    poll_fn(|cx| {
        is_over = is_over || other.as_mut().poll(cx).is_ready();
        future.as_mut().poll(cx)
    })
    .await
}

/// Waits until `is_so`, for at most ten seconds.
async fn soon<T: chargehand::core::io::Timer>(timer: &T, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not come to pass");
        timer.sleep_until(timer.now().saturating_add(Duration::from_millis(5))).await;
    }
}

fn strangers(at: SocketAddr) -> Vec<TcpStream> {
    (0..STRANGERS).map(|_| TcpStream::connect(at).expect("the kernel takes it")).collect()
}

fn files_can_be_opened() {
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(16).collect();
    assert_eq!(files.len(), 16, "some are kept for files");
}

macro_rules! on_runtime {
    ($runtime:ident, $timer:expr, $from_std:expr, $block_on:expr) => {
        mod $runtime {
            use super::*;

            fn listener() -> (
                impl chargehand::core::io::Accept<
                    Stream: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin + Send + 'static,
                    Peer: Send,
                    Error: Into<chargehand::BoxError> + Send,
                    Opening: Send,
                > + Send
                + 'static,
                SocketAddr,
            ) {
                let door = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
                let at = door.local_addr().expect("it has one");
                ($from_std(door).expect("a listener"), at)
            }

            #[test]
            fn a_pool_has_room_for_a_good_worker_beside_strangers_who_say_nothing() {
                let name = concat!(
                    stringify!($runtime),
                    "::a_pool_has_room_for_a_good_worker_beside_strangers_who_say_nothing"
                );
                with_few_files(name, || $block_on(pool()));
            }

            async fn pool() {
                let (accept, at) = listener();
                let (pool, driver) = Pool::builder($timer)
                    .accept(tcp::TcpListener::new(accept))
                    .workers_max(1000)
                    .handshakes_max(500)
                    .build()
                    .expect("the settings are in range");
                let mut events = pool.events();
                beside(driver, async {
                    let told = events.next().await;
                    let Some(PoolEvent::Lowered { why }) = told else { panic!("{told:?}") };
                    for part in ["workers_max of 1000", "handshakes_max of 500", "ulimit -n"] {
                        assert!(why.contains(part), "{why}");
                    }
                    let strangers = strangers(at);
                    let mut pushed_out = 0;
                    while pushed_out == 0 {
                        let event = events.next().await.expect("the driver lives");
                        let PoolEvent::TurnedAway { reason, .. } = event else { panic!("{event}") };
                        assert_eq!(reason, DisconnectReason::PushedOut);
                        pushed_out += 1;
                    }
                    let begun = Instant::now();
                    let connector =
                        tcp::TcpConnector::new($timer, &at.to_string()).expect("an address");
                    let worker =
                        Worker::new($timer, |n: u64| async move { Ok::<_, String>(n + 1) });
                    let answer = pool.call::<u64, u64>(&6);
                    assert_eq!(beside(worker.name("good").dial(connector), answer).await, Ok(7));
                    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
                    files_can_be_opened();
                    drop(strangers);
                })
                .await;
            }

            #[test]
            fn a_worker_has_room_for_a_good_manager_beside_strangers_who_say_nothing() {
                let name = concat!(
                    stringify!($runtime),
                    "::a_worker_has_room_for_a_good_manager_beside_strangers_who_say_nothing"
                );
                with_few_files(name, || $block_on(worker()));
            }

            async fn worker() {
                let (accept, at) = listener();
                let told = Arc::new(Mutex::new(Vec::new()));
                let log = Arc::clone(&told);
                let worker = Worker::new($timer, |n: u64| async move { Ok::<_, String>(n + 1) })
                    .links_max(1000)
                    .pending_handshakes_max(500)
                    .on_event(move |event| log.lock().expect("nobody panics").push(event.clone()));
                let gone = |event: &WorkerEvent| match event {
                    WorkerEvent::Refused { reason, .. } => *reason == DisconnectReason::PushedOut,
                    _ => false,
                };
                beside(worker.serve(ws::WsListener::new(accept)), async {
                    let strangers = strangers(at);
                    soon(&$timer, || told.lock().expect("nobody panics").iter().any(gone)).await;
                    let first = told.lock().expect("nobody panics").first().cloned();
                    let Some(WorkerEvent::Lowered { reason }) = first else { panic!("{first:?}") };
                    for part in ["links_max of 1000", "pending_handshakes_max of 500", "ulimit -n"]
                    {
                        assert!(reason.contains(part), "{reason}");
                    }
                    let connector =
                        ws::WsConnector::new($timer, &format!("ws://{at}")).expect("an address");
                    let built = Pool::builder($timer).connect(connector).build();
                    let (pool, driver) = built.expect("the settings are in range");
                    let begun = Instant::now();
                    let answer = pool.call::<u64, u64>(&6);
                    assert_eq!(beside(driver, answer).await, Ok(7));
                    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
                    files_can_be_opened();
                    drop(strangers);
                })
                .await;
            }
        }
    };
}

on_runtime!(on_smol, Smol::new(), SmolListener::from_std, ::smol::block_on);
on_runtime!(on_tokio, Tokio::new(), TokioListener::from_std, |test| {
    let mut builder = ::tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(test);
});

#[test]
fn limits_that_fit_are_left_alone_and_nothing_is_told() {
    ::smol::block_on(async {
        let listener = Smol::bind("127.0.0.1:0").await.expect("a free port");
        let (pool, driver) = Pool::builder(Smol::new())
            .accept(tcp::TcpListener::new(listener))
            .workers_max(4)
            .handshakes_max(4)
            .build()
            .expect("the settings are in range");
        let mut events = pool.events();
        beside(driver, async {
            pool.stats().await.expect("the driver lives");
            let mut next = pin!(events.next());
            let next = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
            assert_eq!(next, Poll::Pending);
        })
        .await;
    });
}
