//! Long messages on a slow line, over real sockets, of calls and of maps: their bytes are signs of life,
//! those as well that the systems in between hold.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::time::{Duration, Instant};

use chargehand::core::io::Timer;
use chargehand::smol::{Smol, SmolListener};
use chargehand::tokio::Tokio;
use chargehand::{Builder, Pool, Threaded, Worker, tcp, ws};

/// How long the request or the answer is, and how much of it comes in a tenth of a second.
const LONG_BYTES: usize = 300_000;
const BYTES_PER_STEP: usize = 15_000;
const STEP: Duration = Duration::from_millis(100);

fn any_port() -> (TcpListener, SocketAddr) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = door.local_addr().expect("it has one");
    (door, at)
}

/// Which way a line is slow.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// From the manager to the worker.
    Up,
    /// From the worker to the manager.
    Down,
}

/// Takes one connection to `target`, which is slow one way. It ends with either end.
fn slow_line(target: SocketAddr, slow: Slow) -> SocketAddr {
    let (door, at) = any_port();
    std::thread::spawn(move || {
        let Ok((manager, _)) = door.accept() else { return };
        let worker = TcpStream::connect(target).expect("it listens");
        let (up, down) = (manager.try_clone().expect("a socket"), worker.try_clone());
        let down = down.expect("a socket");
        let [step_up, step_down] = match slow {
            Slow::Up => [STEP, Duration::ZERO],
            Slow::Down => [Duration::ZERO, STEP],
        };
        std::thread::spawn(move || forward(up, worker, step_up));
        forward(down, manager, step_down);
    });
    at
}

