//! The one task that asks the pool, and what it leaves for those who look.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chargehand::measure::{Histogram, Measures};
use chargehand::{Closed, Pool, PoolEvent};
use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::history::{History, Point};
use crate::{Settings, Status, view};

/// A driver that has not answered for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// So far back goes what is shown as the latency of now.
const RECENT: Duration = Duration::from_secs(60);
/// The pool is not asked more often than this, whoever wants to know.
const PAUSE: Duration = Duration::from_millis(20);
/// How many events are kept.
const EVENTS_MAX: usize = 256;
/// The longest text of an event, in bytes.
const EVENT_BYTES_MAX: usize = 512;

/// What the routes share with the task that asks the pool.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) settings: Settings,
    pub(crate) frames: watch::Sender<Arc<Frame>>,
    /// Somebody wants figures that are younger than the last ones.
    poke: Notify,
    /// How many times the pool was asked.
    asked: AtomicU64,
    history: Mutex<History>,
    pub(crate) viewers: Semaphore,
    /// Whose turn it is to have the pool say why.
    pub(crate) explaining: tokio::sync::Mutex<()>,
}

/// Whether the pool answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Life {
    /// It has not been asked yet.
    Starting,
    Running,
    /// Its driver is not polled.
    Stuck,
    /// Its driver has ended.
    Ended,
}

/// The pool at one moment.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) life: Life,
    /// How many times the pool had been asked.
    pub(crate) number: u64,
    pub(crate) at_ms: u64,
    pub(crate) measures: Option<Arc<Measures>>,
    /// Tasks that each worker did in a second, by the place of the worker.
    pub(crate) rates: Vec<f64>,
    /// The latest point of the history.
    pub(crate) point: Option<Point>,
    /// What was measured in the last minute or so.
    pub(crate) recent: Option<Recent>,
    /// Why tasks wait, where none is with a worker, as the pool says itself.
    pub(crate) reasons: Vec<String>,
    pub(crate) events: Vec<EventLine>,
    pub(crate) event_counts: EventCounts,
    /// What is shown of it, once for all who look.
    pub(crate) json: Arc<str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Recent {
    pub(crate) queue_wait: Histogram,
    pub(crate) service: Histogram,
    pub(crate) round_trip: Histogram,
}

/// An event, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventLine {
    pub(crate) number: u64,
    pub(crate) at_ms: u64,
    pub(crate) kind: &'static str,
    pub(crate) text: Box<str>,
}

