//! Workers that dial in: listeners, and connections that are still in their handshake.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::io::{Dialect, Timer};
use chargehand_core::message::{Code, NAME_BYTES_MAX};
use chargehand_core::{Instant, Route};

use super::closing::Farewell;
use super::greeting::{GreetError, Greeted, Greeting};
use super::peers::Line;
use super::{Driver, Token};
use crate::event::PoolEvent;
use crate::ready::{Entry, ReadySet};
use crate::table::Timed;
use crate::wire::{AnyListener, AnyWire, Kind, Reach};

/// How many connections one poll takes from a listener.
const ACCEPTS_PER_POLL: usize = 32;
/// How long a listener rests after an error. Out of file descriptors, the usual one, passes only
/// as links end.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Joining<K: Kind> {
    listeners: Vec<Door<K>>,
    newcomers: Timed<Newcomer<K>>,
    /// Makes the timeout's text.
    span: Duration,
}

struct Door<K: Kind> {
    listener: Box<K::Listener>,
    entry: Entry,
    paused_until: Option<Instant>,
}

struct Newcomer<K: Kind> {
    entry: Entry,
    stage: Stage<K>,
}

enum Stage<K: Kind> {
    /// The transport's handshake.
    Accepting(Pin<Box<K::Accepting>>),
    /// Ours.
    Greeting(Box<K::Wire>, Greeting),
}

impl<K: Kind> Joining<K> {
    pub(crate) fn new(
        listeners: Vec<Box<K::Listener>>,
        ready: &ReadySet,
        handshakes_max: usize,
        span: Duration,
    ) -> Self {
        let door = |(index, listener)| {
            let index = u32::try_from(index).expect("fewer listeners than 2^32");
            let entry = ready.entry(Token::Listener(index).into());
            entry.wake();
            Door { listener, entry, paused_until: None }
        };
        let listeners = listeners.into_iter().enumerate().map(door).collect();
        Self { listeners, newcomers: Timed::new(handshakes_max, span), span }
    }

    /// Returns whether there is nobody to wait for, and nowhere to come in.
    pub(crate) fn is_quiet(&self) -> bool {
        self.listeners.is_empty() && self.newcomers.is_empty()
    }

