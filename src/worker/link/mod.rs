//! One manager's link: what is read from its wire, and what is sent.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::task::{Context, Poll};

use chargehand_core::io::Wire;
use chargehand_core::message::{
    BODY_HEAD_BYTES_MAX, HEAD_BYTES_MAX, HELLO_BYTES_MAX, Hello, Message, Role, clip,
};
use chargehand_core::session::RunId;
use chargehand_core::{Instant, TaskId, Verdict};

use super::clock::Now;
use super::dialect::Speech;
use super::memory::{Held, Memory};
use super::runner::Runner;
use super::settings::Settings;
use super::state::{Around, Limiter, Phase, ProtocolState, Step};
use crate::budget::SMALL_BYTES_MAX;
use crate::failure;
use crate::handler::Handler;
use crate::link::closing::Outbox;
use crate::link::erased::BoxError;
use crate::link::read_on::stops_after;
use crate::link::reason::DisconnectReason;
use crate::link::schema::{EXTENSIONS_ROOM, schema_extension};

mod times;

pub(super) use self::times::{Idle, used_idle_min};

pub(super) struct Connection<W> {
    wire: W,
    state: ProtocolState,
    out: Unsent,
    /// Whether the wire had no room: something is in `out`.
    is_stuck: bool,
    pause: ReadPause,
    room: Arrival,
    leaving: Leaving,
    /// Whether something was sent since the last flush came through.
    pub(super) unflushed: bool,
    /// Poll again once what was sent is flushed: there may be a request by then.
    pub(super) reads_on: bool,
}

/// What the wire had no room for. Until it is gone no more than one request is read.
#[derive(Default)]
struct Unsent {
    /// Whether a Pong goes first. One answers any number of Pings.
    pong: bool,
    messages: Outbox,
    /// How many of the messages go before all answers.
    urgent: usize,
}

/// What the budget has for the message that comes next.
struct Arrival {
    /// How long one may be that the wire does not ask for.
    allowance: usize,
    /// How much was taken for one that is arriving.
    arriving: usize,
    /// Whether there is one for which there is too little.
    is_missing: bool,
}

/// Answers that the manager has not taken yet, in bytes: what is short is left out once the wire has it.
#[derive(Default)]
struct Leaving {
    /// What the wire had no room for, and what it has.
    bytes: usize,
    /// What the wire has: the last long one, before which it had room for no other.
    in_wire: usize,
}

/// How a link fares that is not read for lack of memory.
#[derive(Default)]
struct ReadPause {
    since: Option<Instant>,
    /// How many Pongs left for Pings that are still to be read.
    pongs_ahead: u32,
    next_pong: Instant,
}

/// What came of polling a link.
#[derive(Debug, Default)]
pub(super) struct PollProgress {
    /// The handshake is over.
    pub(super) up: bool,
    /// There may be more to read: poll again.
    pub(super) more: bool,
}

