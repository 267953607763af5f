//! Whom to send to by what workers' answers have shown, looked at anew each time.

use chargehand_core::{Choice, Ejection, Instant, QueueSet};

use super::poll::ModelStep;
use super::returned::Blame;
use super::sets::rank;
use super::types::Act;
use super::{LinkPhase, Model, Worker};

/// How many workers are looked at for one task.
const SAMPLE: usize = 8;
const FIVE_SECONDS: u128 = 5_000_000_000;
const MILLISECOND: u64 = 1 << 20;

/// A mean of logarithms in 1/256, and how many samples it has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean(i64, i64);

impl Mean {
    fn known(self) -> Option<i64> {
        (self.1 > 0).then_some(self.0)
    }

    fn add(self, sample: i64, most: i64) -> Self {
        if self.1 == 0 {
            return Self(sample, 1);
        }
        let count = most.min(self.1 + 1);
        Self(self.0 + (sample - self.0).clamp(-512, 512) / count, count)
    }

    /// The first of one worker is held against what is usual.
    fn add_beside(self, sample: i64, usual: Option<i64>) -> Self {
        match usual {
            Some(usual) if self.1 == 0 => Self(usual + (sample - usual).clamp(-512, 512) / 2, 1),
            _ => self.add(sample, 8),
        }
    }
}

/// What is known of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    floor: Mean,
    pace: Mean,
    faults: u64,
    pub(super) weight: u64,
    pub(super) timed: Option<Timed>,
    pub(super) auto: Option<Auto>,
    pub(super) answers: u64,
    rests: u64,
    pub(super) ejected: bool,
    pub(super) on_trial: bool,
    judged_at: Instant,
}

/// A window that sizes itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Auto {
    most: u64,
    growing: bool,
    careful: bool,
    low: bool,
    looks: u64,
}

impl Auto {
    pub(super) const fn new(allowance: u32) -> Self {
        Self { most: allowance as u64, growing: true, careful: false, low: false, looks: 0 }
    }

    /// Takes in how a timed attempt went. The factors are hundredths of what logarithms say.
    fn fit(&mut self, runs: u64, window: u64, timed: Timed, [took, floor, pace]: [i64; 3]) {
        let behind = timed.place > runs;
        self.looks = if behind == (self.most > runs) { self.looks + 1 } else { 0 };
        if timed.full && self.growing && took - floor <= 150 {
            self.most = 2 * self.most.max(timed.place);
        } else if timed.full {
            self.growing = behind && took - floor <= 44;
            let wanted = power((floor - pace).max(0) + 8 * 256) * u128::from(runs);
            let wanted = u64::try_from((wanted * 5 / 4 + 165) / 256).unwrap().max(runs);
            self.most = if self.careful { wanted.min(self.most + 1) } else { wanted };
            self.careful = self.careful && self.most < wanted;
        }
        self.most = self.most.clamp(1, window);
        if self.looks == 64 {
            self.looks = 0;
            if self.most > runs {
                self.low = true;
            } else {
                self.growing = true;
            }
        }
    }
}

/// The attempt of a worker whose time is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    task: usize,
    place: u64,
    since: Instant,
    /// It filled the window.
    full: bool,
    /// It is to be one that need not wait.
    pinned: bool,
}

impl Record {
    pub(super) const fn new() -> Self {
        Self {
            floor: Mean(0, 0),
            pace: Mean(0, 0),
            faults: 0,
            weight: 1,
            timed: None,
            auto: None,
            answers: 0,
            rests: 0,
            ejected: false,
            on_trial: false,
            judged_at: Instant::EPOCH,
        }
    }

    fn success(&self) -> u128 {
        256 - u128::from(self.faults / 256)
    }
}

/// The logarithm to the base of two in 1/256, straight between powers of two.
pub(super) fn log(value: u64) -> i64 {
    let value = u128::from(value.clamp(1, 1 << 42));
    let mut whole = 0;
    while 2 << whole <= value {
        whole += 1;
    }
    let rest = i64::try_from((value << 8 >> whole) - 256).expect("below 256");
    whole * 256 + rest
}

