//! Runs [`chargehand_fuzz::prefix`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chargehand_fuzz::prefix(data));
