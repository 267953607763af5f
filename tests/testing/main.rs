//! The test doubles themselves: each scripted fault does what it says, the clock jumps, and a seed
//! decides everything.

mod changes;
mod scripts;
mod worlds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chargehand::core::Stats;
use chargehand::testing::{Script, Trace, WorkerHandle, World};
use chargehand::{Pool, TaskError};

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A world with one worker, and its pool, which tries everything twice and waits a second.
fn one(script: Script) -> (World, WorkerHandle, Pool) {
    let world = World::new(7);
    let worker = world.worker(script);
    let pool = impatient(&world);
    (world, worker, pool)
}

fn impatient(world: &World) -> Pool {
    world.pool(|builder| {
        builder.configure(|config| {
            config.attempt_timeout = secs(1);
            config.attempts_max = 2;
        })
    })
}

fn call(world: &World, pool: &Pool, height: u64) -> Result<u64, TaskError> {
    world.run(pool.call(&height))
}

fn counts(world: &World, pool: &Pool) -> Stats {
    world.run(pool.stats()).expect("the driver lives").tasks
}

/// How many lines of the trace hold `text`.
fn lines(trace: &Trace, text: &str) -> usize {
    trace.lines().iter().filter(|(_, line)| line.contains(text)).count()
}

/// What a run panics with.
fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("a text")).to_owned(),
    }
}
