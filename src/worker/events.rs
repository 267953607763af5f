//! What a worker tells of itself.

use alloc::string::String;
use core::fmt::{self, Display};
use core::time::Duration;

use chargehand_core::message::Code;

use crate::link::reason::DisconnectReason;

/// Something that happened to a worker: see [`Worker::on_event`](super::Worker::on_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// A manager's link is up.
    Connected {
        /// The other end, as the transport names it.
        peer: String,
        /// The name that the manager gives itself; empty in the JSON dialect. If the transport has proven another
        /// identity, that identity.
        manager: String,
        /// The identity that the transport has proven, if any.
        identity: Option<String>,
    },
    /// A link was lost. Its running tasks were stopped.
    Disconnected {
        /// The other end, as the transport names it.
        peer: String,
        /// The name that the manager gives itself; empty in the JSON dialect.
        manager: String,
        /// Why.
        reason: DisconnectReason,
    },
    /// A connection could not be made, or its handshake failed.
    Refused {
        /// The other end, as the transport names it.
        peer: String,
        /// Why.
        reason: DisconnectReason,
    },
    /// The manager turned this worker away for now: another live worker has its name, a newer link has displaced this
    /// one, the worker came back too often without doing anything, or there is no room. It comes after the event that
    /// reports the end of the link.
    SentAway {
        /// The other end, as the transport names it.
        peer: String,
        /// Why: a [`Goodbye`](DisconnectReason::Goodbye).
        reason: DisconnectReason,
        /// How long a worker that dials waits before it connects again: at least 1 s, and longer each time, whatever
        /// it did on the link. `None` if managers dial.
        pause: Option<Duration>,
    },
    /// No connection could be accepted.
    AcceptFailed {
        /// What the transport said.
        error: String,
        /// The pause before the next try: 50 ms at first, then twice as long each time, up to 1 s.
        pause: Duration,
    },
    /// The process may not open as many connections as the worker's limits allow, so the limits were lowered.
    Lowered {
        /// Which limits, to what, and the remedy.
        reason: String,
    },
    /// A certificate of this side or of a manager expires within a week. Reported when a link comes up and once a
    /// day, on transports that know about certificates (TLS with members).
    Expiring {
        /// Whose certificate, on which day, and the remedy.
        reason: String,
    },
    /// The worker was asked to stop.
    Draining,
}

impl Display for WorkerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer, manager, identity: None } => {
                write!(f, "{peer}: connected to {manager:?}")
            }
            Self::Connected { peer, manager, identity: Some(identity) } => {
                write!(f, "{peer}: connected to {manager:?}, proven to be {identity:?}")
            }
            Self::Disconnected { peer, reason, .. } => write!(f, "{peer}: gone: {reason}"),
            Self::Refused { peer, reason } => write!(f, "{peer}: cannot connect: {reason}"),
            Self::SentAway { peer, reason, .. } => {
                write!(f, "{peer}: sent away: {reason}: {}", remedy(reason))
            }
            Self::AcceptFailed { error, pause } => {
                write!(f, "cannot accept, pauses {pause:?}: {error}")
            }
            Self::Lowered { reason } | Self::Expiring { reason } => f.write_str(reason),
            Self::Draining => f.write_str("stopping"),
        }
    }
}

/// Returns what to do about being sent away.
fn remedy(reason: &DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::Goodbye { code: Code::NameTaken, .. } => {
            "another live worker has this one's name there: give each its own name"
        }
        DisconnectReason::Goodbye { code: Code::Displaced, .. } => {
            "a newer link has this worker's name: where that is another worker, give each its own name"
        }
        DisconnectReason::Goodbye { code: Code::TooSoon, .. } => {
            "it came back too soon after links on which it did nothing"
        }
        DisconnectReason::Goodbye { code: Code::NotAllowed, .. } => {
            "give it the name that it has proven, or let it in there"
        }
        _ => "the manager has no room for it now",
    }
}
