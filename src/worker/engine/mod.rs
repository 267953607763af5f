//! The worker's one future: it polls only what was woken, and does a bounded amount for each poll.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::io::Timer;
use chargehand_core::{Instant, Verdict};

use super::clock::{Clock, Now};
use super::hook::Hook;
use super::link::{Connection, PollProgress};
use super::memory::{Held, Memory};
use super::runner::{Owner, Runner};
use super::settings::Settings;
use super::source::LinkSource;
use super::state::Around;
use crate::handler::Handler;
use crate::link::accept::AcceptPause;
use crate::link::alarm::Alarm;
use crate::link::closing::ClosingTable;
use crate::link::expiring::Timed;
use crate::link::party::Party;
use crate::link::quota::messages_each;
use crate::link::read_on::{ReadOn, WORKER_ROUNDS};
use crate::link::ready::{Entry, ReadySet, SOURCES_PER_POLL};
use crate::link::reason::{BoxError, DisconnectReason};
use crate::link::token::Token;
use crate::link::watch::Watch;

mod accept;
mod away;
mod closing;
mod timers;

/// How many waiting requests are started in a poll.
const STARTS: usize = 1024;
/// A handler that took less than this is not worth a message: what it took is less than what the message does.
const TOLD_FROM: Duration = Duration::from_micros(100);
/// All links are looked at for silence at most this often.
const SCAN_INTERVAL: Duration = Duration::from_millis(50);
/// What a worker is made of.
pub(super) struct EngineParts<T, H> {
    pub(super) timer: T,
    pub(super) handler: H,
    pub(super) settings: Settings,
    pub(super) hook: Hook,
    pub(super) ready: ReadySet,
    pub(super) control: Entry,
    pub(super) stopped: Arc<AtomicBool>,
}

pub(super) struct Engine<S: LinkSource, T: Timer, H: Handler> {
    /// `None` once the worker drains.
    source: Option<S>,
    source_entry: Entry,
    /// Until when the source is not polled.
    pause: AcceptPause,
    clock: Clock<T>,
    alarm: Alarm<T>,
    runner: Runner<H>,
    settings: Settings,
    hook: Hook,
    ready: ReadySet,
    batch: Vec<u32>,
    stopped: Arc<AtomicBool>,
    control: Entry,
    drain_deadline: Option<Instant>,
    places: Vec<LinkSlot<S>>,
    free: Vec<u32>,
    /// The places whose handshake is not over.
    opening: Timed<u32>,
    /// The wires that are being closed, and what each still holds of the budget.
    closing: ClosingTable<S::Wire, Held>,
    watch: Watch,
    links_up: usize,
    absentees: away::Absentees,
    /// Whether the source knows that all places are taken, and nobody makes room before this time.
    is_full: bool,
    room_at: Option<Instant>,
    unflushed: Vec<u32>,
    read_on: ReadOn,
    scan_at: Instant,
    scanned: Instant,
    /// The earliest of all deadlines, or earlier.
    due: Instant,
}

/// Room for one link, used again with its waker.
struct LinkSlot<S: LinkSource> {
    entry: Entry,
    /// Its entry among those whose handshake is not over.
    opening: Option<u32>,
    /// Where it came from, as far as the transport told that at once.
    host: Option<Box<str>>,
    up: bool,
    state: SlotState<S>,
}

impl<S> LinkSlot<S>
where
    S: LinkSource,
    <S::Wire as chargehand_core::io::Wire>::Error: Into<BoxError>,
{
    /// Returns whom the link counts for, once there is one.
    fn party(&self) -> Option<Party> {
        match &self.state {
            SlotState::Link(link) => Some(Party::new(link.identity(), self.host.as_deref())),
            SlotState::Free | SlotState::Opening(_) => None,
        }
    }

    /// Returns whom a handshake counts for, as far as the transport knows it yet.
    fn newcomer(&self) -> Party {
        self.party().unwrap_or_else(|| Party::at(self.host.as_deref()))
    }
}

enum SlotState<S: LinkSource> {
    Free,
    Opening(Pin<Box<S::Opening>>),
    Link(Box<Connection<S::Wire>>),
}

