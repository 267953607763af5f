//! A pool at one moment, in numbers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use chargehand_core::{QueueStats, Rate, Stats, WorkerId, WorkerStats};
use serde::{Serialize, Serializer};

use crate::events::{TaskProgress, as_text};
use crate::link::reason::DisconnectReason;

/// A pool at one moment, or as it stopped: what [`Pool::stats`](crate::Pool::stats) and
/// [`Pool::stop`](crate::Pool::stop) return.
///
/// Displays as the one line of its [`tasks`](Self::tasks), for a log; each worker has a line of its own.
///
/// ```
/// # async fn f(pool: chargehand::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// let stats = pool.stats().await?;
/// println!("{stats}"); // 985 of 1000 tasks done, 2 failed; 3 waiting, 10 in flight; 7 of 8 workers up
/// for worker in &stats.workers {
///     println!("{worker}"); // 10.0.0.7:9000: up, 3 of 16 in flight, 120 done, 1 link
/// }
/// println!("{}", serde_json::to_string(&stats)?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// The tasks, counted by state and by outcome.
    pub tasks: Stats,
    /// How many ranges and maps are under way, as [`Pool::idle`](crate::Pool::idle) means it: it waits for
    /// each of them, and not for a map that waits for its source.
    pub streams: usize,
    /// Every queue: first the one named `default`, then those of [`Builder::queue`](crate::Builder::queue) in
    /// their order. What waits outside for room among [`tasks_max`](crate::Builder::tasks_max) is not counted.
    pub queues: Vec<QueueInfo>,
    /// Every worker in the pool, or that was in it when it was stopped, as of its last link.
    pub workers: Vec<WorkerInfo>,
    /// How far those attempts under way are whose handlers say so
    /// ([`Context::progress`](crate::Context::progress)).
    pub progress: Vec<TaskProgress>,
}

/// A queue at one moment.
///
/// Displays as one line, as in `tip: 3 waiting, 8 in flight, 1200 sent, oldest 20ms`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub name: Arc<str>,
    /// Its counters.
    pub stats: QueueStats,
    /// How many of its tasks workers hold at once, at most; `None` for as many as they like.
    pub in_flight_max: Option<u32>,
    /// How many are sent in a time, at most; `None` for as many as workers take.
    pub rate: Option<Rate>,
    /// For how long the first one in line has waited for its first attempt. `None` where none does, and in a
    /// pool without [`Builder::queue`](crate::Builder::queue), keys and pauses, where nobody notes it.
    pub oldest: Option<Duration>,
}

/// A worker at one moment.
///
/// Displays as one line, and serializes the reason as its text.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// The address that is dialled, the name of a worker that dials in, or `in-process` with a number.
    #[serde(serialize_with = "as_text")]
    pub peer: Arc<str>,
    /// Whom its transport had proven it to be when its link was made last: a member's name, as a rule. `None`
    /// where the transport proves nothing, and before there was a link.
    #[serde(serialize_with = "as_text_if_any")]
    pub identity: Option<Arc<str>>,
    /// The names of the queues that it serves, while its link is up; `None` where it serves all.
    pub queues: Option<Vec<String>>,
    /// Its state and counters.
    pub stats: WorkerStats,
    /// Why its latest link was lost, or could not be made.
    pub last_error: Option<DisconnectReason>,
}

#[expect(clippy::ref_option, reason = "that is how a field is handed over")]
fn as_text_if_any<S: Serializer>(
    text: &Option<Arc<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tasks.fmt(f)
    }
}

impl fmt::Display for QueueInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.stats;
        write!(f, "{}: {} waiting", self.name, stats.waiting)?;
        if stats.waiting_for_key > 0 {
            write!(f, " ({} for their keys)", stats.waiting_for_key)?;
        }
        write!(f, ", {} in flight, {} sent", stats.in_flight, stats.sent)?;
        if stats.resting > 0 {
            write!(f, ", {} resting", stats.resting)?;
        }
        if let Some(oldest) = self.oldest {
            write!(f, ", oldest {oldest:?}")?;
        }
        if stats.is_paused {
            f.write_str(", paused")?;
        }
        Ok(())
    }
}

impl fmt::Display for WorkerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.peer, self.stats)?;
        match self.queues.as_deref() {
            None => {}
            Some([]) => f.write_str(", serves no queue")?,
            Some(queues) => write!(f, ", serves {}", queues.join(" and "))?,
        }
        match &self.last_error {
            Some(reason) => write!(f, "; last: {reason}"),
            None => Ok(()),
        }
    }
}
