//! What a worker tells of itself.

use alloc::boxed::Box;
use alloc::string::String;
use core::time::Duration;

use crate::handler::running::caught;

/// Something that happened to a worker: see [`Worker::on_event`](super::Worker::on_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// A manager's link is up.
    Connected {
        /// The other end, as the transport names it.
        peer: String,
        /// The manager's name for itself; empty in the JSON dialect.
        manager: String,
    },
    /// A link that was up is gone. What it ran was stopped.
    Disconnected {
        /// The other end, as the transport names it.
        peer: String,
        /// The manager's name for itself; empty in the JSON dialect.
        manager: String,
        /// Why.
        reason: String,
    },
    /// A connection did not come up, or its handshake failed.
    Refused {
        /// The other end, as the transport names it.
        peer: String,
        /// Why.
        reason: String,
    },
    /// The manager said that it does not want this worker for now: another live one has its name, a
    /// newer link has displaced this one, it comes back too often without doing anything, or there is
    /// no room. It follows what the end of the link was told with.
    SentAway {
        /// The other end, as the transport names it.
        peer: String,
        /// Why, and what to do about it.
        reason: String,
        /// How long a worker that dials waits before it connects again: at least 1 s, and longer
        /// each time, whatever it did on the link. `None` where managers dial.
        pause: Option<Duration>,
    },
    /// No connection could be taken.
    AcceptFailed {
        /// Why.
        reason: String,
        /// How long until the next try.
        pause: Duration,
    },
    /// The limits on connections that the worker was given are above what its process may open, and
    /// lower ones hold.
    Lowered {
        /// Which limits, to what, and the remedy.
        reason: String,
    },
    /// The worker was asked to stop.
    Draining,
}

pub(super) struct Hook(pub(super) Option<Box<dyn Fn(&WorkerEvent) + Send>>);

impl Hook {
    pub(super) fn call(&self, event: impl FnOnce() -> WorkerEvent) {
        if let Some(hook) = &self.0 {
            let event = event();
            // The user's own affair: it must not take the links down.
            let _ = caught(|| hook(&event));
        }
    }
}
