//! One manager's link: what is read from its wire, and what is sent.

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::task::{Context, Poll};

use chargehand_core::io::{Dialect, Wire};
use chargehand_core::message::{
    BODY_HEAD_BYTES_MAX, Code, HEAD_BYTES_MAX, Hello, Message, Role, clip,
};
use chargehand_core::session::Slot;
use chargehand_core::{Instant, Verdict};

use super::Settings;
use super::go;
use super::handler::Handler;
use super::runner::Runner;
use super::state::{Around, End, Now, Phase, State, Step};
use crate::runs::FAILURE_BYTES_MAX;
use crate::wire::BoxError;

/// How often in a heartbeat a link is looked at for silence: so much later than after two heartbeats
/// it may be told.
const LOOKS_PER_HEARTBEAT: u32 = 4;

pub(super) struct Link<W> {
    wire: W,
    state: State,
    /// What the wire had no room for. Nothing is read until it is gone.
    out: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// Whether something was sent since the last flush came through.
    pub(super) unflushed: bool,
    /// Poll again once what was sent is flushed: there may be a request by then.
    pub(super) reads_on: bool,
}

/// What came of polling a link.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The handshake is over.
    pub(super) up: bool,
    /// There may be more to read: poll again.
    pub(super) more: bool,
}

impl<W: Wire> Link<W>
where
    W::Error: Into<BoxError>,
{
    pub(super) fn new(wire: W, now: Instant) -> Self {
        let state = State::new(wire.dialect(), now);
        Self { wire, state, out: VecDeque::new(), unflushed: false, reads_on: false }
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

    pub(super) fn is_leaving(&self) -> bool {
        self.state.phase == Phase::Leaving
    }

    /// Returns whether a request came, and since when the wire has been open.
    pub(super) fn usefulness(&self) -> (bool, Instant) {
        (self.state.useful, self.state.opened)
    }

    /// Sends what opens the link.
    pub(super) fn greet(&mut self, cx: &mut Context<'_>, settings: &Settings) -> Result<(), End> {
        if self.state.dialect == Dialect::Json {
            return Ok(());
        }
        let Settings { concurrency, token, name, frame_bytes_max, .. } = settings;
        let hello = Hello {
            frame_bytes_max: u32::try_from(*frame_bytes_max).unwrap_or(u32::MAX),
            ..Hello::new(Role::Worker, *concurrency, *token, name)
        };
        self.send(cx, &Message::Hello(hello), &[])
    }

    /// Reads, handles and answers until nothing is left to do now, or `budget` messages are read, or
    /// it is to be flushed and polled again. The progress counts whether the link then ends or not.
    pub(super) fn poll<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        around: &mut Around<'_, H>,
        budget: u32,
        progress: &mut Progress,
    ) -> Result<(), End> {
        self.reads_on = false;
        if !self.out.is_empty() {
            self.send_out(cx)?;
        }
        for count in 0..budget {
            // Only after the first: where many come together, nothing is gained by it.
            if count == 1 && around.reads_on && self.wire.expects_next() {
                self.reads_on = true;
                return Ok(());
            }
            if !self.out.is_empty() {
                return Ok(());
            }
            let step = if let Some(height) = self.state.take_next() {
                self.state.on_height(height, around)
            } else if self.state.has_next() {
                return Ok(());
            } else {
                match self.wire.poll_recv(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(Some(frame))) => self.state.on_frame(frame, around),
                    Poll::Ready(Ok(None)) => return Err(End::closed()),
                    Poll::Ready(Err(error)) => return Err(End::broken(error)),
                }
            };
            match step {
                Ok(Step::None) => {}
                Ok(Step::Pong) => self.send(cx, &Message::Pong, &[])?,
                Ok(Step::Up) => progress.up = true,
                Ok(Step::Answer(slot, verdict)) => {
                    self.answer(cx, around.clock, slot, verdict, &around.runner.body)?;
                }
                Err(end) => return Err(end),
            }
        }
        progress.more = true;
        Ok(())
    }

    /// Returns whether a request waits here for the one before it: then poll again after an answer.
    pub(super) fn has_next(&self) -> bool {
        self.state.has_next()
    }

    /// Answers a request whose handler ended, unless it was cancelled meanwhile.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        clock: &mut dyn Now,
        slot: Slot,
        verdict: Verdict,
        body: &[u8],
    ) -> Result<(), End> {
        let Some((task, attempt)) = self.state.on_answered(slot, clock) else { return Ok(()) };
        if self.state.dialect == Dialect::Json {
            return self.answer_json(cx, verdict, body);
        }
        let bytes_max = self.state.answer_bytes_max;
        let refusal;
        let (verdict, body) = match verdict {
            Verdict::Done if body.len() > bytes_max => {
                refusal = refusal_of(body.len(), bytes_max);
                (Verdict::Failed, refusal.as_bytes())
            }
            Verdict::Done => (verdict, body),
            Verdict::Failed | Verdict::Returned => (verdict, failure_of(body, bytes_max)),
        };
        let response = Message::Response { task, attempt, verdict, body: &[] };
        let mut head = [0; BODY_HEAD_BYTES_MAX];
        self.send_bytes(cx, response.encode_short(&mut head).expect("it is short"), body)?;
        if self.out.is_empty() {
            // The manager hears this and asks for nothing until it hears nothing.
            self.state.heard = true;
        }
        Ok(())
    }

    #[inline(never)]
    fn answer_json(
        &mut self,
        cx: &mut Context<'_>,
        verdict: Verdict,
        body: &[u8],
    ) -> Result<(), End> {
        self.send_bytes(cx, &go::answer(self.state.height, verdict, body), &[])
    }

    fn send(
        &mut self,
        cx: &mut Context<'_>,
        message: &Message<'_>,
        body: &[u8],
    ) -> Result<(), End> {
        self.send_bytes(cx, message.encode(&mut [0; HEAD_BYTES_MAX]), body)
    }

    #[inline]
    fn send_bytes(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Result<(), End> {
        if self.out.is_empty() {
            match self.wire.poll_send(cx, head, body) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = true;
                    return Ok(());
                }
                Poll::Ready(Err(error)) => return Err(End::broken(error)),
                Poll::Pending => {}
            }
        }
        self.keep(head, body);
        Ok(())
    }

    /// Keeps what the wire has no room for. Bounded: at most a window of answers and a few others,
    /// for nothing is read meanwhile.
    #[cold]
    fn keep(&mut self, head: &[u8], body: &[u8]) {
        self.out.push_back((head.to_vec(), body.to_vec()));
    }

    #[cold]
    fn send_out(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while let Some((head, body)) = self.out.front() {
            match self.wire.poll_send(cx, head, body) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(End::broken(error)),
                Poll::Ready(Ok(())) => {
                    self.unflushed = true;
                    self.out.pop_front();
                }
            }
        }
        Ok(())
    }

    /// Returns whether to look at once for what follows on what was flushed.
    pub(super) fn expects_next(&mut self) -> bool {
        !self.unflushed && self.wire.expects_next()
    }

    #[inline]
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        match self.wire.poll_flush(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(error)) => Err(End::broken(error)),
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Ok(())
            }
        }
    }

    /// Says that this worker wants nothing more.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>, clock: &mut dyn Now) -> Result<(), End> {
        self.state.on_drain(clock);
        match self.state.dialect {
            Dialect::Native => self.send(cx, &Message::Drain, &[]),
            Dialect::Json => Ok(()),
        }
    }

    /// Says Goodbye. Poll [`poll_leave`](Self::poll_leave) from now on.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>, code: Code, text: &str) {
        self.state.phase = Phase::Leaving;
        if self.state.dialect == Dialect::Native {
            // If that fails, `poll_leave` will as well.
            let _ = self.send(cx, &Message::Goodbye { code, text }, &[]);
        }
    }

    /// Completes once the wire is closed, or broken.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.send_out(cx).is_err() {
            return Poll::Ready(());
        }
        if !self.out.is_empty() {
            return Poll::Pending;
        }
        self.wire.poll_close(cx).map(drop)
    }

    /// Judges the silence, and says when to call again.
    pub(super) fn on_time(&mut self, now: Instant) -> Result<Instant, End> {
        let State { heard, alive, leave_at, heartbeat, .. } = &mut self.state;
        let (leave_at, heartbeat) = (*leave_at, *heartbeat);
        if now >= leave_at {
            return Err(End::Leave(Code::Stopped, "the worker stops".into()));
        }
        if core::mem::take(heard) {
            // Since the last look, which is not long ago.
            *alive = now;
        }
        let patience = alive.saturating_add(heartbeat.saturating_mul(2));
        if now >= patience {
            let text = format!("nothing heard from the manager for twice {heartbeat:?}");
            return Err(End::Leave(Code::Timeout, text));
        }
        let next_look = now.saturating_add(heartbeat / LOOKS_PER_HEARTBEAT);
        Ok(next_look.min(patience).min(leave_at))
    }

    /// Forgets all jobs and stops what runs.
    pub(super) fn drop_jobs<H: Handler>(&mut self, place: u32, runner: &mut Runner<H>) {
        self.state.drop_jobs(place, runner);
    }

    /// Starts the oldest request that waits. Returns its slot and verdict if it ended at once, with
    /// the answer in the runner's `body`.
    pub(super) fn start_waiting<H: Handler>(
        &mut self,
        around: &mut Around<'_, H>,
    ) -> Option<(Slot, Verdict)> {
        self.state.start_waiting(around)
    }
}

/// Returns what to say in place of an answer that is too long.
#[cold]
fn refusal_of(length: usize, bytes_max: usize) -> String {
    let text = format!(
        "the answer has {length} bytes, and manager and worker agreed on at most {bytes_max}: raise \
         frame_bytes_max on both sides, or answer less"
    );
    clip(&text, bytes_max).to_owned()
}

/// Returns the text of a failure, as far as it may go.
#[inline(never)]
fn failure_of(body: &[u8], bytes_max: usize) -> &[u8] {
    // A handler's text was a `String`, so nothing is lost but what is cut.
    let text = core::str::from_utf8(body).unwrap_or("a failure without a valid text");
    clip(text, bytes_max.min(FAILURE_BYTES_MAX)).as_bytes()
}
