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
use super::crowd::{Counted, Crowd};
use super::handshake::{Greeted, Greeting};
use super::hosts::Hosts;
use super::link::Part;
use super::outgoing::Outgoing;
use super::peers::LinkState;
use crate::events::PoolEvent;
use crate::limits::Limits;
use crate::link::accept::{ACCEPTS_PER_POLL, AcceptPause, NOT_NAMED};
use crate::link::erased::{AnyListener, AnyWire, Kind, Reach};
use crate::link::expiring::Timed;
use crate::link::party::Party;
use crate::link::ready::{Entry, ReadySet};
use crate::link::reason::DisconnectReason;
use crate::link::token::Token;
use crate::options::WorkerOptions;

/// How long the older of two links of one name may be silent, after a ping, before it gives way; less
/// where `heartbeat_timeout` is.
const RIVAL_SILENCE: Duration = Duration::from_secs(2);
/// How often a link is pinged for newcomers of its worker's name in one heartbeat interval: a quarter of what a
/// worker takes in pings before they are a flood, for anybody may come by that name as often as they like.
const RIVAL_PINGS_MAX: u32 = 64;
/// The shortest interval in which a worker counts them.
const RIVAL_PINGS_SPAN_MIN: Duration = Duration::from_secs(1);

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
    pub(crate) crowd: Crowd,
}

struct OpenListener<K: Kind> {
    listener: Box<K::Listener>,
    entry: Entry,
    pause: AcceptPause,
}

struct Newcomer<K: Kind> {
    entry: Entry,
    stage: ArrivalStage<K>,
    /// Whom it counts for, as far as the transport knows it yet.
    party: Party,
    held: Option<Hold>,
}

enum ArrivalStage<K: Kind> {
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
            ArrivalStage::Accepting(_) => NOT_NAMED.into(),
            ArrivalStage::Greeting(wire, _) => wire.peer().into(),
        }
    }
}

