//! What happens in a pool, as a stream of events.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use async_channel::{Receiver, Sender, TrySendError};
use chargehand_core::{TaskId, WorkerId};
use futures_core::Stream;
use serde::{Serialize, Serializer};

use crate::link::reason::DisconnectReason;
use crate::next::Next;

/// Something that happened in a pool. `peer` is the address that was dialled, the name of a worker that dialled in,
/// or `in-process` with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A worker's link is up.
    Connected {
        /// The worker.
        worker: WorkerId,
        /// Its address or name.
        peer: Arc<str>,
        /// The identity that its transport has proven, if any.
        identity: Option<Arc<str>>,
        /// How many attempts it holds at once.
        window: u32,
    },
    /// A worker that has just connected serves only some queues, or names queues that this pool does not have. If it
    /// serves no queue of this pool it gets no task.
    Serves {
        /// The worker.
        worker: WorkerId,
        /// Its address or name.
        peer: Arc<str>,
        /// The queues of this pool that it serves.
        queues: Vec<String>,
        /// Names that the worker or its options gave and that no queue of this pool has.
        unknown: Vec<String>,
    },
    /// A worker could not be reached, or its handshake failed. The pool tries again after a backoff.
    Refused {
        /// The worker.
        worker: WorkerId,
        /// Its address.
        peer: Arc<str>,
        /// Why.
        reason: DisconnectReason,
    },
    /// A link was lost. Its tasks are queued again, unless the pool [waits for the
    /// worker](chargehand_core::Config::grace) to come back.
    Lost {
        /// The worker.
        worker: WorkerId,
        /// Its address or name.
        peer: Arc<str>,
        /// Why.
        reason: DisconnectReason,
    },
    /// A link was closed in an orderly way: its worker was removed or is stopping, or the pool is stopping.
    Closed {
        /// The worker.
        worker: WorkerId,
        /// Its address or name.
        peer: Arc<str>,
        /// Why.
        reason: DisconnectReason,
    },
    /// A connection that came in was turned away before it became a worker's link.
    TurnedAway {
        /// Its address, or `an incoming connection` where the transport does not know it yet.
        peer: Arc<str>,
        /// The identity that its transport had proven by then, if any.
        identity: Option<Arc<str>>,
        /// Why.
        reason: DisconnectReason,
    },
    /// A listener could not accept connections, for example because there were no file descriptors left. It pauses
    /// and tries again.
    AcceptFailed {
        /// What the transport said.
        error: String,
        /// The pause before the next try: 50 ms at first, then twice as long each time, up to 1 s.
        pause: Duration,
    },
    /// A task is sent again.
    Retried {
        /// The task.
        task: TaskId,
        /// Its height, if it is one of a range: a `u64` or an `i64`.
        height: Option<i128>,
        /// The number of this attempt, from 2 on.
        attempt: u16,
        /// The worker that it is sent to this time.
        peer: Arc<str>,
    },
    /// A second attempt of a task is sent because the first takes long: see
    /// [`TaskOptions::hedge`](crate::TaskOptions::hedge).
    Hedged {
        /// The task.
        task: TaskId,
        /// Its height, if it is one of a range: a `u64` or an `i64`.
        height: Option<i128>,
        /// The number of this attempt, from 2 on.
        attempt: u16,
        /// The second worker.
        peer: Arc<str>,
    },
    /// A task was given to a worker: its request is on the way there. Only reported by
    /// [`Pool::all_events`](crate::Pool::all_events).
    Started {
        /// The task.
        task: TaskId,
        /// Its height if it is part of a range (a `u64` or an `i64`), or the index of its request in a map.
        height: Option<i128>,
        /// The number of this attempt, from 1 on.
        attempt: u16,
        /// The worker.
        worker: WorkerId,
        /// Its address or name.
        peer: Arc<str>,
    },
    /// A handler reported progress ([`Context::progress`](crate::Context::progress)), at most once per
    /// [`progress_interval`](crate::Worker::progress_interval) of its worker. Only reported by
    /// [`Pool::all_events`](crate::Pool::all_events).
    Progress(TaskProgress),
    /// A worker failed too many tasks in a row and gets no task for this long.
    Suspended {
        /// The worker.
        worker: WorkerId,
        /// Its address or name.
        peer: Arc<str>,
        /// How long, at most.
        span: Duration,
    },
    /// A worker left the pool: it was removed, was absent for too long, or the pool stopped.
    Gone {
        /// The worker that was.
        worker: WorkerId,
        /// Its address or name.
        peer: Arc<str>,
    },
    /// A callback of [`Pool::submit_then`](crate::Pool::submit_then) panicked. This has no other effect.
    CallbackPanicked {
        /// What the panic said.
        text: String,
    },
    /// The process may not open as many connections as the pool's limits allow, so the limits were lowered. Every
    /// stream of events begins with this event if that is the case. Defaults may be lowered by up to half without it.
    Lowered {
        /// Which limits, to what, and the remedy.
        why: String,
    },
    /// A certificate of this side or of a worker expires within a week. Reported when a link comes up and once a day,
    /// on transports that know about certificates (TLS with members).
    Expiring {
        /// Whose certificate, on which day, and the remedy.
        why: String,
    },
    /// The pool's [flight recorder](crate::Builder::flight_recorder) stopped writing, for example because its disk is
    /// full. The pool goes on without it.
    Unrecorded {
        /// What the system reported, or what is wrong with the file.
        why: String,
    },
    /// This many events before this one were dropped because they were not read in time.
    Missed(u64),
}

