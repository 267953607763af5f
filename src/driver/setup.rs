//! What a driver is made of, and how it begins.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use chargehand_core::io::Timer;
use chargehand_core::{Config, ConfigError, Heap, Instant, QueueOptions};

use super::accept::Joining;
use super::answers::Answers;
use super::fanout::Fanout;
use super::handshake::ManagerTerms;
use super::keys::TaskKeys;
#[cfg(feature = "std")]
use super::meter::Meter;
use super::peers::{Peers, id_at_start};
use super::ranges::{Jobs, within_stream};
use super::starts::Watches;
use super::task::TaskEntry;
use super::type_check::Misfits;
#[cfg(not(feature = "std"))]
use super::unmetered::Meter;
use super::{ALL_QUEUES, Driver, Scheduler, progress};
use crate::budget::Arrivals;
use crate::events::PoolEvent;
use crate::limits::Limits;
use crate::link::alarm::Alarm;
use crate::link::closing::ClosingTable;
use crate::link::erased::{AnyListener, Kind, Reach};
use crate::link::read_on::ReadOn;
use crate::link::ready::{Entry, ReadySet};
use crate::link::token::Token;
use crate::link::watch::Watch;
use crate::mailbox::Ends;
use crate::options::WorkerOptions;

/// How many links may be on their way out at once; a further one cuts the oldest short.
const CLOSING_MAX: usize = 256;

/// What a driver is made of.
pub(crate) struct Setup<T, K: Kind> {
    pub(crate) timer: T,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    /// Those that are dialled, and those in this process.
    pub(crate) workers: Vec<(Reach<K>, WorkerOptions)>,
    pub(crate) listeners: Vec<Box<K::Listener>>,
    #[cfg(feature = "record")]
    pub(crate) record: Option<crate::record::Output>,
    #[cfg(feature = "tracing")]
    pub(crate) propagator: Option<crate::traces::Propagator>,
}

impl<T, K: Kind> Setup<T, K> {
    /// Lowers limits to what the process and its listeners have room for. Returns the pool's events, of which
    /// that is the first.
    fn lower_limits(&mut self) -> Fanout {
        let mut events = Fanout::new(&self.limits.name);
        let room = self.listeners.iter().filter_map(|listener| listener.connections_max()).min();
        if let Some(why) = self.limits.lower(room, &self.workers) {
            events.keep(PoolEvent::Lowered { why });
        }
        events
    }

    /// Makes the pool's scheduler, which writes its record if there is to be one.
    fn scheduler(&mut self) -> Result<Scheduler, ConfigError> {
        let queues = self.limits.special_queues();
        let made = scheduler(&self.limits, &self.config, queues.as_deref())?;
        #[cfg(feature = "record")]
        let mut made = made;
        #[cfg(feature = "record")]
        if let Some(output) = self.record.take() {
            let slots = slots_of(&self.limits, &self.config);
            made.record(output, slots, self.limits.workers_max, queues);
        }
        Ok(made)
    }
}

/// How handles wake a driver. Made before it, since they are its other end.
pub(crate) struct Ring {
    ready: ReadySet,
    doorbell: Entry,
}

impl Ring {
    pub(crate) fn new() -> Self {
        let ready = ReadySet::new();
        let doorbell = ready.entry(Token::Doorbell.into());
        Self { ready, doorbell }
    }

    pub(crate) fn waker(&self) -> Waker {
        self.doorbell.waker().clone()
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    pub(crate) fn new(
        mut setup: Setup<T, K>,
        Ring { ready, doorbell }: Ring,
        ends: Ends<K>,
    ) -> Result<Self, ConfigError> {
        let (events, scheduler) = (setup.lower_limits(), setup.scheduler()?);
        let Setup { timer, config, limits, workers, listeners, .. } = setup;
        doorbell.wake();
        let mut driver = Self {
            now: timer.now(),
            timer,
            due_by: Instant::FAR_FUTURE,
            alarm: Alarm::new(ready.entry(Token::Alarm.into())),
            batch: Vec::new(),
            doorbell,
            rung: true,
            submitted: ALL_QUEUES,
            scheduler,
            tasks: (0..limits.tasks_max).map(|_| TaskEntry::default()).collect(),
            answers: Answers::new(Arrivals::new(&ends.post.budget)),
            unfit: Vec::new(),
            misfits: Misfits::default(),
            peers: Peers::new(),
            read_on: ReadOn::default(),
            joining: Joining::new(listeners, &ready, &limits, &config),
            closing: ClosingTable::new(CLOSING_MAX),
            watch: Watch::new(),
            jobs: Jobs::default(),
            counted_max: within_stream(limits.ahead_max()),
            ends,
            accepted: Vec::new(),
            outcomes: Vec::new(),
            wakers: VecDeque::new(),
            callbacks: VecDeque::new(),
            batch_in: VecDeque::new(),
            held_back: VecDeque::new(),
            specials: BTreeMap::new(),
            keys: TaskKeys::default(),
            watches: Watches::new(),
            progress: progress::Told::new(),
            unwanted: Vec::new(),
            has_asides: false,
            wants_starts: false,
            tells_starts: false,
            has_own_times: false,
            queue_due: Instant::FAR_FUTURE,
            ranges_first: false,
            #[cfg(feature = "choice")]
            backlog: 0,
            opening: Arc::new(ManagerTerms::new(&limits, &config)),
            limits,
            events,
            meter: Meter::default(),
            idlers: Vec::new(),
            #[cfg(feature = "std")]
            questions: Vec::new(),
            stoppers: Vec::new(),
            parting: Vec::new(),
            #[cfg(feature = "tracing")]
            traces: super::traces::Traces::new(setup.propagator),
            settled: false,
            budget: 0,
            ended: Vec::new(),
            second_runs: Vec::new(),
            finished: false,
            ready,
        };
        driver.add_all(workers);
        Ok(driver)
    }

    fn add_all(&mut self, workers: Vec<(Reach<K>, WorkerOptions)>) {
        for (index, (reach, options)) in workers.into_iter().enumerate() {
            let worker = self.add(reach, options).expect("workers_max was checked");
            assert!(worker == id_at_start(index), "the builder has told its id");
        }
    }
}

/// Returns how many task slots the scheduler has: those of second attempts included.
fn slots_of(limits: &Limits, config: &Config) -> u32 {
    limits.tasks_max.saturating_add(config.hedges_max)
}

fn scheduler(
    limits: &Limits,
    config: &Config,
    queues: Option<&[QueueOptions]>,
) -> Result<Scheduler, ConfigError> {
    let storage = Heap::with_capacity(slots_of(limits, config), limits.workers_max);
    match queues {
        None => Scheduler::new(storage, *config),
        Some(queues) => Scheduler::with_queues(storage, *config, queues),
    }
}
