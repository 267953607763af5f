//! What leaves on a link, and what waits for the wire to have room.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::mem;
use core::num::NonZeroU32;
use core::task::{Context, Poll};

#[cfg(feature = "tracing")]
use chargehand_core::message::TRACE_EXTENSION;
use chargehand_core::message::{
    ATTEMPT_TIMEOUT_EXTENSION, BODY_HEAD_BYTES_MAX, Extensions, ExtensionsWriter, HEAD_BYTES_MAX,
    Message,
};
use chargehand_core::{Instant, TaskId};

use super::Conn;
use crate::driver::dialect::Speech;
use crate::driver::outgoing::Outgoing;
use crate::driver::task::{TaskEntry, TaskPayload};
use crate::link::erased::{AnyWire, Kind};
use crate::link::reason::DisconnectReason;
use crate::payload::{HEIGHT_BYTES_MAX, encode_height};

/// Room for a trace context among the extensions of a request.
const TRACE_ROOM: usize =
    if cfg!(feature = "tracing") { 2 + chargehand_core::message::TRACE_BYTES } else { 0 };
/// How much longer a request is that says how long its attempt may take: an id, a length, a number.
const TIMEOUT_BYTES: usize = 6;

/// How many parked messages the queue keeps its memory for.
const PARKED_KEPT: usize = 64;

/// Why something was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The link is over.
    Over(DisconnectReason),
    /// The request cannot be sent here, and the link is none the worse for it.
    Unfit { task: TaskId, why: String },
}

impl From<DisconnectReason> for SendError {
    fn from(reason: DisconnectReason) -> Self {
        Self::Over(reason)
    }
}

impl<K: Kind> Conn<K> {
    /// Sends a message, or parks it until the wire has room.
    #[expect(clippy::inline_always, reason = "with its like 3.6 % of a range: decision 0010")]
    #[inline(always)]
    pub(crate) fn send(
        &mut self,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<(), SendError> {
        if let Outgoing::Cancel { task, attempt } = message {
            self.left_late.forget(task, attempt);
            if self.forget(task, attempt) {
                return Ok(());
            }
        }
        if !self.parked.is_empty() {
            self.park(message);
            return Ok(());
        }
        match self.try_send(cx, message, tasks) {
            Ok(Poll::Ready(())) => Ok(()),
            Ok(Poll::Pending) => {
                self.park(message);
                Ok(())
            }
            Err(error) => Err(self.not_taken(message, error)),
        }
    }

    /// Keeps what the wire did not take because the link is over, for [`take_unsent`](Self::take_unsent).
    fn not_taken(&mut self, message: Outgoing, error: SendError) -> SendError {
        if matches!(error, SendError::Over(_)) {
            self.parked.push_front(message);
        }
        error
    }

    /// Keeps a message until the wire has room. The link stays dirty until then, even if everything that the
    /// wire took has left, so that each wake tries again and each try registers the waker with the wire.
    fn park(&mut self, message: Outgoing) {
        self.dirty = true;
        park(&mut self.parked, message);
    }

    /// Takes a request back that is withdrawn before it has left. Returns whether there is one.
    fn forget(&mut self, task: TaskId, attempt: u16) -> bool {
        #[cfg(feature = "tracing")]
        self.traces.remove(&task.slot());
        let index = place_of(&self.parked, task, attempt);
        index.is_some_and(|index| self.parked.remove(index).is_some())
    }

    /// Sends nothing any more, and keeps all that is to be sent for [`take_unsent`](Self::take_unsent).
    pub(crate) fn give_up(&mut self) {
        self.is_over = true;
        self.dirty = true;
        if self.parked.is_empty() {
            // So that whatever else is to be sent is parked, too.
            self.parked.push_front(Outgoing::Ping);
        }
    }

    /// Takes out the requests that have not left, with their attempts: the wire never got them.
    pub(crate) fn take_unsent(&mut self) -> impl Iterator<Item = (TaskId, u16)> + use<K> {
        mem::take(&mut self.parked).into_iter().filter_map(|message| match message {
            Outgoing::Request { task, attempt, .. } => Some((task, attempt)),
            Outgoing::Cancel { .. } | Outgoing::Ping => None,
        })
    }

    /// Sends what was parked, then flushes. Where that cannot be sent here, call it again.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        tasks: &[TaskEntry],
    ) -> Result<(), SendError> {
        if self.is_over {
            return Ok(());
        }
        while let Some(&message) = self.parked.front() {
            if is_over(message, tasks) {
                self.parked.pop_front();
                continue;
            }
            let sent = self.try_send(cx, message, tasks);
            if matches!(sent, Ok(Poll::Pending)) {
                break;
            }
            self.parked.pop_front();
            if let Err(error) = sent {
                return Err(self.not_taken(message, error));
            }
            if let Outgoing::Request { task, attempt, .. } = message {
                self.left_late.note(task, attempt, now);
            }
        }
        if self.parked.is_empty() && self.parked.capacity() > PARKED_KEPT {
            self.parked = VecDeque::new();
        }
        if self.dirty {
            let flushed = self.wire.poll_flush(cx).map_err(DisconnectReason::reset)?;
            self.dirty = flushed.is_pending() || !self.parked.is_empty();
            self.is_backed_up = self.dirty;
        }
        Ok(())
    }

