//! What goes into the scheduler and what comes out of it.

#[cfg(feature = "task-times")]
use core::time::Duration;

use crate::id::{Link, TaskId, WorkerId};
#[cfg(feature = "queues")]
use crate::queue::{QueueSet, Rate};
use crate::time::Instant;

/// Something that happened on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// The connection that [`Action::Connect`] asked for is up and its handshake is done.
    Connected {
        /// The link of the action.
        link: Link,
        /// What the worker takes.
        offer: Offer,
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
        /// How it ended, which decides whether what it held counts as an attempt.
        how: Loss,
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
    /// Bytes of messages that are not whole yet are on their way: no attempt on this link ends by its
    /// deadline before `until`. It puts nothing off twice: a later one that says an earlier time
    /// changes nothing. For silence, report [`Event::Heard`] as well.
    Moving {
        /// The link that they move on.
        link: Link,
        /// Until when the attempts on it are left alone.
        until: Instant,
    },
    /// The worker is stopping: it finishes what it holds and wants nothing more. Its link is closed
    /// then, and one by [`Route::Await`] leaves the pool.
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
    /// The worker answered an attempt with what is of no use, and more is known of it than
    /// [`Verdict::Failed`] says.
    Useless {
        /// The link that the answer came on.
        link: Link,
        /// The task, as the answer names it.
        task: TaskId,
        /// The attempt, as the answer names it.
        attempt: u16,
        /// What is known of it.
        why: Useless,
    },
    /// An earlier answer of this worker that was of no use turned out to be nobody's fault: another
    /// worker's was alike. It counts against it no more.
    Excused {
        /// Its link, if that is still up.
        link: Link,
    },
    /// The worker says how far an attempt is. Where the task's [`attempt_max`](crate::TaskOptions::attempt_max) says so it
    /// has its time once more. It is refused as an answer would be. No sign of life: a worker that hears nothing
    /// while it says so is pinged as any other, so that it knows that somebody listens.
    #[cfg(feature = "task-times")]
    Progress {
        /// The link that it came on.
        link: Link,
        /// The task, as the worker names it.
        task: TaskId,
        /// The attempt, as the worker names it.
        attempt: u16,
        /// How much is done, in whatever unit. What is no more than was said of the attempt before, zero to
        /// begin with, gives it no more time.
        done: u64,
    },
    /// A worker that is [back](Offer::resumes) still has this attempt, which it held when its last link broke: it
    /// runs there, or its answer follows. It is refused as an answer would be: then tell the worker to drop it.
    /// One that was sent on this very link is [`Foreign`](crate::EventError::Foreign): close the link.
    #[cfg(feature = "task-times")]
    Kept {
        /// The link that it came on.
        link: Link,
        /// The task, as the worker names it.
        task: TaskId,
        /// The attempt, as the worker names it.
        attempt: u16,
    },
    /// A worker that is back has named all attempts that it still has. The others are sent again, with nothing
    /// counted.
    #[cfg(feature = "task-times")]
    Listed {
        /// The link that it came on.
        link: Link,
    },
    /// A worker that was [busy](Event::Busy) takes tasks again. No news to one that was not.
    Ready {
        /// The link that is not busy any more.
        link: Link,
    },
}

impl Event {
    /// Returns the link that it is about.
    pub(crate) const fn link(&self) -> Link {
        match self {
            Self::Connected { link, .. }
            | Self::Refused { link }
            | Self::Lost { link, .. }
            | Self::Replied { link, .. }
            | Self::Heard { link }
            | Self::Moving { link, .. }
            | Self::Draining { link }
            | Self::Busy { link }
            | Self::Useless { link, .. }
            | Self::Excused { link }
            | Self::Ready { link } => *link,
            #[cfg(feature = "task-times")]
            Self::Progress { link, .. } | Self::Kept { link, .. } | Self::Listed { link } => *link,
        }
    }
}

/// How a worker ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Verdict {
    /// The handler returned a result.
    Done,
    /// The handler returned an error, or panicked.
    Failed,
    /// It did not begin: the worker gives it back, or the request never left. The task is sent
    /// again, and no attempt is counted, up to [`Config::resends_max`](crate::Config::resends_max).
    Returned,
}

