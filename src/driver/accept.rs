//! Workers that dial in: listeners, and connections that are still in their handshake.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::io::{Dialect, Timer};
use chargehand_core::message::NAME_BYTES_MAX;
use chargehand_core::{Config, Instant, Link, Route, WorkerId};

use super::Driver;
use super::handshake::{Greeted, Greeting};
use super::hosts::Hosts;
use super::outgoing::Outgoing;
use super::workers::LinkState;
use crate::events::PoolEvent;
use crate::link::accept::{ACCEPTS_PER_POLL, AcceptPause, NOT_NAMED};
use crate::link::erased::{AnyListener, AnyWire, Kind, Reach};
use crate::link::expiring::Timed;
use crate::link::ready::{Entry, ReadySet};
use crate::link::reason::DisconnectReason;
use crate::link::token::Token;
use crate::options::WorkerOptions;

/// How long the older of two links of one name may be silent, after a ping, before it gives way; less
/// where `heartbeat_timeout` is.
const RIVAL_SILENCE: Duration = Duration::from_secs(2);

pub(crate) struct Joining<K: Kind> {
    listeners: Vec<OpenListener<K>>,
    newcomers: Timed<Newcomer<K>>,
    /// Makes the timeout's text.
    span: Duration,
    /// Newcomers that wait until it is known whether another worker of their name lives, and until
    /// when: each as long as any other.
    rivals: VecDeque<(Instant, u32)>,
    /// How long an older link of the same name may be silent before it gives way.
    patience: Duration,
    pub(crate) hosts: Hosts,
}

struct OpenListener<K: Kind> {
    listener: Box<K::Listener>,
    entry: Entry,
    pause: AcceptPause,
}

struct Newcomer<K: Kind> {
    entry: Entry,
    stage: Stage<K>,
    held: Option<Hold>,
}

enum Stage<K: Kind> {
    /// The transport's handshake.
    Accepting(Pin<Box<K::Accepting>>),
    /// Ours.
    Greeting(Box<K::Wire>, Greeting),
}

/// A worker of the newcomer's name has a link that may be dead: it is held until that is known.
#[derive(Clone, Copy, Debug)]
struct Hold {
    due: Instant,
    rival: Link,
    /// What the older link had said by then.
    signs: u64,
    /// The older one is dead: it is only the wire that has no room yet.
    is_through: bool,
}

impl<K: Kind> Newcomer<K> {
    /// Names the other end, as far as the transport knows it yet.
    fn peer(&self) -> Arc<str> {
        match &self.stage {
            Stage::Accepting(_) => NOT_NAMED.into(),
            Stage::Greeting(wire, _) => wire.peer().into(),
        }
    }
}

impl<K: Kind> Joining<K> {
    pub(crate) fn new(
        listeners: Vec<Box<K::Listener>>,
        ready: &ReadySet,
        handshakes_max: usize,
        config: &Config,
    ) -> Self {
        let span = config.connect_timeout;
        let door = |(index, listener)| {
            let index = u32::try_from(index).expect("fewer listeners than 2^32");
            let entry = ready.entry(Token::Listener(index).into());
            entry.wake();
            OpenListener { listener, entry, pause: AcceptPause::default() }
        };
        let listeners = listeners.into_iter().enumerate().map(door).collect();
        Self {
            listeners,
            newcomers: Timed::new(handshakes_max, span),
            span,
            rivals: VecDeque::new(),
            // A worker that crashed and started again must be back before it hands over to others.
            patience: config.heartbeat_timeout.min(RIVAL_SILENCE).min(span / 2),
            hosts: Hosts::new(config.backoff, config.seed),
        }
    }

    /// Returns whether there is nobody to wait for, and nowhere to come in.
    pub(crate) fn is_quiet(&self) -> bool {
        self.listeners.is_empty() && self.newcomers.is_empty()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        let paused = self.listeners.iter().filter_map(|door| door.pause.until()).min();
        let rival = self.rivals.front().map(|&(due, ..)| due);
        [paused, rival, self.newcomers.next_due()].into_iter().flatten().min()
    }

