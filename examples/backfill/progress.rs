//! How far it is, how fast, and how long it will take.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chargehand::PoolStats;
use chargehand::core::WorkerState;

use crate::block::grouped;
use crate::console::Console;
use crate::screen::Frame;

/// How far back the speed looks: what was long ago says little of what is left.
const WINDOW: Duration = Duration::from_secs(10);
const BAR_COLUMNS: usize = 30;

#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    console: Console,
    total: u64,
    /// Heights done before this run are no part of how fast it is.
    before: u64,
    done: AtomicU64,
    /// When how many were done, the oldest first.
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Progress {
    pub(crate) fn new(console: Console, total: u64, before: u64) -> Self {
        let (done, samples) = (AtomicU64::new(before), Mutex::default());
        Self(Arc::new(Inner { console, total, before, done, samples }))
    }

    /// Returns how often to [`show`](Self::show).
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(if self.0.console.is_terminal() { 100 } else { 1000 })
    }

    /// Says something beside the progress.
    pub(crate) fn say(&self, text: &str) {
        self.0.console.say(text);
    }

    /// Notes how many heights have an outcome.
    pub(crate) fn set(&self, count: u64) {
        self.0.done.store(count, Ordering::Relaxed);
    }

    /// Shows how it stands, and each worker.
    pub(crate) fn show(&self, stats: &PoolStats) {
        let Inner { console, total, before, done, .. } = &*self.0;
        let done = done.load(Ordering::Relaxed);
        let (up, of) = (
            stats.workers.iter().filter(|worker| is_up(worker.stats.state)).count(),
            stats.workers.len(),
        );
        let rate = self.rate(Instant::now(), done);
        let left = if up == 0 {
            "waits for a worker".to_owned()
        } else if rate > 0.0 {
            format!("{}/s, {} left", per_second(rate), span(total.saturating_sub(done), rate))
        } else if done == *before {
            "begins".to_owned()
        } else {
            "stands still".to_owned()
        };
        let count = format!("{} of {} done", grouped(done), grouped(*total));
        let workers = format!("{up} of {of} workers up");
        let line = format!("{count}, {left}, {workers}");
        let forms = vec![
            format!("{} {line}", bar(done, *total)),
            line.clone(),
            format!("{count}, {left}"),
            format!("{} %, {left}", percent(done, *total)),
            left,
            format!("{} %", percent(done, *total)),
        ];
        console.show(Frame { line, forms, details: details(stats) });
    }

    /// Takes the workers away from the screen.
    pub(crate) fn clear(&self) {
        if self.0.console.is_terminal() {
            self.0.console.show(Frame::default());
        }
    }

    /// Returns how many heights a second were done of late.
    fn rate(&self, now: Instant, done: u64) -> f64 {
        let mut samples = self.0.samples.lock().expect("nothing panics with it");
        while samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            samples.pop_front();
        }
        samples.push_back((now, done));
        let (from, were_done) = samples[0];
        let seconds = now.duration_since(from).as_secs_f64();
        // For people: its precision does not matter.
        #[expect(clippy::cast_precision_loss)]
        let more = done.saturating_sub(were_done) as f64;
        if seconds > 0.0 { more / seconds } else { 0.0 }
    }
}

fn per_second(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Returns how long it takes, in the unit that people would choose.
fn span(heights: u64, rate: f64) -> String {
    #[expect(clippy::cast_precision_loss)]
    let seconds = heights as f64 / rate;
    let (count, unit) = match seconds {
        ..120.0 => (seconds, "s"),
        ..7200.0 => (seconds / 60.0, "min"),
        ..172_800.0 => (seconds / 3600.0, "h"),
        _ => (seconds / 86_400.0, "days"),
    };
    format!("{count:.0} {unit}")
}

/// Of so many columns or per cent, as many as are done.
fn share(of: u64, done: u64, total: u64) -> u64 {
    let share = u128::from(of) * u128::from(done) / u128::from(total.max(1));
    u64::try_from(share).unwrap_or(of).min(of)
}

fn percent(done: u64, total: u64) -> u64 {
    share(100, done, total)
}

fn bar(done: u64, total: u64) -> String {
    let filled = usize::try_from(share(BAR_COLUMNS as u64, done, total)).unwrap_or(BAR_COLUMNS);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR_COLUMNS - filled))
}

fn details(stats: &PoolStats) -> Vec<String> {
    let line = |worker: &chargehand::WorkerInfo| {
        let state = named(worker.stats.state);
        let (peer, done) = (&worker.peer, grouped(worker.stats.done));
        let (held, window) = (worker.stats.in_flight, worker.stats.window);
        format!("  {peer:<28} {state:<11} {held:>4}/{window:<4} {done:>9} done")
    };
    stats.workers.iter().map(line).collect()
}

fn named(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Absent { .. } => "away",
        WorkerState::BackingOff { .. } => "backs off",
        WorkerState::Connecting => "connecting",
        WorkerState::Up => "up",
        WorkerState::Busy => "busy",
        WorkerState::Suspended { .. } => "suspended",
        WorkerState::Draining => "draining",
        _ => "?",
    }
}

fn is_up(state: WorkerState) -> bool {
    use WorkerState::{Busy, Draining, Suspended, Up};
    matches!(state, Up | Busy | Suspended { .. } | Draining)
}
