//! Tries every order in which threads can run that share what a driver is woken by, and what callers and
//! the driver leave for each other.
//!
//! The files are the library's own; the lock and the atomics in them are loom's.
#![forbid(unsafe_code)]

extern crate alloc;
// For the paths in the library's files.
extern crate self as async_channel;
extern crate self as event_listener;

mod around;
#[path = "../../../src/budget.rs"]
#[expect(dead_code, reason = "the library uses all of it")]
mod budget;
mod callers;
#[expect(dead_code, reason = "the library uses all of it")]
mod link;
#[path = "../../../src/mailbox/mod.rs"]
#[expect(dead_code, reason = "the library uses all of it")]
#[expect(unreachable_pub, reason = "the library shows it")]
mod mailbox;
mod models;
#[path = "../../../src/options.rs"]
#[expect(dead_code, reason = "the library uses all of it")]
mod options;
mod others;

pub(crate) use around::{error, events, limits, payload, planted, stats};

pub use around::planted::reorder;
pub use callers::{
    asked_while_held_back, batches, cancelled, closed, left, looked_at_too_soon, room, submitted,
    taken,
};
pub use models::{alarms, sources};
pub use others::{Event, EventListener, Receiver, Sender, bounded};
