//! A scheduler that is obviously right and slow: vectors, linear scans, counts made by counting.
//!
//! It shares nothing with the engine but the public input types. The same calls must give the same
//! results, actions and statistics. It counts which rare rules it came by in [`Model::seen`].

mod answers;
mod choice;
mod grace;
mod hedge;
mod poll;
mod queues;
mod returned;
mod sets;
mod times;
pub(crate) mod types;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chargehand_core::{
    Config, Event, EventError, Hedge, Instant, Key, Lane, Outcome, QueueId, QueueSet, Reason,
    Route, Stale, SubmitError, TaskId, TaskOptions,
};

use choice::{Mean, Record, Timed};
use hedge::{Told, Twice};
use queues::{Queues, Stand};
use sets::Pace;
use times::OwnTimes;
use types::{Counters, Gauges};

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    Free,
    Waiting,
    /// Came back from that worker.
    Returned {
        worker: usize,
        due: Instant,
    },
    InFlight {
        worker: usize,
        sent: Instant,
        deadline: Instant,
        order: u64,
    },
    Withdrawing,
    Resting {
        worker: usize,
        due: Instant,
    },
    Finished(Outcome),
}

/// One task slot.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) generation: u32,
    /// The number of the attempt that is looked at.
    pub(crate) attempts: u16,
    /// How many there were.
    latest: u16,
    pub(crate) failures: u16,
    pub(crate) losses: u16,
    pub(crate) retries_max: u16,
    pub(crate) suspect: bool,
    times: Option<OwnTimes>,
    queue: usize,
    /// Until it has its outcome.
    key: Option<Key>,
    stand: Stand,
    /// When it was submitted.
    since: Instant,
    /// It is of an earlier link of its worker.
    pub(crate) kept: bool,
    /// It may have begun when that link broke.
    had_begun: bool,
    /// Where it may be sent to two workers at once.
    twice: Option<Twice>,
    pub(crate) state: TaskState,
}

/// Where a worker's link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkPhase {
    Free,
    Absent { until: Instant },
    BackingOff { until: Instant },
    WantConnect,
    Connecting { until: Instant },
    Up,
    Closing(Reason),
    Leaving,
}

/// One worker slot.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself, unlike the engine's")]
pub(crate) struct Worker {
    pub(crate) generation: u32,
    pub(crate) epoch: u32,
    pub(crate) route: Route,
    pub(crate) phase: LinkPhase,
    pub(crate) window: u32,
    pub(crate) allowance: u32,
    runs: u32,
    /// What it holds beyond what it runs is to be taken back.
    recall: bool,
    /// Gets no task until then.
    delayed_until: Option<Instant>,
    /// That is since it said that it can do none now.
    throttled: bool,
    not_before: Instant,
    /// How long it is waited for once its link breaks, and until when it is.
    grace: Duration,
    grace_until: Instant,
    struck_at: Instant,
    /// No attempt ends by its deadline before that.
    hold_until: Instant,
    /// The deadline for which the caller was asked to look.
    looked: Option<Instant>,
    /// When it went absent.
    absent_order: u64,
    /// Task slots in the order of sending.
    pub(crate) held: Vec<usize>,
    /// Cancelled on the link that is up, and it was not told so yet.
    withdrawn: VecDeque<Told>,
    pub(crate) draining: bool,
    busy: bool,
    removing: bool,
    suspended_until: Option<Instant>,
    notice: Option<Instant>,
    pub(crate) strikes: u16,
    streak: u16,
    suspensions: u32,
    backoff_attempts: u32,
    heard: Instant,
    pinged: Option<Instant>,
    up_since: Instant,
    useful: bool,
    /// When it came to its load level: the lowest goes first among equals.
    level_order: u64,
    /// The same, among those that hold more than they run.
    laden_order: u64,
    record: Record,
    /// Which queues it serves, while it is up.
    serves: QueueSet,
    pace: Pace,
    /// When it was added.
    age: u64,
    done: u64,
    failed: u64,
    lost: u64,
    links_made: u32,
}

