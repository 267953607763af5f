//! How long ranges take with workers that are unlike each other, on virtual time (decision 0034).
//!
//! `-- --nocapture` prints the figures.

mod mixed;
#[path = "../support/rng.rs"]
mod rng;
#[path = "../support/seeds.rs"]
mod seeds;
mod world;
mod worlds;