/// What it is the logarithm of.
pub(super) fn power(log: i64) -> u128 {
    (u128::try_from(256 + log % 256).expect("positive") << (log / 256)) >> 8
}

impl Model {
    pub(super) fn judges(&self) -> bool {
        self.config.choice == Choice::FirstAnswer
    }

    fn since(&self, at: Instant) -> u64 {
        self.clock.as_nanos() - at.as_nanos()
    }

    /// How long a worker takes for a task at a place of its queue, for all that is known.
    pub(super) fn expected(&self, slot: usize, place: usize) -> u128 {
        let (worker, record) = (&self.workers[slot], &self.workers[slot].record);
        let unknown = log(MILLISECOND);
        let usual = self.floor.known().unwrap_or(unknown);
        let own = record.floor.known().or(record.pace.known()).unwrap_or(usual);
        let memory = (power(own) * 256 / record.success() * 64).max(FIVE_SECONDS);
        let forgotten = worker.held.is_empty() && u128::from(self.since(record.judged_at)) > memory;
        let mut takes = power(if forgotten { usual } else { own });
        if place as u64 > u64::from(worker.runs) {
            let pace = record.pace.known().or(self.pace.known()).unwrap_or(unknown);
            takes = takes.max(power(pace) * place as u128 / u128::from(worker.runs));
        }
        if let Some(timed) = record.timed {
            takes = takes.max(self.since(timed.since).into());
        }
        if !forgotten {
            takes = takes * 256 / record.success();
        }
        takes / u128::from(record.weight)
    }

    /// The best of the first few with room, without one, and without those that hold a suspect.
    pub(super) fn best(
        &self,
        queue: usize,
        clean: bool,
        but: Option<usize>,
    ) -> Option<(usize, u128)> {
        let mut looked_at = Vec::new();
        for set in self.sets() {
            looked_at.extend(self.ring(set, false));
            if !clean {
                looked_at.extend(self.ring(set, true));
            }
        }
        looked_at.retain(|&slot| self.workers[slot].has_queue(queue));
        let able = looked_at.into_iter().filter(|&slot| Some(slot) != but);
        let key = |slot: usize| {
            let worker = &self.workers[slot];
            let load = (worker.held.len() << 16) / worker.allowance as usize;
            let takes = self.expected(slot, worker.held.len() + 1);
            (takes, load, self.holds_suspect(slot), rank(worker.set()))
        };
        able.min_by_key(|&slot| key(slot)).map(|slot| (slot, key(slot).0))
    }

    /// The first few workers with room that serve the same, that hold a suspect or that hold none, in their
    /// order.
    fn ring(&self, set: QueueSet, suspects: bool) -> Vec<usize> {
        let mut ring = self.whole_ring(set, suspects);
        ring.truncate(SAMPLE);
        ring
    }

    fn whole_ring(&self, set: QueueSet, suspects: bool) -> Vec<usize> {
        let all = 0..self.workers.len();
        let mut ring: Vec<_> = all
            .filter(|&slot| self.workers[slot].is_eligible())
            .filter(|&slot| self.workers[slot].set() == set)
            .filter(|&slot| self.holds_suspect(slot) == suspects)
            .collect();
        ring.sort_by_key(|&slot| self.workers[slot].level_order);
        ring
    }

    /// The worker for a new task of a queue, if it is not to wait for a better one.
    pub(super) fn next_for_new(&mut self, queue: usize) -> Option<usize> {
        if !self.judges() {
            return self.next_worker(queue, false, None);
        }
        let (worker, takes) = self.best(queue, false, None)?;
        if self.patience.get(&queue).is_some_and(|&at| self.is_due(at)) {
            self.note("a new task waited for a better worker in vain");
            return Some(worker);
        }
        if !self.is_better_busy(queue, worker, takes) {
            return Some(worker);
        }
        self.note("a new task waits for a better worker");
        let wait = takes.max(self.config.elsewhere_wait.as_nanos());
        let wait = u64::try_from(wait).unwrap_or(u64::MAX);
        let until = Instant::from_nanos(self.clock.as_nanos().saturating_add(wait));
        self.patience.entry(queue).or_insert(until);
        None
    }

