//! What a ledger knows, in a form that can be kept.

use core::fmt;
use core::ops::RangeInclusive;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::{Height, Ledger, Mark, Span};

/// What a ledger knows. `S` is `&[Span]` where it borrows from one, and `Vec<Span>`, or any other
/// list that can be deserialised, where it was kept somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot<S, H = u64> {
    /// The lowest and the highest height; `None` where the range is empty.
    range: Option<(H, H)>,
    /// Ascending.
    spans: S,
}

impl<H: Height, S: AsRef<[Span<H>]>> Snapshot<S, H> {
    pub(super) const fn new(range: Option<(H, H)>, spans: S) -> Self {
        Self { range, spans }
    }

    /// Returns the range of the ledger. It may be empty.
    pub fn range(&self) -> RangeInclusive<H> {
        match self.range {
            Some((first, last)) => first..=last,
            None => RangeInclusive::new(H::from_index(1), H::from_index(0)),
        }
    }

    /// Returns how many spans there are, to have a buffer that holds them.
    pub fn spans_count(&self) -> usize {
        self.spans.as_ref().len()
    }

    /// Notes what is done and failed in a ledger where nothing is.
    pub(super) fn put_into<B>(&self, mut ledger: Ledger<B, H>) -> Result<Ledger<B, H>, ResumeError>
    where
        B: AsRef<[Span<H>]> + AsMut<[Span<H>]>,
    {
        if self.range.is_some_and(|(first, last)| first > last) {
            return Err(ResumeError::Corrupt);
        }
        let mut above = None;
        for span in self.spans.as_ref() {
            let is_above = above.is_none_or(|above| span.first > above);
            let within = ledger.within(span.first..=span.last);
            let ((first, last), true) = (within.map_err(|_| ResumeError::Corrupt)?, is_above)
            else {
                return Err(ResumeError::Corrupt);
            };
            above = Some(last);
            if span.mark != Mark::InFlight {
                let noted = ledger.assign(first, last, Some(span.mark));
                noted.map_err(|_| ResumeError::Saturated)?;
            }
        }
        Ok(ledger)
    }
}

#[cfg(feature = "alloc")]
impl<H: Height> Snapshot<&[Span<H>], H> {
    /// Copies the spans, so that the ledger can go on.
    pub fn into_owned(self) -> Snapshot<Vec<Span<H>>, H> {
        Snapshot { range: self.range, spans: self.spans.to_vec() }
    }
}

/// There is no ledger to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ResumeError {
    /// No ledger has made this snapshot: its spans do not ascend, or not within its range. Start
    /// afresh, or take an older snapshot.
    Corrupt,
    /// It has more spans than there is room for. Use a longer buffer.
    Saturated,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "the snapshot is corrupt: its spans are out of order or out of range",
            Self::Saturated => "the snapshot has more spans than there is room for",
        })
    }
}

impl core::error::Error for ResumeError {}
