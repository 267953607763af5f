//! A sleep that costs the reactor nothing while its end is far away.
//!
//! As long as any timer of smol's runs, each of the reactor's waits for I/O sets it up anew with the
//! system. A pool and a worker always sleep, mostly towards a deadline many seconds away. So a long
//! sleep is a timer of the system's instead, set once, and waits have nothing to do with it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// Completes at the time it was made for.
///
/// Dropping it ends it. A long one holds a file descriptor on Linux and Android.
#[derive(Debug)]
#[must_use = "a sleep does nothing until it is polled"]
pub struct Sleep(Kind);

#[derive(Debug)]
enum Kind {
    Short(smol::Timer),
    #[cfg(any(target_os = "android", target_os = "linux"))]
    Long(crate::system_timer::SystemTimer),
}

impl Sleep {
    /// Sleeps until a time, or for ever.
    pub(crate) fn until(at: Option<Instant>) -> Self {
        let Some(at) = at else { return Self(Kind::Short(smol::Timer::never())) };
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Some(timer) = crate::system_timer::long(at) {
            return Self(Kind::Long(timer));
        }
        Self(Kind::Short(smol::Timer::at(at)))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Short(timer) => Pin::new(timer).poll(cx).map(drop),
            #[cfg(any(target_os = "android", target_os = "linux"))]
            Kind::Long(timer) => timer.poll(cx),
        }
    }
}

#[cfg(all(test, any(target_os = "android", target_os = "linux")))]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::system_timer::LONG;

    fn is_long(sleep: &Sleep) -> bool {
        matches!(sleep.0, Kind::Long(_))
    }

    #[test]
    fn a_long_sleep_is_a_timer_of_the_systems_and_ends_at_its_time() {
        let at = Instant::now() + LONG + Duration::from_millis(20);
        let mut sleep = Sleep::until(Some(at));
        assert!(is_long(&sleep));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        // By another waker than that of the first poll.
        smol::block_on(sleep);
        assert!(Instant::now() >= at);
    }

    #[test]
    fn a_long_sleep_that_is_dropped_leaves_no_descriptor_behind() {
        let open = || std::fs::read_dir("/proc/self/fd").expect("it is Linux").count();
        let before = open();
        for _ in 0..1000 {
            assert!(is_long(&Sleep::until(Some(Instant::now() + 10 * LONG))));
        }
        // Other tests have some as well.
        assert!(open() < before + 500);
    }

    #[test]
    fn a_short_sleep_is_smols() {
        let at = Instant::now() + Duration::from_millis(10);
        let sleep = Sleep::until(Some(at));
        assert!(!is_long(&sleep));
        smol::block_on(sleep);
        assert!(Instant::now() >= at);
    }
}
