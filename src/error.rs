//! Errors of the pool's handles.

use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::failure::Failure;
use crate::link::exposure;

/// Why a task has no result.
// With a tag of four bytes, what an outcome has beside it would be moved as 28, which stalls: decision 0010.
#[repr(u64)]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker's handler returned this error, or panicked with this message.
    Failed(Failure),
    /// `attempts_max` attempts were lost with their links or outlived their deadlines, in a way that the task itself
    /// may have caused. It may have been carried out nevertheless, or it may be what kills the workers.
    Exhausted {
        /// How many times the task was sent.
        attempts: u32,
    },
    /// The task came back [`Config::resends_max`](chargehand_core::Config::resends_max) times without a completed
    /// attempt: its workers stopped, were displaced, gave it back or could not do it at that time
    /// ([`Throttled`](crate::Throttled)). Find out why, or raise `resends_max`.
    Bounced {
        /// How many times the task was sent.
        sends: u32,
    },
    /// The task was cancelled.
    Cancelled,
    /// The pool's drain deadline passed before the answer came. The task may have been carried out.
    Aborted,
    /// The task's own deadline passed before the answer came. It may have been carried out.
    TimedOut,
    /// [`Config::keys_max`](chargehand_core::Config::keys_max) keys are in use, and the task has yet another one: see
    /// [`TaskKey`](crate::TaskKey). Wait for tasks to end, use fewer keys, or raise the limit.
    TooManyKeys {
        /// The limit.
        most: u32,
    },
    /// The pool is stopping and accepts no new task.
    Stopping,
    /// The pool's driver is gone: it was dropped, or had finished before.
    Closed,
    /// The request could not be encoded, or is longer than the pool, the transport or the chosen worker accepts. It
    /// is not tried on another worker. The text names the limit to raise.
    Request(String),
    /// The answer cannot be decoded as the type asked for, because manager and worker disagree on the type; or the
    /// decoded value would exceed a limit: see [`Pool::call`](crate::Pool::call).
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

/// Why a task was not queued, with its request if that can be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySubmitError<T> {
    /// The queue is full. The request is handed back: wait for room with `submit`, or try later.
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
    /// The pool has `workers_max` workers. Remove one, or raise that limit.
    Full,
    /// There is no such worker in this pool, or no longer.
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
