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
//!
//! A task whose worker is lost goes to the next one, at once, since the link had no other fault:
//!
//! ```
//! use chargehand_core::{
//!     Action, Config, Event, Heap, Instant, Loss, Offer, Outcome, Route, Scheduler, Verdict,
//! };
//!
//! # #[cfg(feature = "alloc")] {
//! let mut now = Instant::from_millis(1); // from your clock
//! let mut scheduler = Scheduler::new(Heap::with_capacity(16, 2), Config::new(7))?;
//! let mut links = Vec::new();
//! for _ in 0..2 {
//!     // Workers that connect to us; with `Route::Dial` the scheduler says when to dial.
//!     let worker = scheduler.add_worker(now, Route::Await)?;
//!     links.push(scheduler.accept(now, worker, Offer::new(1), Instant::EPOCH)?.link);
//! }
//! let task = scheduler.submit(now)?; // what is to be done stays with you
//!
//! let Some(Action::Send { link: first, .. }) = scheduler.poll_action() else { panic!() };
//! scheduler.handle_event(now, Event::Lost { link: first, how: Loss::Broken })?;
//!
//! let mut outcome = None;
//! while let Some(action) = scheduler.poll_action() {
//!     match action {
//!         Action::Send { link, task, attempt } => {
//!             assert_ne!(link, first);
//!             let verdict = Verdict::Done; // what the worker answers
//!             scheduler.handle_event(now, Event::Replied { link, task, attempt, verdict })?;
//!         }
//!         Action::Finish { task: finished, outcome: how, attempts } => {
//!             assert_eq!((finished, attempts), (task, 2));
//!             outcome = Some(how);
//!         }
//!         _ => {} // links to open and to close
//!     }
//! }
//! assert_eq!(outcome, Some(Outcome::Done));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod backoff;
pub mod config;
#[cfg(feature = "alloc")]
pub mod copy;
pub mod error;
pub mod event;
#[cfg(feature = "queues")]
pub mod explain;
mod exposure;
pub mod id;
pub mod io;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "keyed")]
pub mod keyed;
pub mod ledger;
pub mod message;
#[cfg(feature = "alloc")]
pub mod net;
pub mod options;
#[cfg(chargehand_planted)]
#[doc(hidden)]
pub mod planted;
#[cfg(not(chargehand_planted))]
mod planted;
pub mod prefix;
#[cfg(feature = "queues")]
pub mod queue;
pub mod scheduler;
pub mod serial;
pub mod session;
#[cfg(feature = "std")]
pub mod spare;
pub mod storage;
pub mod time;
mod trust;

pub use backoff::{Backoff, BackoffPolicy, Jitter};
#[cfg(feature = "hedging")]
pub use config::HedgeBudget;
#[cfg(feature = "choice")]
pub use config::{Choice, Ejection, RetryBudget};
pub use config::{Config, ConfigError};
#[cfg(feature = "queues")]
pub use error::NoQueue;
pub use error::{EventError, Stale, SubmitError, WorkersFull};
pub use event::{Accepted, Action, Event, Loss, Offer, Outcome, Reason, Route, Useless, Verdict};
#[cfg(feature = "queues")]
pub use explain::{Idles, TaskStats, Waits};
pub use id::{Link, TaskId, WorkerId};
#[cfg(feature = "hedging")]
pub use options::Hedge;
pub use options::{Lane, TaskOptions};
#[cfg(feature = "queues")]
pub use queue::{Class, Key, QueueId, QueueOptions, QueueSet, QueueStats, Rate};
pub use scheduler::{Scheduler, Stats, WorkerState, WorkerStats};
#[cfg(feature = "alloc")]
pub use storage::Heap;
pub use storage::{Inline, Storage};
pub use time::Instant;
