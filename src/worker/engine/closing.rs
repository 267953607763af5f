//! How links end, and the worker itself.

use alloc::borrow::ToOwned;
use core::task::Context;
use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::Timer;

use super::{Engine, LinkSlot, SlotState, index_u32};
use crate::handler::Handler;
use crate::link::accept::AcceptPause;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;
use crate::worker::clock::Now;
use crate::worker::events::WorkerEvent;
use crate::worker::source::{LinkEnded, LinkSource, is_unwelcome};

impl<S, T, H> Engine<S, T, H>
where
    S: LinkSource,
    S::Error: Into<BoxError>,
    <S::Wire as chargehand_core::io::Wire>::Error: Into<BoxError>,
    T: Timer,
    H: Handler,
{
    /// Begins to stop: nothing new, and what runs gets until the deadline.
    pub(super) fn drain(&mut self) {
        self.drain_deadline = Some(self.clock.now().saturating_add(self.settings.drain_timeout));
        // Which is before that.
        self.be_back_in(Duration::ZERO);
        self.source = None;
        self.end_absences(Instant::FAR_FUTURE);
        self.pause = AcceptPause::default();
        self.hook.call(|| WorkerEvent::Draining);
        for index in 0..self.places.len() {
            let LinkSlot { entry, state, up, .. } = &mut self.places[index];
            let drained = match state {
                SlotState::Link(link) if *up => {
                    let mut cx = Context::from_waker(entry.waker());
                    link.drain(&mut cx, index_u32(index), &mut self.clock, &mut self.runner)
                }
                _ => Err(DisconnectReason::Stopped),
            };
            self.unflushed.push(index_u32(index));
            if let Err(end) = drained {
                self.on_end(index_u32(index), end);
            }
        }
        self.scan_at = self.clock.now();
    }

    /// Ends what is in a place, with a Goodbye where there is somebody to say it to.
    pub(super) fn on_end(&mut self, index: u32, reason: DisconnectReason) {
        let reason = self.last_words(index, &reason).unwrap_or(reason);
        self.keep(index, &reason);
        let was_up = self.stop_link(index);
        let (peer, manager) = match &self.places[index as usize].state {
            SlotState::Free => return,
            SlotState::Link(link) => (link.peer(), link.manager()),
            SlotState::Opening(_) => (self.source.as_ref().map_or("", LinkSource::peer), ""),
        };
        let peer = peer.to_owned();
        let event = if was_up {
            let (manager, reason) = (manager.to_owned(), reason.clone());
            WorkerEvent::Disconnected { peer: peer.clone(), manager, reason }
        } else {
            WorkerEvent::Refused { peer: peer.clone(), reason: reason.clone() }
        };
        self.hook.call(|| event);
        let is_unwelcome = is_unwelcome(&reason);
        let pause = self.free_place(index, &reason, is_unwelcome);
        if is_unwelcome {
            self.hook.call(|| WorkerEvent::SentAway { peer, reason, pause });
        }
    }

    /// Returns what a manager said last, where it was an answer that found its link broken: it may lie in the
    /// wire why.
    fn last_words(&mut self, index: u32, reason: &DisconnectReason) -> Option<DisconnectReason> {
        let LinkSlot { entry, state, .. } = &mut self.places[index as usize];
        match (state, reason) {
            (SlotState::Link(link), DisconnectReason::Reset(_)) => {
                link.last_words(&mut Context::from_waker(entry.waker()))
            }
            _ => None,
        }
    }

    /// Stops all that a link runs. Returns whether it was up.
    pub(super) fn stop_link(&mut self, index: u32) -> bool {
        let LinkSlot { state, up, .. } = &mut self.places[index as usize];
        let was_up = core::mem::take(up);
        if let SlotState::Link(link) = state {
            link.drop_jobs(index, &mut self.runner);
        }
        self.links_up -= usize::from(was_up);
        if let Some(party) = self.runner.memory.shares.end(index) {
            self.tell_kin(&party);
        }
        if self.is_full && was_up {
            self.tell_room();
        }
        self.unwatch(index);
        was_up
    }

    /// Takes a place out of those whose handshake has a deadline.
    pub(super) fn unwatch(&mut self, index: u32) {
        if let Some(entry) = self.places[index as usize].opening.take() {
            self.opening.remove(entry);
        }
    }

    /// Frees a place, and closes its wire if it has one. Returns how long it is until the next connect,
    /// where that is the source's to say.
    fn free_place(
        &mut self,
        index: u32,
        reason: &DisconnectReason,
        unwelcome: bool,
    ) -> Option<Duration> {
        let now = self.clock.now();
        let state = &mut self.places[index as usize].state;
        let (useful, opened) = match core::mem::replace(state, SlotState::Free) {
            SlotState::Free => return None,
            SlotState::Opening(_) => (false, now),
            SlotState::Link(link) => {
                let usefulness = link.usefulness();
                let memory = &mut self.runner.memory;
                let release = &mut |held| memory.release(&held);
                self.closing.close(link.into_leaving(), reason, now, &self.ready, release);
                usefulness
            }
        };
        self.free.push(index);
        if let Some(at) = self.closing.next_due() {
            self.be_back_at(at);
        }
        let lived = now.saturating_since(opened);
        let pause = self.source.as_mut()?.on_ended(&LinkEnded { useful, lived, unwelcome })?;
        let at = now.saturating_add(pause);
        self.pause.set(at);
        self.be_back_at(at);
        Some(pause)
    }
}
