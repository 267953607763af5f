//! Chargehand on a Cortex-M3 without operating system or heap: workers on a serial line, and a
//! manager in a simulated world. The programs are in `src/bin/`.
#![no_std]

pub mod block;
pub mod clock;
pub mod guard;
pub mod line;
pub mod probe;
#[cfg(feature = "paint-stack")]
pub mod script;
pub mod simulation;
pub mod uart;
pub mod waiting;
pub mod worker;
