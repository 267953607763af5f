//! Calls whose outcome nobody has asked for yet, where there is no room to keep it.
//!
//! A caller may submit many tasks and then take one outcome after the other, in any order. If those that
//! it takes last fill the budget, that one must still come which it waits for. So while the outcomes of
//! calls that nobody has taken are more than they leave to others, a call is sent only once somebody
//! asks for its outcome; and an answer that nobody has asked for is dropped, and its call sent again.

use core::mem;

use chargehand_core::io::Timer;

use super::Driver;
use crate::body::Body;
use crate::calls::{CallId, Submit};
use crate::error::TaskError;
use crate::payload::Answer;
use crate::reply::TaskResult;
use crate::wire::Kind;

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Returns whether a call has to wait for room, since nobody has asked for its outcome.
    #[cold]
    pub(super) fn is_to_wait(&self, call: CallId) -> bool {
        let answers = &self.answers.arrivals.answers;
        if !answers.is_full() || self.is_stopping() {
            return false;
        }
        // The doorbell rings for either: so look at both once more.
        answers.budget.await_more();
        self.ends.post.hold_back(true);
        answers.is_full() && !self.ends.post.is_awaited(call)
    }

    /// Keeps a call until it may be sent.
    #[cold]
    pub(super) fn hold_back(&mut self, submit: Submit) {
        self.held_back.push_back(submit);
    }

    /// Sends those that were held back and somebody asks for, and one more if there is room. Returns
    /// whether there was any.
    #[cold]
    pub(super) fn admit_held_back(&mut self) -> bool {
        let mut any = false;
        let mut has_room = !self.answers.arrivals.answers.is_full();
        for submit in mem::take(&mut self.held_back) {
            let Some(call) = submit.call() else { continue };
            // Those that it is told of may all be sent: it says that the pool stops.
            let is_free = self.is_stopping() || self.scheduler.room() > 0;
            // One at a time: how long its answer is nobody knows.
            let is_next = self.ends.post.is_awaited(call) || mem::take(&mut has_room);
            if is_free && is_next {
                any |= self.admit_one(submit);
            } else {
                self.held_back.push_back(submit);
            }
        }
        if self.held_back.is_empty() {
            self.ends.post.hold_back(false);
        } else {
            self.answers.arrivals.budget().await_more();
        }
        any
    }

    /// Ends a call that is cancelled while it is held back. Returns whether it was.
    pub(super) fn drop_held_back(&mut self, call: CallId) -> bool {
        let Some(at) = self.held_back.iter().position(|submit| submit.call() == Some(call)) else {
            return false;
        };
        self.held_back.remove(at);
        self.end_call(call, Err(TaskError::Cancelled));
        true
    }
}

/// Returns whether an outcome is held against the budget.
pub(super) fn is_charged(result: &TaskResult) -> bool {
    matches!(result, Ok(Answer::Bytes(Body::Charged(_))))
}
