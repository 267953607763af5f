//! Who comes in: accepting or dialling, handshakes, and room for one more.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::future::Future;
use core::task::{Context, Poll};

use chargehand_core::Instant;
use chargehand_core::io::{Timer, Wire};

use super::{Engine, LinkSlot, SCAN_INTERVAL, SlotState};
use crate::handler::Handler;
use crate::link::accept::ACCEPTS_PER_POLL;
use crate::link::party::Party;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;
use crate::worker::clock::Now;
use crate::worker::events::WorkerEvent;
use crate::worker::link::{Connection, Idle, used_idle_min};
use crate::worker::source::LinkSource;

impl<S, T, H> Engine<S, T, H>
where
    S: LinkSource,
    S::Error: Into<BoxError>,
    <S::Wire as Wire>::Error: Into<BoxError>,
    T: Timer,
    H: Handler,
{
    pub(super) fn accept(&mut self) {
        self.source_entry.clear();
        for _ in 0..ACCEPTS_PER_POLL {
            if self.pause.until().is_some() {
                return;
            }
            let Some(source) = &mut self.source else { return };
            let mut cx = Context::from_waker(self.source_entry.waker());
            match source.poll_open(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(opening)) => {
                    self.pause.on_success();
                    self.admit(opening);
                }
                Poll::Ready(Err(error)) => {
                    let pause = self.pause.on_failure(self.clock.now());
                    self.be_back_in(pause);
                    let error = error.into().to_string();
                    self.hook.call(|| WorkerEvent::AcceptFailed { error, pause });
                }
            }
        }
        self.source_entry.wake();
    }

    pub(super) fn admit(&mut self, opening: S::Opening) {
        if self.opening.is_full() {
            self.push_out(self.in_the_way());
        }
        let host = self.source.as_ref().and_then(|source| source.accepted_host().map(Into::into));
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.places.len()).expect("fewer places than 2^31");
            let entry = self.ready.entry(index);
            let state = SlotState::Free;
            self.places.push(LinkSlot { entry, opening: None, host: None, up: false, state });
            index
        });
        let watched = self.opening.insert(self.clock.now(), |_| index);
        self.be_back_in(self.settings.handshake_timeout);
        let place = &mut self.places[index as usize];
        place.opening = Some(watched);
        place.host = host;
        place.state = SlotState::Opening(Box::pin(opening));
        place.entry.wake();
    }

    /// Drops the handshake of this entry, if there is one.
    fn push_out(&mut self, entry: Option<u32>) {
        if let Some(place) = entry.and_then(|entry| self.opening.remove(entry)) {
            self.places[place as usize].opening = None;
            self.on_end(place, DisconnectReason::PushedOut);
        }
    }

    /// Returns whose handshake goes so that there is room for one more: a peer that means it is through in
    /// a moment, so it is the oldest, of whoever has most, and before those that have proven who they are.
    fn in_the_way(&self) -> Option<u32> {
        let mut counts = BTreeMap::new();
        for place in self.places.iter().filter(|place| place.opening.is_some()) {
            *counts.entry(place.newcomer()).or_insert(0_usize) += 1;
        }
        let are_proven = counts.keys().all(Party::is_proven);
        let is_one = |party: &Party| party.is_proven() == are_proven;
        let most = counts.iter().filter(|(party, _)| is_one(party)).map(|(_, count)| *count).max();
        self.opening.oldest_where(|&place| {
            let party = self.places[place as usize].newcomer();
            is_one(&party) && counts.get(&party).copied() == most
        })
    }

    /// Returns whose handshake goes where an identity has more of them than its share, which is half: its own oldest.
    fn over_share(&self, party: &Party) -> Option<u32> {
        let half = self.settings.pending_handshakes_max.div_ceil(2);
        let is_its = |place: &LinkSlot<S>| place.opening.is_some() && place.newcomer() == *party;
        if !party.is_proven() || self.places.iter().filter(|place| is_its(place)).count() <= half {
            return None;
        }
        self.opening.oldest_where(|&place| is_its(&self.places[place as usize]))
    }

    pub(super) fn poll_opening(&mut self, index: u32) {
        let LinkSlot { entry, state, .. } = &mut self.places[index as usize];
        let SlotState::Opening(opening) = state else { return };
        match opening.as_mut().poll(&mut Context::from_waker(entry.waker())) {
            Poll::Pending => {}
            Poll::Ready(Ok(wire)) => self.open(index, wire),
            Poll::Ready(Err(error)) => self.on_end(index, DisconnectReason::unreachable(error)),
        }
    }

    /// Begins the handshake on a new wire.
    pub(super) fn open(&mut self, index: u32, wire: S::Wire) {
        let mut link = match Connection::new(wire, self.clock.now()) {
            Ok(link) => Box::new(link),
            Err(reason) => return self.on_end(index, reason),
        };
        let host = self.places[index as usize].host.as_deref();
        let party = Party::new(link.identity(), host);
        let room = self.room_for(&party);
        let LinkSlot { entry, state, .. } = &mut self.places[index as usize];
        let mut cx = Context::from_waker(entry.waker());
        let greeted = room.and_then(|_| link.greet(&mut cx, &self.settings));
        let up = link.is_up();
        *state = SlotState::Link(link);
        entry.wake();
        self.unflushed.push(index);
        match greeted {
            Err(end) => self.on_end(index, end),
            Ok(()) if up => self.on_up(index),
            Ok(()) => self.push_out(self.over_share(&party)),
        }
    }

    pub(super) fn on_up(&mut self, index: u32) {
        let party = self.places[index as usize].party().unwrap_or(Party::Anybody);
        match self.room_for(&party) {
            Ok(None) => {}
            Ok(Some(idlest)) => self.on_end(idlest, DisconnectReason::MadeRoom),
            Err(reason) => return self.on_end(index, reason),
        }
        self.unwatch(index);
        let place = &mut self.places[index as usize];
        let SlotState::Link(link) = &place.state else { return };
        place.up = true;
        self.links_up += 1;
        if self.settings.links_of(&party).is_some() {
            self.runner.memory.shares.begin(index, &party);
        }
        let soon = self.scanned.saturating_add(SCAN_INTERVAL).max(self.clock.now());
        self.scan_at = self.scan_at.min(soon);
        self.due = self.due.min(soon);
        self.hook.call(|| WorkerEvent::Connected {
            peer: link.peer().to_owned(),
            manager: link.manager().to_owned(),
            identity: link.identity().map(ToOwned::to_owned),
        });
        if link.identity().is_some() {
            self.watch.begin(self.clock.now());
            self.due = self.due.min(self.watch.due());
            self.look_at_trust(index);
        }
        self.tell_kin(&party);
        self.tell_room();
        self.resume(index);
    }

    /// Tells the links of a party how many they are: they have their share of the memory together.
    pub(super) fn tell_kin(&mut self, party: &Party) {
        let kin = self.runner.memory.shares.places_of(party);
        for &index in &kin {
            if let SlotState::Link(link) = &mut self.places[index as usize].state {
                link.set_kin(kin.len());
            }
        }
    }

    /// Returns the place of the link that makes room for a newcomer of a party, if one has to, or why there is
    /// no room.
    fn room_for(&mut self, party: &Party) -> Result<Option<u32>, DisconnectReason> {
        if let Some((limit, max)) = self.settings.links_of(party) {
            let is_its = |place: &&LinkSlot<S>| place.up && place.party().as_ref() == Some(party);
            if self.places.iter().filter(is_its).count() >= max {
                let taken = || DisconnectReason::ShareTaken { peer: party.to_string(), limit, max };
                return self.spare(Some(party)).map(Some).ok_or_else(taken);
            }
        }
        if self.links_up < self.settings.links_max {
            return Ok(None);
        }
        let max = self.settings.links_max;
        self.spare(None).map(Some).ok_or(DisconnectReason::Busy { limit: "links_max", max })
    }

    /// Returns the place of the link that is spare and has been idle longest, of a party or of all.
    fn spare(&mut self, of: Option<&Party>) -> Option<u32> {
        let now = self.clock.now();
        let places: Vec<_> =
            self.idle_links(now).filter(|(idle, _)| idle.spare_at <= now).collect();
        let is_its =
            |index: u32| of.is_none() || self.places[index as usize].party().as_ref() == of;
        places.into_iter().filter(|&(_, index)| is_its(index)).min().map(|(_, index)| index)
    }

    fn idle_links(&mut self, now: Instant) -> impl Iterator<Item = (Idle, u32)> {
        let idle_min = self.settings.idle_min;
        (0..).zip(&mut self.places).filter_map(move |(index, place)| match place {
            LinkSlot { state: SlotState::Link(link), up: true, .. } => {
                Some((link.idle(now, idle_min)?, index))
            }
            _ => None,
        })
    }

    /// Tells the source whether there is room, where that is news.
    pub(super) fn tell_room(&mut self) {
        self.room_at = None;
        let mut is_full = self.links_up >= self.settings.links_max;
        if is_full {
            let now = self.clock.now();
            // One that is busy is not spare before it has been idle for so long.
            let latest = now.saturating_add(used_idle_min(self.settings.idle_min));
            let room_at = self.idle_links(now).map(|(idle, _)| idle.spare_at).min();
            let room_at = room_at.unwrap_or(latest).min(latest);
            is_full = room_at > now;
            if is_full {
                self.room_at = Some(room_at);
                self.be_back_at(room_at);
            }
        }
        if core::mem::replace(&mut self.is_full, is_full) != is_full {
            if let Some(source) = &mut self.source {
                source.set_full(is_full);
            }
        }
    }
}
