//! Numbers that a seed decides.

use std::time::Duration;

/// A splitmix64 generator: the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// Returns a number below `end`, which is above zero.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }

    pub(crate) const fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).expect("it is an index")]
    }

    pub(crate) const fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    /// Returns dice of their own, so that what they decide does not depend on what else is drawn.
    pub(crate) const fn own(&mut self) -> Self {
        Self(self.draw())
    }
}

/// Returns a number that looks random and depends on every bit of this one.
pub(crate) const fn mixed(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
