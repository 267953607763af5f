//! Which seeds a test runs: so many from zero on, or one alone.

use std::env;
use std::ops::Range;

/// The seeds that a test runs.
pub(crate) struct Seeds {
    pub(crate) range: Range<u64>,
    /// They are at least as many as the test has by itself, so that whatever is rare must have come by.
    pub(crate) are_enough: bool,
}

impl Seeds {
    /// Takes the only one from the environment (`CHARGEHAND_SEED`), or their number (by that name), or
    /// as many as are usual.
    pub(crate) fn chosen(variable: &str, usual: u64) -> Self {
        if let Some(only) = number("CHARGEHAND_SEED") {
            return Self { range: only..only + 1, are_enough: false };
        }
        let count = number(variable).unwrap_or(usual);
        Self { range: 0..count, are_enough: count >= usual }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, not a number")))
}
