//! What a link does as time passes: silence, pauses, and its end.

use core::task::{Context, Poll};
use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::{Dialect, Wire};
use chargehand_core::message::{Code, HEAD_BYTES_MAX, Message};

use super::Link;
use crate::link::erased::BoxError;
use crate::worker::end::End;
use crate::worker::memory::Memory;
use crate::worker::settings::Settings;
use crate::worker::state::{Phase, State};

/// How often in a heartbeat a link is looked at for silence: so much later than after two heartbeats
/// it may be told.
const LOOKS_PER_HEARTBEAT: u32 = 4;
/// How often in a second a link is looked at that is to be left once everything has left.
const LOOK_WHILE_SENDING: Duration = Duration::from_millis(100);
/// A link that is paused for so many heartbeats gives back what came meanwhile.
const PAUSE_HEARTBEATS: u32 = 4;
/// How many Pongs may have left for Pings that were not read yet. A manager takes 64.
const PONGS_AHEAD_MAX: u32 = 32;
/// How much longer than one that was of no use a link that was may be idle where others need room.
const USED_IDLE_FACTOR: u32 = 30;

/// How long a link has been idle. The least of several makes room first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::worker) struct Idle {
    /// Whether it ever was of use.
    has_asked: bool,
    since: Instant,
    /// When it has been so for long enough.
    pub(in crate::worker) spare_at: Instant,
}

impl<W: Wire> Link<W>
where
    W::Error: Into<BoxError>,
{
    /// Says Goodbye. Poll [`poll_leave`](Self::poll_leave) from now on.
    pub(in crate::worker) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        code: Code,
        text: &str,
        memory: &mut Memory,
    ) {
        self.state.phase = Phase::Leaving;
        if self.state.dialect == Dialect::Native {
            let mut head = [0; HEAD_BYTES_MAX];
            let head = Message::Goodbye { code, text }.encode(&mut head);
            // If that fails, `poll_leave` will as well.
            let _ = self.send_bytes(cx, head, &[], memory);
        }
    }

    /// Completes once the wire is closed, or broken.
    pub(in crate::worker) fn poll_leave(
        &mut self,
        cx: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Poll<()> {
        if self.is_stuck && self.send_out(cx, memory).is_err() {
            return Poll::Ready(());
        }
        if self.is_stuck {
            return Poll::Pending;
        }
        self.wire.poll_close(cx).map(drop)
    }

    /// Judges the silence, and says when to call again.
    pub(in crate::worker) fn on_time(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        settings: &Settings,
        memory: &Memory,
    ) -> Result<Instant, End> {
        let State { leave_at, heartbeat, .. } = self.state;
        let mut next_look = now.saturating_add(heartbeat / LOOKS_PER_HEARTBEAT);
        if now < leave_at {
            next_look = next_look.min(leave_at);
        } else if self.is_stuck || self.unflushed {
            // The last answer is to arrive, however long it is.
            next_look = next_look.min(now.saturating_add(LOOK_WHILE_SENDING));
        } else {
            return Err(End::Leave(Code::Stopped, "the worker stops".into()));
        }
        self.state.work.look(now);
        let moved = self.wire.progress();
        let alive = self.state.life.look(now, moved, settings.progress_rate_min);
        let is_paused = self.is_short(memory) || self.room.is_missing;
        if self.state.phase == Phase::Up && is_paused {
            self.on_pause(cx, now)?;
        } else {
            self.pause.since = None;
        }
        if self.pause.since.is_some() && !self.is_stuck {
            self.state.life.pardon(now, moved);
            return Ok(next_look);
        }
        let patience = alive.saturating_add(heartbeat.saturating_mul(2));
        if now >= patience {
            let text = format!("nothing heard from the manager for twice {heartbeat:?}");
            return Err(End::Leave(Code::Timeout, text));
        }
        Ok(next_look.min(patience))
    }

    /// Shows the manager that this side lives, though it does not read for lack of memory; and gives
    /// back what comes where that takes long.
    #[cold]
    fn on_pause(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        let heartbeat = self.state.heartbeat;
        let since = *self.pause.since.get_or_insert(now);
        if now >= since.saturating_add(heartbeat.saturating_mul(PAUSE_HEARTBEATS)) {
            self.pause.since = Some(now);
            self.state.give_back_for_now();
            cx.waker().wake_by_ref();
        }
        let is_native = self.state.dialect == Dialect::Native;
        let is_due = is_native && !self.is_stuck && now >= self.pause.next_pong;
        if is_due && self.pause.pongs_ahead < PONGS_AHEAD_MAX && self.send_pong(cx)? {
            self.pause.pongs_ahead += 1;
            self.pause.next_pong = now.saturating_add(heartbeat);
        }
        Ok(())
    }

    /// Returns since when this link has been of no use, and from when on it makes room for another;
    /// `None` while something is under way on it.
    pub(in crate::worker) fn idle(&mut self, now: Instant, idle_min: Duration) -> Option<Idle> {
        let since = self.state.idle_since(now)?;
        let has_asked = self.state.work.has_asked;
        let least = if has_asked { used_idle_min(idle_min) } else { idle_min };
        Some(Idle { has_asked, since, spare_at: since.saturating_add(least) })
    }
}

/// Returns how long a link that was of use keeps its place where others need room.
pub(in crate::worker) fn used_idle_min(idle_min: Duration) -> Duration {
    idle_min.saturating_mul(USED_IDLE_FACTOR)
}
