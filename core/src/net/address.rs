//! What may be dialled, and what may be listened on.

use alloc::boxed::Box;
use alloc::format;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

/// A host and a port: one rule for whoever dials and whoever listens.
///
/// It is written `host:port`, or the same after `tcp://`; one slash may follow. An IPv6 address stands
/// in brackets, and may have a zone where it is a link-local one: the number of a network interface,
/// or where the system knows them (Linux and other Unix) its name, as in `[fe80::1%eth0]:9000`. In a
/// URL `%25` before a zone stands for `%` (RFC 6874), and without a scheme so does `%25` before a
/// letter. Nothing is resolved here.
///
/// ```
/// use chargehand_core::net::Address;
///
/// let address = Address::to_dial("tcp://[fe80::1%25eth0]:9000/")?;
/// assert_eq!((address.host(), address.port()), ("fe80::1%eth0", 9000));
/// assert_eq!(address.to_string(), "[fe80::1%eth0]:9000");
/// # Ok::<(), chargehand_core::net::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Without brackets.
    host: Box<str>,
    port: u16,
}

impl Address {
    /// Reads the address of somebody else.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn to_dial(text: &str) -> Result<Self, AddressError> {
        match Self::to_listen(text)? {
            Self { port: 0, .. } => Err(AddressError::new(text, PORT_RANGE)),
            address => Ok(address),
        }
    }

    /// Reads the address of somebody else who is dialled over TLS: `tls://` may stand before it, where
    /// [`to_dial`](Self::to_dial) takes `tcp://`, and neither takes the other.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn to_dial_over_tls(text: &str) -> Result<Self, AddressError> {
        match Self::of(text, "tls") {
            Ok(Self { port: 0, .. }) => Err(AddressError::new(text, PORT_RANGE)),
            result => result.map_err(|problem| AddressError::new(text, problem)),
        }
    }

    /// Reads the address of this end, where port 0 means any free one.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn to_listen(text: &str) -> Result<Self, AddressError> {
        Self::of(text, "tcp").map_err(|problem| AddressError::new(text, problem))
    }

    /// Returns the host: a name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the zone of an IPv6 address, where it has one.
    pub fn zone(&self) -> Option<&str> {
        self.host.split_once('%').map(|(_, zone)| zone)
    }

    /// Returns whether the host is an IP address, and no name that has to be resolved.
    pub fn is_literal(&self) -> bool {
        self.zone().is_some() || self.host.parse::<IpAddr>().is_ok()
    }

    /// Adds what was to be resolved to a resolver's error: the name, or the zone that no network
    /// interface has.
    #[cfg(feature = "std")]
    pub fn unresolved(&self, error: &std::io::Error) -> std::io::Error {
        let what = match self.zone() {
            Some(zone) => format!("no network interface \"{zone}\" is here for its zone: {error}"),
            None => format!("cannot resolve \"{}\": {error}", self.host),
        };
        std::io::Error::new(error.kind(), what)
    }

    fn of(text: &str, expected: &str) -> Result<Self, &'static str> {
        let (is_url, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(expected) => (true, rest),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("tls") => return Err(NOT_PLAIN),
            Some(_) if expected == "tls" => {
                return Err("only tls:// or a bare host:port is meant here, where TLS is spoken");
            }
            Some(_) => return Err("only tcp:// or a bare host:port is meant here"),
        };
        let authority = match rest.split_once(['/', '?', '#']) {
            None => rest,
            Some((authority, "")) if rest.ends_with('/') => authority,
            Some(_) => return Err("over TCP nothing comes after the port, as in host:9000"),
        };
        let (host, port) = authority.rsplit_once(':').ok_or("it needs a port, as in host:9000")?;
        let host = if host.starts_with('[') {
            let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            in_brackets(inner.ok_or(BRACKETS)?, is_url)?
        } else if host.contains(':') {
            return Err("an IPv6 address stands in brackets, as in [::1]:9000");
        } else {
            name(host)?.into()
        };
        Ok(Self { host, port: number(port)? })
    }
}

const NOT_PLAIN: &str = "for tls:// the connection has to be over TLS (TlsDial of chargehand-transport-tls, \
                         feature `tls`): here it would be plain";
const BRACKETS: &str = "in brackets stands an IPv6 address and after them a port: [::1]:9000";
const PORT_RANGE: &str = "the port is not in 1..=65535";

fn name(host: &str) -> Result<&str, &'static str> {
    if host.is_empty() {
        return Err("it needs a host before the port");
    }
    if !host.bytes().all(of_a_name) {
        return Err("a host has letters, digits, dots and hyphens only");
    }
    Ok(host)
}

fn of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

fn in_brackets(inner: &str, is_url: bool) -> Result<Box<str>, &'static str> {
    let (address, zone) = match inner.split_once('%') {
        None => (inner, None),
        Some((address, zone)) => (address, Some(zone)),
    };
    let ip: Ipv6Addr = address.parse().map_err(|_| BRACKETS)?;
    let Some(zone) = zone else { return Ok(inner.into()) };
    if !ip.is_unicast_link_local() {
        return Err("only a link-local IPv6 address (fe80::/10) has a zone");
    }
    let zone = match zone.strip_prefix("25") {
        Some(escaped) if escaped.starts_with(|char: char| is_url || !char.is_ascii_digit()) => {
            escaped
        }
        _ => zone,
    };
    if zone.is_empty() || !zone.bytes().all(of_a_name) {
        return Err("a zone is the name or number of a network interface: [fe80::1%eth0]:9000");
    }
    Ok(format!("{address}%{zone}").into())
}

