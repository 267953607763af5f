//! Made by `chargehand replay FILE --test recorded_incident`. Then 399 of 400 tasks were done,
//! 1 failed, and 0 ended otherwise or not at all.
#![allow(clippy::unreadable_literal, reason = "they are a machine's")]

use std::time::Duration;

use chargehand::core::Config;
use chargehand::testing::{Act, Script, World};
use chargehand::{Pool, Task};

const fn nanos(count: u64) -> Duration {
    Duration::from_nanos(count)
}

/// The policies of the pool.
const CONFIG: &str = r#"{"attempts_max":5,"resends_max":64,"elsewhere_wait":{"secs":1,"nanos":0},"window_max":1024,"trust_initial":16,"attempt_timeout":{"secs":60,"nanos":0},"retries_max":1,"retry_delay":{"secs":0,"nanos":5000000},"connect_timeout":{"secs":10,"nanos":0},"heartbeat_interval":{"secs":10,"nanos":0},"heartbeat_timeout":{"secs":10,"nanos":0},"strikes_max":3,"failures_max":65535,"pause_max":{"secs":3600,"nanos":0},"class_share_min":5,"keys_max":4096,"grace":{"secs":0,"nanos":0},"absent_max":{"secs":600,"nanos":0},"choice":"LeastLoaded","ejection":null,"retry_budget":null,"hedges_max":64,"hedge_budget":{"per_thousand":20,"saved_max":10},"backoff":{"base_nanos":100000000,"cap_nanos":30000000000,"factor":2,"jitter":"Full"},"stable_after":{"secs":30,"nanos":0},"seed":2493001065868230072}"#;

const SINGLES: u64 = 0;
const BULK: u64 = 400;
/// When single tasks came, in nanoseconds, and how many.
const ARRIVALS: &[(u64, u64)] = &[];

#[test]
fn recorded_incident() {
    let world = World::new(1);
    world.worker(
        Script::new()
            .name("w0")
            .concurrency(2)
            .takes(nanos(10023855)..=nanos(17998305))
            .percent(8, Act::Fail("as recorded".to_owned())),
    );
    world.worker(
        Script::new()
            .name("w1")
            .concurrency(2)
            .takes(nanos(10128938)..=nanos(25970283))
            .percent(6, Act::Fail("as recorded".to_owned())),
    );
    world.worker(
        Script::new()
            .name("w2")
            .concurrency(2)
            .takes(nanos(10105747)..=nanos(33766274))
            .percent(8, Act::Fail("as recorded".to_owned())),
    );
    let pool: Pool = world.pool(|builder| {
        let config = serde_json::from_str::<Config>(CONFIG).expect("as recorded");
        let builder = builder.tasks_max(512).workers_max(1024);
        builder.configure(|policies| *policies = config)
    });
    let of_range = pool.clone();
    let bulk = world.spawn(async move { of_range.map::<u64, _>(0..BULK).each(|_, _| ()).await });
    let mut calls: Vec<Task<u64>> = Vec::new();
    for &(at, count) in ARRIVALS {
        world.advance(nanos(at).saturating_sub(world.elapsed()));
        for number in 0..count {
            calls.push(world.run(pool.submit::<u64, _>(&number)).expect("it is queued"));
        }
    }
    let singles: Vec<_> = calls.into_iter().map(|call| world.run(call)).collect();
    let bulk = world.run(bulk);
    let ended = singles.len() as u64 + bulk.done + bulk.failed;
    assert_eq!(ended, SINGLES + BULK, "each task has one outcome");
}
