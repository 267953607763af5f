//! Fair blame: what counts as an attempt, where a task goes that came back, who may have how many at
//! once, and whose turn it is. In worlds of virtual time, and over real sockets and processes where the
//! wire matters.

#[path = "../support/cases.rs"]
#[macro_use]
mod cases;
#[path = "../support/children.rs"]
mod children;
#[path = "../support/pair.rs"]
mod pair;
#[path = "../support/raw.rs"]
mod raw;

mod doors;
mod elsewhere;
mod holes;
mod names;
mod poison;
mod roles;
mod sick;
mod stops;
mod turns;

use std::time::Duration;

use chargehand::Pool;
use chargehand::core::Stats;
use chargehand::testing::World;
use chargehand::testing::conformance::rig::{self, bounded};

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn counts(world: &World, pool: &Pool) -> Stats {
    world.run(pool.stats()).expect("the driver lives").tasks
}
