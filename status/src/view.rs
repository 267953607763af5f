//! What is shown of a pool, as JSON. Its workers are apart: there may be many.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use chargehand::core::{Instant, Stats, WorkerState};
use chargehand::explain::Explanation;
use chargehand::measure::{FailureGroup, Histogram, Measures, RangeFigures};
use chargehand::{PoolStats, QueueInfo};
use serde::Serialize;

use crate::Settings;
use crate::collect::{EventLine, Frame, Life, Recent};
use crate::families::{STATES, counts_of};
use crate::history::Point;

/// Goes up where something that was there is gone or means something else.
const VERSION: u32 = 1;
const RANGES_MAX: usize = 16;
/// Queues are named by whoever makes the pool: there are few.
const QUEUES_MAX: usize = 100;
const FAILURES_MAX: usize = 32;
const EVENTS_MAX: usize = 50;
/// How many reasons are shown as notices.
const REASONS_MAX: usize = 4;

/// Heights are text where JavaScript's numbers may be too small for them.
#[derive(Serialize)]
struct Overview<'a> {
    version: u32,
    name: &'a str,
    life: Life,
    at_ms: u64,
    interval_ms: u64,
    measured_ms: u64,
    /// Whether whoever has the token can do more than look.
    has_actions: bool,
    tasks: Stats,
    queued: usize,
    streams: usize,
    memory_used: usize,
    memory_max: usize,
    /// Why nothing is done, where nothing is.
    notices: Vec<String>,
    workers: Vec<StateCount>,
    /// None where the pool has but its default one.
    queues: Vec<Queue<'a>>,
    /// Of the last minute.
    latency: Latencies,
    attempts: &'a [u64],
    point: Option<&'a Point>,
    ranges: Vec<Range>,
    ranges_more: usize,
    failures: Vec<Failure<'a>>,
    failures_other: u64,
    events: Vec<&'a EventLine>,
}

#[derive(Serialize)]
struct StateCount {
    state: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Queue<'a> {
    name: &'a str,
    waiting: u32,
    waiting_for_key: u32,
    resting: u32,
    in_flight: u32,
    sent: u64,
    in_flight_max: Option<u32>,
    /// How many tasks are sent in a second at most, and how many at once after a time without any.
    rate_max: Option<f64>,
    burst: Option<u32>,
    /// For how long the first one in line has waited.
    oldest_ms: Option<u64>,
    is_paused: bool,
}

#[derive(Serialize, Default)]
struct Latencies {
    queue_wait: Latency,
    service: Latency,
    round_trip: Latency,
}

#[derive(Serialize, Default)]
struct Latency {
    count: u64,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
}

#[derive(Serialize)]
struct Range {
    first: String,
    last: String,
    heights: u64,
    done: u64,
    in_flight: u64,
    failed: u64,
    /// Every height up to it is done.
    low_water: Option<String>,
    /// Of each part how many there are, and how many of them are done, in flight and failed.
    segments: Vec<[u64; 4]>,
}

#[derive(Serialize)]
struct Failure<'a> {
    text: &'a str,
    count: u64,
    example: &'a str,
    height: Option<String>,
    peer: Option<&'a str>,
    ago_ms: u64,
}

/// Returns all that is shown of a frame.
pub(crate) fn overview(frame: &Frame, settings: &Settings) -> Arc<str> {
    let measures = frame.measures.as_deref();
    let stats = measures.map(|measures| &measures.stats);
    let groups = measures.map_or(&[][..], |measures| &measures.failures);
    let ranges = measures.map_or(&[][..], |measures| &measures.ranges);
    let at = measures.map_or(Instant::EPOCH, |measures| measures.at);
    let counts = measures.map_or([0; STATES.len()], counts_of);
    let overview = Overview {
        version: VERSION,
        name: &settings.name,
        life: frame.life,
        at_ms: frame.at_ms,
        interval_ms: millis(settings.interval),
        measured_ms: measures.map_or(0, |measures| millis(measures.measured)),
        has_actions: settings.token.is_some(),
        tasks: stats.map_or_else(Stats::default, |stats| stats.tasks),
        queued: measures.map_or(0, |measures| measures.queued),
        streams: stats.map_or(0, |stats| stats.streams),
        memory_used: measures.map_or(0, |measures| measures.memory_used),
        memory_max: measures.map_or(0, |measures| measures.memory_max),
        notices: all_notices(frame, measures),
        workers: STATES
            .iter()
            .zip(counts)
            .map(|(&state, count)| StateCount { state, count })
            .collect(),
        queues: stats.map_or(&[][..], queues_of).iter().map(queue).collect(),
        latency: frame.recent.as_ref().map_or_else(Latencies::default, latencies),
        attempts: measures.map_or(&[], |measures| &measures.attempts),
        point: frame.point.as_ref(),
        ranges: ranges.iter().take(RANGES_MAX).map(range).collect(),
        ranges_more: ranges.len().saturating_sub(RANGES_MAX),
        failures: groups
            .iter()
            .take(FAILURES_MAX)
            .map(|group| failure(group, at, settings))
            .collect(),
        failures_other: measures.map_or(0, |measures| measures.failures_other)
            + groups.iter().skip(FAILURES_MAX).map(|group| group.count).sum::<u64>(),
        events: frame.events.iter().rev().take(EVENTS_MAX).collect(),
    };
    to_json(&overview)
}

