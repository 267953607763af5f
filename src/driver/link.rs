//! One established link: its wire, and what it still has to send.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use core::mem;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::message::{BODY_HEAD_BYTES_MAX, Extensions, Message};
use chargehand_core::{Event, EventError, Instant, Link, TaskId, Verdict};

use super::answers::Answers;
use super::dialect::Speech;
use super::liveness::{Life, Looked, Overdue};
use super::outgoing::Outgoing;
use super::task::{TaskEntry, TaskPayload};
use super::type_check::Sink;
use crate::budget::Charge;
use crate::driver::limits::Limits;
use crate::failure;
use crate::link::erased::{AnyWire, Kind};
use crate::link::read_on::stops_after;
use crate::link::reason::DisconnectReason;
use crate::payload::{HEIGHT_BYTES_MAX, encode_height};

/// How many late or needless messages a peer may send beyond what it was ever asked.
const EXCESS_MAX: u64 = 64;

/// For how many bytes that were sent a worker may say one Pong more: that they arrive.
const PART_BYTES: u64 = 64;

/// Room for so many parked messages is kept.
const PARKED_KEPT: usize = 64;

/// An established link.
#[allow(clippy::struct_excessive_bools, reason = "each is about something else")]
pub(crate) struct Conn<K: Kind> {
    pub(crate) wire: Box<K::Wire>,
    /// What the wire had no room for, in order. Holds at most a window of requests, and one
    /// withdrawal for each request that left before.
    parked: VecDeque<Outgoing>,
    /// Something was sent since the last complete flush.
    pub(crate) dirty: bool,
    tally: Tally,
    pub(crate) life: Life,
    /// The last flush left something in the wire.
    is_backed_up: bool,
    /// The longest body of a request that both the wire and the worker take.
    body_bytes_max: usize,
    /// The longest frame that the worker takes.
    frame_bytes_max: usize,
    /// What the message that is arriving has of the budget, where that is more than the allowance.
    charge: Option<Charge>,
    /// How long a message may be that the wire does not ask for.
    allowance: usize,
    /// The wire has a message for which there is no room yet, and is not read until then.
    is_paused: bool,
    /// What the wire speaks, so that it need not be asked for every message.
    pub(crate) speech: Speech,
}

/// Why something was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The link is over.
    Over(DisconnectReason),
    /// The request cannot be sent here, and the link is none the worse for it.
    Unfit { task: TaskId, why: String },
}

/// How much may be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// How many messages from each link.
    pub(crate) messages: usize,
    /// How many bytes of messages from all links together, before the last one.
    pub(crate) bytes: usize,
    /// Whether a link may be read on once what follows from a message has left.
    pub(crate) reads_on: bool,
}

/// How far reading got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadProgress {
    /// Nothing came.
    Nothing,
    /// There is nothing more for now.
    Drained,
    /// There may be more.
    More,
    /// One message came, and the next one may come at once. Let out what follows from it, then read
    /// on: nothing wakes the caller.
    One,
}

impl<K: Kind> Conn<K> {
    pub(crate) fn new(
        mut wire: Box<K::Wire>,
        limits: &Limits,
        frame_bytes_max: u32,
        now: Instant,
    ) -> Self {
        wire.limit_incoming(limits.frame_bytes_max as usize);
        let frame_bytes_max = frame_bytes_max as usize;
        let sendable = frame_bytes_max.min(wire.message_bytes_max());
        Self {
            speech: Speech::of(wire.dialect(), limits).expect("others were refused"),
            body_bytes_max: sendable.saturating_sub(BODY_HEAD_BYTES_MAX),
            frame_bytes_max,
            charge: None,
            allowance: usize::MAX,
            is_paused: false,
            parked: VecDeque::new(),
            // Whatever the handshake left in the buffer.
            dirty: true,
            tally: Tally::default(),
            life: Life::new(now, wire.progress()),
            is_backed_up: false,
            wire,
        }
    }

    /// Returns a number that changes with everything that the worker says.
    pub(crate) fn signs(&self) -> u64 {
        let Tally { answers, pongs, .. } = self.tally;
        self.wire.progress().received.wrapping_add(answers).wrapping_add(pongs)
    }

