//! What was asked and what came on a link, to tell a peer that floods us.

use alloc::borrow::ToOwned;
use core::mem;

use chargehand_core::message::Message;
use chargehand_core::{Event, EventError, Link};

use crate::link::reason::DisconnectReason;

/// How many late or needless messages a peer may send beyond what it was ever asked.
pub(super) const EXCESS_MAX: u64 = 64;

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
}

impl Tally {
    pub(super) fn messages(&self) -> u64 {
        self.answers + self.pongs
    }

    /// Judges an answer that the scheduler did not take.
    pub(super) fn check_answer(&self, error: EventError) -> Result<(), DisconnectReason> {
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
