//! A sleep that costs the runtime nothing while its end is far away.
//!
//! As long as any timer of tokio's runs, each of its waits for I/O has a time limit, for which the
//! system sets a timer up and takes it back. A pool and a worker always sleep, mostly towards a
//! deadline many seconds away. So a long sleep is a timer of the system's instead, set once, and waits
//! have no limit on its account.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

/// Completes at the time it was made for.
///
/// Dropping it ends it. A long one holds a file descriptor on Linux and Android.
#[derive(Debug)]
#[must_use = "a sleep does nothing until it is polled"]
pub struct Sleep(Kind);

#[derive(Debug)]
enum Kind {
    Short(Pin<Box<tokio::time::Sleep>>),
    #[cfg(any(target_os = "android", target_os = "linux"))]
    Long(crate::system_timer::SystemTimer),
}

impl Sleep {
    pub(crate) fn until(at: Instant) -> Self {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Some(timer) = crate::system_timer::long(at) {
            return Self(Kind::Long(timer));
        }
        Self(Kind::Short(Box::pin(tokio::time::sleep_until(at))))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Short(sleep) => sleep.as_mut().poll(cx),
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

    #[tokio::test]
    async fn a_long_sleep_is_a_timer_of_the_systems_and_ends_at_its_time() {
        let at = Instant::now() + LONG + Duration::from_millis(20);
        let sleep = Sleep::until(at);
        assert!(is_long(&sleep));
        let mut sleep = Box::pin(sleep);
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // By another waker than that of the first poll.
        sleep.await;
        assert!(Instant::now() >= at);
    }

    #[tokio::test]
    async fn a_long_sleep_that_is_dropped_leaves_no_descriptor_behind() {
        let open = || std::fs::read_dir("/proc/self/fd").expect("it is Linux").count();
        let before = open();
        for _ in 0..1000 {
            assert!(is_long(&Sleep::until(Instant::now() + 10 * LONG)));
        }
        // Other tests have some as well.
        assert!(open() < before + 500);
    }

    #[tokio::test]
    async fn a_short_sleep_is_tokios() {
        let at = Instant::now() + Duration::from_millis(10);
        let sleep = Sleep::until(at);
        assert!(!is_long(&sleep));
        sleep.await;
        assert!(Instant::now() >= at);
        Sleep::until(at).await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_time_is_paused_a_long_sleep_follows_it() {
        let before = (Instant::now(), std::time::Instant::now());
        let sleep = Sleep::until(before.0 + 86_400 * LONG);
        assert!(!is_long(&sleep));
        sleep.await;
        assert!(before.0.elapsed() >= 86_400 * LONG);
        assert!(before.1.elapsed() < 60 * LONG, "a day in no time");
        tokio::time::resume();
        assert!(!is_long(&Sleep::until(Instant::now() + 10 * LONG)), "its time is ahead by a day");
    }

    #[test]
    fn it_moves_between_threads() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let sleep = {
            let _entered = runtime.enter();
            Box::pin(Sleep::until(Instant::now() + LONG))
        };
        let spawned = runtime.spawn(sleep);
        runtime.block_on(spawned).expect("it ends");
    }
}
