//! The workers of a pool and the state of each one's link.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, Waker};

use async_channel::Sender;
use chargehand_core::io::{Dialect, Timer};
use chargehand_core::{Event, Instant, Link, Offer, Route, Verdict, WorkerId, WorkersFull};

use super::handshake::{GreetError, Greeting};
use super::link::{Conn, Ending, Progress, Quota};
use super::type_check::Sink;
use super::{Driver, Token};
use crate::error::WorkerError;
use crate::events::PoolEvent;
use crate::link::erased::{AnyConnector, AnyWire, Kind, Reach};
use crate::link::ready::{Entry, ReadySet, SOURCES_READ_ON};
use crate::stats::{PoolStats, WorkerInfo};

/// How often one poll reads on, on a link whose answers come as soon as it is asked. Those who wait for
/// them wait for the end of the poll.
const READ_ON_MAX: u32 = 2;

/// All workers, by slot.
pub(crate) struct Peers<K: Kind> {
    slots: Vec<Option<Peer<K>>>,
    /// Workers that dialled in, by name.
    names: BTreeMap<Arc<str>, WorkerId>,
    /// Slots of links with something to flush.
    pub(crate) dirty: Vec<u32>,
    /// Slots of links that may answer at once.
    pub(crate) answering: Vec<u32>,
    /// Slots of workers in this process with something to do, each once.
    pub(crate) at_work: Vec<u32>,
    /// How many workers in this process there were.
    in_process_count: u32,
    /// How many workers there are that have or will have a link.
    remotes: u32,
    /// The slot of the one that is direct.
    direct: Option<u32>,
    /// The windows of all links that are up, together.
    window_total: usize,
}

/// One worker.
pub(crate) struct Peer<K: Kind> {
    id: WorkerId,
    pub(crate) label: Arc<str>,
    pub(crate) entry: Entry,
    pub(crate) reach: Reach<K>,
    pub(crate) line: Line<K>,
    pub(crate) last_error: Option<String>,
    /// Whose link it is: differs from one start of a worker that dials in to the next.
    pub(crate) token: u64,
    /// Tasks that it had done when its link came up.
    done_before: u64,
    up_since: Instant,
    window: u32,
    /// How many tasks it runs at once.
    runs: u32,
    pub(crate) is_at_work: bool,
    remover: Option<Sender<Result<(), WorkerError>>>,
}

/// A worker's link.
#[derive(Default)]
pub(crate) enum Line<K: Kind> {
    #[default]
    Idle,
    /// The connector is at it.
    Dialling(Link),
    /// The transport is up, the handshake is not done.
    Greeting(Link, Box<K::Wire>, Greeting),
    Up(Link, Box<Conn<K>>),
    /// Up, in this process: nothing is in between.
    InProcess(Link),
}

impl<K: Kind> Peer<K> {
    pub(crate) fn label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    /// Returns how many tasks the worker runs at once, if it may hold more, which then wait there.
    pub(crate) fn waiting_behind(&self) -> Option<u32> {
        (self.window > self.runs).then_some(self.runs)
    }

    /// Notes why the link is not up. Returns the label.
    fn failed(&mut self, why: &str) -> Arc<str> {
        self.last_error = Some(why.to_owned());
        self.label()
    }
}

