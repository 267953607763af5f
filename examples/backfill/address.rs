//! Addresses with a scheme: `tcp://host:port`, `ws://host:port[/path]`, `go+ws://` likewise, and over TLS
//! `tls://` and `wss://`.

use std::fmt;
use std::future::{Ready, ready};
use std::str::FromStr;

use chargehand::core::io::{Dial, Exposure};
use chargehand::tcp::TcpConnector;
use chargehand::tokio::Tokio;
use chargehand::ws::WsConnector;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    /// TCP over TLS.
    Tls,
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// WebSocket with the messages of the Go package `worker`.
    Go,
}

impl Transport {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Go => "go+ws",
        }
    }
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialAddress {
    pub(crate) transport: Transport,
    /// With the scheme that the transport takes.
    pub(crate) text: String,
}

impl FromStr for DialAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let transport = split(text)?.0;
        let text = text.strip_prefix("go+").unwrap_or(text);
        // The transports know best what they can dial, with TLS or without.
        match transport {
            Transport::Tcp => problem(TcpConnector::new(Tokio::new(), text)),
            Transport::Tls => problem(TcpConnector::new(Protected, text)),
            Transport::Ws | Transport::Go => problem(WsConnector::new(Tokio::new(), text)),
            Transport::Wss => problem(WsConnector::new(Protected, text)),
        }
        .map_or_else(|| Ok(Self { transport, text: text.to_owned() }), Err)
    }
}

impl fmt::Display for DialAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport == Transport::Go {
            f.write_str("go+")?;
        }
        f.write_str(&self.text)
    }
}

/// Where to listen. Port 0 is any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    pub(crate) transport: Transport,
    pub(crate) host_and_port: String,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (transport, rest) = split(text)?;
        if transport == Transport::Go {
            return Err("a worker of the Go package never dials in: name it by --worker".to_owned());
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or("it needs a port; 0 is any free one")?;
        if host.is_empty() {
            return Err("it needs a host before the port; 0.0.0.0 is every IPv4 one".to_owned());
        }
        port.parse::<u16>().map_err(|_| "the port is not in 0..=65535")?;
        Ok(Self { transport, host_and_port: rest.to_owned() })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport.scheme(), self.host_and_port)
    }
}

fn split(text: &str) -> Result<(Transport, &str), String> {
    match text.split_once("://") {
        Some(("tcp", rest)) => Ok((Transport::Tcp, rest)),
        Some(("tls", rest)) => Ok((Transport::Tls, rest)),
        Some(("wss", rest)) => Ok((Transport::Wss, rest)),
        Some(("ws", rest)) => Ok((Transport::Ws, rest)),
        Some(("go+ws", rest)) => Ok((Transport::Go, rest)),
        _ => Err("an address starts with tcp:// or ws://, or over TLS tls:// or wss:// (or go+ws://, to dial)"
            .to_owned()),
    }
}

fn problem<C, E: ToString>(made: Result<C, E>) -> Option<String> {
    made.err().map(|error| error.to_string())
}

/// What a connector takes for TLS, where there is no join file yet.
struct Protected;

impl Dial for Protected {
    type Stream = ();
    type Error = ();
    type Dialling = Ready<Result<(), ()>>;

    fn dial(&self, _: &str) -> Self::Dialling {
        ready(Err(()))
    }

    fn exposure(&self, _: &str) -> Exposure {
        Exposure::Protected
    }
}
