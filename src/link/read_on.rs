//! Whether to look for the next message right after a flush, without a wake: decision 0008.
//!
//! With both ends on one CPU the system lets the peer run within the write that wakes it, and half of the
//! time its answer is there when the write returns. With one task in flight on smol over TCP that takes
//! `process` from 0.89 to 0.95 of the bare ping-pong, and `call` from 0.88 to 0.94. Wires that expect
//! nothing ([`Wire::expects_next`](chargehand_core::io::Wire::expects_next)) are not affected.

use alloc::vec::Vec;
use core::mem;

use super::erased::AnyWire;

/// No link reads on when more sources than this are ready: it costs a few more operations for each, of
/// which a runtime that meters its tasks allows a limited number, and others get ready meanwhile.
const SOURCES_MAX: usize = 8;
/// How many times one poll of a driver looks at a link again. Callers wait for the end of the poll.
pub(crate) const DRIVER_ROUNDS: u32 = 2;
/// How many times one poll of a worker looks again. Nobody waits for its end but other links.
pub(crate) const WORKER_ROUNDS: u32 = 4;

/// Whether this poll reads on, and the links that it is to do so with.
#[derive(Debug, Default)]
pub(crate) struct ReadOn {
    is_allowed: bool,
    places: Vec<u32>,
}

impl ReadOn {
    /// Begins a poll in which this many sources are ready. Returns whether it may read on at all.
    pub(crate) fn begin(&mut self, sources: usize) -> bool {
        self.is_allowed = sources <= SOURCES_MAX;
        self.is_allowed
    }

    /// Returns whether this poll may read on at all.
    pub(crate) fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// Lists a link whose flush is through, if its wire expects something and there are few of them.
    #[inline]
    pub(crate) fn offer<W: AnyWire + ?Sized>(&mut self, place: u32, wire: &mut W) {
        if self.is_allowed && self.places.len() < SOURCES_MAX && wire.expects_next() {
            self.places.push(place);
        }
    }

    /// Lists a link whose flush is through and which has stopped for that.
    pub(crate) fn insist(&mut self, place: u32) {
        self.places.push(place);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Forgets which links were listed: they are woken as soon as there is something.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
    }

    /// Takes the list, to be given back by [`recycle`](Self::recycle) for its memory.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        mem::take(&mut self.places)
    }

    pub(crate) fn recycle(&mut self, mut places: Vec<u32>) {
        if self.places.is_empty() {
            places.clear();
            self.places = places;
        }
    }
}

/// Returns whether to let out what follows from the first message before the next one is read, which is
/// expected to be there by then. Only after the first: where many come together nothing is gained by it.
#[inline]
pub(crate) fn stops_after<W: AnyWire + ?Sized>(
    count: usize,
    is_allowed: bool,
    wire: &mut W,
) -> bool {
    count == 1 && is_allowed && wire.expects_next()
}
