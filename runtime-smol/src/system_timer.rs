//! A timer of the system's: a file descriptor that is readable once its time is over.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use smol::Async;

/// A sleep at least so long is worth the system calls that make and end a timer of the system's.
pub(crate) const LONG: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct SystemTimer(Async<OwnedFd>);

/// Starts a timer for a long sleep, unless no descriptor is to be had for it.
pub(crate) fn long(at: Instant) -> Option<SystemTimer> {
    let span = at.saturating_duration_since(Instant::now());
    if span < LONG {
        return None;
    }
    SystemTimer::start(span).ok()
}

impl SystemTimer {
    /// Starts a timer that is over after a span longer than zero.
    fn start(span: Duration) -> io::Result<Self> {
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
