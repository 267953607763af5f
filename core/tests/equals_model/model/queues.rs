//! Queues and keys: every rule by looking at every queue and task.

use std::collections::{BTreeMap, VecDeque};

use chargehand_core::{
    Class, Hedge, Idles, Instant, Key, NoQueue, QueueId, QueueOptions, QueueStats, TaskId, Waits,
};

use super::types::Wid;
use super::{LinkPhase, Model, TaskState, Worker, narrow};

/// What is owed of a class's least share when it is next, in percent of a send.
const OWED: u64 = 100;
const STRIDE: u64 = 1 << 24;

/// Which of a queue's lists a new task is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Lane(usize),
    Freed,
    Behind,
}

/// One queue.
#[derive(Clone, Debug)]
pub(super) struct ModelQueue {
    options: QueueOptions,
    /// New tasks: by lane, and those whose key is free now.
    pub(super) fresh: [VecDeque<usize>; 3],
    /// What came back, by class (suspects second) and the worker that it came back from.
    pub(super) wards: [BTreeMap<usize, VecDeque<usize>>; 2],
    /// Whose ward is next, by class.
    pub(super) holders: [VecDeque<usize>; 2],
    pub(super) turn: usize,
    pass: u64,
    /// What is in the bucket of its rate, in nanoseconds of waiting, and when that was.
    bucket: (u128, Instant),
    sent: u64,
}

impl ModelQueue {
    fn new(options: QueueOptions) -> Self {
        let mut queue = Self {
            options,
            fresh: Default::default(),
            wards: Default::default(),
            holders: Default::default(),
            turn: 0,
            pass: 0,
            bucket: (0, Instant::EPOCH),
            sent: 0,
        };
        queue.bucket.0 = queue.depth();
        queue
    }

    /// How much fits the bucket.
    fn depth(&self) -> u128 {
        let Some(rate) = self.options.rate else { return 0 };
        rate.interval().as_nanos() * u128::from(rate.burst_max())
    }

    /// What is in the bucket at some time.
    fn level(&self, now: Instant) -> u128 {
        let (level, then) = self.bucket;
        (level + now.saturating_since(then).as_nanos()).min(self.depth())
    }
}

/// One key: its tasks that have a place, and those that wait for one.
#[derive(Clone, Debug)]
pub(super) struct ModelKey {
    at_once: usize,
    pub(super) placed: Vec<usize>,
    /// Until then it gets nothing.
    pub(super) paused: Instant,
    behind: VecDeque<usize>,
}

impl Default for ModelKey {
    fn default() -> Self {
        let (placed, behind) = (Vec::new(), VecDeque::new());
        Self { at_once: 0, placed, paused: Instant::EPOCH, behind }
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    pub(super) all: Vec<ModelQueue>,
    owed: [u64; 4],
    pub(super) keys: BTreeMap<u32, ModelKey>,
    /// Whether any are in use.
    is_begun: bool,
}

impl Queues {
    pub(super) fn new() -> Self {
        let all = vec![ModelQueue::new(QueueOptions::new())];
        Self { all, owed: [0; 4], keys: BTreeMap::new(), is_begun: false }
    }
}

impl Model {
    /// Has these queues from the beginning.
    pub(crate) fn with_queues(mut self, options: &[QueueOptions]) -> Self {
        self.queues.all = options.iter().map(|&options| ModelQueue::new(options)).collect();
        self.queues.is_begun = true;
        self
    }

    pub(crate) fn set_paused(
        &mut self,
        now: Instant,
        id: QueueId,
        is_paused: bool,
    ) -> Result<(), NoQueue> {
        self.advance(now);
        if !self.has_queue(id) {
            self.note("a pause of a queue that is none");
            return Err(NoQueue);
        }
        self.begin_queues();
        self.queues.all[usize::from(id.place())].options.is_paused = is_paused;
        Ok(())
    }

    pub(super) fn has_queue(&self, id: QueueId) -> bool {
        usize::from(id.place()) < self.queues.all.len()
    }

