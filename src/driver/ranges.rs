//! Ranges of heights under way: what is next in each, and outcomes on their way out in batches.

use alloc::collections::{BinaryHeap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use chargehand_core::io::Timer;
use chargehand_core::{Lane, TaskId, TaskOptions};

use super::Driver;
use super::answers::Answers;
use super::task::{TaskEntry, TaskPayload};
use crate::budget::{Account, Budget};
use crate::error::TaskError;
use crate::link::erased::Kind;
use crate::mailbox::NewJob;
use crate::mailbox::batches::{Giver, Item, Need};
use crate::mailbox::range::{Ledger, Options};
use crate::mailbox::result::TaskResult;
use crate::payload::{Check, RangeHeight};

/// A range puts heights in once there is room for this share of those that may be under way, so that it
/// puts in many at once: unless workers would run dry meanwhile.
const ROOM_SHARE: usize = 8;
/// Heights that wait in the scheduler for a worker: at most this share of what all workers hold, so that
/// ranges take turns where tasks are sent and not only where they are put in.
const WAITING_SHARE: usize = 4;
const WAITING_MIN: usize = 2;
/// How often a height is tried again that failed, where nobody said.
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

/// How far ahead of its stream a range goes.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    /// Heights under way at most, those included that the stream holds or has not taken.
    max: usize,
    /// With more than this many tasks in the scheduler, no worker runs dry before the next answer
    /// comes. Then nobody needs to be woken just to put more in. Those that rest before they are
    /// tried again keep no worker busy, so they come on top.
    plenty: usize,
}

#[derive(Debug)]
struct Job {
    /// By index: their order is that of the heights, whatever their type.
    heights: Ledger,
    giver: Giver,
    options: Options,
    check: Check,
    pace: Pace,
    batch: Vec<Item>,
    is_delivering: bool,
    is_feeding: bool,
    dropped: bool,
}

/// How far a range has got.
#[derive(Debug)]
struct Pace {
    /// The next height to look at; `None` past the last.
    next: Option<u64>,
    /// Heights whose answers were dropped for want of memory, to be asked for again: the lowest first.
    /// All are below the next.
    again: BinaryHeap<Reverse<u64>>,
    /// Nothing more is put in.
    is_stopped: bool,
    /// Answers that nobody has taken yet.
    untaken: Arc<Account>,
    /// Tasks in the scheduler.
    in_flight: usize,
    /// Tasks in the scheduler, and outcomes that the stream holds or has not taken.
    outstanding: usize,
    /// How many bytes an answer has on average, as far as they are held against the budget.
    answer_bytes: usize,
    /// Whether the stream waits for more, as far as it said so. It does where memory is short.
    is_awaited: bool,
}

/// Heights of a range that are not wanted any more: those above one, or all.
#[derive(Clone, Copy, Debug)]
struct Cut {
    job: u32,
    above: Option<u64>,
}

impl Ahead {
    fn with(self, options: Options) -> Self {
        Self { max: options.ahead_max.unwrap_or(self.max), ..self }
    }
}

impl Pace {
    /// Returns the next height, if there is one.
    #[inline]
    fn next(&self) -> Option<u64> {
        if self.again.is_empty() {
            return self.next;
        }
        self.again.peek().map(|Reverse(height)| *height)
    }

    /// Returns the next height if the range may go so far ahead.
    #[inline]
    fn next_within(&self, ahead: Ahead) -> Option<u64> {
        if self.is_far(ahead) { None } else { self.next() }
    }

    /// Returns whether only the stream can keep the workers from running dry.
    #[inline]
    fn starves(&self, ahead: Ahead) -> bool {
        self.next().is_some() && self.in_flight <= ahead.plenty && self.is_far(ahead)
    }

    /// Returns whether the range is as far ahead as it may be.
    #[inline]
    fn is_far(&self, ahead: Ahead) -> bool {
        self.outstanding >= ahead.max || self.is_short()
    }

    /// Returns whether what nobody has taken, with what is to come, is more than what it leaves to
    /// others. If so, the doorbell rings once there is more memory.
    #[inline]
    fn is_short(&self) -> bool {
        self.answer_bytes > 0 && self.is_short_of_memory()
    }

    #[cold]
    fn is_short_of_memory(&self) -> bool {
        // Of a range whose stream has nothing left one height is always under way.
        if self.in_flight == 0 && self.is_awaited {
            return false;
        }
        let expected = self.answer_bytes.saturating_mul(self.in_flight + 1);
        let is_short = || !self.untaken.has_room_for(expected);
        is_short() && {
            self.untaken.budget.await_more();
            is_short()
        }
    }

    /// Puts nothing more in.
    fn stop(&mut self) {
        self.next = None;
        self.again = BinaryHeap::new();
        self.is_stopped = true;
    }

    /// Reckons with an answer of so many bytes.
    fn expect(&mut self, bytes: usize) {
        let average = &mut self.answer_bytes;
        // By an eighth of the difference, and down to nothing where only short ones come.
        *average = if *average == 0 { bytes } else { *average - average.div_ceil(8) + bytes / 8 };
    }
}

impl Job {
    /// Notes that its next height is a task now.
    #[inline]
    fn advance(&mut self, height: u64) {
        if self.pace.again.pop().is_none() {
            self.pace.next = height.checked_add(1).and_then(|from| self.heights.next_open(from));
        }
        self.pace.in_flight += 1;
        self.pace.outstanding += 1;
    }

