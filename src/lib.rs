//! Hands tasks out to remote workers and answers for every one of them.
//!
//! A *manager* ([`Pool`]) distributes tasks over *workers* ([`Worker`]) on whatever transport and
//! runtime you have, or in its own process ([`Builder::local`]). It balances the load, reconnects with
//! capped and jittered backoff, and loses nothing when a worker dies, hangs, lies or comes back late:
//!
//! - **Every accepted task ends in exactly one outcome.** Never none, never two.
//! - **Execution is at least once.** After a lost link the task is sent again, so a handler may see
//!   it twice. Make handlers idempotent.
//! - **Everything is bounded.** Each limit is an argument with a documented default.
//! - **Nothing a peer sends can panic us, grow our memory past its limit or reach another task.**
//! - **The rules are one pure state machine** ([`core`]): no clock, socket, heap or runtime in it.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `std` (default) | the asynchronous pool and worker |
//! | `alloc` | the same on bare metal with a heap: with neither, this crate is [`core`] alone |
//! | `tcp`, `ws`, `serial` | the transports in `chargehand::tcp`, `chargehand::ws` and `chargehand::serial` |
//! | `unix` | Unix domain sockets, in `chargehand::unix`: on Unix only |
//! | `tokio`, `smol` | the runtimes `chargehand::tokio` and `chargehand::smol` |
//! | `blocking` | `Worker::blocking`: handlers on a thread pool |
//! | `json` | workers and managers of the Go `worker` package as peers, and `JsonHeights` |
//! | `tracing` | the pool's events as `tracing` events, too |
//! | `testing` | for tests: workers that fail as told, real ones beside them, peers of the Go package, a virtual clock, a seed; turns on `json` |
//!
//! # Without `std`
//!
//! With `alloc` instead of `std`, seeds are given ([`Pool::seeded_builder`], [`Worker::seeded`]), a panic
//! ends the program, and the application provides the implementation of the crate
//! `critical-section`. An interrupt may wake anything of the pool's.
//!
//! # WebAssembly
//!
//! `wasm32-unknown-unknown` takes `std`, `json`, and the transports `tcp` and `serial` over streams of
//! yours; `ws` says in an error what to do instead. Give seeds there too: without any they are not random.
#![no_std]

#[cfg(any(feature = "alloc", feature = "std"))]
#[macro_use]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(all(feature = "ws", target_family = "wasm", target_os = "unknown"))]
compile_error!(
    "chargehand's feature `ws` does the WebSocket protocol on a byte stream, and wasm32-unknown-unknown \
     has no streams, no clock and no random numbers for it: leave `ws` out there, and implement \
     `core::io::Connect` and `Wire` over the browser's own `WebSocket` (docs/PORTING.md)"
);

pub use chargehand_core as core;
#[cfg(feature = "smol")]
pub use chargehand_runtime_smol as smol;
#[cfg(feature = "tokio")]
pub use chargehand_runtime_tokio as tokio;
#[cfg(feature = "serial")]
pub use chargehand_transport_serial as serial;
#[cfg(feature = "tcp")]
pub use chargehand_transport_tcp as tcp;
#[cfg(feature = "unix")]
pub use chargehand_transport_unix as unix;
#[cfg(feature = "ws")]
pub use chargehand_transport_ws as ws;

#[cfg(any(feature = "alloc", feature = "std"))]
mod alarm;
#[cfg(any(feature = "alloc", feature = "std"))]
mod body;
#[cfg(any(feature = "alloc", feature = "std"))]
mod builder;
#[cfg(any(feature = "alloc", feature = "std"))]
mod calls;
#[cfg(all(test, any(feature = "alloc", feature = "std")))]
mod counting;
#[cfg(any(feature = "alloc", feature = "std"))]
mod decode;
#[cfg(any(feature = "alloc", feature = "std"))]
mod driver;
#[cfg(any(feature = "alloc", feature = "std"))]
mod error;
#[cfg(any(feature = "alloc", feature = "std"))]
mod event;
#[cfg(any(feature = "alloc", feature = "std"))]
mod hands;
#[cfg(all(feature = "json", any(feature = "alloc", feature = "std")))]
mod json;
#[cfg(any(feature = "alloc", feature = "std"))]
pub mod local;
#[cfg(any(feature = "alloc", feature = "std"))]
mod lock;
#[cfg(any(feature = "alloc", feature = "std"))]
mod mailbox;
#[cfg(any(feature = "alloc", feature = "std"))]
mod next;
#[cfg(any(feature = "alloc", feature = "std"))]
mod outcomes;
#[cfg(any(feature = "alloc", feature = "std"))]
mod payload;
#[cfg(any(feature = "alloc", feature = "std"))]
mod pool;
#[cfg(any(feature = "alloc", feature = "std"))]
mod ready;
#[cfg(any(feature = "alloc", feature = "std"))]
mod reply;
#[cfg(any(feature = "alloc", feature = "std"))]
mod runs;
#[cfg(any(feature = "alloc", feature = "std"))]
mod seed;
#[cfg(any(feature = "alloc", feature = "std"))]
mod table;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(any(feature = "alloc", feature = "std"))]
mod wire;
#[cfg(any(feature = "alloc", feature = "std"))]
pub mod worker;

#[cfg(all(feature = "json", any(feature = "alloc", feature = "std")))]
pub use self::json::JsonHeights;
#[cfg(any(feature = "alloc", feature = "std"))]
pub use self::{
    builder::{BuildError, Builder},
    driver::Driver,
    error::{Closed, TaskError, TrySubmitError, WorkerError},
    event::{Events, PoolEvent},
    next::Next,
    outcomes::{Ledger, Outcomes, Report, SignedLedger},
    pool::{Pool, PoolStats, WorkerInfo},
    reply::Task,
    wire::{BoxError, Kind, Local, Threaded},
    worker::Worker,
};

/// Compiles the README's examples.
#[cfg(all(doctest, feature = "tcp", feature = "ws", feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the examples of the guide for users of the Go package.
#[cfg(all(doctest, feature = "ws", feature = "tokio", feature = "json"))]
#[doc = include_str!("../docs/FROM_GO.md")]
struct FromGo;

/// Compiles and runs the examples of the guide to testing.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/TESTING.md")]
struct TestingGuide;

/// Compiles and runs the examples of the guide to runtimes and transports of one's own.
#[cfg(all(doctest, unix, feature = "testing", feature = "smol", feature = "tcp"))]
#[doc = include_str!("../docs/PORTING.md")]
struct PortingGuide;
