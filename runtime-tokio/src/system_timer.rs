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

#[derive(Debug)]
pub(crate) struct SystemTimer(AsyncFd<OwnedFd>);

impl SystemTimer {
    /// Starts a timer that is over after a span longer than zero.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, for what may close its descriptor early; `OwnedFd` does not"
    )]
    pub(crate) fn start(span: Duration) -> io::Result<Self> {
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
