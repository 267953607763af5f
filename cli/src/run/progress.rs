//! How far it is, how fast, and how long it will take.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::job::Tally;
use crate::args::Format;
use crate::console::Console;
use crate::numbers::{Speed, bar, grouped, per_second, span};
use crate::screen::Frame;

const BAR_COLUMNS: usize = 20;

#[derive(Debug)]
pub(super) struct Progress {
    console: Console,
    begun: Instant,
    is_quiet: bool,
    speed: Speed,
}

/// The summary at the end, as JSON.
#[derive(Serialize)]
struct Summary {
    v: u8,
    done: u64,
    failed: u64,
    before: u64,
    seconds: f64,
    interrupted: bool,
}

impl Progress {
    pub(super) fn new(console: Console, is_quiet: bool) -> Self {
        Self { console, begun: Instant::now(), is_quiet, speed: Speed::default() }
    }

    /// Returns how often to [`show`](Self::show).
    pub(super) fn interval(&self) -> Duration {
        if self.console.is_terminal() {
            Duration::from_millis(100)
        } else {
            Duration::from_secs(10)
        }
    }

    /// Says something beside the progress, if that is wanted.
    pub(super) fn say(&self, text: &str) {
        if !self.is_quiet {
            self.console.say(text);
        }
    }

    /// Shows how it stands. `workers` are those elsewhere that are up, and `local` how many tasks this machine
    /// does at once.
    pub(super) fn show(
        &mut self,
        tally: Tally,
        total: Option<u64>,
        workers: Option<usize>,
        local: u64,
    ) {
        if self.is_quiet {
            return;
        }
        let settled = tally.of_this_run();
        let rate = self.speed.note(Instant::now(), settled);
        let settled = tally.before + settled;
        let mut parts = Vec::new();
        if tally.failed > 0 {
            parts.push(format!("{} failed", grouped(tally.failed)));
        }
        match total.map(|total| total.saturating_sub(settled)) {
            _ if local == 0 && workers == Some(0) => parts.push("waits for a worker".to_owned()),
            Some(left) if rate > 0.0 => {
                parts.push(format!("{}/s, {} left", per_second(rate), span(left, rate)));
            }
            _ => parts.push(format!("{}/s", per_second(rate))),
        }
        let state = parts.join(", ");
        parts.extend(workers.map(|up| format!("{up} workers up elsewhere")));
        let count = match total {
            Some(total) => format!("{} of {}", grouped(settled), grouped(total)),
            None => format!("{} tasks", grouped(settled)),
        };
        let line = format!("{count}, {}", parts.join(", "));
        let mut forms = vec![line.clone(), format!("{count}, {state}"), count];
        if let Some(total) = total {
            forms.insert(0, format!("{} {line}", bar(BAR_COLUMNS, settled, total)));
        }
        self.console.show(Frame { line, forms, details: Vec::new() });
    }

    /// Takes it away from the screen.
    pub(super) fn clear(&self) {
        if self.console.is_terminal() {
            self.console.show(Frame::default());
        }
    }

    /// Says how it ended.
    pub(super) fn sum_up(&self, tally: Tally, interrupted: bool, format: Format) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let Tally { done, failed, before, .. } = tally;
        if format == Format::Json {
            let summary = Summary { v: 1, done, failed, before, seconds, interrupted };
            self.console.say(&serde_json::to_string(&summary).expect("plain data"));
            return;
        }
        let text = format!("{} done, {} failed", grouped(done), grouped(failed));
        let before =
            if before > 0 { format!(", {} before", grouped(before)) } else { String::new() };
        // For people: its precision does not matter.
        #[expect(clippy::cast_precision_loss)]
        let rate = tally.of_this_run() as f64 / seconds.max(0.001);
        self.say(&format!("{text}{before}; {seconds:.2} s, {}/s", per_second(rate)));
    }
}
