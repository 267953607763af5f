//! Mistakes that are made on purpose: see the module of the same name in core.

#[cfg(chargehand_planted)]
pub(crate) use chargehand_core::planted::planted;

/// Returns that no mistake is to be made.
#[cfg(not(chargehand_planted))]
#[allow(clippy::inline_always, reason = "nothing of it is to be left")]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

/// Returns that no two steps are to be done in the wrong order: `tools/loom`, which has another one of these in
/// the place of this, makes such mistakes to see whether it finds them.
#[allow(clippy::inline_always, reason = "nothing of it is to be left")]
#[inline(always)]
pub(crate) const fn reordered(_name: &str) -> bool {
    false
}
