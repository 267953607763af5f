//! Links with a key over every transport and runtime: what a wire must do, what strangers try, and pools
//! whose workers are known by their keys.

#[path = "../support/pair.rs"]
mod pair;
mod pools;
mod serial;
mod strangers;

use std::future::Future;

use chargehand::keyed::{KeyedConnector, KeyedListener, Keys, SharedKey};
use chargehand::testing::conformance::{PATIENCE, Pair, cases};

use pair::{MemorySmol, TcpSmol, TcpTokio, UnixSmol, UnixTokio, WsSmol, WsTokio};
use serial::Serial;

/// Bytes that nothing else has.
const KEY: [u8; 32] = [0xd7; 32];

fn key() -> SharedKey {
    SharedKey::new(KEY)
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

keyed!(SealedTcpTokio: TcpTokio, true);
keyed!(SealedTcpSmol: TcpSmol, true);
keyed!(SealedWsTokio: WsTokio, true);
keyed!(SealedWsSmol: WsSmol, true);
keyed!(SealedUnixTokio: UnixTokio, true);
keyed!(SealedUnixSmol: UnixSmol, true);
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

/// What strangers try over a transport.
macro_rules! tried {
    ($($name:ident = $plain:ident;)+) => {
        $(mod $name {
            use super::*;

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
            fn what_is_longer_than_an_exchange_is_refused_and_keeps_nobody_out() {
                strangers::oversized::<$plain>();
            }

            #[test]
            fn a_peer_without_a_key_and_one_that_asks_for_it_part_with_a_word() {
                strangers::one_has_no_key::<$plain>();
            }
        })+
    };
}

tried! {
    strangers_tcp_tokio = TcpTokio; strangers_tcp_smol = TcpSmol; strangers_ws_tokio = WsTokio;
    strangers_ws_smol = WsSmol; strangers_unix_tokio = UnixTokio; strangers_unix_smol = UnixSmol;
    strangers_memory_smol = MemorySmol; strangers_serial = Serial;
}

/// What holds over a transport that takes any number of links at once.
macro_rules! suite {
    ($($name:ident = $keyed:ident over $plain:ident;)+) => {
        $(mod $name {
            use super::*;

            #[test]
            fn it_keeps_all_rules_of_wires() {
                wires::<$keyed>();
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
    unix_tokio = SealedUnixTokio over UnixTokio;
    unix_smol = SealedUnixSmol over UnixSmol;
    memory_smol = SealedMemory over MemorySmol;
}

macro_rules! removed {
    ($($name:ident = $plain:ident;)+) => {
        $(mod $name {
            #[test]
            fn a_worker_whose_key_is_removed_loses_its_link() {
                chargehand::testing::conformance::rig::bounded(super::pools::removed::<super::$plain>);
            }
        })+
    };
}

removed! { removed_tcp_tokio = TcpTokio; removed_ws_smol = WsSmol; removed_memory_smol = MemorySmol; }

#[test]
fn wires_that_prove_a_key_and_encrypt_nothing_keep_the_rules_as_well() {
    wires::<UnsealedTcpTokio>();
    wires::<UnsealedWsSmol>();
}
