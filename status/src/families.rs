//! All figures in one table: what is exported, by whatever means.

use std::collections::HashMap;

use chargehand::core::{WorkerId, WorkerState};
use chargehand::measure::{Histogram, Measures, WorkerTimes};

use crate::Settings;
use crate::collect::{EventCounts, Life};
use crate::view::queues_of;

/// The label that tells workers apart: no two have ever had the same.
pub(crate) const WORKER_ID: &str = "id";
/// Ranges with series of their own. Further ones have none.
const RANGES_MAX: usize = 16;

/// A name, what it means, and its series.
#[derive(Debug)]
pub(crate) struct Family {
    /// Without what the kind and the unit add to it.
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) series: Vec<Series>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
}

#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value,
}

/// A family has values of one kind.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Counter(u64),
    Gauge(f64),
    /// The upper bound of each bucket and how many it has by itself, and the sum of all.
    Histogram(Vec<(f64, u64)>, f64),
}

impl Family {
    fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, unit: None, series: Vec::new() }
    }

    fn unit(self, unit: Unit) -> Self {
        Self { unit: Some(unit), ..self }
    }

    fn with(mut self, labels: Vec<(&'static str, String)>, value: Value) -> Self {
        self.series.push(Series { labels, value });
        self
    }

    fn by(self, label: &'static str, of: &str, value: Value) -> Self {
        self.with(vec![(label, of.to_owned())], value)
    }

    fn plain(self, value: Value) -> Self {
        self.with(Vec::new(), value)
    }
}

#[expect(clippy::cast_precision_loss, reason = "exporters take floating point only")]
fn gauge(count: impl TryInto<u64>) -> Value {
    Value::Gauge(count.try_into().unwrap_or(u64::MAX) as f64)
}

/// Returns every figure of a pool.
pub(crate) fn families(
    life: Life,
    measures: Option<&Measures>,
    events: &EventCounts,
    settings: &Settings,
) -> Vec<Family> {
    let is_running = u8::from(life == Life::Running);
    let up = Family::new("chargehand_up", "Whether the pool's driver answers.");
    let mut families = vec![up.plain(Value::Gauge(is_running.into()))];
    let Some(measures) = measures else { return families };
    families.extend(of_tasks(measures));
    families.extend(of_times(measures));
    families.extend(of_memory(measures));
    families.extend(of_ranges(measures));
    families.extend(of_queues(measures));
    families.push(of_states(measures));
    families.extend(of_each_worker(measures, settings.worker_series));
    let mut counted =
        Family::new("chargehand_events", "What happened in the pool, by the kind of event.");
    for (kind, count) in &events.0 {
        counted = counted.by("kind", kind, Value::Counter(*count));
    }
    families.push(counted);
    families
}

fn of_tasks(measures: &Measures) -> Vec<Family> {
    use Value::Counter;
    let tasks = &measures.stats.tasks;
    let mut outcomes = Family::new("chargehand_tasks", "Tasks that have their outcome.");
    for (outcome, count) in [
        ("done", tasks.done),
        ("failed", tasks.failed),
        ("exhausted", tasks.exhausted),
        ("bounced", tasks.bounced),
        ("cancelled", tasks.cancelled),
        ("aborted", tasks.aborted),
        ("timed_out", tasks.expired),
    ] {
        outcomes = outcomes.by("outcome", outcome, Counter(count));
    }
    let mut open = Family::new("chargehand_open_tasks", "Tasks without an outcome yet, by state.");
    for (state, count) in [
        ("queued", measures.queued as u64),
        ("waiting", tasks.waiting.into()),
        ("resting", tasks.resting.into()),
        ("in_flight", tasks.in_flight.into()),
    ] {
        open = open.by("state", state, gauge(count));
    }
    let ended = Family::new(
        "chargehand_attempts_ended",
        "Attempts that ended without an answer: lost with their link, given back or taken back \
         before they began, or longer than their time.",
    )
    .by("how", "lost", Counter(tasks.lost))
    .by("how", "returned", Counter(tasks.returned))
    .by("how", "timed_out", Counter(tasks.timed_out));
    vec![
        Family::new("chargehand_tasks_submitted", "Tasks accepted.")
            .plain(Counter(tasks.submitted)),
        outcomes,
        open,
        Family::new("chargehand_attempts_sent", "Attempts sent to workers.")
            .plain(Counter(tasks.sent)),
        Family::new(
            "chargehand_attempts_hedged",
            "Second attempts of tasks that took long, and those that were done first.",
        )
        .by("how", "sent", Counter(tasks.hedged))
        .by("how", "first", Counter(tasks.hedge_wins)),
        Family::new("chargehand_attempts_resent", "Attempts that were not their task's first.")
            .plain(Counter(tasks.resent)),
        ended,
        Family::new("chargehand_replies_refused", "Answers that no live attempt was waiting for.")
            .by("why", "stale", Counter(tasks.stale))
            .by("why", "foreign", Counter(tasks.foreign)),
    ]
}

