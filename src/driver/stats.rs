//! The figures of a pool and its workers, now and as they were when it stopped.

use alloc::sync::Arc;

use chargehand_core::io::Timer;
use chargehand_core::{QueueId, WorkerId};

use super::Driver;
use super::peers::Peer;
use crate::link::erased::Kind;
use crate::stats::{PoolStats, QueueInfo, WorkerInfo};

impl<T: Timer, K: Kind> Driver<T, K> {
    pub(crate) fn stats(&self) -> PoolStats {
        let workers = self.peers.slots.iter().flatten().filter_map(|peer| self.info_of(peer));
        let (tasks, streams) = (self.scheduler.stats(), self.jobs.under_way());
        let queues = (0..).zip(&self.limits.queues).filter_map(|(place, (name, options))| {
            let stats = self.scheduler.queue_stats(QueueId::new(place))?;
            let oldest = stats.waits_since.map(|since| self.now.saturating_since(since));
            let (in_flight_max, rate) = (options.in_flight_max, options.rate);
            Some(QueueInfo { name: Arc::clone(name), stats, in_flight_max, rate, oldest })
        });
        let (queues, workers) = (queues.collect(), workers.collect());
        PoolStats { tasks, streams, queues, workers, progress: self.all_progress() }
    }

    fn info_of(&self, peer: &Peer<K>) -> Option<WorkerInfo> {
        Some(WorkerInfo {
            id: peer.id,
            peer: peer.label(),
            identity: peer.identity.clone(),
            queues: self.served_by(peer.id),
            stats: self.scheduler.worker_stats(peer.id)?,
            last_error: peer.last_error.clone(),
        })
    }

    /// Keeps how a worker stands at the end of its link while the pool stops: soon it is gone.
    pub(crate) fn note_parting(&mut self, worker: WorkerId) {
        // By slot, as they were put there.
        let place = self.parting.binary_search_by_key(&worker.slot(), |info| info.id.slot());
        let peer = self.peers.slots[worker.slot() as usize].as_ref();
        let (Ok(place), Some(peer)) = (place, peer) else { return };
        if let Some(info) = self.info_of(peer).filter(|info| info.id == self.parting[place].id) {
            self.parting[place] = info;
        }
    }
}
