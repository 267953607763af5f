//! Which queues workers serve, how fast, and which keys get nothing: by looking at every worker and task.

use std::cmp::Reverse;
use std::time::Duration;

use chargehand_core::queue::SETS_MAX;
use chargehand_core::{Instant, Offer, QueueId, QueueSet, Rate};

use super::queues::Stand;
use super::{LinkPhase, Model, TaskState, Worker};

/// What a worker has of its rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    rate: Option<Rate>,
    /// Of 256.
    share: u128,
    /// How long after some time it would have nothing on its account, in nanoseconds, and that time.
    debt: (u128, Instant),
    /// Passed over until then.
    pub(super) until: Option<Instant>,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { rate: None, share: 256, debt: (0, Instant::EPOCH), until: None }
    }

    fn interval(&self) -> u128 {
        self.rate.map_or(0, |rate| rate.interval().as_nanos() * 256 / self.share)
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        let interval = Duration::from_nanos(u64::try_from(self.interval()).unwrap());
        self.rate.map(|rate| Rate::per(1, interval).burst(rate.burst_max()))
    }

    fn owes(&self, now: Instant) -> u128 {
        self.debt.0.saturating_sub(now.saturating_since(self.debt.1).as_nanos())
    }

    /// Until when nothing may be sent.
    fn end(&self, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        let may_owe = rate.interval().as_nanos() * u128::from(rate.burst_max() - 1);
        let lacks = u64::try_from(self.owes(now).saturating_sub(may_owe)).unwrap();
        (lacks > 0).then(|| now.saturating_add(Duration::from_nanos(lacks)))
    }
}

/// Sets with fewer queues first.
pub(super) fn rank(set: QueueSet) -> (usize, u64) {
    let places: Vec<u64> = set.iter().map(|queue| 1 << queue.place()).collect();
    (places.len(), places.iter().sum())
}

fn is_part(set: QueueSet, of: QueueSet) -> bool {
    set.iter().all(|queue| of.contains(queue))
}

impl Worker {
    pub(super) fn set(&self) -> QueueSet {
        if self.phase == LinkPhase::Up { self.serves } else { QueueSet::ALL }
    }

    pub(super) fn has_queue(&self, queue: usize) -> bool {
        self.set().contains(QueueId::new(u8::try_from(queue).unwrap()))
    }
}

impl Model {
    /// What a set is to this pool.
    fn known(&self, set: QueueSet) -> QueueSet {
        let all = (0..self.queues.all.len()).map(|at| QueueId::new(u8::try_from(at).unwrap()));
        if all.clone().all(|queue| set.contains(queue)) {
            return QueueSet::ALL;
        }
        all.filter(|&queue| set.contains(queue)).fold(QueueSet::NONE, QueueSet::with)
    }

    /// A link begins: which queues the worker serves from now on.
    pub(super) fn join(&mut self, slot: usize, offer: Offer) {
        let wanted = self.known(offer.serves);
        self.workers[slot].serves = self.workers[slot].set();
        if wanted == self.workers[slot].serves {
            return;
        }
        self.begin_queues();
        self.note("a worker serves some queues only");
        if self.workers[slot].phase == LinkPhase::Up {
            self.note("a worker displaced its own link and serves others");
            self.workers[slot].busy = true;
            self.never_the_last();
        }
        let others = (0..self.workers.len()).filter(|&other| other != slot);
        let mut used: Vec<_> = others.map(|other| self.workers[other].set()).collect();
        used.retain(|&set| set != QueueSet::ALL && set != QueueSet::NONE);
        used.sort_by_key(|&set| rank(set));
        used.dedup();
        let is_known =
            wanted == QueueSet::NONE || wanted == QueueSet::ALL || used.contains(&wanted);
        let set = if is_known || used.len() < SETS_MAX {
            wanted
        } else {
            self.note("one set of queues too many");
            let part = used.iter().rev().find(|&&set| is_part(set, wanted));
            part.copied().unwrap_or(QueueSet::NONE)
        };
        self.workers[slot].serves = set;
    }

    /// The sets of all workers, each once.
    pub(super) fn sets(&self) -> Vec<QueueSet> {
        let mut sets: Vec<_> = self.workers.iter().map(Worker::set).collect();
        sets.sort_by_key(|&set| rank(set));
        sets.dedup();
        sets
    }

    /// Which queues others than this worker serve now.
    fn served_without(&self, but: Option<usize>) -> QueueSet {
        let others = (0..self.workers.len()).filter(|&slot| Some(slot) != but);
        let able = others.filter(|&slot| self.workers[slot].is_available());
        let queues = able.flat_map(|slot| self.workers[slot].set().iter());
        self.known(queues.fold(QueueSet::NONE, QueueSet::with))
    }

    /// Whether a worker is the only one that serves some queue.
    pub(super) fn is_last(&self, slot: usize) -> bool {
        !is_part(self.workers[slot].set(), self.served_without(Some(slot)))
    }

    /// Where a queue has no worker, one that rests and serves it comes back at once.
    pub(super) fn never_the_last(&mut self) {
        loop {
            let served = self.served_without(None);
            let set = |slot: usize| self.workers[slot].set();
            let needed = self.suspended.iter().enumerate();
            let needed = needed.filter(|&(_, &slot)| !is_part(set(slot), served));
            let first = needed.min_by_key(|&(at, &slot)| (Reverse(rank(set(slot))), at));
            let Some((_, &slot)) = first else { return };
            self.note("suspended and released as the last one");
            if served != QueueSet::NONE {
                self.note("released as the last one of its queue");
            }
            self.release(slot);
        }
    }

