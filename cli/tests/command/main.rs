//! The command `chargehand`, as a process.

#[path = "../../../tests/support/commands.rs"]
mod commands;
mod exec;
mod keys;
mod library;
mod looking;
mod outcomes;
mod pages;
mod reasons;
mod serve;
mod signals;
mod states;
mod support;
mod top;
mod workers;
