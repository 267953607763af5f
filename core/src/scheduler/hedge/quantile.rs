//! How long most tasks of one kind take.

use super::super::log::{exp2, log2};

/// How long all but one in twenty tasks take, of one kind: a logarithm that goes up by 19 steps with each that
/// took longer, and down by one with each other.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Quantile {
    /// The logarithm to the base of two, in 1/4096.
    log: u32,
    /// That of the longest of the first.
    longest: u32,
    count: u16,
}

impl Quantile {
    /// Of so many the longest but one is taken.
    const FIRST: u16 = 20;
    const PER_LOG: u32 = 16;
    /// 1/372 of a factor of two.
    const STEP: u32 = 11;
    const RARE: u32 = 19;

    /// Takes in how long a task took, in nanoseconds.
    pub(super) fn take(&mut self, nanos: u64) {
        let sample = u32::from(log2(nanos)) * Self::PER_LOG;
        if self.count < Self::FIRST {
            self.log = self.log.max(sample.min(self.longest));
            self.longest = self.longest.max(sample);
        } else {
            let step = match self.count {
                ..100 => Self::STEP * 8,
                100..200 => Self::STEP * 4,
                200..400 => Self::STEP * 2,
                _ => Self::STEP,
            };
            if sample > self.log {
                self.log += step * Self::RARE;
            } else {
                self.log = self.log.saturating_sub(step);
            }
        }
        self.count = self.count.saturating_add(1);
    }

    /// Returns it in nanoseconds, once enough is known.
    pub(super) fn get(self) -> Option<u64> {
        let log = u16::try_from(self.log / Self::PER_LOG).unwrap_or(u16::MAX >> 2);
        (self.count >= Self::FIRST).then(|| exp2(log))
    }
}
