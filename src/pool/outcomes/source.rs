//! What outcomes are of: heights of a range, or requests.

use core::task::Context;

use crate::error::TaskError;
use crate::mailbox::Mailbox;
use crate::mailbox::batches::{Item, Taker};
use crate::mailbox::range::Work;
use crate::payload::DecodeLimits;

/// What a stream of [`Outcomes`](super::Outcomes) is of, which is asked for with answers of type `A`:
/// [`Heights`](super::Heights), [`Requests`](super::Requests) or [`RawRequests`](super::RawRequests).
///
/// Sealed: there are no others.
pub trait Source<A>: Track {
    /// Reads an answer, once, or takes the error.
    #[doc(hidden)]
    fn read(item: &mut Item, limits: &DecodeLimits) -> Result<A, TaskError>;
}

/// Keeps what each outcome is of, and what became of them all.
pub trait Track: Unpin {
    /// What an outcome is of.
    type Request;
    /// What became of them all.
    type Report;

    /// Returns what the driver needs to begin.
    fn work(&self) -> Work;

    /// Leaves more requests for the driver, if it is a map and fewer than `ahead_max` are under way or
    /// untaken: that is how many the pool says, or as the second says how many were said for this.
    fn feed(
        &mut self,
        cx: &mut Context<'_>,
        ends: (&Taker, &Mailbox),
        ahead_max: Option<usize>,
        untaken: usize,
    );

    /// Returns the lowest index from this one on that an outcome comes for, as far as that is known.
    fn next_from(&self, index: u64) -> Option<u64>;

    /// Notes that one is done, and returns what it is.
    fn note_done(&mut self, index: u64) -> Self::Request;

    /// Notes that one has failed, and returns what it is.
    fn note_failed(&mut self, index: u64, error: &TaskError) -> Self::Request;

    fn report(&self) -> &Self::Report;

    /// Returns the report, and leaves an empty one.
    fn take_report(&mut self) -> Self::Report;

    /// Lets go of what was not asked for yet.
    fn leave(&mut self);
}