    /// Whether a new task of a queue is to wait for a better worker than has room.
    pub(super) fn is_held_back(&self, queue: usize) -> bool {
        let waits = !self.patience.get(&queue).is_some_and(|&at| self.is_due(at));
        let best = self.best(queue, false, None).filter(|_| self.judges() && waits);
        best.is_some_and(|(worker, takes)| self.is_better_busy(queue, worker, takes))
    }

    fn is_better_busy(&self, queue: usize, slot: usize, takes: u128) -> bool {
        let others = (0..self.workers.len()).filter(|&other| other != slot);
        let able = others.clone().filter(|&other| self.workers[other].has_queue(queue));
        let speed: u128 = able.map(|other| self.speed(other)).sum();
        let held: usize = others.map(|other| self.workers[other].held.len()).sum();
        let usual = power(self.floor.known().unwrap_or(log(MILLISECOND)));
        if self.config.elsewhere_wait.is_zero() || held == 0 || speed == 0 || takes <= usual {
            return false;
        }
        let worker = &self.workers[slot];
        let of_all = 256 - u128::from(self.faults / 256);
        if worker.record.success() * 2 < of_all {
            return true;
        }
        let open = (held + self.stats().0.waiting as usize) as u128 + u128::from(self.backlog);
        let longest = power(self.longest) / u128::from(self.mean_length.max(1));
        let is_new = worker.record.pace.1 < 3 && worker.held.len() as u64 >= worker.runs.into();
        let risk = if is_new || takes > 2 * usual { 4 * longest.clamp(1, 1 << 20) } else { 1 };
        (takes - usual) * speed * risk > open << 40
    }

    fn speed(&self, slot: usize) -> u128 {
        let worker = &self.workers[slot];
        let may = worker.is_available() && worker.pace.until.is_none();
        match worker.record.pace.known().filter(|_| may) {
            Some(pace) => {
                let pace = (power(pace) * 256 / worker.record.success()).max(1);
                u128::from(worker.runs.min(4096)) * ((1 << 40) / pace)
            }
            None => 0,
        }
    }

    pub(super) fn note_sent(&mut self, worker: usize, task: usize) {
        if !self.judges() {
            return;
        }
        self.patience.remove(&self.tasks[task].queue);
        let (since, holder) = (self.clock, &mut self.workers[worker]);
        let place = holder.held.len() as u64;
        let replaced = |timed: Timed| timed.since == since && !timed.pinned;
        if holder.record.timed.is_none_or(replaced) {
            let full = place >= u64::from(holder.allowance);
            let low = holder.record.auto.is_some_and(|auto| auto.low);
            let pinned = low && place <= u64::from(holder.runs);
            holder.record.timed = Some(Timed { task, place, since, full, pinned });
            if let Some(auto) = &mut holder.record.auto {
                if auto.low && place <= u64::from(holder.runs) {
                    auto.low = false;
                    holder.allowance = u32::try_from(auto.most).unwrap();
                }
            }
        }
        for set in self.sets() {
            let ring = self.whole_ring(set, false);
            if ring.len() > SAMPLE {
                self.note("a ring of workers was turned");
                self.workers[ring[0]].level_order = self.next_order();
            }
        }
    }

    /// An attempt is over, however it ended. Returns what was timed, if that was this one.
    pub(super) fn note_end(&mut self, worker: usize, task: usize) -> Option<Timed> {
        let record = &mut self.workers[worker].record;
        let timed = record.timed.filter(|timed| timed.task == task);
        if timed.is_some() {
            record.timed = None;
        }
        timed
    }

