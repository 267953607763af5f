//! What happens in a pool and in a worker, as events of the crate `tracing`: where its feature is on.
//!
//! Each has a short message that is always the same, and what it is about in fields: `manager` or
//! `worker_name` for who tells, `worker` for the slot of a worker's id, `peer`, `reason`, `task`, `height`,
//! `attempt`; spans are in milliseconds. An error is what stops more than one link, a warning what somebody
//! should look at: a worker that was killed is one.

#[cfg(feature = "tracing")]
pub(crate) use self::events::{panicked, pool_event, worker_event};
#[cfg(all(feature = "std", not(feature = "tracing")))]
pub(crate) use self::nothing::panicked;
#[cfg(not(feature = "tracing"))]
pub(crate) use self::nothing::{pool_event, worker_event};

/// Events are made even if nobody listens to the pool or has a hook in the worker.
pub(crate) const IS_ON: bool = cfg!(feature = "tracing");

/// Does something within a span, if there is one, where spans are.
macro_rules! in_span {
    ($span:ident, $does:expr) => {{
        #[cfg(feature = "tracing")]
        let entered = $span.as_ref().map(tracing::Span::enter);
        let done = $does;
        #[cfg(feature = "tracing")]
        drop(entered);
        done
    }};
}
pub(crate) use in_span;

#[cfg(not(feature = "tracing"))]
mod nothing {
    use crate::events::PoolEvent;
    use crate::worker::events::WorkerEvent;

    pub(crate) fn pool_event(_: &str, _: &PoolEvent) {}
    pub(crate) fn worker_event(_: &str, _: &WorkerEvent) {}
    #[cfg(feature = "std")]
    pub(crate) fn panicked(_: &str) {}
}

#[cfg(feature = "tracing")]
mod events {
    use core::time::Duration;

    use chargehand_core::message::Code;
    use tracing::Level;

    use crate::events::{PoolEvent, TaskProgress};
    use crate::link::reason::DisconnectReason;
    use crate::worker::events::WorkerEvent;

    /// An event of that level, or of `INFO` where the reason is that somebody stops in good order.
    macro_rules! told {
        (WARN unless $reason:ident is in order, $($event:tt)*) => {
            if is_in_order($reason) {
                told!(INFO, reason = %$reason, $($event)*);
            } else {
                told!(WARN, reason = %$reason, $($event)*);
            }
        };
        ($level:ident, $($event:tt)*) => {
            tracing::event!(target: "chargehand", Level::$level, $($event)*)
        };
    }

    pub(crate) fn pool_event(manager: &str, event: &PoolEvent) {
        use PoolEvent as E;
        match event {
            E::Connected { worker, peer, identity, window } => {
                let (worker, identity) = (worker.slot(), identity.as_deref());
                told!(INFO, manager, worker, peer = &**peer, identity, window, "connected");
            }
            E::Serves { worker, peer, queues, unknown } if queues.is_empty() => {
                let (worker, peer, unknown) = (worker.slot(), &**peer, unknown.join(", "));
                told!(WARN, unknown, manager, worker, peer, "serves no queue of this pool");
            }
            E::Serves { worker, peer, queues, unknown } => {
                let (worker, queues, unknown) =
                    (worker.slot(), queues.join(", "), unknown.join(", "));
                told!(INFO, queues, unknown, manager, worker, peer = &**peer, "serves some queues");
            }
            E::Refused { worker, peer, reason } => {
                let worker = worker.slot();
                told!(WARN, reason = %reason, manager, worker, peer = &**peer, "cannot connect");
            }
            E::Lost { worker, peer, reason } => {
                let worker = worker.slot();
                told!(WARN unless reason is in order, manager, worker, peer = &**peer, "link lost");
            }
            E::Closed { worker, peer, reason } => {
                let worker = worker.slot();
                told!(INFO, reason = %reason, manager, worker, peer = &**peer, "link closed");
            }
            E::TurnedAway { peer, identity, reason } => {
                let (peer, identity) = (&**peer, identity.as_deref());
                told!(WARN, reason = %reason, manager, peer, identity, "connection turned away");
            }
            E::AcceptFailed { error, pause } => {
                told!(ERROR, error, pause_ms = millis(*pause), manager, "cannot accept");
            }
            E::Retried { task, height, attempt, peer } => {
                let (task, height) = (task.slot(), *height);
                told!(DEBUG, task, height, attempt, manager, peer = &**peer, "task sent again");
            }
            E::Hedged { task, height, attempt, peer } => {
                let (task, height, peer) = (task.slot(), *height, &**peer);
                told!(DEBUG, task, height, attempt, manager, peer, "task sent to a second worker");
            }
            E::Started { task, height, attempt, worker, peer } => {
                let (task, height, worker) = (task.slot(), *height, worker.slot());
                told!(TRACE, task, height, attempt, manager, worker, peer = &**peer, "task sent");
            }
            E::Progress(TaskProgress { task, height, attempt, worker, peer, done, total }) => {
                let (task, height, worker) = (task.slot(), *height, worker.slot());
                let peer = &**peer;
                told!(TRACE, task, height, attempt, done, total, manager, worker, peer, "progress");
            }
            E::Suspended { worker, peer, span } => {
                let (worker, span_ms) = (worker.slot(), millis(*span));
                told!(WARN, span_ms, manager, worker, peer = &**peer, "worker suspended");
            }
            E::Gone { worker, peer } => {
                told!(INFO, manager, worker = worker.slot(), peer = &**peer, "worker gone");
            }
            E::Lowered { why } => told!(WARN, reason = why, manager, "limits lowered"),
            E::Unrecorded { why } => told!(WARN, reason = why, manager, "the flight record ends"),
            E::Expiring { why } => told!(WARN, reason = why, manager, "a certificate expires"),
            // Told where it was caught, as any panic is; and missed by listeners only.
            E::CallbackPanicked { .. } | E::Missed(_) => {}
        }
    }

    pub(crate) fn worker_event(worker_name: &str, event: &WorkerEvent) {
        use WorkerEvent as E;
        match event {
            E::Connected { peer, manager, identity } => {
                told!(INFO, worker_name, peer, manager, identity, "connected");
            }
            E::Disconnected { peer, manager, reason } => {
                told!(WARN unless reason is in order, worker_name, peer, manager, "link lost");
            }
            E::Refused { peer, reason } => {
                told!(WARN, reason = %reason, worker_name, peer, "cannot connect");
            }
            E::SentAway { peer, reason, pause } => {
                let pause_ms = pause.map(millis);
                told!(WARN, reason = %reason, worker_name, peer, pause_ms, "sent away");
            }
            E::AcceptFailed { error, pause } => {
                told!(ERROR, error, pause_ms = millis(*pause), worker_name, "cannot accept");
            }
            E::Lowered { reason } => told!(WARN, reason, worker_name, "limits lowered"),
            E::Expiring { reason } => told!(WARN, reason, worker_name, "a certificate expires"),
            E::Draining => told!(INFO, worker_name, "stopping"),
        }
    }

    /// Tells of a panic of the user's code, wherever it was caught.
    pub(crate) fn panicked(text: &str) {
        told!(ERROR, panic = text, "handler, hook or callback panicked");
    }

    fn is_in_order(reason: &DisconnectReason) -> bool {
        use DisconnectReason as R;
        match reason {
            R::Goodbye { code, .. } => *code == Code::Stopped,
            R::Drained | R::Removed | R::Stopped | R::MadeRoom => true,
            _ => false,
        }
    }

    fn millis(span: Duration) -> u64 {
        u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
    }
}
