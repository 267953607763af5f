//! How links end, and the worker itself.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::task::Context;
use core::time::Duration;

use chargehand_core::io::Timer;
use chargehand_core::message::Code;

use super::{CLOSE_TIMEOUT, Engine, Limbo, Place, PlaceState, index_u32};
use crate::handler::Handler;
use crate::link::erased::BoxError;
use crate::worker::WorkerEvent;
use crate::worker::end::End;
use crate::worker::source::{Ended, Source, is_unwelcome};
use crate::worker::state::Now;

impl<S, T, H> Engine<S, T, H>
where
    S: Source,
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
        self.source_at = None;
        self.hook.call(|| WorkerEvent::Draining);
        for index in 0..self.places.len() {
            let Place { entry, state, up, .. } = &mut self.places[index];
            let drained = match state {
                PlaceState::Link(link) if *up => {
                    let mut cx = Context::from_waker(entry.waker());
                    link.drain(&mut cx, index_u32(index), &mut self.clock, &mut self.runner)
                }
                _ => Err(End::Leave(Code::Stopped, "the worker stops".into())),
            };
            self.unflushed.push(index_u32(index));
            if let Err(end) = drained {
                self.on_end(index_u32(index), end);
            }
        }
        self.scan_at = self.clock.now();
    }

    /// Ends what is in a place, with a Goodbye where there is somebody to say it to.
    #[cold]
    pub(super) fn on_end(&mut self, index: u32, end: End) {
        let was_up = self.stop_link(index);
        let Place { entry, state, .. } = &mut self.places[index as usize];
        let (End::Gone(reason) | End::SentAway(_, reason) | End::Leave(_, reason)) = &end;
        let (peer, manager) = match state {
            PlaceState::Free => return,
            PlaceState::Link(link) if link.is_leaving() => return,
            PlaceState::Link(link) => (link.peer(), link.manager()),
            PlaceState::Opening(_) => (self.source.as_ref().map_or("", Source::peer), ""),
        };
        let (peer, reason) = (peer.to_owned(), reason.clone());
        let event = if was_up {
            WorkerEvent::Disconnected { peer: peer.clone(), manager: manager.to_owned(), reason }
        } else {
            WorkerEvent::Refused { peer: peer.clone(), reason }
        };
        self.hook.call(|| event);
        match (state, end) {
            (PlaceState::Link(link), End::Leave(code, text)) => {
                let mut cx = Context::from_waker(entry.waker());
                link.leave(&mut cx, code, &text, &mut self.runner.memory);
                entry.wake();
                self.watch_closing(index);
            }
            (_, End::SentAway(code, reason)) if is_unwelcome(code) => {
                let pause = self.free_place(index, true);
                let text = advice(code, &self.settings.name);
                self.hook.call(|| {
                    let reason = format!("{reason}: {text}");
                    WorkerEvent::SentAway { peer, reason, pause }
                });
            }
            _ => self.remove(index),
        }
    }

    fn watch_closing(&mut self, index: u32) {
        if self.closing.is_full() {
            if let Some(oldest) = self.closing.remove_oldest() {
                self.places[oldest as usize].limbo = Limbo::None;
                self.remove(oldest);
            }
        }
        let limbo = Limbo::Closing(self.closing.insert(self.clock.now(), |_| index));
        self.be_back_in(CLOSE_TIMEOUT);
        self.places[index as usize].limbo = limbo;
    }

    /// Stops all that a link runs. Returns whether it was up.
    pub(super) fn stop_link(&mut self, index: u32) -> bool {
        let Place { state, up, .. } = &mut self.places[index as usize];
        let was_up = core::mem::take(up);
        if let PlaceState::Link(link) = state {
            link.drop_jobs(index, &mut self.runner);
        }
        self.links_up -= usize::from(was_up);
        if self.is_full && was_up {
            self.tell_room();
        }
        let leaving = matches!(
            &self.places[index as usize].state,
            PlaceState::Link(link) if link.is_leaving()
        );
        if !leaving {
            self.unwatch(index);
        }
        was_up
    }

    pub(super) fn unwatch(&mut self, index: u32) {
        let limbo = &mut self.places[index as usize].limbo;
        match core::mem::replace(limbo, Limbo::None) {
            Limbo::None => {}
            Limbo::Opening(entry) => drop(self.opening.remove(entry)),
            Limbo::Closing(entry) => drop(self.closing.remove(entry)),
        }
    }

    /// Frees a place.
    pub(super) fn remove(&mut self, index: u32) {
        self.free_place(index, false);
    }

    /// Frees a place. Returns how long it is until the next connect, where that is the source's to say.
    fn free_place(&mut self, index: u32, unwelcome: bool) -> Option<Duration> {
        self.unwatch(index);
        let state = &mut self.places[index as usize].state;
        let (useful, opened) = match core::mem::replace(state, PlaceState::Free) {
            PlaceState::Free => return None,
            PlaceState::Opening(_) => (false, self.clock.now()),
            PlaceState::Link(mut link) => {
                link.forget(&mut self.runner.memory);
                link.usefulness()
            }
        };
        self.free.push(index);
        if self.direct == Some(index) {
            self.change_direct();
        }
        let lived = self.clock.now().saturating_since(opened);
        let pause = self.source.as_mut()?.on_ended(&Ended { useful, lived, unwelcome })?;
        let at = self.clock.now().saturating_add(pause);
        self.source_at = Some(at);
        self.be_back_at(at);
        Some(pause)
    }
}

/// Returns what to do about being sent away.
fn advice(code: Code, name: &str) -> String {
    match code {
        Code::NameTaken => {
            format!("another live worker is named {name:?} there: give each its own name")
        }
        Code::Displaced => format!(
            "a newer link has the name {name:?}: where that is another worker, give each its own name"
        ),
        Code::TooSoon => "it came back too soon after links on which it did nothing".into(),
        _ => "the manager has no room for it now".into(),
    }
}
