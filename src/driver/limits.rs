//! The limits of a pool that are not the scheduler's, and their defaults.

use alloc::sync::Arc;
use core::time::Duration;

use crate::seed::mixed;

/// How many bytes a pool holds by default.
const MEMORY_MAX: usize = 256 << 20;
/// How many of the longest frames it holds at least: two in reserve, and as much again to work with.
pub(crate) const FRAMES_MIN: usize = 4;

/// The limits of a pool that are not the scheduler's.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) name: Arc<str>,
    /// What requests and answers mean, for workers that say so as well.
    pub(crate) schema: Option<Arc<str>>,
    pub(crate) token: u64,
    pub(crate) tasks_max: u32,
    pub(crate) workers_max: u32,
    pub(crate) queue_max: usize,
    pub(crate) ahead_max: usize,
    pub(crate) in_flight: Option<u16>,
    pub(crate) frame_bytes_max: u32,
    /// What was set, if anything was.
    pub(crate) memory_max: Option<usize>,
    pub(crate) progress_rate_min: u32,
    pub(crate) handshakes_max: usize,
    pub(crate) drain_timeout: Duration,
    #[cfg(feature = "json")]
    pub(crate) json_heights: crate::JsonHeights,
}

impl Limits {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            name: "manager".into(),
            schema: None,
            token: mixed(seed),
            tasks_max: 16_384,
            workers_max: 1024,
            queue_max: 1024,
            ahead_max: 1024,
            in_flight: None,
            frame_bytes_max: 16 * 1024 * 1024,
            memory_max: None,
            progress_rate_min: 1024,
            handshakes_max: 128,
            drain_timeout: Duration::from_secs(30),
            #[cfg(feature = "json")]
            json_heights: crate::JsonHeights::default(),
        }
    }

    /// Returns how many bytes the pool may hold.
    pub(crate) fn memory_max(&self) -> usize {
        self.memory_max.unwrap_or_else(|| MEMORY_MAX.max(self.memory_min()))
    }

    pub(crate) fn memory_min(&self) -> usize {
        (self.frame_bytes_max as usize).saturating_mul(FRAMES_MIN)
    }
}
