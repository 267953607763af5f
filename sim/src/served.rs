//! Which queues workers serve, how fast they are fed, and keys that handlers pause: what is drawn of it, and what
//! must not be seen on any wire.

use std::collections::BTreeMap;
use std::time::Duration;

use chargehand::core::Rate;
use chargehand::{Worker, WorkerOptions};

use crate::dice::Dice;
use crate::jobs::{APART, name_of_queue};
use crate::oracle::Oracle;
use crate::plan::{ActKind, HONEST, Part, Plan, PoolPlan, THROTTLE, WorkerKind, WorkerPlan};

/// What a worker wants, by its own word or by the pool's options for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants {
    /// By place; all where it says nothing.
    queues: Option<Vec<usize>>,
    /// How many a second, and at once.
    rate: Option<(u32, u32)>,
    /// It says so itself.
    is_said: bool,
}

/// Has some workers serve some queues, or be fed so fast, and some pause keys. Drawn apart, and at the end, so that
/// the seeds that are kept mean what they did. The honest one does what anybody asks for.
pub(crate) fn draw(dice: &mut Dice, pool: &PoolPlan, parts: &mut [Part]) {
    let (picky, rated) = (dice.one_of(&[0, 0, 40, 90]), dice.one_of(&[0, 0, 40]));
    let pauses = dice.one_of(&[0, 0, 20, 200]);
    for (number, part) in parts.iter_mut().enumerate() {
        let Part::Worker(worker) = part else { continue };
        worker.acts.push((ActKind::KeyThrottled, pauses * u64::from(dice.percent(60))));
        let is_known =
            matches!(worker.kind, WorkerKind::Scripted | WorkerKind::Boasts | WorkerKind::Real);
        if number == HONEST || !is_known {
            continue;
        }
        worker.wants.is_said = worker.kind == WorkerKind::Real && dice.percent(50);
        if dice.percent(picky) {
            let count = pool.queues.len() as u64 + 1;
            // At times a queue that is none.
            let place = |dice: &mut Dice| usize::try_from(dice.below(count + 1)).expect("a few");
            let mut places = vec![place(dice), place(dice)];
            places.dedup();
            worker.wants.queues = Some(places);
        }
        if dice.percent(rated) {
            worker.wants.rate = Some((dice.one_of(&[20, 200]), dice.one_of(&[1, 5])));
        }
    }
}

impl Wants {
    fn names(&self) -> Option<Vec<String>> {
        Some(self.queues.as_ref()?.iter().map(|&place| name_of_queue(place)).collect())
    }

    fn rate(&self) -> Option<Rate> {
        self.rate.map(|(rate, burst)| Rate::per_second(rate).burst(burst))
    }

    /// Returns the pool's options for a worker, where it does not say itself what it wants.
    pub(crate) fn options(&self) -> WorkerOptions {
        let mut options = WorkerOptions::new();
        if self.is_said {
            return options;
        }
        if let Some(names) = self.names() {
            options = options.queues(names);
        }
        if let Some(rate) = self.rate() {
            options = options.rate(rate);
        }
        options
    }

    /// Has a worker say what it wants, where it does so itself.
    pub(crate) fn say<T, H>(&self, mut worker: Worker<T, H>) -> Worker<T, H> {
        if self.is_said {
            if let Some(names) = self.names() {
                worker = worker.queues(names);
            }
            if let Some(rate) = self.rate() {
                worker = worker.rate(rate);
            }
        }
        worker
    }
}

/// What is known beforehand of who may get what, and what was seen of it.
#[derive(Debug, Default)]
pub(crate) struct Service {
    wants: BTreeMap<String, Wants>,
    /// How many requests may be on their way to a worker that its wire had no room for.
    slack: BTreeMap<String, u128>,
    /// By job, its queue.
    queues: BTreeMap<u64, usize>,
    /// When each worker was sent something, by the manager's life.
    sends: BTreeMap<(u32, String), Vec<Duration>>,
    /// Until when a key gets nothing, and the request whose handler said so.
    pauses: BTreeMap<u64, (Duration, u64)>,
}

impl Service {
    pub(crate) fn of(plan: &Plan) -> Self {
        let workers = || plan.workers().map(|(number, worker)| (format!("w{number}"), worker));
        let room = |worker: &WorkerPlan| {
            let most = if worker.kind == WorkerKind::Boasts { 1024 } else { worker.concurrency };
            u128::from(plan.pool.in_flight.unwrap_or(most).max(most))
        };
        Self {
            wants: workers().map(|(name, worker)| (name, worker.wants.clone())).collect(),
            slack: workers().map(|(name, worker)| (name, room(worker))).collect(),
            queues: plan.jobs().map(|(number, job)| (number as u64, job.queue)).collect(),
            ..Self::default()
        }
    }
}

impl Oracle {
    /// A request goes to a worker that serves its queue, and no faster than that may have them. What waits for
    /// room on a wire leaves at once later, but that is no more than the worker may hold.
    pub(crate) fn check_service(&mut self, name: &str, at: Duration, id: u64) {
        let epoch = self.epoch;
        let Some(wants) = self.service.wants.get(name).cloned() else { return };
        let queue = self.service.queues.get(&(id / APART).wrapping_sub(1)).copied().unwrap_or(0);
        if let Some(queues) = &wants.queues {
            self.count("request to a worker that serves its queue");
            if !queues.contains(&queue) {
                self.found(|| format!("request {id} of queue {queue} went to {name}: {wants:?}"));
            }
        }
        let Some((rate, burst)) = wants.rate else { return };
        self.count("request to a worker with a rate");
        let slack = self.service.slack[name] + u128::from(burst);
        let sends = self.service.sends.entry((epoch, name.to_owned())).or_default();
        sends.push(at);
        let interval = 1_000_000_000_u128.div_ceil(u128::from(rate));
        let is_fast = (1..)
            .zip(sends.iter().rev())
            .any(|(count, &since)| count > slack + at.saturating_sub(since).as_nanos() / interval);
        if is_fast {
            self.found(|| format!("{name} was sent more than it may have: {wants:?}"));
        }
    }

    /// A handler said that the key of a request gets nothing for a while.
    pub(crate) fn on_key_throttled(&mut self, id: u64, key: Option<u64>, at: Duration) {
        self.count("a key cannot now");
        if let Some(key) = key {
            self.service.pauses.insert(key, (at + THROTTLE, id));
        }
    }

    /// No request of a key is sent while the one is open for certain whose handler said that it is to wait.
    pub(crate) fn check_pause(&mut self, at: Duration, id: u64, key: Option<u64>) {
        let Some(key) = key else { return };
        let Some(&(until, by)) = self.service.pauses.get(&key) else { return };
        if at < until && !self.is_ending && self.is_open_for_certain(by) {
            self.found(|| format!("request {id} was sent while {by} has key {key} paused"));
        }
    }
}
