//! Requests with a key: those with the same one go one after the other.

use std::time::Duration;

use super::{Caller, Held, Oracle, Rules};

impl Oracle {
    /// A request has a key, and others with the same one do not go at the same time.
    pub(crate) fn on_keyed(&mut self, id: u64, key: u64) {
        self.requests.entry(id).or_default().key = Some(key);
    }

    /// A request may be sent to two workers at once.
    pub(crate) fn on_hedged(&mut self, id: u64) {
        self.requests.entry(id).or_default().is_hedged = true;
    }

    /// A request begins in the pool's own process, so no other worker has it any more. It may be done before anybody
    /// sees that a link was given up for that.
    pub(crate) fn on_begin_here(&mut self, id: u64) {
        let request = self.requests.entry(id).or_default();
        request.before_here = request.sendings.len();
        request.has_begun_here = true;
    }

    /// A request goes to a worker while no other one of its key is with one. Only those others count of which
    /// it is plain that the pool has not given them up: it does so before anybody else sees it.
    pub(super) fn check_key(&mut self, at: Duration, id: u64) {
        let Rules { attempts_max, resends_max, attempt_timeout, .. } = self.rules;
        let Some(key) = self.requests[&id].key else { return };
        if attempts_max < 2 || resends_max < 2 || self.is_ending {
            return;
        }
        self.count("request with a key sent");
        let is_plain = |held: &&Held| {
            let request = &self.requests[&held.id];
            let sending = &request.sendings[held.at];
            let is_latest = held.at + 1 == request.sendings.len() && held.at >= request.before_here;
            let is_first = is_latest && (sending.attempt, sending.epoch) == (1, self.epoch);
            let is_open = request.caller == Caller::Waits && request.deadline.is_none();
            let is_in_time = at < sending.sent + attempt_timeout;
            held.id != id && request.key == Some(key) && is_first && is_open && is_in_time
        };
        let live = self.links.values().filter(|link| !link.is_over);
        let other = live.flat_map(|link| &link.held).find(is_plain).map(|held| held.id);
        if let Some(other) = other {
            self.found(|| format!("request {id} was sent while {other} has key {key}"));
        }
    }
}