impl fmt::Display for PoolEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer, identity: None, window, .. } => {
                write!(f, "{peer}: connected, takes {window} at once")
            }
            Self::Connected { peer, identity: Some(identity), window, .. } => {
                write!(f, "{peer}: connected, proven to be {identity:?}, takes {window} at once")
            }
            Self::Serves { peer, queues, unknown, .. } => write_served(f, peer, queues, unknown),
            Self::Refused { peer, reason, .. } => {
                let why = reason.to_string();
                if why.starts_with(CANNOT_CONNECT) {
                    return f.write_str(&named(peer, &why));
                }
                write!(f, "{peer}: {CANNOT_CONNECT}: {why}")
            }
            Self::Lost { peer, reason, .. } => write!(f, "{peer}: lost: {reason}"),
            Self::Closed { peer, reason, .. } => write!(f, "{peer}: closed: {reason}"),
            Self::TurnedAway { peer, identity, reason } => {
                write!(f, "turned a connection away: {}", named(peer, &reason.to_string()))?;
                match identity {
                    Some(identity) => write!(f, " (proven to be {identity:?})"),
                    None => Ok(()),
                }
            }
            Self::AcceptFailed { error, pause } => {
                write!(f, "cannot accept, pauses {pause:?}: {error}")
            }
            Self::Retried { height: Some(height), attempt, peer, .. } => {
                write!(f, "{peer}: height {height} sent again, attempt {attempt}")
            }
            Self::Retried { task, attempt, peer, .. } => {
                write!(f, "{peer}: task {} sent again, attempt {attempt}", task.slot())
            }
            Self::Hedged { height: Some(height), attempt, peer, .. } => {
                write!(f, "{peer}: height {height} sent here as well, attempt {attempt}")
            }
            Self::Hedged { task, attempt, peer, .. } => {
                write!(f, "{peer}: task {} sent here as well, attempt {attempt}", task.slot())
            }
            Self::Started { height: Some(height), attempt, peer, .. } => {
                write!(f, "{peer}: takes height {height}, attempt {attempt}")
            }
            Self::Started { task, attempt, peer, .. } => {
                write!(f, "{peer}: takes task {}, attempt {attempt}", task.slot())
            }
            Self::Progress(progress) => progress.fmt(f),
            Self::Suspended { peer, span, .. } => {
                write!(f, "{peer}: only fails, suspended for {span:?}")
            }
            Self::Gone { peer, .. } => write!(f, "{peer}: left the pool"),
            Self::CallbackPanicked { text } => write!(f, "a callback panicked: {text}"),
            Self::Lowered { why } | Self::Expiring { why } => f.write_str(why),
            Self::Unrecorded { why } => write!(f, "the flight record ends here: {why}"),
            Self::Missed(count) => write!(f, "{count} events were not taken in time"),
        }
    }
}

fn write_served(
    f: &mut fmt::Formatter<'_>,
    peer: &str,
    queues: &[String],
    unknown: &[String],
) -> fmt::Result {
    match queues {
        [] => write!(f, "{peer}: serves no queue of this pool and gets no task")?,
        queues => write!(f, "{peer}: serves {}", queues.join(", "))?,
    }
    if !unknown.is_empty() {
        write!(f, "; this pool has no queue {}: add it, or name another", unknown.join(", "))?;
    }
    Ok(())
}

/// The worker that a task was given to: see [`Task::started`](crate::Task::started).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// Its id.
    pub worker: WorkerId,
    /// Its address or name, as in a [`PoolEvent`].
    pub peer: Arc<str>,
    /// The number of this attempt, from 1 on.
    pub attempt: u16,
}

