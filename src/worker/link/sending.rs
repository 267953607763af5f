//! What is sent on a link, and what waits for its wire to have room.

use alloc::string::String;
use alloc::vec::Vec;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::copy::copied;
use chargehand_core::io::Wire;
use chargehand_core::message::{
    BODY_HEAD_BYTES_MAX, HEAD_BYTES_MAX, HELD_BYTES_MAX, HELLO_BYTES_MAX, Holding, Message,
    PROGRESS_BYTES_MAX, Progress, TOOK_BYTES_MAX, Took, clip,
};
use chargehand_core::session::RunId;
use chargehand_core::{TaskId, Verdict};

use super::Connection;
use crate::budget::SMALL_BYTES_MAX;
use crate::failure;
use crate::link::closing::Outbox;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;
use crate::worker::clock::Now;
use crate::worker::dialect::Speech;
use crate::worker::memory::Memory;
use crate::worker::state::Limiter;

/// What the wire had no room for. Until it is gone no more than one request is read.
#[derive(Default)]
pub(super) struct Unsent {
    /// Whether a Pong goes first. One answers any number of Pings.
    pub(super) pong: bool,
    pub(super) messages: Outbox,
    /// How many of the messages go before all answers.
    pub(super) urgent: usize,
}

/// Answers that the manager has not taken yet, in bytes. Short ones no longer count once the wire has them.
#[derive(Default)]
pub(super) struct Leaving {
    /// What the wire had no room for, and what it has.
    pub(super) bytes: usize,
    /// What the wire has: the last long one, before which it had room for no other.
    pub(super) in_wire: usize,
}

impl<W: Wire> Connection<W>
where
    W::Error: Into<BoxError>,
{
    /// Answers a Ping.
    pub(super) fn pong(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
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
    pub(super) fn send_pong(&mut self, cx: &mut Context<'_>) -> Result<bool, DisconnectReason> {
        self.try_send(cx, Message::Pong.encode(&mut [0; HEAD_BYTES_MAX]), &[])
    }

    /// Says how far an attempt is, to a manager that wants to know, and where the wire has room: one that
    /// has none has later news soon.
    pub(in crate::worker) fn tell_progress(
        &mut self,
        cx: &mut Context<'_>,
        slot: RunId,
        (done, total): (u64, u64),
    ) -> Result<(), DisconnectReason> {
        let Some((task, attempt)) = self.state.attempt(slot) else { return Ok(()) };
        if self.state.takes_progress && !self.is_stuck {
            let progress = Progress { task, attempt, done, total };
            self.try_send(cx, progress.encode(&mut [0; PROGRESS_BYTES_MAX]), &[])?;
        }
        Ok(())
    }

    /// Says how long an attempt took, to a manager that wants to know.
    pub(in crate::worker) fn tell_took(
        &mut self,
        cx: &mut Context<'_>,
        slot: RunId,
        took: Duration,
        memory: &mut Memory,
    ) -> Result<(), DisconnectReason> {
        let Some((task, attempt)) = self.state.attempt(slot) else { return Ok(()) };
        if !self.state.takes_times {
            return Ok(());
        }
        let took = Took::new(task, attempt, took);
        self.send_bytes(cx, took.encode(&mut [0; TOOK_BYTES_MAX]), &[], memory)
    }

    /// Says that an attempt has not begun and is free for others.
    pub(super) fn give_back(
        &mut self,
        cx: &mut Context<'_>,
        task: TaskId,
        attempt: u16,
    ) -> Result<(), DisconnectReason> {
        let verdict = Verdict::Returned;
        self.send_urgent(cx, &Message::Response { task, attempt, verdict, body: &[] })
    }

    /// Answers a request whose handler ended, unless it was cancelled meanwhile.
    pub(in crate::worker) fn answer(
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
        if self.state.claim.is_some() {
            let bytes_max = self.answers_kept_max;
            self.state.remember((task, attempt), verdict, body, bytes_max, memory);
        }
        self.send_bytes(cx, head, body, memory)?;
        if !self.is_stuck {
            // The manager hears this and asks for nothing until it hears nothing.
            self.state.silence.is_broken = true;
        }
        Ok(())
    }

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
    fn has_taken(&mut self, bytes: usize, memory: &mut Memory) {
        let before = core::mem::replace(&mut self.leaving.in_wire, bytes);
        if before > 0 {
            memory.give_answer(&mut self.state.held, before);
            self.leaving.bytes -= before;
        }
    }

    /// Notes that all that the wire had has left.
    fn has_left(&mut self, memory: &mut Memory) {
        self.has_taken(0, memory);
    }

    /// Sends a message that goes before all answers that wait.
    pub(super) fn send_urgent(
        &mut self,
        cx: &mut Context<'_>,
        message: &Message<'_>,
    ) -> Result<(), DisconnectReason> {
        let mut head = [0; HELLO_BYTES_MAX];
        let head = message.encode_extended(&mut head).expect("there is room for what is sent so");
        self.send_first(cx, head)
    }

    /// Says which attempts go on that were of an earlier link.
    pub(super) fn tell_held(
        &mut self,
        cx: &mut Context<'_>,
        held: &[(TaskId, u16)],
    ) -> Result<(), DisconnectReason> {
        let mut frame = alloc::vec![0; 1 + held.len() * HELD_BYTES_MAX];
        let frame = Holding::encode(held.iter().copied(), &mut frame).expect("there is room");
        self.send_first(cx, frame)
    }

    /// Sends what goes before all answers that wait.
    fn send_first(&mut self, cx: &mut Context<'_>, head: &[u8]) -> Result<(), DisconnectReason> {
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
    fn keep(&mut self, head: &[u8], body: &[u8], memory: &mut Memory) {
        self.take_answer(body.len(), memory);
        self.out.messages.push_back((head.to_vec(), copied(body)));
        self.get_stuck();
    }

    fn take_answer(&mut self, bytes: usize, memory: &mut Memory) {
        memory.take_answer(&mut self.state.held, bytes);
        self.leaving.bytes += bytes;
    }

    /// Notes that something waits in `out`.
    fn get_stuck(&mut self) {
        if !core::mem::replace(&mut self.is_stuck, true) {
            self.state.usage.forget_asked();
        }
    }

    pub(super) fn send_out(
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

    /// Sends what there is to send. Returns whether that made room for what the link waited for: then
    /// poll it again.
    #[inline]
    pub(in crate::worker) fn flush(
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

    /// Goes on after a flush on a wire that was full: it may have room now, and nothing wakes the caller.
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
}

/// Returns what to say in place of an answer that is too long.
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
