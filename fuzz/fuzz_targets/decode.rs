//! Runs [`chargehand_fuzz::decode`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chargehand_fuzz::decode(data));
