//! Runs [`chargehand_fuzz::tls_server`] on whatever libFuzzer comes up with.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chargehand_fuzz::tls_server(data));
