//! Reasons in words, each with what would change it.

use core::fmt::{self, Write};

use chargehand_core::{Idles, Waits};

use super::{
    Explanation, IdleWorker, Lacks, Outside, Rule, Stream, TaskExplanation, TaskName, TaskNow,
    Waiting,
};
use alloc::string::{String, ToString};
use core::time::Duration;

/// Returns why a task waits.
fn why(waits: Waits) -> &'static str {
    match waits {
        Waits::Rests { .. } => "rests after its handler failed, before it is tried again",
        Waits::Key => "waits for others of its key, which go in their order",
        Waits::KeyPaused { .. } => "rests since a handler said that its key can have nothing now",
        Waits::Paused => "waits since its queue is paused",
        Waits::QueueInFlight => {
            "waits since as many of its queue are in flight as may be (`in_flight_max`)"
        }
        Waits::QueueRate { .. } => "waits for its queue's rate",
        Waits::NoWorker => "waits for a worker: the pool has none that stays",
        Waits::Away { .. } => "waits for a worker: none is connected",
        Waits::NoneServes { .. } => "waits for a worker: those that are connected get nothing now",
        Waits::NotServed => {
            "waits for a worker that serves its queue: none of those that serve does"
        }
        Waits::NoRoom => {
            "waits for room: every worker that serves its queue holds as many as it may, or is at its rate"
        }
        Waits::Suspect => {
            "may have ended a link, and every worker with room holds such a task already"
        }
        Waits::Elsewhere { .. } => {
            "came back from the only worker with room, and is to go to another if it can"
        }
        Waits::HeldBack { .. } => {
            "waits for a busy worker that is expected to have done it sooner than the one with room"
        }
        Waits::Stopping => "is about to be given up: the pool stops, and the time for that is over",
        Waits::Turn => "is next, once its worker is told",
        _ => waits.name(),
    }
}

/// Returns what would change that.
fn remedy(waits: Waits) -> &'static str {
    match waits {
        Waits::Rests { .. } => {
            "a shorter `retry_delay`, or a handler that says `Failure::retry_after`"
        }
        Waits::Key => "more at once (`TaskKey::at_once`), or finer keys",
        Waits::KeyPaused { .. } => "nothing but time: the key is paused by a handler",
        Waits::Paused => "resume the queue",
        Waits::QueueInFlight => "a higher `in_flight_max` of the queue",
        Waits::QueueRate { .. } => "a higher `rate` of the queue, or more `burst`",
        Waits::NoWorker => "add a worker, or start one that dials in",
        Waits::Away { .. } => "see why each is away: is it there, and is its address right?",
        Waits::NoneServes { .. } => "see why each rests: its failures, or what it is busy with",
        Waits::NotServed => "a worker with this queue among its `queues`",
        Waits::NoRoom => "more workers, a higher concurrency, or larger windows",
        Waits::Suspect => "more workers, or see why links end",
        Waits::Elsewhere { .. } => "another worker with room, or a shorter `elsewhere_wait`",
        Waits::HeldBack { .. } => "a faster worker, or `Choice::LeastLoaded`",
        Waits::Stopping => "a longer `drain_timeout`",
        _ => "nothing",
    }
}

fn lacks(why: Lacks) -> (&'static str, &'static str) {
    match why {
        Lacks::Room => (
            "no room: the pool, or their queue, has as many tasks as it may",
            "a higher `tasks_max`, or more workers",
        ),
        Lacks::Memory => (
            "no memory: what the pool holds fills `memory_max`",
            "take outcomes sooner, or a higher `memory_max`",
        ),
        Lacks::Taking => (
            "as many outcomes of the stream as may be are not taken",
            "poll the stream sooner, or a higher `ahead`",
        ),
        Lacks::Key => ("as many wait for the key of the stream as may", "more at once of the key"),
        Lacks::Nothing => {
            ("enough of the stream are under way to keep the workers busy", "nothing")
        }
        Lacks::Source => ("the map's source has none now", "give it more requests"),
        Lacks::Stopped => ("the stream has stopped, or the pool stops", "begin it anew"),
    }
}

fn idles(why: Idles) -> &'static str {
    match why {
        Idles::Away { .. } => "is not connected",
        Idles::Failing { .. } => "only failed, and rests",
        Idles::OffOthers { .. } => {
            "is far slower than the others or fails far more often, and rests"
        }
        Idles::Throttled { .. } => "said that it can do none now",
        Idles::Early { .. } => "came back too soon after a link that did nothing",
        Idles::Busy => "said that it is busy",
        Idles::Leaving => "finishes what it holds, and leaves",
        Idles::Rate { .. } => "was sent as many as its rate allows",
        Idles::Full => "holds as many as it may",
        Idles::Room => "has room",
        _ => why.name(),
    }
}