    pub(super) fn note_success(&mut self, worker: usize, timed: Option<Timed>) {
        if !self.judges() {
            return;
        }
        let holder = &self.workers[worker];
        let (runs, window) = (u64::from(holder.runs), u64::from(holder.window));
        let (clock, pool) = (self.clock, (self.floor.known(), self.pace.known()));
        let record = &mut self.workers[worker].record;
        record.faults -= record.faults.div_ceil(8);
        record.judged_at = clock;
        self.faults -= self.faults.div_ceil(64);
        let Some(timed) = timed else { return };
        let took = log(clock.as_nanos() - timed.since.as_nanos());
        let sample = (took - log(timed.place.max(runs)) + log(runs)).max(0);
        record.pace = record.pace.add_beside(sample, pool.1.filter(|_| !record.on_trial));
        self.pace = self.pace.add(sample, 16);
        let usual = (sample - record.pace.0 + self.pace.0).clamp(0, 42 * 256);
        let length = u64::try_from(power(usual)).unwrap();
        if self.mean_length == 0 {
            (self.mean_length, self.longest) = (length, usual + 8 * 256);
        }
        self.mean_length = self.mean_length - self.mean_length / 64 + length / 64;
        self.longest = (self.longest - 1).max(usual);
        if timed.place <= runs {
            record.floor = record.floor.add_beside(took, pool.0);
            self.floor = self.floor.add(took, 16);
        }
        let known = (record.floor.known(), record.pace.known());
        if let (Some(auto), (Some(floor), Some(pace))) = (&mut record.auto, known) {
            let before = auto.most;
            auto.fit(runs, window, timed, [took, floor, pace]);
            let (now, is_low) = (auto.most, auto.low);
            if now > before {
                self.note("a window grew");
            }
            if now < before {
                self.note("a window shrank");
            }
            if is_low {
                self.note("a window was emptied to look");
            }
        }
    }

    /// Sees to it that a worker holds no more than was found, after a success.
    pub(super) fn cut_allowance(&mut self, worker: usize) {
        let holder = &mut self.workers[worker];
        if let Some(auto) = holder.record.auto {
            let most = if auto.low { auto.most.min(holder.runs.into()) } else { auto.most };
            holder.allowance = holder.allowance.min(u32::try_from(most).unwrap());
        }
    }

    pub(super) fn note_shrunk(&mut self, worker: usize) {
        let allowance = self.workers[worker].allowance;
        if let Some(auto) = &mut self.workers[worker].record.auto {
            auto.most = allowance.into();
            (auto.careful, auto.growing, auto.low) = (true, false, false);
        }
    }

    pub(super) fn note_fault(&mut self, worker: usize) {
        if self.judges() {
            let record = &mut self.workers[worker].record;
            record.faults += (65_535 - record.faults) / 8;
            record.judged_at = self.clock;
            self.faults += (65_535 - self.faults) / 64;
        }
    }

    /// Where nothing waits, a task that has not begun goes where it would be done sooner.
    pub(super) fn rebalance(&mut self) -> ModelStep {
        if !self.judges() || self.stats().0.waiting > 0 {
            return ModelStep::Nothing;
        }
        let is_laden = |worker: &Worker| {
            worker.is_available() && worker.held.len() as u64 > u64::from(worker.runs)
        };
        let all = 0..self.workers.len();
        let mut laden: Vec<_> = all.filter(|&slot| is_laden(&self.workers[slot])).collect();
        laden.sort_by_key(|&slot| self.workers[slot].laden_order);
        laden.truncate(SAMPLE);
        let (mut longest, mut from) = (0, None);
        for slot in laden {
            let held = &self.workers[slot].held;
            let task = &self.tasks[*held.last().expect("laden")];
            let uncounted = task.latest - task.failures - task.losses;
            let may = u32::from(uncounted) * 2 < u32::from(self.config.resends_max);
            let left = self.expected(slot, held.len());
            let Some((best, takes)) = self.best(task.queue, false, None) else { continue };
            if slot != best && may && left > longest && left > takes * 3 / 2 {
                (longest, from) = (left, Some(slot));
            }
        }
        let Some(worker) = from else { return ModelStep::Nothing };
        assert_eq!(self.workers[worker].phase, LinkPhase::Up);
        self.note("taken back for a worker that is done sooner");
        let slot = *self.workers[worker].held.last().expect("laden");
        self.turn_to(worker, slot);
        let act = Act::Withdraw(self.link(worker), self.id(slot), self.tasks[slot].attempts);
        let _ = self.put_down(worker, slot);
        self.counters.returned += 1;
        self.give_back(slot, worker, Blame::Nobody);
        ModelStep::Emit(act)
    }

