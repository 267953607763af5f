//! Which queues workers serve, how fast they are sent tasks, and keys that are paused: of dice of their own.

use std::time::Duration;

use chargehand_core::{
    Instant, Link, Offer, QueueId, QueueOptions, QueueSet, Rate, TaskId, WorkerId,
};

use super::World;
use super::audit::{Audit, Life};
use super::node::Node;
use crate::rng::Rng;

/// How many of a rate there are never fewer than: it is halved at times, but not below a 64th.
const SLOWEST: u32 = 64;

/// Has some workers serve some queues only, and some be sent so many in a time. The first one stays as it is, so
/// that there is an end to everything once all is well.
pub(super) fn restrict(nodes: &mut [Node], queues: &[QueueOptions], seed: u64) {
    let mut dice = Rng::new(seed ^ 0x0073_6572_7669_6e67);
    let picky = dice.pick(&[0, 30, 80]);
    let rated = dice.pick(&[0, 0, 50]);
    for node in &mut nodes[1..] {
        if queues.len() > 1 && dice.percent(picky) {
            let mut any = || QueueId::new(u8::try_from(dice.index(queues.len())).unwrap());
            let one = QueueSet::NONE.with(any());
            let two = one.with(any());
            node.offer = node.offer.serves(dice.pick(&[one, two]));
        }
        if dice.percent(rated) {
            let span = Duration::from_millis(dice.pick(&[2, 10, 40]));
            node.offer = node.offer.rate(Rate::per(1, span).burst(dice.pick(&[1, 3])));
        }
    }
}

fn serves(offer: &Offer, life: &Life) -> bool {
    offer.serves.contains(life.options.queue)
}

impl World {
    pub(super) fn note_service(&mut self, link: Link) {
        let offer = self.audit.up[&link].offer;
        if !offer.serves.is_all() {
            self.note("a worker was sent what it serves");
        }
        if offer.rate.is_some() {
            self.note("a worker was sent no more than it may");
        }
    }
}

impl Audit {
    /// Whether a worker serves a task's queue.
    pub(super) fn is_for(&self, worker: WorkerId, life: &Life) -> bool {
        let up = self.up.iter().find(|(link, _)| link.worker() == worker);
        up.is_some_and(|(_, up)| serves(&up.offer, life))
    }

    /// A task is sent: to a worker that serves its queue, and no faster than that may have them.
    pub(super) fn audit_service(&mut self, link: Link, task: TaskId, now: Instant) {
        let (offer, life) = (self.up[&link].offer, &self.tasks[&task]);
        assert!(serves(&offer, life), "{task:?}: {link:?} does not serve its queue");
        let Some(rate) = offer.rate else { return };
        let sends = self.sends.entry(link.worker()).or_default();
        sends.push(now);
        for (count, &since) in (1..).zip(sends.iter().rev()) {
            let span = now.saturating_since(since).as_nanos() / rate.interval().as_nanos();
            assert!(count <= u128::from(rate.burst_max()) + span, "{link:?}: faster than its rate");
        }
    }

    /// Whether a worker may be at its rate, for all that can be seen.
    pub(super) fn may_be_at_rate(&self, worker: WorkerId, now: Instant) -> bool {
        let up = self.up.iter().find(|(link, _)| link.worker() == worker);
        let Some(rate) = up.and_then(|(_, up)| up.offer.rate) else { return false };
        let last = self.sends.get(&worker).and_then(|sends| sends.last());
        last.is_some_and(|&last| {
            now.saturating_since(last) < rate.interval() * SLOWEST * rate.burst_max()
        })
    }

    /// A task's handler said that its key gets nothing for so long.
    pub(super) fn on_key_throttled(&mut self, task: TaskId, pause: Duration, now: Instant) {
        let least = self.config.backoff.delay(1, u64::MAX);
        let until = now.saturating_add(pause.min(self.config.pause_max).max(least));
        let life = self.tasks.get_mut(&task).expect("a live task");
        (life.paused_until, life.waits_since) = (until, until);
        if let Some(key) = life.options.key {
            let latest = self.pauses.entry(key.number()).or_insert(until);
            *latest = until.max(*latest);
        }
    }

    /// Whether a task's key is paused for certain: the task that said so is not over.
    pub(super) fn is_paused(&self, life: &Life, now: Instant) -> bool {
        let is_same = |other: &&Life| {
            let (mine, other) = (life.options.key, other.options.key);
            mine.is_some_and(|mine| other.is_some_and(|other| mine.number() == other.number()))
        };
        let is_open = |other: &&Life| !other.done && !other.cancelled;
        let mut same = self.tasks.values().filter(is_same).filter(is_open);
        life.paused_until > now || same.any(|other| other.paused_until > now)
    }

    /// Whether it may be.
    pub(super) fn may_be_paused(&self, life: &Life, now: Instant) -> bool {
        let until = life.options.key.and_then(|key| self.pauses.get(&key.number()));
        life.paused_until > now || until.is_some_and(|&until| until > now)
    }
}
