//! A pool on a clock that is moved by hand, and what it said.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use chargehand::core::io::Timer;
use chargehand::core::{Config, Instant};
use chargehand::memory::{MemoryListener, pair};
use chargehand::testing::{self, ManualTimer};
use chargehand::{Builder, Pool, PoolEvent, PoolStats, Task, Threaded};

use crate::by_hand::Peer;

/// A pool that is being set up.
pub(crate) type Setup = Builder<ManualTimer, Threaded>;

/// A pool, and what it said so far.
pub(crate) struct World {
    inner: testing::World,
    pub(crate) pool: Pool,
    log: Rc<RefCell<Vec<(Instant, PoolEvent)>>>,
    /// The pool's driver has ended.
    pub(crate) over: Rc<Cell<bool>>,
}

impl World {
    pub(crate) fn new(
        set: impl FnOnce(Builder<ManualTimer, Threaded>) -> Builder<ManualTimer, Threaded>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let inner = testing::World::new(7);
        let pool = inner.pool(|builder| {
            set(builder.configure(|config| {
                config.seed = 7;
                change(config);
            }))
        });
        let (log, over) = (Rc::<RefCell<Vec<_>>>::default(), Rc::new(Cell::new(false)));
        let (mut events, timer) = (pool.events(), inner.timer());
        let (lines, end) = (Rc::clone(&log), Rc::clone(&over));
        inner.spawn(async move {
            while let Some(event) = events.next().await {
                lines.borrow_mut().push((timer.now(), event));
            }
            end.set(true);
        });
        let world = Self { inner, pool, log, over };
        world.settle();
        world
    }

    pub(crate) fn now(&self) -> Instant {
        self.timer().now()
    }

    /// Lets happen what needs no time.
    pub(crate) fn settle(&self) {
        self.advance(Duration::ZERO);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let before = self.now();
        let stats = self.run(self.pool.stats()).expect("the driver lives");
        assert_eq!(self.now(), before, "it takes no time");
        stats
    }

    pub(crate) fn submit(&self, height: u64) -> Task<u64> {
        let task = self.pool.try_submit::<u64, u64>(height).expect("there is room");
        self.settle();
        task
    }

    /// Forgets what happened so far, and returns it.
    pub(crate) fn take_log(&self) -> Vec<(Instant, PoolEvent)> {
        self.log.take()
    }
}

impl Deref for World {
    type Target = testing::World;

    fn deref(&self) -> &testing::World {
        &self.inner
    }
}

/// Shakes hands with a pool, in which this is the worker of that name.
pub(crate) fn greet(peer: &mut Peer, world: &World, name: &str, window: u16) {
    peer.hello(name, window, u32::MAX);
    world.settle();
    assert_eq!(peer.hear_all(), ["Hello", "Welcome"]);
}

/// A pool that dials one peer by hand, which is up.
pub(crate) fn with_peer(
    window: u16,
    change: impl FnOnce(&mut Config),
) -> (World, Peer, MemoryListener) {
    let (connector, mut listener) = pair(64);
    let world = World::new(|builder| builder.connect(connector), change);
    let mut peer = Peer::accept(&mut listener).expect("it is dialled at once");
    greet(&mut peer, &world, "by hand", window);
    world.take_log();
    (world, peer, listener)
}