    /// Notes that queues are in use: from now on it is known since when tasks wait.
    pub(super) fn begin_queues(&mut self) {
        if !std::mem::replace(&mut self.queues.is_begun, true) {
            for task in self.tasks.iter_mut().filter(|task| task.state == TaskState::Waiting) {
                task.since = self.clock;
            }
            self.queues.all[0].sent = self.counters.sent;
            if !self.is_idle() {
                self.note("queues were begun in the midst");
            }
        }
    }

    fn of_queue(&self, queue: usize) -> impl Iterator<Item = &super::Task> {
        self.tasks.iter().filter(move |task| task.queue == queue)
    }

    fn in_flight_of(&self, queue: usize) -> usize {
        let of =
            self.of_queue(queue).filter(|task| matches!(task.state, TaskState::InFlight { .. }));
        of.map(|task| 1 + usize::from(task.twice.is_some_and(|twice| twice.second.is_some()))).sum()
    }

    fn open_of(&self, queue: usize) -> usize {
        let is_open = |task: &&super::Task| {
            use TaskState::{Finished, Free, Withdrawing};
            !matches!(task.state, Free | Withdrawing | Finished(_))
        };
        self.of_queue(queue).filter(is_open).count()
    }

    /// Whether a queue may have one more task: half of all slots are kept for queues, as many for each.
    pub(super) fn has_room(&mut self, queue: usize) -> bool {
        let count = self.queues.all.len();
        let kept = self.tasks.len() / (2 * count);
        let over: usize = (0..count).map(|at| self.open_of(at).saturating_sub(kept)).sum();
        let shared = self.tasks.len() - kept * count;
        let has_room = count == 1 || self.open_of(queue) < kept || over < shared;
        if !has_room && !self.free_tasks.is_empty() {
            self.note("a queue was full and the pool was not");
        }
        has_room
    }

    /// Has a new task wait.
    pub(super) fn line_up(&mut self, slot: usize, lane: usize) {
        let (queue, key) = (self.tasks[slot].queue, self.tasks[slot].key);
        self.tasks[slot].stand = Stand::Lane(lane);
        if let Some(key) = key {
            let of_key = self.queues.keys.entry(key.number()).or_default();
            of_key.at_once = key.at_once_max() as usize;
            if of_key.placed.len() >= of_key.at_once || !of_key.behind.is_empty() {
                of_key.behind.push_back(slot);
                self.tasks[slot].stand = Stand::Behind;
                self.note("a task waits for its key");
                return self.fill(key);
            }
            of_key.placed.push(slot);
        }
        self.queues.all[queue].fresh[lane].push_back(slot);
    }

    /// Gives the places of a key away.
    fn fill(&mut self, key: Key) {
        let mut freed = 0;
        loop {
            let of_key = self.queues.keys.get_mut(&key.number()).expect("it is in use");
            if of_key.placed.len() >= of_key.at_once {
                break;
            }
            let Some(slot) = of_key.behind.pop_front() else { break };
            of_key.placed.push(slot);
            self.tasks[slot].stand = Stand::Freed;
            self.queues.all[self.tasks[slot].queue].fresh[2].push_back(slot);
            self.rest_if_paused(slot);
            freed += 1;
        }
        if freed > 0 {
            self.note("a task got its key");
        }
        if freed > 1 {
            self.note("several tasks got their key at once");
        }
    }

    /// A task has its outcome, and leaves its queue and its key.
    pub(super) fn leave_queue(&mut self, slot: usize) {
        for fresh in &mut self.queues.all[self.tasks[slot].queue].fresh {
            fresh.retain(|&other| other != slot);
        }
        let Some(key) = self.tasks[slot].key.take() else { return };
        let of_key = self.queues.keys.get_mut(&key.number()).expect("it is in use");
        if of_key.behind.contains(&slot) {
            of_key.behind.retain(|&other| other != slot);
            self.note("a task ended that waited for its key");
        }
        let of_key = self.queues.keys.get_mut(&key.number()).expect("it is in use");
        of_key.placed.retain(|&other| other != slot);
        self.fill(key);
        let of_key = self.queues.keys.get_mut(&key.number()).expect("it is in use");
        if of_key.placed.is_empty() {
            of_key.paused = Instant::EPOCH;
        }
    }

