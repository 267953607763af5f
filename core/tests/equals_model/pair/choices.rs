//! What is drawn at random: a configuration, and the arguments of the calls, which are mostly what an
//! honest caller and honest peers would say.

use std::time::Duration;

use chargehand_core::{
    BackoffPolicy, Config, Ejection, Event, Heap, Hedge, HedgeBudget, Instant, Jitter, Link, Loss,
    Offer, RetryBudget, Route, Scheduler, Storage, TaskId, TaskOptions, Useless, Verdict, WorkerId,
};

use super::super::model::LinkPhase;
use super::super::rng::Rng;
use super::Pair;

impl<S: Storage> Pair<S> {
    /// Gives a task times of its own, or not.
    pub(crate) fn any_times(&mut self, mut options: TaskOptions) -> TaskOptions {
        let millis = Duration::from_millis;
        if self.rng.percent(25) {
            let span = self.rng.pick(&[millis(0), millis(3), millis(30), millis(150)]);
            options = options.deadline(self.now.saturating_add(span));
        }
        if self.rng.percent(25) {
            let spans = [millis(0), millis(2), millis(15), millis(300), Duration::MAX];
            options = options.attempt_timeout(self.rng.pick(&spans));
        }
        if self.rng.percent(25) {
            let policy = BackoffPolicy::new()
                .base(self.rng.pick(&[millis(0), millis(1), millis(9)]))
                .cap(self.rng.pick(&[millis(5), millis(40)]))
                .jitter(self.rng.pick(&[Jitter::None, Jitter::Equal, Jitter::Full]));
            options = options.retry_delay(policy);
        }
        if self.rng.percent(35) {
            let longest = [millis(0), millis(10), millis(60), Duration::MAX];
            options = options.attempt_max(self.rng.pick(&longest));
        }
        options
    }

    pub(crate) fn any_offer(&mut self) -> Offer {
        let runs = self.rng.pick(&[0, 1, 1, 2, 3, u32::MAX]);
        let window = self.rng.pick(&[runs, runs, 0, 1, 2, 4, u32::MAX]);
        let mut offer = Offer::new(runs).window(window);
        offer.is_trusted = self.rng.percent(10);
        if let Some(dice) = &mut self.extra {
            offer.weight = dice.pick(&[0, 1, 1, 1, 3, u16::MAX]);
            offer.is_auto = dice.percent(50);
        }
        let millis = Duration::from_millis;
        offer.keeps = self.rng.pick(&[Duration::ZERO, millis(5), millis(50), Duration::MAX]);
        offer.resumes = self.rng.percent(60);
        if self.hedging.as_mut().is_some_and(|dice| dice.percent(50)) {
            offer.keeps = Duration::MAX;
        }
        self.any_service(offer)
    }

    pub(crate) fn any_task(&mut self) -> TaskId {
        let known = self.tasks.len();
        if known > 0 && self.rng.percent(90) {
            return self.tasks[mostly_late(&mut self.rng, known)];
        }
        let slot = self.rng.pick(&[0, 1, 2, 5, 12, 1_000_000, u32::MAX]);
        TaskId::from_parts(slot, self.rng.pick(&[0, 1, 2, 20, 1 << 31, u32::MAX]))
    }

    pub(crate) fn any_worker(&mut self) -> WorkerId {
        let known = self.workers.len();
        if known == 0 || self.rng.percent(3) {
            return self.rng.pick(&self.forged).worker();
        }
        self.workers[mostly_late(&mut self.rng, known)]
    }

    pub(crate) fn any_link(&mut self) -> Link {
        let known = self.recent.len();
        if known == 0 || self.rng.percent(10) {
            return self.rng.pick(&self.forged);
        }
        self.recent[mostly_late(&mut self.rng, known)]
    }

