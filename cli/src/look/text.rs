//! Figures as texts for people.

use std::fmt::Write;

use super::figures::Queue;
use super::{Explained, Latency, Overview, Page};
use crate::args::ExplainArgs;
use crate::console::printable;
use crate::numbers::{grouped, per_second};

const DAY_SECONDS: u64 = 86_400;
/// How many lines of failures and events are shown.
const LINES_MAX: usize = 5;

/// Returns all that is worth a word, in lines.
pub(super) fn overview(it: &Overview) -> String {
    let mut text = String::new();
    let mut line = |name: &str, rest: String| {
        let _ = writeln!(text, "{name:<11}{}", printable(&rest));
    };
    line("pool", format!("{}, {}, at {} UTC", it.name, it.life, time_of_day(it.at_ms)));
    for notice in &it.notices {
        line("notice", notice.clone());
    }
    if let Some(point) = &it.point {
        let (done, failed) = (per_second(point.done_rate), per_second(point.failed_rate));
        line("rate", format!("{done} done/s, {failed} failed/s"));
    }
    line("open", open(it));
    line("ended", ended(it));
    let latency = &it.latency;
    let latencies = [
        ("waited", &latency.queue_wait),
        ("service", &latency.service),
        ("round trip", &latency.round_trip),
    ];
    for (name, times) in latencies {
        line(name, quantiles(times));
    }
    line("workers", workers_by_state(it));
    line("memory", format!("{} of {}", bytes(it.memory_used), bytes(it.memory_max)));
    for queue in &it.queues {
        line("queue", queue_in_words(queue));
    }
    for range in &it.ranges {
        let (done, heights) = (grouped(range.done), grouped(range.heights));
        let low =
            range.low_water.as_ref().map_or_else(String::new, |low| format!(", all up to {low}"));
        line(
            "range",
            format!(
                "{}..={}: {done} of {heights} done, {} in flight, {} failed{low}",
                range.first,
                range.last,
                grouped(range.in_flight),
                grouped(range.failed)
            ),
        );
    }
    if it.ranges_more > 0 {
        line("range", format!("{} more", grouped(it.ranges_more)));
    }
    for failure in it.failures.iter().take(LINES_MAX) {
        line("failure", format!("{} times: {}", grouped(failure.count), failure.example));
    }
    let more: u64 = it.failures.iter().skip(LINES_MAX).map(|failure| failure.count).sum();
    if more + it.failures_other > 0 {
        line("failure", format!("{} times: others", grouped(more + it.failures_other)));
    }
    for event in it.events.iter().take(LINES_MAX) {
        line("event", format!("{} {}", time_of_day(event.at_ms), event.text));
    }
    text
}

fn queue_in_words(queue: &Queue) -> String {
    let paused = if queue.is_paused { ", paused" } else { "" };
    let oldest = queue.oldest_ms.map_or_else(String::new, |ms| format!(", oldest {}", millis(ms)));
    let limits = queue.limits().map_or_else(String::new, |most| format!(", at most {most}"));
    format!(
        "{}: {} waiting, {} resting, {} in flight, {} sent{oldest}{limits}{paused}",
        queue.name,
        grouped(queue.waiting + queue.waiting_for_key),
        grouped(queue.resting),
        grouped(queue.in_flight),
        grouped(queue.sent)
    )
}

/// Returns each reason as a line, with what it comes to before them.
pub(super) fn explained(it: &Explained, args: &ExplainArgs) -> String {
    let mut text = String::new();
    let mut line = |rest: String| {
        let _ = writeln!(text, "{}", printable(&rest));
    };
    if args.task.is_empty() && args.worker.is_empty() {
        let waiting: u64 = it.waiting.iter().filter_map(|reason| reason.count).sum();
        let (held, waiting) = (grouped(it.in_flight), grouped(waiting));
        line(format!("{held} tasks are with workers, {waiting} wait for what follows"));
        if it.is_stopping {
            line("the pool stops: it takes nothing new".to_owned());
        }
    }
    for reason in it.tasks.iter().chain(&it.waiting).chain(&it.outside) {
        line(reason.text.clone());
    }
    for worker in &it.workers {
        let left =
            worker.left_ms.map_or_else(String::new, |ms| format!(", for {} at most", millis(ms)));
        line(format!("worker {} {}{left}", worker.peer, worker.text));
    }
    if it.workers_more > 0 {
        line(format!("and {} more workers: give --worker NAME", grouped(it.workers_more)));
    }
    text
}