    /// How many workers serve a queue.
    pub(super) fn serving(&self, queue: usize) -> usize {
        let able = |worker: &&Worker| worker.is_available() && worker.has_queue(queue);
        self.workers.iter().filter(able).count()
    }

    /// A link begins: how fast the worker may be sent tasks.
    pub(super) fn begin_pace(&mut self, slot: usize, offer: Offer) {
        let now = self.clock;
        let pace = &mut self.workers[slot].pace;
        let mut is_cut = false;
        if pace.rate != offer.rate {
            (pace.rate, pace.share) = (offer.rate, 256);
            if let Some(rate) = offer.rate {
                let most = rate.interval().as_nanos() * u128::from(rate.burst_max());
                is_cut = pace.owes(now) > most;
                pace.debt = (pace.owes(now).min(most), now);
            }
        }
        pace.until = pace.end(now);
        if is_cut {
            self.note("a worker with a new rate owed more than a burst of that");
        }
        let pace = &self.workers[slot].pace;
        if pace.until.is_some() {
            self.note("a rate holds over links");
        }
    }

    pub(super) fn count_for_pace(&mut self, slot: usize) {
        let now = self.clock;
        let pace = &mut self.workers[slot].pace;
        if pace.rate.is_some() {
            pace.debt = (pace.owes(now) + pace.interval(), now);
            pace.until = pace.end(now);
            if pace.until.is_some() {
                self.note("a worker was sent as many as it may");
            }
        }
    }

    pub(super) fn slow_down(&mut self, slot: usize) {
        let pace = &mut self.workers[slot].pace;
        pace.share = (pace.share / 2).max(4);
        if pace.rate.is_some() {
            self.note("a worker's rate was halved");
        }
    }

    pub(super) fn speed_up(&mut self, slot: usize) {
        let pace = &mut self.workers[slot].pace;
        pace.share = (pace.share + 1).min(256);
    }

    /// A worker that was passed over for its rate may have tasks again.
    pub(super) fn due_pace(&mut self, at: Instant, slot: usize) -> bool {
        let worker = &mut self.workers[slot];
        if !worker.is_available() || worker.pace.until != Some(at) {
            return false;
        }
        worker.pace.until = None;
        self.touch(slot);
        true
    }

    /// Until when the key of a task gets nothing.
    pub(super) fn key_pause(&self, slot: usize) -> Option<Instant> {
        let key = self.tasks[slot].key?;
        let until = self.queues.keys.get(&key.number())?.paused;
        (until > self.clock).then_some(until)
    }

    /// A task cannot be done now, nor any of its key.
    pub(super) fn on_key_throttled(&mut self, worker: usize, slot: usize, pause: Duration) {
        self.counters.returned += 1;
        let until = self.end_of_pause(pause);
        let mut placed = Vec::new();
        if let Some(key) = self.tasks[slot].key {
            let of_key = self.queues.keys.get_mut(&key.number()).expect("it is in use");
            of_key.paused = of_key.paused.max(until);
            placed.clone_from(&of_key.placed);
            self.note("a key was paused");
        }
        for other in placed {
            self.rest_if_paused(other);
        }
        self.give_back(slot, worker, super::returned::Blame::Nobody);
        if let TaskState::Returned { worker, .. } = self.tasks[slot].state {
            self.note("a task without a key rests alone");
            self.leave_ward(slot);
            self.rest(slot, worker, until);
        }
        self.close_if_drained(worker);
    }

    pub(super) fn rest(&mut self, slot: usize, worker: usize, due: Instant) {
        if self.tasks[slot].times.is_none() {
            self.tasks[slot].times = self.own_times(
                chargehand_core::TaskOptions::new().attempt_timeout(self.config.attempt_timeout),
            );
        }
        self.tasks[slot].state = TaskState::Resting { worker, due };
        self.resting_own.push(slot);
    }

    /// Has a task rest that has a place of a paused key, and waits.
    pub(super) fn rest_if_paused(&mut self, slot: usize) {
        let Some(until) = self.key_pause(slot) else { return };
        match self.tasks[slot].state {
            TaskState::Waiting if self.tasks[slot].stand != Stand::Behind => {
                for fresh in &mut self.queues.all[self.tasks[slot].queue].fresh {
                    fresh.retain(|&other| other != slot);
                }
                self.note("a task of a paused key rests before it was sent");
                self.rest(slot, usize::MAX, until);
            }
            TaskState::Returned { worker, .. } => {
                self.leave_ward(slot);
                self.note("a task that came back rests for its key");
                self.rest(slot, worker, until);
            }
            _ => {}
        }
    }

    /// A task's rest is over: it waits again, for its first attempt or another.
    pub(super) fn wait_again(&mut self, slot: usize, worker: usize) {
        if self.tasks[slot].attempts > 0 {
            return self.keep_returned(slot, worker);
        }
        let task = &mut self.tasks[slot];
        (task.state, task.stand, task.since) = (TaskState::Waiting, Stand::Freed, self.clock);
        self.queues.all[task.queue].fresh[2].push_back(slot);
        self.note("a task stands in line again once its key may go on");
        self.rest_if_paused(slot);
    }
}
