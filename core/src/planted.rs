//! Mistakes that are made on purpose, one at a time, to see whether the simulator finds them: in builds with
//! `--cfg chargehand_planted` only. In all others nothing is planted, which the compiler sees.

#![cfg_attr(
    not(chargehand_planted),
    allow(unreachable_pub, reason = "it is public in those builds")
)]

#[cfg(chargehand_planted)]
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Which mistake is made, as [`hash`] of its name.
#[cfg(chargehand_planted)]
static PLANTED: AtomicU32 = AtomicU32::new(0);

/// Makes a mistake from now on, in place of any other.
#[cfg(chargehand_planted)]
pub fn plant(name: &str) {
    PLANTED.store(hash(name), Relaxed);
}

/// Returns whether this mistake is to be made.
#[cfg(chargehand_planted)]
pub fn planted(name: &str) -> bool {
    PLANTED.load(Relaxed) == hash(name)
}

/// Returns that no mistake is to be made.
#[cfg(not(chargehand_planted))]
#[allow(clippy::inline_always, reason = "nothing of it is to be left")]
#[inline(always)]
pub const fn planted(_name: &str) -> bool {
    false
}

/// FNV-1a.
#[cfg(chargehand_planted)]
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