    /// Why a queue may not send now, if it may not.
    pub(super) fn barred(&self, queue: usize) -> Option<Waits> {
        let it = &self.queues.all[queue];
        if it.options.is_paused {
            return Some(Waits::Paused);
        }
        let in_flight = self.in_flight_of(queue);
        if it.options.in_flight_max.is_some_and(|most| in_flight >= most as usize) {
            return Some(Waits::QueueInFlight);
        }
        let interval = it.options.rate?.interval().as_nanos();
        let lacks = interval.saturating_sub(it.level(self.clock));
        let nanos = u64::try_from(lacks).unwrap();
        let until = self.clock.saturating_add(std::time::Duration::from_nanos(nanos));
        (lacks > 0).then_some(Waits::QueueRate { until })
    }

    /// When a queue may send again that only its rate keeps from it.
    pub(super) fn rate_due(&self, queue: usize) -> Option<Instant> {
        let it = &self.queues.all[queue];
        let has_any = it.fresh.iter().any(|list| !list.is_empty())
            || it.wards.iter().any(|wards| wards.values().any(|ward| !ward.is_empty()));
        match self.barred(queue)? {
            Waits::QueueRate { until } if has_any => Some(until),
            _ => None,
        }
    }

    fn has_ready(&self, queue: usize) -> bool {
        let it = &self.queues.all[queue];
        it.fresh.iter().any(|list| !list.is_empty())
            || it.wards.iter().any(|wards| wards.values().any(|ward| !ward.is_empty()))
    }

    /// Takes the task whose turn it is, and says to which worker it goes.
    pub(super) fn take_next(&mut self) -> Option<(usize, usize)> {
        let mut may = Vec::new();
        for queue in 0..self.queues.all.len() {
            let has_new = self.queues.all[queue].fresh.iter().any(|list| !list.is_empty());
            if has_new && self.barred(queue).is_none() {
                // What is new may be held back, but not for ever.
                let _ = self.next_for_new(queue);
            }
            match self.barred(queue) {
                None if self.find_in(queue).is_some() => may.push(queue),
                Some(why) if self.has_ready(queue) => self.note(match why {
                    Waits::Paused => "a paused queue had something to send",
                    Waits::QueueInFlight => "a queue had as many in flight as it may",
                    _ => "a queue sent as fast as it may",
                }),
                _ => {}
            }
        }
        let class_of = |queue: usize| self.queues.all[queue].options.class as usize;
        let classes: Vec<usize> = may.iter().map(|&queue| class_of(queue)).collect();
        let first = *classes.iter().min()?;
        let owed = classes.iter().filter(|&&class| self.queues.owed[class] >= OWED);
        let most = owed.min_by_key(|&&class| (u64::MAX - self.queues.owed[class], class));
        let class = most.copied().unwrap_or(first);
        if class != first {
            self.note("a class got its least share before one that is more urgent");
        }
        let class_of = |queue: usize| self.queues.all[queue].options.class as usize;
        let of_class = may.iter().copied().filter(|&queue| class_of(queue) == class);
        let queue = of_class.min_by_key(|&queue| (self.queues.all[queue].pass, queue))?;
        self.charge(queue, class, &classes);
        let (slot, worker, lane) = self.find_in(queue).expect("it may send");
        self.queues.all[queue].turn = (lane + 1) % 5;
        match lane {
            0 | 1 => drop(self.queues.all[queue].fresh[lane].pop_front()),
            4 => drop(self.queues.all[queue].fresh[2].pop_front()),
            _ => self.take_returned(slot, lane - 2),
        }
        Some((slot, worker))
    }

