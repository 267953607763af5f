//! What may be set of a worker, and the defaults.

use alloc::string::String;
use core::error::Error;
use core::fmt::{self, Display};
use core::time::Duration;

use chargehand_core::BackoffPolicy;
use chargehand_core::message::check_name;

use super::Worker;
use crate::seed::mixed;

pub(super) struct Settings {
    pub(super) name: String,
    pub(super) token: u64,
    pub(super) concurrency: u16,
    pub(super) window_max: u16,
    pub(super) links_max: usize,
    pub(super) handshake_timeout: Duration,
    pub(super) pending_handshakes_max: usize,
    pub(super) frame_bytes_max: usize,
    pub(super) drain_timeout: Duration,
    pub(super) backoff: BackoffPolicy,
    pub(super) seed: u64,
    #[cfg(feature = "json")]
    pub(super) json_heights: crate::JsonHeights,
}

impl<T, H> Worker<T, H> {
    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.parts.settings);
        self
    }

    /// Sets how many handlers run at once, over all links. Each manager is told this number as the
    /// worker's window; requests past it wait, and managers take turns. At least 1; default 1.
    #[must_use]
    pub fn concurrency(self, concurrency: u16) -> Self {
        self.set(|settings| settings.concurrency = concurrency)
    }

    /// Sets the name that managers know the worker by: a second link with the same name displaces
    /// the first. 1 to 64 bytes; default `worker-` and random hexadecimal digits.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.set(|settings| settings.name = name)
    }

    /// Sets the largest window that a manager may ask for where it wants requests to wait here. Up
    /// to that many request bodies are held for each link. Default 1024; never below the
    /// concurrency.
    #[must_use]
    pub fn window_max(self, window_max: u16) -> Self {
        self.set(|settings| settings.window_max = window_max)
    }

    /// Sets how many managers are served at once; another one is told that the worker is busy. At
    /// least 1; default 64.
    #[must_use]
    pub fn links_max(self, links_max: usize) -> Self {
        self.set(|settings| settings.links_max = links_max)
    }

    /// Sets how long it may take from an accepted or dialled connection to the end of its
    /// handshake. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.handshake_timeout = timeout)
    }

    /// Sets how many handshakes may be pending; one more takes the oldest one's place. At least 1;
    /// default 128.
    #[must_use]
    pub fn pending_handshakes_max(self, pending: usize) -> Self {
        self.set(|settings| settings.pending_handshakes_max = pending)
    }

    /// Sets the longest frame, in bytes. Default 16 MiB. An answer that does not fit fails its task;
    /// a manager's limit may be lower. Managers are told that no longer one is taken; whether it is,
    /// the transport's limit decides, so set it where that is lower.
    #[must_use]
    pub fn frame_bytes_max(self, bytes: usize) -> Self {
        self.set(|settings| settings.frame_bytes_max = bytes)
    }

    /// Sets how long what runs may go on after [`Stopper::stop`](super::Stopper::stop). Default 30 s.
    #[must_use]
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.drain_timeout = timeout)
    }

    /// Sets the delay between connects of [`dial`](Worker::dial).
    #[must_use]
    pub fn backoff(self, policy: BackoffPolicy) -> Self {
        self.set(|settings| settings.backoff = policy)
    }

    /// Sets the seed of the backoff's jitter alone. Default: random, or that of
    /// [`seeded`](Worker::seeded).
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.seed = seed)
    }

    /// Sets what the handler gets for a height that a manager of the Go `worker` package asks for.
    /// Default [`Unsigned`](crate::JsonHeights::Unsigned): a `u64`, and a height below zero fails
    /// with a text that says so.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json_heights(self, heights: crate::JsonHeights) -> Self {
        self.set(|settings| settings.json_heights = heights)
    }
}

impl Settings {
    /// Returns the defaults.
    pub(super) fn new(seed: u64) -> Self {
        let token = mixed(seed);
        Self {
            name: format!("worker-{:08x}", mixed(token) >> 32),
            token,
            concurrency: 1,
            window_max: 1024,
            links_max: 64,
            handshake_timeout: Duration::from_secs(10),
            pending_handshakes_max: 128,
            frame_bytes_max: 16 << 20,
            drain_timeout: Duration::from_secs(30),
            backoff: BackoffPolicy::new(),
            seed,
            #[cfg(feature = "json")]
            json_heights: crate::JsonHeights::default(),
        }
    }

    pub(super) fn check(&mut self) -> Result<(), SettingError> {
        if self.name.is_empty() || check_name(&self.name).is_err() {
            return Err(SettingError("name must have 1 to 64 bytes and no control character"));
        }
        if self.concurrency == 0 {
            return Err(SettingError("concurrency must be at least 1"));
        }
        if self.links_max == 0 {
            return Err(SettingError("links_max must be at least 1"));
        }
        if self.pending_handshakes_max == 0 {
            return Err(SettingError("pending_handshakes_max must be at least 1"));
        }
        self.window_max = self.window_max.max(self.concurrency);
        Ok(())
    }
}

/// A worker's setting that is out of its range; the text names it and the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingError(&'static str);

impl Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for SettingError {}
