//! One range or map under way: what comes next in it, what it stops at, and how much it may hold.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use chargehand_core::{Instant, Key, QueueId, TaskOptions};

use super::intake::Requests;
use super::pace::Pace;
#[cfg(feature = "std")]
pub(super) use super::strip::RangeNotes;
#[cfg(not(feature = "std"))]
pub(super) use super::unstriped::RangeNotes;
use crate::driver::task::{TaskEntry, TaskPayload, Whose};
use crate::mailbox::batches::{Giver, Item};
use crate::mailbox::range::{Ledger, Options};
use crate::options::TaskKey;
use crate::payload::{Check, RangeHeight};
use crate::planted::planted;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) source: Supply,
    pub(super) giver: Giver,
    pub(super) options: Options,
    /// How its tasks are done, where not as the pool says.
    pub(super) own: Option<Arc<crate::options::TaskOptions>>,
    /// The key of its tasks, once it has it, if it is to have one.
    pub(super) key: Option<Key>,
    pub(super) check: Check,
    pub(super) pace: Pace,
    pub(super) tally: RangeNotes,
    pub(super) batch: Vec<Item>,
    pub(super) is_delivering: bool,
    pub(super) is_feeding: bool,
    pub(super) dropped: bool,
}

impl Job {
    /// Returns the options of its tasks, where they are not `plain`.
    pub(super) fn own_options(&self, plain: TaskOptions, now: Instant) -> Option<TaskOptions> {
        let own = self.own.as_ref()?;
        let mut options = plain;
        own.apply(&mut options, now);
        options.key = self.key;
        Some(options)
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Supply {
    /// By index: their order is that of the heights, whatever their type.
    Heights(Ledger),
    Requests(Requests),
}

impl Supply {
    /// Returns the index of a task that is of this.
    pub(super) fn index_of(&self, payload: &TaskPayload) -> u64 {
        match (self, payload) {
            (_, TaskPayload::Height { height, .. }) => height.to_index(),
            (
                Self::Requests(requests),
                TaskPayload::Request { whose: Whose::Item { place, .. }, .. },
            ) => requests.places.get(*place),
            _ => unreachable!("it is of this range or map"),
        }
    }

    pub(super) fn requests(&mut self) -> &mut Requests {
        match self {
            Self::Requests(requests) => requests,
            Self::Heights(_) => unreachable!("it is a map"),
        }
    }
}

impl Job {
    /// Returns how many tasks it has left that are not in the scheduler. Heights further on that are done
    /// already are not left out.
    #[cfg(feature = "choice")]
    pub(super) fn left(&self) -> u64 {
        match &self.source {
            Supply::Heights(heights) => {
                let last = heights.range().map(|range| *range.end());
                let left = last.zip(self.pace.next).map(|(last, next)| last.saturating_sub(next));
                left.map_or(0, |left| left.saturating_add(1))
            }
            Supply::Requests(requests) => requests.queue.len() as u64,
        }
    }

    /// Makes its next height a task's payload, in place: decision 0010.
    #[inline]
    pub(super) fn advance(&mut self, height: u64, job: u32, payload: &mut TaskPayload) {
        self.pace.in_flight += 1;
        self.pace.outstanding += 1;
        let Supply::Heights(heights) = &self.source else {
            return self.advance_map(height, job, payload);
        };
        if self.pace.again.is_empty() {
            self.pace.step(height, heights);
        } else {
            self.pace.take_again();
        }
        let height = RangeHeight::from_index(height, self.options.is_signed);
        *payload = TaskPayload::Height { height, job, check: self.check };
    }

    fn advance_map(&mut self, height: u64, job: u32, payload: &mut TaskPayload) {
        let is_again = self.pace.again.pop().is_some();
        *payload = match self.source.requests() {
            requests if is_again => {
                let body = requests.again.remove(&height).expect("its request was kept");
                let place = requests.places.take(height);
                TaskPayload::Request { body, whose: Whose::Item { place, job } }
            }
            requests => {
                let (index, body) = requests.queue.pop_front().expect("it was looked at");
                self.pace.next = requests.next();
                let place = requests.places.take(index);
                TaskPayload::Request { body, whose: Whose::Item { place, job } }
            }
        };
    }

    /// Returns which queue its tasks wait in.
    #[inline]
    pub(super) fn queue(&self) -> QueueId {
        self.own.as_ref().map_or(QueueId::DEFAULT, |own| own.queue_id())
    }

    /// Returns the key that it is to have, if any.
    pub(super) fn wanted_key(&self) -> Option<&TaskKey> {
        self.own.as_ref()?.key.as_ref()
    }

    /// Returns whether nothing more will come of it.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        let is_ended = match &self.source {
            Supply::Heights(_) => true,
            Supply::Requests(requests) => requests.is_ended,
        };
        self.pace.next().is_none() && self.pace.in_flight == 0 && is_ended
    }