/// How many events of each kind there were. All that can come are there from the start: a rate is of two figures,
/// of which the first is 0.
#[derive(Clone, Debug)]
pub(crate) struct EventCounts(pub(crate) Vec<(&'static str, u64)>);

impl Default for EventCounts {
    fn default() -> Self {
        Self(KINDS.map(|kind| (kind, 0)).to_vec())
    }
}

impl EventCounts {
    fn add(&mut self, kind: &'static str, more: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += more,
            None => self.0.push((kind, more)),
        }
    }
}

impl Shared {
    /// Begins to ask the pool, until nobody has this any more.
    pub(crate) fn start(status: Status) -> Arc<Self> {
        let Status { pool, settings } = status;
        let viewers = Semaphore::new(settings.viewers_max.min(Semaphore::MAX_PERMITS));
        let mut first = Frame {
            life: Life::Starting,
            number: 0,
            at_ms: now_ms(),
            measures: None,
            rates: Vec::new(),
            point: None,
            recent: None,
            reasons: Vec::new(),
            events: Vec::new(),
            event_counts: EventCounts::default(),
            json: "".into(),
        };
        first.json = view::overview(&first, &settings);
        let shared = Arc::new(Self {
            pool,
            settings,
            frames: watch::Sender::new(Arc::new(first)),
            poke: Notify::new(),
            asked: AtomicU64::new(0),
            history: Mutex::new(History::default()),
            viewers,
            explaining: tokio::sync::Mutex::new(()),
        });
        let collector = Collector::new(&shared);
        tokio::spawn(collector.run(Arc::downgrade(&shared)));
        shared
    }

    /// Returns the latest figures.
    pub(crate) fn latest(&self) -> Arc<Frame> {
        Arc::clone(&self.frames.borrow())
    }

    /// Returns figures that the pool was asked for from now on; the latest that there are, where it does not
    /// answer in time.
    pub(crate) async fn fresh(&self) -> Arc<Frame> {
        let mut frames = self.frames.subscribe();
        // The one that is on its way may be from before whatever led to this.
        let next = self.asked.load(Ordering::SeqCst) + 1;
        let is_new = |frame: &Arc<Frame>| frame.number >= next || frame.life == Life::Ended;
        self.poke.notify_one();
        let _ = timeout(STUCK_AFTER / 5, frames.wait_for(is_new)).await;
        self.latest()
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        // Nothing that holds it can panic half way.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

struct Collector {
    pool: Pool,
    period: Duration,
    events: VecDeque<EventLine>,
    event_count: u64,
    event_counts: EventCounts,
    /// The figures of the last interval, and when that was.
    previous: Option<(Instant, Arc<Measures>)>,
    /// What was measured up to each interval of the last minute, the oldest first.
    past: VecDeque<(Instant, Recent)>,
    rates: Vec<f64>,
    point: Option<Point>,
    reasons: Vec<String>,
    #[cfg(feature = "metrics")]
    facade: crate::facade::Facade,
}

impl Collector {
    fn new(shared: &Shared) -> Self {
        Self {
            pool: shared.pool.clone(),
            period: shared.settings.interval,
            events: VecDeque::new(),
            event_count: 0,
            event_counts: EventCounts::default(),
            previous: None,
            past: VecDeque::new(),
            rates: Vec::new(),
            point: None,
            reasons: Vec::new(),
            #[cfg(feature = "metrics")]
            facade: crate::facade::Facade::default(),
        }
    }

    async fn run(mut self, shared: Weak<Shared>) {
        let mut events = self.pool.events();
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = pin!(sleep(Duration::ZERO));
        loop {
            pause.as_mut().await;
            let is_tick = {
                // Held for an interval at most, so that this ends with the routes.
                let Some(shared) = shared.upgrade() else { return };
                let is_tick = tokio::select! {
                    () = shared.poke.notified() => false,
                    _ = ticks.tick() => true,
                };
                shared.asked.fetch_add(1, Ordering::SeqCst);
                is_tick
            };
            pause.set(sleep(PAUSE));
            let asked = timeout(STUCK_AFTER, self.pool.measure()).await;
            // No more of them than the stream holds, however many come: it counts the others.
            while let Some(Some(event)) = events.next().now_or_never() {
                self.note(&event);
            }
            let Some(shared) = shared.upgrade() else { return };
            match asked {
                Ok(Ok(measures)) => {
                    let measures = Arc::new(measures);
                    self.reasons = self.reasons_for(&measures).await;
                    if is_tick {
                        self.advance(&shared, &measures);
                    }
                    self.publish(&shared, Life::Running, Some(measures));
                }
                Ok(Err(Closed)) => return self.publish(&shared, Life::Ended, None),
                Err(_) => self.publish(&shared, Life::Stuck, None),
            }
        }
    }

    /// Asks the pool why tasks wait, where none is with a worker.
    async fn reasons_for(&self, measures: &Measures) -> Vec<String> {
        let tasks = &measures.stats.tasks;
        if tasks.in_flight > 0 || tasks.waiting == 0 {
            return Vec::new();
        }
        match timeout(STUCK_AFTER, self.pool.explain()).await {
            Ok(Ok(explanation)) => view::reasons(&explanation),
            _ => Vec::new(),
        }
    }

    fn note(&mut self, event: &PoolEvent) {
        let kind = kind_of(event);
        let more = if let PoolEvent::Missed(count) = event { *count } else { 1 };
        self.event_counts.add(kind, more);
        self.event_count += more;
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        let text = event.to_string();
        let text = chargehand::core::message::clip(&text, EVENT_BYTES_MAX).into();
        let number = self.event_count;
        self.events.push_back(EventLine { number, at_ms: now_ms(), kind, text });
    }

    /// Adds a point to the history.
    fn advance(&mut self, shared: &Shared, measures: &Arc<Measures>) {
        let now = Instant::now();
        if let Some((then, before)) = &self.previous {
            let span = now.duration_since(*then).as_secs_f64().max(1e-3);
            let point = point_between(before, measures, span);
            self.rates = rates_between(before, measures, span);
            shared.history().push(point.clone());
            self.point = Some(point);
        }
        self.previous = Some((now, Arc::clone(measures)));
        let times = Recent {
            queue_wait: measures.queue_wait.clone(),
            service: measures.service.clone(),
            round_trip: measures.round_trip.clone(),
        };
        self.past.push_back((now, times));
        while self.past.len() > 1 && now.duration_since(self.past[0].0) > RECENT {
            self.past.pop_front();
        }
        #[cfg(feature = "metrics")]
        self.facade.record(measures, &self.event_counts, &shared.settings);
    }

    fn publish(&self, shared: &Shared, life: Life, measures: Option<Arc<Measures>>) {
        let latest = shared.latest();
        let recent = measures.as_ref().zip(self.past.front()).map(|(now, (_, before))| Recent {
            queue_wait: now.queue_wait.since(&before.queue_wait),
            service: now.service.since(&before.service),
            round_trip: now.round_trip.since(&before.round_trip),
        });
        let mut frame = Frame {
            life,
            number: shared.asked.load(Ordering::SeqCst),
            at_ms: now_ms(),
            measures: measures.or_else(|| latest.measures.clone()),
            rates: self.rates.clone(),
            point: self.point.clone(),
            recent: recent.or_else(|| latest.recent.clone()),
            reasons: self.reasons.clone(),
            events: self.events.iter().cloned().collect(),
            event_counts: self.event_counts.clone(),
            json: "".into(),
        };
        frame.json = view::overview(&frame, &shared.settings);
        shared.frames.send_replace(Arc::new(frame));
    }
}

/// Returns how often something that counts up went up in a second.
fn rate(before: u64, now: u64, span: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with three figures")]
    let more = now.saturating_sub(before) as f64;
    more / span
}

/// Returns how many tasks failed for good, in whatever way.
pub(crate) fn failed_of(measures: &Measures) -> u64 {
    let tasks = &measures.stats.tasks;
    tasks.failed + tasks.exhausted + tasks.bounced + tasks.expired + tasks.aborted
}

fn point_between(before: &Measures, now: &Measures, span: f64) -> Point {
    let micros = |times: &Histogram, share| {
        let time = times.quantile(share)?;
        Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    };
    let round_trip = now.round_trip.since(&before.round_trip);
    let queue_wait = now.queue_wait.since(&before.queue_wait);
    let tasks = &now.stats.tasks;
    Point {
        at_ms: now_ms(),
        done_rate: rate(before.stats.tasks.done, tasks.done, span),
        failed_rate: rate(failed_of(before), failed_of(now), span),
        waiting: now.queued as u64 + u64::from(tasks.waiting),
        in_flight: tasks.in_flight.into(),
        p50_us: micros(&round_trip, 0.5),
        p99_us: micros(&round_trip, 0.99),
        wait_p99_us: micros(&queue_wait, 0.99),
    }
}

/// Returns how many tasks each worker did in a second. Both lists are by the workers' places.
fn rates_between(before: &Measures, now: &Measures, span: f64) -> Vec<f64> {
    let mut earlier = before.stats.workers.iter().peekable();
    let rate_of = |worker: &chargehand::WorkerInfo| {
        while earlier.next_if(|info| info.id.slot() < worker.id.slot()).is_some() {}
        let same = earlier.peek().filter(|info| info.id == worker.id);
        rate(same.map_or(0, |info| info.stats.done), worker.stats.done, span)
    };
    now.stats.workers.iter().map(rate_of).collect()
}

/// The kinds of events, each as [`kind_of`] calls it.
const KINDS: [&str; 16] = [
    "connected",
    "serves",
    "refused",
    "lost",
    "closed",
    "turned_away",
    "accept_failed",
    "retried",
    "hedged",
    "suspended",
    "gone",
    "callback_panicked",
    "lowered",
    "expiring",
    "unrecorded",
    "missed",
];

fn kind_of(event: &PoolEvent) -> &'static str {
    match event {
        PoolEvent::Connected { .. } => "connected",
        PoolEvent::Serves { .. } => "serves",
        PoolEvent::Refused { .. } => "refused",
        PoolEvent::Lost { .. } => "lost",
        PoolEvent::Closed { .. } => "closed",
        PoolEvent::TurnedAway { .. } => "turned_away",
        PoolEvent::AcceptFailed { .. } => "accept_failed",
        PoolEvent::Retried { .. } => "retried",
        PoolEvent::Hedged { .. } => "hedged",
        PoolEvent::Suspended { .. } => "suspended",
        PoolEvent::Gone { .. } => "gone",
        PoolEvent::CallbackPanicked { .. } => "callback_panicked",
        PoolEvent::Lowered { .. } => "lowered",
        PoolEvent::Expiring { .. } => "expiring",
        PoolEvent::Unrecorded { .. } => "unrecorded",
        PoolEvent::Missed(_) => "missed",
        _ => "other",
    }
}
