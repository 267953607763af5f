//! Hands out tasks to remote workers and accounts for every one of them.
//!
//! A *manager* ([`Pool`]) distributes tasks to *workers* ([`Worker`]) over any transport and on any runtime, or
//! runs them in its own process ([`Builder::in_process`]). It balances the load, reconnects with capped and
//! jittered backoff, and loses no task when a worker dies, hangs, lies or comes back late:
//!
//! - **Every accepted task ends in exactly one outcome.** Never none, never two.
//! - **Execution is at least once.** After a link is lost its tasks are sent again, so a handler may run
//!   twice for the same task. Make handlers idempotent.
//! - **Everything is bounded.** Each limit is an argument with a documented default.
//! - **Nothing a peer sends can panic us, grow our memory past its limit or reach another task.**
//! - **The rules are one pure state machine** ([`core`]) without a clock, sockets, a heap or a runtime.
//!
//! # Example
//!
//! A pool with a worker in its own process. To reach a worker on another machine, run a [`Worker`] there and
//! replace `.in_process(..)` by `.connect(TcpConnector::new(members.dial(runtime), "tls://10.0.0.7:9000")?)`
//! (features `tcp` and `members`, see `examples/members.rs`). Give that worker the name that its certificate proves,
//! `.name(members.name())`. Links to other machines must be protected unless [`Builder::insecure`] is called.
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! use chargehand::{Pool, tokio::Tokio};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Thumbnail {
//!     photo: String,
//!     width: u32,
//! }
//!
//! async fn render(request: Thumbnail) -> Result<String, String> {
//!     Ok(format!("{}-{}.png", request.photo, request.width))
//! }
//!
//! # ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let (pool, driver) = Pool::builder(Tokio::new()).in_process(8, render).build()?;
//! let driver = ::tokio::spawn(driver); // one future does all the work
//!
//! let request = Thumbnail { photo: "harbour".to_owned(), width: 320 };
//! let file: String = pool.call(&request).await?;
//! assert_eq!(file, "harbour-320.png");
//!
//! pool.stop().await?; // drains: every task gets its outcome
//! driver.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! # Features
//!
//! | Feature | Adds |
//! |---|---|
//! | `std` (default) | the asynchronous pool and worker |
//! | `alloc` | the same without `std`, for bare metal with a heap. One of the two is required; without a heap, use `chargehand-core` |
//! | `tcp`, `ws`, `serial` | the transports in `chargehand::tcp`, `chargehand::ws` and `chargehand::serial` |
//! | `tls` | TLS (rustls) below TCP and WebSocket on any runtime, in `chargehand::tls` |
//! | `members` | mutual TLS with one join file per member, issued by the pool's own authority, in `chargehand::tls::members` |
//! | `unix` | Unix domain sockets, in `chargehand::unix` (Unix only) |
//! | `tokio`, `smol` | the runtimes `chargehand::tokio` and `chargehand::smol` |
//! | `blocking` | `Worker::blocking`: handlers on a thread pool |
//! | `json` | peers that use the Go package `worker`, and `JsonHeights` |
//! | `choice` (part of `std`) | choosing workers by how soon they are expected to answer, windows that size themselves, ejection of outliers and a budget for retries: [`Builder::choice`] |
//! | `keyed` | authentication by a shared key, and encryption, for links without TLS, in `chargehand::keyed` |
//! | `tracing` | the events of pools and workers as `tracing` events with fields and severities, and spans of tasks |
//! | `record` | a record of what a pool's scheduler is told, which can be replayed, in `chargehand::record` |
//! | `testing` | for tests: scripted workers that fail on command, real workers, peers of the Go package and a seeded virtual clock; turns on `json` |
//!
//! # Without `std`
//!
//! With `alloc` instead of `std` you must pass seeds ([`Builder::seed`], [`Worker::seed`]), a panic ends the
//! program, and the application provides an implementation of the crate `critical-section`. Any of the pool's
//! wakers may be woken from an interrupt.
//!
//! # WebAssembly
//!
//! `wasm32-unknown-unknown` supports `std`, `json`, and the transports `tcp` and `serial` over your own streams.
//! `ws` does not compile there, and the error says what to do instead. Pass seeds there too: the default ones are
//! not random on that target.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(not(any(feature = "alloc", feature = "std")))]
compile_error!(
    "chargehand needs its feature `std`, which is on by default, or `alloc`, for bare metal with a \
     heap. What needs neither is a crate of its own: depend on `chargehand-core` instead"
);

#[cfg(all(feature = "ws", target_family = "wasm", target_os = "unknown"))]
compile_error!(
    "chargehand's feature `ws` does the WebSocket protocol on a byte stream, and wasm32-unknown-unknown \
     has no streams, no clock and no random numbers for it: leave `ws` out there, and implement \
     `core::io::Connect` and `Wire` over the browser's own `WebSocket` (docs/PORTING.md)"
);

pub use chargehand_core as core;
pub use chargehand_core::{Class, Hedge, QueueOptions, Rate};
#[cfg(feature = "smol")]
pub use chargehand_runtime_smol as smol;
#[cfg(feature = "tokio")]
pub use chargehand_runtime_tokio as tokio;
#[cfg(feature = "serial")]
pub use chargehand_transport_serial as serial;
#[cfg(feature = "tcp")]
pub use chargehand_transport_tcp as tcp;
#[cfg(feature = "tls")]
pub use chargehand_transport_tls as tls;
#[cfg(feature = "unix")]
pub use chargehand_transport_unix as unix;
#[cfg(feature = "ws")]
pub use chargehand_transport_ws as ws;

mod budget;
#[cfg(test)]
mod counting;
mod driver;
mod error;
mod events;
#[cfg(feature = "std")]
pub mod explain;
mod failure;
mod handler;
#[cfg(feature = "keyed")]
pub mod keyed;
mod limits;
mod link;
mod mailbox;
#[cfg(feature = "std")]
pub mod measure;
mod next;
mod options;
mod payload;
mod planted;
mod pool;
#[cfg(feature = "record")]
pub mod record;
mod seed;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
#[cfg(feature = "tracing")]
pub mod traces;
mod unwind;
pub mod worker;

#[cfg(feature = "json")]
pub use self::payload::JsonHeights;
pub use self::{
    driver::Driver,
    error::{Closed, QueueError, TaskError, TrySubmitError, WorkerError},
    events::{Events, PoolEvent, Started, TaskProgress},
    failure::{Failure, Throttled},
    handler::{Context, with_state},
    link::{BoxError, DisconnectReason, InProcessFn, Kind, Local, Threaded, memory},
    next::Next,
    options::{Queue, TaskKey, TaskOptions, Window, WorkerOptions},
    payload::DecodeLimits,
    pool::{
        BuildError, Builder, FromStream, Heights, IntoRequests, Ledger, MapReport, Outcomes, Pool,
        Pull, RawRequests, Report, Requests, SignedLedger, Source, Task, from_stream,
    },
    stats::{PoolStats, QueueInfo, WorkerInfo},
    worker::Worker,
};

/// Compiles the README's examples.
#[cfg(all(doctest, feature = "tcp", feature = "tokio", feature = "members"))]
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
