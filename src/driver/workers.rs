//! How links of workers come up, are read, and end.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::mem;
use core::task::{Context, Poll};

use chargehand_core::io::Timer;
use chargehand_core::{Event, Link, Offer, Route, Verdict, WorkerId, WorkersFull};

use super::Driver;
use super::crowd::Counted;
use super::dialect::Speech;
use super::handshake::Greeting;
use super::link::{Conn, Part, Quota, ReadProgress};
use super::outgoing::Outgoing;
use super::peers::{LinkState, Peer};
use super::type_check::AnswerSink;
use crate::events::PoolEvent;
use crate::link::erased::{AnyConnector, AnyWire, Kind, Reach};
use crate::link::read_on::DRIVER_ROUNDS;
use crate::link::reason::DisconnectReason;
use crate::link::schema::Wanted;
use crate::options::WorkerOptions;
use crate::planted::planted;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Adds a worker that the scheduler decides when to dial, or to start.
    pub(crate) fn add(
        &mut self,
        reach: Reach<K>,
        options: WorkerOptions,
    ) -> Result<WorkerId, WorkersFull> {
        let worker = self.scheduler.add_worker(self.now, Route::Dial)?;
        let label = match &reach {
            Reach::Dial(connector) => connector.peer().into(),
            Reach::InProcess(_) => self.peers.next_in_process(),
            Reach::Await => unreachable!("such a worker adds itself"),
        };
        self.peers.insert(worker, label, reach, options, &self.ready);
        Ok(worker)
    }

    /// Goes on with a worker's link as far as it gets.
    pub(crate) fn on_peer(&mut self, slot: u32, quota: &mut Quota) {
        let Some(Some(peer)) = self.peers.slots.get_mut(slot as usize) else { return };
        peer.entry.clear();
        match &peer.link {
            LinkState::Idle => {}
            LinkState::Dialling(_) | LinkState::Greeting(..) => self.open(slot),
            LinkState::Up(..) => self.on_traffic(slot, quota),
            LinkState::InProcess(_) => self.peers.put_to_work(slot),
        }
    }

    fn open(&mut self, slot: u32) {
        let peer = self.peers.slots[slot as usize].as_mut().expect("the caller looked it up");
        let cx = &mut Context::from_waker(peer.entry.waker());
        if let LinkState::Dialling(link) = peer.link {
            let Reach::Dial(connector) = &mut peer.reach else { unreachable!("it is dialled") };
            match connector.poll_connect(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(wire)) => {
                    peer.link = LinkState::Greeting(link, wire, Greeting::default());
                }
                Poll::Ready(Err(error)) => {
                    peer.link = LinkState::Idle;
                    return self.refused(link, DisconnectReason::unreachable(error));
                }
            }
        }
        let LinkState::Greeting(link, wire, greeting) = &mut peer.link else { return };
        let link = *link;
        match Speech::of(wire.dialect(), &self.limits) {
            Ok(speech) if speech.is_native() => {}
            // Without a handshake, and one request at a time.
            Ok(_) => {
                let wanted = Wanted::default();
                return self.dialled_up(link, Offer::new(1), (u32::MAX, None), &wanted);
            }
            Err(reason) => {
                peer.link = LinkState::Idle;
                return self.refused(link, reason);
            }
        }
        let greeted =
            greeting.poll(&mut **wire, cx, &self.opening, peer.options.window).map_ok(|it| {
                #[cfg(feature = "tracing")]
                {
                    peer.takes_traces = it.takes_traces;
                }
                (it.offer(peer.token), (it.frame_bytes_max, Some(it.token)), it.wanted)
            });
        let taken_in = match greeted {
            Poll::Ready(Ok(terms)) => {
                let welcome = greeting.poll_welcome(&mut **wire, cx, &self.opening, link.worker());
                welcome.map_ok(|()| terms)
            }
            other => other,
        };
        match taken_in {
            Poll::Pending => {}
            Poll::Ready(Ok((offer, terms, wanted))) => {
                self.dialled_up(link, offer, terms, &wanted);
            }
            Poll::Ready(Err(reason)) => {
                let LinkState::Greeting(_, wire, _) = mem::take(&mut peer.link) else { return };
                self.part(wire, Part::default(), &reason);
                self.refused(link, reason);
            }
        }
    }

    /// The handshake of a link that we dialled is done.
    fn dialled_up(
        &mut self,
        link: Link,
        offer: Offer,
        (frame_bytes_max, token): (u32, Option<u64>),
        wanted: &Wanted,
    ) {
        let offer = self.offer_of(link.worker(), offer, wanted);
        let event = Event::Connected { link, offer };
        let LinkState::Greeting(_, wire, _) =
            mem::take(&mut self.peers.get_mut(link.worker()).link)
        else {
            unreachable!("the caller has just greeted")
        };
        self.scheduler.handle_event(self.now, event).expect("the scheduler waits for this link");
        self.peers.get_mut(link.worker()).token = token;
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
        self.peers.get_mut(link.worker()).identity = wire.identity().map(Arc::from);
        let is_waited_for = !offer.keeps.min(self.scheduler.config().grace).is_zero();
        let terms = (offer.window, frame_bytes_max, is_waited_for);
        let share = self.answers.arrivals.budget().share();
        let conn = Box::new(Conn::new(wire, &self.limits, terms, share, self.now));
        self.set_up(link, LinkState::Up(link, conn), offer.window);
        let peer = self.peers.get_mut(link.worker());
        peer.runs = offer.runs.max(1);
        self.meter.on_link(link.worker().slot(), offer.runs, offer.window);
        let peer = self.peers.get_mut(link.worker());
        // Flushes the handshake, and reads on with this waker instead of an earlier one.
        peer.entry.wake();
        if peer.identity.is_some() {
            self.watch(link);
        }
    }

    pub(super) fn set_up(&mut self, link: Link, state: LinkState<K>, window: u32) {
        let worker = link.worker();
        self.peers.set_window(worker, window);
        // With more at work, ranges go further ahead.
        self.jobs.look_again();
        let done = self.scheduler.worker_stats(worker).map_or(0, |stats| stats.done);
        let peer = self.peers.get_mut(worker);
        peer.link = state;
        peer.done_before = done;
        peer.up_since = self.now;
        let (label, identity) = (peer.label(), peer.identity.clone());
        self.events.tell(|| PoolEvent::Connected { worker, peer: label, identity, window });
        self.tell_served(worker);
    }

    fn refused(&mut self, link: Link, reason: DisconnectReason) {
        self.scheduler
            .handle_event(self.now, Event::Refused { link })
            .expect("the scheduler waits for this link");
        self.tell_refused(link.worker(), reason);
    }

    pub(crate) fn tell_refused(&mut self, worker: WorkerId, reason: DisconnectReason) {
        let peer = self.peers.get_mut(worker).failed(&reason);
        self.events.tell(|| PoolEvent::Refused { worker, peer, reason });
    }

    pub(crate) fn tell_lost(&mut self, worker: WorkerId, reason: DisconnectReason) {
        let peer = self.peers.get_mut(worker).failed(&reason);
        self.events.tell(|| PoolEvent::Lost { worker, peer, reason });
    }

    /// Reads, carries out what follows, and writes: all of one link in one go.
    fn on_traffic(&mut self, slot: u32, quota: &mut Quota) {
        let progress = self.read(slot, quota);
        self.turn();
        self.flush_now(slot);
        if progress == ReadProgress::One {
            self.look_on(slot, quota);
        }
    }

    /// Looks whether a link has an answer already to what was just sent, and if so to what is then
    /// sent. Returns whether anything came.
    fn look_on(&mut self, slot: u32, quota: &mut Quota) -> bool {
        for count in 0..DRIVER_ROUNDS {
            let progress = self.read(slot, quota);
            if progress == ReadProgress::Nothing {
                return count > 0;
            }
            self.turn();
            self.flush_now(slot);
            if progress != ReadProgress::One {
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
    pub(crate) fn read(&mut self, slot: u32, quota: &mut Quota) -> ReadProgress {
        let Some(peer) = self.peers.at(slot) else { return ReadProgress::Nothing };
        let LinkState::Up(link, conn) = &mut peer.link else { return ReadProgress::Nothing };
        let cx = &mut Context::from_waker(peer.entry.waker());
        let mut sink = AnswerSink {
            link: *link,
            now: self.now,
            scheduler: &mut self.scheduler,
            answers: &mut self.answers,
            misfits: &mut self.misfits,
            tasks: &self.tasks,
            jobs: &self.jobs,
            decode_limits: &self.limits.decode,
            meter: &mut self.meter,
            #[cfg(feature = "tracing")]
            traces: &mut self.traces,
            peer: &peer.label,
            said: &mut self.progress.said,
            unwanted: &mut self.unwanted,
        };
        match conn.read(cx, quota, &mut sink) {
            Ok(ReadProgress::Nothing) if conn.is_arriving() => {
                let link = *link;
                self.ping_meanwhile(link);
                ReadProgress::Nothing
            }
            Ok(progress) => {
                if progress == ReadProgress::More {
                    peer.entry.wake();
                }
                if !self.progress.said.is_empty() {
                    self.tell_progress();
                }
                if !self.unwanted.is_empty() {
                    self.send_unwanted(slot);
                }
                progress
            }
            Err(reason) => {
                let link = *link;
                self.lose(link, reason);
                ReadProgress::Drained
            }
        }
    }

    /// Has a worker that is back drop what it still holds and nobody waits for.
    fn send_unwanted(&mut self, slot: u32) {
        let Some(Peer { link: LinkState::Up(link, _), .. }) = self.peers.at(slot) else { return };
        let link = *link;
        let mut unwanted = mem::take(&mut self.unwanted);
        // It may have named one twice, and is told once.
        unwanted.sort_unstable();
        unwanted.dedup();
        for (task, attempt) in unwanted {
            // Sending may find that the link is over.
            if self.peers.get_mut(link.worker()).is_up_on(link) {
                self.send(link, Outgoing::Cancel { task, attempt });
            }
        }
    }

    /// Looks for answers to what [`flush_all`](Self::flush_all) has just sent.
    pub(crate) fn look_for_answers(&mut self, quota: &mut Quota) {
        let slots = self.read_on.take();
        let mut came = false;
        for &slot in &slots {
            came |= quota.bytes > 0 && self.look_on(slot, quota);
        }
        self.read_on.recycle(slots);
        if came {
            self.settle();
            // Once is enough.
            self.read_on.clear();
        }
    }

    /// Tells the scheduler that a link is over, and ends it.
    pub(crate) fn lose(&mut self, link: Link, reason: DisconnectReason) {
        if !planted("what never left is blamed") {
            self.take_unsent(link);
        }
        let how = reason.loss();
        // Stale: the scheduler gave it up by itself, and the action that says so is to come.
        if self.scheduler.handle_event(self.now, Event::Lost { link, how }).is_ok() {
            self.settled = false;
            self.end_link(link, &reason);
            self.tell_lost(link.worker(), reason);
        }
    }

    /// Gives back what never left on a link that is over: it cannot be what ended it.
    fn take_unsent(&mut self, link: Link) {
        let LinkState::Up(up, conn) = &mut self.peers.get_mut(link.worker()).link else { return };
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
        let peer = self.peers.get_mut(worker);
        let Some(party) = peer.party.take() else { return };
        let stable = peer.up_since.saturating_add(self.scheduler.config().stable_after);
        let peer = self.peers.get(worker);
        let was_useful = self.did_something(peer) || self.now >= stable;
        self.answers.arrivals.forget(worker.slot());
        self.joining.crowd.remove(Counted::Links, &party);
        self.joining.hosts.on_end(&party, was_useful, self.now);
    }

    /// Returns whether a worker has done a task on the link that it has.
    pub(crate) fn did_something(&self, peer: &Peer<K>) -> bool {
        let stats = self.scheduler.worker_stats(peer.id);
        stats.is_some_and(|stats| stats.done > peer.done_before)
    }
}
