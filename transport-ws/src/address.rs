//! What may be dialled.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use chargehand_core::net;
use http::Uri;
use http::uri::Authority;

/// A URL that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    url: Box<str>,
    problem: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address \"{}\": {}", self.url, self.problem)
    }
}

impl Error for AddressError {}

impl AddressError {
    pub(crate) fn new(url: &str, problem: &'static str) -> Self {
        Self { url: url.into(), problem }
    }
}

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As it was given.
    pub(crate) url: Box<str>,
    /// What to dial: `host:port`.
    pub(crate) address: Box<str>,
    /// The `Host` header.
    pub(crate) host: Box<str>,
    /// What to ask for: path and query.
    pub(crate) path: Box<str>,
}

impl Target {
    /// Names this and its host.
    pub(crate) fn peer(&self) -> Peer {
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _port)| host);
        let host = host_of(host).unwrap_or_else(|| host.to_ascii_lowercase().into());
        Peer { name: self.url.clone(), host: Some(host), identity: None }
    }
}

impl Target {
    pub(crate) fn parse(url: &str, is_encrypted: bool) -> Result<Self, AddressError> {
        Self::of(url, is_encrypted).map_err(|problem| AddressError::new(url, problem))
    }

    fn of(given: &str, is_encrypted: bool) -> Result<Self, &'static str> {
        let (expected, usual_port) = if is_encrypted { ("wss", 443) } else { ("ws", 80) };
        let url = with_scheme(given, expected);
        if has_zone(&url) {
            return Err(
                "an IPv6 zone (what follows the %) cannot be in a URL: give an address that \
                        needs none",
            );
        }
        let uri: Uri = url.parse().map_err(|_| "not a URL; expected [ws://]host[:port][/path]")?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(expected) {
            return Err(match expected {
                "wss" => "only wss:// is dialled by this transport, where TLS is spoken",
                _ if scheme.eq_ignore_ascii_case("wss") => {
                    "for wss:// give a Dial that speaks TLS (TlsDial of chargehand-transport-tls, feature \
                     `tls`): here it would be plain"
                }
                _ => "only ws:// is dialled by this transport",
            });
        }
        let authority = uri.authority().ok_or("it needs a host")?;
        if authority.as_str().contains('@') {
            return Err("a user name in the URL is not supported");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if authority.as_str().ends_with(':') && path.starts_with("//") {
            return Err("it has two schemes: give one");
        }
        let port = port(authority, usual_port)?;
        // "ws://host?query" has an empty path, which HTTP does not allow.
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            url: given.into(),
            address: format!("{}:{port}", authority.host()).into(),
            host: authority.as_str().into(),
            path: format!("{slash}{path}").into(),
        })
    }
}

/// Returns the URL with a scheme in front where it has none, as the Go package does.
fn with_scheme<'a>(url: &'a str, scheme: &str) -> Cow<'a, str> {
    let authority = url.split(['/', '?']).next().unwrap_or_default();
    let has_scheme = url[authority.len()..].starts_with("//") && authority.ends_with(':');
    if has_scheme || url.is_empty() { url.into() } else { format!("{scheme}://{url}").into() }
}

/// Whether the host is an IPv6 address with a zone.
fn has_zone(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let host = authority.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    host.is_some_and(|(host, _)| host.contains('%'))
}

/// The names of the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// In errors and events.
    pub(crate) name: Box<str>,
    /// Its host alone, where that is known.
    pub(crate) host: Option<Box<str>>,
    /// Whom the stream has proven it to be.
    pub(crate) identity: Option<Box<str>>,
}

impl Peer {
    /// Takes what a server knows of who opened a connection.
    pub(crate) fn of(peer: &impl fmt::Display) -> Self {
        let name = peer.to_string();
        Self { host: host_of(&name), name: name.into(), identity: None }
    }
}

/// Names the host of a peer that came by `address`, where that is an IP address with a port or
/// alone. One peer has one name, which it cannot change: see [`net::host_of`].
pub(crate) fn host_of(address: &str) -> Option<Box<str>> {
    let host = match address.parse() {
        Ok(SocketAddr::V4(address)) => IpAddr::V4(*address.ip()),
        Ok(SocketAddr::V6(address)) => IpAddr::V6(*address.ip()),
        Err(_) => {
            let address = address.strip_prefix('[').unwrap_or(address);
            let end = address.find([']', '%']).unwrap_or(address.len());
            address[..end].parse().ok()?
        }
    };
    net::host_of(&SocketAddr::new(host, 1).to_string())
}

