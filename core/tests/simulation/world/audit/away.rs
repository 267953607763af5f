//! What must hold of workers that have lost their link and are waited for.

use std::time::Duration;

use chargehand_core::{EventError, Instant, Link, Loss, TaskId, WorkerId};

use super::Audit;

impl Audit {
    /// How long a worker is waited for by what it said on a link.
    pub(super) fn grace_of(&self, link: Link) -> Duration {
        let up = self.up.get(&link).or_else(|| self.away.get(&link));
        up.map_or(Duration::ZERO, |up| up.offer.keeps.min(self.config.grace))
    }

    /// Whether a worker keeps what it holds if this link of it breaks.
    pub(crate) fn keeps(&self, link: Link) -> bool {
        let holds = self.tasks.values().any(|life| life.live == Some(link));
        let drains = self.up.get(&link).is_none_or(|up| up.draining);
        holds && !drains && !self.grace_of(link).is_zero()
    }

    /// A worker that is away is waited for no longer.
    pub(crate) fn end_grace(&mut self, worker: WorkerId, how: Loss, now: Instant) {
        let last = self.away.keys().find(|last| last.worker() == worker).copied();
        if let Some(last) = last {
            let up = self.away.remove(&last).expect("just seen");
            self.up.insert(last, up);
            self.on_down(last, how, now);
        }
    }

    /// Ends what ends by itself while a worker is away: graces, and attempts that are late.
    pub(super) fn settle_away(&mut self, now: Instant) {
        for life in self.tasks.values_mut().filter(|life| life.late_at <= now) {
            let Some(link) = life.live.filter(|_| life.was_away) else { continue };
            // Of those that are due at the same time a worker's come first.
            let until = self.away.get(&link).map_or(Instant::FAR_FUTURE, |up| up.waits_until);
            let is_own = life.options.attempt_timeout.or(life.options.attempt_max).is_some()
                || life.options.deadline != Instant::FAR_FUTURE
                || life.options.retry_delay.is_some();
            if life.late_at < until || life.late_at == until && !is_own {
                life.end(now);
                life.lost += 1;
                life.blamed += 1;
            }
        }
        for link in self.away.keys().copied().collect::<Vec<_>>() {
            if self.away[&link].waits_until <= now {
                self.end_grace(link.worker(), Loss::Broken, now);
            }
        }
        for (&link, up) in &self.up {
            let its = self.tasks.values_mut().filter(|life| life.live == Some(link) && life.kept);
            for life in its.filter(|_| up.waits_until <= now) {
                life.end(now);
                life.lost += 1;
            }
        }
    }

    /// Returns whether an attempt went on over another link.
    pub(crate) fn on_kept(
        &mut self,
        link: Link,
        task: TaskId,
        attempt: u16,
        result: Result<(), EventError>,
    ) -> bool {
        let is_live = self.is_live(link, task, attempt) && self.is_up(link);
        assert!(is_live || result.is_err(), "{task:?}: kept on {link:?}, which does not hold it");
        let Some(life) = self.tasks.get_mut(&task).filter(|_| result.is_ok()) else { return false };
        std::mem::take(&mut life.kept)
    }

    /// Returns how many attempts a worker has not named.
    pub(crate) fn on_listed(&mut self, link: Link, now: Instant) -> usize {
        let mut count = 0;
        for life in self.tasks.values_mut().filter(|life| life.live == Some(link) && life.kept) {
            life.end(now);
            life.lost += 1;
            count += 1;
        }
        count
    }
}
