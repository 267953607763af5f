//! A timer of the system's: a file descriptor that is readable once its time is over.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A sleep at least so long is worth the system calls that make and end a timer of the system's.
pub(crate) const LONG: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct SystemTimer(AsyncFd<OwnedFd>);

/// Starts a timer for a long sleep, unless it is to follow a paused time or no descriptor is to be had
/// for it.
pub(crate) fn long(at: Instant) -> Option<SystemTimer> {
    let now = Instant::now();
    let span = at.saturating_duration_since(now);
    if span < LONG || !is_of_the_system(now) {
        return None;
    }
    SystemTimer::start(span).ok()
}

/// Returns whether tokio's time is the system's, to judge by what it was just now: a test may have
/// paused it.
fn is_of_the_system(now: Instant) -> bool {
    let later = std::time::Instant::now();
    now.into_std() <= later && later <= Instant::now().into_std()
}

impl SystemTimer {
    /// Starts a timer that is over after a span longer than zero.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, for what may close its descriptor early; `OwnedFd` does not"
    )]
    fn start(span: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let time = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(span).map_err(io::Error::other)?,
        };
        timerfd_settime(&fd, TimerfdTimerFlags::empty(), &time)?;
        AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
    }

    /// Completes once it is over.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_read_ready(cx).map(drop)
    }
}
