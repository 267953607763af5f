//! A task that ends every worker that begins it takes no neighbour with it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chargehand::TaskError;
use chargehand::testing::{Act, Script, World};

use crate::children::{Child, POISON};
use crate::counts;
use crate::millis;
use crate::pair::Socket;
use crate::raw::{self, script};
use crate::rig::{Rig, Tally, answer_to, setup};
use crate::roles::hasty;

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

/// Keeps a child running: starts it again each time it has died. Returns how often it had.
fn keep_up(
    mut child: Child,
    again: impl Fn(&str) -> Child + Send + 'static,
    enough: &Arc<AtomicBool>,
) -> raw::Script<u32> {
    let (at, enough) = (child.at.to_string(), Arc::clone(enough));
    script(move || {
        let mut deaths = 0;
        while !enough.load(Ordering::SeqCst) {
            if child.is_over() {
                deaths += 1;
                child = again(&at);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        deaths
    })
}

/// Does a range with the poison in it by two children, and says how often they died.
async fn poisoned<P: Socket>(
    window: u16,
    range: RangeInclusive<u64>,
    start: impl Fn(&str) -> Child + Copy + Send + 'static,
) -> u32 {
    let enough = Arc::new(AtomicBool::new(false));
    let mut setup = setup::<P>().in_flight(window);
    let mut keepers = Vec::new();
    for _ in 0..2 {
        let child = start("127.0.0.1:0");
        setup = P::connect(setup, &child.at);
        keepers.push(keep_up(child, start, &enough));
    }
    let rig = Rig::start::<P>(setup);
    rig.up::<P>(2).await;
    let count = range.end() - range.start();
    let results = Tally::start(&rig.pool, range).finish().await;
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
    assert_eq!((stats.done, stats.exhausted, stats.bounced), (count, 1, 0));
    enough.store(true, Ordering::SeqCst);
    let mut deaths = 0;
    for keeper in keepers {
        deaths += keeper.end().await;
    }
    deaths
}

pub(crate) async fn of_real_processes_only_the_poison_is_exhausted<P: Socket>() {
    let start = |at: &str| Child::worker_at::<P>(at, CONCURRENCY);
    let deaths = poisoned::<P>(WINDOW, POISON - 40..=POISON + 20, start).await;
    assert_eq!(deaths, 5, "one for each attempt that it may have");
}

/// There the answers of those before it, as many as came in one read, die with the process.
pub(crate) async fn where_tasks_end_at_once_only_the_poison_is_exhausted<P: Socket>() {
    let deaths = poisoned::<P>(256, 1..=5000, hasty::<P>).await;
    // What comes again is told from those before it: it hides once, when it comes for the first time.
    // Now and then answers are lost that had left: the system resets a link whose end has died with unread
    // requests.
    assert!((5..=9).contains(&deaths), "{deaths}");
}

cases! {
    tcp_tokio = TcpTokio, tcp_smol = TcpSmol, ws_tokio = WsTokio, ws_smol = WsSmol;
    {
        poison:
            of_real_processes_only_the_poison_is_exhausted
            where_tasks_end_at_once_only_the_poison_is_exhausted;
    }
}