fn of_times(measures: &Measures) -> Vec<Family> {
    let family = |name, help, times: &Histogram| {
        Family::new(name, help).unit(Unit::Seconds).plain(doublings(times))
    };
    let mut buckets = Vec::new();
    let mut sum = 0.0;
    for (before, count) in measures.attempts.iter().enumerate() {
        let Value::Gauge(sends) = gauge(before as u64 + 1) else { continue };
        let Value::Gauge(tasks) = gauge(*count) else { continue };
        let is_last = before + 1 == measures.attempts.len();
        buckets.push((if is_last { f64::INFINITY } else { sends }, *count));
        sum += sends * tasks;
    }
    vec![
        family(
            "chargehand_queue_wait",
            "Time of a task from when the driver took it to when it was first sent.",
            &measures.queue_wait,
        ),
        family(
            "chargehand_round_trip",
            "Time of an attempt from when it was sent to its answer.",
            &measures.round_trip,
        ),
        family(
            "chargehand_service",
            "Time that the handler of an attempt took, as its worker says it.",
            &measures.service,
        ),
        Family::new("chargehand_task_attempts", "How many times each finished task was sent.")
            .plain(Value::Histogram(buckets, sum)),
    ]
}

/// Makes a histogram that has a bucket for each doubling from 16 µs to 137 s.
fn doublings(times: &Histogram) -> Value {
    histogram(times, |nanos| nanos >= 1 << 14)
}

/// Makes a histogram that has a bucket for those doublings that are wanted.
fn histogram(times: &Histogram, is_wanted: impl Fn(u128) -> bool) -> Value {
    let mut buckets = Vec::new();
    let mut count = 0;
    for (bound, more) in times.buckets() {
        count += more;
        let nanos = bound.as_nanos();
        let is_last = nanos > u128::from(u64::MAX);
        if is_last || nanos.is_power_of_two() && is_wanted(nanos) {
            let bound = if is_last { f64::INFINITY } else { bound.as_secs_f64() };
            buckets.push((bound, std::mem::take(&mut count)));
        }
    }
    Value::Histogram(buckets, times.sum().as_secs_f64())
}

fn of_memory(measures: &Measures) -> [Family; 2] {
    [
        Family::new("chargehand_memory", "Bytes of requests, answers and arriving messages held.")
            .unit(Unit::Bytes)
            .plain(gauge(measures.memory_used)),
        Family::new("chargehand_memory_limit", "How many of them the pool may hold.")
            .unit(Unit::Bytes)
            .plain(gauge(measures.memory_max)),
    ]
}

fn of_ranges(measures: &Measures) -> Vec<Family> {
    let streams = Family::new("chargehand_streams", "Ranges and maps under way.");
    let mut heights =
        Family::new("chargehand_range_heights", "Heights of a range under way, by state.");
    for (index, range) in measures.ranges.iter().take(RANGES_MAX).enumerate() {
        let total = &range.total;
        let open = total.heights - (total.done + total.in_flight + total.failed).min(total.heights);
        for (state, count) in [
            ("done", total.done),
            ("in_flight", total.in_flight),
            ("failed", total.failed),
            ("open", open),
        ] {
            let labels = vec![("range", index.to_string()), ("state", state.to_owned())];
            heights = heights.with(labels, gauge(count));
        }
    }
    let mut families = vec![streams.plain(gauge(measures.stats.streams))];
    if !heights.series.is_empty() {
        families.push(heights);
    }
    families
}

