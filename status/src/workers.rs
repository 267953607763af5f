//! A part of the workers, as it is asked for: some of all, in an order.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use chargehand::WorkerInfo;
use chargehand::core::{Instant, WorkerId, WorkerState};
use chargehand::measure::{Histogram, Measures, WorkerTimes};
use serde::{Deserialize, Serialize};

use crate::collect::Frame;
use crate::view::{micros, millis};

/// How many workers are shown at once, at most.
const LIMIT_MAX: usize = 200;

/// Which workers somebody wants to see.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    offset: usize,
    limit: Option<usize>,
    sort: Sort,
    desc: bool,
    /// A state's name, or all.
    state: String,
    /// A part of the worker's name or identity.
    find: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    Id,
    Peer,
    State,
    InFlight,
    Rate,
    Done,
    Failed,
    Lost,
    P99,
}

#[derive(Debug, Serialize)]
pub(crate) struct Page<'a> {
    total: usize,
    matched: usize,
    offset: usize,
    rows: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    id: String,
    peer: &'a str,
    identity: Option<&'a str>,
    state: &'static str,
    /// Why it gets no task, and until when.
    why: Option<String>,
    /// Which queues it serves, where not all.
    queues: Option<&'a [String]>,
    in_flight: u32,
    allowance: u32,
    window: u32,
    rate: f64,
    done: u64,
    failed: u64,
    lost: u64,
    links: u32,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    /// Of its service times the upper bound of each doubling, and how many there are, from the first to the last that
    /// has any.
    service: Vec<(u64, u64)>,
}

struct Seen<'a> {
    info: &'a WorkerInfo,
    rate: f64,
    times: Option<&'a WorkerTimes>,
}

/// Returns those workers of a frame.
pub(crate) fn page<'a>(frame: &'a Frame, query: &Query) -> Page<'a> {
    let offset = query.offset;
    let Some(measures) = frame.measures.as_deref() else {
        return Page { total: 0, matched: 0, offset, rows: Vec::new() };
    };
    let mut found = matching(measures, &frame.rates, query);
    let matched = found.len();
    let limit = query.limit.unwrap_or(50).min(LIMIT_MAX);
    let order = |one: &Seen<'_>, other: &Seen<'_>| {
        let order = compare(query.sort, one, other);
        let order = if query.desc { order.reverse() } else { order };
        order.then(one.info.id.slot().cmp(&other.info.id.slot()))
    };
    let end = offset.saturating_add(limit).min(matched);
    if end < matched && end > 0 {
        // Those beyond need no order.
        found.select_nth_unstable_by(end - 1, order);
        found.truncate(end);
    }
    found.sort_by(order);
    let rows = found.iter().skip(offset).take(limit).map(|seen| row(seen, measures.at)).collect();
    Page { total: measures.stats.workers.len(), matched, offset, rows }
}

fn matching<'a>(measures: &'a Measures, rates: &[f64], query: &Query) -> Vec<Seen<'a>> {
    let times: HashMap<WorkerId, &WorkerTimes> =
        measures.workers.iter().map(|times| (times.id, times)).collect();
    let find = query.find.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&find);
    let workers = measures.stats.workers.iter().enumerate();
    workers
        .filter(|(_, info)| query.state.is_empty() || info.stats.state.name() == query.state)
        .filter(|(_, info)| {
            find.is_empty() || has(&info.peer) || info.identity.as_deref().is_some_and(has)
        })
        .map(|(place, info)| Seen {
            info,
            rate: rates.get(place).copied().unwrap_or_default(),
            times: times.get(&info.id).copied(),
        })
        .collect()
}