    /// What is next in a queue: the task, its worker and the lane.
    fn find_in(&mut self, queue: usize) -> Option<(usize, usize, usize)> {
        let turn = self.queues.all[queue].turn;
        (turn..turn + 5).map(|lane| lane % 5).find_map(|lane| {
            let fresh = match lane {
                0 | 1 => lane,
                4 => 2,
                _ => {
                    let (slot, worker) = self.find_returned(queue, lane - 2)?;
                    return Some((slot, worker, lane));
                }
            };
            let slot = *self.queues.all[queue].fresh[fresh].front()?;
            Some((slot, self.next_for_new(queue)?, lane))
        })
    }

    /// Counts a send: for its class, its queue and its queue's rate.
    fn charge(&mut self, queue: usize, class: usize, may: &[usize]) {
        for other in [Class::Urgent, Class::High, Class::Normal, Class::Low] {
            let has_any = (0..self.queues.all.len()).any(|queue| {
                self.queues.all[queue].options.class == other && self.has_ready(queue)
            });
            let owed = &mut self.queues.owed[other as usize];
            if may.contains(&(other as usize)) {
                *owed = (*owed + u64::from(self.config.class_share_min)).min(10 * OWED);
            }
            if !has_any {
                *owed = 0;
            }
        }
        self.queues.owed[class] = self.queues.owed[class].saturating_sub(OWED);
        let pass = self.queues.all[queue].pass;
        for other in &mut self.queues.all {
            if other.options.class as usize == class {
                other.pass = other.pass.saturating_sub(pass);
            }
        }
        let it = &mut self.queues.all[queue];
        it.pass += STRIDE / u64::from(it.options.weight);
        if let Some(rate) = it.options.rate {
            let level = it.level(self.clock) - rate.interval().as_nanos();
            it.bucket = (level, self.clock);
        }
        it.sent += 1;
    }

    /// When tasks of a queue are hedged that do not say so themselves.
    pub(super) fn hedge_of(&self, queue: usize) -> Option<Hedge> {
        self.queues.all[queue].options.hedge
    }

    /// Counts a second attempt for its queue's rate.
    pub(super) fn count_second(&mut self, queue: usize) {
        let it = &mut self.queues.all[queue];
        if let Some(rate) = it.options.rate {
            let level = it.level(self.clock) - rate.interval().as_nanos();
            it.bucket = (level, self.clock);
        }
        it.sent += 1;
    }

    pub(crate) fn queue_stats(&self, id: QueueId) -> Option<QueueStats> {
        if !self.has_queue(id) {
            return None;
        }
        let queue = usize::from(id.place());
        let it = &self.queues.all[queue];
        let count = |test: fn(&super::Task) -> bool| {
            narrow(self.of_queue(queue).filter(|task| test(task)).count())
        };
        let is_begun = self.queues.is_begun;
        let heads = it.fresh.iter().filter_map(VecDeque::front).map(|&slot| self.tasks[slot].since);
        let mut stats = QueueStats::default();
        stats.waiting =
            count(|task| matches!(task.state, TaskState::Waiting | TaskState::Returned { .. }));
        stats.waiting_for_key =
            count(|task| task.state == TaskState::Waiting && task.stand == Stand::Behind);
        stats.resting = count(|task| matches!(task.state, TaskState::Resting { .. }));
        stats.in_flight = count(|task| matches!(task.state, TaskState::InFlight { .. }));
        stats.sent = if is_begun { it.sent } else { self.counters.sent };
        stats.waits_since = heads.min().filter(|_| is_begun);
        stats.is_paused = it.options.is_paused;
        Some(stats)
    }