    /// Returns the requests that have not left, the oldest first.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = TaskId> {
        self.parked.iter().filter_map(|message| match *message {
            Outgoing::Request { task, .. } => Some(task),
            Outgoing::Cancel { .. } | Outgoing::Ping => None,
        })
    }

    #[expect(clippy::inline_always, reason = "with its like 3.6 % of a range: decision 0010")]
    #[inline(always)]
    fn try_send(
        &mut self,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<Poll<()>, SendError> {
        let sent = match &mut self.speech {
            Speech::Native => match message {
                Outgoing::Request { task, attempt, millis: Some(millis) } => {
                    self.try_send_timed(cx, (task, attempt), millis, tasks)?
                }
                _ => self.try_send_native(cx, message, tasks)?,
            },
            Speech::Json(json) => json.try_send(&mut *self.wire, cx, message, tasks)?,
        };
        if sent.is_ready() {
            match message {
                Outgoing::Request { .. } => self.tally.requests += 1,
                Outgoing::Ping => self.tally.pings += 1,
                Outgoing::Cancel { .. } => {}
            }
            self.dirty = true;
        }
        Ok(sent)
    }

    #[expect(clippy::inline_always, reason = "with its like 3.6 % of a range: decision 0010")]
    #[inline(always)]
    fn try_send_native(
        &mut self,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<Poll<()>, SendError> {
        let mut buffer = [0; BODY_HEAD_BYTES_MAX + HEIGHT_BYTES_MAX];
        let (len, body) = match message {
            Outgoing::Request { task, attempt, .. } => {
                let extensions = Extensions::NONE;
                let head = Message::Request { task, attempt, extensions, body: &[] };
                let len = write_head(&head, &mut buffer);
                let (height_len, body) = match &tasks[task.slot() as usize].payload {
                    TaskPayload::Height { height, .. } => {
                        // With the head: to copy both at once costs less than to copy each.
                        let place =
                            buffer[len..].first_chunk_mut().expect("there is room for both");
                        (encode_height(*height, place).len(), &[][..])
                    }
                    TaskPayload::Request { body, .. } => (0, body.as_slice()),
                    TaskPayload::None => unreachable!("the scheduler sends live tasks only"),
                };
                if height_len + body.len() > self.body_bytes_max {
                    return Err(self.too_long(task, height_len + body.len()));
                }
                (len + height_len, body)
            }
            Outgoing::Cancel { task, attempt } => {
                (write_head(&Message::Cancel { task, attempt }, &mut buffer), &[][..])
            }
            Outgoing::Ping => (write_head(&Message::Ping, &mut buffer), &[][..]),
        };
        match self.wire.poll_send(cx, &buffer[..len], body) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Ready(Err(error)) => Err(DisconnectReason::reset(error).into()),
        }
    }

    /// Notes the trace context of a request that is about to be sent.
    #[cfg(feature = "tracing")]
    pub(crate) fn trace(&mut self, task: TaskId, context: crate::traces::TraceContext) {
        self.traces.insert(task.slot(), context);
    }

    /// Sends a request that says how long its attempt may take, and which trace it belongs to.
    fn try_send_timed(
        &mut self,
        cx: &mut Context<'_>,
        (task, attempt): (TaskId, u16),
        millis: NonZeroU32,
        tasks: &[TaskEntry],
    ) -> Result<Poll<()>, SendError> {
        let mut place = [0; HEIGHT_BYTES_MAX];
        let body = match &tasks[task.slot() as usize].payload {
            TaskPayload::Height { height, .. } => encode_height(*height, &mut place),
            TaskPayload::Request { body, .. } => body.as_slice(),
            TaskPayload::None => unreachable!("the scheduler sends live tasks only"),
        };
        if body.len() > self.body_bytes_max {
            return Err(self.too_long(task, body.len()));
        }
        let mut extensions = [0; TIMEOUT_BYTES + TRACE_ROOM];
        let mut extensions = ExtensionsWriter::new(&mut extensions);
        // A request that has room only without goes without: its handler knows too long a time then.
        if body.len() + TIMEOUT_BYTES <= self.body_bytes_max {
            let value = millis.get().to_le_bytes();
            extensions.add(ATTEMPT_TIMEOUT_EXTENSION, &value).expect("there is room");
        }
        #[cfg(feature = "tracing")]
        if let Some(context) = self.traces.get(&task.slot()) {
            if body.len() + TIMEOUT_BYTES + TRACE_ROOM <= self.body_bytes_max {
                extensions.add(TRACE_EXTENSION, &context.to_bytes()).expect("there is room");
            }
        }
        let extensions = extensions.finish();
        let mut head = [0; HEAD_BYTES_MAX + 1 + TIMEOUT_BYTES + TRACE_ROOM];
        let head = Message::Request { task, attempt, extensions, body }
            .encode_extended(&mut head)
            .expect("there is room for both");
        match self.wire.poll_send(cx, head, body) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => {
                #[cfg(feature = "tracing")]
                self.traces.remove(&task.slot());
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(error)) => Err(DisconnectReason::reset(error).into()),
        }
    }

    /// Says which limit a request is above, and where it is to be raised.
    fn too_long(&self, task: TaskId, body_bytes: usize) -> SendError {
        let peer = self.wire.peer();
        let of_worker = self.frame_bytes_max;
        let of_wire = self.wire.message_bytes_max();
        let room = of_worker.min(of_wire).saturating_sub(BODY_HEAD_BYTES_MAX);
        let limit = if of_worker <= of_wire {
            format!(
                "the worker at {peer} takes frames of {of_worker} bytes: raise frame_bytes_max there"
            )
        } else {
            format!(
                "the transport to {peer} sends frames of {of_wire} bytes: raise the limit of its \
                 connector or listener at both ends"
            )
        };
        let why =
            format!("it has {body_bytes} bytes, and at most {room} can be sent, since {limit}");
        SendError::Unfit { task, why }
    }
}

