//! One manager's link: what is read from its wire, and what is sent.

use alloc::boxed::Box;
use core::task::Context;
use core::time::Duration;

use chargehand_core::io::{Trust, Wire};
use chargehand_core::message::{Hello, Message, Role};
use chargehand_core::session::RunId;
use chargehand_core::{Instant, Verdict};

use self::reading::Arrival;
pub(super) use self::reading::PollProgress;
use self::sending::{Leaving, Unsent};
pub(super) use self::times::{Idle, used_idle_min};
use super::clock::Now;
use super::dialect::Speech;
use super::memory::Held;
use super::runner::Runner;
use super::settings::Settings;
use super::state::{Around, Claim, Kept, Phase, ProtocolState, ReadyAnswer};
use crate::handler::Handler;
use crate::link::closing::Outbox;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;
use crate::link::schema::{WORKER_EXTENSIONS_ROOM, worker_extensions};

mod reading;
mod sending;
mod times;

pub(super) struct Connection<W> {
    wire: W,
    state: ProtocolState,
    out: Unsent,
    /// Whether the wire had no room: something is in `out`.
    is_stuck: bool,
    pause: ReadPause,
    room: Arrival,
    leaving: Leaving,
    /// How many bytes of answers are kept that may not have arrived when it breaks.
    answers_kept_max: usize,
    /// Whether something was sent since the last flush came through.
    pub(super) unflushed: bool,
    /// Poll again once what was sent is flushed: there may be a request by then.
    pub(super) reads_on: bool,
}

/// The state of a link that is not read for lack of memory.
#[derive(Default)]
struct ReadPause {
    since: Option<Instant>,
    /// How many Pongs left for Pings that are still to be read.
    pongs_ahead: u32,
    next_pong: Instant,
}

impl<W: Wire> Connection<W>
where
    W::Error: Into<BoxError>,
{
    pub(super) fn new(mut wire: W, now: Instant) -> Result<Self, DisconnectReason> {
        let speech = Speech::of(wire.dialect())?;
        wire.limit_incoming(speech.first_bytes_max());
        let mut state = ProtocolState::new(speech, now);
        state.introduce(wire.identity());
        Ok(Self {
            wire,
            state,
            out: Unsent::default(),
            is_stuck: false,
            pause: ReadPause::default(),
            room: Arrival::default(),
            leaving: Leaving::default(),
            answers_kept_max: 0,
            unflushed: false,
            reads_on: false,
        })
    }

    pub(super) fn peer(&self) -> &str {
        self.wire.peer()
    }

    pub(super) fn manager(&self) -> &str {
        &self.state.manager
    }

    /// Returns whom the transport has proven the manager to be.
    pub(super) fn identity(&self) -> Option<&str> {
        self.wire.identity()
    }

    /// Looks whether that still holds.
    pub(super) fn trust(&mut self) -> Trust<'_> {
        self.wire.trust()
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.phase == Phase::Up
    }

    /// Returns whether a request came, and since when the wire has been open.
    pub(super) fn usefulness(&self) -> (bool, Instant) {
        (self.state.usage.asked || self.state.usage.has_asked, self.state.usage.opened)
    }

    /// Sends what opens the link.
    pub(super) fn greet(
        &mut self,
        cx: &mut Context<'_>,
        settings: &Settings,
    ) -> Result<(), DisconnectReason> {
        settings.check_manager(self.wire.identity())?;
        if !self.state.speech.is_native() {
            return Ok(());
        }
        let Settings { concurrency, token, name, schema, frame_bytes_max, grace, .. } = settings;
        self.answers_kept_max = settings.answers_kept_max();
        let grace = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        // A transport's limit is the same each way.
        let frame_bytes_max = self.wire.message_bytes_max().min(*frame_bytes_max);
        let mut extensions = [0; WORKER_EXTENSIONS_ROOM];
        let wanted = &settings.wanted;
        let hello = Hello {
            frame_bytes_max: u32::try_from(frame_bytes_max).unwrap_or(u32::MAX),
            extensions: worker_extensions(
                schema.as_deref(),
                grace,
                (wanted, settings.takes_traces()),
                &mut extensions,
            ),
            ..Hello::new(Role::Worker, *concurrency, *token, name)
        };
        self.send_urgent(cx, &Message::Hello(hello))
    }

    /// Returns whether a request waits here for the one before it: then poll again after an answer.
    pub(super) fn has_next(&self) -> bool {
        self.state.speech.has_next()
    }

    pub(super) fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Says that this worker wants nothing more, and gives back what has not begun.
    pub(super) fn drain<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        place: u32,
        clock: &mut dyn Now,
        runner: &mut Runner<H>,
    ) -> Result<(), DisconnectReason> {
        let returned = self.state.on_drain(place, clock, runner);
        if self.state.speech.is_native() {
            self.send_urgent(cx, &Message::Drain)?;
        }
        for (task, attempt) in returned {
            self.give_back(cx, task, attempt)?;
        }
        Ok(())
    }

    /// Takes the link apart: into its wire, what that had no room for, and what that has of the budget.
    pub(super) fn into_leaving(self) -> (Box<W>, Outbox, Held) {
        let Self { wire, state, out, room, leaving, .. } = self;
        let bytes = state.held + room.arriving;
        let held = Held { bytes, answers: leaving.bytes, share: room.share };
        (Box::new(wire), out.messages, held)
    }

    /// Returns whose attempts these are, and how long they go on without a link, if they do.
    pub(super) fn claim(&self) -> Option<(Claim, Duration)> {
        self.state.claim
    }

    /// Returns what makes the manager one process.
    pub(super) fn token(&self) -> u64 {
        self.state.token
    }

    /// Takes out what runs, which belongs to `place` from now on.
    pub(super) fn keep_jobs<H: Handler>(&mut self, place: u32, runner: &mut Runner<H>) -> Kept {
        self.state.keep_jobs(place, runner)
    }

    /// Goes on with what an earlier link held, and says so: also where that is nothing.
    pub(super) fn resume<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        place: u32,
        kept: Kept,
        clock: &mut dyn Now,
        runner: &mut Runner<H>,
    ) -> Result<(), DisconnectReason> {
        let (held, answers) = self.state.adopt(place, kept, clock.now(), runner);
        let memory = &mut runner.memory;
        let mut told = self.tell_held(cx, &held);
        for ReadyAnswer { slot, verdict, body } in answers {
            // What cannot be said any more is for the link after this one.
            match told {
                Ok(()) => told = self.answer(cx, clock, slot, verdict, &body, memory),
                Err(_) => self.state.put_back(slot, verdict, body, clock, memory),
            }
        }
        told
    }

    /// Forgets all jobs and stops what runs.
    pub(super) fn drop_jobs<H: Handler>(&mut self, place: u32, runner: &mut Runner<H>) {
        self.state.drop_jobs(place, runner);
    }

    /// Starts the oldest request that waits, unless answers leave no memory for its own. Returns its slot
    /// and verdict if it ended at once, with the answer in the runner's `body`.
    pub(super) fn start_waiting<H: Handler>(
        &mut self,
        around: &mut Around<'_, H>,
    ) -> Option<(RunId, Verdict)> {
        if around.runner.memory.is_to_wait(self.leaving.bytes.saturating_mul(self.room.kin)) {
            self.state.stall(around);
            return None;
        }
        self.state.start_waiting(around)
    }
}
