//! What the parts of a run share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chargehand::core::WorkerId;
use chargehand::testing::{ManualTimer, Trace, WorkerHandle};
use chargehand::{Pool, Threaded};

use crate::dice::mixed;
use crate::oracle::{Oracle, Reply};
use crate::plan::{ActKind, FAULTY, JobKind};

pub(crate) type SharedOracle = Arc<Mutex<Oracle>>;

/// What the parts of a run share.
pub(crate) struct Stage {
    pub(crate) seed: u64,
    pub(crate) timer: ManualTimer,
    pub(crate) trace: Trace,
    pub(crate) oracle: SharedOracle,
    /// `None` while the manager is away.
    pub(crate) pool: RefCell<Option<Pool<Threaded>>>,
    /// How many managers there were.
    pub(crate) epoch: Cell<u32>,
    /// The workers that are in the pool, by the number of their part.
    pub(crate) members: RefCell<BTreeMap<usize, (WorkerHandle, Option<WorkerId>)>>,
    /// Requests that take every worker down that runs them.
    pub(crate) poison: RefCell<BTreeSet<u64>>,
    /// Workers that went down with one.
    pub(crate) fallen: RefCell<Vec<WorkerHandle>>,
    /// How long every third answer is.
    pub(crate) long: usize,
    /// How many times what fails is tried again in ranges and maps.
    pub(crate) retries: u16,
    /// Jobs that have begun and not ended, by the number of their part.
    pub(crate) under_way: RefCell<BTreeMap<usize, JobKind>>,
    /// The manager's process is to die, and another one to go on.
    pub(crate) restarts: Cell<bool>,
}

impl Stage {
    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        locked(&self.oracle)
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.oracle().count(what);
    }

    pub(crate) fn now(&self) -> Duration {
        self.timer.elapsed()
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.now() < FAULTY
    }

    pub(crate) async fn sleep_until(&self, at: Duration) {
        self.timer.sleep(at.saturating_sub(self.now())).await;
    }

    /// Returns the pool, once there is one that is not of this many managers before.
    pub(crate) async fn pool_after(&self, epochs: u32) -> Pool<Threaded> {
        loop {
            if self.epoch.get() >= epochs {
                if let Some(pool) = &*self.pool.borrow() {
                    return pool.clone();
                }
            }
            self.timer.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns whether a worker does that with a request, which depends on nothing else.
    pub(crate) fn does(&self, worker: usize, kind: ActKind, chance: u64, number: u64) -> bool {
        let key = mixed(self.seed ^ mixed((worker as u64) << 40 | (kind as u64) << 32 | number));
        self.is_faulty() && key % 1000 < chance
    }

    pub(crate) fn is_poison(&self, id: u64) -> bool {
        self.poison.borrow().contains(&id)
    }

    pub(crate) fn answer(&self, id: u64, serial: u64) -> Reply {
        (id, serial, "x".repeat(if id.is_multiple_of(3) { self.long } else { 0 }))
    }
}

/// Nothing panics on purpose while it holds the lock.
pub(crate) fn locked(oracle: &SharedOracle) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stage that everything in a world has.
pub(crate) type Shared = Rc<Stage>;
