//! Ranges of heights and maps of requests under way: what is next in each, and outcomes on their way out
//! in batches. A map is a range whose heights are the places of its requests, counted from 0, and whose
//! stream leaves the requests themselves as it goes.

use alloc::collections::{BinaryHeap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use chargehand_core::io::Timer;
use chargehand_core::{Heap, Instant, Lane, Scheduler, SubmitError, TaskId, TaskOptions};

use self::intake::Requests;
pub(super) use self::pace::within_stream;
use self::pace::{Ahead, Pace};
use super::Driver;
use super::answers::Answers;
use super::task::{TaskEntry, TaskPayload, Whose};
use crate::budget::{Account, Budget};
use crate::error::TaskError;
use crate::link::erased::Kind;
use crate::mailbox::NewJob;
use crate::mailbox::batches::{Giver, Item, Need};
use crate::mailbox::range::{Ledger, Options, Work};
use crate::mailbox::result::TaskResult;
use crate::payload::{Answer, Body, Check, RangeHeight};
use crate::planted::planted;

mod intake;
mod pace;

/// A range is refilled in batches of at least this share (1/8) of its allowance, unless workers would
/// idle meanwhile.
const ROOM_SHARE: usize = 8;
/// At most this share (1/4) of what all workers hold waits in the scheduler for a worker, so that ranges
/// take turns when tasks are sent and not only when they are submitted.
const WAITING_SHARE: usize = 4;
const WAITING_MIN: usize = 2;
/// How many times a failed height is tried again, unless the caller says otherwise.
const RETRIES_MIN: u16 = 1;

/// All ranges of a pool. An index names a range as long as it has a task.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    slots: Vec<Option<Job>>,
    free: Vec<u32>,
    /// Those that may have a next height, in turn.
    feeding: VecDeque<u32>,
    /// Those with outcomes to hand over.
    delivering: Vec<u32>,
    /// What is to be cancelled for streams that are gone. Empty but for the moment.
    cuts: Vec<Cut>,
    count: usize,
    /// Some may go on once there is more memory.
    is_short: bool,
}

#[derive(Debug)]
struct Job {
    source: Source,
    giver: Giver,
    options: Options,
    /// How its tasks are done, where not as the pool says.
    own: Option<Arc<crate::options::TaskOptions>>,
    check: Check,
    pace: Pace,
    batch: Vec<Item>,
    is_delivering: bool,
    is_feeding: bool,
    dropped: bool,
}

/// What comes next.
#[derive(Debug)]
enum Source {
    /// By index: their order is that of the heights, whatever their type.
    Heights(Ledger),
    Requests(Requests),
}

impl Source {
    /// Returns the index of a task that is of this.
    fn index_of(&self, payload: &TaskPayload) -> u64 {
        match (self, payload) {
            (_, TaskPayload::Height { height, .. }) => height.to_index(),
            (
                Self::Requests(requests),
                TaskPayload::Request { whose: Whose::Item { place, .. }, .. },
            ) => requests.places.get(*place),
            _ => unreachable!("it is of this range or map"),
        }
    }

    fn requests(&mut self) -> &mut Requests {
        match self {
            Self::Requests(requests) => requests,
            Self::Heights(_) => unreachable!("it is a map"),
        }
    }
}

/// Heights of a range that are not wanted any more: those above one, or all.
#[derive(Clone, Copy, Debug)]
struct Cut {
    job: u32,
    above: Option<u64>,
}

impl Job {
    /// Returns its next height, which is a task now.
    #[expect(clippy::inline_always, reason = "it is called in one place, for every height")]
    #[inline(always)]
    fn advance(&mut self, height: u64, job: u32) -> TaskPayload {
        self.pace.in_flight += 1;
        self.pace.outstanding += 1;
        let is_again = !self.pace.again.is_empty() && self.pace.again.pop().is_some();
        match &mut self.source {
            Source::Heights(heights) => {
                if !is_again {
                    self.pace.next = height.checked_add(1).and_then(|from| heights.next_open(from));
                }
                let height = RangeHeight::from_index(height, self.options.is_signed);
                TaskPayload::Height { height, job }
            }
            Source::Requests(requests) if is_again => {
                let body = requests.again.remove(&height).expect("its request was kept");
                let place = requests.places.take(height);
                TaskPayload::Request { body, whose: Whose::Item { place, job } }
            }
            Source::Requests(requests) => {
                let (index, body) = requests.queue.pop_front().expect("it was looked at");
                self.pace.next = requests.next();
                let place = requests.places.take(index);
                TaskPayload::Request { body, whose: Whose::Item { place, job } }
            }
        }
    }

    /// Returns whether nothing more will come of it.
    #[inline]
    fn is_over(&self) -> bool {
        let is_ended = match &self.source {
            Source::Heights(_) => true,
            Source::Requests(requests) => requests.is_ended,
        };
        self.pace.next().is_none() && self.pace.in_flight == 0 && is_ended
    }

