//! What a worker's link speaks: the one place where the dialects part.

use core::time::Duration;

use chargehand_core::io::Dialect;
use chargehand_core::message::HELLO_BYTES_MAX;

#[cfg(feature = "json")]
pub(super) use super::json::JsonLink;
use crate::link::reason::DisconnectReason;

/// The longest frame in the JSON dialect, whose requests are a height and little else.
const JSON_BYTES_MAX: usize = 64 << 10;
/// How long a drained link is left to the manager to close, because a request may be on its way.
const LEAVE_AFTER: Duration = Duration::from_secs(1);

/// A link's dialect, with what it takes to speak it.
pub(super) enum Speech {
    Native,
    /// That of the Go package: no handshake, one request at a time, and nothing to give one back with.
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "such links are refused"))]
    Json(JsonLink),
}

impl Speech {
    /// Returns what a new link speaks, if this worker does.
    #[cfg_attr(feature = "json", expect(clippy::unnecessary_wraps, reason = "without it is not"))]
    pub(super) fn of(dialect: Dialect) -> Result<Self, DisconnectReason> {
        match dialect {
            Dialect::Native => Ok(Self::Native),
            #[cfg(feature = "json")]
            Dialect::Json => Ok(Self::Json(JsonLink::default())),
            #[cfg(not(feature = "json"))]
            Dialect::Json => Err(DisconnectReason::JsonRefused),
        }
    }

    #[inline]
    pub(super) fn is_native(&self) -> bool {
        matches!(self, Self::Native)
    }

    /// Returns how long the first frame may be.
    pub(super) fn first_bytes_max(&self) -> usize {
        if self.is_native() { HELLO_BYTES_MAX } else { JSON_BYTES_MAX }
    }

    /// Returns how long a drained link stays open.
    pub(super) fn leave_after(&self) -> Duration {
        if self.is_native() { LEAVE_AFTER } else { Duration::ZERO }
    }

    /// Returns whether a request waits for the answer to the one before it.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        match self {
            Self::Native => false,
            Self::Json(json) => json.has_next(),
        }
    }
}

/// Never made: see [`Speech::of`].
#[cfg(not(feature = "json"))]
pub(super) enum JsonLink {}

#[cfg(not(feature = "json"))]
mod without {
    use alloc::string::String;
    use alloc::vec::Vec;

    use chargehand_core::Verdict;

    use super::JsonLink;
    use crate::payload::HEIGHT_BYTES_MAX;
    use crate::worker::settings::Settings;

    impl JsonLink {
        pub(in crate::worker) fn read(&self, _frame: &[u8]) -> Result<i64, String> {
            match *self {}
        }

        pub(in crate::worker) fn wait(&mut self, _height: Result<i64, String>) {
            match *self {}
        }

        pub(in crate::worker) fn has_next(&self) -> bool {
            match *self {}
        }

        pub(in crate::worker) fn take_next(&mut self) -> Option<Result<i64, String>> {
            match *self {}
        }

        pub(in crate::worker) fn begin<'a>(
            &mut self,
            _height: i64,
            _settings: &Settings,
            _buffer: &'a mut [u8; HEIGHT_BYTES_MAX],
        ) -> Result<&'a [u8], &'static str> {
            match *self {}
        }

        pub(in crate::worker) fn answer(&self, _: Verdict, _: &[u8], _: usize) -> Vec<u8> {
            match *self {}
        }
    }
}
