//! Numbers and delays that a seed decides.

use std::ops::RangeInclusive;
use std::time::Duration;
use std::vec::Vec;

/// A splitmix64 generator: the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, which is above zero.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }

    /// Returns bytes that are no message of any version: 1 to 40 of them.
    pub(super) fn garbage(&mut self) -> Vec<u8> {
        let count = 1 + self.below(40);
        // The first byte names the message, and no kind is that high.
        let mut bytes: Vec<u8> = (0..count).map(|_| self.draw().to_le_bytes()[0]).collect();
        bytes[0] |= 0x80;
        bytes
    }
}

/// How long something takes: always the same, or drawn anew each time between two bounds, both
/// included. Made of a [`Duration`] or of a range of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    least: Duration,
    /// How much longer it takes at most, in nanoseconds.
    spread: u64,
}

impl From<Duration> for Delay {
    fn from(span: Duration) -> Self {
        Self { least: span, spread: 0 }
    }
}

impl From<RangeInclusive<Duration>> for Delay {
    /// # Panics
    /// Panics where the range ends before it starts.
    fn from(range: RangeInclusive<Duration>) -> Self {
        let (least, most) = range.into_inner();
        assert!(least <= most, "a delay of {least:?} to {most:?}: the shorter one comes first");
        Self {
            least,
            spread: u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX - 1),
        }
    }
}

impl Delay {
    pub(super) const fn draw(self, dice: &mut Dice) -> Duration {
        if self.spread == 0 {
            return self.least;
        }
        self.least.saturating_add(Duration::from_nanos(dice.below(self.spread.saturating_add(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_drawn_between_its_bounds_and_reaches_both() {
        let (least, most) = (Duration::from_nanos(5), Duration::from_nanos(8));
        let delay = Delay::from(least..=most);
        let dice = &mut Dice::new(3);
        let mut drawn: Vec<Duration> = (0..200).map(|_| delay.draw(dice)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, [5, 6, 7, 8].map(Duration::from_nanos));
    }

    #[test]
    fn a_fixed_delay_takes_nothing_from_the_dice() {
        let (dice, untouched) = (&mut Dice::new(3), &mut Dice::new(3));
        assert_eq!(Delay::from(Duration::MAX).draw(dice), Duration::MAX);
        assert_eq!(dice.draw(), untouched.draw());
    }

    #[test]
    fn garbage_is_never_a_message() {
        let dice = &mut Dice::new(3);
        for _ in 0..1000 {
            let bytes = dice.garbage();
            assert!(chargehand_core::message::Message::decode(&bytes).is_err(), "{bytes:?}");
        }
    }
}