    /// Why a task is not sent now.
    pub(crate) fn waits(&self, id: TaskId) -> Option<Waits> {
        let slot = id.slot() as usize;
        let task = self.tasks.get(slot).filter(|task| task.generation == id.generation())?;
        let is_over = self.past_drain_deadline();
        let (last, due) = match task.state {
            TaskState::Waiting | TaskState::Returned { .. } | TaskState::Resting { .. }
                if is_over =>
            {
                return Some(Waits::Stopping);
            }
            TaskState::Resting { due, .. } => {
                return Some(match self.key_pause(slot) {
                    Some(until) if until >= due => Waits::KeyPaused { until },
                    _ => Waits::Rests { until: due },
                });
            }
            TaskState::Waiting if task.stand == Stand::Behind => return Some(Waits::Key),
            TaskState::Waiting => (None, self.clock),
            TaskState::Returned { worker, due } => (Some(worker), due),
            _ => return None,
        };
        if let Some(why) = self.barred(task.queue) {
            return Some(why);
        }
        if !self.workers.iter().any(Worker::is_available) {
            return Some(self.none_serves());
        }
        let serving = self.serving(task.queue);
        if serving == 0 {
            return Some(Waits::NotServed);
        }
        if self.next_worker(task.queue, false, None).is_none() {
            return Some(Waits::NoRoom);
        }
        if last.is_none() && self.is_held_back(task.queue) {
            let until = self.patience.get(&task.queue).filter(|&&at| !self.is_due(at));
            return Some(Waits::HeldBack { until: until.copied().unwrap_or(Instant::FAR_FUTURE) });
        }
        if self.next_worker(task.queue, last.is_some() && task.suspect, None).is_none() {
            return Some(Waits::Suspect);
        }
        let other = self.next_worker(task.queue, task.suspect, last);
        if other.is_none() && serving > 1 && !self.is_due(due) {
            return Some(Waits::Elsewhere { until: due });
        }
        Some(Waits::Turn)
    }

    /// Why none of the workers serves.
    fn none_serves(&self) -> Waits {
        let (mut away, mut here) = (Vec::new(), Vec::new());
        for worker in &self.workers {
            let never = Instant::FAR_FUTURE;
            match worker.phase {
                LinkPhase::Free | LinkPhase::Closing(_) | LinkPhase::Leaving => {}
                LinkPhase::BackingOff { until } => away.push(until),
                LinkPhase::Absent { .. }
                | LinkPhase::WantConnect
                | LinkPhase::Connecting { .. } => away.push(never),
                LinkPhase::Up if worker.draining || worker.removing => {}
                LinkPhase::Up => here.push(match worker.idles() {
                    Idles::Failing { until }
                    | Idles::OffOthers { until }
                    | Idles::Throttled { until }
                    | Idles::Early { until } => until,
                    _ => never,
                }),
            }
        }
        match (here.into_iter().min(), away.into_iter().min()) {
            (Some(until), _) => Waits::NoneServes { until },
            (None, Some(until)) => Waits::Away { until },
            (None, None) => Waits::NoWorker,
        }
    }

    /// Why a worker gets no task now.
    pub(crate) fn idles(&self, id: Wid) -> Option<Idles> {
        self.worker_slot(id).map(|slot| self.workers[slot].idles())
    }
}

impl Worker {
    fn idles(&self) -> Idles {
        match (self.phase, self.suspended_until, self.delayed_until) {
            (LinkPhase::BackingOff { until }, ..) => Idles::Away { until },
            (
                LinkPhase::Absent { .. } | LinkPhase::WantConnect | LinkPhase::Connecting { .. },
                ..,
            ) => Idles::Away { until: Instant::FAR_FUTURE },
            (LinkPhase::Up, ..) if self.draining || self.removing => Idles::Leaving,
            (LinkPhase::Up, Some(until), _) if self.record.ejected => Idles::OffOthers { until },
            (LinkPhase::Up, Some(until), _) => Idles::Failing { until },
            (LinkPhase::Up, None, Some(until)) if self.throttled => Idles::Throttled { until },
            (LinkPhase::Up, None, Some(until)) => Idles::Early { until },
            (LinkPhase::Up, None, None) if self.busy => Idles::Busy,
            (LinkPhase::Up, None, None) if self.pace.until.is_some() => {
                Idles::Rate { until: self.pace.until.expect("just seen") }
            }
            (LinkPhase::Up, None, None) if self.is_eligible() => Idles::Room,
            (LinkPhase::Up, None, None) => Idles::Full,
            (LinkPhase::Closing(_) | LinkPhase::Leaving | LinkPhase::Free, ..) => Idles::Leaving,
        }
    }
}
