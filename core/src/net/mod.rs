//! What every runtime and transport over IP does alike: addresses, hosts, the race to the first
//! address that answers, and what their sockets are set to. Nothing here opens a socket.

mod address;
mod host;
mod race;

use core::time::Duration;

pub use self::address::{Address, AddressError};
pub use self::host::host_of;
pub use self::race::{STAGGER, Unreachable, alternating, race};

/// What a runtime sets its sockets to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// How a peer whose machine has vanished is found out. Default [`Keepalive::new`]; `None` leaves it
    /// to the heartbeat, which judges no manager of the Go package.
    pub keepalive: Option<Keepalive>,
    /// How many of the process's file descriptors no connection takes, so that a file can still be
    /// opened when connections have taken all others. Never more than a quarter of the process's
    /// limit. A connection past it is closed and told as an error. Default 32; 0 takes them all.
    pub descriptors_reserved: usize,
}

impl SocketOptions {
    /// Makes the default options.
    pub const fn new() -> Self {
        Self { keepalive: Some(Keepalive::new()), descriptors_reserved: 32 }
    }

    /// Sets when a silent peer is probed.
    #[must_use]
    pub const fn keepalive(self, keepalive: Option<Keepalive>) -> Self {
        Self { keepalive, ..self }
    }

    /// Sets how many file descriptors are kept for others than connections.
    #[must_use]
    pub const fn descriptors_reserved(self, descriptors_reserved: usize) -> Self {
        Self { descriptors_reserved, ..self }
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// When the system probes a peer from which nothing comes (`SO_KEEPALIVE`), and when it gives it up.
///
/// By default that is after two minutes. The system answers probes without its programs, so a peer
/// that is stopped or busy stays; one that was switched off, or is cut off, goes. Spans count in
/// whole seconds, and one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// How long nothing comes before the first probe. Default 60 s.
    pub idle: Duration,
    /// How long after a probe the next one follows. Default 15 s.
    pub interval: Duration,
    /// After how many probes without an answer the connection is an error. Default 4.
    pub probes: u32,
}

impl Keepalive {
    /// Makes the default spans.
    pub const fn new() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(15), probes: 4 }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::new()
    }
}

/// The file descriptors of a process: each connection takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// How many are open.
    pub open: usize,
    /// How many may be (`ulimit -n`), those that are open included.
    pub max: usize,
}

impl Descriptors {
    /// Returns how many more connections may be opened where so many are reserved for others.
    pub const fn left(self, reserved: usize) -> usize {
        Self::reserved_from(self.max, reserved).saturating_sub(self.open)
    }

    /// Returns from which number on a descriptor is reserved.
    ///
    /// A system gives out the lowest number that is free. So while no connection keeps a number from
    /// here on, the highest `reserved` are there for others.
    pub const fn reserved_from(max: usize, reserved: usize) -> usize {
        let at_most = max / 4;
        max - if reserved < at_most { reserved } else { at_most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_never_more_than_a_quarter() {
        for (max, reserved, from) in
            [(1024, 32, 992), (1024, 0, 1024), (64, 32, 48), (3, 32, 3), (0, 32, 0)]
        {
            assert_eq!(Descriptors::reserved_from(max, reserved), from, "{max} {reserved}");
        }
        assert_eq!(Descriptors { open: 1000, max: 1024 }.left(0), 24);
        assert_eq!(Descriptors { open: 900, max: 1024 }.left(32), 92);
        assert_eq!(Descriptors { open: 1025, max: 1024 }.left(0), 0);
    }
}