/// Writes the head of one of a manager's later messages, and returns its length.
#[expect(clippy::inline_always, reason = "with its like 3.6 % of a range: decision 0010")]
#[inline(always)]
fn write_head(message: &Message<'_>, buffer: &mut [u8]) -> usize {
    let place = buffer.first_chunk_mut().expect("it is longer");
    message.encode_short(place).expect("a manager's later messages are short").len()
}

/// Whether a request waits here whose task has its outcome: by another worker, and the action that withdraws this
/// one is to come.
fn is_over(message: Outgoing, tasks: &[TaskEntry]) -> bool {
    let Outgoing::Request { task, .. } = message else { return false };
    let entry = &tasks[task.slot() as usize];
    entry.generation != task.generation() || matches!(entry.payload, TaskPayload::None)
}

/// Puts a message behind what is to leave before it. Requests may take long to leave, so all else is
/// ahead of them: a Ping keeps the link alive, and a Cancel ends work that nobody wants before more of it
/// comes. It is never of a request that waits here: see [`Conn::send`].
fn park(parked: &mut VecDeque<Outgoing>, message: Outgoing) {
    match message {
        // Several waiting pings say no more than one.
        Outgoing::Ping if parked.front() == Some(&message) => {}
        Outgoing::Ping => parked.push_front(message),
        Outgoing::Cancel { .. } => parked.insert(first_request(parked), message),
        Outgoing::Request { .. } => parked.push_back(message),
    }
}

