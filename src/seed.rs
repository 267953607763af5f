//! Where jitter, tokens and names that nobody chose come from.

/// Returns a number that differs from process to process and from call to call: the key that the
/// standard library draws for its hash maps, hashed.
#[cfg(feature = "std")]
#[expect(clippy::unnecessary_wraps, reason = "without std there is none")]
pub(crate) fn drawn() -> Option<u64> {
    use core::hash::{BuildHasher, Hasher};

    Some(std::hash::RandomState::new().build_hasher().finish())
}

/// Without the standard library there is nothing to draw a number from.
#[cfg(not(feature = "std"))]
pub(crate) const fn drawn() -> Option<u64> {
    None
}

/// What whoever gave no seed is told where none can be drawn.
pub(crate) const NO_SEED: &str = "there is no seed, and without the feature `std` none can be drawn: \
    give one by `.seed(..)`, another one at every start";

/// Makes another number of a seed; seeds that are close to each other give numbers that are not.
pub(crate) const fn mixed(seed: u64) -> u64 {
    // One step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    // generators", 2014).
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
