//! Peers of the Go package `worker`, by hand, and WebSocket's own rules.

use chargehand::TaskError;
use chargehand::core::WorkerState;

use crate::pair::{Go, Socket, any_port};
use crate::raw::{Raw, dial_plain, encoded, script};
use crate::refusals::Notes;
use crate::rig::{Rig, eventually, hand, impatient, millis, quick, setup, until, works};

use chargehand::core::message::{Extensions, Message, Role};
use futures_util::StreamExt;

/// Reads a request of the Go package.
fn height_of(request: &[u8]) -> u64 {
    let text = std::str::from_utf8(request).expect("JSON is text");
    let digits = text.strip_prefix("{\"Height\":").and_then(|rest| rest.strip_suffix('}'));
    digits.expect("exactly what Go writes").parse().expect("a height")
}

/// Serves as a Go worker does, one request at a time. Returns how many it answered.
fn go_worker(mut raw: Raw, stop_after: Option<u32>) -> u32 {
    let mut answered = 0;
    loop {
        let Some(height) = raw.receive().map(height_of) else { return answered };
        if Some(answered) == stop_after {
            return answered; // The connection ends without a close frame.
        }
        raw.stream.set_nonblocking(true).expect("a socket");
        assert!(raw.stream.peek(&mut [0]).is_err(), "a second request while one is under way");
        raw.stream.set_nonblocking(false).expect("a socket");
        answered += 1;
        raw.send_text(&match height {
            13 => format!(
                "{{\"Height\":{height},\"Success\":false,\"Error\":\"a \\u003c b \\u0026 c\"}}"
            ),
            _ => format!("{{\"Height\":{height},\"Success\":true,\"Error\":\"\"}}"),
        });
    }
}

pub(crate) async fn a_worker_of_the_go_package_does_a_range<P: Go>() {
    let (door, at) = any_port();
    let worker = script(move || go_worker(Raw::go_server(&door), None));
    let rig = Rig::start::<P>(P::connect_json(setup::<P>(), at));
    let mut outcomes = rig.pool.process::<()>(1..=200);
    let mut seen = [0; 201];
    while let Some((height, outcome)) = outcomes.next().await {
        seen[usize::try_from(height).expect("small")] += 1;
        let failed = Err(TaskError::Failed("a < b & c".into()));
        assert_eq!(outcome, if height == 13 { failed } else { Ok(()) });
    }
    assert!(seen[1..].iter().all(|count| *count == 1));
    // What is no height cannot be asked there.
    let text = rig.pool.call::<(), str>("a text").await;
    assert!(matches!(text, Err(TaskError::Failed(_))), "{text:?}");
    assert_eq!(rig.pool.call::<(), u64>(&5).await, Ok(()));
    rig.stop().await;
    // What failed was tried once more.
    assert_eq!(worker.end().await, 202);
}

pub(crate) async fn a_go_worker_that_ends_loses_no_height<P: Go>() {
    let (door, at) = any_port();
    let workers = script(move || {
        let mut answered = 0;
        for _ in 0..3 {
            answered += go_worker(Raw::go_server(&door), Some(10));
        }
        answered + go_worker(Raw::go_server(&door), None)
    });
    let rig = Rig::start::<P>(P::connect_json(setup::<P>(), at));
    let mut heights: Vec<u64> = rig.pool.process::<()>(1..=100).map(|(at, _)| at).collect().await;
    heights.sort_unstable();
    assert_eq!(heights, (1..=100).collect::<Vec<_>>());
    let stats = rig.stop().await;
    // With the one that failed, which is tried once more.
    assert_eq!((stats.lost, stats.resent), (3, 4));
    assert_eq!(workers.end().await, 101);
}

pub(crate) async fn a_go_worker_that_answers_for_another_height_is_lost<P: Go>() {
    let answers = [
        "{\"Height\":99,\"Success\":true,\"Error\":\"\"}",
        "{\"Height\":",
        "[]",
        "{\"Height\":1,\"Success\":true,\"Error\":\"\"}{}",
    ];
    let (door, at) = any_port();
    let worker = script(move || {
        for answer in answers {
            let mut raw = Raw::go_server(&door);
            raw.receive().expect("a request");
            raw.send_text(answer);
            raw.rest();
        }
        go_worker(Raw::go_server(&door), None)
    });
    let mut rig = Rig::start::<P>(P::connect_json(setup::<P>(), at));
    let task = rig.pool.submit::<(), u64>(&1).await.expect("it is queued");
    for answer in answers {
        let why = rig.watch.lost::<P>().await;
        assert!(!why.is_empty(), "{answer}");
    }
    assert_eq!(task.await, Ok(()));
    rig.stop().await;
    assert_eq!(worker.end().await, 1);
}