/// Returns where the requests begin among what waits, without a look at each of the others: a worker that is
/// back may have many withdrawals waiting for it, and reads none of them if it likes.
fn first_request(parked: &VecDeque<Outgoing>) -> usize {
    parked.partition_point(|parked| !matches!(parked, Outgoing::Request { .. }))
}

/// Returns where the request of an attempt waits, if it does.
fn place_of(parked: &VecDeque<Outgoing>, task: TaskId, attempt: u16) -> Option<usize> {
    let first = first_request(parked);
    let index = parked.range(first..).position(|parked| parked.asks((task, attempt)));
    index.map(|index| first + index)
}

/// Refuses an answer to a request that has not left: it must not end the task before that.
pub(super) fn check_sent(
    parked: &VecDeque<Outgoing>,
    task: TaskId,
    attempt: u16,
) -> Result<(), DisconnectReason> {
    if place_of(parked, task, attempt).is_none() {
        return Ok(());
    }
    Err(DisconnectReason::protocol("answered a request that was not sent yet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_request_leaves_before_those_that_wait() {
        let [first, second, third] = [7, 8, 9].map(|slot| TaskId::from_parts(slot, 3));
        let request = |task| Outgoing::Request { task, attempt: 1, millis: None };
        let cancel = |task| Outgoing::Cancel { task, attempt: 1 };
        let mut parked = VecDeque::new();
        for message in [
            request(first),
            cancel(second),
            Outgoing::Ping,
            request(second),
            cancel(third),
            Outgoing::Ping,
        ] {
            park(&mut parked, message);
        }
        let order =
            [Outgoing::Ping, cancel(second), cancel(third), request(first), request(second)];
        assert_eq!(parked, order);
    }

    #[test]
    fn a_request_that_waits_is_over_once_its_task_is_or_another_one_has_its_slot() {
        let task = TaskId::from_parts(0, 3);
        let request = Outgoing::Request { task, attempt: 2, millis: None };
        let payload = || TaskPayload::Request {
            body: crate::payload::Body::Long([7].into()),
            whose: crate::driver::task::Whose::Item { place: 0, job: 0 },
        };
        let entry = |payload, generation| TaskEntry { payload, generation, ..TaskEntry::default() };
        assert!(!is_over(request, &[entry(payload(), 3)]));
        assert!(is_over(request, &[entry(TaskPayload::None, 3)]));
        assert!(is_over(request, &[entry(payload(), 4)]));
        assert!(!is_over(Outgoing::Cancel { task, attempt: 2 }, &[entry(payload(), 4)]));
    }

    #[test]
    fn an_answer_to_a_request_that_has_not_left_ends_its_link_and_not_the_task() {
        let [task, other] = [7, 8].map(|slot| TaskId::from_parts(slot, 3));
        let request = Outgoing::Request { task, attempt: 2, millis: NonZeroU32::new(7) };
        let parked = VecDeque::from([Outgoing::Ping, request]);
        assert!(check_sent(&parked, task, 2).is_err());
        assert!(check_sent(&parked, task, 1).is_ok());
        assert!(check_sent(&parked, other, 2).is_ok());
    }
}
