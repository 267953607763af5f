//! Who may be in between, or at the other end, of a connection.

use core::net::{IpAddr, SocketAddr};

/// Who may be at the other end of a connection, or in between: what a transport or a runtime declares
/// of what it opens and takes in.
///
/// A pool or a worker takes [`Open`](Exposure::Open) only where its user has said so (`insecure()`), since
/// whoever reaches such a connection can read it, change it and be whoever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Exposure {
    /// It does not leave the machine, or the wire that is plugged into it: the process's own memory, a
    /// loopback address, a Unix domain socket, a serial line.
    Local,
    /// Wherever it goes, nobody in between can read or change what is sent, and the other end has proven who
    /// it is.
    Protected,
    /// It may leave the machine, unprotected, and the user has said of this very transport that it may:
    /// as by choosing a dialect that knows no protection.
    Waived,
    /// It may leave the machine, and nothing protects it.
    Open,
}

impl Exposure {
    /// Returns the exposure of a plain stream to `address` (`host:port`, with or without a scheme before
    /// and a path after it): [`Local`](Exposure::Local) for a loopback IP address and for `localhost`,
    /// and [`Open`](Exposure::Open) for anything else, since a name may lead anywhere.
    #[must_use]
    pub fn of_address(address: &str) -> Self {
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(inner) => inner.split_once(']').map(|(host, _)| host),
            None => authority.rsplit_once(':').map(|(host, _)| host),
        };
        let host = host.unwrap_or(authority);
        match host.parse() {
            Ok(ip) => Self::of_ip(ip),
            Err(_) if host.eq_ignore_ascii_case("localhost") => Self::Local,
            Err(_) => Self::Open,
        }
    }

    /// Returns the exposure of a plain stream to this address, or of a listener bound to it, where the
    /// unspecified one (`0.0.0.0`, `::`) is every address of the machine.
    #[must_use]
    pub const fn of_ip(ip: IpAddr) -> Self {
        if ip.to_canonical().is_loopback() { Self::Local } else { Self::Open }
    }

    /// Returns the exposure of a listener on `address`, as a system tells it: where it does not, the
    /// listener counts as open.
    #[must_use]
    pub fn of_bound<E>(address: &Result<SocketAddr, E>) -> Self {
        address.as_ref().map_or(Self::Open, |address| Self::of_ip(address.ip()))
    }

    /// Returns [`Waived`](Exposure::Waived) for what is open where the user has said that it may be.
    #[must_use]
    pub const fn waived_if(self, may_be_open: bool) -> Self {
        match self {
            Self::Open if may_be_open => Self::Waived,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn only_loopback_and_localhost_stay_on_the_machine() {
        for address in [
            "127.0.0.1:9000",
            "127.8.9.10:1",
            "[::1]:9000",
            "[::ffff:127.0.0.1]:9000",
            "localhost:9000",
            "LocalHost:9000",
            "tcp://localhost:9000/",
            "ws://127.0.0.1:80/path?query=1:2",
            "localhost",
            "127.0.0.1",
        ] {
            assert_eq!(Exposure::of_address(address), Exposure::Local, "{address}");
        }
        for address in [
            "",
            ":9000",
            "0.0.0.0:9000",
            "[::]:9000",
            "10.0.0.7:9000",
            "[::ffff:10.0.0.7]:9000",
            "[fe80::1%eth0]:9000",
            "localhost.example.org:9000",
            "localhost.:9000",
            "127.0.0.1.example.org:9000",
            "example.org/localhost:9000",
            "example.org?@localhost:1",
            "user@localhost:9000",
            "2130706433:9000",
            "0x7f.1:9000",
            "127.1:9000",
            "[::1",
        ] {
            assert_eq!(Exposure::of_address(address), Exposure::Open, "{address}");
        }
        assert_eq!(Exposure::of_bound::<()>(&Ok(([0, 0, 0, 0], 1).into())), Exposure::Open);
        assert_eq!(Exposure::of_bound::<()>(&Ok(([127, 0, 0, 1], 1).into())), Exposure::Local);
        assert_eq!(Exposure::of_bound(&Err(())), Exposure::Open);
    }

    #[test]
    fn only_what_is_open_can_be_waived() {
        assert_eq!(Exposure::Open.waived_if(true), Exposure::Waived);
        assert_eq!(Exposure::Open.waived_if(false), Exposure::Open);
        for other in [Exposure::Local, Exposure::Protected] {
            assert_eq!(other.waived_if(true), other);
        }
    }
}
