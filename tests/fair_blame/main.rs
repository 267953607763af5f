//! Fair blame: what counts as an attempt, where a task goes that came back, who may have how many at
//! once, and whose turn it is. In worlds of virtual time, and over real sockets and processes where the
//! wire matters.

// What the conformance suite has of pairs, pools and processes. It uses all of that.
#[path = "../conformance/children.rs"]
#[allow(dead_code)]
mod children;
#[path = "../conformance/pair.rs"]
#[allow(dead_code)]
mod pair;
#[path = "../conformance/raw.rs"]
#[allow(dead_code)]
mod raw;

use chargehand::testing::conformance::rig;

/// Makes each case a test of each pair, as `pair::module::case`.
macro_rules! cases {
    ($($pair:ident = $kind:ident),+ ; $cases:tt) => {
        $( cases! { @pair $pair, $kind, $cases } )+
    };
    (@pair $pair:ident, $kind:ident, { $($module:ident: $($case:ident)+;)+ }) => {
        mod $pair {
            $(mod $module {
                $(#[test]
                fn $case() {
                    use crate::pair::{$kind as Kind, Pair};
                    crate::rig::bounded(|| Kind::run(crate::$module::$case::<Kind>()));
                })+
            })+
        }
    };
}

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

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn counts(world: &World, pool: &Pool) -> Stats {
    world.run(pool.stats()).expect("the driver lives").tasks
}
