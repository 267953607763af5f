//! The worker's one future: it polls only what was woken, and a link that is alone, and does a bounded
//! amount for each poll.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use chargehand_core::io::Timer;
use chargehand_core::{Instant, Verdict};

use super::clock::Clock;
use super::link::{Link, Progress};
use super::memory::Memory;
use super::runner::{Owner, RUN, Runner};
use super::source::Source;
use super::state::{Around, Now};
use super::{Hook, Settings};
use crate::handler::Handler;
use crate::link::alarm::Alarm;
use crate::link::erased::BoxError;
use crate::link::expiring::Timed;
use crate::link::ready::{Entry, ReadySet, SOURCES_PER_POLL, SOURCES_READ_ON};

mod doors;
mod ends;
mod timers;

/// Tokens of the ready set beside the places' (from 0 on) and the runs' (with `RUN` set).
pub(super) const CONTROL: u32 = RUN - 1;
const SOURCE: u32 = RUN - 2;
const ALARM: u32 = RUN - 3;

/// How many messages one link may take in a poll: alone, its answers should leave meanwhile.
const BUDGET_ALONE: u32 = 64;
const BUDGET_AMONG_OTHERS: u32 = 1024;
/// How often links are polled again in one poll, for what has come since they were flushed.
const READ_ON_MAX: u32 = 4;
/// How many waiting requests are started in a poll.
const STARTS: usize = 1024;
/// How long a Goodbye may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// All links are looked at for silence at most this often.
const SCAN_INTERVAL: Duration = Duration::from_millis(50);
pub(super) struct Engine<S: Source, T: Timer, H: Handler> {
    /// `None` once the worker drains.
    source: Option<S>,
    source_entry: Entry,
    /// When the source is polled again, while it pauses.
    source_at: Option<Instant>,
    accepts_failed: u32,
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
    places: Vec<Place<S>>,
    free: Vec<u32>,
    /// The place that is direct.
    direct: Option<u32>,
    /// The places whose handshake is not over, and those whose wire is being closed.
    opening: Timed<u32>,
    closing: Timed<u32>,
    links_up: usize,
    /// Whether the source knows that all places are taken, and nobody makes room before this time.
    is_full: bool,
    room_at: Option<Instant>,
    unflushed: Vec<u32>,
    /// Whether this poll may go on with a link after its flush, and the links that it does so with.
    reads_on: bool,
    reading_on: Vec<u32>,
    scan_at: Instant,
    scanned: Instant,
    /// The earliest of all deadlines, or earlier.
    due: Instant,
}

/// Room for one link, used again with its waker.
struct Place<S: Source> {
    entry: Entry,
    limbo: Limbo,
    up: bool,
    state: PlaceState<S>,
}

/// Which table watches over a place.
#[derive(Clone, Copy)]
enum Limbo {
    None,
    Opening(u32),
    Closing(u32),
}

enum PlaceState<S: Source> {
    Free,
    Opening(Pin<Box<S::Opening>>),
    Link(Box<Link<S::Wire>>),
}

