//! Requests with a key: those with the same one go one after the other.

use std::time::Duration;

use super::{Held, Oracle, Rules};

/// A request that was sent while another one of its key seemed to be with a worker.
#[derive(Debug)]
pub(super) struct Doubt {
    at: Duration,
    /// By which link, and which sending that is.
    name: (String, u64),
    held: Held,
    wrong: String,
}

impl Oracle {
    /// A request has a key, and others with the same one do not go at the same time.
    pub(crate) fn on_keyed(&mut self, id: u64, key: u64) {
        self.requests.entry(id).or_default().key = Some(key);
    }

    /// A request goes to a worker while no other one of its key is with one. Only those others count of which
    /// it is plain that the pool has not given them up: it does so before anybody else sees it. Where there is a
    /// worker in the pool's own process, that is plain only once this moment is over.
    pub(super) fn check_key(&mut self, at: Duration, id: u64) {
        let Rules { attempts_max, resends_max, attempt_timeout, .. } = self.rules;
        let Some(key) = self.requests[&id].key else { return };
        if attempts_max < 2 || resends_max < 2 || self.is_ending {
            return;
        }
        self.count("request with a key sent");
        let is_plain = |held: &Held| {
            let request = &self.requests[&held.id];
            let sending = &request.sendings[held.at];
            let is_latest = held.at + 1 == request.sendings.len();
            let is_first = is_latest && (sending.attempt, sending.epoch) == (1, self.epoch);
            let is_open = !request.is_dropped && request.deadline.is_none();
            let is_open = is_open && !sending.is_given_up;
            let is_in_time = at < sending.sent + attempt_timeout;
            held.id != id && request.key == Some(key) && is_first && is_open && is_in_time
        };
        let live = self.links.iter().filter(|(_, link)| !link.is_over);
        let held = live.flat_map(|(name, link)| link.held.iter().map(move |held| (name, held)));
        let others = held.filter(|(_, held)| is_plain(held)).map(|(name, &held)| {
            let wrong = format!("request {id} was sent while {} has key {key}", held.id);
            Doubt { at, name: name.clone(), held, wrong }
        });
        let others: Vec<Doubt> = others.collect();
        self.doubts.extend(others);
        if !self.rules.is_helped {
            self.settle(Duration::MAX);
        }
    }

    /// The pool says that it has given up a link, or that it could not say everything.
    pub(crate) fn on_given_up(&mut self, at: Duration) {
        self.settle(at);
        for doubt in std::mem::take(&mut self.doubts) {
            self.sending(doubt.held).is_given_up = true;
        }
    }

    /// Sees what is wrong of what seemed to be before this moment: all ends of links that were decided with it have
    /// been seen.
    pub(crate) fn settle(&mut self, at: Duration) {
        // They are all of one moment.
        if self.doubts.first().is_none_or(|doubt| doubt.at >= at) {
            return;
        }
        for Doubt { name, held: Held { id, at }, wrong, .. } in std::mem::take(&mut self.doubts) {
            let is_it = |held: &Held| (held.id, held.at) == (id, at);
            let link = self.links.get(&name).filter(|link| !link.is_over);
            if link.is_some_and(|link| link.held.iter().any(is_it)) {
                self.found(|| wrong);
            }
        }
    }
}
