//! Looks, now and then, whether what peers have proven still holds.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::Trust;

/// Each link is looked at about so often.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// So many links are looked at in one poll.
const LOOKS_PER_POLL: usize = 64;
/// So much that was said is known, so that what goes for many links is told once.
const TOLD_MAX: usize = 256;

/// When to look at which link, and what was said.
#[derive(Debug)]
pub(crate) struct Watch {
    due: Instant,
    next: usize,
    told: VecDeque<Box<str>>,
}

impl Watch {
    pub(crate) const fn new() -> Self {
        Self { due: Instant::FAR_FUTURE, next: 0, told: VecDeque::new() }
    }

    /// Returns when to look next.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Notes that there is a link to look at. Those that have proven nothing have nothing to lose.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.due = self.due.min(now.saturating_add(LOOK_INTERVAL));
    }

    /// Returns which of so many places to look at now.
    pub(crate) fn take_turn(&mut self, now: Instant, places: usize) -> core::ops::Range<usize> {
        let first = if self.next < places { self.next } else { 0 };
        let end = places.min(first + LOOKS_PER_POLL);
        self.next = end;
        // All are served once in an interval: the more there are, the sooner comes the next turn.
        let turns = u32::try_from(places.div_ceil(LOOKS_PER_POLL)).unwrap_or(u32::MAX);
        self.due = now.saturating_add(LOOK_INTERVAL / turns.max(1));
        first..end
    }

    /// Takes what a link says. Returns the lines that are news, or why the link ends.
    pub(crate) fn judge(&mut self, trust: Trust<'_>) -> Result<Vec<String>, String> {
        match trust {
            Trust::Holds => Ok(Vec::new()),
            Trust::Ends(text) => Ok(text.lines().filter_map(|line| self.news(line)).collect()),
            Trust::Ended(why) => Err(why.to_owned()),
        }
    }

    fn news(&mut self, line: &str) -> Option<String> {
        if self.told.iter().any(|told| **told == *line) {
            return None;
        }
        if self.told.len() == TOLD_MAX {
            self.told.pop_front();
        }
        self.told.push_back(line.into());
        Some(line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_is_looked_at_once_in_an_interval_however_many_there_are() {
        for places in [1, 64, 65, 1_000, 10_000] {
            let (mut watch, mut seen) = (Watch::new(), alloc::vec![0; places]);
            watch.begin(Instant::EPOCH);
            assert_eq!(watch.due(), Instant::EPOCH.saturating_add(LOOK_INTERVAL));
            let end = watch.due().saturating_add(LOOK_INTERVAL);
            while watch.due() < end {
                let range = watch.take_turn(watch.due(), places);
                assert!(range.len() <= LOOKS_PER_POLL);
                range.for_each(|place| seen[place] += 1);
            }
            assert!(seen.iter().all(|count| (1..=2).contains(count)), "{places}");
        }
    }

    #[test]
    fn what_many_links_say_is_told_once_and_what_is_remembered_of_it_has_a_limit() {
        let mut watch = Watch::new();
        assert_eq!(watch.judge(Trust::Ends("a\nb")).unwrap(), ["a", "b"]);
        assert_eq!(watch.judge(Trust::Ends("a\nc")).unwrap(), ["c"]);
        assert!(watch.judge(Trust::Holds).unwrap().is_empty());
        assert_eq!(watch.judge(Trust::Ended("gone")).unwrap_err(), "gone");
        for number in 0..2 * TOLD_MAX {
            let _ = watch.judge(Trust::Ends(&alloc::format!("{number}")));
        }
        assert_eq!(watch.told.len(), TOLD_MAX);
    }
}
