//! How far a range or a map has got, and how far ahead of its stream it may go.

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use core::cmp::Reverse;

use crate::budget::Account;
use crate::mailbox::batches::at_once;
use crate::mailbox::range::{Ledger, Options};

/// How far ahead of its stream a range goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    /// Heights under way at most, those included that the stream holds or has not taken.
    pub(super) max: usize,
    /// With more than this many tasks in the scheduler, no worker runs dry before the next answer
    /// comes. Then nobody needs to be woken just to put more in. Those that rest before they are
    /// tried again keep no worker busy, so they come on top.
    pub(super) plenty: usize,
}

/// How far a range has got.
#[derive(Debug)]
pub(super) struct Pace {
    /// The next height to look at; `None` past the last. Of a map, the next request that is here.
    pub(super) next: Option<u64>,
    /// The heights from the next one up to this are open. Nothing above the next is answered, so that stays so.
    pub(super) open_to: u64,
    /// Heights whose answers were dropped for want of memory, to be asked for again: the lowest first.
    /// All are below the next.
    pub(super) again: BinaryHeap<Reverse<u64>>,
    /// Nothing more is put in.
    pub(super) is_stopped: bool,
    /// Answers that nobody has taken yet.
    pub(super) untaken: Arc<Account>,
    /// Tasks in the scheduler.
    pub(super) in_flight: usize,
    /// Tasks in the scheduler, and outcomes that the stream holds or has not taken.
    pub(super) outstanding: usize,
    /// How many bytes an answer has on average, as far as they are held against the budget.
    pub(super) answer_bytes: usize,
    /// Whether the stream waits for more, as far as it said so. It does where memory is short.
    pub(super) is_awaited: bool,
}

impl Ahead {
    pub(super) fn with(self, options: Options) -> Self {
        match options.ahead_max {
            None => self,
            Some(max) if options.is_ordered => Self { max, ..self },
            Some(max) => Self { max: within_stream(max), ..self },
        }
    }
}

impl Pace {
    /// Returns the next height, if there is one.
    #[inline]
    pub(super) fn next(&self) -> Option<u64> {
        if self.again.is_empty() {
            return self.next;
        }
        self.again.peek().map(|Reverse(height)| *height)
    }

    /// Goes on to the next height of a range.
    #[inline]
    pub(super) fn step(&mut self, height: u64, heights: &Ledger) {
        if height < self.open_to {
            self.next = Some(height + 1);
        } else {
            self.step_over(height.checked_add(1), heights);
        }
    }

    /// Takes the next height that is asked for again. Not inlined, or every height pays for what it needs of the stack.
    #[inline(never)]
    pub(super) fn take_again(&mut self) {
        self.again.pop();
    }

    /// Goes on to the next run of open heights.
    pub(super) fn step_over(&mut self, from: Option<u64>, heights: &Ledger) {
        let run = from.and_then(|from| heights.next_open_run(from));
        self.next = run.as_ref().map(|run| *run.start());
        self.open_to = run.map_or(0, |run| *run.end());
    }

    /// Returns the next height if the range may go so far ahead.
    #[inline]
    pub(super) fn next_within(&self, ahead: Ahead) -> Option<u64> {
        if self.is_far(ahead) { None } else { self.next() }
    }

    /// Returns whether only the stream can keep the workers from running dry.
    #[inline]
    pub(super) fn starves(&self, ahead: Ahead) -> bool {
        self.next().is_some() && self.in_flight <= ahead.plenty && self.is_far(ahead)
    }

    /// Returns whether the range is as far ahead as it may be.
    #[inline]
    pub(super) fn is_far(&self, ahead: Ahead) -> bool {
        self.outstanding >= ahead.max || self.is_short()
    }

    /// Returns whether what nobody has taken, with what is to come, is more than what it leaves to
    /// others. If so, the doorbell rings once there is more memory.
    #[inline]
    pub(super) fn is_short(&self) -> bool {
        self.answer_bytes > 0 && self.is_short_of_memory()
    }

    pub(super) fn is_short_of_memory(&self) -> bool {
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

    /// Takes an answer of `bytes` into the average.
    pub(super) fn expect(&mut self, bytes: usize) {
        let average = &mut self.answer_bytes;
        // By an eighth of the difference, and down to nothing where only short ones come.
        *average = if *average == 0 { bytes } else { *average - average.div_ceil(8) + bytes / 8 };
    }
}

/// Returns how many heights of a range's allowance may be under way or untaken. The rest is for what its
/// stream has buffered and not returned yet.
pub(in crate::driver) const fn within_stream(ahead_max: usize) -> usize {
    ahead_max - (at_once(ahead_max) - 1)
}