    /// Holds the answer that came last against what the range may have. Where it is too much it is
    /// dropped, and its height asked for again: so answers that nobody takes keep no other from coming.
    #[cold]
    fn weigh(&mut self, index: u32, tasks: &[TaskEntry]) {
        let Self { pace, batch, giver, options, .. } = self;
        let Some(Item { height, result: Ok(answer) }) = batch.last_mut() else {
            return pace.expect(0);
        };
        let Some(charge) = answer.charge() else { return pace.expect(0) };
        let bytes = charge.bytes();
        pace.expect(bytes);
        charge.move_to(&pace.untaken);
        if pace.is_stopped || !pace.untaken.is_full() {
            return;
        }
        let height = *height;
        let is_alone = batch.len() == 1;
        let is_in_order = options.ahead_max.is_some();
        // A stream in order may have no room before it has this one.
        let is_next = || !is_in_order || is_lowest(pace.next(), index, height, tasks);
        // One goes on for a stream that waits, which takes it.
        if !is_alone || !giver.is_awaited() || !is_next() {
            batch.pop();
            // Not before there is room for as much.
            pace.answer_bytes = pace.answer_bytes.max(bytes);
            pace.outstanding -= 1;
            pace.again.push(Reverse(height));
        }
    }
}

/// Returns whether no height of a range below this one is still to come, of those from `next` on and
/// those under way. Costs a scan of the task table.
fn is_lowest(next: Option<u64>, index: u32, height: u64, tasks: &[TaskEntry]) -> bool {
    let is_below = |entry: &TaskEntry| {
        matches!(entry.payload, TaskPayload::Height { job, height: other }
            if job == index && other.to_index() < height)
    };
    next.is_none_or(|next| height < next) && !tasks.iter().any(is_below)
}

#[inline]
fn is_charged(item: Option<&Item>) -> bool {
    matches!(item, Some(Item { result: Ok(answer), .. }) if answer.charged_bytes() > 0)
}

impl Jobs {
    pub(crate) fn add(&mut self, new: NewJob, budget: &Arc<Budget>) {
        let NewJob { heights, giver, options, check } = new;
        let next = heights.next_open(0);
        let job = Job {
            heights,
            giver,
            options,
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

    /// Returns whether no range has anything to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.feeding.is_empty() && self.count == 0
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
        // Made once there is room, and so in its place: a push would move it there.
        let item = || Item { height, result: Ok(answers.take(task)) };
        job.batch.extend(core::iter::once_with(item));
        if job.pace.answer_bytes > 0 || is_charged(job.batch.last()) {
            job.weigh(index, tasks);
        }
        if !job.is_delivering {
            job.is_delivering = true;
            self.delivering.push(index);
        }
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
                job.pace.next = None;
                job.pace.again.retain(|Reverse(again)| *again < height);
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
            job.pace.stop();
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
            let taken = job.giver.give(&mut job.batch, |taken| {
                job.pace.outstanding -= taken.count;
                job.pace.is_awaited = taken.is_idle;
                match job.pace.starves(ahead) {
                    false => Need::Nothing,
                    true if job.pace.is_short() => Need::Memory,
                    true => Need::Room,
                }
            });
            if taken.dropped && !job.dropped {
                job.dropped = true;
                job.pace.stop();
                self.cuts.push(Cut { job: index, above: None });
            }
            self.is_short |= job.pace.is_short();
            if job.pace.next().is_none() && job.pace.in_flight == 0 {
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
        let Self { jobs, scheduler, tasks, now, ranges_first, .. } = self;
        while let Some(&index) = jobs.feeding.front() {
            let job = jobs.slots[index as usize].as_mut().expect("a feeding range is there");
            let ahead = ahead.with(job.options);
            let is_alone = jobs.feeding.len() == 1;
            loop {
                let Some(height) = job.pace.next_within(ahead) else {
                    jobs.rest(ahead);
                    break;
                };
                if room == 0 {
                    return any;
                }
                room -= 1;
                let mut options = TaskOptions::new().lane(Lane::Bulk);
                options.retries_max = Some(job.options.retries_max.unwrap_or(retries_max));
                let Ok(task) = scheduler.submit_with(*now, options) else { return any };
                any = true;
                *ranges_first = false;
                job.advance(height);
                let entry = &mut tasks[task.slot() as usize];
                let height = RangeHeight::from_index(height, job.options.is_signed);
                entry.payload = TaskPayload::Height { height, job: index };
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
    pub(crate) fn on_height(&mut self, job: u32, height: RangeHeight, result: TaskResult) {
        if let Some(cut) = self.jobs.finished(job, height.to_index(), result) {
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
            let TaskPayload::Height { job, height } = *payload else { continue };
            let height = height.to_index();
            if cuts.iter().any(|cut| cut.job == job && cut.above.is_none_or(|at| height > at)) {
                let slot = u32::try_from(slot).expect("fewer tasks than 2^32");
                let task = TaskId::from_parts(slot, *generation);
                // Stale: it is finished, and its outcome is about to be polled.
                let _ = self.scheduler.cancel(self.now, task);
            }
        }
    }
}
