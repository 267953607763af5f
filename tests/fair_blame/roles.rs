//! What children are here, beyond those of the conformance suite.

use std::env;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use chargehand::worker::Stopper;

use crate::children::{Child, POISON, ROLE, die_with_the_parent, say};
use crate::millis;
use crate::pair::{Pair, Socket, TcpSmol, TcpTokio, WsSmol, WsTokio};
use crate::rig::{answer_to, hand};

/// The test that plays the roles of this module.
const ENTRY: &str = "roles::a_child_of_fair_blame_plays_only_roles_that_there_are";

/// Starts a worker that stops, with little patience, as soon as it has a task. Then its process ends.
pub(crate) fn leaver<P: Socket>() -> Child {
    Child::start_by(ENTRY, &format!("leaver {}", P::NAME))
}

/// Starts a worker whose tasks end at their first poll, and the poison there takes its process down.
pub(crate) fn hasty<P: Socket>(address: &str) -> Child {
    Child::start_by(ENTRY, &format!("hasty {} {address}", P::NAME))
}

/// The entry of these children, and a test by itself where no role is given.
#[test]
fn a_child_of_fair_blame_plays_only_roles_that_there_are() {
    if let Ok(role) = env::var(ROLE) {
        play(&role);
    } else {
        assert_ne!(leaver::<TcpSmol>().at.port(), 0);
    }
}

fn play(role: &str) {
    die_with_the_parent();
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["leaver", pair] => play_on(pair, "127.0.0.1:0", true),
        ["hasty", pair, address] => play_on(pair, address, false),
        _ => panic!("no role: {role}"),
    }
}

fn play_on(pair: &str, address: &str, leaves: bool) {
    match pair {
        "tcp_tokio" => TcpTokio::run(work::<TcpTokio>(address, leaves)),
        "tcp_smol" => TcpSmol::run(work::<TcpSmol>(address, leaves)),
        "ws_tokio" => WsTokio::run(work::<WsTokio>(address, leaves)),
        "ws_smol" => WsSmol::run(work::<WsSmol>(address, leaves)),
        other => panic!("no pair: {other}"),
    }
}

async fn work<P: Socket>(address: &str, leaves: bool) {
    let door = TcpListener::bind(address).expect("the port is free");
    if leaves { leave::<P>(door).await } else { hurry::<P>(door).await }
}

async fn hurry<P: Socket>(door: TcpListener) {
    let at = door.local_addr().expect("it listens");
    let hand = hand::<P>("hasty", |height| {
        Box::pin(async move {
            if height == POISON {
                std::process::abort();
            }
            Ok(answer_to(height))
        })
    });
    // Before it serves: its first task may be its last.
    say(&format!("at {at}"));
    P::job(P::serve(hand.concurrency(2), door)).done().await;
}

async fn leave<P: Socket>(door: TcpListener) {
    let at = door.local_addr().expect("it listens");
    let itself = Arc::<Mutex<Option<Stopper>>>::default();
    let stopper = Arc::clone(&itself);
    let hand = hand::<P>("leaver", move |_| {
        stopper.lock().expect("no panic with it").as_ref().expect("it is set").stop();
        Box::pin(std::future::pending())
    });
    let hand = hand.drain_timeout(millis(50));
    *itself.lock().expect("no panic with it") = Some(hand.stopper());
    say(&format!("at {at}"));
    P::job(P::serve(hand, door)).done().await;
}
