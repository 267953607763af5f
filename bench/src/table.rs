//! Figures as text.

use std::fmt::Write;

use crate::figures::{Record, Spread};

/// How a figure is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) figure: &'static str,
    pub(crate) title: &'static str,
    pub(crate) show: fn(f64) -> String,
    /// Whether the least and the most are shown beside the median.
    pub(crate) spread: bool,
}

const RATE: Column = Column { figure: "rate", title: "tasks/s", show: grouped, spread: true };
const RATIO: Column = Column { figure: "ratio", title: "to the first", show: two, spread: true };
const MANAGER: Column =
    Column { figure: "manager", title: "manager, us CPU", show: micros, spread: false };
const WORKER: Column =
    Column { figure: "worker", title: "worker, us CPU", show: micros, spread: false };
const BROKER: Column =
    Column { figure: "broker", title: "broker, us CPU", show: micros, spread: false };
const P50: Column = Column { figure: "p50", title: "p50, us", show: micros, spread: true };
const P99: Column = Column { figure: "p99", title: "p99, us", show: micros, spread: false };
const P999: Column = Column { figure: "p99.9", title: "p99.9, us", show: micros, spread: false };

pub(crate) const THROUGHPUT: &[Column] = &[RATE, RATIO, MANAGER, WORKER];
pub(crate) const LATENCY: &[Column] = &[P50, P99, P999, RATE, RATIO];
pub(crate) const PEERS: &[Column] = &[RATE, RATIO, MANAGER, WORKER, BROKER, P50, P99];
pub(crate) const TLS: &[Column] = &[
    RATE,
    RATIO,
    Column { figure: "price", title: "to bare TLS's", show: two, spread: true },
    MANAGER,
    WORKER,
    Column { figure: "first", title: "at first", show: grouped, spread: false },
    Column { figure: "own", title: "our bytes", show: grouped, spread: false },
    Column { figure: "resident", title: "resident bytes", show: grouped, spread: false },
];
pub(crate) const MIXED: &[Column] = &[
    Column { figure: "makespan", title: "makespan, s", show: two, spread: true },
    Column { figure: "to ideal", title: "to the ideal", show: two, spread: true },
    Column { figure: "p50", title: "wait p50, ms", show: millis, spread: false },
    Column { figure: "p99", title: "wait p99, ms", show: millis, spread: true },
    Column { figure: "p99.9", title: "wait p99.9, ms", show: millis, spread: false },
    Column { figure: "more", title: "more sends, %", show: two, spread: false },
];
pub(crate) const JUDGED: &[Column] = &[
    Column { figure: "seconds", title: "s", show: three, spread: true },
    Column { figure: "sends", title: "sends for each task", show: two, spread: true },
    Column { figure: "p50", title: "wait p50, ms", show: millis, spread: false },
    Column { figure: "p99", title: "wait p99, ms", show: millis, spread: true },
    Column { figure: "p99.9", title: "wait p99.9, ms", show: millis, spread: true },
    Column { figure: "more", title: "more sends, %", show: two, spread: false },
    Column { figure: "to slow", title: "calls to the slow one", show: grouped, spread: true },
];
pub(crate) const SCALE: &[Column] = &[
    RATE,
    RATIO,
    MANAGER,
    Column { figure: "own", title: "our bytes", show: grouped, spread: false },
    Column { figure: "with tables", title: "with the tables", show: grouped, spread: false },
    Column { figure: "resident", title: "resident bytes", show: grouped, spread: false },
    Column { figure: "first third", title: "bytes, first third", show: grouped, spread: false },
    Column { figure: "rest", title: "bytes, then", show: grouped, spread: false },
    Column { figure: "heights", title: "heights", show: grouped, spread: false },
];

/// Returns a Markdown table of one group's rows. It reads well on a terminal, too.
pub(crate) fn markdown(records: &[Record], columns: &[Column]) -> String {
    let columns: Vec<&Column> = columns
        .iter()
        .filter(|column| records.iter().any(|record| record.figures.contains_key(column.figure)))
        .collect();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(columns.iter().map(|column| column.title.to_owned()));
    for record in records {
        let cell = |column: &&Column| {
            record
                .figures
                .get(column.figure)
                .map_or_else(String::new, |spread| column.text(*spread))
        };
        let mut row = vec![record.name.clone()];
        row.extend(columns.iter().map(cell));
        rows.push(row);
    }
    let width = |index: usize| rows.iter().map(|row| row[index].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=columns.len()).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            let (before, after) = if index == 0 { ("", &*padding) } else { (&*padding, "") };
            write!(text, "| {before}{cell}{after} ").expect("a string takes all");
        }
        text.push_str("|\n");
        if number == 0 {
            for (index, width) in widths.iter().enumerate() {
                let end = if index == 0 { "-" } else { ":" };
                write!(text, "|-{}{end}", "-".repeat(*width)).expect("a string takes all");
            }
            text.push_str("|\n");
        }
    }
    text
}

impl Column {
    fn text(&self, spread: Spread) -> String {
        let median = (self.show)(spread.median);
        let (min, max) = ((self.show)(spread.min), (self.show)(spread.max));
        if self.spread && min != max { format!("{median} ({min} to {max})") } else { median }
    }
}

/// Shows a whole number with commas, to three significant digits.
pub(crate) fn grouped(value: f64) -> String {
    let step = 10_f64.powf((value.abs().max(1.0).log10().floor() - 2.0).max(0.0));
    let digits = format!("{:.0}", (value / step).round() * step);
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn two(value: f64) -> String {
    format!("{value:.2}")
}

pub(crate) fn three(value: f64) -> String {
    format!("{value:.3}")
}

/// Shows nanoseconds as microseconds, to three digits or so.
pub(crate) fn micros(nanos: f64) -> String {
    let micros = nanos / 1000.0;
    match micros {
        0.0..10.0 => format!("{micros:.2}"),
        10.0..100.0 => format!("{micros:.1}"),
        _ => grouped(micros),
    }
}

/// Shows nanoseconds as milliseconds.
fn millis(nanos: f64) -> String {
    format!("{:.1}", nanos / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Figures;

    #[test]
    fn numbers_are_short() {
        assert_eq!(grouped(4_412_345.0), "4,410,000");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(7.0), "7");
        assert_eq!(micros(86_000.0), "86.0");
        assert_eq!(micros(180.0), "0.18");
        assert_eq!(micros(10_600_000.0), "10,600");
    }

    #[test]
    fn a_table_has_only_columns_with_something_in_them() {
        let rounds = [1.0, 2.0, 3.0].map(|rate| Figures::from([("rate".to_owned(), rate)]));
        let record = Record::new("s", "g", "bare", &rounds);
        let expected = "|      |    tasks/s |\n|------|-----------:|\n| bare | 2 (1 to 3) |\n";
        assert_eq!(markdown(&[record], THROUGHPUT), expected);
    }
}
