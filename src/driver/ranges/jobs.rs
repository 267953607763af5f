//! All ranges and maps of a pool: whose turn it is to put in a height, and which have outcomes to hand over.

use alloc::collections::{BinaryHeap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use chargehand_core::TaskId;

use super::intake::Requests;
use super::job::{Job, RangeNotes, Supply, is_charged};
use super::pace::{Ahead, Pace};
use crate::budget::{Account, Budget};
use crate::driver::answers::Answers;
use crate::driver::task::{TaskEntry, TaskPayload, Whose};
use crate::error::TaskError;
use crate::mailbox::NewJob;
use crate::mailbox::batches::{Item, Need};
use crate::mailbox::range::Work;
use crate::mailbox::result::TaskResult;
use crate::options::KeyName;
use crate::payload::{Answer, Body, Check, RangeHeight};

/// A range is refilled in batches of at least this share (1/8) of its allowance, unless workers would
/// idle meanwhile.
const ROOM_SHARE: usize = 8;

/// Heights of a range that are not wanted any more: those above one, or all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) job: u32,
    pub(super) above: Option<u64>,
}

/// All ranges of a pool. An index names a range as long as it has a task.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(super) slots: Vec<Option<Job>>,
    free: Vec<u32>,
    /// Those that may have a next height, in turn.
    pub(super) feeding: VecDeque<u32>,
    /// Those with outcomes to hand over.
    pub(super) delivering: Vec<u32>,
    /// What is to be cancelled for streams that are gone. Empty but for the moment.
    pub(super) cuts: Vec<Cut>,
    /// Keys of those that are over. Empty but for the moment.
    pub(super) left_keys: Vec<KeyName>,
    count: usize,
    /// Some may go on once there is more memory.
    is_short: bool,
    /// How many tasks rested at the last look.
    pub(super) resting: u32,
}

/// For how many ranges it is looked up how much they have left.
#[cfg(feature = "choice")]
const SUMMED_UP: usize = 16;

impl Jobs {
    /// Returns how many tasks the next ranges and maps have left that are not in the scheduler, so far as
    /// they are known.
    #[cfg(feature = "choice")]
    pub(super) fn backlog(&self) -> u64 {
        let next = self.feeding.iter().take(SUMMED_UP);
        let jobs = next.filter_map(|&index| self.slots[index as usize].as_ref());
        jobs.fold(0, |sum: u64, job| sum.saturating_add(job.left()))
    }

