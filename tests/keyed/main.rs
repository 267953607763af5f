//! Links with a key over every transport and runtime: what a wire must do, what strangers try, and pools
//! whose workers are known by their keys.

mod pools;
mod strangers;

use std::future::Future;
use std::net::TcpListener;

use chargehand::keyed::{Key, KeyedConnector, KeyedListener, Keys};
use chargehand::memory::{self, MemoryConnector, MemoryListener};
use chargehand::smol::{Smol, SmolListener};
use chargehand::testing::conformance::{PATIENCE, Pair, cases};
use chargehand::tokio::{Tokio, TokioListener};
use chargehand::{tcp, ws};

/// Bytes that nothing else has.
const KEY: [u8; 32] = [0xd7; 32];

fn key() -> Key {
    Key::new(KEY)
}

fn keys() -> Keys {
    Keys::new().with("w1", key()).expect("a good name")
}

/// A pair whose transport is another one's, with keys: a worker that dials, and a manager.
macro_rules! keyed {
    ($pair:ident: $inner:ident, $seals:literal) => {
        struct $pair;

        impl Pair for $pair {
            type Timer = <$inner as Pair>::Timer;
            type Listener = KeyedListener<<$inner as Pair>::Listener>;
            type Connector = KeyedConnector<<$inner as Pair>::Connector>;

            fn timer() -> Self::Timer {
                $inner::timer()
            }

            fn run<F: Future>(case: F) -> F::Output {
                $inner::run(case)
            }

            fn spawn(future: impl Future<Output = ()> + Send + 'static) {
                $inner::spawn(future);
            }

            fn place() -> (Self::Listener, Self::Connector) {
                let (listener, connector) = $inner::place();
                let listener = KeyedListener::manager(listener, "pool", keys()).unwrap();
                let connector = KeyedConnector::worker(connector, "w1", key()).unwrap();
                if $seals {
                    (listener, connector)
                } else {
                    (listener.unsealed(), connector.unsealed())
                }
            }
        }
    };
}

/// A transport on a runtime.
macro_rules! plain {
    ($pair:ident: $clock:ident, $run:path, $spawn:expr, $listener:ty, $connector:ty, $place:expr) => {
        struct $pair;

        impl Pair for $pair {
            type Timer = $clock;
            type Listener = $listener;
            type Connector = $connector;

            fn timer() -> $clock {
                $clock::new()
            }

            fn run<F: Future>(case: F) -> F::Output {
                $run(case)
            }

            fn spawn(future: impl Future<Output = ()> + Send + 'static) {
                $spawn(future);
            }

            fn place() -> (Self::Listener, Self::Connector) {
                $place
            }
        }
    };
}

fn run_tokio<F: Future>(case: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime starts");
    let output = runtime.block_on(case);
    runtime.shutdown_background();
    output
}

fn any_port() -> (TcpListener, String) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = door.local_addr().expect("it listens").to_string();
    (door, address)
}

plain! {
    TcpTokio: Tokio, run_tokio, |future| drop(tokio::spawn(future)),
    tcp::TcpListener<TokioListener>, tcp::TcpConnector<Tokio>, {
        let (door, address) = any_port();
        let listener = tcp::TcpListener::new(TokioListener::from_std(door).unwrap());
        (listener, tcp::TcpConnector::new(Tokio::new(), &address).unwrap())
    }
}
plain! {
    TcpSmol: Smol, smol::block_on, |future| smol::spawn(future).detach(),
    tcp::TcpListener<SmolListener>, tcp::TcpConnector<Smol>, {
        let (door, address) = any_port();
        let listener = tcp::TcpListener::new(SmolListener::from_std(door).unwrap());
        (listener, tcp::TcpConnector::new(Smol::new(), &address).unwrap())
    }
}
plain! {
    WsTokio: Tokio, run_tokio, |future| drop(tokio::spawn(future)),
    ws::WsListener<TokioListener>, ws::WsConnector<Tokio>, {
        let (door, address) = any_port();
        let listener = ws::WsListener::new(TokioListener::from_std(door).unwrap());
        (listener, ws::WsConnector::new(Tokio::new(), &format!("ws://{address}/")).unwrap())
    }
}
plain! {
    WsSmol: Smol, smol::block_on, |future| smol::spawn(future).detach(),
    ws::WsListener<SmolListener>, ws::WsConnector<Smol>, {
        let (door, address) = any_port();
        let listener = ws::WsListener::new(SmolListener::from_std(door).unwrap());
        (listener, ws::WsConnector::new(Smol::new(), &format!("ws://{address}/")).unwrap())
    }
}
plain! {
    MemorySmol: Smol, smol::block_on, |future| smol::spawn(future).detach(),
    MemoryListener, MemoryConnector, {
        let (connector, listener) = memory::pair(64);
        (listener, connector)
    }
}

keyed!(SealedTcpTokio: TcpTokio, true);
keyed!(SealedTcpSmol: TcpSmol, true);
keyed!(SealedWsTokio: WsTokio, true);
keyed!(SealedWsSmol: WsSmol, true);
keyed!(SealedMemory: MemorySmol, true);
keyed!(UnsealedTcpTokio: TcpTokio, false);
keyed!(UnsealedWsSmol: WsSmol, false);

/// What every wire must do, a wire with keys does, too.
fn wires<P: Pair>() {
    let wires = cases::<P>().into_iter().filter(|case| case.name().starts_with("wires::"));
    let mut count = 0;
    for case in wires {
        case.check(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        count += 1;
    }
    assert!(count >= 13, "the cases of wires are still called so");
}

macro_rules! suite {
    ($($name:ident = $keyed:ident over $plain:ident;)+) => {
        $(mod $name {
            use super::*;

            #[test]
            fn it_keeps_all_rules_of_wires() {
                wires::<$keyed>();
            }

            #[test]
            fn a_link_that_is_played_again_is_refused() {
                strangers::played_again::<$plain>();
            }

            #[test]
            fn what_a_side_said_itself_is_refused() {
                strangers::mirrored::<$plain>();
            }

            #[test]
            fn an_exchange_that_is_cut_off_at_any_byte_is_refused() {
                strangers::cut_off::<$plain>();
            }

            #[test]
            fn a_peer_without_a_key_and_one_that_asks_for_it_part_with_a_word() {
                strangers::one_has_no_key::<$plain>();
            }

            #[test]
            fn workers_are_known_by_their_keys_and_nothing_prints_one() {
                pools::known_by_their_keys::<$plain>();
            }
        })+
    };
}

suite! {
    tcp_tokio = SealedTcpTokio over TcpTokio;
    tcp_smol = SealedTcpSmol over TcpSmol;
    ws_tokio = SealedWsTokio over WsTokio;
    ws_smol = SealedWsSmol over WsSmol;
    memory_smol = SealedMemory over MemorySmol;
}

#[test]
fn wires_that_prove_a_key_and_encrypt_nothing_keep_the_rules_as_well() {
    wires::<UnsealedTcpTokio>();
    wires::<UnsealedWsSmol>();
}
