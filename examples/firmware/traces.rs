//! Prints what the firmware `manager` of `examples/embedded` prints: the end of 100 simulated
//! worlds, each from its seed. CI holds the two against one another, line by line.

#[expect(unreachable_pub, reason = "it is public where it is a library")]
#[path = "../embedded/src/simulation.rs"]
mod simulation;

use chargehand::core::Inline;

const SEEDS: u64 = 100;

fn main() {
    let mut slots = Inline::new();
    for seed in 0..SEEDS {
        let end = simulation::run(&mut slots, seed);
        assert_eq!(end.finished, simulation::TASKS_OF_A_WORLD, "seed {seed}");
        println!("{seed} {end:?}");
    }
}
