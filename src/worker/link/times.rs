//! What a link does as time passes: silence, pauses, and its end.

use core::task::Context;
use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::Wire;

use super::Connection;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;
use crate::worker::memory::Memory;
use crate::worker::settings::Settings;
use crate::worker::state::{Phase, ProtocolState};

/// Silence checks per heartbeat. Silence is reported after two heartbeats, at most one check late.
const LOOKS_PER_HEARTBEAT: u32 = 4;
/// The time between two checks of a link that ends once everything has been sent.
const LOOK_WHILE_SENDING: Duration = Duration::from_millis(100);
/// A link that has been paused for this many heartbeats gives back the requests that came meanwhile.
const PAUSE_HEARTBEATS: u32 = 4;
/// How many Pongs may have left for Pings that were not read yet. A manager takes 64.
const PONGS_AHEAD_MAX: u32 = 32;
/// How many times longer a link that has carried requests may be idle than one that has not, before it
/// makes room for others.
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

impl<W: Wire> Connection<W>
where
    W::Error: Into<BoxError>,
{
    /// Judges the silence, and says when to call again.
    pub(in crate::worker) fn on_time(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        settings: &Settings,
        memory: &Memory,
    ) -> Result<Instant, DisconnectReason> {
        let ProtocolState { leave_at, heartbeat, .. } = self.state;
        let mut next_look = now.saturating_add(heartbeat / LOOKS_PER_HEARTBEAT);
        if now < leave_at {
            next_look = next_look.min(leave_at);
        } else if self.is_stuck || self.unflushed {
            // The last answer is to arrive, however long it is.
            next_look = next_look.min(now.saturating_add(LOOK_WHILE_SENDING));
        } else {
            return Err(DisconnectReason::Stopped);
        }
        self.state.usage.look(now);
        let moved = self.wire.progress();
        let rate_min = settings.progress_rate_min.min(self.wire.least_rate_max());
        let alive = self.state.silence.look(now, moved, rate_min);
        if self.state.silence.is_arriving && self.state.phase == Phase::Up {
            self.tell_arriving(cx, now)?;
        }
        let is_paused = self.is_short(memory) || self.room.is_missing;
        if self.state.phase == Phase::Up && is_paused {
            self.on_pause(cx, now)?;
        } else {
            self.pause.since = None;
        }
        if self.pause.since.is_some() && !self.is_stuck {
            self.state.silence.pardon(now);
            return Ok(next_look);
        }
        let silence_max = heartbeat.saturating_mul(2);
        let patience = alive.saturating_add(silence_max);
        if now >= patience {
            return Err(DisconnectReason::Silent(silence_max));
        }
        Ok(next_look.min(patience))
    }

    /// Shows the manager that this side lives while a long message of its arrives: what it has sent since
    /// may lie behind that for long, a Ping as well, and as far as it can see all of it has left.
    fn tell_arriving(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(), DisconnectReason> {
        let is_native = self.state.speech.is_native();
        let is_due = is_native && !self.is_stuck && now >= self.pause.next_pong;
        if is_due && self.send_pong(cx)? {
            self.pause.next_pong = now.saturating_add(self.state.heartbeat / 2);
        }
        Ok(())
    }

    /// Shows the manager that this side lives, though it does not read for lack of memory; and gives
    /// back what comes where that takes long.
    fn on_pause(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), DisconnectReason> {
        let heartbeat = self.state.heartbeat;
        let since = *self.pause.since.get_or_insert(now);
        if now >= since.saturating_add(heartbeat.saturating_mul(PAUSE_HEARTBEATS)) {
            self.pause.since = Some(now);
            self.state.give_back_for_now();
            cx.waker().wake_by_ref();
        }
        let is_native = self.state.speech.is_native();
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
        let has_asked = self.state.usage.has_asked;
        let least = if has_asked { used_idle_min(idle_min) } else { idle_min };
        Some(Idle { has_asked, since, spare_at: since.saturating_add(least) })
    }
}

/// Returns how long a link that was of use keeps its place where others need room.
pub(in crate::worker) fn used_idle_min(idle_min: Duration) -> Duration {
    idle_min.saturating_mul(USED_IDLE_FACTOR)
}
