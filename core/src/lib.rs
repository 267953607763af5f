//! The rules of chargehand as one pure state machine: no clock, no socket, no heap, no runtime.
//!
//! The loop that drives it, on any platform:
//!
//! 1. put what happened in: [`Scheduler::handle_event`](scheduler::Scheduler::handle_event),
//!    [`handle_timeout`](scheduler::Scheduler::handle_timeout), `submit`, `cancel`;
//! 2. carry out every [`Action`] that [`poll_action`](scheduler::Scheduler::poll_action) gives,
//!    until it gives `None`;
//! 3. sleep until [`poll_timeout`](scheduler::Scheduler::poll_timeout) or the next event; repeat.
//!
//! Calls may come in any order and number. Acting late delays work and never corrupts it.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod backoff;
pub mod config;
pub mod error;
pub mod event;
pub mod id;
pub mod io;
#[cfg(feature = "json")]
pub mod json;
pub mod ledger;
pub mod message;
#[cfg(feature = "alloc")]
pub mod net;
pub mod prefix;
pub mod scheduler;
pub mod serial;
pub mod session;
pub mod storage;
pub mod time;

pub use backoff::{Backoff, BackoffPolicy, Jitter};
pub use config::{Config, ConfigError};
pub use error::{EventError, Stale, SubmitError, WorkersFull};
pub use event::{
    Accepted, Action, Event, Lane, Loss, Offer, Outcome, Reason, Route, TaskOptions, Verdict,
};
pub use id::{Link, TaskId, WorkerId};
pub use scheduler::{Scheduler, Stats, WorkerState, WorkerStats};
#[cfg(feature = "alloc")]
pub use storage::Heap;
pub use storage::{Inline, Storage};
pub use time::Instant;
