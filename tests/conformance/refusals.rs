//! Bad input to whoever listens, and to a manager that dials: a clear error, and nobody else harmed.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use chargehand::core::message::{Code, Message, Role};
use chargehand::worker::WorkerEvent;

use crate::pair::{Hand, Pair, Socket, any_port};
use crate::raw::{Raw, accept_plain, dial_plain, encoded, script};
use crate::rig::{Rig, millis, quick, setup, until, works};

/// What a worker's hook was told.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// Makes a worker write its refusals and losses down.
    pub(crate) fn watch<P: Pair>(&self, hand: Hand<P>) -> Hand<P> {
        let notes = self.clone();
        hand.on_event(move |event| {
            if let WorkerEvent::Refused { reason, .. } | WorkerEvent::Disconnected { reason, .. } =
                event
            {
                notes.0.lock().expect("no panic with it").push(reason.to_string());
            }
        })
    }

    pub(crate) fn contain(&self, text: &str) -> bool {
        self.0.lock().expect("no panic with it").iter().any(|note| note.contains(text))
    }

    pub(crate) fn show(&self) -> String {
        format!("{:?}", self.0.lock().expect("no panic with it"))
    }
}

/// Who is attacked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Worker,
    Manager,
}

/// Attacks a worker, then a manager, both of which listen, checks that each says why it refuses
/// that, and that each still does its work.
pub(crate) async fn both_refuse<P: Socket>(
    why_contains: &'static str,
    attack: impl Fn(SocketAddr, Victim) + Send + Sync + 'static,
) {
    let attack = Arc::new(attack);

    let (door, at) = any_port();
    let notes = Notes::default();
    let _job = P::job(P::serve(notes.watch::<P>(quick::<P>("victim")), door));
    let play = Arc::clone(&attack);
    script(move || play(at, Victim::Worker)).end().await;
    until::<P>(&format!("{why_contains:?} in {}", notes.show()), || notes.contain(why_contains))
        .await;
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    works(&rig.pool).await;
    rig.stop().await;

    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    script(move || attack(at, Victim::Manager)).end().await;
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains(why_contains), "{why}");
    let _job = P::job(P::dial(quick::<P>("good"), &at));
    works(&rig.pool).await;
    rig.stop().await;
}

pub(crate) async fn another_magic_is_refused_with_a_word<P: Socket>() {
    both_refuse::<P>("magic", |at, _| {
        let mut raw = Raw::client::<P>(at);
        let mut hello = encoded(&Message::hello(Role::Worker, 1, 1, "odd"), &[]);
        hello[3] = b'x';
        raw.send(&hello);
        let (code, text) = raw.goodbye().expect("a Goodbye");
        assert_eq!(code, Code::WrongVersion, "{text}");
    })
    .await;
}

pub(crate) async fn another_version_is_refused_with_a_word<P: Socket>() {
    // As version 1 wrote it.
    both_refuse::<P>("version 1", |at, _| {
        let mut raw = Raw::client::<P>(at);
        raw.send(b"\0chgd\x01\x01\x01\x01\x03old");
        let (code, text) = raw.goodbye().expect("a Goodbye");
        assert_eq!(code, Code::WrongVersion, "{text}");
        assert!(text.contains("speaks version 1, this side version 2"), "{text}");
    })
    .await;
    both_refuse::<P>("version 3", |at, _| {
        let mut raw = Raw::client::<P>(at);
        let mut hello = encoded(&Message::hello(Role::Worker, 1, 1, "new"), &[]);
        hello[5] = 3;
        // What a later version has behind it is none of our business.
        hello.extend_from_slice(&[0xff; 40]);
        raw.send(&hello);
        let (code, text) = raw.goodbye().expect("a Goodbye");
        assert_eq!(code, Code::WrongVersion, "{text}");
        assert!(text.contains("speaks version 3"), "{text}");
    })
    .await;
}

pub(crate) async fn a_first_message_that_is_no_hello_is_refused<P: Socket>() {
    both_refuse::<P>("Hello", |at, _| {
        let mut raw = Raw::client::<P>(at);
        raw.say(&Message::Pong);
        let (code, text) = raw.goodbye().expect("a Goodbye");
        assert_eq!(code, Code::BadMessage, "{text}");
    })
    .await;
}

