//! Runs [`chargehand_fuzz::ws_client`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chargehand_fuzz::ws_client(data));