    /// Returns whether it is a map that waits for its source, and has nothing under way.
    fn waits_for_source(&self) -> bool {
        let Source::Requests(requests) = &self.source else { return false };
        let has_none = requests.waits && self.pace.next().is_none();
        has_none && self.pace.in_flight == 0 && self.batch.is_empty()
    }

    /// Puts nothing more in.
    fn stop(&mut self) {
        self.pace.next = None;
        self.pace.again = BinaryHeap::new();
        self.pace.is_stopped = true;
        if let Source::Requests(requests) = &mut self.source {
            requests.again.clear();
            requests.close();
        }
    }

    /// Puts nothing more in above a height that failed.
    fn stop_above(&mut self, height: u64) {
        self.pace.next = None;
        self.pace.again.retain(|Reverse(again)| *again < height);
        if let Source::Requests(requests) = &mut self.source {
            requests.again.retain(|again, _| *again < height);
            requests.close();
        }
    }

    /// Takes in what the stream of a map has left. What cannot be sent has its outcome with that.
    #[cold]
    fn take_requests_in(&mut self) {
        let Source::Requests(requests) = &mut self.source else { return };
        for request in core::mem::take(&mut requests.arriving) {
            let index = requests.count;
            requests.count += 1;
            match request {
                Ok(_) | Err(_) if requests.is_closed => {}
                Ok(body) => requests.queue.push_back((index, body)),
                Err(error) => {
                    self.pace.outstanding += 1;
                    self.batch.push(Item { height: index, result: Err(error) });
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
    #[cold]
    fn weigh(&mut self, index: u32, tasks: &[TaskEntry]) -> bool {
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
    source: &Source,
    height: u64,
    tasks: &[TaskEntry],
) -> bool {
    let is_below = |entry: &TaskEntry| {
        entry.payload.job() == Some(index) && source.index_of(&entry.payload) < height
    };
    next.is_none_or(|next| height < next) && !tasks.iter().any(is_below)
}

/// Submits a height with times of its own.
#[cold]
fn submit_timed(
    scheduler: &mut Scheduler<Heap>,
    now: Instant,
    options: &TaskOptions,
) -> Result<TaskId, SubmitError> {
    scheduler.submit_with(now, *options)
}

#[inline]
fn is_charged(item: Option<&Item>) -> bool {
    matches!(item, Some(Item { result: Ok(answer), .. }) if answer.charged_bytes() > 0)
}

impl Jobs {
    pub(crate) fn add(&mut self, new: NewJob, budget: &Arc<Budget>) {
        let NewJob { work, giver, options, own, check } = new;
        let (source, next) = match work {
            Work::Heights(heights) => {
                let next = heights.next_open(0);
                (Source::Heights(heights), next)
            }
            Work::Requests => (Source::Requests(Requests::default()), None),
        };
        let job = Job {
            source,
            giver,
            options,
            own,
            check,
            pace: Pace {
                next,
                again: BinaryHeap::new(),
                is_stopped: false,
                untaken: Account::new(budget),
                in_flight: 0,
                outstanding: 0,
                answer_bytes: 0,
                is_awaited: false,
            },
            batch: Vec::new(),
            is_delivering: false,
            is_feeding: true,
            dropped: false,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer ranges than 2^32")
        });
        self.slots[index as usize] = Some(job);
        self.feeding.push_back(index);
        self.count += 1;
        self.deliver_later(index);
    }

    /// Returns what the answers of a range are held against.
    #[inline]
    pub(crate) fn check_of(&self, job: u32) -> Check {
        let job = self.slots[job as usize].as_ref();
        job.expect("a range is there as long as it has a task").check
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
    fn rest(&mut self, ahead: Ahead) {
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
    #[expect(clippy::inline_always, reason = "it is called in one place, for every height")]
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
        job.batch.push(Item { height, result: Ok(answers.take(task)) });
        if job.pace.answer_bytes > 0 || is_charged(job.batch.last()) {
            job.weigh(index, tasks);
        }
        if !job.is_delivering {
            job.is_delivering = true;
            self.delivering.push(index);
        }
    }

    /// Returns which of a map's requests a task is.
    pub(crate) fn index_of(&self, job: u32, place: u32) -> u64 {
        match self.slots[job as usize].as_ref().map(|job| &job.source) {
            Some(Source::Requests(requests)) => requests.places.get(place),
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
    fn finished(&mut self, index: u32, height: u64, result: TaskResult) -> Option<Cut> {
        let mut cut = None;
        let job = self.slots[index as usize].as_mut().expect("a range stays while it has tasks");
        job.pace.in_flight -= 1;
        if matches!(result, Err(TaskError::Cancelled)) {
            // Because of another height, or because the stream is gone.
            job.pace.outstanding -= 1;
        } else {
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
    fn deliver(&mut self, ahead: Ahead) -> bool {
        let mut hungry = false;
        while let Some(index) = self.delivering.pop() {
            let job = self.slots[index as usize].as_mut().expect("only live ranges deliver");
            job.is_delivering = false;
            let ahead = ahead.with(job.options);
            let mut has_more = false;
            let taken = job.giver.give(&mut job.batch, |taken, intake| {
                job.pace.outstanding -= taken.count;
                job.pace.is_awaited = taken.is_idle;
                if let Source::Requests(requests) = &mut job.source {
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

impl<T: Timer, K: Kind> Driver<T, K> {
    /// Puts heights into the scheduler while it has room. Returns whether it got any.
    #[inline(never)]
    pub(crate) fn admit_heights(&mut self) -> bool {
        let mut any = false;
        let ahead = self.ahead();
        let retries_max = self.scheduler.config().retries_max.max(RETRIES_MIN);
        let mut room = self.room_for_heights();
        let Self { jobs, scheduler, tasks, now, ranges_first, has_own_times, .. } = self;
        while let Some(&index) = jobs.feeding.front() {
            let job = jobs.slots[index as usize].as_mut().expect("a feeding range is there");
            let ahead = ahead.with(job.options);
            let is_alone = jobs.feeding.len() == 1;
            let mut plain = TaskOptions::new().lane(Lane::Bulk);
            plain.retries_max = Some(retries_max);
            let own = job.own.as_ref().map(|own| {
                let mut options = plain;
                own.apply(&mut options, *now);
                options
            });
            *has_own_times |= own.is_some();
            loop {
                let Some(height) = job.pace.next_within(ahead) else {
                    jobs.rest(ahead);
                    break;
                };
                if room == 0 {
                    return any;
                }
                room -= 1;
                // Apart, so that the compiler sees what most of them do not have.
                let submitted = match &own {
                    None => scheduler.submit_with(*now, plain),
                    Some(own) => submit_timed(scheduler, *now, own),
                };
                let Ok(task) = submitted else { return any };
                any = true;
                *ranges_first = false;
                let entry = &mut tasks[task.slot() as usize];
                entry.payload = job.advance(height, index);
                entry.generation = task.generation();
                if !is_alone {
                    jobs.feeding.rotate_left(1);
                    break;
                }
            }
        }
        any
    }

    /// Takes the outcome of a range's height.
    pub(crate) fn on_height(&mut self, job: u32, height: u64, result: TaskResult) {
        if let Some(cut) = self.jobs.finished(job, height, result) {
            self.cancel_heights(&[cut]);
        }
    }

    /// Hands outcomes over to their streams, and cancels what belongs to a stream that is gone.
    /// Returns whether there is more for the scheduler to do now.
    pub(crate) fn deliver(&mut self) -> bool {
        self.answers.tidy();
        if self.scheduler.stats().resting > 0 {
            // More may rest than a moment ago, and then workers run dry sooner.
            self.jobs.look_again();
        }
        if self.jobs.delivering.is_empty() {
            return false;
        }
        let hungry = self.jobs.deliver(self.ahead());
        if !self.jobs.cuts.is_empty() {
            let cuts = core::mem::take(&mut self.jobs.cuts);
            self.cancel_heights(&cuts);
            return true;
        }
        hungry && !self.scheduler.is_full() && self.room_for_heights() > 0
    }

    /// Returns how many more heights may wait in the scheduler for a worker: they wait before all that
    /// comes later, of other ranges too.
    fn room_for_heights(&self) -> usize {
        let most = (self.peers.window_total() / WAITING_SHARE).max(WAITING_MIN);
        most.saturating_sub(self.scheduler.waiting(Lane::Bulk) as usize)
    }

    fn ahead(&self) -> Ahead {
        let twice = 2 * self.peers.window_total();
        let resting = self.scheduler.stats().resting as usize;
        Ahead { max: self.counted_max, plenty: twice + resting }
    }

    /// Costs a scan of the task table: a dropped stream and a range that stops are rare.
    fn cancel_heights(&mut self, cuts: &[Cut]) {
        for slot in 0..self.tasks.len() {
            let TaskEntry { payload, generation, .. } = &self.tasks[slot];
            let Some(job) = payload.job() else { continue };
            let source = self.jobs.slots[job as usize].as_ref().map(|job| &job.source);
            let height = source.expect("a range stays while it has tasks").index_of(payload);
            if cuts.iter().any(|cut| cut.job == job && cut.above.is_none_or(|at| height > at)) {
                let slot = u32::try_from(slot).expect("fewer tasks than 2^32");
                let task = TaskId::from_parts(slot, *generation);
                // Stale: it is finished, and its outcome is about to be polled.
                let _ = self.scheduler.cancel(self.now, task);
            }
        }
    }
}