impl<K: Kind> Joining<K> {
    pub(crate) fn new(
        listeners: Vec<Box<K::Listener>>,
        ready: &ReadySet,
        limits: &Limits,
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
            newcomers: Timed::new(limits.handshakes_max, span),
            span,
            rivals: VecDeque::new(),
            // A worker that crashed and started again must be back before it hands over to others.
            patience: config.heartbeat_timeout.min(RIVAL_SILENCE).min(span / 2),
            hosts: Hosts::new(config.backoff, config.seed),
            crowd: Crowd::new(limits),
        }
    }

    fn insert(&mut self, now: Instant, make: impl FnOnce(u32) -> Newcomer<K>) {
        let index = self.newcomers.insert(now, make);
        let newcomer = self.newcomers.get_mut(index).expect("it was put in just now");
        self.crowd.add(Counted::Handshakes, &newcomer.party);
    }

    fn remove(&mut self, index: u32) -> Option<Newcomer<K>> {
        let newcomer = self.newcomers.remove(index);
        newcomer.inspect(|gone| self.crowd.remove(Counted::Handshakes, &gone.party))
    }

    fn remove_due(&mut self, now: Instant) -> Option<Newcomer<K>> {
        let newcomer = self.newcomers.remove_due(now);
        newcomer.inspect(|gone| self.crowd.remove(Counted::Handshakes, &gone.party))
    }

    /// Returns which newcomer goes so that there is room for one more of a party, if any has to. A good
    /// worker is done in a round trip or two, so it is the oldest: of the party itself where that has its
    /// share, and else of the one that has most, before those that have proven who they are.
    fn in_the_way(&self, party: &Party) -> Option<u32> {
        let Self { newcomers, crowd, .. } = self;
        if crowd.has_all(Counted::Handshakes, party) {
            return newcomers.oldest_where(|newcomer| newcomer.party == *party);
        }
        if !newcomers.is_full() {
            return None;
        }
        let of_strangers = crowd.most(Counted::Handshakes, |party| !party.is_proven());
        let are_proven = of_strangers == 0;
        let most = crowd.most(Counted::Handshakes, |party| party.is_proven() == are_proven);
        newcomers.oldest_where(|Newcomer { party, .. }| {
            party.is_proven() == are_proven && crowd.count(Counted::Handshakes, party) == most
        })
    }

    /// Counts a newcomer for whom its transport has it to be by now. Returns which other one goes for that,
    /// if any has to.
    fn identify(&mut self, index: u32, party: &Party) -> Option<u32> {
        let Self { newcomers, crowd, .. } = self;
        let newcomer = newcomers.get_mut(index)?;
        let before = core::mem::replace(&mut newcomer.party, party.clone());
        crowd.remove(Counted::Handshakes, &before);
        let is_over = crowd.has_all(Counted::Handshakes, party);
        crowd.add(Counted::Handshakes, party);
        let oldest = is_over.then(|| newcomers.oldest_where(|newcomer| newcomer.party == *party));
        oldest.flatten().filter(|oldest| *oldest != index)
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
        while let Some(gone) = self.newcomers.remove_oldest() {
            self.crowd.remove(Counted::Handshakes, &gone.party);
        }
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
            let Some(door) = self.joining.listeners.get_mut(index as usize) else { return };
            let cx = &mut Context::from_waker(door.entry.waker());
            match door.listener.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(accepting)) => {
                    door.pause.on_success();
                    let party = Party::at(door.listener.accepted_host());
                    self.admit_newcomer(ArrivalStage::Accepting(accepting), party);
                }
                Poll::Ready(Err(error)) => {
                    let pause = door.pause.on_failure(self.now);
                    self.events
                        .tell(|| PoolEvent::AcceptFailed { error: error.to_string(), pause });
                    return;
                }
            }
        }
        if let Some(door) = self.joining.listeners.get(index as usize) {
            door.entry.wake();
        }
    }

    fn admit_newcomer(&mut self, stage: ArrivalStage<K>, party: Party) {
        if let Some(oldest) = self.joining.in_the_way(&party) {
            self.push_out(oldest);
        }
        self.joining.insert(self.now, |index| {
            let entry = self.ready.entry(Token::Newcomer(index).into());
            entry.wake();
            Newcomer { entry, stage, party, held: None }
        });
    }

    pub(crate) fn on_handshake(&mut self, index: u32) {
        let Some(newcomer) = self.joining.newcomers.get_mut(index) else { return };
        newcomer.entry.clear();
        let cx = &mut Context::from_waker(newcomer.entry.waker());
        if let ArrivalStage::Accepting(accepting) = &mut newcomer.stage {
            let wire = match accepting.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(wire)) => wire,
                Poll::Ready(Err(error)) => {
                    return self.turn_away(index, DisconnectReason::unreachable(error));
                }
            };
            let (dialect, party) = (wire.dialect(), Party::new(wire.identity(), wire.host()));
            newcomer.stage = ArrivalStage::Greeting(wire, Greeting::default());
            if dialect != Dialect::Native {
                return self.turn_away(index, DisconnectReason::JsonRefused);
            }
            if let Some(oldest) = self.joining.identify(index, &party) {
                self.push_out(oldest);
            }
        }
        self.greet(index);
    }

    /// Drops a newcomer without a word: a crowd of them would have others' last words cut short.
    fn push_out(&mut self, index: u32) {
        let Some(gone) = self.joining.remove(index) else { return };
        let (peer, identity) = (gone.peer(), gone.party.identity());
        let reason = DisconnectReason::PushedOut;
        self.events.tell(|| PoolEvent::TurnedAway { peer, identity, reason });
    }

    /// Goes on with our own handshake.
    fn greet(&mut self, index: u32) {
        let Some(newcomer) = self.joining.newcomers.get_mut(index) else { return };
        let cx = &mut Context::from_waker(newcomer.entry.waker());
        let ArrivalStage::Greeting(wire, greeting) = &mut newcomer.stage else { return };
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
        let newcomer = self.joining.newcomers.get_mut(index).expect("it greeted just now");
        let (party, is_new) = (newcomer.party.clone(), newcomer.held.is_none());
        if let Err(reason) = self.peers.check_owner(&greeted.name, &party) {
            return self.turn_away(index, reason);
        }
        if is_new {
            let known = self.peers.named(&greeted.name);
            let rival = known.and_then(|worker| self.rival_of(worker, greeted.token, &party));
            if let Some(link) = rival {
                return self.hold(index, link);
            }
        }
        self.settle_in(index, greeted);
    }

    /// Makes a newcomer a worker's link that no other worker has a claim against.
    fn settle_in(&mut self, index: u32, greeted: &Greeted) {
        let newcomer = self.joining.newcomers.get_mut(index).expect("it greeted");
        let party = newcomer.party.clone();
        // Once more: others may have come while this one was held.
        if let Err(reason) = self.peers.check_owner(&greeted.name, &party) {
            return self.turn_away(index, reason);
        }
        let known = self.peers.named(&greeted.name);
        let displaced = known.and_then(|worker| self.peers.get_mut(worker).party.as_ref());
        let crowd = &self.joining.crowd;
        if displaced != Some(&party) && crowd.has_all(Counted::Links, &party) {
            return self.turn_away(index, crowd.too_many(&party));
        }
        let worker = known.or_else(|| self.make_worker(index, &greeted.name, &party));
        if let Some(worker) = worker {
            self.welcome(index, worker, greeted);
        }
    }

    /// Returns the link of a worker that is up under another token: another process. Whoever has
    /// proven that the name is its own has no rival in one that has not.
    fn rival_of(&mut self, worker: WorkerId, token: u64, party: &Party) -> Option<Link> {
        let peer = self.peers.get_mut(worker);
        let is_equal = peer.identity.is_some() || !party.is_proven();
        match peer.link {
            LinkState::Up(link, _) if peer.token != Some(token) && is_equal => Some(link),
            _ => None,
        }
    }

    /// Returns the link that has a newcomer's name by now, where that is another than the one it was held for:
    /// that one may have been back, or may live, and was not asked.
    fn other_rival(&mut self, index: u32, former: Link, greeted: &Greeted) -> Option<Link> {
        let party = self.joining.newcomers.get_mut(index)?.party.clone();
        let worker = self.peers.named(&greeted.name)?;
        self.rival_of(worker, greeted.token, &party).filter(|link| *link != former)
    }

    /// Keeps a newcomer waiting while the older link of its name is asked for a sign of life.
    fn hold(&mut self, index: u32, rival: Link) {
        let signs = self.ask(rival);
        let due = self.now.saturating_add(self.joining.patience);
        let newcomer = self.joining.newcomers.get_mut(index).expect("it greeted just now");
        newcomer.held = Some(Hold { due, rival, signs, is_through: false });
        newcomer.entry.wake();
        self.joining.rivals.push_back((due, index));
    }

    /// Asks a link for a sign of life, or has it be that it was asked for another newcomer a moment ago. Returns
    /// how much it had said when it was: whatever it has said since shows that it lives.
    fn ask(&mut self, rival: Link) -> u64 {
        let interval = self.scheduler.config().heartbeat_interval.max(RIVAL_PINGS_SPAN_MIN);
        let LinkState::Up(_, conn) = &mut self.peers.get_mut(rival.worker()).link else { return 0 };
        let (signs, is_new) = conn.ask(self.now, interval / RIVAL_PINGS_MAX);
        if is_new {
            self.send(rival, Outgoing::Ping);
        }
        signs
    }

    /// Returns how much a link has said so far, if it is still up.
    fn signs_of(&mut self, link: Link) -> Option<u64> {
        match &self.peers.get_mut(link.worker()).link {
            LinkState::Up(up, conn) if *up == link => Some(conn.signs()),
            _ => None,
        }
    }

    /// Adds a worker, where the pool is full in place of the one that was absent for longest, or else of
    /// one that is of no use and whose party has more than others.
    fn make_worker(&mut self, index: u32, name: &str, party: &Party) -> Option<WorkerId> {
        let mut added = self.scheduler.add_worker(self.now, Route::Await).or_else(|full| {
            let gone = self.scheduler.evict_absent(self.now).ok_or(full)?;
            let peer = self.peers.remove(gone);
            self.events.tell(|| PoolEvent::Gone { worker: gone, peer });
            self.scheduler.add_worker(self.now, Route::Await)
        });
        if added.is_err() {
            if let Some(link) = self.gives_way_to(party) {
                self.lose(link, DisconnectReason::GaveWay);
                // It leaves the pool, by an action.
                self.turn();
                added = self.scheduler.add_worker(self.now, Route::Await);
            }
        }
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

    /// Returns which link makes room for a worker of a party, if one does: of those that have done
    /// nothing so far, the one that has been there for longest, of the party that has most. Strangers
    /// make room for whoever has proven who it is, whatever they have and did; nobody who has proven that
    /// makes room for a stranger.
    fn gives_way_to(&self, party: &Party) -> Option<Link> {
        let crowd = &self.joining.crowd;
        let of_strangers = crowd.most(Counted::Links, |party| !party.is_proven());
        let is_before = party.is_proven() && of_strangers > 0;
        let are_proven = party.is_proven() && !is_before;
        let most = crowd.most(Counted::Links, |party| party.is_proven() == are_proven);
        if !is_before && most <= crowd.count(Counted::Links, party) + 1 {
            return None;
        }
        let links = self.peers.dialled_in().filter_map(|(peer, its, link)| {
            let is_one = its.is_proven() == are_proven && crowd.count(Counted::Links, its) == most;
            let did = self.did_something(peer);
            (is_one && (is_before || !did)).then_some((did, peer.up_since, link))
        });
        links.min_by_key(|&(did, since, _)| (did, since)).map(|(.., link)| link)
    }

    /// Makes a newcomer a worker's link, in place of any older one.
    fn welcome(&mut self, index: u32, worker: WorkerId, greeted: &Greeted) {
        let newcomer = self.joining.newcomers.get_mut(index).expect("it greeted");
        let cx = &mut Context::from_waker(newcomer.entry.waker());
        let ArrivalStage::Greeting(wire, greeting) = &mut newcomer.stage else {
            unreachable!("it greeted")
        };
        match greeting.poll_welcome(&mut **wire, cx, &self.opening, worker) {
            // As soon as there is room, all of this once more.
            Poll::Pending => return,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return self.turn_away(index, error),
        }
        let party = newcomer.party.clone();
        // Who has done something before is not held up for what others did from the same host.
        let is_known = self.scheduler.worker_stats(worker).is_some_and(|stats| stats.done > 0)
            && self.peers.get_mut(worker).identity == party.identity();
        let hosts = &self.joining.hosts;
        let not_before = if is_known { Instant::EPOCH } else { hosts.not_before(&party) };
        let offer = greeted.offer(self.peers.get_mut(worker).token);
        let offer = self.offer_of(worker, offer, &greeted.wanted);
        let accepted = self.scheduler.accept(self.now, worker, offer, not_before);
        let Ok(accepted) = accepted else {
            return self.turn_away(index, DisconnectReason::Removed);
        };
        if let Some(link) = accepted.displaced {
            self.end_link(link, &DisconnectReason::Displaced);
            self.tell_lost(worker, DisconnectReason::Displaced);
        }
        let newcomer = self.joining.remove(index).expect("it greeted");
        let ArrivalStage::Greeting(wire, _) = newcomer.stage else { unreachable!("it greeted") };
        let peer = self.peers.get_mut(worker);
        assert!(matches!(peer.link, LinkState::Idle));
        peer.token = Some(greeted.token);
        #[cfg(feature = "tracing")]
        {
            peer.takes_traces = greeted.takes_traces;
        }
        self.joining.crowd.add(Counted::Links, &party);
        if self.joining.crowd.has_share(&party) {
            self.answers.arrivals.begin(worker.slot(), &party);
        }
        assert!(peer.party.replace(party).is_none());
        self.link_up(accepted.link, wire, offer, greeted.frame_bytes_max);
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
            let ArrivalStage::Greeting(_, Greeting::HelloTaken(greeted)) = &newcomer.stage else {
                continue;
            };
            let greeted = greeted.clone();
            let rival = self.peers.is_worker(hold.rival.worker()).then_some(hold.rival);
            let signs = rival.and_then(|rival| self.signs_of(rival));
            if signs.is_some_and(|signs| signs != hold.signs) {
                self.turn_away(index, DisconnectReason::NameTaken { name: greeted.name });
            } else if let Some(other) = self.other_rival(index, hold.rival, &greeted) {
                self.hold(index, other);
            } else {
                self.settle_in(index, &greeted);
            }
        }
    }

    fn turn_away(&mut self, index: u32, reason: DisconnectReason) {
        if let Some(newcomer) = self.joining.remove(index) {
            self.send_off(newcomer, reason);
        }
    }

    fn send_off(&mut self, newcomer: Newcomer<K>, reason: DisconnectReason) {
        let (peer, identity) = (newcomer.peer(), newcomer.party.identity());
        if let ArrivalStage::Greeting(wire, _) = newcomer.stage {
            self.part(wire, Part::default(), &reason);
        }
        self.events.tell(|| PoolEvent::TurnedAway { peer, identity, reason });
    }

    /// Drops handshakes that took too long, and opens doors whose pause is over.
    pub(crate) fn drop_late_handshakes(&mut self) {
        self.settle_rivals();
        while let Some(newcomer) = self.joining.remove_due(self.now) {
            self.send_off(newcomer, DisconnectReason::HandshakeTimeout(self.joining.span));
        }
        for door in &mut self.joining.listeners {
            if door.pause.end(self.now) {
                door.entry.wake();
            }
        }
    }
}
