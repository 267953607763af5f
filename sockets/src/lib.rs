//! Socket options, file descriptor limits and error messages shared by chargehand's runtimes.
//!
//! `chargehand-runtime-tokio` and `chargehand-runtime-smol` are built on it, and your own runtime can be too.
//! It opens no sockets itself. A runtime connects in its own way (with [`race`](chargehand_core::net::race) if a
//! name has several addresses), accepts with [`poll_accepted`], and passes each open stream to [`prepare`].
//!
//! ```
//! use std::net::{TcpListener, TcpStream};
//!
//! use chargehand_core::net::SocketOptions;
//! use chargehand_sockets::{explained, prepare};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let stream = TcpStream::connect(listener.local_addr()?).map_err(explained)?;
//! prepare(&stream, &SocketOptions::new())?;
//! assert!(stream.nodelay()?);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! On Linux, Android and Apple platforms some of the process's file descriptors are kept free of connections
//! ([`SocketOptions::descriptors_reserved`]). On other systems the limit is unknown and none are reserved.

mod accepting;
mod dialling;
mod limits;

use std::io;
#[cfg(not(windows))]
use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket;
use std::time::Duration;

use chargehand_core::net::{Keepalive, SocketOptions};
use socket2::{SockRef, TcpKeepalive};

pub use self::accepting::poll_accepted;
pub use self::dialling::Dialling;
pub use self::limits::{descriptors, explained};

/// Sets the given options and `TCP_NODELAY` on an open connection. Call it for every connection, dialled or
/// accepted.
///
/// # Errors
/// The connection's file descriptor is one of those reserved for other uses: drop the connection. The text
/// says how to raise the limit.
pub fn prepare(stream: &impl AsSocket, options: &SocketOptions) -> io::Result<()> {
    limits::check_reserve(stream, options.descriptors_reserved)?;
    let socket = SockRef::from(stream);
    // These fail only if the peer is already gone, which the first read reports.
    let _ = socket.set_tcp_nodelay(true);
    if let Some(keepalive) = &options.keepalive {
        let _ = socket.set_tcp_keepalive(&probes(keepalive));
    }
    Ok(())
}

/// Checks that an open connection has not taken a reserved file descriptor. For Unix domain sockets, which
/// have no other options to [`prepare`].
///
/// # Errors
/// It has: drop the connection. The text says how to raise the limit.
pub fn check_reserve(stream: &impl AsSocket, options: &SocketOptions) -> io::Result<()> {
    limits::check_reserve(stream, options.descriptors_reserved)
}

fn probes(keepalive: &Keepalive) -> TcpKeepalive {
    // Linux's limits on seconds and probes.
    let whole = |span: Duration| Duration::from_secs(span.as_secs().clamp(1, 32_767));
    let probes = TcpKeepalive::new().with_time(whole(keepalive.idle));
    // Other systems do not let a process set these.
    #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple", windows))]
    let probes = probes
        .with_interval(whole(keepalive.interval))
        .with_retries(keepalive.probes.clamp(1, 127));
    probes
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
