//! What `docs/FROM_GO.md` says of waiting. Its own example is run with the documentation's.

use std::time::Duration;

use chargehand::testing::{Act, Script, World};
use chargehand::{Pool, Task, TrySubmitError};

/// How many tasks a pool takes whose only worker does nothing.
fn taken(world: &World, pool: &Pool) -> usize {
    let (mut tasks, mut is_stuck) = (Vec::<Task<u64>>::new(), false);
    loop {
        match pool.try_submit(7_u64) {
            Ok(task) => {
                tasks.push(task);
                is_stuck = false;
            }
            Err(_) if is_stuck => return tasks.len(),
            // The driver may take some out of the queue.
            Err(error) => {
                assert_eq!(error, TrySubmitError::Full(7));
                is_stuck = true;
                world.advance(Duration::ZERO);
            }
        }
    }
}

#[test]
fn a_queue_of_one_is_in_front_of_all_that_the_pool_holds() {
    for (tasks_max, expected) in [(None, 16_385), (Some(3), 4)] {
        let world = World::new(1);
        world.worker(Script::new().always(Act::Hang));
        let pool = world.pool(|builder| match tasks_max {
            Some(tasks_max) => builder.queue_max(1).tasks_max(tasks_max),
            None => builder.queue_max(1),
        });
        world.advance(Duration::from_millis(10));
        assert_eq!(taken(&world, &pool), expected);
    }
}

#[test]
fn a_pool_is_idle_before_the_last_outcome_was_taken() {
    let world = World::new(1);
    world.worker(Script::new().takes(Duration::from_millis(10)));
    let pool = world.pool(|builder| builder);
    let task = world.run(pool.submit::<u64, u64>(&7)).unwrap();
    // Nobody looks at it, and still the pool is idle.
    world.run(pool.idle()).unwrap();
    assert_eq!(world.elapsed(), Duration::from_millis(10));
    assert_eq!(world.run(task), Ok(7));
}