    /// Returns whether it is a map that waits for its source, and has nothing under way.
    pub(super) fn waits_for_source(&self) -> bool {
        let Supply::Requests(requests) = &self.source else { return false };
        let has_none = requests.waits && self.pace.next().is_none();
        has_none && self.pace.in_flight == 0 && self.batch.is_empty()
    }

    /// Puts nothing more in.
    pub(super) fn stop(&mut self) {
        self.tally.note_stop(self.pace.next.take());
        for Reverse(height) in core::mem::take(&mut self.pace.again) {
            self.tally.note_dropped(&self.source, height);
        }
        self.pace.is_stopped = true;
        if let Supply::Requests(requests) = &mut self.source {
            requests.again.clear();
            requests.close();
        }
    }

    /// Puts nothing more in above a height that failed.
    pub(super) fn stop_above(&mut self, height: u64) {
        self.tally.note_stop(self.pace.next.take());
        let Self { pace, tally, source, .. } = self;
        pace.again.retain(|Reverse(again)| {
            let is_kept = *again < height;
            if !is_kept {
                tally.note_dropped(source, *again);
            }
            is_kept
        });
        if let Supply::Requests(requests) = &mut self.source {
            requests.again.retain(|again, _| *again < height);
            requests.close();
        }
    }

    /// Takes in what the stream of a map has left. What cannot be sent has its outcome with that.
    pub(super) fn take_requests_in(&mut self) {
        let Supply::Requests(requests) = &mut self.source else { return };
        for request in core::mem::take(&mut requests.arriving) {
            let index = requests.count;
            requests.count += 1;
            match request {
                Ok(_) | Err(_) if requests.is_closed => {}
                Ok(body) => requests.queue.push_back((index, body)),
                Err(error) => {
                    self.pace.outstanding += 1;
                    self.batch.push(Item { height: index, result: Err(error.into()) });
                    if self.options.stops {
                        requests.is_closed = true;
                        requests.is_ended = true;
                    }
                }
            }
        }
        self.pace.next = requests.next();
    }

    /// Holds the answer that came last against what the range may have. Where it is too much it is
    /// dropped, and its height asked for again: so answers that nobody takes keep no other from coming.
    /// Returns whether it was.
    pub(super) fn weigh(&mut self, index: u32, tasks: &[TaskEntry]) -> bool {
        let Self { source, pace, batch, giver, options, .. } = self;
        let charge = match batch.last_mut() {
            Some(Item { height, result: Ok(answer) }) => answer.charge().zip(Some(*height)),
            _ => None,
        };
        let Some((charge, height)) = charge else {
            pace.expect(0);
            return false;
        };
        let bytes = charge.bytes();
        pace.expect(bytes);
        charge.move_to(&pace.untaken);
        if pace.is_stopped || !pace.untaken.is_full() {
            return false;
        }
        let is_alone = batch.len() == 1;
        // A stream in order may have no room before it has this one.
        let is_next =
            || !options.is_ordered || is_lowest(pace.next(), index, source, height, tasks);
        // One goes on for a stream that waits, which takes it.
        let is_dropped = !is_alone || !giver.is_awaited() || !is_next();
        if is_dropped {
            batch.pop();
            // Not before there is room for as much.
            pace.answer_bytes = pace.answer_bytes.max(bytes);
            pace.outstanding -= 1;
            if !planted("a dropped answer is not asked for again") {
                pace.again.push(Reverse(height));
            }
        }
        is_dropped
    }
}

/// Returns whether no height of a range below this one is still to come, of those from `next` on and
/// those under way. Costs a scan of the task table.
fn is_lowest(
    next: Option<u64>,
    index: u32,
    source: &Supply,
    height: u64,
    tasks: &[TaskEntry],
) -> bool {
    let is_below = |entry: &TaskEntry| {
        entry.payload.job() == Some(index) && source.index_of(&entry.payload) < height
    };
    next.is_none_or(|next| height < next) && !tasks.iter().any(is_below)
}

#[inline]
pub(super) fn is_charged(item: Option<&Item>) -> bool {
    matches!(item, Some(Item { result: Ok(answer), .. }) if answer.charged_bytes() > 0)
}
