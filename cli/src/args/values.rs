//! What the values of options mean.

use std::ops::RangeInclusive;
use std::time::Duration;

/// No span on the command line is longer: 31 years are enough to wait.
const SECONDS_MAX: f64 = 1e9;

pub(super) fn parse_range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once("..=").ok_or("a range is written like 1..=100000")?;
    let parse = |number: &str| {
        let digits = number.replace('_', "");
        digits.parse::<u64>().map_err(|_| format!("\"{number}\" is not a number from 0 on"))
    };
    let (first, last) = (parse(first)?, parse(last)?);
    if first > last {
        return Err("the range is empty: its first number is above its last".to_owned());
    }
    Ok(first..=last)
}

pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if !(0.001..=SECONDS_MAX).contains(&seconds) {
        return Err(format!("not in 0.001..={SECONDS_MAX} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads a number of bytes, with K, M or G behind it or nothing: 1K is 1024.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let shift = match text.as_bytes().last() {
        Some(b'K' | b'k') => 10,
        Some(b'M' | b'm') => 20,
        Some(b'G' | b'g') => 30,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(shift > 0)];
    let count: u64 = digits.parse().map_err(|_| "a number of bytes is written like 512M")?;
    let bytes = count.checked_mul(1 << shift).ok_or("it is too large")?;
    if bytes == 0 { Err("it must be at least 1".to_owned()) } else { Ok(bytes) }
}

/// Reads the name of a test, as Rust has it.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins || !text.bytes().all(is_name) {
        return Err("a name of lower-case letters, digits and underscores".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_have_units_and_bounds() {
        assert_eq!(parse_bytes("1"), Ok(1));
        assert_eq!(parse_bytes("64k"), Ok(65_536));
        assert_eq!(parse_bytes("512M"), Ok(512 << 20));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        for wrong in ["", "0", "0G", "M", "-1", "1.5M", "99999999999999G", "1ü"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_have_both_their_ends() {
        assert_eq!(parse_range("0..=1_000"), Ok(0..=1000));
        for wrong in ["1..5", "5..=1", "-1..=2", "a..=b", ""] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }
}