fn forward(mut from: TcpStream, mut to: TcpStream, step: Duration) {
    let mut chunk = vec![0; BYTES_PER_STEP];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
        if count > 1000 {
            std::thread::sleep(step);
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

/// Sends long requests, or asks for long answers, by a pool that is impatient with silence and with attempts.
fn ask(
    serve: impl Future<Output = ()>,
    builder: Builder<Smol, Threaded>,
    slow: Slow,
    count: usize,
) {
    let (pool, driver) = builder
        .configure(|config| {
            config.heartbeat_interval = Duration::from_millis(250);
            config.heartbeat_timeout = Duration::from_millis(250);
            config.attempt_timeout = Duration::from_millis(700);
        })
        .build()
        .expect("the settings are in range");
    smol::block_on(async {
        let (mut serve, mut driver) = (pin!(serve), pin!(driver));
        let begun = Instant::now();
        // What is asked is answered in the other length.
        let (asked, answered) = match slow {
            Slow::Up => (LONG_BYTES, 1),
            Slow::Down => (1, LONG_BYTES),
        };
        let mut late = pin!(smol::Timer::after(Duration::from_secs(20)));
        let mut work = pin!(async {
            if count == 1 {
                return vec![pool.call_raw(vec![7; asked]).await];
            }
            let mut outcomes = pool.map_raw(vec![vec![7; asked]; count]);
            let mut answers = Vec::new();
            while let Some((_, answer)) = outcomes.next().await {
                answers.push(answer);
            }
            answers
        });
        let answers = poll_fn(|cx| {
            let _ = serve.as_mut().poll(cx);
            let _ = driver.as_mut().poll(cx);
            // Where the link ends there is no other one.
            assert!(late.as_mut().poll(cx).is_pending(), "the link is lost");
            work.as_mut().poll(cx)
        })
        .await;
        assert_eq!(answers.len(), count);
        for answer in answers {
            assert!(answer == Ok(vec![7; answered]), "{:?}", answer.map(|answer| answer.len()));
        }
        assert!(begun.elapsed() > Duration::from_secs(1), "the line is slow");
        let mut stats = pin!(pool.stats());
        let stats = poll_fn(|cx| {
            let _ = driver.as_mut().poll(cx);
            stats.as_mut().poll(cx)
        });
        let stats = stats.await.expect("the driver lives").tasks;
        assert_eq!((stats.sent, stats.lost, stats.timed_out), (count as u64, 0, 0), "in one go");
    });
}

fn worker() -> Worker<Smol, impl chargehand::worker::Handler> {
    Worker::raw(Smol::new(), |request: Vec<u8>| async move {
        Ok::<_, String>(vec![7; if request.len() == 1 { LONG_BYTES } else { 1 }])
    })
    .concurrency(3)
}

fn over_tcp(slow: Slow, count: usize) {
    let (door, at) = any_port();
    let listener = tcp::TcpListener::new(SmolListener::from_std(door).expect("a listener"));
    let line = slow_line(at, slow).to_string();
    let connector = tcp::TcpConnector::new(Smol::new(), &line).expect("an address");
    let serve = async { worker().serve(listener).await.expect("it serves") };
    ask(serve, Pool::builder(Smol::new()).connect(connector), slow, count);
}

fn over_websocket(slow: Slow, count: usize) {
    let (door, at) = any_port();
    let listener = ws::WsListener::new(SmolListener::from_std(door).expect("a listener"));
    let line = format!("ws://{}", slow_line(at, slow));
    let connector = ws::WsConnector::new(Smol::new(), &line).expect("an address");
    let serve = async { worker().serve(listener).await.expect("it serves") };
    ask(serve, Pool::builder(Smol::new()).connect(connector), slow, count);
}

#[test]
fn a_long_answer_over_tcp_is_no_silence() {
    over_tcp(Slow::Down, 1);
}

#[test]
fn a_long_answer_over_websocket_is_no_silence() {
    over_websocket(Slow::Down, 1);
}

#[test]
fn a_long_request_over_tcp_is_no_silence() {
    over_tcp(Slow::Up, 1);
}

#[test]
fn a_long_request_over_websocket_is_no_silence() {
    over_websocket(Slow::Up, 1);
}

#[test]
fn a_map_with_long_answers_loses_none_to_a_slow_line() {
    over_tcp(Slow::Down, 3);
    over_websocket(Slow::Down, 3);
}

#[test]
fn a_map_of_long_requests_loses_none_to_a_slow_line() {
    over_tcp(Slow::Up, 3);
    over_websocket(Slow::Up, 3);
}

/// A worker on a thread of its own, which answers after a moment. Returns its address.
fn prompt_worker(is_websocket: bool) -> SocketAddr {
    let (door, at) = any_port();
    std::thread::spawn(move || {
        let worker = Worker::new(Smol::new(), |number: u64| async move {
            smol::Timer::after(Duration::from_millis(100)).await;
            Ok::<_, String>(number + 1)
        });
        let worker = worker.concurrency(16);
        smol::block_on(async {
            let listener = SmolListener::from_std(door).expect("a listener");
            if is_websocket {
                worker.serve(ws::WsListener::new(listener)).await.expect("it serves");
            } else {
                worker.serve(tcp::TcpListener::new(listener)).await.expect("it serves");
            }
        });
    });
    at
}

/// Asks for some tasks, keeps the thread for much longer than any patience, and takes what came meanwhile.
async fn be_away<T: Timer>(builder: Builder<T, Threaded>, timer: T)
where
    T::Sleep: Send,
{
    let (pool, driver) = builder
        .configure(|config| {
            config.heartbeat_interval = Duration::from_millis(250);
            config.heartbeat_timeout = Duration::from_millis(250);
            config.attempt_timeout = Duration::from_millis(700);
            config.attempts_max = 1;
        })
        .build()
        .expect("the settings are in range");
    let mut driver = pin!(driver);
    let numbers: Vec<u64> = (0..16).collect();
    let calls = numbers.iter().map(|number| pool.call::<u64, u64>(number));
    let mut calls = pin!(futures_util::future::join_all(calls));
    let mut warm = pin!(pool.call::<u64, u64>(&0));
    let warm = poll_fn(|cx| {
        let _ = driver.as_mut().poll(cx);
        warm.as_mut().poll(cx)
    });
    assert_eq!(warm.await, Ok(1));
    // Their requests leave.
    let mut moment = pin!(timer.sleep_until(timer.now().saturating_add(Duration::from_millis(50))));
    poll_fn(|cx| {
        let _ = driver.as_mut().poll(cx);
        assert!(calls.as_mut().poll(cx).is_pending());
        moment.as_mut().poll(cx)
    })
    .await;
    std::thread::sleep(Duration::from_secs(3));
    let answers = poll_fn(|cx| {
        let _ = driver.as_mut().poll(cx);
        calls.as_mut().poll(cx)
    });
    assert!(answers.await.into_iter().eq((1..=16).map(Ok)));
    let mut stats = pin!(pool.stats());
    let stats = poll_fn(|cx| {
        let _ = driver.as_mut().poll(cx);
        stats.as_mut().poll(cx)
    });
    let stats = stats.await.expect("the driver lives");
    let (tasks, links) = (stats.tasks, stats.workers[0].stats.links);
    assert_eq!((tasks.sent, tasks.lost, tasks.timed_out, links), (17, 0, 0, 1));
}

#[test]
fn a_manager_that_was_kept_from_running_takes_what_came_meanwhile() {
    for is_websocket in [false, true] {
        let at = prompt_worker(is_websocket);
        let (address, url) = (at.to_string(), format!("ws://{at}"));
        smol::block_on(async {
            let builder = Pool::builder(Smol::new());
            let builder = if is_websocket {
                builder.connect(ws::WsConnector::new(Smol::new(), &url).expect("an address"))
            } else {
                builder.connect(tcp::TcpConnector::new(Smol::new(), &address).expect("an address"))
            };
            be_away(builder, Smol::new()).await;
        });
        let at = prompt_worker(is_websocket);
        let (address, url) = (at.to_string(), format!("ws://{at}"));
        let mut runtime = ::tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().expect("a runtime").block_on(async {
            let builder = Pool::builder(Tokio::new());
            let builder = if is_websocket {
                builder.connect(ws::WsConnector::new(Tokio::new(), &url).expect("an address"))
            } else {
                builder.connect(tcp::TcpConnector::new(Tokio::new(), &address).expect("an address"))
            };
            be_away(builder, Tokio::new()).await;
        });
    }
}