fn compare(sort: Sort, one: &Seen<'_>, other: &Seen<'_>) -> Ordering {
    let (a, b) = (&one.info.stats, &other.info.stats);
    match sort {
        Sort::Id => one.info.id.slot().cmp(&other.info.id.slot()),
        Sort::Peer => one.info.peer.cmp(&other.info.peer),
        Sort::State => a.state.name().cmp(b.state.name()),
        Sort::InFlight => a.in_flight.cmp(&b.in_flight),
        Sort::Rate => one.rate.total_cmp(&other.rate),
        Sort::Done => a.done.cmp(&b.done),
        Sort::Failed => a.failed.cmp(&b.failed),
        Sort::Lost => a.lost.cmp(&b.lost),
        Sort::P99 => one.times.map(|times| times.p99).cmp(&other.times.map(|times| times.p99)),
    }
}

fn row<'a>(seen: &Seen<'a>, now: Instant) -> Row<'a> {
    let Seen { info, rate, times } = seen;
    let stats = &info.stats;
    Row {
        id: name_of(info.id),
        peer: &info.peer,
        identity: info.identity.as_deref(),
        state: stats.state.name(),
        why: why_it_rests(info, now),
        queues: info.queues.as_deref(),
        in_flight: stats.in_flight,
        allowance: stats.allowance,
        window: stats.window,
        rate: *rate,
        done: stats.done,
        failed: stats.failed,
        lost: stats.lost,
        links: stats.links,
        p50_us: times.map(|times| micros(times.p50)),
        p99_us: times.map(|times| micros(times.p99)),
        service: times.map_or_else(Vec::new, |times| doublings(&times.service)),
    }
}

/// Returns the doublings of a histogram that have any, and those between.
fn doublings(times: &Histogram) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = Vec::new();
    let mut count = 0;
    for (bound, more) in times.buckets() {
        count += more;
        let is_last = bound == Duration::MAX;
        if is_last || bound.as_nanos().is_power_of_two() {
            let count = std::mem::take(&mut count);
            if count > 0 || !all.is_empty() {
                all.push((micros(bound), count));
            }
        }
    }
    let end = all.iter().rposition(|(_, count)| *count > 0).map_or(0, |last| last + 1);
    all.truncate(end);
    all
}

/// Returns what a worker is called in a path.
pub(crate) fn name_of(id: WorkerId) -> String {
    format!("{}.{}", id.slot(), id.generation())
}

/// Returns the worker of that name.
pub(crate) fn id_of(name: &str) -> Option<WorkerId> {
    let (slot, generation) = name.split_once('.')?;
    Some(WorkerId::from_parts(slot.parse().ok()?, generation.parse().ok()?))
}

fn why_it_rests(info: &WorkerInfo, now: Instant) -> Option<String> {
    let last = info.last_error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let in_time = |until: Instant| {
        let left = millis(until.saturating_since(now));
        format!("{}.{} s", left / 1000, left % 1000 / 100)
    };
    Some(match info.stats.state {
        WorkerState::Absent { .. } => format!("dials in itself, and is not there{last}"),
        WorkerState::BackingOff { until } => {
            format!("not connected, tried again in {}{last}", in_time(until))
        }
        WorkerState::Connecting => format!("being connected to{last}"),
        WorkerState::Busy => "busy with what it cannot be stopped at".to_owned(),
        WorkerState::Suspended { until } => {
            format!("only failed: gets none for {}", in_time(until))
        }
        WorkerState::Delayed { until } => {
            format!("can take none now, or came back too soon: gets none for {}", in_time(until))
        }
        WorkerState::Draining => "finishes what it holds, and gets nothing more".to_owned(),
        WorkerState::Up if info.queues.as_ref().is_some_and(Vec::is_empty) => {
            "serves no queue of this pool: gets none".to_owned()
        }
        // It does not, or in a way that is not known here.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_found_by_the_name_that_it_has_in_paths() {
        let id = WorkerId::from_parts(7, 3);
        assert_eq!(id_of(&name_of(id)), Some(id));
        for wrong in ["", "7", "7.", ".3", "7.3.1", "-1.0", "99999999999.0", "7.x"] {
            assert_eq!(id_of(wrong), None, "{wrong}");
        }
    }
}
