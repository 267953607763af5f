//! What goes on for managers whose link broke, until they are back or the grace is over.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::task::Context;

use chargehand_core::io::Timer;
use chargehand_core::{Instant, Verdict};

use super::{Engine, LinkSlot, SlotState, index_u32};
use crate::handler::Handler;
use crate::link::party::Party;
use crate::link::reason::{BoxError, DisconnectReason};
use crate::worker::clock::Now;
use crate::worker::runner::{Owner, Runner};
use crate::worker::source::LinkSource;
use crate::worker::state::{Claim, Kept};

/// Set in the place of a run whose link is away. There are fewer places than that.
const AWAY: u32 = 1 << 31;

/// All of it, by its place without that bit.
pub(super) type Absentees = Vec<Option<Absent>>;

/// What goes on of one link.
#[derive(Debug)]
pub(super) struct Absent {
    claim: Claim,
    /// Whom it counts for: the identity that the transport had proven of the manager, or its host.
    party: Party,
    until: Instant,
    kept: Kept,
}

/// Returns when the first grace is over.
pub(super) fn first_end(absentees: &Absentees) -> Option<Instant> {
    absentees.iter().flatten().map(|absent| absent.until).min()
}

/// Whether a run's link is away.
pub(super) const fn is_away(owner: Owner) -> bool {
    owner.place & AWAY != 0
}

impl<S, T, H> Engine<S, T, H>
where
    S: LinkSource,
    S::Error: Into<BoxError>,
    <S::Wire as chargehand_core::io::Wire>::Error: Into<BoxError>,
    T: Timer,
    H: Handler,
{
    /// Keeps what runs on a link that ends, if it ends so that its manager may be back for that.
    pub(super) fn keep(&mut self, index: u32, reason: &DisconnectReason) {
        let may_be_back = matches!(
            reason,
            DisconnectReason::Reset(_)
                | DisconnectReason::Closed
                | DisconnectReason::Silent(_)
                | DisconnectReason::Displaced
        );
        let place = &mut self.places[index as usize];
        let SlotState::Link(link) = &mut place.state else { return };
        let Some((claim, span)) = link.claim().filter(|_| place.up && may_be_back) else { return };
        if self.drain_deadline.is_some() {
            return;
        }
        let free = self.absentees.iter().position(Option::is_none).unwrap_or_else(|| {
            self.absentees.push(None);
            self.absentees.len() - 1
        });
        let kept = link.keep_jobs(AWAY | index_u32(free), &mut self.runner);
        if kept.is_empty() {
            return;
        }
        let party = Party::new(link.identity(), place.host.as_deref());
        let until = self.clock.now().saturating_add(span);
        self.absentees[free] = Some(Absent { claim, party, until, kept });
        self.be_back_at(until);
        self.bound_absentees(free);
    }

    /// Keeps no more than there may be links: one of the party that has most goes, and there of the process that
    /// has most, so that nobody who comes under many names ends what runs for others. Of equal ones it is the one whose
    /// grace is over first.
    fn bound_absentees(&mut self, newest: usize) {
        let all = || self.absentees.iter().flatten();
        if all().count() <= self.settings.links_max {
            return;
        }
        let mut counts = BTreeMap::<_, usize>::new();
        for Absent { party, claim, .. } in all() {
            *counts.entry((party, None)).or_default() += 1;
            *counts.entry((party, Some(claim.token))).or_default() += 1;
        }
        let weight = |Absent { party, claim, until, .. }: &Absent| {
            (counts[&(party, None)], counts[&(party, Some(claim.token))], Reverse(*until))
        };
        let others = self.absentees.iter().enumerate().filter(|(at, _)| *at != newest);
        let others = others.filter_map(|(at, absent)| Some((weight(absent.as_ref()?), at)));
        if let Some((_, most)) = others.max() {
            self.end_absence(most);
        }
    }

    /// Goes on with what a manager's last link held, on the one that has just come up.
    pub(super) fn resume(&mut self, index: u32) {
        self.end_former(index);
        let SlotState::Link(link) = &self.places[index as usize].state else { return };
        let Some((claim, _)) = link.claim() else { return };
        // Who says the same, but has not proven the same, is another.
        let identity: Option<Box<str>> = link.identity().map(Box::from);
        self.end_older(index, claim, identity.as_deref());
        let is_its = |absent: &Option<Absent>| {
            absent.as_ref().is_some_and(|it| {
                it.claim == claim && it.party.identity().as_deref() == identity.as_deref()
            })
        };
        let absent = self.absentees.iter_mut().find(|absent| is_its(absent)).and_then(Option::take);
        let kept = absent.map_or_else(Kept::default, |absent| absent.kept);
        let LinkSlot { entry, state, .. } = &mut self.places[index as usize];
        let SlotState::Link(link) = state else { return };
        let mut cx = Context::from_waker(entry.waker());
        let resumed = link.resume(&mut cx, index, kept, &mut self.clock, &mut self.runner);
        self.unflushed.push(index);
        self.due = self.due.min(self.runner.reports.next_due().unwrap_or(self.due));
        if let Err(end) = resumed {
            self.on_end(index, end);
        }
    }

    /// Ends what runs for an earlier process of the manager that has come, where that has proven who it is: nobody
    /// waits for it. Of one that has not, another may have the name.
    fn end_former(&mut self, index: u32) {
        let SlotState::Link(link) = &self.places[index as usize].state else { return };
        let Some(identity) = link.identity() else { return };
        let is_former = |absent: &Absent| {
            absent.party.identity().as_deref() == Some(identity)
                && absent.claim.token != link.token()
        };
        let all = self.absentees.iter().enumerate();
        let former = all.filter(|(_, absent)| absent.as_ref().is_some_and(is_former));
        let former: Vec<usize> = former.map(|(at, _)| at).collect();
        for at in former {
            self.end_absence(at);
        }
    }

    /// Ends an older link of the same claim: the manager has lost it, and this side does not know yet.
    fn end_older(&mut self, index: u32, claim: Claim, identity: Option<&str>) {
        let is_older = |place: &LinkSlot<S>| match &place.state {
            SlotState::Link(link) => {
                let is_same = link.claim().is_some_and(|(its, _)| its == claim);
                place.up && is_same && link.identity() == identity
            }
            _ => false,
        };
        let older = (0..).zip(&self.places).filter(|(at, place)| *at != index && is_older(place));
        let older: Vec<u32> = older.map(|(at, _)| at).collect();
        for older in older {
            self.on_end(older, DisconnectReason::Displaced);
        }
    }

    /// Keeps the answer of a run whose link is away.
    pub(super) fn answer_later(&mut self, owner: Owner, verdict: Verdict) {
        let absent = self.absentees.get_mut((owner.place & !AWAY) as usize);
        if let Some(Some(absent)) = absent {
            let Runner { body, memory, .. } = &mut self.runner;
            absent.kept.answer(owner.slot, verdict, body, memory);
        }
    }

    /// Ends what runs for managers that are not back in time.
    pub(super) fn end_absences(&mut self, now: Instant) {
        for at in 0..self.absentees.len() {
            if self.absentees[at].as_ref().is_some_and(|absent| absent.until <= now) {
                self.end_absence(at);
            }
        }
    }

    fn end_absence(&mut self, at: usize) {
        if let Some(absent) = self.absentees[at].take() {
            absent.kept.drop_jobs(&mut self.runner);
        }
    }
}