    /// Takes nobody in any more.
    pub(crate) fn stop(&mut self) {
        self.listeners.clear();
        self.rivals.clear();
        while self.newcomers.remove_oldest().is_some() {}
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    pub(crate) fn on_listener(&mut self, index: u32) {
        let Some(door) = self.joining.listeners.get_mut(index as usize) else { return };
        door.entry.clear();
        if door.pause.until().is_some() {
            return;
        }
        for _ in 0..ACCEPTS_PER_POLL {
            let cx = &mut Context::from_waker(door.entry.waker());
            match door.listener.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(accepting)) => {
                    door.pause.on_success();
                    if self.joining.newcomers.is_full() {
                        // A good worker is done in a round trip or two: the oldest is the worst.
                        let oldest = self.joining.newcomers.remove_oldest();
                        let peer = oldest.map_or_else(|| NOT_NAMED.into(), |oldest| oldest.peer());
                        let reason = DisconnectReason::PushedOut;
                        self.events.tell(|| PoolEvent::TurnedAway { peer, reason });
                    }
                    let stage = Stage::Accepting(accepting);
                    self.joining.newcomers.insert(self.now, |index| {
                        let entry = self.ready.entry(Token::Newcomer(index).into());
                        entry.wake();
                        Newcomer { entry, stage, held: None }
                    });
                }
                Poll::Ready(Err(error)) => {
                    let pause = door.pause.on_failure(self.now);
                    self.events
                        .tell(|| PoolEvent::AcceptFailed { error: error.to_string(), pause });
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
                    newcomer.stage = Stage::Greeting(wire, Greeting::default());
                    return self.turn_away(index, DisconnectReason::JsonRefused);
                }
                Poll::Ready(Err(error)) => {
                    return self.turn_away(index, DisconnectReason::unreachable(error));
                }
            }
        }
        let Stage::Greeting(wire, greeting) = &mut newcomer.stage else { return };
        if newcomer.held.is_some_and(|hold| !hold.is_through) {
            // It has nothing to say before it is taken in, unless that it gives up.
            let error = match wire.poll_recv(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(Some(_))) => {
                    DisconnectReason::protocol("sent a message before it was welcomed")
                }
                Poll::Ready(Ok(None)) => DisconnectReason::ClosedEarly,
                Poll::Ready(Err(error)) => DisconnectReason::reset(error),
            };
            return self.turn_away(index, error);
        }
        match greeting.poll(&mut **wire, cx, &self.opening, None) {
            Poll::Pending => {}
            Poll::Ready(Ok(greeted)) => self.join(index, &greeted),
            Poll::Ready(Err(error)) => self.turn_away(index, error),
        }
    }

    /// Makes a newcomer a worker's link, unless another worker of its name may be there.
    fn join(&mut self, index: u32, greeted: &Greeted) {
        if greeted.name.is_empty() {
            let why = format!("a worker that dials in needs a name of 1 to {NAME_BYTES_MAX} bytes");
            return self.turn_away(index, DisconnectReason::protocol(why));
        }
        let known = self.peers.named(&greeted.name);
        let newcomer = self.joining.newcomers.get_mut(index).expect("it greeted just now");
        if newcomer.held.is_none() {
            if let Some(link) = known.and_then(|worker| self.rival_of(worker, greeted.token)) {
                return self.hold(index, link);
            }
        }
        let Some(worker) = known.or_else(|| self.make_worker(index, &greeted.name)) else { return };
        self.welcome(index, worker, greeted);
    }

    /// Returns the link of a worker that is up under another token: another process.
    fn rival_of(&mut self, worker: WorkerId, token: u64) -> Option<Link> {
        let peer = self.peers.get_mut(worker);
        match peer.link {
            LinkState::Up(link, _) if peer.token != token => Some(link),
            _ => None,
        }
    }

    /// Keeps a newcomer waiting while the older link of its name is asked for a sign of life.
    fn hold(&mut self, index: u32, rival: Link) {
        let signs = self.signs_of(rival).unwrap_or(0);
        let due = self.now.saturating_add(self.joining.patience);
        let newcomer = self.joining.newcomers.get_mut(index).expect("it greeted just now");
        newcomer.held = Some(Hold { due, rival, signs, is_through: false });
        newcomer.entry.wake();
        self.joining.rivals.push_back((due, index));
        self.send(rival, Outgoing::Ping);
    }

    /// Returns how much a link has said so far, if it is still up.
    fn signs_of(&mut self, link: Link) -> Option<u64> {
        match &self.peers.get_mut(link.worker()).link {
            LinkState::Up(up, conn) if *up == link => Some(conn.signs()),
            _ => None,
        }
    }

    /// Adds a worker, in place of the one that was absent for longest where the pool is full.
    fn make_worker(&mut self, index: u32, name: &str) -> Option<WorkerId> {
        let added = self.scheduler.add_worker(self.now, Route::Await).or_else(|full| {
            let gone = self.scheduler.evict_absent(self.now).ok_or(full)?;
            let peer = self.peers.remove(gone);
            self.events.tell(|| PoolEvent::Gone { worker: gone, peer });
            self.scheduler.add_worker(self.now, Route::Await)
        });
        if let Ok(worker) = added {
            let options = WorkerOptions::new();
            self.peers.insert(worker, name.into(), Reach::Await, options, &self.ready);
            return Some(worker);
        }
        let limit = if self.limits.is_lowered { "ulimit -n" } else { "workers_max" };
        let max = self.limits.workers_max as usize;
        self.turn_away(index, DisconnectReason::Busy { limit, max });
        None
    }

    /// Makes a newcomer a worker's link, in place of any older one.
    fn welcome(&mut self, index: u32, worker: WorkerId, greeted: &Greeted) {
        let newcomer = self.joining.newcomers.get_mut(index).expect("it greeted");
        let cx = &mut Context::from_waker(newcomer.entry.waker());
        let Stage::Greeting(wire, greeting) = &mut newcomer.stage else {
            unreachable!("it greeted")
        };
        match greeting.poll_welcome(&mut **wire, cx, &self.opening) {
            // As soon as there is room, all of this once more.
            Poll::Pending => return,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return self.turn_away(index, error),
        }
        // Who has done something before is not held up for what others did from the same host.
        let is_known = self.scheduler.worker_stats(worker).is_some_and(|stats| stats.done > 0);
        let hosts = &self.joining.hosts;
        let not_before = if is_known { Instant::EPOCH } else { hosts.not_before(wire.host()) };
        let accepted = self.scheduler.accept(self.now, worker, greeted.offer(), not_before);
        let Ok(accepted) = accepted else {
            return self.turn_away(index, DisconnectReason::Removed);
        };
        if let Some(link) = accepted.displaced {
            self.end_link(link, &DisconnectReason::Displaced);
            self.tell_lost(worker, DisconnectReason::Displaced);
        }
        let newcomer = self.joining.newcomers.remove(index).expect("it greeted");
        let Stage::Greeting(wire, _) = newcomer.stage else { unreachable!("it greeted") };
        let peer = self.peers.get_mut(worker);
        assert!(matches!(peer.link, LinkState::Idle));
        peer.token = greeted.token;
        self.link_up(accepted.link, wire, greeted.offer(), greeted.frame_bytes_max);
    }

    /// Decides about newcomers whose name another worker had, once that one had its time to say
    /// something: it has the name if it lives.
    fn settle_rivals(&mut self) {
        while let Some(&(due, index)) = self.joining.rivals.front() {
            if due > self.now {
                return;
            }
            self.joining.rivals.pop_front();
            let Some(newcomer) = self.joining.newcomers.get_mut(index) else { continue };
            // Another may have its place by now.
            let Some(hold) = newcomer.held.as_mut().filter(|hold| hold.due == due) else {
                continue;
            };
            hold.is_through = true;
            let hold = *hold;
            let Stage::Greeting(_, Greeting::HelloTaken(greeted)) = &newcomer.stage else {
                continue;
            };
            let greeted = greeted.clone();
            let rival = self.peers.is_worker(hold.rival.worker()).then_some(hold.rival);
            let signs = rival.and_then(|rival| self.signs_of(rival));
            if signs.is_some_and(|signs| signs != hold.signs) {
                self.turn_away(index, DisconnectReason::NameTaken { name: greeted.name });
            } else {
                let worker = self.peers.named(&greeted.name);
                let worker = worker.or_else(|| self.make_worker(index, &greeted.name));
                if let Some(worker) = worker {
                    self.welcome(index, worker, &greeted);
                }
            }
        }
    }

    fn turn_away(&mut self, index: u32, reason: DisconnectReason) {
        if let Some(newcomer) = self.joining.newcomers.remove(index) {
            self.send_off(newcomer, reason);
        }
    }

    fn send_off(&mut self, newcomer: Newcomer<K>, reason: DisconnectReason) {
        let peer = newcomer.peer();
        if let Stage::Greeting(wire, _) = newcomer.stage {
            self.part(wire, None, &reason);
        }
        self.events.tell(|| PoolEvent::TurnedAway { peer, reason });
    }

    /// Drops handshakes that took too long, and opens doors whose pause is over.
    pub(crate) fn drop_late_handshakes(&mut self) {
        self.settle_rivals();
        while let Some(newcomer) = self.joining.newcomers.remove_due(self.now) {
            self.send_off(newcomer, DisconnectReason::HandshakeTimeout(self.joining.span));
        }
        for door in &mut self.joining.listeners {
            if door.pause.end(self.now) {
                door.entry.wake();
            }
        }
    }
}
