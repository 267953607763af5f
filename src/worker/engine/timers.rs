//! What is due when: handshakes, closing wires, silence, the drain's deadline.

use core::task::Context;
use core::time::Duration;

use chargehand_core::Instant;
use chargehand_core::io::Timer;

use super::away::{first_end, is_away};
use super::{Engine, LinkSlot, SCAN_INTERVAL, SlotState, index_u32};
use crate::handler::Handler;
use crate::link::quota::MESSAGES_ALONE;
use crate::link::reason::BoxError;
use crate::link::reason::DisconnectReason;
use crate::worker::clock::Now;
use crate::worker::events::WorkerEvent;
use crate::worker::source::LinkSource;

impl<S, T, H> Engine<S, T, H>
where
    S: LinkSource,
    S::Error: Into<BoxError>,
    <S::Wire as chargehand_core::io::Wire>::Error: Into<BoxError>,
    T: Timer,
    H: Handler,
{
    /// Does what is due.
    pub(super) fn on_time(&mut self) {
        while let Some(index) = self.opening.remove_due(self.clock.now()) {
            self.places[index as usize].opening = None;
            let limit = self.settings.handshake_timeout;
            self.on_end(index, DisconnectReason::HandshakeTimeout(limit));
        }
        let memory = &mut self.runner.memory;
        self.closing.drop_due(self.clock.now(), &mut |held| memory.release(&held));
        if self.pause.end(self.clock.now()) {
            self.source_entry.wake();
        }
        if self.room_at.is_some_and(|at| at <= self.clock.now()) {
            self.tell_room();
        }
        if self.scan_at <= self.clock.now() {
            self.scan();
        }
        self.tell_progress();
        self.end_absences(self.clock.now);
        if self.watch.due() <= self.clock.now() {
            for index in self.watch.take_turn(self.clock.now(), self.places.len()) {
                self.look_at_trust(index_u32(index));
            }
        }
        if self.drain_deadline.is_some_and(|deadline| deadline <= self.clock.now()) {
            self.drain_deadline = Some(Instant::FAR_FUTURE);
            for index in 0..self.places.len() {
                let limit = self.settings.drain_timeout;
                self.on_end(index_u32(index), DisconnectReason::DrainTimeout(limit));
            }
        }
        self.due = self.next_due();
    }

    /// Says how far those runs are whose time it is to say so.
    fn tell_progress(&mut self) {
        let now = self.clock.now();
        while let Some(run) = self.runner.reports.take_due(now) {
            let Some((owner, said)) = self.runner.take_said(run) else { continue };
            if is_away(owner) {
                continue; // It is said over the next link: see `Runner::take_over`.
            }
            let LinkSlot { entry, state, .. } = &mut self.places[owner.place as usize];
            let SlotState::Link(link) = state else { continue };
            let mut cx = Context::from_waker(entry.waker());
            let told = link.tell_progress(&mut cx, owner.slot, said);
            self.unflushed.push(owner.place);
            if let Err(end) = told {
                self.on_end(owner.place, end);
            }
        }
    }

    /// Looks at every link for silence, and at drained ones for their end.
    pub(super) fn scan(&mut self) {
        self.scanned = self.clock.now();
        let mut next = Instant::FAR_FUTURE;
        for index in 0..index_u32(self.places.len()) {
            let mut judged = self.judge(index);
            if let Some(Err(DisconnectReason::Silent(_))) = judged {
                // There may be unread bytes in the wire: a poll serves a limited number of links, and
                // this worker itself may be late.
                self.poll_place(index, MESSAGES_ALONE);
                judged = self.judge(index);
            }
            match judged {
                None => continue,
                Some(Ok(at)) => next = next.min(at),
                Some(Err(end)) => self.on_end(index, end),
            }
            self.unflushed.push(index);
        }
        self.scan_at = if next == Instant::FAR_FUTURE {
            next
        } else {
            next.max(self.clock.now().saturating_add(SCAN_INTERVAL))
        };
    }

    /// Looks at a link that is up, and returns when to look again.
    fn judge(&mut self, index: u32) -> Option<Result<Instant, DisconnectReason>> {
        let place = &mut self.places[index as usize];
        let LinkSlot { entry, state: SlotState::Link(link), up: true, .. } = place else {
            return None;
        };
        let mut cx = Context::from_waker(entry.waker());
        Some(link.on_time(&mut cx, self.clock.now(), &self.settings, &self.runner.memory))
    }

    /// Looks whether what a manager has proven still holds, on a link that is up.
    pub(super) fn look_at_trust(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        let LinkSlot { state: SlotState::Link(link), up: true, .. } = place else { return };
        match self.watch.judge(link.trust()) {
            Ok(news) => {
                for reason in news {
                    self.hook.call(|| WorkerEvent::Expiring { reason });
                }
            }
            Err(why) => self.on_end(index, DisconnectReason::NoLongerProven { why }),
        }
    }

    #[inline]
    pub(super) fn scan_soon_if_draining(&mut self) {
        if self.drain_deadline.is_some() {
            self.scan_at = self.clock.now();
            self.be_back_in(Duration::ZERO);
        }
    }

    /// Sees to it that this future is polled by then.
    pub(super) fn be_back_at(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// Sees to it that this future is polled so much later.
    pub(super) fn be_back_in(&mut self, span: Duration) {
        let at = self.clock.now().saturating_add(span);
        self.be_back_at(at);
    }

    pub(super) fn next_due(&self) -> Instant {
        let deadlines = [
            self.opening.next_due(),
            self.closing.next_due(),
            self.pause.until(),
            self.runner.reports.next_due(),
            first_end(&self.absentees),
            self.room_at,
            self.drain_deadline,
            Some(self.scan_at),
            Some(self.watch.due()),
        ];
        deadlines.into_iter().flatten().min().unwrap_or(Instant::FAR_FUTURE)
    }
}
