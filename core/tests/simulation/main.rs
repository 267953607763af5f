//! Whole pools in a simulated world of faults: every invariant after every step, and everything
//! ends once the faults do.
//!
//! Every world is a function of its seed. A failing one prints its seed; set `CHARGEHAND_SEED` to
//! that number to run nothing else, and `WORLDS` to run more of them, or fewer.

#[path = "../support/rng.rs"]
mod rng;
#[path = "../support/seeds.rs"]
mod seeds;
mod world;

use std::collections::BTreeMap;

use seeds::Seeds;
use world::World;

/// How many worlds are tried where `WORLDS` does not say.
const WORLDS: u64 = 400;
const FAULTY_MILLIS: u64 = 600;

/// What must happen, each at least once over all worlds.
const RARE: &[&str] = &[
    "a dial-in refused",
    "a liar cut off",
    "a link cut",
    "a link displaced",
    "a link displaced that held tasks",
    "a link left half-open",
    "a poison task exhausted",
    "a queue was paused",
    "a key was paused",
    "a worker was sent what it serves",
    "a worker was sent no more than it may",
    "a poison task killed a worker",
    "a worker came back with what it held",
    "a worker that is back did not say what it has",
    "a worker was told to drop what it still had",
    "an attempt went on over another link",
    "what a worker did not name was sent again",
    "a worker announced that it stops",
    "a worker removed",
    "a task was given back",
    "a worker suspended",
    "a failure said when to retry",
    "a failure was permanent",
    "a worker took its leave",
    "aborted",
    "an answer after its link was over",
    "an answer too late or twice",
    "an attempt was left hanging",
    "an attempt withdrawn",
    "bounced",
    "cancelled",
    "closed: connect timed out",
    "closed: drained",
    "closed: silent",
    "closed: stopped",
    "closed: strikes",
    "done",
    "exhausted",
    "failed",
    "progress gave an attempt more time",
    "several attempts lost at once",
    "submit refused",
    "the clock stepped back",
    "timed out",
];

#[test]
fn every_task_of_every_faulty_world_ends_once_and_in_time() {
    let mut seen = BTreeMap::new();
    let seeds = Seeds::chosen("WORLDS", WORLDS);
    for seed in seeds.range {
        let world = live_and_heal(seed);
        for (what, times) in world.seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    println!("{seen:#?}");
    let missing: Vec<_> = RARE.iter().filter(|&what| !seen.contains_key(what)).collect();
    assert!(!seeds.are_enough || missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let traces: Vec<_> = (0..6).map(|seed| live_and_heal(seed).fingerprint()).collect();
    for (seed, &trace) in (0..).zip(&traces) {
        assert_eq!(live_and_heal(seed).fingerprint(), trace, "seed {seed}");
    }
    let mut different = traces.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), traces.len(), "other seeds give other traces");
}

#[test]
fn a_shutdown_in_the_middle_of_faults_ends_by_its_deadline() {
    let seeds = Seeds::chosen("WORLDS", WORLDS).range;
    // A quarter of them, and at least the one that is asked for.
    for seed in seeds.start..seeds.start + (seeds.end - seeds.start).div_ceil(4) {
        let _named = Named(seed);
        let mut world = World::new(seed);
        world.live(FAULTY_MILLIS / 3);
        assert!(world.shut_down(seed % 30), "a shutdown past its deadline");
        assert_eq!(world.submitted(), ended(&world), "one outcome each");
    }
}

fn live_and_heal(seed: u64) -> World {
    let _named = Named(seed);
    let mut world = World::new(seed);
    world.live(FAULTY_MILLIS);
    world.heal();
    let bounds = world.bounds();
    if !world.has_poison() {
        world.run_for(bounds.rejoin);
        assert!(world.first_is_up(), "a healthy worker is back within {:?}", bounds.rejoin);
    }
    assert!(world.run_until_idle(bounds.finish), "every task ends within {:?}", bounds.finish);
    assert_eq!(world.submitted(), ended(&world), "one outcome each");
    assert!(world.shut_down(20), "a shutdown past its deadline");
    assert_eq!(world.submitted(), ended(&world), "one outcome each");
    world
}

fn ended(world: &World) -> u64 {
    let stats = world.stats();
    let given_up = stats.exhausted + stats.bounced + stats.cancelled + stats.aborted;
    stats.done + stats.failed + given_up + stats.expired
}

/// Names the seed where a test fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to run only this again: CHARGEHAND_SEED={}", self.0);
        }
    }
}