impl<S, T, H> Engine<S, T, H>
where
    S: Source,
    S::Error: Into<BoxError>,
    <S::Wire as chargehand_core::io::Wire>::Error: Into<BoxError>,
    T: Timer,
    H: Handler,
{
    pub(super) fn new(source: S, parts: super::Parts<T, H>) -> Self {
        let super::Parts { timer, handler, settings, hook, ready, control, stopped } = parts;
        let now = timer.now();
        let source_entry = ready.entry(SOURCE);
        source_entry.wake();
        let memory = Memory::new(settings.memory_max, settings.frame_bytes_max);
        let closing_max = settings.links_max.saturating_add(settings.pending_handshakes_max);
        Self {
            source: Some(source),
            source_entry,
            source_at: None,
            accepts_failed: 0,
            clock: Clock { timer, now, is_fresh: true },
            alarm: Alarm::new(ready.entry(ALARM)),
            runner: Runner::new(handler, settings.concurrency, memory),
            opening: Timed::new(settings.pending_handshakes_max, settings.handshake_timeout),
            closing: Timed::new(closing_max, CLOSE_TIMEOUT),
            settings,
            hook,
            ready,
            batch: Vec::new(),
            stopped,
            control,
            drain_deadline: None,
            places: Vec::new(),
            free: Vec::new(),
            direct: None,
            links_up: 0,
            is_full: false,
            room_at: None,
            unflushed: Vec::new(),
            reads_on: false,
            reading_on: Vec::new(),
            scan_at: Instant::FAR_FUTURE,
            scanned: now,
            due: Instant::EPOCH,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.clock.is_fresh = false;
        let direct = self.direct(cx.waker());
        self.reads_on = true;
        let mut budget = BUDGET_ALONE;
        if !self.ready.is_quiet(cx.waker()) {
            budget = self.serve_listed(cx, direct);
        } else if let Some(place) = direct {
            self.turn(place, budget);
        }
        if !self.runner.waiting.is_empty() {
            self.start_waiting();
        }
        if self.clock.has_come(self.due) {
            self.on_time();
        }
        self.flush();
        if !self.reading_on.is_empty() {
            self.read_on(budget);
        }
        if self.runner.memory.has_news() {
            self.let_go();
        }
        if self.drain_deadline.is_some() && self.places.len() == self.free.len() {
            return Poll::Ready(());
        }
        if !self.runner.waiting.is_empty() && self.runner.has_room() {
            // What was read or ended since made room: nothing else wakes for it.
            self.control.wake();
        }
        self.alarm.set(&self.clock.timer, self.due);
        Poll::Pending
    }

    /// Serves what is in the ready list, and what is direct. Returns how many messages each link may
    /// take.
    #[inline(never)]
    fn serve_listed(&mut self, cx: &mut Context<'_>, direct: Option<u32>) -> u32 {
        let mut batch = core::mem::take(&mut self.batch);
        if self.ready.take(cx.waker(), SOURCES_PER_POLL, &mut batch) {
            cx.waker().wake_by_ref();
        }
        let links = batch.iter().filter(|&&token| token < ALARM).take(2).count();
        let budget = if links > 1 { BUDGET_AMONG_OTHERS } else { BUDGET_ALONE };
        self.reads_on = batch.len() <= SOURCES_READ_ON;
        for token in batch.drain(..) {
            self.on_ready(token, budget);
        }
        self.batch = batch;
        // After what was ready before: a stop, say.
        if let Some(place) = direct {
            self.turn(place, budget);
        }
        budget
    }

    /// Returns the only place that is taken, if there is one only: it wakes `parent`, and is to be looked
    /// at in each poll.
    #[inline]
    fn direct(&mut self, parent: &Waker) -> Option<u32> {
        if (self.places.len() - self.free.len() == 1) != self.direct.is_some() {
            self.change_direct();
        }
        let index = self.direct?;
        self.places[index as usize].entry.be_direct(parent);
        Some(index)
    }

    #[cold]
    fn change_direct(&mut self) {
        if let Some(index) = self.direct.take() {
            self.places[index as usize].entry.be_listed();
            return;
        }
        let is_taken = |place: &Place<S>| !matches!(place.state, PlaceState::Free);
        self.direct = self.places.iter().position(is_taken).map(index_u32);
    }

    fn on_ready(&mut self, token: u32, budget: u32) {
        match token {
            place if place < ALARM => self.turn(place, budget),
            run if run >= RUN => {
                if let Some((owner, verdict)) = self.runner.go_on(run - RUN) {
                    self.answer(owner, verdict);
                }
            }
            other => self.on_other(other),
        }
    }

    /// Goes on with what is not hot.
    #[cold]
    fn on_other(&mut self, token: u32) {
        match token {
            CONTROL => {
                self.control.clear();
                if self.stopped.load(Ordering::Acquire) && self.drain_deadline.is_none() {
                    self.drain();
                }
            }
            SOURCE => self.accept(),
            _ => {
                self.alarm.on_wake();
                self.clock.now();
            }
        }
    }

    /// Polls a place that was woken.
    fn turn(&mut self, index: u32, budget: u32) {
        self.places[index as usize].entry.clear();
        self.poll_place(index, budget);
    }

    /// Polls what is in a place.
    pub(super) fn poll_place(&mut self, index: u32, budget: u32) {
        let Place { entry, state, .. } = &mut self.places[index as usize];
        let mut cx = Context::from_waker(entry.waker());
        match state {
            PlaceState::Free => {}
            PlaceState::Opening(_) => self.poll_opening(index),
            PlaceState::Link(link) if link.is_leaving() => {
                if link.poll_leave(&mut cx, &mut self.runner.memory).is_ready() {
                    self.remove(index);
                }
            }
            PlaceState::Link(link) => {
                let mut around = Around {
                    place: index,
                    clock: &mut self.clock,
                    runner: &mut self.runner,
                    ready: &self.ready,
                    settings: &self.settings,
                    reads_on: self.reads_on,
                };
                let mut progress = Progress::default();
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
                    self.reading_on.push(index);
                }
            }
        }
    }

    /// Hands a handler's answer to its link.
    fn answer(&mut self, owner: Owner, verdict: Verdict) {
        let Place { entry, state, .. } = &mut self.places[owner.place as usize];
        let PlaceState::Link(link) = state else { return };
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

    /// Starts requests that waited for room.
    fn start_waiting(&mut self) {
        for _ in 0..STARTS {
            if !self.runner.has_room() {
                return;
            }
            let Some(index) = self.runner.waiting.pop_front() else { return };
            let PlaceState::Link(link) = &mut self.places[index as usize].state else { continue };
            let mut around = Around {
                place: index,
                clock: &mut self.clock,
                runner: &mut self.runner,
                ready: &self.ready,
                settings: &self.settings,
                reads_on: self.reads_on,
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
        let Place { entry, state, .. } = &mut self.places[index as usize];
        let PlaceState::Link(link) = state else { return };
        if !link.unflushed || link.is_leaving() {
            return; // Leaving flushes by itself.
        }
        let mut cx = Context::from_waker(entry.waker());
        let flushed = link.flush(&mut cx, &mut self.runner.memory);
        let is_free = self.reads_on && self.reading_on.len() < SOURCES_READ_ON;
        if link.reads_on || is_free && link.expects_next() {
            self.reading_on.push(index);
        }
        match flushed {
            Ok(false) => {}
            Ok(true) => entry.wake(),
            Err(end) => self.on_end(index, end),
        }
    }

    /// Reads on with the links that waited for memory.
    #[cold]
    fn let_go(&mut self) {
        for index in self.runner.memory.let_go() {
            let Place { entry, state, .. } = &mut self.places[index as usize];
            if let PlaceState::Link(link) = state {
                link.let_go();
                entry.wake();
            }
        }
    }

    /// Polls the links again that may have the next request by now.
    fn read_on(&mut self, budget: u32) {
        for _ in 0..READ_ON_MAX {
            let count = self.reading_on.len();
            for place in 0..count {
                // This may list it again, behind these.
                self.poll_place(self.reading_on[place], budget);
            }
            self.flush();
            self.reading_on.drain(..count);
            if self.reading_on.is_empty() {
                return;
            }
        }
        // Others go first before they are polled once more.
        for index in self.reading_on.drain(..) {
            self.places[index as usize].entry.wake();
        }
    }
}

fn index_u32(index: usize) -> u32 {
    u32::try_from(index).expect("fewer places than 2^31")
}