    #[inline(never)]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let paused = self.listeners.iter().filter_map(|door| door.paused_until).min();
        [paused, self.newcomers.next_due()].into_iter().flatten().min()
    }

    /// Takes nobody in any more.
    pub(crate) fn stop(&mut self) {
        self.listeners.clear();
        while self.newcomers.remove_oldest().is_some() {}
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    pub(crate) fn on_listener(&mut self, index: u32) {
        let Some(door) = self.joining.listeners.get_mut(index as usize) else { return };
        door.entry.clear();
        if door.paused_until.is_some() {
            return;
        }
        for _ in 0..ACCEPTS_PER_POLL {
            let cx = &mut Context::from_waker(door.entry.waker());
            match door.listener.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(accepting)) => {
                    if self.joining.newcomers.is_full() {
                        // A good worker is done in a round trip or two: the oldest is the worst.
                        self.joining.newcomers.remove_oldest();
                        let why = "pushed out of the handshake by newer connections".to_owned();
                        self.events.tell(|| PoolEvent::TurnedAway { why });
                    }
                    let stage = Stage::Accepting(accepting);
                    self.joining.newcomers.insert(self.now, |index| {
                        let entry = self.ready.entry(Token::Handshake(index).into());
                        entry.wake();
                        Newcomer { entry, stage }
                    });
                }
                Poll::Ready(Err(error)) => {
                    door.paused_until = Some(self.now.saturating_add(PAUSE));
                    let why = format!("cannot accept, pauses {PAUSE:?}: {error}");
                    self.events.tell(|| PoolEvent::TurnedAway { why });
                    return;
                }
            }
        }
        door.entry.wake();
    }

    pub(crate) fn on_handshake(&mut self, index: u32) {
        let Some(newcomer) = self.joining.newcomers.get_mut(index) else { return };
        newcomer.entry.clear();
        let cx = &mut Context::from_waker(newcomer.entry.waker());
        if let Stage::Accepting(accepting) = &mut newcomer.stage {
            match accepting.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(wire)) if wire.dialect() == Dialect::Native => {
                    newcomer.stage = Stage::Greeting(wire, Greeting::default());
                }
                Poll::Ready(Ok(wire)) => {
                    let peer = wire.peer().to_owned();
                    let why = format!("{peer} speaks JSON; workers that dial in must not");
                    return self.turn_away(index, GreetError { why, farewell: None });
                }
                Poll::Ready(Err(error)) => {
                    return self.turn_away(index, GreetError::broken(error));
                }
            }
        }
        let Stage::Greeting(wire, greeting) = &mut newcomer.stage else { return };
        match greeting.poll(&mut **wire, cx, &self.opening) {
            Poll::Pending => {}
            Poll::Ready(Ok(greeted)) => self.join(index, greeted),
            Poll::Ready(Err(error)) => self.turn_away(index, error),
        }
    }

    /// Makes a newcomer a worker's link, in place of any older one.
    fn join(&mut self, index: u32, greeted: Greeted) {
        let offer = greeted.offer();
        let name = greeted.name;
        if name.is_empty() {
            let why = format!("a worker that dials in needs a name of 1 to {NAME_BYTES_MAX} bytes");
            return self.turn_away(index, GreetError::refuse(Code::BadMessage, why));
        }
        let known = self.peers.named(&name);
        let worker =
            match known.map_or_else(|| self.scheduler.add_worker(self.now, Route::Await), Ok) {
                Ok(worker) => worker,
                Err(full) => {
                    return self.turn_away(index, GreetError::refuse(Code::Busy, full.to_string()));
                }
            };
        if known.is_none() {
            self.peers.insert(worker, name.into(), Reach::Await, &self.ready);
        }
        let Ok(accepted) = self.scheduler.accept(self.now, worker, offer, Instant::EPOCH) else {
            let why = "this worker is being removed from the pool".to_owned();
            return self.turn_away(index, GreetError::refuse(Code::Stopped, why));
        };
        if let Some(link) = accepted.displaced {
            let text = "a newer link of the same worker took this one's place";
            let farewell = Farewell { code: Code::Displaced, text: text.to_owned() };
            self.end_link(link, Some(farewell));
            self.tell_lost(worker, text.to_owned());
        }
        let newcomer = self.joining.newcomers.remove(index).expect("it greeted just now");
        let Stage::Greeting(wire, _) = newcomer.stage else { unreachable!("it greeted just now") };
        assert!(matches!(self.peers.get_mut(worker).line, Line::Idle));
        self.link_up(accepted.link, wire, offer);
    }

    fn turn_away(&mut self, index: u32, error: GreetError) {
        let Some(newcomer) = self.joining.newcomers.remove(index) else { return };
        let GreetError { mut why, farewell } = error;
        if let Stage::Greeting(wire, _) = newcomer.stage {
            why = format!("{}: {why}", wire.peer());
            if farewell.is_some() {
                self.closing.close(wire, farewell, self.now, &self.ready);
            }
        }
        self.events.tell(|| PoolEvent::TurnedAway { why });
    }

    /// Drops handshakes that took too long, and opens doors whose pause is over.
    #[inline(never)]
    pub(crate) fn drop_late_handshakes(&mut self) {
        while let Some(newcomer) = self.joining.newcomers.remove_due(self.now) {
            let span = self.joining.span;
            let mut why = format!("no handshake within {span:?}: is the peer a chargehand worker?");
            if let Stage::Greeting(wire, _) = newcomer.stage {
                why = format!("{}: {why}", wire.peer());
            }
            self.events.tell(|| PoolEvent::TurnedAway { why });
        }
        for door in &mut self.joining.listeners {
            if door.paused_until.is_some_and(|until| until <= self.now) {
                door.paused_until = None;
                door.entry.wake();
            }
        }
    }
}
