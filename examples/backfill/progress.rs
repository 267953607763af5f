//! How far it is, how fast, and how long it will take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chargehand::PoolStats;
use chargehand::core::WorkerState;

use crate::console::Console;
use crate::numbers::{Speed, bar, grouped, per_second, share, span};
use crate::screen::Frame;

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
    speed: Mutex<Speed>,
}

impl Progress {
    pub(crate) fn new(console: Console, total: u64, before: u64) -> Self {
        let (done, speed) = (AtomicU64::new(before), Mutex::default());
        Self(Arc::new(Inner { console, total, before, done, speed }))
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
        let rate = self.0.speed.lock().expect("nothing panics with it").note(Instant::now(), done);
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
            format!("{} {line}", bar(BAR_COLUMNS, done, *total)),
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
}

fn percent(done: u64, total: u64) -> u64 {
    share(100, done, total)
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
