//! What children are here, beyond those of the conformance suite.

use std::env;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use chargehand::worker::Stopper;

use crate::children::{Child, ROLE, die_with_the_parent, say};
use crate::millis;
use crate::pair::{Pair, Socket, TcpSmol, TcpTokio, WsSmol, WsTokio};
use crate::rig::hand;

/// The test that plays the roles of this module.
const ENTRY: &str = "roles::a_child_of_fair_blame_plays_only_roles_that_there_are";

/// Starts a worker that stops, with little patience, as soon as it has a task. Then its process ends.
pub(crate) fn leaver<P: Socket>() -> Child {
    Child::start_by(ENTRY, &format!("leaver {}", P::NAME))
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
    match role {
        "leaver tcp_tokio" => TcpTokio::run(leave::<TcpTokio>()),
        "leaver tcp_smol" => TcpSmol::run(leave::<TcpSmol>()),
        "leaver ws_tokio" => WsTokio::run(leave::<WsTokio>()),
        "leaver ws_smol" => WsSmol::run(leave::<WsSmol>()),
        other => panic!("no role: {other}"),
    }
}

async fn leave<P: Socket>() {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
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
