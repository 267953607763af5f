//! What the runtimes of chargehand have in common: socket options, limits of descriptors, and errors.
//!
//! `chargehand-runtime-tokio` and `chargehand-runtime-smol` are built on it, and so may be a runtime of
//! your own. It opens no socket itself: a runtime does that in its own way, with
//! [`race`](chargehand_core::net::race) where a name has several addresses, takes the next one from a
//! listener with [`poll_accepted`], and hands each open stream to [`prepare`].
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
//! On Linux, Android and Apple's systems a process's limit of file descriptors is kept
//! ([`SocketOptions::descriptors_reserved`]). Elsewhere it is not known here, and no descriptor reserved.

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

/// Sets the options of an open connection: what was asked for, and that it sends without delay
/// (`TCP_NODELAY`). Call it for each, whichever end opened it.
///
/// # Errors
/// The connection has taken a file descriptor that is reserved: drop it. The text says what to do about
/// too few of them.
pub fn prepare(stream: &impl AsSocket, options: &SocketOptions) -> io::Result<()> {
    limits::check_reserve(stream, options.descriptors_reserved)?;
    let socket = SockRef::from(stream);
    // These fail only where the peer is gone already, which the first read tells.
    let _ = socket.set_tcp_nodelay(true);
    if let Some(keepalive) = &options.keepalive {
        let _ = socket.set_tcp_keepalive(&probes(keepalive));
    }
    Ok(())
}

/// Refuses an open connection that has taken a file descriptor that is reserved: for sockets that
/// [`prepare`] is not for, those of Unix domain.
///
/// # Errors
/// Drop the connection. The text says what to do about too few descriptors.
pub fn check_reserve(stream: &impl AsSocket, options: &SocketOptions) -> io::Result<()> {
    limits::check_reserve(stream, options.descriptors_reserved)
}

fn probes(keepalive: &Keepalive) -> TcpKeepalive {
    // Linux takes no more than these many seconds and probes.
    let whole = |span: Duration| Duration::from_secs(span.as_secs().clamp(1, 32_767));
    let probes = TcpKeepalive::new().with_time(whole(keepalive.idle));
    // Other systems decide these themselves.
    #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple", windows))]
    let probes = probes
        .with_interval(whole(keepalive.interval))
        .with_retries(keepalive.probes.clamp(1, 127));
    probes
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