pub(crate) async fn a_peer_of_the_same_role_is_told_so<P: Socket>() {
    both_refuse::<P>("", |at, victim| {
        let mut raw = Raw::client::<P>(at);
        let role = if victim == Victim::Worker { Role::Worker } else { Role::Manager };
        raw.say(&Message::hello(role, 1, 1, "mirror"));
        let (code, text) = raw.goodbye().expect("a Goodbye");
        assert_eq!(code, Code::WrongRole, "{text}");
    })
    .await;
}

pub(crate) async fn a_manager_that_dials_a_manager_is_told_so<P: Socket>() {
    let (door, at) = any_port();
    let mut listening = Rig::start::<P>(P::accept(setup::<P>(), door));
    let mut dialling = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let why = dialling.watch.refused::<P>().await;
    assert!(why.contains("manager") || why.contains("WrongRole"), "{why}");
    let why = listening.watch.refused::<P>().await;
    assert!(why.contains("manager") || why.contains("WrongRole"), "{why}");
    dialling.stop().await;
    listening.stop().await;
}

pub(crate) async fn a_worker_that_dials_a_worker_is_told_so<P: Socket>() {
    let (door, at) = any_port();
    let notes = Notes::default();
    let _job = P::job(P::serve(notes.watch::<P>(quick::<P>("one")), door));
    let _other = P::job(P::dial(notes.watch::<P>(quick::<P>("other")), &at));
    until::<P>("both are workers", || notes.contain("both sides are workers")).await;
}

pub(crate) async fn a_length_past_the_limit_is_refused_from_its_header<P: Socket>() {
    both_refuse::<P>("limit", |at, _| {
        let mut raw = Raw::client::<P>(at);
        let header = raw.header(0x7fff_ffff);
        raw.write(&header);
        raw.rest();
    })
    .await;
}

pub(crate) async fn a_first_message_longer_than_a_hello_is_refused_from_its_header<P: Socket>() {
    both_refuse::<P>("1025 bytes", |at, _| {
        let mut raw = Raw::client::<P>(at);
        let header = raw.header(1025);
        raw.write(&header);
        raw.rest();
    })
    .await;
    // And of who is dialled.
    let (door, at) = any_port();
    let dialled = script(move || {
        let mut raw = Raw::server::<P>(&door);
        let header = raw.header(16 << 20);
        raw.write(&header);
        raw.rest();
    });
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains("16777216 bytes"), "{why}");
    dialled.end().await;
    rig.stop().await;
}

pub(crate) async fn a_hello_that_is_cut_short_is_no_hello<P: Socket>() {
    let why = if P::WEBSOCKET { "without a close frame" } else { "in the middle" };
    both_refuse::<P>(why, |at, _| {
        let mut raw = Raw::client::<P>(at);
        let hello = raw.framed(&encoded(&Message::hello(Role::Worker, 1, 1, "short"), &[]));
        raw.write(&hello[..hello.len() - 1]);
        raw.half_close();
        raw.rest();
    })
    .await;
}

pub(crate) async fn a_reset_in_the_middle_of_a_hello_is_an_end<P: Socket>() {
    both_refuse::<P>("reset", |at, _| {
        let mut raw = Raw::client::<P>(at);
        let hello = raw.framed(&encoded(&Message::hello(Role::Worker, 1, 1, "short"), &[]));
        raw.write(&hello[..hello.len() - 1]);
        raw.reset();
    })
    .await;
}

