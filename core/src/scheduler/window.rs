//! Windows that size themselves (decision 0034).
//!
//! A worker is kept busy by as many tasks as it runs at once and as many more as are on the way:
//! together what it does in the time of an attempt that need not wait, as TCP's window is a path's
//! rate times its delay. What a record keeps is just that: `floor` by `pace`. Below that window attempts
//! do not wait, so it is doubled as long as the latest full one came back without; above it they do,
//! and it is set to a quarter more than the two say.

use super::slot::WorkerSlot;

/// Behind a full window, an attempt did not wait if it took no longer than an eighth more.
const EIGHTH: u16 = 44;
/// It did wait if it took half as long again.
const HALF: u16 = 150;
/// After so many timed attempts one is made that need not wait, to see how long that takes now; or where
/// all are such, twice as many are tried.
const LOOKS: u8 = 64;

/// How many tasks a worker may hold, found out.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::struct_excessive_bools, reason = "each is about something else")]
pub(super) struct Auto {
    is_on: bool,
    /// What it has come to.
    most: u32,
    /// It doubles with each full window that comes back without a wait.
    is_growing: bool,
    /// It was throttled or late: it grows by one at a time.
    is_careful: bool,
    /// It holds no more than it runs until the next attempt is timed.
    is_low: bool,
    /// The attempt that is timed is to be one that need not wait.
    is_pinned: bool,
    /// The attempt that is timed filled the window.
    was_full: bool,
    /// Timed attempts since the latest look.
    since: u8,
}

impl Auto {
    pub(super) const fn new() -> Self {
        Self {
            is_on: false,
            most: 1,
            is_growing: false,
            is_careful: false,
            is_low: false,
            is_pinned: false,
            was_full: false,
            since: 0,
        }
    }

    pub(super) const fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Begins with a new link: with as many as it may hold at first.
    pub(super) fn begin(&mut self, is_on: bool, allowance: u32) {
        *self = Self { is_on, most: allowance, is_growing: true, ..Self::new() };
    }
}

impl WorkerSlot {
    /// Takes in that an attempt was sent that is timed.
    pub(super) fn begin_look(&mut self) {
        let held = self.held.len();
        let auto = &mut self.record.auto;
        auto.was_full = held >= self.allowance;
        auto.is_pinned = auto.is_low && held <= self.runs;
        if auto.is_pinned {
            auto.is_low = false;
            self.allowance = auto.most;
        }
    }

    /// Takes in how long an attempt took that was at a place of the queue, and what is known with it: all
    /// as logarithms.
    pub(super) fn fit_window(&mut self, place: u32, took: u16, floor: u16, pace: u16) {
        let (runs, window, auto) = (self.runs, self.window, &mut self.record.auto);
        if !auto.is_on {
            return;
        }
        let was_behind = place > runs;
        auto.since = if was_behind == (auto.most > runs) { auto.since + 1 } else { 0 };
        if auto.was_full {
            if auto.is_growing && took <= floor.saturating_add(HALF) {
                auto.most = auto.most.max(place).saturating_mul(2);
            } else {
                auto.is_growing = was_behind && took <= floor.saturating_add(EIGHTH);
                let ratio = u64::from(floor.saturating_sub(pace));
                let wanted = (u64::from(runs) << (ratio >> 8).min(20)) * (256 + (ratio & 255));
                // A quarter more, but nothing for a tenth of a task.
                let wanted = (wanted * 5 / 4 + 165) >> 8;
                let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).max(runs);
                auto.most = if auto.is_careful { wanted.min(auto.most + 1) } else { wanted };
                auto.is_careful &= auto.most < wanted;
            }
        }
        auto.most = auto.most.clamp(1, window);
        if auto.since >= LOOKS {
            auto.since = 0;
            if auto.most > runs {
                auto.is_low = true;
            } else {
                auto.is_growing = true;
            }
        }
    }

    /// Sees to it that a worker holds no more than was found.
    pub(super) fn cut_allowance(&mut self) {
        let auto = &self.record.auto;
        if auto.is_on {
            let most = if auto.is_low { auto.most.min(self.runs) } else { auto.most };
            self.allowance = self.allowance.min(most);
        }
    }

    /// Takes in that it holds fewer from now on, since it was throttled or late.
    pub(super) fn shrink_window(&mut self) {
        let auto = &mut self.record.auto;
        (auto.most, auto.is_careful) = (self.allowance, true);
        (auto.is_growing, auto.is_low) = (false, false);
    }
}