fn port(authority: &Authority, usual: u16) -> Result<u16, &'static str> {
    if authority.host().is_empty() {
        return Err("it needs a host");
    }
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Ok(usual),
        _ => match authority.port_u16() {
            Some(port @ 1..) => Ok(port),
            _ => Err("the port is not in 1..=65535"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_give_what_to_dial_and_what_to_ask_for() {
        for (url, address, host, path) in [
            ("ws://10.0.0.7:9000", "10.0.0.7:9000", "10.0.0.7:9000", "/"),
            ("ws://10.0.0.7:9000/", "10.0.0.7:9000", "10.0.0.7:9000", "/"),
            ("ws://example.org", "example.org:80", "example.org", "/"),
            ("WS://Example.org/a/b?c=d&e", "Example.org:80", "Example.org", "/a/b?c=d&e"),
            ("ws://host:1?c=d", "host:1", "host:1", "/?c=d"),
            ("ws://[::1]:9000/x", "[::1]:9000", "[::1]:9000", "/x"),
            ("ws://[::1]", "[::1]:80", "[::1]", "/"),
            // As the Go package has it, without a scheme.
            ("localhost:7000", "localhost:7000", "localhost:7000", "/"),
            ("localhost:7000/", "localhost:7000", "localhost:7000", "/"),
            ("localhost:7000/path?to=it", "localhost:7000", "localhost:7000", "/path?to=it"),
            ("localhost:7000?url=http://x", "localhost:7000", "localhost:7000", "/?url=http://x"),
            ("localhost:7000//a", "localhost:7000", "localhost:7000", "//a"),
            ("example.org", "example.org:80", "example.org", "/"),
            ("[::1]:7000/x", "[::1]:7000", "[::1]:7000", "/x"),
        ] {
            let target = Target::parse(url, false).unwrap();
            assert_eq!(&*target.url, url);
            assert_eq!(&*target.address, address, "{url}");
            assert_eq!(&*target.host, host, "{url}");
            assert_eq!(&*target.path, path, "{url}");
        }
    }

    #[test]
    fn over_tls_the_scheme_is_wss_and_host_path_and_query_stay() {
        for (url, address, host, path) in [
            ("wss://example.org", "example.org:443", "example.org", "/"),
            (
                "WSS://Example.org:8443/a/b?c=d&e",
                "Example.org:8443",
                "Example.org:8443",
                "/a/b?c=d&e",
            ),
            ("example.org/x", "example.org:443", "example.org", "/x"),
        ] {
            let target = Target::parse(url, true).unwrap();
            assert_eq!(&*target.url, url);
            assert_eq!(&*target.address, address, "{url}");
            assert_eq!(&*target.host, host, "{url}");
            assert_eq!(&*target.path, path, "{url}");
        }
        for url in ["ws://host", "tls://host:1", "http://host"] {
            let text = Target::parse(url, true).unwrap_err().to_string();
            assert!(text.contains("only wss://"), "{text}");
        }
    }

    #[test]
    fn one_peer_has_one_host_whatever_its_address_looks_like() {
        for (address, host) in [
            ("127.0.0.1:9000", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::ffff:10.0.0.7]:9000", "10.0.0.7"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("[::1]:9000", "::1"),
            ("[0:0::0:1]", "::1"),
            ("[fe80::1%3]:9000", "fe80::/64"),
            ("[fe80::1%eth0]:9000", "fe80::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            // A machine has as many addresses of such a network as it likes.
            ("[2001:db8:1:2:3:4:5:6]:9000", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
            ("[64:ff9b::10.1.2.3]:9000", "10.1.2.3"),
        ] {
            assert_eq!(host_of(address).as_deref(), Some(host), "{address}");
        }
        for address in ["", "unix:/run/x", "serial", "example.org:80", "[", "1:2:3"] {
            assert_eq!(host_of(address), None, "{address}");
        }
        for (url, host) in [
            ("ws://Example.org/a", "example.org"),
            ("10.0.0.7:80", "10.0.0.7"),
            ("ws://[::FFFF:10.0.0.7]:9000", "10.0.0.7"),
            ("ws://[::1]", "::1"),
        ] {
            assert_eq!(
                Target::parse(url, false).unwrap().peer().host.as_deref(),
                Some(host),
                "{url}"
            );
        }
    }

    #[test]
    fn bad_urls_are_named_with_what_is_wrong() {
        for (url, problem) in [
            ("", "not a URL"),
            ("ws://", "not a URL"),
            ("ws://host name", "not a URL"),
            ("ws://host/a\r\nInjected: yes", "not a URL"),
            ("host:port", "1..=65535"),
            ("://host", ""),
            ("user@host:9000", "user name"),
            ("/path", "not a URL"),
            ("?query", "not a URL"),
            (":9000", "needs a host"),
            ("tcp:/host:9000", ""),
            ("ws://[fe80::1%eth0]:9000", "IPv6 zone"),
            ("ws://[fe80::1%25eth0]:9000/x", "IPv6 zone"),
            ("[fe80::1%3]:9000", "IPv6 zone"),
            ("http://host", "only ws://"),
            ("tcp://host:1", "only ws://"),
            ("wss://host", "give a Dial that speaks TLS"),
            ("WSS://host:443/path", "give a Dial that speaks TLS"),
            // What a prefix put in front of it by hand would make.
            ("ws://wss://host", "two schemes"),
            ("ws://ws://host:9000", "two schemes"),
            ("ws://user:secret@host", "user name"),
            ("ws://host:0", "1..=65535"),
            ("ws://host:65536", "1..=65535"),
            ("ws://host:", "1..=65535"),
            ("ws://:9000", "needs a host"),
        ] {
            let text = Target::parse(url, false).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
        }
    }
}
