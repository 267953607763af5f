//! A manager is killed, and another continues from the state that the first had saved: how the first one's
//! deadlines and attempts count for the second.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use chargehand::core::ledger::{Ledger, Snapshot, Span};
use chargehand::testing::{Act, Request, Script, WorkerHandle, World};
use chargehand::{Pool, TaskError, TaskOptions};
use futures_util::future::{AbortHandle, abortable};

const SECOND: Duration = Duration::from_secs(1);
/// The deadline of a height, across all attempts.
const DEADLINE: Duration = Duration::from_secs(10);
/// The timeout of one attempt.
const ATTEMPT: Duration = Duration::from_secs(4);
/// A height that nobody ever answers.
const HANGS: u64 = 3;
/// A height that is answered at its third attempt, whichever manager makes it.
const HARD: u64 = 4;

/// When each height was asked for.
type Asked = Rc<RefCell<Vec<(u64, Duration)>>>;

fn worker(world: &World, asked: &Asked) -> WorkerHandle {
    let (asked, timer) = (Rc::clone(asked), world.timer());
    let hangs = move |request: &Request<'_>| {
        let height = request.height().expect("a height");
        let mut asked = asked.borrow_mut();
        asked.push((height, timer.elapsed()));
        let tries = asked.iter().filter(|(which, _)| *which == height).count();
        height == HANGS || height == HARD && tries < 3
    };
    world.worker(Script::new().concurrency(4).takes(SECOND / 2).when(hangs, Act::Hang))
}

/// Starts a manager that can be killed: its driver is dropped without notice to anybody.
fn manager(world: &World, workers: &[WorkerHandle], seed: u64) -> (Pool, AbortHandle) {
    let mut builder = Pool::builder(world.timer())
        .seed(seed)
        .configure(|config| config.attempt_timeout = ATTEMPT);
    for worker in workers {
        builder = builder.connect(worker.connector());
    }
    let (pool, driver) = builder.build().expect("the limits are in range");
    let (driver, kill) = abortable(driver);
    world.spawn(async {
        let _ = driver.await;
    });
    (pool, kill)
}

#[test]
fn a_height_has_its_whole_deadline_and_all_attempts_again_in_the_manager_that_goes_on() {
    let world = World::new(4);
    let asked = Asked::default();
    let workers = [(); 2].map(|()| worker(&world, &asked));
    let options = || TaskOptions::new().deadline(DEADLINE);

    let (pool, kill) = manager(&world, &workers, 1);
    let mut heights = pool.with(options()).process::<u64>(1..=20);
    let kept: Snapshot<Vec<Span>> = world.run(async {
        for _ in 0..18 {
            let (height, result) = heights.next().await.expect("more are to come");
            assert_eq!(result, Ok(height));
        }
        heights.ledger().snapshot().into_owned()
    });
    // Six of its ten seconds have passed.
    world.advance((6 * SECOND).saturating_sub(world.elapsed()));
    kill.abort();
    assert_eq!(world.run(heights.next()), None);
    let before = asked.borrow().len();
    let of = |height: u64, from: usize| {
        let asked = asked.borrow();
        let of_it = asked[from..].iter().filter(|(which, _)| *which == height);
        of_it.map(|(_, at)| *at).collect::<Vec<_>>()
    };
    assert_eq!(of(HANGS, 0).len(), 2, "an attempt was given up after four seconds");

    let (pool, _kill) = manager(&world, &workers, 2);
    let begun = world.elapsed();
    let ledger = Ledger::resume_growing(&kept, 1000).expect("it is whole");
    assert_eq!(ledger.gaps().flatten().collect::<Vec<_>>(), [HANGS, HARD]);
    let mut heights = pool.with(options()).process::<u64>(ledger);
    let outcomes = world.run(async {
        let mut outcomes = Vec::new();
        while let Some((height, result)) = heights.next().await {
            outcomes.push((height, result, world.elapsed()));
        }
        outcomes
    });
    let [(HARD, Ok(HARD), early), (HANGS, Err(TaskError::TimedOut), late)] = outcomes[..] else {
        panic!("{outcomes:?}\n{}", world.trace())
    };
    assert!(early < begun + 2 * SECOND, "its third attempt is this manager's first: {early:?}");
    assert_eq!(late, begun + DEADLINE, "neither the rest of the old deadline nor more");
    assert_eq!(of(HANGS, before).len(), 3, "at once, and after four and eight seconds");
    let others = asked.borrow()[before..].iter().all(|(which, _)| [HANGS, HARD].contains(which));
    assert!(others, "what was done is not done again");
}
