//! What must hold whatever the bytes are.
//!
//! Each function takes any bytes and panics where a promise is broken. `fuzz/tests/corpora.rs` runs them on the
//! bytes in `fuzz/corpus/`, and `fuzz/fuzz_targets/` has libFuzzer look for more: see the stage `fuzz` of `ci.sh`.
#![forbid(unsafe_code)]

mod chunks;
mod codecs;
mod decode;
mod framing;
mod keyed;
mod ledger;
mod session;
mod storm;
mod streams;

pub use codecs::{json, message};
pub use decode::decode;
pub use framing::{prefix, serial};
pub use keyed::keyed;
pub use ledger::ledger;
pub use session::session;
pub use storm::scheduler;
pub use streams::{tls_server, ws_client, ws_server};

/// Something that must hold whatever the bytes are.
pub type Check = fn(&[u8]);

/// All targets, by the names of their folders in `corpus/`.
pub const TARGETS: &[(&str, Check)] = &[
    ("decode", decode),
    ("json", json),
    ("keyed", keyed),
    ("ledger", ledger),
    ("message", message),
    ("prefix", prefix),
    ("scheduler", scheduler),
    ("serial", serial),
    ("session", session),
    ("tls_server", tls_server),
    ("ws_client", ws_client),
    ("ws_server", ws_server),
];