    /// Mostly what an honest peer would say next, else anything.
    pub(crate) fn any_event(&mut self) -> Event {
        let slot = self.rng.index(self.model.workers.len());
        let current = self.links.get(&self.model.link(slot)).copied();
        let link = match current {
            Some(link) if self.rng.percent(85) => link,
            _ => self.any_link(),
        };
        let offer = self.any_offer();
        let how = self.rng.pick(&[Loss::Broken, Loss::Away, Loss::Away, Loss::Stopped]);
        let until = self.now.saturating_add(Duration::from_millis(self.rng.below(3_000)));
        // Shares in percent: connected, refused, lost, heard, draining, busy, ready, excused,
        // moving; the rest are answers.
        let shares = match self.model.workers[slot].phase {
            LinkPhase::Connecting { .. } => [75, 15, 3, 2, 2, 1, 0, 0, 1],
            LinkPhase::Up if self.rng.percent(10) => return Event::Listed { link },
            LinkPhase::Up => [3, 3, 10, 8, 2, 2, 5, 2, 4],
            _ => [15, 10, 15, 10, 5, 3, 3, 1, 2],
        };
        let mut dice = self.rng.below(100);
        let kind = shares.iter().position(|&share| {
            let hit = dice < share;
            dice = dice.saturating_sub(share);
            hit
        });
        match kind {
            Some(0) => Event::Connected { link, offer },
            Some(1) => Event::Refused { link },
            Some(2) => Event::Lost { link, how },
            Some(3) => Event::Heard { link },
            Some(4) => Event::Draining { link },
            Some(5) => Event::Busy { link },
            Some(6) => Event::Ready { link },
            Some(7) => Event::Excused { link },
            Some(8) => Event::Moving { link, until },
            _ => self.any_reply(link, slot),
        }
    }

    /// An answer to what the worker holds, or with some part of that changed.
    pub(crate) fn any_reply(&mut self, link: Link, slot: usize) -> Event {
        let verdict = match self.rng.below(10) {
            0 => Verdict::Returned,
            _ if self.rng.percent(self.habits.fails) => Verdict::Failed,
            _ => Verdict::Done,
        };
        let tells = self.model.config.strikes_max == u16::MAX;
        let held = self.model.workers[slot].held.clone();
        let (mut task, mut attempt) = (self.any_task(), self.rng.pick(&[0, 1, 1, 2, 3, u16::MAX]));
        if !held.is_empty() && self.rng.percent(85) {
            // In some runs workers say how far those are that came later, and hardly ever answer: so these
            // outlive the first.
            let later = if tells && held.len() > 1 { &held[1..] } else { &held[..] };
            let held = self.rng.pick(later);
            let about = &self.model.tasks[held];
            task = TaskId::from_parts(held.try_into().unwrap(), about.generation);
            attempt = self.model.held_at(slot, held).0;
            if self.hedging.as_mut().is_some_and(|dice| dice.percent(5)) {
                // Of two attempts, that of the other worker.
                let holders = self.model.holders(task).into_iter().flatten();
                let mut others = holders.map(|(_, other)| other).filter(|&other| other != attempt);
                attempt = others.next().unwrap_or(attempt);
            }
        }
        match self.rng.below(40) {
            0 => task = self.any_task(),
            1 => attempt = attempt.wrapping_add(self.rng.pick(&[1, 2, u16::MAX])),
            2 => {
                let by = self.rng.pick(&[1, 2, 1 << 31, u32::MAX]);
                task = TaskId::from_parts(task.slot(), task.generation().wrapping_add(by));
            }
            3 => attempt = 0,
            _ => {}
        }
        let mut of = self.model.workers[slot].held.iter();
        let is_back = of.any(|&it| self.model.held_at(slot, it).1);
        if self.rng.percent(if is_back { 50 } else { 2 }) {
            return Event::Kept { link, task, attempt };
        }
        if self.rng.percent(if tells { 95 } else { 20 }) {
            let done = self.rng.pick(&[0, 1, 1, 2, 3, u64::MAX]);
            return Event::Progress { link, task, attempt, done };
        }
        let delay = Duration::from_millis(self.rng.pick(&[0, 1, 10, 60, u64::MAX]));
        if self.rng.percent(5) {
            let why = self.rng.pick(&[Useless::Unusable, Useless::Final]);
            return Event::Useless { link, task, attempt, why };
        }
        if verdict == Verdict::Failed && self.rng.percent(30) {
            let advice =
                [Useless::Permanent, Useless::RetryAfter(delay), Useless::Throttled(delay)];
            let mut why = self.rng.pick(&advice);
            if self.queueing.of_keys() {
                why = Useless::KeyThrottled(delay);
            }
            return Event::Useless { link, task, attempt, why };
        }
        Event::Replied { link, task, attempt, verdict }
    }
}

/// An index of a list of that length, mostly of one of the last items.
fn mostly_late(rng: &mut Rng, len: usize) -> usize {
    let last = len.min(rng.pick(&[3, 5, 10, 1_000]));
    len - 1 - rng.index(last)
}

