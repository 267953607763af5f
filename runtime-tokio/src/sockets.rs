//! What the sockets are set to, and how many there may be.

use std::io;

use chargehand_core::net::{Descriptors, SocketOptions};
use tokio::net::TcpStream;

/// Sets an open connection's options, unless it has taken a descriptor that is reserved: drop it then.
///
/// # Errors
/// Says what to do about too few descriptors.
pub(crate) fn prepare(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    check_reserve(stream, options)?;
    // These fail only where the peer is gone already, which the first read tells.
    let _ = stream.set_nodelay(true);
    if let Some(keepalive) = &options.keepalive {
        let _ = system::set_keepalive(stream, keepalive);
    }
    Ok(())
}

/// Refuses a connection that has taken a descriptor that is reserved: drop it then.
///
/// # Errors
/// Says what to do about too few descriptors.
pub(crate) fn check_reserve<S: system::Socket>(
    socket: &S,
    options: &SocketOptions,
) -> io::Result<()> {
    system::check_reserve(socket, options.descriptors_reserved)
}

pub(crate) fn descriptors() -> Option<Descriptors> {
    system::descriptors()
}

/// Adds the remedy to an error that says that the descriptors have run out.
pub(crate) fn explained(error: io::Error) -> io::Error {
    system::explained(error)
}

#[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
mod system {
    pub(super) use std::os::fd::AsRawFd as Socket;
    use std::time::Duration;

    use chargehand_core::net::Keepalive;
    use rustix::io::Errno;
    use rustix::net::sockopt;
    use rustix::process::{Resource, getrlimit};

    use super::{Descriptors, TcpStream, io};

    /// What Linux takes at most.
    const SECONDS_MAX: u64 = 32_767;
    const PROBES_MAX: u32 = 127;

    const REMEDY: &str = "raise the process's limit (ulimit -n) or have fewer connections";

    fn limit() -> usize {
        let limit = getrlimit(Resource::Nofile).current;
        limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
    }

    pub(super) fn check_reserve(socket: &impl Socket, reserved: usize) -> io::Result<()> {
        let max = limit();
        let from = Descriptors::reserved_from(max, reserved);
        match usize::try_from(socket.as_raw_fd()) {
            Ok(number) if number >= from => Err(io::Error::other(format!(
                "the last {} of {max} file descriptors are not for connections \
                 (descriptors_reserved): {REMEDY}",
                max - from
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn set_keepalive(socket: &TcpStream, keepalive: &Keepalive) -> io::Result<()> {
        let whole = |span: Duration| Duration::from_secs(span.as_secs().clamp(1, SECONDS_MAX));
        sockopt::set_tcp_keepidle(socket, whole(keepalive.idle))?;
        sockopt::set_tcp_keepintvl(socket, whole(keepalive.interval))?;
        sockopt::set_tcp_keepcnt(socket, keepalive.probes.clamp(1, PROBES_MAX))?;
        Ok(sockopt::set_socket_keepalive(socket, true)?)
    }

    pub(super) fn descriptors() -> Option<Descriptors> {
        // It counts the one that it is read by.
        let open = std::fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1);
        Some(Descriptors { open, max: limit() })
    }

    pub(super) fn explained(error: io::Error) -> io::Error {
        let out_of_them = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        if out_of_them.contains(&error.raw_os_error()) {
            io::Error::new(error.kind(), format!("{error}: {REMEDY}"))
        } else {
            error
        }
    }
}

#[cfg(not(any(target_os = "android", target_os = "linux", target_vendor = "apple")))]
mod system {
    use chargehand_core::net::Keepalive;

    use super::{Descriptors, TcpStream, io};

    /// Whatever has a descriptor where these are counted.
    pub(crate) trait Socket {}

    impl<T> Socket for T {}

    pub(super) fn check_reserve<S>(_: &S, _: usize) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn set_keepalive(_: &TcpStream, _: &Keepalive) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn descriptors() -> Option<Descriptors> {
        None
    }

    pub(super) fn explained(error: io::Error) -> io::Error {
        error
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "sockets_tests.rs"]
mod tests;
