//! Test doubles that tell the truth: pools, workers and their faults on a virtual clock.
//!
//! A [`World`] holds real pools, scripted workers that speak the real protocol (so that they can
//! break it), real workers with your own handler, and the future that your test is about. It runs
//! them in the test's thread, without a runtime. When nobody is ready, the clock jumps to the next
//! deadline: minutes take microseconds, and deadlines are exact. A seed decides everything that is
//! drawn, so the same seed gives the same [`Trace`].
//!
//! ```
//! use std::time::Duration;
//! use chargehand::testing::{Script, World};
//!
//! let (millis, secs) = (Duration::from_millis, Duration::from_secs);
//! let world = World::new(7);
//! // Eight workers, and the node behind each takes one request in 50 ms.
//! let workers: Vec<_> =
//!     (0..8).map(|_| world.worker(Script::new().one_per(millis(50)))).collect();
//! world.at(secs(2), workers[2].dies());
//! let pool = world.pool(|builder| {
//!     builder.configure(|config| config.attempt_timeout = secs(1))
//! });
//!
//! // Your own code would be here: anything that takes a `Pool`.
//! let report = world.run(pool.for_each::<u64>(1..=10_000, |height, outcome| {
//!     assert_eq!(outcome, Ok(height));
//! }));
//!
//! assert!(report.is_complete());
//! assert_eq!(workers[2].asked(), 41, "one in 50 ms, until it dies");
//! assert!(world.elapsed() > secs(70), "seven workers, 20 a second each");
//! assert!(world.trace().to_string().contains("2.000000 s  worker-3 dies"));
//! ```
//!
//! The faults are an [`Act`] where a worker answers a request badly, and a [`Change`] where
//! something happens to it. `docs/TESTING.md` in the repository goes through all of it.

mod clock;
pub mod conformance;
mod dice;
mod executor;
mod go;
mod handle;
mod player;
mod script;
mod site;
mod trace;
mod watch;
pub mod wires;
mod world;

pub use self::{
    clock::{ManualSleep, ManualTimer},
    dice::Delay,
    executor::Spawned,
    go::GoManager,
    handle::{Change, WorkerHandle},
    script::{Act, Request, Script},
    trace::Trace,
    watch::{Passing, Step},
    world::World,
};
