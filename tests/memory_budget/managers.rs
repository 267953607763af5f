//! Managers that send much to one worker.

use chargehand::core::TaskId;
use chargehand::core::message::{Extensions, Message};

use super::pair::Socket;
use super::raw::{Raw, encoded};
use super::*;

/// Sends a request but for the rest, and that once it is told to. Returns what is answered.
fn ask_half<P: Socket>(at: SocketAddr, body: &[u8], go: &AtomicBool) -> u64 {
    let mut raw = Raw::client::<P>(at);
    raw.greet_as_manager(60_000, 1);
    let task = TaskId::from_parts(0, 0);
    let request = Message::Request { task, attempt: 1, extensions: Extensions::NONE, body: &[] };
    raw.write_half(&encoded(&request, &[]), body, go);
    loop {
        match raw.receive_message().expect("an answer") {
            Message::Response { body, .. } => return postcard::from_bytes(body).expect("a number"),
            Message::Pong => {}
            other => panic!("an answer, and not {other:?}"),
        }
    }
}

fn half_sent_requests<P: Socket>(count: usize, longest: usize, memory_max: usize) {
    let (door, at) = any_port();
    let worker =
        Worker::new(Smol::new(), |body: Bytes| async move { Ok::<_, String>(body.0.len() as u64) });
    let worker = worker.memory_max(memory_max).frame_bytes_max(longest).concurrency(4);
    if P::WEBSOCKET {
        smol::spawn(worker.serve(ws::WsListener::new(listener(door)))).detach();
    } else {
        smol::spawn(worker.serve(tcp::TcpListener::new(listener(door)))).detach();
    }
    let length = longest - 100;
    let body = Arc::new(postcard::to_stdvec(&Bytes(vec![7; length])).expect("bytes"));
    let watch = Watch::start();
    let go = Arc::new(AtomicBool::new(false));
    let their: Vec<_> = (0..count)
        .map(|_| {
            let go = Arc::clone(&go);
            let body = Arc::clone(&body);
            thread::spawn(move || ask_half::<P>(at, &body, &go))
        })
        .collect();
    // Each has what it sends by now.
    thread::sleep(Duration::from_millis(500));
    let good = run(connect::<P>(Pool::builder(Smol::new()), at));
    smol::block_on(async {
        for length in [1, 1000, 10_000, 100_000].into_iter().cycle().take(40) {
            let request = Bytes(vec![1; length]);
            assert_eq!(in_time(good.call(&request)).await, Ok(length as u64));
        }
        thread::sleep(Duration::from_millis(500));
        let growth = watch.growth();
        assert!(growth <= memory_max / 4 * 5 + 24 * MIB, "{} MiB", growth / MIB);
        go.store(true, Ordering::Relaxed);
        in_time(good.stop()).await.expect("it runs");
    });
    for half in their {
        assert_eq!(half.join().expect("see above"), length as u64);
    }
}

#[test]
fn many_half_sent_requests_over_tcp_take_no_more_than_there_is_and_all_are_answered() {
    alone(
        here!(many_half_sent_requests_over_tcp_take_no_more_than_there_is_and_all_are_answered),
        || {
            half_sent_requests::<Tcp>(40, 4 * MIB, 32 * MIB);
        },
    );
}

#[test]
fn many_half_sent_requests_over_websocket_take_no_more_than_there_is_and_all_are_answered() {
    alone(
        here!(
            many_half_sent_requests_over_websocket_take_no_more_than_there_is_and_all_are_answered
        ),
        || {
            half_sent_requests::<Ws>(40, 4 * MIB, 32 * MIB);
        },
    );
}

/// Messages that are short enough to be let in before anybody looks, and never end.
fn half_sent_short_requests<P: Socket>() {
    const LINKS: usize = 400;
    const LENGTH: usize = 60 << 10;
    let (door, at) = any_port();
    let worker =
        Worker::new(Smol::new(), |body: Bytes| async move { Ok::<_, String>(body.0.len() as u64) });
    let worker = worker.memory_max(4 * MIB).frame_bytes_max(64 << 10).links_max(500);
    let worker = worker.links_per_host(500);
    if P::WEBSOCKET {
        smol::spawn(worker.serve(ws::WsListener::new(listener(door)))).detach();
    } else {
        smol::spawn(worker.serve(tcp::TcpListener::new(listener(door)))).detach();
    }
    let mut links: Vec<_> = (0..LINKS)
        .map(|_| {
            let mut raw = Raw::client::<P>(at);
            raw.greet_as_manager(60_000, 1);
            raw
        })
        .collect();
    let body = postcard::to_stdvec(&Bytes(vec![7; LENGTH])).expect("bytes");
    let task = TaskId::from_parts(0, 0);
    let request = Message::Request { task, attempt: 1, extensions: Extensions::NONE, body: &[] };
    let head = encoded(&request, &[]);
    let watch = Watch::start();
    for raw in &mut links {
        raw.write(&raw.header(head.len() + body.len()));
        raw.write(&head);
        raw.write(&body[..LENGTH - 1000]);
    }
    thread::sleep(Duration::from_millis(500));
    let growth = watch.growth();
    assert!(growth <= 4 * MIB + 6 * MIB, "{} MiB", growth / MIB);
    for raw in &mut links {
        raw.write(&body[LENGTH - 1000..]);
    }
    for raw in &mut links {
        loop {
            match raw.receive_message().expect("an answer") {
                Message::Response { body, .. } => {
                    let length: u64 = postcard::from_bytes(body).expect("a number");
                    assert_eq!(length, LENGTH as u64);
                    break;
                }
                Message::Pong => {}
                other => panic!("an answer, and not {other:?}"),
            }
        }
    }
}

#[test]
fn short_requests_over_tcp_that_never_end_take_no_more_than_there_is_however_many_there_are() {
    alone(
        here!(
            short_requests_over_tcp_that_never_end_take_no_more_than_there_is_however_many_there_are
        ),
        half_sent_short_requests::<Tcp>,
    );
}

#[test]
fn short_requests_over_websocket_that_never_end_take_no_more_than_there_is_however_many_there_are()
{
    alone(
        here!(
            short_requests_over_websocket_that_never_end_take_no_more_than_there_is_however_many_there_are
        ),
        half_sent_short_requests::<Ws>,
    );
}
