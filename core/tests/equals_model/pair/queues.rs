//! Queues and keys, side by side: most runs have none, and go as they did.

use std::time::Duration;

use chargehand_core::{
    Class, Config, Key, Offer, QueueId, QueueOptions, QueueSet, Rate, Scheduler, Storage,
    TaskOptions, Waits,
};

use super::super::model::Model;
use super::super::rng::Rng;
use super::Pair;
use super::choices::any_hedge;

/// What a run does with queues and keys.
pub(super) struct Queueing {
    /// The queues that it begins with; none for a pool that is made without.
    options: Vec<QueueOptions>,
    /// Of a hundred tasks, how many have a key.
    keyed: u64,
    /// Of a hundred steps, how many stop a queue or let it go on.
    pub(super) pauses: u64,
    /// For what came later, so that all else stays as it was.
    dice: Rng,
    /// Of a hundred workers, how many serve some queues only, and how many have a rate.
    picky: u64,
    rated: u64,
    /// Of a hundred pauses that handlers ask for, how many are their key's.
    of_keys: u64,
}

impl Queueing {
    pub(super) fn draw(rng: &mut Rng, (tasks, workers): (usize, usize)) -> Self {
        // Of their own: none of the other numbers is taken for them.
        let mut dice = Rng::new(rng.clone().next() ^ 0x0073_6572_7665);
        let (picky, rated) = (dice.pick(&[0, 10, 60]), dice.pick(&[0, 0, 30, 80]));
        let of_keys = dice.pick(&[0, 30, 80]);
        let options = Vec::new();
        let mut queueing = Self { options, keyed: 0, pauses: 0, dice, picky, rated, of_keys };
        if workers > 12 && queueing.dice.percent(20) {
            // So many kinds of workers that there are more than may be.
            queueing.options = vec![QueueOptions::new(); 6];
            queueing.picky = 95;
            return queueing;
        }
        if rng.percent(50) {
            return queueing;
        }
        let most = (tasks / 2).clamp(1, 4) as u64;
        if rng.percent(70) {
            let count = 1 + rng.below(most);
            queueing.options = (0..count).map(|_| any_options(rng)).collect();
        }
        queueing.keyed = rng.pick(&[0, 5, 60]);
        queueing.pauses = rng.pick(&[0, 1, 5]);
        queueing
    }

    /// Makes a pool with these queues, and its model.
    #[expect(clippy::large_types_passed_by_value, reason = "as the engine takes it")]
    pub(super) fn make<S: Storage>(
        &self,
        storage: S,
        config: Config,
        (tasks, workers): (usize, usize),
    ) -> (Scheduler<S>, Model) {
        let model = Model::new(tasks, workers, config);
        if self.options.is_empty() {
            return (Scheduler::new(storage, config).unwrap(), model);
        }
        let engine = Scheduler::with_queues(storage, config, &self.options).unwrap();
        (engine, model.with_queues(&self.options))
    }

    /// Whether a pause is to be the key's.
    pub(super) fn of_keys(&mut self) -> bool {
        self.dice.percent(self.of_keys)
    }

    /// Has tasks of some queues be sent to two workers at once.
    pub(super) fn hedge_some(&mut self, dice: &mut Rng) {
        for options in &mut self.options {
            if dice.percent(50) {
                *options = options.hedge(any_hedge(dice));
            }
        }
    }

    fn any(&self, rng: &mut Rng) -> QueueId {
        // At times one that is none.
        let count = self.options.len().max(1) as u64;
        let place = if rng.percent(2) { count } else { rng.below(count) };
        QueueId::new(u8::try_from(place).unwrap())
    }
}

