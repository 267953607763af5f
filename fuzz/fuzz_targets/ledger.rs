//! Runs [`chargehand_fuzz::ledger`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chargehand_fuzz::ledger(data));