/// The naive scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) config: Config,
    clock: Instant,
    pub(crate) tasks: Vec<Task>,
    pub(crate) workers: Vec<Worker>,
    free_tasks: Vec<usize>,
    free_workers: Vec<usize>,
    queues: Queues,
    resting: VecDeque<usize>,
    /// Those with times of their own.
    resting_own: Vec<usize>,
    finished: VecDeque<usize>,
    todo: VecDeque<usize>,
    suspended: VecDeque<usize>,
    drain: Option<Instant>,
    /// What all workers' answers have shown.
    floor: Mean,
    pace: Mean,
    mean_length: u64,
    longest: i64,
    faults: u64,
    /// How many tasks were done at each failure.
    failures_at: Vec<u64>,
    /// How many tasks the caller has not submitted yet.
    backlog: u64,
    /// When a new task that was held back goes to whoever has room, by queue.
    patience: BTreeMap<usize, Instant>,
    order: u64,
    /// The places for second attempts that are free, the next one last.
    places: Vec<usize>,
    /// How long hedged tasks took that are done, by queue, in nanoseconds.
    took: BTreeMap<usize, Vec<u64>>,
    /// How many other sends there were at each second one.
    hedged_at: Vec<u64>,
    counters: Counters,
    /// The end of every rest and backoff that the engine drew at random, by worker slot; used for
    /// jittered policies only, and checked against the policy.
    drawn: BTreeMap<usize, Instant>,
    /// How often each rare rule was met.
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