impl<S, T, H> Engine<S, T, H>
where
    S: LinkSource,
    S::Error: Into<BoxError>,
    <S::Wire as chargehand_core::io::Wire>::Error: Into<BoxError>,
    T: Timer,
    H: Handler,
{
    pub(super) fn new(source: S, parts: EngineParts<T, H>) -> Self {
        let EngineParts { timer, handler, settings, hook, ready, control, stopped } = parts;
        let now = timer.now();
        let source_entry = ready.entry(Token::Listener(0).into());
        source_entry.wake();
        let memory = Memory::new(settings.memory_max, settings.frame_bytes_max);
        let closing_max = settings.links_max.saturating_add(settings.pending_handshakes_max);
        Self {
            source: Some(source),
            source_entry,
            pause: AcceptPause::default(),
            clock: Clock { timer, now, is_fresh: true },
            alarm: Alarm::new(ready.entry(Token::Alarm.into())),
            runner: Runner::new(handler, &settings, memory),
            opening: Timed::new(settings.pending_handshakes_max, settings.handshake_timeout),
            closing: ClosingTable::new(closing_max),
            watch: Watch::new(),
            settings,
            hook,
            ready,
            batch: Vec::new(),
            stopped,
            control,
            drain_deadline: None,
            places: Vec::new(),
            free: Vec::new(),
            links_up: 0,
            absentees: Vec::new(),
            is_full: false,
            room_at: None,
            unflushed: Vec::new(),
            read_on: ReadOn::default(),
            scan_at: Instant::FAR_FUTURE,
            scanned: now,
            due: Instant::EPOCH,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.clock.is_fresh = false;
        let budget = self.serve_listed(cx);
        if !self.runner.waiting.is_empty() {
            self.start_waiting();
        }
        if self.clock.has_come(self.due) {
            self.on_time();
        }
        self.flush();
        if !self.read_on.is_empty() {
            self.look_on(budget);
        }
        if self.runner.memory.has_news() {
            self.let_go();
        }
        if self.drain_deadline.is_some() && self.is_empty() {
            return Poll::Ready(());
        }
        if !self.runner.waiting.is_empty() && self.runner.has_room() {
            // What was read or ended since made room: nothing else wakes for it.
            self.control.wake();
        }
        self.alarm.set(&self.clock.timer, self.due);
        Poll::Pending
    }

    /// Returns whether there is no link any more.
    fn is_empty(&self) -> bool {
        self.places.len() == self.free.len() && self.closing.is_empty()
    }

    /// Serves what is in the ready list. Returns how many messages each link may take.
    fn serve_listed(&mut self, cx: &mut Context<'_>) -> usize {
        let mut batch = core::mem::take(&mut self.batch);
        if self.ready.take(cx.waker(), SOURCES_PER_POLL, &mut batch) {
            cx.waker().wake_by_ref();
        }
        let budget = messages_each(&batch);
        self.read_on.begin(batch.len());
        // What ended goes first, and its answers leave before anything begins: see `start_waiting`.
        for &token in &batch {
            if let Token::Run(run) = token.into() {
                self.go_on(run);
            }
        }
        self.flush();
        for token in batch.drain(..) {
            self.on_ready(token.into(), budget);
        }
        self.batch = batch;
        budget
    }

    fn on_ready(&mut self, token: Token, budget: usize) {
        match token {
            Token::Link(place) => self.turn(place, budget),
            Token::Run(_) => {} // It went first.
            other => self.on_other(other),
        }
    }

    /// Polls a handler that was woken.
    fn go_on(&mut self, run: u32) {
        let began = self.runner.began(run);
        if let Some((owner, verdict)) = self.runner.go_on(run) {
            if away::is_away(owner) {
                return self.answer_later(owner, verdict);
            }
            let told = began.map_or(Ok(()), |began| self.tell_time(owner, began));
            self.answer(owner, verdict);
            if let Err(end) = told {
                // Only now: the run is over, and the end of its link would end it once more.
                self.on_end(owner.place, end);
            }
        } else if self.runner.note_said(run, &mut self.clock) {
            self.due = self.due.min(self.runner.reports.next_due().unwrap_or(self.due));
        }
    }

    /// Says how long an attempt took that is about to be answered, if it took some time.
    fn tell_time(&mut self, owner: Owner, began: Instant) -> Result<(), DisconnectReason> {
        let took = self.clock.now().saturating_since(began);
        let LinkSlot { entry, state, .. } = &mut self.places[owner.place as usize];
        let (SlotState::Link(link), true) = (state, took >= TOLD_FROM) else { return Ok(()) };
        let mut cx = Context::from_waker(entry.waker());
        let memory = &mut self.runner.memory;
        link.tell_took(&mut cx, owner.slot, took, memory)
    }

    /// Goes on with what is not hot.
    fn on_other(&mut self, token: Token) {
        match token {
            Token::Doorbell => {
                self.control.clear();
                if self.stopped.load(Ordering::Acquire) && self.drain_deadline.is_none() {
                    self.drain();
                }
            }
            Token::Listener(_) => self.accept(),
            Token::Alarm => {
                self.alarm.on_wake();
                self.clock.now();
            }
            Token::Closing(index) => {
                let memory = &mut self.runner.memory;
                self.closing.on_ready(index, &mut |held| memory.release(&held));
            }
            Token::Link(_) | Token::Run(_) => unreachable!("`on_ready` has served it"),
            Token::Newcomer(_) => unreachable!("a worker's newcomers are in its places"),
        }
    }

    /// Polls a place that was woken.
    fn turn(&mut self, index: u32, budget: usize) {
        self.places[index as usize].entry.clear();
        self.poll_place(index, budget);
    }

    /// Polls what is in a place.
    pub(super) fn poll_place(&mut self, index: u32, budget: usize) {
        let LinkSlot { entry, state, .. } = &mut self.places[index as usize];
        let mut cx = Context::from_waker(entry.waker());
        match state {
            SlotState::Free => {}
            SlotState::Opening(_) => self.poll_opening(index),
            SlotState::Link(link) => {
                let mut around = Around {
                    place: index,
                    clock: &mut self.clock,
                    runner: &mut self.runner,
                    ready: &self.ready,
                    settings: &self.settings,
                    reads_on: self.read_on.is_allowed(),
                };
                let mut progress = PollProgress::default();
                let result = link.poll(&mut cx, &mut around, budget, &mut progress);
                let (unflushed, reads_on) = (link.unflushed, link.reads_on);
                if progress.more {
                    entry.wake();
                }
                if progress.up {
                    self.on_up(index);
                }
                match result {
                    Err(end) => self.on_end(index, end),
                    Ok(()) => self.scan_soon_if_draining(),
                }
                // At once: the manager goes on with these answers while the other links are polled.
                if unflushed {
                    self.flush_link(index);
                } else if reads_on {
                    self.read_on.insist(index);
                }
            }
        }
    }

    /// Hands a handler's answer to its link.
    fn answer(&mut self, owner: Owner, verdict: Verdict) {
        let LinkSlot { entry, state, .. } = &mut self.places[owner.place as usize];
        let SlotState::Link(link) = state else { return };
        let mut cx = Context::from_waker(entry.waker());
        let Runner { body, memory, .. } = &mut self.runner;
        let result = link.answer(&mut cx, &mut self.clock, owner.slot, verdict, body, memory);
        if link.has_next() {
            entry.wake();
        }
        self.unflushed.push(owner.place);
        if let Err(end) = result {
            self.on_end(owner.place, end);
        }
        self.scan_soon_if_draining();
    }

    /// Starts requests that waited for room, each after the answers that made room have left: a manager
    /// takes the oldest tasks that it has no answer for as those that had begun, and if one of these takes
    /// the process down, answers that are still here would have it blame others.
    fn start_waiting(&mut self) {
        for _ in 0..STARTS {
            if !self.runner.has_room() {
                return;
            }
            self.flush();
            let Some(index) = self.runner.waiting.pop_front() else { return };
            let SlotState::Link(link) = &mut self.places[index as usize].state else { continue };
            let mut around = Around {
                place: index,
                clock: &mut self.clock,
                runner: &mut self.runner,
                ready: &self.ready,
                settings: &self.settings,
                reads_on: self.read_on.is_allowed(),
            };
            if let Some((slot, verdict)) = link.start_waiting(&mut around) {
                self.answer(Owner { place: index, slot }, verdict);
            }
        }
        self.control.wake();
    }

    /// Flushes the links that handlers answered on.
    fn flush(&mut self) {
        while let Some(index) = self.unflushed.pop() {
            self.flush_link(index);
        }
    }

    #[inline]
    fn flush_link(&mut self, index: u32) {
        let LinkSlot { entry, state, .. } = &mut self.places[index as usize];
        let SlotState::Link(link) = state else { return };
        if !link.unflushed {
            return;
        }
        let mut cx = Context::from_waker(entry.waker());
        let flushed = link.flush(&mut cx, &mut self.runner.memory);
        if link.reads_on {
            self.read_on.insist(index);
        } else if !link.unflushed {
            self.read_on.offer(index, link.wire());
        }
        match flushed {
            Ok(false) => {}
            Ok(true) => entry.wake(),
            Err(end) => self.on_end(index, end),
        }
    }

    /// Reads on with the links that waited for memory.
    fn let_go(&mut self) {
        for index in self.runner.memory.let_go() {
            let LinkSlot { entry, state, .. } = &mut self.places[index as usize];
            if let SlotState::Link(link) = state {
                link.let_go();
                entry.wake();
            }
        }
    }

    /// Polls the links again that may have the next request by now.
    fn look_on(&mut self, budget: usize) {
        for _ in 0..WORKER_ROUNDS {
            let places = self.read_on.take();
            for &place in &places {
                // This may list it again.
                self.poll_place(place, budget);
            }
            self.flush();
            self.read_on.recycle(places);
            if self.read_on.is_empty() {
                return;
            }
        }
        // Others go first before they are polled once more.
        for index in self.read_on.take() {
            self.places[index as usize].entry.wake();
        }
    }
}

fn index_u32(index: usize) -> u32 {
    u32::try_from(index).expect("fewer places than 2^31")
}