/// Why an answer is of no use to its task, and what becomes of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Useless {
    /// The caller cannot use the result: it does not decode as the type asked for, say. It counts as a
    /// lost attempt and is tried elsewhere, and counts against the worker as a failed task does; since
    /// manager and workers may just disagree on the type, that can be taken back by [`Event::Excused`].
    Unusable,
    /// The same, and another worker's answer was of no use either, or there is no other worker. It is
    /// nobody's fault: a failure of the task's, which ends as [`Failed`](Outcome::Failed) or is retried.
    Final,
    /// The handler failed and says that no retry is of use: the task ends as
    /// [`Failed`](Outcome::Failed), however many are left. The failure is the task's own, and does not
    /// count towards the worker's rest.
    Permanent,
    /// The handler failed and says when to try again: where retries are left, so much later, in place
    /// of the delay that the task would have. In all else it is as [`Verdict::Failed`], which whoever
    /// is without the feature `task-times` reports instead.
    #[cfg(feature = "task-times")]
    RetryAfter(Duration),
    /// The worker cannot do it now: what it calls on wants no more of it for so long. The task goes back
    /// with no attempt and no failure counted, up to [`Config::resends_max`](crate::Config::resends_max). The
    /// worker gets none for that time, [`Config::pause_max`](crate::Config::pause_max) at most, and half as
    /// many at once afterwards; what it holds and has not begun is taken back. It is no failure of the
    /// worker's. Whoever is without the feature `task-times` reports [`Verdict::Returned`] instead.
    #[cfg(feature = "task-times")]
    Throttled(Duration),
    /// The task cannot be done now, nor any other of its key: what they are about wants no more for so long. It
    /// goes back as by [`Throttled`](Self::Throttled), and no task of its key is sent for that time: those that
    /// no worker holds rest. One without a key rests alone. The worker is not held to account, and goes on with
    /// other tasks. Whoever is without the feature `task-times` reports [`Verdict::Returned`] instead.
    #[cfg(feature = "task-times")]
    KeyThrottled(Duration),
}

/// Something for the caller to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// A link is about to be judged, for its silence or for an attempt's deadline. Read from it once
    /// more and report what comes, and where a message is on its way that is not whole yet
    /// [`Event::Heard`] and [`Event::Moving`]: all before the next action is polled, which is the
    /// verdict. Whoever has nothing to report just polls on.
    Look {
        /// The link to look at.
        link: Link,
        /// The task whose attempt, or whose own deadline, has come to its end, where it is not the link's
        /// silence. It is the worker's oldest, unless it has times of its own.
        overdue: Option<TaskId>,
    },
    /// Ask an idle link for a sign of life; report what comes as [`Event::Heard`].
    Ping {
        /// The idle link.
        link: Link,
    },
    /// A worker failed too many tasks in a row and gets none until a later time. For information:
    /// there is nothing to do.
    Suspend {
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
        /// How many times it was sent.
        attempts: u16,
    },
}

/// Why the scheduler closes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Outcome {
    /// A worker's handler returned a result.
    Done,
    /// A worker's handler failed, and no retry was left or it said that none is of use.
    Failed,
    /// As many attempts as `attempts_max` were lost with their link or outlived their deadline,
    /// where the task itself may have been the cause.
    Exhausted,
    /// It came back as often as `resends_max` without having been tried to its end: workers that
    /// stopped, were displaced, gave it back before they began or could not do it then.
    Bounced,
    /// The caller cancelled it.
    Cancelled,
    /// The drain's deadline came first.
    Aborted,
    /// Its own deadline came first, wherever it was: waiting, resting, or with a worker, which may have
    /// carried it out. Only with the feature `task-times`.
    TimedOut,
}

/// How a worker is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Accepted {
    /// Names the new connection in every later event.
    pub link: Link,
    /// The same worker's older connection, which the new one displaced: close it, report nothing
    /// more on it. Its tasks are queued again, and no attempt is counted for them.
    pub displaced: Option<Link>,
}