pub(crate) async fn http_on_the_port_is_refused_by_name<P: Socket>() {
    let why = if P::WEBSOCKET { "WebSocket handshake" } else { "HTTP" };
    both_refuse::<P>(why, |at, _| {
        let mut raw = dial_plain(at);
        raw.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = raw.rest();
        if P::WEBSOCKET {
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
    })
    .await;
}

pub(crate) async fn the_other_transport_on_the_port_is_refused<P: Socket>() {
    let why = if P::WEBSOCKET { "WebSocket" } else { "HTTP" };
    both_refuse::<P>(why, |at, _| {
        let mut raw = dial_plain(at);
        if P::WEBSOCKET {
            raw.say(&Message::hello(Role::Worker, 1, 1, "over TCP"));
        } else {
            raw.write(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chargehand.2\r\n\r\n",
            );
        }
        raw.rest();
    })
    .await;
}

pub(crate) async fn tls_on_the_port_is_refused_by_name<P: Socket>() {
    both_refuse::<P>("TLS", |at, _| {
        let mut raw = dial_plain(at);
        let mut client_hello = vec![0x16, 3, 1, 0, 0xf8, 1, 0, 0, 0xf4, 3, 3];
        client_hello.resize(253, 0x5a);
        raw.write(&client_hello);
        raw.rest();
    })
    .await;
}

/// George Marsaglia, "Xorshift RNGs", 2003: enough to make bytes that nobody thought of.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = 1 + self.next() % 600;
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

pub(crate) async fn random_bytes_are_refused<P: Socket>() {
    // "" is in every error: which one it is depends on the bytes.
    both_refuse::<P>("", |at, victim| {
        let mut random = Random(0x5eed_0001);
        for round in 0..60 {
            let bytes = random.bytes();
            let mut raw = match round % 3 {
                0 => dial_plain(at),
                _ => Raw::client::<P>(at),
            };
            match round % 3 {
                0 | 1 => raw.write(&bytes),
                _ => raw.send(&bytes),
            }
            raw.half_close();
            raw.rest(); // It panics where the connection stays open.
        }
        // The same once a handshake is done.
        for _ in 0..20 {
            let mut raw = Raw::client::<P>(at);
            match victim {
                Victim::Worker => raw.greet_as_manager(10_000, 1),
                Victim::Manager => raw.greet_as_worker("random", 1),
            }
            raw.send(&random.bytes());
            raw.half_close();
            raw.rest();
        }
    })
    .await;
}

pub(crate) async fn a_dialled_peer_that_is_no_worker_is_told_apart<P: Socket>() {
    let replies: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ""),
        (b"", "closed the connection"),
    ];
    let (door, at) = any_port();
    let server = script(move || {
        for (reply, _) in replies {
            let mut raw = accept_plain(&door);
            // A server speaks after the client has.
            let mut first = [0; 4];
            raw.stream.peek(&mut first).expect("the client speaks first");
            raw.stream.write_all(reply).expect("the client listens");
            if reply.is_empty() {
                raw.half_close();
            }
            raw.rest();
        }
        // At last the worker is there.
        let mut raw = Raw::server::<P>(&door);
        raw.greet_as_worker("late", 1);
        raw.work_on();
    });
    let mut rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    for (reply, why_contains) in replies {
        let why = rig.watch.refused::<P>().await;
        let reply = String::from_utf8_lossy(reply);
        assert!(!why.is_empty() && why.contains(why_contains), "{reply:?} gives {why:?}");
    }
    works(&rig.pool).await;
    rig.stop().await;
    server.end().await;
}

pub(crate) async fn a_worker_without_a_name_cannot_dial_in<P: Socket>() {
    let (door, at) = any_port();
    let mut rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let nameless = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.say(&Message::hello(Role::Worker, 1, 1, ""));
        raw.goodbye()
    });
    let (code, text) = nameless.end().await.expect("a Goodbye");
    assert_eq!(code, Code::BadMessage, "{text}");
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains("name"), "{why}");
    rig.stop().await;
}

pub(crate) async fn a_full_pool_and_a_full_worker_say_that_they_are_busy<P: Socket>() {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>().workers_max(1), door));
    let _first = P::job(P::dial(quick::<P>("first"), &at));
    rig.up::<P>(1).await;
    let second = script(move || {
        let mut raw = Raw::client::<P>(at);
        raw.say(&Message::hello(Role::Worker, 1, 1, "second"));
        raw.goodbye()
    });
    assert_eq!(second.end().await.map(|(code, _)| code), Some(Code::Busy));
    works(&rig.pool).await;
    rig.stop().await;

    let (door, at) = any_port();
    let _job = P::job(P::serve(quick::<P>("one").links_max(1), door));
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    rig.up::<P>(1).await;
    let mut other = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let why = other.watch.refused::<P>().await;
    // HTTP has a word for it, before a link is made.
    let word = if P::WEBSOCKET { "503" } else { "Busy" };
    assert!(why.contains(word), "{why}");
    works(&rig.pool).await;
    rig.stop().await;
    works(&other.pool).await;
    other.stop().await;
    // Time for the last Goodbye: the worker must outlive its managers.
    crate::rig::pause::<P>(millis(5)).await;
}
