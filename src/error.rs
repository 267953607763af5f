//! Errors of the pool's handles.

use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::failure::Failure;
use crate::link::exposure;

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker's handler returned this error, or panicked with this message.
    Failed(Failure),
    /// As many attempts as `attempts_max` were lost with their link or outlived their deadline, where
    /// the task itself may have been the cause. It may have been carried out all the same, or may be
    /// what kills the workers.
    Exhausted {
        /// How many times it was sent.
        attempts: u32,
    },
    /// It came back as often as [`Config::resends_max`](chargehand_core::Config::resends_max) says
    /// without having been tried to its end: its workers stopped, were displaced, gave it back or could not
    /// do it then ([`Throttled`](crate::Throttled)). See why, or raise `resends_max`.
    Bounced {
        /// How many times it was sent.
        sends: u32,
    },
    /// It was cancelled.
    Cancelled,
    /// The pool's drain deadline came before its answer. It may have been carried out.
    Aborted,
    /// Its own deadline came before its answer. It may have been carried out.
    TimedOut,
    /// As many keys are in use as [`Config::keys_max`](chargehand_core::Config::keys_max) says, and it has
    /// another one: see [`TaskKey`](crate::TaskKey). Wait for tasks to end, use fewer, or raise that.
    TooManyKeys {
        /// How many there may be.
        most: u32,
    },
    /// The pool is stopping and took no new task.
    Stopping,
    /// The pool's driver is gone: it was dropped, or had finished before.
    Closed,
    /// The request could not be encoded, or is longer than the pool, the transport or the worker that
    /// it was to go to takes. It is not tried elsewhere: the text names the limit to raise.
    Request(String),
    /// The answer is not a valid encoding of the type asked for: manager and worker disagree on it. Or
    /// it would take too much of this process: see [`Pool::call`](crate::Pool::call).
    Answer(String),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "the worker's handler failed: {failure}"),
            Self::Exhausted { attempts } => write!(
                f,
                "sent {attempts} times, and each attempt was lost with its worker or took longer \
                 than attempt_timeout; raise attempts_max or see what the task does to workers"
            ),
            Self::Bounced { sends } => write!(
                f,
                "sent {sends} times, and each time its worker stopped, was displaced, gave it back \
                 before it was done or could not do it then: see why, or raise resends_max"
            ),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Aborted => f.write_str("the pool stopped before the task was answered"),
            Self::TimedOut => f.write_str("its deadline came before its answer: give it longer"),
            Self::TooManyKeys { most } => write!(
                f,
                "{most} keys are in use, the maximum, and this task needs one more: wait \
                 for tasks to end, use fewer keys, or raise keys_max"
            ),
            Self::Stopping => f.write_str("the pool is stopping and takes no new task"),
            Self::Closed => f.write_str("the pool's driver is gone: is its future still polled?"),
            Self::Request(text) => write!(f, "the request cannot be sent: {text}"),
            Self::Answer(text) => {
                write!(f, "the answer is not of the type asked for: {text}")
            }
        }
    }
}

impl Error for TaskError {}

/// A task that was not queued, and its request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySubmitError<T> {
    /// The queue is full; the request is handed back. Wait for room with `submit`, or later.
    Full(T),
    /// The task cannot be taken, now or later.
    Refused(TaskError),
}

impl<T> fmt::Display for TrySubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the queue is full: wait with submit, or raise queue_max"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl<T: fmt::Debug> Error for TrySubmitError<T> {}

/// What whoever adds a worker with a window of 0 is told.
pub(crate) const NO_WINDOW: &str = "a worker with a window of 0 gets no task: give it 1 or more";

/// Why a worker could not be added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerError {
    /// The pool has as many workers as it can hold. Remove one, or raise `workers_max`.
    Full,
    /// There is no such worker (any more).
    Unknown,
    /// A worker with a window of 0 would get no task. Give it 1 or more.
    NoWindow,
    /// The worker is not on this machine, and nothing protects the link to it. Use TLS or a key, or call
    /// [`Builder::insecure`](crate::Builder::insecure) where the network itself is trusted.
    Exposed,
    /// The pool's driver is gone.
    Closed,
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the pool is full: remove a worker, or raise workers_max",
            Self::Unknown => "no such worker in this pool (any more)",
            Self::NoWindow => NO_WINDOW,
            Self::Exposed => exposure::DIALLED,
            Self::Closed => "the pool's driver is gone: is its future still polled?",
        })
    }
}

impl Error for WorkerError {}

/// There is no queue of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueError {
    /// The name.
    pub name: String,
    /// The names of the queues that there are.
    pub known: Vec<String>,
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, known } = self;
        write!(f, "there is no queue `{name}`: add it by Builder::queue, or use one of ")?;
        f.write_str(&known.join(", "))
    }
}

impl Error for QueueError {}

/// The pool's driver is gone: it was dropped, or had finished before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool's driver is gone: is its future still polled?")
    }
}

impl Error for Closed {}