/// Writes for how long something is so, where that is known.
fn write_left(f: &mut fmt::Formatter<'_>, left: Option<Duration>) -> fmt::Result {
    match left {
        Some(left) => write!(f, ", for {:.1} s at most", left.as_secs_f64()),
        None => Ok(()),
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.height, self.id) {
            (Some(height), _) => write!(f, "{height}"),
            (None, Some(id)) => write!(f, "{}.{}", id.slot(), id.generation()),
            (None, None) => f.write_str("not accepted yet"),
        }
    }
}

impl Waiting {
    /// Returns why they wait, as the end of a sentence whose beginning is the task.
    pub fn why(&self) -> &'static str {
        why(self.why)
    }

    /// Returns what would change it.
    pub fn remedy(&self) -> &'static str {
        remedy(self.why)
    }
}

impl Outside {
    /// Returns why they wait.
    pub fn why(&self) -> &'static str {
        lacks(self.why).0
    }

    /// Returns what would change it.
    pub fn remedy(&self) -> &'static str {
        lacks(self.why).1
    }
}

impl IdleWorker {
    /// Returns why it gets no task now, as the end of a sentence whose beginning is the worker; `nearest` is
    /// [`Explanation::nearest`], which says why one with room gets nothing.
    pub fn why(&self, nearest: Option<&Waiting>) -> String {
        let mut text = idles(self.why).to_string();
        let Self { in_flight, allowance, window, .. } = self;
        // Nothing fails that writes into a string.
        let _ = match (self.why, nearest) {
            (Idles::Full, _) if allowance < window => write!(
                text,
                ": {in_flight} of {allowance}, and once it has earned that of {window}"
            ),
            (Idles::Full, _) => write!(text, ": {in_flight} of {allowance}"),
            (Idles::Room, None) => write!(text, ", and no task waits"),
            (Idles::Room, Some(it)) => {
                write!(text, "; of those that wait the next, {}, {}", it.example, it.why())
            }
            (Idles::Away { .. }, _) => match &self.last_error {
                Some(error) => write!(text, ": {error}"),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        text
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls => f.write_str("single tasks"),
            Self::Range(first, last) => write!(f, "range {first}..={last}"),
            Self::Map => f.write_str("map"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, count, example, .. } = self;
        match count {
            1 => write!(f, "task {example} of queue {queue} {}", self.why())?,
            _ => write!(
                f,
                "{count} tasks of queue {queue}, {example} among them: each {}",
                self.why()
            )?,
        }
        if let Some(keeper) = self.keeper {
            write!(f, " (it is behind {keeper})")?;
        }
        write_left(f, self.left)?;
        write!(f, ". What would change it: {}", self.remedy())
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(f, "{count} more of {}: {}", self.of, self.why())?,
            None => write!(f, "the rest of a {}: {}", self.of, self.why())?,
        }
        write!(f, ". What would change it: {}", self.remedy())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeastLoaded => "of the workers with room this one held the fewest",
            Self::FirstAnswer => "of the workers with room this one was expected to answer first",
            Self::Elsewhere => {
                "it came back from another worker, and goes elsewhere as long as there is room"
            }
        })
    }
}

impl fmt::Display for TaskExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.name)?;
        match &self.now {
            TaskNow::Waits { why: waits, left, keeper } => {
                write!(f, " {}", why(*waits))?;
                if let Some(keeper) = keeper {
                    write!(f, " (it is behind {keeper})")?;
                }
                write_left(f, *left)?;
                write!(f, ". What would change it: {}", remedy(*waits))?;
            }
            TaskNow::With { peer, by, is_away, .. } => {
                write!(f, " is with {peer}: {by}")?;
                if *is_away {
                    f.write_str(". Its link is broken, and it is waited for")?;
                }
            }
            TaskNow::Outside(why) => {
                let (why, remedy) = lacks(*why);
                write!(f, " is not begun: {why}. What would change it: {remedy}")?;
            }
            TaskNow::Over => f.write_str(" has its outcome, or never was")?,
        }
        let stats = &self.stats;
        if stats.attempts > 0 {
            let (sent, failed, lost) = (stats.attempts, stats.failures, stats.losses);
            write!(f, "; sent {sent} times, failed {failed}, lost {lost}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: u64 = self.waiting.iter().map(|waiting| u64::from(waiting.count)).sum();
        writeln!(f, "{} tasks are with workers, {waiting} wait", self.in_flight)?;
        if self.is_stopping {
            writeln!(f, "the pool stops: it takes nothing new")?;
        }
        if self.in_flight == 0 && waiting == 0 && self.outside.is_empty() {
            writeln!(f, "nothing is to be done: no task was submitted that has no outcome")?;
        }
        for waiting in &self.waiting {
            writeln!(f, "{waiting}")?;
        }
        for outside in &self.outside {
            writeln!(f, "{outside}")?;
        }
        for worker in &self.workers {
            write!(f, "worker {} {}", worker.peer, worker.why(self.nearest()))?;
            write_left(f, worker.left)?;
            writeln!(f)?;
        }
        Ok(())
    }
}