/// Returns a table of workers.
pub(super) fn workers(page: &Page) -> String {
    let mut text = format!(
        "{:<8} {:<28} {:<11} {:>9} {:>8} {:>10} {:>8} {:>6} {:>8}\n",
        "ID", "WORKER", "STATE", "IN FLIGHT", "RATE", "DONE", "FAILED", "LOST", "P99"
    );
    for it in &page.rows {
        let name = printable(it.identity.as_ref().unwrap_or(&it.peer));
        let flight = format!("{}/{}", it.in_flight, it.window);
        let notes = it.why.clone().into_iter().chain(it.served());
        let why = notes.fold(String::new(), |text, note| format!("{text}  {}", printable(&note)));
        let _ = writeln!(
            text,
            "{:<8} {name:<28} {:<11} {flight:>9} {:>8} {:>10} {:>8} {:>6} {:>8}{why}",
            printable(&it.id),
            printable(&it.state),
            per_second(it.rate),
            grouped(it.done),
            grouped(it.failed),
            grouped(it.lost),
            it.p99_us.map_or_else(|| "-".to_owned(), micros),
        );
    }
    let _ = writeln!(text, "{} of {} workers", grouped(page.matched), grouped(page.total));
    text
}

/// Returns what is not settled.
pub(crate) fn open(it: &Overview) -> String {
    let tasks = &it.tasks;
    format!(
        "{} queued, {} waiting, {} resting, {} in flight",
        grouped(it.queued),
        grouped(tasks.waiting),
        grouped(tasks.resting),
        grouped(tasks.in_flight)
    )
}

/// Returns what is settled, and how: what there is none of is left out, but for the first two.
pub(crate) fn ended(it: &Overview) -> String {
    let tasks = &it.tasks;
    let mut text = format!("{} done, {} failed", grouped(tasks.done), grouped(tasks.failed));
    let others = [
        (tasks.exhausted, "exhausted"),
        (tasks.bounced, "bounced"),
        (tasks.cancelled, "cancelled"),
        (tasks.aborted, "aborted"),
        (tasks.expired, "timed out"),
    ];
    for (number, how) in others.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(text, ", {} {how}", grouped(number));
    }
    let _ = write!(text, " of {}", grouped(tasks.submitted));
    text
}

/// Returns how many workers there are, up and in each other state.
pub(crate) fn workers_by_state(it: &Overview) -> String {
    let mut text = format!("{} of {} up", grouped(it.tasks.workers_up), grouped(it.tasks.workers));
    let others = it.workers.iter().filter(|of| of.count > 0 && of.state != "up");
    for of in others {
        let _ = write!(text, ", {} {}", grouped(of.count), of.state);
    }
    text
}

fn quantiles(times: &Latency) -> String {
    let of = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), micros);
    format!("p50 {}, p90 {}, p99 {}", of(times.p50_us), of(times.p90_us), of(times.p99_us))
}

/// Writes a span in the unit that people would choose, with three digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn micros(us: u64) -> String {
    let digits =
        |number: f64| if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") };
    match us {
        ..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{} ms", digits(us as f64 / 1e3)),
        1_000_000..120_000_000 => format!("{} s", digits(us as f64 / 1e6)),
        120_000_000..7_200_000_000 => format!("{} min", us / 60_000_000),
        _ => format!("{} h", us / 3_600_000_000),
    }
}

pub(crate) fn millis(ms: u64) -> String {
    micros(ms.saturating_mul(1000))
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

/// Returns the time of a day, in UTC.
pub(crate) fn time_of_day(ms: u64) -> String {
    let seconds = ms / 1000 % DAY_SECONDS;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_units_that_people_would_choose() {
        let spans =
            [0, 999, 1_500, 12_345, 2_000_000, 119_000_000, 120_000_000, u64::MAX].map(micros);
        let shown =
            ["0 us", "999 us", "1.5 ms", "12 ms", "2.0 s", "119 s", "2 min", "5124095576 h"];
        assert_eq!(spans, shown.map(str::to_owned));
        assert_eq!(
            [7, 1000, 12_345_678].map(grouped),
            ["7", "1,000", "12,345,678"].map(str::to_owned)
        );
        assert_eq!(
            [5, 1536, 5 << 20, 3 << 30].map(bytes),
            ["5 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"].map(str::to_owned)
        );
        assert_eq!(time_of_day(86_400_000 + 3_723_000), "01:02:03");
    }
}
