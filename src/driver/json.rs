//! A link to a worker of the Go package `worker`: JSON, one request in flight, no handshake, no
//! ping and nothing to take a request back with.
//!
//! Such a worker answers nothing but heights, so its liveness is the deadline of an attempt. One
//! that does not answer in time is given up with its link: nothing else can be asked there. What
//! the caller cancels runs on, within the same deadline, and the worker gets nothing meanwhile.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::json::{Request, Response};
use chargehand_core::message::clip;
use chargehand_core::{Event, Instant, TaskId, Verdict};

use super::outgoing::Outgoing;
use super::task::{TaskEntry, TaskPayload};
use super::type_check::AnswerSink;
use crate::failure::FAILURE_BYTES_MAX;
use crate::link::erased::AnyWire;
use crate::link::reason::DisconnectReason;
use crate::payload::JsonHeights;

/// What is in flight on such a link.
#[derive(Debug, Default)]
pub(crate) struct JsonLink {
    heights: JsonHeights,
    /// When the latest attempt began.
    asked: Instant,
    current: Option<Current>,
    /// A task whose request is no height, and why: such a worker cannot be asked.
    unfit: Option<(TaskId, u16, &'static str)>,
    out: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    task: TaskId,
    attempt: u16,
    height: i64,
    /// When the attempt began.
    asked: Instant,
    /// Nobody wants the answer any more, but the worker works on.
    withdrawn: bool,
}

impl JsonLink {
    pub(crate) fn new(heights: JsonHeights) -> Self {
        Self { heights, ..Self::default() }
    }

    /// Notes when the attempt that is sent next began.
    pub(crate) fn note_asked(&mut self, now: Instant) {
        self.asked = now;
    }

    /// Sends a request if none is in flight.
    pub(crate) fn try_send<W: AnyWire + ?Sized>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<Poll<()>, DisconnectReason> {
        let Outgoing::Request { task, attempt, .. } = message else { return Ok(Poll::Ready(())) };
        if self.current.is_some() || self.unfit.is_some() {
            return Ok(Poll::Pending);
        }
        let height = match height_of(&tasks[task.slot() as usize].payload, self.heights) {
            Ok(height) => height,
            Err(why) => {
                self.unfit = Some((task, attempt, why));
                cx.waker().wake_by_ref();
                return Ok(Poll::Ready(()));
            }
        };
        self.out.clear();
        Request { height }.encode(&mut self.out);
        match wire.poll_send(cx, &self.out, &[]) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(error)) => Err(DisconnectReason::reset(error)),
            Poll::Ready(Ok(())) => {
                let (asked, withdrawn) = (self.asked, false);
                self.current = Some(Current { task, attempt, height, asked, withdrawn });
                Ok(Poll::Ready(()))
            }
        }
    }

    /// Takes one answer.
    pub(crate) fn on_frame(
        &mut self,
        frame: &[u8],
        sink: &mut AnswerSink<'_>,
    ) -> Result<(), DisconnectReason> {
        let Response { height, success, error } = Response::decode(frame)
            .map_err(|error| DisconnectReason::protocol(error.to_string()))?;
        let Some(current) = self.current.take() else {
            let text = format!("answered height {height}, and nothing was asked");
            return Err(DisconnectReason::protocol(text));
        };
        if height != current.height {
            let why = format!("answered height {height} when asked for {}", current.height);
            return Err(DisconnectReason::protocol(why));
        }
        // As Go's users see it, a text beside a success means nothing.
        let (verdict, answer) = if success {
            (Verdict::Done, &[][..])
        } else {
            (Verdict::Failed, clip(&error, FAILURE_BYTES_MAX).as_bytes())
        };
        // Stale: it was withdrawn meanwhile.
        let _ = sink.reply(current.task, current.attempt, verdict, answer);
        if current.withdrawn {
            // Stale: the scheduler has just given the link up.
            let _ = sink.scheduler.handle_event(sink.now, Event::Ready { link: sink.link });
        }
        Ok(())
    }

    /// Fails a task that cannot be sent here.
    pub(crate) fn fail_unfit(&mut self, sink: &mut AnswerSink<'_>) {
        let Some((task, attempt, why)) = self.unfit.take() else { return };
        // Stale: it was withdrawn meanwhile.
        let _ = sink.reply(task, attempt, Verdict::Failed, why.as_bytes());
    }

    /// Lets go of an attempt that has left, and returns whether the worker is busy with it now.
    pub(crate) fn withdraw(&mut self, task: TaskId, attempt: u16) -> bool {
        match &mut self.current {
            Some(current) if (current.task, current.attempt) == (task, attempt) => {
                current.withdrawn = true;
                true
            }
            _ => false,
        }
    }

    /// Gives the link up where the worker has been at a height for longer than an attempt may take.
    pub(crate) fn check_overdue(
        &self,
        now: Instant,
        timeout: Duration,
    ) -> Result<(), DisconnectReason> {
        match self.current {
            Some(Current { height, asked, .. }) if asked.saturating_add(timeout) <= now => {
                Err(DisconnectReason::Unanswered { height })
            }
            _ => Ok(()),
        }
    }
}

fn height_of(payload: &TaskPayload, heights: JsonHeights) -> Result<i64, &'static str> {
    match payload {
        // Those of a range are the same for all workers.
        TaskPayload::Height { height, .. } => (*height).try_into().map_err(
            |_| "workers of the Go package take heights of at most 2^63 - 1, and this one is above",
        ),
        TaskPayload::Request { body, .. } => heights.read(body.as_slice()),
        TaskPayload::None => unreachable!("the scheduler sends live tasks only"),
    }
}
