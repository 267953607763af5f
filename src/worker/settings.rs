//! What may be set of a worker, and the defaults.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::error::Error;
use core::fmt::{self, Display};
use core::time::Duration;

use chargehand_core::BackoffPolicy;
use chargehand_core::io::Exposure;
use chargehand_core::message::{QUEUE_NAMES_BYTES_MAX, check_name, check_queue_name, check_schema};

use crate::link::exposure::is_taken;
use crate::link::identity::check_shown;
use crate::link::party::Party;
use crate::link::reason::DisconnectReason;
use crate::link::room::lowered;
use crate::link::schema::Wanted;
use crate::payload::DecodeLimits;
use crate::seed::{NO_SEED, drawn, mixed};

/// The shortest [`progress_interval`](super::Worker::progress_interval). Managers take somewhat more than that
/// allows, and no more.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(super) struct Settings {
    pub(super) name: Arc<str>,
    /// Whether the name was set. Otherwise it is made of the seed.
    pub(super) is_named: bool,
    pub(super) schema: Option<Arc<str>>,
    pub(super) token: u64,
    pub(super) concurrency: u16,
    pub(super) window_max: u16,
    pub(super) links_max: usize,
    /// What one identity, and one host of strangers, may have of them; half where nothing is set.
    pub(super) links_per_identity: Option<usize>,
    pub(super) links_per_host: Option<usize>,
    pub(super) handshake_timeout: Duration,
    pub(super) pending_handshakes_max: usize,
    /// Whether one of the limits on connections was set.
    pub(super) is_set: bool,
    pub(super) frame_bytes_max: usize,
    pub(super) memory_max: usize,
    pub(super) heartbeat_max: Duration,
    pub(super) decode_limits: DecodeLimits,
    pub(super) progress_rate_min: u32,
    pub(super) progress_interval: Duration,
    pub(super) grace: Duration,
    /// Which tasks it wants.
    pub(super) wanted: Wanted,
    pub(super) answers_kept_max: usize,
    pub(super) idle_min: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) backoff: BackoffPolicy,
    pub(super) seed: Option<u64>,
    /// Whether links may leave the machine unprotected.
    pub(super) is_insecure: bool,
    /// The identities of managers that may use it, where not any may.
    pub(super) managers: Option<Box<[Arc<str>]>>,
    #[cfg(feature = "tracing")]
    pub(super) propagator: Option<crate::traces::Propagator>,
    #[cfg(feature = "json")]
    pub(super) json_heights: crate::JsonHeights,
}

impl Settings {
    /// Returns the defaults.
    pub(super) fn new() -> Self {
        let mut settings = Self {
            name: "".into(),
            is_named: false,
            schema: None,
            token: 0,
            concurrency: 1,
            window_max: 1024,
            links_max: 64,
            links_per_identity: None,
            links_per_host: None,
            handshake_timeout: Duration::from_secs(10),
            pending_handshakes_max: 128,
            is_set: false,
            frame_bytes_max: 16 << 20,
            memory_max: 256 << 20,
            heartbeat_max: Duration::from_secs(300),
            decode_limits: DecodeLimits::new(),
            progress_rate_min: 1024,
            progress_interval: Duration::from_millis(250),
            grace: Duration::ZERO,
            wanted: Wanted::default(),
            answers_kept_max: 1 << 20,
            idle_min: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            backoff: BackoffPolicy::new(),
            is_insecure: false,
            seed: None,
            managers: None,
            #[cfg(feature = "tracing")]
            propagator: None,
            #[cfg(feature = "json")]
            json_heights: crate::JsonHeights::default(),
        };
        if let Some(seed) = drawn() {
            settings.set_seed(seed);
        }
        settings
    }

