//! What is known of the hosts that workers dial in from, and of identities that they have proven: a
//! newcomer from one whose links did nothing gets its first task later, longer each time, so that new names are
//! no way around a delay.

use alloc::collections::BTreeMap;
use core::time::Duration;

use chargehand_core::{Backoff, BackoffPolicy, Instant};

use crate::link::party::Party;

/// How many hosts and identities are remembered. Where there are more, the one whose delay ends first is forgotten.
const HOSTS_MAX: usize = 1024;

/// Hosts and identities whose latest links did nothing.
#[derive(Debug)]
pub(crate) struct Hosts {
    useless: BTreeMap<Party, Record>,
    policy: BackoffPolicy,
    seed: u64,
}

#[derive(Debug)]
struct Record {
    backoff: Backoff,
    not_before: Instant,
}

impl Hosts {
    pub(crate) fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self { useless: BTreeMap::new(), policy, seed }
    }

    /// Returns when a newcomer gets its first task at the earliest.
    pub(crate) fn not_before(&self, party: &Party) -> Instant {
        self.useless.get(party).map_or(Instant::EPOCH, |record| record.not_before)
    }

    /// Notes that a link has ended, and whether it was of use.
    pub(crate) fn on_end(&mut self, party: &Party, was_useful: bool, now: Instant) {
        if was_useful {
            self.useless.remove(party);
            return;
        }
        if *party == Party::Anybody {
            return;
        }
        if !self.useless.contains_key(party) {
            self.make_room(now);
            // Another sequence for each, so that they do not all come back together.
            self.seed = self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let record = Record { backoff: Backoff::new(self.policy, self.seed), not_before: now };
            self.useless.insert(party.clone(), record);
        }
        let record = self.useless.get_mut(party).expect("it was put in just now");
        record.backoff.attempt();
        record.not_before = now.saturating_add(record.backoff.delay());
    }

    /// Forgets whom nobody has to wait for any more, or else the one that is closest to that.
    fn make_room(&mut self, now: Instant) {
        if self.useless.len() < HOSTS_MAX {
            return;
        }
        // As long again as the longest delay: a host that comes back at once is still known.
        let longest = self.policy.delay(u32::MAX, u64::MAX).max(Duration::from_secs(1));
        self.useless.retain(|_, record| record.not_before.saturating_add(longest) > now);
        if self.useless.len() >= HOSTS_MAX {
            let first = self.useless.iter().min_by_key(|(_, record)| record.not_before);
            let first = first.map(|(party, _)| party.clone());
            first.and_then(|party| self.useless.remove(&party));
        }
    }
}

#[cfg(test)]
mod tests {
    use chargehand_core::Jitter;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn hosts() -> Hosts {
        let policy = BackoffPolicy::new().base(SECOND).cap(60 * SECOND).jitter(Jitter::None);
        Hosts::new(policy, 7)
    }

    fn host(host: &str) -> Party {
        Party::at(Some(host))
    }

    fn at(seconds: u64) -> Instant {
        Instant::EPOCH.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn newcomers_from_a_host_that_did_nothing_wait_longer_each_time() {
        let mut hosts = hosts();
        assert_eq!(hosts.not_before(&host("10.0.0.1")), Instant::EPOCH);
        for (now, until) in [(10, 11), (20, 22), (30, 34)] {
            hosts.on_end(&host("10.0.0.1"), false, at(now));
            assert_eq!(hosts.not_before(&host("10.0.0.1")), at(until));
        }
        assert_eq!(hosts.not_before(&host("10.0.0.2")), Instant::EPOCH);
        assert_eq!(hosts.not_before(&Party::Anybody), Instant::EPOCH);
        // Nobody is to blame for what nobody can be told by; one that is proven is not its host.
        hosts.on_end(&Party::Anybody, false, at(31));
        assert_eq!(hosts.not_before(&Party::Anybody), Instant::EPOCH);
        assert_eq!(hosts.not_before(&Party::Identity("10.0.0.1".into())), Instant::EPOCH);
        hosts.on_end(&host("10.0.0.1"), true, at(31));
        assert_eq!(hosts.not_before(&host("10.0.0.1")), Instant::EPOCH);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_whose_delay_is_over_first() {
        let mut hosts = hosts();
        for number in 0..3 * HOSTS_MAX {
            hosts.on_end(&host(&format!("{number}")), false, at(1));
            assert!(hosts.useless.len() <= HOSTS_MAX);
        }
        for number in 0..HOSTS_MAX {
            hosts.on_end(&host(&format!("{number}")), false, at(1000));
        }
        assert_eq!(hosts.not_before(&host("0")), at(1001));
        assert_eq!(hosts.not_before(&host("2000")), Instant::EPOCH);
    }
}
