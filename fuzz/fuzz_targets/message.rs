//! Runs [`chargehand_fuzz::message`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chargehand_fuzz::message(data));
