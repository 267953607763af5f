//! What became of a range or a map.

use chargehand_core::ledger::Height;

use crate::error::TaskError;
use crate::mailbox::range::LedgerOf;

/// What became of a range of heights so far.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report<H = u64> {
    /// How many heights were done since the range began.
    pub done: u64,
    /// How many heights have failed: their handler failed, every attempt was lost, or the answer
    /// was of another type. Heights that the pool was stopped before are neither done nor failed.
    pub failed: u64,
    /// The first height of these to be returned, and why.
    pub first_failure: Option<(H, TaskError)>,
    /// Which heights are done, before or now, and which have failed. Where more gaps open up than
    /// it may hold, it leaves some heights out, and a caller that resumes does them again.
    pub ledger: LedgerOf<H>,
}

impl<H: Height> Report<H> {
    pub(super) const fn new(ledger: LedgerOf<H>) -> Self {
        Self { done: 0, failed: 0, first_failure: None, ledger }
    }

    /// Returns how many heights of the range are still to be done, those included that failed.
    pub fn missing(&self) -> u64 {
        self.ledger.missing_count()
    }

    /// Returns whether every height of the range is done.
    pub fn is_complete(&self) -> bool {
        self.ledger.is_complete()
    }

    // A ledger that is saturated leaves a height open.

    #[inline]
    pub(super) fn note_done(&mut self, height: H) {
        self.done += 1;
        let _ = self.ledger.complete(height);
    }

    pub(super) fn note_failed(&mut self, height: H, error: &TaskError) {
        if !is_failure(error) {
            return;
        }
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| (height, error.clone()));
        let _ = self.ledger.fail(height);
    }
}

/// What became of a map's requests so far. Requests are counted from 0, in the order in which the source
/// gave them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MapReport {
    /// How many requests are done.
    pub done: u64,
    /// How many have failed: they could not be encoded or sent, their handler failed, every attempt was
    /// lost, or the answer was of another type. Those that the pool was stopped before are neither done
    /// nor failed.
    pub failed: u64,
    /// Which request was the first of these to be returned, and why it failed.
    pub first_failure: Option<(u64, TaskError)>,
    /// How many requests were taken out of the source. Those that are neither done nor failed are under
    /// way; once the stream has ended, they are what it ended without.
    pub taken: u64,
    /// The source has ended: there are no more requests.
    pub is_exhausted: bool,
}

impl MapReport {
    /// Returns how many requests were taken out of the source and are not done, those included that
    /// failed.
    pub fn missing(&self) -> u64 {
        self.taken - self.done
    }

    /// Returns whether the source has ended and every request is done.
    pub fn is_complete(&self) -> bool {
        self.is_exhausted && self.missing() == 0
    }

    pub(super) fn note_failed(&mut self, index: u64, error: &TaskError) {
        if is_failure(error) {
            self.failed += 1;
            self.first_failure.get_or_insert_with(|| (index, error.clone()));
        }
    }
}

/// Returns whether a task has failed, and was not only given up with the pool.
fn is_failure(error: &TaskError) -> bool {
    !matches!(error, TaskError::Aborted | TaskError::Stopping | TaskError::Closed)
}
