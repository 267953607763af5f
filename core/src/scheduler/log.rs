//! Logarithms of spans, in which ten times longer is the same step for milliseconds and minutes.

/// No span counts as longer: 2^42 ns, 73 minutes.
const LONGEST: u64 = 1 << 42;

/// Returns the logarithm to the base of two, in 1/256: exact for powers of two, and in between on
/// straight lines, as [`exp2`] is.
pub(super) fn log2(value: u64) -> u16 {
    let value = value.clamp(1, LONGEST);
    let whole = value.ilog2();
    let rest = if whole >= 8 { value >> (whole - 8) } else { value << (8 - whole) };
    let log = u64::from(whole) << 8 | rest & 255;
    u16::try_from(log).expect("at most 42 * 256")
}

/// Returns what a logarithm is of.
pub(super) fn exp2(log: u16) -> u64 {
    let (whole, rest) = (log >> 8, 256 + u64::from(log & 255));
    if whole >= 8 { rest << (whole - 8) } else { rest >> (8 - whole) }
}
