//! Queues and keys: half of the worlds have some, of dice of their own.

use chargehand_core::{
    Class, Heap, Instant, Key, QueueId, QueueOptions, Scheduler, TaskId, TaskOptions,
};

use super::audit::{Audit, Life};
use super::{TASKS, WORKERS, World};
use crate::rng::Rng;

/// What is decided about queues and keys.
pub(super) struct Queueing {
    rng: Rng,
    pub(super) options: Vec<QueueOptions>,
    /// Of a hundred tasks, how many have a key.
    keyed: u64,
    /// For handlers that say that it is the key's turn to wait.
    side: Rng,
}

impl Queueing {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0071_7565_7565);
        let mut options = Vec::new();
        if rng.percent(50) {
            for _ in 0..=rng.below(3) {
                let class = rng.pick(&[Class::Urgent, Class::Normal, Class::Normal, Class::Low]);
                let mut queue = QueueOptions::new().class(class).weight(rng.pick(&[1, 3, 40]));
                if rng.percent(40) {
                    queue = queue.in_flight_max(rng.pick(&[1, 2]));
                }
                options.push(queue);
            }
        }
        let keyed = rng.pick(&[0, 0, 20, 70]);
        Self { rng, options, keyed, side: Rng::new(seed ^ 0x006b_6579) }
    }

    #[expect(clippy::large_types_passed_by_value, reason = "as the engine takes it")]
    pub(super) fn make(&self, config: chargehand_core::Config) -> Scheduler<Heap> {
        let storage = Heap::with_capacity(TASKS, WORKERS);
        match &self.options[..] {
            [] => Scheduler::new(storage, config).unwrap(),
            queues => Scheduler::with_queues(storage, config, queues).unwrap(),
        }
    }

    pub(super) fn of_key(&mut self) -> bool {
        self.keyed > 0 && self.side.percent(40)
    }

    fn any(&mut self) -> QueueId {
        let count = self.options.len().max(1) as u64;
        QueueId::new(u8::try_from(self.rng.below(count)).unwrap())
    }

    /// Puts a task into a queue and gives it a key, or not.
    pub(super) fn options(&mut self, options: TaskOptions) -> TaskOptions {
        let options = options.queue(self.any());
        if self.rng.percent(self.keyed) {
            let number = self.rng.pick(&[0, 1, 2]);
            return options.key(Key::new(number).at_once(if number == 2 { 2 } else { 1 }));
        }
        options
    }
}

impl World {
    /// Stops a queue, or lets it go on, at times.
    pub(super) fn maybe_pause(&mut self) {
        let has_any = !self.queueing.options.is_empty() || self.queueing.keyed > 0;
        let may = has_any && self.faulty && !self.scheduler.is_draining();
        if may && self.queueing.rng.percent(2) {
            let (queue, is_paused) = (self.queueing.any(), self.queueing.rng.percent(50));
            self.set_paused(queue, is_paused);
        }
    }

    /// Lets all queues go on.
    pub(super) fn resume_all(&mut self) {
        for place in 0..self.queueing.options.len().max(1) {
            self.set_paused(QueueId::new(u8::try_from(place).unwrap()), false);
        }
    }

    fn set_paused(&mut self, queue: QueueId, is_paused: bool) {
        let now = self.tick();
        if is_paused {
            self.note("a queue was paused");
            self.scheduler.pause(now, queue).unwrap();
        } else {
            self.scheduler.resume(now, queue).unwrap();
        }
        self.audit.on_paused(queue, is_paused);
        self.audit.unsettle();
    }
}

impl Audit {
    pub(super) fn on_paused(&mut self, queue: QueueId, is_paused: bool) {
        if is_paused {
            self.paused.insert(queue);
        } else {
            self.paused.remove(&queue);
        }
    }

    /// Why a task must not be sent because of its queue or key, if that is so.
    pub(super) fn barred(&self, task: TaskId, life: &Life, now: Instant) -> Option<&'static str> {
        if self.is_paused(life, now) {
            return Some("its key is paused");
        }
        let queue = life.options.queue;
        if self.paused.contains(&queue) {
            return Some("its queue is paused");
        }
        let in_flight = |other: &&Life| other.live.is_some() && other.options.queue == queue;
        let in_flight = self.tasks.values().filter(in_flight).count();
        let options = self.queues.get(usize::from(queue.place()));
        let most = options.and_then(|options| options.in_flight_max);
        if most.is_some_and(|most| in_flight >= most as usize) {
            return Some("its queue has as many in flight as it may");
        }
        let key = life.options.key?;
        // Those that came before it and are not over.
        let earlier = self.tasks.iter().filter(|&(&other, before)| {
            let is_same = before.options.key.is_some_and(|other| other.number() == key.number());
            other != task && is_same && before.order < life.order
        });
        let open = earlier.filter(|(_, before)| !before.done && !before.cancelled).count();
        (open >= key.at_once_max() as usize).then_some("others of its key come before it")
    }
}
