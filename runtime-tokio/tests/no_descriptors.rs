//! A sleep with no file descriptor left: a program of its own, for it has none either.
#![cfg(any(target_os = "android", target_os = "linux"))]

use std::fs::File;
use std::time::Duration;

use chargehand_core::io::Timer;
use chargehand_runtime_tokio::Tokio;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process open nothing more.
fn use_up_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(3);
    setrlimit(Resource::Nofile, limit).expect("it is lower than it was");
    File::open("/dev/null").expect_err("no descriptor is left");
}

#[test]
fn a_long_sleep_without_a_descriptor_ends_at_its_time_all_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let timer = Tokio::new();
        use_up_descriptors();
        let at = timer.now().saturating_add(Duration::from_millis(1100));
        timer.sleep_until(at).await;
        assert!(timer.now() >= at);
    });
}