impl<W: Wire> Connection<W>
where
    W::Error: Into<BoxError>,
{
    pub(super) fn new(mut wire: W, now: Instant) -> Result<Self, DisconnectReason> {
        let speech = Speech::of(wire.dialect())?;
        wire.limit_incoming(speech.first_bytes_max());
        let state = ProtocolState::new(speech, now);
        Ok(Self {
            wire,
            state,
            out: Unsent::default(),
            is_stuck: false,
            pause: ReadPause::default(),
            room: Arrival { allowance: usize::MAX, arriving: 0, is_missing: false },
            leaving: Leaving::default(),
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
        if !self.state.speech.is_native() {
            return Ok(());
        }
        let Settings { concurrency, token, name, schema, frame_bytes_max, .. } = settings;
        // A transport's limit is the same each way.
        let frame_bytes_max = self.wire.message_bytes_max().min(*frame_bytes_max);
        let mut extensions = [0; EXTENSIONS_ROOM];
        let hello = Hello {
            frame_bytes_max: u32::try_from(frame_bytes_max).unwrap_or(u32::MAX),
            extensions: schema_extension(schema.as_deref(), &mut extensions),
            ..Hello::new(Role::Worker, *concurrency, *token, name)
        };
        self.send_urgent(cx, &Message::Hello(hello))
    }

    /// Reads, handles and answers until nothing is left to do now, or `budget` messages are read, or
    /// it is to be flushed and polled again. The progress counts whether the link then ends or not.
    pub(super) fn poll<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        around: &mut Around<'_, H>,
        budget: usize,
        progress: &mut PollProgress,
    ) -> Result<(), DisconnectReason> {
        self.reads_on = false;
        if self.is_stuck {
            self.send_out(cx, &mut around.runner.memory)?;
        }
        if self.state.is_stalled {
            self.state.start_again(around);
        }
        let allowance = around.runner.memory.allowance();
        if self.room.allowance != allowance && self.room.arriving == 0 {
            self.set_allowance(allowance);
        }
        for count in 0..budget {
            if stops_after(count, around.reads_on, &mut self.wire) {
                self.reads_on = true;
                return Ok(());
            }
            let is_short = self.is_short(&around.runner.memory);
            if (self.is_stuck || is_short) && !self.may_read(is_short, around) {
                return Ok(());
            }
            let step = if let Some(height) = self.state.take_next() {
                self.state.on_height(height, around)
            } else if self.state.speech.has_next() {
                return Ok(());
            } else {
                match self.wire.poll_recv(cx) {
                    Poll::Pending => {
                        let waits = self.room.is_missing || self.wire.incoming() > 0;
                        if waits && self.find_room(around) {
                            continue;
                        }
                        self.state.take_again();
                        return Ok(());
                    }
                    Poll::Ready(Ok(Some(frame))) => {
                        let step = self.state.on_frame(frame, around);
                        if self.room.arriving > 0 || self.room.is_missing {
                            self.has_come(around);
                        }
                        step
                    }
                    Poll::Ready(Ok(None)) => return Err(DisconnectReason::Closed),
                    Poll::Ready(Err(error)) => return Err(DisconnectReason::reset(error)),
                }
            };
            match step {
                Ok(Step::None) => {}
                Ok(Step::Answer(slot, verdict)) => {
                    let Runner { body, memory, .. } = &mut *around.runner;
                    self.answer(cx, around.clock, slot, verdict, body, memory)?;
                }
                Ok(other) => self.on_step(cx, &other, around.settings, progress)?,
                Err(end) => return Err(end),
            }
        }
        progress.more = true;
        Ok(())
    }

    /// Does what is not hot.
    #[cold]
    fn on_step(
        &mut self,
        cx: &mut Context<'_>,
        step: &Step,
        settings: &Settings,
        progress: &mut PollProgress,
    ) -> Result<(), DisconnectReason> {
        match *step {
            Step::None | Step::Answer(..) => {}
            Step::Pong => self.pong(cx)?,
            Step::Return(task, attempt) => self.give_back(cx, task, attempt)?,
            Step::Up => {
                self.state.limit_answers(settings.frame_bytes_max, Limiter::Setting);
                self.state.limit_answers(self.wire.message_bytes_max(), Limiter::Transport);
                self.wire.limit_incoming(settings.frame_bytes_max);
                progress.up = true;
            }
        }
        Ok(())
    }

    /// Returns whether to read on though the wire is full, or memory is short.
    #[cold]
    fn may_read<H: Handler>(&mut self, is_short: bool, around: &mut Around<'_, H>) -> bool {
        if self.is_stuck && self.state.usage.asked {
            // What is no work is still read, a Ping above all. But a peer that does not read should
            // not be served on.
            return false;
        }
        if !is_short || self.state.phase != Phase::Up {
            return true;
        }
        if core::mem::take(&mut self.room.is_missing) {
            // It does not read on in its turn, so that is another's.
            around.runner.memory.end_all(around.place);
        }
        self.state.pause(around);
        false
    }

    /// Returns whether the link holds as much as there is left. Not where a message is arriving that has
    /// what it takes already.
    #[inline]
    fn is_short(&self, memory: &Memory) -> bool {
        memory.is_short(self.state.held) && self.room.arriving == 0
    }

    /// Lets messages of such a length come without being asked.
    #[cold]
    fn set_allowance(&mut self, bytes: usize) {
        self.room.allowance = bytes;
        self.wire.admit(bytes);
    }

    /// Finds room for the message that the wire holds back. Returns whether to poll it again; if not, the
    /// link is polled once there is room, if there is a message at all.
    #[cold]
    fn find_room<H: Handler>(&mut self, around: &mut Around<'_, H>) -> bool {
        let bytes = self.wire.incoming();
        if bytes == 0 {
            // What waited is so short that it may come without being asked by now.
            self.room.is_missing = false;
            around.runner.memory.end_all(around.place);
            return false;
        }
        let found = around.runner.memory.admit(around.place, &mut self.room.arriving, bytes);
        self.room.is_missing = !found;
        if found {
            self.wire.admit(bytes);
        }
        found
    }

    /// Notes that the message has come which there was room for.
    #[cold]
    fn has_come<H: Handler>(&mut self, around: &mut Around<'_, H>) {
        self.room.is_missing = false;
        let memory = &mut around.runner.memory;
        memory.end(around.place, &mut self.room.arriving);
        let allowance = memory.allowance();
        self.set_allowance(allowance);
    }

    /// Reads on after a pause for lack of memory.
    pub(super) fn let_go(&mut self) {
        self.state.is_paused = false;
    }

    /// Answers a Ping.
    fn pong(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        if self.pause.pongs_ahead > 0 {
            self.pause.pongs_ahead -= 1;
            return Ok(());
        }
        if !self.is_stuck && self.send_pong(cx)? {
            return Ok(());
        }
        self.out.pong = true;
        self.get_stuck();
        Ok(())
    }

    /// Returns whether the wire took it.
    fn send_pong(&mut self, cx: &mut Context<'_>) -> Result<bool, DisconnectReason> {
        self.try_send(cx, Message::Pong.encode(&mut [0; HEAD_BYTES_MAX]), &[])
    }

    /// Says that an attempt has not begun and is free for others.
    fn give_back(
        &mut self,
        cx: &mut Context<'_>,
        task: TaskId,
        attempt: u16,
    ) -> Result<(), DisconnectReason> {
        let verdict = Verdict::Returned;
        self.send_urgent(cx, &Message::Response { task, attempt, verdict, body: &[] })
    }

    /// Returns whether a request waits here for the one before it: then poll again after an answer.
    pub(super) fn has_next(&self) -> bool {
        self.state.speech.has_next()
    }

    /// Answers a request whose handler ended, unless it was cancelled meanwhile.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        clock: &mut dyn Now,
        slot: RunId,
        verdict: Verdict,
        body: &[u8],
        memory: &mut Memory,
    ) -> Result<(), DisconnectReason> {
        let Some((task, attempt)) = self.state.on_answered(slot, clock, memory) else {
            return Ok(());
        };
        if !self.state.speech.is_native() {
            return self.answer_json(cx, verdict, body, memory);
        }
        let bytes_max = self.state.answer_bytes_max;
        let (refusal, failure);
        let (verdict, body) = match verdict {
            Verdict::Done if body.len() > bytes_max => {
                refusal = refusal_of(body.len(), bytes_max, self.state.limiter);
                (Verdict::Failed, clip(&refusal, bytes_max).as_bytes())
            }
            Verdict::Done => (verdict, body),
            Verdict::Failed | Verdict::Returned => {
                failure = failure::within(body, bytes_max);
                (verdict, &*failure)
            }
        };
        let response = Message::Response { task, attempt, verdict, body: &[] };
        let mut head = [0; BODY_HEAD_BYTES_MAX];
        let head = response.encode_short(&mut head).expect("it is short");
        self.send_bytes(cx, head, body, memory)?;
        if !self.is_stuck {
            // The manager hears this and asks for nothing until it hears nothing.
            self.state.silence.is_broken = true;
        }
        Ok(())
    }

    #[inline(never)]
    fn answer_json(
        &mut self,
        cx: &mut Context<'_>,
        verdict: Verdict,
        body: &[u8],
        memory: &mut Memory,
    ) -> Result<(), DisconnectReason> {
        let Speech::Json(json) = &self.state.speech else { unreachable!("the caller has looked") };
        let answer = json.answer(verdict, body, self.wire.message_bytes_max());
        self.send_bytes(cx, &[], &answer, memory)
    }

    /// Notes that the wire has an answer.
    #[cold]
    fn has_taken(&mut self, bytes: usize, memory: &mut Memory) {
        let before = core::mem::replace(&mut self.leaving.in_wire, bytes);
        if before > 0 {
            memory.give_answer(&mut self.state.held, before);
            self.leaving.bytes -= before;
        }
    }

    /// Notes that all that the wire had has left.
    #[cold]
    fn has_left(&mut self, memory: &mut Memory) {
        self.has_taken(0, memory);
    }

    /// Sends a message that goes before all answers that wait.
    #[cold]
    fn send_urgent(
        &mut self,
        cx: &mut Context<'_>,
        message: &Message<'_>,
    ) -> Result<(), DisconnectReason> {
        let mut head = [0; HELLO_BYTES_MAX];
        let head = message.encode_extended(&mut head).expect("there is room for what is sent so");
        if !self.is_stuck && self.try_send(cx, head, &[])? {
            return Ok(());
        }
        self.out.messages.insert(self.out.urgent, (head.to_vec(), Vec::new()));
        self.out.urgent += 1;
        self.get_stuck();
        Ok(())
    }

    #[inline]
    fn send_bytes(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
        memory: &mut Memory,
    ) -> Result<(), DisconnectReason> {
        if !self.is_stuck && self.try_send(cx, head, body)? {
            if body.len() > SMALL_BYTES_MAX {
                self.take_answer(body.len(), memory);
                self.has_taken(body.len(), memory);
            }
            return Ok(());
        }
        self.keep(head, body, memory);
        Ok(())
    }

    /// Returns whether the wire took it.
    #[inline]
    fn try_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Result<bool, DisconnectReason> {
        match self.wire.poll_send(cx, head, body) {
            Poll::Ready(Ok(())) => {
                self.unflushed = true;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(DisconnectReason::reset(error)),
            Poll::Pending => Ok(false),
        }
    }

    /// Keeps what the wire has no room for. Bounded: at most a window of answers and a few others,
    /// for no more than one request is read meanwhile.
    #[cold]
    fn keep(&mut self, head: &[u8], body: &[u8], memory: &mut Memory) {
        self.take_answer(body.len(), memory);
        self.out.messages.push_back((head.to_vec(), body.to_vec()));
        self.get_stuck();
    }

    #[cold]
    fn take_answer(&mut self, bytes: usize, memory: &mut Memory) {
        memory.take_answer(&mut self.state.held, bytes);
        self.leaving.bytes += bytes;
    }

    /// Notes that something waits in `out`.
    #[cold]
    fn get_stuck(&mut self) {
        if !core::mem::replace(&mut self.is_stuck, true) {
            self.state.usage.forget_asked();
        }
    }

    #[cold]
    fn send_out(
        &mut self,
        cx: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Result<(), DisconnectReason> {
        if self.out.pong {
            if !self.send_pong(cx)? {
                return Ok(());
            }
            self.out.pong = false;
        }
        while let Some((head, body)) = self.out.messages.pop_front() {
            if !self.try_send(cx, &head, &body)? {
                self.out.messages.push_front((head, body));
                return Ok(());
            }
            self.out.urgent = self.out.urgent.saturating_sub(1);
            if body.len() > SMALL_BYTES_MAX {
                self.has_taken(body.len(), memory);
            } else {
                memory.give_answer(&mut self.state.held, body.len());
                self.leaving.bytes -= body.len();
            }
        }
        self.is_stuck = false;
        Ok(())
    }

    pub(super) fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Sends what there is to send. Returns whether that made room for what the link waited for: then
    /// poll it again.
    #[inline]
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Result<bool, DisconnectReason> {
        match self.wire.poll_flush(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(DisconnectReason::reset(error)),
            Poll::Ready(Ok(())) if self.is_stuck => self.flush_on(cx, memory),
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                if self.leaving.in_wire > 0 {
                    self.has_left(memory);
                }
                Ok(false)
            }
        }
    }

    /// Goes on after a flush on a wire that was full: it may have room now, and nobody is told.
    #[cold]
    fn flush_on(
        &mut self,
        cx: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Result<bool, DisconnectReason> {
        loop {
            self.unflushed = false;
            self.has_left(memory);
            self.send_out(cx, memory)?;
            if !self.unflushed {
                return Ok(!self.is_stuck);
            }
            match self.wire.poll_flush(cx) {
                Poll::Pending => return Ok(!self.is_stuck),
                Poll::Ready(result) => result.map_err(DisconnectReason::reset)?,
            }
        }
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
        let held = Held { bytes: state.held + room.arriving, answers: leaving.bytes };
        (Box::new(wire), out.messages, held)
    }

    /// Forgets all jobs and stops what runs.
    pub(super) fn drop_jobs<H: Handler>(&mut self, place: u32, runner: &mut Runner<H>) {
        self.state.drop_jobs(place, runner);
    }

    /// Starts the oldest request that waits, unless answers leave no memory for its own. Returns its slot and verdict if it ended at once, with
    /// the answer in the runner's `body`.
    pub(super) fn start_waiting<H: Handler>(
        &mut self,
        around: &mut Around<'_, H>,
    ) -> Option<(RunId, Verdict)> {
        if around.runner.memory.is_to_wait(self.leaving.bytes) {
            self.state.stall(around);
            return None;
        }
        self.state.start_waiting(around)
    }
}

/// Returns what to say in place of an answer that is too long.
#[cold]
fn refusal_of(length: usize, bytes_max: usize, limiter: Limiter) -> String {
    let (who, remedy) = match limiter {
        Limiter::Manager => ("its manager takes", "the pool's frame_bytes_max"),
        Limiter::Setting => ("this worker sends", "the worker's frame_bytes_max"),
        Limiter::Transport => (
            "this worker's transport carries",
            "the limit of its connector or listener, and that of the other end",
        ),
    };
    format!(
        "the answer has {length} bytes, and {who} at most {bytes_max}: raise {remedy}, or answer less"
    )
}
