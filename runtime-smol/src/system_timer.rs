//! A timer of the system's: a file descriptor that is readable once its time is over.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use smol::Async;

#[derive(Debug)]
pub(crate) struct SystemTimer(Async<OwnedFd>);

impl SystemTimer {
    /// Starts a timer that is over after a span longer than zero.
    pub(crate) fn start(span: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let time = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(span).map_err(io::Error::other)?,
        };
        timerfd_settime(&fd, TimerfdTimerFlags::empty(), &time)?;
        Async::new_nonblocking(fd).map(Self)
    }

    /// Completes once it is over.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(cx).map(drop)
    }
}
