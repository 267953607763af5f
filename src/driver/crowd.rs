//! Whom links and handshakes are counted for, so that one identity or one host takes no more than its
//! share of them.

use alloc::collections::BTreeMap;
use alloc::string::ToString;

use crate::limits::Limits;
use crate::link::party::Party;
use crate::link::reason::DisconnectReason;

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Handshakes,
    Links,
}

/// What one party may take of something.
#[derive(Clone, Copy, Debug)]
struct Share {
    per_identity: usize,
    per_host: usize,
    /// Whether the latter was set, and is no default: then it is for this machine as well.
    is_set: bool,
}

/// What each party has.
#[derive(Debug)]
pub(crate) struct Crowd {
    handshakes: BTreeMap<Party, usize>,
    links: BTreeMap<Party, usize>,
    handshake_share: Share,
    link_share: Share,
}

impl Crowd {
    pub(crate) fn new(limits: &Limits) -> Self {
        let half = |count: usize| count.div_ceil(2);
        let share = |per_identity, per_host: Option<usize>, all| Share {
            per_identity,
            per_host: per_host.unwrap_or(half(all)),
            is_set: per_host.is_some(),
        };
        let (handshakes, links) = (limits.handshakes_max, limits.workers_max as usize);
        Self {
            handshakes: BTreeMap::new(),
            links: BTreeMap::new(),
            handshake_share: share(
                limits.handshakes_per_identity,
                limits.handshakes_per_host,
                handshakes,
            ),
            link_share: share(limits.links_per_identity, limits.links_per_host, links),
        }
    }

    fn all(&mut self, what: Counted) -> &mut BTreeMap<Party, usize> {
        match what {
            Counted::Handshakes => &mut self.handshakes,
            Counted::Links => &mut self.links,
        }
    }

    pub(crate) fn add(&mut self, what: Counted, party: &Party) {
        let all = self.all(what);
        match all.get_mut(party) {
            Some(count) => *count += 1,
            None => drop(all.insert(party.clone(), 1)),
        }
    }

    pub(crate) fn remove(&mut self, what: Counted, party: &Party) {
        let all = self.all(what);
        let count = all.get_mut(party).expect("it was added");
        *count -= 1;
        if *count == 0 {
            all.remove(party);
        }
    }

    pub(crate) fn count(&self, what: Counted, party: &Party) -> usize {
        let all = match what {
            Counted::Handshakes => &self.handshakes,
            Counted::Links => &self.links,
        };
        all.get(party).copied().unwrap_or(0)
    }

    /// Returns how many of something a party may have, and the name of the setting that says so.
    fn limit(&self, what: Counted, party: &Party) -> (&'static str, usize) {
        let (share, names) = match what {
            Counted::Handshakes => {
                (self.handshake_share, ["handshakes_per_identity", "handshakes_per_host"])
            }
            Counted::Links => (self.link_share, ["links_per_identity", "links_per_host"]),
        };
        let [per_identity, per_host] = names;
        match party {
            Party::Identity(_) => (per_identity, share.per_identity),
            Party::Host(_) if share.is_set || !party.is_loopback() => (per_host, share.per_host),
            Party::Host(_) | Party::Anybody => (per_host, usize::MAX),
        }
    }

    /// Returns whether a party is told from all others, so that it has shares of its own.
    pub(crate) fn has_share(&self, party: &Party) -> bool {
        self.limit(Counted::Links, party).1 < usize::MAX
    }

    /// Returns whether a party has as many of something as it may have.
    pub(crate) fn has_all(&self, what: Counted, party: &Party) -> bool {
        self.count(what, party) >= self.limit(what, party).1
    }

    /// Says why a party gets no further link.
    pub(crate) fn too_many(&self, party: &Party) -> DisconnectReason {
        let (limit, max) = self.limit(Counted::Links, party);
        DisconnectReason::ShareTaken { peer: party.to_string(), limit, max }
    }

    /// Returns the most that one of the parties has that are told by `is_one`.
    pub(crate) fn most(&self, what: Counted, is_one: impl Fn(&Party) -> bool) -> usize {
        let all = match what {
            Counted::Handshakes => &self.handshakes,
            Counted::Links => &self.links,
        };
        let counts = all.iter().filter(|(party, _)| is_one(party)).map(|(_, count)| *count);
        counts.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(change: impl FnOnce(&mut Limits)) -> Crowd {
        let mut limits = Limits::new();
        (limits.workers_max, limits.handshakes_max) = (10, 5);
        change(&mut limits);
        Crowd::new(&limits)
    }

    fn host(host: &str) -> Party {
        Party::at(Some(host))
    }

    /// How many links a party gets, if fewer than a hundred.
    fn links_of(crowd: &mut Crowd, party: &Party) -> Option<usize> {
        let mut got = 0;
        while !crowd.has_all(Counted::Links, party) {
            crowd.add(Counted::Links, party);
            got += 1;
            if got == 100 {
                return None;
            }
        }
        Some(got)
    }

    #[test]
    fn a_host_gets_half_of_all_and_an_identity_sixty_four_unless_set() {
        let mut crowd = crowd(|_| {});
        assert_eq!(links_of(&mut crowd, &host("10.0.0.1")), Some(5));
        assert_eq!(links_of(&mut crowd, &host("10.0.0.2")), Some(5));
        assert_eq!(links_of(&mut crowd, &Party::Identity("w1".into())), Some(64));
        // Which process of this machine it is that connects is not told by its address.
        assert_eq!(links_of(&mut crowd, &host("127.0.0.1")), None);
        assert_eq!(links_of(&mut crowd, &host("::1")), None);
        assert_eq!(links_of(&mut crowd, &Party::Anybody), None);

        let mut crowd = self::crowd(|limits| {
            (limits.links_per_host, limits.links_per_identity) = (Some(3), 2);
        });
        assert_eq!(links_of(&mut crowd, &host("127.0.0.1")), Some(3));
        assert_eq!(links_of(&mut crowd, &Party::Identity("w1".into())), Some(2));
        let text = crowd.too_many(&host("127.0.0.1")).to_string();
        for part in ["127.0.0.1", "links_per_host", "3"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn parties_without_anything_are_forgotten() {
        let mut crowd = crowd(|_| {});
        for number in 0..1000 {
            let party = host(&format!("{number}"));
            crowd.add(Counted::Handshakes, &party);
            crowd.add(Counted::Handshakes, &party);
            assert_eq!(crowd.most(Counted::Handshakes, |_| true), 2);
            assert_eq!(crowd.most(Counted::Handshakes, Party::is_proven), 0);
            crowd.remove(Counted::Handshakes, &party);
            crowd.remove(Counted::Handshakes, &party);
            assert!(crowd.handshakes.is_empty());
        }
    }
}
