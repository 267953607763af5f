//! Numbers, speeds and spans, for people.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back a speed looks: what was long ago says little of what is left.
const WINDOW: Duration = Duration::from_secs(10);

/// How fast a count grows, by the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    /// When it was what, the oldest first.
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    /// Takes in what the count is now, and returns by how much it grew each second of late.
    pub(crate) fn note(&mut self, now: Instant, count: u64) -> f64 {
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, count));
        let (from, was) = self.samples[0];
        let seconds = now.duration_since(from).as_secs_f64();
        // For people: its precision does not matter.
        #[expect(clippy::cast_precision_loss)]
        let more = count.saturating_sub(was) as f64;
        if seconds > 0.0 { more / seconds } else { 0.0 }
    }
}

/// Returns a number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns how many there are each second.
pub(crate) fn per_second(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Returns how long so many take, in the unit that people would choose.
pub(crate) fn span(count: u64, rate: f64) -> String {
    #[expect(clippy::cast_precision_loss)]
    let seconds = count as f64 / rate;
    let (count, unit) = match seconds {
        ..120.0 => (seconds, "s"),
        ..7200.0 => (seconds / 60.0, "min"),
        ..172_800.0 => (seconds / 3600.0, "h"),
        _ => (seconds / 86_400.0, "days"),
    };
    format!("{count:.0} {unit}")
}

/// Returns how many of so many columns, or per cent, are done.
pub(crate) fn share(of: u64, done: u64, total: u64) -> u64 {
    let share = u128::from(of) * u128::from(done) / u128::from(total.max(1));
    u64::try_from(share).unwrap_or(of).min(of)
}

/// Returns a bar of so many columns.
pub(crate) fn bar(columns: usize, done: u64, total: u64) -> String {
    let filled = usize::try_from(share(columns as u64, done, total)).unwrap_or(columns);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(columns - filled))
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
        assert_eq!(bar(20, 1, 0), format!("[{}]", "#".repeat(20)));
    }

    #[test]
    fn a_speed_is_that_of_the_last_ten_seconds() {
        let (begun, mut speed) = (Instant::now(), Speed::default());
        let rates = [(0, 0), (10, 1000), (20, 1000), (21, 1000)]
            .map(|(second, count)| speed.note(begun + Duration::from_secs(second), count));
        assert_eq!(rates.map(|rate| format!("{rate:.0}")), ["0", "100", "50", "0"]);
    }
}