impl<K: Kind> Peers<K> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            names: BTreeMap::new(),
            dirty: Vec::new(),
            answering: Vec::new(),
            at_work: Vec::new(),
            in_process_count: 0,
            remotes: 0,
            direct: None,
            window_total: 0,
        }
    }

    /// Returns the slot of the only worker with a link, if there is one only: it wakes `parent`, and is
    /// to be looked at in each poll.
    #[inline]
    pub(crate) fn direct(&mut self, parent: &Waker) -> Option<u32> {
        if (self.remotes == 1) != self.direct.is_some() {
            self.change_direct();
        }
        let slot = self.direct?;
        let peer = self.slots[slot as usize].as_mut().expect("`remove` forgets it");
        peer.entry.be_direct(parent);
        Some(slot)
    }

    #[cold]
    fn change_direct(&mut self) {
        if let Some(peer) = self.direct.take().and_then(|slot| self.at(slot)) {
            peer.entry.be_listed();
            return;
        }
        let has_link = |peer: &Peer<K>| !matches!(peer.reach, Reach::InProcess(_));
        let slot = self.slots.iter().position(|slot| slot.as_ref().is_some_and(has_link));
        self.direct = slot.and_then(|slot| u32::try_from(slot).ok());
    }

    /// Returns a worker that the scheduler names.
    pub(crate) fn get_mut(&mut self, worker: WorkerId) -> &mut Peer<K> {
        let peer = self.slots[worker.slot() as usize].as_mut();
        let peer = peer.expect("a worker is in the table until the scheduler says it is gone");
        assert!(peer.id == worker);
        peer
    }

    /// Whether a worker is still in the table.
    pub(crate) fn is_worker(&self, worker: WorkerId) -> bool {
        let slot = self.slots.get(worker.slot() as usize);
        slot.is_some_and(|slot| slot.as_ref().is_some_and(|peer| peer.id == worker))
    }

    pub(crate) fn named(&self, name: &str) -> Option<WorkerId> {
        self.names.get(name).copied()
    }

    pub(crate) fn window_total(&self) -> usize {
        self.window_total
    }

    pub(crate) fn set_window(&mut self, worker: WorkerId, window: u32) {
        let peer = self.get_mut(worker);
        let before = mem::replace(&mut peer.window, window);
        self.window_total = self.window_total + window as usize - before as usize;
    }

    /// Notes that a worker in this process has something to do.
    pub(crate) fn put_to_work(&mut self, slot: u32) {
        let Some(peer) = self.at(slot) else { return };
        if !mem::replace(&mut peer.is_at_work, true) {
            self.at_work.push(slot);
        }
    }

    /// Notes that a link may have an answer at once to what was flushed, if it expects one.
    fn await_answer(&mut self, slot: u32) {
        let Some(Peer { line: Line::Up(_, conn), .. }) = self.at(slot) else { return };
        if conn.expects_answer() {
            self.answering.push(slot);
        }
    }

    /// Returns the worker of a slot, if there is one.
    pub(crate) fn at(&mut self, slot: u32) -> Option<&mut Peer<K>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Names the next worker in this process.
    fn next_in_process(&mut self) -> Arc<str> {
        self.in_process_count += 1;
        format!("in-process {}", self.in_process_count).into()
    }

    pub(crate) fn await_gone(&mut self, worker: WorkerId, reply: Sender<Result<(), WorkerError>>) {
        self.get_mut(worker).remover = Some(reply);
    }

    pub(crate) fn insert(
        &mut self,
        id: WorkerId,
        label: Arc<str>,
        reach: Reach<K>,
        ready: &ReadySet,
    ) {
        let slot = id.slot() as usize;
        if matches!(reach, Reach::Await) {
            self.names.insert(Arc::clone(&label), id);
        }
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if !matches!(reach, Reach::InProcess(_)) {
            self.remotes += 1;
        }
        let entry = ready.entry(Token::Peer(id.slot()).into());
        let peer = Peer {
            id,
            label,
            entry,
            reach,
            line: Line::Idle,
            last_error: None,
            token: 0,
            done_before: 0,
            up_since: Instant::EPOCH,
            window: 0,
            runs: 1,
            is_at_work: false,
            remover: None,
        };
        assert!(self.slots[slot].replace(peer).is_none());
    }

    /// Removes a worker and tells whoever waits for that. Returns its label.
    pub(crate) fn remove(&mut self, worker: WorkerId) -> Arc<str> {
        self.set_window(worker, 0);
        let peer = self.slots[worker.slot() as usize].take().expect("set_window found it");
        if matches!(peer.reach, Reach::Await) {
            self.names.remove(&peer.label);
        }
        if !matches!(peer.reach, Reach::InProcess(_)) {
            self.remotes -= 1;
            // Of the others another may be the only one now.
            self.direct.take_if(|slot| *slot == worker.slot());
        }
        if let Some(remover) = peer.remover {
            let _ = remover.try_send(Ok(()));
        }
        peer.label
    }
}

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Adds a worker that the scheduler decides when to dial, or to start.
    pub(crate) fn add(&mut self, reach: Reach<K>) -> Result<WorkerId, WorkersFull> {
        let worker = self.scheduler.add_worker(self.now, Route::Dial)?;
        let label = match &reach {
            Reach::Dial(connector) => connector.peer().into(),
            Reach::InProcess(_) => self.peers.next_in_process(),
            Reach::Await => unreachable!("such a worker adds itself"),
        };
        self.peers.insert(worker, label, reach, &self.ready);
        Ok(worker)
    }

    /// Goes on with a worker's link as far as it gets.
    pub(crate) fn on_peer(&mut self, slot: u32, quota: &mut Quota) {
        let Some(Some(peer)) = self.peers.slots.get_mut(slot as usize) else { return };
        peer.entry.clear();
        match &peer.line {
            Line::Idle => {}
            Line::Dialling(_) | Line::Greeting(..) => self.open(slot),
            Line::Up(..) => self.on_traffic(slot, quota),
            Line::InProcess(_) => self.peers.put_to_work(slot),
        }
    }

    #[cold]
    fn open(&mut self, slot: u32) {
        let peer = self.peers.slots[slot as usize].as_mut().expect("the caller looked it up");
        let cx = &mut Context::from_waker(peer.entry.waker());
        if let Line::Dialling(link) = peer.line {
            let Reach::Dial(connector) = &mut peer.reach else { unreachable!("it is dialled") };
            match connector.poll_connect(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(wire)) => {
                    peer.line = Line::Greeting(link, wire, Greeting::default());
                }
                Poll::Ready(Err(error)) => {
                    peer.line = Line::Idle;
                    return self.refused(link, error.to_string());
                }
            }
        }
        let Line::Greeting(link, wire, greeting) = &mut peer.line else { return };
        let link = *link;
        if wire.dialect() == Dialect::Json {
            if cfg!(not(feature = "json")) {
                peer.line = Line::Idle;
                let why = "the link speaks JSON: build with the feature `json`".to_owned();
                return self.refused(link, why);
            }
            return self.dialled_up(link, Offer::new(1), u32::MAX);
        }
        let greeted = greeting
            .poll(&mut **wire, cx, &self.opening)
            .map_ok(|greeted| (greeted.offer(), greeted.frame_bytes_max));
        let taken_in = match greeted {
            Poll::Ready(Ok(terms)) => {
                let welcome = greeting.poll_welcome(&mut **wire, cx, &self.opening);
                welcome.map_ok(|()| terms)
            }
            other => other,
        };
        match taken_in {
            Poll::Pending => {}
            Poll::Ready(Ok((offer, frame_bytes_max))) => {
                self.dialled_up(link, offer, frame_bytes_max);
            }
            Poll::Ready(Err(GreetError { why, farewell })) => {
                let Line::Greeting(_, wire, _) = mem::take(&mut peer.line) else { return };
                if farewell.is_some() {
                    self.closing.close(wire, farewell, None, self.now, &self.ready);
                }
                self.refused(link, why);
            }
        }
    }

    /// The handshake of a link that we dialled is done.
    fn dialled_up(&mut self, link: Link, offer: Offer, frame_bytes_max: u32) {
        let event = Event::Connected { link, offer };
        let Line::Greeting(_, wire, _) = mem::take(&mut self.peers.get_mut(link.worker()).line)
        else {
            unreachable!("the caller has just greeted")
        };
        self.scheduler.handle_event(self.now, event).expect("the scheduler waits for this link");
        self.link_up(link, wire, offer, frame_bytes_max);
    }

    /// A link is up, for the scheduler too.
    pub(crate) fn link_up(
        &mut self,
        link: Link,
        wire: Box<K::Wire>,
        offer: Offer,
        frame_bytes_max: u32,
    ) {
        let conn = Box::new(Conn::new(wire, &self.limits, frame_bytes_max, self.now));
        self.set_up(link, Line::Up(link, conn), offer.window);
        let peer = self.peers.get_mut(link.worker());
        peer.runs = offer.runs.max(1);
        // Flushes the handshake, and reads on with this waker instead of an earlier one.
        peer.entry.wake();
    }

    pub(super) fn set_up(&mut self, link: Link, line: Line<K>, window: u32) {
        let worker = link.worker();
        self.peers.set_window(worker, window);
        // With more at work, ranges go further ahead.
        self.jobs.look_again();
        let done = self.scheduler.worker_stats(worker).map_or(0, |stats| stats.done);
        let peer = self.peers.get_mut(worker);
        peer.line = line;
        peer.done_before = done;
        peer.up_since = self.now;
        let label = peer.label();
        self.events.tell(|| PoolEvent::Connected { worker, peer: label, window });
    }

    fn refused(&mut self, link: Link, why: String) {
        self.scheduler
            .handle_event(self.now, Event::Refused { link })
            .expect("the scheduler waits for this link");
        self.tell_refused(link.worker(), why);
    }

    pub(crate) fn tell_refused(&mut self, worker: WorkerId, why: String) {
        let peer = self.peers.get_mut(worker).failed(&why);
        self.events.tell(|| PoolEvent::Refused { worker, peer, why });
    }

    pub(crate) fn tell_lost(&mut self, worker: WorkerId, why: String) {
        let peer = self.peers.get_mut(worker).failed(&why);
        self.events.tell(|| PoolEvent::Lost { worker, peer, why });
    }

    /// Reads, carries out what follows, and writes: all of one link in one go.
    fn on_traffic(&mut self, slot: u32, quota: &mut Quota) {
        let progress = self.read(slot, quota);
        self.turn();
        self.flush_now(slot);
        if progress == Progress::One {
            self.read_on(slot, quota);
        }
    }

    /// Looks whether a link has an answer already to what was just sent, and if so to what is then
    /// sent. Returns whether anything came.
    fn read_on(&mut self, slot: u32, quota: &mut Quota) -> bool {
        for count in 0..READ_ON_MAX {
            let progress = self.read(slot, quota);
            if progress == Progress::Nothing {
                return count > 0;
            }
            self.turn();
            self.flush_now(slot);
            if progress != Progress::One {
                return true;
            }
        }
        // Whoever waits for what came goes first.
        if let Some(peer) = self.peers.at(slot) {
            peer.entry.wake();
        }
        true
    }

    /// Reads on a link, if it is up.
    pub(crate) fn read(&mut self, slot: u32, quota: &mut Quota) -> Progress {
        let Some(peer) = self.peers.at(slot) else { return Progress::Nothing };
        let Line::Up(link, conn) = &mut peer.line else { return Progress::Nothing };
        let cx = &mut Context::from_waker(peer.entry.waker());
        let mut sink = Sink {
            link: *link,
            now: self.now,
            scheduler: &mut self.scheduler,
            answers: &mut self.answers,
            misfits: &mut self.misfits,
            tasks: &self.tasks,
            jobs: &self.jobs,
        };
        match conn.read(cx, quota, &mut sink) {
            Ok(progress) => {
                if progress == Progress::More {
                    peer.entry.wake();
                }
                progress
            }
            Err(ending) => {
                let link = *link;
                self.lose(link, ending);
                Progress::Drained
            }
        }
    }

    /// Looks for answers to what [`flush_all`](Self::flush_all) has just sent.
    #[inline(never)]
    pub(crate) fn look_for_answers(&mut self, quota: &mut Quota) {
        let mut slots = mem::take(&mut self.peers.answering);
        let mut came = false;
        for slot in slots.drain(..) {
            came |= quota.reads_on && quota.bytes > 0 && self.read_on(slot, quota);
        }
        self.peers.answering = slots;
        if came {
            self.settle();
            // Once is enough: they are woken as soon as there is something.
            self.peers.answering.clear();
        }
    }

    /// Tells the scheduler that a link is over, and ends it.
    #[cold]
    pub(crate) fn lose(&mut self, link: Link, ending: Ending) {
        let Ending { why, farewell, how } = ending;
        self.take_unsent(link);
        // Stale: the scheduler gave it up by itself, and the action that says so is to come.
        if self.scheduler.handle_event(self.now, Event::Lost { link, how }).is_ok() {
            self.settled = false;
            self.end_link(link, farewell);
            self.tell_lost(link.worker(), why);
        }
    }

    /// Gives back what never left on a link that is over: it cannot be what ended it.
    fn take_unsent(&mut self, link: Link) {
        let Line::Up(up, conn) = &mut self.peers.get_mut(link.worker()).line else { return };
        if *up != link {
            return;
        }
        for (task, attempt) in conn.take_unsent() {
            let verdict = Verdict::Returned;
            let event = Event::Replied { link, task, attempt, verdict };
            // Stale: the scheduler gave the link up by itself.
            let _ = self.scheduler.handle_event(self.now, event);
        }
    }

    /// Notes of what use a link was that a worker had dialled in with, for whoever comes from there.
    pub(crate) fn note_use(&mut self, worker: WorkerId) {
        let stats = self.scheduler.worker_stats(worker);
        let peer = self.peers.get_mut(worker);
        let (Reach::Await, Line::Up(_, conn)) = (&peer.reach, &peer.line) else { return };
        let Some(host) = conn.wire.host() else { return };
        let stable = peer.up_since.saturating_add(self.scheduler.config().stable_after);
        let did = stats.is_some_and(|stats| stats.done > peer.done_before);
        self.joining.hosts.on_end(host, did || self.now >= stable, self.now);
    }

    /// Writes what is to be sent on a link. Returns whether there was anything.
    fn flush(&mut self, slot: u32) -> bool {
        let mut any = false;
        loop {
            let Some(peer) = self.peers.at(slot) else { return any };
            let Line::Up(link, conn) = &mut peer.line else { return any };
            if !conn.dirty {
                return any;
            }
            any = true;
            let link = *link;
            let cx = &mut Context::from_waker(peer.entry.waker());
            match conn.flush(cx, &self.tasks) {
                Ok(()) => return any,
                Err(error) => self.not_sent(link, error),
            }
        }
    }

    /// Writes what is to be sent on a link, before it is the others' turn.
    fn flush_now(&mut self, slot: u32) {
        // Mostly it is the only one. Elsewhere in the list it costs another look.
        if self.peers.dirty.last() == Some(&slot) {
            self.peers.dirty.pop();
        }
        self.flush(slot);
    }

    /// Flushes every link that was sent to since the last time.
    pub(crate) fn flush_all(&mut self) {
        if !self.peers.dirty.is_empty() {
            self.flush_dirty();
        }
    }

    #[inline(never)]
    fn flush_dirty(&mut self) {
        let mut dirty = mem::take(&mut self.peers.dirty);
        for slot in dirty.drain(..) {
            if self.flush(slot) && self.peers.answering.len() < SOURCES_READ_ON {
                self.peers.await_answer(slot);
            }
        }
        assert!(self.peers.dirty.is_empty(), "only a turn sends");
        self.peers.dirty = dirty;
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let workers = self.peers.slots.iter().flatten().filter_map(|peer| {
            Some(WorkerInfo {
                id: peer.id,
                peer: peer.label(),
                stats: self.scheduler.worker_stats(peer.id)?,
                last_error: peer.last_error.clone(),
            })
        });
        PoolStats { tasks: self.scheduler.stats(), workers: workers.collect() }
    }
}
