//! Whom a worker's links count for, where they have a share together.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::link::party::Party;

/// The parties that are told from all others, and what each has.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Whom the link in a place counts for, and how much it has of what arrives.
    places: Vec<Option<(Party, usize)>>,
    parties: BTreeMap<Party, Share>,
}

#[derive(Debug, Default)]
struct Share {
    links: usize,
    arriving: usize,
}

impl Shares {
    /// Has the link in a place count for a party, which has its share with all the party's links.
    pub(super) fn begin(&mut self, place: u32, party: &Party) {
        self.parties.entry(party.clone()).or_default().links += 1;
        let index = place as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index] = Some((party.clone(), 0));
    }

    /// Notes that the link in a place is over, and returns whom it counted for, if for anybody.
    pub(super) fn end(&mut self, place: u32) -> Option<Party> {
        let (party, arriving) = self.places.get_mut(place as usize)?.take()?;
        let share = self.parties.get_mut(&party).expect("it has a link");
        share.links -= 1;
        share.arriving -= arriving;
        if share.links == 0 {
            self.parties.remove(&party);
        }
        Some(party)
    }

    /// Returns the places of a party's links.
    pub(super) fn places_of(&self, party: &Party) -> Vec<u32> {
        let all = (0..).zip(&self.places);
        let is_its = |its: &Option<(Party, usize)>| its.as_ref().is_some_and(|it| it.0 == *party);
        all.filter_map(|(place, its)| is_its(its).then_some(place)).collect()
    }

    /// Returns how much of what arrives is of whoever the link in a place counts for. Nothing where it
    /// counts for nobody.
    pub(super) fn arriving_with(&self, place: u32) -> usize {
        match self.places.get(place as usize) {
            Some(Some((party, _))) => self.parties.get(party).map_or(0, |share| share.arriving),
            _ => 0,
        }
    }

    /// Notes that so much more arrives on the link in a place.
    pub(super) fn add(&mut self, place: u32, bytes: usize) {
        self.change(place, |arriving| arriving + bytes);
    }

    /// Notes that what arrived on the link in a place has come.
    pub(super) fn clear(&mut self, place: u32) {
        self.change(place, |_| 0);
    }

    fn change(&mut self, place: u32, to: impl FnOnce(usize) -> usize) {
        let Some(Some((party, arriving))) = self.places.get_mut(place as usize) else { return };
        let share = self.parties.get_mut(party).expect("it has a link");
        share.arriving -= *arriving;
        *arriving = to(*arriving);
        share.arriving += *arriving;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> Party {
        Party::at(Some(host))
    }

    #[test]
    fn what_arrives_counts_for_all_links_of_a_party_and_is_forgotten_with_them() {
        let mut shares = Shares::default();
        for (place, name) in [(3, "a"), (0, "a"), (7, "b")] {
            shares.begin(place, &host(name));
        }
        shares.add(3, 10);
        shares.add(3, 5);
        shares.add(0, 1);
        shares.add(7, 100);
        shares.add(5, 1000);
        let sums = |shares: &Shares| [3, 0, 7, 5, 99].map(|place| shares.arriving_with(place));
        assert_eq!(sums(&shares), [16, 16, 100, 0, 0]);
        assert_eq!(shares.places_of(&host("a")), [0, 3]);
        shares.clear(3);
        assert_eq!(sums(&shares), [1, 1, 100, 0, 0]);
        assert_eq!((shares.end(0), shares.end(0)), (Some(host("a")), None));
        assert_eq!(sums(&shares), [0, 0, 100, 0, 0]);
        assert_eq!([3, 7].map(|place| shares.end(place)), [Some(host("a")), Some(host("b"))]);
        assert!(shares.parties.is_empty());
    }
}
