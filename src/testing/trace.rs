//! What happened in a world, line by line.

use std::borrow::ToOwned;
use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::vec::Vec;

use super::clock::ManualTimer;

/// How many lines are kept; older ones are dropped, but still count in a comparison.
const LINES_MAX: usize = 200_000;

/// What happened in a [`World`](super::World), as lines with their times. Clones share it.
///
/// In it are, in the order in which they happened (but that a pool's events follow the messages of
/// the same moment):
///
/// - every request, answer, failure, withdrawal, Drain and Goodbye, and all garbage, when it is put
///   on a wire of the world, with task, attempt and body (a number where it is one);
/// - every [`PoolEvent`](crate::PoolEvent) of the world's pools, after the pool's name;
/// - every change to a worker: it dies, comes back, loses its link or its network;
/// - whatever the test [notes](Trace::note).
///
/// Handshakes and heartbeats are not in it. It prints one line for each event, with the time in
/// seconds. Two traces are equal if all their lines are, times to the nanosecond included. The
/// latest 200,000 lines are kept.
#[derive(Clone)]
pub struct Trace {
    timer: ManualTimer,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lines {
    kept: VecDeque<(Duration, String)>,
    count: u64,
    /// Of all lines that were dropped.
    dropped: u64,
}

impl Trace {
    pub(super) fn new(timer: ManualTimer) -> Self {
        Self { timer, lines: Arc::default() }
    }

    /// Adds a line of the test's own, at the present time.
    pub fn note(&self, text: impl Into<String>) {
        let at = self.timer.elapsed();
        let mut lines = self.lock();
        lines.count += 1;
        lines.kept.push_back((at, text.into()));
        if lines.kept.len() > LINES_MAX {
            let oldest = lines.kept.pop_front();
            let mut hasher = DefaultHasher::new();
            (lines.dropped, oldest).hash(&mut hasher);
            lines.dropped = hasher.finish();
        }
    }

    /// Returns the lines that are kept, each with its time since the world began.
    pub fn lines(&self) -> Vec<(Duration, String)> {
        self.lock().kept.iter().cloned().collect()
    }

    /// Returns where two traces differ first, for people to read; `None` where they are equal.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (self.snapshot(), other.snapshot());
        if ours == theirs {
            return None;
        }
        if ours.dropped != theirs.dropped {
            return Some("the traces differ before the lines that are kept".to_owned());
        }
        let same = ours.kept.iter().zip(&theirs.kept).take_while(|(one, two)| one == two).count();
        let show = |lines: &Lines| match lines.kept.get(same) {
            Some(line) => show(line),
            None => "nothing more".to_owned(),
        };
        Some(format!("after {same} equal lines:\n  {}\n  {}", show(&ours), show(&theirs)))
    }

    /// Returns the last lines as they print.
    pub(super) fn tail(&self, count: usize) -> String {
        let lines = self.lock();
        let skipped = lines.kept.len().saturating_sub(count);
        lines.kept.iter().skip(skipped).map(|line| show(line) + "\n").collect()
    }

    fn snapshot(&self) -> Lines {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing panics while it holds the lock, and the list is valid at every point.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn len(&self) -> u64 {
        self.kept.len() as u64
    }
}

fn show((at, text): &(Duration, String)) -> String {
    format!("{:>6}.{:06} s  {text}", at.as_secs(), at.subsec_micros())
}

impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot() == other.snapshot()
    }
}

impl Eq for Trace {}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.snapshot();
        match lines.count - lines.len() {
            0 => {}
            dropped => writeln!(f, "({dropped} earlier lines)")?,
        }
        lines.kept.iter().try_for_each(|line| writeln!(f, "{}", show(line)))
    }
}

/// The number of lines, and the last few: a failed comparison should not print them all.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace of {} lines, the last ones:\n{}", self.snapshot().count, self.tail(5))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn trace(lines: usize) -> Trace {
        let trace = Trace::new(ManualTimer::new());
        (0..lines).for_each(|line| trace.note(line.to_string()));
        trace
    }

    #[test]
    fn the_first_line_that_differs_is_named() {
        let (one, two) = (trace(3), trace(3));
        assert_eq!(one.difference(&two), None);
        assert_eq!(one, one.clone());
        one.note("left");
        let text = one.difference(&two).unwrap();
        assert_eq!(text, "after 3 equal lines:\n       0.000000 s  left\n  nothing more");
    }

    #[test]
    fn what_is_no_longer_kept_still_counts() {
        let (one, two) = (trace(0), trace(0));
        one.note("left");
        two.note("right");
        for trace in [&one, &two] {
            (0..LINES_MAX).for_each(|_| trace.note("same"));
        }
        assert_eq!(one.lines(), two.lines());
        assert_ne!(one, two);
        assert!(one.difference(&two).is_some());
        assert!(one.to_string().starts_with("(1 earlier lines)"));
    }
}
