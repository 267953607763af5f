//! What was asked and what came on a link, to tell a peer that floods us.

use alloc::borrow::ToOwned;
use core::mem;

use chargehand_core::message::Message;
use chargehand_core::{Event, EventError, Instant, Link};

use crate::link::reason::DisconnectReason;

/// How many late or needless messages a peer may send beyond what it was ever asked.
pub(super) const EXCESS_MAX: u64 = 64;

/// How often a second a worker may say how far an attempt is, for each attempt that it may hold. Those of
/// this library say so ten times a second at most; what a network has held up comes all at once.
const PROGRESS_PER_SECOND: u64 = 16;

/// What was asked and what came, to tell a peer that floods us.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) answers: u64,
    pub(super) pings: u64,
    pub(super) pongs: u64,
    /// How many Pongs there were at the latest one that no Ping explains.
    pub(super) told: u64,
    drains: bool,
    /// The worker is still to say what it holds of its last link.
    awaits_list: bool,
    /// How many attempts it said that it holds of that. Each has an answer, which may be stale by now.
    pub(super) named: u64,
    progress: u64,
    /// How many times it said how long an attempt took.
    times: u64,
    /// How many attempts the worker may hold, and since when.
    window: u32,
    since: Instant,
}

impl Tally {
    pub(super) fn new(window: u32, since: Instant, awaits_list: bool) -> Self {
        Self { awaits_list, window, since, ..Self::default() }
    }

    /// Notes that a worker says what it still holds of its last link.
    pub(super) fn check_list(&mut self) -> Result<(), DisconnectReason> {
        if mem::take(&mut self.awaits_list) {
            return Ok(());
        }
        Err(DisconnectReason::protocol("said what it holds unasked, or twice"))
    }

    pub(super) fn messages(&self) -> u64 {
        self.answers + self.pongs + self.progress + self.times
    }

    /// Returns a number that changes with every message that the scheduler takes for a sign of life. How far an
    /// attempt is says nothing of that kind.
    pub(super) fn heard(&self) -> u64 {
        self.answers + self.pongs + u64::from(self.drains) + u64::from(!self.awaits_list)
    }

    /// Counts that a worker says how far an attempt is.
    pub(super) fn check_progress(&mut self, now: Instant) -> Result<(), DisconnectReason> {
        self.progress += 1;
        let seconds = now.saturating_since(self.since).as_secs() + 1;
        let most = seconds.saturating_mul(PROGRESS_PER_SECOND * u64::from(self.window));
        if self.progress <= most.saturating_add(EXCESS_MAX) {
            return Ok(());
        }
        let Self { progress, window, .. } = self;
        Err(DisconnectReason::protocol(format!(
            "said {progress} times in {seconds} s how far up to {window} attempts are: raise its \
             progress_interval"
        )))
    }

    /// Counts that a worker says how long an attempt took that it is about to answer.
    pub(super) fn check_took(&mut self) -> Result<(), DisconnectReason> {
        self.times += 1;
        let Self { times, answers, .. } = *self;
        if times <= answers.saturating_add(EXCESS_MAX) {
            return Ok(());
        }
        Err(DisconnectReason::protocol(format!(
            "said {times} times how long attempts took, and answered {answers}"
        )))
    }

    /// Judges an answer that the scheduler did not take.
    pub(super) fn check_answer(&self, error: EventError) -> Result<(), DisconnectReason> {
        let Self { answers, requests, named, .. } = self;
        let why = match error {
            EventError::Foreign => "answered a task that it never held".to_owned(),
            EventError::Stale if *answers > 2 * requests + named + EXCESS_MAX => {
                format!("sent {answers} answers to {requests} requests, and had named {named}")
            }
            EventError::Stale => return Ok(()),
        };
        Err(DisconnectReason::protocol(why))
    }

    /// Returns what a message other than an answer means to the scheduler.
    pub(super) fn event(
        &mut self,
        link: Link,
        message: Message<'_>,
    ) -> Result<Event, DisconnectReason> {
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
