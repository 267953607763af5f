//! A task that ends every worker that begins it takes no neighbour with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chargehand::TaskError;
use chargehand::testing::{Act, Script, World};

use crate::children::{Child, POISON};
use crate::counts;
use crate::millis;
use crate::pair::Socket;
use crate::raw::script;
use crate::rig::{Rig, Tally, answer_to, setup};

/// How many tasks each worker runs at once, and how many may wait there.
const CONCURRENCY: u16 = 2;
const WINDOW: u16 = 16;

#[test]
fn only_the_poison_is_exhausted_whoever_is_beside_it() {
    for (workers, seed) in [1, 2, 3].into_iter().flat_map(|count| (0..30).map(move |s| (count, s)))
    {
        let world = World::new(seed);
        let poison = 1 + seed % 48;
        let script = Script::new()
            .concurrency(CONCURRENCY)
            .takes(millis(1)..=millis(20))
            .height(poison, Act::Restart(millis(100)));
        for _ in 0..workers {
            world.worker(script.clone());
        }
        let pool = world.pool(|builder| builder.in_flight(WINDOW));
        let mut failed = Vec::new();
        world.run(async {
            let mut heights = pool.process::<u64>(1..=48);
            while let Some((height, outcome)) = heights.next().await {
                failed.extend(outcome.err().map(|error| (height, error)));
            }
        });
        let failed = match &failed[..] {
            [(height, TaskError::Exhausted { .. })] => *height,
            other => panic!("{workers} workers, seed {seed}: {other:?}"),
        };
        assert_eq!(failed, poison, "{workers} workers, seed {seed}");
        assert_eq!(counts(&world, &pool).done, 47);
    }
}

#[test]
fn two_poisons_are_both_found_and_nothing_else() {
    for seed in 0..30 {
        let world = World::new(seed);
        let script = Script::new()
            .concurrency(CONCURRENCY)
            .takes(millis(1)..=millis(20))
            .height(9, Act::Restart(millis(100)))
            .height(10, Act::Restart(millis(100)));
        for _ in 0..3 {
            world.worker(script.clone());
        }
        let pool = world.pool(|builder| builder.in_flight(WINDOW));
        let mut failed = Vec::new();
        world.run(async {
            let mut heights = pool.process::<u64>(1..=48);
            while let Some((height, outcome)) = heights.next().await {
                failed.extend(outcome.err().map(|_| height));
            }
        });
        failed.sort_unstable();
        assert_eq!(failed, [9, 10], "seed {seed}");
    }
}

pub(crate) async fn of_real_processes_only_the_poison_is_exhausted<P: Socket>() {
    let enough = Arc::new(AtomicBool::new(false));
    let mut setup = setup::<P>().in_flight(WINDOW);
    let mut keepers = Vec::new();
    for _ in 0..2 {
        let mut child = Child::worker::<P>(CONCURRENCY);
        let at = child.at;
        setup = P::connect(setup, &at);
        let enough = Arc::clone(&enough);
        keepers.push(script(move || {
            let mut deaths = 0;
            while !enough.load(Ordering::SeqCst) {
                if child.is_over() {
                    deaths += 1;
                    child = Child::worker_at::<P>(&at.to_string(), CONCURRENCY);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            deaths
        }));
    }
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    let results = Tally::start(&rig.pool, POISON - 40..=POISON + 20).finish().await;
    for (height, result) in results {
        if height == POISON {
            assert!(matches!(result, Err(TaskError::Exhausted { .. })), "{result:?}");
        } else {
            assert_eq!(result, Ok(answer_to(height)), "height {height}");
        }
    }
    // The last that died is back, and counted.
    rig.up::<P>(2).await;
    let stats = rig.stop().await;
    assert_eq!((stats.done, stats.exhausted, stats.bounced), (60, 1, 0));
    enough.store(true, Ordering::SeqCst);
    let mut deaths = 0;
    for keeper in keepers {
        deaths += keeper.end().await;
    }
    assert_eq!(deaths, 5, "one for each attempt that it may have");
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    { poison: of_real_processes_only_the_poison_is_exhausted; }
}