/// Answers the height that is asked for next.
fn answer_next(raw: &mut Raw) -> u64 {
    let height = raw.receive().map(height_of).expect("a request");
    raw.send_text(&format!("{{\"Height\":{height},\"Success\":true,\"Error\":\"\"}}"));
    height
}

pub(crate) async fn a_go_worker_that_hangs_is_lost_at_its_first_overdue_height<P: Go>() {
    let (door, at) = any_port();
    let worker = script(move || {
        let mut hung = Raw::go_server(&door);
        assert_eq!(hung.receive().map(height_of), Some(1));
        let mut raw = Raw::go_server(&door);
        let heights = (answer_next(&mut raw), answer_next(&mut raw));
        let more = hung.receive().map(height_of);
        (heights, more)
    });
    let setup = setup::<P>().configure(|config| config.attempt_timeout = millis(300));
    let mut rig = Rig::start::<P>(P::connect_json(setup, at));
    let task = rig.pool.submit::<(), u64>(&1).await.expect("it is queued");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("height 1 within attempt_timeout"), "{why}");
    assert_eq!(task.await, Ok(()));
    assert_eq!(rig.pool.call::<(), u64>(&2).await, Ok(()));
    assert_eq!(worker.end().await, ((1, 2), None), "one deadline, one link, nothing more there");
    assert_eq!(rig.stop().await.timed_out, 1);
}

pub(crate) async fn a_go_worker_gets_nothing_while_it_is_at_what_was_cancelled<P: Go>() {
    let (door, at) = any_port();
    let (asked, was_asked) = async_channel::bounded(1);
    let (go_on, may_go_on) = async_channel::bounded::<()>(1);
    let worker = script(move || {
        let mut raw = Raw::go_server(&door);
        assert_eq!(raw.receive().map(height_of), Some(1));
        asked.send_blocking(()).expect("the case waits for it");
        may_go_on.recv_blocking().expect("the case says so");
        raw.stream.set_nonblocking(true).expect("a socket");
        assert!(raw.stream.peek(&mut [0]).is_err(), "a second request while one is under way");
        raw.stream.set_nonblocking(false).expect("a socket");
        raw.send_text("{\"Height\":1,\"Success\":false,\"Error\":\"too late\"}");
        answer_next(&mut raw)
    });
    let rig = Rig::start::<P>(P::connect_json(setup::<P>(), at));
    let task = rig.pool.submit::<(), u64>(&1).await.expect("it is queued");
    was_asked.recv().await.expect("the worker got it");
    task.cancel();
    assert_eq!(task.await, Err(TaskError::Cancelled));
    eventually::<P>(&rig.pool, |stats| stats.workers[0].stats.state == WorkerState::Busy).await;
    // Somebody else does the work meanwhile.
    let (door, native_at) = any_port();
    let _job = P::job(P::serve(
        hand::<P>("native", |height| Box::pin(async move { Err(format!("native {height}")) })),
        door,
    ));
    let native = P::add(&rig.pool, &native_at).await.expect("there is room");
    for height in 50..60 {
        let outcome = rig.pool.call::<(), u64>(&height).await;
        assert_eq!(outcome, Err(TaskError::Failed(format!("native {height}").into())));
    }
    go_on.send(()).await.expect("the worker waits for it");
    eventually::<P>(&rig.pool, |stats| stats.workers[0].stats.state == WorkerState::Up).await;
    rig.pool.remove(native).await.expect("it is there");
    assert_eq!(rig.pool.call::<(), u64>(&100).await, Ok(()));
    assert_eq!(worker.end().await, 100);
    let stats = rig.stop().await;
    assert_eq!((stats.lost, stats.cancelled, stats.failed, stats.done), (0, 1, 10, 1));
}

