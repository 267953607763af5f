//! The limits of a pool that are not the scheduler's, and their defaults.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::time::Duration;

use crate::seed::mixed;

/// The limits of a pool that are not the scheduler's.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) name: String,
    pub(crate) token: u64,
    pub(crate) tasks_max: u32,
    pub(crate) workers_max: u32,
    pub(crate) queue_max: usize,
    pub(crate) ahead_max: usize,
    pub(crate) in_flight: Option<u16>,
    pub(crate) frame_bytes_max: u32,
    pub(crate) progress_rate_min: u32,
    pub(crate) handshakes_max: usize,
    pub(crate) drain_timeout: Duration,
    #[cfg(feature = "json")]
    pub(crate) json_heights: crate::JsonHeights,
}

impl Limits {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            name: "manager".to_owned(),
            token: mixed(seed),
            tasks_max: 16_384,
            workers_max: 1024,
            queue_max: 1024,
            ahead_max: 1024,
            in_flight: None,
            frame_bytes_max: 16 * 1024 * 1024,
            progress_rate_min: 1024,
            handshakes_max: 128,
            drain_timeout: Duration::from_secs(30),
            #[cfg(feature = "json")]
            json_heights: crate::JsonHeights::default(),
        }
    }
}