fn number(port: &str) -> Result<u16, &'static str> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    port.parse().map_err(|_| PORT_RANGE)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// An address that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    address: Box<str>,
    problem: &'static str,
}

impl AddressError {
    fn new(address: &str, problem: &'static str) -> Self {
        Self { address: address.into(), problem }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address \"{}\": {}", self.address, self.problem)
    }
}

impl core::error::Error for AddressError {}

#[cfg(feature = "std")]
impl From<AddressError> for std::io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn good_addresses_lose_their_scheme_and_a_slash_only() {
        for (given, dialled) in [
            ("10.0.0.8:9000", "10.0.0.8:9000"),
            ("tcp://10.0.0.8:9000", "10.0.0.8:9000"),
            ("tcp://10.0.0.8:9000/", "10.0.0.8:9000"),
            ("TCP://host:9000/", "host:9000"),
            ("host:9000/", "host:9000"),
            ("worker-1.example.org:1", "worker-1.example.org:1"),
            ("tcp://docker_name:65535", "docker_name:65535"),
            ("[::1]:9000", "[::1]:9000"),
            ("tcp://[::1]:9000/", "[::1]:9000"),
            ("tcp://[fe80::1%3]:9000", "[fe80::1%3]:9000"),
            ("[fe80::1%eth0]:9000", "[fe80::1%eth0]:9000"),
            ("[fe80::1%25eth0]:9000", "[fe80::1%eth0]:9000"),
            ("tcp://[fe80::1%25br-lan.7]:9000", "[fe80::1%br-lan.7]:9000"),
            // A number as `SocketAddr` shows it, and the same in a URL.
            ("[fe80::1%251]:9000", "[fe80::1%251]:9000"),
            ("tcp://[fe80::1%251]:9000", "[fe80::1%1]:9000"),
            ("tcp://[fe80::1%25]:9000", "[fe80::1%25]:9000"),
        ] {
            let address = Address::to_dial(given).unwrap();
            assert_eq!(address.to_string(), dialled, "{given}");
            assert_eq!(Address::to_dial(dialled), Ok(address), "{given}");
        }
        assert_eq!(Address::to_listen("tcp://[::]:0/").unwrap().port(), 0);
    }

    #[test]
    fn bad_addresses_are_named_with_what_is_wrong_at_both_ends() {
        for (given, problem) in [
            ("", "needs a port"),
            ("host", "needs a port"),
            (":9000", "needs a host"),
            ("host:", "not in 1..=65535"),
            ("host:65536", "not in 1..=65535"),
            ("host:+80", "not a number"),
            ("host:80/path", "nothing comes after the port"),
            ("tcp://host:80/a:1", "nothing comes after the port"),
            ("tcp://host:80//", "nothing comes after the port"),
            ("tcp://host:80?a", "nothing comes after the port"),
            ("tcp://host:80#", "nothing comes after the port"),
            ("ho st:80", "letters, digits"),
            ("user@host:80", "letters, digits"),
            ("host%eth0:80", "letters, digits"),
            ("::1:9000", "in brackets"),
            ("[::1]", "in brackets"),
            ("[::1]x:80", "in brackets"),
            ("[nonsense]:80", "in brackets"),
            ("[::1%lo]:80", "only a link-local"),
            ("[fe80::1%]:80", "a zone is"),
            ("[fe80::1%a%b]:80", "a zone is"),
            ("ws://host:80", "only tcp://"),
            ("tls://host:80", "over TLS (TlsDial"),
        ] {
            for result in [Address::to_dial(given), Address::to_listen(given)] {
                let text = result.unwrap_err().to_string();
                assert!(text.contains(problem), "{text}");
                assert!(text.contains(&format!("\"{given}\"")), "{text}");
            }
        }
        assert!(Address::to_dial("host:0").unwrap_err().to_string().contains(PORT_RANGE));
    }

    #[test]
    fn over_tls_the_scheme_is_tls_and_no_other() {
        for given in ["tls://host:9000", "TLS://host:9000/", "host:9000"] {
            let address = Address::to_dial_over_tls(given).unwrap();
            assert_eq!(address.to_string(), "host:9000", "{given}");
        }
        for (given, problem) in [
            ("tcp://host:9000", "only tls://"),
            ("wss://host:9000", "only tls://"),
            ("tls://host:0", PORT_RANGE),
            ("tls://host", "needs a port"),
        ] {
            let text = Address::to_dial_over_tls(given).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
        }
    }

    #[test]
    fn a_name_is_told_from_an_address() {
        for (given, is_literal) in [
            ("localhost:1", false),
            ("10.0.0.8:1", true),
            ("[::1]:1", true),
            ("[fe80::1%x]:1", true),
        ] {
            assert_eq!(Address::to_dial(given).unwrap().is_literal(), is_literal, "{given}");
        }
    }
}
