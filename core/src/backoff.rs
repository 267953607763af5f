//! Exponential backoff with jitter, in integers, from a seed that the caller must name.

use core::time::Duration;

use crate::time::nanos;

/// How delays grow from attempt to attempt: base, factor, cap and jitter.
///
/// The delay before jitter is 0 at no attempts, else `min(cap, base * factor^(attempts - 1))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BackoffPolicy {
    base_nanos: u64,
    cap_nanos: u64,
    factor: u32,
    jitter: Jitter,
}

/// How much of a delay is left to chance, so that many clients that failed together do not all
/// come back together.
///
/// The kinds are those of "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, by
/// Marc Brooker. Below, `d` is the delay before jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Jitter {
    /// Exactly `d`.
    None,
    /// Uniform in `[d / 2, d]`: never soon, but less well spread.
    Equal,
    /// Uniform in `[0, d]`: the least load on what is coming back up.
    #[default]
    Full,
}

impl BackoffPolicy {
    /// Makes the default policy: base 100 ms, factor 2, cap 30 s, [full](Jitter::Full) jitter.
    pub const fn new() -> Self {
        Self { base_nanos: 100_000_000, cap_nanos: 30_000_000_000, factor: 2, jitter: Jitter::Full }
    }

    /// Makes the schedule of the Go `worker` package, capped: 0, 2 s, 4 s, 8 s and so on up to
    /// `cap`, without jitter.
    pub const fn powers_of_two(cap: Duration) -> Self {
        Self { base_nanos: 2_000_000_000, cap_nanos: nanos(cap), factor: 2, jitter: Jitter::None }
    }

    /// Sets the delay after the first attempt, before jitter.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base_nanos = nanos(base);
        self
    }

    /// Sets by how much the delay grows with each attempt. 1 keeps it constant; 0 counts as 1.
    #[must_use]
    pub const fn factor(mut self, factor: u32) -> Self {
        self.factor = if factor == 0 { 1 } else { factor };
        self
    }

    /// Sets the longest delay, jitter included. More than 584 years counts as 584 years.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap_nanos = nanos(cap);
        self
    }

    /// Sets the kind of jitter.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the delay after the first failed attempt, before jitter, in nanoseconds.
    pub(crate) const fn first_nanos(&self) -> u64 {
        if self.base_nanos < self.cap_nanos { self.base_nanos } else { self.cap_nanos }
    }

    /// Returns how long to wait after that many failed attempts: 0 at none, never above the cap.
    ///
    /// `random` decides the jitter and should be uniform over all of `u64`; the same arguments
    /// give the same delay. Any number of attempts is fine. Costs O(log attempts).
    pub fn delay(&self, attempts: u32, random: u64) -> Duration {
        Duration::from_nanos(self.delay_nanos(attempts, random))
    }

    /// As [`delay`](Self::delay), without a division, which a small machine has in software only.
    pub(crate) fn delay_nanos(&self, attempts: u32, random: u64) -> u64 {
        let Some(exponent) = attempts.checked_sub(1) else { return 0 };
        let mut longest = self.base_nanos.min(self.cap_nanos);
        // Growth by two at least: it is at the cap after 64 steps, and before that as a rule.
        let steps = if self.factor < 2 { 0 } else { exponent };
        for _ in 0..steps {
            if longest == self.cap_nanos || longest == 0 {
                break;
            }
            longest = longest.saturating_mul(u64::from(self.factor)).min(self.cap_nanos);
        }
        match self.jitter {
            Jitter::None => longest,
            Jitter::Equal => longest - longest / 2 + up_to(longest / 2, random),
            Jitter::Full => up_to(longest, random),
        }
    }
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// One client's backoff: counts its failed attempts and says how long to wait.
///
/// ```
/// use chargehand_core::{Backoff, BackoffPolicy};
/// use core::time::Duration;
///
/// let policy = BackoffPolicy::powers_of_two(Duration::from_secs(5));
/// let mut backoff = Backoff::new(policy, 7);
/// assert_eq!(backoff.delay(), Duration::ZERO);
/// backoff.attempt();
/// assert_eq!(backoff.delay(), Duration::from_secs(2));
/// backoff.attempt();
/// backoff.attempt();
/// assert_eq!(backoff.delay(), Duration::from_secs(5));
/// backoff.reset();
/// assert_eq!(backoff.delay(), Duration::ZERO);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Backoff {
    policy: BackoffPolicy,
    state: u64,
    random: u64,
    attempts: u32,
}

impl Backoff {
    /// Makes a backoff with no attempts yet. `seed` should differ from process to process and from
    /// client to client, or their delays are the same and jitter spreads nothing.
    pub const fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self { policy, state: seed, random: 0, attempts: 0 }
    }

    /// Counts a failed attempt and draws the next delay.
    pub const fn attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.random = splitmix64(&mut self.state);
    }

    /// Forgets the failed attempts. The random sequence goes on where it is.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Returns how long to wait before the next attempt: the same value until
    /// [`attempt`](Self::attempt) or [`reset`](Self::reset) is called.
    pub fn delay(&self) -> Duration {
        self.policy.delay(self.attempts, self.random)
    }

    /// Returns the number of failed attempts since the last reset.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Steps a generator of 64 random bits, all of whose 2^64 states lie on one cycle.
