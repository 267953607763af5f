//! What goes into the scheduler and what comes out of it.

use crate::id::{Link, TaskId, WorkerId};
use crate::time::Instant;

/// Something that happened on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The connection that [`Action::Connect`] asked for is up and its handshake is done.
    Connected {
        /// The link of the action.
        link: Link,
        /// How many attempts the worker may hold at once; 0 counts as 1.
        window: u32,
    },
    /// The connection that [`Action::Connect`] asked for could not be made.
    Refused {
        /// The link of the action.
        link: Link,
    },
    /// An established connection is gone.
    Lost {
        /// The link that is gone.
        link: Link,
    },
    /// The worker answered an attempt.
    Replied {
        /// The link that the answer came on.
        link: Link,
        /// The task, as the answer names it.
        task: TaskId,
        /// The attempt, as the answer names it.
        attempt: u16,
        /// What the worker says of it.
        verdict: Verdict,
    },
    /// A whole message other than an answer came, so the peer lives.
    Heard {
        /// The link that it came on.
        link: Link,
    },
    /// The worker is stopping: it finishes what it holds and wants nothing more.
    Draining {
        /// The link that said so.
        link: Link,
    },
    /// The worker can take nothing for now, though it has room by its window: one that cannot be
    /// told of an [`Action::Withdraw`] works on, say. It gets no task until [`Event::Ready`].
    Busy {
        /// The link that is busy.
        link: Link,
    },
    /// A worker that was [busy](Event::Busy) takes tasks again. No news to one that was not.
    Ready {
        /// The link that is not busy any more.
        link: Link,
    },
}

/// How a worker ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// The handler returned a result.
    Done,
    /// The handler returned an error, or panicked.
    Failed,
    /// The worker did not begin it and gives it back.
    Returned,
}

/// Something for the caller to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Action {
    /// Open a connection, then report [`Event::Connected`] or [`Event::Refused`].
    Connect {
        /// Names the new connection in every later event.
        link: Link,
    },
    /// Close a connection, or give up opening it. The scheduler has forgotten it already: report
    /// nothing more on it.
    Disconnect {
        /// The connection to close.
        link: Link,
        /// Why.
        reason: Reason,
    },
    /// Send a task to a worker.
    Send {
        /// Where to.
        link: Link,
        /// The task.
        task: TaskId,
        /// The number of this sending among all of the task's, from 1 on.
        attempt: u16,
    },
    /// Tell a worker that an attempt is no longer wanted. An answer that still comes is ignored.
    Withdraw {
        /// Where it runs.
        link: Link,
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: u16,
    },
    /// Ask an idle link for a sign of life; report what comes as [`Event::Heard`].
    Ping {
        /// The idle link.
        link: Link,
    },
    /// A worker failed too many tasks in a row and gets none until a later time. For information:
    /// there is nothing to do.
    Rest {
        /// The worker.
        worker: WorkerId,
        /// When it gets tasks again, at the latest.
        until: Instant,
    },
    /// A worker left the pool; its id is free for another from now on.
    Gone {
        /// The worker that was.
        worker: WorkerId,
    },
    /// A task is finished; its id is free for another from now on.
    Finish {
        /// The task that was.
        task: TaskId,
        /// How it ended. Each accepted task gets exactly one.
        outcome: Outcome,
        /// How often it was sent.
        attempts: u16,
    },
}

/// Why the scheduler closes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// Connecting, with its handshake, took longer than `connect_timeout`.
    ConnectTimeout,
    /// Nothing was heard for `heartbeat_interval`, and no answer to a ping for
    /// `heartbeat_timeout`.
    Silent,
    /// As many attempts in a row as `strikes_max` outlived `attempt_timeout`.
    Strikes,
    /// The worker was removed, or asked to drain, and holds nothing any more.
    Drained,
    /// The pool is drained.
    Stopped,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// A worker's handler returned a result.
    Done,
    /// A worker's handler failed, and no retry was left.
    Failed,
    /// As many attempts as `attempts_max` were lost with their link or outlived their deadline.
    Exhausted,
    /// The caller cancelled it.
    Cancelled,
    /// The drain's deadline came first.
    Aborted,
}

/// How a worker is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Route {
    /// The manager opens the connection: the scheduler asks for it by [`Action::Connect`].
    Dial,
    /// The worker opens the connection: the caller reports it by
    /// [`accept`](crate::Scheduler::accept).
    Await,
}

/// A dialled-in link that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Accepted {
    /// Names the new connection in every later event.
    pub link: Link,
    /// The same worker's older connection, which the new one displaced: close it, report nothing
    /// more on it. Its tasks are queued again.
    pub displaced: Option<Link>,
}
