//! What is read from a link, and when it is not: its wire is full, or memory is short.

use core::task::{Context, Poll};

use chargehand_core::io::Wire;
use chargehand_core::message::Message;

use super::Connection;
use crate::budget::SMALL_BYTES_MAX;
use crate::handler::Handler;
use crate::link::read_on::stops_after;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;
use crate::worker::memory::Memory;
use crate::worker::runner::Runner;
use crate::worker::state::{Around, Limiter, Phase, Step, Stepped};

/// How many messages of a link that is broken are looked at for a Goodbye: a window of the largest kind.
const LAST_MESSAGES: usize = 4096;

/// What the budget has for the message that comes next.
pub(super) struct Arrival {
    /// What is set aside for one that the wire does not ask for, once the link is up.
    pub(super) share: usize,
    /// How long that may be now.
    pub(super) allowance: usize,
    /// How much was taken for one that is arriving.
    pub(super) arriving: usize,
    /// Whether there is one for which there is too little.
    pub(super) is_missing: bool,
    /// How many links there are of whoever this one counts for: what each may hold is a part of what one may.
    pub(super) kin: usize,
}

impl Default for Arrival {
    fn default() -> Self {
        Self { share: 0, allowance: usize::MAX, arriving: 0, is_missing: false, kin: 1 }
    }
}

/// What came of polling a link.
#[derive(Debug, Default)]
pub(in crate::worker) struct PollProgress {
    /// The handshake is over.
    pub(in crate::worker) up: bool,
    /// There may be more to read: poll again.
    pub(in crate::worker) more: bool,
}

impl<W: Wire> Connection<W>
where
    W::Error: Into<BoxError>,
{
    /// Reads, handles and answers until nothing is left to do now, or `budget` messages are read, or
    /// it is to be flushed and polled again. The progress counts whether the link then ends or not.
    pub(in crate::worker) fn poll<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        around: &mut Around<'_, H>,
        budget: usize,
        progress: &mut PollProgress,
    ) -> Result<(), DisconnectReason> {
        self.reads_on = false;
        self.go_on(cx, around)?;
        for count in 0..budget {
            if stops_after(count, around.reads_on, &mut self.wire) {
                self.reads_on = true;
                return Ok(());
            }
            let is_short = self.is_short(&around.runner.memory);
            if (self.is_stuck || is_short) && !self.may_read(is_short, around) {
                return Ok(());
            }
            if let Some(height) = self.state.take_next() {
                let step = self.state.on_height(height, around);
                self.carry_out(cx, step, around, progress)?;
                continue;
            }
            if self.state.speech.has_next() {
                return Ok(());
            }
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
                    // Here, and not through a function that `step` would be moved to: decision 0010.
                    if let Ok(Step::Answer(slot, verdict)) = step {
                        let Runner { body, memory, .. } = &mut *around.runner;
                        self.answer(cx, around.clock, slot, verdict, body, memory)?;
                    } else {
                        self.carry_out(cx, step, around, progress)?;
                        if progress.up && self.state.claim.is_some() {
                            // What it held before comes first.
                            progress.more = true;
                            return Ok(());
                        }
                    }
                }
                Poll::Ready(Ok(None)) => return Err(DisconnectReason::Closed),
                Poll::Ready(Err(error)) => return Err(DisconnectReason::reset(error)),
            }
        }
        progress.more = true;
        Ok(())
    }

    /// Goes on with what the last poll had to leave, and takes as much memory as it may have now.
    #[inline]
    fn go_on<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        around: &mut Around<'_, H>,
    ) -> Result<(), DisconnectReason> {
        if self.is_stuck {
            self.send_out(cx, &mut around.runner.memory)?;
        }
        if self.state.is_stalled {
            self.state.start_again(around);
        }
        if self.room.share == 0 && self.state.phase == Phase::Up {
            self.room.share = around.runner.memory.set_aside();
        }
        let allowance = around.runner.memory.allowance(self.room.share.max(SMALL_BYTES_MAX));
        if self.room.allowance != allowance && self.room.arriving == 0 {
            self.set_allowance(allowance);
        }
        Ok(())
    }

    /// Reads on to the manager's Goodbye, if there is one in what has come.
    pub(in crate::worker) fn last_words(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<DisconnectReason> {
        if !self.state.speech.is_native() {
            return None;
        }
        for _ in 0..LAST_MESSAGES {
            let Poll::Ready(Ok(Some(frame))) = self.wire.poll_recv(cx) else { return None };
            if let Ok(Message::Goodbye { code, text }) = Message::decode(frame) {
                return Some(DisconnectReason::goodbye(code, text));
            }
        }
        None
    }

    fn carry_out<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        step: Stepped,
        around: &mut Around<'_, H>,
        progress: &mut PollProgress,
    ) -> Result<(), DisconnectReason> {
        match step.map_err(|end| *end)? {
            Step::None => {}
            Step::Answer(slot, verdict) => {
                let Runner { body, memory, .. } = &mut *around.runner;
                self.answer(cx, around.clock, slot, verdict, body, memory)?;
            }
            Step::Pong => self.pong(cx)?,
            Step::Return(task, attempt) => self.give_back(cx, task, attempt)?,
            Step::Up => {
                let settings = around.settings;
                self.state.limit_answers(settings.frame_bytes_max, Limiter::Setting);
                self.state.limit_answers(self.wire.message_bytes_max(), Limiter::Transport);
                self.wire.limit_incoming(settings.frame_bytes_max);
                progress.up = true;
            }
        }
        Ok(())
    }

    /// Returns whether to read on though the wire is full, or memory is short.
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

    /// Returns whether the link holds as much as there is left, or its part of that where it has kin. Not where
    /// a message is arriving that has what it takes already.
    #[inline]
    pub(super) fn is_short(&self, memory: &Memory) -> bool {
        memory.is_short(self.state.held.saturating_mul(self.room.kin)) && self.room.arriving == 0
    }

    /// Notes how many links there are of whoever this one counts for.
    pub(in crate::worker) fn set_kin(&mut self, links: usize) {
        self.room.kin = links;
    }

    /// Admits messages up to this length without asking.
    fn set_allowance(&mut self, bytes: usize) {
        self.room.allowance = bytes;
        self.wire.admit(bytes);
    }

    /// Finds room for the message that the wire holds back. Returns whether to poll it again; if not, the
    /// link is polled once there is room, if there is a message at all.
    fn find_room<H: Handler>(&mut self, around: &mut Around<'_, H>) -> bool {
        let bytes = self.wire.incoming();
        if bytes == 0 {
            // What waited is short enough to be admitted without asking by now.
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
    fn has_come<H: Handler>(&mut self, around: &mut Around<'_, H>) {
        self.room.is_missing = false;
        let memory = &mut around.runner.memory;
        memory.end(around.place, &mut self.room.arriving);
        let allowance = memory.allowance(self.room.share.max(SMALL_BYTES_MAX));
        self.set_allowance(allowance);
    }

    /// Reads on after a pause for lack of memory.
    pub(in crate::worker) fn let_go(&mut self) {
        self.state.is_paused = false;
    }
}
