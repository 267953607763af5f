//! Where jitter, tokens and names that nobody chose come from.

/// Returns a number that differs from process to process and from call to call: the key that the
/// standard library draws for its hash maps, hashed.
#[cfg(feature = "std")]
pub(crate) fn random() -> u64 {
    use core::hash::{BuildHasher, Hasher};

    std::hash::RandomState::new().build_hasher().finish()
}

/// Makes another number of a seed; seeds that are close to each other give numbers that are not.
pub(crate) const fn mixed(seed: u64) -> u64 {
    // One step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    // generators", 2014).
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
