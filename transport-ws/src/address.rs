//! What may be dialled.

use std::error::Error;
use std::fmt;

use async_tungstenite::tungstenite::http::Uri;
use async_tungstenite::tungstenite::http::uri::Authority;

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
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        Self::of(url).map_err(|problem| AddressError { url: url.into(), problem })
    }

    fn of(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "not a URL; expected ws://host[:port][/path]")?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("wss") {
            return Err("TLS is not spoken here: give a Dial that speaks TLS and a ws:// URL");
        }
        if !scheme.eq_ignore_ascii_case("ws") {
            return Err("only ws:// is dialled by this transport");
        }
        let authority = uri.authority().ok_or("it needs a host")?;
        if authority.as_str().contains('@') {
            return Err("a user name in the URL is not supported");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if authority.as_str().ends_with(':') && path.starts_with("//") {
            return Err("it has two schemes: give one, ws://");
        }
        let port = port(authority)?;
        // "ws://host?query" has an empty path, which HTTP does not allow.
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            url: url.into(),
            address: format!("{}:{port}", authority.host()).into(),
            host: authority.as_str().into(),
            path: format!("{slash}{path}").into(),
        })
    }
}

fn port(authority: &Authority) -> Result<u16, &'static str> {
    if authority.host().is_empty() {
        return Err("it needs a host");
    }
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Ok(80),
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
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(&*target.url, url);
            assert_eq!(&*target.address, address, "{url}");
            assert_eq!(&*target.host, host, "{url}");
            assert_eq!(&*target.path, path, "{url}");
        }
    }

    #[test]
    fn bad_urls_are_named_with_what_is_wrong() {
        for (url, problem) in [
            ("", "not a URL"),
            ("ws://", "not a URL"),
            ("ws://host name", "not a URL"),
            ("ws://host/a\r\nInjected: yes", "not a URL"),
            ("host:9000", "only ws://"),
            ("http://host", "only ws://"),
            ("tcp://host:1", "only ws://"),
            ("wss://host", "a Dial that speaks TLS"),
            ("WSS://host:443/path", "a Dial that speaks TLS"),
            // What a prefix put in front of it by hand would make.
            ("ws://wss://host", "two schemes"),
            ("ws://ws://host:9000", "two schemes"),
            ("ws://user:secret@host", "user name"),
            ("ws://host:0", "1..=65535"),
            ("ws://host:65536", "1..=65535"),
            ("ws://host:", "1..=65535"),
            ("ws://:9000", "needs a host"),
        ] {
            let text = Target::parse(url).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
        }
    }
}
