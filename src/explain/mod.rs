//! Why a pool does what it does: why tasks wait, why a task is where it is, why a worker gets none.
//!
//! Every reason is the scheduler's own, as of when there was nothing left for it to do: see
//! [`Waits`] and [`Idles`]. What has not got as far as the scheduler
//! waits for what [`Lacks`] says.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use chargehand_core::{Idles, Instant, TaskId, TaskStats, Waits, WorkerId};

mod text;

/// A pool at one moment, and why nothing else is done then: what [`Pool::explain`](crate::Pool::explain) returns.
///
/// Displays as some lines for people, which begin with what it comes to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// That moment, by the pool's clock.
    pub at: Instant,
    /// The pool takes nothing new, and ends once what it has is done.
    pub is_stopping: bool,
    /// Tasks that workers hold.
    pub in_flight: u32,
    /// Tasks that wait in the scheduler, by queue and reason: those first that are nearest to being sent.
    pub waiting: Vec<Waiting>,
    /// What has not got as far as the scheduler: submitted tasks, and the rest of ranges and maps.
    pub outside: Vec<Outside>,
    /// Why each worker gets no task now, by id.
    pub workers: Vec<IdleWorker>,
}

/// Tasks of one queue that wait for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Their queue.
    pub queue: Arc<str>,
    /// Why they wait; with the earliest time where they differ in that.
    pub why: Waits,
    /// For how long at most they do for this reason, where it ends by itself and it is known when.
    pub left: Option<Duration>,
    /// How many there are.
    pub count: u32,
    /// One of them.
    pub example: TaskName,
    /// The task that has the place of its key, where it waits for that.
    pub keeper: Option<TaskName>,
}

/// What a task is called: its height, or else its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskName {
    /// Its id, where it has got as far as the scheduler.
    pub id: Option<TaskId>,
    /// Its height, if it is one of a range; of a map its place among the requests, from 0 on.
    pub height: Option<i128>,
}

/// Tasks that have not got as far as the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outside {
    /// What they are of.
    pub of: Stream,
    /// How many there are, where that is known: of a map only its source knows.
    pub count: Option<u64>,
    /// What they wait for.
    pub why: Lacks,
}

/// Where tasks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// Single tasks: [`Pool::call`](crate::Pool::call), [`Pool::submit`](crate::Pool::submit).
    Calls,
    /// A range of heights, by its first and last one.
    Range(i128, i128),
    /// A map of requests.
    Map,
}

/// What a task waits for that has not got as far as the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lacks {
    /// As many tasks are in the scheduler as may be: [`tasks_max`](crate::Builder::tasks_max), or what one queue
    /// may have of it.
    Room,
    /// What the pool holds fills [`memory_max`](crate::Builder::memory_max), mostly outcomes that nobody has taken.
    Memory,
    /// As many outcomes of its stream as may be are not taken: see [`Outcomes::ahead`](crate::Outcomes::ahead).
    Taking,
    /// As many tasks of the stream as may wait for their key.
    Key,
    /// Nothing: so many of the stream wait in the scheduler as keep the workers busy.
    Nothing,
    /// The map's source has none now.
    Source,
    /// The stream has stopped: at a failure, because it is dropped, or because the pool stops.
    Stopped,
}

/// Why one worker gets no task now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IdleWorker {
    /// The worker.
    pub id: WorkerId,
    /// What it is called.
    pub peer: Arc<str>,
    /// Why it gets none.
    pub why: Idles,
    /// For how long at most, where that ends by itself and it is known when.
    pub left: Option<Duration>,
    /// Tasks that it holds.
    pub in_flight: u32,
    /// Tasks that it may hold now.
    pub allowance: u32,
    /// Tasks that it may hold once it has earned that.
    pub window: u32,
    /// Why its latest link was lost, or could not be made.
    pub last_error: Option<String>,
}

/// What one task does now, and why: what [`Pool::explain_task`](crate::Pool::explain_task) and
/// [`Task::explain`](crate::Task::explain) return. Displays as a line for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskExplanation {
    /// What it is called.
    pub name: TaskName,
    /// Its queue, once it is in the scheduler.
    pub queue: Option<Arc<str>>,
    /// What became of its attempts so far.
    pub stats: TaskStats,
    /// What it does.
    pub now: TaskNow,
}

/// What a task does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskNow {
    /// It waits to be sent.
    Waits {
        /// Why.
        why: Waits,
        /// For how long at most for this reason, where it ends by itself and it is known when.
        left: Option<Duration>,
        /// The task that has the place of its key, where it waits for that.
        keeper: Option<TaskName>,
    },
    /// A worker holds it.
    With {
        /// The worker.
        worker: WorkerId,
        /// What that is called.
        peer: Arc<str>,
        /// By which rule that got it.
        by: Rule,
        /// Its link is broken, and it is waited for.
        is_away: bool,
    },
    /// It has not got as far as the scheduler.
    Outside(Lacks),
    /// It has its outcome already, or was done before.
    Over,
}

/// By which rule a task went to the worker that it is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// Of the workers with room this one held the fewest; among equals its turn had come.
    LeastLoaded,
    /// Of the workers with room that were looked at this one was expected to answer first.
    FirstAnswer,
    /// As either, but of the workers other than the one that it came back from, as long as there was one with room.
    Elsewhere,
}

/// Which task is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Those of this height, in every range and map.
    Height(i128),
    /// The one of this id.
    Id(TaskId),
}

chargehand_core::names! {
    Lacks {
        Room = "outside_room",
        Memory = "outside_memory",
        Taking = "outside_taking",
        Key = "outside_key",
        Nothing = "outside_nothing",
        Source = "outside_source",
        Stopped = "outside_stopped",
    }
}

impl Explanation {
    /// Returns why a worker with room gets nothing: the reason of those that are nearest to being sent. `None` where
    /// no task waits in the scheduler.
    pub fn nearest(&self) -> Option<&Waiting> {
        self.waiting.first()
    }
}