/// What a worker takes on a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Offer {
    /// How many tasks it runs at once, by its own account; 0 counts as 1. When a link is lost, what
    /// it held beyond that cannot have begun, and no attempt is counted for it.
    pub runs: u32,
    /// How many attempts it may hold at once; 0 counts as 1, and more than
    /// [`Config::window_max`](crate::Config::window_max) as that. A link begins with less: see
    /// [`Config::trust_initial`](crate::Config::trust_initial).
    pub window: u32,
    /// Whether it begins with its whole window: a worker in the caller's own process, say, which has
    /// nothing to prove.
    pub is_trusted: bool,
    /// How much of the work it is to get compared to others: one of 2 gets a task that it is expected to
    /// take twice as long for. 0 counts as 1. Only by [`Choice::FirstAnswer`](crate::config::Choice::FirstAnswer).
    #[cfg(feature = "choice")]
    pub weight: u16,
    /// Whether its window sizes itself, between what it runs at once and `window`, where it has not earned less.
    /// Only by [`Choice::FirstAnswer`](crate::config::Choice::FirstAnswer).
    #[cfg(feature = "choice")]
    pub is_auto: bool,
    /// For how long it goes on with what it holds once its link breaks: see
    /// [`Config::grace`](crate::Config::grace), of which the shorter counts. Zero if it does not.
    #[cfg(feature = "task-times")]
    pub keeps: Duration,
    /// Whether it is the worker that had the last link, and has not been started anew since: it still has what it
    /// held, or says by [`Event::Listed`] what of that. What is not told within its grace is sent again, and
    /// without this at once.
    #[cfg(feature = "task-times")]
    pub resumes: bool,
    /// Whose tasks it gets: those of these queues, and of no other one. Places that the pool has no queue at do
    /// not count. At most [`SETS_MAX`](crate::queue::SETS_MAX) sets other than all are in use at once.
    #[cfg(feature = "queues")]
    pub serves: QueueSet,
    /// How many tasks it is sent in a time, at most: retries and other sends of the same task included. What was
    /// sent on its earlier links counts. `None` for no limit.
    #[cfg(feature = "queues")]
    pub rate: Option<Rate>,
}

impl Offer {
    /// Makes the offer of a worker that runs so many tasks at once and holds no more than that.
    pub const fn new(runs: u32) -> Self {
        Self {
            runs,
            window: runs,
            is_trusted: false,
            #[cfg(feature = "choice")]
            weight: 1,
            #[cfg(feature = "choice")]
            is_auto: false,
            #[cfg(feature = "task-times")]
            keeps: Duration::ZERO,
            #[cfg(feature = "task-times")]
            resumes: false,
            #[cfg(feature = "queues")]
            serves: QueueSet::ALL,
            #[cfg(feature = "queues")]
            rate: None,
        }
    }

    /// Sets which queues' tasks it gets.
    #[cfg(feature = "queues")]
    #[must_use]
    pub const fn serves(mut self, queues: QueueSet) -> Self {
        self.serves = queues;
        self
    }

    /// Sets how many tasks it is sent in a time, at most.
    #[cfg(feature = "queues")]
    #[must_use]
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Has its window size itself, up to so many.
    #[cfg(feature = "choice")]
    #[must_use]
    pub const fn auto(mut self, most: u32) -> Self {
        (self.window, self.is_auto) = (most, true);
        self
    }

    /// Sets how much of the work it is to get compared to others.
    #[cfg(feature = "choice")]
    #[must_use]
    pub const fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    /// Sets how many attempts it may hold at once.
    #[must_use]
    pub const fn window(mut self, window: u32) -> Self {
        self.window = window;
        self
    }

    /// Sets for how long it goes on with what it holds once its link breaks.
    #[cfg(feature = "task-times")]
    #[must_use]
    pub const fn keeps(mut self, span: Duration) -> Self {
        self.keeps = span;
        self
    }

    /// Says that it is the worker that had the last link.
    #[cfg(feature = "task-times")]
    #[must_use]
    pub const fn resumes(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// Has it begin with its whole window.
    #[must_use]
    pub const fn trusted(mut self) -> Self {
        self.is_trusted = true;
        self
    }
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Loss {
    /// It broke, or was closed because of what the worker did. What had begun on it may be the
    /// cause, and counts as an attempt; unless the worker had said before that it drains.
    Broken,
    /// The worker took its leave. Nothing counts, and one by [`Route::Await`] leaves the pool.
    Stopped,
    /// It broke, and nothing says that the worker is to blame or gone: it keeps what it holds for its
    /// [grace](crate::Config::grace). Without one this is as [`Broken`](Self::Broken), which whoever is without the
    /// feature `task-times` reports instead.
    #[cfg(feature = "task-times")]
    Away,
}