pub(crate) async fn a_go_worker_that_hangs_at_what_was_cancelled_is_lost<P: Go>() {
    let (door, at) = any_port();
    let (asked, was_asked) = async_channel::bounded(1);
    let worker = script(move || {
        let mut hung = Raw::go_server(&door);
        assert_eq!(hung.receive().map(height_of), Some(1));
        asked.send_blocking(()).expect("the case waits for it");
        let mut raw = Raw::go_server(&door);
        (answer_next(&mut raw), hung.receive().map(height_of))
    });
    let setup = impatient::<P>(setup::<P>());
    let setup = setup.configure(|config| config.attempt_timeout = millis(400));
    let mut rig = Rig::start::<P>(P::connect_json(setup, at));
    let task = rig.pool.submit::<(), u64>(&1).await.expect("it is queued");
    was_asked.recv().await.expect("the worker got it");
    task.cancel();
    assert_eq!(task.await, Err(TaskError::Cancelled));
    let next = rig.pool.submit::<(), u64>(&2).await.expect("it is queued");
    let why = rig.watch.lost::<P>().await;
    assert!(why.contains("height 1 within attempt_timeout"), "{why}");
    assert_eq!(next.await, Ok(()));
    let stats = rig.stop().await;
    assert_eq!((stats.timed_out, stats.lost, stats.sent), (0, 0, 2), "only the link was given up");
    assert_eq!(worker.end().await, (2, None));
}

pub(crate) async fn a_manager_of_the_go_package_that_leaves_ends_what_runs_for_it<P: Go>() {
    let (door, at) = any_port();
    let work = hand::<P>("one at a time", |height| {
        Box::pin(async move {
            if height == 1 {
                std::future::pending::<()>().await;
            }
            Ok(height)
        })
    });
    let notes = Notes::default();
    let _job = P::job(P::serve_json(notes.watch::<P>(work), door));
    let manager = script(move || {
        let mut raw = Raw::go_client(at);
        raw.send_text("{\"Height\":1}");
        drop(raw);
        let mut raw = Raw::go_client(at);
        raw.send_text("{\"Height\":2}");
        raw.receive().map(<[u8]>::to_vec)
    });
    let answer = manager.end().await.expect("an answer");
    assert_eq!(answer, b"{\"Height\":2,\"Success\":true,\"Error\":\"\"}");
}

pub(crate) async fn a_manager_of_the_go_package_is_served<P: Go>() {
    let (door, at) = any_port();
    let work = hand::<P>("both", |height| {
        Box::pin(async move {
            match height {
                13 => Err("a < b & c".to_owned()),
                14 => panic!("unlucky, too"),
                _ => Ok(height),
            }
        })
    });
    let notes = Notes::default();
    let _job = P::job(P::serve_json(notes.watch::<P>(work), door));
    let manager = script(move || {
        let mut raw = Raw::go_client(at);
        let mut ask = |request: &str| {
            raw.send_text(request);
            let answer = raw.receive().expect("an answer");
            String::from_utf8(answer.to_vec()).expect("JSON is text")
        };
        for height in 1..=12 {
            let answer = ask(&format!("{{\"Height\":{height}}}"));
            assert_eq!(answer, format!("{{\"Height\":{height},\"Success\":true,\"Error\":\"\"}}"));
        }
        assert_eq!(
            ask("{\"Height\":13}"),
            "{\"Height\":13,\"Success\":false,\"Error\":\"a \\u003c b \\u0026 c\"}"
        );
        let panicked = ask(" {\"height\": 14} ");
        assert!(panicked.contains("unlucky, too"), "{panicked}");
        assert!(ask("{\"Height\":-1}").contains("\"Success\":false"));
        assert_eq!(ask("{}"), "{\"Height\":0,\"Success\":true,\"Error\":\"\"}");
        raw.send_text("{\"Height\":");
        raw.rest()
    });
    manager.end().await;
    until::<P>("the worker says why", || notes.contain("JSON")).await;
    // A native manager beside it.
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    assert_eq!(rig.pool.call::<u64, u64>(&7).await, Ok(7));
    rig.stop().await;
}

