//! Strangers that open connections and take their time.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chargehand::core::message::{Message, Role};

use crate::pair::{Socket, any_port};
use crate::raw::{Raw, Script, dial, dial_plain, encoded, script};
use crate::refusals::Notes;
use crate::rig::{Rig, Tally, millis, quick, setup, until, within};

/// The first bytes of a good peer, from the first one on.
fn opening<P: Socket>(raw: &Raw) -> Vec<u8> {
    if crate::tls::is_spoken_by::<P>() {
        crate::tls::client_hello()
    } else if P::WEBSOCKET {
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Protocol: chargehand.2\r\n\r\n"
            .to_vec()
    } else {
        raw.framed(&encoded(&Message::hello(Role::Worker, 1, 1, "a name of many letters"), &[]))
    }
}

/// Sends the opening byte by byte, and returns when the other end had enough.
fn dribble<P: Socket>(at: SocketAddr) -> Script<Option<Duration>> {
    script(move || {
        let mut raw = dial_plain(at);
        let started = Instant::now();
        for byte in opening::<P>(&raw) {
            if raw.stream.write_all(&[byte]).is_err() {
                return Some(started.elapsed());
            }
            std::thread::sleep(millis(60));
        }
        None
    })
}

pub(crate) async fn a_dribbled_handshake_ends_at_its_deadline<P: Socket>() {
    let (door, at) = any_port();
    let setup = P::accept(setup::<P>(), door).configure(|config| {
        config.connect_timeout = millis(400);
    });
    let mut rig = Rig::start::<P>(setup);
    let slow = dribble::<P>(at);
    let why = rig.watch.refused::<P>().await;
    assert!(why.contains("no handshake within"), "{why}");
    assert!(slow.end().await.expect("it is cut off") >= millis(390));
    rig.stop().await;

    let (door, at) = any_port();
    let notes = Notes::default();
    let hand = notes.watch::<P>(quick::<P>("victim")).handshake_timeout(millis(400));
    let _job = P::job(P::serve(hand, door));
    let slow = dribble::<P>(at);
    until::<P>("the worker has had enough", || notes.contain("no handshake within")).await;
    assert!(slow.end().await.expect("it is cut off") >= millis(390));
}

/// Three hundred connections that dribble until they are let go, and are opened again when they
/// are cut off.
struct Crowd {
    enough: Arc<AtomicBool>,
    script: Script<()>,
}

impl Crowd {
    async fn at<P: Socket>(at: SocketAddr) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&enough);
        let (sender, ready) = async_channel::bounded(1);
        let script = script(move || {
            let opening = opening::<P>(&dial_plain(at));
            let mut crowd: Vec<_> = (0..300).map(|_| (dial(at), 0)).collect();
            sender.send_blocking(()).expect("the case waits");
            while !ends.load(Ordering::SeqCst) {
                for (stream, sent) in &mut crowd {
                    let cut_off = stream.write_all(&opening[*sent..=*sent]).is_err();
                    *sent += 1;
                    if cut_off || *sent == opening.len() - 1 {
                        *stream = dial(at);
                        *sent = 0;
                    }
                }
                std::thread::sleep(millis(10));
            }
        });
        ready.recv().await.expect("the crowd is there");
        Self { enough, script }
    }

    async fn leave(self) {
        self.enough.store(true, Ordering::SeqCst);
        self.script.end().await;
    }
}

pub(crate) async fn a_crowd_of_dribblers_keeps_no_good_worker_out<P: Socket>() {
    let (door, at) = any_port();
    let rig = Rig::start::<P>(P::accept(setup::<P>(), door));
    let crowd = Crowd::at::<P>(at).await;
    let _job = P::job(P::dial(quick::<P>("good"), &at));
    let range = Tally::start(&rig.pool, 1..=500).all_done();
    within::<P, _>(Duration::from_secs(10), range).await.expect("it joins and works");
    crowd.leave().await;
    rig.stop().await;
}

pub(crate) async fn a_crowd_of_dribblers_keeps_no_good_manager_out<P: Socket>() {
    let (door, at) = any_port();
    let _job = P::job(P::serve(quick::<P>("victim"), door));
    let crowd = Crowd::at::<P>(at).await;
    let rig = Rig::start::<P>(P::connect(setup::<P>(), &at));
    let range = Tally::start(&rig.pool, 1..=500).all_done();
    within::<P, _>(Duration::from_secs(10), range).await.expect("it connects and works");
    crowd.leave().await;
    rig.stop().await;
}