/// The latest progress of an attempt that its handler reported: in a [`PoolEvent`], from
/// [`Task::progress`](crate::Task::progress) and in [`PoolStats`](crate::PoolStats).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskProgress {
    /// The task.
    pub task: TaskId,
    /// Its height if it is part of a range (a `u64` or an `i64`), or the index of its request in a map.
    pub height: Option<i128>,
    /// The number of this attempt, from 1 on. Each attempt starts from zero.
    pub attempt: u16,
    /// The worker that runs it.
    pub worker: WorkerId,
    /// Its address or name.
    #[serde(serialize_with = "as_text")]
    pub peer: Arc<str>,
    /// How much is done, in the handler's unit.
    pub done: u64,
    /// How much there is to do; 0 if the handler does not know.
    pub total: u64,
}

impl fmt::Display for TaskProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, height, peer, done, total, .. } = self;
        match height {
            Some(height) => write!(f, "{peer}: height {height}: {done}")?,
            None => write!(f, "{peer}: task {}: {done}", task.slot())?,
        }
        if *total > 0 { write!(f, " of {total} done") } else { f.write_str(" done") }
    }
}

/// What transports begin with where nobody answers.
const CANNOT_CONNECT: &str = "cannot connect";

/// Returns what is said of a peer with its name before it, unless that is in it: transports name the
/// peer themselves.
pub(crate) fn named<'a>(peer: &str, text: &'a str) -> Cow<'a, str> {
    let place = peer.rsplit("://").next().unwrap_or(peer).trim_end_matches('/');
    if text.contains(place) { text.into() } else { format!("{peer}: {text}").into() }
}

// The trait's is behind a feature of serde's.
pub(crate) fn as_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// A stream of [`PoolEvent`]s, made by [`Pool::events`](crate::Pool::events). It ends when the
/// pool's driver does.
#[derive(Debug)]
pub struct Events(Pin<Box<Receiver<PoolEvent>>>);

impl Events {
    /// Returns the next event, or `None` after the last one, like `StreamExt::next` for callers that do not import
    /// that trait. Dropping the future loses nothing: the next call returns the event.
    #[allow(clippy::should_implement_trait)] // It is awaited, as that of `StreamExt`.
    pub fn next(&mut self) -> Next<'_, Self> {
        Next(self)
    }

    /// Makes a stream that holds at most `capacity` events, and the end that feeds it.
    pub(crate) fn new(capacity: usize, wants_tasks: bool) -> (EventFeed, Self) {
        let (sender, receiver) = async_channel::bounded(capacity);
        (EventFeed { sender, missed: 0, wants_tasks }, Self(Box::pin(receiver)))
    }
}

impl Stream for Events {
    type Item = PoolEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PoolEvent>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// The end that feeds a stream of events.
#[derive(Debug)]
pub(crate) struct EventFeed {
    sender: Sender<PoolEvent>,
    missed: u64,
    /// It is told of every task, too.
    pub(crate) wants_tasks: bool,
}

impl EventFeed {
    /// Leaves an event if there is room. Returns whether anybody is there to read it.
    pub(crate) fn tell(&mut self, event: &PoolEvent) -> bool {
        if self.missed > 0 && self.sender.try_send(PoolEvent::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        match self.sender.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use chargehand_core::{Config, Heap, Instant, Route, Scheduler};

    use super::*;

    #[test]
    fn what_a_transport_says_already_is_not_said_twice() {
        let mut scheduler = Scheduler::new(Heap::with_capacity(1, 1), Config::new(1)).unwrap();
        let worker = scheduler.add_worker(Instant::EPOCH, Route::Dial).unwrap();
        let shown = |peer: &str, why: &str| {
            let (peer, reason) = (peer.into(), DisconnectReason::Unreachable(why.into()));
            PoolEvent::Refused { worker, peer, reason }.to_string()
        };
        let refused = "cannot connect to host:9000: refused";
        assert_eq!(shown("host:9000", refused), refused);
        assert_eq!(shown("tcp://host:9000/", refused), refused);
        assert_eq!(shown("other", refused), format!("other: {refused}"));
        assert_eq!(shown("host:9000", "no Hello"), "host:9000: cannot connect: no Hello");
        let why = "connection with 10.0.0.1:5: reset";
        assert_eq!(named("10.0.0.1:5", why), why);
        assert_eq!(named("10.0.0.1:5", "no Hello"), "10.0.0.1:5: no Hello");
    }
}