pub(crate) async fn a_manager_of_the_go_package_is_refused_where_it_is_not_wanted<P: Go>() {
    let (door, at) = any_port();
    let _job = P::job(P::serve(quick::<P>("native"), door));
    let answer = script(move || {
        let mut raw = dial_plain(at);
        raw.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\
              Origin: http://localhost\r\n\r\n",
        );
        String::from_utf8_lossy(&raw.rest()).into_owned()
    });
    let answer = answer.end().await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("chargehand.2"), "{answer}");
}

/// Attacks a worker over WebSocket and returns the close code that comes back.
async fn close_code<P: Go>(bytes: &[u8], name: &str) -> Option<u16> {
    let (door, at) = any_port();
    let notes = Notes::default();
    let _job = P::job(P::serve(notes.watch::<P>(quick::<P>("victim")), door));
    let bytes = bytes.to_vec();
    let attack = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.write(&bytes);
        raw.rest()
    });
    let rest = attack.end().await;
    until::<P>(name, || notes.contain("")).await;
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    works(&rig.pool).await;
    rig.stop().await;
    // Its Hello comes first: a frame whose length is in its second byte.
    let close = rest.get(2 + usize::from(*rest.get(1)?)..)?;
    match close {
        [0x88, _, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

pub(crate) async fn each_breach_of_the_websocket_protocol_has_its_close_code<P: Go>() {
    let oversize = [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[7; 126]].concat();
    let breaches: [(&str, &[u8], u16); 6] = [
        ("an unmasked frame of a client", &[0x82, 1, 5], 1002),
        ("a reserved bit", &[0xc2, 0x81, 0, 0, 0, 0, 5], 1002),
        ("a reserved opcode", &[0x83, 0x80, 0, 0, 0, 0], 1002),
        ("a control frame of 126 bytes", &oversize, 1002),
        ("a continuation of nothing", &[0x80, 0x81, 0, 0, 0, 0, 5], 1002),
        ("text where bytes are due", &[0x81, 0x81, 0, 0, 0, 0, b'x'], 1003),
    ];
    for (name, bytes, code) in breaches {
        assert_eq!(close_code::<P>(bytes, name).await, Some(code), "{name}");
    }
}

pub(crate) async fn text_that_is_not_utf8_is_refused<P: Go>() {
    let code = close_code::<P>(&[0x81, 0x81, 0, 0, 0, 0, 0xff], "text").await;
    assert!(matches!(code, Some(1003 | 1007)), "{code:?}");
}

pub(crate) async fn a_message_in_endless_fragments_is_refused<P: Go>() {
    let (door, at) = any_port();
    let notes = Notes::default();
    let hand = notes.watch::<P>(quick::<P>("victim")).handshake_timeout(millis(500));
    let _job = P::job(P::serve(hand, door));
    let endless = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.write(&[0x02, 0x80, 0, 0, 0, 0]);
        // Empty ones: no limit of bytes is ever reached.
        while std::io::Write::write_all(&mut raw.stream, &[0, 0x80, 0, 0, 0, 0]).is_ok() {}
    });
    endless.end().await;
    until::<P>("the worker has had enough", || notes.contain("")).await;
}

pub(crate) async fn pings_of_the_websocket_are_answered<P: Socket>() {
    let (door, at) = any_port();
    let _job = P::job(P::serve(quick::<P>("good"), door));
    let pong = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.receive().expect("the worker's Hello");
        raw.write(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']);
        let mut pong = [0; 4];
        std::io::Read::read_exact(&mut raw.stream, &mut pong).expect("a pong");
        // And a fragmented Hello is a Hello.
        let hello = encoded(&Message::hello(Role::Manager, 0, 1, "in parts"), &[]);
        raw.write(&[0x02, 0x81, 0, 0, 0, 0, hello[0]]);
        raw.write(&[0x89, 0x80, 0, 0, 0, 0]);
        let rest = u8::try_from(hello.len() - 1).expect("short");
        raw.write(&[0x80, 0x80 | rest, 0, 0, 0, 0]);
        raw.write(&hello[1..]);
        raw.say(&Message::Welcome {
            heartbeat_millis: 10_000,
            window: 1,
            extensions: Extensions::NONE,
        });
        raw.ask(1, 20);
        let answered = matches!(raw.receive_message(), Some(Message::Response { .. }));
        (pong, answered)
    });
    assert_eq!(pong.end().await, ([0x8a, 2, b'h', b'i'], true));
}
