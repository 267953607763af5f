//! Bytes are life: whether a link that is about to be judged is only slow.
//!
//! A message that takes long to arrive, or to leave, is no silence, and no fault of the attempts behind
//! it. So before the scheduler judges a link it asks for a look, and the bytes that moved since the last
//! one speak for the link as long as they pay for it, by the least rate (`link/silence.rs`).

use core::time::Duration;

use chargehand_core::io::BytesMoved;
use chargehand_core::{Instant, TaskId};

use crate::link::silence::{AHEAD_MAX, Moved, Rate, paid};

/// How many bytes the systems between here and the worker may hold of what has left, as far as that puts
/// verdicts off.
const SYSTEM_BYTES_MAX: u64 = 4 << 20;

/// What moved on a link, and what waits for that.
#[derive(Debug)]
pub(crate) struct Life {
    moved: Moved,
    looked_at: Instant,
    /// Whether there was more to leave at the latest look.
    was_backed_up: bool,
    /// What had come at the latest read that brought nothing whole, and how many messages.
    quiet: (u64, u64),
    /// How many messages had come when one was seen to arrive in parts.
    arriving: Option<u64>,
    hold: Delay,
    /// How many signs of life had come when a ping was sent.
    pinged: Option<u64>,
    /// When the latest one was, or the link began.
    pinged_at: Instant,
    /// When the worker said last that a message arrives there, and until when that puts verdicts off.
    told_at: Option<Instant>,
    told_until: Option<Instant>,
    /// The attempt that may have waited at its worker and was given its time anew.
    begun: Option<TaskId>,
    /// How many attempts in a row were left to a strike, and after how many answers.
    verdicts: (u32, u64),
    /// The latest look was one of a manager that was itself away.
    pub(crate) is_pardoned: bool,
}

/// What the verdict on attempts whose deadline has come waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    Nothing,
    /// Until what was in transit has arrived: at most this many messages or, if `leaving`, requests. By
    /// then everything ahead of the attempt's own has got through.
    Moving {
        messages: u64,
        requests: u64,
        leaving: bool,
    },
    /// Until the worker has received what has left, which this many answers show.
    There {
        answers: u64,
    },
    /// For another whole attempt timeout: the request has only just left, or seems to have arrived. If
    /// something still arrives at the worker, that is waited for again, until as many answers have come as
    /// before.
    Begun {
        again: Option<u64>,
    },
}

/// A link as it is at a look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    pub(crate) now: Instant,
    pub(crate) progress: BytesMoved,
    /// How many messages have come, and requests gone into the wire.
    pub(crate) messages: u64,
    pub(crate) requests: u64,
    /// The wire has not let out all that it took.
    pub(crate) is_backed_up: bool,
    pub(crate) answers: u64,
    pub(crate) heartbeat_timeout: Duration,
    /// At how many bytes in a second a link is only slow.
    pub(crate) rate_min: u32,
}

/// An attempt whose deadline has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overdue {
    pub(crate) task: TaskId,
    /// How many attempts its worker holds, this one included.
    pub(crate) held: u32,
    /// How many of them the worker runs at once, where it may hold more.
    pub(crate) runs: Option<u32>,
    /// It ends with a strike, and not by a time of its task's own.
    pub(crate) is_strike: bool,
    /// When its request left, if the wire had no room for it at first.
    pub(crate) left: Option<Instant>,
    pub(crate) attempt_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
}

impl Life {
    pub(crate) fn new(now: Instant, progress: BytesMoved) -> Self {
        Self {
            moved: Moved::new(progress),
            looked_at: now,
            was_backed_up: false,
            quiet: (progress.received, 0),
            arriving: None,
            hold: Delay::Nothing,
            pinged: None,
            pinged_at: now,
            told_at: None,
            told_until: None,
            begun: None,
            verdicts: (0, 0),
            is_pardoned: false,
        }
    }

    /// Notes what had come when nothing whole had, and how many messages before that.
    pub(crate) fn on_quiet(&mut self, received: u64, messages: u64) {
        if received == self.quiet.0 {
            return;
        }
        // Otherwise some of it was of whole messages.
        if messages == self.quiet.1 {
            self.arriving = Some(messages);
        }
        self.quiet = (received, messages);
    }

    /// Notes that a ping was sent, after so many signs of life.
    pub(crate) fn on_ping(&mut self, heard: u64) {
        self.pinged = Some(heard);
    }

    /// Returns whether parts of a message have come after so many whole ones.
    #[inline]
    pub(crate) fn is_arriving(&self, messages: u64) -> bool {
        self.arriving == Some(messages)
    }

    /// Returns whether the worker has been sent no ping for so long, and takes one for sent then.
    pub(crate) fn take_due_ping(&mut self, now: Instant, interval: Duration) -> bool {
        let is_due = now.saturating_since(self.pinged_at) >= interval;
        if is_due {
            self.pinged_at = now;
        }
        is_due
    }

    /// Forgets the ping for which something is to stand in as an answer. Returns whether one was sent
    /// and no sign of life has come since.
    pub(crate) fn take_ping(&mut self, heard: u64) -> bool {
        self.pinged.take() == Some(heard)
    }

    /// Notes that the worker says that a message arrives there.
    pub(crate) fn on_told(&mut self, now: Instant) {
        self.told_at = Some(now);
    }