///
/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014,
/// section 4, with the constants of Vigna's public-domain `splitmix64.c`.
pub(crate) const fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = *state;
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Maps 64 random bits evenly onto `[0, max]`: the high word of a product, so no division. The
/// bias is below `max / 2^64`.
fn up_to(max: u64, random: u64) -> u64 {
    ((u128::from(random) * (u128::from(max) + 1)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_CAP: Duration = Duration::MAX;

    #[test]
    fn the_go_schedule_is_two_to_the_attempts_in_seconds() {
        let policy = BackoffPolicy::powers_of_two(NO_CAP);
        assert_eq!(policy.delay(0, u64::MAX), Duration::ZERO);
        for attempts in 1..=30 {
            assert_eq!(policy.delay(attempts, u64::MAX), Duration::from_secs(1 << attempts));
        }
        let capped = BackoffPolicy::powers_of_two(Duration::from_secs(60));
        assert_eq!(capped.delay(5, 0), Duration::from_secs(32));
        assert_eq!(capped.delay(6, 0), Duration::from_secs(60));
        assert_eq!(capped.delay(u32::MAX, 0), Duration::from_secs(60));
    }

    #[test]
    fn the_default_starts_at_a_tenth_of_a_second_and_ends_at_thirty() {
        let policy = BackoffPolicy::new();
        assert_eq!(policy, BackoffPolicy::default());
        let longest = |attempts| policy.delay(attempts, u64::MAX);
        assert_eq!(longest(1), Duration::from_millis(100));
        assert_eq!(longest(2), Duration::from_millis(200));
        assert_eq!(longest(9), Duration::from_millis(25_600));
        assert_eq!(longest(10), Duration::from_secs(30));
        assert_eq!(policy.delay(10, 0), Duration::ZERO);
    }

    #[test]
    fn extreme_policies_saturate() {
        let policy = BackoffPolicy::new().base(NO_CAP).cap(NO_CAP).factor(u32::MAX);
        assert_eq!(policy.delay(u32::MAX, u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(policy.delay(u32::MAX, 0), Duration::ZERO);
        let steady = BackoffPolicy::new().factor(0).jitter(Jitter::None);
        assert_eq!(steady.delay(u32::MAX, 3), Duration::from_millis(100));
        assert_eq!(policy.cap(Duration::ZERO).delay(7, u64::MAX), Duration::ZERO);
        assert_eq!(policy.base(Duration::ZERO).delay(7, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn equal_jitter_keeps_at_least_half() {
        let policy = BackoffPolicy::new()
            .base(Duration::from_nanos(7))
            .jitter(Jitter::Equal)
            .cap(Duration::from_nanos(7));
        assert_eq!(policy.delay(1, 0), Duration::from_nanos(4));
        assert_eq!(policy.delay(1, u64::MAX), Duration::from_nanos(7));
    }

    #[test]
    fn full_jitter_spreads_evenly() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(BackoffPolicy::new().base(second).factor(1), 42);
        let mut tenths = [0u32; 10];
        for _ in 0..10_000 {
            backoff.attempt();
            let tenth = backoff.delay().as_nanos() * 10 / (second.as_nanos() + 1);
            tenths[usize::try_from(tenth).unwrap()] += 1;
        }
        // A thousand each, with a standard deviation of 30.
        assert!(tenths.iter().all(|&count| (850..1150).contains(&count)), "{tenths:?}");
    }

    #[test]
    fn the_delay_stays_the_same_until_the_next_attempt() {
        let mut backoff = Backoff::new(BackoffPolicy::new(), 1);
        backoff.attempt();
        let first = backoff.delay();
        assert_eq!(backoff.delay(), first);
        backoff.reset();
        assert_eq!((backoff.delay(), backoff.attempts()), (Duration::ZERO, 0));
        backoff.attempt();
        assert_ne!(backoff.delay(), first, "a reset must not replay the random sequence");
        assert_eq!(backoff.attempts(), 1);
    }

    #[test]
    fn different_seeds_give_different_delays() {
        let first_delay = |seed| {
            let mut backoff = Backoff::new(BackoffPolicy::new(), seed);
            backoff.attempt();
            backoff.delay()
        };
        let mut delays: std::vec::Vec<_> = (0..100).map(first_delay).collect();
        delays.sort_unstable();
        delays.dedup();
        assert_eq!(delays.len(), 100);
    }

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut state = 1_234_567;
        assert_eq!(splitmix64(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(&mut state), 3_203_168_211_198_807_973);
        assert_eq!(splitmix64(&mut state), 9_817_491_932_198_370_423);
    }

    fn any_policy() -> impl Strategy<Value = BackoffPolicy> {
        let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Equal), Just(Jitter::Full)];
        (any::<Duration>(), any::<u32>(), any::<Duration>(), jitter).prop_map(
            |(base, factor, cap, jitter)| {
                BackoffPolicy::new().base(base).factor(factor).cap(cap).jitter(jitter)
            },
        )
    }

    proptest! {
        #[test]
        fn no_delay_is_above_the_cap_or_the_unjittered_one(
            policy in any_policy(),
            attempts in prop_oneof![0..40u32, any::<u32>()],
            random: u64,
        ) {
            let delay = policy.delay(attempts, random);
            let longest = policy.jitter(Jitter::None).delay(attempts, random);
            prop_assert!(delay <= longest);
            prop_assert!(nanos(longest) <= policy.cap_nanos);
            prop_assert!(policy.jitter != Jitter::Equal || delay >= longest / 2);
        }

        #[test]
        fn more_attempts_never_shorten_the_delay(
            policy in any_policy(),
            attempts in 0..u32::MAX,
            random: u64,
        ) {
            prop_assert!(policy.delay(attempts, random) <= policy.delay(attempts + 1, random));
        }
    }
}
