//! What a link of a pool speaks: the one place where the dialects part.

use chargehand_core::io::Dialect;

#[cfg(feature = "json")]
pub(crate) use super::json::JsonLink;
use crate::limits::Limits;
use crate::link::reason::DisconnectReason;

/// A link's dialect, with what it takes to speak it.
pub(crate) enum Speech {
    Native,
    /// That of the Go package: no handshake, no ping, one request at a time.
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "such links are refused"))]
    Json(JsonLink),
}

impl Speech {
    /// Returns what a new link speaks, if this pool does.
    #[cfg_attr(feature = "json", expect(clippy::unnecessary_wraps, reason = "without it is not"))]
    #[cfg_attr(not(feature = "json"), expect(unused_variables, reason = "they are of no use"))]
    pub(crate) fn of(dialect: Dialect, limits: &Limits) -> Result<Self, DisconnectReason> {
        match dialect {
            Dialect::Native => Ok(Self::Native),
            #[cfg(feature = "json")]
            Dialect::Json => Ok(Self::Json(JsonLink::new(limits.json_heights))),
            #[cfg(not(feature = "json"))]
            Dialect::Json => Err(DisconnectReason::JsonRefused),
        }
    }

    #[inline]
    pub(crate) fn is_native(&self) -> bool {
        matches!(self, Self::Native)
    }
}

/// Never made: see [`Speech::of`].
#[cfg(not(feature = "json"))]
pub(crate) enum JsonLink {}

#[cfg(not(feature = "json"))]
mod without {
    use core::task::{Context, Poll};
    use core::time::Duration;

    use chargehand_core::{Instant, TaskId};

    use super::JsonLink;
    use crate::driver::outgoing::Outgoing;
    use crate::driver::task::TaskEntry;
    use crate::driver::type_check::AnswerSink;
    use crate::link::erased::AnyWire;
    use crate::link::reason::DisconnectReason;

    impl JsonLink {
        pub(crate) fn note_asked(&mut self, _now: Instant) {
            match *self {}
        }

        pub(crate) fn try_send<W: AnyWire + ?Sized>(
            &mut self,
            _wire: &mut W,
            _cx: &mut Context<'_>,
            _message: Outgoing,
            _tasks: &[TaskEntry],
        ) -> Result<Poll<()>, DisconnectReason> {
            match *self {}
        }

        pub(crate) fn on_frame(
            &mut self,
            _frame: &[u8],
            _sink: &mut AnswerSink<'_>,
        ) -> Result<(), DisconnectReason> {
            match *self {}
        }

        pub(crate) fn fail_unfit(&mut self, _sink: &mut AnswerSink<'_>) {
            match *self {}
        }

        pub(crate) fn withdraw(&mut self, _task: TaskId, _attempt: u16) -> bool {
            match *self {}
        }

        pub(crate) fn check_overdue(
            &self,
            _: Instant,
            _: Duration,
        ) -> Result<(), DisconnectReason> {
            match *self {}
        }
    }
}