fn of_queues(measures: &Measures) -> Vec<Family> {
    let mut tasks = Family::new("chargehand_queue_tasks", "Tasks of a queue, by state.");
    let mut sent = Family::new("chargehand_queue_attempts_sent", "Attempts of a queue sent.");
    let mut paused = Family::new("chargehand_queue_paused", "Whether a queue is paused.");
    let mut oldest = Family::new(
        "chargehand_queue_oldest_wait",
        "For how long the first one in line has waited for its first attempt.",
    )
    .unit(Unit::Seconds);
    for queue in queues_of(&measures.stats) {
        let stats = &queue.stats;
        let name = || ("queue", queue.name.to_string());
        for (state, count) in
            [("waiting", stats.waiting), ("resting", stats.resting), ("in_flight", stats.in_flight)]
        {
            tasks = tasks.with(vec![name(), ("state", state.to_owned())], gauge(count));
        }
        sent = sent.with(vec![name()], Value::Counter(stats.sent));
        paused = paused.with(vec![name()], Value::Gauge(u8::from(stats.is_paused).into()));
        let waited = queue.oldest.unwrap_or_default().as_secs_f64();
        oldest = oldest.with(vec![name()], Value::Gauge(waited));
    }
    let all = [tasks, sent, paused, oldest];
    all.into_iter().filter(|family| !family.series.is_empty()).collect()
}

/// The states of a worker, as they are counted.
pub(crate) const STATES: [&str; 8] =
    ["up", "busy", "delayed", "suspended", "connecting", "backing off", "absent", "draining"];

/// Returns how many workers are in which of [`STATES`].
pub(crate) fn counts_of(measures: &Measures) -> [u64; STATES.len()] {
    let mut counts = [0; STATES.len()];
    for worker in &measures.stats.workers {
        let name = worker.stats.state.name();
        if let Some(place) = STATES.iter().position(|state| *state == name) {
            counts[place] += 1;
        }
    }
    counts
}

fn of_states(measures: &Measures) -> Family {
    let mut family = Family::new("chargehand_workers", "Workers by state.");
    for (state, count) in STATES.iter().zip(counts_of(measures)) {
        family = family.by("state", &state.replace(' ', "_"), gauge(count));
    }
    family
}

/// The buckets of a histogram of one worker: each four times the one before, from 1 ms to 69 s. More would be many
/// series.
fn fourfolds(times: &Histogram) -> Value {
    histogram(times, |nanos| nanos >= 1 << 20 && nanos.trailing_zeros() % 2 == 0)
}

/// Returns what the label [`WORKER_ID`] says.
pub(crate) fn id_text(id: WorkerId) -> String {
    format!("{}.{}", id.slot(), id.generation())
}

fn of_each_worker(measures: &Measures, worker_series: usize) -> Vec<Family> {
    let times: HashMap<WorkerId, &WorkerTimes> =
        measures.workers.iter().map(|times| (times.id, times)).collect();
    let mut service = Family::new(
        "chargehand_worker_service",
        "Time that the worker's handlers took, as far as it says so.",
    )
    .unit(Unit::Seconds);
    let workers = &measures.stats.workers;
    let omitted = workers.len().saturating_sub(worker_series);
    let mut up = Family::new("chargehand_worker_up", "Whether the worker's link is up.");
    let mut in_flight =
        Family::new("chargehand_worker_in_flight_tasks", "Tasks that the worker holds.");
    let mut window =
        Family::new("chargehand_worker_window_tasks", "Tasks that the worker may hold.");
    let mut tasks = Family::new(
        "chargehand_worker_attempts",
        "Attempts of the worker that were done, failed, or were lost with its link.",
    );
    for worker in workers.iter().take(worker_series) {
        let id = id_text(worker.id);
        let labels = || vec![("worker", worker.peer.to_string()), (WORKER_ID, id.clone())];
        let stats = &worker.stats;
        let is_up = !matches!(
            stats.state,
            WorkerState::Absent { .. } | WorkerState::BackingOff { .. } | WorkerState::Connecting
        );
        up = up.with(labels(), Value::Gauge(u8::from(is_up).into()));
        if let Some(times) = times.get(&worker.id) {
            service = service.with(labels(), fourfolds(&times.service));
        }
        in_flight = in_flight.with(labels(), gauge(stats.in_flight));
        window = window.with(labels(), gauge(stats.window));
        for (how, count) in [("done", stats.done), ("failed", stats.failed), ("lost", stats.lost)] {
            let mut labels = labels();
            labels.push(("how", how.to_owned()));
            tasks = tasks.with(labels, Value::Counter(count));
        }
    }
    let mut families = vec![
        Family::new("chargehand_worker_series_omitted", "Workers without series of their own.")
            .plain(gauge(omitted)),
    ];
    families.extend(
        [up, in_flight, window, tasks, service].into_iter().filter(|it| !it.series.is_empty()),
    );
    families
}