pub(crate) fn to_json(value: &impl Serialize) -> Arc<str> {
    serde_json::to_string(value).expect("plain fields and text").into()
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn latencies(recent: &Recent) -> Latencies {
    let of = |times: &Histogram| Latency {
        count: times.count(),
        p50_us: times.quantile(0.5).map(micros),
        p90_us: times.quantile(0.9).map(micros),
        p99_us: times.quantile(0.99).map(micros),
    };
    Latencies {
        queue_wait: of(&recent.queue_wait),
        service: of(&recent.service),
        round_trip: of(&recent.round_trip),
    }
}

/// Returns the queues that are worth a word: there is always one, of which all is said already.
pub(crate) fn queues_of(stats: &PoolStats) -> &[QueueInfo] {
    let has_more = stats.queues.len() > 1 || stats.queues.iter().any(|it| it.stats.is_paused);
    let shown = if has_more { stats.queues.len() } else { 0 };
    &stats.queues[..shown.min(QUEUES_MAX)]
}

fn queue(queue: &QueueInfo) -> Queue<'_> {
    let stats = &queue.stats;
    Queue {
        name: &queue.name,
        waiting: stats.waiting,
        waiting_for_key: stats.waiting_for_key,
        resting: stats.resting,
        in_flight: stats.in_flight,
        sent: stats.sent,
        in_flight_max: queue.in_flight_max,
        rate_max: queue.rate.map(|rate| rate.interval().as_secs_f64().recip()),
        burst: queue.rate.map(chargehand::Rate::burst_max),
        oldest_ms: queue.oldest.map(millis),
        is_paused: stats.is_paused,
    }
}

fn range(range: &RangeFigures) -> Range {
    let total = &range.total;
    Range {
        first: range.first.to_string(),
        last: range.last.to_string(),
        heights: total.heights,
        done: total.done,
        in_flight: total.in_flight,
        failed: total.failed,
        low_water: range.low_water.map(|height| height.to_string()),
        segments: range
            .segments
            .iter()
            .map(|part| [part.heights, part.done, part.in_flight, part.failed])
            .collect(),
    }
}

fn failure<'a>(group: &'a FailureGroup, at: Instant, settings: &Settings) -> Failure<'a> {
    Failure {
        text: &group.text,
        count: group.count,
        example: &group.example,
        height: group.height.map(|height| settings.number_of(height).to_string()),
        peer: group.peer.as_deref(),
        ago_ms: millis(at.saturating_since(group.at)),
    }
}

/// Returns what the pool says of tasks that wait, beyond what the states of its workers and queues say.
pub(crate) fn reasons(explanation: &Explanation) -> Vec<String> {
    use chargehand::core::Waits;
    let is_said = |why: Waits| {
        matches!(why, Waits::Paused | Waits::NoWorker | Waits::Away { .. } | Waits::Rests { .. })
    };
    let waiting = explanation.waiting.iter().filter(|waiting| !is_said(waiting.why));
    waiting.take(REASONS_MAX).map(|waiting| format!("{waiting}.")).collect()
}

fn all_notices(frame: &Frame, measures: Option<&Measures>) -> Vec<String> {
    let mut all = notices(frame.life, measures);
    if !all.is_empty() && frame.life == Life::Running {
        all.extend(frame.reasons.iter().cloned());
    }
    all
}

/// Returns why tasks wait and none is with a worker, if that is so.
fn notices(life: Life, measures: Option<&Measures>) -> Vec<String> {
    match life {
        Life::Starting => return vec!["The pool has not been asked yet.".to_owned()],
        Life::Stuck => {
            return vec![
                "The pool's driver has not answered for 10 s: is its future still polled, and does \
                 nothing block its thread? What is shown is as of then."
                    .to_owned(),
            ];
        }
        Life::Ended => {
            return vec!["The pool has ended. What is shown is how it was last.".to_owned()];
        }
        Life::Running => {}
    }
    let Some(measures) = measures else { return Vec::new() };
    let tasks = &measures.stats.tasks;
    let waits = u64::from(tasks.waiting) + u64::from(tasks.resting) + measures.queued as u64;
    if waits == 0 || tasks.in_flight > 0 {
        return Vec::new();
    }
    if tasks.waiting == 0 && measures.queued == 0 {
        let text =
            format!("{} tasks rest after a failure before they are tried again.", tasks.resting);
        return vec![text];
    }
    if measures.stats.workers.is_empty() {
        return vec![
            "Tasks wait, and the pool has no worker: none was added, and none has dialled in."
                .to_owned(),
        ];
    }
    let mut text = format!("{waits} tasks wait, and no worker takes any:");
    let mut before = " ";
    for (state, count) in STATES.iter().zip(counts_of(measures)).filter(|(_, count)| *count > 0) {
        let _ = write!(text, "{before}{count} {state}");
        before = ", ";
    }
    let paused: Vec<_> = queues_of(&measures.stats)
        .iter()
        .filter(|queue| queue.stats.is_paused && queue.stats.waiting > 0)
        .map(|queue| format!("Queue {} is paused: {} tasks wait.", queue.name, queue.stats.waiting))
        .collect();
    if !paused.is_empty() {
        return paused;
    }
    let reason = measures.stats.workers.iter().find_map(|worker| {
        let is_away = matches!(
            worker.stats.state,
            WorkerState::BackingOff { .. } | WorkerState::Absent { .. } | WorkerState::Connecting
        );
        let why = worker.last_error.as_ref().filter(|_| is_away)?;
        Some(format!("{}: {why}", worker.peer))
    });
    match reason {
        Some(reason) => vec![format!("{text}. For one: {reason}")],
        None => vec![format!("{text}.")],
    }
}
