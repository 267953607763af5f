//! What all runs together came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::run::Report;

/// What a campaign of a few thousand seeds must come by, or it shows less than it seems to.
const RARE: &[&str] = &[
    "a key cannot now",
    "a worker cannot now",
    "a flood of progress",
    "aborted",
    "answer of another type",
    "answer to a task never asked",
    "answer to another worker's task",
    "answer to what was not asked, or is over",
    "answer twice",
    "asked what takes it down",
    "bounced",
    "clock jumps",
    "consumer that is stuck",
    "crash instead of an answer",
    "done",
    "dropped by its caller",
    "exhausted",
    "failed",
    "frame that is no message",
    "garbage read",
    "handler fails",
    "handler hangs",
    "handler says how far it is",
    "late answer",
    "link closed instead of an answer",
    "link ended that held tasks",
    "link lost",
    "manager killed and started again",
    "manager polled late",
    "message garbled",
    "network away",
    "no usable answer",
    "outcome of another call",
    "pool stopped in the middle",
    "progress and no answer",
    "progress read",
    "queue paused",
    "range resumed by another manager",
    "refused by a pool that stops",
    "request of a key sent that others wait for",
    "request that takes workers down",
    "request to a worker that serves its queue",
    "request to a worker with a rate",
    "request with a key sent",
    "sent again",
    "the manager died",
    "timed out",
    "told: closed",
    "told: connected",
    "told: gone",
    "told: lost",
    "told: refused",
    "told: retried",
    "told: serves",
    "told: suspended",
    "told: turned away",
    "work that went on over another link",
    "worker added",
    "worker killed",
    "worker not added",
    "worker removed",
    "worker stopped politely",
    "worker with the name of another",
];

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) seeds: u64,
    events: u64,
    checks: u64,
    virtual_millis: u64,
    accepted: u64,
    ended: u64,
    lost: u64,
    doubled: u64,
    wrongly_exhausted: u64,
    pub(crate) failed: Vec<u64>,
    kinds: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, seed: u64, report: Report) {
        let Report { counts, checks, virtual_time, lost, failure, .. } = report;
        self.seeds += 1;
        self.events += counts.passings + checks + counts.ended;
        self.checks += checks;
        self.virtual_millis += u64::try_from(virtual_time.as_millis()).unwrap_or(u64::MAX);
        self.accepted += counts.accepted;
        self.ended += counts.ended;
        self.lost += lost;
        self.doubled += counts.doubled;
        self.wrongly_exhausted += counts.wrongly_exhausted;
        for (kind, count) in counts.kinds {
            *self.kinds.entry(kind.to_owned()).or_default() += count;
        }
        if failure.is_some() {
            self.failed.push(seed);
        }
    }

    fn numbers(&mut self) -> [(&'static str, &mut u64); 9] {
        [
            ("seeds", &mut self.seeds),
            ("events", &mut self.events),
            ("checks", &mut self.checks),
            ("virtual milliseconds", &mut self.virtual_millis),
            ("accepted", &mut self.accepted),
            ("ended", &mut self.ended),
            ("lost", &mut self.lost),
            ("doubled", &mut self.doubled),
            ("wrongly exhausted", &mut self.wrongly_exhausted),
        ]
    }

    /// Returns the rare states that no run came by.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        RARE.iter().filter(|what| !self.kinds.contains_key(**what)).copied().collect()
    }

    /// Writes all of it, one figure a line.
    pub(crate) fn to_lines(&self) -> String {
        let mut numbers = self.clone();
        let mut lines: Vec<String> =
            numbers.numbers().iter().map(|(name, count)| format!("{name}={count}")).collect();
        lines.extend(self.failed.iter().map(|seed| format!("failed={seed}")));
        lines.extend(self.kinds.iter().map(|(kind, count)| format!("kind {kind}={count}")));
        lines.join("\n") + "\n"
    }

    /// Reads what [`to_lines`](Self::to_lines) wrote. What is none of its lines is left out.
    pub(crate) fn of_lines(text: &str) -> Self {
        let mut tally = Self::default();
        for line in text.lines() {
            let Some((name, count)) = line.rsplit_once('=') else { continue };
            let Ok(count) = count.parse() else { continue };
            if let Some(kind) = name.strip_prefix("kind ") {
                tally.kinds.insert(kind.to_owned(), count);
            } else if name == "failed" {
                tally.failed.push(count);
            } else if let Some(place) = tally.numbers().into_iter().find(|place| place.0 == name) {
                *place.1 = count;
            }
        }
        tally
    }

    /// Shows it, with the speed of what took so long.
    pub(crate) fn show(&self, events_before: u64, took: Duration) -> impl fmt::Display + '_ {
        let per_second = (self.events - events_before) * 1000
            / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        Shown(self, per_second)
    }

    pub(crate) const fn events(&self) -> u64 {
        self.events
    }
}

struct Shown<'a>(&'a Tally, u64);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(tally, per_second) = self;
        for (kind, count) in &tally.kinds {
            writeln!(f, "{count:>12}  {kind}")?;
        }
        let days = tally.virtual_millis / 86_400_000;
        writeln!(
            f,
            "{} seeds, {} events ({per_second} a second), {} calls of drivers, each with all checks, \
             {days} days ({}.{:02} years) of virtual time",
            tally.seeds,
            tally.events,
            tally.checks,
            days / 365,
            days % 365 * 100 / 365,
        )?;
        write!(
            f,
            "{} tasks accepted, {} ended, {} lost, {} doubled, {} wrongly exhausted, {} seeds failed",
            tally.accepted,
            tally.ended,
            tally.lost,
            tally.doubled,
            tally.wrongly_exhausted,
            tally.failed.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_in_a_file_is_what_there_was() {
        let mut tally = Tally { seeds: 3, events: 70, lost: 1, ..Tally::default() };
        tally.failed.push(17);
        tally.kinds.insert("done".to_owned(), 5);
        let again = Tally::of_lines(&tally.to_lines());
        assert_eq!(again.to_lines(), tally.to_lines());
    }
}
