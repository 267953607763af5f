//! Workers and managers behind routes of other HTTP servers, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use chargehand::core::io::Exposure;
use chargehand::core::message::{Extensions, HEAD_BYTES_MAX, Message, Role};
use chargehand::core::{TaskId, Verdict};
use chargehand::tokio::Tokio;
use chargehand::worker::Stopper;
use chargehand::ws::{Upgrades, WsConnector};
use chargehand::{Pool, PoolEvent, Worker};
use chargehand_http_examples::{axum_route, hyper_route};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn double(height: u64) -> Result<u64, String> {
    Ok(2 * height)
}

/// A worker behind a route of axum's, of one link.
async fn worker_at_axum(json: bool) -> (SocketAddr, Stopper, JoinHandle<()>) {
    worker_with_links(json, 1).await
}

async fn worker_with_links(json: bool, links_max: usize) -> (SocketAddr, Stopper, JoinHandle<()>) {
    let (upgrader, upgraded) = Upgrades::new().json(json).exposure(Exposure::Local).pair();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    tokio::spawn(axum_route::serve(port, axum_route::router(upgrader)));
    let worker = Worker::new(Tokio::new(), double).concurrency(8).links_max(links_max);
    let stopper = worker.stopper();
    let job = tokio::spawn(async move { worker.serve(upgraded).await.unwrap() });
    (address, stopper, job)
}

fn connector(address: SocketAddr, path: &str) -> WsConnector<Tokio> {
    WsConnector::new(Tokio::new(), &format!("ws://{address}{path}")).unwrap()
}

/// Does some heights, and returns how many were done.
async fn work(pool: &Pool) -> u64 {
    let mut outcomes = pool.process::<u64>(1..=300);
    while let Some((height, outcome)) = timeout(PATIENCE, outcomes.next()).await.unwrap() {
        assert_eq!(outcome, Ok(2 * height));
    }
    pool.stats().await.unwrap().tasks.done
}

#[tokio::test]
async fn a_worker_behind_a_route_of_axum_serves_a_pool() {
    let (address, stopper, job) = worker_at_axum(false).await;
    let builder = Pool::builder(Tokio::new()).connect(connector(address, "/work"));
    let (pool, driver) = builder.build().unwrap();
    tokio::spawn(driver);
    assert_eq!(work(&pool).await, 300);
    assert_eq!(pool.stop().await.unwrap().tasks.lost, 0);
    stopper.stop();
    timeout(PATIENCE, job).await.unwrap().unwrap();
    // The server goes on, and says that there is no worker any more.
    let answer = ask(address, &upgrade("/work", OFFER)).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("has ended"), "{answer}");
}

#[tokio::test]
async fn workers_dial_in_through_a_route_of_hyper() {
    let (upgrader, upgraded) = Upgrades::new().exposure(Exposure::Local).pair();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    tokio::spawn(hyper_route::serve(port, upgrader));
    let (pool, driver) = Pool::builder(Tokio::new()).accept(upgraded).build().unwrap();
    tokio::spawn(driver);
    let mut events = pool.events();
    for name in ["a", "b", "c"] {
        let worker = Worker::new(Tokio::new(), double).name(name).concurrency(4);
        tokio::spawn(worker.dial(connector(address, "/join")));
    }
    for _ in 0..3 {
        let connected = async {
            loop {
                if let PoolEvent::Connected { .. } = events.next().await.unwrap() {
                    break;
                }
            }
        };
        timeout(PATIENCE, connected).await.expect("three workers join");
    }
    assert_eq!(work(&pool).await, 300);
    let stats = pool.stats().await.unwrap();
    assert!(stats.workers.iter().all(|worker| worker.stats.done > 0), "{stats:?}");
    assert_eq!(pool.stop().await.unwrap().tasks.lost, 0);
    let answer = ask(address, &upgrade("/elsewhere", OFFER)).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

const OFFER: &str = "Sec-WebSocket-Protocol: chargehand.2\r\n";

/// A client's request, with further header lines.
fn upgrade(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

/// A connection by hand.
struct Hand(TcpStream);

impl Hand {
    fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads a response's head, and its body where it says how long that is.
    fn response(&mut self) -> String {
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.extend(self.bytes(1));
        }
        let head = String::from_utf8(response).unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
        });
        let body = self.bytes(length.unwrap_or(0));
        head + &String::from_utf8(body).unwrap()
    }

    /// Reads the payload of a short frame.
    fn frame(&mut self) -> Vec<u8> {
        let head = self.bytes(2);
        assert!(head[1] < 126, "a short frame without a mask");
        self.bytes(usize::from(head[1]))
    }
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let request = request.to_owned();
    let asked = spawn_blocking(move || {
        let mut hand = Hand::at(address);
        hand.0.write_all(request.as_bytes()).unwrap();
        hand.response()
    });
    timeout(PATIENCE, asked).await.unwrap().unwrap()
}