    pub(super) fn patience_ends(&self) -> Option<Instant> {
        self.patience.values().copied().filter(|&at| at > self.clock).min()
    }
}

/// The mean, and so many thousandths of the standard deviation.
fn spread(values: &[u64], thousandths: u16) -> (u64, u64) {
    let count = values.len() as u64;
    let mean = values.iter().sum::<u64>() / count;
    let squares: u64 = values.iter().map(|value| value * value).sum();
    let variance = (squares / count).saturating_sub(mean * mean);
    let mut root = 0;
    while (root + 1) * (root + 1) <= variance {
        root += 1;
    }
    (mean, root * u64::from(thousandths) / 1000)
}

impl Model {
    /// Counts an answer of a worker, and has it rest if it is far off the others.
    pub(super) fn hold_against_others(&mut self, slot: usize) {
        let Some(ejection) = self.config.ejection.filter(|_| self.judges()) else { return };
        let available = self.workers[slot].is_available();
        let record = &mut self.workers[slot].record;
        record.answers += 1;
        if !available || !(record.on_trial || record.answers >= u64::from(ejection.answers)) {
            return;
        }
        record.answers = 0;
        let was_on_trial = std::mem::take(&mut record.on_trial);
        if !self.is_outlier(slot, ejection) {
            if was_on_trial {
                self.note("a worker was back after a trial");
                self.workers[slot].record.rests = 0;
            }
            return;
        }
        let serving = self.workers.iter().filter(|worker| worker.is_available()).count() as u64;
        let resting = self.suspended.len() as u64;
        if self.is_last(slot)
            || (resting + 1) * 100 > (resting + serving) * u64::from(ejection.percent_max)
        {
            self.note("too many rest for one more that is off the others");
            return;
        }
        self.note("a worker that was off the others rests");
        let record = &mut self.workers[slot].record;
        record.rests += 1;
        record.ejected = true;
        let times = record.rests.min(ejection.rests_max.into()).max(1);
        let rest = (ejection.rest.as_nanos() * u128::from(times)).max(1);
        let at = self.clock.as_nanos().saturating_add(u64::try_from(rest).unwrap_or(u64::MAX));
        let until = Instant::from_nanos(at);
        self.workers[slot].suspended_until = Some(until);
        self.workers[slot].notice = Some(until);
        self.suspended.push_back(slot);
        self.put_on_list(slot);
        self.recall(slot);
    }

    fn is_outlier(&mut self, slot: usize, ejection: Ejection) -> bool {
        let known = |slot: usize| -> Option<(u64, u64)> {
            let worker = &self.workers[slot];
            let pace = worker.record.pace.known().filter(|_| worker.is_available())?;
            Some((pace.try_into().unwrap(), worker.record.success().try_into().unwrap()))
        };
        let others = (0..self.workers.len()).filter(|&other| other != slot).filter_map(known);
        let (paces, successes): (Vec<u64>, Vec<u64>) = others.unzip();
        let pace = known(slot).map(|(pace, _)| pace);
        let success: u64 = self.workers[slot].record.success().try_into().unwrap();
        if paces.is_empty() || (paces.len() as u64) < u64::from(ejection.others_min) {
            return false;
        }
        let (mean, off) = spread(&paces, ejection.deviations);
        let least: u64 = log(ejection.times_slower.into()).try_into().unwrap();
        let is_slow =
            ejection.times_slower > 0 && pace.is_some_and(|pace| pace > mean + off.max(least));
        let (mean, off) = spread(&successes, ejection.deviations);
        is_slow || success + off.max(mean / 4) < mean
    }

    /// A worker's rest is over.
    pub(super) fn begin_trial(&mut self, slot: usize) {
        let worker = &mut self.workers[slot];
        if std::mem::take(&mut worker.record.ejected) {
            let record = &mut worker.record;
            (record.floor, record.pace, record.faults) = (Mean(0, 0), Mean(0, 0), 0);
            (record.timed, record.answers, record.on_trial) = (None, 0, true);
            worker.allowance = 1;
        }
    }
}
