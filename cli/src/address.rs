//! Addresses with a scheme: `tcp://host:port`, `ws://host:port[/path]`, `unix:///path`, and over TLS `tls://`
//! and `wss://`.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    /// TCP over TLS.
    Tls,
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// A Unix domain socket.
    Unix,
}

const TRANSPORTS: [(&str, Transport); 5] = [
    ("tcp://", Transport::Tcp),
    ("tls://", Transport::Tls),
    ("ws://", Transport::Ws),
    ("wss://", Transport::Wss),
    ("unix://", Transport::Unix),
];

/// An address as it was written. The transports know best what they can dial or listen on, and say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) transport: Transport,
    text: String,
    scheme: &'static str,
}

impl Address {
    /// Returns it with its scheme.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns what comes after the scheme, without a slash at its end: where to bind a socket.
    pub(crate) fn host_and_port(&self) -> &str {
        let rest = &self.text[self.scheme.len()..];
        rest.strip_suffix('/').unwrap_or(rest)
    }

    /// Returns the same transport's address of another place.
    pub(crate) fn at(&self, place: impl fmt::Display) -> String {
        format!("{}{place}", self.scheme)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = TRANSPORTS.into_iter().find(|(scheme, _)| text.starts_with(scheme));
        let (scheme, transport) = found.ok_or(
            "an address starts with tcp://, ws:// or unix://, or over TLS with tls:// or wss://",
        )?;
        Ok(Self { transport, text: text.to_owned(), scheme })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