/// A frame of a client, with a mask of zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn a_refusal_is_a_response_after_which_the_connection_serves_on() {
    let (address, _stopper, _job) = worker_at_axum(false).await;
    let play = move || {
        let mut hand = Hand::at(address);
        for (request, status, reason) in [
            (upgrade("/work", &format!("{OFFER}Origin: https://example.org\r\n")), 403, "origin"),
            (upgrade("/work", ""), 400, "chargehand.2"),
            ("GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400, "ask for an upgrade"),
            (upgrade("/work", OFFER).replace("13", "8"), 426, "another version"),
            (upgrade("/work", OFFER).replace("GET", "DELETE"), 405, ""),
            ("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 200, "well"),
        ] {
            hand.0.write_all(request.as_bytes()).unwrap();
            let answer = hand.response();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
            assert!(answer.contains(reason), "{request}{answer}");
        }
    };
    timeout(PATIENCE, spawn_blocking(play)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_worker_that_is_full_is_a_503_before_the_upgrade() {
    let (address, _stopper, _job) = worker_at_axum(false).await;
    let builder = Pool::builder(Tokio::new()).connect(connector(address, "/work"));
    let (pool, driver) = builder.build().unwrap();
    tokio::spawn(driver);
    assert_eq!(work(&pool).await, 300);
    // A worker asks whoever idles to leave room for another, so that one more may be let in.
    let answers = async {
        loop {
            let answer = ask(address, &upgrade("/work", OFFER)).await;
            if !answer.starts_with("HTTP/1.1 101 ") {
                return answer;
            }
        }
    };
    let answer = timeout(PATIENCE, answers).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
}

#[tokio::test]
async fn what_came_with_the_request_is_not_lost() {
    let (address, _stopper, _job) = worker_at_axum(false).await;
    let play = move || {
        let extensions = Extensions::NONE;
        let task = TaskId::from_parts(1, 0);
        let mut bytes = upgrade("/work", OFFER).into_bytes();
        for message in [
            Message::hello(Role::Manager, 0, 1, "by hand"),
            Message::Welcome { heartbeat_millis: 10_000, window: 1, extensions },
            Message::Request { task, attempt: 1, extensions, body: &[21] },
        ] {
            let mut head = [0; HEAD_BYTES_MAX];
            let mut payload = message.encode(&mut head).to_vec();
            if let Message::Request { body, .. } = message {
                payload.extend_from_slice(body);
            }
            bytes.extend(frame(2, &payload));
        }
        let mut hand = Hand::at(address);
        hand.0.write_all(&bytes).unwrap();
        let answer = hand.response();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        loop {
            let payload = hand.frame();
            match Message::decode(&payload).unwrap() {
                Message::Response { task: which, verdict, body, .. } => {
                    assert_eq!((which, verdict, body), (task, Verdict::Done, &[42][..]));
                    break;
                }
                Message::Ping | Message::Hello(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(PATIENCE, spawn_blocking(play)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_manager_of_the_go_package_is_served_where_it_is_wanted() {
    let (address, _stopper, _job) = worker_at_axum(true).await;
    let play = move || {
        let mut hand = Hand::at(address);
        let mut bytes = upgrade("/work", "Origin: http://localhost\r\n").into_bytes();
        bytes.extend(frame(1, b"{\"Height\":21}"));
        hand.0.write_all(&bytes).unwrap();
        let answer = hand.response();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("sec-websocket-protocol"), "{answer}");
        assert_eq!(hand.frame(), b"{\"Height\":21,\"Success\":true,\"Error\":\"\"}");
    };
    timeout(PATIENCE, spawn_blocking(play)).await.unwrap().unwrap();
}

/// The payload of a message without a body.
fn encoded(message: &Message<'_>) -> Vec<u8> {
    message.encode(&mut [0; HEAD_BYTES_MAX]).to_vec()
}

/// What opens a link as a manager.
fn greeting() -> Vec<u8> {
    let extensions = Extensions::NONE;
    let hello = Message::hello(Role::Manager, 0, 1, "by hand");
    let welcome = Message::Welcome { heartbeat_millis: 10_000, window: 1, extensions };
    [hello, welcome].map(|message| frame(2, &encoded(&message))).concat()
}

/// Reads until the end of a connection, and returns the code that its WebSocket was closed with.
fn close_code(hand: &mut Hand) -> Option<u16> {
    let mut rest = Vec::new();
    // A reset, where the flood was still coming.
    let _ = hand.0.read_to_end(&mut rest);
    let at = rest.windows(2).rposition(|head| head[0] == 0x88 && head[1] >= 2)?;
    Some(u16::from_be_bytes(rest.get(at + 2..at + 4)?.try_into().unwrap()))
}

#[tokio::test]
async fn floods_over_an_upgraded_connection_end_it_and_others_are_served() {
    let (address, _stopper, _job) = worker_with_links(false, 64).await;
    let builder = Pool::builder(Tokio::new()).connect(connector(address, "/work"));
    let (pool, driver) = builder.build().unwrap();
    tokio::spawn(driver);
    assert_eq!(work(&pool).await, 300);
    let empty_fragments = [0x02, 0x80, 0, 0, 0, 0].to_vec();
    for (what, first, flood) in [
        ("pings of the protocol", vec![], frame(9, b"")),
        ("pongs of the protocol", vec![], frame(10, b"")),
        ("empty messages", vec![], frame(2, b"")),
        ("empty fragments", empty_fragments, vec![0, 0x80, 0, 0, 0, 0]),
        ("our pings", greeting(), frame(2, &encoded(&Message::Ping))),
        ("our pongs", greeting(), frame(2, &encoded(&Message::Pong))),
    ] {
        // Part of it comes with the request, so the server has read that.
        let play = move || {
            let mut hand = Hand::at(address);
            let begin = [upgrade("/work", OFFER).into_bytes(), first, flood.repeat(100)].concat();
            hand.0.write_all(&begin).unwrap();
            let answer = hand.response();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{what}: {answer}");
            let flood = flood.repeat(1000);
            // Up to a GiB, which nobody reads.
            let ended = (0..200_000).any(|_| hand.0.write_all(&flood).is_err());
            assert!(ended, "{what}: taken for ever");
        };
        timeout(PATIENCE, spawn_blocking(play)).await.expect(what).unwrap();
    }
    assert_eq!(work(&pool).await, 600);
    assert_eq!(pool.stop().await.unwrap().tasks.lost, 0);
}

#[tokio::test]
async fn until_an_upgraded_link_is_up_no_message_is_longer_than_a_hello() {
    let (address, _stopper, _job) = worker_at_axum(false).await;
    for length in [1025_u64, 16 << 20, u64::MAX >> 1] {
        let play = move || {
            let mut hand = Hand::at(address);
            let mut bytes = upgrade("/work", OFFER).into_bytes();
            bytes.extend([0x82, 0xff]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([0; 4]);
            hand.0.write_all(&bytes).unwrap();
            let answer = hand.response();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            assert_eq!(close_code(&mut hand), Some(1009), "{length} bytes");
        };
        timeout(PATIENCE, spawn_blocking(play)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_crowd_that_is_upgraded_and_says_nothing_keeps_no_good_manager_out() {
    let (address, _stopper, _job) = worker_at_axum(false).await;
    let crowd = move || {
        // More than may be in their handshake at once, and in time nobody waits for the worker's word.
        let mut crowd = Vec::new();
        for number in 0..300 {
            let mut hand = Hand::at(address);
            hand.0.write_all(upgrade("/work", OFFER).as_bytes()).unwrap();
            let answer = hand.response();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{number}: {answer}");
            crowd.push(hand);
        }
        crowd
    };
    let crowd = timeout(PATIENCE, spawn_blocking(crowd)).await.unwrap().unwrap();
    let builder = Pool::builder(Tokio::new()).connect(connector(address, "/work"));
    let (pool, driver) = builder.build().unwrap();
    tokio::spawn(driver);
    assert_eq!(work(&pool).await, 300);
    assert_eq!(pool.stop().await.unwrap().tasks.lost, 0);
    drop(crowd);
}