fn any_options(rng: &mut Rng) -> QueueOptions {
    let classes = [Class::Urgent, Class::Normal, Class::Normal, Class::Low];
    let mut options =
        QueueOptions::new().class(rng.pick(&classes)).weight(rng.pick(&[1, 1, 2, 5, 1000]));
    if rng.percent(25) {
        options = options.in_flight_max(rng.pick(&[1, 2, u32::MAX]));
    }
    if rng.percent(25) {
        let span = Duration::from_millis(rng.pick(&[0, 5, 30]));
        options = options.rate(Rate::per(rng.pick(&[1, 3]), span).burst(rng.pick(&[1, 2, 4])));
    }
    if rng.percent(10) {
        options = options.paused();
    }
    options
}

impl<S: Storage> Pair<S> {
    /// Has a worker serve some queues only, or be sent so many tasks in a time, or neither.
    pub(super) fn any_service(&mut self, mut offer: Offer) -> Offer {
        let Queueing { options, dice, picky, rated, .. } = &mut self.queueing;
        if dice.percent(*picky) {
            let count = options.len().max(1) as u64 + 1;
            let mut any = || QueueId::new(u8::try_from(dice.below(count)).unwrap());
            let queues = QueueSet::NONE.with(any());
            let more = queues.with(any()).with(any());
            offer.serves = dice.pick(&[queues, queues, more, QueueSet::NONE]);
        }
        if dice.percent(*rated) {
            let span = Duration::from_millis(dice.pick(&[0, 2, 15]));
            offer.rate = Some(Rate::per(dice.pick(&[1, 3]), span).burst(dice.pick(&[1, 2, 5])));
        }
        offer
    }

    /// Puts a task into a queue and gives it a key, or not.
    pub(super) fn any_queue(&mut self, mut options: TaskOptions) -> TaskOptions {
        if !self.queueing.options.is_empty() {
            options = options.queue(self.queueing.any(&mut self.rng));
        }
        if self.queueing.keyed > 0 && self.rng.percent(self.queueing.keyed) {
            let number = self.rng.pick(&[0, 0, 1, 2, 7, 8]);
            options = options.key(Key::new(number).at_once(self.rng.pick(&[0, 1, 1, 1, 2, 3])));
        }
        options
    }

    /// Stops a queue, or lets it go on.
    pub(super) fn pause(&mut self) {
        let queue = self.queueing.any(&mut self.rng);
        let is_paused = self.rng.percent(40);
        let _ = self.call(
            |engine, now| {
                if is_paused { engine.pause(now, queue) } else { engine.resume(now, queue) }
            },
            |model, now| model.set_paused(now, queue, is_paused),
            &format!("set {queue:?} to paused: {is_paused}"),
        );
    }

    /// Every task that waits has a reason, now that there is nothing to do.
    pub(super) fn all_waits_are_explained(&mut self) {
        let mut count = 0;
        let Self { engine, model, .. } = self;
        engine.each_waiting(|task, why| {
            assert_eq!(engine.waits(task), Some(why), "{task:?}: by itself, and with all");
            assert!(!matches!(why, Waits::Turn | Waits::Stopping), "{task:?}: {why:?}");
            model.note(why.name());
            count += 1;
        });
        let stats = engine.stats();
        assert_eq!(count, stats.waiting + stats.resting, "each one that waits, once");
    }

    pub(super) fn compare_queues(&self) {
        for place in 0..=self.queueing.options.len().max(1) {
            let queue = QueueId::new(u8::try_from(place).unwrap());
            let stats = (self.engine.queue_stats(queue), self.model.queue_stats(queue));
            assert_eq!(stats.0, stats.1, "{queue:?}: engine, model");
        }
        for &task in self.tasks.iter().rev().take(4) {
            let waits = (self.engine.waits(task), self.model.waits(task));
            assert_eq!(waits.0, waits.1, "{task:?} waits: engine, model");
        }
        for &worker in self.workers.iter().rev().take(4) {
            let idles = (self.engine.idles(worker), self.model.idles(worker.into()));
            assert_eq!(idles.0, idles.1, "{worker:?} idles: engine, model");
        }
    }
}
