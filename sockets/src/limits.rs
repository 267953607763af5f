//! Limits on file descriptors.

use std::io;

use chargehand_core::net::Descriptors;

use crate::AsSocket;

/// Returns how many file descriptors the process has open and may open at most, or `None` where that is
/// unknown. It lists all open ones: call it at startup, not per connection.
pub fn descriptors() -> Option<Descriptors> {
    system::descriptors()
}

/// Adds the remedy to an error that means that file descriptors have run out. Returns any other error unchanged.
pub fn explained(error: io::Error) -> io::Error {
    system::explained(error)
}

/// Refuses a connection whose descriptor is among the last `reserved`.
pub(crate) fn check_reserve(socket: &impl AsSocket, reserved: usize) -> io::Result<()> {
    system::check_reserve(socket, reserved)
}

#[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
mod system {
    use std::os::fd::AsRawFd;

    use super::{AsSocket, Descriptors, io};

    const REMEDY: &str = "raise the process's limit (ulimit -n) or have fewer connections";

    /// `EMFILE` (the process has none left) and `ENFILE` (the system has none left), the same on every Unix.
    const EXHAUSTED: [i32; 2] = [24, 23];

    fn limit() -> usize {
        let limit = rlimit::Resource::NOFILE.get_soft();
        limit.ok().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
    }

    pub(super) fn check_reserve(socket: &impl AsSocket, reserved: usize) -> io::Result<()> {
        let max = limit();
        let from = Descriptors::reserved_from(max, reserved);
        match usize::try_from(socket.as_fd().as_raw_fd()) {
            Ok(number) if number >= from => Err(io::Error::other(format!(
                "the last {} of {max} file descriptors are reserved for uses other than connections \
                 (descriptors_reserved): {REMEDY}",
                max - from
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn descriptors() -> Option<Descriptors> {
        // Listing them opens one more.
        let open = std::fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1);
        Some(Descriptors { open, max: limit() })
    }

    pub(super) fn explained(error: io::Error) -> io::Error {
        match error.raw_os_error() {
            Some(number) if EXHAUSTED.contains(&number) => {
                io::Error::new(error.kind(), format!("{error}: {REMEDY}"))
            }
            _ => error,
        }
    }
}

#[cfg(not(any(target_os = "android", target_os = "linux", target_vendor = "apple")))]
mod system {
    use super::{AsSocket, Descriptors, io};

    pub(super) fn check_reserve(_: &impl AsSocket, _: usize) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn descriptors() -> Option<Descriptors> {
        None
    }

    pub(super) fn explained(error: io::Error) -> io::Error {
        error
    }
}
