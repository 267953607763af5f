//! A sleep that costs the runtime nothing while its end is far away.
//!
//! As long as any timer of tokio's runs, each of its waits for I/O has a time limit, for which the
//! system sets a timer up and takes it back. A pool and a worker always sleep, mostly towards a
//! deadline many seconds away. So a long sleep is a timer of the system's instead, set once, and waits
//! have no limit on its account.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::system_timer::SystemTimer;

/// A sleep at least so long is worth the system calls that make and end a timer of the system's.
const LONG: Duration = Duration::from_secs(1);

pin_project! {
    /// Completes at the time it was made for.
    ///
    /// Dropping it ends it. A long one holds a file descriptor on Linux and Android.
    #[derive(Debug)]
    #[must_use = "a sleep does nothing until it is polled"]
    pub struct Sleep {
        #[pin]
        kind: Kind,
    }
}

pin_project! {
    #[project = Projection]
    #[derive(Debug)]
    enum Kind {
        Short { #[pin] sleep: tokio::time::Sleep },
        Long { timer: SystemTimer },
    }
}

impl Sleep {
    pub(crate) fn until(at: Instant) -> Self {
        let now = Instant::now();
        let span = at.saturating_duration_since(now);
        if span >= LONG && is_of_the_system(now) {
            if let Ok(timer) = SystemTimer::start(span) {
                return Self { kind: Kind::Long { timer } };
            }
        }
        Self { kind: Kind::Short { sleep: tokio::time::sleep_until(at) } }
    }
}

/// Returns whether tokio's time is the system's, to judge by what it was just now: a test may have
/// paused it.
fn is_of_the_system(now: Instant) -> bool {
    let later = std::time::Instant::now();
    now.into_std() <= later && later <= Instant::now().into_std()
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().kind.project() {
            Projection::Short { sleep } => sleep.poll(cx),
            Projection::Long { timer } => timer.poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_long(sleep: &Sleep) -> bool {
        matches!(sleep.kind, Kind::Long { .. })
    }

    const IS_LINUX: bool = cfg!(any(target_os = "android", target_os = "linux"));

    #[tokio::test]
    async fn a_long_sleep_is_a_timer_of_the_systems_and_ends_at_its_time() {
        let at = Instant::now() + LONG + Duration::from_millis(20);
        let sleep = Sleep::until(at);
        assert_eq!(is_long(&sleep), IS_LINUX);
        let mut sleep = Box::pin(sleep);
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // By another waker than that of the first poll.
        sleep.await;
        assert!(Instant::now() >= at);
    }

    #[cfg(any(target_os = "android", target_os = "linux"))]
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