    /// Reads messages into the scheduler, as far as the quota goes.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        quota: &mut Quota,
        sink: &mut Sink<'_>,
    ) -> Result<ReadProgress, DisconnectReason> {
        let allowance = sink.answers.arrivals.allowance();
        if self.allowance != allowance && self.charge.is_none() {
            self.set_allowance(allowance);
        }
        if !self.speech.is_native() {
            return self.read_json(cx, quota, sink);
        }
        for count in 0..quota.messages {
            if stops_after(count, quota.reads_on, &mut *self.wire) {
                return Ok(ReadProgress::One);
            }
            let Poll::Ready(frame) = self.wire.poll_recv(cx) else {
                if self.waits_for_room() && self.find_room(sink.link, sink.answers) {
                    continue;
                }
                if count > 0 {
                    return Ok(ReadProgress::Drained);
                }
                self.note_quiet();
                return Ok(ReadProgress::Nothing);
            };
            let frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(DisconnectReason::Closed),
                Err(error) => return Err(DisconnectReason::reset(error)),
            };
            quota.bytes = quota.bytes.saturating_sub(frame.len());
            // Without a `?`, which would move the message.
            match Message::decode(frame) {
                Ok(Message::Response { task, attempt, verdict, mut body }) => {
                    self.tally.answers += 1;
                    if !self.parked.is_empty() {
                        check_sent(&self.parked, task, attempt)?;
                    }
                    if verdict == Verdict::Failed {
                        body = failure_of(body)?;
                    }
                    if let Err(error) = sink.reply(task, attempt, verdict, body) {
                        self.tally.check_answer(error)?;
                    }
                }
                other => {
                    let other = other?;
                    let event = self.tally.event(sink.link, other)?;
                    // Stale: the scheduler has just given the link up, and its action is to come.
                    let _ = sink.scheduler.handle_event(sink.now, event);
                    self.after_pong(sink.now)?;
                }
            }
            if self.charge.is_some() || self.is_paused {
                self.has_come(sink.link, sink.answers);
            }
            if quota.bytes == 0 {
                break;
            }
        }
        Ok(ReadProgress::More)
    }

    /// Takes more Pongs than Pings as said of a long message, that parts of it arrive; many more than it
    /// has parts end the link.
    #[cold]
    fn after_pong(&mut self, now: Instant) -> Result<(), DisconnectReason> {
        let Tally { pongs, pings, .. } = self.tally;
        if pongs > pings.max(self.tally.told) {
            self.tally.told = pongs;
            self.life.on_told(now);
        }
        let parts = self.wire.progress().sent / PART_BYTES;
        if pongs <= pings.saturating_add(EXCESS_MAX).saturating_add(parts) {
            return Ok(());
        }
        Err(DisconnectReason::protocol(format!("sent {pongs} Pongs to {pings} Pings")))
    }

    /// Lets messages of such a length come without being asked.
    #[cold]
    fn set_allowance(&mut self, bytes: usize) {
        self.allowance = bytes;
        self.wire.admit(bytes);
    }

    /// Returns whether a message waits for room, or did when this was looked at last.
    #[inline]
    fn waits_for_room(&self) -> bool {
        self.is_paused || self.wire.incoming() > 0
    }

    /// Finds room for the message that the wire holds back. Returns whether to poll it again; if not, it
    /// is polled once there is room, if there is a message at all.
    #[cold]
    fn find_room(&mut self, link: Link, answers: &mut Answers) -> bool {
        let slot = link.worker().slot();
        let bytes = self.wire.incoming();
        if bytes == 0 {
            // What waited is so short that it may come without being asked by now.
            self.is_paused = false;
            answers.arrivals.queue.forget(slot);
            return false;
        }
        let found = answers.arrivals.admit(slot, &mut self.charge, bytes);
        self.is_paused = !found;
        if found {
            self.wire.admit(bytes);
        }
        found
    }

    /// Notes that the message has come which there was room for: what is kept of it has a charge of
    /// its own.
    #[cold]
    fn has_come(&mut self, link: Link, answers: &mut Answers) {
        self.is_paused = false;
        answers.arrivals.end(link.worker().slot(), &mut self.charge);
        self.set_allowance(answers.arrivals.allowance());
    }

    /// Returns whether the link is not read for lack of memory.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Takes the link apart: into its wire, and what that has of the budget.
    pub(crate) fn into_wire(self) -> (Box<K::Wire>, Option<Charge>) {
        (self.wire, self.charge)
    }

    #[inline(never)]
    fn read_json(
        &mut self,
        cx: &mut Context<'_>,
        quota: &mut Quota,
        sink: &mut Sink<'_>,
    ) -> Result<ReadProgress, DisconnectReason> {
        if let Speech::Json(json) = &mut self.speech {
            json.fail_unfit(sink);
        }
        self.dirty |= !self.parked.is_empty();
        for _ in 0..quota.messages {
            let Poll::Ready(frame) = self.wire.poll_recv(cx) else {
                if self.waits_for_room() && self.find_room(sink.link, sink.answers) {
                    continue;
                }
                self.note_quiet();
                return Ok(ReadProgress::Drained);
            };
            let frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(DisconnectReason::Closed),
                Err(error) => return Err(DisconnectReason::reset(error)),
            };
            self.tally.answers += 1;
            if let Speech::Json(json) = &mut self.speech {
                json.on_frame(frame, sink)?;
            }
            if self.charge.is_some() || self.is_paused {
                self.has_come(sink.link, sink.answers);
            }
            // Room for the next request, if one waits.
            self.dirty |= !self.parked.is_empty();
        }
        Ok(ReadProgress::More)
    }

    /// Sends a message, or parks it until the wire has room.
    #[expect(clippy::inline_always, reason = "it is called in one place, for every task")]
    #[inline(always)]
    pub(crate) fn send(
        &mut self,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<(), SendError> {
        if let Outgoing::Cancel { task, attempt } = message {
            if self.forget(task, attempt) {
                return Ok(());
            }
        }
        if !self.parked.is_empty() || self.try_send(cx, message, tasks)?.is_pending() {
            self.park(message);
        }
        Ok(())
    }

    /// Keeps a message until the wire has room. The link is dirty until then, even where all that the
    /// wire took has left: so each wake tries again, and a try leaves the waker with the wire.
    #[cold]
    fn park(&mut self, message: Outgoing) {
        self.dirty = true;
        match message {
            // Ahead of requests, which may take long to leave: it is what keeps the link. Those that
            // wait say no more than one.
            Outgoing::Ping if self.parked.front() == Some(&message) => {}
            Outgoing::Ping => self.parked.push_front(message),
            _ => self.parked.push_back(message),
        }
    }

    /// Takes a request back that is withdrawn before it has left. Returns whether there is one.
    #[cold]
    fn forget(&mut self, task: TaskId, attempt: u16) -> bool {
        let request = Outgoing::Request { task, attempt };
        let index = self.parked.iter().position(|parked| *parked == request);
        index.is_some_and(|index| self.parked.remove(index).is_some())
    }

    /// Takes out the requests that have not left, with their attempts: the wire never got them.
    pub(crate) fn take_unsent(&mut self) -> impl Iterator<Item = (TaskId, u16)> + use<K> {
        mem::take(&mut self.parked).into_iter().filter_map(|message| match message {
            Outgoing::Request { task, attempt } => Some((task, attempt)),
            Outgoing::Cancel { .. } | Outgoing::Ping => None,
        })
    }

    /// Sends what was parked, then flushes. Where that cannot be sent here, call it again.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        tasks: &[TaskEntry],
    ) -> Result<(), SendError> {
        while let Some(&message) = self.parked.front() {
            let sent = self.try_send(cx, message, tasks);
            if matches!(sent, Ok(Poll::Pending)) {
                break;
            }
            self.parked.pop_front();
            let _ = sent?;
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

    /// Notes that the scheduler asked for a ping, whether it leaves at once or not.
    pub(crate) fn note_ping(&mut self) {
        self.life.on_ping(self.tally.messages());
    }

    /// Returns whether there is a ping to be taken for answered, though nothing whole has come.
    pub(crate) fn take_ping(&mut self) -> bool {
        self.life.take_ping(self.tally.messages())
    }

    fn note_quiet(&mut self) {
        self.life.on_quiet(self.wire.progress().received, self.tally.messages());
    }

    /// Returns whether what moves on the link is a sign of life, and until when the attempts whose
    /// deadline has come are put off, if they are.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        limits: (u32, Duration),
        overdue: Option<Overdue>,
    ) -> (bool, Option<Instant>) {
        let (rate_min, heartbeat_timeout) = limits;
        let rate_min = rate_min.min(self.wire.least_rate_max());
        let link = Looked {
            now,
            progress: self.wire.progress(),
            messages: self.tally.messages(),
            requests: self.tally.requests,
            is_backed_up: self.is_backed_up,
            answers: self.tally.answers,
            heartbeat_timeout,
            rate_min,
        };
        // Otherwise a ping is due first: the worker wants to hear something as well.
        let is_alive = self.life.look(&link) && self.take_ping();
        (is_alive, overdue.and_then(|overdue| self.life.put_off(&link, overdue)))
    }

    /// Returns how many answers have come.
    pub(crate) fn answers(&self) -> u64 {
        self.tally.answers
    }

    /// Returns whether a ping was sent and nothing whole has come since.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.life.awaits_pong(self.tally.messages())
    }

    /// Returns the oldest request that has not left, if there is one.
    pub(crate) fn first_unsent(&self) -> Option<TaskId> {
        self.parked.iter().find_map(|message| match *message {
            Outgoing::Request { task, .. } => Some(task),
            Outgoing::Cancel { .. } | Outgoing::Ping => None,
        })
    }

    #[expect(clippy::inline_always, reason = "as `send`")]
    #[inline(always)]
    fn try_send(
        &mut self,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<Poll<()>, SendError> {
        let sent = match &mut self.speech {
            Speech::Native => self.try_send_native(cx, message, tasks)?,
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

    #[expect(clippy::inline_always, reason = "as `send`")]
    #[inline(always)]
    fn try_send_native(
        &mut self,
        cx: &mut Context<'_>,
        message: Outgoing,
        tasks: &[TaskEntry],
    ) -> Result<Poll<()>, SendError> {
        let mut buffer = [0; BODY_HEAD_BYTES_MAX + HEIGHT_BYTES_MAX];
        let (len, body) = match message {
            Outgoing::Request { task, attempt } => {
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

    /// Says which limit a request is above, and where it is to be raised.
    #[cold]
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

impl From<DisconnectReason> for SendError {
    fn from(reason: DisconnectReason) -> Self {
        Self::Over(reason)
    }
}

/// Writes the head of one of a manager's later messages, and returns its length.
#[expect(clippy::inline_always, reason = "as `send`")]
#[inline(always)]
fn write_head(message: &Message<'_>, buffer: &mut [u8]) -> usize {
    let place = buffer.first_chunk_mut().expect("it is longer");
    message.encode_short(place).expect("a manager's later messages are short").len()
}

/// Refuses an answer to a request that has not left: it must not end the task before that.
#[cold]
fn check_sent(
    parked: &VecDeque<Outgoing>,
    task: TaskId,
    attempt: u16,
) -> Result<(), DisconnectReason> {
    if !parked.contains(&Outgoing::Request { task, attempt }) {
        return Ok(());
    }
    Err(DisconnectReason::protocol("answered a request that was not sent yet"))
}

/// Returns a failure, cut before anything is made of it.
#[cold]
fn failure_of(body: &[u8]) -> Result<&[u8], DisconnectReason> {
    failure::received(body).ok_or_else(|| {
        let text = "sent a failure whose text is not UTF-8, or which is longer than any";
        DisconnectReason::protocol(text)
    })
}

/// What was asked and what came, to tell a peer that floods us.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    answers: u64,
    pings: u64,
    pongs: u64,
    /// How many Pongs there were at the latest one that no Ping explains.
    told: u64,
    drains: bool,
}

impl Tally {
    fn messages(&self) -> u64 {
        self.answers + self.pongs
    }

    /// Judges an answer that the scheduler did not take.
    #[cold]
    fn check_answer(&self, error: EventError) -> Result<(), DisconnectReason> {
        let Self { answers, requests, .. } = self;
        let why = match error {
            EventError::Foreign => "answered a task that it never held".to_owned(),
            EventError::Stale if *answers > 2 * requests + EXCESS_MAX => {
                format!("sent {answers} answers to {requests} requests")
            }
            EventError::Stale => return Ok(()),
        };
        Err(DisconnectReason::protocol(why))
    }

    /// Returns what a message other than an answer means to the scheduler.
    #[cold]
    fn event(&mut self, link: Link, message: Message<'_>) -> Result<Event, DisconnectReason> {
        let why = match message {
            Message::Pong => {
                self.pongs += 1;
                return Ok(Event::Heard { link });
            }
            Message::Drain if !mem::replace(&mut self.drains, true) => {
                return Ok(Event::Draining { link });
            }
            Message::Drain => "sent Drain twice".to_owned(),
            Message::Goodbye { code, text } => {
                return Err(DisconnectReason::goodbye(code, text));
            }
            other => format!("sent {}, which is not a worker's to send now", other.kind()),
        };
        Err(DisconnectReason::protocol(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_a_request_that_has_not_left_ends_its_link_and_not_the_task() {
        let [task, other] = [7, 8].map(|slot| TaskId::from_parts(slot, 3));
        let parked = VecDeque::from([Outgoing::Ping, Outgoing::Request { task, attempt: 2 }]);
        assert!(check_sent(&parked, task, 2).is_err());
        assert!(check_sent(&parked, task, 1).is_ok());
        assert!(check_sent(&parked, other, 2).is_ok());
    }
}
