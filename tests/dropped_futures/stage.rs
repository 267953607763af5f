//! A world with a narrow pool, whose handlers are counted while they run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chargehand::core::Stats;
use chargehand::testing::{ManualTimer, WorkerHandle, World};
use chargehand::{Pool, Worker};
use futures_util::future::join_all;

use crate::cut::{Cut, Dropped};

pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Each message is that long on its way.
pub(crate) const LATENCY: Duration = millis(1);
/// How long each handler takes.
pub(crate) const WORK: Duration = millis(4);
/// The room of a pool under test: in it, and in its queue.
pub(crate) const TASKS: u32 = 3;
pub(crate) const QUEUE: usize = 1;
/// The heights of the future under test are above this.
pub(crate) const VICTIMS: u64 = 1000;

/// A handler's answer in the making.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

/// How many handlers run, by height.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<BTreeMap<u64, u32>>>);

/// A handler that runs.
struct Run(Running, u64);

impl Running {
    fn begin(&self, height: u64) -> Run {
        *self.0.lock().expect("no panic with it").entry(height).or_default() += 1;
        Run(self.clone(), height)
    }

    pub(crate) fn heights(&self) -> Vec<u64> {
        let running = self.0.lock().expect("no panic with it");
        running.iter().filter(|(_, count)| **count > 0).map(|(height, _)| *height).collect()
    }

    /// Makes a handler that is counted while it runs, in whichever way it ends.
    pub(crate) fn handler(&self, timer: ManualTimer) -> impl Fn(u64) -> Answer + Send + use<> {
        let running = self.clone();
        move |height| {
            let (run, work) = (running.begin(height), timer.sleep(WORK));
            Box::pin(async move {
                work.await;
                drop(run);
                Ok(height)
            })
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(count) = self.0.0.lock().expect("no panic with it").get_mut(&self.1) {
            *count -= 1;
        }
    }
}

/// Who does the work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Staff {
    Remote,
    Local,
}

pub(crate) const STAFF: [Staff; 2] = [Staff::Remote, Staff::Local];

/// A world with a narrow pool and one worker of it, which does two tasks at once.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) pool: Pool,
    pub(crate) running: Running,
}

impl Stage {
    pub(crate) fn set(staff: Staff) -> Self {
        let world = World::new(7);
        // Room for a cancel behind whatever is on its way.
        world.wire_capacity(1024);
        world.latency(LATENCY);
        let running = Running::default();
        if let Staff::Remote = staff {
            host(&world, "remote", &running, 2);
        }
        let pool = world.pool(|mut builder| {
            if let Staff::Local = staff {
                builder = builder.in_process(2, running.handler(world.timer()));
            }
            builder.tasks_max(TASKS).queue_max(QUEUE).ahead_max(2).workers_max(4)
        });
        Self { world, pool, running }
    }

    /// The same with others' tasks under way, so that there is no room at first.
    pub(crate) fn crowded(staff: Staff) -> Self {
        let stage = Self::set(staff);
        for height in 0..4 {
            let pool = stage.pool.clone();
            stage.world.spawn(async move {
                assert_eq!(pool.call::<u64, u64>(&height).await, Ok(height), "it is not its fault");
            });
        }
        stage
    }

    pub(crate) fn cut<F: Future>(&self, future: F, cut: Cut) -> Option<F::Output> {
        self.world.run(Dropped::new(future, cut, &self.world))
    }

    /// Checks that nothing is left of a future that was just dropped or is over. Returns the final counts.
    pub(crate) fn clean_up(self) -> Stats {
        self.stops_running();
        self.world.run(self.pool.idle()).expect("the driver lives");
        let stats = self.world.run(self.pool.stats()).expect("the driver lives");
        let tasks = &stats.tasks;
        assert_eq!((tasks.waiting, tasks.resting, tasks.in_flight, tasks.finished), (0, 0, 0, 0));
        assert!(stats.workers.iter().all(|worker| worker.stats.in_flight == 0), "{stats:#?}");
        self.has_room();
        let stats = self.world.run(self.pool.stop()).expect("the driver lives").tasks;
        let ended = stats.done + stats.failed + stats.exhausted + stats.cancelled + stats.aborted;
        assert_eq!(stats.submitted, ended, "{stats:?}");
        assert_eq!((stats.lost, stats.foreign, stats.exhausted), (0, 0, 0), "{stats:?}");
        assert_eq!(self.running.heights(), [0_u64; 0]);
        stats
    }

    /// What was cancelled runs no further than until its worker has heard of that.
    fn stops_running(&self) {
        self.world.advance(LATENCY + millis(1) / 2);
        let mut victims = self.running.heights();
        victims.retain(|height| *height > VICTIMS);
        assert_eq!(victims, [0_u64; 0], "these run for nobody");
    }

    /// All of the pool's room can be had.
    fn has_room(&self) {
        let count = u64::from(TASKS) + QUEUE as u64;
        let heights: Vec<u64> = (1..=count).collect();
        let calls = heights.iter().map(|height| self.pool.call::<u64, u64>(height));
        let before = self.world.elapsed();
        let answers = self.world.run(join_all(calls));
        assert_eq!(answers, heights.iter().map(|height| Ok(*height)).collect::<Vec<_>>());
        let span = self.world.elapsed().saturating_sub(before);
        assert!(span <= 2 * (WORK + 2 * LATENCY), "two at once, and it took {span:?}");
    }
}

pub(crate) fn host(world: &World, name: &str, running: &Running, concurrency: u16) -> WorkerHandle {
    let (running, timer) = (running.clone(), world.timer());
    world.host(name, move || {
        Worker::new(timer.clone(), running.handler(timer.clone())).concurrency(concurrency)
    })
}
