//! Tries every order in which threads can run that share what a driver is woken by.
//!
//! The files are the library's own; the lock and the atomics in them are loom's.
#![forbid(unsafe_code)]

extern crate alloc;

#[expect(dead_code, reason = "the library uses all of it")]
mod link;
mod models;

pub use models::{alarms, sources};
