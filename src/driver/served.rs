//! Which queues workers serve, and how many tasks they are sent in a time: by what they say and what the pool's
//! options say of them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use chargehand_core::io::Timer;
use chargehand_core::{Offer, QueueId, QueueSet, Rate, WorkerId};

use super::Driver;
use crate::events::PoolEvent;
use crate::link::erased::Kind;
use crate::link::schema::Wanted;

/// Returns the rate that two allow together: the lower one of both, with the smaller burst of both.
fn both(one: &Wanted, other: &Wanted) -> Option<Rate> {
    // By themselves, or a worker's own word that is hardly slower would undo the burst that the pool set.
    let slower = |one: Rate, other: Rate| {
        let interval = one.interval().max(other.interval());
        Rate::per(1, interval).burst(one.burst_max().min(other.burst_max()))
    };
    match (one.rate, other.rate) {
        (Some(one), Some(other)) => Some(slower(one, other)),
        (one, other) => one.or(other),
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Returns what a worker offers by its own word and by the pool's options for it.
    pub(super) fn offer_of(&mut self, worker: WorkerId, offer: Offer, said: &Wanted) -> Offer {
        let peer = self.peers.get_mut(worker);
        let offer = peer.options.apply(offer);
        let mut unknown = Vec::new();
        let mut serves = QueueSet::ALL;
        for names in [&said.queues, &peer.options.wanted.queues].into_iter().flatten() {
            let mut named = QueueSet::NONE;
            for name in &**names {
                let known = self.limits.queues.iter().position(|(known, _)| known == name);
                match known.and_then(|place| u8::try_from(place).ok()) {
                    Some(place) => named = named.with(QueueId::new(place)),
                    None => unknown.push(Arc::clone(name)),
                }
            }
            let both = serves.iter().filter(|&queue| named.contains(queue));
            serves = both.fold(QueueSet::NONE, QueueSet::with);
        }
        let rate = both(said, &peer.options.wanted);
        peer.unknown_queues = unknown;
        Offer { serves, rate, ..offer }
    }

    /// Tells which queues a worker serves whose link is up, unless it is all of them and nobody said otherwise.
    pub(super) fn tell_served(&mut self, worker: WorkerId) {
        let served = self.served_by(worker);
        let peer = self.peers.get_mut(worker);
        let unknown = core::mem::take(&mut peer.unknown_queues);
        if served.is_none() && unknown.is_empty() {
            return;
        }
        let all = || self.limits.queues.iter().map(|(name, _)| String::from(&**name)).collect();
        let queues = served.unwrap_or_else(all);
        let unknown = unknown.iter().map(|name| String::from(&**name)).collect();
        let peer = self.peers.get_mut(worker).label();
        self.events.tell(|| PoolEvent::Serves { worker, peer, queues, unknown });
    }

    /// Returns the names of the queues that a worker serves; `None` where it is all.
    pub(super) fn served_by(&self, worker: WorkerId) -> Option<Vec<String>> {
        let serves = self.scheduler.worker_stats(worker)?.serves;
        let names = self.limits.queues.iter().map(|(name, _)| String::from(&**name));
        let name = |queue: QueueId| names.clone().nth(queue.place().into());
        (!serves.is_all()).then(|| serves.iter().filter_map(name).collect())
    }
}
