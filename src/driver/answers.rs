//! Answers on their way from the reply that brought them to the outcome that they are.

use alloc::vec::Vec;
use core::mem;

use chargehand_core::{TaskId, Verdict};

use super::Scheduler;
use crate::budget::Arrivals;
use crate::payload::Answer;

/// How many places are kept where no more are in use.
const PLACES_KEPT: usize = 2048;

/// The answers of tasks whose outcome is to come. The scheduler hands outcomes out in the order of
/// the replies that they come from, and so do we: a queue is all that it takes.
///
/// Its slots are reused, and answers are built in place: writing one in small pieces and then moving it
/// stalls the processor on store forwarding (decision 0010).
#[derive(Debug)]
pub(crate) struct Answers {
    /// What comes on the links, these included as long as they are here.
    pub(crate) arrivals: Arrivals,
    places: Vec<AnswerSlot>,
    /// Those from here up to `end` are taken, the others empty. Once the two meet, both are 0.
    begin: usize,
    end: usize,
}

#[derive(Debug)]
struct AnswerSlot {
    task: TaskId,
    answer: Answer,
}

impl Answers {
    pub(crate) fn new(arrivals: Arrivals) -> Self {
        Self { arrivals, places: Vec::new(), begin: 0, end: 0 }
    }

    /// Keeps the answer of a reply that the scheduler has just taken. A failure after which the task
    /// is tried again is nobody's.
    pub(crate) fn keep(
        &mut self,
        scheduler: &Scheduler,
        task: TaskId,
        verdict: Verdict,
        answer: Answer,
    ) {
        if is_kept(scheduler, task, verdict) {
            *self.place(task) = answer;
        }
    }

    /// As [`keep`](Self::keep), for bytes, which are copied once.
    #[inline]
    pub(crate) fn keep_bytes(
        &mut self,
        scheduler: &Scheduler,
        task: TaskId,
        verdict: Verdict,
        bytes: &[u8],
    ) {
        if is_kept(scheduler, task, verdict) {
            self.place(task);
            let Self { places, end, arrivals, .. } = self;
            if let Answer::Bytes(body) = &mut places[*end - 1].answer {
                body.fill(bytes, &arrivals.answers);
            }
        }
    }

    /// Returns the place of the next answer, which is empty.
    #[inline]
    fn place(&mut self, task: TaskId) -> &mut Answer {
        if self.end == self.places.len() {
            self.add_place(task);
        }
        let place = &mut self.places[self.end];
        self.end += 1;
        place.task = task;
        &mut place.answer
    }

    fn add_place(&mut self, task: TaskId) {
        self.places.push(AnswerSlot { task, answer: Answer::EMPTY });
    }

    /// Returns the answer of the task whose outcome came out.
    #[inline]
    pub(crate) fn take(&mut self, task: TaskId) -> Answer {
        self.next(task).take()
    }

    /// As [`take`](Self::take), in exchange for an empty one.
    #[inline]
    pub(crate) fn swap(&mut self, task: TaskId, empty: &mut Answer) {
        mem::swap(self.next(task), empty);
    }

    /// Looks at the answer of the task whose outcome came out.
    #[inline]
    pub(crate) fn peek(&self, task: TaskId) -> &Answer {
        assert!(self.begin < self.end, "a reply came before its outcome");
        let place = &self.places[self.begin];
        assert!(place.task == task, "outcomes come in the order of their replies");
        &place.answer
    }

    #[inline]
    fn next(&mut self, task: TaskId) -> &mut Answer {
        assert!(self.begin < self.end, "a reply came before its outcome");
        let place = &mut self.places[self.begin];
        assert!(place.task == task, "outcomes come in the order of their replies");
        self.begin += 1;
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        &mut place.answer
    }

    /// Frees the memory of a burst. Not done when the last answer is taken: the answer in hand would then
    /// be moved through memory once more.
    #[inline]
    pub(crate) fn tidy(&mut self) {
        if self.end == 0 && self.places.len() > PLACES_KEPT {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.places.truncate(PLACES_KEPT);
        self.places.shrink_to_fit();
    }

    /// Forgets them: their outcomes will not be polled.
    pub(crate) fn clear(&mut self) {
        self.places = Vec::new();
        (self.begin, self.end) = (0, 0);
    }
}

/// Returns whether somebody gets what a reply came with: not where the task is tried again, and of
/// what a worker gives back there is nothing to get.
#[inline]
fn is_kept(scheduler: &Scheduler, task: TaskId, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Done => true,
        Verdict::Failed => scheduler.has_outcome(task),
        Verdict::Returned => false,
    }
}
