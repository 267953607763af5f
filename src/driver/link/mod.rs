//! One established link: its wire, what it still has to send, and what is read from it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::message::{Aside, BODY_HEAD_BYTES_MAX, Holding, Message, MessageError};
use chargehand_core::{EventError, Instant, Link, TaskId, Verdict};

use self::late::LeftLate;
pub(crate) use self::sending::SendError;
use self::sending::check_sent;
use self::tally::{EXCESS_MAX, Tally};
use super::answers::Answers;
use super::dialect::Speech;
use super::liveness::{Life, Looked, Overdue};
use super::outgoing::Outgoing;
use super::type_check::AnswerSink;
use crate::budget::{Charge, SMALL_BYTES_MAX, Share};
use crate::failure;
use crate::limits::Limits;
use crate::link::erased::{AnyWire, Kind};
use crate::link::read_on::stops_after;
use crate::link::reason::DisconnectReason;

mod late;
mod sending;
mod tally;

/// A worker may send one unasked Pong for each of these many bytes sent to it, to say that they arrive.
const PART_BYTES: u64 = 64;

/// How many windows of attempts a worker may name as those that it has of earlier links: one that it runs, one of
/// answers that may not have arrived, and as many again for what was withdrawn while it was away.
const WINDOWS_NAMED_MAX: usize = 4;

/// An established link.
#[allow(clippy::struct_excessive_bools, reason = "each is about something else")]
pub(crate) struct Conn<K: Kind> {
    pub(crate) wire: Box<K::Wire>,
    /// What the wire had no room for: a ping, withdrawals, requests, each in order. Holds at most a window of requests,
    /// and one withdrawal for each request that left before or that the worker has named as an earlier one.
    parked: VecDeque<Outgoing>,
    left_late: LeftLate,
    /// Something was sent since the last complete flush.
    pub(crate) dirty: bool,
    /// Nothing can be sent any more. What lies in the wire is being read.
    is_over: bool,
    tally: Tally,
    pub(crate) life: Life,
    /// When it was pinged last for a newcomer of its worker's name, and how much it had said by then.
    asked: Option<(Instant, u64)>,
    /// The last flush left something in the wire.
    is_backed_up: bool,
    /// The longest body of a request that both the wire and the worker take.
    body_bytes_max: usize,
    /// The longest frame that the worker takes.
    frame_bytes_max: usize,
    /// What the message that is arriving has of the budget, where that is more than the allowance.
    charge: Option<Charge>,
    /// What is set aside for a message that the wire does not ask for.
    share: Share,
    /// How long that may be now.
    allowance: usize,
    /// The wire has a message for which there is no room yet, and is not read until then.
    is_paused: bool,
    /// What the wire speaks, so that it need not be asked for every message.
    pub(crate) speech: Speech,
    /// The trace contexts of requests that have not left, by the slots of their tasks.
    #[cfg(feature = "tracing")]
    traces: alloc::collections::BTreeMap<u32, crate::traces::TraceContext>,
}

