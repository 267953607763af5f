//! Whether a link is of use to its manager.

use chargehand_core::Instant;

/// When a link was of use.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) opened: Instant,
    /// Whether a request came since somebody looked.
    pub(super) asked: bool,
    /// Whether one came before.
    pub(super) has_asked: bool,
    /// When somebody looked and one had come.
    asked_at: Instant,
    /// Whether that look is still to come.
    is_new: bool,
}

impl Usage {
    pub(super) fn new(now: Instant) -> Self {
        Self { opened: now, asked: false, has_asked: false, asked_at: now, is_new: false }
    }

    /// Asks anew whether a request has come. Returns whether one ever did.
    pub(super) fn forget_asked(&mut self) -> bool {
        let asked = core::mem::take(&mut self.asked);
        self.is_new |= asked;
        self.has_asked |= asked;
        self.has_asked
    }

    /// Returns when a request came, as far as somebody has looked; where none did, when the link began.
    pub(super) fn look(&mut self, now: Instant) -> Instant {
        self.forget_asked();
        if core::mem::take(&mut self.is_new) {
            self.asked_at = now;
        }
        self.asked_at
    }
}