    pub(crate) fn add(&mut self, new: NewJob, budget: &Arc<Budget>) {
        let NewJob { work, giver, options, own, check } = new;
        let source = match work {
            Work::Heights(heights) => Supply::Heights(heights),
            Work::Requests => Supply::Requests(Requests::default()),
        };
        let mut job = Job {
            source,
            giver,
            options,
            own,
            key: None,
            check,
            pace: Pace {
                next: None,
                open_to: 0,
                again: BinaryHeap::new(),
                is_stopped: false,
                untaken: Account::new(budget),
                in_flight: 0,
                outstanding: 0,
                answer_bytes: 0,
                is_awaited: false,
            },
            tally: RangeNotes::default(),
            batch: Vec::new(),
            is_delivering: false,
            is_feeding: true,
            dropped: false,
        };
        if let Supply::Heights(heights) = &job.source {
            job.pace.step_over(Some(0), heights);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer ranges than 2^32")
        });
        self.slots[index as usize] = Some(job);
        self.feeding.push_back(index);
        self.count += 1;
        self.deliver_later(index);
    }

    /// Returns what the answers of a map are held against.
    #[inline]
    pub(crate) fn check_of(&self, job: u32) -> Check {
        let job = self.slots[job as usize].as_ref();
        job.expect("a map is there as long as it has a task").check
    }

    /// Returns the span of a range or map, if it is traced.
    #[cfg(feature = "tracing")]
    pub(crate) fn span_of(&self, job: u32) -> Option<tracing::Span> {
        self.slots[job as usize].as_ref()?.own.as_ref()?.span.clone()
    }

    /// Returns whether a range may have a height to put in.
    #[inline]
    pub(crate) fn is_feeding(&self) -> bool {
        !self.feeding.is_empty()
    }

    /// Returns whether no range has anything to do. A map that waits for its source has not: it may for ever.
    pub(crate) fn is_idle(&self) -> bool {
        self.count == 0 || self.under_way() == 0
    }

    /// Returns whether there is no range.
    #[cfg(feature = "testing")]
    pub(crate) fn is_over(&self) -> bool {
        self.count == 0
    }

    /// Returns how many have something to do.
    pub(crate) fn under_way(&self) -> usize {
        self.slots.iter().flatten().filter(|job| !job.waits_for_source()).count()
    }

    /// Takes the range whose turn it is out of those that have a next height: it has none, or may not
    /// put it in now.
    #[inline]
    pub(super) fn rest(&mut self, ahead: Ahead) {
        let Some(index) = self.feeding.pop_front() else { return };
        let job = self.slots[index as usize].as_mut().expect("a feeding range is there");
        job.is_feeding = false;
        self.is_short |= job.pace.is_short();
        let is_told_later = job.pace.next().is_some() && !job.pace.starves(ahead);
        if !is_told_later {
            self.deliver_later(index);
        }
    }

    /// Takes a height's answer out of `answers`.
    #[expect(clippy::inline_always, reason = "a call of five arguments is a sixth of it")]
    #[inline(always)]
    pub(crate) fn done(
        &mut self,
        index: u32,
        height: RangeHeight,
        task: TaskId,
        answers: &mut Answers,
        tasks: &[TaskEntry],
    ) {
        let job = self.slots[index as usize].as_mut().expect("a range stays while it has tasks");
        job.pace.in_flight -= 1;
        let height = height.to_index();
        // In its place, rather than put together on the stack and moved: decision 0010.
        job.batch.push(Item::EMPTY);
        if let Some(Item { height: place, result: Ok(answer) }) = job.batch.last_mut() {
            *place = height;
            answers.swap(task, answer);
        }
        if job.pace.answer_bytes > 0 || is_charged(job.batch.last()) {
            job.weigh(index, tasks);
        }
        if !job.is_delivering {
            job.is_delivering = true;
            self.delivering.push(index);
        }
    }

    /// Returns which height of a range a task is, or which request of a map.
    pub(crate) fn height_of(&self, payload: &TaskPayload) -> Option<i128> {
        match *payload {
            TaskPayload::Height { height, .. } => Some(height.into()),
            TaskPayload::Request { whose: Whose::Item { place, job }, .. } => {
                Some(self.index_of(job, place).into())
            }
            _ => None,
        }
    }

    /// Returns which of a map's requests a task is.
    pub(crate) fn index_of(&self, job: u32, place: u32) -> u64 {
        match self.slots[job as usize].as_ref().map(|job| &job.source) {
            Some(Supply::Requests(requests)) => requests.places.get(place),
            _ => unreachable!("a map stays while it has tasks"),
        }
    }

    /// Returns which of a map's requests a task was that has ended.
    pub(crate) fn leave_place(&mut self, job: u32, place: u32) -> u64 {
        let job = self.slots[job as usize].as_mut().expect("a map stays while it has tasks");
        job.source.requests().places.leave(place)
    }

    /// Takes the answer of a map's request, which is asked again if there is no room for that.
    pub(crate) fn done_with(
        &mut self,
        index: u32,
        (height, body): (u64, Body),
        answer: Answer,
        tasks: &[TaskEntry],
    ) {
        let job = self.slots[index as usize].as_mut().expect("a map stays while it has tasks");
        job.pace.in_flight -= 1;
        job.batch.push(Item { height, result: Ok(answer) });
        if (job.pace.answer_bytes > 0 || is_charged(job.batch.last())) && job.weigh(index, tasks) {
            job.source.requests().again.insert(height, body);
        }
        self.deliver_later(index);
    }

    /// Takes any other outcome of a height. Returns what is to be cancelled for it.
    pub(super) fn finished(&mut self, index: u32, height: u64, result: TaskResult) -> Option<Cut> {
        let mut cut = None;
        let job = self.slots[index as usize].as_mut().expect("a range stays while it has tasks");
        job.pace.in_flight -= 1;
        if result.as_ref().is_err_and(|error| **error == TaskError::Cancelled) {
            // Because of another height, or because the stream is gone.
            job.pace.outstanding -= 1;
            job.tally.note_dropped(&job.source, height);
        } else {
            match result.as_ref().map_err(|error| &**error) {
                Ok(_) => {}
                Err(TaskError::Aborted | TaskError::Stopping) => {
                    job.tally.note_dropped(&job.source, height);
                }
                Err(_) => job.tally.note_failed(&job.source, height),
            }
            if job.options.stops && result.is_err() {
                job.stop_above(height);
                cut = Some(Cut { job: index, above: Some(height) });
            }
            job.batch.push(Item { height, result });
        }
        if !job.is_delivering {
            job.is_delivering = true;
            self.delivering.push(index);
        }
        cut
    }

    fn deliver_later(&mut self, index: u32) {
        let job = self.slots[index as usize].as_mut().expect("only live ranges deliver");
        if !job.is_delivering {
            job.is_delivering = true;
            self.delivering.push(index);
        }
    }

    /// Returns whether some may go on since there may be more memory: then look at them again.
    #[inline]
    pub(crate) fn are_short(&mut self) -> bool {
        core::mem::take(&mut self.is_short)
    }

    /// Looks at every range that waits for its stream to take outcomes.
    pub(crate) fn look_again(&mut self) {
        for index in 0..self.slots.len() {
            if self.slots[index].is_some() {
                self.deliver_later(u32::try_from(index).expect("fewer ranges than 2^32"));
            }
        }
    }

    /// Lets no range put another height in: the pool stops.
    pub(crate) fn stop(&mut self) {
        for job in self.slots.iter_mut().flatten() {
            job.stop();
        }
        self.look_again();
    }

    /// Ends every stream, whatever is still missing.
    pub(crate) fn end_all(&mut self) {
        for mut job in self.slots.drain(..).flatten() {
            job.giver.end();
        }
        *self = Self::default();
    }

    /// Hands all batches over, and notes what is to be cancelled. Returns whether a range should put
    /// more in at once.
    #[inline]
    pub(super) fn deliver(&mut self, ahead: Ahead) -> bool {
        let mut hungry = false;
        while let Some(index) = self.delivering.pop() {
            let job = self.slots[index as usize].as_mut().expect("only live ranges deliver");
            job.is_delivering = false;
            let ahead = ahead.with(job.options);
            let mut has_more = false;
            let taken = job.giver.give(&mut job.batch, |taken, intake| {
                job.pace.outstanding -= taken.count;
                job.pace.is_awaited = taken.is_idle;
                if let Supply::Requests(requests) = &mut job.source {
                    let is_hungry = |here| job.pace.in_flight + here <= ahead.plenty;
                    has_more = requests.take(intake, is_hungry);
                    // There is a next one, whichever it is: see what it needs.
                    job.pace.next = job.pace.next.or(has_more.then_some(requests.count));
                }
                match job.pace.starves(ahead) {
                    false => Need::Nothing,
                    true if job.pace.is_short() => Need::Memory,
                    true => Need::Room,
                }
            });
            if taken.dropped && !job.dropped {
                job.dropped = true;
                job.stop();
                self.cuts.push(Cut { job: index, above: None });
            }
            if has_more {
                job.take_requests_in();
                if !job.batch.is_empty() {
                    job.is_delivering = true;
                    self.delivering.push(index);
                    continue;
                }
            }
            self.is_short |= job.pace.is_short();
            if job.is_over() {
                job.giver.end();
                if !job.is_feeding {
                    let key = job.key.and(job.wanted_key());
                    self.left_keys.extend(key.map(|key| key.name.clone()));
                    self.slots[index as usize] = None;
                    self.free.push(index);
                    self.count -= 1;
                }
            } else if job.pace.next_within(ahead).is_some() {
                let is_hungry = job.pace.in_flight <= ahead.plenty;
                hungry |= is_hungry;
                let has_much_room = ahead.max - job.pace.outstanding >= ahead.max / ROOM_SHARE;
                if !job.is_feeding && (is_hungry || has_much_room) {
                    job.is_feeding = true;
                    self.feeding.push_back(index);
                }
            }
        }
        hungry
    }
}
