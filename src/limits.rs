//! The limits of a pool that are not the scheduler's, and their defaults.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use chargehand_core::QueueOptions;

use crate::budget::RESERVE_MESSAGES;
use crate::link::erased::{Kind, Reach};
use crate::link::room::lowered;
use crate::options::{Window, WorkerOptions};
use crate::payload::DecodeLimits;

/// What the queue is called of all tasks that name none.
const DEFAULT_QUEUE: &str = "default";
/// How many bytes a pool holds by default.
const MEMORY_MAX: usize = 256 << 20;
/// How many of the longest frames it holds at least: the reserve, and one to work with.
pub(crate) const FRAMES_MIN: usize = RESERVE_MESSAGES + 1;

/// The limits of a pool that are not the scheduler's.
#[derive(Clone, Debug)]
#[allow(clippy::struct_field_names, reason = "as the builder's methods have them")]
pub(crate) struct Limits {
    pub(crate) name: Arc<str>,
    /// What requests and answers mean, for workers that say so as well.
    pub(crate) schema: Option<Arc<str>>,
    /// Tells this run of the manager from others. Made of its seed as it is built.
    pub(crate) token: u64,
    pub(crate) tasks_max: u32,
    pub(crate) workers_max: u32,
    pub(crate) queue_max: usize,
    /// Their names and what is special about them: the first is the one of all tasks that name none.
    pub(crate) queues: Vec<(Arc<str>, QueueOptions)>,
    /// What was set, if anything was.
    pub(crate) ahead_max: Option<usize>,
    pub(crate) in_flight: Option<Window>,
    pub(crate) frame_bytes_max: u32,
    /// What was set, if anything was.
    pub(crate) memory_max: Option<usize>,
    pub(crate) decode: DecodeLimits,
    pub(crate) progress_rate_min: u32,
    pub(crate) handshakes_max: usize,
    pub(crate) handshakes_per_identity: usize,
    /// What was set, if anything was.
    pub(crate) handshakes_per_host: Option<usize>,
    pub(crate) links_per_identity: usize,
    /// What was set, if anything was.
    pub(crate) links_per_host: Option<usize>,
    /// Whether `workers_max` or `handshakes_max` was set.
    pub(crate) is_set: bool,
    /// The process may not open as many connections as was set.
    pub(crate) is_lowered: bool,
    pub(crate) drain_timeout: Duration,
    /// Whether links may leave the machine unprotected.
    pub(crate) is_insecure: bool,
    #[cfg(feature = "json")]
    pub(crate) json_heights: crate::JsonHeights,
}

impl Limits {
    pub(crate) fn new() -> Self {
        Self {
            name: "manager".into(),
            schema: None,
            token: 0,
            tasks_max: 16_384,
            workers_max: 1024,
            queue_max: 1024,
            queues: vec![(DEFAULT_QUEUE.into(), QueueOptions::new())],
            ahead_max: None,
            in_flight: None,
            frame_bytes_max: 16 * 1024 * 1024,
            memory_max: None,
            decode: DecodeLimits::new(),
            progress_rate_min: 1024,
            handshakes_max: 128,
            handshakes_per_identity: 64,
            handshakes_per_host: None,
            links_per_identity: 64,
            links_per_host: None,
            is_set: false,
            is_lowered: false,
            drain_timeout: Duration::from_secs(30),
            is_insecure: false,
            #[cfg(feature = "json")]
            json_heights: crate::JsonHeights::default(),
        }
    }

    /// Sets what is special about a queue, which is there from then on.
    pub(crate) fn set_queue(&mut self, name: &str, options: QueueOptions) {
        match self.queues.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, known)) => *known = options,
            None => self.queues.push((name.into(), options)),
        }
    }

    /// Returns what is special about the queues, where anything is.
    pub(crate) fn special_queues(&self) -> Option<Vec<QueueOptions>> {
        let options: Vec<_> = self.queues.iter().map(|(_, options)| *options).collect();
        (options != [QueueOptions::new()]).then_some(options)
    }

    /// Returns how many heights of a range may be under way or not taken yet.
    pub(crate) fn ahead_max(&self) -> usize {
        self.ahead_max.unwrap_or(self.tasks_max as usize)
    }

    /// Returns how many bytes the pool may hold.
    pub(crate) fn memory_max(&self) -> usize {
        self.memory_max.unwrap_or_else(|| MEMORY_MAX.max(self.memory_min()))
    }

    pub(crate) fn memory_min(&self) -> usize {
        (self.frame_bytes_max as usize).saturating_mul(FRAMES_MIN)
    }

    /// Lowers what takes connections to what the process may open, where that is less. The workers that
    /// there are at the start keep their places. Returns what is lowered, and why, where that is news:
    /// defaults may be lowered a little.
    pub(crate) fn lower<K: Kind>(
        &mut self,
        room: Option<usize>,
        workers: &[(Reach<K>, WorkerOptions)],
    ) -> Option<String> {
        let in_process = workers.iter().filter(|(reach, _)| matches!(reach, Reach::InProcess(_)));
        let without = in_process.count();
        let links = (self.workers_max as usize).saturating_sub(without);
        let handshakes = ("handshakes_max", self.handshakes_max);
        let lowered = lowered(room, ("workers_max", links), handshakes)?;
        let links = (lowered.links + without).max(workers.len());
        self.workers_max = self.workers_max.min(u32::try_from(links).unwrap_or(u32::MAX));
        self.handshakes_max = lowered.handshakes;
        self.is_lowered = true;
        (self.is_set || lowered.is_much).then_some(lowered.why)
    }
}
