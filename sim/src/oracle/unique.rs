//! Calls of which only one is under way for each key: the others have its outcome.
//!
//! Which of them it is that a pool sends is not seen from outside. So whoever may be it counts, where an outcome is
//! judged, and only who is it for certain, where it is judged that another one must not be sent.

use std::time::Duration;

use super::{Answered, Caller, Oracle, Request};

/// What is known of a call that may have the outcome of another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unique {
    key: u64,
    queue: usize,
    epoch: u32,
    /// When it was submitted, accepted and ended, as its caller knows, in the order of all that happened.
    submitted: u64,
    submitted_at: Duration,
    pub(super) accepted: Option<u64>,
    ended: Option<u64>,
    /// When its caller dropped it while nobody else asked the same: it ends with that.
    left_alone: Option<Duration>,
    /// Nobody else asked the same when it was submitted.
    is_first: bool,
    /// There was room for it at once.
    has_room: bool,
}

impl Unique {
    /// Whether it is over by the time the other one is asked.
    fn is_over_before(&self, other: &Self, lateness: Duration) -> bool {
        let is_left = self.left_alone.is_some_and(|at| at + lateness < other.submitted_at);
        is_left || self.ended.is_some_and(|ended| ended < other.submitted)
    }
}

impl Oracle {
    /// A call is submitted of whose key one is under way, for all who ask.
    pub(crate) fn on_unique(&mut self, id: u64, key: u64, queue: usize, at: Duration) {
        let is_first = !self.alike(key).any(|(_, other)| is_open(other));
        let is_open = |request: &&Request| request.is_accepted && request.outcomes == 0;
        let open = self.requests.values().filter(is_open).count();
        let (submitted, epoch, has_room) = (self.next(), self.epoch, open < self.rules.room);
        let unique = Unique {
            key,
            queue,
            epoch,
            submitted,
            submitted_at: at,
            accepted: None,
            ended: None,
            left_alone: None,
            is_first,
            has_room,
        };
        let request = self.requests.entry(id).or_default();
        request.unique = Some(unique);
        request.key = Some(key);
    }

    fn alike(&self, key: u64) -> impl Iterator<Item = (u64, &Unique)> {
        let all = self
            .requests
            .iter()
            .filter_map(|(id, request)| request.unique.as_ref().map(|unique| (*id, unique)));
        all.filter(move |(_, unique)| unique.key == key)
    }

    /// Returns whose outcome that of a request may be: its own, and that of whoever was asked the same in the
    /// meantime.
    pub(super) fn leaders(&self, id: u64) -> Vec<u64> {
        let mut leaders = vec![id];
        if let Some(unique) = &self.requests[&id].unique {
            let lateness = self.rules.lateness;
            let others = self.alike(unique.key).filter(|(other, theirs)| {
                let is_over = theirs.is_over_before(unique, lateness);
                *other != id && theirs.epoch == unique.epoch && !is_over
            });
            leaders.extend(others.map(|(other, _)| other));
        }
        leaders
    }

    /// A request has its outcome.
    pub(super) fn end_unique(&mut self, id: u64) {
        let order = self.next();
        if let Some(unique) = &mut self.requests.get_mut(&id).expect("it was accepted").unique {
            unique.ended = Some(order);
        }
    }

    /// The caller of a request is gone: others may wait for it.
    pub(super) fn leave_others(&mut self, id: u64, at: Duration) {
        let Some(unique) = self.requests.get(&id).and_then(|request| request.unique) else {
            return;
        };
        let is_for_others = |(other, theirs): (u64, &Unique)| other != id && is_open(theirs);
        let is_alone = !self.alike(unique.key).any(is_for_others);
        if let Some(unique) = &mut self.requests.get_mut(&id).expect("just seen").unique {
            unique.left_alone = is_alone.then_some(at);
        }
    }

    /// Returns whether others may have the outcome of a request that its own caller does not wait for.
    pub(super) fn may_be_for_others(&self, id: u64) -> bool {
        let request = &self.requests[&id];
        request.unique.is_some() && request.caller == Caller::Gone && request.outcomes == 0
    }

    /// Returns when an answer came, if that was before somebody asked for it.
    pub(super) fn is_older(&self, id: u64, answered: Option<Duration>) -> Option<Duration> {
        let unique = self.requests[&id].unique?;
        answered.filter(|&answered| answered + self.rules.lateness < unique.submitted_at)
    }

    /// A request is sent: so nobody was under way, as it was asked, of whom it had to have the outcome.
    pub(super) fn check_unique(&mut self, id: u64) {
        let Some(unique) = self.requests[&id].unique else { return };
        if self.is_ending || self.rules.room == 0 {
            return;
        }
        self.count("request of a key sent that others wait for");
        let leader = self.alike(unique.key).find(|&(other, theirs)| {
            let is_before = theirs.accepted.is_some_and(|accepted| accepted < unique.submitted);
            let is_there = other != id && theirs.epoch == self.epoch && is_before;
            // Those of other queues may have been taken before it.
            let mut alike = self.alike(unique.key);
            let is_certain = theirs.is_first
                && alike.all(|(_, third)| {
                    let is_over = third.ended.is_some_and(|ended| ended < theirs.submitted);
                    third.queue == unique.queue || is_over
                });
            is_there && is_certain && self.has_to_be_waited_for(other, &unique)
        });
        if let Some((leader, _)) = leader {
            self.found(|| format!("request {id} was sent, and has the unique key of {leader}"));
        }
    }

    /// Returns whether a request was under way for certain as another one was taken.
    fn has_to_be_waited_for(&self, leader: u64, by: &Unique) -> bool {
        let request = &self.requests[&leader];
        let waits = request.caller == Caller::Waits && request.deadline.is_none();
        if !waits || request.has_begun_here {
            return false;
        }
        // It waits for its first worker, or for another one after it was given back.
        let is_open = request.outcomes == 0
            && (request.sendings.is_empty() || self.is_open_for_certain(leader));
        // The other one was taken at once, and its only answer came later than that.
        let is_later = by.has_room
            && request.sendings.len() == 1
            && matches!(request.sendings[0].answered, Some((Answered::Useful, at))
                if at > by.submitted_at + self.rules.lateness);
        is_open || is_later
    }
}

/// Whether somebody may still wait for it.
fn is_open(unique: &Unique) -> bool {
    unique.ended.is_none() && unique.left_alone.is_none()
}