pub(crate) fn random_config(rng: &mut Rng) -> Config {
    let millis = Duration::from_millis;
    let mut config = Config::new(rng.next());
    config.attempts_max = rng.pick(&[1, 2, 3]);
    config.resends_max = rng.pick(&[1, 2, 5, 64]);
    config.elsewhere_wait = rng.pick(&[Duration::ZERO, millis(2), millis(25), Duration::MAX]);
    config.window_max = rng.pick(&[1, 2, 5, u32::MAX]);
    config.trust_initial = rng.pick(&[1, 2, u32::MAX]);
    config.attempt_timeout = rng.pick(&[millis(4), millis(20), millis(100), Duration::MAX]);
    config.retries_max = rng.pick(&[0, 0, 1, 3]);
    config.retry_delay = rng.pick(&[Duration::ZERO, millis(3), millis(30), Duration::MAX]);
    config.connect_timeout = rng.pick(&[millis(3), millis(30), Duration::MAX]);
    config.heartbeat_interval = rng.pick(&[millis(2), millis(10), millis(50), Duration::MAX]);
    config.heartbeat_timeout = rng.pick(&[millis(2), millis(10), millis(50), Duration::MAX]);
    config.strikes_max = rng.pick(&[1, 2, 3, u16::MAX]);
    config.failures_max = rng.pick(&[1, 2, 4]);
    config.class_share_min = rng.pick(&[0, 5, 25]);
    config.keys_max = 8;
    config.pause_max = rng.pick(&[Duration::ZERO, millis(7), millis(40), Duration::MAX]);
    config.grace = rng.pick(&[Duration::ZERO, millis(8), millis(60), Duration::MAX]);
    config.absent_max = rng.pick(&[Duration::ZERO, millis(5), millis(60), Duration::MAX]);
    config.stable_after = rng.pick(&[Duration::ZERO, millis(10), Duration::MAX]);
    config.backoff = BackoffPolicy::new()
        .base(rng.pick(&[millis(1), millis(1), millis(7), Duration::MAX]))
        .factor(rng.pick(&[1, 2, u32::MAX]))
        .cap(rng.pick(&[millis(1), millis(10), millis(60), Duration::MAX]))
        .jitter(rng.pick(&[Jitter::None, Jitter::None, Jitter::Equal, Jitter::Full]));
    config
}

pub(crate) fn any_ejection(dice: &mut Rng) -> Option<Ejection> {
    let mut ejection = Ejection::new();
    ejection.answers = dice.pick(&[1, 2, 5]);
    ejection.others_min = dice.pick(&[0, 1, 2]);
    ejection.deviations = dice.pick(&[0, 500, 1900]);
    ejection.times_slower = dice.pick(&[0, 1, 2, 4]);
    ejection.rest = Duration::from_millis(dice.pick(&[0, 3, 20]));
    ejection.rests_max = dice.pick(&[0, 1, 3, u16::MAX]);
    ejection.percent_max = dice.pick(&[0, 50, 50, 100]);
    dice.percent(50).then_some(ejection)
}

pub(crate) fn any_budget(dice: &mut Rng) -> Option<RetryBudget> {
    let mut budget = RetryBudget::new();
    budget.tokens = dice.pick(&[0, 1, 2, 3, 10]);
    budget.per_done = dice.pick(&[0, 100, 500, u16::MAX]);
    dice.percent(30).then_some(budget)
}

/// How many second attempts there may be.
pub(crate) fn any_hedging(dice: &mut Rng) -> (u32, HedgeBudget) {
    let mut budget = HedgeBudget::new();
    budget.per_thousand = dice.pick(&[0, 20, 500, 1000]);
    budget.saved_max = dice.pick(&[1, 2, 10, u16::MAX]);
    (dice.pick(&[1, 1, 2]), budget)
}

pub(crate) fn any_hedge(dice: &mut Rng) -> Hedge {
    let millis = Duration::from_millis;
    let spans = [millis(0), millis(1), millis(3), millis(15), Duration::MAX];
    if dice.percent(20) { Hedge::after_p95() } else { Hedge::after(dice.pick(&spans)) }
}

/// Links of another, larger pool: many slots, generations and epochs that this one may or may not
/// come to use itself.
pub(crate) fn forged_links() -> Vec<Link> {
    let now = Instant::EPOCH;
    let mut other = Scheduler::new(Heap::with_capacity(1, 8), Config::new(0)).unwrap();
    let mut links = Vec::new();
    for _ in 0..4 {
        let workers: Vec<_> =
            (0..8).map(|_| other.add_worker(now, Route::Await).unwrap()).collect();
        for worker in workers {
            links.extend(
                (0..4).map(|_| other.accept(now, worker, Offer::new(1), now).unwrap().link),
            );
            other.remove_worker(now, worker).unwrap();
        }
        while other.poll_action().is_some() {}
    }
    links
}
