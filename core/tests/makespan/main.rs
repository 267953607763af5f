//! How long ranges take with workers that are unlike each other, on virtual time (decision 0034).
//!
//! `-- --nocapture` prints the figures.

mod mixed;
#[path = "../support/rng.rs"]
mod rng;
#[path = "../support/seeds.rs"]
#[expect(dead_code, reason = "nothing is too rare for fewer worlds")]
mod seeds;
mod world;
mod worlds;