    /// Whether it takes trace contexts.
    #[cfg_attr(
        not(feature = "tracing"),
        expect(clippy::unused_self, reason = "as with the feature")
    )]
    pub(super) fn takes_traces(&self) -> bool {
        #[cfg(feature = "tracing")]
        return self.propagator.is_some();
        #[cfg(not(feature = "tracing"))]
        false
    }

    /// Sets the seed, and what is made of it.
    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = Some(seed);
        self.token = mixed(seed);
        if !self.is_named {
            self.name = format!("worker-{:08x}", mixed(self.token) >> 32).into();
        }
    }

    /// Lowers what takes connections to what the process may open, where that is less. Returns what is
    /// lowered, and why.
    pub(super) fn lower(&mut self, room: Option<usize>) -> Option<String> {
        let handshakes = ("pending_handshakes_max", self.pending_handshakes_max);
        let lowered = lowered(room, ("links_max", self.links_max), handshakes)?;
        self.links_max = lowered.links;
        self.pending_handshakes_max = lowered.handshakes;
        (self.is_set || lowered.is_much).then_some(lowered.why)
    }

    pub(super) fn check(&mut self) -> Result<(), SettingError> {
        if self.seed.is_none() {
            return Err(SettingError(NO_SEED));
        }
        if self.name.is_empty() || check_name(&self.name).is_err() {
            return Err(SettingError("name must have 1 to 64 bytes and no control character"));
        }
        if check_shown(&self.name).is_err() {
            return Err(SettingError(
                "name must have no character that nobody sees or that turns others",
            ));
        }
        if self.schema.as_deref().is_some_and(|schema| check_schema(schema).is_err()) {
            return Err(SettingError("schema must have at most 64 bytes and no control character"));
        }
        let names = self.wanted.queues.iter().flat_map(|names| &**names);
        let is_plain = |name: &Arc<str>| check_queue_name(name).is_ok();
        let bytes: usize = names.clone().map(|name| 1 + name.len()).sum();
        if !names.clone().all(is_plain) || bytes > QUEUE_NAMES_BYTES_MAX {
            return Err(SettingError(
                "each of the queues must have a name of 1 to 64 bytes and no control character, and \
                 all together 512 bytes at most, one more counted for each",
            ));
        }
        if self.concurrency == 0 {
            return Err(SettingError("concurrency must be at least 1"));
        }
        if self.links_max == 0 {
            return Err(SettingError("links_max must be at least 1"));
        }
        if self.links_per_identity == Some(0) || self.links_per_host == Some(0) {
            return Err(SettingError("links_per_identity and links_per_host must be at least 1"));
        }
        if self.memory_max == 0 {
            return Err(SettingError("memory_max must be at least 1"));
        }
        if self.heartbeat_max < Duration::from_millis(1) {
            return Err(SettingError("heartbeat_max must be at least 1 ms"));
        }
        if self.progress_interval < PROGRESS_INTERVAL_MIN {
            return Err(SettingError("progress_interval must be at least 100 ms"));
        }
        // Without a delay, a manager that refuses would be dialled without a pause.
        if self.backoff.delay(1, u64::MAX) < Duration::from_millis(1) {
            return Err(SettingError("the backoff's base and cap must be at least 1 ms"));
        }
        if self.pending_handshakes_max == 0 {
            return Err(SettingError("pending_handshakes_max must be at least 1"));
        }
        self.window_max = self.window_max.max(self.concurrency);
        Ok(())
    }

    /// Returns how many links a party may have, and the name of the setting that says so. `None` where nothing
    /// tells it from others.
    pub(super) fn links_of(&self, party: &Party) -> Option<(&'static str, usize)> {
        let half = self.links_max.div_ceil(2);
        match party {
            Party::Identity(_) => {
                Some(("links_per_identity", self.links_per_identity.unwrap_or(half)))
            }
            Party::Host(_) if self.links_per_host.is_some() || !party.is_loopback() => {
                Some(("links_per_host", self.links_per_host.unwrap_or(half)))
            }
            Party::Host(_) | Party::Anybody => None,
        }
    }

    /// Returns how many bytes of answers each link keeps: of all memory no more than a quarter, so that it never
    /// runs short by them.
    pub(super) fn answers_kept_max(&self) -> usize {
        let share = self.memory_max / self.links_max.saturating_mul(4).max(1);
        self.answers_kept_max.min(share)
    }

    /// Refuses a manager that is none of those that may use the worker.
    pub(super) fn check_manager(&self, identity: Option<&str>) -> Result<(), DisconnectReason> {
        let Some(managers) = &self.managers else { return Ok(()) };
        match identity {
            Some(identity) if managers.iter().any(|one| **one == *identity) => Ok(()),
            identity => {
                Err(DisconnectReason::NotAllowed { identity: identity.map(ToOwned::to_owned) })
            }
        }
    }

    /// Refuses links that leave the machine unprotected, unless the user has said that they may.
    pub(super) fn check_exposure(
        &self,
        (exposure, remedy): (Exposure, &'static str),
    ) -> Result<(), SettingError> {
        if is_taken(exposure, self.is_insecure) { Ok(()) } else { Err(SettingError(remedy)) }
    }
}

/// A worker's setting that is out of its range or missing, or links that nothing protects; the text names
/// it and the range, or the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingError(&'static str);

impl Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for SettingError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// As they are where no seed can be drawn.
    fn unseeded() -> Settings {
        Settings { seed: None, ..Settings::new() }
    }

    #[test]
    fn a_worker_that_has_no_seed_does_not_serve_and_says_how_to_give_one() {
        let mut settings = unseeded();
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains(".seed(..)"), "{error}");
        settings.set_seed(7);
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn token_and_default_name_are_made_of_the_seed_and_a_name_that_was_set_stays() {
        let [mut one, mut same, mut other] = [Settings::new(), Settings::new(), Settings::new()];
        (other.name, other.is_named) = ("mine".into(), true);
        one.set_seed(7);
        same.set_seed(7);
        other.set_seed(8);
        assert_eq!((one.token, &one.name), (same.token, &same.name));
        assert_ne!(one.token, other.token);
        assert_eq!(&*other.name, "mine");
        let drawn = [Settings::new(), Settings::new()].map(|settings| settings.token);
        assert_ne!(drawn[0], drawn[1], "where none is given");
    }
}