/// What a wire has of the budget: for a message that is arriving, and for one that comes unasked.
pub(crate) type Part = (Option<Charge>, Option<Share>);

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
        (window, frame_bytes_max, awaits_list): (u32, u32, bool),
        share: Share,
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
            share,
            allowance: usize::MAX,
            is_paused: false,
            parked: VecDeque::new(),
            #[cfg(feature = "tracing")]
            traces: alloc::collections::BTreeMap::new(),
            left_late: LeftLate::default(),
            // Whatever the handshake left in the buffer.
            dirty: true,
            is_over: false,
            tally: Tally::new(window, now, awaits_list),
            life: Life::new(now, wire.progress()),
            asked: None,
            is_backed_up: false,
            wire,
        }
    }

    /// Returns a number that changes with everything that the worker says.
    pub(crate) fn signs(&self) -> u64 {
        let Tally { answers, pongs, .. } = self.tally;
        self.wire.progress().received.wrapping_add(answers).wrapping_add(pongs)
    }

    /// Notes that the worker is to be pinged for a newcomer of its name, unless it was less than `interval` ago. Returns
    /// the signs when it was last, and whether that is now.
    pub(crate) fn ask(&mut self, now: Instant, interval: Duration) -> (u64, bool) {
        let lately = |&(at, _): &(Instant, u64)| now.saturating_since(at) < interval;
        if let Some((_, signs)) = self.asked.filter(lately) {
            return (signs, false);
        }
        let signs = self.signs();
        self.asked = Some((now, signs));
        (signs, true)
    }

    /// Reads messages into the scheduler, as far as the quota goes.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        quota: &mut Quota,
        sink: &mut AnswerSink<'_>,
    ) -> Result<ReadProgress, DisconnectReason> {
        self.renew_allowance();
        if !self.speech.is_native() {
            return self.read_json(cx, quota, sink);
        }
        for count in 0..quota.messages {
            if stops_after(count, quota.reads_on, &mut *self.wire) {
                return Ok(ReadProgress::One);
            }
            // In one look, so that it is not moved: decision 0010.
            let frame = match self.wire.poll_recv(cx) {
                Poll::Ready(Ok(Some(frame))) => frame,
                Poll::Ready(Ok(None)) => return Err(DisconnectReason::Closed),
                Poll::Ready(Err(error)) => return Err(DisconnectReason::reset(error)),
                Poll::Pending => {
                    if self.waits_for_room() && self.find_room(sink.link, sink.answers) {
                        continue;
                    }
                    if count > 0 {
                        return Ok(ReadProgress::Drained);
                    }
                    self.note_quiet();
                    return Ok(ReadProgress::Nothing);
                }
            };
            quota.bytes = quota.bytes.saturating_sub(frame.len());
            let is_long = frame.len() > SMALL_BYTES_MAX;
            // Without a `?`, which would move the message.
            match Message::decode(frame) {
                Ok(Message::Response { task, attempt, verdict, mut body }) => {
                    self.tally.answers += 1;
                    if !self.parked.is_empty() {
                        check_sent(&self.parked, task, attempt)?;
                    }
                    self.left_late.forget(task, attempt);
                    if verdict == Verdict::Failed {
                        body = failure_of(body)?;
                    }
                    if let Err(error) = sink.reply(task, attempt, verdict, body) {
                        self.tally.check_answer(error)?;
                    }
                }
                Err(MessageError::UnknownKind(_)) => {
                    on_aside(&mut self.tally, frame, sink)?;
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
            } else if is_long {
                self.renew_allowance();
            }
            if quota.bytes == 0 {
                break;
            }
        }
        Ok(ReadProgress::More)
    }

    /// Takes Pongs beyond the Pings for signs that parts of a long message arrive. Many more than the
    /// message has parts end the link.
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

    /// Admits without asking what there is plenty of room for now. Looked at after each long message too:
    /// one read brings many, and the last of them may find a budget that is full.
    fn renew_allowance(&mut self) {
        let allowance = self.share.allowance();
        if self.allowance != allowance && self.charge.is_none() {
            self.set_allowance(allowance);
        }
    }

    /// Admits messages up to this length without asking.
    fn set_allowance(&mut self, bytes: usize) {
        self.allowance = bytes;
        self.wire.admit(bytes);
    }

    /// Returns whether a message waits for room, or did when this was looked at last.
    #[inline]
    fn waits_for_room(&self) -> bool {
        self.is_paused || self.wire.incoming() > 0
    }

    /// Finds room for the message that the wire holds back. Returns whether to poll it again; if not and
    /// there is a message, it is polled once there is room.
    fn find_room(&mut self, link: Link, answers: &mut Answers) -> bool {
        let slot = link.worker().slot();
        let bytes = self.wire.incoming();
        if bytes == 0 {
            // What waited is short enough to be admitted without asking by now.
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
    fn has_come(&mut self, link: Link, answers: &mut Answers) {
        self.is_paused = false;
        answers.arrivals.end(link.worker().slot(), &mut self.charge);
        self.set_allowance(self.share.allowance());
    }

    /// Returns whether the link is not read for lack of memory.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Takes the link apart: into its wire, and what that has of the budget.
    pub(crate) fn into_wire(self) -> (Box<K::Wire>, Part) {
        (self.wire, (self.charge, Some(self.share)))
    }

    fn read_json(
        &mut self,
        cx: &mut Context<'_>,
        quota: &mut Quota,
        sink: &mut AnswerSink<'_>,
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
            // There is one at a time.
            self.left_late.clear();
            let is_long = frame.len() > SMALL_BYTES_MAX;
            if let Speech::Json(json) = &mut self.speech {
                json.on_frame(frame, sink)?;
            }
            if self.charge.is_some() || self.is_paused {
                self.has_come(sink.link, sink.answers);
            } else if is_long {
                self.renew_allowance();
            }
            // Room for the next request, if one waits.
            self.dirty |= !self.parked.is_empty();
        }
        Ok(ReadProgress::More)
    }

    /// Notes that the scheduler asked for a ping, whether it leaves at once or not.
    pub(crate) fn note_ping(&mut self) {
        self.life.on_ping(self.tally.heard());
    }

    /// Returns whether parts of a message have come, and it is not whole yet.
    #[inline]
    pub(crate) fn is_arriving(&self) -> bool {
        self.life.is_arriving(self.tally.messages())
    }

    /// Returns whether there is a ping to be taken for answered, though nothing whole has come that answers it.
    pub(crate) fn take_ping(&mut self) -> bool {
        self.life.take_ping(self.tally.heard())
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

    /// Returns when a request left that the wire had no room for at first, while it has no answer.
    pub(crate) fn left_at(&self, task: TaskId) -> Option<Instant> {
        self.left_late.at(task)
    }

    /// Returns how many answers have come.
    pub(crate) fn answers(&self) -> u64 {
        self.tally.answers
    }

    /// Returns whether a ping was sent and no sign of life has come since.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.life.awaits_pong(self.tally.heard())
    }
}

/// Takes what a worker says only because our Hello says that it is taken.
fn on_aside(
    tally: &mut Tally,
    frame: &[u8],
    sink: &mut AnswerSink<'_>,
) -> Result<(), DisconnectReason> {
    match Aside::decode(frame)? {
        Aside::Holding(holding) => {
            tally.check_list()?;
            tally.named = on_holding(holding, sink)?;
            Ok(())
        }
        Aside::Took(took) => {
            tally.check_took()?;
            sink.took(took);
            Ok(())
        }
        Aside::Progress(progress) => {
            tally.check_progress(sink.now)?;
            if let Err(error) = sink.progress(progress) {
                tally.check_answer(error)?;
            }
            Ok(())
        }
    }
}

/// Takes in what a worker still holds of its last link. Returns how many attempts it has named.
fn on_holding(holding: Holding<'_>, sink: &mut AnswerSink<'_>) -> Result<u64, DisconnectReason> {
    let window_max = sink.scheduler.config().window_max;
    let most = WINDOWS_NAMED_MAX.saturating_mul(window_max as usize).min(usize::from(u16::MAX));
    if holding.iter().nth(most).is_some() {
        return Err(DisconnectReason::protocol(format!(
            "said that it holds more than {most} attempts, which is {WINDOWS_NAMED_MAX} times the pool's \
             window_max of {window_max}: no worker comes to that by itself, so look into that one, or raise \
             window_max"
        )));
    }
    let mut named = 0;
    for (task, attempt) in holding.iter() {
        named += 1;
        if sink.kept(task, attempt) == Err(EventError::Foreign) {
            return Err(DisconnectReason::protocol(
                "named what it never held on an earlier link: was another manager started with this one's seed?",
            ));
        }
    }
    sink.listed();
    Ok(named)
}

/// Returns a failure, cut before anything is made of it.
fn failure_of(body: &[u8]) -> Result<&[u8], DisconnectReason> {
    failure::received(body).ok_or_else(|| {
        let text = "sent a failure whose text is not UTF-8, or which is longer than any";
        DisconnectReason::protocol(text)
    })
}
