//! A link to a worker of the Go package `worker`: JSON, one request in flight, no handshake, no
//! ping and nothing to take a request back with.

use std::task::{Context, Poll};

use chargehand_core::json::{Request, Response};
use chargehand_core::message::Code;
use chargehand_core::{Event, EventError, Heap, Instant, Link, Scheduler, TaskId, Verdict};

use super::conn::{Ending, Outgoing};
use super::{Payload, TaskEntry};
use crate::payload::Answer;
use crate::reply::decode;
use crate::wire::AnyWire;

/// What is in flight on such a link.
#[derive(Debug, Default)]
pub(crate) struct JsonState {
    /// Stays after a withdrawal: the worker works on, and its answer comes first.
    current: Option<Current>,
    /// A task whose request is no height: such a worker cannot be asked.
    unfit: Option<(TaskId, u16)>,
    out: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    task: TaskId,
    attempt: u16,
    height: i64,
}

/// Where answers go.
pub(crate) struct Sink<'a> {
    pub(crate) link: Link,
    pub(crate) now: Instant,
    pub(crate) scheduler: &'a mut Scheduler<Heap>,
    pub(crate) tasks: &'a mut [TaskEntry],
}

impl JsonState {
    /// Sends a request if none is in flight.
    pub(crate) fn try_send<W: AnyWire + ?Sized>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<Poll<()>, Ending> {
        let Outgoing::Request { task, attempt } = message else { return Ok(Poll::Ready(())) };
        if self.current.is_some() || self.unfit.is_some() {
            return Ok(Poll::Pending);
        }
        let Some(height) = height_of(&tasks[task.slot() as usize].payload) else {
            self.unfit = Some((task, attempt));
            cx.waker().wake_by_ref();
            return Ok(Poll::Ready(()));
        };
        self.out.clear();
        Request { height }.encode(&mut self.out);
        match wire.poll_send(cx, &self.out, &[]) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(error)) => Err(Ending::broken(error)),
            Poll::Ready(Ok(())) => {
                self.current = Some(Current { task, attempt, height });
                Ok(Poll::Ready(()))
            }
        }
    }

    /// Takes one answer.
    pub(crate) fn on_frame(&mut self, frame: &[u8], sink: &mut Sink<'_>) -> Result<(), Ending> {
        let Response { height, success, error } = Response::decode(frame)
            .map_err(|error| Ending::refuse(Code::BadMessage, error.to_string()))?;
        let Some(current) = self.current.take() else {
            return Err(Ending::refuse(
                Code::BadMessage,
                format!("answered height {height}, and nothing was asked"),
            ));
        };
        if height != current.height {
            let why = format!("answered height {height} when asked for {}", current.height);
            return Err(Ending::refuse(Code::BadMessage, why));
        }
        let verdict = if success { Verdict::Done } else { Verdict::Failed };
        sink.reply(current.task, current.attempt, verdict, error.into_bytes());
        Ok(())
    }

    /// Fails a task that cannot be sent here.
    pub(crate) fn fail_unfit(&mut self, sink: &mut Sink<'_>) {
        let Some((task, attempt)) = self.unfit.take() else { return };
        let text = "workers that speak JSON take heights only: a u64 of at most 2^63 - 1";
        sink.reply(task, attempt, Verdict::Failed, text.into());
    }
}

impl Sink<'_> {
    fn reply(&mut self, task: TaskId, attempt: u16, verdict: Verdict, answer: Vec<u8>) {
        let event = Event::Replied { link: self.link, task, attempt, verdict };
        match self.scheduler.handle_event(self.now, event) {
            Ok(()) => self.tasks[task.slot() as usize].answer = Answer::Bytes(answer),
            // It was withdrawn meanwhile.
            Err(EventError::Stale | EventError::Foreign) => {}
        }
    }
}

fn height_of(payload: &Payload) -> Option<i64> {
    let height = match payload {
        Payload::Height { height, .. } => *height,
        Payload::Request { body, .. } => decode::<u64>(body).ok()?,
        Payload::None => unreachable!("the scheduler sends live tasks only"),
    };
    i64::try_from(height).ok()
}
