//! Chargehand over Unix domain sockets: manager and workers on one machine, let in by file permissions.
//!
//! [`UnixSocket`] listens on a path, [`UnixConnector`] dials one, both written `unix:///path`. The byte
//! streams come from a runtime crate through [`Dial`] and [`Accept`], and the messages on them are those
//! of TCP: a [`UnixWire`] is a [`TcpWire`], limits and errors included.
//!
//! ```
//! use chargehand_transport_unix::{UnixConnector, UnixSocket};
//! # fn listen<A>(from_std: fn(std::os::unix::net::UnixListener) -> std::io::Result<A>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("chargehand-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let address = &format!("unix://{}/worker.sock", directory.display());
//!
//! // `address` is "unix:///run/app/worker.sock", say; `from_std` comes from a runtime:
//! // `TokioUnixListener::from_std`, `SmolUnixListener::from_std` or your own.
//! let listener = UnixSocket::new(address).mode(0o660).listen(from_std)?;
//! // `listener` goes to `Worker::serve` or to a pool's `accept`, and this to the other end:
//! let connector = UnixConnector::new((/* a runtime's `Dial`: TokioUnix, SmolUnix */), address)?;
//! # drop((listener, connector));
//! # std::fs::remove_dir(&directory)?; // It is empty again.
//! # Ok(())
//! # }
//! # listen(Ok).unwrap();
//! ```
//!
//! # Who gets in
//!
//! Whoever may write to the socket file, which at first is its owner alone
//! ([`UnixSocket::mode`]), and may search the directories above it.
//!
//! # The file
//!
//! A socket file outlives a process that is killed. [`UnixSocket::listen`] connects to a file that it
//! finds: if somebody answers, the path is in use, and otherwise the file is replaced. What is no socket
//! is never removed. A listener that is dropped removes its own file, and no other that took its place.
//!
//! This crate builds on Unix only. Elsewhere use TCP over `127.0.0.1`.

#[cfg(not(unix))]
compile_error!(
    "chargehand's feature `unix` (Unix domain sockets) needs a Unix system: leave it out for this \
     target, and use the feature `tcp` over 127.0.0.1 there"
);

#[cfg(unix)]
mod address;
#[cfg(unix)]
mod file;
#[cfg(unix)]
mod socket;
#[cfg(unix)]
mod transport;

#[cfg(unix)]
pub use self::{
    address::{AddressError, PATH_BYTES_MAX},
    socket::UnixSocket,
    transport::{UnixConnector, UnixError, UnixListener, UnixWire},
};
#[cfg(unix)]
pub use chargehand_transport_tcp::{Accepting, BoxError, Connecting, Limits};

#[cfg(all(doc, unix))]
use chargehand_core::io::{Accept, Dial};
#[cfg(all(doc, unix))]
use chargehand_transport_tcp::TcpWire;
