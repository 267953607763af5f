//! How far it is: bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::fmt;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chargehand::PoolStats;
use chargehand::core::{WorkerId, WorkerState};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::block::grouped;

#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Bars { all: MultiProgress, main: ProgressBar, workers: Mutex<HashMap<WorkerId, ProgressBar>> },
    Lines { total: u64, before: u64, started: Instant, done: Mutex<u64> },
}

impl Progress {
    /// Of `total` heights, those done `before` are no part of how fast it is.
    pub(crate) fn new(total: u64, before: u64) -> Self {
        if !stderr().is_terminal() {
            let (started, done) = (Instant::now(), Mutex::new(before));
            return Self(Arc::new(Inner::Lines { total, before, started, done }));
        }
        let all = MultiProgress::new();
        let style = "{bar:40} {human_pos} of {human_len}  {rate}/s  {eta} left";
        let style = ProgressStyle::with_template(style).expect("a valid template").with_key(
            "rate",
            // Its own {per_sec} has four digits behind the point.
            |state: &ProgressState, text: &mut dyn fmt::Write| {
                // It fails only where nobody reads it.
                let _ = write!(text, "{:.0}", state.per_sec());
            },
        );
        let main = all.add(ProgressBar::new(total).with_style(style).with_position(before));
        main.reset_eta();
        Self(Arc::new(Inner::Bars { all, main, workers: Mutex::default() }))
    }

    /// Returns how often to [`show`](Self::show).
    pub(crate) fn interval(&self) -> Duration {
        match &*self.0 {
            Inner::Bars { .. } => Duration::from_millis(100),
            Inner::Lines { .. } => Duration::from_secs(1),
        }
    }

    /// Says something beside the progress.
    pub(crate) fn say(&self, text: &str) {
        match &*self.0 {
            // It fails only where nobody reads it.
            Inner::Bars { all, .. } => drop(all.println(text)),
            Inner::Lines { .. } => eprintln!("{text}"),
        }
    }

    /// Notes how many heights have an outcome.
    pub(crate) fn set(&self, count: u64) {
        match &*self.0 {
            Inner::Bars { main, .. } => main.set_position(count),
            Inner::Lines { done, .. } => *done.lock().expect("nothing panics with it") = count,
        }
    }

    /// Shows how each worker stands.
    pub(crate) fn show(&self, stats: &PoolStats) {
        match &*self.0 {
            Inner::Bars { all, workers, .. } => {
                let mut workers = workers.lock().expect("nothing panics with it");
                for worker in &stats.workers {
                    let bar = workers.entry(worker.id).or_insert_with(|| {
                        let style = ProgressStyle::with_template("  {msg}").expect("is valid");
                        all.add(ProgressBar::no_length().with_style(style))
                    });
                    let state = named(worker.stats.state);
                    let (peer, done) = (&worker.peer, grouped(worker.stats.done));
                    let (held, window) = (worker.stats.in_flight, worker.stats.window);
                    bar.set_message(format!(
                        "{peer:<28} {state:<11} {held:>4}/{window:<4} {done:>9} done"
                    ));
                }
            }
            Inner::Lines { total, before, started, done } => {
                let done = *done.lock().expect("nothing panics with it");
                let up = stats.workers.iter().filter(|worker| is_up(worker.stats.state)).count();
                let seconds = started.elapsed().as_secs_f64();
                // For people: its precision does not matter.
                #[expect(clippy::cast_precision_loss)]
                let rate = (done - before) as f64 / seconds.max(0.001);
                #[expect(clippy::cast_precision_loss)]
                let left = (total - done) as f64 / rate;
                let left =
                    if done > *before { format!("{left:.0} s left") } else { "begins".into() };
                eprintln!(
                    "{} of {} done, {rate:.0}/s, {left}, {up} of {} workers up",
                    grouped(done),
                    grouped(*total),
                    stats.workers.len()
                );
            }
        }
    }

    /// Clears the bars away.
    pub(crate) fn finish(&self) {
        if let Inner::Bars { all, main, workers } = &*self.0 {
            for bar in workers.lock().expect("nothing panics with it").values() {
                bar.finish_and_clear();
            }
            main.finish_and_clear();
            // It fails only where nobody reads it.
            let _ = all.clear();
        }
    }
}

fn named(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Absent { .. } => "away",
        WorkerState::Resting { .. } => "backs off",
        WorkerState::Connecting => "connecting",
        WorkerState::Up => "up",
        WorkerState::Busy => "busy",
        WorkerState::Rested { .. } => "rests",
        WorkerState::Draining => "draining",
        _ => "?",
    }
}

fn is_up(state: WorkerState) -> bool {
    use WorkerState::{Busy, Draining, Rested, Up};
    matches!(state, Up | Busy | Rested { .. } | Draining)
}