impl Model {
    #[expect(clippy::large_types_passed_by_value, reason = "as the engine takes it")]
    pub(crate) fn new(tasks: usize, workers: usize, config: Config) -> Self {
        let task = Task {
            generation: 0,
            attempts: 0,
            latest: 0,
            failures: 0,
            losses: 0,
            retries_max: 0,
            suspect: false,
            times: None,
            queue: 0,
            key: None,
            stand: Stand::Lane(0),
            since: Instant::EPOCH,
            kept: false,
            had_begun: false,
            twice: None,
            state: TaskState::Free,
        };
        Self {
            config,
            clock: Instant::EPOCH,
            tasks: vec![task; tasks],
            workers: vec![Worker::unused(0); workers],
            free_tasks: (0..tasks).rev().collect(),
            free_workers: (0..workers).rev().collect(),
            queues: Queues::new(),
            resting: VecDeque::new(),
            resting_own: Vec::new(),
            finished: VecDeque::new(),
            todo: VecDeque::new(),
            suspended: VecDeque::new(),
            drain: None,
            floor: Mean::default(),
            pace: Mean::default(),
            mean_length: 0,
            longest: 0,
            faults: 0,
            failures_at: Vec::new(),
            backlog: 0,
            patience: BTreeMap::new(),
            order: 0,
            places: (0..config.hedges_max as usize).rev().collect(),
            took: BTreeMap::new(),
            hedged_at: Vec::new(),
            counters: Counters::default(),
            drawn: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Tells what the engine drew at random in the call that the model is about to repeat.
    pub(crate) fn set_drawn(&mut self, drawn: BTreeMap<usize, Instant>) {
        self.drawn = drawn;
    }

    pub(crate) fn submit(&mut self, now: Instant) -> Result<TaskId, SubmitError> {
        self.submit_with(now, TaskOptions::new())
    }

    pub(crate) fn submit_with(
        &mut self,
        now: Instant,
        options: TaskOptions,
    ) -> Result<TaskId, SubmitError> {
        self.advance(now);
        if self.drain.is_some() {
            self.note("submit while draining");
            return Err(SubmitError::Draining);
        }
        if !self.has_queue(options.queue) {
            self.note("submit to a queue that is none");
            return Err(SubmitError::NoQueue);
        }
        if options.key.is_some_and(|key| key.number() >= self.config.keys_max) {
            self.note("submit with a key that is none");
            return Err(SubmitError::NoKey);
        }
        let queue = usize::from(options.queue.place());
        if !self.has_room(queue) || self.free_tasks.is_empty() {
            self.note("submit when full");
            return Err(SubmitError::Full);
        }
        if options.queue != QueueId::DEFAULT || options.key.is_some() {
            self.begin_queues();
        }
        let slot = self.free_tasks.pop().expect("there is one");
        let times = self.own_times(options);
        let hedge = options.hedge.or_else(|| self.hedge_of(queue));
        let is_hedged = self.config.hedges_max > 0 && options.key.is_none();
        let hedge = hedge.filter(|&hedge| is_hedged && hedge != Hedge::never());
        let task = &mut self.tasks[slot];
        let most = u16::MAX - self.config.attempts_max - self.config.resends_max;
        *task = Task {
            generation: task.generation,
            attempts: 0,
            latest: 0,
            failures: 0,
            losses: 0,
            retries_max: options.retries_max.map_or(self.config.retries_max, |max| max.min(most)),
            suspect: false,
            times,
            queue,
            key: options.key,
            stand: Stand::Lane(0),
            since: self.clock,
            kept: false,
            had_begun: false,
            twice: hedge.map(|hedge| Twice::new(hedge, slot)),
            state: TaskState::Waiting,
        };
        self.line_up(slot, usize::from(options.lane == Lane::Bulk));
        self.rest_if_paused(slot);
        self.counters.submitted += 1;
        Ok(self.id(slot))
    }

    pub(crate) fn set_backlog(&mut self, count: u64) {
        self.backlog = count;
    }

    pub(crate) fn cancel(&mut self, now: Instant, id: TaskId) -> Result<(), Stale> {
        self.advance(now);
        let slot = id.slot() as usize;
        if slot >= self.tasks.len() || self.id(slot) != id {
            self.note("cancel of an id that is over or never was");
            return Err(Stale);
        }
        self.turn_to_own(slot);
        match self.tasks[slot].state {
            TaskState::Free | TaskState::Finished(_) | TaskState::Withdrawing => {
                self.note("cancel of a finished task");
                return Err(Stale);
            }
            TaskState::Waiting | TaskState::Resting { .. } | TaskState::Returned { .. } => {
                self.note("cancel while queued");
                self.finish(slot, Outcome::Cancelled);
            }
            TaskState::InFlight { worker, .. } if self.is_away(worker) => {
                let _ = self.take_for_good(worker, slot, Outcome::Cancelled);
            }
            TaskState::InFlight { worker, .. } => {
                self.note("cancel in flight");
                let _ = self.put_down(worker, slot);
                self.part_twice(slot);
                self.leave_queue(slot);
                self.tasks[slot].state = TaskState::Withdrawing;
                self.workers[worker].withdrawn.push_back(Told::Task(slot));
                self.put_on_list(worker);
                self.counters.cancelled += 1;
                self.close_if_drained(worker);
            }
        }
        Ok(())
    }

    pub(crate) fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), EventError> {
        self.advance(now);
        let result = match event {
            Event::Connected { link, offer } => self.on_connected(link.into(), offer),
            Event::Refused { link } => self.on_refused(link.into()),
            Event::Lost { link, how } => self.on_lost(link.into(), how),
            Event::Heard { link } => self.hear(link.into()).map(|_| ()),
            Event::Moving { link, until } => self.on_moving(link.into(), until),
            Event::Draining { link } => self.on_draining(link.into()),
            Event::Busy { link } => self.on_busy(link.into()),
            Event::Ready { link } => self.on_ready(link.into()),
            Event::Useless { link, task, attempt, why } => {
                self.on_useless(link.into(), task, attempt, why)
            }
            Event::Excused { link } => self.on_excused(link.into()),
            Event::Progress { link, task, attempt, done } => {
                self.on_progress(link.into(), task, attempt, done)
            }
            Event::Kept { link, task, attempt } => self.on_kept(link.into(), task, attempt),
            Event::Listed { link } => self.on_listed(link.into()),
            Event::Replied { link, task, attempt, verdict } => {
                self.on_replied(link.into(), task, attempt, verdict)
            }
        };
        match result {
            Err(EventError::Stale) => self.counters.stale += 1,
            Err(EventError::Foreign) => self.counters.foreign += 1,
            Ok(()) => {}
        }
        result
    }

    pub(crate) fn drain(&mut self, now: Instant, deadline: Instant) {
        self.advance(now);
        self.drain = Some(self.drain.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    /// Takes the clock on; one that steps back stays.
    pub(crate) fn advance(&mut self, now: Instant) {
        if now < self.clock {
            self.note("clock stepped back");
        }
        self.clock = self.clock.max(now);
        self.tidy();
    }

    pub(crate) fn clock(&self) -> Instant {
        self.clock
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.iter().all(|task| task.state == TaskState::Free)
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drain.is_some()
            && self.is_idle()
            && self.workers.iter().all(|worker| worker.phase == LinkPhase::Free)
    }

    pub(crate) fn stats(&self) -> (Gauges, Counters) {
        let tasks = |test: fn(TaskState) -> bool| {
            self.tasks.iter().filter(|task| test(task.state)).count().try_into().unwrap()
        };
        let workers = |test: fn(&Worker) -> bool| {
            self.workers
                .iter()
                .filter(|&worker| worker.phase != LinkPhase::Free && test(worker))
                .count()
                .try_into()
                .unwrap()
        };
        let gauges = Gauges {
            waiting: tasks(|state| {
                matches!(state, TaskState::Waiting | TaskState::Returned { .. })
            }),
            resting: tasks(|state| matches!(state, TaskState::Resting { .. })),
            in_flight: tasks(|state| matches!(state, TaskState::InFlight { .. })),
            finished: tasks(|state| {
                matches!(state, TaskState::Finished(_) | TaskState::Withdrawing)
            }),
            workers: workers(|_| true),
            workers_up: workers(|worker| worker.phase == LinkPhase::Up),
            workers_suspended: workers(|worker| worker.suspended_until.is_some()),
        };
        (gauges, self.counters)
    }

    /// Ends a task wherever it is, in flight excepted.
    fn finish(&mut self, slot: usize, outcome: Outcome) {
        self.part_twice(slot);
        self.tasks[slot].attempts = self.tasks[slot].latest;
        self.leave_ward(slot);
        self.leave_queue(slot);
        self.resting.retain(|&other| other != slot);
        self.resting_own.retain(|&other| other != slot);
        self.tasks[slot].state = TaskState::Finished(outcome);
        self.finished.push_back(slot);
        match outcome {
            Outcome::Done => self.counters.done += 1,
            Outcome::Failed => self.counters.failed += 1,
            Outcome::Exhausted => self.counters.exhausted += 1,
            Outcome::Bounced => self.counters.bounced += 1,
            Outcome::Cancelled => self.counters.cancelled += 1,
            Outcome::Aborted => self.counters.aborted += 1,
            Outcome::TimedOut => self.counters.expired += 1,
        }
    }

    /// Takes a task out of a worker's hands. Returns what was timed, if that was this one.
    fn put_down(&mut self, worker: usize, slot: usize) -> Option<Timed> {
        self.workers[worker].held.retain(|&other| other != slot);
        self.tasks[slot].kept = false;
        if let Some(twice) = &mut self.tasks[slot].twice {
            twice.at = None;
        }
        self.touch(worker);
        self.note_end(worker, slot)
    }

    /// Puts a worker behind all others that are as it is.
    fn touch(&mut self, worker: usize) {
        let order = self.next_order();
        self.workers[worker].level_order = order;
        self.workers[worker].laden_order = order;
    }

    pub(super) fn past_drain_deadline(&self) -> bool {
        self.drain.is_some_and(|deadline| self.is_due(deadline))
    }

    fn is_due(&self, at: Instant) -> bool {
        at != Instant::FAR_FUTURE && at <= self.clock
    }

    fn id(&self, slot: usize) -> TaskId {
        TaskId::from_parts(narrow(slot), self.tasks[slot].generation)
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    pub(crate) fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

/// An index or a count as the library's types have it.
fn narrow(number: usize) -> u32 {
    number.try_into().expect("small")
}
