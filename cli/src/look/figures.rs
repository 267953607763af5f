//! What the endpoint says of a pool: the part that is shown here. What is missing is as nothing, so that pages of
//! other versions are shown as far as they go.

use serde::{Deserialize, Serialize};

use crate::numbers::{grouped, per_second};

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Overview {
    /// A page of a pool has it, and nothing else that may answer.
    #[expect(dead_code, reason = "it has to be there")]
    version: u32,
    pub(crate) name: String,
    pub(crate) life: String,
    pub(crate) at_ms: u64,
    #[serde(default)]
    pub(crate) interval_ms: u64,
    pub(crate) tasks: Tasks,
    #[serde(default)]
    pub(crate) queued: u64,
    #[serde(default)]
    pub(crate) memory_used: u64,
    #[serde(default)]
    pub(crate) memory_max: u64,
    #[serde(default)]
    pub(crate) notices: Vec<String>,
    #[serde(default)]
    pub(crate) workers: Vec<StateCount>,
    #[serde(default)]
    pub(crate) queues: Vec<Queue>,
    #[serde(default)]
    pub(crate) latency: Latencies,
    pub(crate) point: Option<Point>,
    #[serde(default)]
    pub(crate) ranges: Vec<Range>,
    #[serde(default)]
    pub(crate) ranges_more: u64,
    #[serde(default)]
    pub(crate) failures: Vec<Failed>,
    #[serde(default)]
    pub(crate) failures_other: u64,
    #[serde(default)]
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tasks {
    pub(crate) waiting: u64,
    pub(crate) resting: u64,
    pub(crate) in_flight: u64,
    pub(crate) workers: u64,
    pub(crate) workers_up: u64,
    pub(crate) submitted: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) exhausted: u64,
    pub(crate) bounced: u64,
    pub(crate) cancelled: u64,
    pub(crate) aborted: u64,
    pub(crate) expired: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct StateCount {
    pub(crate) state: String,
    pub(crate) count: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) waiting: u64,
    pub(crate) waiting_for_key: u64,
    pub(crate) resting: u64,
    pub(crate) in_flight: u64,
    pub(crate) sent: u64,
    pub(crate) in_flight_max: Option<u64>,
    pub(crate) rate_max: Option<f64>,
    pub(crate) oldest_ms: Option<u64>,
    pub(crate) is_paused: bool,
}

impl Queue {
    /// Returns what bounds it, if anything does.
    pub(crate) fn limits(&self) -> Option<String> {
        let in_flight = self.in_flight_max.map(|most| format!("{} in flight", grouped(most)));
        let rate = self.rate_max.map(|most| format!("{}/s", per_second(most)));
        let limits: Vec<_> = in_flight.into_iter().chain(rate).collect();
        (!limits.is_empty()).then(|| limits.join(", "))
    }
}

/// Of the last minute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Latencies {
    pub(crate) queue_wait: Latency,
    pub(crate) service: Latency,
    pub(crate) round_trip: Latency,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "they are the endpoint's")]
pub(crate) struct Latency {
    pub(crate) p50_us: Option<u64>,
    pub(crate) p90_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
}

/// One interval.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Point {
    pub(crate) at_ms: u64,
    pub(crate) done_rate: f64,
    pub(crate) failed_rate: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    pub(crate) points: Vec<Point>,
}

/// Heights are texts: they may be more than JSON's numbers surely hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Range {
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) heights: u64,
    pub(crate) done: u64,
    pub(crate) in_flight: u64,
    pub(crate) failed: u64,
    pub(crate) low_water: Option<String>,
    /// Of each part how many there are, and how many of them are done, in flight and failed.
    pub(crate) segments: Vec<[u64; 4]>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Failed {
    pub(crate) count: u64,
    pub(crate) example: String,
    pub(crate) height: Option<String>,
    pub(crate) peer: Option<String>,
    pub(crate) ago_ms: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    pub(crate) at_ms: u64,
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// Why tasks wait, and workers get none.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Explained {
    pub(crate) in_flight: u64,
    #[serde(default)]
    pub(crate) is_stopping: bool,
    pub(crate) waiting: Vec<Reason>,
    #[serde(default)]
    pub(crate) outside: Vec<Reason>,
    #[serde(default)]
    pub(crate) workers: Vec<Reason>,
    #[serde(default)]
    pub(crate) workers_more: u64,
    #[serde(default)]
    pub(crate) tasks: Vec<Reason>,
}

/// Why tasks of one kind wait, or one worker gets none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reason {
    pub(crate) peer: String,
    pub(crate) count: Option<u64>,
    pub(crate) left_ms: Option<u64>,
    pub(crate) text: String,
}

/// A part of the workers.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Page {
    pub(crate) total: u64,
    pub(crate) matched: u64,
    pub(crate) offset: u64,
    pub(crate) rows: Vec<Worker>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) peer: String,
    pub(crate) identity: Option<String>,
    pub(crate) state: String,
    /// Why it gets no task, and until when.
    pub(crate) why: Option<String>,
    /// Which queues it serves, where not all.
    pub(crate) queues: Option<Vec<String>>,
    pub(crate) in_flight: u64,
    pub(crate) allowance: u64,
    pub(crate) window: u64,
    pub(crate) rate: f64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    pub(crate) links: u64,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
}

impl Worker {
    /// Returns what is said of the queues that it serves, where it does not serve all: after its state.
    pub(crate) fn served(&self) -> Option<String> {
        let queues = self.queues.as_deref().filter(|queues| !queues.is_empty())?;
        Some(format!("serves {}", queues.join(", ")))
    }
}