    /// Returns until when a message arrives at the worker, as it says, that has left here.
    fn arriving_there(&self, link: &Looked, interval: Duration) -> Option<Instant> {
        let told = self.told_at.map(|at| at.saturating_add(interval));
        told.filter(|until| *until > link.now)
    }

    /// Returns whether a ping was sent and no sign of life has come since.
    pub(crate) fn awaits_pong(&self, heard: u64) -> bool {
        self.pinged == Some(heard)
    }

    /// Returns whether a message that is on its way is a sign of life: what has moved since the last
    /// look pays for it. What came whole is heard as such, and pays for nothing that follows.
    pub(crate) fn look(&mut self, link: &Looked) -> bool {
        // What left without a delay says nothing.
        let was_backed_up = core::mem::replace(&mut self.was_backed_up, link.is_backed_up);
        let counts = link.is_backed_up || was_backed_up;
        // Whoever wants to know sooner of a silent worker wants to know it of one that fell silent in the
        // middle of an answer.
        let ahead_max = AHEAD_MAX.min(link.heartbeat_timeout);
        let from = core::mem::replace(&mut self.looked_at, link.now);
        let rate = Rate { min: link.rate_min, from, ahead_max, counts_sent: counts };
        let paid_until = self.moved.look(link.now, link.progress, rate);
        let is_moving = counts || self.is_arriving(link.messages);
        is_moving && paid_until > link.now
    }

    /// Returns until when the attempts of a link are put off of which one is overdue, if they are. Call
    /// it after [`look`](Self::look).
    pub(crate) fn put_off(&mut self, link: &Looked, overdue: Overdue) -> Option<Instant> {
        // It has its time from when it left: it cannot have begun before.
        let own = overdue.left.map(|left| left.saturating_add(overdue.attempt_timeout));
        own.filter(|until| *until > link.now)
            .or_else(|| self.put_off_moving(link, overdue))
            .or_else(|| self.put_off_waiting(link, overdue))
    }

    /// As [`put_off`](Self::put_off), for what is on its way.
    fn put_off_moving(&mut self, link: &Looked, overdue: Overdue) -> Option<Instant> {
        let Looked { now, messages, requests, is_backed_up, .. } = *link;
        let held = u64::from(overdue.held);
        let is_alive = self.moved.paid_until() > now;
        // The one that was seen to arrive, or what comes at its heels.
        let is_arriving = self.arriving.is_some_and(|before| messages - before <= 1);
        let there = self.arriving_there(link, overdue.heartbeat_interval);
        let before = core::mem::replace(&mut self.hold, Delay::Nothing);
        let waited = match before {
            Delay::There { answers } | Delay::Begun { again: Some(answers) } => Some(answers),
            _ => None,
        };
        if there.is_none() && waited.is_none() {
            self.told_until = None;
        }
        match (before, there) {
            _ if waited.is_some_and(|most| link.answers >= most) => None,
            (_, Some(until)) => {
                let bytes = link.progress.sent.min(SYSTEM_BYTES_MAX);
                let most = now.saturating_add(paid(bytes, link.rate_min));
                if *self.told_until.get_or_insert(most) <= now {
                    return None;
                }
                self.hold = Delay::There { answers: waited.unwrap_or(link.answers + held) };
                Some(until)
            }
            (Delay::There { answers }, None) => {
                self.hold = Delay::Begun { again: Some(answers) };
                Some(now.saturating_add(overdue.attempt_timeout))
            }
            (Delay::Nothing, None) if is_alive && (is_backed_up || is_arriving) => {
                self.hold = Delay::Moving {
                    messages: messages + held,
                    requests: requests + held,
                    leaving: is_backed_up,
                };
                Some(self.moved.paid_until())
            }
            (Delay::Moving { leaving: true, requests: most, .. }, None)
                if is_alive && (!is_backed_up || requests >= most) =>
            {
                self.hold = Delay::Begun { again: None };
                Some(now.saturating_add(overdue.attempt_timeout))
            }
            (Delay::Moving { messages: most, .. }, None) if is_alive && messages < most => {
                self.hold = before;
                Some(self.moved.paid_until())
            }
            _ => None,
        }
    }

    /// As [`put_off`](Self::put_off), for an attempt that may have waited at its worker: that it is the
    /// oldest one there is the first that is known of its beginning, so it has its time from now on.
    /// Where as many as the worker runs were struck, all its places are taken by what hangs, and nothing
    /// begins there. What ended by a time of its own is none of those: its worker has been told to drop it.
    fn put_off_waiting(&mut self, link: &Looked, overdue: Overdue) -> Option<Instant> {
        if self.verdicts.1 != link.answers {
            self.verdicts = (0, link.answers);
        }
        // Before the first answer a worker is given no more than it runs.
        let may_begin = link.answers > 0 && overdue.runs.is_some_and(|runs| self.verdicts.0 < runs);
        if may_begin && self.begun != Some(overdue.task) {
            self.begun = Some(overdue.task);
            return Some(link.now.saturating_add(overdue.attempt_timeout));
        }
        self.verdicts.0 = self.verdicts.0.saturating_add(overdue.is_strike.into());
        None
    }
}

#[cfg(test)]
mod tests;
