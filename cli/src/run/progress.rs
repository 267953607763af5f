//! How far it is, how fast, and how long it will take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::job::Tally;
use crate::args::Format;
use crate::console::Console;
use crate::look::{grouped, per_second};
use crate::screen::Frame;

/// How far back the speed looks: what was long ago says little of what is left.
const WINDOW: Duration = Duration::from_secs(10);
const BAR_COLUMNS: usize = 20;

#[derive(Debug)]
pub(super) struct Progress {
    console: Console,
    begun: Instant,
    is_quiet: bool,
    /// When how many were settled, the oldest first.
    samples: VecDeque<(Instant, u64)>,
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
        Self { console, begun: Instant::now(), is_quiet, samples: VecDeque::new() }
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
        let rate = self.rate(Instant::now(), settled);
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
            forms.insert(0, format!("{} {line}", bar(settled, total)));
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

    /// Returns how many tasks a second were settled of late.
    fn rate(&mut self, now: Instant, settled: u64) -> f64 {
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, settled));
        let (from, were_settled) = self.samples[0];
        let seconds = now.duration_since(from).as_secs_f64();
        #[expect(clippy::cast_precision_loss)]
        let more = settled.saturating_sub(were_settled) as f64;
        if seconds > 0.0 { more / seconds } else { 0.0 }
    }
}

/// Returns how long it takes, in the unit that people would choose.
fn span(tasks: u64, rate: f64) -> String {
    #[expect(clippy::cast_precision_loss)]
    let seconds = tasks as f64 / rate;
    let (count, unit) = match seconds {
        ..120.0 => (seconds, "s"),
        ..7200.0 => (seconds / 60.0, "min"),
        ..172_800.0 => (seconds / 3600.0, "h"),
        _ => (seconds / 86_400.0, "days"),
    };
    format!("{count:.0} {unit}")
}

fn bar(settled: u64, total: u64) -> String {
    let filled = BAR_COLUMNS as u128 * u128::from(settled) / u128::from(total.max(1));
    let filled = usize::try_from(filled).unwrap_or(BAR_COLUMNS).min(BAR_COLUMNS);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR_COLUMNS - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_spans_have_units() {
        assert_eq!(
            ["7", "999", "1,000", "12,345,678"],
            [7, 999, 1000, 12_345_678].map(grouped)[..]
        );
        assert_eq!(span(60, 1.0), "60 s");
        assert_eq!(span(86_400 * 30, 1.0), "30 days");
        assert_eq!(bar(1, 0), format!("[{}]", "#".repeat(BAR_COLUMNS)));
    }
}
